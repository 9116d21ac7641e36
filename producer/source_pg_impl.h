/*
 * source_pg_impl.h - inside of the PostgreSQL source: source_pg.c has the stream, source_pg_table.c the tables in it. For these only.
 */
#ifndef PRODUCER_SOURCE_PG_IMPL_H
#define PRODUCER_SOURCE_PG_IMPL_H

#include "producer/catalog.h"
#include "producer/source.h"

#include <uthash.h>

struct slot {
	uint32_t relid;
	struct relation *rel;  /* newest version; older ones hang behind it */
	bool skip;             /* not of this pipeline */
	char *text;            /* of the copy_table that rel is the same as; NULL: not known */
	const struct table *known; /* the version before the first of rel's; NULL: none is known */
	bool refused;          /* what comes is not published */
	UT_hash_handle hh;
};

struct source_pg {
	struct source base;
	PGconn *sql, *repl;
	struct slot *rels;
	struct arena arena;     /* the message at hand */
	struct arena txn_arena; /* the origin's name: lives to the commit */
	char *copy;             /* the message's bytes; of libpq */
	size_t ncopy;
	bool waiting;           /* it could not be taken yet, as the table is locked: comes again */
	bool told_waiting, told_joining; /* and the user knows */
	bool settle_failover, want_failover; /* the slot's mark for standbys is to be set, and to what */
	bool binary, in_txn;
	bool copied;            /* what is learned now is of rows that are copied: the stream is past their transactions */
	struct txn txn;
	struct pgo truncate;    /* tables of a TRUNCATE that are still to be told */
	int truncate_at;
	int lone;               /* non-transactional message: steps of BEGIN, CHANGE, COMMIT still to be told */
	struct change lone_change;
	uint64_t confirmed, sent;  /* to be confirmed; last one told to the server */
	uint64_t applied, sent_applied; /* and what sinks have, of synchronous commits */
	int64_t feedback_ms, tables_ms, heartbeat_ms;
	bool reply;             /* the server wants an answer at once */
	int left_out;
};

/* A user's lock was in the way of an ordinary question: later, then. */
bool source_pg_locked(enum rc rc, const struct err *err);

/* A RELATION message: the newest version of the table is of it. AGAIN: the table is locked, the message comes again. */
enum rc source_pg_learn(struct source_pg *s, const struct pgo *m, struct err *err) MUST_CHECK;

/* The description that was sent, with the catalogue of today. */
enum rc source_pg_learn_again(struct source_pg *s, struct slot *slot, struct err *err) MUST_CHECK;

enum rc source_pg_find(struct source_pg *s, uint32_t relid, struct slot **slot, struct err *err) MUST_CHECK;

/* source_ops. */
const struct table *source_pg_table(struct source *base, uint32_t relid);
enum rc source_pg_adopt(struct source *base, const struct pgo *relation, const char *text, const struct table *seen,
    const struct table **tbl, struct err *err);
bool source_pg_begins(struct source *base, uint32_t relid);
void source_pg_refuse(struct source *base, const struct table *tbl, bool yes);

#endif
