/*
 * verify.h - the inside of `towline verify`: a PostgreSQL source and a PostgreSQL sink compared while writes go on.
 *
 *   verify.c         the command: which tables, in order, the sequences, the exit code
 *   verify_table.c   what can be compared of a table: columns by name, types, key, filter, whether keys sort alike
 *   verify_rows.c    a table: chunks by their digests, rows of those that differ, keys until they are decided
 *   verify_sql.c     the statements; pure
 *   verify_key.c     when a difference is one; pure
 *   verify_server.c  connections, the log's end, waiting for the sink
 *   verify_print.c   what is said
 *
 * Four connections, all read-only: two scan, two look at single keys meanwhile. No transaction stays open longer than a statement.
 */
#ifndef CONTROL_VERIFY_H
#define CONTROL_VERIFY_H

#include "control/board.h"
#include "control/command.h"
#include "control/verify_key.h"
#include "control/verify_sql.h"
#include "core/pg.h"
#include "producer/copy.h"

struct verify {
	struct call *call;
	const struct conf *conf;
	const struct conf_sink *sink;
	struct kafka kafka;
	struct board *board;   /* NULL: embedded */
	PGconn *scan[VERIFY_SIDES], *look[VERIFY_SIDES];
	bool utf8[VERIFY_SIDES], md5;
	bool blind;            /* the source is a standby: what runs at its primary cannot be seen */
	bool strict;           /* commits at the source may wait for sinks */
	int64_t flush_ms;      /* a commit is on disk at the latest so long after it was made */
	int64_t timeout_us, chunk_rows, limit;
	bool terminal;
	int64_t told_ms;
};

/* ---- verify_server.c ---- */

/* All connections. RETRY: one cannot be made. FATAL/EXIT_CONFIG: the sink is fed from another source. */
enum rc verify_open(struct verify *v, struct err *err) MUST_CHECK;
void verify_close(struct verify *v);

/* After RETRY, for the tries-th time in a row: say so, wait the longer the more tries there were, and make the connections anew. */
enum { VERIFY_TRIES = 5 };
enum rc verify_reopen(struct verify *v, int tries, struct err *err) MUST_CHECK;

/* FATAL/EXIT_INTERRUPTED: the program is to end. */
enum rc verify_pause(int ms, struct err *err) MUST_CHECK;

/* Where the key's operators are found, on both connections of a side. */
enum rc verify_path(struct verify *v, enum verify_side side, const char *path, struct err *err) MUST_CHECK;

/* A statement; ends, FATAL/EXIT_INTERRUPTED, when the program is to. params as pg_exec_params. */
enum rc verify_ask(PGconn *conn, const char *what, const char *sql, int n, const char *const *params, PGresult **out,
    struct err *err) MUST_CHECK;

/* What was asked is not of interest any more: the connection is good for the next statement. RETRY: it is broken. */
enum rc verify_drop(PGconn *conn, struct err *err) MUST_CHECK;

/* Nothing that was asked on any connection is of interest any more. */
enum rc verify_quiet(struct verify *v, struct err *err) MUST_CHECK;

/* Two at once, on the scanning connections. */
enum rc verify_ask_both(struct verify *v, const char *what, const char *const sql[VERIFY_SIDES], PGresult *out[VERIFY_SIDES],
    struct err *err) MUST_CHECK;

/* The next result of what was sent, as PQgetResult; NULL and OK: there is none. */
enum rc verify_result(PGconn *conn, const char *what, PGresult **out, struct err *err) MUST_CHECK;

struct verify_place {
	uint64_t lsn;
	struct copy_place copied;
	int64_t until_us;      /* the timeout is over then */
};

/* An end of the source's log behind every commit that was seen before the call; copied: where a copy ended that has to be there too. */
enum rc verify_here(struct verify *v, struct copy_place copied, struct verify_place *out, struct err *err) MUST_CHECK;

/* Has the sink applied it? FATAL: no, and the timeout is over. verify_reach waits for it. */
enum rc verify_reached(struct verify *v, const struct verify_place *p, bool *yes, struct err *err) MUST_CHECK;
enum rc verify_reach(struct verify *v, const struct verify_place *p, struct err *err) MUST_CHECK;

/* Wait a little for every transaction that runs at the source now; *settled: all have ended (nobody knows of a standby's primary). */
enum rc verify_settle(struct verify *v, bool *settled, struct err *err) MUST_CHECK;

/* ---- verify.c ---- */

struct verify_table;

/* Tables of which nobody can say whether they are equal: undecided ones, and those skipped although named, or for their copy. */
int verify_open_tables(const struct verify_table *tables, int n);

/* All that were to be compared were, and are; at least one. */
bool verify_equal(const struct verify_table *tables, int n);

/* ---- verify_table.c ---- */

struct verify_found {
	char **key;
	enum verify_verdict verdict;
	const char **columns; /* that differ */
	int ncolumns;
};

/* What tells one copy of a table from another one. */
struct verify_copy {
	enum copy_state state;
	bool empty;
	struct copy_place begun, upto;
};

enum verify_state { VERIFY_SAME = 0, VERIFY_DIFFERS, VERIFY_UNDECIDED, VERIFY_SKIPPED };

struct verify_left {
	const char *column, *why;
};

struct verify_table {
	struct arena arena;
	const char *schema, *name; /* the source's */
	struct verify_shape shape;
	bool ranges;               /* both sides sort keys alike */
	const char *path[VERIFY_SIDES];
	struct verify_left *left;  /* columns that are not compared */
	int nleft;
	const char *note;          /* NULL: nothing is to be said */
	int64_t estimate;
	struct copy_place upto;    /* where its copy ends */
	bool copied;               /* its state is that of its copy */
	bool lacks;                /* skipped for its copy: the sink lacks rows */
	bool named;                /* asked for by its name */
	struct verify_copy copy, copy_now; /* when its rows were looked at, and later */

	enum verify_state state;
	const char *why;           /* SKIPPED: the reason */
	int64_t rows;              /* of the source */
	int64_t counts[5];         /* by verdict */
	struct verify_found *found;
	int nfound;
	bool cut;                  /* the limit was reached: not all was looked at */
};

/* t.schema and name are set. What cannot be compared has state SKIPPED, or, where the sink lacks it all, DIFFERS, and no shape.from. */
enum rc verify_table_look(struct verify *v, struct verify_table *t, struct err *err) MUST_CHECK;

/* ---- verify_rows.c ---- */

enum rc verify_rows(struct verify *v, struct verify_table *t, struct err *err) MUST_CHECK;

/* ---- verify_print.c ---- */

struct sequence_found;

void verify_print_progress(struct verify *v, const struct verify_table *t);
void verify_print_table(struct verify *v, const struct verify_table *t);
void verify_print_json(struct verify *v, const struct verify_table *tables, int n, const struct sequence_found *seqs, int nseqs);
void verify_print_end(struct verify *v, const struct verify_table *tables, int n, const struct sequence_found *seqs, int nseqs);

#endif
