#include "consumer/teller.h"
#include "core/log.h"
#include "core/now.h"
#include "schemas/control.h"
#include "schemas/topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOAD_MS = 10000, AGAIN_MS = 1000, LATE_MS = 500 };

struct teller {
	struct arena arena;
	const char *topic, *sink;
	const char *resync;        /* key of the record in the control topic */
	struct control *control;   /* NULL: the sink is whole */
	bool anew;                 /* by what was read of it, the sink is being made anew */
	bool lazy;
	rd_kafka_t *rk;
	rd_kafka_queue_t *events;
	struct applied said;
	int64_t said_ms;
	char by[APPLIED_BY_MAX];
};

static void
note(struct teller *t, const struct control_record *rec)
{
	if (slice_is(rec->key, t->resync))
		t->anew = rec->value.n > 0;
}

static void
stop_reading(struct teller *t)
{
	control_close(t->control);
	t->control = NULL;
}

/* What the control topic held when it was opened. */
static enum rc
load(struct teller *t, struct err *err)
{
	struct control_record rec;
	enum rc rc;

	while ((rc = control_held(t->control, LOAD_MS, &rec, err)) == OK)
		note(t, &rec);
	return rc == AGAIN ? OK : rc;
}

enum rc
teller_open(const struct kafka *k, const struct conf_sink *sink, bool lazy, struct teller **out, struct err *err)
{
	struct teller *t = calloc(1, sizeof *t);
	char host[65] = "";
	int n;
	enum rc rc;

	if (!t)
		die("out of memory");
	*out = t;
	t->topic = topic_own(&t->arena, k->conf->name, "applied");
	t->sink = arena_text(&t->arena, slice_of(sink->name));
	t->resync = arena_printf(&t->arena, "%s%s", CONTROL_RESYNC, sink->name);
	t->lazy = lazy;
	if (gethostname(host, sizeof host - 1) == 0)
		snprintf(t->by, sizeof t->by, "%s:%ld", host, (long)getpid());
	rc = control_open(k, CONTROL_ALL, false, &t->control, err);
	if (rc == OK)
		rc = load(t, err);
	if (rc == OK)
		rc = kafka_teller(k, &t->rk, err);
	if (rc == OK) {
		t->events = rd_kafka_queue_get_main(t->rk);
		rc = kafka_topic_ensure(k, t->rk, t->topic, 1, TOPIC_BRIEF, &n, err);
	}
	if (rc != OK)
		return rc;
	if (t->anew)
		log_info("teller", "commits do not count on this sink before all of its tables are copied", "sink=%s", t->sink);
	else
		stop_reading(t);
	return OK;
}

void
teller_close(struct teller *t)
{
	if (!t)
		return;
	stop_reading(t);
	if (t->rk) {
		(void)rd_kafka_flush(t->rk, LATE_MS);
		(void)rd_kafka_purge(t->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
		rd_kafka_queue_destroy(t->events);
		rd_kafka_destroy(t->rk);
	}
	arena_free(&t->arena);
	free(t);
}

enum rc
teller_look(struct teller *t, bool *whole, struct err *err)
{
	struct control_record rec;
	enum rc rc = OK;

	while (t->control && (rc = control_next(t->control, 0, &rec, err)) == OK)
		note(t, &rec);
	if (t->control && !t->anew) {
		stop_reading(t);
		log_info("teller", "all tables are copied; commits count on this sink again", "sink=%s", t->sink);
	}
	*whole = !t->control;
	return rc == AGAIN ? OK : rc;
}

static bool
same(const struct applied *a, const struct applied *b)
{
	return a->gen == b->gen && a->token == b->token && a->no == b->no;
}

void
teller_say(struct teller *t, const struct applied *a)
{
	int64_t now = now_ms();
	bool old = now - t->said_ms >= AGAIN_MS;
	rd_kafka_event_t *ev;
	struct applied say = *a;
	struct buf json = { 0 };

	if (!old && (t->lazy || same(a, &t->said)))
		return;
	while ((ev = rd_kafka_queue_poll(t->events, 0)))
		rd_kafka_event_destroy(ev);
	memcpy(say.by, t->by, sizeof say.by);
	applied_put(&json, &say);
	(void)rd_kafka_producev(t->rk, RD_KAFKA_V_TOPIC(t->topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY(t->sink, strlen(t->sink)),
	    RD_KAFKA_V_VALUE(json.p, json.n), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
	buf_free(&json);
	t->said = *a;
	t->said_ms = now;
}
