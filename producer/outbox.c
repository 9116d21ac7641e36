#include "producer/outbox.h"
#include "core/log.h"
#include "schemas/codec.h"
#include "schemas/pgtypes.h"
#include "schemas/schema.h"
#include "schemas/topic.h"

#include <inttypes.h>

enum {
	ASIDE_HEADERS = 2, /* of an event that is set aside */
	HEADERS = COUNTOF(((struct record *)0)->extra) - ASIDE_HEADERS
};

/* A topic that was written to, and how its records begin (outbox.format: avro). */
struct destination {
	struct topic *topic;
	bool tables; /* a table may come that has this topic */
	struct frame key, value;
	struct destination *next;
};

struct outbox {
	const struct table *tbl;
	int id, route, key, payload; /* columns */
	struct {
		const char *name;
		int col;
	} headers[HEADERS];
	int nheaders;
	struct table key_table, payload_table; /* of one column each: its body is the value's */
	struct writer *key_writer, *payload_writer;
	struct destination *destinations;
	struct destination aside; /* the dead letters; topic NULL: none yet */
	uint64_t naside;
	bool told;
};

static enum rc
column(const struct table *tbl, const char *option, struct slice name, int *out, struct err *err)
{
	*out = table_column(tbl, name);
	if (*out < 0)
		return fail_exit(err, FATAL, EXIT_CONFIG, "outbox: table %s.%s has no column %.*s; set %s to the one that it has",
		    tbl->schema.p,
		    tbl->name.p, SLICE_ARG(name), option);
	return OK;
}

/* COLUMN or COLUMN=HEADER, ... */
static enum rc
headers(struct outbox *o, const char *list, struct arena *a, struct err *err)
{
	enum rc rc = OK;

	for (const char *p = list; p && *p && rc == OK; p += *p == ',') {
		struct slice entry = { p, strcspn(p, ",") };
		const char *equal = memchr(p, '=', entry.n);
		struct slice name = { p, equal ? (size_t)(equal - p) : entry.n };

		p += entry.n;
		if (o->nheaders == HEADERS)
			return fail_exit(err, FATAL, EXIT_CONFIG, "outbox.headers: more than %d", HEADERS - 1);
		o->headers[o->nheaders].name = arena_text(a, equal ? (struct slice){ equal + 1, (size_t)(p - equal - 1) } : name);
		rc = column(o->tbl, "outbox.headers", name, &o->headers[o->nheaders++].col, err);
	}
	return rc;
}

static struct writer *
writer_of(const struct table *tbl, int col, struct table *one, struct arena *a)
{
	*one = *tbl;
	one->message_keys = arena_array(a, 1, sizeof *one->message_keys);
	one->message_keys[0] = col;
	one->nmessage_keys = 1;
	return writer_compile(one, a);
}

enum rc
outbox_make(struct publisher *p, const struct table *tbl, struct outbox **out, struct err *err)
{
	const struct conf *conf = p->kafka->conf;
	struct outbox *o;
	enum rc rc;

	*out = NULL;
	if (!conf_lists(conf->outbox_tables, tbl->schema, tbl->name))
		return OK;
	o = arena_new(&p->arena, struct outbox);
	o->tbl = tbl;
	rc = column(tbl, "outbox.id", slice_of(conf->outbox_id), &o->id, err);
	if (rc == OK)
		rc = column(tbl, "outbox.route", slice_of(conf->outbox_route), &o->route, err);
	if (rc == OK)
		rc = column(tbl, "outbox.key", slice_of(conf->outbox_key), &o->key, err);
	if (rc == OK)
		rc = column(tbl, "outbox.payload", slice_of(conf->outbox_payload), &o->payload, err);
	if (rc == OK) {
		o->headers[o->nheaders].name = "id";
		o->headers[o->nheaders++].col = o->id;
		rc = headers(o, conf->outbox_headers, &p->arena, err);
	}
	if (rc != OK)
		return rc;
	o->key_writer = writer_of(tbl, o->key, &o->key_table, &p->arena);
	o->payload_writer = writer_of(tbl, o->payload, &o->payload_table, &p->arena);
	log_info("producer", "outbox", "table=\"%s.%s\" topics=%s", tbl->schema.p, tbl->name.p, conf->outbox_topic);
	*out = o;
	return OK;
}

/* ---- where to ---- */

/* outbox.event.{route}; what a topic may not be called becomes _. */
static const char *
topic_of(const char *template, struct slice route, struct arena *a)
{
	const char *at = strstr(template, "{route}");
	char *name = arena_printf(a, "%.*s%.*s%s", (int)(at - template), template, SLICE_ARG(route), at + strlen("{route}"));

	return topic_name(a, "{table}", "", SLICE_LIT(""), slice_of(name));
}

/* The topic is there; what its records begin with. */
static enum rc
frames(struct publisher *p, const struct outbox *o, struct destination *d, const char *name, struct err *err)
{
	enum rc rc = OK;
	bool avro = p->kafka->conf->outbox_format == OUTBOX_AVRO;

	if (avro)
		rc = registry_put(p->registry, arena_printf(&p->arena, "%s-key", name), schema_column(&o->tbl->cols[o->key], &p->arena),
		    false, &d->key, err);
	if (rc == OK && avro)
		rc = registry_put(p->registry, arena_printf(&p->arena, "%s-value", name), schema_column(&o->tbl->cols[o->payload],
		    &p->arena),
		    false, &d->value, err);
	return rc == REJECT ? fail(err, FATAL, "outbox: %s", err->text) : rc;
}

static enum rc
destination_make(struct publisher *p, struct outbox *o, const char *name, struct destination **out, struct err *err)
{
	struct destination *d = arena_new(&p->arena, struct destination);
	enum rc rc = publisher_topic_lend(p, name, p->kafka->broker ? 1 : (int)p->kafka->conf->partitions, &d->topic, err);

	if (rc == OK)
		rc = frames(p, o, d, name, err);
	if (rc != OK)
		return rc;
	d->tables = topic_fits_table(p->kafka->conf, name);
	d->next = o->destinations;
	o->destinations = d;
	*out = d;
	return OK;
}

static enum rc
destination(struct publisher *p, struct outbox *o, struct slice route, struct destination **out, struct err *err)
{
	const char *name = topic_of(p->kafka->conf->outbox_topic, route, &p->row);
	enum rc rc;

	for (*out = o->destinations; *out; *out = (*out)->next)
		if ((*out)->topic->lent && strcmp((*out)->topic->name, name) == 0)
			return OK;
	rc = destination_make(p, o, name, out, err);
	/* Another's topic: whoever writes rows of the outbox must not be able to end everything. */
	return rc == FATAL && err->exit == EXIT_CONFIG ? (err->rc = REJECT) : rc;
}

/* ---- what ---- */

/* As text, and bytes as bytes: in a. */
static enum rc
plain(const struct column *col, const struct value *v, struct arena *a, struct slice *out, struct err *err)
{
	struct buf b = { 0 };
	enum rc rc = OK;

	if (v->kind == V_BYTES && col->type.wire == W_BYTES && !col->type.semantic) {
		*out = arena_slice(a, v->s);
		return OK;
	}
	if (v->kind == V_BOOL)
		buf_text(&b, v->i ? "true" : "false");
	else
		rc = pgtype_text(&col->type, v, &b, err);
	*out = arena_slice(a, buf_view(&b));
	buf_free(&b);
	return rc;
}

/* One half of the record: nothing where the column is NULL. */
static enum rc
half(struct publisher *p, const struct outbox *o, int col, const struct writer *w, struct frame frame, const struct value *row,
    struct slice *out,
    struct err *err)
{
	struct buf b = { 0 };
	enum rc rc;

	*out = (struct slice){ NULL, 0 };
	if (row[col].kind <= V_NULL && !row[col].exact.n)
		return OK;
	if (p->kafka->conf->outbox_format == OUTBOX_TEXT)
		return plain(&o->tbl->cols[col], &row[col], &p->row, out, err);
	frame_put(&b, frame);
	rc = writer_key(w, row, &b, err);
	*out = arena_slice(&p->row, buf_view(&b));
	buf_free(&b);
	return rc;
}

/* REJECT: the row names no topic that could be. */
static enum rc
where_to(struct publisher *p, struct outbox *o, const struct value *row, struct destination **out, struct err *err)
{
	struct slice route;
	enum rc rc;

	if (row[o->route].kind <= V_NULL)
		return fail(err, REJECT, "the row names no topic, its column %s is NULL", o->tbl->cols[o->route].name.p);
	rc = plain(&o->tbl->cols[o->route], &row[o->route], &p->row, &route, err);
	return rc == OK ? destination(p, o, route, out, err) : rc;
}

/* Key, value and headers, as they go to d. */
static enum rc
event(struct publisher *p, struct outbox *o, const struct destination *d, const struct value *row, struct record *r, struct err *err)
{
	size_t frame;
	enum rc rc = half(p, o, o->key, o->key_writer, d->key, row, &r->key, err);

	if (rc == OK)
		rc = half(p, o, o->payload, o->payload_writer, d->value, row, &r->value, err);
	for (int i = 0; rc == OK && i < o->nheaders; i++) {
		int col = o->headers[i].col;

		if (row[col].kind <= V_NULL)
			continue;
		r->extra[r->nextra].name = o->headers[i].name;
		rc = plain(&o->tbl->cols[col], &row[col], &p->row, &r->extra[r->nextra++].value, err);
	}
	if (rc != OK)
		return rc;
	r->topic = d->topic;
	r->partition = 0;
	/* A sink stops at a record without header. With this one it passes over it: of no generation that is or was. */
	buf_reset(&p->header);
	if (d->tables)
		tl_put(&p->header, &(struct tl){ .flags = 0 }, NULL, NULL, 0);
	r->tl = buf_view(&p->header);
	/* As for rows: a registry's number is hashed with the key, a fingerprint is not. */
	frame = d->key.kind == FRAME_SINGLE && r->key.n ? 10 : 0;
	if (r->key.p && d->topic->partitions > 1)
		r->partition = topic_partition((struct slice){ r->key.p + frame, r->key.n - frame }, d->topic->partitions);
	return OK;
}

/* At the first, and each time their number doubles. */
static void
tell_aside(struct outbox *o, const char *reason)
{
	o->naside++;
	if ((o->naside & (o->naside - 1)) == 0)
		log_warn("producer", "events of an outbox were set aside in the dead-letter topic", "table=\"%s.%s\" events=%" PRIu64
		    " reason=\"%s\"", o->tbl->schema.p, o->tbl->name.p, o->naside, reason);
}

/*
 * One row that names no topic must not hold up everybody's changes, and must not be lost: it goes, as the event it is, to the dead letters,
 * with the reason. (Debezium's connector stops there.)
 */
static enum rc
set_aside(struct publisher *p, struct outbox *o, const struct value *row, const char *reason, struct record *r, struct err *err)
{
	const char *name = topic_own(&p->row, p->kafka->conf->name, "deadletter");
	const struct table *tbl = o->tbl;
	enum rc rc = OK;

	if (!o->aside.topic) {
		rc = publisher_topic(p, name, 1, TOPIC_FOREVER, SLICE_LIT("the dead letters"), &o->aside.topic, err);
		if (rc == OK)
			rc = frames(p, o, &o->aside, name, err);
	}
	if (rc == OK)
		rc = event(p, o, &o->aside, row, r, err);
	if (rc != OK)
		return rc;
	r->extra[r->nextra].name = "towline.reason";
	r->extra[r->nextra++].value = slice_of(reason);
	r->extra[r->nextra].name = "towline.source";
	r->extra[r->nextra++].value =
	    slice_of(arena_printf(&p->row, "%.*s.%.*s", SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name)));
	tell_aside(o, reason);
	return OK;
}

enum rc
outbox_send(struct publisher *p, struct outbox *o, struct group *g, const struct txn *txn, const struct change *ch, struct err *err)
{
	struct record r = { .aside = true, .timestamp_ms = txn->commit_us / 1000 };
	struct destination *d = NULL;
	enum rc rc;

	if (ch->op == OP_UPDATE && !o->told)
		log_warn("producer", "updates of an outbox are no events, and passed over", "table=\"%s.%s\"", ch->tbl->schema.p,
		    ch->tbl->name.p);
	o->told = o->told || ch->op == OP_UPDATE;
	if (ch->op != OP_CREATE && ch->op != OP_READ)
		return OK;
	rc = where_to(p, o, ch->after, &d, err);
	if (rc == REJECT)
		rc = set_aside(p, o, ch->after, arena_printf(&p->row, "%s", err->text), &r, err);
	else if (rc == OK)
		rc = event(p, o, d, ch->after, &r, err);
	if (rc == REJECT)
		return fail(err, FATAL, "outbox: %s", err->text);
	return rc == OK ? deliver(p, g, &r, err) : rc;
}
