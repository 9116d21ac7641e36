/*
 * The net effect of a run of rows. What a key's changes become, by what stood before (columns) and
 * what comes:
 *
 *            nothing   insert    upsert    read      update    delete
 *   c        insert    upsert*   upsert*   upsert*   upsert*   upsert (whole row)
 *   r        read      upsert*   upsert*   upsert*   upsert*   upsert (whole row)
 *   u        update    insert*   upsert*   read*     update*   delete
 *   d        delete    delete    delete    delete    delete    delete
 *
 * * merged: a column that the later change does not carry keeps the earlier value. An insert that is deleted again is
 * a delete, not nothing: the sink may hold the row from a former life. An update of a deleted row
 * hits nothing in exact order either.
 */
#include "consumer/batch.h"
#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Works of one table and kind that touch the same columns. */
struct shape {
	struct shape *next;
	enum work_kind kind;
	const bool *present;    /* NULL: all */
	struct net *nets;
	int n, filled;
};

/* A table within one segment: the rows between two barriers. */
struct group {
	const struct table *tbl;
	uint64_t name_hash;
	struct shape *shapes, **tail, *hot;
};

struct entry {
	struct group *group;
	struct shape *shape;
	const struct value *key, *row;
	struct value *own;      /* row, when it is a copy that may be written to; else NULL */
	const struct row *last;
	uint8_t kind;           /* WORK_DELETE, WORK_UPDATE, WORK_INSERT, WORK_UPSERT, WORK_READ */
	bool wipe;              /* deleted before it was created anew without all its columns */
};

/*
 * Both maps are never cleared: a slot that points before the segment's first entry (or group)
 * counts as empty.
 */
struct slot {
	uint32_t hash;
	uint32_t at;            /* index + 1 */
};

struct planner {
	struct batch *b;
	struct entry *entries;
	uint32_t nentries, first_entry;
	struct slot *keys;
	uint32_t key_mask;
	struct group **groups;
	uint32_t ngroups, first_group, group_cap;
	struct slot *tables;
	uint32_t table_mask;
	struct group *hot;
	bool *scratch;
	int scratch_cols, works_cap;
};

struct row *
batch_row(struct batch *b)
{
	if (b->nrows == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 1024;
		b->rows = realloc(b->rows, (size_t)b->cap * sizeof *b->rows);
		if (!b->rows)
			die("out of memory: %d rows", b->cap);
	}
	b->rows[b->nrows] = (struct row){ 0 };
	return &b->rows[b->nrows++];
}

int
batch_hold(struct batch *b, void *msg)
{
	if (b->nheld == b->heldcap) {
		b->heldcap = b->heldcap ? b->heldcap * 2 : 1024;
		b->held = realloc(b->held, (size_t)b->heldcap * sizeof *b->held);
		if (!b->held)
			die("out of memory: %d messages", b->heldcap);
	}
	b->held[b->nheld] = msg;
	return b->nheld++;
}

void
batch_reset(struct batch *b, void (*release)(void *msg))
{
	for (int i = 0; i < b->nheld; i++)
		release(b->held[i]);
	b->nheld = b->nrows = b->nworks = 0;
	b->special = false;
	b->bytes = 0;
	b->works = NULL;
	arena_reset(&b->arena);
}

void
batch_free(struct batch *b, void (*release)(void *msg))
{
	batch_reset(b, release);
	arena_free(&b->arena);
	free(b->rows);
	free(b->held);
	*b = (struct batch){ 0 };
}

/* ---- keys ---- */

const struct value *
row_key(const struct row *r, int col)
{
	const struct value *v = NULL;

	if (r->op != OP_DELETE && !r->moved && r->after)
		v = &r->after[col];
	/*
	 * A key value in the TOAST table is not sent again with an unchanged row: the old key has
	 * it.
	 */
	if ((!v || v->kind == V_ABSENT) && r->before)
		v = &r->before[col];
	return v;
}

bool
row_keyed(const struct row *r)
{
	const struct table *tbl = r->tbl;

	for (int i = 0; i < tbl->nkeys; i++) {
		const struct value *v = row_key(r, tbl->keys[i]);

		if (!v || v->kind <= V_NULL)
			return false;
	}
	return tbl->nkeys > 0;
}

static inline uint64_t
mix(uint64_t h, uint64_t v)
{
	__uint128_t m = (__uint128_t)(h ^ v ^ 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t
hash_value(uint64_t h, const struct value *v)
{
	switch ((enum value_kind)v->kind) {
	case V_BOOL:
	case V_INT:
		return mix(h, (uint64_t)v->i);
	case V_FLOAT:
	case V_DOUBLE: {
		uint64_t bits;

		memcpy(&bits, &v->d, sizeof bits);
		return mix(h, bits);
	}
	case V_BYTES:
	case V_STRING:
	case V_DECIMAL:
	case V_AVRO:
		return mix(h, XXH3_64bits(v->s.p, v->s.n));
	case V_ABSENT:
	case V_NULL:
		break;
	}
	return mix(h, v->kind);
}

uint64_t
row_hash(const struct row *r)
{
	uint64_t h = (uintptr_t)r->tbl;

	for (int i = 0; i < r->tbl->nkeys; i++) {
		const struct value *v = row_key(r, r->tbl->keys[i]);

		h = v ? hash_value(h, v) : mix(h, 0);
	}
	return h;
}

bool
row_same_key(const struct row *a, const struct row *b)
{
	if (a->tbl != b->tbl || !row_keyed(a) || !row_keyed(b))
		return false;
	for (int i = 0; i < a->tbl->nkeys; i++)
		if (!value_eq(row_key(a, a->tbl->keys[i]), row_key(b, a->tbl->keys[i])))
			return false;
	return true;
}

/*
 * The values that hold the key: the row's own array, or a copy where the key is spread over both.
 */
static const struct value *
key_values(struct planner *p, const struct row *r)
{
	const struct table *tbl = r->tbl;
	const struct value *home = r->op == OP_DELETE ? r->before : r->after;
	struct value *copy = NULL;

	for (int i = 0; i < tbl->nkeys; i++) {
		int col = tbl->keys[i];

		if (home[col].kind != V_ABSENT)
			continue;
		if (!copy) {
			copy = arena_array(&p->b->arena, (size_t)tbl->ncols, sizeof *copy);
			memcpy(copy, home, (size_t)tbl->ncols * sizeof *copy);
		}
		copy[col] = *row_key(r, col);
	}
	return copy ? copy : home;
}

/* ---- works ---- */

static struct work *
work_add(struct planner *p, enum work_kind kind, const struct table *tbl)
{
	struct batch *b = p->b;

	if (b->nworks == p->works_cap) {
		int cap = p->works_cap ? p->works_cap * 2 : 64;
		struct work *more = arena_array(&b->arena, (size_t)cap, sizeof *more);

		if (b->nworks)
			memcpy(more, b->works, (size_t)b->nworks * sizeof *more);
		b->works = more;
		p->works_cap = cap;
	}
	b->works[b->nworks] = (struct work){ .kind = kind, .tbl = tbl };
	return &b->works[b->nworks++];
}

static void
work_row(struct planner *p, const struct row *r)
{
	struct net *net = arena_new(&p->b->arena, struct net);
	struct work *w = work_add(p, WORK_ROW, r->tbl);

	*net = (struct net){ .key = r->before ? r->before : r->after, .row = r->after, .last = r };
	w->nets = net;
	w->n = 1;
}

/*
 * Columns of the row that are there, without the key's for an update. False: none. *all: every
 * column.
 */
static bool
present_columns(
    const struct table *tbl, const struct value *row, enum work_kind kind, bool *present, bool *all)
{
	int n = 0;

	for (int i = 0; i < tbl->ncols; i++)
		n += present[i] = row[i].kind != V_ABSENT;
	*all = n == tbl->ncols && kind != WORK_UPDATE;
	if (kind == WORK_UPDATE)
		for (int i = 0; i < tbl->nkeys; i++) {
			n -= present[tbl->keys[i]];
			present[tbl->keys[i]] = false;
		}
	return n > 0;
}

static bool
shape_is(const struct shape *s, enum work_kind kind, const bool *present, int ncols)
{
	return s->kind == kind && !s->present == !present &&
	    (!present || memcmp(s->present, present, (size_t)ncols) == 0);
}

static struct shape *
shape_for(struct planner *p, struct group *g, enum work_kind kind, const bool *present)
{
	size_t ncols = (size_t)g->tbl->ncols;
	struct shape *s = g->hot;

	if (s && shape_is(s, kind, present, (int)ncols))
		return s;
	for (s = g->shapes; s; s = s->next)
		if (shape_is(s, kind, present, (int)ncols))
			return g->hot = s;
	s = arena_new(&p->b->arena, struct shape);
	s->kind = kind;
	if (present) {
		bool *copy = arena_raw(&p->b->arena, ncols);

		memcpy(copy, present, ncols);
		s->present = copy;
	}
	*g->tail = s;
	g->tail = &s->next;
	return g->hot = s;
}

/* Which work an entry goes into; NULL: it comes to nothing. */
static struct shape *
entry_shape(struct planner *p, struct entry *e)
{
	const struct table *tbl = e->group->tbl;
	bool all = false;

	if (e->kind == WORK_DELETE)
		return shape_for(p, e->group, WORK_DELETE, NULL);
	if (tbl->ncols > p->scratch_cols) {
		p->scratch = arena_raw(&p->b->arena, (size_t)tbl->ncols);
		p->scratch_cols = tbl->ncols;
	}
	if (!present_columns(tbl, e->row, e->kind, p->scratch, &all))
		return NULL;
	return shape_for(p, e->group, e->kind, all ? NULL : p->scratch);
}

static void
shape_put(struct planner *p, struct shape *s, const struct entry *e)
{
	if (!s->nets)
		s->nets = arena_raw(&p->b->arena, (size_t)s->n * sizeof *s->nets);
	s->nets[s->filled++] =
	    (struct net){ e->key, s->kind == WORK_DELETE ? NULL : e->row, e->last };
}

static void
shapes_emit(struct planner *p, const struct group *g, unsigned kinds)
{
	for (struct shape *s = g->shapes; s; s = s->next) {
		struct work *w;

		if (!(kinds & 1u << s->kind))
			continue;
		w = work_add(p, s->kind, g->tbl);
		w->present = s->present;
		w->nets = s->nets;
		w->n = s->n;
	}
}

/* End of a segment: its entries become works. */
static void
flush(struct planner *p)
{
	uint32_t g;

	for (uint32_t i = p->first_entry; i < p->nentries; i++) {
		struct entry *e = &p->entries[i];

		if (e->wipe)
			shape_for(p, e->group, WORK_DELETE, NULL)->n++;
		e->shape = entry_shape(p, e);
		if (e->shape)
			e->shape->n++;
	}
	for (uint32_t i = p->first_entry; i < p->nentries; i++) {
		struct entry *e = &p->entries[i];

		if (e->wipe)
			shape_put(p, shape_for(p, e->group, WORK_DELETE, NULL), e);
		if (e->shape)
			shape_put(p, e->shape, e);
	}
	for (g = p->ngroups; g > p->first_group; g--)
		shapes_emit(p, p->groups[g - 1], 1u << WORK_DELETE);
	for (g = p->first_group; g < p->ngroups; g++)
		shapes_emit(p, p->groups[g], 1u << WORK_UPDATE);
	for (g = p->first_group; g < p->ngroups; g++)
		shapes_emit(p, p->groups[g], 1u << WORK_INSERT | 1u << WORK_UPSERT | 1u << WORK_READ);
	p->first_entry = p->nentries;
	p->first_group = p->ngroups;
	p->hot = NULL;
}

/* ---- tables ---- */

static uint64_t
name_hash(const struct table *tbl)
{
	return mix(
	    XXH3_64bits(tbl->schema.p, tbl->schema.n), XXH3_64bits(tbl->name.p, tbl->name.n));
}

static void
tables_put(struct planner *p, uint32_t at)
{
	uint32_t i = (uint32_t)mix(0, (uintptr_t)p->groups[at - 1]->tbl);

	while (p->tables[i & p->table_mask].at > p->first_group)
		i++;
	p->tables[i & p->table_mask] = (struct slot){ 0, at };
}

static void
groups_grow(struct planner *p)
{
	uint32_t cap = p->group_cap ? p->group_cap * 2 : 32;
	struct group **more = arena_array(&p->b->arena, cap, sizeof(struct group *));

	if (p->ngroups)
		memcpy(more, p->groups, p->ngroups * sizeof(struct group *));
	p->groups = more;
	p->group_cap = cap;
	p->tables = arena_array(&p->b->arena, (size_t)cap * 2, sizeof *p->tables);
	p->table_mask = cap * 2 - 1;
	for (uint32_t at = p->first_group + 1; at <= p->ngroups; at++)
		tables_put(p, at);
}

static struct group *
group_add(struct planner *p, const struct table *tbl)
{
	struct group *g = arena_new(&p->b->arena, struct group);

	g->tbl = tbl;
	g->tail = &g->shapes;
	g->name_hash = name_hash(tbl);
	/*
	 * Two versions of one table share keys but not maps: the newer one starts after the older
	 * one is done.
	 */
	for (uint32_t i = p->first_group; i < p->ngroups; i++)
		if (p->groups[i]->name_hash == g->name_hash) {
			flush(p);
			break;
		}
	if (p->ngroups == p->group_cap)
		groups_grow(p);
	p->groups[p->ngroups++] = g;
	tables_put(p, p->ngroups);
	return p->hot = g;
}

static struct group *
group_for(struct planner *p, const struct table *tbl)
{
	uint32_t i = (uint32_t)mix(0, (uintptr_t)tbl);

	if (p->hot && p->hot->tbl == tbl)
		return p->hot;
	for (; p->table_mask; i++) {
		uint32_t at = p->tables[i & p->table_mask].at;

		if (at <= p->first_group)
			break;
		if (p->groups[at - 1]->tbl == tbl)
			return p->hot = p->groups[at - 1];
	}
	return group_add(p, tbl);
}

/* ---- rows ---- */

static bool
key_same(const struct entry *e, const struct group *g, const struct value *key)
{
	if (e->group != g)
		return false;
	for (int i = 0; i < g->tbl->nkeys; i++)
		if (!value_eq(&e->key[g->tbl->keys[i]], &key[g->tbl->keys[i]]))
			return false;
	return true;
}

/* The entry of this key; *fresh: it is new and empty. */
static struct entry *
entry_for(struct planner *p, struct group *g, const struct value *key, uint64_t hash, bool *fresh)
{
	uint32_t h = (uint32_t)hash, i = (uint32_t)(hash >> 32);
	struct slot *s;

	for (;; i++) {
		s = &p->keys[i & p->key_mask];
		if (s->at <= p->first_entry)
			break;
		if (s->hash == h && key_same(&p->entries[s->at - 1], g, key)) {
			*fresh = false;
			return &p->entries[s->at - 1];
		}
	}
	*fresh = true;
	*s = (struct slot){ h, ++p->nentries };
	return &p->entries[p->nentries - 1];
}

static bool
row_whole(const struct table *tbl, const struct value *row)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (row[i].kind == V_ABSENT)
			return false;
	return true;
}

/* The later row over the earlier one. */
static void
merge(struct planner *p, struct entry *e, const struct value *later)
{
	size_t n = (size_t)e->group->tbl->ncols;

	if (row_whole(e->group->tbl, later)) {
		e->row = later;
		e->own = NULL;
		return;
	}
	if (!e->own) {
		e->own = arena_raw(&p->b->arena, n * sizeof *e->own);
		memcpy(e->own, e->row, n * sizeof *e->own);
		e->row = e->own;
	}
	for (size_t i = 0; i < n; i++)
		if (later[i].kind != V_ABSENT)
			e->own[i] = later[i];
}

static void
entry_step(struct planner *p, struct entry *e, const struct row *r)
{
	bool deleted = e->kind == WORK_DELETE;

	e->last = r;
	if (r->op == OP_DELETE) {
		e->kind = WORK_DELETE;
		e->row = e->own = NULL;
		e->wipe = false;
		return;
	}
	if (r->op == OP_UPDATE) {
		if (!deleted)
			merge(p, e, r->after);
		return;
	}
	e->kind = WORK_UPSERT;
	if (!deleted) {
		merge(p, e, r->after);
		return;
	}
	e->row = r->after;
	e->own = NULL;
	e->wipe = !row_whole(r->tbl, r->after);
}

static enum work_kind
first_kind(char op)
{
	switch (op) {
	case OP_DELETE: return WORK_DELETE;
	case OP_UPDATE: return WORK_UPDATE;
	case OP_CREATE: return WORK_INSERT;
	default: return WORK_READ;
	}
}

static void
take_keyed(struct planner *p, const struct row *r)
{
	struct group *g = group_for(p, r->tbl);
	const struct value *key = key_values(p, r);
	bool fresh;
	struct entry *e = entry_for(p, g, key, row_hash(r), &fresh);

	if (fresh)
		*e = (struct entry){ .group = g, .key = key, .row = r->op == OP_DELETE ? NULL : r->after, .last = r,
			.kind = (uint8_t)first_kind(r->op) };
	else
		entry_step(p, e, r);
}

static void
take_row(struct planner *p, const struct row *r)
{
	bool adds = r->op == OP_CREATE || r->op == OP_READ;
	const struct value *home = r->op == OP_DELETE ? r->before : r->after;

	if (r->op == OP_TRUNCATE) {
		flush(p);
		work_add(p, WORK_TRUNCATE, r->tbl);
	} else if (!adds && r->op != OP_UPDATE && r->op != OP_DELETE) {
		return;
	} else if (home && !r->moved && row_keyed(r)) {
		take_keyed(p, r);
	} else if (home && adds) {
		struct group *g = group_for(p, r->tbl);

		p->entries[p->nentries++] = (struct entry){
			.group = g, .key = r->after, .row = r->after, .last = r, .kind = WORK_INSERT
		};
	} else {
		flush(p);
		work_row(p, r);
	}
}

void
batch_plan(struct batch *b)
{
	struct planner p = { .b = b };
	uint32_t slots = 16;

	assert(!b->works);
	while (slots < (uint32_t)b->nrows * 2)
		slots *= 2;
	p.entries = arena_raw(&b->arena, ((size_t)b->nrows + 1) * sizeof *p.entries);
	p.keys = arena_array(&b->arena, slots, sizeof *p.keys);
	p.key_mask = slots - 1;
	for (int i = 0; i < b->nrows; i++) {
		const struct row *r = &b->rows[i];

		if (r->aside || r->op == OP_TRUNCATE)
			b->special = true;
		if (!r->aside)
			take_row(&p, r);
	}
	flush(&p);
}
