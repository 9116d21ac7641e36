/*
 * A record of the spine, without the two bytes and the fingerprint of its frame: no fuzzer guesses those. What is taken can be put again,
 * and steps a state without harm.
 */
#include "schemas/spine.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FRAME_BYTES = 10 };

static bool
same(const struct spine_record *x, const struct spine_record *y)
{
	bool same = x->kind == y->kind && x->gen == y->gen && x->no == y->no &&
	    x->seq_from == y->seq_from && x->seq_to == y->seq_to && x->flags == y->flags &&
	    x->timeline == y->timeline && slice_eq(x->node, y->node) &&
	    slice_eq(x->reason, y->reason) && x->nparts == y->nparts;

	for (int i = 0; same && i < x->nparts; i++)
		same = slice_eq(x->parts[i].topic, y->parts[i].topic) &&
		    x->parts[i].partition == y->parts[i].partition &&
		    x->parts[i].last == y->parts[i].last && x->parts[i].count == y->parts[i].count;
	return same;
}

/* The numbers may have been written longer than needed, so the bytes need not be the same; the record is. */
static void
put_again(const struct spine_record *r, struct arena *a)
{
	struct buf b = { 0 };
	struct spine_record again;
	struct err err;

	spine_put(&b, r);
	assert(spine_take(buf_view(&b), a, &again, &err) == OK);
	assert(same(r, &again));
	buf_free(&b);
}

static void
step(const struct spine_record *r)
{
	const struct spine_record *tail[] = { r };
	struct spine_state s = { .gen = r->gen,
		.token = r->token,
		.no = r->no - 1,
		.seq = r->seq_from - 1,
		.started = true,
		.partial = r->flags & SPINE_CONTINUES };

	if (r->kind == SPINE_GROUP)
		assert(spine_step(&s, r) == SPINE_ACCEPT && spine_step(&s, r) == SPINE_REPEAT);
	else
		(void)spine_step(&s, r);
	assert(spine_resume(&s, tail, 1) <= 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct buf b = { 0 };
	struct spine_record r;
	struct err err;

	spine_put(&b, &(struct spine_record){ .no = 1 });
	b.n = FRAME_BYTES;
	buf_bytes(&b, data, size);
	/* a copy of its own size, so that ASan sees the first byte too many */
	if (spine_take(arena_slice(&a, buf_view(&b)), &a, &r, &err) == OK) {
		assert(a.used <= 32 * b.n);
		put_again(&r, &a);
		step(&r);
	}
	buf_free(&b);
	arena_free(&a);
	return 0;
}
