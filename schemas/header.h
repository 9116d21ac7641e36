/*
 * header.h - the record header `tl`: position, generation and what Debezium's envelope cannot say.
 *
 *   version   1 byte, 1; 2 with TL_CHUNK
 *   flags     uvarint, TL_* below
 *   gen       uvarint    generation of the writer
 *   seq       uvarint    the actor's dense transaction counter
 *   index     uvarint    of this message in its transaction, from 0; a tombstone has its own
 *   lsn       uvarint    commit LSN
 *   if TL_UNCHANGED:  uvarint n, then n bytes: bit i (byte i/8, bit i%8) set = column i of `after` was not sent (unchanged TOAST)
 *   if TL_EXACT:      uvarint count, then count times: uvarint column * 2 + (1 for `before`), uvarint length, text:
 *                     the source's own text where the Avro form loses something
 *   if TL_CHUNK:      uvarint number, from 0; uvarint count; uvarint own: see below
 *   if TL_MARK:       4 bytes big-endian: schema_mark of the schemas that key and value name by a registry's number; not with TL_CHUNK
 *   if TL_KEY:        uvarint n, then n bytes: the frame that keys of the table have (frame.h), of a TRUNCATE, whose record has no key
 *
 * A reader passes over bytes behind what it knows, so that fields may be added at the end, and over
 * flags of version 1 that it does not know. What must not be passed over comes as version 2: there
 * an unknown flag is refused, as is the version by a reader that knows only 1.
 *
 * A row that is larger than a record may be is several records with TL_CHUNK: in order in one
 * partition (others may stand between), each with the row's key, all flags of the row but
 * TL_UNCHANGED, TL_EXACT and TL_MARK, and the next index. Their values joined are the value of the row and,
 * in the last `own` bytes, the header that the row would have by itself; its index is the first's.
 */
#ifndef SCHEMAS_HEADER_H
#define SCHEMAS_HEADER_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/cursor.h"
#include "core/err.h"
#include "core/value.h"
#include "schemas/frame.h"

#define TL_HEADER "tl"

enum {
	TL_TOMBSTONE = 1,    /* the null value after a delete: no change of its own */
	TL_BEFORE_FULL = 2,  /* `before` is the whole old row; without it only the key in it counts */
	TL_MOVED_FROM = 4,   /* the delete half of an update that changed the key */
	TL_MOVED_TO = 8,     /* the create half; index is MOVED_FROM's + 2 (+ 1 with tombstones off) */
	TL_UNCHANGED = 16,
	TL_EXACT = 32,
	TL_LAST = 64,        /* last message of its transaction */
	TL_CHUNK = 128,      /* a part of a large row */
	TL_MARK = 256,
	TL_BEGINS = 512,     /* the first row of a table version that follows another */
	TL_KEY = 1024,
};

struct tl {
	uint32_t flags;
	uint64_t gen, seq, index, lsn;
	struct slice unchanged; /* the bitmap */
	struct slice exact;     /* the encoded list, count first */
	uint64_t number, count, own; /* TL_CHUNK */
	uint32_t mark;          /* TL_MARK; else 0 */
	struct frame key;       /* TL_KEY; else FRAME_NONE */
};

/* Append the header. after/before (ncols values, or NULL) give the bitmap and the exact texts and set their flags, as h->key does. */
void tl_put(struct buf *out, const struct tl *h, const struct value *before, const struct value *after, int ncols);

/* REJECT: short, or a version or flag that must be known. Slices point into s. */
enum rc tl_take(struct slice s, struct tl *h, struct err *err) MUST_CHECK;

/*
 * Put what the header says into decoded rows: unchanged columns become V_ABSENT, exact texts are
 * attached. REJECT: a column index beyond ncols.
 */
enum rc tl_apply(const struct tl *h, struct value *before, struct value *after, int ncols, struct err *err) MUST_CHECK;

#endif
