/*
 * Any writer's schemas -> the table they describe. Foreign text: every name is looked up, every
 * depth and count is limited, and what is not understood becomes W_OTHER rather than a guess.
 *
 *   envelope: a record whose Connect name ends in .Envelope, or one without a Connect name that has
 *             op beside before or after. The row is the record in `after` or `before`. Field order,
 *             and fields added or missing, do not matter.
 *   row:      any other record: its fields are the columns, as in a flattened topic.
 */
#include "schemas/schema.h"
#include "schemas/compound.h"
#include "schemas/pgtypes.h"
#include "schemas/schema_own.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>

enum { DEPTH_MAX = 64, FIELDS_MAX = 10000 };

#define DECIMAL     "org.apache.kafka.connect.data.Decimal"
#define VARDECIMAL  "io.debezium.data.VariableScaleDecimal"
#define SOURCE_TYPE "__debezium.source.column.type"
#define JSON        "io.debezium.data.Json"

/* One schema text being read. */
struct reading {
	struct arena *a;
	struct err *err;
	const char *what; /* "key" or "value", for the error */
	json_t *root;
	json_t *names;    /* full name -> its definition */
	json_t *key;      /* OWN_KEY of the row; NULL: none */
	int nfields;
};

/* A schema and the namespace that names in it are relative to. */
struct node {
	json_t *def;
	const char *ns; /* "": none */
};

static const char *
text_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool
is_one_of(const char *name, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(name, list[i]) == 0)
			return true;
	return false;
}

static bool
is_named_kind(const char *type)
{
	static const char *const kinds[] = { "record", "error", "enum", "fixed" };

	return is_one_of(type, kinds, COUNTOF(kinds));
}

static bool
is_plain_kind(const char *type)
{
	static const char *const kinds[] = { "null", "boolean", "int", "long", "float", "double",
		"bytes", "string", "array", "map" };

	return is_one_of(type, kinds, COUNTOF(kinds));
}

/* ---- names ---- */

static const char *
full_name(struct arena *a, const char *name, const char *ns)
{
	return strchr(name, '.') || !*ns ? name : arena_printf(a, "%s.%s", ns, name);
}

static const char *
namespace_of(struct arena *a, const char *full)
{
	const char *dot = strrchr(full, '.');

	return dot ? arena_text(a, (struct slice){ full, (size_t)(dot - full) }) : "";
}

static enum rc names_collect(struct reading *r, json_t *type, const char *ns, int depth) MUST_CHECK;

static enum rc
fields_collect(struct reading *r, json_t *def, const char *full, const char *ns, int depth)
{
	json_t *fields = json_object_get(def, "fields"), *f, *seen;
	enum rc rc = OK;
	size_t i;

	if (!json_is_array(fields))
		return fail(
		    r->err, REJECT, "the %s's schema: record %s has no fields", r->what, full);
	seen = json_object();
	json_array_foreach(fields, i, f) {
		const char *name = text_at(f, "name");

		if (++r->nfields > FIELDS_MAX)
			rc = fail(r->err, REJECT, "the %s's schema has more than %d fields",
			    r->what, FIELDS_MAX);
		else if (!name || !*name || !json_object_get(f, "type"))
			rc = fail(r->err, REJECT,
			    "the %s's schema: field %zu of %s lacks a name or a type", r->what, i,
			    full);
		else if (json_object_get(seen, name))
			rc = fail(r->err, REJECT, "the %s's schema: %s has two fields %s", r->what,
			    full, name);
		else
			rc = names_collect(r, json_object_get(f, "type"), ns, depth);
		if (rc != OK)
			break;
		json_object_set_new(seen, name, json_true());
	}
	json_decref(seen);
	return rc;
}

static enum rc
named_collect(struct reading *r, json_t *def, const char *ns, int depth)
{
	const char *name = text_at(def, "name"), *own = text_at(def, "namespace"), *full;

	if (!name || !*name)
		return fail(r->err, REJECT, "the %s's schema has a %s without a name", r->what,
		    text_at(def, "type"));
	full = full_name(r->a, name, own ? own : ns);
	if (json_object_get(r->names, full))
		return fail(r->err, REJECT, "the %s's schema defines %s twice", r->what, full);
	json_object_set(r->names, full, def);
	if (!json_object_get(def, "fields") && strcmp(text_at(def, "type"), "record") != 0)
		return OK;
	return fields_collect(r, def, full, namespace_of(r->a, full), depth);
}

/* Walk all of it once: what is named, how deep, how many fields. */
static enum rc
names_collect(struct reading *r, json_t *type, const char *ns, int depth)
{
	json_t *inner = json_object_get(type, "type"), *branch;
	const char *kind = json_string_value(inner);
	size_t i;

	if (depth > DEPTH_MAX)
		return fail(r->err, REJECT, "the %s's schema is nested deeper than %d levels",
		    r->what, DEPTH_MAX);
	if (json_is_string(type))
		return OK;
	if (json_is_array(type)) {
		json_array_foreach(type, i, branch)
			if (names_collect(r, branch, ns, depth + 1) != OK)
				return r->err->rc;
		return OK;
	}
	if (!inner)
		return fail(
		    r->err, REJECT, "the %s's schema has a type that is no Avro schema", r->what);
	if (!kind)
		return names_collect(r, inner, ns, depth + 1);
	if (is_named_kind(kind))
		return named_collect(r, type, ns, depth + 1);
	inner = json_object_get(type, strcmp(kind, "map") == 0 ? "values" : "items");
	if (strcmp(kind, "map") != 0 && strcmp(kind, "array") != 0)
		return OK;
	if (!inner)
		return fail(r->err, REJECT, "the %s's schema: %s without the type of its items",
		    r->what, kind);
	return names_collect(r, inner, ns, depth + 1);
}

/*
 * To the schema itself: through {"type": {...}} and through names. A definition is never a mere
 * name, so this ends. def is NULL and the error set when a name is not defined.
 */
static struct node
resolve(struct reading *r, json_t *type, const char *ns)
{
	const char *kind, *full;
	json_t *def;

	while (json_is_object(type) && !json_is_string(json_object_get(type, "type")))
		type = json_object_get(type, "type");
	if (json_is_array(type))
		return (struct node){ type, ns };
	kind = json_is_string(type) ? json_string_value(type) : text_at(type, "type");
	if (is_plain_kind(kind))
		return (struct node){ type, ns };
	if (json_is_object(type) && is_named_kind(kind)) {
		const char *own = text_at(type, "namespace");

		full = full_name(r->a, text_at(type, "name"), own ? own : ns);
		return (struct node){ type, namespace_of(r->a, full) };
	}
	full = full_name(r->a, kind, ns);
	def = json_object_get(r->names, full);
	if (!def)
		def = json_object_get(r->names, full = kind);
	if (!def)
		(void)fail(r->err, REJECT,
		    "the %s's schema names the type %s, which it does not define", r->what, kind);
	return (struct node){ def, def ? namespace_of(r->a, full) : "" };
}

/* A union of null and one other: that other. A union of more stays what it is. */
static struct node
without_null(struct reading *r, struct node n, bool *has_null)
{
	json_t *branch, *other = NULL;
	size_t i, nothers = 0;

	*has_null = false;
	if (!json_is_array(n.def))
		return n;
	json_array_foreach(n.def, i, branch) {
		if (json_is_string(branch) && strcmp(json_string_value(branch), "null") == 0) {
			*has_null = true;
			continue;
		}
		other = branch;
		nothers++;
	}
	return nothers == 1 ? resolve(r, other, n.ns) : n;
}

/* ---- types ---- */

static int
int_of(const json_t *v, int otherwise)
{
	long long n;
	char *end;

	if (json_is_integer(v))
		n = json_integer_value(v);
	else if (json_is_string(v) && *json_string_value(v)) {
		n = strtoll(json_string_value(v), &end, 10);
		if (*end)
			return otherwise;
	} else
		return otherwise;
	return n < INT_MIN || n > INT_MAX ? otherwise : (int)n;
}

static const char *
keep(struct reading *r, const char *text)
{
	return text ? arena_text(r->a, slice_of(text)) : NULL;
}

/*
 * What a type means: the Connect name, else Avro's own logicalType in the same words. A logicalType
 * on a type it is not made for counts as absent (Avro specification, "Logical Types").
 */
static const char *
semantic_of(const json_t *def, const char *kind)
{
	static const struct {
		const char *kind, *foreign, *ours; /* same type, same numbers */
	} same[] = {
		{ "int", "org.apache.kafka.connect.data.Date", "io.debezium.time.Date" },
		{ "int", "org.apache.kafka.connect.data.Time", "io.debezium.time.Time" },
		{ "long", "org.apache.kafka.connect.data.Timestamp", "io.debezium.time.Timestamp" },
		{ "int", "date", "io.debezium.time.Date" },
		{ "int", "time-millis", "io.debezium.time.Time" },
		{ "long", "time-micros", "io.debezium.time.MicroTime" },
		{ "long", "timestamp-millis", "io.debezium.time.Timestamp" },
		{ "long", "timestamp-micros", "io.debezium.time.MicroTimestamp" },
		{ "string", "uuid", "io.debezium.data.Uuid" },
		{ "bytes", "decimal", DECIMAL },
	};
	const char *connect = text_at(def, "connect.name");
	const char *name = connect ? connect : text_at(def, "logicalType");

	for (size_t i = 0; name && i < COUNTOF(same); i++)
		if (strcmp(kind, same[i].kind) == 0 && strcmp(name, same[i].foreign) == 0)
			return same[i].ours;
	return connect;
}

static void
bytes_read(const json_t *def, struct wire_type *w)
{
	json_t *params = json_object_get(def, "connect.parameters");
	bool connect = text_at(def, "connect.name") != NULL;

	w->wire = W_BYTES;
	if (!w->semantic || strcmp(w->semantic, DECIMAL) != 0)
		return;
	w->wire = W_DECIMAL;
	w->scale =
	    int_of(json_object_get(def, "scale"), int_of(json_object_get(params, "scale"), 0));
	/* With a Connect name the attribute is 64 when Connect did not know: ask the parameter. */
	w->precision = int_of(json_object_get(params, "connect.decimal.precision"),
	    connect ? 0 : int_of(json_object_get(def, "precision"), 0));
}

static bool
is_vardecimal(const json_t *def)
{
	static const char *const want[][2] = { { "scale", "int" }, { "value", "bytes" } };
	json_t *fields = json_object_get(def, "fields");
	const char *name = text_at(def, "connect.name");

	if (!name || strcmp(name, VARDECIMAL) != 0 || json_array_size(fields) != COUNTOF(want))
		return false;
	for (size_t i = 0; i < COUNTOF(want); i++) {
		json_t *f = json_array_get(fields, i);
		const char *type = text_at(f, "type");

		if (strcmp(text_at(f, "name"), want[i][0]) != 0 || !type ||
		    strcmp(type, want[i][1]) != 0)
			return false;
	}
	return true;
}

static void layout_put(struct reading *r, struct node n, struct buf *out, int depth);

/* "name:X name:Y" */
static void
layout_fields(struct reading *r, struct node n, struct buf *out, int depth)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(n.def, "fields"), i, f) {
		buf_printf(out, "%s%s:", i ? " " : "", text_at(f, "name"));
		layout_put(r, resolve(r, json_object_get(f, "type"), n.ns), out, depth);
	}
}

/* The layout of a schema as compound.h has it; "!" where it has none. No one that is of use is longer or deeper than this. */
static void
layout_put(struct reading *r, struct node n, struct buf *out, int depth)
{
	static const char *const kinds[] = { "boolean", "int", "long", "float", "double", "bytes", "string" }, letters[] = "oilfdbs!";
	const char *kind;
	bool null_too;
	size_t i = 0;

	if (!n.def || depth > 8 || out->n > 256) {
		buf_byte(out, '!');
		return;
	}
	n = without_null(r, n, &null_too);
	if (null_too)
		buf_byte(out, '?');
	kind = json_is_string(n.def) ? json_string_value(n.def) : text_at(n.def, "type");
	if (!kind || json_is_array(n.def)) {
		buf_byte(out, '!');
	} else if (strcmp(kind, "record") == 0) {
		buf_byte(out, '{');
		layout_fields(r, n, out, depth + 1);
		buf_byte(out, '}');
	} else if (strcmp(kind, "array") == 0 || strcmp(kind, "map") == 0) {
		bool map = *kind == 'm';

		buf_byte(out, map ? '<' : '[');
		layout_put(r, resolve(r, json_object_get(n.def, map ? "values" : "items"), n.ns), out, depth + 1);
		buf_byte(out, map ? '>' : ']');
	} else {
		while (i < COUNTOF(kinds) && strcmp(kind, kinds[i]) != 0)
			i++;
		buf_byte(out, (uint8_t)letters[i]);
	}
}

static void
compound_look(struct reading *r, struct node n, struct wire_type *w)
{
	struct buf layout = { 0 };

	layout_put(r, n, &layout, 0);
	w->compound = compound_find(text_at(n.def, "connect.name"), buf_cstr(&layout));
	if (w->compound)
		w->wire = W_COMPOUND;
	buf_free(&layout);
}

static enum rc wire_read(
    struct reading *r, struct node n, struct wire_type *w, bool *null_too) MUST_CHECK;

/* Arrays of what we know by name; an array of arrays or of records stays as it is in Avro. */
static enum rc
array_read(struct reading *r, struct node n, struct wire_type *w)
{
	struct wire_type *item = arena_new(r->a, struct wire_type);
	bool null_too;

	n = resolve(r, json_object_get(n.def, "items"), n.ns);
	if (!n.def || wire_read(r, n, item, &null_too) != OK)
		return r->err->rc;
	if (item->wire == W_OTHER || item->wire == W_ARRAY)
		return OK;
	w->wire = W_ARRAY;
	w->item = item;
	return OK;
}

static enum rc
wire_read(struct reading *r, struct node n, struct wire_type *w, bool *null_too)
{
	static const struct {
		const char *kind;
		enum wire wire;
	} plain[] = {
		{ "boolean", W_BOOL },
		{ "int", W_INT32 },
		{ "long", W_INT64 },
		{ "float", W_FLOAT },
		{ "double", W_DOUBLE },
		{ "string", W_STRING },
	};
	json_t *params;
	const char *kind, *type;

	*w = (struct wire_type){ .wire = W_OTHER };
	n = without_null(r, n, null_too);
	if (!n.def)
		return r->err->rc;
	if (json_is_array(n.def))
		return OK;
	kind = json_is_string(n.def) ? json_string_value(n.def) : text_at(n.def, "type");
	params = json_object_get(n.def, "connect.parameters");
	w->semantic = keep(r, semantic_of(n.def, kind));
	w->length = int_of(json_object_get(params, "length"), 0);
	w->allowed = keep(r, text_at(params, "allowed"));
	for (size_t i = 0; i < COUNTOF(plain); i++)
		if (strcmp(kind, plain[i].kind) == 0)
			w->wire = plain[i].wire;
	type = text_at(n.def, "connect.type");
	if (w->wire == W_INT32 && type && (strcmp(type, "int16") == 0 || strcmp(type, "int8") == 0))
		w->wire = W_INT16;
	else if (w->wire == W_BOOL || (w->wire == W_STRING && (!w->semantic || strcmp(w->semantic, JSON) == 0)))
		w->source_type = keep(r, text_at(params, SOURCE_TYPE));
	else if (strcmp(kind, "bytes") == 0)
		bytes_read(n.def, w);
	else if (is_vardecimal(n.def))
		w->wire = W_VARDECIMAL;
	else if (strcmp(kind, "array") == 0 || strcmp(kind, "map") == 0 || strcmp(kind, "record") == 0)
		compound_look(r, n, w);
	if (strcmp(kind, "array") == 0 && !w->compound)
		return array_read(r, n, w);
	if (strcmp(kind, "null") == 0)
		*null_too = true;
	return OK;
}

/* ---- the row ---- */

/* The column's own name, where the field could not have it. */
static struct slice
own_name(struct reading *r, const json_t *f)
{
	const char *field = text_at(f, "name"), *own = text_at(f, OWN_NAME);

	if (!own || !slice_is(schema_adjust(slice_of(own), false, r->a), field))
		own = field;
	return arena_slice(r->a, slice_of(own));
}

/* A type in the form of another mode than the default. */
static void
form_read(struct reading *r, const json_t *f, struct wire_type *w)
{
	static const char *const codings[] = OWN_CODINGS;
	const char *type = text_at(f, OWN_TYPE), *coded = text_at(f, OWN_CODED);
	struct wire_type *item;

	if (w->source_type || !type)
		return;
	w->plain = pgtype_plain(type, r->a);
	for (int i = 1; w->plain && coded && i < (int)COUNTOF(codings); i++) {
		if (strcmp(coded, codings[i]) != 0)
			continue;
		if (w->wire == W_STRING) {
			w->coded = (enum coded)i;
		} else if (w->wire == W_ARRAY && w->item->wire == W_STRING) {
			item = arena_new(r->a, struct wire_type);
			*item = *w->item;
			item->coded = (enum coded)i;
			w->item = item;
		}
	}
}

static enum rc
column_read(struct reading *r, json_t *f, const char *ns, struct column *col)
{
	json_t *dflt = json_object_get(f, "default");
	const char *dflt_kind = text_at(f, OWN_DEFAULT);
	struct node n = resolve(r, json_object_get(f, "type"), ns);
	bool null_too;
	char *text;

	if (!n.def || wire_read(r, n, &col->type, &null_too) != OK)
		return r->err->rc;
	form_read(r, f, &col->type);
	col->name = own_name(r, f);
	col->notnull = !null_too;
	col->typmod = -1;
	col->default_expr = dflt_kind && strcmp(dflt_kind, "expression") == 0;
	col->was = slice_of(keep(r, text_at(f, OWN_WAS)));
	col->fresh = json_is_true(json_object_get(f, OWN_NEW));
	col->type_name = slice_of(col->type.source_type ? col->type.source_type : keep(r, text_at(f, OWN_TYPE)));
	if (!dflt || json_is_null(dflt))
		return OK;
	text = json_dumps(dflt, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		die("out of memory for a schema");
	col->has_default = true;
	col->default_json = arena_slice(r->a, slice_of(text));
	free(text);
	return OK;
}

static json_t *
field_type(const json_t *record, const char *name)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(record, "fields"), i, f)
		if (strcmp(text_at(f, "name"), name) == 0)
			return json_object_get(f, "type");
	return NULL;
}

static bool
is_record(const json_t *def)
{
	const char *type = text_at(def, "type");

	return type && strcmp(type, "record") == 0;
}

static bool
is_envelope(const json_t *def)
{
	static const char suffix[] = ".Envelope";
	const char *name = text_at(def, "connect.name");
	size_t n = name ? strlen(name) : 0;

	if (name)
		return n >= sizeof suffix - 1 &&
		    strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
	return field_type(def, "op") && (field_type(def, "before") || field_type(def, "after"));
}

/* The record behind the envelope's field; def NULL without error: there is no such field. */
static enum rc
image_read(struct reading *r, struct node env, const char *name, struct node *out)
{
	json_t *type = field_type(env.def, name);
	bool null_too;

	*out = (struct node){ NULL, "" };
	if (!type)
		return OK;
	*out = resolve(r, type, env.ns);
	if (out->def)
		*out = without_null(r, *out, &null_too);
	if (!out->def)
		return r->err->rc;
	if (!is_record(out->def))
		return fail(r->err, REJECT,
		    "the value's schema is an envelope whose %s is not a record", name);
	return OK;
}

static enum rc
row_find(struct reading *r, struct node root, struct node *row)
{
	static const char service[] = "io.debezium.connector.";
	const char *name = text_at(root.def, "connect.name");
	struct node before;

	*row = root;
	if (name && strncmp(name, service, sizeof service - 1) == 0)
		return fail(
		    r->err, REJECT, "the value's schema is %s, which describes no row", name);
	if (!is_envelope(root.def))
		return OK;
	if (image_read(r, root, "after", row) != OK || image_read(r, root, "before", &before) != OK)
		return r->err->rc;
	if (!row->def)
		*row = before;
	if (!row->def)
		return fail(
		    r->err, REJECT, "the value's schema is an envelope without before and after");
	if (before.def && before.def != row->def)
		return fail(r->err, REJECT,
		    "the value's schema is an envelope whose before and after differ");
	return OK;
}

/* prefix.schema.table -> schema and table: a hint, since a table's name may hold a dot. */
static void
names_hint(struct reading *r, struct node root, struct table *tbl)
{
	const char *name = text_at(root.def, "name"), *dot = strrchr(name, '.');
	struct slice ns = slice_of(root.ns);

	name = dot ? dot + 1 : name;
	tbl->schema = tbl->name = SLICE_LIT("");
	if (strcmp(name, "Envelope") != 0 && strcmp(name, "Value") != 0)
		tbl->name = arena_slice(r->a, slice_of(name));
	for (int i = 0; i < 2 && ns.n; i++) {
		const char *at = memrchr(ns.p, '.', ns.n);
		size_t from = at ? (size_t)(at - ns.p) + 1 : 0;
		struct slice part = arena_slice(r->a, (struct slice){ ns.p + from, ns.n - from });

		if (!tbl->name.n)
			tbl->name = part;
		else if (!tbl->schema.n)
			tbl->schema = part;
		ns.n = at ? (size_t)(at - ns.p) : 0;
	}
}

/* ---- both texts ---- */

static void
reading_close(struct reading *r)
{
	json_decref(r->names);
	json_decref(r->root);
}

static enum rc
reading_open(struct reading *r, struct slice json, struct node *root)
{
	json_error_t why;

	r->names = json_object();
	r->root = json_loadb(json.n ? json.p : "", json.n,
	    JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
	if (!r->root)
		return fail(r->err, REJECT, "the %s's schema is not JSON: %s at byte %d", r->what,
		    why.text, why.position);
	if (names_collect(r, r->root, "", 0) != OK)
		return r->err->rc;
	*root = resolve(r, r->root, "");
	if (!root->def)
		return r->err->rc;
	if (!is_record(root->def))
		return fail(r->err, REJECT, "the %s's schema is not a record", r->what);
	return OK;
}

/* What the table was in the version before. */
static void
was_read(struct reading *r, const json_t *was, struct table *tbl)
{
	json_t *keys = json_object_get(was, "key"), *name;
	size_t i;

	tbl->was_schema = slice_of(keep(r, text_at(was, "schema")));
	tbl->was_name = slice_of(keep(r, text_at(was, "table")));
	tbl->rekeyed = json_is_array(keys);
	tbl->was_keys = arena_array(r->a, json_array_size(keys) + 1, sizeof *tbl->was_keys);
	json_array_foreach(keys, i, name)
		if (json_is_string(name))
			tbl->was_keys[tbl->nwas_keys++] = slice_of(keep(r, json_string_value(name)));
}

static enum rc
value_read(struct reading *r, struct slice json, struct table *tbl)
{
	struct node root, row;
	json_t *fields, *f;
	size_t i;

	if (reading_open(r, json, &root) != OK || row_find(r, root, &row) != OK)
		return r->err->rc;
	names_hint(r, root, tbl);
	was_read(r, json_object_get(row.def, OWN_WAS), tbl);
	r->key = json_object_get(row.def, OWN_KEY);
	fields = json_object_get(row.def, "fields");
	tbl->ncols = (int)json_array_size(fields);
	tbl->cols = arena_array(r->a, (size_t)tbl->ncols, sizeof *tbl->cols);
	json_array_foreach(fields, i, f)
		if (column_read(r, f, row.ns, &tbl->cols[i]) != OK)
			return r->err->rc;
	return OK;
}

static enum rc
key_read(struct reading *r, struct slice json, struct table *tbl)
{
	struct node root;
	json_t *fields, *f;
	size_t i;

	if (reading_open(r, json, &root) != OK)
		return r->err->rc;
	fields = json_object_get(root.def, "fields");
	tbl->keys = arena_array(r->a, json_array_size(fields), sizeof *tbl->keys);
	json_array_foreach(fields, i, f) {
		int at = schema_field_column(tbl, slice_of(text_at(f, "name")), r->a);

		if (at < 0)
			return fail(r->err, REJECT,
			    "field %s of the key is not a column of the value", text_at(f, "name"));
		tbl->keys[tbl->nkeys++] = at;
		tbl->cols[at].identity = true;
	}
	return OK;
}

/* The records have another key than the table: what the key's schema gave is theirs. */
static enum rc
own_key_read(struct reading *r, struct table *tbl)
{
	json_t *name;
	size_t i;

	if (!json_is_array(r->key))
		return OK;
	tbl->message_keys = tbl->keys;
	tbl->nmessage_keys = tbl->nkeys;
	tbl->nkeys = 0;
	tbl->keys = arena_array(r->a, json_array_size(r->key) + 1, sizeof *tbl->keys);
	for (int k = 0; k < tbl->ncols; k++)
		tbl->cols[k].identity = false;
	json_array_foreach(r->key, i, name) {
		int at = json_is_string(name) ? schema_field_column(tbl, slice_of(json_string_value(name)), r->a) : -1;

		if (at < 0)
			return fail(r->err, REJECT, "%s of the value's schema names what is none of its fields", OWN_KEY);
		tbl->keys[tbl->nkeys++] = at;
		tbl->cols[at].identity = true;
	}
	return OK;
}

enum rc
schema_table(
    struct slice key, struct slice value, struct arena *a, struct table **out, struct err *err)
{
	struct reading v = { .a = a, .err = err, .what = "value" };
	struct reading k = { .a = a, .err = err, .what = "key" };
	struct table *tbl = arena_new(a, struct table);
	enum rc rc;

	*out = NULL;
	tbl->identity = IDENTITY_DEFAULT;
	rc = value_read(&v, value, tbl);
	if (rc == OK && key.n)
		rc = key_read(&k, key, tbl);
	if (rc == OK)
		rc = own_key_read(&v, tbl);
	reading_close(&v);
	reading_close(&k);
	if (rc == OK)
		*out = tbl;
	return rc;
}
