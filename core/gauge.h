/*
 * gauge.h - what one stage (a producer, or the feeding of one sink) shows of itself while it runs: a few atomics and a sentence.
 *
 * The stage's thread writes, once for each group or sink transaction and never for a row; the process's reporter reads and publishes.
 * Nothing here decides anything. A NULL gauge is fine everywhere: nobody looks.
 */
#ifndef CORE_GAUGE_H
#define CORE_GAUGE_H

#include "core/base.h"
#include "core/err.h"

#include <pthread.h>
#include <stdatomic.h>

enum gauge_state {
	GAUGE_STARTING = 0,
	GAUGE_RUNNING,
	GAUGE_RETRYING, /* passing trouble: reason says which */
	GAUGE_FAILED,	/* an operator must act: reason says what */
	GAUGE_STOPPED,
};

/* Where a stage is: by what was read back (producer), or by what the sink has committed. */
struct gauge_at {
	uint64_t gen, no, seq, lsn; /* no: group */
	int64_t commit_us;
};

enum { GAUGE_LANES_MAX = 64, GAUGE_TABLES_MAX = 200, GAUGE_REASON_MAX = 500, GAUGE_NAME_MAX = 130 };

struct gauge_table;
struct gauge {
	_Atomic int state;	   /* enum gauge_state */
	_Atomic uint64_t rows;	   /* published or committed since the start */
	_Atomic uint64_t read_seq; /* producer: last transaction that was read from the source */
	_Atomic uint64_t safe_lsn; /* producer: the source may forget its log up to here */
	_Atomic uint64_t
	    end_lsn; /* producer: end of the source's log as it was last heard of; 0: not known */
	_Atomic int64_t parked;		     /* sink: changes in the dead letters */
	_Atomic bool stop;		     /* asks this stage alone to end */
	_Atomic uint64_t changed;	     /* counts changes of state */
	pthread_mutex_t lock;		     /* of all below */
	struct gauge_at at[GAUGE_LANES_MAX]; /* of each lane of a sink; else at[0] */
	uint64_t lanes;			     /* bit i: lane i runs here. Without lanes: bit 0 */
	char reason[GAUGE_REASON_MAX];
	struct gauge_table *tables; /* names seen so far */
	struct gauge_table *order[GAUGE_TABLES_MAX];
	int ntables;
};

void gauge_init(struct gauge *g);
void gauge_free(struct gauge *g);

/* State and its reason; NULL: the reason that stood there stays only while the state is no running one. */
void gauge_set(struct gauge *g, enum gauge_state state, const char *reason);

/* Lane (0 without lanes) is there; a place of it that was left is gauge_left. */
void gauge_at(struct gauge *g, int lane, const struct gauge_at *at);
void gauge_left(struct gauge *g, int lane);

/* The least of all lanes here; false: none is here. */
bool gauge_least(struct gauge *g, struct gauge_at *out);

/* A table that passes; known ones cost a look-up. Beyond GAUGE_TABLES_MAX they are not kept. */
void gauge_table(struct gauge *g, struct slice schema, struct slice table);

/* One name "schema.table", by its place from 0; NULL: no more. Names never go away. */
const char *gauge_table_name(struct gauge *g, int i);

/* The reason, copied. */
void gauge_reason(struct gauge *g, char out[static GAUGE_REASON_MAX]);

static inline bool
gauge_stopped(struct gauge *g)
{
	return g && atomic_load_explicit(&g->stop, memory_order_relaxed);
}

const char *gauge_state_name(enum gauge_state state);

#endif
