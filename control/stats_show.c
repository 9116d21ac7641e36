#include "control/health.h"
#include "control/human.h"
#include "control/stats.h"
#include "core/pg.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 11, CELL_MAX = 80 };

static bool
active(const struct progress *p, int64_t now_us)
{
	char why[HEALTH_WHY_MAX];

	return p->role == PROGRESS_SINK && health_replica(p, -1, now_us, why);
}

void
stats_sum(
    const struct board_node *nodes, const struct progress *front, int64_t now_us, struct stats *out)
{
	*out = (struct stats){ .lag_us = -1 };
	if (front) {
		out->seq = front->seq;
		out->lsn = front->lsn;
	}
	for (; nodes; nodes = nodes->next) {
		const struct progress *p = &nodes->p;

		out->size++;
		if (p->role == PROGRESS_PRODUCER) {
			out->producers++;
			continue;
		}
		out->replicas++;
		out->active += active(p, now_us);
		/* One that is gone says no more how far behind it is; the log does. */
		if (front && board_gone(p, now_us))
			out->lag_entries +=
			    front->seq > p->seq ? (int64_t)(front->seq - p->seq) : 0;
		else if (p->lag_entries > 0)
			out->lag_entries += p->lag_entries;
		out->lag_bytes += p->lag_bytes > 0 ? p->lag_bytes : 0;
		if (p->lag_us > out->lag_us)
			out->lag_us = p->lag_us;
	}
}

/* ---- text ---- */

struct lines {
	char (*cells)[COLUMNS][CELL_MAX];
	int n;
};

static void
count_cell(char *cell, int64_t n)
{
	if (n < 0)
		snprintf(cell, CELL_MAX, "-");
	else
		snprintf(cell, CELL_MAX, "%" PRId64, n);
}

static void
heading(char (*c)[CELL_MAX])
{
	static const char *const names[COLUMNS] = { "ROLE", "NODE", "STATE", "LSN", "ENTRIES",
		"LAG", "BYTES", "TIME", "RECORDS", "REC/S", "TABLES" };

	for (int i = 0; i < COLUMNS; i++)
		snprintf(c[i], CELL_MAX, "%s", names[i]);
}

static void
node_line(char (*c)[CELL_MAX], const struct progress *p, int64_t now_us)
{
	char text[HUMAN_MAX], lsn[20];
	bool sink = p->role == PROGRESS_SINK;

	snprintf(c[0], CELL_MAX, "%s", sink ? "replica" : "primary");
	snprintf(c[1], CELL_MAX, "%.70s", sink ? p->sink : p->node);
	snprintf(c[2], CELL_MAX, "%s%s", board_state(p, now_us),
	    p->syncing && strcmp(p->state, "running") == 0 ? ", syncing" : "");
	snprintf(c[3], CELL_MAX, "%s", p->lsn ? pg_lsn_text(lsn, p->lsn) : "-");
	count_cell(c[4], (int64_t)p->seq);
	count_cell(c[5], p->lag_entries);
	snprintf(c[6], CELL_MAX, "%s",
	    p->lag_bytes < 0 ? "-" : human_bytes(text, (uint64_t)p->lag_bytes));
	snprintf(c[7], CELL_MAX, "%s", p->lag_us < 0 ? "-" : human_span(text, p->lag_us));
	count_cell(c[8], (int64_t)p->rows);
	snprintf(c[9], CELL_MAX, "%.0f", p->rows_s);
	count_cell(c[10], p->ntables);
}

static void
put_lines(const struct lines *l, struct buf *out)
{
	int width[COLUMNS] = { 0 };

	for (int i = 0; i < l->n; i++)
		for (int k = 0; k < COLUMNS; k++)
			if ((int)strlen(l->cells[i][k]) > width[k])
				width[k] = (int)strlen(l->cells[i][k]);
	for (int i = 0; i < l->n; i++) {
		for (int k = 0; k + 1 < COLUMNS; k++)
			buf_printf(out, "%-*s  ", width[k], l->cells[i][k]);
		buf_printf(out, "%s\n", l->cells[i][COLUMNS - 1]);
	}
}

/* What the table has no room for, in words. */
static void
remarks(const struct board_node *nodes, int64_t now_us, struct buf *out)
{
	char text[HUMAN_MAX];

	for (; nodes; nodes = nodes->next) {
		const struct progress *p = &nodes->p;
		const char *name = p->role == PROGRESS_SINK ? p->sink : p->node;

		if (board_gone(p, now_us))
			buf_printf(out, "%s: has said nothing for %s\n", name,
			    human_span(text, now_us - p->at_us));
		if (*p->reason)
			buf_printf(out, "%s: %s\n", name, p->reason);
		if (p->delay_ms)
			buf_printf(out, "%s: kept %s behind on purpose\n", name,
			    human_span(text, p->delay_ms * 1000));
		if (p->parked)
			buf_printf(out,
			    "%s: %" PRId64
			    " changes in the dead letters; see 'towline dlq ls %s'\n",
			    name, p->parked, name);
	}
}

void
stats_text(struct buf *out, const char *pipeline, const struct board_node *nodes,
    const struct progress *front, int64_t now_us)
{
	struct arena a = { 0 };
	struct lines l = { 0 };
	struct stats s;
	char bytes[HUMAN_MAX], span[HUMAN_MAX], lsn[20];

	stats_sum(nodes, front, now_us, &s);
	if (!s.size) {
		buf_printf(out, "%s: nobody has said anything yet; start towline run\n", pipeline);
		return;
	}
	buf_printf(out,
	    "%s: %d nodes, %d of %d replicas active, log at %s with %" PRIu64
	    " entries, lag %" PRId64 " entries, %s, %s\n",
	    pipeline, s.size, s.active, s.replicas, pg_lsn_text(lsn, s.lsn), s.seq, s.lag_entries,
	    human_bytes(bytes, (uint64_t)s.lag_bytes),
	    s.lag_us < 0 ? "-" : human_span(span, s.lag_us));
	l.cells = arena_array(&a, (size_t)s.size + 1, sizeof *l.cells);
	heading(l.cells[l.n++]);
	for (const struct board_node *n = nodes; n; n = n->next)
		node_line(l.cells[l.n++], &n->p, now_us);
	put_lines(&l, out);
	remarks(nodes, now_us, out);
	arena_free(&a);
}

/* ---- JSON ---- */

/* A record as it was published, with what a reader knows in addition. */
static json_t *
node_object(const struct progress *p, int64_t now_us)
{
	struct buf text = { 0 };
	json_t *o;

	progress_put(&text, p);
	o = json_loadb(text.p, text.n, 0, NULL);
	buf_free(&text);
	if (!o)
		die("a progress record is no JSON");
	json_object_set_new(o, "state", json_string(board_state(p, now_us)));
	json_object_set_new(o, "age_us", json_integer(now_us - p->at_us));
	json_object_set_new(o, "active",
	    json_boolean(p->role == PROGRESS_SINK
		    ? active(p, now_us)
		    : strcmp(board_state(p, now_us), "running") == 0));
	return o;
}

void
stats_json(struct buf *out, const char *pipeline, const struct board_node *nodes,
    const struct progress *front, int64_t now_us, bool indented)
{
	json_t *list = json_array(), *o;
	struct stats s;
	char lsn[20], *text;

	stats_sum(nodes, front, now_us, &s);
	for (; nodes; nodes = nodes->next)
		json_array_append_new(list, node_object(&nodes->p, now_us));
	o = json_pack("{s:s,s:i,s:i,s:i,s:i,s:I,s:s,s:{s:I,s:I,s:I},s:o}", "name", pipeline, "size",
	    s.size, "primaries", s.producers, "replicas", s.replicas, "active_replicas", s.active,
	    "entries", (json_int_t)s.seq, "lsn", pg_lsn_text(lsn, s.lsn), "lag", "entries",
	    (json_int_t)s.lag_entries, "bytes", (json_int_t)s.lag_bytes, "us", (json_int_t)s.lag_us,
	    "nodes", list);
	text = o
	    ? json_dumps(o, (indented ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(12))
	    : NULL;
	if (!text)
		die("the statistics cannot be written");
	buf_text(out, text);
	buf_byte(out, '\n');
	free(text);
	json_decref(o);
}
