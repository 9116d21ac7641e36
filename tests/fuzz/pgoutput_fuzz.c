/* One message of pgoutput. What parses is looked at to its last byte, and took no more memory than its bytes allow. */
#include "producer/pgoutput.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned
look(struct slice s)
{
	unsigned sum = 0;

	for (size_t i = 0; i < s.n; i++)
		sum += (uint8_t)s.p[i];
	return sum;
}

static unsigned
look_tuple(const struct pgo_tuple *t)
{
	unsigned sum = 0;

	assert(t->n == 0 || t->cells);
	for (int i = 0; i < t->n; i++) {
		assert(t->cells[i].kind && strchr("nutb", t->cells[i].kind));
		sum += look(t->cells[i].data);
	}
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = { 0 };
	struct pgo m;
	struct err err;
	volatile unsigned sum = 0;

	if (pgo_parse((struct slice){ (const char *)data, size }, &a, &m, &err) == OK) {
		sum += look(m.schema) + look(m.name) + look(m.content) + look_tuple(&m.old) +
		    look_tuple(&m.new);
		for (int i = 0; i < m.ncols; i++)
			sum += look(m.cols[i].name) + m.cols[i].typid;
		for (int i = 0; i < m.nrels; i++)
			sum += m.rels[i];
	}
	(void)sum;
	assert(a.used <= size * sizeof(struct pgo_cell) + 64);
	arena_free(&a);
	return 0;
}
