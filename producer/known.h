/*
 * known.h - the version of each table that sinks have been told of last, kept in the control topic across restarts.
 *
 *   lineage/RELID   {"system_id", "database", "lsn", "schema", "table", "key": [names], "columns": [[name, attnum, type oid, typmod], ...]}
 *
 * What was renamed while no producer ran is told by comparing with it. It must be neither behind what the source was told to
 * forget nor ahead of what is published: so a version is written when its transaction is safe in the spine, before the source hears of
 * that. lsn: the commit LSN of the transaction with its first row. Transactions up to there may come once more, in older shapes; for them
 * it is not the version before. The embedded broker keeps it as long as its process lives.
 *
 * All but known_open bear NULL: then nothing is known.
 */
#ifndef PRODUCER_KNOWN_H
#define PRODUCER_KNOWN_H

#include "core/kafka.h"
#include "core/table.h"

struct known;

/* Reads what there is of this database. system_id, database: of the source. RETRY: Kafka. */
enum rc known_open(const struct kafka *k, uint64_t system_id, const char *database, struct known **out, struct err *err) MUST_CHECK;
void known_close(struct known *k);

/*
 * The version of that relation before the transaction that commits at lsn; NULL: not known. Names, numbers, types and key only; lives
 * until close. From now on the caller knows the relation better.
 */
const struct table *known_table(struct known *k, uint32_t relid, uint64_t lsn);

/* Another relation that had the name last, of those that were not asked for; NULL: none. */
const struct table *known_namesake(const struct known *k, uint32_t relid, struct slice schema, struct slice name);

/* A version that begins in the transaction that commits at lsn; tbl lives until close. */
void known_note(struct known *k, const struct table *tbl, uint64_t lsn);

/* Nothing of that version was published: it is not to be kept, if it was noted. */
void known_drop(struct known *k, const struct table *tbl);

/* Everything up to lsn is safe, and the source may be told so after this: what was noted up to there is in Kafka. RETRY: Kafka. */
enum rc known_keep(struct known *k, uint64_t lsn, struct err *err) MUST_CHECK;

#endif
