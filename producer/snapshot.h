/*
 * snapshot.h - rows that were there before the stream: tables are copied in chunks while it goes on.
 *
 *   control topic -> which tables -> PLAN -> ranges of the key -> chunks -> copiers -> rows ---------+
 *   stream -> changes of a table that is copied -> windows of its chunks -> the chunk's mark -> rows -> transactions in the stream
 *
 * A chunk's rows go into the stream at its mark, as small transactions of their own, each row as it stands there (window.h).
 * So a sink has at every moment part of the tables that are copied, and that part is what the source had at one LSN. What is
 * in Kafka for good is written down in the control topic (copy.h); who starts anew goes on behind it, and what was published without being
 * written down is published again.
 *
 * A table that cannot be published as it is now (the registry refuses its schema, ...) is stopped: its changes are passed over, which is
 * written down before the source hears that they are safe. Once it can be, its sinks are told to empty it, and it is copied anew.
 *
 * One for the process; the sessions of the producer come and go. With the embedded broker, whose topics do not outlive the process, only
 * that a copy is unfinished is kept, as the publication's comment: then it begins anew.
 */
#ifndef PRODUCER_SNAPSHOT_H
#define PRODUCER_SNAPSHOT_H

#include "core/kafka.h"
#include "producer/publish.h"
#include "producer/source.h"

struct snapshot;

/* With the embedded broker: does the publication's comment say that rows are still to come? */
bool snapshot_is_unfinished(const char *comment);

/* Of stopped tables g tells. */
struct snapshot *snapshot_new(const struct kafka *k, struct gauge *g);
void snapshot_free(struct snapshot *s);

/*
 * A session begins: read what the control topic says. Before the slot is made (fresh): all tables of the publication are to be copied,
 * which is written down first. RETRY, FATAL: as of Kafka and PostgreSQL.
 */
enum rc snapshot_begin(struct snapshot *s, struct source *source, bool fresh, struct err *err) MUST_CHECK;
/* The slot was made just now: whatever a table that is empty yet will ever hold is in the stream. */
enum rc snapshot_slot_made(struct snapshot *s, struct err *err) MUST_CHECK;
/* The tables of the source, as it was last looked, are told to p. */
void snapshot_expect(const struct snapshot *s, struct publisher *p);
/* What is on its way is given up. */
void snapshot_end(struct snapshot *s);

/* Behind each turn at the source, before a group is announced. */
enum rc snapshot_look(struct snapshot *s, struct err *err) MUST_CHECK;

/*
 * Once a turn: commands, jobs, progress, stopped tables, which p is asked about. accepted: number of the last group that was read back;
 * sent: of the newest one that has rows; safe: everything up to this LSN may be forgotten by the source.
 */
enum rc snapshot_turn(struct snapshot *s, struct publisher *p, uint64_t accepted, uint64_t sent, uint64_t safe, struct err *err) MUST_CHECK;

/* Descriptors that wake the loop; -1: none. */
void snapshot_fds(const struct snapshot *s, int fds[static 2]);

/* ---- the stream, as the producer reads it ---- */

/*
 * A change: it may become another one, for as long as rows of its table are still to come (see snapshot_change's definition). AGAIN: it is
 * not to be published, as the rows have it already.
 */
enum rc snapshot_change(struct snapshot *s, const struct txn *txn, struct change *ch, struct err *err) MUST_CHECK;

/* A logical message of ours inside a transaction: a mark? */
void snapshot_mark(struct snapshot *s, struct slice content);
void snapshot_commit(struct snapshot *s, const struct txn *txn);

/*
 * The change goes out next: what it needs is made ready (publisher_prepare). AGAIN: it cannot be published as its table is now; the
 * table is stopped, that is in Kafka, and the change is passed over. FATAL: it cannot, and its table could not be copied anew.
 */
enum rc snapshot_prepare(struct snapshot *s, struct publisher *p, const struct change *ch, struct err *err) MUST_CHECK;

/* ---- rows of the chunks, between two transactions of the stream ---- */

bool snapshot_ready(const struct snapshot *s);

/* A table without key is copied: nothing of the stream may come before it is over. */
bool snapshot_holds(const struct snapshot *s);

/* As source_ops.next: BEGIN, rows, COMMIT of the next piece. AGAIN: nothing is ready. */
enum rc snapshot_next(struct snapshot *s, struct source_event *ev, struct err *err) MUST_CHECK;

/* The COMMIT that snapshot_next gave went into group `no`. */
void snapshot_sent(struct snapshot *s, uint64_t no);

#endif
