/*
 * towline dlq: the changes that a sink did not take, and those that wait behind them.
 */
#include "control/dlq.h"
#include "consumer/entries.h"
#include "control/command.h"
#include "core/suggest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 1000 };

static int
print(struct buf *out)
{
	fwrite(out->p, 1, out->n, stdout);
	buf_free(out);
	return EXIT_DONE;
}

/* ---- arguments ---- */

static enum rc
find_sink(struct call *call, struct slice name, const struct conf_sink **out)
{
	struct suggestion s = { .word = name };

	for (int i = 0; i < call->conf->nsinks; i++) {
		*out = &call->conf->sinks[i];
		if (slice_is(name, (*out)->name))
			return OK;
		suggest_offer(&s, slice_of((*out)->name));
	}
	if (s.best.n)
		return fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "there is no sink '%.*s' in the configuration; did you mean '%.*s'?",
		    SLICE_ARG(name), SLICE_ARG(s.best));
	return fail_exit(&call->err, FATAL, EXIT_CONFIG,
	    "there is no sink '%.*s' in the configuration", SLICE_ARG(name));
}

/* SINK, or SINK/ID. *id 0: without. */
static enum rc
take_place(struct call *call, const struct conf_sink **sink, int64_t *id)
{
	const char *text = call->argc > 1 ? call->argv[1] : NULL, *slash;
	char *end;

	*id = 0;
	if (!text && call->conf->nsinks == 1) {
		*sink = &call->conf->sinks[0];
		return OK;
	}
	if (!text)
		return call_usage(call, "dlq %s: say which sink", call->argv[0]);
	slash = strchr(text, '/');
	if (slash) {
		errno = 0;
		*id = strtoll(slash + 1, &end, 10);
		if (errno || *end || end == slash + 1 || *id < 1)
			return call_usage(call,
			    "'%.60s' is no dead letter; write SINK/ID as dlq ls prints it", text);
	}
	return find_sink(
	    call, (struct slice){ text, slash ? (size_t)(slash - text) : strlen(text) }, sink);
}

static enum rc
need_id(struct call *call, const struct conf_sink **sink, int64_t *id)
{
	enum rc rc = take_place(call, sink, id);

	if (rc == OK && !*id)
		return call_usage(call, "dlq %s needs SINK/ID, as dlq ls prints it", call->argv[0]);
	return rc;
}

static enum rc
need_kafka(struct call *call)
{
	if (!call->conf->embedded)
		return OK;
	return fail_exit(&call->err, FATAL, EXIT_CONFIG,
	    "kafka: embedded lives inside towline run, so the records of dead letters cannot be read again;"
	    " correct the row by hand, then 'towline dlq skip'");
}

/* ---- ls ---- */

static int
list(struct call *call)
{
	const struct conf *c = call->conf;
	const struct conf_sink *only = NULL;
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct dlq_entry *all = NULL;
	int64_t limit, id;
	int n = 0, count = 0;
	bool more = false;
	enum rc rc = call_number(call, "limit", LIMIT, 1, 1000000, &limit);

	if (rc == OK && call->argc > 1)
		rc = take_place(call, &only, &id);
	for (int i = 0; i < c->nsinks && rc == OK; i++) {
		struct parked_query q = { .limit = (int)limit + 1 };
		struct parked_entry *e = NULL;
		struct dlq_entry *longer;

		if (only && only != &c->sinks[i])
			continue;
		rc = entries_look(c->name, &c->sinks[i], &q, &a, &e, &n, &call->err);
		if (rc != OK)
			break;
		more = more || n > limit;
		n = n > limit ? (int)limit : n;
		longer = arena_array(&a, (size_t)(count + n) + 1, sizeof *longer);
		if (count)
			memcpy(longer, all, (size_t)count * sizeof *longer);
		for (int k = 0; k < n; k++)
			longer[count++] = (struct dlq_entry){ c->sinks[i].name, &e[k] };
		all = longer;
	}
	if (rc == OK && call->json)
		dlq_list_json(&out, all, count);
	else if (rc == OK)
		dlq_list_text(&out, all, count);
	if (rc == OK && more && !call->json)
		buf_printf(
		    &out, "(the first %" PRId64 " of a sink; --limit N shows more)\n", limit);
	print(&out);
	arena_free(&a);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

/* ---- show ---- */

static void
release(void *msg)
{
	rd_kafka_message_destroy(msg);
}

/* The entry is shown whatever Kafka says. */
static enum rc
show_entry(struct call *call, const struct dlq_entry *d)
{
	struct kafka kafka = { .conf = call->conf };
	struct readback *rb = NULL;
	struct readback_change c = { 0 };
	struct batch b = { 0 };
	struct buf out = { 0 };
	struct err why;
	enum rc rc = call->conf->embedded
	    ? fail(&why, REJECT, "its record was in the memory of towline run")
	    : readback_open(&kafka, &rb, &why);

	if (rc == OK)
		rc = readback_take(rb, d->e, &b, &c, &why);
	if (call->json)
		dlq_show_json(&out, d, rc == OK ? &c : NULL, why.text);
	else
		dlq_show_text(&out, d, rc == OK ? &c : NULL, why.text);
	print(&out);
	batch_free(&b, release);
	readback_close(rb);
	if (rc == OK || rc == REJECT)
		return OK;
	call->err = why;
	return rc;
}

static enum rc
look_up(struct call *call, const struct conf_sink *sink, int64_t id, struct arena *a,
    struct parked_entry **e)
{
	struct parked_query q = { .id = id, .limit = 1 };
	int n = 0;
	enum rc rc = entries_look(call->conf->name, sink, &q, a, e, &n, &call->err);

	if (rc == OK && !n)
		return fail(&call->err, FATAL,
		    "there is no dead letter %s/%" PRId64 "; 'towline dlq ls %s' lists them",
		    sink->name, id, sink->name);
	return rc;
}

static int
show(struct call *call)
{
	const struct conf_sink *sink;
	struct arena a = { 0 };
	struct parked_entry *e = NULL;
	int64_t id;
	enum rc rc = need_id(call, &sink, &id);

	if (rc == OK)
		rc = look_up(call, sink, id, &a, &e);
	if (rc == OK)
		rc = show_entry(call, &(struct dlq_entry){ sink->name, e });
	arena_free(&a);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

/* ---- retry ---- */

static enum rc
take_what(
    struct call *call, const struct conf_sink **sink, struct retry_what *what, struct arena *a)
{
	const char *table = call_option(call, "table"), *dot = table ? strchr(table, '.') : NULL;
	bool all = call_option(call, "all");
	enum rc rc = take_place(call, sink, &what->id);

	if (rc != OK)
		return rc;
	if ((what->id != 0) + all + (table != NULL) != 1)
		return call_usage(
		    call, "dlq retry needs SINK/ID, or SINK with --all or --table TABLE");
	if (table) {
		what->schema =
		    dot ? arena_text(a, (struct slice){ table, (size_t)(dot - table) }) : "public";
		what->table = dot ? dot + 1 : table;
	}
	return need_kafka(call);
}

static int
retry(struct call *call)
{
	struct kafka kafka = { .conf = call->conf };
	const struct conf_sink *sink = NULL;
	struct retry_what what = { 0 };
	struct retry_report report = { 0 };
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct parked_query q = { .limit = 1 };
	struct parked_entry *e = NULL;
	struct err err = { 0 };
	int n = 0;
	enum rc rc = take_what(call, &sink, &what, &a);

	/* Looked at before the sink is opened in earnest, which would make a file that is not there. */
	if (rc == OK && what.id)
		rc = look_up(call, sink, what.id, &a, &e);
	else if (rc == OK)
		rc = entries_look(call->conf->name, sink, &q, &a, &e, &n, &call->err);
	if (rc == OK) {
		if (what.id || n)
			rc = retry_run(&kafka, sink, &what, &a, &report, &err);
		if (rc != OK)
			call->err = err;
		if (rc == OK || report.changes || report.nfails) {
			if (call->json)
				dlq_retry_json(&out, sink->name, &report);
			else
				dlq_retry_text(&out, sink->name, &report);
			print(&out);
		}
	}
	if (rc == OK && report.nfails)
		rc = fail(&call->err, REJECT,
		    "%d of %s still fail%s; correct what their reasons name, and retry",
		    report.nfails, sink->name, report.nfails == 1 ? "s" : "");
	arena_free(&a);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

/* ---- skip ---- */

static int
skip(struct call *call)
{
	const struct conf_sink *sink;
	struct arena a = { 0 };
	struct parked_entry *e = NULL;
	int64_t id;
	enum rc rc = need_id(call, &sink, &id);

	if (rc == OK)
		rc = look_up(call, sink, id, &a, &e);
	if (rc == OK && !call_option(call, "yes"))
		rc = fail_exit(&call->err, REJECT, EXIT_USAGE,
		    "this gives up %s/%" PRId64
		    " for good (op %c of %s.%s, key %s): the sink will never have it; add --yes to do it",
		    sink->name, id, e->op, e->schema, e->table, e->key ? e->key : "unknown");
	if (rc == OK)
		rc = retry_skip(call->conf->name, sink, id, &call->err);
	if (rc == OK && call->json)
		printf("{\"sink\": \"%s\", \"skipped\": %" PRId64 "}\n", sink->name, id);
	else if (rc == OK)
		printf("%s/%" PRId64
		       " is dropped; what waited behind it stays until it is retried\n",
		    sink->name, id);
	arena_free(&a);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

/* ---- the command ---- */

static const struct {
	const char *name;
	int (*run)(struct call *call);
} words[] = { { "ls", list }, { "show", show }, { "retry", retry }, { "skip", skip } };

int
cmd_dlq(struct call *call)
{
	const char *word = call->argv[0];
	struct suggestion s = { .word = slice_of(word) };

	for (size_t i = 0; i < COUNTOF(words); i++) {
		if (strcmp(words[i].name, word) == 0)
			return words[i].run(call);
		suggest_offer(&s, slice_of(words[i].name));
	}
	if (s.best.n)
		fail_exit(&call->err, REJECT, EXIT_USAGE,
		    "unknown command 'dlq %.60s'; did you mean 'dlq %.*s'?", word,
		    SLICE_ARG(s.best));
	else
		call_usage(call, "dlq knows ls, show, retry and skip, not '%.60s'", word);
	return (int)call->err.exit;
}

static const struct command_option dlq_options[] = {
	{ "all", 0, NULL, "retry: everything that is parked at the sink" },
	{ "table", 't', "TABLE",
	    "retry: everything of this table; SCHEMA.TABLE, or one of schema public" },
	{ "yes", 0, NULL, "skip: do it" },
	{ "limit", 'n', "N", "ls: at most so many of each sink (default 1000)" },
};

const struct command command_dlq = {
	.name = "dlq",
	.summary = "dead letters: changes that a sink did not take, and those behind them",
	.usage = "ls|show|retry|skip [OPTIONS] [SINK[/ID]]",
	.examples =
	    "towline dlq ls\ntowline dlq show reports/7\ntowline dlq retry reports/7\n"
		    "towline dlq retry reports --all\ntowline dlq skip reports/7 --yes\n",
	.detail =
	    "With on_error: dead-letter a change that a sink cannot apply parks its key: later changes of that key wait behind it,\n"
	    "everything else goes on.\n"
	    "ls     what is parked, of all sinks or one\n"
	    "show   one change: its row, and why the sink refused it\n"
	    "retry  apply all parked changes of that key in exact order, after the cause was corrected; the key is then free.\n"
	    "       What still fails is told, stays as it is, and the command ends with 1\n"
	    "skip   drop this one change for good; those behind it stay until they are retried\n"
	    "A consumer may run meanwhile: it waits.\n",
	.options = dlq_options,
	.noptions = COUNTOF(dlq_options),
	.args_min = 1,
	.args_max = 2,
	.run = cmd_dlq,
};
