/*
 * sink_pg.h - the PostgreSQL sink's inside, shared by sink_pg*.c; nobody else includes it.
 *
 *   sink_pg.c        connection, marker, transactions, redo
 *   sink_pg_pipe.c   pipeline mode: what was sent and not answered yet, failures, recovery
 *   sink_pg_table.c  the table at the sink: catalogue, CREATE, ALTER, prepared statements
 *   sink_pg_names.c  what each source table is called at the sink
 *   sink_pg_reshape.c  the same table renamed, widened, under another key
 *   sink_pg_batch.c  works and rows as statements with their parameters
 *   sink_pg_copy.c   many new rows at once
 *   sink_pg_park.c   changes that are parked, and the way back
 *   sink_pg_position.c  how far each partition is applied
 */
#ifndef CONSUMER_SINK_PG_H
#define CONSUMER_SINK_PG_H

#include "consumer/reshape.h"
#include "consumer/sink_impl.h"
#include "core/pg.h"

#include <uthash.h>

/*
 * A prepared statement. sent and not ready: its Parse is in the pipeline, and lost if something
 * before it fails.
 */
struct stmt {
	struct stmt *next;
	enum plan_kind kind;
	uint8_t *flags;
	struct plan plan;
	char name[24];
	bool sent, ready;
};

struct pg_target {
	const struct table *source; /* key of the hash: as it comes */
	const struct table *tbl;  /* as this sink has it (consumer/mapping.h), with the same columns */
	struct arena arena;
	struct target t;
	struct stmt *stmts;       /* most recently used first */
	int nstmts;
	uint8_t *flags;           /* scratch: 2 * ncols */
	bool in_txn;              /* made inside the open transaction: void if that is rolled back */
	uint64_t missing;         /* rows that updates did not find */
	bool counted;             /* a wide one: PostgreSQL knows how many rows it has */
	int doubt, doubted;       /* rows of a first copy were there already: batches in which they are upserted; how many the last time */
	UT_hash_handle hh;
};

enum { WIDE_COLUMNS = 200 };  /* of 32 bytes each, as PostgreSQL guesses for text, and more: a page */
enum { STMTS_MAX = 200 };     /* prepared per target: sets of present columns are combinatorial */

enum sent_kind {
	SENT_BEGIN,
	SENT_ADVANCE,
	SENT_PARSE,
	SENT_WORK,
	SENT_CONTROL,
	SENT_COMMIT,
	SENT_SYNC
};

/* A command whose result is still to come. */
struct sent {
	enum sent_kind kind;
	struct stmt *stmt;        /* SENT_PARSE */
	struct pg_target *target; /* SENT_WORK */
	const struct batch *batch;
	int must_hit;             /* rows that have to be there; -1: does not matter */
	bool counted;             /* fails by itself when they are not (struct target) */
	bool guess;               /* rows that may be there are copied as if they were not */
};

struct unconfirmed {
	struct marker expected, next;
	const struct batch *last;
};

struct sink_pg {
	struct sink sink;
	PGconn *conn;
	struct pg_target *targets;
	struct sent *sent;        /* ring */
	uint32_t sent_head, sent_n, sent_cap;
	struct unconfirmed *txns; /* oldest first; the open one is the last */
	int ntxns, txns_cap;
	bool open;                /* begun, not committed */
	bool savepoint;           /* streamed: rolls back to it */
	int applied;              /* applies in the open transaction */
	bool broken;              /* failure holds what is to be reported */
	bool cancelled;           /* as the program is to end */
	struct err failure;
	const struct batch *failure_batch;
	bool failure_commit;      /* the COMMIT itself failed */
	bool failure_guess;
	const struct batch *guessed; /* it was refused for a guess: the sets are worth another try */
	bool sure;                /* no guesses now */
	bool copying;             /* the server takes rows, and has nothing to say before their end */
	struct unconfirmed redo;  /* the transaction that failed */
	bool claimed, advance_ready, position_ready, replica, unindexed;
	int64_t parked_version;   /* that the caller knows: compared by each begin */
	uint64_t stmt_no;
	struct buf rows;          /* of a COPY */
	size_t rows_at;           /* the server was given them up to here */
	struct buf *cols;         /* parameters in the making, one buffer each */
	int ncols_cap;
	struct buf text;
};

/* ---- sink_pg_pipe.c ---- */

/*
 * Into and out of pipeline mode. Leaving waits for all results, and reports a failure among them.
 */
void pipe_enter(struct sink_pg *s);
enum rc pipe_leave(struct sink_pg *s, struct err *err) MUST_CHECK;
void pipe_off(struct sink_pg *s); /* after pipe_drain */

/*
 * Note a command that was handed to libpq (ok: its return value), push bytes out without waiting
 * for answers.
 */
void pipe_sent(struct sink_pg *s, int ok, struct sent what);
void pipe_flush(struct sink_pg *s);
void pipe_pump(struct sink_pg *s); /* what can be sent and taken without any wait */
void pipe_sync(struct sink_pg *s);

/*
 * Wait until at most `most` transactions are unconfirmed (the open one not counted), or all answers
 * are in.
 */
void pipe_settle(struct sink_pg *s, int most);
void pipe_wait(struct sink_pg *s); /* for the next answer, or copying */
void pipe_drain(struct sink_pg *s);

/* Remember the first failure; the rest of the pipeline follows from it. */
void pipe_fail(struct sink_pg *s, const struct err *e, const struct batch *b);

/* OK, or the failure, after the connection has been put back to where the contract says. */
enum rc pipe_report(struct sink_pg *s, struct err *err) MUST_CHECK;

/* Drop what the pipeline knows of a target that goes away. */
void pipe_forget(struct sink_pg *s, const struct pg_target *target);

/* ---- sink_pg.c ---- */

/* A refused towline.advance: fatal, or the parked changes were changed. res NULL: the connection broke. */
enum rc advance_fail(PGconn *conn, const PGresult *res, struct err *err) MUST_CHECK;
enum rc read_marker(struct sink_pg *s, struct marker *out, bool *found, struct err *err) MUST_CHECK;

/* Note the transaction that was begun. */
void txn_add(struct sink_pg *s, const struct marker *expected, const struct marker *next);

/* ---- sink_pg_park.c ---- */
extern const struct park_ops pg_park_ops;

/* ---- sink_pg_position.c ---- */
extern const struct position_ops pg_position_ops;

/* ---- sink_pg_renew.c ---- */
enum rc pg_renew(struct sink *sink, const struct marker *to, const struct sink_name *tables, int n, struct err *err) MUST_CHECK;

/* ---- sink_pg_table.c ---- */
enum rc table_prepare(struct sink_pg *s, const struct table *tbl, struct err *err) MUST_CHECK;
struct pg_target *table_find(struct sink_pg *s, const struct table *tbl);
void table_forget(struct sink_pg *s, const struct table *tbl);
void table_forget_open(struct sink_pg *s); /* those made in the transaction that was just rolled back */
void table_forget_all(struct sink_pg *s);
void table_forget_name(struct sink_pg *s, const char *name); /* the table has another one now: who comes under that name is to look again */
struct stmt *table_stmt(
    struct sink_pg *s, struct pg_target *t, enum plan_kind kind, const uint8_t *flags);

/* What the sink has of a table. */
struct pg_found {
	const char *schema;
	const char *oid;     /* NULL: the table does not exist */
	bool children;
	bool *generated;     /* of the table's columns: the sink works it out by itself */
	struct reshape_pg *have; /* of the table's columns: their types */
	bool *notnull;
	struct sink_extra *extra; /* what the sink has and the table has not */
	int nextra;
};

/* The version of the table that this session has met last; NULL: none. */
const struct table *pg_version_before(const struct sink_pg *s, const struct pg_target *t);

/* ---- sink_pg_names.c: verdicts as of prepare ---- */

/*
 * FATAL/EXIT_REFUSED: the sink has the source's table under another name than the one that the configuration gives it now.
 * *known: it is remembered under this one.
 */
enum rc pg_check_left(struct sink_pg *s, struct pg_target *t, bool *known, struct err *err) MUST_CHECK;
/* In the open transaction, if there is one. */
enum rc pg_note_name(struct sink_pg *s, struct pg_target *t, struct err *err) MUST_CHECK;

/* ---- sink_pg_reshape.c: renamed, widened; verdicts as of prepare ---- */

/*
 * The table had another name in the version before, and the sink has it under that: renamed, or when the new name is taken (w->oid),
 * refused.
 */
enum rc pg_rename_table(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err) MUST_CHECK;
enum rc pg_rename_columns(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err) MUST_CHECK;

/* Types, NOT NULL, labels. *changed: look at the columns again. */
enum rc pg_fit_columns(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, bool *changed, struct err *err) MUST_CHECK;

/* The key is another than in the version before, and the sink's primary key is that of the version before. */
enum rc pg_fit_key(struct sink_pg *s, struct pg_target *t, const struct pg_found *w, struct err *err) MUST_CHECK;

/* ---- sink_pg_copy.c ---- */

/*
 * Many new rows, or rows of a first copy that most likely are: one COPY, which has begun when this returns (sink.busy). false: by a
 * statement, please.
 */
bool copy_send(struct sink_pg *s, struct pg_target *t, const struct work *w, const struct batch *b);

/* Rows of the COPY that lasts, to the server, as it takes them without a wait; all of them, and its answer. Without one: nothing. */
void copy_turn(struct sink_pg *s);
void copy_finish(struct sink_pg *s);

/* One of them was there: it is not guessed again for a while. */
void copy_misled(struct pg_target *t);

/* ---- sink_pg_batch.c ---- */

/*
 * A value behind its int32 length (-1: NULL), as arrays and COPY have them in binary, appended; text: as one of the type text. REJECT: it
 * has no such form.
 */
enum rc cell_put(const struct pg_target *t, int col, const struct value *v, bool text, struct buf *out, struct err *err) MUST_CHECK;

/* Its text, into the empty out; not for NULL. REJECT: it has none that PostgreSQL can hold. */
enum rc cell_text(const struct pg_target *t, int col, const struct value *v, struct buf *out, struct err *err) MUST_CHECK;

/* Queue all works. A failure that is found here is remembered as by pipe_fail. */
void batch_send(struct sink_pg *s, const struct batch *b);

/* One row at once, outside pipeline mode. */
enum rc row_exec(struct sink_pg *s, const struct row *r, struct err *err) MUST_CHECK;

void note_missing(struct pg_target *t, int rows);

/*
 * Run a statement that creates, one process at a time; on a failure the lock goes with the connection.
 */
enum rc pg_ddl(struct sink_pg *s, const char *what, const char *sql, struct err *err) MUST_CHECK;

/* Likewise what Towline keeps there: object by its name, NULL for the schema. Where the role may not, what to run is in the error. */
enum rc pg_make(struct sink_pg *s, const char *what, const char *object, const char *sql, struct err *err) MUST_CHECK;

#endif
