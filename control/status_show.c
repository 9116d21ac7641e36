#include "control/human.h"
#include "control/status.h"
#include "core/buf.h"
#include "core/now.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMNS = 6 };

static const char embedded_line[] = "broker: embedded (in memory, for trials; not for production)";

/* How many bytes of WAL the slot is behind the server's end. */
static uint64_t
slot_behind(const struct status_source *src)
{
	return src->slot.placed && src->server.lsn > src->slot.confirmed ? src->server.lsn - src->slot.confirmed : 0;
}

/* ---- text ---- */

struct rows {
	struct arena arena;
	const char *(*cells)[COLUMNS];
	int n;
};

static void
row(struct rows *r, const char *node, const char *role, const char *state, const char *lsn, const char *lag, const char *behind)
{
	const char *cells[COLUMNS] = { node, role, state, lsn, lag, behind };

	for (int i = 0; i < COLUMNS; i++)
		r->cells[r->n][i] = arena_text(&r->arena, slice_of(cells[i] && *cells[i] ? cells[i] : "-"));
	r->n++;
}

static void
put_rows(const struct rows *r, struct buf *out)
{
	int width[COLUMNS] = { 0 };

	for (int i = 0; i < r->n; i++)
		for (int k = 0; k < COLUMNS; k++)
			if ((int)strlen(r->cells[i][k]) > width[k])
				width[k] = (int)strlen(r->cells[i][k]);
	for (int i = 0; i < r->n; i++) {
		for (int k = 0; k + 1 < COLUMNS; k++)
			buf_printf(out, "%-*s  ", width[k], r->cells[i][k]);
		buf_printf(out, "%s\n", r->cells[i][COLUMNS - 1]);
	}
}

static void
source_row(const struct status *s, struct rows *r)
{
	const struct status_source *src = &s->source;
	char lsn[20] = "", bytes[HUMAN_MAX], behind[64] = "";

	if (src->reached && src->slot.placed) {
		pg_lsn_text(lsn, src->slot.confirmed);
		snprintf(behind, sizeof behind, src->rows ? "slot %s of the log" : "slot %s",
		    src->rows ? human_count(bytes, (int64_t)slot_behind(src), "row") : human_bytes(bytes, slot_behind(src)));
	}
	row(r, s->conf->name, "source", src->state, lsn, NULL, behind);
}

static void
spine_row(const struct status *s, struct rows *r)
{
	const struct spine_state *sp = &s->spine;
	char lsn[20], state[40], last[160], ago[HUMAN_MAX];

	if (!s->spine_known || !sp->started) {
		row(r, "kafka", "spine", s->kafka_state, NULL, NULL, NULL);
		return;
	}
	snprintf(state, sizeof state, "generation %" PRIu64, sp->gen);
	snprintf(last, sizeof last, "group %" PRIu64 ", seq %" PRIu64, sp->no, sp->seq);
	if (sp->commit_us)
		snprintf(last + strlen(last), sizeof last - strlen(last), ", last commit %s ago",
		    human_span(ago, wall_us() - sp->commit_us));
	row(r, "kafka", "spine", state, sp->lsn ? pg_lsn_text(lsn, sp->lsn) : NULL, NULL, last);
}

static void
sink_row(const struct status *s, const struct status_sink *sink, struct rows *r)
{
	char lsn[20] = "", lag[HUMAN_MAX] = "", behind[64] = "", count[HUMAN_MAX];

	if (sink->found)
		pg_lsn_text(lsn, sink->marker.lsn);
	if (sink->lag_us >= 0)
		human_span(lag, sink->lag_us);
	if (sink->reached && s->spine_known && s->spine.started && strcmp(sink->state, "AHEAD") != 0)
		snprintf(behind, sizeof behind, "%s", human_count(count, (int64_t)sink->behind, "transaction"));
	else if (sink->found)
		snprintf(behind, sizeof behind, "at seq %" PRIu64, sink->marker.seq);
	row(r, sink->conf->name, "sink", sink->state, lsn, lag, behind);
}

void
status_text(const struct status *s, struct buf *out)
{
	struct rows r = { 0 };

	r.cells = arena_array(&r.arena, (size_t)s->conf->nsinks + 3, sizeof *r.cells);
	row(&r, "NODE", "ROLE", "STATE", "LSN", "LAG", "BEHIND");
	if (s->conf->source_url)
		source_row(s, &r);
	if (!s->conf->embedded)
		spine_row(s, &r);
	for (int i = 0; i < s->conf->nsinks; i++)
		sink_row(s, &s->sinks[i], &r);
	put_rows(&r, out);
	if (s->conf->embedded)
		buf_printf(out, "%s\n", embedded_line);
	for (int i = 0; i < s->nproblems; i++)
		buf_printf(out, "! %s\n", s->problems[i]);
	arena_free(&r.arena);
}

/* ---- JSON ---- */

static json_t *
text(const char *t)
{
	json_t *j = t ? json_string(t) : json_null();

	return j ? j : json_string("(not UTF-8)");
}

/* Numbers beyond 63 bits do not occur but in system identifiers, which are text. */
static json_t *
number(bool known, uint64_t v)
{
	return known ? json_integer((json_int_t)v) : json_null();
}

static void
put_lsn(json_t *j, bool known, uint64_t lsn)
{
	char buf[20];

	json_object_set_new(j, "lsn", text(known ? pg_lsn_text(buf, lsn) : NULL));
	json_object_set_new(j, "lsn_number", number(known, lsn));
}

static void
put_time(json_t *j, int64_t commit_us)
{
	char buf[HUMAN_MAX];

	json_object_set_new(j, "commit_time", text(commit_us ? human_time(buf, commit_us) : NULL));
	json_object_set_new(j, "commit_us", number(commit_us != 0, (uint64_t)commit_us));
}

static json_t *
json_source(const struct status *s)
{
	const struct status_source *src = &s->source;
	const struct pg_slot *slot = &src->slot;
	json_t *j = json_object();

	json_object_set_new(j, "node", text(s->conf->name));
	json_object_set_new(j, "role", text("source"));
	json_object_set_new(j, "state", text(src->state));
	put_lsn(j, slot->placed, slot->confirmed);
	json_object_set_new(j, "behind_bytes", number(slot->placed && !src->rows, slot_behind(src)));
	if (src->rows)
		json_object_set_new(j, "behind_entries", number(slot->placed, slot_behind(src)));
	json_object_set_new(j, "slot", text(s->conf->slot));
	json_object_set_new(j, "slot_exists", src->reached ? json_boolean(slot->exists) : json_null());
	json_object_set_new(j, "slot_active", src->reached && !src->rows ? json_boolean(slot->active_pid != NULL) : json_null());
	json_object_set_new(j, "wal_status", text(slot->exists && !src->rows ? slot->wal_status : NULL));
	json_object_set_new(j, "wal_kept_bytes",
	    number(slot->exists && slot->restart, src->server.lsn > slot->restart ? src->server.lsn - slot->restart : 0));
	return j;
}

static json_t *
json_spine(const struct status *s)
{
	const struct spine_state *sp = &s->spine;
	json_t *j;

	if (!s->spine_known || !sp->started)
		return json_null();
	j = json_object();
	json_object_set_new(j, "generation", number(true, sp->gen));
	json_object_set_new(j, "group", number(true, sp->no));
	json_object_set_new(j, "seq", number(true, sp->seq));
	put_lsn(j, true, sp->lsn);
	json_object_set_new(j, "watermark_number", number(true, sp->watermark));
	put_time(j, sp->commit_us);
	return j;
}

static json_t *
json_sink(const struct status *s, const struct status_sink *sink)
{
	const struct marker *m = &sink->marker;
	bool compared = sink->reached && s->spine_known && s->spine.started;
	json_t *j = json_object();

	json_object_set_new(j, "node", text(sink->conf->name));
	json_object_set_new(j, "role", text("sink"));
	json_object_set_new(j, "state", text(sink->state));
	put_lsn(j, sink->found, m->lsn);
	json_object_set_new(j, "group", number(sink->found, m->no));
	json_object_set_new(j, "seq", number(sink->found, m->seq));
	json_object_set_new(j, "spine_offset", number(sink->found, (uint64_t)m->spine_offset));
	put_time(j, m->commit_us);
	json_object_set_new(j, "behind_transactions", number(compared, sink->behind));
	json_object_set_new(j, "lag_us", number(sink->lag_us >= 0, (uint64_t)sink->lag_us));
	json_object_set_new(j, "parked", number(sink->reached, (uint64_t)sink->parked));
	json_object_set_new(j, "parked_causes", number(sink->reached, (uint64_t)sink->parked_causes));
	return j;
}

void
status_json(const struct status *s, bool indented, struct buf *out)
{
	json_t *top = json_object(), *nodes = json_array(), *problems = json_array();
	char *dump;

	if (s->conf->source_url)
		json_array_append_new(nodes, json_source(s));
	for (int i = 0; i < s->conf->nsinks; i++)
		json_array_append_new(nodes, json_sink(s, &s->sinks[i]));
	for (int i = 0; i < s->nproblems; i++)
		json_array_append_new(problems, text(s->problems[i]));
	json_object_set_new(top, "name", text(s->conf->name));
	json_object_set_new(top, "broker", text(s->conf->embedded ? "embedded" : s->conf->brokers));
	json_object_set_new(top, "nodes", nodes);
	json_object_set_new(top, "spine", json_spine(s));
	json_object_set_new(top, "dead_letter_records", number(s->spine_known, (uint64_t)s->dead_records));
	json_object_set_new(top, "problems", problems);
	dump = json_dumps(top, indented ? JSON_INDENT(2) : JSON_COMPACT);
	if (!dump)
		die("out of memory");
	buf_printf(out, "%s\n", dump);
	free(dump);
	json_decref(top);
}
