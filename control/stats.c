/*
 * towline stats: what every node of the cluster says of itself, from the progress topic alone.
 */
#include "control/stats.h"
#include "control/command.h"
#include "control/human.h"
#include "core/now.h"
#include "core/stop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

enum { WATCH_S = 2, WATCH_MAX_S = 3600 };

static bool
show(const struct call *call, const struct board *b, bool watch)
{
	static const char home_and_clear[] = "\033[H\033[J";
	struct buf out = { 0 };
	bool ok;

	if (watch && !call->json && isatty(STDOUT_FILENO))
		buf_text(&out, home_and_clear);
	if (call->json)
		stats_json(
		    &out, call->conf->name, board_nodes(b), board_front(b), wall_us(), !watch);
	else
		stats_text(&out, call->conf->name, board_nodes(b), board_front(b), wall_us());
	fwrite(out.p, 1, out.n, stdout);
	ok = fflush(stdout) == 0;
	buf_free(&out);
	return ok;
}

static enum rc
run(struct call *call, struct board *b, bool watch, int64_t seconds)
{
	for (;;) {
		enum rc rc = board_update(b, true, &call->err);

		if (rc != OK || stop_requested() || !show(call, b, watch) || !watch)
			return rc;
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, (int)seconds * 1000);
		if (stop_requested())
			return OK;
		if (!call->json && !isatty(STDOUT_FILENO))
			puts("");
	}
}

int
cmd_stats(struct call *call)
{
	struct kafka kafka = { .conf = call->conf };
	struct board *b = NULL;
	int64_t seconds;
	enum rc rc = call_number(call, "every", WATCH_S, 1, WATCH_MAX_S, &seconds);

	if (rc == OK && call->conf->embedded)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "kafka: embedded lives inside towline run, so nothing else can read its topics; set http: 127.0.0.1:9187 there, "
		    "or use a real broker with kafka: HOST:PORT");
	if (rc == OK)
		rc = board_open(&kafka, &b, &call->err);
	if (rc == OK)
		rc = run(call, b, call_option(call, "watch"), seconds);
	board_close(b);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option stats_options[] = {
	{ "watch", 'w', NULL, "draw again, every 2 seconds unless --every says otherwise" },
	{ "every", 0, "SECONDS", "of --watch" },
};

const struct command command_stats = {
	.name = "stats",
	.summary = "how the cluster is: what every node says of itself",
	.usage = "[--watch]",
	.examples = "towline stats\ntowline stats --json\ntowline stats --watch --every 5\n",
	.detail =
	    "Every producer and sink publishes its progress each second; this reads the topic <name>.towline.progress and\n"
	    "asks nobody (towline status asks the databases). ENTRIES are transactions of the log, LAG, BYTES and TIME how far\n"
	    "a node is behind in transactions, bytes of the source's log and time, RECORDS the rows since its start.\n"
	    "A node that has said nothing for 5 seconds is gone.\n",
	.options = stats_options,
	.noptions = COUNTOF(stats_options),
	.run = cmd_stats,
};
