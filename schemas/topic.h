/*
 * topic.h - names of topics, and the partition of a key.
 */
#ifndef SCHEMAS_TOPIC_H
#define SCHEMAS_TOPIC_H

#include "core/arena.h"
#include "core/conf.h"

/* Topic of a table by the template; characters outside [A-Za-z0-9._-] become _, cut at 249 (Debezium's rule). In a. */
const char *topic_name(struct arena *a, const char *tmpl, const char *name, struct slice schema, struct slice table);

/* Likewise, as the configuration has it: its own of kafka.topics, else by kafka.topic. */
const char *topic_table(struct arena *a, const struct conf *conf, struct slice schema, struct slice table);

/* Could a table's topic be called so, by kafka.topic or kafka.topics? For some schema and table, whether or not they are there. */
bool topic_fits_table(const struct conf *conf, const char *topic);

/* <name>.towline.<what>: spine, schemas, deadletter, control, progress. */
const char *topic_own(struct arena *a, const char *name, const char *what);

/* murmur2 as Kafka's Java client does it (org.apache.kafka.common.utils.Utils.murmur2). */
uint32_t topic_murmur2(struct slice key);

/* toPositive(murmur2(key)) % partitions, the default partitioner of the Java client for keyed records. */
int topic_partition(struct slice key, int partitions);

#endif
