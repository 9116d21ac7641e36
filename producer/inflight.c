#include "producer/inflight.h"
#include "core/err.h"

#include <assert.h>
#include <stdlib.h>

void
inflight_init(struct inflight *f, uint64_t next_no)
{
	assert(next_no > 0);
	f->first_no = f->next_no = next_no;
	f->announced_no = f->accepted_no = next_no - 1;
	f->bytes = 0;
}

void
inflight_free(struct inflight *f)
{
	for (size_t i = 0; i < INFLIGHT_GROUPS; i++) {
		free(f->ring[i].parts);
		free(f->ring[i].index);
	}
	*f = (struct inflight){ 0 };
}

bool
inflight_full(const struct inflight *f)
{
	return f->next_no - f->first_no == INFLIGHT_GROUPS;
}

bool
inflight_empty(const struct inflight *f)
{
	return f->next_no == f->first_no;
}

struct group *
inflight_at(struct inflight *f, uint64_t no)
{
	assert(no >= f->first_no);
	assert(no < f->next_no);
	return &f->ring[no % INFLIGHT_GROUPS];
}

struct group *
inflight_open(struct inflight *f)
{
	struct group *g = &f->ring[f->next_no % INFLIGHT_GROUPS];

	assert(!inflight_full(f));
	for (int i = 0; i < g->nparts; i++)
		g->index[g->parts[i].slot] = 0;
	*g = (struct group){ .no = f->next_no++, .parts = g->parts, .partcap = g->partcap, .index = g->index, .nindex = g->nindex };
	return g;
}

void
group_sent(struct inflight *f, struct group *g, size_t bytes)
{
	assert(!g->closed);
	g->sent++;
	g->bytes += bytes;
	f->bytes += bytes;
}

static void *
grow(void *p, size_t n, size_t size)
{
	p = realloc(p, n * size);
	if (!p)
		die("out of memory: %zu times %zu bytes", n, size);
	return p;
}

static struct group_part *
part_of(struct group *g, uint32_t slot)
{
	if (slot >= g->nindex) {
		uint32_t n = slot + 64;

		g->index = grow(g->index, n, sizeof *g->index);
		memset(g->index + g->nindex, 0, (n - g->nindex) * sizeof *g->index);
		g->nindex = n;
	}
	if (!g->index[slot]) {
		if (g->nparts == g->partcap) {
			g->partcap = g->partcap ? g->partcap * 2 : 16;
			g->parts = grow(g->parts, (size_t)g->partcap, sizeof *g->parts);
		}
		g->parts[g->nparts++] = (struct group_part){ .slot = slot };
		g->index[slot] = g->nparts;
	}
	return &g->parts[g->index[slot] - 1];
}

void
group_part(struct group *g, uint32_t slot, size_t name_bytes)
{
	enum { NUMBERS_BYTES = 40 }; /* varints: partition, first, last, count */
	int n = g->nparts;

	part_of(g, slot);
	if (g->nparts > n)
		g->parts_bytes += name_bytes + NUMBERS_BYTES;
}

void
group_acked(struct group *g, uint32_t slot, int64_t offset)
{
	struct group_part *p = part_of(g, slot);

	assert(g->acked < g->sent);
	assert(offset >= 0);
	if (p->count == 0 || offset < p->first)
		p->first = offset;
	if (p->count == 0 || offset > p->last)
		p->last = offset;
	p->count++;
	g->acked++;
}

void
group_acked_aside(struct group *g)
{
	assert(g->acked < g->sent);
	g->acked++;
}

struct group *
inflight_ready(struct inflight *f)
{
	struct group *g;

	if (f->announced_no + 1 >= f->next_no)
		return NULL;
	g = inflight_at(f, f->announced_no + 1);
	return g->closed && g->acked == g->sent ? g : NULL;
}

void
inflight_announced(struct inflight *f, struct group *g)
{
	assert(g->no == f->announced_no + 1);
	g->announced = true;
	f->announced_no = g->no;
}

void
inflight_accepted(struct inflight *f, uint64_t no)
{
	/* Only what was announced can be read back, in order: anything else is another writer's, and never comes here. */
	assert(no == f->accepted_no + 1);
	assert(no <= f->announced_no);
	inflight_at(f, no)->accepted = true;
	f->accepted_no = no;
}

uint64_t
inflight_drop(struct inflight *f, uint64_t no)
{
	uint64_t watermark = 0;

	while (f->first_no <= f->accepted_no && f->first_no <= no) {
		struct group *g = inflight_at(f, f->first_no);

		assert(g->watermark >= watermark);
		watermark = g->watermark;
		f->bytes -= g->bytes;
		f->first_no++;
	}
	return watermark;
}
