/*
 * towline write: one row inserted, updated or deleted at the primary, and the LSN of its commit.
 */
#include "consumer/history.h"
#include "control/command.h"
#include "control/human.h"
#include "control/store.h"
#include "core/now.h"
#include "core/pg.h"
#include "core/sqlite.h"
#include "core/stop.h"
#include "schemas/topic.h"

#include <stdio.h>

enum { SEEN_MS = 10000, VALUES_MAX = 1600 };

struct write_call {
	struct call *call;
	struct kafka kafka;
	struct arena arena;
	enum store_write what;
	struct store *store;
	struct store_table table;
	struct store_value values[VALUES_MAX];
	int n;
	struct history *history;
};

static enum rc
take_what(struct write_call *w, struct err *err)
{
	static const char *const names[] = {
		[STORE_INSERT] = "insert", [STORE_UPDATE] = "update", [STORE_DELETE] = "delete"
	};

	for (size_t i = 0; i < COUNTOF(names); i++)
		if (strcmp(w->call->argv[0], names[i]) == 0) {
			w->what = (enum store_write)i;
			return OK;
		}
	(void)err;
	return call_usage(
	    w->call, "write takes insert, update or delete, not '%.60s'", w->call->argv[0]);
}

/* COLUMN=VALUE, or COLUMN:null. */
static enum rc
take_value(struct write_call *w, const char *word, struct err *err)
{
	static const char null[] = ":null";
	const char *eq = strchr(word, '=');
	size_t n = strlen(word), nnull = strlen(null);
	struct store_value *v = &w->values[w->n];

	if (eq)
		n = (size_t)(eq - word);
	else if (n > nnull && strcmp(word + n - nnull, null) == 0)
		n -= nnull;
	else
		return call_usage(w->call, "'%.60s' is neither COLUMN=VALUE nor COLUMN:null", word);
	*v = (struct store_value){ .col = store_column(&w->table, word, n, err),
		.text = eq ? eq + 1 : NULL };
	if (v->col < 0)
		return err->rc;
	for (int i = 0; i < w->n; i++)
		if (w->values[i].col == v->col)
			return call_usage(
			    w->call, "column %s is given twice", w->table.cols[v->col].name);
	w->n++;
	return OK;
}

/* The row is found by its whole key; a delete takes nothing else, an update something to set. */
static enum rc
check_values(struct write_call *w)
{
	const struct store_table *t = &w->table;
	int keys = 0;

	if (w->what == STORE_INSERT)
		return OK;
	if (!t->nkeys)
		return fail_exit(&w->call->err, FATAL, EXIT_USAGE,
		    "table %s has no primary key, by which a row could be found", t->named);
	for (int i = 0; i < w->n; i++)
		keys += t->cols[w->values[i].col].key > 0;
	for (int i = 0; keys < t->nkeys && i < t->ncols; i++) {
		bool given = !t->cols[i].key;

		for (int k = 0; k < w->n; k++)
			given = given || w->values[k].col == i;
		if (!given)
			return call_usage(
			    w->call, "the row's key is not whole: %s is missing", t->cols[i].name);
	}
	if (w->what == STORE_DELETE && w->n > keys)
		return call_usage(w->call, "delete takes the columns of the key only");
	if (w->what == STORE_UPDATE && w->n == keys)
		return call_usage(w->call, "update needs a column to set besides the key");
	return OK;
}

/* The log tells where the commit stands: PostgreSQL tells nobody else. It is followed from before the write on. */
static bool
seen(struct write_call *w, uint32_t xid, uint64_t *lsn)
{
	int64_t until = now_us() + SEEN_MS * INT64_C(1000);
	struct history_entry e;
	struct err err;

	while (w->history && now_us() < until && !stop_requested()) {
		enum rc rc = history_next(w->history, &e, &err);

		if (rc == OK && e.env.xid == xid) {
			*lsn = e.tl.lsn;
			return true;
		}
		if (rc == FATAL || rc == RETRY)
			return false;
	}
	return false;
}

static void
follow_log(struct write_call *w)
{
	const struct conf *conf = w->call->conf;
	const char *dot = strchr(w->table.named, '.');
	struct slice schema = dot ? (struct slice){ w->table.named, (size_t)(dot - w->table.named) }
				  : conf_schema(conf);
	struct slice table = slice_of(dot ? dot + 1 : w->table.named);
	struct err err;

	if (conf->embedded || !conf_wants(conf, schema, table))
		return;
	if (history_open(&w->kafka, HISTORY_END,
		topic_table(&w->arena, conf, schema, table), &w->history,
		&err) != OK)
		w->history = NULL;
}

static enum rc
run(struct write_call *w, struct err *err)
{
	char text[20];
	uint32_t xid = 0;
	uint64_t lsn = 0;
	bool exact;
	enum rc rc = take_what(w, err);

	if (rc == OK && !w->call->conf->source_url)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "there is no source in the configuration; set source: URL");
	if (rc == OK)
		rc = store_open(w->call->conf->source_url, true, &w->store, err);
	if (rc == OK)
		rc = store_table(w->store, w->call->conf, w->call->argv[1], NULL, &w->arena, &w->table, err);
	for (int i = 2; rc == OK && i < w->call->argc; i++)
		rc = take_value(w, w->call->argv[i], err);
	if (rc == OK)
		rc = check_values(w);
	if (rc != OK)
		return rc;
	exact = sqlite_url_path(w->call->conf->source_url) != NULL;
	if (!exact)
		follow_log(w);
	rc = store_write(w->store, &w->table, w->what, w->values, w->n, &xid, &lsn, err);
	if (rc != OK)
		return rc;
	if (exact && w->call->json) {
		printf("{\"lsn\":\"%s\"}\n", pg_lsn_text(text, lsn));
		return OK;
	}
	exact = exact || seen(w, xid, &lsn);
	if (w->call->json)
		printf("{\"lsn\":\"%s\",\"xid\":%u,\"published\":%s}\n", pg_lsn_text(text, lsn),
		    xid, exact ? "true" : "false");
	else
		printf("%s\n", pg_lsn_text(text, lsn));
	if (!exact)
		fprintf(stderr,
		    "towline: written, but the log does not have it within %d s: the commit is behind this LSN; does a producer run?\n",
		    SEEN_MS / 1000);
	return OK;
}

int
cmd_write(struct call *call)
{
	struct write_call w = { .call = call, .kafka = { .conf = call->conf } };
	enum rc rc = call->argc - 2 > VALUES_MAX ? call_usage(call, "too many columns")
						 : run(&w, &call->err);

	store_close(w.store);
	history_close(w.history);
	arena_free(&w.arena);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

const struct command command_write = {
	.name = "write",
	.summary = "insert, update or delete one row at the primary",
	.usage = "insert|update|delete TABLE COLUMN=VALUE...",
	.examples =
	    "towline write insert orders id=7 note='two of them' paid:null\ntowline write update orders id=7 paid=t\n"
	    "towline write delete orders id=7 --json\n",
	.detail =
	    "Values are text in PostgreSQL's form, COLUMN:null is NULL. update and delete find the row by its whole primary key, and\n"
	    "fail without writing when it is not there, as does an insert of a key that is. Prints the LSN of the commit, which\n"
	    "'towline wait --lsn' and 'towline read --consistency at-least=LSN' take; it is known when the log in Kafka has it, and\n"
	    "at once of a SQLite source, where a value is text as the column's affinity takes it.\n",
	.args_min = 3,
	.args_max = -1,
	.run = cmd_write,
};
