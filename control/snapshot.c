/*
 * towline snapshot: tables that are copied while changes go on; told to the producer through the control topic.
 */
#include "control/command.h"
#include "control/human.h"
#include "core/buf.h"
#include "core/now.h"
#include "core/quote.h"
#include "core/sqlite.h"
#include "core/stop.h"
#include "core/suggest.h"
#include "producer/copy.h"
#include "producer/publication.h"
#include "schemas/control.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	LOAD_MS = 30000,
	FLUSH_MS = 10000,
	ANSWER_MS = 15000,
	WAIT_MS = 200,
	DRAW_MS = 1000,
	LINE_MS = 10000, /* off a terminal */
	BAR = 20,
};

/* The newest record of each table. */
struct entry {
	struct entry *next;
	char *table; /* of its key, copy_name */
	struct copy copy;
	bool pending; /* a command that no producer has done yet */
	int64_t seen_ms, seen_rows, rate; /* of the last look */
};

struct copies {
	struct control *control;
	struct entry *first;
};

/* ---- what the control topic says ---- */

static struct entry *
entry_of(struct copies *c, struct slice table)
{
	struct entry **at = &c->first;

	while (*at && !slice_is(table, (*at)->table))
		at = &(*at)->next;
	if (*at)
		return *at;
	*at = calloc(1, sizeof **at);
	if (!*at || !((*at)->table = strndup(table.p, table.n)))
		die("out of memory");
	return *at;
}

static bool
is_called(const char *key, const char *table)
{
	struct slice schema, name;
	struct arena a = { 0 };
	bool yes = strcmp(key, table) == 0;

	if (!yes && copy_name_split(slice_of(key), &a, &schema, &name))
		yes = strcmp(arena_printf(&a, "%s.%.*s", schema.p, SLICE_ARG(name)), table) == 0;
	arena_free(&a);
	return yes;
}

/* By the name of its key, or else the plain SCHEMA.TABLE. */
static struct entry *
entry_find(struct copies *c, const char *table)
{
	struct entry *plain = NULL;

	for (struct entry *e = c->first; e; e = e->next) {
		if (strcmp(e->table, table) == 0)
			return e;
		if (!plain && is_called(e->table, table))
			plain = e;
	}
	return plain;
}

static void
take(struct copies *c, const struct control_record *rec)
{
	struct slice table;
	struct entry *e;
	struct err err;

	if (control_about(rec->key, COPY_COMMAND_PREFIX, &table))
		for (e = c->first; e; e = e->next)
			if (slice_is(table, e->table))
				e->pending = rec->value.n > 0;
	if (!control_about(rec->key, COPY_PREFIX, &table))
		return;
	e = entry_of(c, table);
	if (!rec->value.n || copy_take(rec->value, &e->copy, &err) != OK)
		copy_free(&e->copy);
}

/* Everything that is there now, waiting up to wait_ms for something new. */
static enum rc
look(struct copies *c, int wait_ms, struct err *err)
{
	struct control_record rec;
	enum rc rc;

	while ((rc = control_next(c->control, wait_ms, &rec, err)) == OK) {
		take(c, &rec);
		wait_ms = 0;
	}
	return rc == AGAIN ? OK : rc;
}

static enum rc
load(const struct kafka *k, struct copies *c, struct err *err)
{
	struct control_record rec;
	enum rc rc = control_open(k, CONTROL_ALL, true, &c->control, err);

	while (rc == OK && (rc = control_held(c->control, LOAD_MS, &rec, err)) == OK)
		take(c, &rec);
	return rc == AGAIN ? OK : rc;
}

static void
unload(struct copies *c)
{
	struct entry *e;

	while ((e = c->first)) {
		c->first = e->next;
		copy_free(&e->copy);
		free(e->table);
		free(e);
	}
	control_close(c->control);
}

/* ---- showing ---- */

/* Rows a second: since the last look, else since the copy began. */
static int64_t
rate_of(struct entry *e)
{
	int64_t now = now_ms(), age = wall_us() / 1000 - e->copy.began_ms;

	if (e->seen_ms && now - e->seen_ms >= DRAW_MS / 2 && e->copy.rows >= e->seen_rows)
		e->rate = (e->copy.rows - e->seen_rows) * 1000 / (now - e->seen_ms);
	else if (!e->seen_ms)
		e->rate = e->copy.began_ms && age > 0 ? e->copy.rows * 1000 / age : 0;
	if (!e->seen_ms || now - e->seen_ms >= DRAW_MS / 2) {
		e->seen_ms = now;
		e->seen_rows = e->copy.rows;
	}
	return e->rate;
}

static int
percent_of(const struct copy *c)
{
	int64_t of = c->estimate > c->rows ? c->estimate : c->rows;

	if (c->state == COPY_DONE)
		return 100;
	return of ? (int)(c->rows * 99 / of) : 0;
}

static void
put_bar(struct buf *b, const struct copy *c)
{
	int full = percent_of(c) * BAR / 100;

	buf_byte(b, '[');
	for (int i = 0; i < BAR; i++)
		buf_byte(b, i < full ? '#' : '.');
	buf_printf(b, "] %3d %%", percent_of(c));
}

static void
put_line(struct buf *b, struct entry *e)
{
	const struct copy *c = &e->copy;
	char span[HUMAN_MAX];

	buf_printf(b, "%-28s %-9s ", e->table, copy_state_name(c->state));
	if (c->state == COPY_NONE) {
		buf_text(b, "only its changes are published");
	} else if (c->state == COPY_STOPPED) {
		buf_text(b, "its changes are passed over until it can be published");
	} else {
		put_bar(b, c);
		buf_printf(b, " %10" PRId64 " rows", c->rows);
	}
	if (c->state == COPY_RUNNING) {
		int64_t rate = rate_of(e), left = c->estimate - c->rows;

		buf_printf(b, " of some %" PRId64 ", %" PRId64 " rows/s", c->estimate, rate);
		if (rate > 0 && left > 0)
			buf_printf(b, ", %s left", human_span(span, left * 1000000 / rate));
	} else if (c->state == COPY_DONE) {
		buf_printf(b, " in %s", human_span(span, (c->ended_ms - c->began_ms) * 1000));
	}
	if (c->where)
		buf_printf(b, " where %s", c->where);
	if (c->reason && *c->reason)
		buf_printf(b, ": %s", c->reason);
	buf_byte(b, '\n');
}

static void
put_json(struct buf *b, struct entry *e)
{
	const struct copy *c = &e->copy;

	buf_text(b, "{\"table\":");
	quote_json(b, slice_of(e->table));
	buf_printf(b, ",\"state\":\"%s\",\"rows\":%" PRId64 ",\"estimate\":%" PRId64 ",\"percent\":%d,\"rows_s\":%" PRId64
	    ",\"began_ms\":%" PRId64 ",\"ended_ms\":%" PRId64 ",\"where\":", copy_state_name(c->state), c->rows, c->estimate, percent_of(c),
	    c->state == COPY_RUNNING ? rate_of(e) : 0, c->began_ms, c->ended_ms);
	if (c->where)
		quote_json(b, slice_of(c->where));
	else
		buf_text(b, "null");
	buf_text(b, ",\"reason\":");
	quote_json(b, slice_of(c->reason ? c->reason : ""));
	buf_byte(b, '}');
}

/* All, or only those that are not over. Returns how many of the latter there are. */
static int
show(const struct call *call, struct copies *c, bool all, int *lines)
{
	struct buf b = { 0 };
	const char *sep = "";
	int n = 0;

	*lines = 0;
	if (call->json)
		buf_byte(&b, '[');
	for (struct entry *e = c->first; e; e = e->next) {
		n += copy_open(&e->copy);
		if (!all && !copy_open(&e->copy))
			continue;
		++*lines;
		if (call->json) {
			buf_text(&b, sep);
			put_json(&b, e);
			sep = ",";
		} else {
			put_line(&b, e);
		}
	}
	if (call->json)
		buf_text(&b, "]\n");
	fwrite(b.p, 1, b.n, stdout);
	fflush(stdout);
	buf_free(&b);
	return n;
}

/* Until everything is copied, or stands still: bars on a terminal, else a line now and then. */
static enum rc
watch(struct call *call, struct copies *c)
{
	bool bars = isatty(STDOUT_FILENO) && !call->json;
	int64_t next = 0;
	int lines = 0;
	enum rc rc = OK;

	while (rc == OK && !stop_requested()) {
		bool open = false;

		rc = look(c, WAIT_MS, &call->err);
		for (struct entry *e = c->first; e; e = e->next)
			open = open || e->copy.state == COPY_WAITING || e->copy.state == COPY_RUNNING;
		if (now_ms() < next && open)
			continue;
		next = now_ms() + (bars ? DRAW_MS : LINE_MS);
		for (int i = 0; i < lines && bars; i++)
			printf("\033[1A\033[2K");
		show(call, c, bars || !open, &lines);
		if (!open)
			break;
	}
	return rc;
}

static enum rc
list(struct call *call, struct copies *c)
{
	int lines;

	if (call_option(call, "watch"))
		return watch(call, c);
	show(call, c, true, &lines);
	if (!lines && !call->json)
		printf("no producer has looked at its tables yet\n");
	return OK;
}

/* ---- asking ---- */

/* SCHEMA.TABLE, or a table of public. */
static const char *
full_name(const char *arg, struct arena *a)
{
	return strchr(arg, '.') ? arg : arena_printf(a, "public.%s", arg);
}

/* Is it there to be copied? *out: the name of its key. */
static enum rc
check_table(const struct conf *conf, const char *table, struct arena *a, const char **out, struct err *err)
{
	struct suggestion s = { .word = slice_of(table) };
	struct publication pub = { 0 };
	PGconn *conn = NULL;
	enum rc rc = pg_connect(conf->source_url, false, &conn, err);

	if (rc == OK)
		rc = publication_look(conn, conf, a, &pub, err);
	PQfinish(conn);
	if (rc != OK)
		return fail_in(err, "source");
	for (int i = 0; i < pub.ntables; i++) {
		const char *name = copy_name(a, slice_of(pub.tables[i].schema), slice_of(pub.tables[i].name));

		if (!is_called(name, table)) {
			suggest_offer(&s, slice_of(name));
			continue;
		}
		*out = name;
		return OK;
	}
	return fail_exit(err, FATAL, EXIT_USAGE, "the source has no table %s that 'tables' takes in%s%.*s%s", table,
	    s.best.n ? "; did you mean " : "", SLICE_ARG(s.best), s.best.n ? "?" : "");
}

static const struct {
	const char *verb;
	unsigned from;        /* states in which it makes sense */
	unsigned to;          /* states that it leads to */
	const char *otherwise; /* what is wrong in any other */
} verbs[] = {
	{ "add", 1u << COPY_NONE | 1u << COPY_DONE | 1u << COPY_CANCELLED | 1u << COPY_FAILED | 1u << COPY_STOPPED,
	    1u << COPY_WAITING | 1u << COPY_RUNNING | 1u << COPY_DONE | 1u << COPY_FAILED | 1u << COPY_STOPPED,
	    "it is being copied already; cancel that first" },
	{ "pause", 1u << COPY_WAITING | 1u << COPY_RUNNING, 1u << COPY_PAUSED, "there is nothing to pause" },
	{ "resume", 1u << COPY_PAUSED, 1u << COPY_WAITING | 1u << COPY_RUNNING | 1u << COPY_DONE,
	    "only what is paused can be resumed" },
	{ "cancel", 1u << COPY_WAITING | 1u << COPY_RUNNING | 1u << COPY_PAUSED, 1u << COPY_CANCELLED,
	    "there is nothing to cancel" },
};

static enum rc
refused(const char *table, const struct copy *c, const char *why, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_USAGE, "the copy of %s is %s: %s", table,
	    c->state == COPY_NONE ? "not asked for" : copy_state_name(c->state), why);
}

/* The producer has done it when the table's record has the command's number. */
static enum rc
await(struct copies *c, const char *table, const char *id, struct err *err)
{
	int64_t until = now_ms() + ANSWER_MS;
	enum rc rc = OK;

	while (rc == OK && !stop_requested()) {
		const struct entry *e = entry_find(c, table);

		/* A copy that was asked for: does it begin? */
		if (e && e->copy.command && strcmp(e->copy.command, id) == 0 && e->copy.state != COPY_WAITING)
			return OK;
		if (now_ms() > until) {
			if (e && e->copy.command && strcmp(e->copy.command, id) == 0)
				return OK;
			return fail_exit(err, RETRY, EXIT_UNREACHABLE,
			    "no producer has answered within %d s; it does it when it runs again", ANSWER_MS / 1000);
		}
		rc = look(c, WAIT_MS, err);
	}
	return rc == OK ? fail_exit(err, FATAL, EXIT_INTERRUPTED, "interrupted; the producer does it all the same") : rc;
}

static enum rc
judge(const char *table, const struct copy *c, struct err *err)
{
	if (c->state != COPY_FAILED && c->state != COPY_STOPPED)
		return OK;
	return fail(err, FATAL, "the copy of %s %s: %s", table, c->state == COPY_FAILED ? "has failed" : "is stopped",
	    c->reason ? c->reason : "");
}

static enum rc
ask(struct call *call, struct copies *c, size_t verb, const char *table)
{
	struct copy_command cmd = { 0 };
	struct err *err = &call->err;
	struct entry *e = entry_find(c, table);
	struct arena a = { 0 };
	struct buf b = { 0 };
	uint64_t id;
	enum rc rc = OK;

	if (getrandom(&id, sizeof id, 0) != sizeof id)
		return fail(err, FATAL, "getrandom failed");
	snprintf(cmd.id, sizeof cmd.id, "%016" PRIx64, id);
	snprintf(cmd.verb, sizeof cmd.verb, "%s", verbs[verb].verb);
	copy_text(&cmd.where, call_option(call, "where"));
	copy_command_put(&b, &cmd);
	rc = control_put(c->control, arena_printf(&a, COPY_COMMAND_PREFIX "%s", table), buf_view(&b), err);
	if (rc == OK)
		rc = control_flush(c->control, FLUSH_MS, err);
	if (rc == OK)
		rc = await(c, table, cmd.id, err);
	e = entry_find(c, table);
	if (rc == OK && !(verbs[verb].to & 1u << e->copy.state))
		rc = refused(table, &e->copy, verbs[verb].otherwise, err);
	if (rc == OK)
		rc = judge(table, &e->copy, err);
	free(cmd.where);
	buf_free(&b);
	arena_free(&a);
	return rc;
}

static enum rc
order(struct call *call, struct copies *c, size_t verb)
{
	struct arena a = { 0 };
	const char *table = full_name(call->argv[1], &a);
	struct entry *e = entry_find(c, table);
	int lines;
	enum rc rc = OK;

	table = e ? e->table : table;
	if (verb == 0)
		rc = check_table(call->conf, table, &a, &table, &call->err);
	else if (!e)
		rc = fail_exit(&call->err, FATAL, EXIT_USAGE, "no producer knows a table %s; 'towline snapshot ls' lists them", table);
	/* A command takes the place of the one before: a sink that is made anew may wait for that. */
	if (rc == OK && e && e->pending)
		rc = fail_exit(&call->err, RETRY, EXIT_UNREACHABLE,
		    "the copy of %s: no producer has done yet what was asked for before; it does it when it runs, then ask again", table);
	if (rc == OK && e && !(verbs[verb].from & 1u << e->copy.state))
		rc = refused(table, &e->copy, verbs[verb].otherwise, &call->err);
	if (rc == OK)
		rc = ask(call, c, verb, table);
	if (rc == OK && call_option(call, "wait")) {
		rc = watch(call, c);
		if (rc == OK)
			rc = judge(table, &entry_find(c, table)->copy, &call->err);
	} else if (rc == OK) {
		struct entry *only = entry_find(c, table), *rest = only->next;
		struct copies one = { .first = only };

		only->next = NULL; /* the others are not asked about */
		show(call, &one, true, &lines);
		only->next = rest;
	}
	arena_free(&a);
	return rc;
}

/* ---- the command ---- */

static enum rc
dispatch(struct call *call, struct copies *c)
{
	const char *word = call->argv[0];
	struct suggestion s = { .word = slice_of(word) };

	if (strcmp(word, "ls") == 0 && call->argc == 1)
		return list(call, c);
	for (size_t i = 0; i < COUNTOF(verbs); i++) {
		if (strcmp(word, verbs[i].verb) == 0)
			return call->argc == 2 ? order(call, c, i) : call_usage(call, "snapshot %s needs a TABLE", word);
		suggest_offer(&s, slice_of(verbs[i].verb));
	}
	if (s.best.n)
		return fail_exit(&call->err, REJECT, EXIT_USAGE, "unknown command 'snapshot %.60s'; did you mean 'snapshot %.*s'?", word,
		    SLICE_ARG(s.best));
	return call_usage(call, "snapshot takes add, pause, resume, cancel TABLE, or ls");
}

int
cmd_snapshot(struct call *call)
{
	struct kafka k = { .conf = call->conf };
	struct copies c = { 0 };
	enum rc rc;

	if (call->conf->embedded || call->conf->foreign_topics || !call->conf->source_url)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "tables are copied by a producer that is told so through Kafka; set kafka: HOST:PORT, and source");
	else if (sqlite_url_path(call->conf->source_url) && strcmp(call->argv[0], "ls") != 0)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "the first run copies a SQLite source's tables, and those that join later follow by themselves; to copy one again:"
		    " towline source copy %s TABLE", sqlite_url_path(call->conf->source_url));
	else
		rc = load(&k, &c, &call->err);
	if (rc == OK)
		rc = dispatch(call, &c);
	unload(&c);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option snapshot_options[] = {
	{ "where", 0, "SQL", "of add: only rows for which this holds" },
	{ "wait", 0, NULL, "of add: until it is copied" },
	{ "watch", 'w', NULL, "of ls: until everything is copied" },
};

const struct command command_snapshot = {
	.name = "snapshot",
	.summary = "copy a table, pause, resume or cancel its copy, show how far copies are",
	.usage = "add TABLE [--where SQL] [--wait] | pause TABLE | resume TABLE | cancel TABLE | ls [--watch]",
	.examples = "towline snapshot ls --watch\ntowline snapshot add public.orders --where \"placed >= '2024-01-01'\"\n",
	.detail =
	    "TABLE is SCHEMA.TABLE, or a table of schema public. The running producer does it, without a restart and while writes go\n"
	    "on; one that does not run does it when it starts. Rows that are there already are written again: a copy adds and\n"
	    "corrects, and deletes nothing; only a table without a key is emptied first. Names in the condition that are not\n"
	    "PostgreSQL's own need their schema. What is paused or cancelled stays at the sinks as it is, and changes of the table go\n"
	    "on.\n",
	.options = snapshot_options,
	.noptions = COUNTOF(snapshot_options),
	.args_min = 1,
	.args_max = 2,
	.run = cmd_snapshot,
};
