#include "consumer/parked.h"
#include "core/quote.h"
#include "schemas/pgtypes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SHOWN_MAX = 200 }; /* bytes of one value in the key that people read */

/* ---- names ---- */

const char *
parked_id_text(char out[static PARKED_ID_TEXT], struct parked_id id)
{
	snprintf(out, PARKED_ID_TEXT, "%016" PRIx64 "%016" PRIx64, id.hi, id.lo);
	return out;
}

bool
parked_id_parse(const char *text, struct parked_id *id)
{
	char half[17] = "", *end;

	if (strlen(text) != 32)
		return false;
	memcpy(half, text, 16);
	id->hi = strtoull(half, &end, 16);
	if (*end)
		return false;
	id->lo = strtoull(text + 16, &end, 16);
	return !*end;
}

static bool
id_same(struct parked_id a, struct parked_id b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

static void
put_part(struct buf *b, struct slice s)
{
	buf_uvarint(b, s.n);
	buf_slice(b, s);
}

/* What two versions of a table write for the same value: not the text, which would have to be made for every row. */
static void
put_value(struct buf *b, const struct value *v)
{
	uint64_t bits = (uint64_t)v->i;

	buf_byte(b, v->kind);
	if (v->exact.n) {
		put_part(b, v->exact);
	} else if (v->kind >= V_BYTES) {
		put_part(b, v->s);
	} else if (v->kind > V_NULL) {
		if (v->kind == V_FLOAT || v->kind == V_DOUBLE)
			memcpy(&bits, &v->d, sizeof bits);
		buf_be64(b, bits);
	}
}

/* One side of a change: its row, and the one that knows what it leaves out. */
struct side {
	const struct value *row, *rest;
};

static const struct value *
side_value(const struct side *s, int col)
{
	if (s->row && s->row[col].kind != V_ABSENT)
		return &s->row[col];
	return s->rest && s->rest[col].kind != V_ABSENT ? &s->rest[col] : NULL;
}

static bool
side_keyed(const struct side *s, const struct table *t)
{
	for (int i = 0; i < t->nkeys; i++) {
		const struct value *v = side_value(s, t->keys[i]);

		if (!v || value_is_null(v))
			return false;
	}
	return t->nkeys > 0;
}

/* false: neither a whole key nor a whole row. */
static bool
side_id(
    const struct side *s, const struct table *t, bool whole, struct buf *b, struct parked_id *out)
{
	bool keyed = side_keyed(s, t);
	int n = keyed ? t->nkeys : t->ncols;
	XXH128_hash_t h;

	if (!keyed && !whole)
		return false;
	buf_reset(b);
	put_part(b, t->schema);
	put_part(b, t->name);
	buf_byte(b, keyed);
	for (int i = 0; i < n; i++) {
		const struct value *v = side_value(s, keyed ? t->keys[i] : i);

		if (!v)
			return false;
		put_value(b, v);
	}
	h = XXH3_128bits(b->p, b->n);
	*out = (struct parked_id){ h.high64, h.low64 };
	return true;
}

/* Old and new side of a change; without the one that it has not. */
static int
sides_of(const struct row *r, struct side *out, bool *whole)
{
	bool adds = r->op == OP_CREATE || r->op == OP_READ;
	int n = 0;

	if (!r->tbl || r->op == OP_TRUNCATE)
		return 0;
	if (r->before && !adds && (r->op == OP_DELETE || r->moved || !row_keyed(r))) {
		whole[n] = r->before_full;
		out[n++] = (struct side){ r->before, NULL };
	}
	if (r->after && r->op != OP_DELETE) {
		whole[n] = adds || r->before_full;
		out[n++] = (struct side){ r->after, adds ? NULL : r->before };
	}
	return n;
}

void
parked_ids(const struct row *r, struct buf *scratch, struct parked_ids *out)
{
	struct side sides[2];
	bool whole[2];
	int n = sides_of(r, sides, whole);

	out->n = 0;
	for (int i = 0; i < n; i++)
		if (side_id(&sides[i], r->tbl, whole[i], scratch, &out->id[out->n]) &&
		    (!out->n || !id_same(out->id[0], out->id[1])))
			out->n++;
}

/* ---- the key for people ---- */

static void
json_value(const struct column *c, const struct value *v, struct buf *out)
{
	struct buf text = { 0 };
	struct err ignored;
	bool number = v->kind == V_INT && !c->type.semantic && !v->exact.n;

	if (pgtype_text(&c->type, v, &text, &ignored) != OK) {
		buf_reset(&text);
		buf_printf(&text, "(%zu bytes)", v->kind >= V_BYTES ? v->s.n : sizeof v->i);
		number = false;
	}
	if (text.n > SHOWN_MAX) {
		text.n = SHOWN_MAX; /* a character that is cut becomes U+FFFD */
		buf_text(&text, "...");
	}
	if (number)
		buf_slice(out, buf_view(&text));
	else
		quote_json(out, buf_view(&text));
	buf_free(&text);
}

static void
json_side(const struct side *s, const struct table *t, struct buf *out)
{
	buf_byte(out, '{');
	for (int i = 0; i < t->nkeys; i++) {
		const struct column *c = &t->cols[t->keys[i]];

		if (i)
			buf_text(out, ", ");
		quote_json(out, c->name);
		buf_text(out, ": ");
		json_value(c, side_value(s, t->keys[i]), out);
	}
	buf_byte(out, '}');
}

void
parked_key_json(const struct row *r, struct buf *out)
{
	struct side sides[2];
	bool whole[2];
	int n = sides_of(r, sides, whole);

	for (int i = 0; i < n; i++)
		if (!side_keyed(&sides[i], r->tbl))
			return;
	if (n == 2)
		buf_byte(out, '[');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_text(out, ", ");
		json_side(&sides[i], r->tbl, out);
	}
	if (n == 2)
		buf_byte(out, ']');
}

/* ---- the set ---- */

struct parked_table {
	uint64_t name; /* hash */
	int keys;
	UT_hash_handle hh;
};

struct parked_key {
	struct parked_id id;
	struct parked_table *table;
	int64_t head;
	UT_hash_handle hh;
};

static uint64_t
table_hash(struct slice schema, struct slice table)
{
	return XXH3_64bits_withSeed(table.p, table.n, XXH3_64bits(schema.p, schema.n));
}

static struct parked_table *
find_table(const struct parked *p, struct slice schema, struct slice table)
{
	uint64_t name = table_hash(schema, table);
	struct parked_table *t;

	HASH_FIND(hh, p->tables, &name, sizeof name, t);
	return t;
}

void
parked_free(struct parked *p)
{
	struct parked_key *k, *next;
	struct parked_table *t, *tnext;

	HASH_ITER (hh, p->keys, k, next) {
		HASH_DEL(p->keys, k);
		free(k);
	}
	HASH_ITER (hh, p->tables, t, tnext) {
		HASH_DEL(p->tables, t);
		free(t);
	}
	buf_free(&p->scratch);
	*p = (struct parked){ 0 };
}

bool
parked_has_table(const struct parked *p, struct slice schema, struct slice table)
{
	return p->n && find_table(p, schema, table);
}

bool
parked_has(const struct parked *p, const struct parked_ids *ids, int64_t *head)
{
	bool found = false;

	*head = 0;
	for (int i = 0; i < ids->n; i++) {
		struct parked_key *k;

		HASH_FIND(hh, p->keys, &ids->id[i], sizeof ids->id[i], k);
		if (!k)
			continue;
		found = true;
		if (k->head && (!*head || k->head < *head))
			*head = k->head;
	}
	return found;
}

static struct parked_table *
table_for(struct parked *p, struct slice schema, struct slice table)
{
	struct parked_table *t = find_table(p, schema, table);

	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (!t)
		die("out of memory");
	t->name = table_hash(schema, table);
	HASH_ADD(hh, p->tables, name, sizeof t->name, t);
	return t;
}

void
parked_add(struct parked *p, struct slice schema, struct slice table, const struct parked_ids *ids,
    int64_t head)
{
	for (int i = 0; i < ids->n; i++) {
		struct parked_key *k;

		HASH_FIND(hh, p->keys, &ids->id[i], sizeof ids->id[i], k);
		if (!k) {
			k = calloc(1, sizeof *k);
			if (!k)
				die("out of memory");
			k->id = ids->id[i];
			k->table = table_for(p, schema, table);
			k->table->keys++;
			HASH_ADD(hh, p->keys, id, sizeof k->id, k);
			p->n++;
		}
		if (!k->head)
			k->head = head;
	}
}

void
parked_drop_table(struct parked *p, struct slice schema, struct slice table)
{
	struct parked_table *t = find_table(p, schema, table);
	struct parked_key *k, *next;

	if (!t)
		return;
	HASH_ITER (hh, p->keys, k, next)
		if (k->table == t) {
			HASH_DEL(p->keys, k);
			free(k);
			p->n--;
		}
	HASH_DEL(p->tables, t);
	free(t);
}

enum rc
parked_bounded(const struct parked *p, const char *sink, struct err *err)
{
	if (p->n <= PARKED_KEYS_MAX)
		return OK;
	return fail(err, FATAL,
	    "more than %d keys are parked: this is no matter of single rows; see 'towline dlq ls %s', correct the cause,"
	    " 'towline dlq retry %s --all'",
	    PARKED_KEYS_MAX, sink, sink);
}

bool
parked_route(struct parked *p, struct batch *b)
{
	const struct table *tbl = NULL;
	bool here = false, marked = false;

	for (int i = 0; i < b->nrows; i++) {
		struct row *r = &b->rows[i];
		struct parked_ids ids;
		int64_t head;

		if (!r->tbl)
			continue;
		if (r->op == OP_TRUNCATE) {
			parked_drop_table(p, r->tbl->schema, r->tbl->name);
			tbl = NULL;
			continue;
		}
		if (r->tbl != tbl || r->aside == ASIDE_BAD) {
			tbl = r->aside == ASIDE_BAD ? NULL : r->tbl;
			here = parked_has_table(p, r->tbl->schema, r->tbl->name);
		}
		if (!here && r->aside != ASIDE_BAD)
			continue;
		parked_ids(r, &p->scratch, &ids);
		if (r->aside != ASIDE_BAD && !parked_has(p, &ids, &head))
			continue;
		if (r->aside != ASIDE_BAD)
			r->aside = ASIDE_WAITS;
		parked_add(p, r->tbl->schema, r->tbl->name, &ids, r->aside == ASIDE_BAD ? 0 : head);
		marked = true;
	}
	return marked;
}

/* ---- parts ---- */

struct seen {
	struct parked_id id;
	int at;
	UT_hash_handle hh;
};

static int
root_of(int *part, int i)
{
	while (part[i] != i)
		i = part[i] = part[part[i]];
	return i;
}

void
parked_parts(const struct parked_entry *e, int n, int *part)
{
	struct seen *all = NULL, *s, *next;

	for (int i = 0; i < n; i++) {
		part[i] = i;
		for (int k = 0; k < e[i].ids.n; k++) {
			int a, b;

			HASH_FIND(hh, all, &e[i].ids.id[k], sizeof e[i].ids.id[k], s);
			if (!s) {
				s = calloc(1, sizeof *s);
				if (!s)
					die("out of memory");
				s->id = e[i].ids.id[k];
				s->at = i;
				HASH_ADD(hh, all, id, sizeof s->id, s);
			}
			a = root_of(part, s->at);
			b = root_of(part, i);
			part[a > b ? a : b] = a > b ? b : a;
		}
	}
	for (int i = 0; i < n; i++)
		part[i] = root_of(part, i);
	HASH_ITER (hh, all, s, next) {
		HASH_DEL(all, s);
		free(s);
	}
}
