#include "consumer/aside.h"
#include "core/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum { LOGGED_MAX = 20 }; /* of one batch */

/* What is to be put away, in the order of the source. */
struct load {
	struct arena arena;
	struct parked_entry *entries;
	const struct row **rows;
	bool *waits;
	int n;
	const struct table **dropped; /* truncated here */
	int ndropped;
	int64_t ignored; /* places of further chunks */
};

static bool
same_table(const struct table *a, const struct table *b)
{
	return a && b && slice_eq(a->schema, b->schema) && slice_eq(a->name, b->name);
}

static void
take_truncate(struct load *l, const struct table *tbl)
{
	int kept = 0;

	for (int i = 0; i < l->n; i++)
		if (!same_table(l->rows[i]->tbl, tbl)) {
			l->entries[kept] = l->entries[i];
			l->waits[kept] = l->waits[i];
			l->rows[kept++] = l->rows[i];
		}
	l->n = kept;
	for (int i = 0; i < l->ndropped; i++)
		if (same_table(l->dropped[i], tbl))
			return;
	l->dropped[l->ndropped++] = tbl;
}

static const char *
key_text(const struct row *r, struct arena *a)
{
	struct buf json = { 0 };
	const char *text;

	if (!r->tbl)
		return NULL;
	parked_key_json(r, &json);
	text = json.n ? arena_text(a, buf_view(&json)) : NULL;
	buf_free(&json);
	return text;
}

static void
take_entry(struct load *l, const struct row *r, const struct batch *b, bool waits,
    const char *reason, struct buf *scratch)
{
	struct parked_entry *e = &l->entries[l->n];

	*e = (struct parked_entry){ .topic = r->topic,
		.partition = r->partition,
		.offset = r->offset,
		.from_partition = -1,
		.from_offset = -1,
		.copy = -1,
		.from_copy = -1,
		.schema = r->tbl ? arena_text(&l->arena, r->tbl->schema) : "",
		.table = r->tbl ? arena_text(&l->arena, r->tbl->name) : "",
		.key = key_text(r, &l->arena),
		.op = r->op ? r->op : '?',
		.seq = r->seq,
		.index = r->index,
		.lsn = r->lsn,
		.reason = reason };
	if (r->tbl)
		parked_ids(r, scratch, &e->ids);
	if (r->moved) {
		const rd_kafka_message_t *from = b->held[r->held_from];

		e->from_partition = from->partition;
		e->from_offset = from->offset;
	}
	l->waits[l->n] = waits;
	l->rows[l->n++] = r;
}

static void
collect(struct load *l, const struct batch *b, const struct reject *rejects, int nrejects,
    struct buf *scratch)
{
	size_t room = (size_t)b->nrows + 1;
	int next = 0;

	l->entries = arena_array(&l->arena, room, sizeof *l->entries);
	l->rows = arena_array(&l->arena, room, sizeof *l->rows);
	l->waits = arena_array(&l->arena, room, sizeof *l->waits);
	l->dropped = arena_array(&l->arena, room, sizeof *l->dropped);
	for (int i = 0; i < b->nrows; i++) {
		const struct row *r = &b->rows[i];

		if (r->aside == ASIDE_WAITS) {
			take_entry(l, r, b, true, "", scratch);
		} else if (r->aside == ASIDE_BAD) {
			take_entry(l, r, b, false, r->why, scratch);
		} else if (next < nrejects && rejects[next].row == r) {
			take_entry(l, r, b, rejects[next].waits, rejects[next].reason, scratch);
			next++;
		} else if (r->op == OP_TRUNCATE) {
			take_truncate(l, r->tbl);
		}
	}
}

/* Numbers, and behind what each waits. */
static void
number(struct load *l, struct parked *set, int64_t first)
{
	for (int i = 0; i < l->n; i++) {
		struct parked_entry *e = &l->entries[i];

		e->id = first + i;
		if (l->waits[i]) {
			parked_has(set, &e->ids, &e->behind);
			e->reason = arena_printf(&l->arena, "waits behind %" PRId64, e->behind);
		}
		parked_add(set, slice_of(e->schema), slice_of(e->table), &e->ids,
		    e->behind ? e->behind : e->id);
	}
}

/* All chunks of a large row; the first one's place is the row's. */
static enum rc
put_messages(struct load *l, struct deadletter *dead, void *const *held, int more,
    const struct parked_entry *e, int64_t *copy, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i <= more && rc == OK; i++)
		rc =
		    deadletter_put(dead, held[i], e->topic, e->reason, i ? &l->ignored : copy, err);
	return rc;
}

static enum rc
put_copies(struct load *l, struct deadletter *dead, const struct batch *b, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < l->n && rc == OK; i++) {
		const struct row *r = l->rows[i];
		struct parked_entry *e = &l->entries[i];

		if (r->moved)
			rc = put_messages(
			    l, dead, &b->held[r->held_from], r->chunks_from, e, &e->from_copy, err);
		if (rc == OK)
			rc = put_messages(l, dead, &b->held[r->held], r->chunks, e, &e->copy, err);
	}
	return rc == OK ? deadletter_flush(dead, err) : rc;
}

static void
tell(const struct load *l, const char *at)
{
	int waiting = 0, said = 0;

	for (int i = 0; i < l->n; i++) {
		const struct parked_entry *e = &l->entries[i];

		waiting += l->waits[i];
		if (!l->waits[i] && said++ < LOGGED_MAX)
			log_warn(at, "change parked in the dead letters",
			    "id=%" PRId64
			    " table=%s.%s key=%s topic=%s partition=%d offset=%" PRId64
			    " reason=\"%s\"",
			    e->id, e->schema, e->table, e->key ? e->key : "-", e->topic,
			    e->partition, e->offset, e->reason);
	}
	if (said > LOGGED_MAX)
		log_warn(at, "further changes parked in the dead letters", "changes=%d",
		    said - LOGGED_MAX);
	if (waiting)
		log_debug(at, "changes wait behind parked ones", "changes=%d", waiting);
}

static enum rc
drop_tables(struct load *l, const struct aside_place *p, int64_t *n, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < l->ndropped && rc == OK; i++) {
		const struct table *t = l->dropped[i];
		int64_t dropped = 0;

		rc = p->sink->ops->parking->drop_table(p->sink, t, &dropped, err);
		*n -= dropped;
		if (dropped)
			log_info(p->at, "parked changes are void: their table was truncated",
			    "table=%.*s.%.*s changes=%" PRId64, SLICE_ARG(t->schema),
			    SLICE_ARG(t->name), dropped);
	}
	return rc;
}

enum rc
aside_store(const struct aside_place *p, const struct batch *b, const struct reject *rejects,
    int nrejects, int64_t *n, struct err *err)
{
	struct load l = { 0 };
	int64_t first = 0;
	bool told;
	enum rc rc = OK;

	*n = 0;
	if (!b->special && !nrejects)
		return OK;
	collect(&l, b, rejects, nrejects, &p->parked->scratch);
	rc = drop_tables(&l, p, n, err);
	told = *n || (p->barrier && l.n);
	if (rc == OK && told)
		rc = p->sink->ops->parking->tell_lanes(p->sink, err);
	if (rc != OK || !l.n)
		goto out;
	rc = p->sink->ops->parking->ids(p->sink, l.n, &first, err);
	if (rc != OK)
		goto out;
	number(&l, p->parked, first);
	rc = parked_bounded(p->parked, p->sink->conf->name, err);
	if (rc == OK)
		rc = put_copies(&l, p->dead, b, err);
	if (rc == OK)
		rc = p->sink->ops->parking->put(p->sink, l.entries, l.n, err);
	if (rc == OK)
		tell(&l, p->at);
	*n += l.n;
	p->parked->entries += *n;
out:
	arena_free(&l.arena);
	return rc;
}

void
aside_bad(struct batch *b, const struct row *r, const char *why)
{
	struct row *bad = batch_row(b);

	*bad = *r;
	bad->aside = ASIDE_BAD;
	bad->why = arena_text(&b->arena, slice_of(why));
	b->special = true;
}
