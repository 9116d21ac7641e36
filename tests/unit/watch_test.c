/* Who waits for commits of others is woken by them, and by nothing else: WAL and rollback journal, files beside it, one in its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/sqlite.h"
#include "producer/watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { LIMIT_MS = 20000 };

struct world {
	char dir[40], path[64], other[64];
	sqlite3 *db, *reader;
	struct watch watch;
	struct err err;
};

#define ok(expr) do { \
	if ((expr) != OK) \
		fail_msg("%s: %s", #expr, w->err.text); \
} while (0)

static void
sql(struct world *w, sqlite3 *db, const char *text)
{
	ok(sqlite_run(db, text, text, &w->err));
}

static int64_t
count(struct world *w)
{
	int64_t n = 0;

	ok(sqlite_number(w->reader, "count", "SELECT count(*) FROM t", 0, &n, &w->err));
	return n;
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	snprintf(w->dir, sizeof w->dir, "/tmp/watch_test.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/app.db", w->dir);
	snprintf(w->other, sizeof w->other, "%s/app.db2", w->dir);
	assert_int_equal(sqlite3_open(w->path, &w->db), SQLITE_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	char command[80];

	watch_close(&w->watch);
	sqlite3_close(w->db);
	sqlite3_close(w->reader);
	snprintf(command, sizeof command, "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

static void
begin(struct world *w, const char *mode)
{
	sql(w, w->db, mode);
	sql(w, w->db, "CREATE TABLE t (a)");
	ok(sqlite_open_there(w->path, 1000, &w->reader, &w->err));
	ok(watch_open(&w->watch, w->path, &w->err));
}

/* Looks as the source does, until there are n rows; each time only when it is woken. */
static void
wait_for_rows(struct world *w, int64_t n)
{
	for (;;) {
		struct pollfd p = { .fd = w->watch.fd, .events = POLLIN };

		if (poll(&p, 1, LIMIT_MS) != 1)
			fail_msg("not woken, and there are %lld rows", (long long)count(w));
		watch_take(&w->watch);
		if (count(w) == n) {
			watch_looked(&w->watch, true);
			return;
		}
		watch_looked(&w->watch, false);
	}
}

static void
commits_wake(struct world *w)
{
	for (int i = 1; i <= 50; i++) {
		sql(w, w->db, "INSERT INTO t VALUES (1)");
		wait_for_rows(w, i);
	}
	sql(w, w->db, "BEGIN");
	sql(w, w->db, "INSERT INTO t VALUES (2), (3)");
	sql(w, w->db, "COMMIT");
	wait_for_rows(w, 52);
}

static void
wal(void **state)
{
	struct world *w = *state;

	begin(w, "PRAGMA journal_mode = WAL");
	commits_wake(w);
	sql(w, w->db, "PRAGMA wal_checkpoint(TRUNCATE)");
	sql(w, w->db, "INSERT INTO t VALUES (4)");
	wait_for_rows(w, 53);
}

static void
rollback_journal(void **state)
{
	struct world *w = *state;

	begin(w, "PRAGMA journal_mode = DELETE");
	commits_wake(w);
}

/* Until nothing is due any more. */
static void
settle(struct world *w)
{
	for (;;) {
		struct pollfd p = { .fd = w->watch.fd, .events = POLLIN };

		if (poll(&p, 1, LIMIT_MS) != 1)
			fail_msg("not woken again");
		watch_take(&w->watch);
		if (!w->watch.delay_ms)
			return;
		watch_looked(&w->watch, false);
	}
}

static void
looks_again_and_rests(void **state)
{
	struct world *w = *state;

	begin(w, "PRAGMA journal_mode = WAL");
	sql(w, w->db, "INSERT INTO t VALUES (1)");
	settle(w);
	/* Reading is nobody's affair. */
	assert_int_equal(count(w), 1);
	watch_take(&w->watch);
	assert_int_equal(w->watch.delay_ms, 0);
}

static void
neighbours_do_not_count(void **state)
{
	struct world *w = *state;
	FILE *f;

	begin(w, "PRAGMA journal_mode = WAL");
	sql(w, w->db, "INSERT INTO t VALUES (1)");
	settle(w);
	f = fopen(w->other, "w");
	assert_non_null(f);
	fputs("not ours", f);
	fclose(f);
	watch_take(&w->watch);
	assert_int_equal(w->watch.delay_ms, 0);
	/* In our place it does. */
	assert_int_equal(rename(w->other, w->path), 0);
	watch_take(&w->watch);
	assert_int_equal(w->watch.delay_ms, 1);
}

static void
no_directory(void **state)
{
	struct world *w = *state;

	assert_int_equal(watch_open(&w->watch, "/no/such/directory/app.db", &w->err), RETRY);
	assert_int_equal(w->watch.fd, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wal, setup, teardown),
		cmocka_unit_test_setup_teardown(rollback_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(looks_again_and_rests, setup, teardown),
		cmocka_unit_test_setup_teardown(neighbours_do_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(no_directory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
