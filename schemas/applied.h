/*
 * applied.h - what a sink says that commits at the source wait for (synchronous.mode: applied): a record of the topic
 * <name>.towline.applied, one partition. Pure.
 *
 *   key    the sink's name
 *   value  {"v":1,"gen":3,"token":81985529216486895,"no":120,"by":"db2:4711"}
 *
 * It says: under generation `gen` with `token` (of its OPEN) this sink has committed every group up to number `no`, durably: its COMMIT
 * has returned, and the database had written its log to disk before.
 *
 * The rule of whoever believes it:
 * - Only records count that were appended after the producer began to read (at the end of the topic, at each start), and of these only
 *   those with the generation and the token of its own OPEN. The token is drawn at random for each OPEN. So nothing counts that was
 *   said of an earlier incarnation, of a spine made anew, or of another pipeline that had the name: a sink can know the token only by
 *   having read this spine up to this OPEN.
 * - A record covers groups up to its `no`, and the numbers of groups never come again within a generation. So a record, however late it
 *   arrives and whatever has become of the sink meanwhile (copied anew, made anew, restored from a backup), covers no commit made after
 *   it was said.
 * - The newest record of a sink counts, also where its number is less than before: a sink that went back has only that.
 *
 * And of whoever says it: never before COMMIT has returned; never while the sink is being made anew (towline resync) and lacks rows, which
 * the control topic tells (consumer/teller.h); and the newest is said again every second, so that nobody has to read what is old.
 */
#ifndef SCHEMAS_APPLIED_H
#define SCHEMAS_APPLIED_H

#include "core/buf.h"
#include "core/err.h"

enum { APPLIED_BY_MAX = 90 };

/* by: host and process that say it, for `towline check`; "" in records of versions before there was one. It decides nothing. */
struct applied {
	uint64_t gen, token, no;
	char by[APPLIED_BY_MAX];
};

void applied_put(struct buf *out, const struct applied *a);

/* REJECT: no JSON, another version, or a number is missing or negative. */
enum rc applied_take(struct slice json, struct applied *out, struct err *err) MUST_CHECK;

#endif
