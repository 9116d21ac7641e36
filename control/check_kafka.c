/*
 * Kafka: brokers, topics, the spine; and the schema registry. No topic is made: what may be made shows when it is.
 */
#include "control/check.h"
#include "control/cluster.h"
#include "control/human.h"
#include "producer/resume.h"
#include "schemas/registry.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdio.h>

enum { RDKAFKA_SOUND = 0x020300ff }; /* 2.3.0 */

static void
check_brokers(struct checks *c, const struct cluster *k)
{
	char span[HUMAN_MAX], count[HUMAN_MAX];
	int n = k->md->broker_cnt;

	check_ok(c, "reachable", "%s, %d topics, answers in %s", human_count(count, n, "broker"),
	    k->md->topic_cnt, human_span(span, k->answer_us));
	if (c->conf->replication > n)
		check_fail(c, "kafka.replication", arena_printf(&c->arena, "set kafka.replication: %d, or add brokers", n),
		    "%" PRId64 " replicas want as many brokers, there are %d", c->conf->replication, n);
	else if (n > 1 && c->conf->replication == 1)
		check_warn(c, "kafka.replication", "set kafka.replication: 3", "1: a broker that is lost takes its topics with it");
}

static void
check_library(struct checks *c)
{
	const char *name = arena_printf(&c->arena, "librdkafka %s", rd_kafka_version_str());

	if (rd_kafka_version() < RDKAFKA_SOUND)
		check_warn(c, name, NULL, "producer restarts itself after a broker loss; >= 2.3.0 does not need to");
	else
		check_ok(c, name, "no known trouble");
}

/* Topics that exist keep their partitions; one that differs is only worth a word. */
static void
check_table_topics(struct checks *c, const struct cluster *k)
{
	const struct publication *pub = &c->tables;
	const char *differs = NULL;
	int there = 0, unlike = 0, partitions = 0;

	for (int i = 0; i < pub->ntables; i++) {
		const struct publication_table *t = &pub->tables[i];
		const char *topic = topic_table(&c->arena, c->conf, slice_of(t->schema), slice_of(t->name));
		int n = cluster_partitions(k, topic);

		there += n > 0;
		if (!n || !t->keyed || n == c->conf->partitions)
			continue;
		if (!unlike++) {
			differs = topic;
			partitions = n;
		}
	}
	if (c->tables_known && there == pub->ntables)
		check_ok(c, "topics", "all %d exist", there);
	else if (c->tables_known)
		check_ok(c, "topics",
		    "%d exist, %d to be made; whether this login may make them shows only when it does",
		    there, pub->ntables - there);
	if (unlike)
		check_warn(c, "partitions", arena_printf(&c->arena, "set kafka.partitions: %d", partitions),
		    "%s%s: %d where kafka.partitions says %" PRId64 "; a topic that exists stays as it is", differs,
		    unlike > 1 ? arena_printf(&c->arena, " and %d more", unlike - 1) : "", partitions, c->conf->partitions);
}

/* ---- the spine ---- */

static enum rc
read_spine(struct checks *c, const char *topic, const struct kafka *kafka, struct err *err)
{
	rd_kafka_t *rk = NULL;
	enum rc rc = kafka_consumer(kafka, 1024, &rk, err);

	if (rc == OK)
		rc = spine_log_state(rk, topic, &c->spine, &c->spine_next, err);
	if (rk)
		rd_kafka_destroy(rk);
	return rc;
}

/* The spine by itself, and against the slot: what the producer compares at start. */
static void
check_spine(struct checks *c, const struct kafka *kafka, const struct cluster *k)
{
	const char *topic = topic_own(&c->arena, c->conf->name, "spine");
	int n = cluster_partitions(k, topic);
	struct err err;

	if (n > 1) {
		check_fail(c, "spine",
		    arena_printf(&c->arena, "delete topic %s; it is made anew", topic),
		    "topic %s has %d partitions, it must have one", topic, n);
		return;
	}
	if (n && read_spine(c, topic, kafka, &err) != OK) {
		check_error(c, "spine", &err);
		return;
	}
	c->spine_known = true;
	check_source_end(c);
	if (c->source_known && resume_judge(c->conf, &c->spine, &c->source, false, &err) != OK) {
		check_error(c, "spine", &err);
		return;
	}
	if (!c->spine.started)
		check_ok(c, "spine", "empty, the first run begins it");
	else
		check_ok(c, "spine", "generation %" PRIu64 ", group %" PRIu64 ", seq %" PRIu64 "%s",
		    c->spine.gen, c->spine.no, c->spine.seq,
		    c->source_known ? "; the slot follows it" : "");
}

static void
check_embedded(struct checks *c)
{
	struct err err;

	check_begin(c, "kafka", "kafka   embedded");
	if (c->conf->source_url && c->conf->nsinks) {
		check_ok(c, "embedded", "in memory, for trials; not for production");
		return;
	}
	(void)fail_exit(&err, FATAL, EXIT_CONFIG,
	    "lives in one process, with a source and a sink; set kafka: HOST:PORT, or add the missing one");
	check_error(c, "embedded", &err);
}

void
check_kafka(struct checks *c)
{
	struct kafka kafka = { .conf = c->conf };
	struct cluster k = { 0 };
	struct err err;

	if (c->conf->embedded) {
		check_embedded(c);
		return;
	}
	check_begin(c, "kafka", arena_printf(&c->arena, "kafka   %s", c->conf->brokers));
	if (cluster_look(&kafka, &k, &err) == OK) {
		c->kafka_known = true;
		check_brokers(c, &k);
		check_library(c);
		check_table_topics(c, &k);
		check_spine(c, &kafka, &k);
		check_applied(c);
	} else {
		check_error(c, "reachable", &err);
		check_library(c);
	}
	cluster_close(&k);
}

void
check_registry(struct checks *c)
{
	struct kafka kafka = { .conf = c->conf };
	struct registry *r = NULL;
	char what[128] = "";
	struct err err;
	enum rc rc;

	/* The embedded broker's begins with its process; with no Kafka a topic of Kafka's cannot be asked. */
	if (!c->conf->registry && (c->conf->embedded || !c->kafka_known))
		return;
	check_begin(c, "registry",
	    arena_printf(&c->arena, "registry %s", c->conf->registry ? conf_mask_url(&c->arena, c->conf->registry) : "none"));
	rc = registry_open(&kafka, false, &r, &err);
	if (rc == OK)
		rc = registry_check(r, what, &err);
	if (rc == OK)
		check_ok(c, c->conf->registry ? "reachable" : "schemas in Kafka", "%s", what);
	else
		check_error(c, "reachable", &err);
	registry_close(r);
}
