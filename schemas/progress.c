#include "schemas/progress.h"
#include "core/pg.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { VERSION = 1, TABLES_MAX = 10000 };

static const char *const roles[] = { [PROGRESS_PRODUCER] = "producer", [PROGRESS_SINK] = "sink" };

const char *
progress_key(struct arena *a, const struct progress *p)
{
	if (p->role == PROGRESS_PRODUCER)
		return arena_printf(a, "producer/%s", p->node);
	return arena_printf(a, "sink/%s/%s", p->node, p->sink);
}

/* ---- writing ---- */

static void
put_text(json_t *o, const char *name, const char *text)
{
	json_t *v = text && *text ? json_string(text) : NULL;

	/* Another database's words need not be UTF-8. */
	if (text && *text && !v)
		v = json_string("(not UTF-8)");
	if (v)
		json_object_set_new(o, name, v);
}

static json_t *
lsn(uint64_t v)
{
	char text[20];

	return json_string(pg_lsn_text(text, v));
}

static double
rounded(double rate)
{
	return (double)(int64_t)(rate * 10 + 0.5) / 10;
}

static json_t *
object_of(const struct progress *p)
{
	json_t *tables = json_array();
	json_t *o =
	    json_pack("{s:i,s:s,s:I,s:I,s:I,s:I,s:o,s:I,s:{s:I,s:I,s:I},s:I,s:f,s:f,s:I,s:b,s:I}",
		"v", VERSION, "role", roles[p->role], "at_us", (json_int_t)p->at_us, "started_us",
		(json_int_t)p->started_us, "gen", (json_int_t)p->gen, "seq", (json_int_t)p->seq,
		"lsn", lsn(p->lsn), "commit_us", (json_int_t)p->commit_us, "lag", "entries",
		(json_int_t)p->lag_entries, "bytes", (json_int_t)p->lag_bytes, "us",
		(json_int_t)p->lag_us, "rows", (json_int_t)p->rows, "rows_s", rounded(p->rows_s),
		"entries_s", rounded(p->entries_s), "parked", (json_int_t)p->parked, "syncing",
		p->syncing, "delay_ms", (json_int_t)p->delay_ms);

	if (!o)
		die("a progress record cannot be written");
	put_text(o, "node", p->node);
	put_text(o, "sink", p->sink);
	put_text(o, "state", p->state);
	put_text(o, "reason", p->reason);
	put_text(o, "kind", p->kind);
	put_text(o, "http", p->http);
	if (p->end_lsn)
		json_object_set_new(o, "end_lsn", lsn(p->end_lsn));
	for (int i = 0; i < p->ntables; i++) {
		json_t *name = json_string(p->tables[i]);

		if (name)
			json_array_append_new(tables, name);
	}
	json_object_set_new(o, "tables", tables);
	return o;
}

void
progress_put(struct buf *out, const struct progress *p)
{
	json_t *o = object_of(p);
	char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));

	if (!text)
		die("a progress record cannot be written");
	buf_text(out, text);
	free(text);
	json_decref(o);
}

/* ---- reading ---- */

static const char *
take_text(const json_t *o, const char *name, struct arena *a)
{
	const json_t *v = json_object_get(o, name);

	return json_is_string(v)
	    ? arena_text(a, (struct slice){ json_string_value(v), json_string_length(v) })
	    : "";
}

static int64_t
take_int(const json_t *o, const char *name, int64_t standard)
{
	const json_t *v = json_object_get(o, name);

	return json_is_integer(v) ? (int64_t)json_integer_value(v) : standard;
}

static uint64_t
take_lsn(const json_t *o, const char *name)
{
	uint64_t v = 0;
	const json_t *text = json_object_get(o, name);

	return json_is_string(text) && pg_lsn_parse(json_string_value(text), &v) ? v : 0;
}

static void
take_tables(const json_t *list, struct arena *a, struct progress *p)
{
	size_t n = json_is_array(list) ? json_array_size(list) : 0;

	if (n > TABLES_MAX)
		n = TABLES_MAX;
	p->tables = arena_array(a, n + 1, sizeof *p->tables);
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(list, i);

		if (json_is_string(v))
			p->tables[p->ntables++] = arena_text(a, slice_of(json_string_value(v)));
	}
}

static void
take_members(const json_t *o, struct arena *a, struct progress *p)
{
	const json_t *lag = json_object_get(o, "lag");

	p->node = take_text(o, "node", a);
	p->sink = take_text(o, "sink", a);
	p->state = take_text(o, "state", a);
	p->reason = take_text(o, "reason", a);
	p->kind = take_text(o, "kind", a);
	p->http = take_text(o, "http", a);
	p->at_us = take_int(o, "at_us", 0);
	p->started_us = take_int(o, "started_us", 0);
	p->gen = (uint64_t)take_int(o, "gen", 0);
	p->seq = (uint64_t)take_int(o, "seq", 0);
	p->lsn = take_lsn(o, "lsn");
	p->end_lsn = take_lsn(o, "end_lsn");
	p->commit_us = take_int(o, "commit_us", 0);
	p->lag_entries = take_int(lag, "entries", -1);
	p->lag_bytes = take_int(lag, "bytes", -1);
	p->lag_us = take_int(lag, "us", -1);
	p->rows = (uint64_t)take_int(o, "rows", 0);
	p->rows_s = json_number_value(json_object_get(o, "rows_s"));
	p->entries_s = json_number_value(json_object_get(o, "entries_s"));
	p->parked = take_int(o, "parked", 0);
	p->syncing = json_is_true(json_object_get(o, "syncing"));
	p->delay_ms = take_int(o, "delay_ms", 0);
	take_tables(json_object_get(o, "tables"), a, p);
}

enum rc
progress_take(struct slice json, struct arena *a, struct progress *p, struct err *err)
{
	json_error_t why;
	json_t *o = json_loadb(json.p ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &why);
	const char *role;
	enum rc rc = OK;

	*p = (struct progress){ .node = "" };
	if (!o)
		return fail(err, REJECT, "a progress record is no JSON: %s", why.text);
	role = take_text(o, "role", a);
	if (take_int(o, "v", 0) != VERSION)
		rc = fail(err, REJECT,
		    "a progress record has version %" PRId64 ", this program knows %d",
		    take_int(o, "v", 0), VERSION);
	else if (strcmp(role, roles[PROGRESS_PRODUCER]) != 0 &&
	    strcmp(role, roles[PROGRESS_SINK]) != 0)
		rc = fail(err, REJECT, "a progress record is of role '%.40s'", role);
	if (rc == OK) {
		p->role =
		    strcmp(role, roles[PROGRESS_SINK]) == 0 ? PROGRESS_SINK : PROGRESS_PRODUCER;
		take_members(o, a, p);
		if (!*p->node || !*p->state || !p->at_us || (p->role == PROGRESS_SINK && !*p->sink))
			rc = fail(
			    err, REJECT, "a progress record lacks its node, sink, state or time");
	}
	json_decref(o);
	return rc;
}
