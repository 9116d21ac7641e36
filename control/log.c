/*
 * towline log: the entries of the log from a position on, in the order of the source's commits.
 */
#include "consumer/history.h"
#include "control/cluster.h"
#include "control/command.h"
#include "control/tail.h"
#include "core/pg.h"
#include "core/stop.h"
#include "core/suggest.h"
#include "schemas/topic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>

struct log_call {
	struct call *call;
	struct kafka kafka;
	struct arena arena;
	uint64_t from;
	const char *topic; /* NULL: all */
	int64_t left;	   /* -1: no limit */
	bool follow, closed;
	struct buf line;
};

/* ---- arguments ---- */

bool
log_lsn(const char *text, uint64_t *lsn)
{
	char *end;

	if (pg_lsn_parse(text, lsn))
		return true;
	errno = 0;
	*lsn = strtoull(text, &end, 10);
	return !errno && end != text && !*end && text[0] >= '0' && text[0] <= '9';
}

/* A topic that is not there says nothing about a table that has had no change: only a look at Kafka does. */
static enum rc
take_table(struct log_call *l, const char *name, struct err *err)
{
	const char *dot = strchr(name, '.');
	const struct conf *conf = l->call->conf;
	struct slice schema = dot ? (struct slice){ name, (size_t)(dot - name) } : conf_schema(conf);
	struct suggestion near;
	struct cluster k = { 0 };
	size_t prefix = strlen(conf->name) + 1;
	enum rc rc;

	l->topic =
	    topic_table(&l->arena, conf, schema, slice_of(dot ? dot + 1 : name));
	near = (struct suggestion){ .word = slice_of(l->topic) };
	rc = cluster_look(&l->kafka, &k, err);
	if (rc == OK && !cluster_partitions(&k, l->topic)) {
		for (int i = 0; i < k.md->topic_cnt; i++)
			if (strncmp(k.md->topics[i].topic, conf->name, prefix - 1) == 0)
				suggest_offer(&near, slice_of(k.md->topics[i].topic));
		if (near.best.n)
			rc = fail_exit(err, FATAL, EXIT_USAGE,
			    "there is no topic %s; did you mean %.*s?", l->topic,
			    SLICE_ARG(near.best));
		else
			rc = fail_exit(err, FATAL, EXIT_USAGE,
			    "there is no topic %s: table %s has had no change, or is not copied",
			    l->topic, name);
	}
	cluster_close(&k);
	return rc;
}

static enum rc
take_args(struct log_call *l)
{
	struct call *call = l->call;
	const char *from = call_option(call, "from"), *table = call_option(call, "table");

	if (from && !log_lsn(from, &l->from))
		return call_usage(
		    call, "--from takes an LSN such as 0/153C9B0, or a number, not '%.60s'", from);
	if (call_number(call, "limit", -1, 1, INT64_MAX, &l->left))
		return call->err.rc;
	l->follow = call_option(call, "follow");
	return table ? take_table(l, table, &call->err) : OK;
}

/* ---- entries ---- */

static void
print(struct log_call *l, const struct history_entry *e)
{
	const struct tail_change c = { .tl = &e->tl,
		.env = &e->env,
		.tbl = e->tbl,
		.key = e->key,
		.partition = e->partition,
		.offset = e->offset,
		.named = true };

	buf_reset(&l->line);
	if (l->call->json)
		tail_json(&l->line, &c);
	else
		tail_text(&l->line, &c);
	if (fwrite(l->line.p, 1, l->line.n, stdout) != l->line.n)
		l->closed = true;
	if (l->left > 0)
		l->left--;
}

static enum rc
run(struct log_call *l, struct history *h, struct err *err)
{
	struct history_entry e;
	enum rc rc = OK;

	while (rc == OK && l->left && !l->closed && !stop_requested()) {
		rc = history_next(h, &e, err);
		if (rc == OK) {
			print(l, &e);
			continue;
		}
		if (rc == REJECT) {
			fprintf(stderr, "towline: %s\n", err->text);
			rc = OK;
		} else if (rc == AGAIN) {
			if (fflush(stdout) != 0)
				l->closed = true;
			if (!l->follow && history_current(h))
				break;
			rc = OK;
		}
	}
	if (rc == AGAIN)
		rc = OK;
	if (fflush(stdout) != 0)
		l->closed = true;
	if (l->closed && errno == EPIPE) { /* `towline log | head`: no failure */
		__fpurge(stdout);
		clearerr(stdout);
	}
	return rc;
}

int
cmd_log(struct call *call)
{
	struct log_call l = { .call = call, .kafka = { .conf = call->conf } };
	struct history *h = NULL;
	enum rc rc = OK;

	if (call->conf->embedded)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "kafka: embedded lives inside towline run, so nothing else reads its topics; use a real broker with kafka: HOST:PORT");
	if (rc == OK)
		rc = take_args(&l);
	if (rc == OK)
		rc = history_open(&l.kafka, l.from, l.topic, &h, &call->err);
	if (rc == OK)
		rc = run(&l, h, &call->err);
	history_close(h);
	buf_free(&l.line);
	arena_free(&l.arena);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option log_options[] = {
	{ "from", 0, "LSN",
	    "begin with the transaction committed there, or the first after it; without: where Kafka begins" },
	{ "table", 't', "TABLE", "only this table: SCHEMA.TABLE, or a table of schema public (SQLite: main)" },
	{ "limit", 'n', "N", "end after N entries" },
	{ "follow", 'f', NULL, "go on with what comes" },
};

const struct command command_log = {
	.name = "log",
	.summary = "the log from an LSN on, in commit order",
	.usage = "[--from LSN] [--table TABLE] [--limit N]",
	.examples =
	    "towline log --from 0/153C9B0 --limit 20\ntowline log --table orders --json\ntowline log -f\n",
	.detail =
	    "One line an entry: commit time, LSN, seq.index, operation, table, key, and what changed; with --json one object a line.\n"
	    "Exactly what a sink applies, in the same order: rows of transactions that never became whole are not shown\n"
	    "(towline tail shows one topic as it is). Ends with 5 when rows from that LSN on are no longer in Kafka.\n",
	.options = log_options,
	.noptions = COUNTOF(log_options),
	.run = cmd_log,
};
