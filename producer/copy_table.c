#include "producer/copy_table.h"
#include "core/buf.h"
#include "core/quote.h"
#include "producer/publication.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { COL_OID, COL_KIND, COL_IDENTITY, COL_NAME, COL_TYPE, COL_TYPMOD, COL_KEY, COL_FILTER, COL_TYPE_NAME, COL_COLLATION };

/*
 * As pgoutput would send the relation. Column lists and filters came with 15, generated columns that are sent with 18.
 */
static const char describe_sql[] =
	"SELECT c.oid, c.relkind, c.relreplident, a.attname, a.atttypid, a.atttypmod,"
	"       c.relreplident = 'f' OR coalesce(array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts, false),"
	"       %s, format_type(a.atttypid, -1), a.attcollation::regcollation"
	"  FROM pg_publication p JOIN pg_class c ON %s"
	"  JOIN pg_namespace n ON n.oid = c.relnamespace"
	"  LEFT JOIN pg_publication_rel l ON l.prpubid = p.oid AND l.prrelid = c.oid"
	"  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
	"  LEFT JOIN pg_index i ON i.indrelid = c.oid AND ((c.relreplident = 'd' AND i.indisprimary)"
	"                                               OR (c.relreplident = 'i' AND i.indisreplident))"
	" WHERE n.nspname = $1 AND c.relname = $2 AND p.pubname = $3 AND c.relkind IN ('r', 'p')%s"
	"   AND (a.attgenerated = ''%s) ORDER BY a.attnum";

static enum rc
describe(PGconn *conn, const char *schema, const char *name, const char *publication, PGresult **res, struct err *err)
{
	int version = PQserverVersion(conn);
	const char *params[3] = { schema, name, publication };
	struct arena a = { 0 };
	const char *sql = arena_printf(&a, describe_sql, version < 150000 ? "NULL" : "pg_get_expr(l.prqual, l.prrelid)",
	    publication_has_sql(conn), version < 150000 ? "" : " AND (l.prattrs IS NULL OR a.attnum = ANY (l.prattrs::int2[]))",
	    version < 180000 ? "" : " OR (a.attgenerated = 's' AND (p.pubgencols = 's' OR l.prattrs IS NOT NULL))");
	enum rc rc = pg_exec_params(conn, "look at the table", sql, 3, params, res, err);

	if (rc == OK && PQntuples(*res) == 0)
		rc = fail(err, REJECT, "table %s.%s is not there, or not in publication %s", schema, name, publication);
	arena_free(&a);
	return rc;
}

static const char *
text_of(const PGresult *res, struct arena *a)
{
	struct buf b = { 0 };
	const char *text;

	for (int i = 0; i < PQntuples(res); i++)
		for (int col = 0; col < PQnfields(res); col++) {
			quote_json(&b, slice_of(PQgetvalue(res, i, col)));
			buf_byte(&b, ' ');
		}
	text = arena_text(a, buf_view(&b));
	buf_free(&b);
	return text;
}

enum rc
copy_table_text(PGconn *conn, const char *schema, const char *name, const char *publication, struct arena *a, const char **text,
    struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = describe(conn, schema, name, publication, &res, err);

	if (rc == OK)
		*text = text_of(res, a);
	PQclear(res);
	return rc;
}

static uint32_t
oid(const PGresult *res, int row, int col)
{
	return (uint32_t)strtoul(PQgetvalue(res, row, col), NULL, 10);
}

/* The message that pgoutput would send. */
static void
fill_relation(const PGresult *res, const char *schema, const char *name, struct copy_table *t)
{
	struct arena *a = &t->arena;
	int n = PQntuples(res);

	t->relation = (struct pgo){ .type = 'R', .relid = oid(res, 0, COL_OID), .identity = *PQgetvalue(res, 0, COL_IDENTITY),
		.schema = arena_slice(a, slice_of(schema)), .name = arena_slice(a, slice_of(name)), .ncols = n,
		.cols = arena_array(a, (size_t)n, sizeof *t->relation.cols) };
	for (int i = 0; i < n; i++)
		t->relation.cols[i] = (struct pgo_column){ .flags = *PQgetvalue(res, i, COL_KEY) == 't' ? RELATION_KEY : 0,
			.name = arena_slice(a, slice_of(PQgetvalue(res, i, COL_NAME))),
			.typid = oid(res, i, COL_TYPE), .typmod = (int32_t)strtol(PQgetvalue(res, i, COL_TYPMOD), NULL, 10) };
	t->from = arena_printf(a, "%s%s.%s", *PQgetvalue(res, 0, COL_KIND) == 'r' ? "ONLY " : "",
	    pg_ident(a, slice_of(schema)), pg_ident(a, slice_of(name)));
	if (!PQgetisnull(res, 0, COL_FILTER))
		t->filter = arena_text(a, slice_of(PQgetvalue(res, 0, COL_FILTER)));
	t->text = text_of(res, a);
}

static void
fill_key(const PGresult *res, struct copy_table *t)
{
	const struct table *tbl = &t->rel->table;
	struct buf b = { 0 }, order = { 0 };

	t->types = arena_array(&t->arena, (size_t)tbl->nkeys + 1, sizeof *t->types);
	buf_byte(&b, '[');
	buf_byte(&order, '[');
	for (int i = 0; i < tbl->nkeys; i++) {
		t->types[i] = arena_text(&t->arena, slice_of(PQgetvalue(res, tbl->keys[i], COL_TYPE_NAME)));
		buf_text(&b, i ? "," : "");
		quote_json(&b, tbl->cols[tbl->keys[i]].name);
		buf_text(&order, i ? "," : "");
		quote_json(&order, slice_of(arena_printf(&t->arena, "%.*s %s %s", SLICE_ARG(tbl->cols[tbl->keys[i]].name), t->types[i],
		    PQgetvalue(res, tbl->keys[i], COL_COLLATION))));
	}
	buf_byte(&b, ']');
	buf_byte(&order, ']');
	t->key = arena_text(&t->arena, buf_view(&b));
	t->order = arena_text(&t->arena, buf_view(&order));
	buf_free(&b);
	buf_free(&order);
}

/*
 * Operators of a type outside pg_catalog, such as citext's, stand in the schema of the type, or of its operator class. Not found there, the
 * comparison would be that of text, and not the one by which the index is in order.
 */
static enum rc
look_for_operators(PGconn *conn, struct copy_table *t, struct err *err)
{
	static const char sql[] =
		"SELECT 'pg_catalog' || coalesce((SELECT string_agg(', ' || quote_ident(nspname), '' ORDER BY nspname) FROM pg_namespace"
		"   WHERE nspname <> 'pg_catalog' AND oid IN ("
		"     SELECT typnamespace FROM pg_attribute JOIN pg_type y ON y.oid = atttypid WHERE attrelid = c.oid AND attname = ANY ("
		"       SELECT jsonb_array_elements_text($2::jsonb))"
		"     UNION SELECT opcnamespace FROM pg_index i, unnest(i.indclass::oid[]) k JOIN pg_opclass o ON o.oid = k"
		"       WHERE i.indrelid = c.oid AND i.indisunique)), ''),"
		"   greatest(CASE WHEN c.relkind = 'p' THEN (SELECT sum(greatest(reltuples, 0)) FROM pg_partition_tree(c.oid) p"
		"       JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf) ELSE c.reltuples END,"
		"     pg_table_size(c.oid) / 2000)::int8"
		"  FROM pg_class c WHERE c.oid = $1::oid";
	char id[24];
	const char *params[2] = { id, t->key };
	PGresult *res = NULL;
	enum rc rc;

	snprintf(id, sizeof id, "%u", t->relation.relid);
	rc = pg_exec_params(conn, "look for the key's operators", sql, 2, params, &res, err);
	if (rc == OK && PQntuples(res) == 0)
		rc = fail(err, RETRY, "the table is gone");
	if (rc == OK) {
		t->path = arena_text(&t->arena, slice_of(PQgetvalue(res, 0, 0)));
		t->estimate = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
	}
	PQclear(res);
	return rc;
}

enum rc
copy_table_look(PGconn *conn, const struct conf *conf, const char *schema, const char *name, struct copy_table **out, struct err *err)
{
	struct copy_table *t = calloc(1, sizeof *t);
	PGresult *res = NULL;
	enum rc rc = describe(conn, schema, name, conf->publication, &res, err);

	if (!t)
		die("out of memory");
	if (rc == OK) {
		fill_relation(res, schema, name, t);
		rc = catalog_relation(conn, conf, &t->relation, NULL, &t->rel, err);
	}
	if (rc == OK) {
		fill_key(res, t);
		rc = look_for_operators(conn, t, err);
	}
	PQclear(res);
	if (rc != OK) {
		copy_table_free(t);
		return rc;
	}
	*out = t;
	return OK;
}

void
copy_table_free(struct copy_table *t)
{
	if (!t)
		return;
	catalog_free(t->rel);
	arena_free(&t->arena);
	free(t);
}

/* ---- SQL ---- */

static const char *
column(const struct copy_table *t, int i, struct arena *a)
{
	return pg_ident(a, t->rel->table.cols[i].name);
}

static void
put_columns(struct buf *b, const struct copy_table *t, struct arena *a)
{
	for (int i = 0; i < t->rel->table.ncols; i++) {
		const char *col = column(t, i, a);

		buf_text(b, i ? ", " : "");
		/* format() prints by the type's output function, as the stream does; a cast to text need not. */
		if (pgtype_binary(&t->rel->types[i]))
			buf_text(b, col);
		else
			buf_printf(b, "CASE WHEN %s IS DISTINCT FROM NULL THEN pg_catalog.format('%%s', %s) END", col, col);
	}
}

static void
put_keys(struct buf *b, const struct copy_table *t, struct arena *a)
{
	for (int i = 0; i < t->rel->table.nkeys; i++)
		buf_printf(b, "%s%s", i ? ", " : "", column(t, t->rel->table.keys[i], a));
}

/* One end of a range; what does not have a text for each column is none, and then nothing is taken: the range is refused elsewhere. */
static void
put_end(struct buf *b, const struct copy_table *t, const char *operator, const char *end, struct arena *a)
{
	json_t *values = json_loads(end, 0, NULL);

	buf_text(b, " AND (");
	put_keys(b, t, a);
	buf_printf(b, ") %s (", operator);
	for (int i = 0; i < t->rel->table.nkeys; i++) {
		const char *text = json_string_value(json_array_get(values, (size_t)i));

		buf_printf(b, "%s%s::%s", i ? ", " : "", text ? pg_literal(a, slice_of(text)) : "NULL", t->types[i]);
	}
	buf_byte(b, ')');
	json_decref(values);
}

/* The rows that the publication's filter and `where` take. */
static void
put_where(struct buf *b, const struct copy_table *t, const char *where)
{
	if (t->filter)
		buf_printf(b, " AND (%s)", t->filter);
	/* A comment at its end must not swallow what follows. */
	if (where)
		buf_printf(b, " AND (%s\n)", where);
}

const char *
copy_table_sql(const struct copy_table *t, const char *from, const char *to, const char *where, int limit, struct arena *a)
{
	struct buf b = { 0 };
	const char *sql;

	buf_text(&b, "COPY (SELECT ");
	put_columns(&b, t, a);
	buf_printf(&b, " FROM %s WHERE true", t->from);
	if (from)
		put_end(&b, t, ">", from, a);
	if (to)
		put_end(&b, t, "<=", to, a);
	put_where(&b, t, where);
	buf_text(&b, " ORDER BY ");
	put_keys(&b, t, a);
	buf_printf(&b, " LIMIT %d) TO STDOUT (FORMAT binary)", limit);
	sql = arena_text(a, buf_view(&b));
	buf_free(&b);
	return sql;
}

const char *
copy_table_part_sql(const struct copy_table *t, const char *blocks, const char *where, struct arena *a)
{
	struct buf b = { 0 };
	const char *sql;

	buf_text(&b, "COPY (SELECT ");
	put_columns(&b, t, a);
	buf_printf(&b, " FROM %s WHERE %s", t->from, blocks ? blocks : "true");
	put_where(&b, t, where);
	buf_text(&b, ") TO STDOUT (FORMAT binary)");
	sql = arena_text(a, buf_view(&b));
	buf_free(&b);
	return sql;
}

const char *
copy_table_bounds_sql(const struct copy_table *t, int n, struct arena *a)
{
	enum { SAMPLE = 4000 };
	double percent = t->estimate > SAMPLE ? 100.0 * SAMPLE / (double)t->estimate : 100;
	struct buf keys = { 0 }, outer = { 0 }, inner = { 0 };
	const char *sql;

	put_keys(&keys, t, a);
	for (int i = 0; i < t->rel->table.nkeys; i++) {
		buf_printf(&inner, "%s AS k%d, ", column(t, t->rel->table.keys[i], a), i);
		buf_printf(&outer, "%spg_catalog.format('%%s', k%d)", i ? ", " : "", i);
	}
	sql = arena_printf(a,
	    "SELECT %s FROM (SELECT %srow_number() OVER (ORDER BY %s) AS place, count(*) OVER () AS many FROM %s"
	    "   TABLESAMPLE SYSTEM (%.6f)) s"
	    " WHERE many >= %d AND place %% (many / %d) = 0 AND place / (many / %d) < %d ORDER BY place",
	    buf_cstr(&outer), buf_cstr(&inner), buf_cstr(&keys), t->from, percent, n * 4, n, n, n);
	buf_free(&keys);
	buf_free(&inner);
	buf_free(&outer);
	return sql;
}

enum rc
copy_row_take(const struct relation *rel, const struct table *tbl, struct cursor *at, struct arena *a, const struct value **out,
    struct err *err)
{
	struct value *row = arena_array(a, (size_t)tbl->ncols, sizeof *row);

	if (cursor_be16(at) != tbl->ncols)
		return fail(err, FATAL, "COPY: a row of another number of columns");
	for (int i = 0; i < tbl->ncols; i++) {
		uint32_t len = cursor_be32(at);
		enum rc rc;

		row[i].kind = V_NULL;
		if (len == UINT32_MAX)
			continue;
		rc = pgtype_read(&rel->types[i], &tbl->cols[i].type, pgtype_binary(&rel->types[i]), cursor_bytes(at, len), a, &row[i], err);
		if (rc != OK)
			return fail_in(err, "table %s.%s, column %s", tbl->schema.p, tbl->name.p, tbl->cols[i].name.p);
	}
	*out = row;
	return at->bad ? fail(err, FATAL, "COPY: malformed row") : OK;
}

enum rc
copy_table_where(const struct copy_table *t, const struct value *row, struct arena *a, const char **out, struct err *err)
{
	const struct table *tbl = &t->rel->table;
	struct buf b = { 0 };
	enum rc rc = OK;

	for (int i = 0; i < tbl->nkeys && rc == OK; i++) {
		struct buf text = { 0 };
		int col = tbl->keys[i];

		rc = pgtype_text(&tbl->cols[col].type, &row[col], &text, err);
		buf_printf(&b, "%s%s = %s::%s", i ? " AND " : "", column(t, col, a), pg_literal(a, buf_view(&text)), t->types[i]);
		buf_free(&text);
	}
	*out = arena_text(a, buf_view(&b));
	buf_free(&b);
	return rc;
}
