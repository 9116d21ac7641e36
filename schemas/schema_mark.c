#include "schemas/schema_mark.h"

#include "core/buf.h"
#include "schemas/schema.h"

#include <jansson.h>

enum { DEPTH_MAX = 64 };

static const char *
text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* The whole name of a schema, or of a reference to one, and its namespace. */
static void
put_name(struct buf *b, const char *name, const char *space, char inner[static 256])
{
	const char *dot = strrchr(name, '.');

	if (dot) {
		snprintf(inner, 256, "%.*s", (int)(dot - name), name);
		buf_text(b, name);
	} else {
		snprintf(inner, 256, "%s", space);
		buf_printf(b, "%s.%s", space, name);
	}
}

/* Attributes that readers look at. */
static void
put_words(struct buf *b, const json_t *o)
{
	static const char *const words[] = { "connect.name", "connect.parameters", "connect.type", "logicalType", "scale",
		"towline.default", "towline.name", "towline.new", "towline.type", "towline.was" };

	for (size_t i = 0; i < COUNTOF(words); i++) {
		char *text = json_dumps(json_object_get(o, words[i]), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

		if (text)
			buf_printf(b, "<%s=%s>", words[i], text);
		free(text);
	}
}

static void put_type(struct buf *b, const json_t *t, const char *space, int depth);

static void
put_list(struct buf *b, const json_t *list, const char *space, int depth)
{
	buf_byte(b, '[');
	for (size_t i = 0; i < json_array_size(list); i++) {
		put_type(b, json_array_get(list, i), space, depth);
		buf_byte(b, ',');
	}
	buf_byte(b, ']');
}

static void
put_fields(struct buf *b, const json_t *fields, const char *space, int depth)
{
	for (size_t i = 0; i < json_array_size(fields); i++) {
		const json_t *f = json_array_get(fields, i);

		buf_printf(b, "(%s:", text_of(f, "name"));
		put_type(b, json_object_get(f, "type"), space, depth);
		put_words(b, f);
		buf_byte(b, ')');
	}
}

static bool
primitive(const char *name)
{
	static const char *const names[] = { "null", "boolean", "int", "long", "float", "double", "bytes", "string" };

	for (size_t i = 0; i < COUNTOF(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void
put_type(struct buf *b, const json_t *t, const char *space, int depth)
{
	const json_t *type = json_object_get(t, "type");
	const char *name = json_string_value(json_is_object(t) ? type : t);
	char inner[256];

	if (depth > DEPTH_MAX)
		return;
	if (json_is_array(t)) {
		put_list(b, t, space, depth + 1);
	} else if (!name) { /* {"type": {...}} */
		put_type(b, type, space, depth + 1);
	} else if (strcmp(name, "record") == 0 || strcmp(name, "enum") == 0 || strcmp(name, "fixed") == 0) {
		const json_t *own = json_object_get(t, "namespace");

		buf_printf(b, "%s ", name);
		put_name(b, text_of(t, "name"), own ? text_of(t, "namespace") : space, inner);
		put_fields(b, json_object_get(t, "fields"), inner, depth + 1);
		for (size_t i = 0; i < json_array_size(json_object_get(t, "symbols")); i++)
			buf_printf(b, ",%s", json_string_value(json_array_get(json_object_get(t, "symbols"), i)));
		buf_printf(b, ".%lld", (long long)json_integer_value(json_object_get(t, "size")));
	} else if (json_is_object(t) && (strcmp(name, "array") == 0 || strcmp(name, "map") == 0)) {
		buf_printf(b, "%s ", name);
		put_type(b, json_object_get(t, name[0] == 'a' ? "items" : "values"), space, depth + 1);
	} else if (primitive(name)) {
		buf_text(b, name);
	} else {
		put_name(b, name, space, inner);
	}
	if (json_is_object(t))
		put_words(b, t);
}

static bool
put_schema(struct buf *b, struct slice text)
{
	json_t *j = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);

	if (j)
		put_type(b, j, "", 0);
	json_decref(j);
	return j != NULL;
}

uint32_t
schema_mark(struct slice key, struct slice value)
{
	struct buf b = { 0 };
	bool fine = !key.n || put_schema(&b, key);
	uint64_t crc;

	buf_byte(&b, '\n');
	fine = put_schema(&b, value) && fine;
	crc = schema_crc64(buf_view(&b));
	buf_free(&b);
	crc ^= crc >> 32;
	return !fine ? 0 : (uint32_t)crc ? (uint32_t)crc : 1;
}

bool
schema_alike(struct slice a, struct slice b)
{
	struct buf one = { 0 }, two = { 0 };
	bool same = put_schema(&one, a) && put_schema(&two, b) && slice_eq(buf_view(&one), buf_view(&two));

	buf_free(&one);
	buf_free(&two);
	return same;
}
