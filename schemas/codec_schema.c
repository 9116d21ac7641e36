/*
 * codec_schema.c - schema text to nodes (Avro specification, "Schema Declaration" and "Names").
 *
 * The text comes from a registry or a topic, so it is bounded before it is believed: depth, number
 * of fields, sizes. Only what this parser took is shown to avro-c.
 */
#include "schemas/codec_ops.h"

#include <avro.h>
#include <jansson.h>

enum { NAME_BUCKETS = 256, FIXED_MAX = 1 << 30 };

struct parse {
	struct arena *a;
	struct err *err;
	int budget; /* fields, branches and symbols that may still come */
	struct node *names[NAME_BUCKETS];
};

static const char *const avro_names[] = { "null", "boolean", "int", "long", "float", "double", "bytes", "string",
	"fixed", "enum", "array", "map", "union", "record" };

static struct node *parse_type(struct parse *ps, const json_t *j, struct slice ns, int depth);

static struct slice
text_of(const json_t *j)
{
	return json_is_string(j) ? (struct slice){ json_string_value(j), json_string_length(j) } :
	    (struct slice){ NULL, 0 };
}

static struct node *
bad(struct parse *ps, const char *what, struct slice name)
{
	(void)fail(ps->err, REJECT, "not an Avro schema: %s \"%.*s\"", what, (int)(name.n > 200 ? 200 : name.n),
	    name.n ? name.p : "");
	return NULL;
}

static struct node *
node_new(struct parse *ps, enum avro type)
{
	struct node *t = arena_new(ps->a, struct node);

	t->type = type;
	t->sized = type != A_NULL;
	return t;
}

static bool
spend(struct parse *ps, size_t n)
{
	if (n > (size_t)ps->budget) {
		(void)fail(ps->err, REJECT, "a schema has more than %d fields", SCHEMA_FIELDS_MAX);
		return false;
	}
	ps->budget -= (int)n;
	return true;
}

static uint32_t
bucket_of(struct slice name)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (uint8_t)name.p[i]) * 16777619u;
	return h % NAME_BUCKETS;
}

static struct node *
find_name(const struct parse *ps, struct slice full)
{
	for (struct node *t = ps->names[bucket_of(full)]; t; t = t->next)
		if (slice_eq(t->name, full))
			return t;
	return NULL;
}

/* A name with a dot is a full one; else it belongs to the namespace around it. */
static struct slice
full_name(struct parse *ps, struct slice name, struct slice ns)
{
	const char *full;

	if (ns.n == 0 || memchr(name.p, '.', name.n))
		return arena_slice(ps->a, name);
	full = arena_printf(ps->a, "%.*s.%.*s", SLICE_ARG(ns), SLICE_ARG(name));
	return slice_of(full);
}

static struct slice
namespace_of(struct slice full)
{
	const char *dot = full.n ? memrchr(full.p, '.', full.n) : NULL;

	return (struct slice){ full.p, dot ? (size_t)(dot - full.p) : 0 };
}

static bool
name_good(struct slice name)
{
	if (name.n == 0 || name.n > 1024)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = (uint8_t)name.p[i];

		if (!(c == '.' || c == '_' || c == '-' || c == '$' || c >= 0x80 || (c >= '0' && c <= '9') ||
			(c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
			return false;
	}
	return true;
}

/* A named type is known from its own first field on, so that it can refer to itself. */
static struct node *
define(struct parse *ps, enum avro type, const json_t *j, struct slice ns)
{
	struct slice name = text_of(json_object_get(j, "name")), own = text_of(json_object_get(j, "namespace"));
	struct node *t, **bucket;

	if (!name_good(name) || (own.n && !name_good(own)))
		return bad(ps, "bad name", name);
	t = node_new(ps, type);
	t->name = full_name(ps, name, own.p ? own : ns);
	t->connect = arena_slice(ps->a, text_of(json_object_get(j, "connect.name")));
	if (find_name(ps, t->name))
		return bad(ps, "defined twice:", t->name);
	bucket = &ps->names[bucket_of(t->name)];
	t->next = *bucket;
	*bucket = t;
	return t;
}

/*
 * Fields without bytes are left out of `walk`: a schema could else hold a message busy with fields
 * that it has not got.
 */
static struct node *
parse_record(struct parse *ps, const json_t *j, struct slice ns, int depth)
{
	const json_t *fields = json_object_get(j, "fields");
	struct node *t = define(ps, A_RECORD, j, ns);

	if (!t)
		return NULL;
	if (!json_is_array(fields))
		return bad(ps, "no fields in", t->name);
	t->n = (int)json_array_size(fields);
	if (!spend(ps, json_array_size(fields)))
		return NULL;
	t->kids = arena_array(ps->a, (size_t)t->n, sizeof(struct node *));
	t->walk = arena_array(ps->a, (size_t)t->n, sizeof(struct node *));
	t->labels = arena_array(ps->a, (size_t)t->n, sizeof(struct slice));
	for (int i = 0; i < t->n; i++) {
		const json_t *f = json_array_get(fields, (size_t)i);
		struct slice name = text_of(json_object_get(f, "name"));

		if (!name_good(name))
			return bad(ps, "bad field name", name);
		t->labels[i] = arena_slice(ps->a, name);
		t->kids[i] = parse_type(ps, json_object_get(f, "type"), namespace_of(t->name), depth + 1);
		if (!t->kids[i])
			return NULL;
		if (t->kids[i]->sized)
			t->walk[t->nwalk++] = t->kids[i];
	}
	t->sized = t->nwalk > 0;
	return t;
}

static struct node *
parse_enum(struct parse *ps, const json_t *j, struct slice ns)
{
	const json_t *symbols = json_object_get(j, "symbols");
	struct node *t = define(ps, A_ENUM, j, ns);

	if (!t)
		return NULL;
	if (json_array_size(symbols) == 0)
		return bad(ps, "no symbols in", t->name);
	t->n = (int)json_array_size(symbols);
	if (!spend(ps, json_array_size(symbols)))
		return NULL;
	t->labels = arena_array(ps->a, (size_t)t->n, sizeof(struct slice));
	for (int i = 0; i < t->n; i++) {
		struct slice s = text_of(json_array_get(symbols, (size_t)i));

		if (!s.p)
			return bad(ps, "a symbol that is no text in", t->name);
		t->labels[i] = arena_slice(ps->a, s);
	}
	return t;
}

static struct node *
parse_fixed(struct parse *ps, const json_t *j, struct slice ns)
{
	const json_t *size = json_object_get(j, "size");
	struct node *t = define(ps, A_FIXED, j, ns);

	if (!t)
		return NULL;
	if (!json_is_integer(size) || json_integer_value(size) < 0 || json_integer_value(size) > FIXED_MAX)
		return bad(ps, "bad size of", t->name);
	t->size = (size_t)json_integer_value(size);
	t->sized = t->size > 0;
	return t;
}

static struct node *
parse_items(struct parse *ps, enum avro type, const json_t *items, struct slice ns, int depth)
{
	struct node *t = node_new(ps, type);

	t->kids = arena_array(ps->a, 1, sizeof(struct node *));
	t->kids[0] = parse_type(ps, items, ns, depth + 1);
	return t->kids[0] ? t : NULL;
}

static struct node *
parse_union(struct parse *ps, const json_t *j, struct slice ns, int depth)
{
	struct node *t = node_new(ps, A_UNION);

	t->n = (int)json_array_size(j);
	if (t->n == 0)
		return bad(ps, "empty union", SLICE_LIT(""));
	if (!spend(ps, json_array_size(j)))
		return NULL;
	t->kids = arena_array(ps->a, (size_t)t->n, sizeof(struct node *));
	for (int i = 0; i < t->n; i++) {
		t->kids[i] = parse_type(ps, json_array_get(j, (size_t)i), ns, depth + 1);
		if (!t->kids[i])
			return NULL;
		if (t->kids[i]->type == A_UNION)
			return bad(ps, "union in a union", SLICE_LIT(""));
	}
	return t;
}

/* A primitive by its name, or a named type that was defined before. */
static struct node *
parse_name(struct parse *ps, struct slice name, struct slice ns)
{
	struct node *t;

	for (int i = A_NULL; i <= A_STRING; i++)
		if (slice_is(name, avro_names[i]))
			return node_new(ps, (enum avro)i);
	t = name_good(name) ? find_name(ps, full_name(ps, name, ns)) : NULL;
	if (!t)
		t = find_name(ps, name);
	return t ? t : bad(ps, "unknown type", name);
}

static struct node *
parse_object(struct parse *ps, const json_t *j, struct slice ns, int depth)
{
	const json_t *type = json_object_get(j, "type");
	struct slice name = text_of(type);

	if (!name.p) /* {"type": {...}} and {"type": [...]} are not in the specification, but harmless */
		return parse_type(ps, type, ns, depth + 1);
	if (slice_is(name, "record") || slice_is(name, "error"))
		return parse_record(ps, j, ns, depth);
	if (slice_is(name, "enum"))
		return parse_enum(ps, j, ns);
	if (slice_is(name, "fixed"))
		return parse_fixed(ps, j, ns);
	if (slice_is(name, "array"))
		return parse_items(ps, A_ARRAY, json_object_get(j, "items"), ns, depth);
	if (slice_is(name, "map"))
		return parse_items(ps, A_MAP, json_object_get(j, "values"), ns, depth);
	return parse_name(ps, name, ns);
}

static struct node *
parse_type(struct parse *ps, const json_t *j, struct slice ns, int depth)
{
	if (depth > SCHEMA_DEPTH_MAX) {
		(void)fail(ps->err, REJECT, "a schema is deeper than %d levels", SCHEMA_DEPTH_MAX);
		return NULL;
	}
	if (json_is_string(j))
		return parse_name(ps, text_of(j), ns);
	if (json_is_array(j))
		return parse_union(ps, j, ns, depth);
	if (json_is_object(j))
		return parse_object(ps, j, ns, depth);
	return bad(ps, "a type is missing", SLICE_LIT(""));
}

/* avro-c's second opinion. Its words are not printed: avro_strerror keeps them in a global. */
static enum rc
avro_agrees(struct slice json, struct err *err)
{
	avro_schema_t s = NULL;

	if (avro_schema_from_json_length(json.p, json.n, &s) != 0)
		return fail(err, REJECT, "not an Avro schema: avro-c refuses it; are all its names of letters, "
		    "digits and _ alone?");
	avro_schema_decref(s);
	return OK;
}

enum rc
node_parse(struct slice json, struct arena *a, struct node **out, struct err *err)
{
	struct parse ps = { .a = a, .err = err, .budget = SCHEMA_FIELDS_MAX };
	json_error_t why;
	json_t *j = json_loadb(json.p ? json.p : "", json.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);

	if (!j)
		return fail(err, REJECT, "a schema is not JSON: %s at byte %d", why.text, why.position);
	*out = parse_type(&ps, j, (struct slice){ "", 0 }, 0);
	json_decref(j);
	if (!*out)
		return err->rc;
	return avro_agrees(json, err);
}
