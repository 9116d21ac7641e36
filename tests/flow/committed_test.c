/*
 * committed_test [-u] BROKERS SEQ TOPIC...: what a reader of somebody else's sees in the topics, from their beginning to their end.
 *
 * Every record has its place (transaction, index) in the header. Each place must come once, none may be missing up to transaction SEQ, and
 * within a partition places must rise. -u reads uncommitted records as well. Prints "records R
 * places P repeated D missing M unordered U"; exit 1 when the last three are not 0.
 */
#include "schemas/header.h"

#include <librdkafka/rdkafka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTITIONS_MAX = 64, QUIET_MS = 20000, INDEX_BITS = 24 };

struct places {
	uint64_t *list;
	size_t n, cap;
	size_t unordered;
};

static void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "committed_test: %s: %s\n", what, why);
	exit(2);
}

static uint64_t
place_of(const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers;
	const void *p;
	size_t n;
	struct tl tl;
	struct err err;

	if (rd_kafka_message_headers(m, &headers) || rd_kafka_header_get_last(headers, TL_HEADER, &p, &n))
		give_up(rd_kafka_topic_name(m->rkt), "a record without our header");
	if (tl_take((struct slice){ p, n }, &tl, &err) != OK)
		give_up(rd_kafka_topic_name(m->rkt), err.text);
	return tl.seq << INDEX_BITS | tl.index;
}

static void
add(struct places *pl, uint64_t place)
{
	if (pl->n == pl->cap) {
		pl->cap = pl->cap ? pl->cap * 2 : 65536;
		pl->list = realloc(pl->list, pl->cap * sizeof *pl->list);
		if (!pl->list)
			give_up("memory", "none left");
	}
	pl->list[pl->n++] = place;
}

static void
read_partition(rd_kafka_t *rk, rd_kafka_topic_t *rkt, int32_t partition, struct places *pl)
{
	uint64_t last = 0;
	bool end = false;

	if (rd_kafka_consume_start(rkt, partition, RD_KAFKA_OFFSET_BEGINNING) < 0)
		give_up(rd_kafka_topic_name(rkt), rd_kafka_err2str(rd_kafka_last_error()));
	while (!end) {
		rd_kafka_message_t *m = rd_kafka_consume(rkt, partition, QUIET_MS);

		if (!m)
			give_up(rd_kafka_topic_name(rkt), "neither a record nor the end comes");
		if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			end = true;
		else if (m->err)
			give_up(rd_kafka_topic_name(rkt), rd_kafka_message_errstr(m));
		else {
			uint64_t place = place_of(m);

			pl->unordered += place <= last;
			last = place;
			add(pl, place);
		}
		rd_kafka_message_destroy(m);
	}
	rd_kafka_consume_stop(rkt, partition);
	(void)rk;
}

static void
read_topic(rd_kafka_t *rk, const char *topic, struct places *pl)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *md;

	if (rd_kafka_metadata(rk, 0, rkt, &md, QUIET_MS))
		give_up(topic, "no metadata");
	for (int32_t i = 0; i < md->topics[0].partition_cnt; i++)
		read_partition(rk, rkt, i, pl);
	rd_kafka_metadata_destroy(md);
	rd_kafka_topic_destroy(rkt);
}

static int
by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * Places are dense: index 0 begins the next transaction, or the next index goes on in this one.
 * Whether a transaction's end is there, the sinks tell.
 */
static int
judge(struct places *pl, uint64_t seq)
{
	size_t repeated = 0, missing = 0;
	uint64_t last = UINT64_C(0), top = 0;

	if (pl->n)
		qsort(pl->list, pl->n, sizeof *pl->list, by_place);
	for (size_t i = 0; i < pl->n; i++) {
		uint64_t at = pl->list[i], index = at & ((1 << INDEX_BITS) - 1);

		repeated += i && at == last;
		if (at != last && at != last + 1)
			missing += index != 0 || at >> INDEX_BITS != top + 1;
		top = at >> INDEX_BITS;
		last = at;
	}
	missing += top != seq;
	printf("records %zu places %zu repeated %zu missing %zu unordered %zu\n", pl->n,
	    pl->n - repeated, repeated, missing, pl->unordered);
	return repeated || missing || pl->unordered;
}

int
main(int argc, char **argv)
{
	bool uncommitted = argc > 1 && strcmp(argv[1], "-u") == 0;
	char **args = argv + 1 + uncommitted, text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct places pl = { 0 };
	rd_kafka_t *rk;
	int status;

	if (argc < 4 + uncommitted)
		give_up("use", "committed_test [-u] BROKERS SEQ TOPIC...");
	if (rd_kafka_conf_set(conf, "bootstrap.servers", args[0], text, sizeof text) ||
	    rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text) ||
	    rd_kafka_conf_set(conf, "fetch.wait.max.ms", "20", text, sizeof text) ||
	    rd_kafka_conf_set(conf, "isolation.level", uncommitted ? "read_uncommitted" : "read_committed", text, sizeof text))
		give_up("configuration", text);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
	if (!rk)
		give_up("consumer", text);
	for (char **t = args + 2; *t; t++)
		read_topic(rk, *t, &pl);
	rd_kafka_destroy(rk);
	status = judge(&pl, strtoull(args[1], NULL, 10));
	free(pl.list);
	return status;
}
