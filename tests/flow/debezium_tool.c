/*
 * debezium_tool BROKERS PREFIX [TOPIC=PARTITIONS]... < records: recorded messages into Kafka, for the flow tests. A line is one message:
 *
 *   TOPIC PARTITION KEY VALUE HEADER     key and value in hex; "-" is none
 *
 * The topic gets PREFIX in front, so that a run has topics of its own; those that are named are made first.
 */
#include <librdkafka/rdkafka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_MS = 30000 };

static _Noreturn void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "debezium_tool: %s: %s\n", what, why);
	exit(1);
}

/* In place; NULL for "-". */
static void *
from_hex(char *text, size_t *n)
{
	*n = 0;
	if (strcmp(text, "-") == 0)
		return NULL;
	for (char *p = text; p[0] && p[1]; p += 2) {
		char two[3] = { p[0], p[1], '\0' };

		text[(*n)++] = (char)strtol(two, NULL, 16);
	}
	return text;
}

static void
send_line(rd_kafka_t *rk, const char *prefix, char *line)
{
	char *at = line, *word[5], topic[300];
	rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
	size_t nkey, nvalue;
	void *key, *value;
	rd_kafka_resp_err_t code;

	for (int i = 0; i < 5; i++)
		if (!(word[i] = strsep(&at, " \n")))
			give_up("line", "it has fewer than five words");
	snprintf(topic, sizeof topic, "%s%s", prefix, word[0]);
	key = from_hex(word[2], &nkey);
	value = from_hex(word[3], &nvalue);
	if (strcmp(word[4], "-") != 0)
		rd_kafka_header_add(headers, word[4], -1, "{}", 2);
	code = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION((int32_t)strtol(word[1], NULL, 10)),
	    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY | RD_KAFKA_MSG_F_BLOCK), RD_KAFKA_V_KEY(key, nkey), RD_KAFKA_V_VALUE(value, nvalue),
	    RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (code)
		give_up(topic, rd_kafka_err2str(code));
}

static void
make_topic(rd_kafka_t *rk, const char *prefix, const char *arg)
{
	size_t n = strcspn(arg, "=");
	rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
	rd_kafka_NewTopic_t *t;
	rd_kafka_event_t *ev;
	char topic[300], why[256];

	snprintf(topic, sizeof topic, "%s%.*s", prefix, (int)n, arg);
	t = rd_kafka_NewTopic_new(topic, arg[n] ? (int)strtol(arg + n + 1, NULL, 10) : 1, 1, why, sizeof why);
	if (!t)
		give_up(topic, why);
	rd_kafka_CreateTopics(rk, &t, 1, NULL, q);
	ev = rd_kafka_queue_poll(q, FLUSH_MS);
	if (!ev || rd_kafka_event_error(ev))
		give_up(topic, ev ? rd_kafka_event_error_string(ev) : "no answer");
	rd_kafka_event_destroy(ev);
	rd_kafka_NewTopic_destroy(t);
	rd_kafka_queue_destroy(q);
}

int
main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256], *line = NULL;
	size_t cap = 0;
	rd_kafka_t *rk;

	if (argc < 3)
		give_up("usage", "debezium_tool BROKERS PREFIX [TOPIC=PARTITIONS]... <records");
	if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof why) ||
	    rd_kafka_conf_set(conf, "enable.idempotence", "true", why, sizeof why))
		give_up("configuration", why);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
	if (!rk)
		give_up("client", why);
	for (int i = 3; i < argc; i++)
		make_topic(rk, argv[2], argv[i]);
	while (getline(&line, &cap, stdin) > 0)
		send_line(rk, argv[2], line);
	if (rd_kafka_flush(rk, FLUSH_MS))
		give_up("flush", "not everything was taken");
	free(line);
	rd_kafka_destroy(rk);
	return 0;
}
