#include "schemas/json_avro.h"
#include "schemas/schema.h"

#include <math.h>
#include <stdlib.h>

enum kind { K_NULL = 0, K_BOOL, K_LONG, K_DOUBLE, K_STRING, K_ARRAY, K_RECORD };

static const char *const avro[] = { "null", "boolean", "long", "double", "string", "array", "record" };
static const char *const words[] = { "null", "a boolean", "a number", "a number", "a string", "an array", "an object" };

struct field {
	struct field *next;
	const char *key;   /* in JSON */
	const char *name;  /* in Avro */
	struct json_shape *shape;
};

struct json_shape {
	enum kind kind;
	struct json_shape *item;
	struct field *fields, **end;
};

/* Where one is, from the top: for the words of a refusal. */
struct at {
	const struct at *up;
	const char *key; /* NULL: an item of an array */
	int depth;
};

struct adding {
	struct arena *a;
	int fields;
	bool wider;
	struct err *err;
};

struct json_shape *
json_shape_new(struct arena *a)
{
	struct json_shape *s = arena_new(a, struct json_shape);

	s->end = &s->fields;
	return s;
}

static struct field *
add_field(struct json_shape *s, const char *key, const char *name, struct json_shape *shape, struct arena *a)
{
	struct field *f = arena_new(a, struct field);

	f->key = arena_text(a, slice_of(key));
	f->name = arena_text(a, slice_of(name));
	f->shape = shape;
	*s->end = f;
	s->end = &f->next;
	return f;
}

struct json_shape *
json_shape_copy(const struct json_shape *s, struct arena *a)
{
	struct json_shape *copy = json_shape_new(a);

	copy->kind = s->kind;
	if (s->item)
		copy->item = json_shape_copy(s->item, a);
	for (const struct field *f = s->fields; f; f = f->next)
		add_field(copy, f->key, f->name, json_shape_copy(f->shape, a), a);
	return copy;
}

static struct field *
find(const struct json_shape *s, const char *key)
{
	struct field *f = s->fields;

	while (f && strcmp(f->key, key) != 0)
		f = f->next;
	return f;
}

static enum kind
kind_of(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return K_RECORD;
	case JSON_ARRAY:
		return K_ARRAY;
	case JSON_STRING:
		return K_STRING;
	case JSON_INTEGER:
		return K_LONG;
	case JSON_REAL:
		return K_DOUBLE;
	case JSON_TRUE:
	case JSON_FALSE:
		return K_BOOL;
	case JSON_NULL:
		break;
	}
	return K_NULL;
}

/* A long in a double keeps its digits up to 2^53; beyond, those that happen to. */
static bool
exact(const json_t *integer)
{
	double d = (double)json_integer_value(integer);

	return d < 9223372036854775808.0 && (json_int_t)d == json_integer_value(integer);
}

static bool
takes(const struct json_shape *s, const json_t *v)
{
	enum kind kind = kind_of(v);

	return kind == s->kind || (kind == K_LONG && s->kind == K_DOUBLE && exact(v));
}

bool
json_shape_holds(const struct json_shape *s, const json_t *doc)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_null(doc))
		return true;
	if (!takes(s, doc))
		return false;
	if (s->kind == K_ARRAY)
		json_array_foreach(doc, i, v)
			if (!json_shape_holds(s->item, v))
				return false;
	if (s->kind == K_RECORD)
		json_object_foreach((json_t *)(uintptr_t)doc, key, v) {
			const struct field *f = json_is_null(v) ? NULL : find(s, key);

			if (!json_is_null(v) && (!f || !json_shape_holds(f->shape, v)))
				return false;
		}
	return true;
}

bool
json_shape_is_null(const struct json_shape *s)
{
	return s->kind == K_NULL;
}

/* ---- growing ---- */

static void
put_path(const struct at *at, struct buf *out)
{
	if (at->up)
		put_path(at->up, out);
	if (at->up)
		buf_printf(out, "%s%s", at->key ? out->n ? "." : "" : "[]", at->key ? at->key : "");
}

static enum rc PRINTF_LIKE(3, 4)
refuse(struct adding *g, const struct at *at, const char *fmt, ...)
{
	struct buf path = { 0 };
	char what[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	put_path(at, &path);
	(void)fail(g->err, REJECT, "%s%s%s", path.n ? buf_cstr(&path) : "the document", path.n ? " " : " ", what);
	buf_free(&path);
	return REJECT;
}

static enum rc add(struct adding *g, struct json_shape *s, const json_t *v, const struct at *at) MUST_CHECK;

static enum rc
add_member(struct adding *g, struct json_shape *s, const char *key, const json_t *v, const struct at *at)
{
	struct at below = { at, key, at->depth + 1 };
	struct field *f = find(s, key);
	struct slice name;

	if (!f) {
		name = schema_adjust(slice_of(key), false, g->a);
		for (const struct field *o = s->fields; o; o = o->next)
			if (strcmp(o->name, name.p) == 0)
				return refuse(g, &below, "and %s would both be the field %s", o->key, o->name);
		f = add_field(s, key, name.p, json_shape_new(g->a), g->a);
		g->fields++;
		g->wider = true;
	}
	return add(g, f->shape, v, &below);
}

static enum rc
add_kind(struct adding *g, struct json_shape *s, const json_t *v, const struct at *at)
{
	enum kind kind = kind_of(v);

	if (takes(s, v))
		return OK;
	if (s->kind == K_DOUBLE && kind == K_LONG)
		return refuse(g, at, "would lose digits: a number there has had a fraction, so they are doubles");
	if (s->kind != K_NULL && !(s->kind == K_LONG && kind == K_DOUBLE))
		return refuse(g, at, "is %s, and was %s before", words[kind], words[s->kind]);
	if (kind == K_ARRAY && !s->item)
		s->item = json_shape_new(g->a);
	s->kind = kind;
	g->wider = true;
	return OK;
}

static enum rc
add(struct adding *g, struct json_shape *s, const json_t *v, const struct at *at)
{
	enum rc rc;
	const char *key;
	json_t *below;
	size_t i;

	if (json_is_null(v))
		return OK;
	if (at->depth > JSON_SHAPE_DEPTH)
		return refuse(g, at, "is deeper than %d levels", JSON_SHAPE_DEPTH);
	rc = add_kind(g, s, v, at);
	if (s->kind == K_ARRAY)
		json_array_foreach(v, i, below)
			if (rc == OK)
				rc = add(g, s->item, below, &(struct at){ at, NULL, at->depth + 1 });
	if (s->kind == K_RECORD)
		json_object_foreach((json_t *)(uintptr_t)v, key, below)
			if (rc == OK && !json_is_null(below)) /* else it says nothing */
				rc = add_member(g, s, key, below, at);
	return rc;
}

static int
count(const struct json_shape *s)
{
	int n = s->item ? count(s->item) : 0;

	for (const struct field *f = s->fields; f; f = f->next)
		n += 1 + count(f->shape);
	return n;
}

enum rc
json_shape_add(struct json_shape *s, const json_t *doc, struct arena *a, bool *wider, struct err *err)
{
	struct adding g = { .a = a, .fields = count(s), .err = err };
	enum rc rc = add(&g, s, doc, &(struct at){ NULL, NULL, 0 });

	*wider = g.wider;
	if (rc == OK && g.wider && g.fields > JSON_SHAPE_FIELDS)
		return fail(err, REJECT, "its documents have more than %d members by now: are their names data?", JSON_SHAPE_FIELDS);
	return rc;
}

/* ---- Avro ---- */

static void
put_text(struct buf *out, const char *text)
{
	json_t *j = json_string(text);
	char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;

	if (!quoted)
		die("out of memory for a schema");
	buf_text(out, quoted);
	free(quoted);
	json_decref(j);
}

void
json_shape_schema(const struct json_shape *s, const char *ns, const char *name, struct buf *out)
{
	const char *comma = "";

	if (s->kind == K_ARRAY && s->item->kind == K_NULL) {
		buf_text(out, "{\"type\":\"array\",\"items\":\"null\"}");
	} else if (s->kind == K_ARRAY) {
		buf_text(out, "{\"type\":\"array\",\"items\":[\"null\",");
		json_shape_schema(s->item, ns, name, out);
		buf_text(out, "]}");
	} else if (s->kind == K_RECORD) {
		struct arena a = { 0 };
		const char *below = arena_printf(&a, "%s.%s", ns, name);

		buf_printf(out, "{\"type\":\"record\",\"name\":\"%s\",\"namespace\":\"%s\",\"fields\":[", name, ns);
		for (const struct field *f = s->fields; f; f = f->next) {
			if (f->shape->kind == K_NULL)
				continue;
			buf_printf(out, "%s{\"name\":\"%s\",\"type\":[\"null\",", comma, f->name);
			json_shape_schema(f->shape, below, f->name, out);
			buf_text(out, "],\"default\":null");
			if (strcmp(f->name, f->key) != 0) {
				buf_text(out, ",\"doc\":");
				put_text(out, f->key);
			}
			buf_text(out, "}");
			comma = ",";
		}
		buf_printf(out, "],\"connect.name\":\"%s\"}", below);
		arena_free(&a);
	} else {
		buf_printf(out, "\"%s\"", avro[s->kind]);
	}
}

/* In a union ["null", T]. */
static void
put_nullable(const struct json_shape *s, const json_t *v, struct buf *out)
{
	buf_long(out, v && !json_is_null(v));
	if (v && !json_is_null(v))
		json_shape_put(s, v, out);
}

static void
put_double(const json_t *v, struct buf *out)
{
	double d = json_number_value(v);
	uint8_t bytes[8];
	uint64_t u;

	memcpy(&u, &d, sizeof u);
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(u >> (8 * i));
	buf_bytes(out, bytes, sizeof bytes);
}

void
json_shape_put(const struct json_shape *s, const json_t *doc, struct buf *out)
{
	json_t *v;
	size_t i;

	switch (s->kind) {
	case K_NULL:
		break;
	case K_BOOL:
		buf_byte(out, json_is_true(doc));
		break;
	case K_LONG:
		buf_long(out, json_integer_value(doc));
		break;
	case K_DOUBLE:
		put_double(doc, out);
		break;
	case K_STRING:
		buf_avro_bytes(out, (struct slice){ json_string_value(doc), json_string_length(doc) });
		break;
	case K_ARRAY:
		if (json_array_size(doc))
			buf_long(out, (int64_t)json_array_size(doc));
		json_array_foreach(doc, i, v)
			if (s->item->kind != K_NULL)
				put_nullable(s->item, v, out);
		buf_long(out, 0);
		break;
	case K_RECORD:
		for (const struct field *f = s->fields; f; f = f->next)
			if (f->shape->kind != K_NULL)
				put_nullable(f->shape, json_object_get(doc, f->key), out);
		break;
	}
}

/* ---- and back ---- */

static enum rc take(const json_t *type, int depth, struct arena *a, struct json_shape **out, struct err *err) MUST_CHECK;

static enum rc
no_shape(struct err *err)
{
	return fail(err, REJECT, "the schema is not one that JSON documents were given here");
}

/* ["null", T], or "null". */
static enum rc
take_nullable(const json_t *type, int depth, struct arena *a, struct json_shape **out, struct err *err)
{
	const char *first = json_string_value(json_array_get(type, 0));

	if (!json_is_array(type))
		return take(type, depth, a, out, err);
	if (json_array_size(type) != 2 || !first || strcmp(first, "null") != 0)
		return no_shape(err);
	return take(json_array_get(type, 1), depth, a, out, err);
}

static enum rc
take_field(const json_t *f, int depth, struct json_shape *into, struct arena *a, struct err *err)
{
	const char *name = json_string_value(json_object_get(f, "name")), *doc = json_string_value(json_object_get(f, "doc"));
	struct json_shape *shape;
	enum rc rc;

	if (!name || find(into, doc ? doc : name))
		return no_shape(err);
	rc = take_nullable(json_object_get(f, "type"), depth, a, &shape, err);
	if (rc == OK)
		add_field(into, doc ? doc : name, name, shape, a);
	return rc;
}

static enum rc
take(const json_t *type, int depth, struct arena *a, struct json_shape **out, struct err *err)
{
	const char *word = json_string_value(json_is_object(type) ? json_object_get(type, "type") : type);
	struct json_shape *s = *out = json_shape_new(a);
	enum rc rc = OK;
	json_t *f;
	size_t i;

	if (!word || depth > JSON_SHAPE_DEPTH + 1)
		return no_shape(err);
	while (s->kind <= K_RECORD && strcmp(avro[s->kind], word) != 0)
		if (s->kind++ == K_RECORD)
			return no_shape(err);
	if (s->kind == K_ARRAY)
		return take_nullable(json_object_get(type, "items"), depth + 1, a, &s->item, err);
	if (s->kind == K_RECORD && !json_is_array(json_object_get(type, "fields")))
		return no_shape(err);
	if (s->kind == K_RECORD)
		json_array_foreach(json_object_get(type, "fields"), i, f)
			if (rc == OK)
				rc = take_field(f, depth + 1, s, a, err);
	return rc;
}

enum rc
json_shape_take(const json_t *schema, struct arena *a, struct json_shape **out, struct err *err)
{
	return take_nullable(schema, 0, a, out, err);
}
