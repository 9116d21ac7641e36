#include "consumer/assemble.h"

#include <assert.h>

void
assemble_begin(struct assemble *as, const struct spine_record *group, struct arena *a)
{
	*as = (struct assemble){ .gen = group->gen, .seq_from = group->seq_from, .seq_to = group->seq_to, .nparts = group->nparts,
		.wanting = group->nparts };
	as->parts = arena_array(a, (size_t)group->nparts, sizeof *as->parts);
	as->heap = arena_array(a, (size_t)group->nparts, sizeof *as->heap);
	for (int i = 0; i < as->nparts; i++) {
		const struct spine_part *p = &group->parts[i];

		as->parts[i] = (struct assemble_part){ .first = p->first, .last = p->last, .count = p->count };
	}
}

static bool
before(const struct assemble *as, int a, int b)
{
	const struct assemble_part *x = &as->parts[a], *y = &as->parts[b];

	return x->seq != y->seq ? x->seq < y->seq : x->index < y->index;
}

static void
swap(int *a, int *b)
{
	int t = *a;

	*a = *b;
	*b = t;
}

static void
push(struct assemble *as, int part)
{
	int i = as->nheap++;

	as->heap[i] = part;
	for (; i > 0 && before(as, as->heap[i], as->heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&as->heap[i], &as->heap[(i - 1) / 2]);
}

static int
pop(struct assemble *as)
{
	int top = as->heap[0], i = 0;

	as->heap[0] = as->heap[--as->nheap];
	for (;;) {
		int child = 2 * i + 1;

		if (child + 1 < as->nheap && before(as, as->heap[child + 1], as->heap[child]))
			child++;
		if (child >= as->nheap || !before(as, as->heap[child], as->heap[i]))
			return top;
		swap(&as->heap[i], &as->heap[child]);
		i = child;
	}
}

int
assemble_want(struct assemble *as)
{
	/* The order is only known once every partition that has more rows shows its next one. */
	for (; as->wanting; as->scan = (as->scan + 1) % as->nparts)
		if (!as->parts[as->scan].done && !as->parts[as->scan].head)
			return as->scan;
	return -1;
}

enum assemble_verdict
assemble_offer(struct assemble *as, int part, int64_t offset, const struct tl *tl)
{
	struct assemble_part *p = &as->parts[part];

	assert(!p->done);
	assert(!p->head);
	if (offset > p->last)
		return ASSEMBLE_BEYOND;
	if (!tl)
		return ASSEMBLE_FOREIGN;
	if (offset < p->first || tl->gen != as->gen || tl->seq < as->seq_from || tl->seq > as->seq_to)
		return ASSEMBLE_ORPHAN;
	/*
	 * A partition has its rows in the order of the source. What is not behind the row before was sent again (a lost answer, or a second
	 * writer of this number after the spine lost its end): counted, it would stand in for a row at the end of the range.
	 */
	if (p->taken && (tl->seq != p->seq ? tl->seq < p->seq : tl->index <= p->index))
		return ASSEMBLE_ORPHAN;
	p->seq = tl->seq;
	p->index = tl->index;
	p->head = true;
	p->taken++;
	as->wanting--;
	push(as, part);
	return ASSEMBLE_ROW;
}

int
assemble_next(struct assemble *as)
{
	struct assemble_part *p;
	int part;

	assert(!as->wanting);
	if (!as->nheap)
		return -1;
	part = pop(as);
	p = &as->parts[part];
	p->head = false;
	if (p->taken == p->count)
		p->done = true;
	else
		as->wanting++;
	as->scan = part;
	return part;
}
