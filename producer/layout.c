#include "producer/layout.h"
#include "core/buf.h"
#include "schemas/lite.h"

#include <inttypes.h>
#include <jansson.h>
#include <strings.h>

/* Candidates of REPLACE that were none (OR IGNORE, upsert) and lie about: more are forgotten. */
#define REPLACED_KEPT "16"

int
layout_nold(const struct layout *l)
{
	return l->nkeys ? l->nkeys : l->ncols;
}

bool
layout_is_loose(const struct layout *l, int col)
{
	const char *type = l->cols[col].type;

	return lite_affinity(type) == AFFINITY_BLOB || (l->strict && strcasecmp(type, "ANY") == 0);
}

/* ---- JSON ---- */

static void
put_text(json_t *o, const char *key, const char *text)
{
	if (text)
		json_object_set_new(o, key, json_string(text));
}

const char *
layout_json(const struct layout *l, struct arena *a)
{
	json_t *o = json_object(), *cols = json_array(), *keys = json_array();
	const char *out;
	char *text;

	put_text(o, "table", l->table);
	json_object_set_new(o, "strict", json_boolean(l->strict));
	put_text(o, "rowid", l->rowid);
	json_object_set_new(o, "alias", json_integer(l->alias));
	for (int i = 0; i < l->ncols; i++) {
		const struct layout_column *c = &l->cols[i];
		json_t *col = json_object();

		put_text(col, "name", c->name);
		put_text(col, "type", c->type);
		put_text(col, "default", c->dflt);
		put_text(col, "collation", c->collation);
		json_object_set_new(col, "notnull", json_boolean(c->notnull));
		json_object_set_new(col, "generated", json_boolean(c->generated));
		json_array_append_new(cols, col);
	}
	for (int i = 0; i < l->nkeys; i++)
		json_array_append_new(keys, json_integer(l->keys[i]));
	json_object_set_new(o, "columns", cols);
	json_object_set_new(o, "key", keys);
	text = json_dumps(o, JSON_COMPACT);
	if (!text)
		die("out of memory for a layout");
	out = arena_text(a, slice_of(text));
	free(text);
	json_decref(o);
	return out;
}

static const char *
take_text(const json_t *o, const char *key, struct arena *a)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? arena_text(a, slice_of(text)) : NULL;
}

enum rc
layout_parse(const char *json, struct arena *a, struct layout *out, struct err *err)
{
	json_t *o = json_loads(json, 0, NULL), *cols = json_object_get(o, "columns"), *keys = json_object_get(o, "key");
	bool good;

	*out = (struct layout){ .ncols = (int)json_array_size(cols), .nkeys = (int)json_array_size(keys), .alias = -1 };
	out->table = take_text(o, "table", a);
	out->strict = json_is_true(json_object_get(o, "strict"));
	out->rowid = take_text(o, "rowid", a);
	out->without_rowid = !out->rowid;
	out->cols = arena_array(a, (size_t)out->ncols + 1, sizeof *out->cols);
	out->keys = arena_array(a, (size_t)out->nkeys + 1, sizeof *out->keys);
	if (json_is_integer(json_object_get(o, "alias")))
		out->alias = (int)json_integer_value(json_object_get(o, "alias"));
	good = out->table && out->ncols > 0 && out->alias < out->ncols;
	for (int i = 0; i < out->ncols; i++) {
		const json_t *c = json_array_get(cols, (size_t)i);

		out->cols[i] = (struct layout_column){ .name = take_text(c, "name", a), .type = take_text(c, "type", a),
			.dflt = take_text(c, "default", a), .collation = take_text(c, "collation", a),
			.notnull = json_is_true(json_object_get(c, "notnull")),
			.generated = json_is_true(json_object_get(c, "generated")) };
		good = good && out->cols[i].name && out->cols[i].type;
	}
	for (int i = 0; i < out->nkeys; i++) {
		out->keys[i] = (int)json_integer_value(json_array_get(keys, (size_t)i));
		good = good && out->keys[i] >= 0 && out->keys[i] < out->ncols;
	}
	json_decref(o);
	return good ? OK : fail(err, FATAL, "towline_layout has a row that is not ours: %.80s", json);
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool
layout_same(const struct layout *a, const struct layout *b)
{
	struct arena text = { 0 };
	bool same = strcmp(layout_json(a, &text), layout_json(b, &text)) == 0;

	arena_free(&text);
	return same;
}

bool
layout_extends(const struct layout *a, const struct layout *b)
{
	if (b->ncols < a->ncols || !same_text(a->rowid, b->rowid))
		return false;
	for (int i = 0; i < a->ncols; i++)
		if (!same_text(a->cols[i].type, b->cols[i].type) || a->cols[i].generated != b->cols[i].generated)
			return false;
	return true;
}

bool
layout_same_key(const struct layout *a, const struct layout *b)
{
	return a->nkeys == b->nkeys && memcmp(a->keys, b->keys, (size_t)a->nkeys * sizeof *a->keys) == 0;
}

/* ---- triggers ---- */

struct draft {
	const struct layout *l;
	struct arena *a;
	struct buf sql;
	int64_t capture, id;
	const char *table; /* quoted */
};

static const char *
column(const struct draft *d, int i)
{
	return sqlite_ident(d->a, d->l->cols[i].name);
}

const char *
layout_slots(int from, int to, struct arena *a)
{
	struct buf b = { 0 };
	const char *out;

	for (int i = from; i < to; i++)
		buf_printf(&b, "%sc%d", i > from ? ", " : "", i);
	out = arena_text(a, buf_view(&b));
	buf_free(&b);
	return out;
}

/* ", x.c1, x.c2": values of the old row, or of the whole one. */
static void
put_old(struct draft *d, const char *row)
{
	for (int i = 0; i < layout_nold(d->l); i++)
		buf_printf(&d->sql, ", %s.%s", row, column(d, d->l->nkeys ? d->l->keys[i] : i));
}

static void
put_all(struct draft *d, const char *row)
{
	for (int i = 0; i < d->l->ncols; i++)
		buf_printf(&d->sql, ", %s.%s", row, column(d, i));
}

/* The row x that is the row NEW (or OLD). */
static void
put_this_row(struct draft *d, const char *row)
{
	const struct layout *l = d->l;

	if (l->rowid)
		buf_printf(&d->sql, "x.%s = %s.%s", l->rowid, row, l->rowid);
	for (int i = 0; !l->rowid && i < l->nkeys; i++)
		buf_printf(&d->sql, "%sx.%s = %s.%s", i ? " AND " : "", column(d, l->keys[i]), row, column(d, l->keys[i]));
}

/* No row has the key that stands in r.c0, ... (slots) or in OLD. Keys that only a collation takes for the same are not. */
static void
put_key_gone(struct draft *d, bool slots)
{
	const struct layout *l = d->l;

	buf_printf(&d->sql, "NOT EXISTS (SELECT 1 FROM %s AS x WHERE ", d->table);
	for (int i = 0; i < l->nkeys; i++) {
		const char *name = column(d, l->keys[i]);
		const char *old = slots ? arena_printf(d->a, "r.c%d", i) : arena_printf(d->a, "OLD.%s", name);

		buf_printf(&d->sql, "%sx.%s = %s", i ? " AND " : "", name, old);
		/* The index's collation may be binary and the column's another. */
		buf_printf(&d->sql, " AND x.%s = %s COLLATE BINARY", name, old);
		if (layout_is_loose(l, l->keys[i]))
			buf_printf(&d->sql, " AND typeof(x.%s) = typeof(%s)", name, old);
	}
	buf_byte(&d->sql, ')');
}

static void
put_insert(struct draft *d, int from, int to)
{
	buf_printf(&d->sql, " INSERT INTO towline_log (layout, op, at, %s) ", layout_slots(from, to, d->a));
}

/* Rows that a REPLACE has deleted without a word: those of towline_replaced that are gone by now. */
static void
put_flush(struct draft *d)
{
	const struct layout *l = d->l;
	int nold = layout_nold(l);
	struct buf gone = { 0 }, sql = d->sql;

	d->sql = gone;
	buf_printf(&d->sql, "r.capture = %" PRId64 " AND ", d->capture);
	if (l->nkeys)
		put_key_gone(d, true);
	else
		buf_printf(&d->sql, "(r.rid = NEW.%s OR NOT EXISTS (SELECT 1 FROM %s AS x WHERE x.%s = r.rid))", l->rowid, d->table,
		    l->rowid);
	gone = d->sql;
	d->sql = sql;
	put_insert(d, 0, nold);
	buf_printf(&d->sql, "SELECT DISTINCT %" PRId64 ", 'd', julianday('now')", d->id);
	for (int i = 0; i < nold; i++)
		buf_printf(&d->sql, ", r.c%d", i);
	buf_printf(&d->sql, " FROM towline_replaced AS r WHERE %s;", buf_cstr(&gone));
	buf_printf(&d->sql, " DELETE FROM towline_replaced WHERE rowid IN (SELECT r.rowid FROM towline_replaced AS r WHERE %s);",
	    buf_cstr(&gone));
	buf_free(&gone);
}

/* May a REPLACE delete rows beside the one with the new row's key? */
static bool
may_replace(const struct layout *l)
{
	return l->nuniques > 0 || (l->rowid && l->alias < 0);
}

/* REPLACE puts the default in the place of a NULL that may not be; the trigger sees the NULL. */
static const char *
new_value(const struct layout *l, int col, struct arena *a)
{
	const char *name = sqlite_ident(a, l->cols[col].name);

	return l->cols[col].notnull && l->cols[col].dflt ? arena_printf(a, "ifnull(NEW.%s, %s)", name, l->cols[col].dflt)
							 : arena_printf(a, "NEW.%s", name);
}

int
layout_conflicts(const struct layout *l, struct arena *a, const char ***out)
{
	int n = 0;

	*out = arena_array(a, (size_t)l->nuniques + 1, sizeof **out);
	for (int i = 0; i < l->nuniques; i++) {
		const struct layout_unique *u = &l->uniques[i];
		const char *sql = "(";

		for (int k = 0; k < u->ncols; k++)
			sql = arena_printf(a, "%s%sx.%s = %s%s%s", sql, k ? " AND " : "", sqlite_ident(a, l->cols[u->cols[k]].name),
			    new_value(l, u->cols[k], a), u->collations[k] ? " COLLATE " : "",
			    u->collations[k] ? sqlite_ident(a, u->collations[k]) : "");
		(*out)[n++] = arena_printf(a, "%s)", sql);
	}
	if (l->rowid && l->alias < 0)
		(*out)[n++] = arena_printf(a, "x.%s = NEW.%s", l->rowid, l->rowid);
	return n;
}

/* Who may be deleted by the statement that begins: looked after when it is done. */
static void
put_candidates(struct draft *d, bool update)
{
	const struct layout *l = d->l;
	const char **conflicts;
	int n;

	buf_printf(&d->sql, " DELETE FROM towline_replaced WHERE capture = %" PRId64
	    " AND (SELECT count(*) FROM towline_replaced) > " REPLACED_KEPT ";", d->capture);
	buf_printf(&d->sql, " INSERT INTO towline_replaced (capture, rid, %s) SELECT %" PRId64 ", ", layout_slots(0, layout_nold(l),
	    d->a),
	    d->capture);
	buf_printf(&d->sql, l->rowid ? "x.%s" : "NULL", l->rowid);
	put_old(d, "x");
	buf_printf(&d->sql, " FROM %s AS x WHERE (", d->table);
	n = layout_conflicts(l, d->a, &conflicts);
	for (int i = 0; i < n; i++)
		buf_printf(&d->sql, "%s%s", i ? " OR " : "", conflicts[i]);
	buf_byte(&d->sql, ')');
	if (update) {
		buf_text(&d->sql, " AND NOT (");
		put_this_row(d, "OLD");
		buf_byte(&d->sql, ')');
	}
	buf_byte(&d->sql, ';');
}

static void
put_created(struct draft *d)
{
	int nold = layout_nold(d->l);

	if (may_replace(d->l))
		put_flush(d);
	put_insert(d, nold, nold + d->l->ncols);
	buf_printf(&d->sql, "SELECT %" PRId64 ", 'c', julianday('now')", d->id);
	put_all(d, "x");
	buf_printf(&d->sql, " FROM %s AS x WHERE ", d->table);
	put_this_row(d, "NEW");
	buf_byte(&d->sql, ';');
}

/*
 * A candidate that changes or goes by itself was none, and its values would be looked for in vain. (Where there is a key, the
 * question whether the key is gone says it all.) The values tell it from a row that has taken its rowid.
 */
static void
put_forget(struct draft *d)
{
	const struct layout *l = d->l;

	if (!may_replace(l) || l->nkeys)
		return;
	buf_printf(&d->sql, " DELETE FROM towline_replaced WHERE capture = %" PRId64 " AND rid = OLD.%s", d->capture, l->rowid);
	for (int i = 0; i < l->ncols; i++)
		buf_printf(&d->sql, " AND c%d IS OLD.%s", i, column(d, i));
	buf_byte(&d->sql, ';');
}

/*
 * What is logged is the row as it is now, not NEW: another trigger may have been here first, and its change of the row is in the
 * log before this one. So whatever the order of triggers, the last word on a key is what the key has.
 */
static void
put_updated(struct draft *d)
{
	const struct layout *l = d->l;
	int nold = layout_nold(l);
	const char *gone = l->rowid ? l->rowid : column(d, l->keys[0]);

	put_forget(d);
	if (may_replace(l))
		put_flush(d);
	put_insert(d, 0, nold + l->ncols);
	buf_printf(&d->sql, "SELECT %" PRId64 ", CASE WHEN x.%s IS NULL THEN 'd' ELSE 'u' END, julianday('now')", d->id, gone);
	put_old(d, "OLD");
	put_all(d, "x");
	buf_printf(&d->sql, " FROM (SELECT 1) LEFT JOIN %s AS x ON ", d->table);
	put_this_row(d, "NEW");
	if (l->nkeys) {
		buf_printf(&d->sql, " WHERE x.%s IS NOT NULL OR ", gone);
		put_key_gone(d, false);
	}
	buf_byte(&d->sql, ';');
}

static void
put_deleted(struct draft *d)
{
	put_forget(d);
	put_insert(d, 0, layout_nold(d->l));
	buf_printf(&d->sql, "SELECT %" PRId64 ", 'd', julianday('now')", d->id);
	put_old(d, "OLD");
	if (d->l->nkeys) {
		buf_text(&d->sql, " WHERE ");
		put_key_gone(d, false);
	}
	buf_byte(&d->sql, ';');
}

static void
trigger_begin(struct draft *d, struct layout_trigger *t, const char *suffix, const char *event)
{
	buf_reset(&d->sql);
	t->name = arena_printf(d->a, "towline_%" PRId64 "_%s", d->capture, suffix);
	buf_printf(&d->sql, "CREATE TRIGGER %s %s ON %s ", sqlite_ident(d->a, t->name), event, d->table);
}

static void
trigger_end(struct draft *d, struct layout_trigger *t)
{
	buf_text(&d->sql, " END");
	t->sql = arena_text(d->a, buf_view(&d->sql));
}

/* "UPDATE OF a, b": the columns by which an update may replace a row. With a condition, or a generated column, it may be any. */
static const char *
update_of(struct draft *d)
{
	const struct layout *l = d->l;
	struct buf b = { 0 };
	const char *out;
	int n = 0;

	for (int i = 0; i < l->nuniques; i++)
		if (l->uniques[i].partial)
			return "BEFORE UPDATE";
	for (int i = 0; i < l->nuniques; i++)
		for (int k = 0; k < l->uniques[i].ncols; k++)
			if (l->cols[l->uniques[i].cols[k]].generated)
				return "BEFORE UPDATE";
	buf_text(&b, "BEFORE UPDATE OF ");
	for (int i = 0; i < l->nuniques; i++)
		for (int k = 0; k < l->uniques[i].ncols; k++)
			buf_printf(&b, "%s%s", n++ ? ", " : "", column(d, l->uniques[i].cols[k]));
	if (l->rowid && l->alias < 0) /* they need not be columns */
		buf_printf(&b, "%srowid, _rowid_, oid", n ? ", " : "");
	out = arena_text(d->a, buf_view(&b));
	buf_free(&b);
	return out;
}

int
layout_triggers(const struct layout *l, int64_t capture, int64_t id, struct arena *a, struct layout_trigger out[LAYOUT_TRIGGERS])
{
	static void (*const put[])(struct draft *d) = { put_created, put_updated, put_deleted };
	static const char *const names[][2] = { { "c", "AFTER INSERT" }, { "u", "AFTER UPDATE" }, { "d", "AFTER DELETE" } };
	struct draft d = { .l = l, .a = a, .capture = capture, .id = id, .table = sqlite_ident(a, l->table) };
	int n = 0;

	for (size_t i = 0; i < COUNTOF(put); i++, n++) {
		trigger_begin(&d, &out[n], names[i][0], names[i][1]);
		buf_text(&d.sql, "BEGIN");
		put[i](&d);
		trigger_end(&d, &out[n]);
	}
	if (may_replace(l)) {
		trigger_begin(&d, &out[n], "bc", "BEFORE INSERT");
		/* A rowid that the statement does not give is -1 here, and so is that one if it is given. */
		if (!l->nuniques)
			buf_printf(&d.sql, "WHEN NEW.%s <> -1 OR EXISTS (SELECT 1 FROM %s AS x WHERE x.%s = -1) ", l->rowid, d.table,
			    l->rowid);
		buf_text(&d.sql, "BEGIN");
		put_candidates(&d, false);
		trigger_end(&d, &out[n++]);
	}
	if (may_replace(l)) {
		trigger_begin(&d, &out[n], "bu", update_of(&d));
		buf_text(&d.sql, "BEGIN");
		put_candidates(&d, true);
		trigger_end(&d, &out[n++]);
	}
	buf_free(&d.sql);
	return n;
}

/* ---- rows that are there ---- */

const char *
layout_copy_sql(const struct layout *l, int64_t id, char op, int added, const char *where, struct arena *a)
{
	struct draft d = { .l = l, .a = a, .id = id, .table = sqlite_ident(a, l->table) };
	int nold = layout_nold(l);
	const char *out;

	put_insert(&d, op == 'u' ? 0 : nold, nold + l->ncols);
	buf_printf(&d.sql, "SELECT %" PRId64 ", '%c', julianday('now')", id, op);
	for (int i = 0; op == 'u' && i < nold; i++) {
		int col = l->nkeys ? l->keys[i] : i;
		struct slice json;
		bool known = col < added || layout_default(l, col, a, &json);

		buf_printf(&d.sql, ", %s%s", col < added ? "x." : "", col < added ? column(&d, col) : known ? l->cols[col].dflt : "NULL");
	}
	put_all(&d, "x");
	buf_printf(&d.sql, " FROM %s AS x%s%s", d.table, where ? " WHERE " : "", where ? where : "");
	out = arena_text(a, buf_view(&d.sql));
	buf_free(&d.sql);
	return out;
}

const char *
layout_added_where(const struct layout *l, int col, struct arena *a)
{
	const char *name = sqlite_ident(a, l->cols[col].name);
	struct slice json;

	if (layout_default(l, col, a, &json))
		return arena_printf(a, "x.%s IS NOT (%s) COLLATE BINARY", name, l->cols[col].dflt);
	return arena_printf(a, "x.%s IS NOT NULL", name);
}
