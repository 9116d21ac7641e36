/*
 * Lag is from a transaction's commit at the source to its commit at the sink.
 *
 * The sink's thread says which commit time it has come to; we look every millisecond and note when
 * we first saw it. The journal at the source tells afterwards when each transaction was committed
 * (track_commit_timestamp): its lag is to the first note that covers it. So no transaction is left
 * out, and each lag is too large by up to the millisecond between two looks, never too small.
 */
#include "control/demo.h"
#include "core/now.h"

#include <stdlib.h>

enum { RECENT = 500 };

void
demo_lag_look(struct demo_lag *lag, struct flow *f, int sink)
{
	uint64_t applied = atomic_load_explicit(&f->applied[sink], memory_order_acquire);

	if (applied == lag->applied)
		return;
	lag->applied = applied;
	if (lag->n == lag->cap) {
		lag->cap = lag->cap ? lag->cap * 2 : 4096;
		lag->marks = realloc(lag->marks, lag->cap * sizeof *lag->marks);
		if (!lag->marks)
			die("out of memory");
	}
	lag->marks[lag->n++] = (struct demo_mark){ atomic_load(&f->commit_us[sink]), wall_us() };
}

void
demo_lag_free(struct demo_lag *lag)
{
	free(lag->marks);
	*lag = (struct demo_lag){ 0 };
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static struct demo_percentiles
percentiles(int64_t *v, size_t n)
{
	if (n == 0)
		return (struct demo_percentiles){ 0 };
	qsort(v, n, sizeof *v, by_size);
	return (struct demo_percentiles){
		.p50_us = v[n / 2], .p99_us = v[n - 1 - n / 100], .max_us = v[n - 1], .n = n
	};
}

struct demo_percentiles
demo_lag_recent(const struct demo_lag *lag)
{
	size_t n = lag->n < RECENT ? lag->n : RECENT;
	int64_t v[RECENT];

	for (size_t i = 0; i < n; i++) {
		const struct demo_mark *m = &lag->marks[lag->n - n + i];

		v[i] = m->seen_us - m->commit_us;
	}
	return percentiles(v, n);
}

/*
 * Both are in order of time. A commit that no mark covers has not arrived: that is for the
 * comparison of the rows to say.
 */
static struct demo_percentiles
match(const struct demo_lag *lag, const int64_t *commits, size_t ncommits, int64_t *v)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < ncommits; i++) {
		while (at < lag->n && lag->marks[at].commit_us < commits[i])
			at++;
		if (at < lag->n)
			v[n++] = lag->marks[at].seen_us - commits[i];
	}
	return percentiles(v, n);
}

enum rc
demo_lag_final(const struct demo_lag *lags, int n, PGconn *source, struct demo_percentiles *out,
    struct err *err)
{
	PGresult *res = NULL;
	int64_t *commits, *v;
	size_t ncommits;
	enum rc rc = pg_exec(source, "commit times",
	    "SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM"
	    " public.journal ORDER BY 1",
	    &res, err);

	if (rc != OK)
		return rc;
	ncommits = (size_t)PQntuples(res);
	commits = calloc(ncommits + 1, sizeof *commits);
	v = calloc(ncommits + 1, sizeof *v);
	if (!commits || !v)
		die("out of memory");
	for (size_t i = 0; i < ncommits; i++)
		commits[i] = strtoll(PQgetvalue(res, (int)i, 0), NULL, 10);
	PQclear(res);
	for (int i = 0; i < n; i++)
		out[i] = match(&lags[i], commits, ncommits, v);
	free(commits);
	free(v);
	return OK;
}
