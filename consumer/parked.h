/*
 * parked.h - changes that a sink does not take, and the keys that wait because of them.
 *
 * A change that cannot be applied parks its key: every later change of that key waits behind it, so that whatever is
 * applied later on is the key's next change, never an older one over a newer. The truth is in the sink
 * (towline.parked, schemas/sql.h), in the transaction that moves the marker past the change; the set here is what a
 * consumer remembers of it. It is empty nearly always, and then costs one comparison a batch.
 *
 * A row is named by table and key, whatever the table's version: by the key's values, or, without a key that is known
 * and whole, by the whole row. An update that changes the name has two, and joins both into one queue. A truncate
 * ends the waiting in its table. Pure but for the memory of the set.
 */
#ifndef CONSUMER_PARKED_H
#define CONSUMER_PARKED_H

#include "consumer/batch.h"
#include "core/buf.h"
#include "core/err.h"

/* More parked keys than this at one sink are no exception any more: something is wrong with all of them. */
enum { PARKED_KEYS_MAX = 100000 };

/* XXH3 (128 bits) of schema, table and the values. */
struct parked_id {
	uint64_t hi, lo;
};

struct parked_ids {
	int n; /* 0: the row cannot be told from others, so nothing can wait for it */
	struct parked_id id[2]; /* the only one, or the old and the new one */
};

enum { PARKED_ID_TEXT = 33 };
const char *parked_id_text(char out[static PARKED_ID_TEXT], struct parked_id id);
bool parked_id_parse(const char *text, struct parked_id *id);

/* scratch: any buf of the caller's. */
void parked_ids(const struct row *r, struct buf *scratch, struct parked_ids *out);

/* The key as JSON, for people: {"id": 7}; [{"id": 7}, {"id": 8}] when it changed; empty: no key. Appended. */
void parked_key_json(const struct row *r, struct buf *out);

/* ---- the set ---- */

struct parked_key;
struct parked_table;
struct parked {
	struct parked_key *keys;
	struct parked_table *tables; /* those that have keys here */
	int n;			     /* keys */
	int64_t entries;	     /* changes at the sink, those without a key too */
	struct buf scratch;
};

void parked_free(struct parked *p);

/* The table has keys in the set. */
bool parked_has_table(const struct parked *p, struct slice schema, struct slice table);

/* Any of these names waits; *head: the entry that is the cause (0: it has no number yet). */
bool parked_has(const struct parked *p, const struct parked_ids *ids, int64_t *head);

/* They wait from now on, because of entry head. Keys that wait already keep theirs, if it has a number. */
void parked_add(struct parked *p, struct slice schema, struct slice table,
    const struct parked_ids *ids, int64_t head);

/* Nothing waits in this table any more. */
void parked_drop_table(struct parked *p, struct slice schema, struct slice table);

/* FATAL above PARKED_KEYS_MAX. */
enum rc parked_bounded(const struct parked *p, const char *sink, struct err *err) MUST_CHECK;

/* Mark the rows of a batch that wait (ASIDE_WAITS), in order; what they do to the set is done to it. True: a row was marked. */
bool parked_route(struct parked *p, struct batch *b);

/* ---- entries ---- */

/* A parked change, as towline.parked has it. */
struct parked_entry {
	int64_t id, behind; /* behind 0: it is itself the cause */
	const char *topic;
	int32_t partition;
	int64_t offset;
	int32_t from_partition;	    /* of the message with the old key, when it changed */
	int64_t from_offset;	    /* -1: it did not */
	int64_t copy, from_copy;    /* offsets in the dead-letter topic; -1: not known */
	const char *schema, *table; /* "": cannot be read */
	const char *key;	    /* JSON; NULL: none */
	struct parked_ids ids;
	char op;		  /* '?': cannot be read */
	uint64_t seq, index, lsn; /* 0, 0, 0: not a record of ours */
	const char *reason;
	int64_t parked_us;
};

/*
 * Which entries belong together: part[i] is the least j whose entry shares a name with i, or with one that does, and
 * so on; entries without a name are alone. part: room for n.
 */
void parked_parts(const struct parked_entry *e, int n, int *part);

#endif
