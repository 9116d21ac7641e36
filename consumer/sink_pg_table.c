/*
 * A table at the sink: looked up by name, its columns matched by name, made or widened where the
 * configuration allows it.
 */
#include "consumer/mapping.h"
#include "consumer/sink_pg.h"
#include "core/log.h"
#include "schemas/pgtypes.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- cache ---- */

struct pg_target *
table_find(struct sink_pg *s, const struct table *tbl)
{
	struct pg_target *t;

	HASH_FIND_PTR(s->targets, &tbl, t);
	return t;
}

static void
stmt_drop(struct sink_pg *s, const struct stmt *st)
{
	char sql[64];
	int n = snprintf(sql, sizeof sql, "DEALLOCATE %s", st->name);

	if (!st->sent || n < 0 || PQstatus(s->conn) == CONNECTION_BAD || s->broken)
		return;
	copy_finish(s);
	if (PQpipelineStatus(s->conn) == PQ_PIPELINE_OFF) {
		PQclear(PQexec(s->conn, sql));
		return;
	}
	pipe_sent(s, PQsendQueryParams(s->conn, sql, 0, NULL, NULL, NULL, NULL, 0),
	    (struct sent){ .kind = SENT_CONTROL, .must_hit = -1 });
}

static void
target_free(struct sink_pg *s, struct pg_target *t)
{
	pipe_forget(s, t);
	for (struct stmt *st = t->stmts, *next; st; st = next) {
		next = st->next;
		stmt_drop(s, st);
		free(st);
	}
	HASH_DEL(s->targets, t);
	arena_free(&t->arena);
	free(t);
}

void
table_forget(struct sink_pg *s, const struct table *tbl)
{
	struct pg_target *t = table_find(s, tbl);

	if (t)
		target_free(s, t);
}

void
table_forget_name(struct sink_pg *s, const char *name)
{
	struct pg_target *t, *next;

	HASH_ITER(hh, s->targets, t, next)
		if (strcmp(t->t.name, name) == 0)
			target_free(s, t);
}

void
table_forget_open(struct sink_pg *s)
{
	struct pg_target *t, *next;

	HASH_ITER(hh, s->targets, t, next)
		if (t->in_txn)
			target_free(s, t);
}

void
table_forget_all(struct sink_pg *s)
{
	struct pg_target *t, *next;

	HASH_ITER(hh, s->targets, t, next)
		target_free(s, t);
}

/* Keeps the list short: a statement of more than STMTS_MAX others ago is given up. */
static void
stmts_trim(struct sink_pg *s, struct pg_target *t)
{
	struct stmt **at = &t->stmts;

	if (t->nstmts <= STMTS_MAX)
		return;
	while ((*at)->next)
		at = &(*at)->next;
	for (uint32_t i = 0; i < s->sent_n; i++)
		if (s->sent[(s->sent_head + i) % s->sent_cap].stmt == *at)
			s->sent[(s->sent_head + i) % s->sent_cap].stmt = NULL;
	stmt_drop(s, *at);
	free(*at);
	*at = NULL;
	t->nstmts--;
}

/* In one piece of memory, so that it can go alone. */
static struct stmt *
stmt_new(struct pg_target *t, enum plan_kind kind, const uint8_t *flags)
{
	struct arena a = { 0 };
	struct plan p = plan_make(&t->t, kind, flags, &a);
	size_t n = (size_t)t->t.ncols, params = (size_t)p.nparams * sizeof *p.params,
	       sql = p.sql ? strlen(p.sql) + 1 : 0;
	struct stmt *st = calloc(1, sizeof *st + params + n + sql);
	char *at = (char *)(st + 1);

	if (!st)
		die("out of memory");
	st->kind = kind;
	st->plan = (struct plan){ .nparams = p.nparams, .params = memcpy(at, p.params, params) };
	st->flags = memcpy(at + params, flags, n);
	if (p.sql)
		st->plan.sql = memcpy(at + params + n, p.sql, sql);
	arena_free(&a);
	return st;
}

struct stmt *
table_stmt(struct sink_pg *s, struct pg_target *t, enum plan_kind kind, const uint8_t *flags)
{
	size_t n = (size_t)t->t.ncols;
	struct stmt *st;

	for (struct stmt **at = &t->stmts; (st = *at); at = &st->next)
		if (st->kind == kind && memcmp(st->flags, flags, n) == 0) {
			*at = st->next;
			st->next = t->stmts;
			return t->stmts = st;
		}
	st = stmt_new(t, kind, flags);
	snprintf(st->name, sizeof st->name, "tl_%llu", (unsigned long long)++s->stmt_no);
	st->next = t->stmts;
	t->stmts = st;
	t->nstmts++;
	stmts_trim(s, t);
	return st;
}

/* ---- catalogue ---- */

static const char relation_sql[] =
	"SELECT c.oid, c.relkind = 'p' OR c.relhassubclass,"
	" c.relkind IN ('r', 'p') AND NOT c.relhasrules AND NOT c.relrowsecurity"
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	" WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v')";

/*
 * Domains are followed to their base: that is what arrays are made of, and what modifiers belong
 * to.
 */
static const char columns_sql[] =
	"WITH RECURSIVE base (attnum, oid) AS ("
	" SELECT attnum, atttypid FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped"
	" UNION ALL SELECT b.attnum, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd')"
	" SELECT a.attname, t.oid, t.typarray, format_type(t.oid, -1), a.attgenerated <> '', a.attidentity = 'a', t.typtype,"
	" (SELECT quote_ident(n.nspname) FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace"
	"  WHERE o.oprname = '=' AND o.oprleft = t.oid AND o.oprright = t.oid AND n.nspname <> 'pg_catalog' LIMIT 1),"
	" a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', format_type(a.atttypid, a.atttypmod),"
	" a.atttypmod, a.attnotnull, a.atttypid <> t.oid"
	" FROM base b JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd'"
	" JOIN pg_attribute a ON a.attrelid = $1::oid AND a.attnum = b.attnum ORDER BY a.attnum";

/*
 * A unique index over exactly these columns, as ON CONFLICT can use it: not partial, not
 * deferrable.
 */
static const char unique_sql[] =
	"SELECT 1 FROM pg_index i WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate"
	" AND i.indpred IS NULL AND i.indexprs IS NULL"
	" AND (SELECT array_agg(k ORDER BY k) FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) k) ="
	" (SELECT array_agg(a.attnum ORDER BY a.attnum) FROM pg_attribute a"
	"  WHERE a.attrelid = $1::oid AND a.attname = ANY ($2::text[]))";

static enum rc
find_relation(struct sink_pg *s, struct pg_target *t, struct pg_found *w, struct err *err)
{
	const char *params[] = { w->schema, t->tbl->name.p };
	PGresult *res;
	enum rc rc =
	    pg_exec_params(s->conn, "look up the table", relation_sql, 2, params, &res, err);

	if (rc != OK)
		return rc;
	if (PQntuples(res) > 0) {
		w->oid = arena_text(&t->arena, slice_of(PQgetvalue(res, 0, 0)));
		w->children = *PQgetvalue(res, 0, 1) == 't';
		t->t.copies = *PQgetvalue(res, 0, 2) == 't';
	}
	PQclear(res);
	return OK;
}

static void
take_column(struct pg_target *t, struct pg_found *w, const PGresult *res, int row)
{
	int col = table_column(t->tbl, slice_of(PQgetvalue(res, row, 0)));
	struct target_column *c;
	const struct wire_type *type;

	if (col < 0 || *PQgetvalue(res, row, 4) == 't')
		return;
	type = &t->tbl->cols[col].type;
	c = &t->t.cols[col];
	c->name = t->tbl->cols[col].name;
	c->typid = (uint32_t)strtoul(PQgetvalue(res, row, 1), NULL, 10);
	c->arrayid = (uint32_t)strtoul(PQgetvalue(res, row, 2), NULL, 10);
	c->type = arena_text(&t->arena, slice_of(PQgetvalue(res, row, 3)));
	c->identity_always = *PQgetvalue(res, row, 5) == 't';
	c->by_text = !plan_has_equality(c->typid, *PQgetvalue(res, row, 6));
	c->domain = *PQgetvalue(res, row, 12) == 't' && strchr("ec", *PQgetvalue(res, row, 6));
	if (!PQgetisnull(res, row, 7))
		c->operators = arena_text(&t->arena, slice_of(PQgetvalue(res, row, 7)));
	w->have[col] = (struct reshape_pg){ .oid = c->typid,
		.typmod = (int32_t)strtol(PQgetvalue(res, row, 10), NULL, 10),
		.typtype = *PQgetvalue(res, row, 12) == 't' ? 'd' : *PQgetvalue(res, row, 6) };
	w->notnull[col] = *PQgetvalue(res, row, 11) == 't';
	/* Arrays of arrays cannot be unnested: an array column goes as text. */
	c->binary = type->wire != W_ARRAY && c->arrayid && pgtype_can_binary(type, c->typid);
}

static enum rc
read_columns(struct sink_pg *s, struct pg_target *t, struct pg_found *w, struct err *err)
{
	PGresult *res;
	enum rc rc =
	    pg_exec_params(s->conn, "look up the columns", columns_sql, 1, &w->oid, &res, err);

	if (rc != OK)
		return rc;
	w->extra = arena_array(&t->arena, (size_t)PQntuples(res) + 1, sizeof *w->extra);
	w->nextra = 0;
	for (int i = 0; i < PQntuples(res); i++) {
		int col = table_column(t->tbl, slice_of(PQgetvalue(res, i, 0)));

		take_column(t, w, res, i);
		if (col >= 0)
			w->generated[col] = *PQgetvalue(res, i, 4) == 't';
		else if (*PQgetvalue(res, i, 4) != 't' &&
		    (*PQgetvalue(res, i, 8) == 't' || !mapping_left_out(t->source, t->tbl, PQgetvalue(res, i, 0))))
			w->extra[w->nextra++] = (struct sink_extra){
				.name = arena_text(&t->arena, slice_of(PQgetvalue(res, i, 0))),
				.type = arena_text(&t->arena, slice_of(PQgetvalue(res, i, 9))),
				.needed = *PQgetvalue(res, i, 8) == 't' };
	}
	PQclear(res);
	return OK;
}

static enum rc
find_unique(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err)
{
	struct buf names = { 0 };
	const char *params[] = { w->oid, NULL };
	PGresult *res;
	enum rc rc;

	if (t->tbl->nkeys == 0)
		return OK;
	for (int i = 0; i < t->tbl->nkeys; i++) {
		buf_byte(&names, i ? ',' : '{');
		buf_quoted(&names, t->tbl->cols[t->tbl->keys[i]].name);
	}
	buf_byte(&names, '}');
	params[1] = buf_cstr(&names);
	rc = pg_exec_params(s->conn, "look up the key's index", unique_sql, 2, params, &res, err);
	buf_free(&names);
	if (rc != OK)
		return rc;
	t->t.unique = PQntuples(res) > 0;
	PQclear(res);
	return OK;
}

/* ---- DDL ---- */

static const char *
column_type(struct pg_target *t, int col)
{
	const struct column *c = &t->tbl->cols[col];

	return pgtype_create(&c->type, c->type_name, &t->arena);
}

/* json has no order, so a key that came as Json was jsonb. */
static const char *
key_type(struct pg_target *t, int col)
{
	const char *type = column_type(t, col);

	return strcmp(type, "json") == 0 ? "jsonb" : type;
}

static enum rc
create_schema(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err)
{
	PGresult *res;
	enum rc rc = pg_exec_params(s->conn, "look up the schema",
	    "SELECT 1 FROM pg_namespace WHERE nspname = $1", 1, &w->schema, &res, err);
	bool there;

	if (rc != OK)
		return rc;
	there = PQntuples(res) > 0;
	PQclear(res);
	/* IF NOT EXISTS asks for the right to create before it looks. */
	if (there)
		return OK;
	return pg_ddl(s, "create the schema",
	    arena_printf(&t->arena, "CREATE SCHEMA IF NOT EXISTS %s",
		pg_ident(&t->arena, slice_of(w->schema))),
	    err);
}

static bool
is_key(const struct table *tbl, int col)
{
	for (int i = 0; i < tbl->nkeys; i++)
		if (tbl->keys[i] == col)
			return true;
	return false;
}

static const char *
create_sql(struct pg_target *t)
{
	const struct table *tbl = t->tbl;
	struct buf sql = { 0 };
	const char *text, *sep = "";

	buf_printf(&sql, "CREATE TABLE IF NOT EXISTS %s (", t->t.name);
	for (int i = 0; i < tbl->ncols; i++) {
		if (!tbl->cols[i].name.n)
			continue;
		buf_printf(&sql, "%s%s %s%s", sep, pg_ident(&t->arena, tbl->cols[i].name),
		    is_key(tbl, i) ? key_type(t, i) : column_type(t, i), tbl->cols[i].notnull || is_key(tbl, i) ? " NOT NULL" : "");
		sep = ", ";
	}
	for (int i = 0; i < tbl->nkeys; i++)
		buf_printf(&sql, "%s%s", i ? ", " : ", PRIMARY KEY (",
		    pg_ident(&t->arena, tbl->cols[tbl->keys[i]].name));
	buf_text(&sql, tbl->nkeys ? "))" : ")");
	text = arena_text(&t->arena, buf_view(&sql));
	buf_free(&sql);
	return text;
}

static enum rc
create_table(struct sink_pg *s, struct pg_target *t, struct pg_found *w, struct err *err)
{
	enum rc rc;

	if (!s->sink.conf->create_tables)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s does not exist at the sink; create it, or set create_tables: true",
		    t->t.name);
	if ((rc = create_schema(s, t, w, err)) != OK)
		return rc;
	if ((rc = pg_ddl(s, t->t.name, create_sql(t), err)) != OK)
		return rc;
	log_info("sink", "table created", "sink=%s table=%s", s->sink.conf->name, t->t.name);
	if ((rc = find_relation(s, t, w, err)) != OK)
		return rc;
	return w->oid ? OK : fail(err, RETRY, "table %s was created but is not there", t->t.name);
}

static enum rc
add_column(struct sink_pg *s, struct pg_target *t, int col, struct err *err)
{
	const struct column *c = &t->tbl->cols[col];
	enum sink_policy policy = sink_policy(s->sink.conf);
	const char *sql = arena_printf(&t->arena, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s%s",
	    t->t.name, pg_ident(&t->arena, c->name), column_type(t, col),
	    sink_default(DIALECT_PG, c, &t->arena));
	enum rc rc;

	if (policy == SINK_IGNORE) {
		if (is_key(t->tbl, col))
			return fail_exit(err, FATAL, EXIT_REFUSED,
			    "table %s lacks the key column %s at the sink; %s", t->t.name,
			    c->name.p, sql);
		log_warn("sink", "a column is left out", "sink=%s table=%s column=%s",
		    s->sink.conf->name, t->t.name, c->name.p);
		return OK;
	}
	if (policy == SINK_STOP)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s lacks column %s at the sink; %s", t->t.name, c->name.p, sql);
	if ((rc = pg_ddl(s, t->t.name, sql, err)) != OK)
		return rc;
	log_info("sink", "column added", "sink=%s table=%s column=%s", s->sink.conf->name,
	    t->t.name, c->name.p);
	return OK;
}

/*
 * The version of the table that this session has met last. What it did not have either was not lost by a change that came after it.
 */
const struct table *
pg_version_before(const struct sink_pg *s, const struct pg_target *t)
{
	const struct table *last = NULL;

	for (const struct pg_target *o = s->targets; o; o = o->hh.next)
		if (strcmp(o->t.name, t->t.name) == 0)
			last = o->tbl;
	return last;
}

static enum rc
has_rows(struct sink_pg *s, struct pg_target *t, bool *rows, struct err *err)
{
	PGresult *res;
	enum rc rc = pg_exec(s->conn, t->t.name,
	    arena_printf(&t->arena, "SELECT EXISTS (SELECT FROM %s)", t->t.name), &res, err);

	if (rc != OK)
		return rc;
	*rows = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	return OK;
}

/* Columns to add must be such that the rows which are there get the source's values. */
static enum rc
check_added(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err)
{
	enum sink_policy policy = sink_policy(s->sink.conf);
	const struct table *before = pg_version_before(s, t);
	bool rows = before != NULL; /* its rows may be about to come */
	enum rc rc = OK;

	if (policy != SINK_APPLY)
		return OK;
	for (int i = 0; rc == OK && i < t->tbl->ncols; i++) {
		struct sink_adding add = { .dialect = DIALECT_PG, .table = t->t.name, .before = before,
			.col = &t->tbl->cols[i], .extra = w->extra, .nextra = w->nextra };

		if (t->t.cols[i].name.n || w->generated[i] || !t->tbl->cols[i].name.n)
			continue;
		add.type = column_type(t, i);
		if (sink_add_check(&add, &t->arena, err) == OK)
			continue;
		/* Known to be new, it is our producer's: what it published before is here. */
		if (!rows || add.col->fresh)
			rc = has_rows(s, t, &rows, err);
		if (rc == OK && !rows)
			return OK;
		if (rc == OK)
			rc = sink_add_check(&add, &t->arena, err);
	}
	return rc;
}

/* No row that comes has a value for it: dropped at the source, most likely. */
static enum rc
free_column(struct sink_pg *s, struct pg_target *t, const struct sink_extra *x, struct err *err)
{
	enum sink_policy policy = sink_policy(s->sink.conf);
	const char *sql = arena_printf(&t->arena, "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", t->t.name,
	    pg_ident(&t->arena, slice_of(x->name)));
	enum rc rc;

	if (policy != SINK_APPLY)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s: column %s is NOT NULL without a default at the sink, and the source does not have it; %s", t->t.name,
		    x->name, sql);
	if ((rc = pg_exec(s->conn, t->t.name, sql, NULL, err)) != OK)
		return rc;
	log_info("sink", "column is no longer NOT NULL: the source does not have it", "sink=%s table=%s column=%s",
	    s->sink.conf->name, t->t.name, x->name);
	return OK;
}

static enum rc
match_columns(struct sink_pg *s, struct pg_target *t, struct pg_found *w, struct err *err)
{
	bool added = false;
	enum rc rc;

	w->generated = arena_array(&t->arena, (size_t)t->tbl->ncols + 1, sizeof *w->generated);
	w->have = arena_array(&t->arena, (size_t)t->tbl->ncols + 1, sizeof *w->have);
	w->notnull = arena_array(&t->arena, (size_t)t->tbl->ncols + 1, sizeof *w->notnull);
	rc = pg_rename_columns(s, t, w, err);
	if (rc == OK)
		rc = read_columns(s, t, w, err);
	if (rc == OK)
		rc = check_added(s, t, w, err);
	for (int i = 0; rc == OK && i < t->tbl->ncols; i++)
		if (!t->t.cols[i].name.n && !w->generated[i] && t->tbl->cols[i].name.n) {
			rc = add_column(s, t, i, err);
			added = true;
		}
	for (int i = 0; rc == OK && i < w->nextra; i++)
		if (w->extra[i].needed)
			rc = free_column(s, t, &w->extra[i], err);
	if (rc == OK && added)
		rc = read_columns(s, t, w, err);
	if (rc == OK)
		rc = pg_fit_columns(s, t, w, &added, err);
	if (rc == OK && added)
		rc = read_columns(s, t, w, err);
	for (int i = 0; rc == OK && i < t->tbl->nkeys; i++)
		if (!t->t.cols[t->tbl->keys[i]].name.n)
			rc = fail_exit(err, FATAL, EXIT_REFUSED,
			    "key column %s of table %s is generated at the sink; make it a plain column",
			    t->tbl->cols[t->tbl->keys[i]].name.p, t->t.name);
	return rc;
}

/*
 * A key without an index would make nested loops, the only join allowed (sink_pg.c), compare every
 * row with every other.
 */
static enum rc
warn_unindexed(struct sink_pg *s, struct pg_target *t, struct err *err)
{
	if (t->t.unique || t->tbl->nkeys == 0)
		return OK;
	log_warn("sink", "no unique index on the key: upserts become delete and insert",
	    "sink=%s table=%s", s->sink.conf->name, t->t.name);
	if (s->unindexed)
		return OK;
	s->unindexed = true;
	return pg_exec(s->conn, "session settings", "SET enable_hashjoin = on", NULL, err);
}

/*
 * With `schema:` or `rename:` two tables could be mixed in one. Versions of one table are no such case, under whatever
 * name it had before.
 */
static enum rc
check_collision(struct sink_pg *s, const struct pg_target *t, struct err *err)
{
	const struct table *now = t->source, *before = NULL;

	for (const struct pg_target *o = s->targets; o; o = o->hh.next)
		if (strcmp(o->t.name, t->t.name) == 0)
			before = o->source;
	if (!before || (slice_eq(before->schema, now->schema) && slice_eq(before->name, now->name)) ||
	    (slice_eq(before->schema, now->was_schema) && slice_eq(before->name, now->was_name)))
		return OK;
	return fail_exit(err, FATAL, EXIT_CONFIG,
	    "tables %.*s.%.*s and %.*s.%.*s would both go to %s; leave one out, or change `schema` and `rename` of sink %s",
	    SLICE_ARG(before->schema), SLICE_ARG(before->name), SLICE_ARG(now->schema), SLICE_ARG(now->name), t->t.name,
	    s->sink.conf->name);
}

/* The sink stays as it is: does the version fit? */
static enum rc
match_as_is(struct sink_pg *s, struct pg_target *t, struct pg_found *w, struct err *err)
{
	enum rc rc = OK;

	w->generated = arena_array(&t->arena, (size_t)t->tbl->ncols + 1, sizeof *w->generated);
	w->have = arena_array(&t->arena, (size_t)t->tbl->ncols + 1, sizeof *w->have);
	w->notnull = arena_array(&t->arena, (size_t)t->tbl->ncols + 1, sizeof *w->notnull);
	t->t.children = w->children;
	if (w->oid)
		rc = read_columns(s, t, w, err);
	if (rc == OK)
		rc = sink_fits(&s->sink, &t->t, t->tbl, w->oid, w->generated, err);
	return rc == OK ? find_unique(s, t, w, err) : rc;
}

static enum rc
target_make(struct sink_pg *s, struct pg_target *t, struct err *err)
{
	struct pg_found w = { .schema = "" };
	const struct table *tbl;
	bool known;
	enum rc rc = mapping_table(s->sink.conf, t->source, &t->arena, &t->tbl, err);

	if (rc != OK)
		return s->sink.as_is && rc == FATAL ? fail(err, REJECT, "%s", err->text) : rc;
	tbl = t->tbl;
	w.schema = arena_text(&t->arena, tbl->schema);

	/*
	 * Where foreign keys act, a delete that comes before an update only in our order of work may have taken the row by
	 * its cascade. In exact order, which follows, a row that is missing was missing.
	 */
	t->t = (struct target){
		.dialect = DIALECT_PG, .ncols = tbl->ncols, .nkeys = tbl->nkeys, .keys = tbl->keys, .counted = !s->replica
	};
	t->t.name = arena_printf(&t->arena, "%s.%s", pg_ident(&t->arena, slice_of(w.schema)),
	    pg_ident(&t->arena, tbl->name));
	t->t.cols = arena_array(&t->arena, (size_t)tbl->ncols + 1, sizeof *t->t.cols);
	t->flags = arena_alloc(&t->arena, (size_t)tbl->ncols * 2 + 1);
	if ((rc = check_collision(s, t, err)) != OK || (rc = find_relation(s, t, &w, err)) != OK)
		return rc;
	if (s->sink.as_is)
		return match_as_is(s, t, &w, err);
	if ((rc = pg_check_left(s, t, &known, err)) != OK)
		return rc;
	if (tbl->was_name.n && (!w.oid || s->sink.begins == t->source) && (rc = pg_rename_table(s, t, &w, err)) == OK && !w.oid)
		rc = find_relation(s, t, &w, err);
	if (rc == OK && !w.oid)
		rc = create_table(s, t, &w, err);
	if (rc != OK || (!known && (rc = pg_note_name(s, t, err)) != OK))
		return rc;
	t->t.children = w.children;
	if ((rc = match_columns(s, t, &w, err)) != OK || (rc = pg_fit_key(s, t, &w, err)) != OK || (rc = find_unique(s, t, &w, err)) != OK)
		return rc;
	return warn_unindexed(s, t, err);
}

enum rc
table_prepare(struct sink_pg *s, const struct table *tbl, struct err *err)
{
	struct pg_target *t = table_find(s, tbl);
	enum rc rc;

	if (t)
		return OK;
	t = calloc(1, sizeof *t);
	if (!t)
		die("out of memory");
	t->source = tbl;
	t->in_txn = s->open;
	rc = target_make(s, t, err);
	if (rc == REJECT && !s->sink.as_is) /* no row can be blamed for it */
		rc = err->rc = FATAL;
	if (rc != OK) {
		arena_free(&t->arena);
		free(t);
		return rc;
	}
	HASH_ADD_PTR(s->targets, source, t);
	return OK;
}

void
note_missing(struct pg_target *t, int rows)
{
	uint64_t before = t->missing;

	t->missing += (uint64_t)rows;
	/* At the first, and each time the count passes a power of two. */
	if (before == 0 || 64 - __builtin_clzll(before) != 64 - __builtin_clzll(t->missing))
		log_warn("sink", "rows to change were not at the sink", "table=%s missing=%llu",
		    t->t.name, (unsigned long long)t->missing);
}
