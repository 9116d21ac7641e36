/*
 * outbox_value.c - what an event says: its payload, alone or in an envelope with other columns, as text or in Avro.
 */
#include "core/now.h"
#include "producer/outbox_impl.h"
#include "schemas/pgtypes.h"
#include "schemas/schema.h"
#include "schemas/topic.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { REFUSED_MS = 10000 }; /* a schema that was refused is not sent again for so long */

void
outbox_value_make(struct outbox *o, const struct conf *conf, struct arena *a)
{
	int n = 0;

	o->key_table = *o->tbl;
	o->key_table.message_keys = arena_array(a, 1, sizeof *o->key_table.message_keys);
	o->key_table.message_keys[0] = o->key;
	o->key_table.nmessage_keys = 1;
	o->key_writer = writer_compile(&o->key_table, a);

	o->value_table = *o->tbl;
	o->value_table.message_keys = arena_array(a, FIELDS + 1, sizeof *o->value_table.message_keys);
	if (!conf->outbox_expand)
		o->value_table.message_keys[n++] = o->payload;
	for (int i = 0; i < o->nfields; i++)
		o->value_table.message_keys[n++] = o->fields[i].col;
	o->value_table.nmessage_keys = n;
	o->value_writer = n ? writer_compile(&o->value_table, a) : NULL;
}

/* ---- schemas ---- */

static void
put_field(struct buf *out, const char *name, struct slice type)
{
	bool nullable = type.n > 8 && memcmp(type.p, "[\"null\",", 8) == 0;

	nullable = nullable || slice_is(type, "\"null\"");
	buf_printf(out, "{\"name\":\"%s\",\"type\":%.*s%s}", name, SLICE_ARG(type), nullable ? ",\"default\":null" : "");
}

const char *
outbox_namespace(struct publisher *p, const struct outbox *o, struct slice route)
{
	const char *table = schema_namespace(slice_of(p->kafka->conf->name), o->tbl, &p->row).p;
	/* What is one topic is one name. */
	const char *name = topic_name(&p->row, "{table}", "", SLICE_LIT(""), route);

	return schema_adjust(slice_of(arena_printf(&p->row, "%s.%s", table, name)), true, &p->arena).p;
}

/* Of d's values; shape: of the payload. In a. */
static struct slice
value_schema(const struct outbox *o, const struct destination *d, const struct json_shape *shape, struct arena *a)
{
	const char *ns = d->space;
	struct buf b = { 0 }, payload = { 0 };
	struct slice out;

	if (shape)
		json_shape_schema(shape, ns, "Payload", &payload);
	else
		buf_slice(&payload, schema_column(&o->tbl->cols[o->payload], a));
	if (o->nfields) {
		buf_printf(&b, "{\"type\":\"record\",\"name\":\"%s\",\"namespace\":\"%s\",\"fields\":[", d->record, ns);
		if (shape && !slice_is(buf_view(&payload), "\"null\"")) {
			const char *inner = arena_text(a, buf_view(&payload));

			buf_reset(&payload);
			buf_printf(&payload, "[\"null\",%s]", inner);
		}
		put_field(&b, "payload", buf_view(&payload));
		for (int i = 0; i < o->nfields; i++) {
			buf_byte(&b, ',');
			put_field(&b, o->fields[i].name, schema_column(&o->tbl->cols[o->fields[i].col], a));
		}
		buf_printf(&b, "],\"connect.name\":\"%s.%s\"}", ns, d->record);
	} else {
		buf_slice(&b, buf_view(&payload));
	}
	out = arena_slice(a, buf_view(&b));
	buf_free(&b);
	buf_free(&payload);
	return out;
}

static const char *
subject(const struct publisher *p, const char *topic, const char *half, struct slice json, struct arena *a)
{
	/* What is no record has no name that it could go by. */
	enum subjects by = json.p[0] == '{' && strncmp(json.p, "{\"type\":\"record\"", 16) == 0 ? p->kafka->conf->subjects : SUBJECTS_TOPIC;

	return registry_subject(by, topic, half, json, a);
}

/* REJECT: the registry did not take it a moment ago. */
static enum rc
refused_before(const struct destination *d, uint64_t crc, struct err *err)
{
	for (int i = 0; i < REFUSALS && d->refusals; i++)
		if (d->refusals[i].ms && d->refusals[i].crc == crc && now_ms() - d->refusals[i].ms < REFUSED_MS)
			return fail(err, REJECT, "%s", d->refusals[i].why);
	return OK;
}

/* Rows are set aside one by one, so an answer is kept: neither is the registry asked for each, nor does anything grow. */
static void
note_refusal(struct publisher *p, struct destination *d, uint64_t crc, const struct err *why)
{
	struct refusal *r;

	if (!d->refusals)
		d->refusals = arena_array(&p->arena, REFUSALS, sizeof *d->refusals);
	r = &d->refusals[d->nrefusals++ % REFUSALS];
	r->crc = crc;
	r->ms = now_ms();
	snprintf(r->why, sizeof r->why, "%s", why->text);
}

static enum rc
register_one(struct publisher *p, struct destination *d, const char *half, struct slice json, struct frame *out, struct err *err)
{
	uint64_t crc = schema_crc64(json);
	enum rc rc = refused_before(d, crc, err);

	if (rc != OK)
		return rc;
	rc = registry_put(p->registry, subject(p, d->topic->name, half, json, &p->row), json, false, out, err);
	if (rc == REJECT)
		note_refusal(p, d, crc, err);
	return rc;
}

/* Is there a record of this namespace in a schema? */
static bool
has_space(json_t *j, const char *space)
{
	const char *ns = json_string_value(json_object_get(j, "namespace"));
	json_t *below;
	const char *key;
	size_t i;

	if (ns && strcmp(ns, space) == 0)
		return true;
	json_object_foreach(j, key, below)
		if (has_space(below, space))
			return true;
	json_array_foreach(j, i, below)
		if (has_space(below, space))
			return true;
	return false;
}

/*
 * Versions of before had <topic>.Event for an envelope, and <topic>.Payload in it. A registry that asks for compatibility takes no record
 * of another name in a subject, so one that has these keeps them.
 */
static enum rc
keep_names(struct publisher *p, struct destination *d, struct err *err)
{
	const char *before = schema_adjust(slice_of(d->topic->name), true, &p->row).p;
	struct slice newest;
	json_t *j;
	enum rc rc = registry_latest(p->registry, registry_subject(SUBJECTS_TOPIC, d->topic->name, "value", SLICE_LIT("{}"), &p->row),
	    &newest, err);

	if (rc != OK || !newest.n)
		return rc;
	j = json_loadb(newest.p, newest.n, JSON_DECODE_ANY, NULL);
	if (has_space(j, before)) {
		d->space = arena_text(&p->arena, slice_of(before));
		if (json_is_string(json_object_get(j, "name")) && strcmp(json_string_value(json_object_get(j, "name")), "Event") == 0)
			d->record = "Event";
	}
	json_decref(j);
	return OK;
}

enum rc
outbox_value_register(struct publisher *p, const struct outbox *o, struct destination *d, struct err *err)
{
	const struct conf *conf = p->kafka->conf;
	enum rc rc = OK;

	/* Under a subject of the record's own name there is nothing to be kept. */
	if (conf->outbox_format == OUTBOX_AVRO && conf->subjects == SUBJECTS_TOPIC && (o->nfields || conf->outbox_expand) && !d->named)
		rc = keep_names(p, d, err);
	if (rc != OK)
		return rc;
	d->named = true;
	if (conf->outbox_format == OUTBOX_AVRO)
		rc = register_one(p, d, "key", schema_column(&o->tbl->cols[o->key], &p->row), &d->key, err);
	if (rc == OK && conf->outbox_format == OUTBOX_AVRO && !conf->outbox_expand)
		rc = register_one(p, d, "value", value_schema(o, d, NULL, &p->row), &d->value, err);
	d->registered = rc == OK;
	return rc;
}

/* ---- text ---- */

enum rc
outbox_plain(const struct column *col, const struct value *v, struct arena *a, struct slice *out, struct err *err)
{
	struct buf b = { 0 };
	enum rc rc = OK;

	if (v->kind == V_BYTES && col->type.wire == W_BYTES && !col->type.semantic) {
		*out = arena_slice(a, v->s);
		return OK;
	}
	if (v->kind == V_BOOL)
		buf_text(&b, v->i ? "true" : "false");
	else if (v->kind == V_INT && !v->exact.n)
		buf_printf(&b, "%" PRId64, v->i);
	else if (v->kind == V_STRING && !v->exact.n)
		buf_slice(&b, v->s);
	else
		rc = pgtype_text(&col->type, v, &b, err);
	*out = arena_slice(a, buf_view(&b));
	buf_free(&b);
	return rc;
}

static enum rc
put_json_text(struct slice text, struct buf *out, struct err *err)
{
	json_t *j = json_stringn(text.p, text.n);
	char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;

	if (!quoted)
		return fail(err, REJECT, "what is no UTF-8 has no form in JSON");
	buf_text(out, quoted);
	free(quoted);
	json_decref(j);
	return OK;
}

/* Texts of values that are JSON's numbers, true and false too. */
static bool
is_plain_json(const struct column *col, const struct value *v, struct slice text)
{
	bool number = v->kind == V_INT || v->kind == V_FLOAT || v->kind == V_DOUBLE || v->kind == V_DECIMAL ||
	    (v->kind == V_BYTES && col->type.wire == W_DECIMAL);

	return v->kind == V_BOOL || (number && text.n && text.n == strspn(text.p, "-+.0123456789eE"));
}

/* As Connect's JSON has it, decimals as numbers. */
static enum rc
put_json(const struct column *col, const struct value *v, struct arena *a, struct buf *out, struct err *err)
{
	struct slice text;
	enum rc rc;

	if (value_is_null(v)) {
		buf_text(out, "null");
		return OK;
	}
	rc = outbox_plain(col, v, a, &text, err);
	if (rc == OK && is_plain_json(col, v, text))
		buf_slice(out, text);
	else if (rc == OK && v->kind == V_BYTES && col->type.wire == W_BYTES && !v->exact.n)
		key_text_base64(out, v->s);
	else if (rc == OK)
		rc = put_json_text(text, out, err);
	return rc;
}

struct slice
outbox_fields(struct publisher *p, const struct outbox *o, const struct value *row)
{
	struct buf b = { 0 };
	struct slice out = { NULL, 0 };
	struct err why;
	enum rc rc = OK;

	for (int i = 0; rc == OK && i < o->nfields; i++) {
		buf_text(&b, i ? ",\"" : "{\"");
		buf_printf(&b, "%s\":", o->fields[i].name);
		rc = put_json(&o->tbl->cols[o->fields[i].col], &row[o->fields[i].col], &p->row, &b, &why);
	}
	buf_byte(&b, '}');
	if (rc == OK && o->nfields)
		out = arena_slice(&p->row, buf_view(&b));
	buf_free(&b);
	return out;
}

/* {"payload": ..., and the other columns. */
static enum rc
text_envelope(struct publisher *p, const struct outbox *o, const struct value *row, struct slice *out, struct err *err)
{
	const struct column *col = &o->tbl->cols[o->payload];
	struct slice fields = outbox_fields(p, o, row), payload;
	struct buf b = { 0 };
	enum rc rc = fields.p ? OK : fail(err, REJECT, "a column of outbox.envelope is no UTF-8, and has no form in JSON");

	buf_text(&b, "{\"payload\":");
	if (rc == OK && p->kafka->conf->outbox_expand && !value_is_null(&row[o->payload])) {
		json_t *j;

		rc = outbox_plain(col, &row[o->payload], &p->row, &payload, err);
		j = rc == OK ? json_loadb(payload.p, payload.n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL) : NULL;
		if (rc == OK && !j)
			rc = fail(err, REJECT, "the payload is no JSON");
		json_decref(j);
		buf_slice(&b, payload);
	} else if (rc == OK) {
		rc = put_json(col, &row[o->payload], &p->row, &b, err);
	}
	buf_byte(&b, ',');
	if (rc == OK)
		buf_slice(&b, (struct slice){ fields.p + 1, fields.n - 1 });
	*out = arena_slice(&p->row, buf_view(&b));
	buf_free(&b);
	return rc;
}

/* ---- Avro ---- */

enum rc
outbox_key(struct publisher *p, const struct outbox *o, const struct destination *d, const struct value *row, struct slice *out,
    struct err *err)
{
	struct buf b = { 0 };
	enum rc rc;

	*out = (struct slice){ NULL, 0 };
	if (value_is_null(&row[o->key]))
		return OK;
	if (d->key.kind == FRAME_NONE)
		return outbox_plain(&o->tbl->cols[o->key], &row[o->key], &p->row, out, err);
	frame_put(&b, d->key);
	rc = writer_key(o->key_writer, row, &b, err);
	*out = arena_slice(&p->row, buf_view(&b));
	buf_free(&b);
	return rc;
}

/* What the subject's newest schema says of payloads that came before; nothing, where that is not ours. */
static enum rc
shape_before(struct publisher *p, const struct outbox *o, struct destination *d, struct err *err)
{
	struct json_shape *shape = json_shape_new(&p->arena);
	struct slice json;
	struct err why;
	enum rc rc;

	/* Its own text, of nothing seen, has the name. */
	json = value_schema(o, d, shape, &p->row);
	rc = registry_latest(p->registry, subject(p, d->topic->name, "value", json, &p->row), &json, err);
	if (rc != OK)
		return rc;
	if (json.n) {
		json_t *j = json_loadb(json.p, json.n, JSON_DECODE_ANY, NULL), *payload = j, *f;
		size_t i;

		if (o->nfields)
			json_array_foreach(json_object_get(j, "fields"), i, f)
				if (json_is_string(json_object_get(f, "name")) && strcmp(json_string_value(json_object_get(f, "name")),
				    "payload") == 0)
					payload = json_object_get(f, "type");
		if (!j || json_shape_take(payload, &p->arena, &shape, &why) != OK)
			shape = json_shape_new(&p->arena);
		json_decref(j);
	}
	d->shape = shape;
	return OK;
}

/* A new shape has its schema with the registry before it is d's. */
static enum rc
register_shape(struct publisher *p, const struct outbox *o, struct destination *d, const struct json_shape *shape, struct err *err)
{
	struct slice json = value_schema(o, d, shape, &p->row);
	struct frame frame;
	enum rc rc = register_one(p, d, "value", json, &frame, err);

	if (rc != OK)
		return rc;
	d->value = frame;
	if (shape != d->shape)
		d->shape = json_shape_copy(shape, &p->arena);
	return OK;
}

/* d's shape holds doc then. */
static enum rc
fit_shape(struct publisher *p, const struct outbox *o, struct destination *d, const json_t *doc, struct err *err)
{
	struct json_shape *shape;
	bool wider;
	enum rc rc = d->shape ? OK : shape_before(p, o, d, err);

	if (rc == OK && json_shape_holds(d->shape, doc))
		return d->value.kind == FRAME_NONE ? register_shape(p, o, d, d->shape, err) : OK;
	if (rc != OK)
		return rc;
	shape = json_shape_copy(d->shape, &p->row);
	rc = json_shape_add(shape, doc, &p->row, &wider, err);
	return rc == OK ? register_shape(p, o, d, shape, err) : fail_in(err, "payload of topic %s", d->topic->name);
}

static enum rc
parse(struct publisher *p, const struct outbox *o, const struct value *row, json_t **doc, struct err *err)
{
	json_error_t why;
	struct slice text;
	enum rc rc;

	*doc = NULL;
	if (value_is_null(&row[o->payload]))
		return OK;
	rc = outbox_plain(&o->tbl->cols[o->payload], &row[o->payload], &p->row, &text, err);
	if (rc != OK)
		return rc;
	*doc = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	return *doc ? OK : fail(err, REJECT, "the payload is no JSON that could be expanded: %s", why.text);
}

static enum rc
expanded(struct publisher *p, const struct outbox *o, struct destination *d, const struct value *row, struct slice *out, struct err *err)
{
	json_t *doc, *null = json_null();
	struct buf b = { 0 };
	bool none;
	enum rc rc = parse(p, o, row, &doc, err);

	none = !doc || json_is_null(doc);
	if (rc == OK && none && !o->nfields)
		goto out; /* a record without value */
	if (rc == OK)
		rc = fit_shape(p, o, d, doc ? doc : null, err);
	if (rc != OK)
		goto out;
	frame_put(&b, d->value);
	/* Its field is ["null", T], or "null" as long as no payload was anything. */
	if (o->nfields && !json_shape_is_null(d->shape))
		buf_long(&b, !none);
	if (!none)
		json_shape_put(d->shape, doc, &b);
	if (o->nfields)
		rc = writer_key(o->value_writer, row, &b, err);
	*out = arena_slice(&p->row, buf_view(&b));
out:
	json_decref(doc);
	buf_free(&b);
	return rc;
}

/* NULL, or nothing but white space. */
static bool
is_empty(const struct value *v)
{
	size_t n = 0;

	if (v->kind <= V_NULL)
		return !v->exact.n;
	if (v->kind != V_STRING && v->kind != V_BYTES)
		return false;
	while (n < v->s.n && isspace((unsigned char)v->s.p[n]))
		n++;
	return n == v->s.n;
}

enum rc
outbox_value(struct publisher *p, const struct outbox *o, struct destination *d, const struct value *row, struct slice *out,
    struct err *err)
{
	const struct conf *conf = p->kafka->conf;
	struct buf b = { 0 };
	enum rc rc;

	*out = (struct slice){ NULL, 0 };
	if ((conf->outbox_tombstones && is_empty(&row[o->payload])) || (!o->nfields && value_is_null(&row[o->payload])))
		return OK;
	if (conf->outbox_format == OUTBOX_TEXT)
		return o->nfields ? text_envelope(p, o, row, out, err)
		                  : outbox_plain(&o->tbl->cols[o->payload], &row[o->payload], &p->row, out, err);
	if (conf->outbox_expand)
		return expanded(p, o, d, row, out, err);
	frame_put(&b, d->value);
	rc = writer_key(o->value_writer, row, &b, err);
	*out = arena_slice(&p->row, buf_view(&b));
	buf_free(&b);
	return rc;
}
