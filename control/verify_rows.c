/*
 * A table compared: chunks by digests, the rows of chunks that differ by theirs, and the keys of rows that differ by looks that take turns
 * (verify_key.h). Under writes most of what differs at first was only looked at in two moments.
 *
 * While keys are decided, which may wait for the sink, no statement that reads the table is open: what changes the table's definition, or
 * empties it, would wait for that statement, and the sink, and so we, for it.
 */
#include "control/verify.h"
#include "core/now.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Keys that wait: so many are looked at together, and this many at most are kept until the list of rows is read. */
enum { BATCH = 500, PENDING_MAX = 5000 };

enum { PAUSE_MS = 20, PAUSE_MS_MAX = 300 };

/* How long keys, and tables without one, are looked at; from which round on, and of how few keys, the source more than once. */
enum { ROUNDS_MIN = 8, DECIDE_MS = 30000, WHOLE_ROUNDS_MAX = 12, GLANCE_ROUND = 3, GLANCE_KEYS = 50 };

struct rows {
	struct verify *v;
	struct verify_table *t;
	struct arena chunk;        /* statements, bounds */
	struct verify_key *pending; /* PENDING_MAX */
	int npending, kept;        /* kept: the first of them, of chunks that were compared to their ends */
	struct arena keys;         /* of pending */
	int tries;
	bool broken;               /* a connection broke, so that chunks may have been compared twice */
};

static void
copy_key(char **to, char *const *from, int n, struct arena *a)
{
	for (int i = 0; i < n; i++)
		to[i] = arena_text(a, slice_of(from[i]));
}

/* ---- keys until they are decided ---- */

static const char *
array_of(const struct rows *r, int column, const int *which, int n, struct arena *a)
{
	struct buf b = { 0 };
	const char *text;

	buf_byte(&b, '{');
	for (int i = 0; i < n; i++) {
		buf_text(&b, i ? "," : "");
		buf_quoted(&b, slice_of(r->pending[which[i]].key[column]));
	}
	buf_byte(&b, '}');
	text = arena_text(a, buf_view(&b));
	buf_free(&b);
	return text;
}

static char *
own(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		die("out of memory");
	return copy;
}

/* Rows of one key, where nothing at the sink forbids several, are one that no row of the source is equal to. */
static void
take_row(struct verify_row *row, const char *version, const char *cells)
{
	char *before = row->version;

	if (row->there) {
		size_t size = strlen(before) + strlen(version) + 2;

		row->version = malloc(size);
		if (!row->version)
			die("out of memory");
		snprintf(row->version, size, "%s %s", before, version);
		free(before);
		free(row->cells);
		row->cells = own(VERIFY_SEVERAL);
		return;
	}
	*row = (struct verify_row){ .there = true, .version = own(version), .cells = own(cells) };
}

static enum rc
look_at_keys(struct rows *r, enum verify_side side, const int *which, int n, struct verify_row *out, struct err *err)
{
	struct arena a = { 0 };
	const struct verify_shape *s = &r->t->shape;
	const char **params = arena_array(&a, (size_t)s->nkeys, sizeof *params);
	PGresult *res = NULL;
	enum rc rc;

	for (int i = 0; i < s->nkeys; i++)
		params[i] = array_of(r, i, which, n, &a);
	memset(out, 0, (size_t)n * sizeof *out);
	rc = verify_ask(r->v->look[side], "look at keys", verify_sql_look(s, side, &a), s->nkeys, params, &res, err);
	for (int i = 0; rc == OK && i < PQntuples(res); i++) {
		long at = strtol(PQgetvalue(res, i, 0), NULL, 10) - 1;

		take_row(&out[at], PQgetvalue(res, i, 1), PQgetvalue(res, i, 2));
	}
	PQclear(res);
	arena_free(&a);
	return rc == OK ? OK : fail_in(err, side == VERIFY_SOURCE ? "source" : "sink");
}

static bool
is_known(const struct rows *r, const struct verify_key *k)
{
	for (int i = 0; i < r->t->nfound; i++)
		if (verify_key_compare(r->t->found[i].key, k->key, r->t->shape.nkeys) == 0)
			return true;
	return false;
}

static void
note_found(struct rows *r, const struct verify_key *k)
{
	struct verify_table *t = r->t;
	struct verify_found *f;
	int col;

	if (r->broken && is_known(r, k))
		return;
	t->counts[k->verdict]++;
	if (k->verdict == VERIFY_EQUAL || t->nfound >= r->v->limit)
		return;
	f = &t->found[t->nfound++];
	f->verdict = k->verdict;
	f->key = arena_array(&t->arena, (size_t)t->shape.nkeys + 1, sizeof *f->key);
	f->columns = arena_array(&t->arena, (size_t)t->shape.ncols + 1, sizeof *f->columns);
	copy_key(f->key, k->key, t->shape.nkeys, &t->arena);
	while (k->verdict == VERIFY_DIFFERENT && f->ncolumns < t->shape.ncols && (col = verify_key_column(k, f->ncolumns)) >= 0)
		f->columns[f->ncolumns++] = t->shape.cols[col].name;
}

static enum rc
pause_between(int round, struct err *err)
{
	int ms = PAUSE_MS * round > PAUSE_MS_MAX ? PAUSE_MS_MAX : PAUSE_MS * round;

	return verify_pause(round > 1 ? ms : 0, err);
}

/* Of the first BATCH. */
static int
open_keys(const struct rows *r, int *which)
{
	int n = 0;

	for (int i = 0; i < r->npending && i < BATCH; i++)
		if (r->pending[i].verdict == VERIFY_OPEN)
			which[n++] = i;
	return n;
}

/* Rows that change more often than a sink is looked at: it has to have one of the versions that the source has in the meantime. */
static enum rc
reach_glancing(struct rows *r, const struct verify_place *here, const int *which, int n, struct verify_row *rows, struct err *err)
{
	bool yes = false;
	enum rc rc;

	while ((rc = verify_reached(r->v, here, &yes, err)) == OK && !yes) {
		rc = look_at_keys(r, VERIFY_SOURCE, which, n, rows, err);
		for (int i = 0; i < n && rc == OK; i++)
			verify_key_glance(&r->pending[which[i]], rows[i]);
		if (rc != OK)
			return rc;
	}
	return rc;
}

/* Source, the log's end, the sink behind it. */
static enum rc
look_round(struct rows *r, int round, int *which, struct verify_row *rows, struct err *err)
{
	struct verify_place here;
	bool settled = false;
	int n = open_keys(r, which);
	enum rc rc = round ? verify_settle(r->v, &settled, err) : OK;

	if (rc == OK)
		rc = look_at_keys(r, VERIFY_SOURCE, which, n, rows, err);
	for (int i = 0; i < n && rc == OK; i++)
		verify_key_source(&r->pending[which[i]], rows[i], settled, r->v->strict);
	n = open_keys(r, which);
	if (rc != OK || !n)
		return rc;
	rc = verify_here(r->v, r->t->upto, &here, err);
	if (rc == OK)
		rc = round < GLANCE_ROUND || n > GLANCE_KEYS ? verify_reach(r->v, &here, err)
		    : reach_glancing(r, &here, which, n, rows, err);
	if (rc == OK)
		rc = look_at_keys(r, VERIFY_SINK, which, n, rows, err);
	for (int i = 0; i < n && rc == OK; i++)
		verify_key_sink(&r->pending[which[i]], rows[i], r->v->strict);
	return rc;
}

/* All but the first n. */
static void
forget_behind(struct rows *r, int n)
{
	for (int i = n; i < r->npending; i++)
		verify_key_drop(&r->pending[i]);
	r->npending = n;
	r->kept = r->kept < n ? r->kept : n;
	if (!n)
		arena_reset(&r->keys);
}

static void
forget_first(struct rows *r, int n)
{
	for (int i = 0; i < n; i++)
		verify_key_drop(&r->pending[i]);
	r->npending -= n;
	memmove(r->pending, r->pending + n, (size_t)r->npending * sizeof *r->pending);
	r->kept = r->kept > n ? r->kept - n : 0;
	if (!r->npending)
		arena_reset(&r->keys);
}

static bool
enough(const struct rows *r)
{
	return r->t->nfound >= r->v->limit;
}

static enum rc
decide_batch(struct rows *r, int *which, struct verify_row *rows, struct err *err)
{
	int64_t until = now_ms() + DECIDE_MS;
	int n = r->npending < BATCH ? r->npending : BATCH;
	enum rc rc = OK;

	for (int round = 0; rc == OK && (round < ROUNDS_MIN || now_ms() < until) && open_keys(r, which); round++) {
		rc = pause_between(round, err);
		if (rc == OK)
			rc = look_round(r, round, which, rows, err);
	}
	for (int i = 0; i < n && rc == OK; i++) {
		verify_key_end(&r->pending[i], r->v->strict);
		note_found(r, &r->pending[i]);
	}
	if (rc == OK)
		forget_first(r, n);
	return rc;
}

/* All that are pending, or as many as are asked for. After an error those that were not decided are pending still. */
static enum rc
decide(struct rows *r, struct err *err)
{
	int *which = calloc(BATCH, sizeof *which);
	struct verify_row *rows = calloc(BATCH, sizeof *rows);
	enum rc rc = OK;

	if (!which || !rows)
		die("out of memory");
	while (rc == OK && r->npending && !enough(r))
		rc = decide_batch(r, which, rows, err);
	if (rc == OK)
		forget_behind(r, 0);
	free(which);
	free(rows);
	return rc;
}

/* There is room for one. */
static void
suspect(struct rows *r, char *const *key)
{
	int n = r->t->shape.nkeys;
	struct verify_key *k;

	if (r->npending && verify_key_compare(r->pending[r->npending - 1].key, key, n) == 0)
		return;
	assert(r->npending < PENDING_MAX);
	k = &r->pending[r->npending++];
	*k = (struct verify_key){ .key = arena_array(&r->keys, (size_t)n, sizeof *k->key) };
	copy_key(k->key, key, n, &r->keys);
}

/* ---- rows of a range, both sides in one order ---- */

struct reader {
	PGconn *conn;
	PGresult *res;  /* one row; NULL: there are no more */
	char **key;
	const char *digest;
	int n;
};

static enum rc
read_row(struct reader *rd, struct err *err)
{
	enum rc rc;

	PQclear(rd->res);
	rc = verify_result(rd->conn, "list rows", &rd->res, err);
	if (rc != OK || !rd->res)
		return rc;
	if (PQresultStatus(rd->res) == PGRES_TUPLES_OK) { /* the end, without a row */
		PQclear(rd->res);
		return verify_result(rd->conn, "list rows", &rd->res, err);
	}
	if (PQresultStatus(rd->res) != PGRES_SINGLE_TUPLE) {
		rc = pg_fail(rd->conn, rd->res, err, "list rows");
		PQclear(rd->res);
		rd->res = NULL;
		return rc;
	}
	for (int i = 0; i < rd->n; i++)
		rd->key[i] = PQgetvalue(rd->res, 0, i);
	rd->digest = PQgetvalue(rd->res, 0, rd->n);
	return OK;
}

static enum rc
begin_reading(struct rows *r, enum verify_side side, const struct verify_range *range, struct reader *rd, struct err *err)
{
	PGconn *conn = r->v->scan[side];

	*rd = (struct reader){ .conn = conn, .n = r->t->shape.nkeys };
	rd->key = arena_array(&r->chunk, (size_t)rd->n, sizeof *rd->key);
	if (!PQsendQuery(conn, verify_sql_list(&r->t->shape, side, range, &r->chunk)) || !PQsetSingleRowMode(conn))
		return pg_fail(conn, NULL, err, "list rows");
	return OK;
}

/* Ends before the rows do when no more keys can wait: behind the last of them. */
static enum rc
merge(struct rows *r, struct reader *a, struct reader *b, bool counts, struct err *err)
{
	enum rc rc = read_row(a, err);

	if (rc == OK)
		rc = read_row(b, err);
	while (rc == OK && (a->res || b->res) && r->npending < PENDING_MAX) {
		int c = !a->res ? 1 : !b->res ? -1 : verify_key_compare(a->key, b->key, a->n);

		if (c || strcmp(a->digest, b->digest) != 0)
			suspect(r, c <= 0 ? a->key : b->key);
		if (counts && c <= 0 && ++r->t->rows % 1000 == 0)
			verify_print_progress(r->v, r->t);
		if (c <= 0)
			rc = read_row(a, err);
		if (rc == OK && c >= 0)
			rc = read_row(b, err);
	}
	return rc;
}

static enum rc
merge_range(struct rows *r, const struct verify_range *range, bool counts, struct err *err)
{
	struct reader rd[VERIFY_SIDES] = { { 0 } };
	enum rc rc = begin_reading(r, VERIFY_SOURCE, range, &rd[VERIFY_SOURCE], err);

	if (rc == OK)
		rc = begin_reading(r, VERIFY_SINK, range, &rd[VERIFY_SINK], err);
	if (rc == OK)
		rc = merge(r, &rd[VERIFY_SOURCE], &rd[VERIFY_SINK], counts, err);
	for (int i = 0; i < VERIFY_SIDES; i++) {
		struct err broken;

		PQclear(rd[i].res);
		if ((rc == OK || rc == REJECT) && verify_drop(r->v->scan[i], &broken) != OK) {
			*err = broken;
			rc = err->rc;
		}
	}
	return rc;
}

/* counts: its rows are not counted yet. */
static enum rc
compare_rows(struct rows *r, char *const *from, char *const *to, bool counts, struct err *err)
{
	struct verify_range range = { .from = from, .to = to };
	bool full = true;
	enum rc rc = r->npending == PENDING_MAX ? decide(r, err) : OK;

	while (rc == OK && full && !enough(r)) {
		rc = merge_range(r, &range, counts, err);
		full = r->npending == PENDING_MAX;
		if (rc != OK || !full)
			break;
		range.behind = arena_array(&r->chunk, (size_t)r->t->shape.nkeys, sizeof *range.behind);
		copy_key(range.behind, r->pending[PENDING_MAX - 1].key, r->t->shape.nkeys, &r->chunk);
		rc = decide(r, err);
	}
	return rc;
}

/* ---- chunks ---- */

static enum rc
find_bound(struct rows *r, char *const *from, char ***to, struct err *err)
{
	struct arena *a = &r->chunk;
	PGresult *res = NULL;
	enum rc rc = verify_ask(r->v->scan[VERIFY_SOURCE], "next chunk",
	    verify_sql_bound(&r->t->shape, from, r->v->chunk_rows, a), 0, NULL, &res, err);

	*to = NULL;
	if (rc == OK && PQntuples(res)) {
		*to = arena_array(a, (size_t)r->t->shape.nkeys, sizeof **to);
		for (int i = 0; i < r->t->shape.nkeys; i++)
			(*to)[i] = arena_text(a, slice_of(PQgetvalue(res, 0, i)));
	}
	PQclear(res);
	return rc == OK ? OK : fail_in(err, "source");
}

static enum rc
digests(struct rows *r, char *const *from, char *const *to, int64_t *rows, bool *same, struct err *err)
{
	const char *sql[VERIFY_SIDES];
	PGresult *res[VERIFY_SIDES] = { 0 };
	enum rc rc;

	for (int i = 0; i < VERIFY_SIDES; i++)
		sql[i] = verify_sql_digest(&r->t->shape, i, from, to, &r->chunk);
	rc = verify_ask_both(r->v, "digest of a chunk", sql, res, err);
	if (rc == OK) {
		*rows = strtoll(PQgetvalue(res[0], 0, 0), NULL, 10);
		*same = strcmp(PQgetvalue(res[0], 0, 0), PQgetvalue(res[1], 0, 0)) == 0 &&
		    strcmp(PQgetvalue(res[0], 0, 1), PQgetvalue(res[1], 0, 1)) == 0;
	}
	PQclear(res[0]);
	PQclear(res[1]);
	return rc;
}

/* *from: where the chunk begins, in at; moved behind it. *end: it was the last. */
static enum rc
compare_chunk(struct rows *r, struct arena *at, char ***from, bool *end, struct err *err)
{
	char **to = NULL;
	int64_t rows = 0;
	bool same = false;
	enum rc rc = find_bound(r, *from, &to, err);

	if (rc == OK)
		rc = digests(r, *from, to, &rows, &same, err);
	if (rc == OK && !same)
		rc = compare_rows(r, *from, to, false, err);
	if (rc != OK)
		return rc;
	r->t->rows += rows;
	r->kept = r->npending;
	*end = !to || enough(r);
	if (to) {
		struct arena next = { 0 };
		char **keys = arena_array(&next, (size_t)r->t->shape.nkeys, sizeof *keys);

		copy_key(keys, to, r->t->shape.nkeys, &next);
		arena_free(at);
		*at = next;
		*from = keys;
	}
	arena_reset(&r->chunk);
	return OK;
}

/* A connection that broke is made anew. What is pending is decided all the same; a chunk that was not read to its end is compared anew. */
static enum rc
again(struct rows *r, enum rc rc, struct err *err)
{
	struct verify_table *t = r->t;

	if (rc != RETRY || ++r->tries > VERIFY_TRIES)
		return rc;
	r->broken = true;
	arena_reset(&r->chunk);
	forget_behind(r, r->kept);
	for (int i = 0; i < r->npending; i++) {
		struct verify_key *k = &r->pending[i];

		verify_key_drop(k);
		*k = (struct verify_key){ .key = k->key };
	}
	rc = verify_reopen(r->v, r->tries, err);
	for (int i = 0; i < VERIFY_SIDES && rc == OK; i++)
		rc = verify_path(r->v, i, t->path[i], err);
	return rc == RETRY ? again(r, rc, err) : rc;
}

static enum rc
by_ranges(struct rows *r, struct err *err)
{
	struct arena at = { 0 };
	char **from = NULL;
	bool end = false;
	enum rc rc = OK;

	while (rc == OK && !end) {
		rc = compare_chunk(r, &at, &from, &end, err);
		if (rc == OK) {
			r->tries = 0;
			rc = r->npending >= BATCH ? decide(r, err) : OK;
			end = end || enough(r);
		}
		if (rc != OK)
			rc = again(r, rc, err);
		verify_print_progress(r->v, r->t);
	}
	arena_free(&at);
	return rc;
}

/* From its beginning again when a connection broke: what was found so far is found again. */
static enum rc
by_list(struct rows *r, struct err *err)
{
	struct verify_table *t = r->t;
	enum rc rc;

	do {
		t->rows = 0;
		t->nfound = 0;
		memset(t->counts, 0, sizeof t->counts);
		forget_behind(r, 0);
		rc = compare_rows(r, NULL, NULL, true, err);
	} while (rc == RETRY && (rc = again(r, rc, err)) == OK);
	r->kept = r->npending;
	return rc;
}

/* ---- without a key ---- */

static enum rc
look_at_all(struct rows *r, enum verify_side side, struct verify_row *out, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = verify_ask(r->v->scan[side], "digest of all rows", verify_sql_all(&r->t->shape, side, &r->chunk), 0, NULL, &res, err);

	*out = (struct verify_row){ 0 };
	if (rc == OK) {
		const char *text = arena_printf(&r->chunk, "%s:%s", PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));

		*out = (struct verify_row){ true, own(PQgetvalue(res, 0, 2)), own(text), strtoll(PQgetvalue(res, 0, 0), NULL, 10) };
		if (side == VERIFY_SOURCE)
			r->t->rows = out->rows;
	}
	PQclear(res);
	return rc == OK ? OK : fail_in(err, side == VERIFY_SOURCE ? "source" : "sink");
}

static enum rc
whole_round(struct rows *r, struct verify_key *k, int round, struct err *err)
{
	struct verify_place here;
	bool settled = false;
	struct verify_row row;
	enum rc rc = round ? verify_settle(r->v, &settled, err) : OK;

	if (rc == OK)
		rc = look_at_all(r, VERIFY_SOURCE, &row, err);
	if (rc != OK)
		return rc;
	verify_key_source(k, row, settled, r->v->strict);
	if (k->verdict != VERIFY_OPEN)
		return OK;
	rc = verify_here(r->v, r->t->upto, &here, err);
	if (rc == OK)
		rc = verify_reach(r->v, &here, err);
	if (rc == OK)
		rc = look_at_all(r, VERIFY_SINK, &row, err);
	if (rc == OK)
		verify_key_sink(k, row, r->v->strict);
	return rc;
}

/* The whole table as one row (verify_key.h): a difference is decided when one side stands still for two looks. */
static enum rc
as_a_whole(struct rows *r, struct err *err)
{
	struct verify_key k = { 0 };
	struct verify_table *t = r->t;
	enum rc rc = OK;

	for (int round = 0; rc == OK && round < WHOLE_ROUNDS_MAX && k.verdict == VERIFY_OPEN; round++) {
		rc = pause_between(round, err);
		if (rc == OK)
			rc = whole_round(r, &k, round, err);
		if (rc != OK && (rc = again(r, rc, err)) == OK) {
			verify_key_drop(&k);
			k = (struct verify_key){ 0 };
			round = 0;
		}
		arena_reset(&r->chunk);
		verify_print_progress(r->v, t);
	}
	if (rc == OK) {
		t->counts[k.verdict]++;
		if (k.verdict == VERIFY_DIFFERENT)
			t->note = arena_printf(&t->arena,
			    "%.*s rows at the source, %.*s at the sink; without a key nobody can say which differ",
			    (int)strcspn(k.source.cells, ":"), k.source.cells, (int)strcspn(k.sink.cells, ":"), k.sink.cells);
		else if (k.verdict == VERIFY_OPEN)
			t->note = "without a key only a table that stands still for a moment can be compared";
	}
	verify_key_drop(&k);
	return rc;
}

/* ---- the table ---- */

enum rc
verify_rows(struct verify *v, struct verify_table *t, struct err *err)
{
	struct rows r = { .v = v, .t = t };
	struct verify_place here;
	enum rc rc;

	r.pending = calloc(PENDING_MAX, sizeof *r.pending);
	if (!r.pending)
		die("out of memory");
	t->found = arena_array(&t->arena, (size_t)v->limit, sizeof *t->found);
	/* What was written before is at the sink from here on, so that every look is at it. */
	do {
		rc = verify_here(v, t->upto, &here, err);
		if (rc == OK)
			rc = verify_reach(v, &here, err);
	} while (rc == RETRY && (rc = again(&r, rc, err)) == OK);
	r.tries = 0;
	if (rc == OK)
		rc = !t->shape.nkeys ? as_a_whole(&r, err) : t->ranges ? by_ranges(&r, err) : by_list(&r, err);
	while (rc == OK && r.npending && (rc = decide(&r, err)) == RETRY && (rc = again(&r, rc, err)) == OK)
		;
	t->cut = enough(&r);
	t->state = t->counts[VERIFY_DIFFERENT] + t->counts[VERIFY_MISSING] + t->counts[VERIFY_EXTRA] ? VERIFY_DIFFERS
	    : t->counts[VERIFY_OPEN] ? VERIFY_UNDECIDED
	    : VERIFY_SAME;
	forget_behind(&r, 0);
	free(r.pending);
	arena_free(&r.keys);
	arena_free(&r.chunk);
	return rc;
}
