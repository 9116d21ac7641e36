#include "control/report.h"
#include "consumer/marker.h"
#include "control/http.h"
#include "control/human.h"
#include "control/lag.h"
#include "core/log.h"
#include "core/now.h"
#include "schemas/topic.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	TICK_US = 100000,
	EVERY_US = 1000000,
	PROBE_MS = 500, /* is Kafka there? So long may a stop have to wait */
	RETRY_US = 2000000,
	FLUSH_MS = 2000,
	NEAR_US = 2000000, /* closer to the end of the log than this: no longer syncing */
	STAGES_MAX = 65,
};

/* What is said of one stage. */
struct told {
	struct gauge *gauge;
	enum progress_role role;
	const char *sink, *kind;
	int64_t delay_ms, started_us, told_us;
	uint64_t changed; /* of the gauge, when it was told last */
	struct lag lag;
	bool caught;	    /* has been near the end of the log */
	bool asked;	    /* it was looked whether they are: */
	bool expected;	    /* or is about to be told that they are */
	bool resync;	    /* its tables are being copied again */
	uint64_t rows, seq; /* at told_us */
	double rows_s, entries_s;
};

struct report {
	const struct kafka *kafka;
	struct arena arena; /* names; only report_add writes */
	const char *topic;
	pthread_t thread;
	bool running;
	_Atomic bool watched; /* somebody looks which sinks are being made anew */
	_Atomic bool stop;
	pthread_mutex_t lock; /* of all below */
	struct told told[STAGES_MAX];
	int n;
	struct progress front; /* newest producer elsewhere; its texts are not used */
	bool front_known;
	struct http *http;
	/* Of the thread alone. */
	rd_kafka_t *rk;
	struct board *board;
	_Atomic bool ready; /* the topic is there */
	_Atomic bool begun;
	int64_t tried_us;
};

/* ---- what there is to say ---- */

static struct told *
own_producer(struct report *r)
{
	for (int i = 0; i < r->n; i++)
		if (r->told[i].role == PROGRESS_PRODUCER)
			return &r->told[i];
	return NULL;
}

/* Where the log ends: by our own producer, else by the one that publishes. false: nobody has said so yet. */
static bool
front_of(struct report *r, struct gauge_at *out)
{
	struct told *own = own_producer(r);

	if (own)
		return gauge_least(own->gauge, out);
	*out = (struct gauge_at){ .gen = r->front.gen,
		.seq = r->front.seq,
		.lsn = r->front.lsn,
		.commit_us = r->front.commit_us };
	return r->front_known;
}

static void
lag_of_producer(struct told *t, struct progress *p, uint64_t safe, int64_t now)
{
	uint64_t read = atomic_load(&t->gauge->read_seq);

	p->end_lsn = atomic_load(&t->gauge->end_lsn);
	p->lag_entries = read > p->seq ? (int64_t)(read - p->seq) : 0;
	if (!p->end_lsn)
		return;
	lag_note(&t->lag, p->end_lsn, now, safe, 0);
	p->lag_bytes = strcmp(t->kind, "sqlite") == 0 ? -1 : p->end_lsn > safe ? (int64_t)(p->end_lsn - safe) : 0;
	p->lag_us = lag_us(&t->lag, safe, now);
}

static void
lag_of_sink(struct report *r, struct told *t, struct progress *p, int64_t now)
{
	const struct told *own = own_producer(r);
	bool rowids = strcmp(own ? own->kind : r->front.kind ? r->front.kind : "", "sqlite") == 0;
	struct gauge_at front;

	/* Topics that others write have no front that we know of. */
	if (r->kafka->conf->foreign_topics)
		t->caught = strcmp(p->state, "running") == 0;
	if (!front_of(r, &front))
		return;
	lag_note(&t->lag, front.seq, front.commit_us ? front.commit_us : now, p->seq, p->commit_us);
	p->lag_entries = front.seq > p->seq ? (int64_t)(front.seq - p->seq) : 0;
	p->lag_bytes = rowids			   ? -1
	    : p->lag_entries && front.lsn > p->lsn ? (int64_t)(front.lsn - p->lsn)
						   : 0;
	p->lag_us = lag_us(&t->lag, p->seq, now);
	if (strcmp(p->state, "running") == 0 && p->lag_us >= 0 && p->lag_us <= p->delay_ms * 1000 + NEAR_US)
		t->caught = true;
}

static void
describe(struct report *r, struct told *t, struct arena *a, int64_t now, struct progress *p)
{
	struct gauge_at at = { 0 };
	char *reason = arena_raw(a, GAUGE_REASON_MAX);
	const char *name;
	uint64_t safe = atomic_load(&t->gauge->safe_lsn); /* before the place, which is then at least as far */
	bool placed = gauge_least(t->gauge, &at);

	gauge_reason(t->gauge, reason);
	*p = (struct progress){ .role = t->role,
		.node = r->kafka->conf->node,
		.sink = t->sink,
		.reason = reason,
		.at_us = now,
		.state = gauge_state_name((enum gauge_state)atomic_load(&t->gauge->state)),
		.started_us = t->started_us,
		.gen = at.gen,
		.seq = at.seq,
		.lsn = at.lsn,
		.commit_us = at.commit_us,
		.lag_entries = -1,
		.lag_bytes = -1,
		.lag_us = -1,
		.rows = atomic_load(&t->gauge->rows),
		.rows_s = t->rows_s,
		.entries_s = t->entries_s,
		.parked = atomic_load(&t->gauge->parked),
		.delay_ms = t->delay_ms,
		.kind = t->kind,
		.http = r->kafka->conf->http_listen ? r->kafka->conf->http_listen : "" };
	if (t->role == PROGRESS_PRODUCER)
		lag_of_producer(t, p, safe, now);
	else if (placed)
		lag_of_sink(r, t, p, now);
	p->syncing = t->role == PROGRESS_SINK && (!t->caught || t->resync || (!t->asked && atomic_load(&r->watched)));
	p->tables = arena_array(a, GAUGE_TABLES_MAX, sizeof *p->tables);
	while (p->ntables < GAUGE_TABLES_MAX && (name = gauge_table_name(t->gauge, p->ntables)))
		p->tables[p->ntables++] = arena_text(a, slice_of(name)); /* the gauge may go away meanwhile */
}

void
report_watched(struct report *r)
{
	atomic_store(&r->watched, true);
}

void
report_expect_resync(struct report *r, const char *sink, bool expected)
{
	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < r->n; i++)
		if (r->told[i].role == PROGRESS_SINK && strcmp(r->told[i].sink, sink) == 0) {
			r->told[i].expected = expected;
			r->told[i].resync = r->told[i].resync || expected;
		}
	pthread_mutex_unlock(&r->lock);
}

bool
report_resync(struct report *r, const char *sink, enum resync_state state, struct copy_place upto)
{
	struct gauge_at at;
	bool over = false;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < r->n; i++) {
		struct told *t = &r->told[i];

		if (t->role != PROGRESS_SINK || strcmp(t->sink, sink) != 0)
			continue;
		t->asked = true;
		if (state != RESYNC_NONE)
			t->expected = false;
		t->resync = state != RESYNC_NONE || t->expected;
		/* Numbers of groups go on over generations, and a marker has the one of its newest group: a later OPEN does not move it. */
		over = state == RESYNC_COPIED && gauge_least(t->gauge, &at) && at.no >= upto.no;
	}
	pthread_mutex_unlock(&r->lock);
	return over;
}

int
report_now(struct report *r, struct arena *a, struct progress **out)
{
	int n;

	pthread_mutex_lock(&r->lock);
	n = r->n;
	*out = arena_array(a, (size_t)n + 1, sizeof **out);
	for (int i = 0; i < n; i++)
		describe(r, &r->told[i], a, wall_us(), &(*out)[i]);
	pthread_mutex_unlock(&r->lock);
	return n;
}

/* ---- saying it ---- */

static void
publish(struct report *r, const char *key, struct slice value)
{
	(void)rd_kafka_producev(r->rk, RD_KAFKA_V_TOPIC(r->topic), RD_KAFKA_V_PARTITION(0),
	    RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE((void *)(uintptr_t)value.p, value.n),
	    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
}

static void
tell(struct report *r, struct told *t, int64_t now)
{
	struct arena a = { 0 };
	struct buf json = { 0 };
	struct progress p;
	double s = (double)(now - t->told_us) / 1e6;

	t->changed = atomic_load(&t->gauge->changed);
	describe(r, t, &a, now, &p);
	if (t->told_us && s >= 0.9) {
		t->rows_s = p.rows_s = (double)(p.rows - t->rows) / s;
		t->entries_s = p.entries_s = p.seq > t->seq ? (double)(p.seq - t->seq) / s : 0;
	}
	t->rows = p.rows;
	t->seq = p.seq;
	t->told_us = now;
	if (r->ready) {
		progress_put(&json, &p);
		publish(r, progress_key(&a, &p), buf_view(&json));
	}
	buf_free(&json);
	arena_free(&a);
}

/* Those that are due, or all. */
static void
tell_due(struct report *r, bool all)
{
	int64_t now = wall_us();

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < r->n; i++) {
		struct told *t = &r->told[i];

		if (all || now - t->told_us >= EVERY_US || now < t->told_us ||
		    t->changed != atomic_load(&t->gauge->changed))
			tell(r, t, now);
	}
	pthread_mutex_unlock(&r->lock);
}

/* A place in a spine, or rows of topics that others write: the pipeline exists then, whatever becomes of it. */
static bool
has_begun(struct report *r)
{
	bool begun = false;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < r->n && !begun; i++) {
		struct gauge_at at = { 0 };

		(void)gauge_least(r->told[i].gauge, &at);
		begun = atomic_load(&r->told[i].gauge->state) == GAUGE_RUNNING && (at.gen || r->kafka->conf->foreign_topics);
	}
	pthread_mutex_unlock(&r->lock);
	return begun;
}

bool
report_begun(const struct report *r)
{
	return atomic_load(&r->begun);
}

/* The topic is made once there is a pipeline to tell of. (An embedded broker, which goes with us, makes what it is asked about.) */
static enum rc
find_topic(struct report *r, int *n, struct err *err)
{
	if (r->begun || r->kafka->broker)
		return kafka_topic_ensure(r->kafka, r->rk, r->topic, 1, TOPIC_NEWS, n, err);
	return kafka_partitions(r->rk, r->topic, n, err);
}

/* Kafka may be away for long: asked briefly, now and then. */
static void
get_ready(struct report *r)
{
	const struct rd_kafka_metadata *md = NULL;
	int64_t now = now_us();
	struct err err;
	int n;

	if (r->ready || now - r->tried_us < RETRY_US)
		return;
	if (!r->rk && kafka_teller(r->kafka, &r->rk, &err) != OK)
		return;
	if (rd_kafka_metadata(r->rk, 0, NULL, &md, PROBE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
		rd_kafka_metadata_destroy(md);
		enum rc rc = find_topic(r, &n, &err);

		r->ready = rc == OK && n > 0;
		if (rc != OK)
			log_warn("progress", err.text, "%s", "");
		if (r->ready && !r->board && board_open(r->kafka, &r->board, &err) != OK)
			log_warn("progress", err.text, "%s", "");
	}
	r->tried_us = now_us();
}

/* Sinks without their producer at hand learn from the topic where the log ends. */
static void
read_front(struct report *r)
{
	const struct progress *front;
	struct err err;
	bool needed;

	pthread_mutex_lock(&r->lock);
	needed = !own_producer(r);
	pthread_mutex_unlock(&r->lock);
	if (!needed || !r->ready || !r->board || board_update(r->board, false, &err) != OK)
		return;
	front = board_front(r->board);
	pthread_mutex_lock(&r->lock);
	if (front) {
		r->front = *front;
		r->front.kind = strcmp(front->kind, "sqlite") == 0 ? "sqlite" : "postgres";
		r->front_known = true;
	}
	pthread_mutex_unlock(&r->lock);
}

static void
serve_events(struct report *r)
{
	rd_kafka_queue_t *q = r->rk ? rd_kafka_queue_get_main(r->rk) : NULL;
	rd_kafka_event_t *ev;

	while (q && (ev = rd_kafka_queue_poll(q, 0)))
		rd_kafka_event_destroy(ev);
	if (q)
		rd_kafka_queue_destroy(q);
}

static void *
report_main(void *arg)
{
	struct report *r = arg;

	r->tried_us = -RETRY_US;
	while (!atomic_load(&r->stop)) {
		if (!r->begun && has_begun(r)) {
			r->begun = true;
			r->tried_us = -RETRY_US;
		}
		get_ready(r);
		read_front(r);
		tell_due(r, false);
		serve_events(r);
		usleep(TICK_US);
	}
	tell_due(r, true);
	if (r->ready)
		(void)rd_kafka_flush(r->rk, FLUSH_MS);
	board_close(r->board);
	if (r->rk) {
		(void)rd_kafka_purge(r->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		rd_kafka_destroy(r->rk);
	}
	return NULL;
}

/* ---- life ---- */

const char *
report_pipeline(const struct report *r)
{
	return r->kafka->conf->name;
}

enum rc
report_start(const struct kafka *k, struct report **out, struct err *err)
{
	struct report *r = calloc(1, sizeof *r);
	enum rc rc = OK;

	if (!r)
		die("out of memory");
	r->kafka = k;
	r->topic = topic_own(&r->arena, k->conf->name, "progress");
	pthread_mutex_init(&r->lock, NULL);
	*out = r;
	if (k->conf->http_listen)
		rc = http_start(r, k->conf->http_listen, &r->http, err);
	if (rc == OK && pthread_create(&r->thread, NULL, report_main, r))
		die("cannot start a thread");
	r->running = rc == OK;
	return rc;
}

static const char *
kind_of(const char *url)
{
	return url && marker_sqlite_path(url) ? "sqlite" : "postgres";
}

void
report_add(struct report *r, const struct conf_sink *sink, struct gauge *gauge)
{
	const struct conf *conf = r->kafka->conf;

	pthread_mutex_lock(&r->lock);
	if (r->n < STAGES_MAX)
		r->told[r->n++] = (struct told){ .gauge = gauge,
			.role = sink ? PROGRESS_SINK : PROGRESS_PRODUCER,
			.sink = sink ? arena_text(&r->arena, slice_of(sink->name)) : "",
			.kind = kind_of(sink ? sink->url : conf->source_url),
			.delay_ms = sink ? sink->delay_ms : 0,
			.started_us = wall_us() };
	pthread_mutex_unlock(&r->lock);
}

void
report_remove(struct report *r, struct gauge *gauge, bool forget)
{
	struct arena a = { 0 };
	struct progress p;

	pthread_mutex_lock(&r->lock);
	for (int i = 0; i < r->n; i++) {
		if (r->told[i].gauge != gauge)
			continue;
		tell(r, &r->told[i], wall_us());
		describe(r, &r->told[i], &a, wall_us(), &p);
		if (forget && r->ready)
			publish(r, progress_key(&a, &p), (struct slice){ NULL, 0 });
		memmove(&r->told[i], &r->told[i + 1], (size_t)(r->n - i - 1) * sizeof r->told[0]);
		r->n--;
		break;
	}
	pthread_mutex_unlock(&r->lock);
	arena_free(&a);
}

void
report_stop(struct report *r)
{
	if (!r)
		return;
	if (r->running) {
		atomic_store(&r->stop, true);
		pthread_join(r->thread, NULL);
	}
	http_stop(r->http);
	pthread_mutex_destroy(&r->lock);
	arena_free(&r->arena);
	free(r);
}
