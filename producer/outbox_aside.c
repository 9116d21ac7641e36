/*
 * outbox_aside.c - events that cannot go where they want: in the dead letters, with the reason, as text, which nothing can refuse.
 * (Debezium's connector stops there.)
 *
 * One row must not hold up everybody's changes, and it may be deleted already at the source, so that it must not be lost either. What of
 * it is too long for a record follows in records of its own (source.on_large: chunk): value, key, a header.
 */
#include "core/log.h"
#include "producer/outbox_impl.h"
#include "schemas/topic.h"

#include <inttypes.h>

enum {
	SHARE = 32, /* of a record: what is longer goes into others. Of those below there are fewer. */
	LONG = COUNTOF(((struct record *)0)->extra) + 2, /* all headers, payload and key */
};

struct piece {
	const char *name;
	struct slice bytes;
};

enum rc
outbox_stop(const struct outbox *o, const char *reason, struct err *err)
{
	char why[sizeof err->text];

	snprintf(why, sizeof why, "%s", reason);
	return fail(err, FATAL, "table %s.%s: %s; set source.on_large to chunk or dead-letter, or raise message.max.bytes in kafka.options "
	    "and max.message.bytes at the topic", o->tbl->schema.p, o->tbl->name.p, why);
}

/* At the first, and each time their number doubles. */
static void
tell(struct outbox *o, const char *reason)
{
	o->naside++;
	if ((o->naside & (o->naside - 1)) == 0)
		log_warn("producer", "events of an outbox were set aside in the dead-letter topic", "table=\"%s.%s\" events=%" PRIu64
		    " reason=\"%s\"", o->tbl->schema.p, o->tbl->name.p, o->naside, reason);
}

static void
add_header(struct record *r, const char *name, struct slice value)
{
	r->extra[r->nextra].name = name;
	r->extra[r->nextra++].value = value;
}

/* False: it has no form as text (a map, say). It is left out then, as for what is set aside there is no other place. */
static bool
has_text(struct publisher *p, const struct outbox *o, int col, const struct value *row, struct slice *out)
{
	struct err why;

	*out = (struct slice){ NULL, 0 };
	if (value_is_null(&row[col]) || outbox_plain(&o->tbl->cols[col], &row[col], &p->row, out, &why) == OK)
		return true;
	*out = (struct slice){ NULL, 0 };
	return false;
}

static enum rc
make(struct publisher *p, struct outbox *o, const struct value *row, const char *reason, struct record *r, struct err *err)
{
	const struct table *tbl = o->tbl;
	struct slice header;
	struct slice fields = outbox_fields(p, o, row);
	enum rc rc = OK;

	if (!o->aside.topic)
		rc = publisher_topic(p, topic_own(&p->row, p->kafka->conf->name, "deadletter"), 1, TOPIC_FOREVER,
		    SLICE_LIT("the dead letters"), &o->aside.topic, err);
	if (rc != OK)
		return rc;
	(void)has_text(p, o, o->key, row, &r->key);
	(void)has_text(p, o, o->payload, row, &r->value);
	for (int i = 0; i < o->nheaders; i++)
		if (has_text(p, o, o->headers[i].col, row, &header))
			add_header(r, o->headers[i].name, header);
	r->topic = o->aside.topic;
	add_header(r, "towline.reason", slice_of(reason));
	add_header(r, "towline.source", slice_of(arena_printf(&p->row, "%.*s.%.*s", SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name))));
	if (fields.p)
		add_header(r, "towline.fields", fields);
	return OK;
}

/* r without what is long. Returns how many pieces that are. */
static int
take_long(struct publisher *p, struct record *r, struct piece piece[LONG])
{
	size_t most = p->chunk_max / SHARE;
	int n = 0, kept = 0;

	if (r->value.n > most) {
		piece[n++] = (struct piece){ "payload", r->value };
		r->value = (struct slice){ NULL, 0 };
	}
	if (r->key.n > most) {
		piece[n++] = (struct piece){ "key", r->key };
		r->key = (struct slice){ NULL, 0 };
	}
	for (int i = 0; i < r->nextra; i++) {
		if (r->extra[i].value.n > most)
			piece[n++] = (struct piece){ arena_printf(&p->row, "header %s", r->extra[i].name), r->extra[i].value };
		else
			r->extra[kept++] = r->extra[i];
	}
	r->nextra = kept;
	return n;
}

static enum rc
send_piece(struct publisher *p, struct group *g, const struct record *event, const struct piece *piece, struct err *err)
{
	size_t room = p->chunk_max - p->chunk_max / SHARE - large_bytes(event), parts = (piece->bytes.n + room - 1) / room;
	struct slice rest = piece->bytes;
	enum rc rc = OK;

	for (size_t i = 0; i < parts && rc == OK; i++) {
		struct record r = *event;

		r.value = (struct slice){ rest.p, rest.n < room ? rest.n : room };
		rest = (struct slice){ rest.p + r.value.n, rest.n - r.value.n };
		/* In the place of towline.long. */
		r.nextra--;
		add_header(&r, "towline.part", slice_of(arena_printf(&p->row, "%s %zu/%zu", piece->name, i + 1, parts)));
		rc = deliver(p, g, &r, err);
	}
	return rc;
}

/* The event with what is short, then the pieces. */
static enum rc
send_long(struct publisher *p, struct outbox *o, struct group *g, struct record *r, const char *reason, struct err *err)
{
	bool chunk = p->kafka->conf->on_large == LARGE_CHUNK;
	const char *names = "";
	struct piece piece[LONG];
	size_t bytes = large_bytes(r);
	int n = take_long(p, r, piece);
	enum rc rc = OK;

	for (int i = 0; i < n; i++)
		names = arena_printf(&p->row, "%s%s%s", names, i ? ", " : "", piece[i].name);
	add_header(r, "towline.long", slice_of(names));
	if (large_bytes(r) > p->chunk_max / 2 + p->chunk_max / 4)
		return outbox_stop(o, reason, err);
	if (chunk)
		rc = large_fits(p, o->tbl->name.p, bytes, err);
	if (rc == OK)
		rc = deliver(p, g, r, err);
	r->value = (struct slice){ NULL, 0 };
	for (int i = 0; i < n && chunk && rc == OK; i++)
		rc = send_piece(p, g, r, &piece[i], err);
	return rc;
}

enum rc
outbox_aside(struct publisher *p, struct outbox *o, struct group *g, const struct value *row, const char *reason, int64_t ms,
    struct err *err)
{
	struct record r = { .aside = true, .timestamp_ms = ms };
	enum rc rc = make(p, o, row, reason, &r, err);
	enum on_large policy = p->kafka->conf->on_large;
	size_t most = policy == LARGE_CHUNK ? p->chunk_max : policy == LARGE_DEADLETTER ? p->aside_max : p->record_max;
	bool is_long;

	if (rc != OK)
		return rc;
	/* The topic takes what brokers do by default, whatever message.max.bytes is set to. */
	is_long = large_bytes(&r) > most;
	if (is_long && policy == LARGE_STOP)
		return outbox_stop(o, arena_printf(&p->row, "an event to be set aside is larger than message.max.bytes (%s)", reason), err);
	tell(o, reason);
	return is_long ? send_long(p, o, g, &r, reason, err) : deliver(p, g, &r, err);
}
