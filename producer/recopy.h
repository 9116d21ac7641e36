/*
 * recopy.h - copies that are asked for, at a source that makes them itself: all rows of a table go into its log once more.
 *
 *   command/snapshot/SCHEMA.TABLE -> the rows into the source's log -> record snapshot/SCHEMA.TABLE: copying -> they are in the spine: done
 *
 * The records are those of copy.h, so that who waits for copies (control/resync.h) need not know what the source is. Every captured table
 * of the pipeline has one. Not with the embedded broker.
 */
#ifndef PRODUCER_RECOPY_H
#define PRODUCER_RECOPY_H

#include "core/kafka.h"
#include "producer/publish.h"
#include "producer/source.h"

enum { STOPPED_TRY_MS = 15000 }; /* between two looks whether a stopped table can be published, whichever source it is of */

struct recopy;

struct recopy *recopy_new(const struct kafka *k);
void recopy_free(struct recopy *r);

/* A session begins: read what the control topic says. RETRY: Kafka, the source. */
enum rc recopy_begin(struct recopy *r, struct source *source, struct err *err) MUST_CHECK;
void recopy_end(struct recopy *r);
/* As snapshot_expect. */
void recopy_expect(const struct recopy *r, struct publisher *p);

/*
 * Behind each turn at the source, before a group is announced: the record of a table that joined is in Kafka before its first row is in
 * the spine, so that a sink that begins anew behind that row asks for the table.
 */
enum rc recopy_look(struct recopy *r, struct err *err) MUST_CHECK;

/* Once a turn: commands, progress. safe: everything up to this LSN may be forgotten by the source. */
enum rc recopy_turn(struct recopy *r, uint64_t safe, struct err *err) MUST_CHECK;

/*
 * Tables that cannot be published as they are now (snapshot_prepare). Stop one, in Kafka when it returns; begins: with the change that was
 * refused a version begins. FATAL: with the embedded broker nobody would remember it; err: the reason.
 */
enum rc recopy_stop(struct recopy *r, const struct table *tbl, bool begins, const char *reason, struct err *err) MUST_CHECK;
bool recopy_stopped(const struct recopy *r);              /* is there one, or one whose rows are not all there again? */
const struct table *recopy_due(const struct recopy *r);   /* a version of one that is to be tried again; NULL: none now */
void recopy_revive(struct recopy *r, const struct table *tbl); /* it can be published: the table is copied anew */
void recopy_put_off(struct recopy *r, const struct table *tbl, int64_t ms); /* nobody knows: not for so long */

/* As snapshot_change. */
enum rc recopy_change(struct recopy *r, struct change *ch) MUST_CHECK;

/* Readable when a command may have come; -1: never. */
int recopy_fd(const struct recopy *r);

#endif
