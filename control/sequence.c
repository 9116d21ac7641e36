/*
 * towline sequence: the sequences of a source and of its PostgreSQL sinks, which logical decoding does not carry.
 */
#include "control/command.h"
#include "consumer/mapping.h"
#include "consumer/marker.h"
#include "core/pg.h"
#include "core/quote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum state { EQUAL = 0, AHEAD, BEHIND, MISSING };
static const char *const state_names[] = { "equal", "ahead", "behind", "missing" };

/* What a sequence gives out next is what counts: last + increment, or the start when it was never used. */
struct seq {
	const char *schema, *name, *type, *owner_schema, *owner_table, *owner_column; /* owner_table "": of no column */
	int64_t start, increment, min, max, cache, last;
	bool cycle, used;
};

struct sequences {
	struct call *call;
	const struct conf_sink *sink;
	PGconn *from, *to;
	struct arena arena;
	struct seq *seqs;
	int n;
	int64_t ahead;
	bool copy, create;
	struct buf out;      /* said when all went well */
	bool found_less;     /* some are behind or missing in the end */
};

/*
 * Of the tables that belong to the pipeline, and of no table. pg_sequence_last_value is NULL before the first nextval, and
 * would be without the right to read: asked for apart.
 */
static const char list_sql[] =
    "SELECT n.nspname, c.relname, format_type(s.seqtypid, NULL), coalesce(tn.nspname, ''), coalesce(t.relname, ''),"
    "  coalesce(a.attname, ''), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,"
    "  has_sequence_privilege(c.oid, 'SELECT, USAGE'),"
    "  CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_sequence_last_value(c.oid) END"
    " FROM pg_catalog.pg_sequence s"
    " JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid"
    "  AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')"
    " LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
    " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
    " WHERE c.relpersistence = 'p' AND n.nspname <> 'towline' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
    " ORDER BY 1, 2";

static int64_t
number(const PGresult *res, int row, int col)
{
	return strtoll(PQgetvalue(res, row, col), NULL, 10);
}

static const char *
text(struct sequences *w, const PGresult *res, int row, int col)
{
	return arena_text(&w->arena, slice_of(PQgetvalue(res, row, col)));
}

static enum rc
list_source(struct sequences *w, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(w->from, "list the source's sequences", list_sql, &res, err);

	if (rc != OK)
		return rc;
	w->seqs = arena_array(&w->arena, (size_t)PQntuples(res) + 1, sizeof *w->seqs);
	for (int i = 0; i < PQntuples(res) && rc == OK; i++) {
		struct seq s = {
			.schema = text(w, res, i, 0), .name = text(w, res, i, 1), .type = text(w, res, i, 2),
			.owner_schema = text(w, res, i, 3), .owner_table = text(w, res, i, 4), .owner_column = text(w, res, i, 5),
			.start = number(res, i, 6), .increment = number(res, i, 7), .min = number(res, i, 8), .max = number(res, i, 9),
			.cache = number(res, i, 10), .cycle = *PQgetvalue(res, i, 11) == 't', .used = !PQgetisnull(res, i, 13),
			.last = number(res, i, 13),
		};

		if (*s.owner_table && !conf_wants(w->call->conf, slice_of(s.owner_schema), slice_of(s.owner_table)))
			continue;
		if (*PQgetvalue(res, i, 12) != 't')
			rc = fail(err, FATAL, "sequence %s.%s may not be read; run GRANT SELECT ON SEQUENCE %s.%s TO %s", s.schema, s.name,
			    pg_ident(&w->arena, slice_of(s.schema)), pg_ident(&w->arena, slice_of(s.name)), PQuser(w->from));
		else
			w->seqs[w->n++] = s;
	}
	PQclear(res);
	return rc;
}

/* ---- at the sink ---- */

/* What a table, or a sequence, is called there: the latter follows `schema` and what renames its whole schema. */
static const char *
qualified(struct sequences *w, const char *schema, const char *name)
{
	struct slice to_schema, to_name;
	const char *s, *n;
	size_t size;
	char *out;

	mapping_name(w->sink, slice_of(schema), slice_of(name), &w->arena, &to_schema, &to_name);
	s = pg_ident(&w->arena, to_schema);
	n = pg_ident(&w->arena, to_name);
	size = strlen(s) + strlen(n) + 2;
	out = arena_raw(&w->arena, size);
	snprintf(out, size, "%s.%s", s, n);
	return out;
}

static bool
next_of(const struct seq *s, int64_t *next)
{
	*next = s->start;
	return !s->used || !__builtin_add_overflow(s->last, s->increment, next);
}

static enum rc
look(struct sequences *w, const struct seq *s, enum state *state, struct seq *there, struct err *err)
{
	static const char sql[] =
	    "SELECT s.seqstart, s.seqincrement, pg_sequence_last_value(c.oid) FROM pg_catalog.pg_sequence s"
	    " JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE n.nspname = $1 AND c.relname = $2";
	struct slice schema, name;
	const char *params[2];
	PGresult *res = NULL;
	int64_t here, other;
	enum rc rc;

	mapping_name(w->sink, slice_of(s->schema), slice_of(s->name), &w->arena, &schema, &name);
	params[0] = schema.p;
	params[1] = name.p;
	rc = pg_exec_params(w->to, "look at the sink's sequence", sql, 2, params, &res, err);

	if (rc != OK)
		return rc;
	*there = (struct seq){ 0 };
	*state = MISSING;
	if (PQntuples(res)) {
		*there = (struct seq){ .start = number(res, 0, 0), .increment = number(res, 0, 1),
			.used = !PQgetisnull(res, 0, 2), .last = number(res, 0, 2) };
		if (!next_of(s, &here) || !next_of(there, &other) || here == other)
			*state = EQUAL;
		else
			*state = (here > other) == (s->increment > 0) ? BEHIND : AHEAD;
	}
	PQclear(res);
	return rc;
}

/* As the default of its column, where the sink has that: an identity column of the source too, so that rows of the stream fit in. */
static enum rc
create(struct sequences *w, const struct seq *s, struct err *err)
{
	struct slice owner = mapping_column(
	    w->sink, slice_of(s->owner_schema), slice_of(s->owner_table), slice_of(s->owner_column), &w->arena);
	const char *name = qualified(w, s->schema, s->name), *column = pg_ident(&w->arena, owner);
	const char *table = *s->owner_table && owner.n ? qualified(w, s->owner_schema, s->owner_table) : NULL;
	const char *params[] = { table, owner.p };
	struct buf sql = { 0 };
	PGresult *res = NULL;
	enum rc rc = OK;

	buf_printf(&sql,
	    "CREATE SEQUENCE %s AS %s INCREMENT %" PRId64 " MINVALUE %" PRId64 " MAXVALUE %" PRId64 " START %" PRId64 " CACHE %" PRId64
	    "%s",
	    name, s->type, s->increment, s->min, s->max, s->start, s->cache, s->cycle ? " CYCLE" : "");
	rc = pg_exec(w->to, "create the sequence", buf_cstr(&sql), NULL, err);
	if (rc == OK && table)
		rc = pg_exec_params(w->to, "look at the sequence's column",
		    "SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT atthasdef"
		    " AND attidentity = ''",
		    2, params, &res, err);
	if (rc == OK && table && PQntuples(res)) {
		buf_reset(&sql);
		buf_printf(&sql, "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval(%s); ALTER SEQUENCE %s OWNED BY %s.%s", table, column,
		    pg_literal(&w->arena, slice_of(name)), name, table, column);
		rc = pg_exec(w->to, "give the column its sequence", buf_cstr(&sql), NULL, err);
	}
	PQclear(res);
	buf_free(&sql);
	return rc;
}

/* Only forward; `ahead` more values are passed over, for what the source may still give out. *was_set: it had to be moved. */
static enum rc
move(struct sequences *w, const struct seq *s, const struct seq *there, bool *was_set, struct err *err)
{
	int64_t to = s->last, far, next;
	char value[24];
	const char *params[] = { qualified(w, s->schema, s->name), value };

	if (__builtin_mul_overflow(w->ahead, s->increment, &far) || __builtin_add_overflow(to, far, &to) || to > s->max || to < s->min)
		return fail(
		    err, FATAL, "sequence %s.%s has no %" PRId64 " values left; take a smaller --ahead", s->schema, s->name, w->ahead);
	if (!next_of(there, &next) || (s->increment > 0 ? next > to : next < to))
		return OK;
	*was_set = true;
	snprintf(value, sizeof value, "%" PRId64, to);
	return pg_exec_params(w->to, "set the sequence", "SELECT pg_catalog.setval($1::regclass, $2::bigint, true)", 2, params, NULL, err);
}

/* ---- what is said ---- */

static void
put_value(struct buf *b, const struct seq *s, bool there)
{
	if (there && s->used)
		buf_printf(b, "%" PRId64, s->last);
	else
		buf_text(b, there ? "null" : "none");
}

static void
say(struct sequences *w, const struct seq *s, const struct seq *there, enum state state, bool was_set)
{
	struct buf *b = &w->out, name = { 0 };

	buf_printf(&name, "%s.%s", s->schema, s->name);
	if (w->call->json) {
		buf_printf(b, "%s{\"sink\":\"%s\",\"sequence\":", b->n ? "," : "[", w->sink->name);
		quote_json(b, buf_view(&name));
		buf_text(b, ",\"source\":");
		put_value(b, s, true);
		buf_text(b, ",\"at_sink\":");
		put_value(b, there, true);
		buf_printf(b, ",\"state\":\"%s\",\"set\":%s}", state_names[state], was_set ? "true" : "false");
	} else {
		buf_printf(b, "%-12s %-32s %-8s source ", w->sink->name, buf_cstr(&name), state_names[state]);
		put_value(b, s, true);
		buf_text(b, ", sink ");
		put_value(b, there, state != MISSING);
		buf_text(b, was_set ? "  (set)\n" : "\n");
	}
	buf_free(&name);
}

static enum rc
treat(struct sequences *w, const struct seq *s, struct err *err)
{
	struct seq there;
	enum state state;
	bool was_set = false;
	enum rc rc = look(w, s, &state, &there, err);

	if (rc == OK && state == MISSING && w->create) {
		was_set = true;
		rc = create(w, s, err);
		if (rc == OK)
			rc = look(w, s, &state, &there, err);
	}
	if (rc == OK && w->copy && s->used && state != MISSING)
		rc = move(w, s, &there, &was_set, err);
	if (rc == OK && was_set)
		rc = look(w, s, &state, &there, err);
	if (rc != OK)
		return rc;
	w->found_less = w->found_less || state == BEHIND || state == MISSING;
	say(w, s, &there, state, was_set);
	return OK;
}

/* ---- the sinks ---- */

/* One sink, wholly or not at all. (setval itself is not undone; a sequence that is further on harms nobody.) */
static enum rc
treat_sink(struct sequences *w, const struct conf_sink *sink, struct err *err)
{
	enum rc rc = pg_connect(sink->url, false, &w->to, err);

	w->sink = sink;
	if (rc == OK)
		rc = pg_exec(w->to, "begin", w->copy ? "BEGIN" : "BEGIN READ ONLY", NULL, err);
	for (int i = 0; i < w->n && rc == OK; i++)
		if (!*w->seqs[i].owner_table || conf_sink_wants(sink, slice_of(w->seqs[i].owner_schema), slice_of(w->seqs[i].owner_table)))
			rc = treat(w, &w->seqs[i], err);
	if (rc == OK)
		rc = pg_exec(w->to, "commit", "COMMIT", NULL, err);
	PQfinish(w->to);
	w->to = NULL;
	return rc == OK ? OK : fail_in(err, "sink %s", sink->name);
}

static enum rc
take_sink(struct call *call, const struct conf_sink **one)
{
	const char *name = call->argc > 1 ? call->argv[1] : NULL;
	int fit = 0;

	*one = name ? conf_sink(call->conf, name) : NULL;
	if (name && !*one)
		return fail_exit(&call->err, FATAL, EXIT_CONFIG, "there is no sink '%s' in the configuration", name);
	if (*one && marker_sqlite_path((*one)->url))
		return fail_exit(&call->err, FATAL, EXIT_USAGE, "sink %s is a SQLite store, which has no sequences", name);
	for (int i = 0; i < call->conf->nsinks; i++)
		fit += !marker_sqlite_path(call->conf->sinks[i].url);
	if (fit)
		return OK;
	return fail_exit(&call->err, FATAL, EXIT_CONFIG, "no sink of the configuration is in PostgreSQL; others have no sequences");
}

static enum rc
take_call(struct sequences *w)
{
	struct call *call = w->call;
	const char *what = call->argv[0], *source = call->conf->source_url;
	enum rc rc;

	w->copy = strcmp(what, "copy") == 0;
	w->create = call_option(call, "create") != NULL;
	if (!w->copy && strcmp(what, "ls") != 0)
		return call_usage(call, "sequence takes ls or copy, not '%.60s'", what);
	rc = call_number(call, "ahead", 0, 0, INT64_C(1) << 40, &w->ahead);
	if (rc == OK && !w->copy && (w->create || w->ahead))
		return call_usage(call, "--create and --ahead are of copy");
	if (rc == OK && (!source || marker_sqlite_path(source)))
		return fail_exit(&call->err, FATAL, EXIT_CONFIG, "sequences are PostgreSQL's: the configuration has no such source");
	return rc;
}

int
cmd_sequence(struct call *call)
{
	struct sequences w = { .call = call };
	const struct conf_sink *one = NULL;
	enum rc rc = take_call(&w);

	if (rc == OK)
		rc = take_sink(call, &one);
	if (rc == OK && (rc = pg_connect(call->conf->source_url, false, &w.from, &call->err)) == OK)
		rc = list_source(&w, &call->err);
	if (rc != OK && w.from)
		fail_in(&call->err, "source");
	for (int i = 0; i < call->conf->nsinks && rc == OK; i++) {
		const struct conf_sink *sink = &call->conf->sinks[i];

		if (one ? sink == one : !marker_sqlite_path(sink->url))
			rc = treat_sink(&w, sink, &call->err);
	}
	if (rc == OK && call->json)
		buf_text(&w.out, w.out.n ? "]\n" : "[]\n");
	if (rc == OK)
		fwrite(w.out.p, 1, w.out.n, stdout);
	buf_free(&w.out);
	PQfinish(w.from);
	arena_free(&w.arena);
	if (rc != OK)
		return (int)call->err.exit;
	return w.found_less ? EXIT_DIFFERENT : EXIT_DONE;
}

static const struct command_option sequence_options[] = {
	{ "ahead", 0, "N", "of copy: pass over N more values, for what the source may still give out" },
	{ "create", 0, NULL, "of copy: make those that a sink lacks, as the default of their column" },
};

const struct command command_sequence = {
	.name = "sequence",
	.summary = "compare the sequences of source and sinks, copy them before a sink takes over",
	.usage = "ls [SINK] | copy [SINK] [--ahead N] [--create]",
	.examples = "towline sequence ls\ntowline sequence copy reports --create\n",
	.detail =
	    "Sequences are not in the stream: before applications write to a sink, copy them, after the last write at the source, or\n"
	    "with --ahead. They are only moved forward. Exit code 6: one is behind the source, or missing.\n",
	.options = sequence_options,
	.noptions = COUNTOF(sequence_options),
	.args_min = 1,
	.args_max = 2,
	.run = cmd_sequence,
};
