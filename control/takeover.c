/*
 * towline takeover debezium: go on where a Debezium was stopped, with its slot, its publication and its topics.
 *
 *   look    the slot is pgoutput's and nobody reads it; the pipeline has no spine yet; what the connector stored as its offset
 *   compare the tail of each topic with the transactions that the slot has left (producer/takeover.h)
 *   act     the slot is advanced to the place, and a spine begins there: OPEN and a BEAT with that watermark
 *
 * The slot first: whoever is killed in between finds the same place again.
 */
#include "consumer/decode.h"
#include "control/cluster.h"
#include "control/command.h"
#include "core/now.h"
#include "core/pg.h"
#include "core/stop.h"
#include "producer/pgoutput.h"
#include "producer/publication.h"
#include "producer/server.h"
#include "producer/takeover.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { WINDOW = 1000, SILENT_MS = 15000, WRITTEN_MS = 30000 };

struct relation {
	uint32_t oid;
	bool wanted;
};

struct takeover_call {
	struct call *call;
	const struct conf *conf;
	struct kafka kafka;
	struct arena arena, row;
	PGconn *sql, *repl;
	uint64_t system_id, end_lsn;
	uint32_t timeline;
	struct pg_slot slot;
	struct publication pub;
	rd_kafka_t *consumer;
	struct decode *decode;
	struct cluster cluster;
	struct relation *relations;
	int nrelations;
	const char *connector;  /* as its offset names it; NULL: no offset was looked for */
	uint64_t stored_lsn, stored_commit;
	int64_t records, topics;
	struct spine_part *ends; /* where the partitions end: what comes behind is ours */
	int nends;
	struct takeover t;
};

/* ---- look ---- */

static enum rc
look_source(struct takeover_call *c, struct err *err)
{
	const struct conf *conf = c->conf;
	enum rc rc = pg_connect(conf->source_url, false, &c->sql, err);

	if (rc == OK)
		rc = pg_connect(conf->source_url, true, &c->repl, err);
	if (rc == OK)
		rc = server_identify(c->repl, &c->system_id, &c->timeline, &c->end_lsn, err);
	if (rc == OK)
		rc = slot_look(c->sql, conf->slot, &c->arena, &c->slot, err);
	if (rc == OK && !c->slot.exists)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "slot %s does not exist; set source.slot to the connector's slot.name", conf->slot);
	if (rc == OK && c->slot.active_pid)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "slot %s is read by process %s: the connector is at work; stop it (PUT /connectors/NAME/stop), then take over",
		    conf->slot, c->slot.active_pid);
	if (rc == OK)
		rc = slot_judge(conf->slot, &c->slot, err);
	if (rc == OK)
		rc = publication_look(c->sql, conf, &c->arena, &c->pub, err);
	if (rc == OK && !c->pub.exists)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "publication %s does not exist; set source.publication to the connector's publication.name", conf->publication);
	return rc;
}

static enum rc
look_kafka(struct takeover_call *c, struct err *err)
{
	struct spine_state st;
	const char *spine = topic_own(&c->arena, c->conf->name, "spine");
	int64_t next;
	enum rc rc = cluster_look(&c->kafka, &c->cluster, err);

	if (rc == OK)
		rc = kafka_consumer(&c->kafka, 1024, &c->consumer, err);
	if (rc == OK)
		rc = decode_open(&c->kafka, &c->decode, err);
	if (rc != OK || !cluster_partitions(&c->cluster, spine))
		return rc;
	rc = spine_log_state(c->consumer, spine, &st, &next, err);
	if (rc == OK && st.started)
		return fail_exit(err, FATAL, EXIT_REFUSED, "pipeline %s has a spine already, of generation %" PRIu64
		    ": its producer goes on by itself; nothing is left to take over", c->conf->name, st.gen);
	return rc;
}

/* ---- records of a partition, from an offset to where it ends now ---- */

typedef enum rc (*take_fn)(struct takeover_call *c, const rd_kafka_message_t *m, bool *enough, struct err *err);

static enum rc
read_part(struct takeover_call *c, const char *topic, int partition, int64_t from, int64_t high, take_fn take, struct err *err)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(c->consumer, topic, NULL);
	int64_t at = from;
	bool enough = false;
	enum rc rc = OK;

	if (rd_kafka_consume_start(rkt, partition, from) < 0)
		rc = kafka_fail(rd_kafka_last_error(), err, "read %s [%d]", topic, partition);
	while (rc == OK && at < high && !enough) {
		rd_kafka_message_t *m = rd_kafka_consume(rkt, partition, SILENT_MS);

		if (stop_requested())
			rc = fail_exit(err, FATAL, EXIT_INTERRUPTED, "interrupted");
		else if (!m)
			rc = fail(err, RETRY, "%s [%d]: nothing came for %d s", topic, partition, SILENT_MS / 1000);
		else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			at = high;
		else if (m->err)
			rc = kafka_fail(m->err, err, "read %s [%d]", topic, partition);
		else if ((rc = take(c, m, &enough, err)) == OK)
			at = m->offset + 1;
		if (m)
			rd_kafka_message_destroy(m);
	}
	rd_kafka_consume_stop(rkt, partition);
	rd_kafka_topic_destroy(rkt);
	return rc;
}

/* ---- the connector's offset ---- */

/* Key ["NAME",{"server":"PREFIX"}], value {"lsn":...,"lsn_commit":...} or null; the newest counts. */
static enum rc
take_offset(struct takeover_call *c, const rd_kafka_message_t *m, bool *enough, struct err *err)
{
	json_t *key = json_loadb(m->key ? m->key : "", m->key_len, 0, NULL), *value;
	const char *name = json_string_value(json_array_get(key, 0)), *want = call_option(c->call, "connector");
	const char *server = json_string_value(json_object_get(json_array_get(key, 1), "server"));

	(void)enough;
	(void)err;
	if (name && server && strcmp(server, c->conf->name) == 0 && (!want || strcmp(want, name) == 0)) {
		value = json_loadb(m->payload ? m->payload : "", m->len, 0, NULL);
		c->connector = arena_text(&c->arena, slice_of(name));
		c->stored_lsn = (uint64_t)json_integer_value(json_object_get(value, "lsn"));
		c->stored_commit = (uint64_t)json_integer_value(json_object_get(value, "lsn_commit"));
		json_decref(value);
	}
	json_decref(key);
	return OK;
}

static enum rc
read_offsets(struct takeover_call *c, const char *topic, struct err *err)
{
	int n = cluster_partitions(&c->cluster, topic);
	enum rc rc = OK;

	if (!n)
		return fail_exit(err, FATAL, EXIT_USAGE,
		    "there is no topic %s; --offsets takes the offset.storage.topic of the Connect", topic);
	for (int i = 0; i < n && rc == OK; i++) {
		int64_t low, high;

		rc = kafka_offsets(c->consumer, topic, i, &low, &high, err);
		if (rc == OK)
			rc = read_part(c, topic, i, low, high, take_offset, err);
	}
	if (rc == OK && !c->connector)
		return fail_exit(err, FATAL, EXIT_USAGE,
		    "topic %s has no offset of a connector with topic.prefix %s; is 'name' its topic.prefix?", topic, c->conf->name);
	if (rc == OK && !c->stored_lsn)
		return fail_exit(err, FATAL, EXIT_REFUSED, "connector %s has stored no LSN: its first copy is not complete", c->connector);
	c->t.stored = c->stored_commit;
	return rc;
}

/* ---- what the topics hold ---- */

/* The first of a window: is it of a transaction that committed before where the slot stands? A first copy is older than all of them. */
static enum rc
take_row(struct takeover_call *c, const rd_kafka_message_t *m, struct envelope *env, bool *is, struct err *err)
{
	const struct table *tbl;
	struct value *key;
	enum rc rc;

	*is = false;
	if (!m->payload)
		return OK;
	arena_reset(&c->row);
	rc = decode_record(c->decode, m, NULL, &c->row, env, &tbl, &key, err);
	if (rc != OK)
		return fail_exit(err, rc == REJECT ? FATAL : rc, rc == REJECT ? EXIT_REFUSED : err->exit,
		    "%s [%d] offset %" PRId64 ": %s; taken over are topics of Debezium's envelopes in Avro",
		    rd_kafka_topic_name(m->rkt), m->partition, m->offset, err->text);
	*is = env->op && env->lsn;
	return OK;
}

static bool
is_old(const struct takeover_call *c, const struct envelope *env)
{
	bool streamed = !env->snapshot.n || slice_is(env->snapshot, "false");

	return !streamed || (env->last_commit_lsn && env->last_commit_lsn < c->slot.confirmed);
}

static enum rc
take_first(struct takeover_call *c, const rd_kafka_message_t *m, bool *enough, struct err *err)
{
	struct envelope env;
	enum rc rc = take_row(c, m, &env, enough, err);

	c->records = rc == OK && *enough && is_old(c, &env);
	return rc;
}

/* The delete half of a changed key counts with its other half. */
static enum rc
take_seen(struct takeover_call *c, const rd_kafka_message_t *m, bool *enough, struct err *err)
{
	struct envelope env;
	rd_kafka_headers_t *headers;
	const void *p;
	size_t n;
	bool is;
	enum rc rc = take_row(c, m, &env, &is, err);

	(void)enough;
	if (rc != OK || !is || (env.snapshot.n && !slice_is(env.snapshot, "false")))
		return rc;
	if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
	    rd_kafka_header_get_last(headers, "__debezium.newkey", &p, &n) == RD_KAFKA_RESP_ERR_NO_ERROR)
		return OK;
	c->records++;
	/* Rows without a key are told apart by their place: such a topic has them once for each time that they were written. */
	takeover_seen(&c->t, env.xid, env.lsn,
	    m->key ? XXH3_64bits(m->key, m->key_len) ^ XXH3_64bits(rd_kafka_topic_name(m->rkt), strlen(rd_kafka_topic_name(m->rkt)))
		   : (uint64_t)m->offset ^ UINT64_C(1) << 63);
	return OK;
}

/* Back from the end until a record is older than the slot's place, then all from there on. */
static enum rc
read_tail(struct takeover_call *c, const char *topic, int partition, struct err *err)
{
	int64_t low, high, from, records = c->records;
	enum rc rc = kafka_offsets(c->consumer, topic, partition, &low, &high, err);

	if (rc != OK)
		return rc;
	c->ends = realloc(c->ends, (size_t)(c->nends + 1) * sizeof *c->ends);
	if (!c->ends)
		die("out of memory");
	c->ends[c->nends++] = (struct spine_part){ slice_of(topic), partition, high, high, 1 };
	from = high;
	do {
		from = high - from < WINDOW ? high - WINDOW : high - 4 * (high - from);
		from = from < low ? low : from;
		c->records = 0;
		if (from > low)
			rc = read_part(c, topic, partition, from, high, take_first, err);
	} while (rc == OK && from > low && !c->records);
	c->records = records;
	return rc == OK && from < high ? read_part(c, topic, partition, from, high, take_seen, err) : rc;
}

static enum rc
read_topics(struct takeover_call *c, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < c->pub.ntables && rc == OK; i++) {
		const struct publication_table *t = &c->pub.tables[i];
		const char *topic = topic_table(&c->arena, c->conf, slice_of(t->schema), slice_of(t->name));
		int n = t->in ? cluster_partitions(&c->cluster, topic) : 0;

		c->topics += n > 0;
		for (int k = 0; k < n && rc == OK; k++)
			rc = read_tail(c, topic, k, err);
	}
	if (rc == OK && !c->topics)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "none of the %d tables of publication %s has a topic %s.SCHEMA.TABLE; is 'name' the connector's topic.prefix?",
		    c->pub.ntables, c->conf->publication, c->conf->name);
	return rc;
}

/* ---- what the slot has left ---- */

static bool
wanted(const struct takeover_call *c, uint32_t oid)
{
	for (int i = 0; i < c->nrelations; i++)
		if (c->relations[i].oid == oid)
			return c->relations[i].wanted;
	return false;
}

static void
learn(struct takeover_call *c, const struct pgo *m)
{
	int i = 0;

	while (i < c->nrelations && c->relations[i].oid != m->relid)
		i++;
	if (i == c->nrelations) {
		c->relations = realloc(c->relations, (size_t)(i + 1) * sizeof *c->relations);
		if (!c->relations)
			die("out of memory");
		c->nrelations++;
	}
	c->relations[i] = (struct relation){ m->relid, conf_wants(c->conf, m->schema, m->name) };
}

static enum rc
take_message(struct takeover_call *c, uint64_t lsn, struct slice bytes, struct err *err)
{
	struct pgo m;
	enum rc rc;

	arena_reset(&c->row);
	rc = pgo_parse(bytes, &c->row, &m, err);
	if (rc != OK)
		return fail(err, FATAL, "what slot %s holds: %s", c->conf->slot, err->text);
	if (m.type == 'B')
		takeover_begin(&c->t, m.xid);
	else if (m.type == 'R')
		learn(c, &m);
	else if (strchr("IUD", m.type) && wanted(c, m.relid))
		takeover_row(&c->t, lsn);
	else if (m.type == 'T') /* a Debezium leaves them out unless it is told not to: what the topics lack is left to us */
		for (int i = 0; i < m.nrels; i++) {
			if (wanted(c, m.rels[i]))
				takeover_row(&c->t, lsn);
		}
	else if (m.type == 'C')
		takeover_commit(&c->t, m.lsn, m.end_lsn);
	return OK;
}

/* Looked at, not taken: the slot stays where it is. */
static enum rc
peek(struct takeover_call *c, struct err *err)
{
	static const char what[] = "look at what the slot holds";
	static const char sql[] = "SELECT lsn, data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1',"
				  " 'publication_names', $2)";
	const char *params[2] = { c->conf->slot, pg_ident(&c->arena, slice_of(c->conf->publication)) };
	PGresult *res;
	enum rc rc = OK;

	c->t.lsn = c->slot.confirmed;
	if (!PQsendQueryParams(c->sql, sql, 2, NULL, params, NULL, NULL, 1) || !PQsetSingleRowMode(c->sql))
		return pg_fail(c->sql, NULL, err, what);
	while ((res = PQgetResult(c->sql))) {
		ExecStatusType status = PQresultStatus(res);

		if (rc == OK && status == PGRES_SINGLE_TUPLE)
			rc = take_message(c, be64(PQgetvalue(res, 0, 0)),
			    (struct slice){ PQgetvalue(res, 0, 1), (size_t)PQgetlength(res, 0, 1) }, err);
		else if (rc == OK && status != PGRES_TUPLES_OK)
			rc = pg_fail(c->sql, res, err, what);
		PQclear(res);
	}
	return rc;
}

/* ---- act ---- */

static enum rc
advance(struct takeover_call *c, struct err *err)
{
	char lsn[20];
	const char *params[2] = { c->conf->slot, pg_lsn_text(lsn, c->t.lsn) };

	if (c->t.lsn <= c->slot.confirmed)
		return OK;
	return pg_exec_params(c->sql, "advance the slot", "SELECT pg_replication_slot_advance($1, $2::pg_lsn)", 2, params, NULL, err);
}

/* n messages are in Kafka. */
static enum rc
written(rd_kafka_t *rk, int n, const char *topic, struct err *err)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_main(rk);
	int64_t until = now_ms() + WRITTEN_MS;
	enum rc rc = OK;

	while (rc == OK && n > 0) {
		rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 100);
		const rd_kafka_message_t *m;

		while (rc == OK && ev && rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR && (m = rd_kafka_event_message_next(ev))) {
			n--;
			if (m->err)
				rc = kafka_fail(m->err, err, "write to %s", topic);
		}
		if (ev)
			rd_kafka_event_destroy(ev);
		if (rc == OK && n > 0 && now_ms() > until)
			rc = fail(err, RETRY, "Kafka did not take the spine's first records within %d s", WRITTEN_MS / 1000);
	}
	rd_kafka_queue_destroy(q);
	return rc;
}

static enum rc
begin_spine(struct takeover_call *c, struct err *err)
{
	const char *topic = topic_own(&c->arena, c->conf->name, "spine");
	struct spine_record r = { .kind = SPINE_OPEN, .gen = 1, .watermark = c->t.lsn, .at_us = now_us(), .system_id = c->system_id,
		.timeline = c->timeline, .node = slice_of(c->conf->node), .reason = SLICE_LIT("takeover debezium") };
	rd_kafka_t *rk = NULL;
	struct buf b = { 0 };
	int partitions = 0;
	enum rc rc = kafka_producer(&c->kafka, &rk, err);

	if (rc == OK && getrandom(&r.token, sizeof r.token, 0) != sizeof r.token)
		rc = fail(err, FATAL, "getrandom failed");
	r.token >>= 1; /* positive as an Avro long */
	if (rc == OK)
		rc = kafka_topic_ensure(&c->kafka, rk, topic, 1, TOPIC_FOREVER, &partitions, err);
	if (rc == OK && partitions != 1)
		rc = fail_exit(err, FATAL, EXIT_CONFIG, "topic %s has %d partitions, it must have one", topic, partitions);
	for (int i = 0; i < 2 && rc == OK; i++) {
		rd_kafka_resp_err_t code;

		r.kind = i ? SPINE_BEAT : SPINE_OPEN;
		r.parts = i ? NULL : c->ends;
		r.nparts = i ? 0 : c->nends;
		buf_reset(&b);
		spine_put(&b, &r);
		code = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(b.p, b.n),
		    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
		if (code)
			rc = kafka_fail(code, err, "write to %s", topic);
	}
	if (rc == OK)
		rc = written(rk, 2, topic, err);
	if (rk)
		rd_kafka_destroy(rk);
	buf_free(&b);
	return rc;
}

/* ---- tell ---- */

static void
tell(const struct takeover_call *c, bool done)
{
	const struct takeover *t = &c->t;
	char at[20], confirmed[20], stored[20];

	pg_lsn_text(at, t->lsn);
	pg_lsn_text(confirmed, c->slot.confirmed);
	pg_lsn_text(stored, c->stored_lsn);
	if (c->call->json) {
		json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "slot", c->conf->slot, "confirmed", confirmed,
		    "lsn", at, "whole", (json_int_t)t->whole, "left", (json_int_t)t->left, "left_rows", (json_int_t)t->left_rows,
		    "again", (json_int_t)t->again, "again_rows", (json_int_t)t->again_rows, "done", done);

		json_dumpf(o, stdout, 0);
		putchar('\n');
		json_decref(o);
		return;
	}
	printf("slot         %s, nobody reads it, confirmed up to %s\n", c->conf->slot, confirmed);
	if (c->connector)
		printf("connector    %s, stored offset %s\n", c->connector, stored);
	printf("topics       %" PRId64 " of publication %s, %" PRId64 " records compared\n", c->topics, c->conf->publication, c->records);
	printf("place        %s: %" PRId64 " transactions of the slot are in the topics whole, %" PRId64 " with %" PRId64
	       " rows are to come\n", at, t->whole, t->left, t->left_rows);
	if (t->again)
		printf("again        %" PRId64 " rows of %" PRId64 " of these are in the topics already\n", t->again_rows, t->again);
	if (done)
		printf("taken over   the slot stands at %s, the spine begins there; start towline producer, or run\n", at);
	else
		printf("dry run      nothing was changed; without it the slot is advanced to the place, and the spine begins there\n");
}

static enum rc
judge(const struct takeover_call *c, struct err *err)
{
	if (!c->t.again || call_option(c->call, "repeat"))
		return OK;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "%" PRId64 " rows of %" PRId64 " transactions that are not whole in the topics are there already, and would come again:"
	    " the connector was stopped inside a transaction, or killed; start it, let it catch up and stop it again, or take over with"
	    " --repeat",
	    c->t.again_rows, c->t.again);
}

static enum rc
run(struct takeover_call *c, struct err *err)
{
	const char *offsets = call_option(c->call, "offsets");
	bool dry = call_option(c->call, "dry-run");
	enum rc rc = look_source(c, err);

	if (rc == OK)
		rc = look_kafka(c, err);
	if (rc == OK && offsets)
		rc = read_offsets(c, offsets, err);
	if (rc == OK)
		rc = read_topics(c, err);
	if (rc == OK)
		rc = peek(c, err);
	if (rc == OK && !dry)
		rc = judge(c, err);
	if (rc == OK && !dry)
		rc = advance(c, err);
	if (rc == OK && !dry)
		rc = begin_spine(c, err);
	if (rc == OK)
		tell(c, !dry);
	if (rc == OK && dry)
		rc = judge(c, err);
	return rc;
}

int
cmd_takeover(struct call *call)
{
	struct takeover_call c = { .call = call, .conf = call->conf, .kafka.conf = call->conf };
	enum rc rc;

	if (strcmp(call->argv[0], "debezium") != 0)
		rc = call_usage(call, "takeover takes debezium, not '%.60s'", call->argv[0]);
	else if (call_option(call, "connector") && !call_option(call, "offsets"))
		rc = call_usage(call, "--connector names one of those in the topic of --offsets");
	else if (!call->conf->source_url || call->conf->embedded || !call->conf->registry)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "a takeover needs source, kafka and schemas: the connector's database, its Kafka, and the registry of its topics");
	else
		rc = run(&c, &call->err);
	takeover_free(&c.t);
	decode_close(c.decode);
	if (c.consumer)
		kafka_close(c.consumer);
	cluster_close(&c.cluster);
	PQfinish(c.sql);
	PQfinish(c.repl);
	free(c.relations);
	free(c.ends);
	arena_free(&c.row);
	arena_free(&c.arena);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

static const struct command_option takeover_options[] = {
	{ "offsets", 0, "TOPIC", "the Connect's offset.storage.topic: look at the connector's stored offset too" },
	{ "connector", 0, "NAME", "its name there, where several have this topic.prefix" },
	{ "repeat", 0, NULL, "go on although rows that are in the topics come again" },
	{ "dry-run", 0, NULL, "tell the place, change nothing" },
};

const struct command command_takeover = {
	.name = "takeover",
	.summary = "go on in the place of a Debezium that was stopped",
	.usage = "debezium [--offsets TOPIC [--connector NAME]] [--repeat] [--dry-run]",
	.examples = "towline takeover debezium --dry-run\ntowline takeover debezium --offsets connect-offsets\n",
	.detail =
	    "Before: name is the connector's topic.prefix, source.slot its slot.name (of pgoutput), source.publication its\n"
	    "publication.name, schemas its registry; the connector is stopped. The tails of its topics are compared with what the slot\n"
	    "holds: the place is behind the last transaction that is whole in the topics. There the slot is put, and there the spine\n"
	    "begins: no change is lost and none comes again. Where rows behind the place are in the topics already, the connector having\n"
	    "been killed or stopped inside a transaction, this ends with 5; with --repeat they come again, as a Debezium that is started\n"
	    "again repeats them.\n",
	.options = takeover_options,
	.noptions = COUNTOF(takeover_options),
	.args_min = 1,
	.args_max = 1,
	.run = cmd_takeover,
};
