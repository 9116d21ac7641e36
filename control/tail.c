/*
 * towline tail: the changes of one table, decoded, as they come.
 */
#include "control/tail.h"
#include "consumer/chunk.h"
#include "consumer/decode.h"
#include "control/cluster.h"
#include "control/command.h"
#include "core/stop.h"
#include "core/suggest.h"
#include "schemas/topic.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <unistd.h>

enum { QUEUE_KBYTES = 2048, WAIT_MS = 1000, NAMED_MAX = 8 };

struct tail {
	struct call *call;
	const struct conf *conf;
	struct kafka kafka;
	struct arena arena;        /* as long as the command */
	struct slice schema, table;
	const char *topic;
	const char *ops;           /* letters that are shown; NULL: all */
	const char *key;
	bool beginning, follow;
	int64_t left;              /* changes still to be shown; -1: no limit */
	int partitions, at_end;    /* how many of them were read to their end */
	bool *ended;
	rd_kafka_t *rk;
	rd_kafka_topic_t *rkt;
	rd_kafka_queue_t *queue;
	int fd;
	int started;
	struct decode *decode;
	struct arena row;          /* one change */
	struct join {
		struct chunk chunk;
		struct arena arena;
	} * joins; /* of each partition: a large row that is not whole yet */
	struct buf line, keytext;
	bool closed;               /* nobody reads our output any more */
};

/* ---- arguments ---- */

static enum rc
take_ops(struct tail *t, const char *text)
{
	static const char letters[] = "rcudt";
	char *out = arena_raw(&t->arena, strlen(text) + 1);
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		if (*p == ',' || *p == ' ')
			continue;
		if (!strchr(letters, *p))
			return call_usage(t->call,
			    "--op takes letters of r,c,u,d,t (read, create, update, delete, truncate), not '%c'",
			    *p);
		out[n++] = *p;
	}
	out[n] = '\0';
	if (!n)
		return call_usage(t->call, "--op takes letters of r,c,u,d,t, as in --op u,d");
	t->ops = out;
	return OK;
}

static enum rc
take_args(struct tail *t)
{
	struct call *call = t->call;
	const char *name = call->argv[0], *dot = strchr(name, '.');
	const char *from = call_option(call, "from"), *op = call_option(call, "op");

	t->schema = dot ? (struct slice){ name, (size_t)(dot - name) } : conf_schema(call->conf);
	t->table = slice_of(dot ? dot + 1 : name);
	if (!t->schema.n || !t->table.n)
		return call_usage(call, "'%.60s' is no table; write TABLE or SCHEMA.TABLE", name);
	t->topic = topic_table(&t->arena, t->conf, t->schema, t->table);
	t->beginning = from && strcmp(from, "beginning") == 0;
	if (from && !t->beginning && strcmp(from, "end") != 0)
		return call_usage(call, "--from takes beginning or end, not '%.60s'", from);
	t->key = call_option(call, "key");
	t->follow = !call_option(call, "no-follow");
	if (call_number(call, "limit", -1, 1, INT64_MAX, &t->left))
		return call->err.rc;
	return op ? take_ops(t, op) : OK;
}

/* ---- the topic ---- */

/* Topics of this pipeline that could be meant, as "a, b, and 3 more"; those of towline's own are left out. */
static const char *
others(struct tail *t, const struct cluster *k, struct suggestion *near)
{
	const char *own = topic_own(&t->arena, t->conf->name, ""); /* "NAME.towline." */
	size_t nprefix = strlen(own) - strlen("towline.");
	struct buf list = { 0 };
	const char *text;
	int n = 0;

	for (int i = 0; i < k->md->topic_cnt; i++) {
		const char *topic = k->md->topics[i].topic;

		if (strncmp(topic, own, nprefix) != 0 || strncmp(topic, own, strlen(own)) == 0)
			continue;
		suggest_offer(near, slice_of(topic));
		if (n++ < NAMED_MAX)
			buf_printf(&list, "%s%s", n > 1 ? ", " : "", topic);
	}
	if (n > NAMED_MAX)
		buf_printf(&list, " and %d more", n - NAMED_MAX);
	text = arena_text(&t->arena, buf_view(&list));
	buf_free(&list);
	return text;
}

static enum rc
find_topic(struct tail *t, struct err *err)
{
	struct suggestion near = { .word = slice_of(t->topic) };
	struct cluster k = { 0 };
	enum rc rc = cluster_look(&t->kafka, &k, err);

	if (rc == OK)
		t->partitions = cluster_partitions(&k, t->topic);
	if (rc == OK && !t->partitions) {
		const char *list = others(t, &k, &near);

		if (near.best.n)
			rc = fail_exit(err, FATAL, EXIT_UNREACHABLE,
			    "there is no topic %s; did you mean %.*s? There are: %s", t->topic,
			    SLICE_ARG(near.best), list);
		else if (*list)
			rc = fail_exit(err, FATAL, EXIT_UNREACHABLE, "there is no topic %s; this pipeline has: %s", t->topic, list);
		else
			rc = fail_exit(err, FATAL, EXIT_UNREACHABLE,
			    "there is no topic %s, nor any other of pipeline %s; has its producer run?",
			    t->topic, t->conf->name);
	} else if (rc != OK) {
		rc = fail_in(err, "kafka");
	}
	cluster_close(&k);
	return rc;
}

/* All partitions into one queue. The end is asked for now, so that what comes after the command began is shown. */
static enum rc
start(struct tail *t, struct err *err)
{
	enum rc rc = kafka_consumer(&t->kafka, QUEUE_KBYTES, &t->rk, err);

	if (rc != OK)
		return rc;
	t->rkt = rd_kafka_topic_new(t->rk, t->topic, NULL);
	t->queue = rd_kafka_queue_new(t->rk);
	t->fd = kafka_queue_fd(t->queue);
	t->ended = arena_array(&t->arena, (size_t)t->partitions, sizeof *t->ended);
	t->joins = arena_array(&t->arena, (size_t)t->partitions, sizeof *t->joins);
	for (; t->started < t->partitions; t->started++) {
		int64_t low, high;

		rc = kafka_offsets(t->rk, t->topic, t->started, &low, &high, err);
		if (rc != OK)
			return rc;
		if (rd_kafka_consume_start_queue(t->rkt, t->started, t->beginning ? low : high, t->queue) < 0)
			return kafka_fail(rd_kafka_last_error(), err, "read %s [%d]", t->topic, t->started);
	}
	return decode_open(&t->kafka, &t->decode, err);
}

static void
stop(struct tail *t)
{
	for (int i = 0; i < t->started; i++)
		rd_kafka_consume_stop(t->rkt, i);
	decode_close(t->decode);
	if (t->queue)
		rd_kafka_queue_destroy(t->queue);
	if (t->fd >= 0)
		close(t->fd);
	if (t->rkt)
		rd_kafka_topic_destroy(t->rkt);
	if (t->rk)
		kafka_close(t->rk);
	buf_free(&t->line);
	buf_free(&t->keytext);
	for (int i = 0; t->joins && i < t->partitions; i++)
		arena_free(&t->joins[i].arena);
	arena_free(&t->row);
	arena_free(&t->arena);
}

/* ---- changes ---- */

static bool
wanted(struct tail *t, const struct tail_change *c)
{
	if (t->ops && (!c->env->op || !strchr(t->ops, c->env->op)))
		return false;
	if (!t->key)
		return true;
	buf_reset(&t->keytext);
	tail_key(&t->keytext, c);
	return slice_is(buf_view(&t->keytext), t->key);
}

static void
print(struct tail *t, const struct tail_change *c)
{
	buf_reset(&t->line);
	if (t->call->json)
		tail_json(&t->line, c);
	else
		tail_text(&t->line, c);
	if (fwrite(t->line.p, 1, t->line.n, stdout) != t->line.n)
		t->closed = true;
	if (t->left > 0)
		t->left--;
}

static enum rc
take_value(struct tail *t, const rd_kafka_message_t *m, const struct tl *tl, struct err *err)
{
	struct tail_change c = { .partition = m->partition, .offset = m->offset, .tl = tl };
	struct envelope env;
	struct value *key;
	enum rc rc = decode_record(t->decode, m, tl, &t->row, &env, &c.tbl, &key, err);

	if (rc != OK)
		return rc;
	c.env = &env;
	c.key = key;
	if (wanted(t, &c))
		print(t, &c);
	return OK;
}

/* A part of a large row. Of one that begins before we do the end is passed over. */
static enum rc
take_chunk(struct tail *t, const rd_kafka_message_t *m, const struct tl *tl, struct err *err)
{
	struct join *j = &t->joins[m->partition];
	rd_kafka_message_t whole = *m;
	struct slice value;
	struct tl own;
	enum rc rc;

	if (tl->number == 0)
		arena_reset(&j->arena);
	rc = chunk_add(&j->chunk, tl, (struct slice){ m->payload, m->len },
	    (size_t)t->conf->memory_bytes, &j->arena, err);
	if (rc == AGAIN || (rc == OK && !chunk_whole(&j->chunk)))
		return OK;
	if (rc == FATAL) /* too large for us: said, and passed over */
		return REJECT;
	if (rc == OK)
		rc = chunk_take(&j->chunk, &value, &own, err);
	if (rc == OK) {
		whole.payload = (void *)(uintptr_t)value.p;
		whole.len = value.n;
		rc = take_value(t, &whole, &own, err);
	}
	arena_reset(&j->arena);
	return rc;
}

static enum rc
take_change(struct tail *t, const rd_kafka_message_t *m, struct err *err)
{
	struct err why;
	struct tl tl;
	bool ours = decode_header(m, &tl, &why);
	enum rc rc;

	if (!m->payload) /* a tombstone */
		return OK;
	arena_reset(&t->row);
	if (ours && tl.flags & TL_CHUNK && m->partition < t->partitions)
		rc = take_chunk(t, m, &tl, err);
	else
		rc = take_value(t, m, ours ? &tl : NULL, err);
	if (rc == REJECT) {
		fprintf(stderr, "towline: %s [%d] offset %" PRId64 ": %s\n", t->topic, m->partition, m->offset, err->text);
		return OK;
	}
	return rc;
}

static enum rc
take(struct tail *t, const rd_kafka_message_t *m, struct err *err)
{
	if (!m->err) {
		if (m->partition < t->partitions && t->ended[m->partition]) {
			t->ended[m->partition] = false;
			t->at_end--;
		}
		return take_change(t, m, err);
	}
	if (m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return kafka_fail(m->err, err, "read %s [%d]", t->topic, m->partition);
	if (m->partition < t->partitions && !t->ended[m->partition]) {
		t->ended[m->partition] = true;
		t->at_end++;
	}
	return OK;
}

static bool
finished(const struct tail *t)
{
	return t->closed || !t->left || stop_requested() || (!t->follow && t->at_end == t->partitions);
}

/* For a record, for the signal, and for the reader of our output to go away. */
static void
wait_for_work(struct tail *t)
{
	struct pollfd fds[] = { { .fd = t->fd, .events = POLLIN }, { .fd = stop_fd(), .events = POLLIN }, { .fd = STDOUT_FILENO } };
	uint64_t wakes;

	poll(fds, COUNTOF(fds), WAIT_MS);
	if (fds[2].revents & (POLLERR | POLLNVAL))
		t->closed = true;
	if (fds[0].revents && read(t->fd, &wakes, sizeof wakes) < 0)
		wakes = 0;
}

static enum rc
follow(struct tail *t, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && !finished(t)) {
		rd_kafka_message_t *m = rd_kafka_consume_queue(t->queue, 0);

		if (m) {
			rc = take(t, m, err);
			rd_kafka_message_destroy(m);
			continue;
		}
		if (fflush(stdout) != 0)
			t->closed = true;
		else
			wait_for_work(t);
	}
	if (fflush(stdout) != 0)
		t->closed = true;
	if (t->closed && errno == EPIPE) { /* `towline tail ... | head`: no failure */
		__fpurge(stdout);
		clearerr(stdout);
	}
	return rc;
}

int
cmd_tail(struct call *call)
{
	struct tail t = { .call = call, .conf = call->conf, .kafka = { .conf = call->conf }, .fd = -1 };
	enum rc rc = take_args(&t);

	if (rc == OK && call->conf->embedded)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "kafka: embedded lives inside towline run, so nothing else can read its topics; use a real "
		    "broker with kafka: HOST:PORT");
	if (rc == OK)
		rc = find_topic(&t, &call->err);
	if (rc == OK)
		rc = start(&t, &call->err);
	if (rc == OK)
		rc = follow(&t, &call->err);
	stop(&t);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option tail_options[] = {
	{ "from", 0, "WHERE", "beginning: what Kafka still has, or end (the default): what comes from now on" },
	{ "limit", 'n', "N", "end after N changes" },
	{ "op", 0, "LETTERS", "only these: r,c,u,d,t for read, create, update, delete, truncate" },
	{ "key", 'k', "KEY", "only this key; the columns of a longer one with commas between" },
	{ "no-follow", 0, NULL, "end when everything that Kafka has was shown" },
};

const struct command command_tail = {
	.name = "tail",
	.summary = "decoded changes of one table as they come",
	.usage = "[OPTIONS] TABLE",
	.examples = "towline tail orders --op u,d\ntowline tail public.orders --from beginning --limit 10 --json\n",
	.detail = "TABLE is SCHEMA.TABLE, or a table of schema public (of a SQLite source: main).\n"
	    "One line a change: commit time, LSN, seq.index, operation,\n"
	    "key, and what changed: 'a: 1 -> 2' where the source sends old rows (REPLICA IDENTITY FULL), else the new values.\n"
	    "With --json one object a line.\n"
	    "Rows are shown as they arrive. A row counts only once its group is in the spine: after a crash of the producer\n"
	    "this shows rows twice, or rows of a transaction that never became whole, which no sink applies.\n"
	    "Order holds within a key, not between partitions. Ends on SIGINT, by --limit, and when its output is closed.\n",
	.options = tail_options,
	.noptions = COUNTOF(tail_options),
	.args_min = 1,
	.args_max = 1,
	.run = cmd_tail,
};
