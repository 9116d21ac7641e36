/*
 * sink_bench URL [ROWS [BATCH]] - rows per second into PostgreSQL through the sink, against a plain
 * COPY of the same rows.
 *
 * Rows: bigint key, int, text of 100 bytes, numeric(12,2), timestamptz. The database's table
 * bench.rows is dropped and made anew for each measurement. CPU is the client's own.
 */
#include "core/pg.h"
#include "schemas/pgtypes.h"
#include "core/buf.h"
#include "tests/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { COLS = 5 };

static int key[] = { 0 };

struct watch {
	struct timespec wall, cpu;
};

static void
watch_start(struct watch *w)
{
	clock_gettime(CLOCK_MONOTONIC, &w->wall);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &w->cpu);
}

static double
since(clockid_t id, struct timespec from)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (double)(now.tv_sec - from.tv_sec) + (double)(now.tv_nsec - from.tv_nsec) / 1e9;
}

static void
watch_print(const struct watch *w, const char *what, int64_t rows)
{
	double wall = since(CLOCK_MONOTONIC, w->wall),
	       cpu = since(CLOCK_PROCESS_CPUTIME_ID, w->cpu);

	printf("%-28s %9.0f rows/s  %6.2f client CPU-s per million\n", what, (double)rows / wall,
	    cpu / (double)rows * 1e6);
	fflush(stdout);
}

static void
must(enum rc rc, const struct err *err)
{
	if (rc == OK)
		return;
	fprintf(stderr, "sink_bench: %s\n", err->text);
	exit(1);
}

static void
fill(struct batch *b, const struct table *t, int64_t from, int64_t to, char op)
{
	for (int64_t i = from; i < to; i++) {
		uint8_t *amount = arena_raw(&b->arena, 4);
		char *text = arena_printf(&b->arena, "%0100" PRId64, i);
		char *at = arena_printf(&b->arena, "2026-01-02T%02d:%02d:%02d.%06dZ",
		    (int)(i / 3600 % 24), (int)(i / 60 % 60), (int)(i % 60), (int)(i % 1000000));

		put_be32(amount, (uint32_t)i);
		put_row(b, t, op, NULL,
		    VALUES(b, value_int(i), value_int(i % 1000),
			value_string((struct slice){ text, 100 }),
			{ .kind = V_BYTES, .s = { (char *)amount, 4 } },
			value_string((struct slice){ at, 27 })));
	}
}

static void
run_sink(
    struct sink *sink, const struct table *t, int64_t rows, int batch, char op, const char *what)
{
	const struct sink_ops *o = sink->ops;
	struct err err;
	struct marker at, next;
	struct batch b[2] = { 0 };
	struct watch w;

	must(o->marker(sink, &at, &err), &err);
	must(o->prepare(sink, t, &err), &err);
	watch_start(&w);
	for (int64_t i = 0, n = 0; i < rows; i += batch, n++) {
		struct batch *one = &b[n & 1];

		batch_reset(one, NULL);
		fill(one, t, i, i + batch < rows ? i + batch : rows, op);
		batch_plan(one);
		next = at;
		next.spine_offset++;
		next.gen = 1;
		must(o->begin(sink, &at, &next, &err), &err);
		must(o->apply(sink, one, &err), &err);
		must(o->commit(sink, &next, &err), &err);
		must(o->settle(sink, 1, &err), &err);
		at = next;
	}
	must(o->settle(sink, 0, &err), &err);
	watch_print(&w, what, rows);
	batch_free(&b[0], NULL);
	batch_free(&b[1], NULL);
}

static const uint32_t oids[COLS] = { PG_INT8, PG_INT4, PG_TEXT, PG_NUMERIC, PG_TIMESTAMPTZ };

/* The limit: the same rows by COPY in binary, a transaction per batch; without marker. */
static void
run_copy(PGconn *conn, const struct table *t, int64_t rows, int batch)
{
	struct batch b = { 0 };
	struct buf out = { 0 };
	struct err err;
	struct watch w;

	watch_start(&w);
	for (int64_t i = 0; i < rows; i += batch) {
		batch_reset(&b, NULL);
		fill(&b, t, i, i + batch < rows ? i + batch : rows, OP_CREATE);
		buf_reset(&out);
		buf_bytes(&out, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
		for (int r = 0; r < b.nrows; r++) {
			buf_be16(&out, COLS);
			for (int c = 0; c < COLS; c++) {
				size_t at = out.n;

				buf_be32(&out, 0);
				must(pgtype_binary_value(&t->cols[c].type, oids[c],
					 &b.rows[r].after[c], &out, &err),
				    &err);
				put_be32(out.p + at, (uint32_t)(out.n - at - 4));
			}
		}
		buf_be16(&out, 0xffff);
		PQclear(PQexec(conn, "COPY bench.rows FROM STDIN (FORMAT binary)"));
		if (PQputCopyData(conn, out.p, (int)out.n) != 1 || PQputCopyEnd(conn, NULL) != 1)
			fprintf(stderr, "sink_bench: %s", PQerrorMessage(conn));
		for (PGresult *res; (res = PQgetResult(conn)); PQclear(res))
			if (PQresultStatus(res) != PGRES_COMMAND_OK)
				fprintf(stderr, "sink_bench: %s", PQresultErrorMessage(res));
	}
	watch_print(&w, "COPY, binary", rows);
	batch_free(&b, NULL);
	buf_free(&out);
}

static void
fresh(PGconn *conn)
{
	PQclear(PQexec(conn, "DROP SCHEMA IF EXISTS bench CASCADE"));
	PQclear(PQexec(conn, "DROP SCHEMA IF EXISTS towline CASCADE"));
	PQclear(PQexec(conn,
	    "CREATE SCHEMA bench; CREATE TABLE bench.rows (id bigint PRIMARY KEY, n int, text text, amount numeric(12,2),"
	    " at timestamptz)"));
	PQclear(PQexec(conn, "CHECKPOINT"));
}

int
main(int argc, char **argv)
{
	int64_t rows = argc > 2 ? strtoll(argv[2], NULL, 10) : 1000000;
	int batch = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 10000;
	struct conf_sink conf = { .name = "bench",
		.url = argc > 1 ? argv[1] : "",
		.create_tables = true,
		.on_schema_change = "apply" };
	struct column c[] = { COL_INT8("id"), COL_INT4("n"), COL_TEXT("text"), COL_MONEY("amount"),
		COL_TIME("at") };
	struct table t = table_of("rows", c, COLS, key, 1);
	struct sink *sink;
	struct err err;
	PGconn *conn;

	if (argc < 2) {
		fprintf(stderr, "usage: sink_bench URL [ROWS [BATCH]]\n");
		return 2;
	}
	t.schema = SLICE_LIT("bench");
	must(pg_connect(conf.url, false, &conn, &err), &err);
	fresh(conn);
	run_copy(conn, &t, rows, batch);
	fresh(conn);
	must(sink_open("bench", &conf, &sink, &err), &err);
	run_sink(sink, &t, rows, batch, OP_CREATE, "sink, insert");
	run_sink(sink, &t, rows, batch, OP_UPDATE, "sink, update");
	run_sink(sink, &t, rows, batch, OP_READ, "sink, upsert of the same");
	sink->ops->close(sink);
	fresh(conn);
	must(sink_open("bench", &conf, &sink, &err), &err);
	run_sink(sink, &t, rows, batch, OP_READ, "sink, upsert of new rows");
	sink->ops->close(sink);
	PQclear(PQexec(conn, "DROP SCHEMA IF EXISTS bench CASCADE"));
	PQfinish(conn);
	return 0;
}
