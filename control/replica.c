/*
 * towline replica: sinks added to a running cluster, and taken away.
 */
#include "control/board.h"
#include "control/command.h"
#include "control/health.h"
#include "control/human.h"
#include "control/replicas.h"
#include "core/now.h"
#include "core/quote.h"

#include <inttypes.h>
#include <stdio.h>

static enum rc
list(struct call *call, const struct kafka *k)
{
	struct replica_list l;
	struct board *b = NULL;
	const char *sep = "";
	enum rc rc = replicas_load(k, &l, &call->err);

	if (rc == OK)
		rc = board_open(k, &b, &call->err);
	if (rc == OK)
		rc = board_update(b, true, &call->err);
	if (rc == OK && call->json)
		printf("[");
	for (const struct replica *r = rc == OK ? l.first : NULL; r; r = r->next) {
		const struct progress *p = board_sink(b, r->sink->name);
		const char *url = conf_mask_url(&l.own.arena, r->sink->url),
			   *state = p ? board_state(p, wall_us()) : "not started";
		struct buf line = { 0 };

		if (call->json) {
			buf_printf(&line, "%s{\"name\":\"%s\",\"url\":", sep, r->sink->name);
			quote_json(&line, slice_of(url));
			buf_printf(&line,
			    ",\"from\":\"%s\",\"delay_ms\":%" PRId64
			    ",\"state\":\"%s\",\"syncing\":%s,\"reason\":",
			    *r->node ? "control" : "configuration", r->sink->delay_ms, state,
			    p && p->syncing ? "true" : "false");
			quote_json(&line, slice_of(p ? p->reason : ""));
			buf_text(&line, "}");
		} else {
			buf_printf(&line, "%-16s %-12s %s%s%s%s\n", r->sink->name, state, url,
			    *r->node ? "" : "  (configuration)", p && *p->reason ? "  " : "",
			    p ? p->reason : "");
		}
		fwrite(line.p, 1, line.n, stdout);
		buf_free(&line);
		sep = ",";
	}
	if (rc == OK && call->json)
		printf("]\n");
	board_close(b);
	replicas_free(&l);
	return rc;
}

static enum rc
add(struct call *call, const struct kafka *k)
{
	const char *delay = call_option(call, "delay"), *node = call_option(call, "node");
	int64_t us = 0;

	if (call->argc != 3)
		return call_usage(call, "replica add needs a NAME and a URL");
	if (delay && !health_span(delay, &us))
		return call_usage(
		    call, "--delay takes a time such as 500ms, 30s or 2m, not '%.60s'", delay);
	return replicas_add(
	    k, call->argv[1], call->argv[2], us / 1000, node ? node : call->conf->node, &call->err);
}

int
cmd_replica(struct call *call)
{
	struct kafka k = { .conf = call->conf };
	const char *what = call->argv[0];
	enum rc rc;

	if (call->conf->embedded || call->conf->foreign_topics)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "replicas are added through Towline's own topics in a real Kafka; set kafka: HOST:PORT");
	else if (strcmp(what, "ls") == 0 && call->argc == 1)
		rc = list(call, &k);
	else if (strcmp(what, "add") == 0)
		rc = add(call, &k);
	else if (strcmp(what, "remove") == 0 && call->argc == 2)
		rc = replicas_remove(&k, call->argv[1], &call->err);
	else
		rc = call_usage(call, "replica takes add NAME URL, remove NAME, or ls");
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option replica_options[] = {
	{ "delay", 0, "TIME", "of add: keep it so far behind on purpose" },
	{ "node", 0, "NODE",
	    "of add: the towline run with this 'node' feeds it (standard: the configuration's)" },
};

const struct command command_replica = {
	.name = "replica",
	.summary = "add a replica to the running cluster, remove one, list them",
	.usage = "add NAME URL [--delay TIME] | remove NAME | ls",
	.examples =
	    "towline replica add night sqlite:/var/lib/towline/night.db --delay 30m\ntowline replica ls\n",
	.detail =
	    "Takes effect in the towline run of that node, without a restart. A new replica starts at the beginning of the log;\n"
	    "where the topics no longer hold that it gets copies of the tables (towline resync). The URL stands in the topic\n"
	    "<name>.towline.control: keep its password elsewhere (service=, .pgpass). A replica that fails keeps its reason, is not\n"
	    "read from, and is tried again every 5 seconds. What remove leaves behind: the rows, as they were.\n",
	.options = replica_options,
	.noptions = COUNTOF(replica_options),
	.args_min = 1,
	.args_max = 3,
	.run = cmd_replica,
};
