/*
 * chunk.h - a large row out of its chunks (schemas/header.h, TL_CHUNK). Pure.
 *
 * The row has to be in memory at once; its size is known, within one chunk, from the first chunk on.
 */
#ifndef CONSUMER_CHUNK_H
#define CONSUMER_CHUNK_H

#include "core/arena.h"
#include "schemas/header.h"

/* All zero: no row is being joined. */
struct chunk {
	uint64_t gen, seq, index; /* of the first chunk */
	uint64_t next, count;	  /* number of the chunk that comes next, of how many */
	uint64_t own;
	char *bytes;
	size_t n, room;
};

/* A row has begun and is not whole. */
static inline bool
chunk_pending(const struct chunk *c)
{
	return c->next > 0;
}

static inline bool
chunk_whole(const struct chunk *c)
{
	return c->next > 0 && c->next == c->count;
}

/*
 * A record with TL_CHUNK. The first of a row drops what was begun before, and takes its room from
 * a, which must last until the row is done with. AGAIN: it is not the next one of this row
 * (another's, or one that came before): passed over. FATAL: the row is larger than max bytes.
 */
enum rc chunk_add(struct chunk *c, const struct tl *tl, struct slice part, size_t max,
    struct arena *a, struct err *err) MUST_CHECK;

/* The whole row: its value, and the header that it would have by itself. c is empty then. REJECT: malformed. */
enum rc chunk_take(struct chunk *c, struct slice *value, struct tl *tl, struct err *err) MUST_CHECK;

#endif
