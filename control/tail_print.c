#include "control/human.h"
#include "control/tail.h"
#include "core/pg.h"
#include "core/quote.h"
#include "schemas/pgtypes.h"

#include <inttypes.h>

enum { TEXT_MAX = 120 }; /* bytes of a value that the text form shows */

/* ---- values ---- */

/* As PostgreSQL would print it; what has no text is told by its size. */
static void
value_text(struct buf *out, const struct column *col, const struct value *v)
{
	size_t before = out->n;
	struct err err;
	enum rc rc;

	if (v->kind == V_AVRO && col->type.wire == W_ARRAY && !v->exact.n)
		rc = reader_array_text(&col->type, v, out, &err);
	else
		rc = pgtype_text(&col->type, v, out, &err);
	if (rc == OK)
		return;
	out->n = before;
	buf_printf(out, "(%zu bytes)", v->kind >= V_BYTES ? v->s.n : sizeof v->i);
}

/* Cut between two characters. */
static struct slice
cut(struct slice s)
{
	size_t n = 0;

	if (s.n <= TEXT_MAX)
		return s;
	while (n < TEXT_MAX) {
		size_t one = quote_utf8((struct slice){ s.p + n, s.n - n });

		n += one ? one : 1;
	}
	return (struct slice){ s.p, n };
}

/* Stands for itself on a line of "a: 1 -> 2, b: 3"? */
static bool
bare(struct slice s)
{
	if (!s.n || s.p[0] == ' ' || s.p[s.n - 1] == ' ' || slice_is(s, "null"))
		return false;
	for (size_t i = 0, n; i < s.n; i += n) {
		n = quote_utf8((struct slice){ s.p + i, s.n - i });
		if (!n || (uint8_t)s.p[i] < ' ' || s.p[i] == 0x7f || s.p[i] == '"' ||
		    ((uint8_t)s.p[i] == 0xc2 && (uint8_t)s.p[i + 1] < 0xa0))
			return false;
		if (i + 1 < s.n && (memcmp(s.p + i, ", ", 2) == 0 || memcmp(s.p + i, ": ", 2) == 0 || memcmp(s.p + i, "->", 2) == 0))
			return false;
	}
	return true;
}

static void
put_value(struct buf *out, const struct column *col, const struct value *v)
{
	struct buf text = { 0 };
	struct slice shown;

	if (v->kind == V_NULL) {
		buf_text(out, "null");
		return;
	}
	value_text(&text, col, v);
	shown = cut(buf_view(&text));
	if (bare(shown))
		buf_slice(out, shown);
	else
		quote_json(out, shown);
	if (shown.n < text.n)
		buf_printf(out, "... (%zu bytes)", text.n);
	buf_free(&text);
}

static bool
plain_number(const struct column *col, const struct value *v)
{
	return !col->type.semantic && !v->exact.n &&
	    (v->kind == V_INT || ((v->kind == V_FLOAT || v->kind == V_DOUBLE) && v->d - v->d == 0));
}

/*
 * Whole and floating numbers are JSON numbers, as short as is exact; everything else is the text that PostgreSQL would print. By hand and
 * not with jansson, which prints 0.1f with seventeen digits and refuses text that is not UTF-8.
 */
static void
json_value(struct buf *out, const struct column *col, const struct value *v)
{
	struct buf text = { 0 };

	if (v->kind == V_NULL) {
		buf_text(out, "null");
	} else if (v->kind == V_BOOL) {
		buf_text(out, v->i ? "true" : "false");
	} else if (plain_number(col, v)) {
		value_text(out, col, v);
	} else {
		value_text(&text, col, v);
		quote_json(out, buf_view(&text));
	}
	buf_free(&text);
}

/* ---- what of a row there is ---- */

/* Of an old row that is not whole only the key counts. */
static bool
known_before(const struct tail_change *c, int i)
{
	if (!c->env->before || c->env->before[i].kind == V_ABSENT)
		return false;
	if (!c->tl || c->tl->flags & TL_BEFORE_FULL)
		return true;
	for (int k = 0; k < c->tbl->nkeys; k++)
		if (c->tbl->keys[k] == i)
			return true;
	return false;
}

static const struct value *
key_value(const struct tail_change *c, int i)
{
	const struct value *row = c->key ? c->key : c->env->after ? c->env->after : c->env->before;

	return row && row[i].kind != V_ABSENT ? &row[i] : NULL;
}

void
tail_key(struct buf *out, const struct tail_change *c)
{
	for (int k = 0; k < c->tbl->nkeys; k++) {
		const struct value *v = key_value(c, c->tbl->keys[k]);

		if (k)
			buf_byte(out, ',');
		if (v && v->kind != V_NULL)
			value_text(out, &c->tbl->cols[c->tbl->keys[k]], v);
	}
}

static bool
is_key(const struct table *tbl, int i)
{
	for (int k = 0; k < tbl->nkeys; k++)
		if (tbl->keys[k] == i)
			return true;
	return false;
}

/* ---- text ---- */

static void
put_key(struct buf *out, const struct tail_change *c)
{
	if (!c->tbl->nkeys || c->env->op == OP_TRUNCATE)
		return;
	buf_text(out, "  key=");
	for (int k = 0; k < c->tbl->nkeys; k++) {
		const struct value *v = key_value(c, c->tbl->keys[k]);

		if (k)
			buf_byte(out, ',');
		if (v)
			put_value(out, &c->tbl->cols[c->tbl->keys[k]], v);
		else
			buf_byte(out, '?');
	}
}

static void
put_columns(struct buf *out, const struct tail_change *c)
{
	const struct value *after = c->env->after;
	const char *sep = "  ";

	for (int i = 0; i < c->tbl->ncols; i++) {
		const struct column *col = &c->tbl->cols[i];
		bool was = known_before(c, i), is = after && after[i].kind != V_ABSENT;

		if (is_key(c->tbl, i) && !(was && is && !value_eq(&c->env->before[i], &after[i])))
			continue;
		if ((!was && !is) || (was && is && value_eq(&c->env->before[i], &after[i])) || (after && !is))
			continue;
		buf_printf(out, "%s", sep);
		sep = ", ";
		quote_logfmt(out, col->name);
		buf_text(out, ": ");
		if (was)
			put_value(out, col, &c->env->before[i]);
		if (was && is)
			buf_text(out, " -> ");
		if (is)
			put_value(out, col, &after[i]);
	}
}

void
tail_text(struct buf *out, const struct tail_change *c)
{
	char time[HUMAN_MAX], lsn[20];
	uint64_t at = c->tl ? c->tl->lsn : c->env->lsn;

	buf_printf(out, "%s  %-12s", human_time(time, c->env->source_us), pg_lsn_text(lsn, at));
	if (c->tl)
		buf_printf(out, "  %" PRIu64 ".%" PRIu64, c->tl->seq, c->tl->index);
	else
		buf_text(out, "  -");
	buf_printf(out, "  %c", c->env->op ? c->env->op : '-');
	if (c->named)
		buf_printf(out, "  %.*s.%.*s", SLICE_ARG(c->tbl->schema), SLICE_ARG(c->tbl->name));
	put_key(out, c);
	put_columns(out, c);
	buf_byte(out, '\n');
}

/* ---- JSON ---- */

static void
json_row(struct buf *out, const struct tail_change *c, const struct value *row, bool before)
{
	const char *sep = "";

	if (!row) {
		buf_text(out, "null");
		return;
	}
	buf_byte(out, '{');
	for (int i = 0; i < c->tbl->ncols; i++) {
		if (before ? !known_before(c, i) : row[i].kind == V_ABSENT)
			continue;
		buf_printf(out, "%s", sep);
		sep = ",";
		quote_json(out, c->tbl->cols[i].name);
		buf_byte(out, ':');
		json_value(out, &c->tbl->cols[i], &row[i]);
	}
	buf_byte(out, '}');
}

static void
json_unchanged(struct buf *out, const struct tail_change *c)
{
	const char *sep = "";

	buf_byte(out, '[');
	for (int i = 0; c->env->after && i < c->tbl->ncols; i++) {
		if (c->env->after[i].kind != V_ABSENT)
			continue;
		buf_printf(out, "%s", sep);
		sep = ",";
		quote_json(out, c->tbl->cols[i].name);
	}
	buf_byte(out, ']');
}

void
tail_json(struct buf *out, const struct tail_change *c)
{
	char time[HUMAN_MAX], lsn[20];
	struct buf table = { 0 };

	buf_printf(out, "{\"lsn\":\"%s\"", pg_lsn_text(lsn, c->tl ? c->tl->lsn : c->env->lsn));
	if (c->tl)
		buf_printf(out, ",\"seq\":%" PRIu64 ",\"index\":%" PRIu64, c->tl->seq, c->tl->index);
	else
		buf_text(out, ",\"seq\":null,\"index\":null");
	if (c->env->op)
		buf_printf(out, ",\"op\":\"%c\"", c->env->op);
	else
		buf_text(out, ",\"op\":null");
	buf_printf(&table, "%.*s.%.*s", SLICE_ARG(c->tbl->schema), SLICE_ARG(c->tbl->name));
	buf_text(out, ",\"table\":");
	quote_json(out, buf_view(&table));
	buf_free(&table);
	buf_printf(out, ",\"ts\":\"%s\",\"before\":", human_time(time, c->env->source_us));
	json_row(out, c, c->env->before, true);
	buf_text(out, ",\"after\":");
	json_row(out, c, c->env->after, false);
	buf_text(out, ",\"unchanged\":");
	json_unchanged(out, c);
	buf_printf(out, ",\"partition\":%d,\"offset\":%" PRId64 "}\n", c->partition, c->offset);
}
