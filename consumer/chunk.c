#include "consumer/chunk.h"

#include <inttypes.h>

static enum rc
begin(struct chunk *c, const struct tl *tl, struct slice part, size_t max, struct arena *a,
    struct err *err)
{
	*c = (struct chunk){ 0 };
	/* Compared before it is multiplied: the count is from outside. */
	if (part.n && tl->count > max / part.n)
		return fail(err, FATAL,
		    "transaction %" PRIu64 " has a row of some %" PRIu64
		    " kB, more than memory: %zukB; set memory to twice the row's size",
		    tl->seq,
		    tl->count > UINT64_MAX / part.n ? UINT64_MAX : tl->count * part.n / 1024,
		    max / 1024);
	*c = (struct chunk){ .gen = tl->gen,
		.seq = tl->seq,
		.index = tl->index,
		.count = tl->count,
		.own = tl->own,
		.room = (size_t)tl->count * part.n };
	c->bytes = arena_raw(a, c->room);
	return OK;
}

enum rc
chunk_add(struct chunk *c, const struct tl *tl, struct slice part, size_t max, struct arena *a,
    struct err *err)
{
	enum rc rc = tl->number == 0 ? begin(c, tl, part, max, a, err) : OK;

	if (rc != OK)
		return rc;
	if (tl->number != c->next || tl->count != c->count || tl->gen != c->gen ||
	    tl->seq != c->seq || tl->index != c->index + c->next || part.n > c->room - c->n)
		return AGAIN;
	if (part.n)
		memcpy(c->bytes + c->n, part.p, part.n);
	c->n += part.n;
	c->next++;
	return OK;
}

enum rc
chunk_take(struct chunk *c, struct slice *value, struct tl *tl, struct err *err)
{
	struct chunk whole = *c;
	enum rc rc;

	*c = (struct chunk){ 0 };
	if (whole.own > whole.n)
		return fail(err, REJECT,
		    "a row in %" PRIu64 " chunks has %zu bytes, fewer than the header at its end",
		    whole.count, whole.n);
	*value = (struct slice){ whole.bytes, whole.n - (size_t)whole.own };
	rc = tl_take((struct slice){ whole.bytes + value->n, (size_t)whole.own }, tl, err);
	if (rc == OK &&
	    (tl->flags & TL_CHUNK || tl->gen != whole.gen || tl->seq != whole.seq ||
		tl->index != whole.index))
		rc = fail(err, REJECT, "a row in %" PRIu64 " chunks does not end in its own header",
		    whole.count);
	return rc;
}
