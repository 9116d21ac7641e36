/*
 * PostgreSQL as a source: what the producer would refuse by, or stumble over later.
 */
#include "control/check.h"
#include "control/human.h"
#include "core/sqlite.h"
#include "core/buf.h"
#include "core/now.h"
#include "producer/server.h"
#include "schemas/schema.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdio.h>

enum { LISTED_MAX = 10 };

struct look {
	struct checks *c;
	const struct conf *conf;
	struct arena *a;
	PGconn *conn;
	struct server server;
	struct pg_slot slot;
};

/* An error of a question that should not fail: told under the name of the test, which then has no other result. */
static bool
asked(struct look *l, const char *name, enum rc rc, const struct err *err)
{
	if (rc != OK)
		check_error(l->c, name, err);
	return rc == OK;
}

/* ---- the server ---- */

static void
check_version(struct look *l, int64_t answer_us)
{
	const struct server *s = &l->server;
	char span[HUMAN_MAX];

	human_span(span, answer_us);
	if (s->major < SERVER_OLDEST)
		check_fail(l->c, "reachable", "upgrade PostgreSQL",
		    "PostgreSQL %s, %s; versions %d to %d are supported", s->version, span,
		    SERVER_OLDEST, SERVER_NEWEST);
	else if (s->major > SERVER_NEWEST)
		check_warn(l->c, "reachable", NULL,
		    "PostgreSQL %s, %s; tested are versions %d to %d", s->version, span,
		    SERVER_OLDEST, SERVER_NEWEST);
	else
		check_ok(l->c, "reachable", "PostgreSQL %s, %s", s->version, span);
	if (s->standby)
		check_warn(l->c, "primary", NULL,
		    "this server is a standby: the publication must be made on its primary, and slots need PostgreSQL 16 or later");
}

static void
check_wal_level(struct look *l)
{
	struct err err;

	if (server_judge(&l->server, &err) == OK)
		check_ok(l->c, "wal_level", "logical");
	else
		check_fail(l->c, "wal_level", check_psql(l->c, l->conn, "ALTER SYSTEM SET wal_level = logical"),
		    "%s, logical decoding needs logical (takes a restart of PostgreSQL)", l->server.wal_level);
}

/* The right, and then the thing itself: a walsender connection says who the server is. */
static void
check_replication(struct look *l)
{
	static const char name[] = "replication privilege";
	const char *sql = arena_printf(l->a, "ALTER ROLE %s REPLICATION", pg_ident(l->a, slice_of(l->server.role)));
	PGconn *repl = NULL;
	struct err err;
	enum rc rc;

	if (!l->server.replication) {
		check_fail(l->c, name, check_psql(l->c, l->conn, sql), "role \"%s\" has none", l->server.role);
		return;
	}
	rc = pg_connect(l->conf->source_url, true, &repl, &err);
	if (rc == OK)
		rc = server_identify(repl, &l->c->source.system_id, &l->c->source.timeline, &l->c->source.lsn, &err);
	if (rc == OK && l->server.standby)
		l->c->source.lsn = 0;
	if (asked(l, name, rc, &err))
		check_ok(l->c, name, "role \"%s\", system %" PRIu64 ", timeline %u", l->server.role,
		    l->c->source.system_id, l->c->source.timeline);
	l->c->source_known = rc == OK;
	PQfinish(repl);
}

static void
check_room(struct look *l)
{
	const struct server *s = &l->server;
	bool reads = l->slot.active_pid != NULL; /* then the slot and the walsender that we need are among those in use */

	if (!l->slot.exists && s->slots >= s->slots_max)
		check_fail(l->c, "replication slots",
		    check_psql(l->c, l->conn, arena_printf(l->a, "ALTER SYSTEM SET max_replication_slots = %d", s->slots_max + 10)),
		    "all %d are in use (takes a restart of PostgreSQL, or drop a slot that nobody reads)", s->slots_max);
	else
		check_ok(l->c, "replication slots", "%d of %d in use", s->slots, s->slots_max);
	if (!reads && s->senders >= s->senders_max)
		check_fail(l->c, "WAL senders",
		    check_psql(l->c, l->conn,
			arena_printf(
			    l->a, "ALTER SYSTEM SET max_wal_senders = %d", s->senders_max + 10)),
		    "all %d are in use (takes a restart of PostgreSQL)", s->senders_max);
	else
		check_ok(l->c, "WAL senders", "%d of %d in use", s->senders, s->senders_max);
}

/* ---- the slot ---- */

static uint64_t
kept(const struct look *l)
{
	return l->slot.exists && l->slot.restart && l->server.lsn > l->slot.restart ? l->server.lsn - l->slot.restart : 0;
}

static void
check_slot(struct look *l)
{
	const char *name = arena_printf(l->a, "slot %s", l->conf->slot);
	char bytes[HUMAN_MAX], lsn[20];
	struct err err;

	human_bytes(bytes, kept(l));
	pg_lsn_text(lsn, l->slot.confirmed);
	if (!l->slot.exists)
		check_ok(l->c, name, "will be made by the first run");
	else if (l->slot.ours && l->slot.active_pid)
		check_ok(l->c, name, "streaming to process %s, confirmed %s, keeps %s", l->slot.active_pid, lsn, bytes);
	else if (slot_judge(l->conf->slot, &l->slot, &err) != OK)
		check_error(l->c, name, &err);
	else if (strcmp(l->slot.wal_status, "unreserved") == 0)
		check_warn(l->c, name, "start towline producer", "is about to lose its WAL: it keeps %s and nobody reads it", bytes);
	else
		check_ok(l->c, name, "nobody reads it now, confirmed %s, keeps %s", lsn, bytes);
	l->c->source.exists = l->slot.exists;
	l->c->source.confirmed = l->slot.confirmed;
}

static void
check_wal_limit(struct look *l)
{
	char limit[HUMAN_MAX], bytes[HUMAN_MAX];

	human_bytes(bytes, kept(l));
	if (l->server.slot_wal_max < 0)
		check_ok(l->c, "max_slot_wal_keep_size", "no limit, slot keeps %s; a pipeline that stands still fills the disk", bytes);
	else
		check_ok(l->c, "max_slot_wal_keep_size", "%s, slot keeps %s", human_bytes(limit, (uint64_t)l->server.slot_wal_max), bytes);
}

/* ---- publication and tables ---- */

static const char *
table_ident(struct arena *a, const struct publication_table *t)
{
	return arena_printf(a, "%s.%s", pg_ident(a, slice_of(t->schema)), pg_ident(a, slice_of(t->name)));
}

static void
check_publication(struct look *l)
{
	const struct publication *pub = &l->c->tables;
	const char *name = arena_printf(l->a, "publication %s", l->conf->publication);
	char count[HUMAN_MAX];
	int in = 0, add = 0;

	for (int i = 0; i < pub->ntables; i++) {
		in += pub->tables[i].in;
		add += !pub->tables[i].in && pub->tables[i].fit;
	}
	if (!pub->exists && !l->server.may_create)
		check_fail(l->c, name,
		    check_psql(l->c, l->conn,
			arena_printf(l->a, "GRANT CREATE ON DATABASE %s TO %s",
			    pg_ident(l->a, slice_of(PQdb(l->conn))),
			    pg_ident(l->a, slice_of(l->server.role)))),
		    "does not exist, and role \"%s\" has no CREATE on the database to make it",
		    l->server.role);
	else if (!pub->exists)
		check_ok(l->c, name, "will be made by the first run");
	else if (add && !pub->owned)
		check_fail(l->c, name,
		    check_psql(l->c, l->conn,
			arena_printf(l->a, "ALTER PUBLICATION %s OWNER TO %s",
			    pg_ident(l->a, slice_of(l->conf->publication)),
			    pg_ident(l->a, slice_of(l->server.role)))),
		    "belongs to another role, so %d wanted tables cannot be added", add);
	else if (pub->omits)
		check_warn(l->c, name,
		    check_psql(l->c, l->conn, arena_printf(l->a, "ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate')",
		        pg_ident(l->a, slice_of(l->conf->publication)))),
		    "does not publish: %s; sinks will not get them", pub->omits);
	else
		check_ok(l->c, name, "%s in it, %d to be added", human_count(count, in, "wanted table"), add);
}

static const char *
left_over(struct look *l, int n)
{
	return n > LISTED_MAX ? arena_printf(l->a, "and %d more", n - LISTED_MAX) : NULL;
}

/* Each of these tables makes trouble at the source or is left out. */
static int
check_keys(struct look *l)
{
	const struct publication *pub = &l->c->tables;
	int n = 0;

	for (int i = 0; i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];

		if (t->fit || ++n > LISTED_MAX)
			continue;
		check_warn(l->c, arena_printf(l->a, "%s.%s", t->schema, t->name),
		    arena_printf(l->a,
			"ALTER TABLE %s REPLICA IDENTITY FULL   (or leave it out: tables: ['!%s.%s'])",
			table_ident(l->a, t), t->schema, t->name),
		    t->in
			? "no primary key: PostgreSQL refuses updates and deletes of it while it is in the publication"
			: "no primary key: updates would need REPLICA IDENTITY FULL; it is left out");
	}
	if (left_over(l, n))
		check_warn(l->c, left_over(l, n), NULL, "without primary key");
	return n;
}

/* A publication takes a table only from its owner. One command for all of them: a second CREATE would fail. */
static void
check_owners(struct look *l)
{
	const struct publication *pub = &l->c->tables;
	const char *name = pg_ident(l->a, slice_of(l->conf->publication)), *sql;
	struct buf list = { 0 };
	int n = 0;

	for (int i = 0; i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];

		if (!t->in && t->fit && !t->owned)
			buf_printf(&list, "%s%s", n++ ? ", " : "", publication_table_sql(l->conf, t, l->a));
	}
	if (n) {
		sql = pub->exists
		    ? arena_printf(l->a, "ALTER PUBLICATION %s ADD TABLE %s", name, buf_cstr(&list))
		    : publication_sql_create(l->conn, slice_of(l->conf->publication), buf_cstr(&list), l->a);
		check_fail(l->c, "table owners", check_psql(l->c, l->conn, sql),
		    "role \"%s\" does not own %d of the wanted tables, so cannot publish them",
		    l->server.role, n);
	}
	buf_free(&list);
}

static void
check_topics(struct look *l)
{
	const struct publication *pub = &l->c->tables;
	const char **topics = arena_array(l->a, (size_t)pub->ntables + 1, sizeof *topics);
	int clashes = 0;

	for (int i = 0; i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];

		topics[i] = topic_table(l->a, l->conf, slice_of(t->schema), slice_of(t->name));
		for (int k = 0; k < i; k++) {
			if (strcmp(topics[i], topics[k]) != 0)
				continue;
			clashes++;
			check_fail(l->c, arena_printf(l->a, "topic %s", topics[i]),
			    "tell them apart with kafka.topic, or leave one out with tables:",
			    "%s.%s and %s.%s would share it", pub->tables[k].schema,
			    pub->tables[k].name, t->schema, t->name);
			break;
		}
	}
	if (!clashes)
		check_ok(l->c, "topic names", "%d, each of one table", pub->ntables);
}

/* Avro takes letters, digits and _ only; two columns that come to one name cannot both be written. */
static void
check_names(struct look *l)
{
	static const char sql[] =
	    "SELECT n.nspname, c.relname, a.attname, a.attname ~ '^[A-Za-z_][A-Za-z0-9_]*$' FROM "
	    "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
	    " JOIN pg_namespace n ON n.oid = c.relnamespace"
	    " WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND NOT "
	    "c.relispartition AND n.nspname NOT LIKE 'pg\\_%'"
	    "  AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped"
	    "    AND o.attname !~ '^[A-Za-z_][A-Za-z0-9_]*$') ORDER BY a.attrelid, a.attnum";
	PGresult *res = NULL;
	struct err err;
	int odd = 0, clashes = 0;

	if (!asked(l, "column names", pg_exec(l->conn, "list odd column names", sql, &res, &err), &err))
		return;
	for (int i = 0; i < PQntuples(res); i++) {
		const char *schema = PQgetvalue(res, i, 0), *table = PQgetvalue(res, i, 1), *column = PQgetvalue(res, i, 2);
		struct slice adjusted = schema_adjust(slice_of(column), false, l->a);

		if (!conf_wants(l->conf, slice_of(schema), slice_of(table)))
			continue;
		odd += *PQgetvalue(res, i, 3) != 't';
		for (int k = i - 1; k >= 0 && strcmp(PQgetvalue(res, k, 0), schema) == 0 &&
		     strcmp(PQgetvalue(res, k, 1), table) == 0;
		     k--) {
			if (!slice_eq(adjusted, schema_adjust(slice_of(PQgetvalue(res, k, 2)), false, l->a)))
				continue;
			clashes++;
			check_fail(l->c, arena_printf(l->a, "%s.%s", schema, table),
			    arena_printf(l->a, "ALTER TABLE %s.%s RENAME COLUMN %s TO ...",
				pg_ident(l->a, slice_of(schema)), pg_ident(l->a, slice_of(table)),
				pg_ident(l->a, slice_of(column))),
			    "columns \"%s\" and \"%s\" have the same name in Avro, %.*s",
			    PQgetvalue(res, k, 2), column, SLICE_ARG(adjusted));
			break;
		}
	}
	if (!clashes && odd)
		check_ok(l->c, "column names", "%d that Avro does not take, written with _ in Kafka", odd);
	else if (!clashes)
		check_ok(l->c, "column names", "all fit for Avro");
	PQclear(res);
}

static void
check_tables(struct look *l)
{
	struct publication *pub = &l->c->tables;
	struct err err;
	int bare;

	if (!asked(l, "tables", publication_look(l->conn, l->conf, l->a, pub, &err), &err))
		return;
	l->c->tables_known = true;
	check_publication(l);
	if (!pub->ntables) {
		check_warn(l->c, "tables",
		    "compare tables: in the configuration with the output of psql's \\dt *.*",
		    "none that is wanted exists yet");
		return;
	}
	bare = check_keys(l);
	check_ok(l->c, "tables", "%d wanted, %d with a key or a replica identity", pub->ntables, pub->ntables - bare);
	check_owners(l);
	check_topics(l);
	check_names(l);
	check_select(l->c, l->conn);
}

void
check_source(struct checks *c)
{
	struct look l = { .c = c, .conf = c->conf, .a = &c->arena };
	const char *heading = arena_printf(&c->arena, "source  %s   %s", c->conf->name, conf_mask_url(&c->arena, c->conf->source_url));
	int64_t at;
	struct err err;

	check_begin(c, "source", heading);
	if (sqlite_url_path(c->conf->source_url)) {
		check_source_sqlite(c, sqlite_url_path(c->conf->source_url));
		return;
	}
	if (!check_connect(c, c->conf->source_url, &l.conn))
		return;
	at = now_us();
	if (asked(&l, "reachable", server_look(l.conn, l.a, &l.server, &err), &err)) {
		check_version(&l, now_us() - at);
		check_wal_level(&l);
		check_replication(&l);
		if (asked(&l, "slot", slot_look(l.conn, c->conf->slot, l.a, &l.slot, &err), &err)) {
			c->source.database = arena_text(l.a, slice_of(PQdb(l.conn)));
			check_room(&l);
			check_slot(&l);
			check_wal_limit(&l);
			check_versions(c, l.conn, &l.server, &l.slot);
		}
		check_standby(c, l.conn);
		check_tables(&l);
		if (l.server.large_objects)
			check_warn(c, "large objects", NULL,
			    "some exist: PostgreSQL's logical decoding does not carry them, only their oids are copied");
	}
	PQfinish(l.conn);
}

void
check_source_end(struct checks *c)
{
	const char *path = c->conf->source_url ? sqlite_url_path(c->conf->source_url) : NULL;
	struct source_identity now = { 0 };
	PGconn *repl = NULL;
	struct err err;
	enum rc rc;

	if (!c->source_known || !c->source.lsn)
		return;
	if (path) {
		check_end_sqlite(c, path);
		return;
	}
	rc = pg_connect(c->conf->source_url, true, &repl, &err);
	if (rc == OK)
		rc = server_identify(repl, &now.system_id, &now.timeline, &now.lsn, &err);
	PQfinish(repl);
	if (rc == OK)
		c->source.lsn = now.lsn;
}
