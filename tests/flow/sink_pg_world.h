/*
 * sink_pg_world.h - a sink on a real server, a second session to look at it, and a table of orders.
 */
#ifndef TESTS_FLOW_SINK_PG_WORLD_H
#define TESTS_FLOW_SINK_PG_WORLD_H

#include "core/pg.h"
#include "tests/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *url;

static const struct conf_sink base = {
	.name = "test", .create_tables = true, .on_schema_change = "apply", .schema = "sink_test"
};

struct world {
	struct conf_sink conf;
	struct sink *sink;
	PGconn *conn;            /* another session, to look */
	struct marker at;
	struct err err;
};

#define is(expr, want) do { \
	enum rc got_ = (expr); \
	if (got_ != (want)) \
		fail_msg("%s: %s: %s", #expr, rc_name(got_), w->err.text); \
} while (0)
#define ok(expr) is(expr, OK)
#define rejected(expr) is(expr, REJECT)

static inline char *
ask(struct world *w, const char *sql)
{
	PGresult *res = PQexec(w->conn, sql);
	static char out[4096]; /* of the last question */

	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(w->conn));
	snprintf(out, sizeof out, "%s", PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
	PQclear(res);
	return out;
}

static inline void
open_sink(struct world *w)
{
	ok(sink_open("shop", &w->conf, &w->sink, &w->err));
	ok(w->sink->ops->marker(w->sink, &w->at, &w->err));
}

static inline int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->conf = base;
	w->conf.url = url;
	w->conn = PQconnectdb(url);
	assert_int_equal(PQstatus(w->conn), CONNECTION_OK);
	ask(w, "SET client_min_messages = error");
	ask(w, "DROP SCHEMA IF EXISTS sink_test CASCADE");
	ask(w, "DROP SCHEMA IF EXISTS towline CASCADE");
	open_sink(w);
	*state = w;
	return 0;
}

static inline int
teardown(void **state)
{
	struct world *w = *state;

	if (w->sink)
		w->sink->ops->close(w->sink);
	ask(w, "DROP SCHEMA IF EXISTS sink_test, towline CASCADE");
	ask(w, "DROP ROLE IF EXISTS sink_plain");
	PQfinish(w->conn);
	free(w);
	return 0;
}

/* Go on as a role that may not create anything, nor switch constraints off. */
static inline void
plain_role(struct world *w)
{
	static char plain_url[1024]; /* as long as the sink */

	ask(w,
	    "DO $$ BEGIN IF to_regrole('sink_plain') IS NULL THEN CREATE ROLE sink_plain LOGIN; END IF; END $$");
	ask(w, "GRANT USAGE ON SCHEMA towline, sink_test TO sink_plain");
	ask(w, "GRANT ALL ON ALL TABLES IN SCHEMA towline, sink_test TO sink_plain");
	w->sink->ops->close(w->sink);
	snprintf(
	    plain_url, sizeof plain_url, "%s%cuser=sink_plain", url, strchr(url, '?') ? '&' : '?');
	w->conf.url = plain_url;
	open_sink(w);
}

static inline struct marker
step(const struct world *w, int n)
{
	return mark_at(w->at.spine_offset + n);
}

/* begin, apply, commit, confirm. */
static inline enum rc
run(struct world *w, struct batch *b)
{
	const struct sink_ops *o = w->sink->ops;
	struct marker next = step(w, 1);
	enum rc rc;

	batch_plan(b);
	if ((rc = o->begin(w->sink, &w->at, &next, &w->err)) != OK ||
	    (rc = o->apply(w->sink, b, &w->err)) != OK ||
	    (rc = o->commit(w->sink, &next, &w->err)) != OK ||
	    (rc = o->settle(w->sink, 0, &w->err)) != OK)
		return rc;
	w->at = next;
	batch_free(b, NULL);
	return OK;
}

static int key0[] = { 0 };

enum { ORDER_COLS = 6 };

static inline struct table
orders(struct column *c)
{
	c[0] = COL_INT8("id");
	c[1] = COL_TEXT("name");
	c[2] = COL_MONEY("amount");
	c[3] = COL_TIME("at");
	c[4] = COL_JSON("doc");
	c[5] = COL_DOUBLE("d");
	return table_of("orders", c, ORDER_COLS, key0, 1);
}

static inline struct value *
order(struct batch *b, int64_t id, const char *name)
{
	return VALUES(b, value_int(id), V_TEXT(name),
	    { .kind = V_BYTES, .s = SLICE_LIT("\x04\xd2") }, V_TEXT("2026-01-02T03:04:05.678901Z"),
	    V_TEXT("{\"a\": 1}"), { .kind = V_DOUBLE, .d = 0.5 });
}

static const char all_orders[] =
    "SELECT string_agg(concat_ws('|', id, coalesce(name, '-'), amount, extract(epoch from at)::numeric, doc, d), E'\\n'"
    " ORDER BY id) FROM sink_test.orders";

#define with_world(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* False: there is no server to test against, which is told. */
static inline bool
have_server(void)
{
	url = getenv("TOWLINE_TEST_PG");
	if (url && *url)
		return true;
	print_message("skipped: TOWLINE_TEST_PG is not set\n");
	return false;
}

#endif
