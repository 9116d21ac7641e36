#include "producer/takeover.h"

#include "core/err.h"

#include <stdlib.h>
#include <string.h>
#define uthash_fatal(msg) die("takeover: %s", msg)
#include <uthash.h>

struct seen_key {
	uint64_t lsn, digest; /* digest 0: all records of the row, or rows at the LSN */
	uint32_t xid, zero;
};

struct takeover_seen {
	struct seen_key key;
	int64_t n;
	UT_hash_handle hh;
};

static struct takeover_seen *
find(struct takeover_seen *in, struct seen_key key)
{
	struct takeover_seen *s;

	HASH_FIND(hh, in, &key, sizeof key, s);
	return s;
}

static int64_t
count(struct takeover_seen **in, struct seen_key key)
{
	struct takeover_seen *s = find(*in, key);

	if (!s) {
		s = calloc(1, sizeof *s);
		if (!s)
			die("out of memory");
		s->key = key;
		HASH_ADD(hh, *in, key, sizeof s->key, s);
	}
	return ++s->n;
}

static void
empty(struct takeover_seen **in)
{
	struct takeover_seen *s, *tmp;

	HASH_ITER (hh, *in, s, tmp) {
		HASH_DEL(*in, s);
		free(s);
	}
}

void
takeover_seen(struct takeover *t, uint32_t xid, uint64_t lsn, uint64_t digest)
{
	if (count(&t->records, (struct seen_key){ .lsn = lsn, .digest = digest, .xid = xid }) == 1)
		count(&t->seen, (struct seen_key){ .lsn = lsn, .xid = xid });
}

void
takeover_begin(struct takeover *t, uint32_t xid)
{
	empty(&t->rows);
	t->xid = xid;
}

void
takeover_row(struct takeover *t, uint64_t lsn)
{
	count(&t->rows, (struct seen_key){ .lsn = lsn, .xid = t->xid });
}

void
takeover_commit(struct takeover *t, uint64_t commit_lsn, uint64_t end_lsn)
{
	struct takeover_seen *r, *tmp;
	int64_t rows = 0, there = 0;

	HASH_ITER (hh, t->rows, r, tmp) {
		struct takeover_seen *s = find(t->seen, r->key);
		int64_t n = s ? s->n : 0;

		rows += r->n;
		there += n < r->n ? n : r->n;
	}
	empty(&t->rows);
	t->broken = t->broken || (there < rows && commit_lsn >= t->stored);
	if (!t->broken) {
		t->lsn = end_lsn > t->lsn ? end_lsn : t->lsn;
		t->whole += rows > 0;
		return;
	}
	t->left += rows > 0;
	t->left_rows += rows;
	t->again += there > 0;
	t->again_rows += there;
}

void
takeover_free(struct takeover *t)
{
	empty(&t->seen);
	empty(&t->records);
	empty(&t->rows);
}
