/*
 * publish_impl.h - inside of the publisher: publish.c makes records of changes, deliver.c takes them to Kafka. For these only.
 */
#ifndef PRODUCER_PUBLISH_IMPL_H
#define PRODUCER_PUBLISH_IMPL_H

#include "producer/handle.h"
#include "producer/publish.h"
#include "schemas/frame.h"
#include "schemas/registry.h"

#include <uthash.h>

/* A topic: several table versions may write to it, one table only. */
struct topic {
	const char *name;
	rd_kafka_topic_t *rkt[HANDLES];
	int partitions;
	uint32_t slot;          /* of partition 0; the others follow */
	struct slice owner;     /* "schema.table" */
	UT_hash_handle hh;
};

/* How one table version is written. */
struct route {
	const struct table *tbl;
	struct topic *topic;
	struct writer *writer;
	struct frame key, value;
	UT_hash_handle hh;
};

struct publisher {
	const struct kafka *kafka;
	struct inflight *inflight;
	struct arena arena;     /* topics, routes, writers: as long as the source's table versions */
	struct handle handles[HANDLES];
	int nhandles;           /* one without Kafka transactions */
	int handle;             /* of the newest group */
	uint64_t handle_no;     /* its number */
	struct {
		int handle, run;    /* run: how many groups before it are in the same Kafka transaction */
	} groups[INFLIGHT_GROUPS];
	int fd;
	struct registry *registry;
	struct topic *topics;
	struct route *routes;
	struct route *last;     /* of the change before: most often the same */
	struct topic **slots;   /* slot -> topic */
	uint32_t nslots;
	struct topic *spine;
	struct route *message;  /* logical messages; NULL until the first */
	const char *database;
	size_t queued, queued_bytes; /* records handed over and not acknowledged */
	struct arena row;       /* substituted rows */
	struct buf keybuf, valuebuf, header;
};

struct record {
	struct topic *topic;
	int32_t partition;
	struct slice key, value; /* value.p NULL: tombstone */
	struct slice tl;
	const char *extra_name;  /* a second header, or NULL */
	struct slice extra;
	int64_t timestamp_ms;
};

/* Send one record of group g; the bytes are copied. */
enum rc deliver(struct publisher *p, struct group *g, const struct record *r, struct err *err) MUST_CHECK;

#endif
