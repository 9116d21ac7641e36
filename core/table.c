#include "core/table.h"

int
table_column(const struct table *tbl, struct slice name)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (slice_eq(tbl->cols[i].name, name))
			return i;
	return -1;
}

bool
table_is_key(const struct table *tbl, int column)
{
	for (int i = 0; i < tbl->nkeys; i++)
		if (tbl->keys[i] == column)
			return true;
	return false;
}

int
table_message_keys(const struct table *tbl, const int **keys)
{
	*keys = tbl->nmessage_keys ? tbl->message_keys : tbl->keys;
	return tbl->nmessage_keys ? tbl->nmessage_keys : tbl->nkeys;
}

bool
table_key_strays(const struct table *tbl)
{
	for (int i = 0; i < tbl->nmessage_keys; i++)
		if (!table_is_key(tbl, tbl->message_keys[i]))
			return true;
	return false;
}

bool
table_was_key(const struct table *tbl, struct slice name)
{
	for (int i = 0; i < tbl->nwas_keys; i++)
		if (slice_eq(tbl->was_keys[i], name))
			return true;
	return false;
}

static bool
text_same(const char *a, const char *b)
{
	return slice_eq(slice_of(a), slice_of(b)) && !a == !b;
}

static bool
wire_same(const struct wire_type *a, const struct wire_type *b)
{
	return a->wire == b->wire && a->precision == b->precision && a->scale == b->scale &&
	    a->length == b->length && text_same(a->semantic, b->semantic) &&
	    text_same(a->allowed, b->allowed) && text_same(a->source_type, b->source_type) &&
	    a->compound == b->compound && !a->item == !b->item && (!a->item || wire_same(a->item, b->item));
}

static bool
column_same(const struct column *a, const struct column *b)
{
	/* Dropped and made anew under its name, it is another column. */
	if (a->attnum && b->attnum && a->attnum != b->attnum)
		return false;
	return slice_eq(a->name, b->name) && wire_same(&a->type, &b->type) &&
	    slice_eq(a->type_name, b->type_name) && a->typid == b->typid &&
	    a->typmod == b->typmod && a->notnull == b->notnull && a->identity == b->identity &&
	    a->has_default == b->has_default && a->default_expr == b->default_expr &&
	    slice_eq(a->default_json, b->default_json);
}

bool
table_same(const struct table *a, const struct table *b)
{
	if (!slice_eq(a->schema, b->schema) || !slice_eq(a->name, b->name) || a->relid != b->relid ||
	    a->identity != b->identity || a->ncols != b->ncols || a->nkeys != b->nkeys)
		return false;
	for (int i = 0; i < a->nkeys; i++)
		if (a->keys[i] != b->keys[i])
			return false;
	for (int i = 0; i < a->ncols; i++)
		if (!column_same(&a->cols[i], &b->cols[i]))
			return false;
	return true;
}
