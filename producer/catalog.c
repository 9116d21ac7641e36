#include "producer/catalog.h"
#include "core/buf.h"
#include "producer/lineage.h"
#include "producer/publication.h"

#include <stdio.h>
#include <stdlib.h>

static const char columns_sql[] =
    "SELECT a.attname, a.atttypid, a.atttypmod, a.attnotnull, CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,"
    "       coalesce((SELECT array_position(i.indkey::int2[], a.attnum) FROM pg_index i"
    "                  WHERE i.indrelid = a.attrelid AND i.indexrelid = k.idx"
    "                    AND array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts), -1),"
    "       d.adbin IS NOT NULL OR a.attidentity <> '' OR EXISTS (SELECT FROM pg_type t WHERE "
    "t.oid = a.atttypid AND t.typdefault IS NOT NULL),"
    "       (a.attmissingval::text::text[])[1], a.attgenerated <> ''"
    "  FROM pg_attribute a"
    "  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " CROSS JOIN (SELECT coalesce("
    /* The key: with REPLICA IDENTITY USING INDEX its columns (an old row has no others), else the primary key, else a unique index. */
    "        (SELECT indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
    "          WHERE i.indrelid = $1 AND i.indisreplident AND c.relreplident = 'i'),"
    "        (SELECT indexrelid FROM pg_index WHERE indrelid = $1 AND indisprimary),"
    "        (SELECT indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
    "          WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
    "            AND c.relreplident = 'f' AND NOT EXISTS (SELECT FROM pg_attribute n WHERE n.attrelid = $1"
    "              AND n.attnum = ANY(i.indkey::int2[]) AND NOT n.attnotnull)"
    "          ORDER BY indexrelid LIMIT 1)) AS idx) k"
    " WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped";

/* A type with its base (domains) and element (arrays) resolved: rows from the type asked for down. */
static const char type_sql[] =
	"WITH RECURSIVE t(depth, oid, typmod) AS ("
	"  SELECT 0, $1::oid, $2::int4"
	"  UNION ALL"
	"  SELECT depth + 1, CASE WHEN p.typtype = 'd' THEN p.typbasetype ELSE p.typelem END,"
	"         CASE WHEN p.typtype = 'd' AND t.typmod = -1 THEN p.typtypmod ELSE t.typmod END"
	"    FROM t JOIN pg_type p ON p.oid = t.oid"
	"   WHERE depth < 8 AND (p.typtype = 'd' OR (p.typelem <> 0 AND p.typlen = -1 AND p.typcategory = 'A')))"
	" SELECT p.oid, t.typmod, p.typtype, format_type(p.oid, t.typmod),"
	"        (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum e WHERE e.enumtypid = p.oid)"
	"   FROM t JOIN pg_type p ON p.oid = t.oid ORDER BY depth";

/* Does the publication list columns? Only since 15: to_jsonb looks without naming what 14 has not. */
static const char attrs_sql[] =
	"SELECT a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped, a.attgenerated <> '',"
	"       EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
	"                WHERE r.prrelid = $1 AND p.pubname = $2 AND to_jsonb(r) ->> 'prattrs' IS NOT NULL)"
	"  FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 ORDER BY a.attnum";

static const char *
number(char buf[static 24], int64_t v)
{
	snprintf(buf, 24, "%lld", (long long)v);
	return buf;
}

/* Build the chain; a domain step is skipped, as the base is what travels. */
static enum rc
load_type(PGconn *conn, uint32_t oid, int32_t typmod, struct arena *a, struct pg_type *out, struct err *err)
{
	char n1[24], n2[24];
	const char *params[2] = { number(n1, oid), number(n2, typmod) };
	PGresult *res = NULL;
	struct pg_type *at = out;
	enum rc rc = pg_exec_params(conn, "read pg_type", type_sql, 2, params, &res, err);

	*out = (struct pg_type){ .oid = oid, .typmod = typmod, .typtype = 'b', .name = arena_printf(a, "%u", oid) };
	for (int i = 0; rc == OK && i < PQntuples(res); i++) {
		struct pg_type t = {
			.oid = (uint32_t)strtoul(PQgetvalue(res, i, 0), NULL, 10),
			.typmod = (int32_t)strtol(PQgetvalue(res, i, 1), NULL, 10),
			.typtype = *PQgetvalue(res, i, 2),
			.name = arena_text(a, slice_of(PQgetvalue(res, i, 3))),
			.labels = PQgetisnull(res, i, 4) ? NULL : arena_text(a, slice_of(PQgetvalue(res, i, 4))),
		};
		bool domain = t.typtype == 'd';

		*at = t;
		if (!domain && i + 1 < PQntuples(res)) {
			struct pg_type *item = arena_new(a, struct pg_type);

			at->item = item;
			at = item;
		}
	}
	PQclear(res);
	return rc;
}

/* 'abc'::text or 'abc'::character varying -> abc, with '' undone; false: not a plain literal. */
static bool
literal_text(const char *expr, struct arena *a, struct slice *out)
{
	char *p;
	size_t n = 0;

	if (*expr != '\'')
		return false;
	p = arena_raw(a, strlen(expr) + 1);
	for (expr++; *expr; expr++) {
		if (*expr == '\'' && *++expr != '\'')
			break;
		p[n++] = *expr;
	}
	*out = (struct slice){ p, n };
	return expr[0] == ':' && expr[1] == ':' && !strpbrk(expr + 2, "()'");
}

static void
json_text(struct buf *b, struct slice s)
{
	buf_byte(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		uint8_t ch = (uint8_t)s.p[i];

		if (ch == '"' || ch == '\\')
			buf_printf(b, "\\%c", ch);
		else if (ch < 0x20)
			buf_printf(b, "\\u%04x", ch);
		else
			buf_byte(b, ch);
	}
	buf_byte(b, '"');
}

/*
 * The default as JSON of the Avro type, where the catalogue has a constant; a sequence is the zero of its type,
 * as Debezium writes it. Any other expression: no default is claimed.
 */
static void
load_default(struct column *col, const char *expr, struct arena *a)
{
	struct slice text = slice_of(expr);
	struct buf b = { 0 };
	char *end;

	if (col->type.plain)
		return; /* the constant would have to take that form */
	switch (col->type.wire) {
	case W_BOOL:
		if (slice_is(text, "true") || slice_is(text, "false"))
			buf_slice(&b, text);
		break;
	case W_INT16:
	case W_INT32:
	case W_INT64:
		if (col->type.semantic)
			break;
		if (strncmp(expr, "nextval(", 8) == 0) {
			buf_text(&b, "0");
			break;
		}
		if (*expr == '\'' && !literal_text(expr, a, &text))
			break;
		if (text.n && text.n < 20) {
			long long v = strtoll(arena_text(a, text), &end, 10);

			if (!*end)
				buf_printf(&b, "%lld", v);
		}
		break;
	case W_STRING:
		if (!col->type.semantic && (!col->type.source_type || col->typid == PG_BPCHAR) && literal_text(expr, a, &text))
			json_text(&b, text);
		break;
	default:
		break;
	}
	if (b.n) {
		col->has_default = true;
		col->default_json = arena_slice(a, buf_view(&b));
	}
	buf_free(&b);
}

/*
 * Is it the default of the schema that the rows have which were there before the column? missing:
 * its text form, as the catalogue keeps it.
 */
static bool
same_constant(const struct column *col, const char *missing)
{
	struct buf b = { 0 };
	bool same;

	if (col->type.wire == W_BOOL)
		buf_text(&b, *missing == 't' ? "true" : "false");
	else if (col->type.wire == W_STRING)
		json_text(&b, slice_of(missing));
	else
		buf_text(&b, missing);
	same = slice_eq(buf_view(&b), col->default_json);
	buf_free(&b);
	return same;
}

/*
 * A column that is added with a default gives values to the rows that are there, and the stream
 * says nothing of it. A reader can do the same only by a constant that stands in the schema.
 * filled: some default exists; missing: what those rows were given (kept also when the default was
 * changed or dropped since), NULL: not known.
 */
static bool
fills_by_expression(const struct column *col, bool filled, const char *expr, const char *missing)
{
	if (missing)
		return !col->has_default || !same_constant(col, missing);
	return filled && (!col->has_default || strncmp(expr, "nextval(", 8) == 0); /* expr is "" for a generated column */
}

/* Row of the catalogue for a column of RELATION, or -1: gone, or of another type by now. */
static int
row_of(const PGresult *res, const struct pgo_column *col)
{
	for (int i = 0; i < PQntuples(res); i++)
		if (slice_is(col->name, PQgetvalue(res, i, 0)) && strtoul(PQgetvalue(res, i, 1), NULL, 10) == col->typid)
			return i;
	return -1;
}

static void
place_key(struct table *t, int column, int place, struct arena *a)
{
	if (!t->keys)
		t->keys = arena_array(a, (size_t)t->ncols, sizeof *t->keys);
	t->keys[place] = column;
	if (place + 1 > t->nkeys)
		t->nkeys = place + 1;
}

/*
 * Is the key of the catalogue the one that held when the row was written? RELATION flags the
 * columns that old rows bring; the key may have moved to others since, or the table is gone. With
 * REPLICA IDENTITY FULL all are flagged, and any key will do.
 */
static bool
key_holds(const struct table *t, const struct pgo *msg, int found)
{
	int flagged = 0, both = 0;

	if (found == 0 || found != t->nkeys)
		return false;
	if (msg->identity != IDENTITY_DEFAULT && msg->identity != IDENTITY_INDEX)
		return true;
	for (int i = 0; i < t->ncols; i++)
		flagged += t->cols[i].identity;
	for (int i = 0; i < t->nkeys; i++)
		both += t->cols[t->keys[i]].identity;
	/* None flagged: the table had no key, only inserts come, and a key that was added since will do. */
	return flagged == 0 || (flagged == t->nkeys && both == flagged);
}

/* The columns that RELATION flags. */
static void
key_from_relation(struct table *t, const struct pgo *msg, struct arena *a)
{
	t->nkeys = 0;
	if (msg->identity == IDENTITY_FULL)
		return;
	for (int i = 0; i < t->ncols; i++)
		if (msg->cols[i].flags & RELATION_KEY)
			place_key(t, i, t->nkeys, a);
}

static enum rc
load_column(PGconn *conn, const struct type_modes *modes, const PGresult *res, const struct pgo_column *msg, int i, struct relation *r,
    int *found, struct err *err)
{
	struct arena *a = &r->arena;
	struct column *col = &r->table.cols[i];
	int row = row_of(res, msg);
	enum rc rc = load_type(conn, msg->typid, msg->typmod, a, &r->types[i], err);

	if (rc != OK)
		return rc;
	*col = (struct column){
		.name = arena_slice(a, msg->name),
		.typid = msg->typid,
		.typmod = msg->typmod,
		.identity = msg->flags & RELATION_KEY,
		.type = pgtype_wire_as(&r->types[i], modes, a),
		.type_name = arena_slice(a, slice_of(r->types[i].name)),
	};
	r->binary = r->binary && pgtype_binary(&r->types[i]);
	if (row < 0)
		return OK;
	col->notnull = *PQgetvalue(res, row, 3) == 't';
	if (!PQgetisnull(res, row, 4))
		load_default(col, PQgetvalue(res, row, 4), a);
	col->default_expr = fills_by_expression(col, *PQgetvalue(res, row, 6) == 't', PQgetvalue(res, row, 4),
	    PQgetisnull(res, row, 7) ? NULL : PQgetvalue(res, row, 7));
	int place = (int)strtol(PQgetvalue(res, row, 5), NULL, 10); /* indkey is an int2vector: subscripts from 0 */
	if (place >= 0 && place < r->table.ncols) {
		place_key(&r->table, i, place, a);
		++*found;
	}
	return OK;
}

/* Generated columns that the stream leaves out: before 18 all, later those that are VIRTUAL or not published. */
static const char *
unsent_columns(const PGresult *res, const struct pgo *msg, struct arena *a)
{
	struct buf b = { 0 };
	const char *names = NULL;

	for (int i = 0; i < PQntuples(res); i++) {
		bool sent = *PQgetvalue(res, i, 8) != 't';

		for (int k = 0; !sent && k < msg->ncols; k++)
			sent = slice_is(msg->cols[k].name, PQgetvalue(res, i, 0));
		if (!sent)
			buf_printf(&b, "%s%s", b.n ? "," : "", PQgetvalue(res, i, 0));
	}
	if (b.n)
		names = arena_text(a, buf_view(&b));
	buf_free(&b);
	return names;
}

static bool
is_true(const PGresult *res, int row, int col)
{
	return *PQgetvalue(res, row, col) == 't';
}

static enum rc
number_columns(PGconn *conn, const char *publication, const char *relid, const struct table *before, struct relation *r, struct err *err)
{
	const char *params[2] = { relid, publication };
	struct lineage_attr *attrs;
	struct arena a = { 0 };
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(conn, "read the columns' numbers", attrs_sql, 2, params, &res, err);
	int n = rc == OK ? PQntuples(res) : 0;

	attrs = arena_array(&a, (size_t)n + 1, sizeof *attrs);
	for (int i = 0; i < n; i++)
		attrs[i] = (struct lineage_attr){ .attnum = (int)strtol(PQgetvalue(res, i, 0), NULL, 10),
			.name = slice_of(PQgetvalue(res, i, 1)),
			.typid = (uint32_t)strtoul(PQgetvalue(res, i, 2), NULL, 10),
			.typmod = (int32_t)strtol(PQgetvalue(res, i, 3), NULL, 10),
			.dropped = is_true(res, i, 4),
			.generated = is_true(res, i, 5) };
	if (n)
		lineage_number(&r->table, before, attrs, n, is_true(res, 0, 6));
	PQclear(res);
	arena_free(&a);
	return rc;
}

enum rc
catalog_relation(PGconn *conn, const struct conf *conf, const struct pgo *msg, const struct table *before, struct relation **out,
    struct err *err)
{
	struct relation *r = calloc(1, sizeof *r);
	char relid[24];
	const char *params[1] = { number(relid, msg->relid) };
	PGresult *res = NULL;
	int found = 0;
	enum rc rc;

	if (!r)
		die("out of memory");
	r->binary = true;
	r->types = arena_array(&r->arena, (size_t)msg->ncols, sizeof *r->types);
	r->table = (struct table){
		.schema = arena_slice(&r->arena, msg->schema),
		.name = arena_slice(&r->arena, msg->name),
		.relid = msg->relid,
		.identity = msg->identity,
		.ncols = msg->ncols,
		.cols = arena_array(&r->arena, (size_t)msg->ncols, sizeof(struct column)),
	};
	rc = pg_exec_params(conn, "read the catalogue", columns_sql, 1, params, &res, err);
	for (int i = 0; rc == OK && i < msg->ncols; i++)
		rc = load_column(conn, &conf->types, res, &msg->cols[i], i, r, &found, err);
	if (rc == OK)
		r->unsent = unsent_columns(res, msg, &r->arena);
	PQclear(res);
	if (rc == OK)
		rc = number_columns(conn, conf->publication, relid, before, r, err);
	if (rc != OK) {
		catalog_free(r);
		return fail_in(err, "table %.*s.%.*s", SLICE_ARG(msg->schema), SLICE_ARG(msg->name));
	}
	if (!key_holds(&r->table, msg, found))
		key_from_relation(&r->table, msg, &r->arena);
	*out = r;
	return OK;
}

/* Is the label among those, with commas between them? */
static bool
has_label(const char *labels, struct slice label)
{
	for (const char *p = labels; *p;) {
		size_t n = strcspn(p, ",");

		if (slice_eq((struct slice){ p, n }, label))
			return true;
		p += n + (p[n] == ',');
	}
	return false;
}

bool
catalog_new_label(const struct table *tbl, const struct value *row)
{
	for (int i = 0; row && i < tbl->ncols; i++) {
		const char *allowed = tbl->cols[i].type.allowed;

		/* One with a comma in it is never found so, and must not be looked for each time. */
		if (allowed && row[i].kind == V_STRING && !memchr(row[i].s.p, ',', row[i].s.n) && !has_label(allowed, row[i].s))
			return true;
	}
	return false;
}

void
catalog_free(struct relation *r)
{
	while (r) {
		struct relation *prev = r->prev;
		struct arena a = r->arena;

		arena_free(&a);
		free(r);
		r = prev;
	}
}

enum rc
catalog_all_binary(PGconn *conn, const char *publication, bool *yes, struct err *err)
{
	static const char sql[] =
		"SELECT DISTINCT a.atttypid, a.atttypmod FROM pg_publication p"
		"  JOIN pg_class c ON c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND %s"
		"  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
		" WHERE p.pubname = $1 AND c.relnamespace NOT IN ("
		"   SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%%' OR nspname = 'information_schema')";
	struct arena a = { 0 };
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(conn, "read the published columns", arena_printf(&a, sql, publication_has_sql(conn)), 1,
	    &publication, &res, err);

	*yes = true;
	for (int i = 0; rc == OK && *yes && i < PQntuples(res); i++) {
		struct pg_type t;

		rc = load_type(conn, (uint32_t)strtoul(PQgetvalue(res, i, 0), NULL, 10),
		    (int32_t)strtol(PQgetvalue(res, i, 1), NULL, 10), &a, &t, err);
		if (rc == OK)
			*yes = pgtype_binary(&t);
	}
	PQclear(res);
	arena_free(&a);
	return rc;
}
