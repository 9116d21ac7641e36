#include "control/resync.h"
#include "consumer/mapping.h"
#include "consumer/sink.h"
#include "control/command.h"
#include "control/replicas.h"
#include "core/log.h"
#include "core/now.h"
#include "core/quorum.h"
#include "core/sqlite.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { LOAD_MS = 10000, FLUSH_MS = 10000, WAIT_MS = 200, FETCH_KBYTES = 1024 };

/* ---- what the control topic says ---- */

struct copied {
	UT_hash_handle hh;
	char *name; /* of its key, copy_name */
	bool recorded, asked; /* there is a record of its copy; a command */
	struct copy_place begun, whole, upto;
};

struct resync {
	struct resync *next;
	char *sink;
	struct copy_place at; /* where the sink was put */
};

struct resync_watch {
	struct copied *tables;
	struct resync *first;
};

struct resync_watch *
resync_watch_new(void)
{
	struct resync_watch *w = calloc(1, sizeof *w);

	if (!w)
		die("out of memory");
	return w;
}

static char *
copy_of(const char *text)
{
	char *own = strdup(text);

	if (!own)
		die("out of memory");
	return own;
}

static void
drop_table(struct resync_watch *w, struct copied *t)
{
	HASH_DEL(w->tables, t);
	free(t->name);
	free(t);
}

static struct copied *
table_of(struct resync_watch *w, const char *name)
{
	struct copied *t;

	HASH_FIND_STR(w->tables, name, t);
	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (!t)
		die("out of memory");
	t->name = copy_of(name);
	HASH_ADD_KEYPTR(hh, w->tables, t->name, strlen(t->name), t);
	return t;
}

static void
drop_resync(struct resync_watch *w, const char *sink)
{
	for (struct resync **at = &w->first; *at; at = &(*at)->next) {
		struct resync *r = *at;

		if (strcmp(r->sink, sink) != 0)
			continue;
		*at = r->next;
		free(r->sink);
		free(r);
		return;
	}
}

void
resync_watch_free(struct resync_watch *w)
{
	if (!w)
		return;
	while (w->tables)
		drop_table(w, w->tables);
	while (w->first)
		drop_resync(w, w->first->sink);
	free(w);
}

/* c NULL: there is no record any more. */
static void
note_copy(struct resync_watch *w, const char *name, const struct copy *c)
{
	struct copied *t = table_of(w, name);

	t->recorded = c != NULL;
	if (c) {
		t->begun = c->begun;
		t->whole = c->whole;
		t->upto = c->upto;
	} else if (!t->asked) {
		drop_table(w, t);
	}
}

static void
note_command(struct resync_watch *w, const char *name, bool there)
{
	struct copied *t = table_of(w, name);

	t->asked = there;
	if (!t->recorded && !t->asked)
		drop_table(w, t);
}

static void
note_resync(struct resync_watch *w, const char *sink, struct slice value)
{
	json_t *o = json_loadb(value.p, value.n, 0, NULL);
	struct copy_place at = { .gen = (uint64_t)json_integer_value(json_object_get(o, "gen")),
		.no = (uint64_t)json_integer_value(json_object_get(o, "no")) };
	struct resync *r;

	drop_resync(w, sink);
	/* Of a version that did not tell the place, so that no copy can be told to be of behind it: until it is asked for again. */
	if (!json_object_get(o, "gen"))
		at.gen = UINT64_MAX;
	if (json_is_object(o)) {
		r = calloc(1, sizeof *r);
		if (!r)
			die("out of memory");
		*r = (struct resync){ .next = w->first, .sink = copy_of(sink), .at = at };
		w->first = r;
	}
	json_decref(o);
}

void
resync_note(struct resync_watch *w, struct slice key, struct slice value)
{
	struct arena a = { 0 };
	struct slice name;
	struct copy c = { 0 };
	struct err err;

	if (control_about(key, CONTROL_RESYNC, &name)) {
		note_resync(w, arena_text(&a, name), value);
	} else if (control_about(key, COPY_COMMAND_PREFIX, &name)) {
		note_command(w, arena_text(&a, name), value.n > 0);
	} else if (control_about(key, COPY_PREFIX, &name) && value.n) {
		if (copy_take(value, &c, &err) == OK)
			note_copy(w, arena_text(&a, name), &c);
		copy_free(&c);
	} else if (control_about(key, COPY_PREFIX, &name)) {
		note_copy(w, arena_text(&a, name), NULL);
	}
	arena_free(&a);
}

static bool
wanted(const struct conf_sink *sink, const struct copied *t)
{
	struct slice schema, table;
	struct arena a = { 0 };
	bool yes = t->recorded && copy_name_split(slice_of(t->name), &a, &schema, &table) && conf_sink_wants(sink, schema, table);

	arena_free(&a);
	return yes;
}

static const struct resync *
resync_of(const struct resync_watch *w, const struct conf_sink *sink)
{
	const struct resync *r = w->first;

	while (r && strcmp(r->sink, sink->name) != 0)
		r = r->next;
	return r;
}

enum resync_state
resync_state(const struct resync_watch *w, const struct conf_sink *sink, struct copy_place *upto)
{
	const struct resync *r = resync_of(w, sink);

	*upto = (struct copy_place){ 0 };
	if (!r)
		return RESYNC_NONE;
	/* Its own copy, or anybody's: all that counts is that the rows came behind the place where the sink was put. */
	for (const struct copied *t = w->tables; t; t = t->hh.next) {
		if (!wanted(sink, t))
			continue;
		/* No `upto`: of a producer of a version before there was one. It says it when it is started with this one. */
		if (!copy_behind(t->whole, r->at) || !t->upto.gen)
			return RESYNC_COPYING;
		if (!copy_behind(*upto, t->upto))
			*upto = t->upto;
	}
	return RESYNC_COPIED;
}

/*
 * A copy that a command of the resync made began behind its place, as the command was written when the spine had come so far. So one that
 * did not, with no command on its way, was never asked for. (The places of a version that did not tell them are behind everything.)
 */
const char *
resync_unasked(const struct resync_watch *w, const struct conf_sink *sink)
{
	const struct resync *r = resync_of(w, sink);

	if (!r || r->at.gen == UINT64_MAX)
		return NULL;
	for (const struct copied *t = w->tables; t; t = t->hh.next)
		if (wanted(sink, t) && !t->asked && !copy_behind(t->whole, r->at) && !copy_behind(t->begun, r->at))
			return t->name;
	return NULL;
}

/* All rows, from the beginning: a copy that runs began before the sink was emptied. */
static enum rc
ask(struct control *c, const char *table, const char *id, struct err *err)
{
	struct copy_command cmd = { .verb = "again" };
	struct arena a = { 0 };
	struct buf json = { 0 };
	enum rc rc;

	snprintf(cmd.id, sizeof cmd.id, "%s", id);
	copy_command_put(&json, &cmd);
	rc = control_put(c, arena_printf(&a, "%s%s", COPY_COMMAND_PREFIX, table), buf_view(&json), err);
	buf_free(&json);
	arena_free(&a);
	return rc;
}

enum rc
resync_ask(struct control *c, struct resync_watch *w, const char *table, struct err *err)
{
	char id[24];
	enum rc rc;

	snprintf(id, sizeof id, "%" PRIx64, (uint64_t)wall_us());
	rc = ask(c, table, id, err);
	if (rc == OK)
		rc = control_flush(c, FLUSH_MS, err);
	if (rc == OK)
		note_command(w, table, true);
	return rc;
}

/* ---- beginning ---- */

static enum rc
load(struct control *c, struct resync_watch *w, struct err *err)
{
	struct control_record rec;
	enum rc rc;

	while ((rc = control_held(c, LOAD_MS, &rec, err)) == OK)
		resync_note(w, rec.key, rec.value);
	return rc == AGAIN ? OK : rc;
}

enum rc
resync_stands(const struct kafka *k, const struct conf_sink *sink, bool *stands, struct err *err)
{
	struct resync_watch *w = resync_watch_new();
	struct control *c = NULL;
	struct copy_place upto;
	enum rc rc = control_open(k, CONTROL_ALL, false, &c, err);

	if (rc == OK)
		rc = load(c, w, err);
	*stands = rc == OK && resync_state(w, sink, &upto) != RESYNC_NONE;
	control_close(c);
	resync_watch_free(w);
	return rc;
}

/* Between two transactions of the source. */
static enum rc
find_end(const struct kafka *k, struct marker *at, struct err *err)
{
	int64_t until = now_ms() + LOAD_MS;
	struct arena a = { 0 };
	const char *topic = topic_own(&a, k->conf->name, "spine");
	struct spine_end end = { .offset = -1 };
	rd_kafka_t *rk = NULL;
	enum rc rc = kafka_consumer(k, FETCH_KBYTES, &rk, err);

	do {
		if (rc == OK)
			rc = spine_log_end(rk, topic, &end, err);
	} while (rc == OK && end.state.partial && now_ms() < until && !poll(NULL, 0, WAIT_MS));
	if (rc == OK && end.offset < 0)
		rc = fail_exit(err, FATAL, EXIT_FAILED, "the spine of %s is empty: there is nothing to copy from", k->conf->name);
	if (rc == OK && end.state.partial)
		rc = fail(err, RETRY, "the source is in the middle of a large transaction; try again when it is over");
	*at = (struct marker){ .spine_offset = end.offset, .spine_hash = end.hash, .gen = end.state.gen, .token = end.state.token,
		.no = end.state.no, .seq = end.state.seq, .lsn = end.state.lsn, .commit_us = end.state.commit_us,
		.system_id = end.state.system_id };
	if (rk)
		rd_kafka_destroy(rk);
	arena_free(&a);
	return rc;
}

/* The tables that the sink takes; with their names at the sink. */
static int
list_tables(const struct resync_watch *w, const struct conf_sink *conf, struct arena *a, struct sink_name **out)
{
	int n = 0;

	*out = arena_array(a, HASH_COUNT(w->tables) + 1, sizeof **out);
	for (const struct copied *t = w->tables; t; t = t->hh.next) {
		struct slice schema, table;

		if (!wanted(conf, t) || !copy_name_split(slice_of(t->name), a, &schema, &table))
			continue;
		mapping_name(conf, schema, table, a, &(*out)[n].schema, &(*out)[n].table);
		n++;
	}
	return n;
}

static enum rc
announce(struct control *c, const struct resync_watch *w, const struct conf_sink *conf, const struct marker *at, struct err *err)
{
	struct arena a = { 0 };
	struct buf json = { 0 };
	char id[24];
	enum rc rc;

	snprintf(id, sizeof id, "%" PRIx64, (uint64_t)wall_us());
	buf_printf(&json, "{\"id\":\"%s\",\"gen\":%" PRIu64 ",\"no\":%" PRIu64 "}", id, at->gen, at->no);
	rc = control_put(c, arena_printf(&a, "%s%s", CONTROL_RESYNC, conf->name), buf_view(&json), err);
	for (const struct copied *t = w->tables; t && rc == OK; t = t->hh.next)
		if (wanted(conf, t))
			rc = ask(c, t->name, id, err);
	if (rc == OK)
		rc = control_flush(c, FLUSH_MS, err);
	buf_free(&json);
	arena_free(&a);
	return rc;
}

/* Whether it may begin: refused before anything is changed. */
static enum rc
check(const struct kafka *k, const struct conf_sink *conf, struct err *err)
{
	struct arena a = { 0 };
	struct quorum q;
	enum rc rc = quorum_of(k->conf, &a, &q, err);
	bool needed = rc == OK && conf->awaited && q.need == q.nmembers;

	arena_free(&a);
	if (rc != OK)
		return rc;
	/* A chunk is read again as long as it does not see what was streamed before it: a commit that waits, for ever. */
	if (needed)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "commits at the source wait for sink %s, and would wait for its copies, as these wait for them; let commits"
		    " wait for Kafka only until it is whole (ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()),"
		    " and say so here with --set synchronous.mode=kafka", conf->name);
	if (k->conf->embedded || k->conf->foreign_topics)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "a sink is made anew by copies that come with Towline's own log in a real Kafka; with %s empty its tables by hand",
		    k->conf->embedded ? "kafka: embedded" : "foreign.topics");
	if (strcmp(conf->apply, "key") == 0)
		return fail_exit(
		    err, FATAL, EXIT_CONFIG, "sink %s has apply: key; only a sink of whole transactions is made anew", conf->name);
	return OK;
}

/* The control topic from its beginning, and the tables that it has for the sink; c, w and names are renewed. FATAL: none. */
static enum rc
look(const struct kafka *k, const struct conf_sink *conf, struct control **c, struct resync_watch **w, struct arena *a,
    struct sink_name **names, int *tables, struct err *err)
{
	enum rc rc;

	control_close(*c);
	*c = NULL;
	resync_watch_free(*w);
	*w = resync_watch_new();
	rc = control_open(k, CONTROL_ALL, false, c, err);
	if (rc == OK && control_there(*c))
		rc = load(*c, *w, err);
	*tables = rc == OK ? list_tables(*w, conf, a, names) : 0;
	if (rc == OK && !*tables)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    sqlite_url_path(k->conf->source_url)
		    ? "the producer knows no table that sink %s takes; start it once, and see towline source ls"
		    : "no table of sink %s was ever copied; set snapshot: initial, or use towline snapshot add", conf->name);
	return rc;
}

enum rc
resync_start(const struct kafka *k, const struct conf_sink *conf, int *tables, struct err *err)
{
	struct resync_watch *w = NULL;
	struct arena a = { 0 };
	struct sink *sink = NULL;
	struct sink_name *names = NULL;
	struct control *c = NULL;
	struct marker old, end = { 0 };
	enum rc rc = check(k, conf, err);

	*tables = 0;
	if (rc == OK)
		rc = look(k, conf, &c, &w, &a, &names, tables, err);
	/* Who applies to it keeps us away; from here on we do. */
	if (rc == OK)
		rc = sink_open(k->conf->name, conf, &sink, err);
	if (rc == OK)
		rc = sink->ops->marker(sink, &old, err);
	if (rc == OK)
		rc = find_end(k, &end, err);
	/* Again: a table that joins later has all of its rows behind the end, or is asked for by who runs the sink (resync_unasked). */
	if (rc == OK)
		rc = look(k, conf, &c, &w, &a, &names, tables, err);
	if (rc == OK)
		rc = announce(c, w, conf, &end, err);
	if (rc == OK)
		rc = sink->ops->renew(sink, &end, names, *tables, err);
	if (sink)
		sink->ops->close(sink);
	control_close(c);
	resync_watch_free(w);
	arena_free(&a);
	return rc;
}

/* ---- towline resync ---- */

static void
say(const struct conf *conf, const struct conf_sink *sink, int n)
{
	struct arena a = { 0 };
	struct quorum q;
	struct err why;

	printf("%s begins anew; %d %s being copied: start its consumer, and see towline snapshot ls\n", sink->name, n,
	    n == 1 ? "table is" : "tables are");
	if (sink->awaited && quorum_of(conf, &a, &q, &why) == OK && q.nmembers)
		printf("until it has them commits wait for %d of the other sinks, and the copies wait for those commits:"
		       " let these sinks run\n", q.need);
	arena_free(&a);
}

int
cmd_resync(struct call *call)
{
	struct kafka k = { .conf = call->conf };
	struct replica_list l = { .n = 0 };
	const struct replica *r = NULL;
	int n = 0;
	enum rc rc = replicas_load(&k, &l, &call->err);

	if (rc == OK && !(r = replicas_find(&l, call->argv[0])))
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG, "there is no sink '%s'", call->argv[0]);
	if (rc == OK)
		rc = resync_start(&k, r->sink, &n, &call->err);
	if (rc == OK && call->json)
		printf("{\"sink\":\"%s\",\"tables\":%d}\n", call->argv[0], n);
	else if (rc == OK)
		say(call->conf, r->sink, n);
	replicas_free(&l);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

const struct command command_resync = {
	.name = "resync",
	.summary = "a sink begins anew: its tables are emptied and copied again, while the log goes on",
	.usage = "SINK",
	.examples = "towline resync reports\ntowline resync edge --json\n",
	.detail =
	    "For a sink that ends with 5 because its place in the log is gone (retention, topics made anew, a restored sink).\n"
	    "Its consumer must not run meanwhile. Empties the pipeline's tables there, puts its marker to the end of the log and\n"
	    "asks the producer for copies of all its tables; until they are there the sink is syncing, and is not read from.\n"
	    "Replicas of towline replica add do this by themselves.\n",
	.args_min = 1,
	.args_max = 1,
	.run = cmd_resync,
};
