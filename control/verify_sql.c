#include "control/verify_sql.h"
#include "core/pg.h"

static const char *
done(struct buf *b, struct arena *a)
{
	const char *text = arena_text(a, buf_view(b));

	buf_free(b);
	return text;
}

/* 64 bits of a text, by its bytes in UTF-8. */
static void
put_hash(struct buf *b, const struct verify_shape *s, const char *text, int seed)
{
	bool convert = !s->utf8[VERIFY_SOURCE] || !s->utf8[VERIFY_SINK];

	buf_printf(b, s->md5 ? "('x' || substr(md5(%s%s%s), %d, 16))::bit(64)::int8" : "hashtextextended(%s%s%s, %d)",
	    convert ? "encode(convert_to(" : "", text, convert ? ", 'UTF8'), 'hex')" : " COLLATE \"C\"", s->md5 ? 1 + 16 * seed : seed);
}

static void
put_digest(struct buf *b, const struct verify_shape *s, const char *of, const char *wrap, const char *end)
{
	buf_text(b, wrap);
	put_hash(b, s, of, 0);
	buf_printf(b, "%s || ':' || %s", end, wrap);
	put_hash(b, s, of, 1);
	buf_text(b, end);
}

/* The record's own text tells NULL from '' and has quotes where two rows could be taken for one. */
static void
put_record(struct buf *b, const struct verify_shape *s, enum verify_side side)
{
	buf_text(b, "ROW(");
	for (int i = 0; i < s->ncols; i++)
		buf_printf(b, "%s%s", i ? ", " : "", s->cols[i].value[side]);
	buf_text(b, ")::text");
}

static void
put_end(struct buf *b, const struct verify_shape *s, enum verify_side side, const char *op, char *const *end, struct arena *a)
{
	buf_text(b, " AND (");
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(b, "%s%s", i ? ", " : "", s->cols[s->keys[i]].raw[side]);
	buf_printf(b, ") %s (", op);
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(b, "%s%s::%s", i ? ", " : "", pg_literal(a, slice_of(end[i])), s->cols[s->keys[i]].type[side]);
	buf_byte(b, ')');
}

static void
put_where(struct buf *b, const struct verify_shape *s, enum verify_side side, char *const *from, char *const *to, struct arena *a)
{
	buf_printf(b, " FROM %s WHERE true", s->from[side]);
	if (from)
		put_end(b, s, side, ">", from, a);
	if (to)
		put_end(b, s, side, "<=", to, a);
	if (s->filter && side == VERIFY_SOURCE)
		buf_printf(b, " AND (%s\n)", s->filter);
}

const char *
verify_sql_digest(const struct verify_shape *s, enum verify_side side, char *const *from, char *const *to, struct arena *a)
{
	struct buf b = { 0 };

	buf_text(&b, "SELECT count(*), ");
	put_digest(&b, s, "r", "coalesce(sum(", "), 0)");
	buf_text(&b, " FROM (SELECT ");
	put_record(&b, s, side);
	buf_text(&b, " AS r");
	put_where(&b, s, side, from, to, a);
	buf_text(&b, " OFFSET 0) s");
	return done(&b, a);
}

/* No two versions of a row have this in common. */
#define VERSION "concat(tableoid, '/', xmin, '/', ctid)"

const char *
verify_sql_all(const struct verify_shape *s, enum verify_side side, struct arena *a)
{
	struct buf b = { 0 };

	buf_text(&b, "SELECT count(*), ");
	put_digest(&b, s, "r", "coalesce(sum(", "), 0)");
	buf_text(&b, ", ");
	put_digest(&b, s, "v", "coalesce(sum(", "), 0)");
	buf_text(&b, " FROM (SELECT " VERSION " AS v, ");
	put_record(&b, s, side);
	buf_text(&b, " AS r");
	put_where(&b, s, side, NULL, NULL, a);
	buf_text(&b, " OFFSET 0) s");
	return done(&b, a);
}

/* A key's column as a text, by its output function. */
static void
put_text(struct buf *b, const struct verify_shape *s, enum verify_side side, int key)
{
	buf_printf(b, "format('%%s', %s)", s->cols[s->keys[key]].value[side]);
}

/* Without the filter: a range may have fewer rows, but is found by the index alone. */
const char *
verify_sql_bound(const struct verify_shape *s, char *const *from, int64_t n, struct arena *a)
{
	struct verify_shape all = *s;
	struct buf b = { 0 };

	all.filter = NULL;
	buf_text(&b, "SELECT ");
	for (int i = 0; i < s->nkeys; i++) {
		buf_text(&b, i ? ", " : "");
		put_text(&b, s, VERIFY_SOURCE, i);
	}
	put_where(&b, &all, VERIFY_SOURCE, from, NULL, a);
	buf_text(&b, " ORDER BY ");
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(&b, "%s%s", i ? ", " : "", s->cols[s->keys[i]].raw[VERIFY_SOURCE]);
	buf_printf(&b, " OFFSET %lld LIMIT 1", (long long)n - 1);
	return done(&b, a);
}

/* What sorts a text by its bytes in UTF-8. */
static void
put_bytes(struct buf *b, const struct verify_shape *s, enum verify_side side, const char *sep, const char *text)
{
	buf_printf(b, s->utf8[side] ? "%s%s COLLATE \"C\"" : "%sconvert_to(%s, 'UTF8')", sep, text);
}

const char *
verify_sql_list(const struct verify_shape *s, enum verify_side side, const struct verify_range *range, struct arena *a)
{
	struct buf b = { 0 };

	buf_text(&b, "SELECT ");
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(&b, "k%d, ", i);
	put_digest(&b, s, "r", "", "");
	buf_text(&b, " FROM (SELECT ");
	for (int i = 0; i < s->nkeys; i++) {
		put_text(&b, s, side, i);
		buf_printf(&b, " AS k%d, ", i);
	}
	put_record(&b, s, side);
	buf_text(&b, " AS r");
	put_where(&b, s, side, range->from, range->to, a);
	buf_text(&b, " OFFSET 0) s");
	if (range->behind) {
		buf_text(&b, " WHERE (");
		for (int i = 0; i < s->nkeys; i++)
			put_bytes(&b, s, side, i ? ", " : "", arena_printf(a, "k%d", i));
		buf_text(&b, ") > (");
		for (int i = 0; i < s->nkeys; i++)
			put_bytes(&b, s, side, i ? ", " : "", arena_printf(a, "%s::text", pg_literal(a, slice_of(range->behind[i]))));
		buf_byte(&b, ')');
	}
	buf_text(&b, " ORDER BY ");
	for (int i = 0; i < s->nkeys; i++)
		put_bytes(&b, s, side, i ? ", " : "", arena_printf(a, "k%d", i));
	return done(&b, a);
}

/* Found by the type's own equality, for which there is an index, and then by the text. */
const char *
verify_sql_look(const struct verify_shape *s, enum verify_side side, struct arena *a)
{
	struct buf b = { 0 };

	buf_text(&b, "SELECT u.n, t.v, t.c FROM unnest(");
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(&b, "%s$%d::text[]", i ? ", " : "", i + 1);
	buf_text(&b, ") WITH ORDINALITY AS u (");
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(&b, "k%d, ", i);
	buf_text(&b, "n) JOIN (SELECT " VERSION " AS v, ");
	for (int i = 0; i < s->nkeys; i++) {
		buf_printf(&b, "%s AS r%d, ", s->cols[s->keys[i]].raw[side], i);
		put_text(&b, s, side, i);
		buf_printf(&b, " AS x%d, ", i);
	}
	buf_text(&b, "array_to_string(ARRAY[");
	for (int i = 0; i < s->ncols; i++) {
		buf_text(&b, i ? ", " : "");
		put_hash(&b, s, arena_printf(a, "ROW(%s)::text", s->cols[i].value[side]), 0);
	}
	buf_text(&b, "], ',') AS c");
	put_where(&b, s, side, NULL, NULL, a);
	buf_text(&b, ") t ON ");
	for (int i = 0; i < s->nkeys; i++)
		buf_printf(&b, "%st.r%d = u.k%d::%s AND t.x%d = u.k%d COLLATE \"C\"", i ? " AND " : "", i, i,
		    s->cols[s->keys[i]].type[side], i, i);
	return done(&b, a);
}
