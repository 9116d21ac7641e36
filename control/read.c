/*
 * towline read, towline wait: a row at the primary or at a replica that is fresh enough, and waiting until replicas are.
 */
#include "consumer/mapping.h"
#include "consumer/marker.h"
#include "control/board.h"
#include "control/command.h"
#include "control/health.h"
#include "control/human.h"
#include "control/reach.h"
#include "control/replicas.h"
#include "control/resync.h"
#include "control/store.h"
#include "core/now.h"
#include "core/pg.h"
#include "core/stop.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { LOOK_MS = 20, SINKS_MAX = 64, KEYS_MAX = 32, TIMEOUT_US = 30000000 };

enum prefer { PREFER_REPLICA, PREFER_PRIMARY, PREFER_BOTH };

struct read_call {
	struct call *call;
	struct kafka kafka;
	struct arena arena;
	bool strong;
	uint64_t at_least; /* 0: any */
	enum prefer prefer;
	int64_t timeout_us, lag_us; /* lag_us -1: any */
	const char *node; /* who was asked */
	struct replica_list replicas;
};

static enum rc
take_timeout(struct call *call, int64_t *us)
{
	const char *text = call_option(call, "timeout");

	*us = TIMEOUT_US;
	return !text || health_span(text, us)
	    ? OK
	    : call_usage(
		  call, "--timeout takes a time such as 500ms, 30s or 2m, not '%.60s'", text);
}

static void
pause_ms(int ms)
{
	poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, ms);
}

/* ---- wait ---- */

static enum rc
wait_sink(struct call *call, const struct conf_sink *sink, struct board *b, uint64_t lsn, int64_t until)
{
	struct marker at = { 0 };
	char have[20], want[20];
	enum rc rc;

	for (;;) {
		rc = reach_sink_at(call->conf, sink, NULL, &at, &call->err);
		if (rc == FATAL || rc == REJECT || (rc == OK && reach_reached(b, &at, lsn)))
			return rc;
		if (stop_requested())
			return fail_exit(&call->err, FATAL, EXIT_INTERRUPTED, "interrupted");
		if (now_us() > until)
			break;
		pause_ms(LOOK_MS);
	}
	if (rc != OK)
		return rc;
	return fail(&call->err, FATAL, "sink %s is at %s and has not reached %s in time",
	    sink->name, pg_lsn_text(have, at.lsn), pg_lsn_text(want, lsn));
}

int
cmd_wait(struct call *call)
{
	const char *text = call_option(call, "lsn"), *name = call_option(call, "sink");
	const struct conf *conf = call->conf;
	const struct replica *one = NULL;
	struct kafka k = { .conf = conf };
	struct replica_list l = { .n = 0 };
	int64_t us, begun = now_us();
	struct board *b = NULL;
	uint64_t lsn;
	enum rc rc = take_timeout(call, &us);

	if (rc == OK && (!text || !log_lsn(text, &lsn)))
		rc = call_usage(call, "wait needs --lsn LSN, as in --lsn 0/153C9B0");
	if (rc == OK && name && call_option(call, "all"))
		rc = call_usage(call, "--sink and --all exclude each other");
	if (rc == OK)
		rc = replicas_load(&k, &l, &call->err);
	one = name && rc == OK ? replicas_find(&l, name) : NULL;
	if (rc == OK && name && !one)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "there is no sink '%s'", name);
	if (rc == OK && !l.n)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "there is no sink in the configuration to wait for");
	if (rc == OK && !conf->embedded && !conf->foreign_topics)
		rc = board_open(&k, &b, &call->err);
	for (const struct replica *r = rc == OK ? l.first : NULL; r && rc == OK; r = r->next)
		if (!one || one == r)
			rc = wait_sink(call, r->sink, b, lsn, begun + us);
	board_close(b);
	replicas_free(&l);
	if (rc == OK && call->json)
		printf("{\"reached\":true,\"waited_ms\":%" PRId64 "}\n",
		    (now_us() - begun) / 1000);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

/* ---- read ---- */

static enum rc
take_args(struct read_call *r)
{
	static const char at_least[] = "at-least=";
	struct call *call = r->call;
	const char *how = call_option(call, "consistency"), *prefer = call_option(call, "prefer"),
		   *lag = call_option(call, "max-lag");

	r->lag_us = -1;
	if (how && strcmp(how, "strong") == 0)
		r->strong = true;
	else if (how && strncmp(how, at_least, strlen(at_least)) == 0) {
		if (!log_lsn(how + strlen(at_least), &r->at_least))
			return call_usage(call,
			    "at-least= takes an LSN such as 0/153C9B0, not '%.60s'",
			    how + strlen(at_least));
	} else if (how && strcmp(how, "eventual") != 0)
		return call_usage(
		    call, "--consistency takes strong, eventual or at-least=LSN, not '%.60s'", how);
	if (prefer && strcmp(prefer, "primary") == 0)
		r->prefer = PREFER_PRIMARY;
	else if (prefer && strcmp(prefer, "both") == 0)
		r->prefer = PREFER_BOTH;
	else if (prefer && strcmp(prefer, "replica") != 0)
		return call_usage(
		    call, "--prefer takes primary, replica or both, not '%.60s'", prefer);
	if (lag && !health_span(lag, &r->lag_us))
		return call_usage(
		    call, "--max-lag takes a time such as 500ms or 5s, not '%.60s'", lag);
	return take_timeout(call, &r->timeout_us);
}

/* The words of the key in its order, or COLUMN=VALUE. */
static enum rc
take_keys(struct read_call *r, const struct conf_sink *sink, const struct store_table *t, struct store_value *keys, int *n)
{
	struct call *call = r->call;

	*n = call->argc - 1;
	if (!t->nkeys)
		return fail_exit(&call->err, FATAL, EXIT_USAGE, "table %s has no primary key at %s",
		    t->named, r->node);
	if (*n != t->nkeys || *n > KEYS_MAX)
		return call_usage(
		    call, "the key of %s has %d columns, not %d", t->named, t->nkeys, *n);
	for (int i = 0; i < *n; i++) {
		const char *word = call->argv[1 + i], *eq = strchr(word, '=');
		struct slice left = { word, eq ? (size_t)(eq - word) : 0 },
			     name = sink && eq ? mapping_column(sink, t->schema, t->table, left, &r->arena) : left;

		keys[i] = (struct store_value){ .col = -1, .text = word };
		for (int c = 0; c < t->ncols; c++) {
			bool named = eq && (slice_is(left, t->cols[c].name) || slice_is(name, t->cols[c].name));

			if (t->cols[c].key && named)
				keys[i] = (struct store_value){ .col = c, .text = eq + 1 };
			else if (t->cols[c].key == i + 1 && keys[i].col < 0)
				keys[i].col = c;
		}
		for (int k = 0; k < i; k++)
			if (keys[k].col == keys[i].col)
				return call_usage(call, "column %s of the key is given twice",
				    t->cols[keys[i].col].name);
	}
	return OK;
}

static void
print_row(struct read_call *r, struct buf *json)
{
	json_t *row;

	if (r->call->json) {
		printf("{\"node\":\"%s\",\"row\":%s}\n", r->node, buf_cstr(json));
		return;
	}
	row = json_loadb(json->p, json->n, 0, NULL);
	if (row) {
		const char *name;
		json_t *v;

		json_object_foreach(row, name, v)
		{
			char *text = json_is_string(v)
			    ? strdup(json_string_value(v))
			    : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

			printf("%s: %s\n", name, text ? text : "");
			free(text);
		}
		json_decref(row);
	} else {
		printf("%s\n", buf_cstr(json));
	}
}

/*
 * What the progress topic said of it may be a second old, and since then it may have been emptied, its marker put to the end of the log.
 * Whoever does that says so first. AGAIN: it was done, what it answers counts for nothing.
 */
static enum rc
still_whole(struct read_call *r, const struct conf_sink *sink)
{
	bool anew = false;
	enum rc rc = resync_stands(&r->kafka, sink, &anew, &r->call->err);

	return rc == OK && anew ? AGAIN : rc;
}

/* Ask one store; sink NULL: the primary. RETRY: it cannot be reached, AGAIN: it has no such table (yet): ask another. */
static enum rc
ask(struct read_call *r, const char *node, const char *url, const struct conf_sink *sink)
{
	struct err *err = &r->call->err;
	struct store_value keys[KEYS_MAX];
	struct buf json = { 0 };
	struct store *s = NULL;
	struct store_table t;
	bool found = false;
	int n = 0;
	enum rc rc = store_open(url, false, &s, err);

	r->node = node;
	if (rc == OK)
		rc = store_table(s, r->call->conf, r->call->argv[0], sink, &r->arena, &t, err);
	if (rc != OK && sink && err->exit == EXIT_USAGE)
		rc = AGAIN;
	if (rc == OK)
		rc = take_keys(r, sink, &t, keys, &n);
	if (rc == OK)
		rc = store_get(s, &t, keys, n, &json, &found, err);
	if (rc == OK && sink)
		rc = still_whole(r, sink);
	if (rc == OK && found)
		print_row(r, &json);
	if (rc == OK && !found)
		rc = fail(err, FATAL, "there is no such row in %s at %s", r->call->argv[0], node);
	if (rc == REJECT && err->exit == EXIT_FAILED)
		rc = fail(err, FATAL, "%s", err->text);
	buf_free(&json);
	store_close(s);
	return rc;
}

static enum rc
ask_primary(struct read_call *r)
{
	if (!r->call->conf->source_url)
		return fail_exit(&r->call->err, FATAL, EXIT_CONFIG,
		    "no replica serves this read, and there is no source in the configuration");
	return ask(r, "primary", r->call->conf->source_url, NULL);
}

static uint64_t
draw(void)
{
	uint64_t v = 0;

	if (getrandom(&v, sizeof v, 0) != sizeof v)
		die("getrandom failed");
	return v;
}

/* The sinks that the board calls healthy, drawn one by one: *left shrinks. -1: none is left. */
static int
draw_sink(struct read_call *r, const struct board *b, bool *tried)
{
	const struct progress *list[SINKS_MAX];
	int which[SINKS_MAX], n = 0, k = 0, i;

	for (const struct replica *at = r->replicas.first; at && k < SINKS_MAX; at = at->next, k++) {
		const struct progress *p = board_sink(b, at->sink->name);

		if (p && !tried[k]) {
			list[n] = p;
			which[n++] = k;
		}
	}
	i = health_choose(list, n, r->lag_us, wall_us(), draw());
	return i < 0 ? -1 : which[i];
}

/* sinks.NAME.tables: a replica that does not take the table cannot serve it. */
static bool
takes(const struct conf *conf, const struct conf_sink *sink, const char *table)
{
	const char *dot = strchr(table, '.');

	return conf_sink_wants(sink, dot ? (struct slice){ table, (size_t)(dot - table) } : conf_schema(conf),
	    slice_of(dot ? dot + 1 : table));
}

/* A round over the healthy replicas. AGAIN: none could serve it now. */
static enum rc
ask_replicas(struct read_call *r, struct board *b)
{
	const struct conf *conf = r->call->conf;
	bool tried[SINKS_MAX] = { false };
	int k;

	while ((k = draw_sink(r, b, tried)) >= 0) {
		const struct replica *which = r->replicas.first;
		const struct conf_sink *sink;
		struct marker at = { 0 };
		enum rc rc;

		for (int i = 0; i < k; i++)
			which = which->next;
		sink = which->sink;
		rc = r->at_least ? reach_sink_at(conf, sink, NULL, &at, &r->call->err) : OK;

		tried[k] = true;
		if (!takes(conf, sink, r->call->argv[0]))
			continue;
		if (rc == OK && r->at_least && !reach_reached(b, &at, r->at_least))
			continue;
		if (rc == OK)
			rc = ask(r, sink->name, sink->url, sink);
		if (rc != RETRY && rc != AGAIN)
			return rc;
	}
	return AGAIN;
}

static enum rc
serve(struct read_call *r, struct board *b)
{
	int64_t until = now_us() + r->timeout_us;
	enum rc rc;

	for (;;) {
		rc = board_update(b, true, &r->call->err);
		if (rc == OK)
			rc = ask_replicas(r, b);
		if (rc != AGAIN || !r->at_least || now_us() > until || stop_requested())
			break;
		pause_ms(LOOK_MS);
	}
	/* What is committed at the primary is there: it serves every LSN. */
	return rc == AGAIN || rc == RETRY ? ask_primary(r) : rc;
}

int
cmd_read(struct call *call)
{
	struct read_call r = { .call = call, .kafka = { .conf = call->conf } };
	struct board *b = NULL;
	enum rc rc = take_args(&r);
	bool primary = r.strong || r.prefer == PREFER_PRIMARY;

	if (r.prefer == PREFER_BOTH)
		primary = primary || draw() % (uint64_t)(call->conf->nsinks + 1) == 0;
	if (rc == OK && (primary || call->conf->embedded))
		rc = ask_primary(&r);
	/* A primary that is away is no reason to fail where an older row will do. */
	if (rc == OK && (primary || call->conf->embedded))
		goto out;
	if (primary && (rc != RETRY || r.strong))
		goto out;
	if (rc == OK || rc == RETRY)
		rc = board_open(&r.kafka, &b, &call->err);
	if (rc == OK)
		rc = replicas_load(&r.kafka, &r.replicas, &call->err);
	if (rc == OK)
		rc = serve(&r, b);
out:
	board_close(b);
	replicas_free(&r.replicas);
	arena_free(&r.arena);
	if (rc == OK)
		call->err = (struct err){ .rc = OK };
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option read_options[] = {
	{ "consistency", 0, "HOW",
	    "strong: the primary; eventual (standard): a healthy replica; at-least=LSN: one that has it" },
	{ "prefer", 0, "WHO", "replica (standard), primary, or both: who is asked first" },
	{ "max-lag", 0, "TIME", "no replica that is further behind" },
	{ "timeout", 0, "TIME",
	    "how long at-least= waits for a replica (30s); then the primary is asked" },
};

const struct command command_read = {
	.name = "read",
	.summary = "one row by its key, at the primary or a replica",
	.usage = "[OPTIONS] TABLE KEY...",
	.examples = "towline read orders 7\ntowline read order_lines 7 2 --consistency strong\n"
		    "towline read orders 7 --consistency at-least=0/153C9B0 --timeout 2s --json\n",
	.detail =
	    "KEY: the primary key's columns in their order, a word each, or COLUMN=VALUE. Replicas that are healthy by the\n"
	    "progress topic are drawn at random; where there is none the primary is asked. at-least= reads the marker in\n"
	    "the replica itself: a row that is printed is of that LSN or later,\n"
	    "unless its key waits in that replica's dead letters. Ends with 1 when there is no such row.\n",
	.options = read_options,
	.noptions = COUNTOF(read_options),
	.args_min = 2,
	.args_max = -1,
	.run = cmd_read,
};

static const struct command_option wait_options[] = {
	{ "lsn", 0, "LSN", "what must be applied" },
	{ "sink", 0, "NAME", "at this sink" },
	{ "all", 0, NULL, "at all sinks of the configuration; so it is without --sink too" },
	{ "timeout", 0, "TIME", "how long at most (30s)" },
};

const struct command command_wait = {
	.name = "wait",
	.summary = "until sinks have applied an LSN",
	.usage = "--lsn LSN [--sink NAME | --all] [--timeout 30s]",
	.examples =
	    "towline wait --lsn 0/153C9B0\ntowline wait --lsn 0/153C9B0 --sink reports --timeout 5s\n",
	.detail =
	    "Looks at the marker in the sink itself. Ends with 1 when the time is over, and says how far the sink is.\n",
	.options = wait_options,
	.noptions = COUNTOF(wait_options),
	.run = cmd_wait,
};
