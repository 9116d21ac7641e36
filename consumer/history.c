#include "consumer/history.h"
#include "consumer/assemble.h"
#include "consumer/chunk.h"
#include "consumer/decode.h"
#include "consumer/fetch.h"
#include "core/now.h"
#include "core/pg.h"
#include "core/stop.h"
#include "schemas/spine.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { WAIT_MS = 100, ANSWER_MS = 15000 };

/* A group that counts and was not given out yet. Where its last transaction goes on, those behind it decide about both. */
struct pending {
	struct pending *next;
	struct arena arena;
	struct spine_record r;
};

/* Where a partition begins. */
struct begin {
	char *key;
	int64_t low;
	UT_hash_handle hh;
};

struct history {
	const struct kafka *kafka;
	struct arena arena;
	const char *topic; /* NULL: all */
	uint64_t from;
	int64_t high; /* end of the spine at open */
	bool ended;   /* that was met: what Kafka writes there itself is no record */
	struct fetch *fetch;
	struct fetch_part *spine;
	struct decode *decode;
	struct spine_state state;
	struct pending *first, **last;
	bool decided;		   /* those pending may be given out */
	uint64_t cut_gen, cut_seq; /* a transaction that never ended */
	struct begin *begins;
	/* The first of those pending, while its rows are given out. */
	bool in_group;
	struct arena group;
	struct assemble as;
	struct fetch_part **parts;
	rd_kafka_message_t **heads;
	struct tl *tls;
	int nparts;
	rd_kafka_message_t *given; /* behind the entry that was given out */
	struct arena row;
	struct chunk chunk;
	struct arena joined;
};

/* ---- life ---- */

/* At its end: what holds there, and only what comes behind. */
static enum rc
skip_all(struct history *h, const char *topic, int64_t *low, struct err *err)
{
	enum rc rc = spine_log_state(fetch_handle(h->fetch), topic, &h->state, low, err);

	h->ended = true;
	return rc;
}

static enum rc
open_spine(struct history *h, struct err *err)
{
	const char *topic = topic_own(&h->arena, h->kafka->conf->name, "spine");
	int64_t low = 0;
	int n = 0;
	enum rc rc = fetch_open(h->kafka, &h->fetch, err);

	if (rc == OK)
		rc = kafka_partitions(fetch_handle(h->fetch), topic, &n, err);
	if (rc == OK && !n)
		rc = fail_exit(err, FATAL, EXIT_UNREACHABLE,
		    "there is no topic %s; has a producer of pipeline %s run against this Kafka?",
		    topic, h->kafka->conf->name);
	if (rc == OK)
		rc = kafka_offsets(fetch_handle(h->fetch), topic, 0, &low, &h->high, err);
	if (rc == OK && h->from == HISTORY_END)
		rc = skip_all(h, topic, &low, err);
	if (h->from == HISTORY_END)
		h->from = 0;
	if (rc == OK)
		rc = fetch_part(h->fetch, slice_of(topic), 0, low, &h->spine, err);
	return rc;
}

enum rc
history_open(
    const struct kafka *k, uint64_t from, const char *topic, struct history **out, struct err *err)
{
	struct history *h = calloc(1, sizeof *h);
	enum rc rc;

	if (!h)
		die("out of memory");
	h->kafka = k;
	h->from = from;
	h->last = &h->first;
	h->topic = topic ? arena_text(&h->arena, slice_of(topic)) : NULL;
	rc = open_spine(h, err);
	if (rc == OK)
		rc = decode_open(k, &h->decode, err);
	if (rc == OK)
		*out = h;
	else
		history_close(h);
	return rc;
}

static void
drop_first(struct history *h)
{
	struct pending *p = h->first;

	h->first = p->next;
	if (!h->first) {
		h->last = &h->first;
		h->decided = false;
	}
	arena_free(&p->arena);
	free(p);
}

static void
release_heads(struct history *h)
{
	for (int i = 0; i < h->nparts; i++)
		if (h->heads[i])
			rd_kafka_message_destroy(h->heads[i]);
	h->nparts = 0;
	h->in_group = false;
}

static void
release_given(struct history *h)
{
	if (h->given)
		rd_kafka_message_destroy(h->given);
	h->given = NULL;
}

void
history_close(struct history *h)
{
	struct begin *b, *tmp;

	if (!h)
		return;
	release_given(h);
	release_heads(h);
	while (h->first)
		drop_first(h);
	HASH_ITER (hh, h->begins, b, tmp) {
		HASH_DEL(h->begins, b);
		free(b->key);
		free(b);
	}
	decode_close(h->decode);
	fetch_close(h->fetch);
	arena_free(&h->joined);
	arena_free(&h->row);
	arena_free(&h->group);
	arena_free(&h->arena);
	free(h);
}

bool
history_current(const struct history *h)
{
	return !h->in_group && !h->decided && (h->ended || h->spine->at >= h->high);
}

/* ---- which groups ---- */

static struct pending *
push(struct history *h, const struct pending *p)
{
	struct pending *copy = malloc(sizeof *copy);

	if (!copy)
		die("out of memory");
	*copy = *p;
	*h->last = copy;
	h->last = &copy->next;
	return copy;
}

/* Only the parts of the topic that is asked for. */
static void
narrow(const struct history *h, struct spine_record *r)
{
	int n = 0;

	for (int i = 0; h->topic && i < r->nparts; i++)
		if (slice_is(r->parts[i].topic, h->topic))
			r->parts[n++] = r->parts[i];
	if (h->topic)
		r->nparts = n;
}

/* One record of the spine: what is pending may become decided. */
static enum rc
judge(struct history *h, struct pending *p, bool *kept, struct err *err)
{
	struct spine_record *r = &p->r;
	bool partial = h->state.partial;
	uint64_t gen = h->state.gen;

	switch (spine_step(&h->state, r)) {
	case SPINE_GAP:
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "the spine has a gap before group %" PRIu64 ": records are missing in Kafka",
		    r->no);
	case SPINE_STALE:
	case SPINE_REPEAT: return OK;
	case SPINE_ACCEPT: break;
	}
	if (r->kind == SPINE_OPEN &&
	    partial) { /* its writer was replaced: that transaction never was */
		h->cut_gen = gen;
		h->cut_seq = h->state.seq + 1;
		h->decided = h->first;
	}
	if (r->kind != SPINE_GROUP)
		return OK;
	narrow(h, r);
	push(h, p);
	*kept = true;
	h->decided = !(r->flags & SPINE_MORE);
	while (h->decided && r->lsn < h->from && h->first)
		drop_first(h);
	return OK;
}

/* Read the spine until something is decided. AGAIN: its end. */
static enum rc
read_spine(struct history *h, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && !h->decided) {
		struct pending p = { 0 };
		rd_kafka_message_t *m = NULL;
		bool end, kept = false;

		if (stop_requested())
			return AGAIN;
		rc = fetch_next(h->fetch, h->spine, WAIT_MS, &m, &end, err);
		h->ended = h->ended || (rc == AGAIN && end);
		if (rc != OK)
			return rc;
		rc = spine_take(arena_slice(&p.arena, (struct slice){ m->payload, m->len }),
		    &p.arena, &p.r, err);
		if (rc == REJECT)
			rc = fail_exit(err, FATAL, EXIT_REFUSED, "spine offset %" PRId64 ": %s",
			    m->offset, err->text);
		rd_kafka_message_destroy(m);
		if (rc == OK)
			rc = judge(h, &p, &kept, err);
		if (!kept)
			arena_free(&p.arena);
	}
	return rc;
}

/* ---- their rows ---- */

static enum rc
begin_of(struct history *h, const struct spine_part *p, int64_t *low, struct err *err)
{
	char key[300];
	struct begin *b;
	int64_t high;
	enum rc rc = OK;

	snprintf(key, sizeof key, "%.*s:%d", SLICE_ARG(p->topic), p->partition);
	HASH_FIND_STR(h->begins, key, b);
	if (!b) {
		b = calloc(1, sizeof *b);
		if (!b || !(b->key = strdup(key)))
			die("out of memory");
		rc = kafka_offsets(fetch_handle(h->fetch), arena_text(&h->group, p->topic),
		    p->partition, &b->low, &high, err);
		HASH_ADD_KEYPTR(hh, h->begins, b->key, strlen(b->key), b);
	}
	*low = b->low;
	return rc;
}

/* Are the rows of the group still there? *gone: not all. */
static enum rc
look(struct history *h, const struct spine_record *r, bool *gone, struct err *err)
{
	enum rc rc = OK;

	*gone = false;
	for (int i = 0; rc == OK && i < r->nparts; i++) {
		int64_t low = 0;

		rc = begin_of(h, &r->parts[i], &low, err);
		*gone = *gone || r->parts[i].first < low;
	}
	return rc;
}

static enum rc
begin_group(struct history *h, struct err *err)
{
	const struct spine_record *r = &h->first->r;
	char lsn[20], from[20];
	bool gone;
	enum rc rc;

	arena_reset(&h->group);
	rc = look(h, r, &gone, err);
	if (rc == OK && gone && h->from)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "the log in Kafka begins after LSN %s: rows of the transaction at %s are gone by retention; name a later LSN, or none "
		    "to begin where Kafka does",
		    pg_lsn_text(from, h->from), pg_lsn_text(lsn, r->lsn));
	if (rc == OK && gone) {
		drop_first(h);
		return OK;
	}
	h->nparts = r->nparts;
	h->parts = arena_array(&h->group, (size_t)r->nparts + 1, sizeof *h->parts);
	h->heads = arena_array(&h->group, (size_t)r->nparts + 1, sizeof *h->heads);
	h->tls = arena_array(&h->group, (size_t)r->nparts + 1, sizeof *h->tls);
	for (int i = 0; rc == OK && i < r->nparts; i++)
		rc = fetch_part(h->fetch, r->parts[i].topic, r->parts[i].partition,
		    r->parts[i].first, &h->parts[i], err);
	assemble_begin(&h->as, r, &h->group);
	h->in_group = rc == OK;
	return rc;
}

/* The next row of part i. AGAIN: asked to stop. */
static enum rc
bring(struct history *h, int i, struct err *err)
{
	int64_t until = now_ms() + ANSWER_MS;
	struct fetch_part *p = h->parts[i];

	for (;;) {
		rd_kafka_message_t *m = NULL;
		struct err why;
		bool end, ours;
		enum assemble_verdict v;
		enum rc rc = fetch_next(h->fetch, p, WAIT_MS, &m, &end, err);

		if (rc == AGAIN && stop_requested())
			return AGAIN;
		if (rc == AGAIN && now_ms() > until)
			return fail(err, RETRY, "%s [%d]: no record for %d s", p->topic,
			    p->partition, ANSWER_MS / 1000);
		if (rc == AGAIN)
			continue;
		if (rc != OK)
			return rc;
		ours = decode_header(m, &h->tls[i], &why);
		v = assemble_offer(&h->as, i, m->offset, ours ? &h->tls[i] : NULL);
		if (v == ASSEMBLE_ROW) {
			h->heads[i] = m;
			return OK;
		}
		rd_kafka_message_destroy(m);
		if (v == ASSEMBLE_BEYOND)
			return fail_exit(err, FATAL, EXIT_REFUSED,
			    "%s [%d]: rows that the spine promises are not there", p->topic,
			    p->partition);
	}
}

static bool
wanted(const struct history *h, const struct fetch_part *p, const struct tl *tl)
{
	if (p->own || (tl->flags & TL_TOMBSTONE) || tl->lsn < h->from)
		return false;
	return !h->cut_gen || tl->gen != h->cut_gen || tl->seq != h->cut_seq;
}

/* The row in message m, of a large one the last chunk. AGAIN: it is not whole yet. */
static enum rc
decode(struct history *h, rd_kafka_message_t *m, const struct tl *tl, struct history_entry *out,
    struct err *err)
{
	rd_kafka_message_t whole = *m;
	struct value *key = NULL;
	struct slice value;
	enum rc rc = OK;

	*out = (struct history_entry){ .tl = *tl, .partition = m->partition, .offset = m->offset };
	if (tl->flags & TL_CHUNK) {
		if (tl->number == 0)
			arena_reset(&h->joined);
		rc = chunk_add(&h->chunk, tl, (struct slice){ m->payload, m->len },
		    (size_t)h->kafka->conf->memory_bytes, &h->joined, err);
		if (rc == FATAL) /* too large for us: said, and passed over */
			rc = REJECT;
		if (rc == OK && !chunk_whole(&h->chunk))
			return AGAIN;
		if (rc == OK)
			rc = chunk_take(&h->chunk, &value, &out->tl, err);
		if (rc == OK) {
			whole.payload = (void *)(uintptr_t)value.p;
			whole.len = value.n;
		}
	}
	arena_reset(&h->row);
	if (rc == OK)
		rc = decode_record(
		    h->decode, &whole, &out->tl, &h->row, &out->env, &out->tbl, &key, err);
	out->key = key;
	return rc == REJECT ? fail_in(err, "%s [%d] offset %" PRId64, rd_kafka_topic_name(m->rkt),
				  m->partition, m->offset)
			    : rc;
}

/* The next wanted row of the group at hand. AGAIN: there is no more; the group is dropped. */
static enum rc
next_row(struct history *h, struct history_entry *out, struct err *err)
{
	for (;;) {
		int i;
		enum rc rc = OK;

		release_given(h);
		while (rc == OK && (i = assemble_want(&h->as)) >= 0)
			rc = bring(h, i, err);
		if (rc != OK)
			return rc;
		i = assemble_next(&h->as);
		if (i < 0) {
			release_heads(h);
			drop_first(h);
			return AGAIN;
		}
		h->given = h->heads[i];
		h->heads[i] = NULL;
		if (!wanted(h, h->parts[i], &h->tls[i]))
			continue;
		rc = decode(h, h->given, &h->tls[i], out, err);
		if (rc != AGAIN)
			return rc;
	}
}

enum rc
history_next(struct history *h, struct history_entry *out, struct err *err)
{
	release_given(h);
	for (;;) {
		enum rc rc = OK;

		if (!h->in_group && !h->decided)
			rc = read_spine(h, err);
		if (rc == OK && !h->in_group)
			rc = begin_group(h, err);
		if (rc == OK && h->in_group)
			rc = next_row(h, out, err);
		else if (rc == OK)
			continue;
		if (rc != AGAIN || stop_requested() || history_current(h))
			return rc;
	}
}
