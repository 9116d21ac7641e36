#include "control/stages.h"

#include "consumer/consumer.h"
#include "consumer/foreign.h"
#include "control/replicas.h"
#include "core/log.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One thread with a side in it. */
struct stage {
	pthread_t thread;
	struct stages *all;
	const struct conf_sink *sink; /* NULL: the producer */
	int number;		      /* the sink's place in flow */
	struct gauge gauge;
	bool started;
	enum rc rc;
	struct err err;
};

static void *
stage_main(void *arg)
{
	struct stage *st = arg;
	struct stages *s = st->all;
	struct flow *flow = s->joint ? &s->flow : NULL;

	if (st->sink && s->kafka.conf->foreign_topics)
		st->rc = foreign_run(&s->kafka, st->sink, flow, st->number, &st->gauge, &st->err);
	else if (st->sink)
		st->rc = consumer_run(&s->kafka, st->sink, flow, st->number, &st->gauge, &st->err);
	else
		st->rc = producer_run(&s->kafka, flow, &s->begin, s->adopt, &st->gauge, &st->err);
	if (flow && (!st->sink || st->rc != OK))
		atomic_store(&flow->producer_done, true);
	gauge_set(&st->gauge, st->rc == OK ? GAUGE_STOPPED : GAUGE_FAILED, st->rc == OK ? "" : st->err.text);
	if (st->rc != OK) {
		log_error(
		    st->sink ? "sink" : "producer", st->err.text, "exit=%d", (int)st->err.exit);
		stop_request(); /* the others end in order; the first error is the one that is reported */
	}
	return NULL;
}

/*
 * With the embedded broker the history in Kafka begins with this process. The source may forget
 * what every sink has, so it begins at the sink that has least; generations go on above all.
 */
static enum rc
begin_of_sinks(const struct conf *conf, struct producer_begin *begin, struct err *err)
{
	*begin = (struct producer_begin){ .lsn = UINT64_MAX };
	for (int i = 0; i < conf->nsinks; i++) {
		struct sink *s = NULL;
		struct marker m;
		enum rc rc = sink_open(conf->name, &conf->sinks[i], &s, err);

		if (rc == OK)
			rc = s->ops->marker(s, &m, err);
		if (s)
			s->ops->close(s);
		if (rc != OK)
			return fail_in(err, "sink %s", conf->sinks[i].name);
		if (m.gen > begin->gen)
			begin->gen = m.gen;
		if (m.seq > begin->seq)
			begin->seq = m.seq;
		if (m.lsn < begin->lsn)
			begin->lsn = m.lsn;
	}
	return OK;
}

static enum rc
embed(struct stages *s, const struct conf *conf, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc;

	if (!conf->source_url || !conf->nsinks)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "kafka: embedded lives in one process: it needs a source and a sink in the"
		    " configuration");
	rc = begin_of_sinks(conf, &s->begin, err);
	if (rc == OK)
		rc = broker_start(&s->kafka.broker, err);
	if (rc == OK)
		rc = broker_topic(s->kafka.broker, topic_own(&a, conf->name, "spine"), 1, err);
	if (rc == OK)
		rc = broker_topic(s->kafka.broker, topic_own(&a, conf->name, "schemas"), 1, err);
	if (rc == OK)
		rc = broker_topic(s->kafka.broker, topic_own(&a, conf->name, "progress"), 1, err);
	if (rc == OK)
		log_info("run", "broker: embedded (in memory, for trials; not for production)",
		    "address=%s", broker_address(s->kafka.broker));
	arena_free(&a);
	return rc;
}

static void
add(struct stages *s, const struct conf_sink *sink, int number)
{
	struct stage *st = &s->list[s->n++];

	*st = (struct stage){ .all = s, .sink = sink, .number = number };
	gauge_init(&st->gauge);
}

/* Each lane has a session of its own. */
static int
shares(const struct conf *conf, const struct conf_sink *sink)
{
	return strcmp(sink->apply, "key") == 0 && !conf->foreign_topics ? (int)sink->lanes : 1;
}

/* Lanes divide the partitions among them, and with those most of what they need. */
static int
needs(const struct conf *conf, const struct conf_sink *sink)
{
	int n = shares(conf, sink);

	return n <= 2 ? n : 2 + (n - 2) / 4;
}

static void
tell_memory(const struct kafka *k, int n)
{
	int64_t min = kafka_memory_min(n) >> 20, have = k->conf->memory_bytes >> 20;

	if (have < min)
		log_warn("run", "memory is less than what this process runs needs, and will be exceeded under load",
		    "memory=%" PRId64 "MB enough=%" PRId64 "MB", have, min);
}

static void
prepare(struct stages *s, const struct conf *conf, bool adopt, int room)
{
	*s = (struct stages){ .kafka.conf = conf, .flow.wake_fd = -1, .adopt = adopt };
	s->list = calloc((size_t)room, sizeof *s->list);
	if (!s->list)
		die("out of memory");
}

enum rc
stages_open(struct stages *s, const struct conf *conf, bool adopt, struct err *err)
{
	int most = conf->source_url != NULL;

	prepare(s, conf, adopt, conf->nsinks + 1);
	if (conf->nsinks > FLOW_SINKS_MAX)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "%d sinks are more than %d in one process; give each its own towline consumer",
		    conf->nsinks, FLOW_SINKS_MAX);
	if (conf->embedded && embed(s, conf, err))
		return err->rc;
	s->joint = true;
	s->kafka.shares = conf->source_url != NULL;
	for (int i = 0; i < conf->nsinks; i++) {
		s->kafka.shares += shares(conf, &conf->sinks[i]);
		most += needs(conf, &conf->sinks[i]);
	}
	tell_memory(&s->kafka, most);
	s->flow.nsinks = conf->nsinks;
	s->flow.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	atomic_store(&s->flow.producer_done, !conf->source_url);
	if (conf->source_url)
		add(s, NULL, 0);
	for (int i = 0; i < conf->nsinks; i++)
		add(s, &conf->sinks[i], i);
	return OK;
}

enum rc
stages_open_one(struct stages *s, const struct conf *conf, const struct conf_sink *sink, bool adopt,
    struct err *err)
{
	prepare(s, conf, adopt, 1);
	if (conf->embedded)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "kafka: embedded lives in one process; use towline run, or a real broker"
		    " with kafka: HOST:PORT");
	s->kafka.shares = sink ? shares(conf, sink) : 1;
	tell_memory(&s->kafka, sink ? needs(conf, sink) : 1);
	add(s, sink, 0);
	return OK;
}

enum rc
stages_start(struct stages *s, struct err *err)
{
	enum rc rc = report_start(&s->kafka, &s->report, err);

	for (int i = 0; rc == OK && i < s->n; i++) {
		report_add(s->report, s->list[i].sink, &s->list[i].gauge);
		if (pthread_create(&s->list[i].thread, NULL, stage_main, &s->list[i]))
			die("cannot start a thread");
		s->list[i].started = true;
	}
	if (rc == OK && (s->joint || s->list[0].sink) && !s->kafka.broker && !s->kafka.conf->foreign_topics)
		replicas_start(&s->kafka, s->report, s->joint, &s->replicas);
	return rc;
}

enum rc
stages_join(struct stages *s, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < s->n; i++) {
		struct stage *st = &s->list[i];

		if (!st->started)
			continue;
		pthread_join(st->thread, NULL);
		st->started = false;
		if (st->rc != OK && rc == OK) {
			*err = st->err;
			rc = st->rc;
		}
	}
	replicas_join(s->replicas);
	s->replicas = NULL;
	return rc;
}

void
stages_close(struct stages *s)
{
	report_stop(s->report);
	for (int i = 0; i < s->n; i++)
		gauge_free(&s->list[i].gauge);
	if (s->flow.wake_fd >= 0)
		close(s->flow.wake_fd);
	free(s->list);
	broker_stop(s->kafka.broker);
	*s = (struct stages){ .flow.wake_fd = -1 };
}
