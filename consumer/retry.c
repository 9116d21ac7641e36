#include "consumer/retry.h"
#include "consumer/names.h"

#include <inttypes.h>
#include <stdlib.h>

enum { CHUNK = 1000 }; /* entries of one transaction */

struct retry {
	const struct retry_what *what;
	struct sink *sink;
	struct readback *back;
	struct batch batch;	    /* one key's changes */
	struct arena chunk;	    /* the entries at hand */
	struct parked want;	    /* what->id: the keys that belong together */
	struct parked failed;	    /* keys of which something failed: nothing behind it is tried */
	const char *schema, *table; /* of the entries to look at; NULL: any */
	struct parked_ids first;    /* of the entry that was asked for */
	int64_t *done;
	int ndone;
	bool progress;
	struct arena *arena; /* the caller's */
	struct retry_report *report;
	int failcap;
};

static void
release(void *msg)
{
	rd_kafka_message_destroy(msg);
}

static enum rc
no_such(const struct sink *s, int64_t id, struct err *err)
{
	return fail(err, FATAL,
	    "there is no dead letter %s/%" PRId64 "; 'towline dlq ls %s' lists them", s->conf->name,
	    id, s->conf->name);
}

static enum rc
find_first(struct retry *r, struct err *err)
{
	struct parked_query q = { .id = r->what->id, .limit = 1 };
	struct parked_entry *e;
	int n;
	enum rc rc = r->sink->ops->parking->read(r->sink, &q, &r->chunk, &e, &n, err);

	if (rc != OK)
		return rc;
	if (!n)
		return no_such(r->sink, q.id, err);
	if (!e->ids.n)
		return fail(err, FATAL,
		    "%s/%" PRId64 " cannot be tried again: whose change it is could not be read, so a newer one may be at the sink;"
		    " see 'towline dlq show %s/%" PRId64 "', put the row right by hand, then skip it",
		    r->sink->conf->name, q.id, r->sink->conf->name, q.id);
	r->first = e->ids;
	r->schema = arena_text(r->arena, slice_of(e->schema));
	r->table = arena_text(r->arena, slice_of(e->table));
	return OK;
}

/*
 * The keys that belong to the one asked for, through changes from one key to another. Anew in each transaction: a
 * change that came meanwhile may join a queue that was begun before it.
 */
static enum rc
find_want(struct retry *r, struct err *err)
{
	int before;
	enum rc rc = OK;

	parked_free(&r->want);
	parked_add(&r->want, slice_of(r->schema), slice_of(r->table), &r->first, 1);
	do {
		struct parked_query q = {
			.schema = r->schema, .table = r->table, .moved = true, .limit = CHUNK
		};
		struct parked_entry *e;
		int n;

		before = r->want.n;
		do {
			int64_t head;

			rc = r->sink->ops->parking->read(r->sink, &q, &r->chunk, &e, &n, err);
			for (int i = 0; rc == OK && i < n; i++) {
				if (parked_has(&r->want, &e[i].ids, &head))
					parked_add(&r->want, slice_of(r->schema),
					    slice_of(r->table), &e[i].ids, 1);
				q.after = e[i].id;
			}
		} while (rc == OK && n == CHUNK);
	} while (rc == OK && r->want.n > before);
	return rc;
}

/* ---- one key ---- */

static void
note_fail(struct retry *r, const struct parked_entry *e, const char *reason)
{
	struct retry_report *out = r->report;

	if (out->nfails == r->failcap) {
		int cap = r->failcap ? r->failcap * 2 : 16;
		struct retry_fail *more = arena_array(r->arena, (size_t)cap, sizeof *more);

		if (out->nfails)
			memcpy(more, out->fails, (size_t)out->nfails * sizeof *more);
		out->fails = more;
		r->failcap = cap;
	}
	out->fails[out->nfails++] = (struct retry_fail){ .id = e->id,
		.table = *e->table ? arena_printf(r->arena, "%s.%s", e->schema, e->table) : "-",
		.key = e->key ? arena_text(r->arena, slice_of(e->key)) : NULL,
		.reason = arena_text(r->arena, slice_of(reason)) };
}

/* Which of the entries the row that failed is: the sentence alone does not say. */
static void
note_part(struct retry *r, const struct parked_entry *e, int n, const int *part, int i,
    const struct parked_entry *bad, const char *reason)
{
	note_fail(r, bad, reason);
	for (int k = i; k < n; k++)
		if (part[k] == i) {
			parked_add(
			    &r->failed, slice_of(e[k].schema), slice_of(e[k].table), &e[k].ids, 1);
			r->report->fails[r->report->nfails - 1].waiting += &e[k] != bad;
		}
}

/* Its names are still those of the same columns; REJECT: they are not. */
static enum rc
check_names(struct retry *r, const struct parked_entry *e, const struct row *row, struct err *err)
{
	const char **notes;
	int n = 0;
	enum rc rc = OK;

	if (e->seq)
		rc = r->sink->ops->parking->names(r->sink, e, &r->chunk, &notes, &n, err);
	return rc == OK && n ? names_check(row->tbl, notes, n, err) : rc;
}

/* The changes of part i, from Kafka into the batch. *bad: the one that could not be had. */
static enum rc
gather(struct retry *r, const struct parked_entry *e, int n, const int *part, int i,
    const struct parked_entry **bad, struct err *err)
{
	enum rc rc = OK;

	batch_reset(&r->batch, release);
	for (int k = i; k < n && rc == OK; k++) {
		struct readback_change c = { 0 };

		if (part[k] != i)
			continue;
		*bad = &e[k];
		rc = readback_take(r->back, &e[k], &r->batch, &c, err);
		if (rc == OK)
			rc = check_names(r, &e[k], &c.row, err);
		if (rc == OK)
			rc = r->sink->ops->prepare(r->sink, c.row.tbl, err);
		if (rc == OK)
			*batch_row(&r->batch) = c.row;
	}
	return rc;
}

static bool
waits(const struct retry *r, const struct parked_entry *e, int n, const int *part, int i)
{
	int64_t head;

	for (int k = i; k < n; k++)
		if (part[k] == i && parked_has(&r->failed, &e[k].ids, &head))
			return true;
	return false;
}

static enum rc
try_part(
    struct retry *r, const struct parked_entry *e, int n, const int *part, int i, struct err *err)
{
	const struct parked_entry *bad = &e[i];
	int rows = 0;
	enum rc rc;

	if (!e[i].ids.n) {
		note_fail(r, &e[i],
		    "whose change it is could not be read, so a newer one may be at the sink: put the row right by hand, then skip it");
		return OK;
	}
	if (waits(r, e, n, part, i)) {
		for (int k = i; k < n; k++)
			if (part[k] == i)
				parked_add(&r->failed, slice_of(e[k].schema), slice_of(e[k].table),
				    &e[k].ids, 1);
		return OK;
	}
	rc = gather(r, e, n, part, i, &bad, err);
	if (rc == OK) {
		bad = NULL;
		rc = r->sink->ops->parking->try(r->sink, &r->batch, &rows, err);
	}
	for (int k = i; k < n && !bad; k++) /* the row after those that went in */
		if (part[k] == i && rows-- == 0)
			bad = &e[k];
	if (rc == REJECT) {
		note_part(r, e, n, part, i, bad ? bad : &e[i], err->text);
		return OK;
	}
	if (rc != OK)
		return rc;
	for (int k = i; k < n; k++)
		if (part[k] == i)
			r->done[r->ndone++] = e[k].id;
	r->report->keys++;
	r->report->changes += r->batch.nrows;
	r->progress = true;
	return OK;
}

/* ---- transactions ---- */

static enum rc
finish(struct retry *r, const struct marker *at, struct err *err)
{
	const struct sink_ops *ops = r->sink->ops;
	enum rc rc;

	if (!r->ndone) {
		ops->abort(r->sink);
		return OK;
	}
	rc = ops->parking->remove(r->sink, r->done, r->ndone, err);
	if (rc == OK)
		rc = ops->commit(r->sink, at, err);
	return rc == OK ? ops->settle(r->sink, 0, err) : rc;
}

/* The next entries of this pass, in one transaction. *after: the last one seen; *end: there are no more. */
static enum rc
try_chunk(struct retry *r, int64_t *after, bool *end, struct err *err)
{
	struct parked_query q = {
		.after = *after, .schema = r->schema, .table = r->table, .limit = CHUNK
	};
	struct parked_entry *e = NULL;
	struct marker at;
	int n = 0, part[CHUNK];
	int64_t head;
	enum rc rc;

	arena_reset(&r->chunk);
	r->ndone = 0;
	rc = r->sink->ops->parking->lock(r->sink, &at, err);
	if (rc == OK && r->what->id && !r->first.n)
		rc = find_first(r, err);
	if (rc == OK && r->what->id) {
		q.schema = r->schema;
		q.table = r->table;
		rc = find_want(r, err);
	}
	if (rc == OK)
		rc = r->sink->ops->parking->read(r->sink, &q, &r->chunk, &e, &n, err);
	if (rc != OK)
		return rc;
	parked_parts(e, n, part);
	for (int i = 0; i < n && rc == OK; i++)
		if (part[i] == i && (!r->what->id || parked_has(&r->want, &e[i].ids, &head)))
			rc = try_part(r, e, n, part, i, err);
	if (rc == OK)
		rc = finish(r, &at, err);
	*end = n < CHUNK;
	*after = n ? e[n - 1].id : *after;
	return rc;
}

static enum rc
try_pass(struct retry *r, struct err *err)
{
	int64_t after = 0;
	bool end = false;
	enum rc rc = OK;

	r->progress = false;
	r->report->nfails = 0;
	parked_free(&r->failed);
	while (rc == OK && !end)
		rc = try_chunk(r, &after, &end, err);
	return rc;
}

enum rc
retry_run(const struct kafka *k, const struct conf_sink *conf, const struct retry_what *what,
    struct arena *a, struct retry_report *out, struct err *err)
{
	struct retry r = { .what = what,
		.schema = what->schema,
		.table = what->table,
		.arena = a,
		.report = out };
	enum rc rc = sink_open(k->conf->name, conf, &r.sink, err);

	*out = (struct retry_report){ 0 };
	/* A parked row may be of a shape that its table has left behind: the sink must not follow it there. */
	if (rc == OK)
		r.sink->as_is = true;
	r.done = calloc(CHUNK, sizeof *r.done);
	if (!r.done)
		die("out of memory");
	if (rc == OK)
		rc = readback_open(k, &r.back, err);
	/* What failed may have needed what went in after it: a row that a foreign key refers to. */
	if (rc == OK)
		do
			rc = try_pass(&r, err);
		while (rc == OK && r.progress && out->nfails && !what->id);
	if (r.sink) {
		r.sink->ops->abort(r.sink);
		r.sink->ops->close(r.sink);
	}
	batch_free(&r.batch, release);
	readback_close(r.back);
	parked_free(&r.want);
	parked_free(&r.failed);
	arena_free(&r.chunk);
	free(r.done);
	return rc;
}

enum rc
retry_skip(const char *pipeline, const struct conf_sink *conf, int64_t id, struct err *err)
{
	struct parked_query q = { .id = id, .limit = 1 };
	struct arena a = { 0 };
	struct parked_entry *e;
	struct sink *s = NULL;
	struct marker at;
	int n = 0;
	enum rc rc = sink_open(pipeline, conf, &s, err);

	if (rc == OK)
		rc = s->ops->parking->lock(s, &at, err);
	if (rc == OK)
		rc = s->ops->parking->read(s, &q, &a, &e, &n, err);
	if (rc == OK && !n)
		rc = no_such(s, id, err);
	if (rc == OK)
		rc = s->ops->parking->remove(s, &id, 1, err);
	if (rc == OK)
		rc = s->ops->commit(s, &at, err);
	if (rc == OK)
		rc = s->ops->settle(s, 0, err);
	if (s) {
		s->ops->abort(s);
		s->ops->close(s);
	}
	arena_free(&a);
	return rc;
}
