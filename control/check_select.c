/*
 * What the configuration says of single tables and columns: does the source have them, and can it be done?
 */
#include "control/check.h"
#include "core/suggest.h"
#include "producer/keys.h"
#include "producer/rows.h"

struct known {
	struct checks *c;
	PGconn *conn;
	PGresult *columns; /* schema, table, column: of every table */
	int entries, bad;
};

static bool
is_plain(struct slice s)
{
	return !memchr(s.p, '*', s.n) && !memchr(s.p, '?', s.n);
}

/* "schema.table" of a wanted table. */
static struct slice
full_name(struct known *k, int table)
{
	const struct publication_table *t = &k->c->tables.tables[table];

	return slice_of(arena_printf(&k->c->arena, "%s.%s", t->schema, t->name));
}

/* Is any wanted table meant? It is a failure if not, as a misspelt name would do nothing, in silence. */
static bool
table_there(struct known *k, const char *option, struct slice name)
{
	struct suggestion s = { .word = name };
	struct arena *a = &k->c->arena;

	for (int i = 0; i < k->c->tables.ntables; i++) {
		struct slice full = full_name(k, i);

		if (pattern_glob(name, full))
			return true;
		suggest_offer(&s, full);
	}
	k->bad++;
	if (!is_plain(name))
		check_warn(k->c, option, "compare it with the output of psql's \\dt *.*", "%.*s is the name of no table that is wanted",
		    SLICE_ARG(name));
	else
		check_fail(k->c, option, s.best.n ? arena_printf(a, "did you mean %.*s?", SLICE_ARG(s.best))
		    : "add the table to tables:, or correct its name",
		    "there is no table %.*s among the wanted ones", SLICE_ARG(name));
	return false;
}

static bool
column_there(struct known *k, const char *option, struct slice table, struct slice column)
{
	struct suggestion s = { .word = column };
	struct arena *a = &k->c->arena;

	for (int i = 0; i < PQntuples(k->columns); i++) {
		const char *full = arena_printf(a, "%s.%s", PQgetvalue(k->columns, i, 0), PQgetvalue(k->columns, i, 1));
		struct slice name = slice_of(PQgetvalue(k->columns, i, 2));

		if (!pattern_glob(table, slice_of(full)))
			continue;
		if (pattern_glob(column, name))
			return true;
		suggest_offer(&s, name);
	}
	k->bad++;
	if (!is_plain(column) || !is_plain(table))
		check_warn(k->c, option, NULL, "no column is called %.*s.%.*s", SLICE_ARG(table), SLICE_ARG(column));
	else
		check_fail(k->c, option,
		    s.best.n ? arena_printf(a, "did you mean %.*s.%.*s?", SLICE_ARG(table), SLICE_ARG(s.best))
		    : "correct the column's name",
		    "table %.*s has no column %.*s", SLICE_ARG(table), SLICE_ARG(column));
	return false;
}

/* SCHEMA.TABLE.COLUMN[=MASK],... */
static void
columns(struct known *k, const char *option, const char *list)
{
	for (const char *p = list; p && *p; p += *p == ',') {
		size_t n = strcspn(p, ",");
		const char *equal = memchr(p, '=', n);
		struct slice name = { p, equal ? (size_t)(equal - p) : n };
		const char *dot = memrchr(name.p, '.', name.n);
		struct slice table = { name.p, (size_t)(dot - name.p) };

		p += n;
		k->entries++;
		if (table_there(k, option, table))
			(void)column_there(k, option, table, (struct slice){ dot + 1, name.n - table.n - 1 });
	}
}

/* SCHEMA.TABLE=... with newlines. */
static void
tables(struct known *k, const char *option, const char *lines)
{
	for (const char *p = lines; p && *p; p += *p == '\n') {
		size_t n = strcspn(p, "\n");
		const char *equal = memchr(p, '=', n);

		k->entries++;
		(void)table_there(k, option, (struct slice){ p, (size_t)(equal - p) });
		p += n;
	}
}

/* SCHEMA.TABLE=COLUMN, ... with newlines. */
static void
keys(struct known *k, const char *lines)
{
	for (const char *p = lines; p && *p; p += *p == '\n') {
		struct slice line = { p, strcspn(p, "\n") };
		const char *equal = memchr(p, '=', line.n), *end = p + line.n;
		struct slice table = { p, (size_t)(equal - p) };

		k->entries++;
		if (table_there(k, "kafka.keys", table))
			for (const char *c = equal + 1 + strspn(equal + 1, " "); c < end;) {
				size_t n = strcspn(c, ",\n"), m = n;

				while (m && c[m - 1] == ' ')
					m--;
				(void)column_there(k, "kafka.keys", table, (struct slice){ c, m });
				c += n;
				c += strspn(c, ", ");
			}
		p = end;
	}
}

/* COLUMN or COLUMN=NAME, ... */
static void
outbox_columns(struct known *k, const char *option, struct slice table, const char *list)
{
	for (const char *h = list; h && *h; h += *h == ',') {
		(void)column_there(k, option, table, (struct slice){ h, strcspn(h, "=,") });
		h += strcspn(h, ",");
	}
}

/* Each outbox has the columns. */
static void
outboxes(struct known *k)
{
	const struct conf *conf = k->c->conf;

	for (const char *p = conf->outbox_tables; p && *p; p += *p == ',') {
		struct slice table = { p, strcspn(p, ",") };

		p += table.n;
		k->entries++;
		if (!table_there(k, "outbox.tables", table))
			continue;
		(void)column_there(k, "outbox.id", table, slice_of(conf->outbox_id));
		(void)column_there(k, "outbox.route", table, slice_of(conf->outbox_route));
		(void)column_there(k, "outbox.key", table, slice_of(conf->outbox_key));
		(void)column_there(k, "outbox.payload", table, slice_of(conf->outbox_payload));
		if (conf->outbox_partition)
			(void)column_there(k, "outbox.partition", table, slice_of(conf->outbox_partition));
		if (conf->outbox_timestamp)
			(void)column_there(k, "outbox.timestamp", table, slice_of(conf->outbox_timestamp));
		outbox_columns(k, "outbox.headers", table, conf->outbox_headers);
		outbox_columns(k, "outbox.envelope", table, conf->outbox_envelope);
	}
}

/* Can the source tell them? */
static void
told_keys(struct known *k)
{
	for (int i = 0; k->c->conf->keys && i < k->c->tables.ntables; i++) {
		struct err err;

		if (k->c->tables.tables[i].fit && keys_check(k->conn, k->c->conf, &k->c->tables.tables[i], &err) != OK
		    && !strstr(err.text, "no column")) {
			k->bad++;
			check_error(k->c, "kafka.keys", &err);
		}
	}
}

/* What the producer would do, undone. */
static void
conditions(struct known *k)
{
	const struct conf *conf = k->c->conf;
	const struct publication *pub = &k->c->tables;

	for (int i = 0; conf->rows && i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];
		struct err err;
		bool changed;
		enum rc rc;

		if (!t->fit || !t->owned || !conf_of_table(conf->rows, slice_of(t->schema), slice_of(t->name)).n)
			continue;
		if (PQserverVersion(k->conn) >= 150000 && (!pub->exists || !pub->owned))
			continue; /* the first run tries it before it changes anything */
		rc = rows_set(k->conn, conf, t, true, &changed, &err);
		if (rc == OK && changed && t->in)
			check_warn(k->c, "rows", NULL, "%s.%s is published with %s; what is at sinks already is not looked at again",
			    t->schema, t->name,
			    t->filtered ? "another condition" : "all its rows");
		if (rc != OK) {
			k->bad++;
			check_error(k->c, "rows", &err);
		}
	}
}

void
check_select(struct checks *c, PGconn *conn)
{
	static const char sql[] = "SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
				  " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attnum > 0 AND NOT a.attisdropped AND "
				      "c.relkind IN ('r', 'p')"
				  "  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY a.attrelid, a.attnum";
	struct known k = { .c = c, .conn = conn };
	struct err err;

	if (!c->conf->columns_exclude && !c->conf->columns_mask && !c->conf->rows && !c->conf->topics && !c->conf->keys &&
	    !c->conf->outbox_tables)
		return;
	if (pg_exec(conn, "list columns", sql, &k.columns, &err) != OK) {
		check_error(c, "names of tables and columns", &err);
		return;
	}
	columns(&k, "columns.exclude", c->conf->columns_exclude);
	columns(&k, "columns.mask", c->conf->columns_mask);
	tables(&k, "rows", c->conf->rows);
	tables(&k, "kafka.topics", c->conf->topics);
	keys(&k, c->conf->keys);
	told_keys(&k);
	outboxes(&k);
	conditions(&k);
	if (!k.bad)
		check_ok(c, "names of tables and columns", "%d in the configuration, the source has them", k.entries);
	PQclear(k.columns);
}
