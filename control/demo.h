/*
 * demo.h - the inside of `towline demo`: a private source, a shop that works in it, the pipeline,
 * and the proof.
 *
 *   demo.c          the command: its phases, in order, and cleaning up
 *   demo_cluster.c  PostgreSQL servers of our own
 *   demo_load.c     the shop: tables, first rows, and a thread that goes on writing
 *   demo_lag.c      from a commit at the source to its commit at a sink
 *   demo_verify.c   do both sides hold the same rows?
 *   demo_topics.c   a Kafka that is not ours is left as it was
 *   demo_report.c   what is said
 *   demo_show.c     how it gets to a terminal, or elsewhere
 *   demo_replicas.c the other demo: a primary, replicas of different delay, reads of both kinds
 */
#ifndef CONTROL_DEMO_H
#define CONTROL_DEMO_H

#include "control/command.h"
#include "control/demo_cluster.h"
#include "control/stages.h"
#include "core/pg.h"

#include <pthread.h>

/* ---- the shop ---- */

/* All of public.*, in the order in which they are shown. */
extern const char *const demo_tables[];
enum { DEMO_TABLES = 6, DEMO_SINKS = 2 };

extern const uint64_t demo_seed_rows;

/* What the writer's thread does. One thread writes the counters, anyone reads them. */
struct demo_load {
	PGconn *conn; /* of the thread while it runs */
	int rate;     /* transactions per second; 0: as fast as it goes */
	uint64_t random;
	int64_t customers, orders; /* highest numbers given */
	pthread_t thread;
	bool started;
	enum rc rc;
	struct err err;
	_Atomic bool stop;
	_Atomic bool ended;
	_Atomic uint64_t changes, transactions;
};

/* Tables and types in an empty database. */
enum rc demo_load_open(struct demo_load *l, const char *url, int rate, struct err *err) MUST_CHECK;

/*
 * A thread with the first rows, or with the work of every day, which goes on until demo_load_end.
 * Counters begin at 0.
 */
void demo_load_seed(struct demo_load *l);
void demo_load_live(struct demo_load *l);

/* Ask it to end, and wait for that. */
enum rc demo_load_end(struct demo_load *l, struct err *err) MUST_CHECK;
void demo_load_close(struct demo_load *l);

/* ---- lag ---- */

/* When a sink had committed everything up to which moment of the source's. */
struct demo_mark {
	int64_t commit_us, seen_us;
};

struct demo_lag {
	uint64_t applied; /* of struct flow, at the last look */
	struct demo_mark *marks;
	size_t n, cap;
};

struct demo_percentiles {
	int64_t p50_us, p99_us, max_us;
	size_t n;
};

/* Look at sink i; every millisecond, for a mark is as late as the look. */
void demo_lag_look(struct demo_lag *lag, struct flow *f, int sink);

/* Of the newest marks: for the display. */
struct demo_percentiles demo_lag_recent(const struct demo_lag *lag);

/* Of every transaction of the live phase, by its commit time at the source. */
enum rc demo_lag_final(const struct demo_lag *lags, int n, PGconn *source,
    struct demo_percentiles *out, struct err *err) MUST_CHECK;
void demo_lag_free(struct demo_lag *lag);

/* ---- proof ---- */

struct demo_digest {
	uint64_t rows, low,
	    high; /* number of rows, and the sum of their 128-bit hashes: the order does not matter */
};

struct demo_table_result {
	struct demo_digest source, sinks[DEMO_SINKS];
	bool equal;
};

struct demo_reader;

/* A connection that only reads; a source or sink by its URL. */
enum rc demo_reader_open(const char *url, struct demo_reader **out, struct err *err) MUST_CHECK;
void demo_reader_close(struct demo_reader *r);
const char *demo_reader_kind(struct demo_reader *r); /* "PostgreSQL 15.8" */

/* How far it is, by its own marker; 0 when it has none. */
enum rc demo_reader_lsn(
    struct demo_reader *r, const char *pipeline, uint64_t *lsn, struct err *err) MUST_CHECK;

/*
 * All rows of table in r, every column as text, as the types at the source (a PostgreSQL) want it.
 */
enum rc demo_reader_digest(struct demo_reader *r, PGconn *source, const char *table,
    struct demo_digest *out, struct err *err) MUST_CHECK;

bool demo_digest_same(const struct demo_digest *a, const struct demo_digest *b);

/* ---- Kafka ---- */

/* Every topic of the pipeline. */
enum rc demo_topics_delete(const struct kafka *k, struct err *err) MUST_CHECK;

/* ---- display ---- */

struct demo_show {
	bool json, tty;
	bool drawing; /* the line at hand is not to stay */
	int lines;    /* of the drawing that the next one goes over */
	int64_t drawn_us;
};

/* A line that stays: "label      text". */
void demo_say(struct demo_show *s, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Is it time to draw again? On a terminal ten times a second, else every two seconds. */
bool demo_show_due(struct demo_show *s, int64_t now_us);

/*
 * One line of a drawing; on a terminal it goes over what was drawn. demo_show_begin comes first,
 * demo_show_clear when it has served.
 */
void demo_show_begin(struct demo_show *s);
void demo_show_line(struct demo_show *s, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);
void demo_show_clear(struct demo_show *s);

/* A bar of 22 cells, and a number with thousands separated. */
const char *demo_bar(char buf[static 72], double share);
const char *demo_number(char buf[static 32], uint64_t n);

struct demo;

/* ---- demo_replicas.c ---- */

/* `towline demo primary-replica`, in d->dir; the caller cleans up. REJECT/EXIT_DIFFERENT: something did not hold. */
enum rc demo_replicas(struct demo *d, struct err *err) MUST_CHECK;

/* ---- the whole ---- */

struct demo {
	struct call *call;
	struct arena arena;
	struct demo_show show;
	int64_t seconds, rate;
	const char *kafka; /* HOST:PORT; NULL: embedded */
	const char *dir;
	bool made_dir, keep;
	struct demo_tools tools;
	struct demo_cluster source,
	    other; /* other: with a real Kafka the sink has a server of its own */
	const char *source_url;
	PGconn *admin; /* on the source */
	struct conf conf;
	struct stages stages;
	bool opened, running;
	struct demo_load load;
	struct demo_lag lags[DEMO_SINKS];
	struct demo_reader *readers[DEMO_SINKS], *source_reader;
	struct demo_table_result results[DEMO_TABLES];

	/* What came of it. */
	int64_t copy_us, live_us;
	uint64_t changes, transactions, rows;
	struct demo_percentiles lag[DEMO_SINKS];
	int equal;
};

void demo_say_what(struct demo *d);
void demo_draw_copy(struct demo *d);
void demo_say_load(struct demo *d);
void demo_draw_live(struct demo *d);
void demo_say_live(struct demo *d);
void demo_say_verify(struct demo *d);
void demo_print_json(struct demo *d);

#endif
