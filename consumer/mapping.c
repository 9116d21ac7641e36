#include "consumer/mapping.h"
#include "core/pattern.h"

/* ---- the lists ---- */

/* One entry: SCHEMA.TABLE.COLUMN=NEW, SCHEMA.TABLE=NEW, SCHEMA.TABLE.COLUMN. */
struct entry {
	struct slice left, right;
};

static bool
next(const char **list, struct entry *e)
{
	const char *p = *list ? *list + strspn(*list, ",") : "", *equal;
	size_t n = strcspn(p, ",");

	if (!n)
		return false;
	equal = memchr(p, '=', n);
	e->left = (struct slice){ p, equal ? (size_t)(equal - p) : n };
	e->right = equal ? (struct slice){ equal + 1, n - e->left.n - 1 } : (struct slice){ "", 0 };
	*list = p + n;
	return true;
}

/* "SCHEMA.TABLE.COLUMN" in two, at the last dot. */
static void
split_column(struct slice left, struct slice *table, struct slice *column)
{
	const char *dot = memrchr(left.p, '.', left.n);

	*table = (struct slice){ left.p, (size_t)(dot - left.p) };
	*column = (struct slice){ dot + 1, left.n - table->n - 1 };
}

/* Is it "schema.table"? */
static bool
is_table(struct slice text, struct slice schema, struct slice table)
{
	return text.n == schema.n + 1 + table.n && memcmp(text.p, schema.p, schema.n) == 0 && text.p[schema.n] == '.' &&
	    memcmp(text.p + schema.n + 1, table.p, table.n) == 0;
}

/* ---- tables ---- */

static bool
is_sqlite(const struct conf_sink *conf)
{
	return strncmp(conf->url, "sqlite:", 7) == 0;
}

/* The entry that renames it: its own, else its schema's. */
static bool
find_rename(const struct conf_sink *conf, struct slice schema, struct slice table, struct slice *to)
{
	bool found = false;
	struct entry e;

	for (const char *p = conf->rename; next(&p, &e);) {
		if (is_table(e.left, schema, table)) {
			*to = e.right;
			return true;
		}
		if (is_table(e.left, schema, SLICE_LIT("*"))) {
			*to = e.right;
			found = true;
		}
	}
	return found;
}

void
mapping_name(const struct conf_sink *conf, struct slice schema, struct slice table, struct arena *a, struct slice *to_schema,
    struct slice *to_table)
{
	bool fixed = conf->schema && *conf->schema, plain = false;
	struct slice to;

	*to_schema = fixed && !is_sqlite(conf) ? slice_of(conf->schema) : schema;
	*to_table = table;
	if (find_rename(conf, schema, table, &to)) {
		const char *dot = memchr(to.p, '.', to.n);
		struct slice name = dot ? (struct slice){ dot + 1, to.n - (size_t)(dot - to.p) - 1 } : to;

		if (dot)
			*to_schema = slice_of(arena_text(a, (struct slice){ to.p, (size_t)(dot - to.p) }));
		plain = !dot;
		if (!slice_is(name, "*"))
			*to_table = slice_of(arena_text(a, name));
	}
	if (!is_sqlite(conf))
		return;
	if (!plain && to_schema->n && !slice_is(*to_schema, "public") && !slice_is(*to_schema, "main"))
		*to_table = slice_of(arena_printf(a, "%.*s_%.*s", SLICE_ARG(*to_schema), SLICE_ARG(*to_table)));
	*to_schema = SLICE_LIT("");
}

/* ---- columns ---- */

static bool
excluded(const struct conf_sink *conf, struct slice schema, struct slice table, struct slice column, struct arena *a)
{
	struct slice of, name;
	struct entry e;

	for (const char *p = conf->columns_exclude; next(&p, &e);) {
		split_column(e.left, &of, &name);
		if (pattern_matches(arena_text(a, of), NULL, schema, table) && pattern_glob(name, column))
			return true;
	}
	return false;
}

struct slice
mapping_column(const struct conf_sink *conf, struct slice schema, struct slice table, struct slice column, struct arena *a)
{
	struct slice of, name;
	struct entry e;

	if (excluded(conf, schema, table, column, a))
		return SLICE_LIT("");
	for (const char *p = conf->columns_rename; next(&p, &e);) {
		split_column(e.left, &of, &name);
		if (is_table(of, schema, table) && slice_eq(name, column))
			return slice_of(arena_text(a, e.right));
	}
	return column;
}

/* Each column that is to be renamed must be there, or have been given its name by another entry. */
static enum rc
check_present(const struct conf_sink *conf, const struct table *tbl, const struct table *mapped, struct err *err)
{
	struct slice of, name;
	struct entry e;

	for (const char *p = conf->columns_rename; next(&p, &e);) {
		split_column(e.left, &of, &name);
		if (!is_table(of, tbl->schema, tbl->name) || table_column(tbl, name) >= 0 || table_column(mapped, e.right) >= 0)
			continue;
		for (int i = 0; i < tbl->ncols; i++)
			if (slice_eq(tbl->cols[i].was, name))
				return fail_exit(err, FATAL, EXIT_CONFIG,
				    "sinks.%s.columns.rename: column %.*s of %.*s.%.*s is called %.*s at the source now;"
				    " add '%.*s.%.*s: %.*s'", conf->name, SLICE_ARG(name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name),
				    SLICE_ARG(tbl->cols[i].name), SLICE_ARG(of), SLICE_ARG(tbl->cols[i].name), SLICE_ARG(e.right));
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "sinks.%s.columns.rename: table %.*s.%.*s has no column %.*s; correct it, or, if the source calls it otherwise by now,"
		    " add that name too",
		    conf->name, SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name), SLICE_ARG(name));
	}
	return OK;
}

static enum rc
check_columns(const struct conf_sink *conf, const struct table *tbl, const struct table *mapped, struct err *err)
{
	for (int i = 0; i < tbl->ncols; i++) {
		struct slice to = mapped->cols[i].name;
		int first = to.n ? table_column(mapped, to) : i;

		if (!to.n && table_is_key(tbl, i))
			return fail_exit(err, FATAL, EXIT_CONFIG,
			    "sinks.%s.columns.exclude: %.*s is of the key of %.*s.%.*s, and rows would lose their identity; leave it",
			    conf->name, SLICE_ARG(tbl->cols[i].name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
		if (first != i)
			return fail_exit(err, FATAL, EXIT_CONFIG,
			    "sinks.%s.columns.rename: columns %.*s and %.*s of %.*s.%.*s would both be %.*s; give them names of their own",
			    conf->name, SLICE_ARG(tbl->cols[first].name), SLICE_ARG(tbl->cols[i].name), SLICE_ARG(tbl->schema),
			    SLICE_ARG(tbl->name), SLICE_ARG(to));
	}
	return check_present(conf, tbl, mapped, err);
}

/* ---- a version ---- */

/* What the version before called the table, and each column, there. */
static void
map_before(const struct conf_sink *conf, const struct table *tbl, struct table *to, struct arena *a)
{
	struct slice schema = tbl->was_name.n ? tbl->was_schema : tbl->schema, name = tbl->was_name.n ? tbl->was_name : tbl->name;

	if (tbl->was_name.n)
		mapping_name(conf, tbl->was_schema, tbl->was_name, a, &to->was_schema, &to->was_name);
	if (slice_eq(to->was_schema, to->schema) && slice_eq(to->was_name, to->name))
		to->was_schema = to->was_name = SLICE_LIT("");
	for (int i = 0; i < tbl->ncols; i++) {
		const struct column *c = &tbl->cols[i];
		/* The name alone may come to another one, when it is the table that was renamed. */
		struct slice was = mapping_column(conf, schema, name, c->was.n ? c->was : c->name, a);

		to->cols[i].was = !to->cols[i].name.n || slice_eq(was, to->cols[i].name) ? SLICE_LIT("") : was;
	}
}

enum rc
mapping_table(const struct conf_sink *conf, const struct table *tbl, struct arena *a, const struct table **out, struct err *err)
{
	struct table *to = arena_new(a, struct table);

	*to = *tbl;
	mapping_name(conf, tbl->schema, tbl->name, a, &to->schema, &to->name);
	to->cols = arena_array(a, (size_t)tbl->ncols + 1, sizeof *to->cols);
	for (int i = 0; i < tbl->ncols; i++) {
		to->cols[i] = tbl->cols[i];
		to->cols[i].name = mapping_column(conf, tbl->schema, tbl->name, tbl->cols[i].name, a);
	}
	map_before(conf, tbl, to, a);
	to->was_keys = arena_array(a, (size_t)tbl->nwas_keys + 1, sizeof *to->was_keys);
	for (int i = 0; i < tbl->nwas_keys; i++)
		to->was_keys[i] = mapping_column(conf, tbl->schema, tbl->name, tbl->was_keys[i], a);
	*out = to;
	return check_columns(conf, tbl, to, err);
}

bool
mapping_left_out(const struct table *tbl, const struct table *mapped, const char *name)
{
	int i = table_column(tbl, slice_of(name));

	return i >= 0 && !mapped->cols[i].name.n;
}
