/*
 * outbox_impl.h - inside of the outbox: outbox.c knows where an event goes, outbox_value.c what it says, outbox_aside.c what
 * becomes of one that cannot. For these only.
 */
#ifndef PRODUCER_OUTBOX_IMPL_H
#define PRODUCER_OUTBOX_IMPL_H

#include "producer/outbox.h"
#include "schemas/codec.h"
#include "schemas/json_avro.h"

enum {
	ASIDE_HEADERS = 4, /* of an event that is set aside */
	HEADERS = COUNTOF(((struct record *)0)->extra) - ASIDE_HEADERS,
	FIELDS = 16,
	REFUSALS = 8,
};

/* A schema that the registry did not take. */
struct refusal {
	uint64_t crc;
	int64_t ms;
	char why[sizeof(((struct err *)0)->text)];
};

/* A topic that was written to, and how its records begin (outbox.format: avro). */
struct destination {
	struct topic *topic;
	const char *space, *record; /* names of the records, and of an envelope's */
	bool tables; /* a table may come that has this topic */
	struct frame key, value;
	struct json_shape *shape; /* outbox.expand: what payloads were like so far; NULL: not asked for yet */
	bool named;		  /* space and record are known to fit the subject */
	bool registered;	  /* all that does not depend on the rows */
	struct refusal *refusals; /* REFUSALS, the newest in place of the oldest; NULL: none yet */
	int nrefusals;
	struct destination *next;
};

struct named_column {
	const char *name;
	int col;
};

struct outbox {
	const struct table *tbl;
	int id, route, key, payload; /* columns */
	int partition, timestamp;    /* likewise; -1: none */
	struct named_column headers[HEADERS], fields[FIELDS];
	int nheaders, nfields;
	struct table key_table, value_table; /* whose message keys are what is written */
	struct writer *key_writer, *value_writer;
	struct destination *destinations;
	struct destination aside; /* the dead letters; topic NULL: none yet */
	uint64_t naside;
	bool told;
};

/*
 * As text, in a: what it is in Avro, as Connect prints that in texts and headers; bytes as bytes; what Avro has no number for as
 * PostgreSQL's text.
 */
enum rc outbox_plain(const struct column *col, const struct value *v, struct arena *a, struct slice *out, struct err *err) MUST_CHECK;

/* o's columns are set: how its values are written. */
void outbox_value_make(struct outbox *o, const struct conf *conf, struct arena *a);

/* Of an envelope, in the publisher's arena: as Debezium's router names it, <name>.<schema>.<table>.<route>. */
const char *outbox_namespace(struct publisher *p, const struct outbox *o, struct slice route);

/*
 * The schemas of d's records are registered, but for what depends on the rows: d->registered. REJECT: not compatible, said again without
 * asking for a while. RETRY, FATAL: as registry_put.
 */
enum rc outbox_value_register(struct publisher *p, const struct outbox *o, struct destination *d, struct err *err) MUST_CHECK;

/* Key and value of an event in p->row; p NULL: none. REJECT: this row has no such form. RETRY, FATAL: as registry_put. */
enum rc outbox_key(struct publisher *p, const struct outbox *o, const struct destination *d, const struct value *row, struct slice *out,
    struct err *err) MUST_CHECK;
enum rc outbox_value(struct publisher *p, const struct outbox *o, struct destination *d, const struct value *row, struct slice *out,
    struct err *err) MUST_CHECK;

/*
 * The event into the dead letters, in as many records as it takes (source.on_large). reason stays; ms: the timestamp. RETRY: Kafka.
 * FATAL: it is too large, and source.on_large does not let it be cut or cut short.
 */
enum rc outbox_aside(struct publisher *p, struct outbox *o, struct group *g, const struct value *row, const char *reason, int64_t ms,
    struct err *err) MUST_CHECK;

/* FATAL, with the ways out. */
enum rc outbox_stop(const struct outbox *o, const char *reason, struct err *err);

/* The columns of the envelope as a JSON object, in p->row; p NULL: there are none, or they are no UTF-8. */
struct slice outbox_fields(struct publisher *p, const struct outbox *o, const struct value *row);

#endif
