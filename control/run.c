/*
 * run.c - the commands that move data: producer, consumer, and run, which has both in one process.
 */
#include "control/command.h"
#include "control/stages.h"

static int
run(struct call *call, struct stages *s, enum rc rc)
{
	if (rc == OK)
		rc = stages_start(s, &call->err);
	if (rc == OK)
		rc = stages_join(s, &call->err);
	stages_close(s);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

int
cmd_run(struct call *call)
{
	struct stages s;

	return run(
	    call, &s, stages_open(&s, call->conf, call_option(call, "adopt-slot"), &call->err));
}

int
cmd_producer(struct call *call)
{
	struct stages s;

	if (!call->conf->source_url) {
		fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "there is no source in the configuration; set source: postgres://...");
		return (int)call->err.exit;
	}
	return run(call, &s,
	    stages_open_one(&s, call->conf, NULL, call_option(call, "adopt-slot"), &call->err));
}

int
cmd_consumer(struct call *call)
{
	const struct conf *conf = call->conf;
	const char *name = call->argc ? call->argv[0] : NULL;
	const struct conf_sink *sink;
	struct stages s;

	if (!name && conf->nsinks == 1)
		name = conf->sinks[0].name;
	sink = name ? conf_sink(conf, name) : NULL;
	if (!sink) {
		if (!name)
			call_usage(
			    call, "the configuration has %d sinks: say which one", conf->nsinks);
		else
			fail_exit(&call->err, FATAL, EXIT_CONFIG,
			    "there is no sink '%s' in the configuration", name);
		return (int)call->err.exit;
	}
	return run(call, &s, stages_open_one(&s, conf, sink, false, &call->err));
}

static const struct command_option source_options[] = {
	{ "adopt-slot", 0, NULL, "begin with a slot that exists although the topics are empty" },
};

const struct command command_run = {
	.name = "run",
	.summary = "source and all sinks in one process",
	.usage = "[OPTIONS]",
	.examples = "towline run\ntowline run -c inv.yaml -v\n",
	.detail =
	    "Runs until SIGINT or SIGTERM; what was read by then still arrives at the sinks.\n",
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
	.detail =
	    "SINK is a name under sinks: in the configuration; it may be left out when there is"
	    " only one.\n",
	.args_max = 1,
	.run = cmd_consumer,
};
