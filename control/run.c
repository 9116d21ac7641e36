/*
 * run.c - the commands that move data: producer, consumer, and run, which has both in one process.
 */
#include "consumer/consumer.h"
#include "control/command.h"
#include "core/log.h"
#include "core/stop.h"
#include "producer/producer.h"
#include "schemas/topic.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* One thread with a stage in it. */
struct stage {
	pthread_t thread;
	const struct kafka *kafka;
	const struct conf_sink *sink; /* NULL: the producer */
	const struct producer_begin *begin;
	struct flow *flow;
	int number;
	bool adopt, started;
	enum rc rc;
	struct err err;
};

static void *
stage_main(void *arg)
{
	struct stage *st = arg;

	if (st->sink)
		st->rc = consumer_run(st->kafka, st->sink, st->flow, st->number, &st->err);
	else
		st->rc = producer_run(st->kafka, st->flow, st->begin, st->adopt, &st->err);
	if (st->flow && (!st->sink || st->rc != OK))
		atomic_store(&st->flow->producer_done, true);
	if (st->rc != OK) {
		log_error(st->sink ? "sink" : "producer", st->err.text, "exit=%d", (int)st->err.exit);
		stop_request(); /* the others end in order; the first error is the one that is reported */
	}
	return NULL;
}

/*
 * With the embedded broker the history in Kafka begins with this process. The source may forget what every sink has, so it begins
 * at the sink that has least; generations go on above all.
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
embed(const struct conf *conf, struct kafka *k, struct producer_begin *begin, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc;

	if (!conf->source_url || !conf->nsinks)
		return fail_exit(err, FATAL, EXIT_CONFIG, "kafka: embedded lives in one process: it needs a source and a sink in the configuration");
	rc = begin_of_sinks(conf, begin, err);
	if (rc == OK)
		rc = broker_start(&k->broker, err);
	if (rc == OK)
		rc = broker_topic(k->broker, topic_own(&a, conf->name, "spine"), 1, err);
	if (rc == OK)
		rc = broker_topic(k->broker, topic_own(&a, conf->name, "schemas"), 1, err);
	if (rc == OK)
		log_info("run", "broker: embedded (in memory, for trials; not for production)", "address=%s", broker_address(k->broker));
	arena_free(&a);
	return rc;
}

static void
start(struct stage *st)
{
	if (pthread_create(&st->thread, NULL, stage_main, st))
		die("cannot start a thread");
	st->started = true;
}

static int
run_stages(struct call *call, struct stage *stages, int n, struct flow *flow)
{
	int code = EXIT_DONE;

	for (int i = 0; i < n; i++)
		start(&stages[i]);
	for (int i = 0; i < n; i++) {
		pthread_join(stages[i].thread, NULL);
		if (stages[i].rc == OK || code != EXIT_DONE)
			continue;
		code = (int)stages[i].err.exit;
		call->err = stages[i].err;
	}
	if (flow && flow->wake_fd >= 0)
		close(flow->wake_fd);
	return code;
}

int
cmd_run(struct call *call)
{
	const struct conf *conf = call->conf;
	struct kafka k = { .conf = conf };
	struct producer_begin begin = { 0 };
	struct flow flow = { .nsinks = conf->nsinks, .wake_fd = -1 };
	struct stage *stages;
	int n = 0, code;

	if (conf->nsinks > FLOW_SINKS_MAX) {
		fail_exit(&call->err, FATAL, EXIT_CONFIG, "%d sinks are more than %d in one process; give each its own towline consumer", conf->nsinks,
		    FLOW_SINKS_MAX);
		return (int)call->err.exit;
	}
	if (conf->embedded && embed(conf, &k, &begin, &call->err)) {
		broker_stop(k.broker);
		return (int)call->err.exit;
	}
	stages = calloc((size_t)conf->nsinks + 1, sizeof *stages);
	if (!stages)
		die("out of memory");
	flow.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	atomic_store(&flow.producer_done, !conf->source_url);
	if (conf->source_url)
		stages[n++] = (struct stage){ .kafka = &k, .begin = &begin, .flow = &flow, .adopt = call_option(call, "adopt-slot") };
	for (int i = 0; i < conf->nsinks; i++)
		stages[n++] = (struct stage){ .kafka = &k, .sink = &conf->sinks[i], .flow = &flow, .number = i };
	code = run_stages(call, stages, n, &flow);
	free(stages);
	broker_stop(k.broker);
	return code;
}

static bool
refuse_embedded(struct call *call)
{
	if (!call->conf->embedded)
		return false;
	fail_exit(&call->err, FATAL, EXIT_CONFIG, "kafka: embedded lives in one process; use towline run, or a real broker with kafka: HOST:PORT");
	return true;
}

int
cmd_producer(struct call *call)
{
	struct kafka k = { .conf = call->conf };
	struct stage st = { .kafka = &k, .adopt = call_option(call, "adopt-slot") };

	if (refuse_embedded(call))
		return (int)call->err.exit;
	if (!call->conf->source_url) {
		fail_exit(&call->err, FATAL, EXIT_CONFIG, "there is no source in the configuration; set source: postgres://...");
		return (int)call->err.exit;
	}
	return run_stages(call, &st, 1, NULL);
}

int
cmd_consumer(struct call *call)
{
	struct kafka k = { .conf = call->conf };
	const char *name = call->argc ? call->argv[0] : NULL;
	struct stage st = { .kafka = &k };

	if (refuse_embedded(call))
		return (int)call->err.exit;
	if (!name && call->conf->nsinks == 1)
		name = call->conf->sinks[0].name;
	st.sink = name ? conf_sink(call->conf, name) : NULL;
	if (!st.sink) {
		if (!name)
			call_usage(call, "the configuration has %d sinks: say which one", call->conf->nsinks);
		else
			fail_exit(&call->err, FATAL, EXIT_CONFIG, "there is no sink '%s' in the configuration", name);
		return (int)call->err.exit;
	}
	return run_stages(call, &st, 1, NULL);
}

static const struct command_option source_options[] = {
	{ "adopt-slot", 0, NULL, "begin with a slot that exists although the topics are empty" },
};

const struct command command_run = {
	.name = "run",
	.summary = "source and all sinks in one process",
	.usage = "[OPTIONS]",
	.examples = "towline run\ntowline run -c inv.yaml -v\n",
	.detail = "Runs until SIGINT or SIGTERM; what was read by then still arrives at the sinks.\n",
	.options = source_options,
	.noptions = COUNTOF(source_options),
	.run = cmd_run,
};

const struct command command_producer = {
	.name = "producer",
	.summary = "only source -> Kafka",
	.usage = "[OPTIONS]",
	.examples = "towline producer\ntowline producer -c inv.yaml --set kafka.partitions=12\n",
	.options = source_options,
	.noptions = COUNTOF(source_options),
	.run = cmd_producer,
};

const struct command command_consumer = {
	.name = "consumer",
	.summary = "only Kafka -> one sink",
	.usage = "[OPTIONS] [SINK]",
	.examples = "towline consumer reports\ntowline consumer -c inv.yaml edge\n",
	.detail = "SINK is a name under sinks: in the configuration; it may be left out when there is only one.\n",
	.args_max = 1,
	.run = cmd_consumer,
};
