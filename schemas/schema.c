#include "schemas/schema.h"
#include "core/buf.h"
#include "schemas/compound.h"
#include "schemas/pgtypes.h"
#include "schemas/schema_own.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#define CONNECT     "org.apache.kafka.connect.data."
#define DECIMAL     CONNECT "Decimal"
#define SOURCE_TYPE "__debezium.source.column.type"
#define CONNECTOR   "io.debezium.connector."
#define POSTGRESQL  CONNECTOR "postgresql"

enum { DECIMAL_PRECISION_UNKNOWN = 64 /* what AvroData writes when Connect's schema names none */ };

/* The parts of the envelope that are the same for each table, as Debezium 3.6 registers them. */
static const char source_text[] =
    "{\"type\":\"record\",\"name\":\"Source\",\"namespace\":\"" POSTGRESQL "\",\"fields\":["
    "{\"name\":\"version\",\"type\":\"string\"},"
    "{\"name\":\"connector\",\"type\":\"string\"},"
    "{\"name\":\"name\",\"type\":\"string\"},"
    "{\"name\":\"ts_ms\",\"type\":\"long\"},"
    "{\"name\":\"snapshot\",\"type\":[{\"type\":\"string\",\"connect.version\":1,\"connect.parameters\":"
    "{\"allowed\":\"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental\"},"
    "\"connect.default\":\"false\",\"connect.name\":\"io.debezium.data.Enum\"},\"null\"],"
    "\"default\":\"false\"},"
    "{\"name\":\"db\",\"type\":\"string\"},"
    "{\"name\":\"sequence\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"
    "{\"name\":\"ts_ns\",\"type\":[\"null\",\"long\"],\"default\":null},"
    "{\"name\":\"schema\",\"type\":\"string\"},"
    "{\"name\":\"table\",\"type\":\"string\"},"
    "{\"name\":\"txId\",\"type\":[\"null\",\"long\"],\"default\":null},"
    "{\"name\":\"lsn\",\"type\":[\"null\",\"long\"],\"default\":null},"
    "{\"name\":\"xmin\",\"type\":[\"null\",\"long\"],\"default\":null},"
    "{\"name\":\"origin\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"origin_lsn\",\"type\":[\"null\",\"long\"],\"default\":null}],"
    "\"connect.version\":1,\"connect.name\":\"" POSTGRESQL ".Source\"}";

static const char block_text[] =
    "{\"type\":\"record\",\"name\":\"block\",\"namespace\":\"event\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"},"
    "{\"name\":\"total_order\",\"type\":\"long\"},"
    "{\"name\":\"data_collection_order\",\"type\":\"long\"}],"
    "\"connect.version\":1,\"connect.name\":\"event.block\"}";

static const char vardecimal_text[] =
    "{\"type\":\"record\",\"name\":\"VariableScaleDecimal\",\"namespace\":\"io.debezium.data\",\"fields\":["
    "{\"name\":\"scale\",\"type\":\"int\"},{\"name\":\"value\",\"type\":\"bytes\"}],"
    "\"connect.doc\":\"Variable scaled decimal\",\"connect.version\":1,"
    "\"connect.name\":\"io.debezium.data.VariableScaleDecimal\"}";

static const char message_text[] =
    "{\"type\":\"record\",\"name\":\"Message\",\"fields\":["
    "{\"name\":\"prefix\",\"type\":[\"null\",\"string\"],\"default\":null},"
    "{\"name\":\"content\",\"type\":[\"null\",\"bytes\"],\"default\":null}],"
    "\"connect.version\":1,\"connect.name\":\"" POSTGRESQL ".Message\"}";

static const char message_key_text[] =
    "{\"type\":\"record\",\"name\":\"MessageKey\",\"namespace\":\"" POSTGRESQL "\",\"fields\":["
    "{\"name\":\"prefix\",\"type\":[\"null\",\"string\"],\"default\":null}],"
    "\"connect.version\":1,\"connect.name\":\"" POSTGRESQL ".MessageKey\"}";

/* ---- JSON: jansson fails here only when memory is out ---- */

static json_t *
must(json_t *j)
{
	if (!j)
		die("out of memory for a schema");
	return j;
}

/* Add and hand over v. */
static void
set(json_t *object, const char *key, json_t *v)
{
	if (json_object_set_new(object, key, must(v)) != 0)
		die("out of memory for a schema");
}

/* What is not UTF-8 (a SQL_ASCII database has such) becomes "?"; column_check has the words. */
static void
set_text(json_t *object, const char *key, const char *text)
{
	json_t *v = json_string(text);

	set(object, key, v ? v : json_string("?"));
}

static void
add(json_t *array, json_t *v)
{
	if (json_array_append_new(array, must(v)) != 0)
		die("out of memory for a schema");
}

static json_t *
constant(const char *text)
{
	return must(json_loads(text, 0, NULL));
}

/* Print, free, and keep the text in the arena. */
static struct slice
printed(json_t *j, struct arena *a)
{
	char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
	struct slice s;

	if (!text)
		die("a schema does not print: is a name in it not UTF-8?");
	s = arena_slice(a, slice_of(text));
	free(text);
	json_decref(j);
	return s;
}

/* ---- names ---- */

static bool
name_char(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	    c == '_';
}

struct slice
schema_adjust(struct slice name, bool ns, struct arena *a)
{
	char *out = arena_raw(a, name.n * 2 + 2);
	size_t n = 0;
	bool first = true;

	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = (uint8_t)name.p[i];

		if (ns && c == '.') {
			if (first)
				out[n++] = '_'; /* a part must not be empty */
			out[n++] = '.';
			first = true;
			continue;
		}
		if (c >= 0x80 && c < 0xc0)
			continue; /* the rest of a character that has its _ already */
		if (first && c >= '0' && c <= '9')
			out[n++] = '_';
		out[n++] = name_char(c) ? (char)c : '_';
		if (c >= 0xf0)
			out[n++] = '_'; /* Java counts it as two */
		first = false;
	}
	if (first)
		out[n++] = '_'; /* nor the name */
	out[n] = '\0';
	return (struct slice){ out, n };
}

int
schema_field_column(const struct table *tbl, struct slice field, struct arena *a)
{
	int at = table_column(tbl, field);

	for (int i = 0; at < 0 && i < tbl->ncols; i++)
		if (slice_eq(schema_adjust(tbl->cols[i].name, false, a), field))
			at = i;
	return at;
}

struct slice
schema_namespace(struct slice prefix, const struct table *tbl, struct arena *a)
{
	char *full = arena_printf(a, "%.*s.%.*s.%.*s", SLICE_ARG(prefix), SLICE_ARG(tbl->schema),
	    SLICE_ARG(tbl->name));

	return schema_adjust(slice_of(full), true, a);
}

/* ---- types ---- */

/* One schema in the making. A named record is defined where it first stands, later only named. */
struct printer {
	struct arena *a;
	const char *defined[16]; /* full names */
	int ndefined;
};

static const char *const base_type[] = {
	[W_BOOL] = "boolean",
	[W_INT16] = "int",
	[W_INT32] = "int",
	[W_INT64] = "long",
	[W_FLOAT] = "float",
	[W_DOUBLE] = "double",
	[W_STRING] = "string",
	[W_BYTES] = "bytes",
	[W_DECIMAL] = "bytes",
	[W_ARRAY] = "array",
};

static json_t *
wire_params(const struct wire_type *w, const char *source_type)
{
	json_t *p = must(json_object());

	if (w->wire == W_DECIMAL) {
		set(p, "scale", json_sprintf("%d", w->scale));
		if (w->precision)
			set(p, "connect.decimal.precision", json_sprintf("%d", w->precision));
	}
	if (w->length)
		set(p, "length", json_sprintf("%d", w->length));
	if (w->allowed)
		set_text(p, "allowed", w->allowed);
	if (source_type)
		set_text(p, SOURCE_TYPE, source_type);
	return p;
}

static json_t *nullable(json_t *type);

/* Of a schema with records in it: those that were defined before only by their names. */
static json_t *
defined_once(struct printer *pr, json_t *j)
{
	const char *name = json_string_value(json_object_get(j, "name")), *ns = json_string_value(json_object_get(j, "namespace")), *key;
	json_t *part;
	void *next;
	size_t i;

	if (ns) {
		name = arena_printf(pr->a, "%s.%s", ns, name);
		for (int k = 0; k < pr->ndefined; k++)
			if (strcmp(pr->defined[k], name) == 0) {
				json_decref(j);
				return must(json_string(name));
			}
		assert(pr->ndefined < (int)COUNTOF(pr->defined));
		pr->defined[pr->ndefined++] = name;
	}
	json_object_foreach_safe(j, next, key, part)
		set(j, key, defined_once(pr, json_incref(part)));
	json_array_foreach(j, i, part)
		if (json_array_set_new(j, i, defined_once(pr, json_incref(part))) != 0)
			die("out of memory for a schema");
	return j;
}

/* Connect's own moments have a logicalType of Avro besides. */
static const char *
connect_logical(const char *name)
{
	return strcmp(name, "Date") == 0 ? "date" : strcmp(name, "Time") == 0 ? "time-millis" : "timestamp-millis";
}

/*
 * The schema of a wire type, its attributes in AvroData's order. dflt is borrowed, NULL: none. A
 * record's default stands at the field alone: a second use of it is only a name, which cannot carry
 * one.
 */
static json_t *
wire_json(struct printer *pr, const struct wire_type *w, const char *source_type, json_t *dflt)
{
	const char *name = w->wire == W_DECIMAL ? DECIMAL : w->semantic;
	json_t *o, *params;

	if (w->wire == W_VARDECIMAL)
		return defined_once(pr, constant(vardecimal_text));
	if (w->wire == W_COMPOUND)
		return defined_once(pr, constant(w->compound->schema));
	o = must(json_object());
	set_text(o, "type", base_type[w->wire]);
	if (w->wire == W_ARRAY)
		set(o, "items", nullable(wire_json(pr, w->item, w->item->source_type, NULL)));
	if (w->wire == W_DECIMAL) {
		set(o, "scale", json_integer(w->scale));
		set(o, "precision",
		    json_integer(w->precision ? w->precision : DECIMAL_PRECISION_UNKNOWN));
	}
	if (name)
		set(o, "connect.version", json_integer(1));
	params = wire_params(w, source_type);
	if (json_object_size(params))
		set(o, "connect.parameters", json_incref(params));
	json_decref(params);
	if (dflt)
		set(o, "connect.default", json_incref(dflt));
	if (name)
		set_text(o, "connect.name", name);
	if (w->wire == W_INT16)
		set_text(o, "connect.type", "int16");
	if (w->wire == W_DECIMAL)
		set_text(o, "logicalType", "decimal");
	else if (name && strncmp(name, CONNECT, sizeof CONNECT - 1) == 0)
		set_text(o, "logicalType", connect_logical(name + sizeof CONNECT - 1));
	if (json_object_size(o) == 1) {
		json_decref(o);
		return must(json_string(base_type[w->wire]));
	}
	return o;
}

static json_t *
nullable(json_t *type)
{
	json_t *u = must(json_array());

	add(u, json_string("null"));
	add(u, type);
	return u;
}

/* Does the default fit its type, as JSON? A registry would refuse the schema otherwise. */
static bool
default_fits(enum wire wire, const json_t *v)
{
	switch (wire) {
	case W_BOOL:
		return json_is_boolean(v);
	case W_INT16:
	case W_INT32:
		return json_is_integer(v) && json_integer_value(v) >= INT32_MIN &&
		    json_integer_value(v) <= INT32_MAX;
	case W_INT64:
		return json_is_integer(v);
	case W_FLOAT:
	case W_DOUBLE:
		return json_is_number(v);
	case W_STRING:
	case W_BYTES:
	case W_DECIMAL:
		return json_is_string(v);
	case W_VARDECIMAL:
		return json_is_object(v);
	case W_ARRAY:
		return json_is_array(v);
	case W_COMPOUND:
	case W_OTHER:
		break;
	}
	return false;
}

/* The column's default, or NULL: none, or (then *bad) none that fits. A default of NULL is none. */
static json_t *
column_default(const struct column *col, bool *bad)
{
	json_t *v = NULL;

	if (!col->has_default)
		return NULL;
	if (col->default_json.n)
		v = json_loadb(col->default_json.p, col->default_json.n,
		    JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	if (json_is_null(v) && !col->notnull)
		return NULL;
	if (v && default_fits(col->type.wire, v))
		return v;
	json_decref(v);
	*bad = true;
	return NULL;
}

static json_t *
field(const char *name, json_t *type, json_t *dflt)
{
	json_t *f = must(json_object());

	set_text(f, "name", name);
	set(f, "type", type);
	if (dflt)
		set(f, "default", dflt);
	return f;
}

/* ["null", T] = null: what most optional fields are. */
static json_t *
optional(const char *name, json_t *type)
{
	return field(name, nullable(type), json_null());
}

/* A union's default belongs to its first branch: so a nullable column with a default has T first. */
static json_t *
column_field(struct printer *pr, const struct column *col, bool *bad_default)
{
	const char *name = schema_adjust(col->name, false, pr->a).p;
	const char *source_type = col->type.source_type;
	json_t *dflt = column_default(col, bad_default), *type, *u;

	if (source_type && col->type_name.n)
		source_type = arena_text(pr->a, col->type_name);
	type = wire_json(pr, &col->type, source_type, dflt);
	if (col->notnull)
		return field(name, type, dflt);
	if (!dflt)
		return optional(name, type);
	u = must(json_array());
	add(u, type);
	add(u, json_string("null"));
	return field(name, u, dflt);
}

/* ---- records ---- */

static json_t *
record(const char *name, const char *ns, json_t *fields, int version, const char *connect_name)
{
	json_t *r = must(json_object());

	set_text(r, "type", "record");
	set_text(r, "name", name);
	if (ns)
		set_text(r, "namespace", ns);
	set(r, "fields", fields);
	if (version)
		set(r, "connect.version", json_integer(version));
	set_text(r, "connect.name", connect_name);
	return r;
}

struct slice
schema_key(struct slice prefix, const struct table *tbl, struct arena *a)
{
	struct printer pr = { .a = a };
	const char *ns = schema_namespace(prefix, tbl, a).p;
	json_t *fields;
	bool bad = false; /* schema_value says so */
	const int *keys;
	int n = table_message_keys(tbl, &keys);

	if (n == 0)
		return (struct slice){ "", 0 };
	fields = must(json_array());
	for (int i = 0; i < n; i++)
		add(fields, column_field(&pr, &tbl->cols[keys[i]], &bad));
	return printed(record("Key", ns, fields, 0, arena_printf(a, "%s.Key", ns)), a);
}

static bool
is_utf8(struct slice s)
{
	json_t *j = json_stringn(s.n ? s.p : "", s.n);

	json_decref(j);
	return j != NULL;
}

static bool
wire_prints(const struct wire_type *w)
{
	if (w->wire == W_ARRAY)
		return w->item && w->item->wire != W_ARRAY && wire_prints(w->item);
	return (w->wire >= W_BOOL && w->wire < W_ARRAY) || (w->wire == W_COMPOUND && w->compound->schema);
}

static enum rc
column_check(const struct table *tbl, const struct column *col, struct err *err)
{
	const struct wire_type *w = &col->type, *item = w->item ? w->item : w;

	if (!wire_prints(w))
		return fail(err, REJECT, "column %.*s of %.*s.%.*s has no Avro type of ours",
		    SLICE_ARG(col->name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
	if (!is_utf8(col->type_name) || !is_utf8(slice_of(w->source_type)) ||
	    !is_utf8(slice_of(w->allowed)) || !is_utf8(slice_of(item->source_type)) ||
	    !is_utf8(slice_of(item->allowed)))
		return fail(err, REJECT,
		    "the type of column %.*s of %.*s.%.*s has a name or label that is not UTF-8",
		    SLICE_ARG(col->name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
	return OK;
}

static enum rc
columns_check(const struct table *tbl, struct arena *a, struct err *err)
{
	json_t *seen = must(json_object());
	enum rc rc = OK;

	for (int i = 0; i < tbl->ncols && rc == OK; i++) {
		const struct column *col = &tbl->cols[i];
		const char *name = schema_adjust(col->name, false, a).p;
		json_t *other = json_object_get(seen, name);

		if (other)
			rc = fail(err, REJECT,
			    "columns %.*s and %.*s of %.*s.%.*s both become %s in Avro; rename one of them",
			    SLICE_ARG(tbl->cols[json_integer_value(other)].name),
			    SLICE_ARG(col->name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name),
			    name);
		else
			rc = column_check(tbl, col, err);
		set(seen, name, json_integer(i));
	}
	json_decref(seen);
	return rc;
}

/* Only what PostgreSQL says of a name can be no UTF-8 (a database in SQL_ASCII); then it cannot be told. */
static void
set_name(json_t *o, const char *attribute, struct slice name)
{
	if (name.n && is_utf8(name))
		set(o, attribute, json_stringn(name.p, name.n));
}

/*
 * What Avro has no words for stands in attributes of the field, where it fits any type; not in the key, whose bytes (by the schema's
 * number) decide the partition.
 */
static void
own_words(json_t *f, const struct column *col, struct arena *a)
{
	static const char limited[] = "character varying(", *const codings[] = OWN_CODINGS;
	enum coded coded = col->type.item ? col->type.item->coded : col->type.coded;

	if (!slice_eq(schema_adjust(col->name, false, a), col->name))
		set_name(f, OWN_NAME, col->name);
	if (!col->type.source_type && col->type_name.n > sizeof limited && memcmp(col->type_name.p, limited, sizeof limited - 1) == 0)
		set_name(f, OWN_TYPE, col->type_name);
	if (col->type.wire == W_COMPOUND)
		set_name(f, OWN_TYPE, col->type_name);
	if (col->type.plain)
		set_text(f, OWN_TYPE, pgtype_create(col->type.plain, (struct slice){ NULL, 0 }, a));
	if (coded)
		set_text(f, OWN_CODED, codings[coded]);
	if (col->default_expr)
		set_text(f, OWN_DEFAULT, "expression");
	set_name(f, OWN_WAS, col->was);
	if (col->fresh)
		set(f, OWN_NEW, json_true());
}

static json_t *
value_record(const struct table *tbl, json_t *fields, const char *ns, struct arena *a)
{
	json_t *r = record("Value", NULL, fields, 0, arena_printf(a, "%s.Value", ns)), *was, *key;

	if (tbl->nmessage_keys) {
		key = must(json_array());
		for (int i = 0; i < tbl->nkeys; i++)
			add(key, json_string(schema_adjust(tbl->cols[tbl->keys[i]].name, false, a).p));
		set(r, OWN_KEY, key);
	}
	if (!tbl->was_name.n && !tbl->rekeyed)
		return r;
	was = must(json_object());
	if (is_utf8(tbl->was_schema) && is_utf8(tbl->was_name)) {
		set_name(was, "schema", tbl->was_schema);
		set_name(was, "table", tbl->was_name);
	}
	if (tbl->rekeyed) {
		json_t *keys = must(json_array());

		for (int i = 0; i < tbl->nwas_keys; i++)
			if (is_utf8(tbl->was_keys[i]))
				add(keys, json_stringn(tbl->was_keys[i].p, tbl->was_keys[i].n));
		set(was, "key", keys);
	}
	set(r, OWN_WAS, was);
	return r;
}

static json_t *
columns_json(const struct table *tbl, struct arena *a, struct err *err)
{
	struct printer pr = { .a = a };
	json_t *fields = must(json_array());

	for (int i = 0; i < tbl->ncols; i++) {
		const struct column *col = &tbl->cols[i];
		bool bad = false;
		json_t *f = column_field(&pr, col, &bad);

		own_words(f, col, a);
		add(fields, f);
		if (bad) {
			json_decref(fields);
			(void)fail(err, REJECT,
			    "default %.*s of column %.*s of %.*s.%.*s is not JSON of its Avro type",
			    SLICE_ARG(col->default_json), SLICE_ARG(col->name),
			    SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
			return NULL;
		}
	}
	return fields;
}

/* The same fields for each kind of source, under the name that is its own. */
static json_t *
source_record(const struct table *tbl, struct arena *a)
{
	json_t *source = constant(source_text);

	if (tbl->connector) {
		const char *ns = arena_printf(a, CONNECTOR "%s", tbl->connector);

		set_text(source, "namespace", ns);
		set_text(source, "connect.name", arena_printf(a, "%s.Source", ns));
	}
	return source;
}

enum rc
schema_value(struct slice prefix, const struct table *tbl, struct arena *a, struct slice *json,
    struct err *err)
{
	const char *ns = schema_namespace(prefix, tbl, a).p;
	json_t *cols, *f;

	*json = (struct slice){ "", 0 };
	if (columns_check(tbl, a, err) != OK || !(cols = columns_json(tbl, a, err)))
		return err->rc;
	f = must(json_array());
	add(f, optional("before", value_record(tbl, cols, ns, a)));
	add(f, optional("after", json_string("Value")));
	add(f, field("source", source_record(tbl, a), NULL));
	add(f, optional("transaction", constant(block_text)));
	add(f, field("op", json_string("string"), NULL));
	add(f, optional("ts_ms", json_string("long")));
	add(f, optional("ts_us", json_string("long")));
	add(f, optional("ts_ns", json_string("long")));
	*json = printed(record("Envelope", ns, f, 2, arena_printf(a, "%s.Envelope", ns)), a);
	return OK;
}

struct slice
schema_column(const struct column *col, struct arena *a)
{
	struct printer pr = { .a = a };
	bool bad = false;
	json_t *f = column_field(&pr, col, &bad), *type = json_incref(json_object_get(f, "type"));

	json_decref(f);
	return printed(type, a);
}

struct slice
schema_message_key(struct arena *a)
{
	return arena_slice(a, SLICE_LIT(message_key_text));
}

struct slice
schema_message_value(struct arena *a)
{
	json_t *f = must(json_array()), *source = constant(source_text);

	json_object_del(source, "namespace"); /* it is that of the record around it */
	add(f, field("op", json_string("string"), NULL));
	add(f, optional("ts_ms", json_string("long")));
	add(f, field("source", source, NULL));
	add(f, optional("transaction", constant(block_text)));
	add(f, field("message", constant(message_text), NULL));
	return printed(record("MessageValue", POSTGRESQL, f, 1, POSTGRESQL ".MessageValue"), a);
}

/* ---- fingerprint ---- */

static const uint64_t crc64_empty = 0xc15d213aa4d7a795;

/* Bit by bit: it runs once for each schema, and needs no table. */
uint64_t
schema_crc64(struct slice bytes)
{
	uint64_t fp = crc64_empty;

	for (size_t i = 0; i < bytes.n; i++) {
		uint64_t low = (fp ^ (uint8_t)bytes.p[i]) & 0xff;

		for (int bit = 0; bit < 8; bit++)
			low = low >> 1 ^ (crc64_empty & -(low & 1));
		fp = fp >> 8 ^ low;
	}
	return fp;
}

enum rc
schema_fingerprint(struct slice json, uint64_t *fp, struct err *err)
{
	json_error_t why;
	json_t *j = json_loadb(json.p ? json.p : "", json.n,
	    JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
	char *text;

	if (!j)
		return fail(
		    err, REJECT, "a schema is not JSON: %s at byte %d", why.text, why.position);
	text = json_dumps(j, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		die("out of memory for a schema");
	*fp = schema_crc64(slice_of(text));
	free(text);
	json_decref(j);
	return OK;
}
