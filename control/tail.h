/*
 * tail.h - the inside of `towline tail`: tail.c follows a topic, tail_print.c writes one change as a line.
 */
#ifndef CONTROL_TAIL_H
#define CONTROL_TAIL_H

#include "core/buf.h"
#include "core/event.h"
#include "schemas/codec.h"
#include "schemas/header.h"

/* One change, decoded. */
struct tail_change {
	const struct tl *tl;          /* NULL: not written by towline */
	const struct envelope *env;
	const struct table *tbl;
	const struct value *key;      /* NULL: the record has none, or it was not needed */
	int32_t partition;
	int64_t offset;
	bool named;                   /* the line tells the table */
};

/*
 * time  lsn  seq.index  op  key=...  columns: of an update what changed, "a: 1 -> 2" where the old row is known, else all that came.
 * Ends in a newline.
 */
void tail_text(struct buf *out, const struct tail_change *c);

/* One object: lsn seq index op table ts before after unchanged partition offset. Whole numbers stand as numbers, exactly. */
void tail_json(struct buf *out, const struct tail_change *c);

/* The key as text, columns with commas between: what --key is compared with. Empty: no key. */
void tail_key(struct buf *out, const struct tail_change *c);

#endif
