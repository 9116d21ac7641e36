/*
 * copier.h - threads with a connection to the source each, that read what the producer's loop gives them.
 *
 * A chunk is read in one REPEATABLE READ transaction, which takes the table's lock before its snapshot: a rewritten or truncated
 * table looks empty to a snapshot from before. Behind it a logical message goes into the log, the chunk's mark: the stream brings it in its
 * place, behind every commit that the snapshot saw. The message is a transaction of its own, so that it is flushed and sent at once.
 */
#ifndef PRODUCER_COPIER_H
#define PRODUCER_COPIER_H

#include "core/conf.h"
#include "producer/copy_table.h"
#include "producer/parts.h"

#include <stdatomic.h>

enum job_kind {
	JOB_PLAN,  /* look at the table, part it into ranges */
	JOB_CHUNK,
	/* A table without key, by copiers of its own, whose transactions stay open from one job to the next. Each job says which copier. */
	JOB_WHOLE, /* the first one's. Begin: snapshot, no rows */
	JOB_SHARE, /* the first one's: the snapshot is exported, the table parted */
	JOB_MORE,  /* the next rows of the parts, which copiers take as they come to them, up to bytes_max */
};

/*
 * A table without key as several copiers read it. The first one's transaction holds the lock and the snapshot; it stays open until all have
 * ended, so what is true of the table for the first is true for the others.
 */
struct share {
	struct parts parts;
	char *snapshot;  /* exported; malloc */
	atomic_int next; /* the part that nobody has taken yet */
};

/* xid_status: what pg_current_snapshot() says. */
struct copy_snapshot {
	uint64_t xmin, xmax;
	uint64_t *running; /* from malloc */
	int nrunning;
};

/* Belongs to a copier between copiers_give and copiers_take; what it points to outlives that. */
struct job {
	struct job *next;                  /* for whoever keeps some */
	enum job_kind kind;
	uint64_t number;
	int copier;                        /* which is to do it, from 1 on; 0: any */
	struct arena arena;
	const char *schema, *name, *where; /* where NULL: all rows */
	uint64_t since;                    /* PLAN: 0 asks for it. CHUNK: see below */
	int ranges;                        /* PLAN: wished */
	const struct copy_table *table;    /* CHUNK */
	const char *from, *to;             /* CHUNK: JSON arrays; NULL: open */
	int rows_max;
	size_t bytes_max;
	const char *mark;                  /* CHUNK: content of the message */
	struct share *share;               /* MORE; outlives the copiers */
	int readers;                       /* SHARE: how many there will be at most */

	enum rc rc;            /* OK; REJECT: the table is gone; RETRY, FATAL */
	struct err err;
	struct copy_table *found; /* PLAN */
	char **bounds;         /* PLAN: JSON arrays, in the arena */
	int nbounds;
	bool changed;          /* CHUNK: the table is not as described any more; nothing was read */
	bool early;            /* CHUNK: transactions older than `since` are not over; nothing was read */
	struct copy_snapshot snapshot;
	struct buf rows;       /* of COPY's binary form, one behind the other */
	int nrows;
	struct parts parts;    /* SHARE */
	const char *exported;  /* SHARE: name of the snapshot; in the arena */
	bool end;              /* CHUNK: nothing of the range is left. MORE: no part is left, or (out) it could not join, and took none */
	bool out;              /* err says why */
	const char *last;      /* the last row's key, a JSON array in the arena; NULL: no rows, and no mark was written */
};

struct copiers;

/* n threads, which connect when they get something to do. */
struct copiers *copiers_start(const struct conf *conf, int n);

/* What is being read is broken off; what was given and not taken is freed. */
void copiers_stop(struct copiers *c);

/* Readable when copiers_take may have something. */
int copiers_fd(const struct copiers *c);

void copiers_give(struct copiers *c, struct job *j);
struct job *copiers_take(struct copiers *c);

struct job *job_new(enum job_kind kind);
void job_free(struct job *j);

/* Is the transaction over in that snapshot's eyes? xid as pgoutput has it, of 32 bits: the nearest one to xmin. */
bool copy_snapshot_sees(const struct copy_snapshot *s, uint32_t xid);

/* "xmin:xmax:xid,xid". false: it is none. */
bool copy_snapshot_parse(const char *text, struct copy_snapshot *out);

#endif
