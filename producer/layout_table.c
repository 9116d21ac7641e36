#include "producer/layout_table.h"
#include "core/buf.h"
#include "producer/lineage.h"
#include "schemas/lite.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

/* ---- types ---- */

/* Any class may be in it, and none is made of another. */
static bool
takes_any(const struct layout *l, int col)
{
	const char *type = l->cols[col].type;

	return !*type || strcasecmp(type, "ANY") == 0 || lite_affinity(type) == AFFINITY_NUMERIC;
}

static struct wire_type
wire_of(const struct layout *l, int col)
{
	if (takes_any(l, col))
		return (struct wire_type){ .wire = W_STRING, .semantic = LITE_ANY };
	switch (lite_affinity(l->cols[col].type)) {
	case AFFINITY_INTEGER: return (struct wire_type){ .wire = W_INT64 };
	case AFFINITY_REAL: return (struct wire_type){ .wire = W_DOUBLE };
	case AFFINITY_BLOB: return (struct wire_type){ .wire = W_BYTES };
	default: return (struct wire_type){ .wire = W_STRING };
	}
}

/* 'it''s' -> it's; false: something else. */
static bool
literal_text(const char *sql, struct arena *a, struct slice *out)
{
	char *p = arena_raw(a, strlen(sql) + 1);
	size_t n = 0;

	if (*sql++ != '\'')
		return false;
	while (*sql) {
		if (*sql == '\'' && *++sql != '\'')
			break;
		p[n++] = *sql++;
	}
	*out = (struct slice){ p, n };
	return !*sql;
}

bool
layout_default(const struct layout *l, int col, struct arena *a, struct slice *json)
{
	const char *text = l->cols[col].dflt;
	struct wire_type w = wire_of(l, col);
	struct buf b = { 0 };
	struct slice s;
	char *end;

	if (!text || l->cols[col].generated)
		return false;
	if (w.wire == W_INT64 && strlen(text) < 19) {
		long long v = strtoll(text, &end, 10);

		if (end != text && !*end)
			buf_printf(&b, "%lld", v);
	} else if (w.wire == W_STRING && !w.semantic && literal_text(text, a, &s)) {
		json_t *j = json_stringn(s.p, s.n);
		char *dumped = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;

		buf_text(&b, dumped ? dumped : "");
		free(dumped);
		json_decref(j);
	}
	*json = arena_slice(a, buf_view(&b));
	buf_free(&b);
	return json->n > 0;
}

static void
fill_column(const struct layout *l, int i, bool key, struct arena *a, struct column *out)
{
	const struct layout_column *c = &l->cols[i];

	*out = (struct column){ .name = arena_slice(a, slice_of(c->name)), .type = wire_of(l, i),
		.type_name = arena_slice(a, slice_of(c->type)), .typmod = -1, .notnull = c->notnull, .identity = key || !l->nkeys,
		.attnum = i + 1 };
	out->has_default = layout_default(l, i, a, &out->default_json);
	/* A default that no schema can say: rows that were there come again, with its values. Until then they have none. */
	if (c->dflt && !out->has_default && !key)
		out->notnull = false;
}

void
layout_table(const struct layout *l, int64_t capture, const struct table *before, struct arena *a, struct table *out)
{
	*out = (struct table){ .schema = SLICE_LIT("main"), .name = arena_slice(a, slice_of(l->table)), .relid = (uint32_t)capture,
		.version = before ? before->version + 1 : 1, .identity = l->nkeys ? IDENTITY_DEFAULT : IDENTITY_FULL, .ncols = l->ncols,
		.nkeys = l->nkeys, .connector = "sqlite" };
	out->cols = arena_array(a, (size_t)l->ncols, sizeof *out->cols);
	out->keys = arena_array(a, (size_t)l->nkeys + 1, sizeof *out->keys);
	for (int i = 0; i < l->nkeys; i++)
		out->keys[i] = l->keys[i];
	for (int i = 0; i < l->ncols; i++)
		fill_column(l, i, table_is_key(out, i), a, &out->cols[i]);
	if (before) {
		lineage_compare(out, before, a);
		/* Its columns are known for certain: one that was not there is new, and no other's new name. */
		for (int i = before->ncols; i < out->ncols; i++)
			out->cols[i].fresh = true;
	}
}

/* ---- values ---- */

static char
class_text(sqlite3_stmt *st, int i, struct arena *a, struct slice *out)
{
	switch (sqlite3_column_type(st, i)) {
	case SQLITE_INTEGER:
		*out = slice_of(arena_printf(a, "%lld", (long long)sqlite3_column_int64(st, i)));
		return LITE_INTEGER;
	case SQLITE_FLOAT:
		*out = lite_real_text(sqlite3_column_double(st, i), a);
		return LITE_REAL;
	case SQLITE_BLOB:
		*out = (struct slice){ sqlite3_column_blob(st, i), (size_t)sqlite3_column_bytes(st, i) };
		return LITE_BLOB;
	default:
		*out = (struct slice){ (const char *)sqlite3_column_text(st, i), (size_t)sqlite3_column_bytes(st, i) };
		return LITE_TEXT;
	}
}

struct value
layout_value(const struct column *col, sqlite3_stmt *st, int i, struct arena *a)
{
	struct slice s;
	char class;

	switch (sqlite3_column_type(st, i)) {
	case SQLITE_NULL:
		return value_null();
	case SQLITE_INTEGER:
		if (col->type.wire == W_INT64)
			return value_int(sqlite3_column_int64(st, i));
		break;
	case SQLITE_FLOAT:
		if (col->type.wire == W_DOUBLE)
			return (struct value){ .kind = V_DOUBLE, .d = sqlite3_column_double(st, i) };
		break;
	default:
		break;
	}
	class = class_text(st, i, a, &s);
	return lite_value(col->type.wire, class, s, a);
}
