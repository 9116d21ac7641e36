/* The session of a sink that is fed from foreign topics: which partitions there are, and their records in the order of each key. */
#include "consumer/foreign_impl.h"
#include "core/log.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
	LOOK_MS = 3000,          /* between two looks for new topics and partitions */
	METADATA_MS = 15000,
	MISSING_MAX = 3,         /* looks at which a topic may be missing */
	ROUND_MAX = 1000,        /* records of one partition before the next one's turn */
	IDLE_MIN_MS = 2,
	IDLE_MAX_MS = 20,
	HALF_MS = 5000,          /* for the other half of a changed key, where it comes in the same partition */
	QUIET_MS = 2000,         /* a partition that gives nothing for so long is at its end */
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 15000,
};

/* ---- topics and partitions ---- */

static bool
matches(const struct foreign *f, const char *topic)
{
	const struct conf *c = f->kafka->conf;
	struct arena a = { 0 };
	const char *p = c->foreign_topics, *own = topic_own(&a, c->name, "");
	bool yes = false, ours = strncmp(topic, own, strlen(own)) == 0;

	while (*p && !yes) {
		char *one = arena_text(&a, (struct slice){ p, strcspn(p, ",") });

		/* Kafka's own topics, and Debezium's heartbeats, only when they are meant. */
		yes = fnmatch(one, topic, 0) == 0 && (strncmp(topic, "__", 2) != 0 || strncmp(one, "__", 2) == 0);
		p += strcspn(p, ",");
		p += *p == ',';
	}
	arena_free(&a);
	return yes && !ours && !(c->foreign_transactions && strcmp(topic, c->foreign_transactions) == 0);
}

static struct foreign_part *
part_find(struct foreign *f, const char *topic, int32_t partition)
{
	for (int i = 0; i < f->nparts; i++)
		if (f->parts[i]->fp->partition == partition && strcmp(f->parts[i]->fp->topic, topic) == 0)
			return f->parts[i];
	return NULL;
}

static const struct position *
stored_find(const struct foreign *f, const char *topic, int32_t partition)
{
	for (int i = 0; i < f->nstored; i++)
		if (f->stored[i].partition == partition && strcmp(f->stored[i].topic, topic) == 0)
			return &f->stored[i];
	return NULL;
}

/* Where the sink left it, or the topic's beginning. */
static enum rc
part_start(struct foreign *f, const char *topic, int32_t partition, int siblings, struct foreign_part **out, struct err *err)
{
	const struct position *at = stored_find(f, topic, partition);
	struct foreign_part *p = arena_new(&f->arena, struct foreign_part);
	int64_t low, high;
	enum rc rc = kafka_offsets(fetch_handle(f->fetch), topic, partition, &low, &high, err);

	if (rc != OK)
		return rc;
	if (at && (at->next < low || at->next > high))
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "%s [%d] holds offsets %" PRId64 " to %" PRId64
		    ", and this sink goes on at %" PRId64
		    ": %s; empty its tables and towline.position, and "
		    "begin anew from a snapshot of the source",
		    topic, partition, low, high, at->next,
		    at->next < low ? "retention passed it"
				   : "the topic was truncated or made anew");
	p->next = p->sent_next = at ? at->next : low;
	p->value_id = at ? at->value_id : 0;
	p->siblings = siblings;
	rc = fetch_part(f->fetch, slice_of(topic), partition, p->next, &p->fp, err);
	*out = p;
	return rc;
}

static enum rc
add_topic(struct foreign *f, const char *topic, int partitions, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < partitions && rc == OK; i++) {
		struct foreign_part *p = part_find(f, topic, i);

		if (!p) {
			if (f->nparts == f->parts_cap) {
				f->parts_cap = f->parts_cap ? f->parts_cap * 2 : 64;
				f->parts = realloc(f->parts, (size_t)f->parts_cap * sizeof(struct foreign_part *));
				if (!f->parts)
					die("out of memory");
			}
			rc = part_start(f, topic, i, partitions, &p, err);
			if (rc != OK)
				return rc;
			f->parts[f->nparts++] = p;
			log_info(f->at, "reading", "topic=%s partition=%d offset=%" PRId64, topic, i, p->next);
		}
		p->siblings = partitions;
		p->seen = true;
	}
	return rc;
}

static enum rc
add_transactions(struct foreign *f, const char *topic, int partitions, struct err *err)
{
	if (f->txns)
		return OK;
	if (partitions != 1)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "topic %s has %d partitions; the order of transactions is only known with one",
		    topic, partitions);
	return part_start(f, topic, 0, 1, &f->txns, err);
}

/* A topic that is gone for several looks was deleted: what it held is not all applied, and nobody can say. */
static enum rc
check_missing(struct foreign *f, struct err *err)
{
	for (int i = 0; i < f->nparts; i++)
		if (!f->parts[i]->seen) {
			if (++f->missing < MISSING_MAX)
				return OK;
			return fail_exit(err, FATAL, EXIT_REFUSED,
			    "%s [%d] does not exist any more: was the topic deleted? begin anew under another name",
			    f->parts[i]->fp->topic, f->parts[i]->fp->partition);
		}
	f->missing = 0;
	return OK;
}

enum rc
foreign_look(struct foreign *f, struct err *err)
{
	const char *transactions = f->kafka->conf->foreign_transactions;
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code = rd_kafka_metadata(fetch_handle(f->fetch), 1, NULL, &md, METADATA_MS);
	bool none = !f->nparts;
	enum rc rc = OK;

	if (code)
		return kafka_fail(code, err, "list the topics");
	for (int i = 0; i < f->nparts; i++)
		f->parts[i]->seen = false;
	for (int i = 0; i < md->topic_cnt && rc == OK; i++) {
		const struct rd_kafka_metadata_topic *t = &md->topics[i];

		if (f->whole && strcmp(t->topic, transactions) == 0)
			rc = add_transactions(f, t->topic, t->partition_cnt, err);
		else if (matches(f, t->topic))
			rc = add_topic(f, t->topic, t->partition_cnt, err);
	}
	rd_kafka_metadata_destroy(md);
	if (rc == OK && none && !f->nparts && !f->looked_ms)
		log_info(f->at, "no topic matches yet", "topics=%s", f->kafka->conf->foreign_topics);
	f->looked_ms = now_ms();
	return rc == OK ? check_missing(f, err) : rc;
}

/* ---- records ---- */

enum rc
foreign_head(struct foreign *f, struct foreign_part *p, int wait_ms, struct err *err)
{
	bool end;
	enum rc rc = OK;

	if (p->head && p->head_no == f->batch_no)
		return OK;
	if (!p->head)
		rc = fetch_next(f->fetch, p->fp, wait_ms, &p->head, &end, err);
	if (rc == OK)
		rc = foreign_decode(f, p, p->head, &p->fr, err);
	if (rc == OK)
		p->head_no = f->batch_no;
	return rc;
}

void
foreign_unjoin(struct foreign *f)
{
	if (f->moved)
		*batch_row(&f->batch) = f->moved_row;
	f->moved = NULL;
}

static enum rc
bad_record(struct foreign *f, const struct foreign_part *p, struct row *r, const char *why, struct err *err)
{
	if (f->conf->on_error != ON_ERROR_DEADLETTER)
		return fail(err, FATAL,
		    "%s [%d] offset %" PRId64
		    ": %s; to set such records aside set on_error: dead-letter",
		    p->fp->topic, r->partition, r->offset, why);
	aside_bad(&f->batch, r, why);
	return OK;
}

/*
 * The two halves of a changed key as one update: only so do columns survive that Debezium did not send again. In the order of keys
 * they stay a delete and an upsert where the new row is whole: a Debezium that was killed sends changes again, and then the row with
 * the new key is there already.
 */
static bool
join(struct foreign *f, struct row *r, enum foreign_half half)
{
	if (half != HALF_NEW || !f->moved || f->moved->tbl != r->tbl || (!f->whole && foreign_all_there(r->tbl, r->after)))
		return false;
	r->op = OP_UPDATE;
	r->moved = true;
	r->before = f->moved->before;
	r->held_from = f->moved->held;
	f->moved = NULL;
	return true;
}

enum rc
foreign_take(struct foreign *f, struct foreign_part *p, struct err *err)
{
	enum rc rc = foreign_head(f, p, 0, err);
	rd_kafka_message_t *m = p->head;
	struct row *r = &p->fr.row;
	const char *lacks;

	if (rc != OK)
		return rc;
	p->head = NULL;
	p->next = m->offset + 1;
	p->value_id = p->fr.value_id;
	if (p->fr.source_us)
		f->next.commit_us = p->fr.source_us;
	if (p->fr.kind == FOREIGN_NOTHING) {
		f->batch.bytes += m->len; /* about what was decoded of it */
		rd_kafka_message_destroy(m);
		return OK;
	}
	r->held = batch_hold(&f->batch, m);
	f->batch.bytes += m->len + m->key_len + sizeof *r + (r->tbl ? (size_t)r->tbl->ncols * sizeof(struct value) : 0);
	if (p->fr.half == HALF_OLD) {
		foreign_unjoin(f);
		f->moved_row = *r;
		f->moved = &f->moved_row;
		return OK;
	}
	if (p->fr.kind == FOREIGN_BAD) {
		foreign_unjoin(f);
		return bad_record(f, p, r, p->fr.why, err);
	}
	if (!join(f, r, p->fr.half)) {
		foreign_unjoin(f);
		lacks = r->after && r->op != OP_UPDATE ? foreign_lacks(f, r) : NULL;
		if (lacks)
			return bad_record(f, p, r, lacks, err);
	}
	*batch_row(&f->batch) = *r;
	return OK;
}

/* ---- order per key ---- */

/* The old half of a changed key is in hand: what follows it in its partition is its tombstone and, with one partition, the new half. */
static enum rc
take_half(struct foreign *f, struct foreign_part *p, struct err *err)
{
	int64_t until = now_ms() + (p->siblings == 1 ? HALF_MS : 0);
	enum rc rc = OK;

	while (rc == OK && f->moved) {
		rc = foreign_head(f, p, p->siblings == 1 ? 50 : 0, err);
		if (rc == AGAIN && now_ms() < until && !stop_requested())
			rc = OK;
		else if (rc == OK)
			rc = foreign_take(f, p, err);
	}
	foreign_unjoin(f);
	return rc == AGAIN ? OK : rc;
}

static enum rc take_next(struct foreign *f, struct foreign_part *p, struct err *err) MUST_CHECK;

/*
 * A truncate is in one partition of its topic, and concerns all. What the others hold from before
 * it must be in the batch first. The table is locked from the truncate to its commit, so the LSN
 * alone tells what is before; and Debezium wrote it behind all of that.
 */
static enum rc
catch_up(struct foreign *f, const struct foreign_part *at, struct foreign_part *p, struct err *err)
{
	int64_t low, high, heard = now_ms();
	uint64_t lsn = at->fr.row.lsn;
	enum rc rc = kafka_offsets(fetch_handle(f->fetch), p->fp->topic, p->fp->partition, &low, &high, err);

	/* Transactions' control records take offsets and never come: then silence is the end. */
	while (rc == OK && p->next < high && now_ms() - heard < QUIET_MS && !stop_requested()) {
		rc = foreign_head(f, p, 50, err);
		if (rc == AGAIN) {
			rc = OK;
			continue;
		}
		if (rc != OK || (p->fr.row.lsn && p->fr.row.lsn > lsn))
			return rc;
		if (p->fr.row.op == OP_TRUNCATE)
			rc = foreign_take(f, p, err);
		else
			rc = take_next(f, p, err);
		heard = now_ms();
	}
	return rc;
}

static enum rc
take_truncate(struct foreign *f, struct foreign_part *p, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < f->nparts && rc == OK; i++)
		if (f->parts[i] != p && strcmp(f->parts[i]->fp->topic, p->fp->topic) == 0)
			rc = catch_up(f, p, f->parts[i], err);
	return rc == OK ? foreign_take(f, p, err) : rc;
}

/* The head of p, and what belongs with it; the batch is committed when it is full. */
static enum rc
take_next(struct foreign *f, struct foreign_part *p, struct err *err)
{
	enum rc rc;

	if (p->fr.kind == FOREIGN_ROW && p->fr.row.op == OP_TRUNCATE && p->siblings > 1)
		rc = take_truncate(f, p, err);
	else
		rc = foreign_take(f, p, err);
	if (rc == OK && f->moved)
		rc = take_half(f, p, err);
	return rc == OK && foreign_full(f) ? foreign_commit(f, err) : rc;
}

static enum rc
key_round(struct foreign *f, struct err *err)
{
	bool any = false;
	enum rc rc = OK;

	for (int i = 0; i < f->nparts && rc == OK; i++) {
		for (int n = 0; n < ROUND_MAX && rc == OK; n++) {
			rc = foreign_head(f, f->parts[i], 0, err);
			if (rc == OK)
				rc = take_next(f, f->parts[i], err);
			any = any || rc == OK;
		}
		if (rc == AGAIN)
			rc = OK;
	}
	return rc == OK && !any ? AGAIN : rc;
}

/* ---- session ---- */

static enum rc
session_open(struct foreign *f, struct err *err)
{
	const struct sink_ops *ops;
	enum rc rc = sink_open(f->kafka->conf->name, f->conf, &f->sink, err);

	if (rc != OK)
		return rc;
	ops = f->sink->ops;
	rc = ops->marker(f->sink, &f->applied, err);
	if (rc == OK && f->applied.gen)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "the marker of %s was written from Towline's own topics; give the pipeline that reads foreign ones "
		    "another name",
		    f->kafka->conf->name);
	/* Order per key leaves partitions wherever they are; from there no transaction is whole. */
	if (rc == OK && f->whole && f->applied.no && f->applied.token != MODE_WHOLE)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "sink %s was filled in the order of keys, and so stands inside transactions; keep apply: key",
		    f->conf->name);
	if (rc == OK)
		rc = ops->positions->read(f->sink, &f->arena, &f->stored, &f->nstored, err);
	if (rc == OK)
		rc = foreign_load_parked(f, err);
	if (rc == OK)
		rc = fetch_open(f->kafka, &f->fetch, err);
	if (rc == OK)
		rc = decode_open(f->kafka, &f->decode, err);
	if (rc != OK)
		return rc;
	if (getrandom(&f->token, sizeof f->token, 0) != sizeof f->token)
		return fail(err, FATAL, "getrandom failed");
	f->dead = deadletter_open(f->kafka, f->conf->name);
	f->next = f->applied;
	rc = foreign_look(f, err);
	if (rc == OK)
		log_info(f->at, "applying foreign topics",
		    "pipeline=%s apply=%s partitions=%d transactions=%" PRIu64,
		    f->kafka->conf->name, f->conf->apply, f->nparts, f->applied.no);
	return rc;
}

static void
session_close(struct foreign *f)
{
	batch_free(&f->batch, foreign_release);
	for (int i = 0; i < f->nparts; i++)
		if (f->parts[i]->head)
			rd_kafka_message_destroy(f->parts[i]->head);
	if (f->txns && f->txns->head)
		rd_kafka_message_destroy(f->txns->head);
	if (f->sink) {
		f->sink->ops->abort(f->sink);
		f->sink->ops->close(f->sink);
	}
	decode_close(f->decode);
	deadletter_close(f->dead);
	parked_free(&f->parked);
	fetch_close(f->fetch);
	foreign_txn_free(f);
	free(f->parts);
	arena_free(&f->arena);
}

static enum rc
session_loop(struct foreign *f, struct err *err)
{
	int idle = IDLE_MIN_MS;
	enum rc rc = OK;

	gauge_set(f->gauge, GAUGE_RUNNING, NULL);
	while (rc == OK && !stop_requested() && !gauge_stopped(f->gauge)) {
		if (now_ms() - f->looked_ms >= LOOK_MS)
			rc = foreign_look(f, err);
		if (rc == OK)
			rc = f->whole ? foreign_txn_round(f, err) : key_round(f, err);
		if (rc == OK)
			idle = IDLE_MIN_MS;
		if (rc != AGAIN || stop_requested())
			continue;
		/* What is there at once joins the batch, what is not does not hold it up. */
		rc = foreign_commit(f, err);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, idle);
		idle = idle * 2 > IDLE_MAX_MS ? IDLE_MAX_MS : idle * 2;
	}
	if (rc == AGAIN)
		rc = OK;
	return rc == OK && !f->partial ? foreign_commit(f, err) : rc;
}

static enum rc
session(struct foreign *f, struct err *err)
{
	enum rc rc = session_open(f, err);

	if (rc == OK)
		rc = session_loop(f, err);
	if (rc == OK)
		log_info(f->at, "stopped", "transactions=%" PRIu64 " rows=%" PRIu64, f->applied.no, f->rows_committed);
	session_close(f);
	return rc;
}

enum rc
foreign_run(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number,
    struct gauge *gauge, struct err *err)
{
	int64_t backoff = BACKOFF_MIN_MS;

	while (!stop_requested() && !gauge_stopped(gauge)) {
		struct foreign f = { .kafka = k, .conf = conf, .flow = flow, .number = number, .gauge = gauge,
			.batch_bytes = fetch_batch_bytes(k, conf), .whole = strcmp(conf->apply, "key") != 0, .batch_no = 1 };
		int64_t opened_ms = now_ms();
		enum rc rc;

		snprintf(f.at, sizeof f.at, "sink %s", conf->name);
		rc = session(&f, err);
		if (rc == OK)
			break;
		if (rc != RETRY)
			return fail_in(err, "sink %s", conf->name);
		if (f.committed || now_ms() - opened_ms > BACKOFF_MAX_MS)
			backoff = BACKOFF_MIN_MS;
		gauge_set(gauge, GAUGE_RETRYING, err->text);
		log_warn(f.at, err->text, "retry_ms=%" PRId64, backoff);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)backoff);
		backoff = backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff * 2;
	}
	return OK;
}
