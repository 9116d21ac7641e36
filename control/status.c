/*
 * towline status: where every node of the pipeline is.
 */
#include "control/status.h"
#include "control/command.h"
#include "core/buf.h"
#include "core/stop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WATCH_S = 2, WATCH_MAX_S = 3600 };

/* One picture, in one write: a redraw does not flicker. */
static bool
show(const struct status *s, bool json, bool watch)
{
	static const char home_and_clear[] = "\033[H\033[J";
	struct buf out = { 0 };
	bool ok;

	if (watch && !json && isatty(STDOUT_FILENO))
		buf_text(&out, home_and_clear);
	if (json)
		status_json(s, !watch, &out);
	else
		status_text(s, &out);
	fwrite(out.p, 1, out.n, stdout);
	ok = fflush(stdout) == 0;
	buf_free(&out);
	return ok;
}

static enum rc
watch_seconds(struct call *call, int *seconds)
{
	const char *text = call->argc ? call->argv[0] : NULL;
	char *end;
	long v;

	*seconds = WATCH_S;
	if (!text)
		return OK;
	if (!call_option(call, "watch"))
		return call_usage(call, "status does not know what to do with '%.60s'", text);
	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < 1 || v > WATCH_MAX_S)
		return call_usage(call, "--watch takes whole seconds from 1 to %d, not '%.60s'", WATCH_MAX_S, text);
	*seconds = (int)v;
	return OK;
}

int
cmd_status(struct call *call)
{
	struct kafka kafka = { .conf = call->conf };
	struct status s = { .kafka = &kafka, .conf = call->conf };
	bool watch = call_option(call, "watch"), ok;
	int seconds;

	if (watch_seconds(call, &seconds))
		return (int)call->err.exit;
	for (;;) {
		status_look(&s);
		if (stop_requested())
			break;
		ok = show(&s, call->json, watch);
		if (!watch || !ok)
			break;
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, seconds * 1000);
		if (stop_requested())
			break;
		if (!call->json && !isatty(STDOUT_FILENO))
			puts("");
	}
	ok = s.unreachable && !stop_requested();
	cluster_close(&s.cluster);
	arena_free(&s.arena);
	return ok ? EXIT_UNREACHABLE : EXIT_DONE;
}

static const struct command_option status_options[] = {
	{ "watch", 0, NULL, "draw again every 2 seconds, or SECONDS" },
};

const struct command command_status = {
	.name = "status",
	.summary = "where source, spine and sinks are, and what is wrong",
	.usage = "[--watch [SECONDS]]",
	.examples = "towline status\ntowline status --watch 5\n",
	.detail = "One table; below it, in words, what somebody should look after. The source's LSN is what its slot has\n"
	    "confirmed, BEHIND the WAL that came after; a sink's BEHIND counts the transactions that Kafka has and the\n"
	    "sink has not, LAG is the commit time of the last of them less that of the sink's own last one.\n"
	    "Ends with 4 when something cannot be reached; the rest is shown all the same.\n",
	.options = status_options,
	.noptions = COUNTOF(status_options),
	.args_max = 1,
	.run = cmd_status,
};
