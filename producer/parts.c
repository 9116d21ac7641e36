#include "producer/parts.h"

#include <inttypes.h>

enum {
	BLOCKS_MIN = 128,    /* of all partitions together: 1 MB */
	PARTS_A_READER = 16,
};

struct parts
parts_of(uint64_t blocks, uint64_t longest, int readers)
{
	uint64_t n = readers > 1 ? (uint64_t)readers * PARTS_A_READER : 1, width;

	if (n > blocks / BLOCKS_MIN)
		n = blocks / BLOCKS_MIN;
	if (n <= 1 || !longest)
		return (struct parts){ .n = 1 };
	width = (longest + n - 1) / n;
	return (struct parts){ .width = width, .n = (int)((longest + width - 1) / width) };
}

const char *
parts_where(const struct parts *p, int i, struct arena *a)
{
	uint64_t from = (uint64_t)i * p->width, to = from + p->width;

	if (p->n <= 1)
		return NULL;
	if (i == 0)
		return arena_printf(a, "ctid < '(%" PRIu64 ",0)'", to);
	if (i == p->n - 1)
		return arena_printf(a, "ctid >= '(%" PRIu64 ",0)'", from);
	return arena_printf(a, "ctid >= '(%" PRIu64 ",0)' AND ctid < '(%" PRIu64 ",0)'", from, to);
}
