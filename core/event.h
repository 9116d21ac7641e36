/*
 * event.h - what a source says and a sink is told: changes, and the transactions that hold them.
 */
#ifndef CORE_EVENT_H
#define CORE_EVENT_H

#include "core/table.h"
#include "core/value.h"

/* Debezium's letters. */
enum op {
	OP_READ = 'r',
	OP_CREATE = 'c',
	OP_UPDATE = 'u',
	OP_DELETE = 'd',
	OP_TRUNCATE = 't',
	OP_MESSAGE = 'm',
};

/* A source transaction. Times are microseconds since 1970 (UTC). */
struct txn {
	uint64_t commit_lsn;  /* the position's LSN; SQLite: log rowid */
	uint64_t end_lsn;     /* the source may forget its log up to here once this one is safe */
	int64_t commit_us;
	uint32_t xid;
	struct slice origin;  /* name of the replication origin; empty: none */
	uint64_t origin_lsn;
};

/* What a change's old row holds. */
enum before_kind {
	BEFORE_NONE = 0,
	BEFORE_KEY,  /* the replica identity's columns only, and only as its key changed or the row went */
	BEFORE_FULL, /* every column: REPLICA IDENTITY FULL */
};

struct change {
	char op;                    /* enum op */
	uint8_t before_kind;        /* enum before_kind */
	const struct table *tbl;    /* NULL for OP_MESSAGE */
	const struct value *before; /* tbl->ncols values, V_ABSENT where not sent; NULL: no old row */
	const struct value *after;  /* likewise, V_ABSENT where unchanged (TOAST); NULL: none */
	uint64_t lsn;               /* LSN of this very change: information, never a position */
	bool reshaped;              /* the first of a table version that follows another: whoever applies it has all that came before */
	bool apart;                 /* moves its key, with all values: told as a delete and a create that know nothing of each other */
	bool transactional;         /* OP_MESSAGE */
	struct slice prefix, content; /* OP_MESSAGE */
};

/* An update that gives its row another key: it is published as a delete and a create. */
bool change_moves_key(const struct change *ch);

#endif
