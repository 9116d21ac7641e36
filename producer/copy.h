/*
 * copy.h - the copy of one table that is to be made, is being made, or was made: records `snapshot/SCHEMA.TABLE` of the control topic.
 *
 *   {"state":"copying","reason":"","where":"...","relid":16384,"again":false,"seen":null,"since":"812",
 *    "empty":false,"key":["id bigint -"],"rows":81920,"estimate":200000,"began_ms":...,"ended_ms":0,"command":"...",
 *    "begun":[3,810],"whole":[2,17],"upto":[2,40],
 *    "ranges":[{"from":null,"to":["50000"],"at":["20480"],"done":false}, ...]}
 *
 * A range is the rows with from < key <= to; null: open. Up to `at` its rows are in Kafka, and stay there: a producer that
 * starts anew goes on behind it. Values of keys are texts as PostgreSQL prints them. Pure.
 *
 * `begun` and `whole` are places in the spine, generation and group: all rows of this copy come behind `begun`, and all rows of the newest
 * copy that was finished, and had no `where`, behind `whole` and not behind `upto`. A sink that follows the spine from `whole` or before to
 * `upto` has had every row. (Records of versions before there was `upto` get it when their producer starts: by then all is in the spine.)
 *
 * A schema may hold a dot: in the keys a backslash stands before each dot and backslash of the schema, `a\.b.c` is "c" in "a.b".
 *
 *   snapshot                        {"tables":"known"}: every published table has a record; one without is new
 *   command/snapshot/SCHEMA.TABLE   {"id":"...","verb":"add|again|pause|resume|cancel","where":"..."}: the producer does it and
 *                                   forgets the key. add: if none is open; again: from the beginning, whatever there is
 */
#ifndef PRODUCER_COPY_H
#define PRODUCER_COPY_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"

#define COPY_KEY "snapshot"
#define COPY_PREFIX "snapshot/"
#define COPY_COMMAND_PREFIX "command/snapshot/"

enum copy_state {
	COPY_NONE = 0,  /* not asked for: its changes are published, rows from before are not */
	COPY_WAITING,
	COPY_RUNNING,
	COPY_PAUSED,
	COPY_DONE,
	COPY_CANCELLED,
	COPY_FAILED,
	COPY_STOPPED, /* it cannot be published as it is now, which is tried again and again; always with `empty` */
};

/* Behind this group of this generation. Zero: not known, before all others. */
struct copy_place {
	uint64_t gen, no;
};

/* Ends are JSON arrays of texts, one for each column of the key, from malloc; NULL: open. */
struct copy_range {
	char *from, *to, *at;
	bool done;
};

struct copy {
	enum copy_state state;
	char *reason;           /* of FAILED, or what it waits for; NULL: none */
	char *where;            /* SQL condition; NULL: all rows */
	char *key;              /* JSON array: the key's columns, their types and collations; NULL: not looked yet */
	char *command;          /* id of the last command that changed it; NULL: none */
	uint32_t relid;         /* oid of the table: another one of its name is another table; 0: not known */
	bool again;             /* rows of it may be at the sinks already: a table without key is emptied there first */
	bool empty;             /* changes of it were passed over, and are until a TRUNCATE is in the spine; then all rows come */
	char *seen;             /* of a table without key: what this snapshot sees is in the rows; NULL: nothing of it is to come yet */
	uint64_t since;         /* transactions older than this one (xid) are to be over before the first row is read; 0: not known yet */
	int64_t rows, estimate; /* in Kafka; of the table, about */
	int64_t began_ms, ended_ms; /* since 1970; to be shown, never compared between machines */
	struct copy_place begun, whole, upto;
	struct copy_range *ranges;
	int nranges;
};

struct copy_command {
	char verb[16], id[40];
	char *where; /* malloc; NULL: none */
};

/* A table's name in the keys, in a; and back: false, it has no dot that parts it. */
char *copy_name(struct arena *a, struct slice schema, struct slice table);
bool copy_name_split(struct slice name, struct arena *a, struct slice *schema, struct slice *table);

/* Is there something left to do, now or after a resume? */
bool copy_open(const struct copy *c);

const char *copy_state_name(enum copy_state state);

/* From the beginning again, with that condition (NULL: none); its rows come behind `begun`. Keeps command, `empty`, `whole`, `upto`. */
void copy_restart(struct copy *c, const char *where, struct copy_place begun);

/* All rows that it is to have are in the spine, which has been read back up to `upto`. */
void copy_complete(struct copy *c, struct copy_place upto);

/* A record was read that is from before there was `upto`; the spine has been read back up to `upto`. True: the record has changed. */
bool copy_adopt(struct copy *c, struct copy_place upto);

/* Do all that come behind `later` come behind `place` as well? */
static inline bool
copy_behind(struct copy_place later, struct copy_place place)
{
	return later.gen > place.gen || (later.gen == place.gen && later.no >= place.no);
}

/* n ranges with the ends between them, JSON arrays; none: one range of everything. */
void copy_set_ranges(struct copy *c, char *const *bounds, int nbounds);

/* Replace one of the texts. */
void copy_text(char **at, const char *text);

/* Record -> JSON appended; JSON -> record, which is zeroed or freed before. REJECT: it makes no sense. */
void copy_put(struct buf *out, const struct copy *c);
enum rc copy_take(struct slice json, struct copy *c, struct err *err) MUST_CHECK;
void copy_free(struct copy *c);

void copy_command_put(struct buf *out, const struct copy_command *c);
enum rc copy_command_take(struct slice json, struct copy_command *c, struct err *err) MUST_CHECK;

#endif
