#include "control/metrics.h"

#include <math.h>

struct metric {
	const char *name, *type, *help;
	double (*value)(const struct progress *p); /* NAN: not known */
};

static double
known(int64_t v)
{
	return v < 0 ? NAN : (double)v;
}
static double
up(const struct progress *p)
{
	return strcmp(p->state, "running") == 0;
}
static double
generation(const struct progress *p)
{
	return (double)p->gen;
}
static double
seq(const struct progress *p)
{
	return (double)p->seq;
}
static double
lsn(const struct progress *p)
{
	return (double)p->lsn;
}
static double
committed(const struct progress *p)
{
	return p->commit_us ? (double)p->commit_us / 1e6 : NAN;
}
static double
lag_entries(const struct progress *p)
{
	return known(p->lag_entries);
}
static double
lag_bytes(const struct progress *p)
{
	return known(p->lag_bytes);
}
static double
lag_seconds(const struct progress *p)
{
	return p->lag_us < 0 ? NAN : (double)p->lag_us / 1e6;
}
static double
rows(const struct progress *p)
{
	return (double)p->rows;
}
static double
syncing(const struct progress *p)
{
	return p->syncing;
}
static double
tables(const struct progress *p)
{
	return p->ntables;
}
static double
started(const struct progress *p)
{
	return (double)p->started_us / 1e6;
}

static double
parked(const struct progress *p)
{
	return p->role == PROGRESS_SINK ? (double)p->parked : NAN;
}

static double
delay(const struct progress *p)
{
	return p->role == PROGRESS_SINK ? (double)p->delay_ms / 1e3 : NAN;
}

static const struct metric metrics[] = {
	{ "towline_up", "gauge",
	    "1 while the stage runs, 0 while it starts, retries, has failed or has ended.", up },
	{ "towline_generation", "gauge", "Generation of the spine that the stage is in.",
	    generation },
	{ "towline_transactions", "gauge",
	    "Number of the last transaction published (producer) or applied (sink).", seq },
	{ "towline_lsn", "gauge", "LSN of that transaction's commit, as a number.", lsn },
	{ "towline_commit_timestamp_seconds", "gauge",
	    "Commit time of that transaction at the source.", committed },
	{ "towline_lag_transactions", "gauge",
	    "Transactions behind: read and not published, or published and not applied.",
	    lag_entries },
	{ "towline_lag_bytes", "gauge", "Bytes of the source's log behind.", lag_bytes },
	{ "towline_lag_seconds", "gauge", "How long the oldest of them has been waiting.",
	    lag_seconds },
	{ "towline_rows_total", "counter", "Rows published or applied since the start.", rows },
	{ "towline_parked_changes", "gauge", "Changes in the sink's dead letters.", parked },
	{ "towline_syncing", "gauge", "1 while a sink has not yet come near the end of the log.",
	    syncing },
	{ "towline_delay_seconds", "gauge", "How far behind the sink is kept on purpose.", delay },
	{ "towline_tables", "gauge", "Tables that have passed since the start.", tables },
	{ "towline_start_timestamp_seconds", "gauge", "When the stage was started.", started },
};

/* A label's value: backslash, quote and line feed are escaped. */
static void
put_label(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			buf_byte(out, '\\');
		if (*value == '\n')
			buf_text(out, "\\n");
		else
			buf_byte(out, (uint8_t)*value);
	}
	buf_byte(out, '"');
}

static void
put_one(struct buf *out, const struct metric *m, const char *pipeline, const struct progress *p)
{
	double v = m->value(p);

	if (isnan(v))
		return;
	buf_printf(out, "%s{", m->name);
	put_label(out, "pipeline", pipeline);
	buf_byte(out, ',');
	put_label(out, "node", p->node);
	buf_printf(out, ",role=\"%s\"", p->role == PROGRESS_SINK ? "sink" : "producer");
	if (p->role == PROGRESS_SINK) {
		buf_byte(out, ',');
		put_label(out, "sink", p->sink);
	}
	buf_printf(out, "} %.17g\n", v);
}

void
metrics_put(struct buf *out, const char *pipeline, const struct progress *p, int n)
{
	buf_printf(out,
	    "# HELP towline_build_info Version of the program.\n# TYPE towline_build_info gauge\n"
	    "towline_build_info{version=\"%s\"} 1\n",
	    TOWLINE_VERSION);
	for (size_t i = 0; i < COUNTOF(metrics); i++) {
		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics[i].name, metrics[i].help,
		    metrics[i].name, metrics[i].type);
		for (int k = 0; k < n; k++)
			put_one(out, &metrics[i], pipeline, &p[k]);
	}
}
