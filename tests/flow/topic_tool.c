/*
 * topic_tool BROKERS COMMAND TOPIC ...: what an operator, or an accident, does to a topic. For the flow tests.
 *
 *   delete TOPIC
 *   truncate TOPIC PARTITION OFFSET    the records before OFFSET are gone; -1: all
 *   replace TOPIC PARTITION OFFSET HEX the topic is made anew with the same records, but with another value there
 *   shift TOPIC                        the topic is made anew with the first record of each partition left out
 *   cut TOPIC N                        the topic is made anew with the first N records of each partition
 *   grow TOPIC N                       it has N partitions from now on
 *   keep TOPIC N                       it is made, with N partitions, and keeps records however old they say they are
 *   first TOPIC PARTITION OFFSET       the record's first bytes, in hex: key, value
 */
#include <librdkafka/rdkafka.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 15000, PARTITIONS_MAX = 64, RECORDS_MAX = 100000, VALUE_MAX = 4096, LIMIT_S = 40 };

struct copy {
	rd_kafka_message_t *list[RECORDS_MAX];
	int n, partitions;
};

static _Noreturn void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "topic_tool: %s: %s\n", what, why);
	exit(1);
}

static rd_kafka_t *
client(const char *brokers, rd_kafka_type_t type)
{
	static const char *const pairs[][2] = { { "allow.auto.create.topics", "false" }, { "enable.partition.eof", "true" },
		{ "auto.offset.reset", "error" } };
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	size_t n = type == RD_KAFKA_CONSUMER ? sizeof pairs / sizeof *pairs : 0;
	char text[256];
	rd_kafka_t *rk;

	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) != RD_KAFKA_CONF_OK)
		give_up("configuration", text);
	for (size_t i = 0; i < n; i++)
		if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], text, sizeof text) != RD_KAFKA_CONF_OK)
			give_up("configuration", text);
	rk = rd_kafka_new(type, conf, text, sizeof text);
	if (!rk)
		give_up("client", text);
	return rk;
}

/* ---- administration ---- */

static rd_kafka_event_t *
answer(rd_kafka_queue_t *q, const char *what)
{
	rd_kafka_event_t *ev = rd_kafka_queue_poll(q, WAIT_MS);

	if (!ev || rd_kafka_event_error(ev))
		give_up(what, ev ? rd_kafka_event_error_string(ev) : "no answer");
	return ev;
}

/* Zero when it is not there. */
static int
partitions_of(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, rkt, &md, WAIT_MS);
	int n;

	if (code)
		give_up("metadata", rd_kafka_err2str(code));
	n = md->topics[0].err ? 0 : md->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(md);
	rd_kafka_topic_destroy(rkt);
	return n;
}

static void
delete_topic(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_DeleteTopic_t *dt = rd_kafka_DeleteTopic_new(topic);
	rd_kafka_event_t *ev;
	size_t n;
	const rd_kafka_topic_result_t **res;

	rd_kafka_DeleteTopics(rk, &dt, 1, NULL, q);
	ev = answer(q, "delete");
	res = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n);
	if (rd_kafka_topic_result_error(res[0]))
		give_up("delete", rd_kafka_topic_result_error_string(res[0]));
	rd_kafka_event_destroy(ev);
	rd_kafka_DeleteTopic_destroy(dt);
	rd_kafka_queue_destroy(q);
	while (partitions_of(rk, topic))
		;
}

static void
grow_topic(rd_kafka_t *rk, const char *topic, int partitions)
{
	char text[256];
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_NewPartitions_t *np = rd_kafka_NewPartitions_new(topic, (size_t)partitions, text, sizeof text);
	rd_kafka_event_t *ev;
	size_t n;
	const rd_kafka_topic_result_t **res;

	if (!np)
		give_up("grow", text);
	rd_kafka_CreatePartitions(rk, &np, 1, NULL, q);
	ev = answer(q, "grow");
	res = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &n);
	if (rd_kafka_topic_result_error(res[0]))
		give_up("grow", rd_kafka_topic_result_error_string(res[0]));
	rd_kafka_event_destroy(ev);
	rd_kafka_NewPartitions_destroy(np);
	rd_kafka_queue_destroy(q);
	while (partitions_of(rk, topic) < partitions)
		;
}

/* A topic that was deleted a moment ago may still be in the way. */
static void
create_topic(rd_kafka_t *rk, const char *topic, int partitions, bool keep)
{
	rd_kafka_resp_err_t code;

	do {
		char text[256];
		rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
		rd_kafka_NewTopic_t *nt = rd_kafka_NewTopic_new(topic, partitions, 1, text, sizeof text);
		rd_kafka_event_t *ev;
		size_t n;

		if (keep)
			rd_kafka_NewTopic_set_config(nt, "retention.ms", "-1");
		rd_kafka_CreateTopics(rk, &nt, 1, NULL, q);
		ev = answer(q, "create");
		code = rd_kafka_topic_result_error(rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n)[0]);
		rd_kafka_event_destroy(ev);
		rd_kafka_NewTopic_destroy(nt);
		rd_kafka_queue_destroy(q);
	} while (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS);
	if (code)
		give_up("create", rd_kafka_err2str(code));
	while (partitions_of(rk, topic) != partitions)
		;
}

static void
truncate_topic(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t before)
{
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	const rd_kafka_topic_partition_list_t *res;
	rd_kafka_DeleteRecords_t *dr;
	rd_kafka_event_t *ev;

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before < 0 ? RD_KAFKA_OFFSET_END : before;
	dr = rd_kafka_DeleteRecords_new(list);
	rd_kafka_DeleteRecords(rk, &dr, 1, NULL, q);
	ev = answer(q, "truncate");
	res = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(ev));
	if (res->elems[0].err)
		give_up("truncate", rd_kafka_err2str(res->elems[0].err));
	printf("%" PRId64 "\n", res->elems[0].offset);
	rd_kafka_event_destroy(ev);
	rd_kafka_DeleteRecords_destroy(dr);
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_queue_destroy(q);
}

/* ---- records ---- */

static void
read_partition(rd_kafka_topic_t *rkt, int32_t partition, struct copy *c)
{
	rd_kafka_message_t *m;

	if (rd_kafka_consume_start(rkt, partition, RD_KAFKA_OFFSET_BEGINNING))
		give_up("read", rd_kafka_err2str(rd_kafka_last_error()));
	while ((m = rd_kafka_consume(rkt, partition, WAIT_MS)) && !m->err && c->n < RECORDS_MAX)
		c->list[c->n++] = m;
	if (!m || m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
		give_up("read", m ? rd_kafka_err2str(m->err) : "no answer");
	rd_kafka_message_destroy(m);
	rd_kafka_consume_stop(rkt, partition);
}

static void
read_topic(const char *brokers, const char *topic, struct copy *c)
{
	rd_kafka_t *rk = client(brokers, RD_KAFKA_CONSUMER);
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);

	c->partitions = partitions_of(rk, topic);
	for (int i = 0; i < c->partitions; i++)
		read_partition(rkt, i, c);
	rd_kafka_topic_destroy(rkt);
}

static void
write_record(rd_kafka_t *rk, const char *topic, const rd_kafka_message_t *m, const char *value, size_t n)
{
	rd_kafka_headers_t *headers = NULL;
	rd_kafka_resp_err_t code;

	if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
		headers = rd_kafka_headers_copy(headers);
	code = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(m->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_KEY(m->key, m->key_len), RD_KAFKA_V_VALUE((void *)(uintptr_t)value, n), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (code)
		give_up("write", rd_kafka_err2str(code));
}

static size_t
from_hex(const char *text, char out[static VALUE_MAX])
{
	size_t n = strlen(text) / 2;

	for (size_t i = 0; i < n && i < VALUE_MAX; i++) {
		const char byte[3] = { text[2 * i], text[2 * i + 1], 0 };

		out[i] = (char)strtol(byte, NULL, 16);
	}
	return n;
}

/* The same records under the same offsets, in a topic that is not the same. */
static void
rewrite(const char *brokers, rd_kafka_t *admin, const char *topic, int32_t partition, int64_t offset, const char *hex, int64_t keep)
{
	static struct copy c;
	char value[VALUE_MAX];
	size_t n = hex ? from_hex(hex, value) : 0;
	rd_kafka_t *writer;
	bool hit = false;

	read_topic(brokers, topic, &c);
	delete_topic(admin, topic);
	create_topic(admin, topic, c.partitions, false);
	writer = client(brokers, RD_KAFKA_PRODUCER);
	for (int i = 0; i < c.n; i++) {
		const rd_kafka_message_t *m = c.list[i];
		bool it = hex && m->partition == partition && m->offset == offset;

		if (!hex && (keep ? m->offset >= keep : m->offset == 0))
			continue;
		write_record(writer, topic, m, it ? value : m->payload, it ? n : m->len);
		hit = hit || it;
	}
	if (rd_kafka_flush(writer, WAIT_MS))
		give_up("write", "not all arrived");
	if (hex && !hit)
		give_up("replace", "there is no such record");
	for (int i = 0; i < c.n; i++)
		rd_kafka_message_destroy(c.list[i]);
	rd_kafka_destroy(writer);
}

static void
put_hex(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n && i < 10; i++)
		printf("%02x", p[i]);
}

static void
show_first(const char *brokers, const char *topic, int32_t partition, int64_t offset)
{
	static struct copy c;

	read_topic(brokers, topic, &c);
	for (int i = 0; i < c.n; i++) {
		if (c.list[i]->partition == partition && c.list[i]->offset == offset) {
			put_hex(c.list[i]->key, c.list[i]->key_len);
			putchar(' ');
			put_hex(c.list[i]->payload, c.list[i]->len);
			putchar('\n');
		}
		rd_kafka_message_destroy(c.list[i]);
	}
}

int
main(int argc, char **argv)
{
	rd_kafka_t *rk;
	const char *brokers = argv[1], *what = argv[2], *topic = argv[3];

	if (argc < 4)
		give_up("use", "topic_tool BROKERS COMMAND TOPIC ...");
	alarm(LIMIT_S);
	rk = client(brokers, RD_KAFKA_CONSUMER); /* a producer's questions would make topics */
	if (strcmp(what, "delete") == 0)
		delete_topic(rk, topic);
	else if (strcmp(what, "truncate") == 0 && argc == 6)
		truncate_topic(rk, topic, (int32_t)strtol(argv[4], NULL, 10), strtoll(argv[5], NULL, 10));
	else if (strcmp(what, "replace") == 0 && argc == 7)
		rewrite(brokers, rk, topic, (int32_t)strtol(argv[4], NULL, 10), strtoll(argv[5], NULL, 10), argv[6], 0);
	else if (strcmp(what, "grow") == 0 && argc == 5)
		grow_topic(rk, topic, (int)strtol(argv[4], NULL, 10));
	else if (strcmp(what, "keep") == 0 && argc == 5)
		create_topic(rk, topic, (int)strtol(argv[4], NULL, 10), true);
	else if (strcmp(what, "shift") == 0)
		rewrite(brokers, rk, topic, 0, 0, NULL, 0);
	else if (strcmp(what, "cut") == 0 && argc == 5)
		rewrite(brokers, rk, topic, 0, 0, NULL, strtoll(argv[4], NULL, 10));
	else if (strcmp(what, "first") == 0 && argc == 6)
		show_first(brokers, topic, (int32_t)strtol(argv[4], NULL, 10), strtoll(argv[5], NULL, 10));
	else
		give_up("use", "no such command");
	fflush(stdout);
	_exit(0); /* clients that have read a topic which is deleted now do not always end */
}
