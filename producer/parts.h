/*
 * parts.h - a table without a key, parted by the blocks of its heap, so that several connections can read it by one snapshot. Pure.
 *
 *   part:   0            1            ...   n-1
 *   blocks: [0, width)   [width, 2 width)   [(n-1) width, ...      the last is open: no row is in no part, however long the heap has become
 *
 * A part of a partitioned table is that range of blocks in each of its partitions: they are of one table to whoever reads them by ctid, and
 * a condition on rows means the same as in the whole. A row that a snapshot sees has one ctid in it, which does not change, as what
 * moves rows to other blocks (VACUUM FULL, CLUSTER) is kept out by the lock of who took the snapshot.
 */
#ifndef PRODUCER_PARTS_H
#define PRODUCER_PARTS_H

#include "core/arena.h"

#include <stdint.h>

struct parts {
	uint64_t width; /* blocks of a part */
	int n;          /* at least 1; 1: everything, not looked at by blocks at all */
};

/*
 * For `readers` at once. blocks: of all partitions together; longest: of the longest of them. More parts than readers, so that all end at
 * about the same time; none so small that it is not worth a statement.
 */
struct parts parts_of(uint64_t blocks, uint64_t longest, int readers);

/* The condition for the rows of part i, in a; NULL: all rows. */
const char *parts_where(const struct parts *p, int i, struct arena *a);

#endif
