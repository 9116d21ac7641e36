/*
 * session_rows.c - the rows of one group: brought from their partitions, put in the order of the source, decoded into the batch.
 */
#include "consumer/session.h"
#include "consumer/assemble.h"
#include "core/log.h"
#include "core/now.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	WAIT_MS = 100,  /* for one record, between two looks at the stop flag */
	RANGE_MS = 30000, /* for a record that Kafka says it has */
	ASK_MS = 3000,  /* silence after which Kafka is asked whether it has it */
	PUMP_ROWS = 256, /* between two looks at what is on its way into the sink; and */
	PUMP_MS = 5,    /* ... where nothing comes from Kafka */
	LOST_MS = 8000, /* a range that was acknowledged, and is not there after so long, is lost; a new leader gets time to learn of it */
};

/* ---- rows ---- */

/* The row's message, and of a large row those before it, live as long as the batch. */
static void
hold(struct session *s, rd_kafka_message_t *m, struct row *r, bool large)
{
	struct batch *b = filling(s);

	r->held = b->nheld;
	if (large) {
		r->chunks = s->nparts;
		for (int i = 0; i < s->nparts; i++)
			batch_hold(b, s->parts[i]);
		s->nparts = 0;
	}
	batch_hold(b, m);
}

/*
 * A record that is no row of ours (tl NULL), or a bad one: never a crash, never a silent skip. It takes the message.
 * large: the last one of a large row's.
 */
static enum rc
bad_record(struct session *s, rd_kafka_message_t *m, const struct fetch_part *p,
    const struct tl *tl, bool large, struct err *err)
{
	struct batch *b = filling(s);
	int64_t offset = large ? s->parts_offset : m->offset;
	struct row row = { .topic = p->topic, .partition = m->partition, .offset = offset };

	if (s->conf->on_error != ON_ERROR_DEADLETTER) {
		rd_kafka_message_destroy(m);
		return fail(err, FATAL,
		    "%s [%d] offset %" PRId64
		    ": %s; to set such records aside set on_error: dead-letter",
		    p->topic, p->partition, offset, err->text);
	}
	if (tl) {
		row.seq = tl->seq;
		row.index = tl->index;
		row.lsn = tl->lsn;
	}
	if (tl && (tl->flags & TL_MOVED_TO) && s->f->moved) {
		aside_bad(b, s->f->moved, "the row with the new key cannot be read");
		s->f->moved = NULL;
	}
	hold(s, m, &row, large);
	b->bytes += m->len + m->key_len + sizeof row;
	aside_bad(b, &row, err->text);
	return OK;
}

/* sinks.NAME.tables */
static bool
wanted(struct session *s, const struct table *tbl)
{
	if (s->conf->ntables && s->asked != tbl)
		s->wanted = conf_sink_wants(s->conf, tbl->schema, tbl->name);
	s->asked = tbl;
	return !s->conf->ntables || s->wanted;
}

/* The sink does not take its table: it has been read, and that was all. It takes the message. What was decoded stays in the arena. */
static enum rc
pass_over(struct session *s, rd_kafka_message_t *m, const rd_kafka_message_t *whole, const struct table *tbl)
{
	filling(s)->bytes += (size_t)tbl->ncols * 2 * sizeof(struct value) + (whole != m ? whole->len : 0);
	for (int i = 0; i < s->nparts; i++)
		rd_kafka_message_destroy(s->parts[i]);
	s->nparts = 0;
	rd_kafka_message_destroy(m);
	return OK;
}

/* Decode one row into the batch. It takes the message m; what is decoded is whole: m itself, or m with the value of all chunks. */
static enum rc
put_row(struct session *s, rd_kafka_message_t *m, const rd_kafka_message_t *whole,
    const struct fetch_part *p, const struct tl *tl, struct err *err)
{
	struct batch *b = filling(s);
	struct envelope env;
	const struct table *tbl;
	struct value *key;
	struct row row = { 0 };
	enum rc rc = decode_record(s->decode, whole, tl, &b->arena, &env, &tbl, &key, err);

	if (rc == REJECT)
		return bad_record(s, m, p, tl, whole != m, err);
	if (rc == OK && s->lane && table_key_strays(tbl))
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "table %.*s.%.*s has another key in Kafka than its own (kafka.keys), so changes of one row may lie in several "
		    "partitions; "
		    "apply: key keeps no order between them: give this sink apply: transaction",
		    SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
	if (rc == OK && !wanted(s, tbl))
		return pass_over(s, m, whole, tbl);
	if (rc == OK && tl->flags & TL_BEGINS)
		rc = session_begins(s, tbl, &(struct names_at){ tl->seq, tl->index }, err);
	if (rc == OK) {
		decode_fill(&row, whole, p->topic, tl, &env, tbl);
		hold(s, m, &row, whole != m);
		b->bytes += m->len + m->key_len + (size_t)tbl->ncols * sizeof(struct value) * (size_t)(!!env.before + !!env.after);
		/* In a lane the halves of a changed key are two rows, as the other one may be another lane's; but not at a barrier. */
		if ((s->lane && !s->barrier) || follow_join(s->f, &row, tl->flags))
			*batch_row(b) = row;
		return OK;
	}
	rd_kafka_message_destroy(m);
	return rc;
}

/* Messages that may have to be copied into the dead letters are kept; of others the joined bytes are enough. */
static void
keep_part(struct session *s, rd_kafka_message_t *m)
{
	if (s->conf->on_error != ON_ERROR_DEADLETTER) {
		rd_kafka_message_destroy(m);
		return;
	}
	if (s->nparts == s->partcap) {
		s->partcap = s->partcap ? s->partcap * 2 : 64;
		s->parts = realloc(s->parts, (size_t)s->partcap * sizeof(*s->parts));
		if (!s->parts)
			die("out of memory");
	}
	s->parts[s->nparts++] = m;
}

/* A part of a large row. The parts come one behind the other, as all have the row's key. It takes the message. */
static enum rc
take_chunk(struct session *s, rd_kafka_message_t *m, const struct fetch_part *p,
    const struct tl *tl, struct err *err)
{
	struct batch *b = filling(s);
	struct slice value;
	rd_kafka_message_t whole;
	struct tl own;
	/* One such row in memory: what is on its way to the sink is let go of first. */
	enum rc rc = tl->number ? OK : session_settle(s, 0, err);

	if (rc == OK)
		rc = chunk_add(&s->chunk, tl, (struct slice){ m->payload, m->len },
		    (size_t)s->kafka->conf->memory_bytes, &b->arena, err);
	if (rc == AGAIN)
		rc = fail_exit(err, FATAL, EXIT_REFUSED,
		    "%s [%d] offset %" PRId64
		    ": the chunks of a large row are not in order; does something else write "
		    "into the topic?",
		    p->topic, m->partition, m->offset);
	if (rc != OK) {
		rd_kafka_message_destroy(m);
		return rc;
	}
	if (tl->number == 0)
		s->parts_offset = m->offset;
	b->bytes += m->len;
	if (!chunk_whole(&s->chunk)) {
		keep_part(s, m);
		return OK;
	}
	rc = chunk_take(&s->chunk, &value, &own, err);
	if (rc != OK)
		return bad_record(s, m, p, tl, true, err);
	whole = *m;
	whole.payload = (void *)(uintptr_t)value.p;
	whole.len = value.n;
	whole.offset = s->parts_offset;
	return put_row(s, m, &whole, p, &own, err);
}

static enum rc
take_row(struct session *s, rd_kafka_message_t *m, const struct fetch_part *p, const struct tl *tl,
    struct err *err)
{
	if (!p->own && follow_wants(s->f, tl))
		return tl->flags & TL_CHUNK ? take_chunk(s, m, p, tl, err)
					    : put_row(s, m, m, p, tl, err);
	rd_kafka_message_destroy(m);
	return OK;
}

/* ---- groups ---- */

/* What waits at the head of each partition of the group. */
struct heads {
	struct fetch_part **parts;
	rd_kafka_message_t **msgs;
	struct tl *tls;
	int n;
};

static enum rc
range_lost(const struct assemble *as, const struct heads *h, int i, struct err *err)
{
	const struct assemble_part *p = &as->parts[i];

	return fail_lost(err,
	    "%s [%d]: of the %" PRId64 " rows at offsets %" PRId64 " to %" PRId64
	    " that the spine promises %" PRId64 " are there: the topic was truncated or "
	    "made anew; copy the tables into this sink again",
	    h->parts[i]->topic, h->parts[i]->partition, p->count, p->first, p->last, p->taken);
}

/* The next record of part i; waits as long as it may still come. AGAIN: asked to stop. */
static enum rc
await(struct session *s, const struct assemble *as, const struct heads *h, int i, rd_kafka_message_t **m, struct err *err)
{
	const struct fetch_part *p = h->parts[i];
	int64_t begun, asked, high;
	bool end;
	enum rc rc = fetch_next(s->fetch, h->parts[i], 0, m, &end, err);

	if (rc != AGAIN)
		return rc;
	begun = asked = now_ms();
	for (;;) {
		rc = session_pump(s, err);
		if (rc != OK)
			return rc;
		rc = fetch_next(s->fetch, h->parts[i], s->sent[!s->fill].due ? PUMP_MS : WAIT_MS, m, &end, err);
		if (rc != AGAIN)
			return rc;
		if (session_finished(s) || (stopping(s) && (!s->flow || !stop_requested())))
			return AGAIN;
		if (now_ms() - asked < ASK_MS)
			continue;
		rc = s->kafka->broker ? OK : fetch_ask(s->fetch, p, &high, err);
		if (rc != OK)
			return rc;
		asked = now_ms();
		if (asked - begun >= (s->kafka->broker ? RANGE_MS : LOST_MS) && (s->kafka->broker || high <= as->parts[i].last))
			return range_lost(as, h, i, err);
		if (asked - begun >= RANGE_MS)
			return fail(err, RETRY, "%s [%d]: no record for %d s, though Kafka has it",
			    p->topic, p->partition, RANGE_MS / 1000);
	}
}

/* Bring the next record of part i; orphans and foreign records on the way are passed over, counted or set aside. */
static enum rc
bring(struct session *s, struct assemble *as, struct heads *h, int i, struct err *err)
{
	for (;;) {
		rd_kafka_message_t *m;
		struct err why;
		bool ours;
		enum rc rc = await(s, as, h, i, &m, err);
		enum assemble_verdict v;

		if (rc != OK)
			return rc;
		ours = decode_header(m, &h->tls[i], &why);
		v = assemble_offer(as, i, m->offset, ours ? &h->tls[i] : NULL);
		if (v == ASSEMBLE_ROW) {
			h->msgs[i] = m;
			return OK;
		}
		if (v == ASSEMBLE_BEYOND)
			rc = range_lost(as, h, i, err);
		else if (v == ASSEMBLE_FOREIGN) {
			*err = why;
			rc = bad_record(s, m, h->parts[i], NULL, false, err);
			m = NULL;
		} else if (s->flow)
			atomic_fetch_add(&s->flow->skipped[s->number], 1);
		if (m)
			rd_kafka_message_destroy(m);
		if (rc != OK)
			return rc;
	}
}

/* A lane reads others' partitions at a barrier only. */
static bool
theirs(const struct session *s, const struct spine_part *p)
{
	return s->lane && lanes_of(p->topic, p->partition, s->lane->of) != s->lane->no;
}

static enum rc
heads_open(struct session *s, const struct spine_record *g, struct heads *h, struct err *err)
{
	enum rc rc = OK;

	h->n = g->nparts;
	h->parts = arena_array(&s->group_arena, (size_t)g->nparts, sizeof *h->parts);
	h->msgs = arena_array(&s->group_arena, (size_t)g->nparts, sizeof *h->msgs);
	h->tls = arena_array(&s->group_arena, (size_t)g->nparts, sizeof *h->tls);
	for (int i = 0; i < g->nparts && rc == OK; i++) {
		const struct spine_part *p = &g->parts[i];

		/* What lies before a barrier's rows is the affair of the lane that has the partition. */
		rc = theirs(s, p) ? fetch_part(s->fetch, p->topic, p->partition, p->first, &h->parts[i], err)
		                  : fetch_rows(s->fetch, p->topic, p->partition, p->first, &h->parts[i], err);
	}
	return rc;
}

static void
heads_close(struct session *s, const struct spine_record *g, struct heads *h)
{
	for (int i = 0; i < h->n; i++) {
		if (h->msgs[i])
			rd_kafka_message_destroy(h->msgs[i]);
		if (h->parts[i] && theirs(s, &g->parts[i]))
			fetch_stop(h->parts[i]);
	}
}

/* A record up to the end of somebody else's rows. It takes the message. */
static enum rc
passed(struct session *s, rd_kafka_message_t *m, const struct fetch_part *p, int64_t first, struct err *err)
{
	struct tl tl;

	if (m->offset < first && !decode_header(m, &tl, err))
		return bad_record(s, m, p, NULL, false, err);
	if (m->offset < first && s->flow)
		atomic_fetch_add(&s->flow->skipped[s->number], 1);
	rd_kafka_message_destroy(m);
	return OK;
}

/* All rows of the group, in the order of the source, into batches. */
enum rc
session_take_rows(struct session *s, const struct spine_record *g, struct err *err)
{
	struct assemble as;
	struct heads h = { 0 };
	enum rc rc = heads_open(s, g, &h, err);

	assemble_begin(&as, g, &s->group_arena);
	while (rc == OK) {
		struct batch *b = filling(s);
		int i;

		while (rc == OK && (i = assemble_want(&as)) >= 0)
			rc = bring(s, &as, &h, i, err);
		if (rc != OK || (i = assemble_next(&as)) < 0)
			break;
		rc = take_row(s, h.msgs[i], h.parts[i], &h.tls[i], err);
		h.msgs[i] = NULL;
		if (rc == OK && ++s->taken % PUMP_ROWS == 0)
			rc = session_pump(s, err);
		/* Not between the halves of a changed key or the chunks of a row: what comes first lives in this batch. */
		if (rc == OK && !s->f->moved && !chunk_pending(&s->chunk) &&
		    (b->nrows >= s->conf->batch_rows * 2 ||
			b->bytes >= s->batch_bytes * 2))
			rc = session_stream(s, err);
	}
	heads_close(s, g, &h);
	return rc;
}

enum rc
session_pass_rows(struct session *s, const struct spine_record *g, struct err *err)
{
	struct assemble as;
	struct heads h = { 0 };
	enum rc rc = heads_open(s, g, &h, err);

	assemble_begin(&as, g, &s->group_arena);
	for (int i = 0; i < h.n && rc == OK; i++)
		while (rc == OK && h.parts[i]->at <= g->parts[i].last) {
			rd_kafka_message_t *m;

			rc = await(s, &as, &h, i, &m, err);
			if (rc == OK)
				rc = passed(s, m, h.parts[i], g->parts[i].first, err);
		}
	heads_close(s, g, &h);
	return rc;
}

bool
session_full(struct session *s)
{
	const struct batch *b = filling(s);

	return b->nrows >= s->conf->batch_rows || b->bytes >= s->batch_bytes;
}
