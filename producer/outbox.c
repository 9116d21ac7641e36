#include "producer/outbox_impl.h"
#include "core/log.h"
#include "core/now.h"
#include "core/pattern.h"
#include "schemas/pgtime.h"
#include "schemas/schema.h"
#include "schemas/topic.h"

#include <inttypes.h>

enum { AHEAD_MS = 50 * 60 * 1000 }; /* of a timestamp: a broker takes none that is an hour ahead of its clock */

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

/* COLUMN or COLUMN=NAME, ... */
static enum rc
named(const struct outbox *o, const char *option, const char *list, struct named_column *to, int *n, int max, struct arena *a,
    struct err *err)
{
	enum rc rc = OK;

	for (const char *p = list; p && *p && rc == OK; p += *p == ',') {
		struct slice entry = { p, strcspn(p, ",") };
		const char *equal = memchr(p, '=', entry.n);
		struct slice name = { p, equal ? (size_t)(equal - p) : entry.n };

		p += entry.n;
		if (*n == max)
			return fail_exit(err, FATAL, EXIT_CONFIG, "%s: more than %d", option, max);
		to[*n].name = arena_text(a, equal ? (struct slice){ equal + 1, (size_t)(p - equal - 1) } : name);
		rc = column(o->tbl, option, name, &to[(*n)++].col, err);
	}
	return rc;
}

/* A name of a field is one that Avro takes, and there is one of each. */
static enum rc
check_fields(const struct outbox *o, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = OK;

	for (int i = 0; i < o->nfields && rc == OK; i++) {
		const char *name = o->fields[i].name;
		bool twice = strcmp(name, "payload") == 0;

		for (int k = 0; k < i; k++)
			twice = twice || strcmp(o->fields[k].name, name) == 0;
		if (twice || !slice_is(schema_adjust(slice_of(name), false, &a), name))
			rc = fail_exit(err, FATAL, EXIT_CONFIG, "outbox.envelope: %s %s; write COLUMN=FIELD", name,
			    twice ? "is there already" : "is no name that Avro takes for a field");
	}
	arena_free(&a);
	return rc;
}

/* Columns of a kind. */
static enum rc
optional(const struct outbox *o, const char *option, const char *name, bool text, int *out, struct err *err)
{
	enum rc rc = OK;
	enum wire wire;

	*out = -1;
	if (name)
		rc = column(o->tbl, option, slice_of(name), out, err);
	if (rc != OK || !name)
		return rc;
	wire = o->tbl->cols[*out].type.wire;
	return wire == W_INT16 || wire == W_INT32 || wire == W_INT64 || (text && wire == W_STRING) ? OK
	    : fail_exit(err, FATAL, EXIT_CONFIG, "%s: column %s of table %s.%s is no %s", option, name, o->tbl->schema.p, o->tbl->name.p,
	    text ? "timestamp" : "whole number");
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
	if (rc == OK)
		rc = optional(o, "outbox.partition", conf->outbox_partition, false, &o->partition, err);
	if (rc == OK)
		rc = optional(o, "outbox.timestamp", conf->outbox_timestamp, true, &o->timestamp, err);
	if (rc == OK) {
		o->headers[o->nheaders++] = (struct named_column){ "id", o->id };
		rc = named(o, "outbox.headers", conf->outbox_headers, o->headers, &o->nheaders, HEADERS, &p->arena, err);
	}
	if (rc == OK)
		rc = named(o, "outbox.envelope", conf->outbox_envelope, o->fields, &o->nfields, FIELDS, &p->arena, err);
	if (rc == OK)
		rc = check_fields(o, err);
	if (rc != OK)
		return rc;
	outbox_value_make(o, conf, &p->arena);
	log_info("producer", "outbox", "table=\"%s.%s\" topics=%s", tbl->schema.p, tbl->name.p, conf->outbox_topic);
	*out = o;
	return OK;
}

/* ---- where to ---- */

/* outbox.event.{route}, what a topic may not be called as _. NULL: not by outbox.regex, *why. */
static const char *
topic_of(const struct conf *conf, struct slice route, struct arena *a, const char **why)
{
	const char *name = NULL;
	struct buf b = { 0 };

	if (pattern_fill(conf->outbox_groups, route, conf->outbox_topic, &b, why))
		name = topic_name(a, "{table}", "", SLICE_LIT(""), buf_view(&b));
	buf_free(&b);
	return name;
}

static enum rc
destination_make(struct publisher *p, struct outbox *o, const char *name, struct slice route, struct destination **out, struct err *err)
{
	struct destination *d;
	struct topic *topic;
	enum rc rc = publisher_topic_lend(p, name, p->kafka->broker ? 1 : (int)p->kafka->conf->partitions, &topic, err);

	if (rc != OK)
		return rc;
	d = arena_new(&p->arena, struct destination);
	d->topic = topic;
	/* By the regex several routes may be one topic, whose schema has one name. */
	d->space = outbox_namespace(p, o, p->kafka->conf->outbox_regex ? slice_of(name) : route);
	d->record = "Value";
	d->tables = topic_fits_table(p->kafka->conf, name);
	d->next = o->destinations;
	o->destinations = d;
	*out = d;
	return OK;
}

static enum rc
destination(struct publisher *p, struct outbox *o, struct slice route, struct destination **out, struct err *err)
{
	const char *why, *name = topic_of(p->kafka->conf, route, &p->row, &why);
	enum rc rc = OK;

	if (!name)
		return fail(err, REJECT, "outbox.regex %s '%.*s'", why, SLICE_ARG(route));

	for (*out = o->destinations; *out; *out = (*out)->next)
		if ((*out)->topic->lent && strcmp((*out)->topic->name, name) == 0)
			break;
	if (!*out)
		rc = destination_make(p, o, name, route, out, err);
	if (rc == OK && !(*out)->registered)
		rc = outbox_value_register(p, o, *out, err);
	/* Another's topic: whoever writes rows of the outbox must not be able to end everything. */
	return rc == FATAL && err->exit == EXIT_CONFIG ? (err->rc = REJECT) : rc;
}

/* ---- what ---- */

/* REJECT: the row names no topic that could be. */
static enum rc
where_to(struct publisher *p, struct outbox *o, const struct value *row, struct destination **out, struct err *err)
{
	struct slice route;
	enum rc rc;

	if (row[o->route].kind <= V_NULL)
		return fail(err, REJECT, "the row names no topic, its column %s is NULL", o->tbl->cols[o->route].name.p);
	rc = outbox_plain(&o->tbl->cols[o->route], &row[o->route], &p->row, &route, err);
	return rc == OK ? destination(p, o, route, out, err) : rc;
}

/* As the row says, or by the key. */
static enum rc
partition_of(const struct outbox *o, const struct destination *d, const struct value *row, struct record *r, struct err *err)
{
	const struct value *v = o->partition >= 0 ? &row[o->partition] : NULL;
	/* As for rows: a registry's number is hashed with the key, a fingerprint is not. */
	size_t frame = d->key.kind == FRAME_SINGLE && r->key.n ? 10 : 0;

	r->partition = 0;
	if (v && v->kind == V_INT) {
		if (v->i < 0 || v->i >= d->topic->partitions)
			return fail(err, REJECT, "topic %s has no partition %" PRId64 ", it has %d", d->topic->name, v->i,
			    d->topic->partitions);
		r->partition = (int32_t)v->i;
	} else if (r->key.p && d->topic->partitions > 1) {
		r->partition = topic_partition((struct slice){ r->key.p + frame, r->key.n - frame }, d->topic->partitions);
	}
	return OK;
}

/* In ms; r has that of the commit. */
static enum rc
timestamp_of(const struct outbox *o, const struct value *row, struct record *r, struct err *err)
{
	const struct value *v = o->timestamp >= 0 ? &row[o->timestamp] : NULL;
	const char *semantic = v && o->tbl->cols[o->timestamp].type.semantic ? o->tbl->cols[o->timestamp].type.semantic : "";
	int64_t at;

	if (!v || v->kind <= V_NULL)
		return OK;
	if (v->kind == V_STRING) {
		if (!pgtime_timestamp_parse(v->s, &at))
			return fail(err, REJECT, "column %s is no timestamp", o->tbl->cols[o->timestamp].name.p);
		at = at > INT64_MAX - PG_EPOCH_US ? INT64_MAX : (at + PG_EPOCH_US) / 1000;
	} else {
		at = v->i / (strstr(semantic, "Micro") ? 1000 : strstr(semantic, "Nano") ? 1000000 : 1);
	}
	if (at <= 0 || at > wall_us() / 1000 + AHEAD_MS)
		return fail(err, REJECT, "Kafka takes no record with the time of column %s: %s", o->tbl->cols[o->timestamp].name.p,
		    at <= 0 ? "it is before 1970" : "it is ahead of the clock");
	r->timestamp_ms = at;
	return OK;
}

static enum rc
headers(struct publisher *p, const struct outbox *o, const struct value *row, struct record *r, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; rc == OK && i < o->nheaders; i++) {
		int col = o->headers[i].col;

		r->extra[r->nextra].name = o->headers[i].name;
		r->extra[r->nextra].value = (struct slice){ NULL, 0 };
		if (!value_is_null(&row[col]))
			rc = outbox_plain(&o->tbl->cols[col], &row[col], &p->row, &r->extra[r->nextra].value, err);
		r->nextra++;
	}
	return rc;
}

/* Key, value and headers, as they go to d. */
static enum rc
event(struct publisher *p, const struct outbox *o, struct destination *d, const struct value *row, struct record *r, struct err *err)
{
	enum rc rc = outbox_key(p, o, d, row, &r->key, err);

	if (rc == OK)
		rc = outbox_value(p, o, d, row, &r->value, err);
	if (rc == OK)
		rc = headers(p, o, row, r, err);
	if (rc == OK)
		rc = partition_of(o, d, row, r, err);
	if (rc == OK)
		rc = timestamp_of(o, row, r, err);
	if (rc != OK)
		return rc;
	r->topic = d->topic;
	/* A sink stops at a record without header. With this one it passes over it: of no generation that is or was. */
	buf_reset(&p->header);
	if (d->tables)
		tl_put(&p->header, &(struct tl){ .flags = 0 }, NULL, NULL, 0);
	r->tl = buf_view(&p->header);
	return OK;
}

/* REJECT: it is one to set aside. */
static enum rc
too_large(struct publisher *p, const struct outbox *o, const struct record *r, struct err *err)
{
	enum rc rc = fail(err, REJECT, "an event of %zu bytes is larger than message.max.bytes (%" PRId64 ")", large_bytes(r),
	    kafka_message_max(p->kafka->conf));

	return p->kafka->conf->on_large == LARGE_STOP ? outbox_stop(o, err->text, err) : rc;
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
	if (rc == OK)
		rc = event(p, o, d, ch->after, &r, err);
	if (rc == OK && large_is(p, &r))
		rc = too_large(p, o, &r, err);
	if (rc == REJECT)
		return outbox_aside(p, o, g, ch->after, arena_printf(&p->row, "%s", err->text), txn->commit_us / 1000, err);
	return rc == OK ? deliver(p, g, &r, err) : rc;
}
