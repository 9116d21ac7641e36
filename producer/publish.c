#include "producer/publish.h"
#include "core/log.h"
#include "core/stop.h"
#include "producer/lane.h"
#include "schemas/codec.h"
#include "schemas/header.h"
#include "schemas/registry.h"
#include "schemas/schema.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

/*
 * Records on their way at most. Below the limits of librdkafka's own queue (core/kafka.c), so that the source is not read further while
 * Kafka takes nothing, rather than a change standing half handed over: the loop goes on and the source hears from us.
 */
enum { QUEUED_MAX = 100000, QUEUED_BYTES = 16 << 20 };

/* A topic: several table versions may write to it, one table only. */
struct topic {
	const char *name;
	rd_kafka_topic_t *rkt[LANES];
	int partitions;
	uint32_t slot;          /* of partition 0; the others follow */
	struct slice owner;     /* "schema.table" */
	UT_hash_handle hh;
};

/* How one table version is written. */
struct route {
	const struct table *tbl;
	struct topic *topic;
	struct writer *writer;
	struct frame key, value;
	UT_hash_handle hh;
};

struct publisher {
	const struct kafka *kafka;
	struct inflight *inflight;
	struct arena arena;     /* topics, routes, writers: as long as the source's table versions */
	struct lane lanes[LANES];
	int nlanes;             /* one without Kafka transactions */
	int lane;               /* of the newest group */
	uint64_t lane_no;       /* its number */
	struct {
		int lane, run;      /* run: how many groups before it are in the same Kafka transaction */
	} groups[INFLIGHT_GROUPS];
	int fd;
	struct registry *registry;
	struct topic *topics;
	struct route *routes;
	struct route *last;     /* of the change before: most often the same */
	struct topic **slots;   /* slot -> topic */
	uint32_t nslots;
	struct topic *spine;
	struct route *message;  /* logical messages; NULL until the first */
	const char *database;
	size_t queued, queued_bytes; /* records handed over and not acknowledged */
	struct arena row;       /* substituted rows */
	struct buf keybuf, valuebuf, header;
};

/* ---- open and close ---- */

static enum rc
topic_open(struct publisher *p, const char *name, int partitions, enum topic_keep keep, struct slice owner, struct topic **out, struct err *err)
{
	struct topic *t;
	int known;
	enum rc rc;

	HASH_FIND_STR(p->topics, name, t);
	if (t && !slice_eq(t->owner, owner))
		return fail_exit(err, FATAL, EXIT_CONFIG, "tables %.*s and %.*s both map to topic %s; tell them apart with kafka.topic", SLICE_ARG(t->owner),
		    SLICE_ARG(owner), name);
	if (t) {
		*out = t;
		return OK;
	}
	t = arena_new(&p->arena, struct topic);
	t->name = arena_text(&p->arena, slice_of(name));
	t->owner = arena_slice(&p->arena, owner);
	rc = kafka_topic_ensure(p->kafka, p->lanes[0].rk, t->name, partitions, keep, &t->partitions, err);
	if (rc != OK)
		return rc;
	for (int i = 0; i < p->nlanes; i++)
		t->rkt[i] = rd_kafka_topic_new(p->lanes[i].rk, t->name, NULL);
	/* Each handle has to hear of the topic before it can send, and asks by itself only once a second. */
	for (int i = 1; i < p->nlanes && rc == OK; i++)
		rc = kafka_partitions(p->lanes[i].rk, t->name, &known, err);
	if (rc != OK)
		return rc;
	t->slot = p->nslots;
	p->slots = realloc(p->slots, (p->nslots + (uint32_t)t->partitions) * sizeof(*p->slots));
	if (!p->slots)
		die("out of memory");
	for (int i = 0; i < t->partitions; i++)
		p->slots[p->nslots++] = t;
	HASH_ADD_KEYPTR(hh, p->topics, t->name, strlen(t->name), t);
	*out = t;
	return OK;
}

enum rc
publisher_open(const struct kafka *k, const char *database, struct inflight *inflight, struct publisher **out, struct err *err)
{
	struct publisher *p = calloc(1, sizeof *p);
	enum rc rc = OK;

	if (!p)
		die("out of memory");
	p->kafka = k;
	p->database = database;
	p->inflight = inflight;
	p->fd = -1;
	p->nlanes = k->conf->transactions ? LANES : 1;
	for (int i = 0; i < p->nlanes && rc == OK; i++)
		rc = lane_open(k, i, &p->fd, &p->lanes[i], err);
	if (rc == OK)
		rc = topic_open(p, topic_own(&p->arena, k->conf->name, "spine"), 1, TOPIC_FOREVER, SLICE_LIT("the spine"), &p->spine, err);
	if (rc == OK && p->spine->partitions != 1)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "topic %s has %d partitions, it must have one; delete it, it is made anew", p->spine->name,
		    p->spine->partitions);
	if (rc == OK)
		rc = registry_open(k, true, &p->registry, err);
	if (rc != OK) {
		publisher_close(p);
		return rc;
	}
	*out = p;
	return OK;
}

void
publisher_close(struct publisher *p)
{
	struct topic *t, *tmp;
	struct route *r, *rtmp;

	if (!p)
		return;
	registry_close(p->registry);
	HASH_ITER (hh, p->routes, r, rtmp)
		HASH_DEL(p->routes, r);
	HASH_ITER (hh, p->topics, t, tmp) {
		HASH_DEL(p->topics, t);
		for (int i = 0; i < p->nlanes; i++)
			rd_kafka_topic_destroy(t->rkt[i]);
	}
	for (int i = 0; i < p->nlanes; i++)
		lane_close(&p->lanes[i]);
	if (p->fd >= 0)
		close(p->fd);
	free(p->slots);
	buf_free(&p->keybuf);
	buf_free(&p->valuebuf);
	buf_free(&p->header);
	arena_free(&p->row);
	arena_free(&p->arena);
	free(p);
}

int
publisher_fd(const struct publisher *p)
{
	return p->fd;
}

bool
publisher_full(const struct publisher *p)
{
	return p->queued >= QUEUED_MAX || p->queued_bytes >= QUEUED_BYTES;
}

rd_kafka_t *
publisher_handle(struct publisher *p)
{
	return p->lanes[0].rk;
}

/* ---- Kafka transactions ---- */

/*
 * Does the next group go on in the same Kafka transaction? It does when they share a source transaction: truncates cut those. Not without
 * end: nothing of it is read back before it is committed, and the ring of groups is finite.
 */
static bool
goes_on(const struct publisher *p, const struct group *g)
{
	return (g->flags & SPINE_MORE) && p->groups[g->no % INFLIGHT_GROUPS].run < INFLIGHT_GROUPS / 2;
}

/* The group before number `no`, while it is on its way; or NULL. */
static const struct group *
group_before(const struct publisher *p, uint64_t no)
{
	return no > p->inflight->first_no ? &p->inflight->ring[(no - 1) % INFLIGHT_GROUPS] : NULL;
}

/* Lanes for all groups up to number `no`; a group without rows has not asked for its own. */
static void
assign_lanes(struct publisher *p, uint64_t no)
{
	if (p->lane_no + 1 < p->inflight->first_no)
		p->lane_no = p->inflight->first_no - 1;
	while (p->lane_no < no) {
		const struct group *before = group_before(p, ++p->lane_no);
		bool same = before && goes_on(p, before);

		if (p->nlanes > 1 && !same)
			p->lane = !p->lane;
		p->groups[p->lane_no % INFLIGHT_GROUPS].lane = p->lane;
		p->groups[p->lane_no % INFLIGHT_GROUPS].run = same ? p->groups[before->no % INFLIGHT_GROUPS].run + 1 : 0;
	}
}

static int
lane_of(struct publisher *p, const struct group *g)
{
	assign_lanes(p, g->no);
	return p->groups[g->no % INFLIGHT_GROUPS].lane;
}

/*
 * Its lane is free, and the rows of the group before are acknowledged: those are another handle's, and rows of two handles may pass each
 * other on the way to one partition.
 */
bool
publisher_room(struct publisher *p, uint64_t no)
{
	const struct group *before = group_before(p, no);

	assign_lanes(p, no - 1);
	if (p->nlanes == 1 || (before && goes_on(p, before)))
		return true;
	return p->lanes[!p->lane].state == LANE_IDLE && (!before || (before->closed && before->acked == before->sent));
}

/*
 * One uncommitted spine record at a time. With the next one sent before this one is committed, an abort of this one and a commit of the
 * next would leave a gap in the spine.
 */
bool
publisher_spine_room(const struct publisher *p)
{
	for (int i = 0; i < p->nlanes; i++)
		if (p->lanes[i].state == LANE_SPINE)
			return false;
	return true;
}

enum rc
publisher_abort(struct publisher *p, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < p->nlanes; i++) {
		for (int tries = 0; tries < 20 && rc == OK && p->lanes[i].state == LANE_ROWS && rd_kafka_outq_len(p->lanes[i].rk); tries++)
			rc = publish_serve(p, 100, err);
		lane_abort(&p->lanes[i]);
	}
	return rc;
}

bool
publisher_fenced(const struct publisher *p)
{
	for (int i = 0; p && i < p->nlanes; i++)
		if (p->lanes[i].fenced)
			return true;
	return false;
}

/* ---- routes ---- */

static enum rc
register_schema(struct publisher *p, const char *topic, const char *half, struct slice json, struct frame *out, struct err *err)
{
	return registry_put(p->registry, arena_printf(&p->arena, "%s-%s", topic, half), json, out, err);
}

static enum rc
route_make(struct publisher *p, const struct table *tbl, struct route **out, struct err *err)
{
	struct arena *a = &p->arena;
	const struct conf *conf = p->kafka->conf;
	struct slice prefix = slice_of(conf->name), key = schema_key(prefix, tbl, a), value;
	struct slice owner = slice_of(arena_printf(a, "%s.%s", tbl->schema.p, tbl->name.p));
	const char *topic = topic_name(a, conf->topic, conf->name, tbl->schema, tbl->name);
	struct route *r = arena_new(a, struct route);
	enum rc rc = schema_value(prefix, tbl, a, &value, err);

	r->tbl = tbl;
	/* Without a key every row must keep the order of the table: one partition. */
	if (rc == OK)
		rc = topic_open(p, topic, tbl->nkeys ? (int)conf->partitions : 1, TOPIC_STANDARD, owner, &r->topic, err);
	if (rc == OK && key.n)
		rc = register_schema(p, topic, "key", key, &r->key, err);
	if (rc == OK)
		rc = register_schema(p, topic, "value", value, &r->value, err);
	if (rc != OK)
		return rc == REJECT ? fail(err, FATAL, "table %s: %s", owner.p, err->text) : fail_in(err, "table %s", owner.p);
	r->writer = writer_compile(tbl, a);
	HASH_ADD_PTR(p->routes, tbl, r);
	log_info("producer", "topic ready", "table=\"%s\" topic=%s partitions=%d", owner.p, r->topic->name, r->topic->partitions);
	*out = r;
	return OK;
}

static enum rc
route_message(struct publisher *p, struct err *err)
{
	struct arena *a = &p->arena;
	const char *topic = arena_printf(a, "%s.message", p->kafka->conf->name);
	struct route *r = arena_new(a, struct route);
	enum rc rc = topic_open(p, topic, 1, TOPIC_STANDARD, SLICE_LIT("logical messages"), &r->topic, err);

	if (rc == OK)
		rc = register_schema(p, topic, "key", schema_message_key(a), &r->key, err);
	if (rc == OK)
		rc = register_schema(p, topic, "value", schema_message_value(a), &r->value, err);
	if (rc == OK)
		p->message = r;
	return rc;
}

static enum rc
route_of(struct publisher *p, const struct table *tbl, struct route **out, struct err *err)
{
	enum rc rc = OK;

	if (p->last && p->last->tbl == tbl) {
		*out = p->last;
		return OK;
	}
	HASH_FIND_PTR(p->routes, &tbl, *out);
	if (!*out)
		rc = route_make(p, tbl, out, err);
	if (rc == OK)
		p->last = *out;
	return rc;
}

/* ---- acknowledgements ---- */

static enum rc
take_report(struct publisher *p, struct lane *lane, const rd_kafka_message_t *m, struct err *err)
{
	uintptr_t tag = (uintptr_t)m->_private;

	p->queued_bytes -= m->len + m->key_len;
	p->queued--;
	/* The topic is gone. A new session looks at what there is, and judges. */
	if (m->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || m->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
	    m->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return fail(err, RETRY, "%s [%d] does not exist any more: was the topic deleted?", rd_kafka_topic_name(m->rkt), m->partition);
	if (m->err)
		return lane_fail(lane, m->err, err, "write to %s [%d]", rd_kafka_topic_name(m->rkt), m->partition);
	/* Acknowledged as sent before (DUPLICATE_SEQUENCE_NUMBER): durable, but no GROUP can say where. */
	if (tag && m->offset < 0)
		return fail(err, RETRY, "a row to %s [%d] was acknowledged without an offset; it is sent again under a new generation",
		    rd_kafka_topic_name(m->rkt), m->partition);
	if (!tag) /* the spine's own record */
		lane->spine--;
	else
		group_acked(&p->inflight->ring[tag % INFLIGHT_GROUPS], (uint32_t)(tag / INFLIGHT_GROUPS - 1), m->offset);
	return OK;
}

static enum rc
take_error(struct lane *lane, rd_kafka_event_t *ev, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_event_error(ev);

	if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_fatal_error(lane->rk, NULL, 0))
		return lane_fail(lane, code, err, "kafka");
	if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
		return lane_fail(lane, code, err, "kafka: %s", rd_kafka_event_error_string(ev));
	/* Lost brokers are found again by librdkafka; the rows wait in its queue meanwhile. */
	log_warn("producer", "kafka trouble", "error=\"%s\"", rd_kafka_event_error_string(ev));
	return OK;
}

static enum rc
serve_lane(struct publisher *p, struct lane *lane, bool *any, struct err *err)
{
	rd_kafka_event_t *ev;
	enum rc rc = OK;

	while (rc == OK && (ev = rd_kafka_queue_poll(lane->queue, 0))) {
		const rd_kafka_message_t *m;

		*any = true;
		if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR)
			while (rc == OK && (m = rd_kafka_event_message_next(ev)))
				rc = take_report(p, lane, m, err);
		else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR)
			rc = take_error(lane, ev, err);
		rd_kafka_event_destroy(ev);
	}
	if (rc == OK && lane->state == LANE_SPINE && !lane->spine)
		rc = lane_commit(lane, err);
	return rc;
}

enum rc
publish_serve(struct publisher *p, int wait_ms, struct err *err)
{
	enum rc rc = OK;

	for (;; wait_ms = 0) {
		bool any = false;
		uint64_t wakes;

		if (read(p->fd, &wakes, sizeof wakes) < 0)
			wakes = 0; /* nothing signalled: look all the same */
		for (int i = 0; i < p->nlanes && rc == OK; i++)
			rc = serve_lane(p, &p->lanes[i], &any, err);
		if (rc != OK || any || !wait_ms)
			return rc;
		poll(&(struct pollfd){ .fd = p->fd, .events = POLLIN }, 1, wait_ms);
	}
}

/* ---- records ---- */

struct record {
	struct topic *topic;
	int32_t partition;
	struct slice key, value; /* value.p NULL: tombstone */
	struct slice tl;
	const char *extra_name;  /* a second header, or NULL */
	struct slice extra;
	int64_t timestamp_ms;
};

/*
 * What an acknowledgement must say: the group, by its place in the ring, and the topic-partition, both in one pointer. (A topic handle's own
 * opaque will not do: librdkafka hands out the handle that a metadata query made, and drops the configuration.)
 */
static void *
tag_of(const struct group *g, const struct topic *t, int32_t partition)
{
	return (void *)(((uintptr_t)t->slot + (uintptr_t)partition + 1) * INFLIGHT_GROUPS + g->no % INFLIGHT_GROUPS);
}

static rd_kafka_resp_err_t
hand_over(struct publisher *p, int lane, const struct record *r, void *tag)
{
	rd_kafka_t *rk = p->lanes[lane].rk;
	rd_kafka_topic_t *rkt = r->topic->rkt[lane];
	rd_kafka_resp_err_t code;
	rd_kafka_headers_t *h;

	if (!r->extra_name)
		return rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(r->partition),
		    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r->key.p, r->key.n), RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.p, r->value.n),
		    RD_KAFKA_V_HEADER(TL_HEADER, r->tl.p, r->tl.n), RD_KAFKA_V_TIMESTAMP(r->timestamp_ms), RD_KAFKA_V_OPAQUE(tag), RD_KAFKA_V_END);
	h = rd_kafka_headers_new(2);
	rd_kafka_header_add(h, TL_HEADER, -1, r->tl.p, (ssize_t)r->tl.n);
	rd_kafka_header_add(h, r->extra_name, -1, r->extra.p, (ssize_t)r->extra.n);
	code = rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(r->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_KEY(r->key.p, r->key.n), RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.p, r->value.n), RD_KAFKA_V_HEADERS(h),
	    RD_KAFKA_V_TIMESTAMP(r->timestamp_ms), RD_KAFKA_V_OPAQUE(tag), RD_KAFKA_V_END);
	if (code)
		rd_kafka_headers_destroy(h);
	return code;
}

static enum rc
enqueue(struct publisher *p, struct group *g, const struct record *r, struct err *err)
{
	int at = lane_of(p, g);
	struct lane *lane = &p->lanes[at];
	enum rc rc = lane_begin(lane, err);

	while (rc == OK) {
		rd_kafka_resp_err_t code;

		/* Counted only once it is handed over: a row that never left would hold the group for ever. */
		code = hand_over(p, at, r, tag_of(g, r->topic, r->partition));
		if (!code)
			break;
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			return lane_fail(lane, code, err, "row of %zu bytes to %s", r->value.n, r->topic->name);
		rc = publish_serve(p, 100, err);
		if (rc == OK && stop_requested())
			rc = fail(err, RETRY, "stopped while Kafka took no more");
	}
	if (rc != OK)
		return rc;
	p->queued++;
	p->queued_bytes += r->key.n + r->value.n;
	group_part(g, r->topic->slot + (uint32_t)r->partition, strlen(r->topic->name));
	group_sent(p->inflight, g, r->key.n + r->value.n + r->tl.n);
	return OK;
}

/* ---- one change ---- */

struct sending {
	struct publisher *p;
	struct group *g;
	struct route *route;
	const struct txn *txn;
	const struct change *ch;
	struct place *at;
	struct envelope env;
};

static void
fill_envelope(struct sending *s)
{
	const struct publisher *p = s->p;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	s->env = (struct envelope){
		.version = slice_of(TOWLINE_VERSION),
		.connector = SLICE_LIT("postgresql"),
		.name = slice_of(p->kafka->conf->name),
		.db = slice_of(p->database),
		.source_us = s->txn->commit_us,
		.last_commit_lsn = s->at->last_commit_lsn,
		.lsn = s->ch->lsn,
		.xid = s->txn->xid,
		.origin = s->txn->origin,
		.origin_lsn = s->txn->origin_lsn,
		.handled_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
		.prefix = s->ch->prefix,
		.content = s->ch->content,
	};
	if (s->ch->tbl) {
		s->env.schema = s->ch->tbl->schema;
		s->env.table = s->ch->tbl->name;
	}
}

/*
 * Avro has no form for a numeric NaN; its text travels in the header. In a NOT NULL column null may not stand in for it either, so the
 * writer is given an absent value there, which it writes as the type's zero.
 */
static const struct value *
fit_not_null(struct publisher *p, const struct table *tbl, const struct value *row)
{
	struct value *copy = NULL;

	for (int i = 0; row && i < tbl->ncols; i++) {
		if (row[i].kind != V_NULL || !row[i].exact.n || !tbl->cols[i].notnull)
			continue;
		if (!copy) {
			copy = arena_raw(&p->row, (size_t)tbl->ncols * sizeof *copy);
			memcpy(copy, row, (size_t)tbl->ncols * sizeof *copy);
		}
		copy[i] = (struct value){ .kind = V_ABSENT };
	}
	return copy ? copy : row;
}

/* Key bytes and partition. Registry ids are hashed with the key, as every client does; a fingerprint is not, so that a key's partition outlives a change of its schema. */
static enum rc
put_key(struct sending *s, const struct value *row, struct record *r, struct err *err)
{
	struct publisher *p = s->p;
	struct slice whole;
	size_t frame;
	enum rc rc;

	buf_reset(&p->keybuf);
	if (!s->ch->tbl->nkeys || !row) {
		r->key = (struct slice){ NULL, 0 };
		r->partition = 0;
		return OK;
	}
	frame_put(&p->keybuf, s->route->key);
	frame = s->route->key.kind == FRAME_SINGLE ? p->keybuf.n : 0;
	rc = writer_key(s->route->writer, row, &p->keybuf, err);
	if (rc != OK)
		return rc;
	whole = r->key = buf_view(&p->keybuf);
	r->partition = topic_partition((struct slice){ whole.p + frame, whole.n - frame }, s->route->topic->partitions);
	return OK;
}

static enum rc
send_record(struct sending *s, char op, const struct value *before, const struct value *after, uint32_t flags, struct record *r, struct err *err)
{
	struct publisher *p = s->p;
	const struct table *tbl = s->ch->tbl;
	struct tl tl = { .flags = flags, .gen = s->at->gen, .seq = s->at->seq, .index = s->at->index++, .lsn = s->txn->commit_lsn };
	enum rc rc;

	buf_reset(&p->header);
	tl_put(&p->header, &tl, flags & TL_TOMBSTONE ? NULL : before, after, tbl->ncols);
	buf_reset(&p->valuebuf);
	if (!(flags & TL_TOMBSTONE)) {
		s->env.op = op;
		s->env.before = fit_not_null(p, tbl, before);
		s->env.after = fit_not_null(p, tbl, after);
		frame_put(&p->valuebuf, s->route->value);
		rc = writer_value(s->route->writer, &s->env, &p->valuebuf, err);
		if (rc != OK)
			return rc;
		r->value = buf_view(&p->valuebuf);
	} else {
		r->value = (struct slice){ NULL, 0 };
	}
	r->topic = s->route->topic;
	r->tl = buf_view(&p->header);
	r->timestamp_ms = s->txn->commit_us / 1000;
	return enqueue(p, s->g, r, err);
}

/* A delete is followed by a tombstone, by which a compacted topic forgets the key. */
static enum rc
send_delete(struct sending *s, uint32_t flags, const char *extra_name, struct slice extra, struct err *err)
{
	struct record r = { .extra_name = extra_name, .extra = extra };
	enum rc rc = put_key(s, s->ch->before, &r, err);

	if (rc == OK)
		rc = send_record(s, OP_DELETE, s->ch->before, NULL, flags, &r, err);
	if (rc != OK || !r.key.n)
		return rc;
	r.extra_name = NULL;
	return send_record(s, OP_DELETE, NULL, NULL, TL_TOMBSTONE, &r, err);
}

/* The key as Connect's header converter prints it: {"id":1}. */
static struct slice
key_text(struct publisher *p, const struct table *tbl, const struct value *row)
{
	struct buf b = { 0 };
	struct slice out;

	buf_byte(&b, '{');
	for (int i = 0; i < tbl->nkeys; i++) {
		const struct value *v = &row[tbl->keys[i]];

		buf_printf(&b, "%s\"%s\":", i ? "," : "", tbl->cols[tbl->keys[i]].name.p);
		if (v->kind == V_INT)
			buf_printf(&b, "%" PRId64, v->i);
		else if (v->kind == V_STRING)
			buf_printf(&b, "\"%.*s\"", SLICE_ARG(v->s));
		else if (v->kind == V_BOOL)
			buf_text(&b, v->i ? "true" : "false");
		else
			buf_text(&b, "null");
	}
	buf_byte(&b, '}');
	out = arena_slice(&p->row, buf_view(&b));
	buf_free(&b);
	return out;
}

static enum rc
send_moved(struct sending *s, uint32_t full, struct err *err)
{
	const struct table *tbl = s->ch->tbl;
	struct record r = { .extra_name = "__debezium.oldkey", .extra = key_text(s->p, tbl, s->ch->before) };
	enum rc rc = send_delete(s, TL_MOVED_FROM | full, "__debezium.newkey", key_text(s->p, tbl, s->ch->after), err);

	if (rc == OK)
		rc = put_key(s, s->ch->after, &r, err);
	return rc == OK ? send_record(s, OP_CREATE, NULL, s->ch->after, TL_MOVED_TO, &r, err) : rc;
}

static enum rc
send_message(struct sending *s, struct err *err)
{
	struct publisher *p = s->p;
	struct tl tl = { .gen = s->at->gen, .seq = s->at->seq, .index = s->at->index++, .lsn = s->txn->commit_lsn };
	struct record r = { .partition = 0, .timestamp_ms = s->txn->commit_us / 1000 };

	if (!p->message) {
		enum rc rc = route_message(p, err);

		if (rc != OK)
			return rc;
	}
	r.topic = p->message->topic;
	s->env.op = OP_MESSAGE;
	if (!s->ch->transactional)
		s->env.xid = 0;
	buf_reset(&p->header);
	tl_put(&p->header, &tl, NULL, NULL, 0);
	buf_reset(&p->keybuf);
	frame_put(&p->keybuf, p->message->key);
	writer_message_key(s->ch->prefix, &p->keybuf);
	buf_reset(&p->valuebuf);
	frame_put(&p->valuebuf, p->message->value);
	writer_message_value(&s->env, &p->valuebuf);
	r.tl = buf_view(&p->header);
	r.key = buf_view(&p->keybuf);
	r.value = buf_view(&p->valuebuf);
	return enqueue(p, s->g, &r, err);
}

enum rc
publish_change(struct publisher *p, struct group *g, const struct txn *txn, const struct change *ch, struct place *at, struct err *err)
{
	struct sending s = { p, g, NULL, txn, ch, at, { 0 } };
	struct record r = { 0 };
	uint32_t full = ch->before_kind == BEFORE_FULL ? TL_BEFORE_FULL : 0;
	enum rc rc;

	arena_reset(&p->row);
	fill_envelope(&s);
	if (ch->op == OP_MESSAGE)
		return send_message(&s, err);
	rc = route_of(p, ch->tbl, &s.route, err);
	if (rc != OK)
		return rc;
	if (ch->op == OP_DELETE)
		rc = send_delete(&s, full, NULL, (struct slice){ NULL, 0 }, err);
	else if (change_moves_key(ch))
		rc = send_moved(&s, full, err);
	else {
		rc = put_key(&s, ch->after, &r, err);
		if (rc == OK)
			rc = send_record(&s, ch->op, full ? ch->before : NULL, ch->after, full, &r, err);
	}
	if (rc == REJECT)
		return fail(err, FATAL, "table %s.%s: %s", ch->tbl->schema.p, ch->tbl->name.p, err->text);
	return rc;
}

/* ---- the spine ---- */

/* Of a group: where its rows went. Of OPEN and BEAT, which come when no group is on its way: the lane that the next group does not take. */
static int
spine_lane(struct publisher *p, const struct group *g)
{
	return g ? lane_of(p, g) : p->lane;
}

static void
list_parts(struct publisher *p, struct spine_record *rec, const struct group *g)
{
	rec->nparts = g->nparts;
	rec->parts = arena_array(&p->row, (size_t)g->nparts, sizeof *rec->parts);
	for (int i = 0; i < g->nparts; i++) {
		const struct group_part *part = &g->parts[i];
		const struct topic *t = p->slots[part->slot];

		rec->parts[i] = (struct spine_part){ slice_of(t->name), (int32_t)(part->slot - t->slot), part->first, part->last, part->count };
	}
}

enum rc
publish_spine(struct publisher *p, struct spine_record *rec, const struct group *g, struct err *err)
{
	int at = spine_lane(p, g);
	struct lane *lane = &p->lanes[at];
	enum rc rc = lane_begin(lane, err);
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
	struct timespec now;

	arena_reset(&p->row);
	clock_gettime(CLOCK_REALTIME, &now);
	rec->at_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	if (g)
		list_parts(p, rec, g);
	buf_reset(&p->valuebuf);
	spine_put(&p->valuebuf, rec);
	while (rc == OK) {
		code = rd_kafka_producev(lane->rk, RD_KAFKA_V_RKT(p->spine->rkt[at]), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		    RD_KAFKA_V_VALUE(p->valuebuf.p, p->valuebuf.n), RD_KAFKA_V_END);
		if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rc = publish_serve(p, 100, err);
	}
	if (rc == OK && code)
		rc = lane_fail(lane, code, err, "write to %s", p->spine->name);
	if (rc != OK)
		return rc;
	p->queued++;
	p->queued_bytes += p->valuebuf.n;
	lane->spine++;
	if (lane->transactional && !(g && goes_on(p, g)))
		lane->state = LANE_SPINE;
	return OK;
}
