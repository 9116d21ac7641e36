/*
 * A shop. Its tables have a column of every ordinary type between them; its work has every kind of
 * change: rows in several tables in one transaction, large values that stay as they are, keys that
 * change and take other rows along, a table without key, TRUNCATE.
 *
 * The journal gets one row from each transaction: by it the lag of every single one is known.
 */
#include "control/demo.h"

#include "core/buf.h"
#include "core/now.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

const char *const demo_tables[DEMO_TABLES] = { "customers", "products", "orders", "order_items",
	"carts", "journal" };

/* First rows, as numbers that go into SQL text too. */
#define CUSTOMERS 5000
#define PRODUCTS 1000
#define ORDERS 20000
#define CARTS 500
#define TEXT_OF(n) #n
#define SERIES(n) " FROM generate_series(1, " TEXT_OF(n) ")"

enum { BEHIND_MS = 200 };

const uint64_t demo_seed_rows = CUSTOMERS + PRODUCTS + ORDERS * 4 + CARTS;

static const char tables_sql[] =
    "CREATE TYPE order_state AS ENUM ('new', 'paid', 'packed', 'shipped', 'returned');"

    "CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " name text NOT NULL, email varchar(120) NOT NULL UNIQUE, born date,"
    " vip boolean NOT NULL DEFAULT false, credit numeric(12,2) NOT NULL, rating real,"
    " tags text[], profile jsonb, photo bytea, contract text, joined timestamptz NOT NULL);"
    "ALTER TABLE customers ALTER contract SET STORAGE EXTERNAL;"

    "CREATE TABLE products (sku char(10) PRIMARY KEY, serial uuid NOT NULL, title text NOT NULL,"
    " price numeric(10,2) NOT NULL, tax numeric, weight double precision,"
    " stock integer NOT NULL, shelf smallint, sizes integer[], attributes json,"
    " since timestamp NOT NULL);"

    "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL REFERENCES customers,"
    " state order_state NOT NULL, total numeric(12,2), placed timestamptz NOT NULL, wanted date,"
    " slot time, window_tz timetz, patience interval, client inet, note varchar(200));"

    "CREATE TABLE order_items (order_id bigint REFERENCES orders ON DELETE CASCADE,"
    " line smallint, sku char(10) NOT NULL REFERENCES products ON UPDATE CASCADE,"
    " quantity integer NOT NULL, price numeric(10,2) NOT NULL, discount real,"
    " PRIMARY KEY (order_id, line));"
    "CREATE INDEX ON order_items (sku);"

    "CREATE TABLE carts (visitor uuid PRIMARY KEY, items json NOT NULL,"
    " seen timestamptz NOT NULL);"

    "CREATE TABLE journal (what text NOT NULL, number bigint, at timestamptz NOT NULL);"
    "ALTER TABLE journal REPLICA IDENTITY FULL;";

/* Every third of what may be NULL is NULL; text has quotes, line ends, letters beyond ASCII. */
static const char customers_sql[] =
    "INSERT INTO customers (name, email, born, vip, credit, rating, tags, profile, photo,"
    "  contract, joined) "
    "SELECT (ARRAY['Ada', 'Bjørn', 'Chloé', '李', 'O''Hara', E'Tab\\there'])[1 + i % 6]"
    "   || ' ' || i,"
    "  'c' || i || '@example.org',"
    "  CASE WHEN i % 3 > 0 THEN date '1940-01-01' + i END,"
    "  i % 7 = 0,"
    "  (i * 37 % 100000) / 100.0,"
    "  CASE WHEN i % 3 > 0 THEN i::real / 7 END,"
    "  CASE WHEN i % 3 > 0 THEN ARRAY['new', NULL, E'a \"b\"\\\\', 'x,' || i] END,"
    "  jsonb_build_object('n', i, 'langs', ARRAY['de', 'en']),"
    "  CASE WHEN i % 5 = 0 THEN decode(md5(i::text), 'hex') END,"
    "  CASE WHEN i % 20 = 0 THEN (SELECT string_agg(md5((i * 100 + j)::text), E'\\n')"
    "    FROM generate_series(1, 150) j) END,"
    "  timestamptz '2020-01-01 00:00:00.000001+00' + i * interval '7 minutes 0.123457 seconds'"
    SERIES(CUSTOMERS) " i";

static const char products_sql[] =
    "INSERT INTO products "
    "SELECT 'P' || lpad(i::text, 6, '0'),"
    "  md5(i::text)::uuid,"
    "  'Product №' || i || E'\\nsecond line',"
    "  (i * 13 % 99999) / 100.0,"
    "  CASE WHEN i % 3 > 0 THEN i / 7.0 ELSE 'NaN' END,"
    "  CASE i % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE i / 3.0::float8 END,"
    "  1000,"
    "  CASE WHEN i % 3 > 0 THEN i % 300 - 150 END,"
    "  ARRAY[i, NULL, -i],"
    "  '{\"colour\":  \"red\", \"n\": 1.50}',"
    "  timestamp '2019-12-31 23:59:59.999999' - i * interval '1 hour'"
    SERIES(PRODUCTS) " i";

static const char orders_sql[] =
    "INSERT INTO orders "
    "SELECT i, 1 + i * 7919 % 5000,"
    "  (ARRAY['new', 'paid', 'packed', 'shipped', 'returned']::order_state[])[1 + i % 5],"
    "  (i * 71 % 1000000) / 100.0,"
    "  timestamptz '2024-02-28 22:00+00' + i * interval '83 seconds',"
    "  date '2024-02-28' + i % 400,"
    "  CASE WHEN i % 3 > 0 THEN time '08:00' + i % 36000 * interval '1.5 seconds' END,"
    "  '09:30:00+05:30',"
    "  i % 50 * interval '1 month 3 days -00:00:01.5',"
    "  CASE WHEN i % 3 > 0 THEN ('10.' || i % 256 || '.' || i % 100 || '.7/24')::inet END,"
    "  CASE WHEN i % 3 > 0 THEN 'leave at №' || i END"
    SERIES(ORDERS) " i";

static const char items_sql[] =
    "INSERT INTO order_items "
    "SELECT o, l, 'P' || lpad((1 + (o * 31 + l * 17) % 1000)::text, 6, '0'), 1 + l,"
    "  (o % 9999) / 100.0, CASE WHEN l > 1 THEN 0.1 END"
    SERIES(ORDERS) " o, generate_series(1, 3) l";

static const char carts_sql[] =
    "INSERT INTO carts SELECT md5('v' || i)::uuid, '[]', now()" SERIES(CARTS) " i";

static const char *const seed_sql[] = {
	customers_sql,
	products_sql,
	orders_sql,
	items_sql,
	carts_sql,
};

/* xorshift64*: the same work on every run. Below n. */
static int64_t
any(struct demo_load *l, int64_t n)
{
	l->random ^= l->random >> 12;
	l->random ^= l->random << 25;
	l->random ^= l->random >> 27;
	return (int64_t)((l->random * 0x2545f4914f6cdd1dULL >> 16) % (uint64_t)n);
}

enum rc
demo_load_open(struct demo_load *l, const char *url, int rate, struct err *err)
{
	enum rc rc;

	*l = (struct demo_load){ .rate = rate, .random = 0x9e3779b97f4a7c15ULL };
	rc = pg_connect(url, false, &l->conn, err);
	if (rc == OK)
		rc = pg_exec(l->conn, "search path", "SET search_path = public", NULL, err);
	return rc == OK ? pg_exec(l->conn, "the shop's tables", tables_sql, NULL, err) : rc;
}

void
demo_load_close(struct demo_load *l)
{
	PQfinish(l->conn);
	l->conn = NULL;
}

/* ---- one transaction ---- */

/*
 * Several statements in one message are one transaction. Counts the rows that they changed, and the
 * number that a SELECT gives.
 */
static enum rc
transaction(struct demo_load *l, struct buf *sql, struct err *err)
{
	enum rc rc = OK;
	uint64_t changes = 0;
	PGresult *res;

	if (!PQsendQuery(l->conn, buf_cstr(sql)))
		return pg_fail(l->conn, NULL, err, "write into the source");
	while ((res = PQgetResult(l->conn))) {
		ExecStatusType st = PQresultStatus(res);

		if (st == PGRES_TUPLES_OK && PQntuples(res) == 1 && PQnfields(res) == 1)
			changes += strtoull(PQgetvalue(res, 0, 0), NULL, 10);
		else if (st == PGRES_COMMAND_OK)
			changes += strtoull(PQcmdTuples(res), NULL, 10);
		else if (rc == OK)
			rc = pg_fail(l->conn, res, err, "write into the source");
		PQclear(res);
	}
	buf_reset(sql);
	if (rc == OK) {
		atomic_fetch_add(&l->changes, changes);
		atomic_fetch_add(&l->transactions, 1);
	}
	return rc;
}

static void
journal(struct buf *sql, const char *what, int64_t number)
{
	buf_printf(
	    sql, "INSERT INTO journal VALUES ('%s', %" PRId64 ", clock_timestamp())", what, number);
}

static void
place_order(struct demo_load *l, struct buf *sql)
{
	int64_t id = ++l->orders;
	int items = 1 + (int)any(l, 4);

	buf_printf(sql,
	    "INSERT INTO orders (id, customer, state, placed, patience, client) VALUES (%" PRId64
	    ", %" PRId64 ", 'new', clock_timestamp(),"
	    " '%d days', '192.0.2.%d');",
	    id, 1 + any(l, l->customers), 1 + (int)any(l, 30), (int)any(l, 256));
	for (int i = 1; i <= items; i++)
		buf_printf(sql,
		    "WITH p AS (UPDATE products SET stock = stock - %d WHERE sku = (SELECT sku"
		    " FROM products WHERE sku >= 'P%06d' ORDER BY sku LIMIT 1)"
		    " RETURNING sku, price), i AS (INSERT INTO order_items SELECT %" PRId64
		    ", %d, sku, %d, price FROM p RETURNING 1)"
		    " SELECT (SELECT count(*) FROM p) + (SELECT count(*) FROM i);",
		    i, 1 + (int)any(l, PRODUCTS - 1), id, i, i);
	buf_printf(sql,
	    "UPDATE orders SET total = (SELECT sum(price * quantity) FROM order_items WHERE"
	    " order_id = id) WHERE id = %" PRId64 ";",
	    id);
	journal(sql, "order placed", id);
}

static void
move_order(struct demo_load *l, struct buf *sql)
{
	int64_t id = 1 + any(l, l->orders);

	buf_printf(sql,
	    "UPDATE orders SET state = (ARRAY['paid', 'packed', 'shipped',"
	    " 'returned']::order_state[])[%d], note = 'moved ' || clock_timestamp(),"
	    " patience = patience - interval '1.5 hours' WHERE id = %" PRId64 ";",
	    1 + (int)any(l, 4), id);
	journal(sql, "order moved", id);
}

/* The contract, stored out of line, is not among what is set: it does not travel. */
static void
meet_customer(struct demo_load *l, struct buf *sql)
{
	int64_t id = 1 + any(l, l->customers / 20) * 20;

	buf_printf(sql,
	    "UPDATE customers SET credit = credit + %d.25, rating = rating * 1.01, profile ="
	    " profile || '{\"seen\": %d}', vip = NOT vip,"
	    " tags = CASE WHEN cardinality(tags) < 9 THEN tags || 'seen'::text END"
	    " WHERE id IN (%" PRId64 ", %" PRId64 ");",
	    (int)any(l, 50), (int)any(l, 1000), id - 1, id);
	journal(sql, "customer met", id);
}

static void
new_customer(struct demo_load *l, struct buf *sql)
{
	int64_t id = ++l->customers;

	buf_printf(sql,
	    "INSERT INTO customers (name, email, credit, joined, photo) VALUES ('Zoë %" PRId64
	    "', 'z%" PRId64 "@example.org', 0, clock_timestamp(),"
	    " decode('%016" PRIx64 "', 'hex'));",
	    id, id, l->random);
	journal(sql, "customer new", id);
}

static void
cancel_order(struct demo_load *l, struct buf *sql)
{
	int64_t id = 1 + any(l, l->orders);

	buf_printf(sql,
	    "WITH i AS (DELETE FROM order_items WHERE order_id = %" PRId64
	    " RETURNING 1) SELECT count(*) FROM i;"
	    "DELETE FROM orders WHERE id = %" PRId64 ";",
	    id, id);
	journal(sql, "order cancelled", id);
}

static void
fill_cart(struct demo_load *l, struct buf *sql)
{
	int visitor = (int)any(l, CARTS * 4);

	buf_printf(sql,
	    "INSERT INTO carts VALUES (md5('v%d')::uuid, '[%d]', clock_timestamp())"
	    " ON CONFLICT (visitor) DO UPDATE SET items = excluded.items, seen = excluded.seen;",
	    visitor, (int)any(l, 99));
	journal(sql, "cart filled", visitor);
}

/* A key that changes, and takes along the order lines that refer to it. */
static void
rename_product(struct demo_load *l, struct buf *sql)
{
	int number = (int)any(l, 1000000);

	buf_printf(sql,
	    "UPDATE products SET sku = 'P%06d' WHERE sku = (SELECT sku FROM products WHERE sku"
	    " >= 'P%06d' ORDER BY sku LIMIT 1)"
	    " AND NOT EXISTS (SELECT FROM products WHERE sku = 'P%06d');"
	    "SELECT count(*) FROM order_items WHERE sku = 'P%06d';",
	    number, (int)any(l, PRODUCTS), number, number);
	journal(sql, "product renamed", number);
}

static void
empty_carts(struct demo_load *l, struct buf *sql)
{
	(void)l;
	buf_text(sql, "TRUNCATE carts;");
	journal(sql, "carts emptied", 0);
}

static const struct {
	int share; /* of 1000 */
	void (*write)(struct demo_load *l, struct buf *sql);
} works[] = {
	{ 380, place_order },
	{ 270, move_order },
	{ 120, meet_customer },
	{ 60, new_customer },
	{ 70, cancel_order },
	{ 85, fill_cart },
	{ 10, rename_product },
	{ 5, empty_carts },
};

static void
write_any(struct demo_load *l, struct buf *sql)
{
	int at = (int)any(l, 1000);
	size_t i = 0;

	while (i + 1 < COUNTOF(works) && at >= works[i].share)
		at -= works[i++].share;
	works[i].write(l, sql);
}

/* ---- the thread ---- */

static enum rc
seed(struct demo_load *l, struct err *err)
{
	struct buf sql = { 0 };
	enum rc rc = OK;

	for (size_t i = 0; i < COUNTOF(seed_sql) && rc == OK && !atomic_load(&l->stop); i++) {
		buf_text(&sql, seed_sql[i]);
		rc = transaction(l, &sql, err);
	}
	l->customers = CUSTOMERS;
	l->orders = ORDERS;
	buf_free(&sql);
	return rc;
}

static enum rc
live(struct demo_load *l, struct err *err)
{
	int64_t begun = now_ms(), n = 0;
	struct buf sql = { 0 };
	enum rc rc = OK;

	while (rc == OK && !atomic_load(&l->stop)) {
		int64_t late = l->rate ? now_ms() - (begun + n * 1000 / l->rate) : 0;

		if (late < 0) {
			nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
			continue;
		}
		/*
		 * A machine that is too slow for the rate is not to get all that it missed in one
		 * burst.
		 */
		if (late > BEHIND_MS)
			begun += late;
		write_any(l, &sql);
		rc = transaction(l, &sql, err);
		n++;
	}
	buf_free(&sql);
	return rc;
}

static void *
seed_main(void *arg)
{
	struct demo_load *l = arg;

	l->rc = seed(l, &l->err);
	atomic_store(&l->ended, true);
	return NULL;
}

static void *
live_main(void *arg)
{
	struct demo_load *l = arg;

	l->rc = live(l, &l->err);
	atomic_store(&l->ended, true);
	return NULL;
}

static void
begin(struct demo_load *l, void *(*run)(void *))
{
	atomic_store(&l->stop, false);
	atomic_store(&l->ended, false);
	atomic_store(&l->changes, 0);
	atomic_store(&l->transactions, 0);
	if (pthread_create(&l->thread, NULL, run, l))
		die("cannot start a thread");
	l->started = true;
}

void
demo_load_seed(struct demo_load *l)
{
	begin(l, seed_main);
}

void
demo_load_live(struct demo_load *l)
{
	begin(l, live_main);
}

enum rc
demo_load_end(struct demo_load *l, struct err *err)
{
	if (!l->started)
		return OK;
	atomic_store(&l->stop, true);
	pthread_join(l->thread, NULL);
	l->started = false;
	if (l->rc != OK)
		*err = l->err;
	return l->rc;
}
