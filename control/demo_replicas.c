/*
 * demo_replicas.c - `towline demo primary-replica`: a primary, three replicas of different delay, and what a reader sees of them.
 *
 * Each step is a claim, checked; the demo ends with EXIT_DIFFERENT when one did not hold.
 */
#include "control/demo.h"
#include "control/health.h"
#include "control/human.h"
#include "control/store.h"
#include "core/now.h"
#include "core/stop.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { REPLICAS = 3, ROWS = 20, STEP_MS = 30000, LOOK_MS = 10 };

static const struct {
	const char *name, *delay;
	int64_t delay_us;
} replicas[REPLICAS] = { { "near", "0", 0 }, { "later", "2s", 2000000 },
	{ "latest", "5s", 5000000 } };

struct show {
	struct demo *d;
	int64_t wrote_us; /* when the last change was committed */
	int held, failed;
};

static void
claim(struct show *s, bool holds, const char *label, const char *what)
{
	demo_say(&s->d->show, label, "%s %s", holds ? "ok " : "NOT", what);
	s->held += holds;
	s->failed += !holds;
}

/* ---- the stores ---- */

static const char *
url_of(struct show *s, int i)
{
	return i < 0 ? s->d->source_url : s->d->conf.sinks[i].url;
}

/* Balance of account id at replica i (-1: the primary); -1: there is none. */
static enum rc
balance(struct show *s, int i, const char *id, long *out, struct err *err)
{
	struct store_value key = { .col = 0, .text = id };
	struct arena a = { 0 };
	struct buf json = { 0 };
	struct store *st = NULL;
	struct store_table t;
	bool found = false;
	const char *at;
	enum rc rc = store_open(url_of(s, i), false, &st, err);

	*out = -1;
	if (rc == OK)
		rc = store_table(st, &s->d->conf, "account", NULL, &a, &t, err);
	if (rc == OK)
		rc = store_get(st, &t, &key, 1, &json, &found, err);
	at = found ? strstr(buf_cstr(&json), "\"balance\":") : NULL;
	if (at)
		*out = strtol(at + strlen("\"balance\":"), NULL, 10);
	/* A replica without the file or the table has no row either. */
	if (i >= 0 && rc != OK) {
		*err = (struct err){ .rc = OK };
		rc = OK;
	}
	buf_free(&json);
	store_close(st);
	arena_free(&a);
	return rc;
}

static enum rc
put(struct show *s, enum store_write what, const char *id, const char *value, struct err *err)
{
	struct store_value v[] = { { .col = 0, .text = id }, { .col = 1, .text = value } };
	struct arena a = { 0 };
	struct store *st = NULL;
	struct store_table t;
	uint32_t xid;
	uint64_t lsn;
	enum rc rc = store_open(s->d->source_url, true, &st, err);

	if (rc == OK)
		rc = store_table(st, &s->d->conf, "account", NULL, &a, &t, err);
	if (rc == OK)
		rc = store_write(st, &t, what, v, 2, &xid, &lsn, err);
	s->wrote_us = wall_us();
	store_close(st);
	arena_free(&a);
	return rc;
}

/* Until the account is so at replica i. */
static enum rc
await_balance(struct show *s, int i, const char *id, long want, struct err *err)
{
	int64_t until = now_us() + STEP_MS * INT64_C(1000);
	long have = -1;
	enum rc rc = OK;

	while (rc == OK && (rc = balance(s, i, id, &have, err)) == OK && have != want) {
		if (now_us() > until)
			return fail(err, FATAL,
			    "replica %s does not come to what was written within %d s",
			    replicas[i].name, STEP_MS / 1000);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, LOOK_MS);
		if (stop_requested())
			rc = fail_exit(
			    err, RETRY, EXIT_INTERRUPTED, "stopped before it came to an end");
	}
	return rc;
}

/* ---- what the progress says ---- */

static int64_t
lag_of(struct show *s, int i, bool *running)
{
	struct arena a = { 0 };
	struct progress *p;
	int64_t lag = -1;
	int n = report_now(s->d->stages.report, &a, &p);

	*running = false;
	for (int k = 0; k < n; k++)
		if (i < 0 ? p[k].role == PROGRESS_PRODUCER
			  : strcmp(p[k].sink, replicas[i].name) == 0) {
			lag = p[k].lag_entries;
			*running = strcmp(p[k].state, "running") == 0;
		}
	arena_free(&a);
	return lag;
}

static enum rc
await_running(struct show *s, struct err *err)
{
	int64_t until = now_us() + STEP_MS * INT64_C(1000);

	for (int i = -1; i < REPLICAS; i++)
		for (bool up = false; !up;) {
			(void)lag_of(s, i, &up);
			poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, LOOK_MS);
			if (stop_requested())
				return fail_exit(err, RETRY, EXIT_INTERRUPTED,
				    "stopped before it came to an end");
			if (!up && now_us() > until)
				return fail(err, FATAL,
				    "the cluster does not start within %d s; more with -v",
				    STEP_MS / 1000);
		}
	return OK;
}

/* ---- setting up ---- */

static enum rc
set_up(struct show *s, struct err *err)
{
	struct demo *d = s->d;
	const char **sets = arena_array(&d->arena, (size_t)d->call->nsets + 16, sizeof *sets);
	int n = 0;
	PGconn *conn = NULL;
	enum rc rc = demo_tools_find(&d->arena, &d->tools, err);

	if (rc == OK)
		rc = demo_cluster_start(&d->tools, &d->arena, d->dir, "primary", &d->source, err);
	if (rc != OK)
		return rc;
	d->source_url = demo_cluster_url(&d->source, &d->arena, "postgres");
	rc = pg_connect(d->source_url, false, &conn, err);
	if (rc == OK)
		rc = pg_exec(conn, "create the table",
		    "CREATE TABLE public.account (id int PRIMARY KEY, balance int)", NULL, err);
	PQfinish(conn);
	sets[n++] = "log.level=warn";
	for (int i = 0; i < d->call->nsets; i++)
		sets[n++] = d->call->sets[i];
	sets[n++] = "name=demo";
	sets[n++] = arena_printf(&d->arena, "source.url=%s", d->source_url);
	sets[n++] = "kafka.brokers=embedded";
	for (int i = 0; i < REPLICAS; i++) {
		sets[n++] = arena_printf(&d->arena, "sinks.%s.url=sqlite:%s/%s.db",
		    replicas[i].name, d->dir, replicas[i].name);
		sets[n++] = arena_printf(
		    &d->arena, "sinks.%s.delay=%s", replicas[i].name, replicas[i].delay);
	}
	if (rc == OK)
		rc = conf_load(&d->conf, NULL, sets, n, err);
	if (rc != OK)
		return rc;
	call_setup_log(d->call, &d->conf);
	rc = stages_open(&d->stages, &d->conf, false, err);
	d->opened = true;
	if (rc == OK)
		rc = stages_start(&d->stages, err);
	d->running = rc == OK;
	return rc == OK ? await_running(s, err) : rc;
}

/* ---- steps ---- */

/* One commit: the primary has it at once, each replica when its delay is over and not before. */
static enum rc
one_change(struct show *s, enum store_write what, const char *id, const char *value, long before,
    struct err *err)
{
	char text[160], span[HUMAN_MAX];
	long want = strtol(value, NULL, 10), have = -1;
	bool up;
	enum rc rc = put(s, what, id, value, err);

	if (rc == OK)
		rc = balance(s, -1, id, &have, err);
	if (rc == OK)
		claim(s, have == want, "strong", "a read at the primary sees it at once");
	if (rc == OK)
		rc = balance(s, REPLICAS - 1, id, &have, err);
	if (rc == OK)
		claim(s, have == before, "eventual",
		    "a read at the most delayed replica does not see it yet");
	for (int i = 0; rc == OK && i < REPLICAS; i++) {
		int64_t took;

		rc = await_balance(s, i, id, want, err);
		took = wall_us() - s->wrote_us;
		snprintf(text, sizeof text, "has it %s after the commit (delay %s)",
		    human_span(span, took), replicas[i].delay);
		/* The commit is some milliseconds older than our note of it. */
		if (rc == OK)
			claim(s, took >= replicas[i].delay_us - 200000, replicas[i].name, text);
		if (rc == OK && i == 0) {
			int64_t lag, until = now_us() + replicas[REPLICAS - 1].delay_us / 2;

			/* A quick sink is ahead of the producer's own reading of its group, by which lag is counted. */
			while ((lag = lag_of(s, REPLICAS - 1, &up)) <= 0 && now_us() < until && !stop_requested())
				poll(NULL, 0, LOOK_MS);
			snprintf(text, sizeof text,
			    "%s is %" PRId64 " transactions behind meanwhile",
			    replicas[REPLICAS - 1].name, lag);
			claim(s, lag > 0, "lag", text);
		}
	}
	return rc;
}

static enum rc
no_lag(struct show *s, struct err *err)
{
	int64_t until = now_us() + STEP_MS * INT64_C(1000);
	bool up = true, none = true;

	(void)err;
	for (int i = 0; i < REPLICAS; i++)
		while (lag_of(s, i, &up) != 0 && (none = now_us() < until) &&
		    !stop_requested())
			poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, LOOK_MS);
	claim(s, none && up, "lag", "gone: every replica has all of the log");
	return OK;
}

static enum rc
all_equal(struct show *s, struct err *err)
{
	int differ = 0;
	enum rc rc = OK;

	for (int row = 1; rc == OK && row <= ROWS; row++) {
		char id[16];
		long primary = -1, have = -1;

		snprintf(id, sizeof id, "%d", row);
		rc = balance(s, -1, id, &primary, err);
		for (int i = 0; rc == OK && i < REPLICAS; i++) {
			rc = balance(s, i, id, &have, err);
			differ += have != primary || primary < 0;
		}
	}
	if (rc == OK)
		claim(s, differ == 0, "equal",
		    "all rows of the primary are the same at all replicas");
	return rc;
}

/* A random healthy replica serves an eventual read. */
static enum rc
routed(struct show *s, struct err *err)
{
	const struct progress *list[REPLICAS];
	struct arena a = { 0 };
	struct progress *p;
	char text[160];
	uint64_t random = 0;
	long have = -1;
	int n = report_now(s->d->stages.report, &a, &p), m = 0, k;
	enum rc rc = OK;

	for (int i = 0; i < n && m < REPLICAS; i++)
		if (p[i].role == PROGRESS_SINK)
			list[m++] = &p[i];
	(void)!getrandom(&random, sizeof random, 0);
	k = health_choose(list, m, -1, wall_us(), random);
	for (int i = 0; k >= 0 && i < REPLICAS; i++)
		if (strcmp(replicas[i].name, list[k]->sink) == 0)
			rc = balance(s, i, "1", &have, err);
	snprintf(text, sizeof text, "an eventual read went to %s, drawn from %d healthy replicas",
	    k >= 0 ? list[k]->sink : "nobody", m);
	if (rc == OK)
		claim(s, k >= 0 && have == 150, "route", text);
	arena_free(&a);
	return rc;
}

enum rc
demo_replicas(struct demo *d, struct err *err)
{
	struct show s = { .d = d };
	char id[16];
	enum rc rc = set_up(&s, err);

	if (rc == OK)
		demo_say(&d->show, "cluster",
		    "a PostgreSQL primary; SQLite replicas near (no delay), later (2 s), latest (5 s)");
	if (rc == OK)
		demo_say(&d->show, "write", "%d accounts", ROWS);
	for (int i = 2; rc == OK && i <= ROWS; i++) {
		snprintf(id, sizeof id, "%d", i);
		rc = put(&s, STORE_INSERT, id, "100", err);
	}
	if (rc == OK)
		rc = one_change(&s, STORE_INSERT, "1", "100", -1, err);
	if (rc == OK)
		demo_say(&d->show, "update", "account 1: 100 -> 150");
	if (rc == OK)
		rc = one_change(&s, STORE_UPDATE, "1", "150", 100, err);
	if (rc == OK)
		rc = no_lag(&s, err);
	if (rc == OK)
		rc = routed(&s, err);
	if (rc == OK)
		rc = all_equal(&s, err);
	if (rc != OK)
		return rc;
	demo_say(&d->show, "end", "%d claims held, %d did not", s.held, s.failed);
	if (d->call->json)
		printf("{\"held\":%d,\"failed\":%d}\n", s.held, s.failed);
	return s.failed ? fail_exit(err, REJECT, EXIT_DIFFERENT, "%d claims did not hold", s.failed)
			: OK;
}
