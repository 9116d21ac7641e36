/*
 * publish_impl.h - inside of the publisher: publish.c makes records of changes, deliver.c takes them to Kafka. For these only.
 */
#ifndef PRODUCER_PUBLISH_IMPL_H
#define PRODUCER_PUBLISH_IMPL_H

#include "producer/handle.h"
#include "producer/publish.h"
#include "producer/shape.h"
#include "schemas/frame.h"
#include "schemas/header.h"
#include "schemas/registry.h"

#include <uthash.h>

/* A topic: several table versions may write to it, one table only. */
struct topic {
	const char *name;
	rd_kafka_topic_t *rkt[HANDLES];
	int partitions;
	uint32_t slot;          /* of partition 0; the others follow */
	struct slice owner;     /* of a table by copy_name, as dots in names could make two tables one */
	bool lent;              /* to events of an outbox: whoever else has it by rights takes it over */
	UT_hash_handle hh;
};

/* A topic that a table of the source has, or will have with its first change. */
struct expected {
	const char *name;
	struct slice owner;
	UT_hash_handle hh;
};

/* How one table version is written. */
struct route {
	struct arena arena;      /* of what follows, but the topic and the outbox */
	const struct table *tbl; /* the source's */
	struct shape *shape;     /* NULL: it goes as it is */
	struct outbox *outbox;   /* then only this and shape are set */
	struct topic *topic;
	struct writer *writer;
	struct frame key, value;
	uint32_t mark;           /* of their schemas, where a registry numbers them; else 0 */
	UT_hash_handle hh;
};

struct publisher {
	const struct kafka *kafka;
	struct gauge *gauge;    /* told of each table; may be NULL */
	struct inflight *inflight;
	struct arena arena;     /* topics, routes, writers: as long as the source's table versions */
	struct handle handles[HANDLES];
	int nhandles;           /* one without Kafka transactions */
	struct committer *committer; /* NULL without */
	int handle;             /* of the newest group */
	uint64_t handle_no;     /* its number */
	struct {
		int handle, run;    /* run: how many groups before it are in the same Kafka transaction */
	} groups[INFLIGHT_GROUPS];
	int fd;
	struct registry *registry;
	struct topic *topics;
	struct expected *expected; /* by the topics' names */
	struct route *routes;
	struct route *last;     /* of the change before: most often the same */
	struct topic **slots;   /* slot -> topic */
	uint32_t nslots;
	struct topic *spine;
	struct metadata *metadata; /* Debezium's topics beside the tables'; NULL until they are needed */
	struct route *message;  /* logical messages; NULL until the first */
	const char *database;
	size_t queued_max;           /* bytes of the next */
	size_t queued, queued_bytes; /* records handed over and not acknowledged */
	struct arena row;       /* substituted rows */
	struct buf keybuf, valuebuf, header;
	size_t record_max, chunk_max; /* bytes of a record as it is, and of one of a large row's */
	size_t aside_max;	      /* likewise as it is, into a topic that takes no more than brokers do by default */
};

struct record {
	struct topic *topic;
	int32_t partition;
	struct slice key, value; /* value.p NULL: tombstone */
	struct slice tl; /* empty: none */
	struct {
		const char *name;
		struct slice value;
	} extra[20]; /* further headers */
	int nextra;
	int64_t timestamp_ms;
	bool aside; /* no row of the group, though the group waits for it */
};

/* The topic, made when it is missing; owner: what it is for, as no two things share one: FATAL/EXIT_CONFIG. */
enum rc publisher_topic(struct publisher *p, const char *name, int partitions, enum topic_keep keep,
    struct slice owner, struct topic **out, struct err *err) MUST_CHECK;

/*
 * Likewise for events, whose topics their rows name: *out lent. REJECT: it is a table's or somebody else's, or none that Kafka would take.
 * What was lent may be taken over later (out->lent is false then).
 */
enum rc publisher_topic_lend(struct publisher *p, const char *name, int partitions, struct topic **out, struct err *err) MUST_CHECK;

/*
 * large.c: set record_max, chunk_max and aside_max; a record's bytes, and is it too large to be sent as it is? What becomes of such a one,
 * by source.on_large.
 */
void large_limits(struct publisher *p);
size_t large_bytes(const struct record *r);
bool large_is(const struct publisher *p, const struct record *r);

/* FATAL: n bytes in chunks are more than an embedded broker would keep. */
enum rc large_fits(const struct publisher *p, const char *what, size_t n, struct err *err) MUST_CHECK;

/*
 * r's value is all that valuebuf holds, its tl all that header holds; both are used up. tl: what
 * that header says. what: "table s.t", for messages; key: for the log. *aside: it went to the dead
 * letters, no record of it into its topic. at->index is stepped.
 */
enum rc large_send(struct publisher *p, struct group *g, struct record *r, const struct tl *tl,
    struct place *at, const char *what, struct slice key, bool *aside, struct err *err) MUST_CHECK;

/* The key of this row as JSON, {"id":1}: as Connect prints it in Debezium's headers. In a; ends in a NUL. */
struct slice key_text(const struct table *tbl, const struct value *row, struct arena *a);

/* Bytes as JSON has them: in base64, quoted. */
void key_text_base64(struct buf *b, struct slice s);

/* Send one record of group g; the bytes are copied. */
enum rc deliver(struct publisher *p, struct group *g, const struct record *r, struct err *err) MUST_CHECK;

#endif
