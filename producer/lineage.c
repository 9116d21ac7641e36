#include "producer/lineage.h"
#include "core/err.h"

#include <stdlib.h>

static const struct column *
by_attnum(const struct table *t, int attnum)
{
	for (int i = 0; i < t->ncols; i++)
		if (t->cols[i].attnum == attnum)
			return &t->cols[i];
	return NULL;
}

static bool
all_numbered(const struct table *t)
{
	return !by_attnum(t, 0);
}

/* A column that was dropped before `before` was made: it cannot be one of the message's. */
static bool
long_gone(const struct table *before, int attnum)
{
	int last = 0;

	if (!before || !all_numbered(before))
		return false;
	for (int i = 0; i < before->ncols; i++)
		last = before->cols[i].attnum > last ? before->cols[i].attnum : last;
	return attnum < last && !by_attnum(before, attnum);
}

/* May the columns be counted off? */
static bool
by_place(const struct table *t, const struct table *before, const struct lineage_attr *attrs, int n)
{
	int live = 0;

	for (int i = 0; i < n; i++) {
		if (attrs[i].generated || (attrs[i].dropped && !long_gone(before, attrs[i].attnum)))
			return false;
		live += !attrs[i].dropped;
	}
	return live >= t->ncols;
}

static int
named_before(const struct column *c, const struct table *before, int last)
{
	for (int i = 0; before && i < before->ncols; i++) {
		const struct column *old = &before->cols[i];

		if (old->attnum > last && slice_eq(old->name, c->name) && old->typid == c->typid && old->typmod == c->typmod)
			return old->attnum;
	}
	return 0;
}

static int
named_now(const struct column *c, const struct lineage_attr *attrs, int n, int last)
{
	for (int i = 0; i < n; i++)
		if (attrs[i].attnum > last && !attrs[i].dropped && slice_eq(attrs[i].name, c->name) && attrs[i].typid == c->typid &&
		    attrs[i].typmod == c->typmod)
			return attrs[i].attnum;
	return 0;
}

/* Each the column of its name and type, in ascending order: the version before's, or else the catalogue's; or the other way round. */
static void
by_name(struct table *t, const struct table *before, const struct lineage_attr *attrs, int n, bool now_first)
{
	int last = 0;

	for (int i = 0; i < t->ncols; i++) {
		struct column *c = &t->cols[i];
		int old = named_before(c, before, last), now = named_now(c, attrs, n, last);

		c->attnum = now_first ? now ? now : old : old ? old : now;
		last = c->attnum ? c->attnum : last;
	}
}

/*
 * A column that is there now was there then, unless it is newer than all of the message. One that the version before had, too, is
 * not newer.
 */
static bool
plausible(const struct table *t, const struct table *before, const struct lineage_attr *attrs, int n)
{
	int last = 0;

	for (int i = 0; i < t->ncols; i++)
		last = t->cols[i].attnum ? t->cols[i].attnum : last;
	for (int i = 0; i < n; i++)
		if (!attrs[i].dropped && !attrs[i].generated && !by_attnum(t, attrs[i].attnum) &&
		    (attrs[i].attnum <= last || (before && by_attnum(before, attrs[i].attnum))))
			return false;
	return true;
}

/* By their names, as far as there is one way only. */
static void
number_by_name(struct table *t, const struct table *before, const struct lineage_attr *attrs, int n, bool listed)
{
	int *first = calloc((size_t)t->ncols + 1, sizeof *first);
	bool old_way, now_way;

	if (!first)
		die("out of memory");
	by_name(t, before, attrs, n, false);
	old_way = listed || plausible(t, before, attrs, n);
	for (int i = 0; i < t->ncols; i++)
		first[i] = t->cols[i].attnum;
	by_name(t, before, attrs, n, true);
	now_way = listed || plausible(t, before, attrs, n);
	for (int i = 0; i < t->ncols; i++) {
		int *no = &t->cols[i].attnum;

		if (!now_way)
			*no = old_way ? first[i] : 0;
		else if (old_way && *no != first[i])
			*no = 0;
	}
	free(first);
}

void
lineage_number(struct table *t, const struct table *before, const struct lineage_attr *attrs, int n, bool listed)
{
	for (int i = 0; i < n; i++)
		t->shrunk |= attrs[i].dropped;
	if (listed || !by_place(t, before, attrs, n)) {
		number_by_name(t, before, attrs, n, listed);
		return;
	}
	for (int i = 0, at = 0; i < t->ncols; i++, at++) {
		while (attrs[at].dropped)
			at++;
		t->cols[i].attnum = attrs[at].attnum;
	}
}

/* By the names of now. */
static void
compare_keys(struct table *t, const struct table *before, struct arena *a)
{
	int same = 0;

	t->was_keys = arena_array(a, (size_t)before->nkeys + 1, sizeof *t->was_keys);
	for (int i = 0; i < before->nkeys; i++) {
		const struct column *old = &before->cols[before->keys[i]], *c = old->attnum ? by_attnum(t, old->attnum) : NULL;

		t->was_keys[t->nwas_keys++] = c ? c->name : old->name;
		same += table_is_key(t, table_column(t, t->was_keys[i]));
	}
	t->rekeyed = same != t->nkeys || t->nkeys != before->nkeys;
	if (!t->rekeyed)
		t->nwas_keys = 0;
}

void
lineage_compare(struct table *t, const struct table *before, struct arena *a)
{
	bool same = t->relid == before->relid;

	if (same && !(slice_eq(t->schema, before->schema) && slice_eq(t->name, before->name))) {
		t->was_schema = before->schema;
		t->was_name = before->name;
	}
	if (same)
		compare_keys(t, before, a);
	for (int i = 0; i < t->ncols; i++) {
		struct column *c = &t->cols[i];
		const struct column *old = same && c->attnum ? by_attnum(before, c->attnum) : NULL;

		if (old && !slice_eq(old->name, c->name))
			c->was = old->name;
		if (!old)
			c->fresh = same ? t->shrunk && c->attnum && all_numbered(before) : table_column(before, c->name) < 0;
	}
}

bool
lineage_same(const struct table *t, const struct table *before)
{
	if (t->relid != before->relid || !slice_eq(t->schema, before->schema) || !slice_eq(t->name, before->name) ||
	    t->ncols != before->ncols || t->nkeys != before->nkeys)
		return false;
	for (int i = 0; i < t->ncols; i++) {
		const struct column *c = &t->cols[i], *old = &before->cols[i];

		if (!slice_eq(c->name, old->name) || c->typid != old->typid || c->typmod != old->typmod ||
		    (c->attnum && old->attnum && c->attnum != old->attnum))
			return false;
	}
	for (int i = 0; i < t->nkeys; i++)
		if (t->keys[i] != before->keys[i])
			return false;
	return true;
}

int
lineage_replaced(const struct table *t, const struct table *before, int from)
{
	for (int i = from; i < t->ncols; i++) {
		int old = table_column(before, t->cols[i].name);

		if (t->cols[i].fresh && old >= 0 && !by_attnum(t, before->cols[old].attnum))
			return i;
	}
	return -1;
}
