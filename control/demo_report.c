/*
 * What the demo says: lines that stay, drawings that do not, and one object with --json.
 */
#include "control/demo.h"

#include "control/human.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum { LAG_TEXT = 24 };

static const char *
lag_text(char buf[static LAG_TEXT], int64_t us)
{
	snprintf(buf, LAG_TEXT, us < 100000 ? "%.1f ms" : "%.0f ms", (double)us / 1e3);
	return buf;
}

static uint64_t
rows_of(struct demo *d, int sink)
{
	return atomic_load(&d->stages.flow.rows[sink]);
}

void
demo_say_what(struct demo *d)
{
	if (d->kafka)
		demo_say(&d->show, "broker", "Kafka at %s, topics %s.*", d->kafka, d->conf.name);
	else
		demo_say(&d->show, "broker",
		    "in memory (nothing survives this process; --kafka HOST:PORT for a real one)");
	demo_say(&d->show, "source", "%s, %d tables  (%s)", demo_reader_kind(d->source_reader),
	    DEMO_TABLES, d->dir);
	demo_say(&d->show, "sinks", "%s: %s%s; %s: %s", d->conf.sinks[0].name,
	    demo_reader_kind(d->readers[0]), d->kafka ? ", a server of its own" : "",
	    d->conf.sinks[1].name, demo_reader_kind(d->readers[1]));
}

void
demo_draw_copy(struct demo *d)
{
	char bar[72], a[32], b[32];

	demo_show_begin(&d->show);
	for (int i = 0; i < DEMO_SINKS; i++) {
		double share = (double)rows_of(d, i) / (double)demo_seed_rows;

		share = share > 1 ? 1 : share;
		demo_show_line(&d->show, i ? "" : "copy", "%-8s %s %3.0f %%  %s of %s rows",
		    d->conf.sinks[i].name, demo_bar(bar, share), share * 100,
		    demo_number(a, rows_of(d, i)), demo_number(b, demo_seed_rows));
	}
}

void
demo_draw_live(struct demo *d)
{
	int64_t us = d->live_us;
	uint64_t changes = atomic_load(&d->load.changes);
	char bar[72], n[32], r[32], p50[DEMO_SINKS][LAG_TEXT], p99[DEMO_SINKS][LAG_TEXT];

	for (int i = 0; i < DEMO_SINKS; i++) {
		struct demo_percentiles p = demo_lag_recent(&d->lags[i]);

		lag_text(p50[i], p.p50_us);
		lag_text(p99[i], p.p99_us);
	}
	demo_number(n, changes);
	demo_number(r, us ? (uint64_t)((double)changes * 1e6 / (double)us) : 0);
	demo_show_begin(&d->show);
	if (!d->show.tty) {
		demo_show_line(&d->show, "live",
		    "%.0f s  %s changes  %s/s  lag of the newest: %s p50 %s p99 %s, %s p50 %s p99 %s",
		    (double)us / 1e6, n, r, d->conf.sinks[0].name, p50[0], p99[0],
		    d->conf.sinks[1].name, p50[1], p99[1]);
		return;
	}
	demo_show_line(&d->show, "live", "%s  %.1f of %" PRId64 " s  %s changes  %s/s",
	    demo_bar(bar, (double)us / 1e6 / (double)d->seconds), (double)us / 1e6, d->seconds, n,
	    r);
	for (int i = 0; i < DEMO_SINKS; i++)
		demo_show_line(&d->show, "", "%-8s lag of the newest  p50 %-8s p99 %-8s",
		    d->conf.sinks[i].name, p50[i], p99[i]);
}

void
demo_say_load(struct demo *d)
{
	char rate[32] = "unlimited";

	if (d->rate)
		demo_number(rate, (uint64_t)d->rate);
	demo_say(&d->show, "load",
	    "%s transactions/s: inserts, updates, deletes, key changes, truncates", rate);
}

void
demo_say_live(struct demo *d)
{
	const struct demo_percentiles *worst = &d->lag[d->lag[1].p99_us > d->lag[0].p99_us];
	char n[32], t[32], p50[LAG_TEXT], p99[LAG_TEXT], max[LAG_TEXT];

	demo_say(&d->show, "live", "%s changes in %s transactions in %.0f s, lag p50 %s p99 %s",
	    demo_number(n, d->changes), demo_number(t, d->transactions), (double)d->live_us / 1e6,
	    lag_text(p50, worst->p50_us), lag_text(p99, worst->p99_us));
	for (int i = 0; i < DEMO_SINKS; i++)
		demo_say(&d->show, i ? "" : "lag", "%-8s p50 %s, p99 %s, max %s%s",
		    d->conf.sinks[i].name, lag_text(p50, d->lag[i].p50_us),
		    lag_text(p99, d->lag[i].p99_us), lag_text(max, d->lag[i].max_us),
		    i ? "" : "  (commit to commit, every transaction)");
}

void
demo_say_verify(struct demo *d)
{
	uint64_t sum = 0;
	char n[32], a[32];

	for (int t = 0; t < DEMO_TABLES; t++)
		sum += d->results[t].source.high;
	demo_say(&d->show, "verify",
	    "%d/%d tables equal in both sinks (%s rows, xxh3 %016" PRIx64 ")", d->equal,
	    DEMO_TABLES, demo_number(n, d->rows), sum);
	for (int t = 0; t < DEMO_TABLES; t++)
		for (int i = 0; i < DEMO_SINKS; i++)
			if (!demo_digest_same(&d->results[t].source, &d->results[t].sinks[i]))
				demo_say(&d->show, "", "%s: %s rows at the source, %s rows in %s%s",
				    demo_tables[t], demo_number(a, d->results[t].source.rows),
				    demo_number(n, d->results[t].sinks[i].rows),
				    d->conf.sinks[i].name,
				    d->results[t].source.rows == d->results[t].sinks[i].rows
					? " with other content"
					: "");
}

/* ---- the summary ---- */

static json_t *
tables_json(struct demo *d)
{
	json_t *list = json_array();

	for (int t = 0; t < DEMO_TABLES; t++) {
		char text[40];
		const struct demo_table_result *r = &d->results[t];

		snprintf(
		    text, sizeof text, "%016" PRIx64 "%016" PRIx64, r->source.high, r->source.low);
		json_array_append_new(list,
		    json_pack("{s:s, s:I, s:s, s:b}", "table", demo_tables[t], "rows",
			(json_int_t)r->source.rows, "digest", text, "equal", r->equal));
	}
	return list;
}

static json_t *
sinks_json(struct demo *d)
{
	json_t *list = json_array();

	for (int i = 0; i < DEMO_SINKS; i++) {
		const struct demo_percentiles *p = &d->lag[i];

		json_array_append_new(list,
		    json_pack("{s:s, s:s, s:I, s:f, s:f, s:f}", "name", d->conf.sinks[i].name,
			"kind", demo_reader_kind(d->readers[i]), "rows", (json_int_t)rows_of(d, i),
			"lag_p50_ms", (double)p->p50_us / 1e3, "lag_p99_ms",
			(double)p->p99_us / 1e3, "lag_max_ms", (double)p->max_us / 1e3));
	}
	return list;
}

void
demo_print_json(struct demo *d)
{
	json_t *o = json_pack("{s:b, s:s, s:s, s:I, s:f, s:f, s:I, s:I, s:o, s:o}", "equal",
	    d->equal == DEMO_TABLES, "broker", d->kafka ? d->kafka : "embedded", "source",
	    demo_reader_kind(d->source_reader), "copied", (json_int_t)demo_seed_rows, "copy_s",
	    (double)d->copy_us / 1e6, "live_s", (double)d->live_us / 1e6, "changes",
	    (json_int_t)d->changes, "transactions", (json_int_t)d->transactions, "sinks",
	    sinks_json(d), "tables", tables_json(d));

	json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(o);
}
