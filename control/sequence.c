/*
 * towline sequence: the sequences of a source and of its PostgreSQL sinks, which logical decoding does not carry.
 */
#include "control/sequence.h"
#include "consumer/mapping.h"
#include "consumer/marker.h"
#include "control/command.h"
#include "core/pg.h"
#include "core/quote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *
sequence_state_name(enum sequence_state s)
{
	static const char *const names[] = { "equal", "ahead", "behind", "missing" };

	return names[s];
}

/* What a sequence gives out next is what counts: last + increment, or the start when it was never used. */
struct seq {
	const char *schema, *name, *type, *owner_schema, *owner_table, *owner_column; /* owner_table "": of no column */
	int64_t start, increment, min, max, cache, last;
	bool cycle, used;
};

struct sequences {
	const struct conf *conf;
	const struct conf_sink *sink;
	PGconn *from, *to;
	struct arena *a;
	struct seq *seqs;
	int n;
	struct sequence_how how;
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
	return arena_text(w->a, slice_of(PQgetvalue(res, row, col)));
}

static enum rc
list_source(struct sequences *w, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(w->from, "list the source's sequences", list_sql, &res, err);

	if (rc != OK)
		return rc;
	w->seqs = arena_array(w->a, (size_t)PQntuples(res) + 1, sizeof *w->seqs);
	for (int i = 0; i < PQntuples(res) && rc == OK; i++) {
		struct seq s = {
			.schema = text(w, res, i, 0), .name = text(w, res, i, 1), .type = text(w, res, i, 2),
			.owner_schema = text(w, res, i, 3), .owner_table = text(w, res, i, 4), .owner_column = text(w, res, i, 5),
			.start = number(res, i, 6), .increment = number(res, i, 7), .min = number(res, i, 8), .max = number(res, i, 9),
			.cache = number(res, i, 10), .cycle = *PQgetvalue(res, i, 11) == 't', .used = !PQgetisnull(res, i, 13),
			.last = number(res, i, 13),
		};

		if (*s.owner_table && !conf_wants(w->conf, slice_of(s.owner_schema), slice_of(s.owner_table)))
			continue;
		if (*PQgetvalue(res, i, 12) != 't')
			rc = fail(err, FATAL, "sequence %s.%s may not be read; run GRANT SELECT ON SEQUENCE %s.%s TO %s", s.schema, s.name,
			    pg_ident(w->a, slice_of(s.schema)), pg_ident(w->a, slice_of(s.name)), PQuser(w->from));
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

	mapping_name(w->sink, slice_of(schema), slice_of(name), w->a, &to_schema, &to_name);
	s = pg_ident(w->a, to_schema);
	n = pg_ident(w->a, to_name);
	size = strlen(s) + strlen(n) + 2;
	out = arena_raw(w->a, size);
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
look(struct sequences *w, const struct seq *s, enum sequence_state *state, struct seq *there, struct err *err)
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

	mapping_name(w->sink, slice_of(s->schema), slice_of(s->name), w->a, &schema, &name);
	params[0] = schema.p;
	params[1] = name.p;
	rc = pg_exec_params(w->to, "look at the sink's sequence", sql, 2, params, &res, err);

	if (rc != OK)
		return rc;
	*there = (struct seq){ 0 };
	*state = SEQUENCE_MISSING;
	if (PQntuples(res)) {
		*there = (struct seq){ .start = number(res, 0, 0), .increment = number(res, 0, 1),
			.used = !PQgetisnull(res, 0, 2), .last = number(res, 0, 2) };
		if (!next_of(s, &here) || !next_of(there, &other) || here == other)
			*state = SEQUENCE_EQUAL;
		else
			*state = (here > other) == (s->increment > 0) ? SEQUENCE_BEHIND : SEQUENCE_AHEAD;
	}
	PQclear(res);
	return rc;
}

/* As the default of its column, where the sink has that: an identity column of the source too, so that rows of the stream fit in. */
static enum rc
create(struct sequences *w, const struct seq *s, struct err *err)
{
	struct slice owner = mapping_column(
	    w->sink, slice_of(s->owner_schema), slice_of(s->owner_table), slice_of(s->owner_column), w->a);
	const char *name = qualified(w, s->schema, s->name), *column = pg_ident(w->a, owner);
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
		    pg_literal(w->a, slice_of(name)), name, table, column);
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

	if (__builtin_mul_overflow(w->how.ahead, s->increment, &far) || __builtin_add_overflow(to, far, &to) || to > s->max || to < s->min)
		return fail(
		    err, FATAL, "sequence %s.%s has no %" PRId64 " values left; take a smaller --ahead", s->schema, s->name, w->how.ahead);
	if (!next_of(there, &next) || (s->increment > 0 ? next > to : next < to))
		return OK;
	*was_set = true;
	snprintf(value, sizeof value, "%" PRId64, to);
	return pg_exec_params(w->to, "set the sequence", "SELECT pg_catalog.setval($1::regclass, $2::bigint, true)", 2, params, NULL, err);
}

static enum rc
treat(struct sequences *w, const struct seq *s, struct sequence_found *out, struct err *err)
{
	struct seq there;
	enum sequence_state state;
	bool was_set = false;
	enum rc rc = look(w, s, &state, &there, err);

	if (rc == OK && state == SEQUENCE_MISSING && w->how.create) {
		was_set = true;
		rc = create(w, s, err);
		if (rc == OK)
			rc = look(w, s, &state, &there, err);
	}
	if (rc == OK && w->how.copy && s->used && state != SEQUENCE_MISSING)
		rc = move(w, s, &there, &was_set, err);
	if (rc == OK && was_set)
		rc = look(w, s, &state, &there, err);
	if (rc == OK)
		*out = (struct sequence_found){ .sink = w->sink->name, .name = arena_printf(w->a, "%s.%s", s->schema, s->name),
			.state = state, .used = s->used, .last = s->last,
			.used_there = there.used, .last_there = there.last, .set = was_set };
	return rc;
}

/* (setval itself is not undone; a sequence that is further on harms nobody.) */
enum rc
sequences_treat(struct sequences *w, const struct conf_sink *sink, const struct sequence_how *how, struct sequence_found **found, int *n,
    struct err *err)
{
	enum rc rc = pg_connect(sink->url, false, &w->to, err);

	w->sink = sink;
	w->how = *how;
	*found = arena_array(w->a, (size_t)w->n + 1, sizeof **found);
	*n = 0;
	if (rc == OK)
		rc = pg_exec(w->to, "begin", w->how.copy ? "BEGIN" : "BEGIN READ ONLY", NULL, err);
	for (int i = 0; i < w->n && rc == OK; i++)
		if (!*w->seqs[i].owner_table || conf_sink_wants(sink, slice_of(w->seqs[i].owner_schema), slice_of(w->seqs[i].owner_table)))
			rc = treat(w, &w->seqs[i], &(*found)[(*n)++], err);
	if (rc == OK)
		rc = pg_exec(w->to, "commit", "COMMIT", NULL, err);
	PQfinish(w->to);
	w->to = NULL;
	return rc == OK ? OK : fail_in(err, "sink %s", sink->name);
}

enum rc
sequences_open(const struct conf *conf, struct arena *a, struct sequences **out, struct err *err)
{
	struct sequences *w = arena_new(a, struct sequences);
	enum rc rc;

	*w = (struct sequences){ .conf = conf, .a = a };
	*out = w;
	rc = pg_connect(conf->source_url, false, &w->from, err);
	if (rc == OK)
		rc = list_source(w, err);
	return rc == OK ? OK : fail_in(err, "source");
}

void
sequences_close(struct sequences *w)
{
	if (w)
		PQfinish(w->from);
}

/* ---- towline sequence ---- */

void
sequence_put_last(struct buf *b, bool there, bool used, int64_t last, const char *unused)
{
	if (there && used)
		buf_printf(b, "%" PRId64, last);
	else
		buf_text(b, there ? unused : "none");
}

static void
say(struct buf *b, const struct sequence_found *f, bool json)
{
	if (json) {
		buf_printf(b, "%s{\"sink\":\"%s\",\"sequence\":", b->n ? "," : "[", f->sink);
		quote_json(b, slice_of(f->name));
		buf_text(b, ",\"source\":");
		sequence_put_last(b, true, f->used, f->last, "null");
		buf_text(b, ",\"at_sink\":");
		sequence_put_last(b, true, f->used_there, f->last_there, "null");
		buf_printf(b, ",\"state\":\"%s\",\"set\":%s}", sequence_state_name(f->state), f->set ? "true" : "false");
		return;
	}
	buf_printf(b, "%-12s %-32s %-8s source ", f->sink, f->name, sequence_state_name(f->state));
	sequence_put_last(b, true, f->used, f->last, "null");
	buf_text(b, ", sink ");
	sequence_put_last(b, f->state != SEQUENCE_MISSING, f->used_there, f->last_there, "null");
	buf_text(b, f->set ? "  (set)\n" : "\n");
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
take_call(struct call *call, struct sequence_how *how)
{
	const char *what = call->argv[0], *source = call->conf->source_url;
	enum rc rc;

	how->copy = strcmp(what, "copy") == 0;
	how->create = call_option(call, "create") != NULL;
	if (!how->copy && strcmp(what, "ls") != 0)
		return call_usage(call, "sequence takes ls or copy, not '%.60s'", what);
	rc = call_number(call, "ahead", 0, 0, INT64_C(1) << 40, &how->ahead);
	if (rc == OK && !how->copy && (how->create || how->ahead))
		return call_usage(call, "--create and --ahead are of copy");
	if (rc == OK && (!source || marker_sqlite_path(source)))
		return fail_exit(&call->err, FATAL, EXIT_CONFIG, "sequences are PostgreSQL's: the configuration has no such source");
	return rc;
}

int
cmd_sequence(struct call *call)
{
	struct sequence_how how = { 0 };
	struct sequences *w = NULL;
	struct arena a = { 0 };
	struct buf out = { 0 }; /* said when all went well */
	const struct conf_sink *one = NULL;
	bool less = false;
	enum rc rc = take_call(call, &how);

	if (rc == OK)
		rc = take_sink(call, &one);
	if (rc == OK)
		rc = sequences_open(call->conf, &a, &w, &call->err);
	for (int i = 0; i < call->conf->nsinks && rc == OK; i++) {
		const struct conf_sink *sink = &call->conf->sinks[i];
		struct sequence_found *found = NULL;
		int n = 0;

		if (one ? sink == one : !marker_sqlite_path(sink->url))
			rc = sequences_treat(w, sink, &how, &found, &n, &call->err);
		for (int k = 0; k < n && rc == OK; k++) {
			less = less || sequence_is_less(&found[k]);
			say(&out, &found[k], call->json);
		}
	}
	if (rc == OK && call->json)
		buf_text(&out, out.n ? "]\n" : "[]\n");
	if (rc == OK)
		fwrite(out.p, 1, out.n, stdout);
	buf_free(&out);
	sequences_close(w);
	arena_free(&a);
	if (rc != OK)
		return (int)call->err.exit;
	return less ? EXIT_DIFFERENT : EXIT_DONE;
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
