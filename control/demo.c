/*
 * towline demo: the whole of it, live and proven, with nothing to set up. Private servers in a
 * temporary directory, the pipeline in this process, and at the end every row compared.
 */
#include "control/demo.h"

#include "control/command.h"
#include "control/demo_cluster.h"
#include "control/human.h"
#include "core/now.h"
#include "core/stop.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SETTLE_MS = 60000,
	SECONDS = 10,
	SECONDS_MAX = 600,
	RATE = 500,
	RATE_MAX = 100000,
	OWN_SETS = 12
};

extern char **environ;

/* ---- directory and environment ---- */

static enum rc
take_dir(struct demo *d, const char *given, struct err *err)
{
	const char *tmp = getenv("TMPDIR");
	char *made;

	if (given) {
		if (mkdir(given, 0711) == 0)
			d->made_dir = true;
		else
			return fail_exit(err, FATAL, EXIT_USAGE,
			    "cannot make the directory %s: %s; name one that does not exist", given,
			    strerror(errno));
		made = realpath(given, NULL);
		if (!made)
			return fail(err, FATAL, "%s: %s", given, strerror(errno));
		d->dir = arena_text(&d->arena, slice_of(made));
		free(made);
		return OK;
	}
	made = arena_printf(&d->arena, "%s/towline-demo.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(made) || chmod(made, 0711)) /* the server's user passes through */
		return fail(err, FATAL, "cannot make a directory %s: %s", made, strerror(errno));
	d->dir = made;
	d->made_dir = true;
	return OK;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	(void)!remove(path);
	return 0;
}

static void
remove_dir(struct demo *d)
{
	if (d->made_dir && !d->keep)
		nftw(d->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What the user's shell says of other databases and pipelines is not for this one. */
static void
clear_environment(void)
{
	for (char **e = environ; *e;) {
		size_t n = strcspn(*e, "=");
		char name[128];

		if ((strncmp(*e, "PG", 2) == 0 || strncmp(*e, "TOWLINE_", 8) == 0) &&
		    n < sizeof name) {
			snprintf(name, sizeof name, "%.*s", (int)n, *e);
			unsetenv(name);
			e = environ;
		} else {
			e++;
		}
	}
}

/* ---- waiting ---- */

/*
 * A moment, in which the lags are watched. RETRY when the end was asked for, or a stage has failed.
 */
static enum rc
moment(struct demo *d, int ms, struct err *err)
{
	poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, ms);
	for (int i = 0; i < DEMO_SINKS && d->opened; i++)
		demo_lag_look(&d->lags[i], &d->stages.flow, i);
	return stop_requested()
	    ? fail_exit(err, RETRY, EXIT_INTERRUPTED, "stopped before it came to an end")
	    : OK;
}

/* One number or text of one query at the source. */
static enum rc
ask(struct demo *d, const char *sql, char *out, size_t size, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(d->admin, "ask the source", sql, &res, err);

	if (rc != OK)
		return rc;
	snprintf(out, size, "%s", PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
	PQclear(res);
	return OK;
}

/* Until every sink has said, in its own database, that it has come to lsn. */
static enum rc
await_sinks(struct demo *d, uint64_t lsn, void (*draw)(struct demo *d), struct err *err)
{
	int64_t until = now_us() + SETTLE_MS * 1000LL;
	enum rc rc = OK;

	for (int i = 0; i < DEMO_SINKS; i++) {
		uint64_t at = 0, seen = 0;

		while (rc == OK &&
		    (rc = demo_reader_lsn(d->readers[i], d->conf.name, &at, err)) == OK &&
		    at < lsn) {
			if (at > seen) {
				seen = at;
				until = now_us() + SETTLE_MS * 1000LL;
			}
			if (now_us() > until)
				return fail(err, FATAL,
				    "sink %s does not come to the source's position within %d s",
				    d->conf.sinks[i].name, SETTLE_MS / 1000);
			rc = moment(d, 1, err);
			if (rc == OK && draw && demo_show_due(&d->show, now_us()))
				draw(d);
		}
	}
	return rc;
}

/* The source is quiet but for the change that sql makes: wait until all sinks have that. */
static enum rc
barrier(struct demo *d, const char *sql, void (*draw)(struct demo *d), struct err *err)
{
	char text[32];
	uint64_t lsn = 0;
	enum rc rc = ask(d, "SELECT pg_current_wal_insert_lsn()", text, sizeof text, err);

	if (rc == OK && !pg_lsn_parse(text, &lsn))
		rc = fail(err, FATAL, "the source's position is none: %s", text);
	if (rc == OK)
		rc = pg_exec(d->admin, "barrier", sql, NULL, err);
	return rc == OK ? await_sinks(d, lsn, draw, err) : rc;
}

/* ---- setting up ---- */

static enum rc
start_servers(struct demo *d, struct err *err)
{
	struct demo_cluster *at = d->kafka ? &d->other : &d->source;
	PGconn *conn = NULL;
	enum rc rc = demo_tools_find(&d->arena, &d->tools, err);

	if (rc == OK)
		rc = demo_cluster_start(&d->tools, &d->arena, d->dir, "source", &d->source, err);
	if (rc == OK && d->kafka)
		rc = demo_cluster_start(&d->tools, &d->arena, d->dir, "replica", &d->other, err);
	if (rc != OK)
		return rc;
	rc = pg_connect(demo_cluster_url(&d->source, &d->arena, "postgres"), false, &conn, err);
	if (rc == OK)
		rc = pg_exec(conn, "create the source", "CREATE DATABASE shop", NULL, err);
	PQfinish(conn);
	conn = NULL;
	if (rc == OK)
		rc = pg_connect(demo_cluster_url(at, &d->arena, "postgres"), false, &conn, err);
	if (rc == OK)
		rc = pg_exec(conn, "create the sink", "CREATE DATABASE replica", NULL, err);
	PQfinish(conn);
	d->source_url = demo_cluster_url(&d->source, &d->arena, "shop");
	if (rc == OK)
		rc = demo_load_open(&d->load, d->source_url, (int)d->rate, err);
	return rc == OK ? pg_connect(d->source_url, false, &d->admin, err) : rc;
}

/* The user's --set come first: what the demo stands on is not for them to move. */
static enum rc
configure(struct demo *d, struct err *err)
{
	const struct demo_cluster *at = d->kafka ? &d->other : &d->source;
	const char **sets = arena_array(&d->arena, (size_t)d->call->nsets + OWN_SETS, sizeof *sets);
	int n = 0;
	enum rc rc;

	sets[n++] = "log.level=warn";
	sets[n++] = "memory=128MB"; /* a source and two sinks in one process */
	for (int i = 0; i < d->call->nsets; i++)
		sets[n++] = d->call->sets[i];
	/* A broker that is there may hold the topics of an earlier demo. */
	sets[n++] = d->kafka ? arena_printf(&d->arena, "name=demo%d", (int)getpid()) : "name=demo";
	sets[n++] = arena_printf(&d->arena, "source.url=%s", d->source_url);
	sets[n++] = arena_printf(&d->arena, "kafka.brokers=%s", d->kafka ? d->kafka : "embedded");
	sets[n++] = arena_printf(
	    &d->arena, "sinks.replica.url=%s", demo_cluster_url(at, &d->arena, "replica"));
	sets[n++] = arena_printf(&d->arena, "sinks.file.url=sqlite:%s/replica.db", d->dir);
	rc = conf_load(&d->conf, NULL, sets, n, err);
	if (rc == OK)
		call_setup_log(d->call, &d->conf);
	return rc;
}

/* The pipeline runs when its slot does: what is written from then on is copied. */
static enum rc
start_pipeline(struct demo *d, struct err *err)
{
	int64_t until = now_us() + SETTLE_MS * 1000LL;
	char active[8] = "";
	enum rc rc = stages_open(&d->stages, &d->conf, false, err);

	d->opened = true;
	if (rc == OK)
		rc = stages_start(&d->stages, err);
	if (rc != OK)
		return rc;
	d->running = true;
	while (rc == OK && *active != 't') {
		if (now_us() > until)
			return fail(err, FATAL,
			    "the pipeline does not start within %d s; more with -v",
			    SETTLE_MS / 1000);
		rc = moment(d, 2, err);
		if (rc == OK)
			rc = ask(d, "SELECT active FROM pg_replication_slots", active,
			    sizeof active, err);
	}
	return rc;
}

static enum rc
open_readers(struct demo *d, struct err *err)
{
	enum rc rc = demo_reader_open(d->source_url, &d->source_reader, err);

	for (int i = 0; i < DEMO_SINKS && rc == OK; i++)
		rc = demo_reader_open(d->conf.sinks[i].url, &d->readers[i], err);
	return rc;
}

/* ---- phases ---- */

static enum rc
copy(struct demo *d, struct err *err)
{
	int64_t begun = now_us();
	char n[32], r[32];
	enum rc rc = OK;

	d->show.drawn_us = begun;
	demo_load_seed(&d->load);
	while (rc == OK && !atomic_load(&d->load.ended)) {
		rc = moment(d, 1, err);
		if (rc == OK && demo_show_due(&d->show, now_us()))
			demo_draw_copy(d);
	}
	if (rc == OK)
		rc = demo_load_end(&d->load, err);
	if (rc == OK)
		rc = barrier(d, "TRUNCATE public.journal", demo_draw_copy, err);
	d->copy_us = now_us() - begun;
	demo_show_clear(&d->show);
	if (rc == OK)
		demo_say(&d->show, "copy", "%s rows in %.1f s (%s rows/s)",
		    demo_number(n, demo_seed_rows), (double)d->copy_us / 1e6,
		    demo_number(r, (uint64_t)((double)demo_seed_rows * 1e6 / (double)d->copy_us)));
	return rc;
}

static enum rc
live(struct demo *d, struct err *err)
{
	int64_t begun = now_us();
	enum rc rc = OK;

	for (int i = 0; i < DEMO_SINKS; i++)
		d->lags[i].n = 0;
	d->show.drawn_us = begun;
	demo_load_live(&d->load);
	while (rc == OK && !atomic_load(&d->load.ended) &&
	    (d->live_us = now_us() - begun) < d->seconds * 1000000) {
		rc = moment(d, 1, err);
		if (rc == OK && demo_show_due(&d->show, now_us()))
			demo_draw_live(d);
	}
	if (rc == OK)
		rc = demo_load_end(&d->load, err);
	d->live_us = now_us() - begun;
	d->changes = atomic_load(&d->load.changes);
	d->transactions = atomic_load(&d->load.transactions);
	if (rc == OK)
		rc = barrier(
		    d, "INSERT INTO public.journal VALUES ('closed', NULL, now())", NULL, err);
	if (rc == OK)
		rc = demo_lag_final(d->lags, DEMO_SINKS, d->admin, d->lag, err);
	demo_show_clear(&d->show);
	return rc;
}

static enum rc
verify(struct demo *d, struct err *err)
{
	enum rc rc = OK;

	for (int t = 0; t < DEMO_TABLES && rc == OK; t++) {
		struct demo_table_result *r = &d->results[t];

		rc =
		    demo_reader_digest(d->source_reader, d->admin, demo_tables[t], &r->source, err);
		r->equal = true;
		for (int i = 0; i < DEMO_SINKS && rc == OK; i++) {
			rc = demo_reader_digest(
			    d->readers[i], d->admin, demo_tables[t], &r->sinks[i], err);
			r->equal &= demo_digest_same(&r->source, &r->sinks[i]);
		}
		d->equal += r->equal;
		d->rows += r->source.rows;
	}
	return rc;
}

/* ---- the command ---- */

static enum rc
run(struct demo *d, struct err *err)
{
	enum rc rc = start_servers(d, err);

	if (rc == OK)
		rc = configure(d, err);
	if (rc == OK)
		rc = start_pipeline(d, err);
	if (rc == OK)
		rc = open_readers(d, err);
	if (rc != OK)
		return rc;
	demo_say_what(d);
	rc = copy(d, err);
	if (rc == OK)
		demo_say_load(d);
	if (rc == OK)
		rc = live(d, err);
	if (rc != OK)
		return rc;
	demo_say_live(d);
	rc = verify(d, err);
	if (rc != OK)
		return rc;
	demo_say_verify(d);
	if (d->call->json)
		demo_print_json(d);
	return d->equal == DEMO_TABLES ? OK
				       : fail_exit(err, REJECT, EXIT_DIFFERENT,
					     "%d of %d tables differ between source and sinks",
					     DEMO_TABLES - d->equal, DEMO_TABLES);
}

/*
 * Everything that was started, in the reverse order. A stage that failed is the reason, whatever
 * came of it here.
 */
static enum rc
clean_up(struct demo *d, enum rc rc, struct err *err)
{
	struct err why;

	signal(SIGINT, SIG_IGN); /* Ctrl-C once more does not leave half of it behind */
	if (demo_load_end(&d->load, &why) != OK && rc == OK)
		*err = why, rc = why.rc;
	for (int i = 0; i < DEMO_SINKS; i++)
		demo_reader_close(d->readers[i]);
	demo_reader_close(d->source_reader);
	if (d->running) {
		stop_request();
		if (stages_join(&d->stages, &why) != OK)
			*err = why, rc = why.rc;
	}
	if (d->kafka && d->running && !d->keep &&
	    demo_topics_delete(&d->stages.kafka, &why) != OK && rc == OK)
		*err = why, rc = why.rc;
	if (d->opened)
		stages_close(&d->stages);
	demo_load_close(&d->load);
	PQfinish(d->admin);
	demo_cluster_stop(&d->other, d->keep);
	demo_cluster_stop(&d->source, d->keep);
	for (int i = 0; i < DEMO_SINKS; i++)
		demo_lag_free(&d->lags[i]);
	conf_free(&d->conf);
	if (d->keep && d->dir)
		demo_say(&d->show, "kept", "%s", d->dir);
	remove_dir(d);
	return rc;
}

int
cmd_demo(struct call *call)
{
	struct demo d = {
		.call = call, .kafka = call_option(call, "kafka"), .keep = call_option(call, "keep")
	};
	bool replicas = call->argc && strcmp(call->argv[0], "primary-replica") == 0;
	enum rc rc = call_number(call, "seconds", SECONDS, 1, SECONDS_MAX, &d.seconds);

	if (rc == OK && call->argc && !replicas)
		rc = call_usage(call, "demo takes primary-replica or nothing, not '%.60s'", call->argv[0]);
	if (rc == OK && replicas && d.kafka)
		rc = call_usage(call, "demo primary-replica runs on the broker in memory only");

	d.show =
	    (struct demo_show){ .json = call->json, .tty = !call->json && isatty(STDOUT_FILENO) };
	if (rc == OK)
		rc = call_number(call, "rate", RATE, 0, RATE_MAX, &d.rate);
	if (rc != OK)
		return (int)call->err.exit;
	clear_environment();
	rc = take_dir(&d, call_option(call, "dir"), &call->err);
	if (rc == OK)
		rc = replicas ? demo_replicas(&d, &call->err) : run(&d, &call->err);
	rc = clean_up(&d, rc, &call->err);
	arena_free(&d.arena);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option demo_options[] = {
	{ "seconds", 's', "N", "how long the live phase is (10)" },
	{ "rate", 0, "N", "transactions per second in it (500); 0: as many as go" },
	{ "kafka", 0, "HOST:PORT", "through this Kafka, not the broker in memory" },
	{ "dir", 0, "DIR", "work in this new directory (one in $TMPDIR or /tmp)" },
	{ "keep", 0, NULL, "leave the directory when all is done" },
};

const struct command command_demo = {
	.name = "demo",
	.summary = "the main job live, on private servers, and every row compared",
	.usage = "[primary-replica] [OPTIONS]",
	.examples =
	    "towline demo\ntowline demo primary-replica\ntowline demo --seconds 60 --rate 2000\ntowline demo --kafka"
	    " localhost:9092\n",
	.detail =
	    "Starts a PostgreSQL server of its own in a temporary directory, copies a shop's"
	    " tables into a second database and an SQLite\n"
	    "file while the shop goes on working, compares them at the end, and removes what it"
	    " made. Exit code 6 when anything differs.\n"
	    "primary-replica: a primary with three SQLite replicas of different delay; writes, reads of both kinds, an update, lag\n"
	    "seen and gone. Exit code 6 when something that it shows did not hold.\n",
	.options = demo_options,
	.noptions = COUNTOF(demo_options),
	.flags = COMMAND_NO_CONF,
	.args_max = 1,
	.run = cmd_demo,
};
