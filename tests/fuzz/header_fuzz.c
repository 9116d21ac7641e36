/* The first byte is the row's number of columns, the rest a header. What is taken is applied to a row of exactly so many values. */
#include "schemas/header.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_row(const struct value *row, int ncols, struct slice header)
{
	for (int i = 0; i < ncols; i++) {
		struct slice s = row[i].exact;

		assert(row[i].kind == V_NULL || row[i].kind == V_ABSENT);
		assert(s.n == 0 || (s.p >= header.p && s.p + s.n <= header.p + header.n));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ncols = size ? data[0] : 0;
	struct slice header = { (const char *)data + 1, size ? size - 1 : 0 };
	/* One more than nothing: so that a row without columns has an address, too. */
	struct value *before = calloc((size_t)ncols + !ncols, sizeof *before),
		     *after = calloc((size_t)ncols + !ncols, sizeof *after);
	struct tl h;
	struct err err;

	if (!size || !before || !after)
		goto out;
	for (int i = 0; i < ncols; i++)
		before[i] = after[i] = value_null();
	if (tl_take(header, &h, &err) != OK)
		goto out;
	if (tl_apply(&h, before, after, ncols, &err) == OK)
		assert(tl_apply(&h, NULL, NULL, ncols, &err) == OK);
	check_row(before, ncols, header);
	check_row(after, ncols, header);
out:
	free(before);
	free(after);
	return 0;
}
