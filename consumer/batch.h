/*
 * batch.h - rows taken from Kafka in exact order, and their net effect per key as set-based work.
 *
 * A batch is the unit of ownership between fetching and applying: rows, values and the Kafka
 * messages that the values point into live until batch_reset. Pure: no Kafka calls, no database.
 *
 * Net effect: within one batch, several changes of a key become one. Between two barriers (a
 * truncate, an update that changes the key, an update or delete of a table without key) the order
 * of work is: deletes (tables in reverse order of first appearance), updates, then inserts and
 * upserts (in order of first appearance): so a unique value freed by a delete may be taken by an
 * insert. What that order cannot satisfy, the row-by-row redo in exact order can (consumer/sink.h).
 */
#ifndef CONSUMER_BATCH_H
#define CONSUMER_BATCH_H

#include "core/arena.h"
#include "core/event.h"

/* One change, as it was at the source. */
struct row {
	char op;                /* OP_CREATE, OP_READ, OP_UPDATE, OP_DELETE, OP_TRUNCATE */
	bool moved;             /* OP_UPDATE that changed the key: before holds the old key */
	bool before_full;       /* before is the whole old row */
	const struct table *tbl;
	struct value *before;   /* tbl->ncols, V_ABSENT where not known; NULL: none */
	struct value *after;
	uint64_t seq, index, lsn; /* position: transaction, message within it, commit LSN */
	const char *topic;
	int32_t partition;
	int64_t offset;
	uint8_t aside;          /* enum aside: not 0, the sink is not to be told of it */
	const char *why;        /* ASIDE_BAD: the reason, in the batch's arena */
	int held, held_from;    /* in batch.held: its message, and of a moved update the one with the old key */
	int chunks, chunks_from; /* how many more messages behind those belong to them */
};

/* Rows that go past the sink into the dead letters (consumer/aside.h). */
enum aside {
	ASIDE_NOT = 0,
	ASIDE_WAITS,   /* an earlier change of its key is parked */
	ASIDE_BAD,     /* cannot be read; tbl NULL: nothing of it can */
};

enum work_kind {
	WORK_DELETE,   /* by key: net rows' key */
	WORK_UPDATE,   /* by key, columns with present[i] set; key columns are never among them */
	WORK_INSERT,   /* plain: the key did not exist at the source */
	WORK_UPSERT,   /* the key may exist: deleted and created again in this batch, or read and created */
	WORK_READ,     /* so may this one, a row of a first copy, but hardly ever does: an upsert that may be guessed to be an insert */
	WORK_TRUNCATE, /* the whole table */
	WORK_ROW,      /* exactly rows[0].last, by itself: a changed key, or a table without key */
};

struct net {
	const struct value *key;  /* tbl->ncols values, of which the key columns count */
	const struct value *row;  /* the new row; NULL for a delete */
	const struct row *last;   /* the newest change that went into it */
};

struct work {
	enum work_kind kind;
	const struct table *tbl;
	const bool *present;      /* tbl->ncols: columns that all rows carry; NULL: every column, or WORK_DELETE, _TRUNCATE, _ROW */
	int n;
	const struct net *nets;   /* n; none for WORK_TRUNCATE */
};

struct batch {
	struct arena arena;       /* rows, values, works */
	struct row *rows;         /* exact order */
	int nrows, cap;
	size_t bytes;             /* of the messages behind the rows: what the byte limit counts */
	struct work *works;       /* in order of execution; made by batch_plan */
	int nworks;
	bool special;             /* some rows have aside, or are truncates: batch_plan sees to it, and aside_bad */
	void **held;              /* messages to give back; released by the owner through batch_reset's callback */
	int nheld, heldcap;
};

/* Room for one more row at the end, zeroed; valid until the next call. Copy nothing: fill it in. */
struct row *batch_row(struct batch *b);

/* Keep a message alive as long as the batch. Returns its index in held. */
int batch_hold(struct batch *b, void *msg);

/* Work out the net effect of all rows; call once, when the batch is full. */
void batch_plan(struct batch *b);

/*
 * The value of a key column by which the row is found at the sink: the old one of a moved update or
 * a delete, else the new one (from the old key where the new row does not carry it). NULL or
 * V_ABSENT: not known.
 */
const struct value *row_key(const struct row *r, int col);

/*
 * True when the whole key is known and has no NULL in it; else the row can only be found by its
 * whole old content.
 */
bool row_keyed(const struct row *r);

/* Of that key and the table; rows of the same key have the same hash. */
uint64_t row_hash(const struct row *r);
bool row_same_key(const struct row *a, const struct row *b);

/* Forget everything; release is called for each held message. */
void batch_reset(struct batch *b, void (*release)(void *msg));
void batch_free(struct batch *b, void (*release)(void *msg));

#endif
