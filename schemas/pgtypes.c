#include "schemas/compound.h"
#include "schemas/lite.h"
#include "schemas/pgtypes_impl.h"

#include <limits.h>
#include <strings.h>

#define DEC_NAME "org.apache.kafka.connect.data.Decimal"
#define VAR_NAME "io.debezium.data.VariableScaleDecimal"
#define BITS_NAME "io.debezium.data.Bits"
#define ENUM_NAME "io.debezium.data.Enum"
#define JSON_NAME "io.debezium.data.Json"

/* ---- PostgreSQL -> wire ---- */

enum { BINARY = 1, ITEM = 2 }; /* taken in binary; an array of it has an Avro form */

/*
 * The types whose wire form does not depend on the type modifier, by oid (pg_type.dat).
 * The others are in wire_by_typmod.
 */
static const struct {
	uint32_t oid;
	uint8_t wire, flags;
	const char *semantic;
} fixed[] = {
	{ PG_BOOL, W_BOOL, BINARY | ITEM, NULL },
	{ PG_BYTEA, W_BYTES, BINARY | ITEM, NULL },
	{ PG_CHAR, W_STRING, BINARY | ITEM, NULL },
	{ PG_NAME, W_STRING, BINARY, NULL },
	{ PG_INT8, W_INT64, BINARY | ITEM, NULL },
	{ PG_INT2, W_INT16, BINARY | ITEM, NULL },
	{ PG_INT4, W_INT32, BINARY | ITEM, NULL },
	{ PG_TEXT, W_STRING, BINARY | ITEM, NULL },
	{ PG_OID, W_INT64, BINARY | ITEM, NULL },
	{ PG_JSON, W_STRING, BINARY | ITEM, JSON_NAME },
	{ PG_XML, W_STRING, BINARY, "io.debezium.data.Xml" },
	{ PG_FLOAT4, W_FLOAT, BINARY | ITEM, NULL },
	{ PG_FLOAT8, W_DOUBLE, BINARY | ITEM, NULL },
	{ PG_BPCHAR, W_STRING, BINARY | ITEM, NULL },
	{ PG_VARCHAR, W_STRING, BINARY | ITEM, NULL },
	{ PG_DATE, W_INT32, BINARY | ITEM, "io.debezium.time.Date" },
	{ PG_TIMESTAMPTZ, W_STRING, BINARY | ITEM, "io.debezium.time.ZonedTimestamp" },
	{ PG_INTERVAL, W_INT64, BINARY, "io.debezium.time.MicroDuration" },
	{ PG_TIMETZ, W_STRING, BINARY | ITEM, "io.debezium.time.ZonedTime" },
	{ PG_UUID, W_STRING, BINARY | ITEM, "io.debezium.data.Uuid" },
	{ PG_JSONB, W_STRING, BINARY | ITEM, JSON_NAME },
	{ 650, W_STRING, ITEM, NULL }, /* cidr */
	{ 774, W_STRING, ITEM, NULL }, /* macaddr8 */
	{ 829, W_STRING, ITEM, NULL }, /* macaddr */
	{ 869, W_STRING, ITEM, NULL }, /* inet */
	{ 3904, W_STRING, ITEM, NULL }, /* int4range */
	{ 3906, W_STRING, ITEM, NULL }, /* numrange */
	{ 3908, W_STRING, ITEM, NULL }, /* tsrange */
	{ 3910, W_STRING, ITEM, NULL }, /* tstzrange */
	{ 3912, W_STRING, ITEM, NULL }, /* daterange */
	{ 3926, W_STRING, ITEM, NULL }, /* int8range */
	{ 3614, W_STRING, 0, "io.debezium.data.Tsvector" },
};

/* Types of extensions have no fixed oid. */
static const struct {
	const char *name;
	uint8_t flags;
	const char *semantic;
} named[] = {
	{ "citext", ITEM, NULL },
	{ "hstore", ITEM, JSON_NAME },
	{ "ltree", ITEM, "io.debezium.data.Ltree" },
	{ "isbn", 0, NULL },
};

enum { FIRST_USER_OID = 16384 };

/* "public.geometry(Point,4326)" -> "geometry(Point,4326)" */
static const char *
base_name(const char *name)
{
	const char *dot = memrchr(name, '.', strcspn(name, "("));

	return dot ? dot + 1 : name;
}

bool
pgtype_is_of(const struct pg_type *t, const char *name)
{
	const char *own = base_name(t->name);
	size_t n = strlen(name);

	return t->typtype == 'b' && t->oid >= FIRST_USER_OID && strncmp(own, name, n) == 0 && (!own[n] || own[n] == '(');
}

static int
named_index(const struct pg_type *t)
{
	for (size_t i = 0; i < COUNTOF(named); i++)
		if (pgtype_is_of(t, named[i].name))
			return (int)i;
	return -1;
}

static int
fixed_index(uint32_t oid)
{
	for (size_t i = 0; i < COUNTOF(fixed); i++)
		if (fixed[i].oid == oid)
			return (int)i;
	return -1;
}

static struct wire_type
wire_numeric(int32_t typmod)
{
	int precision = (typmod - 4) >> 16 & 0xffff, scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;

	if (typmod < 4)
		return (struct wire_type){ .wire = W_VARDECIMAL, .semantic = VAR_NAME };
	if (scale < 0) { /* numeric(2,-3): up to 99000, and Avro's scale is never negative */
		precision -= scale;
		scale = 0;
	}
	return (struct wire_type){
		.wire = W_DECIMAL, .semantic = DEC_NAME, .precision = precision, .scale = scale
	};
}

/* Bits of one bit are a boolean. Without a length (bit in a table made by a query, varbit) any
 * length may come. */
static struct wire_type
wire_bits(int32_t typmod)
{
	if (typmod == 1)
		return (struct wire_type){ .wire = W_BOOL };
	return (struct wire_type){
		.wire = W_BYTES, .semantic = BITS_NAME, .length = typmod > 0 ? typmod : INT_MAX
	};
}

static bool
wire_by_typmod(const struct pg_type *t, struct wire_type *w)
{
	bool ms = t->typmod >= 0 && t->typmod <= 3;

	switch (t->oid) {
	case PG_NUMERIC:
		*w = wire_numeric(t->typmod);
		return true;
	case PG_MONEY:
		*w = (struct wire_type){ .wire = W_DECIMAL, .semantic = DEC_NAME, .scale = 2 };
		return true;
	case PG_BIT:
	case PG_VARBIT:
		*w = wire_bits(t->typmod);
		return true;
	case PG_TIME:
		*w = (struct wire_type){ .wire = ms ? W_INT32 : W_INT64,
			.semantic = ms ? "io.debezium.time.Time" : "io.debezium.time.MicroTime" };
		return true;
	case PG_TIMESTAMP:
		*w = (struct wire_type){ .wire = W_INT64,
			.semantic =
			    ms ? "io.debezium.time.Timestamp" : "io.debezium.time.MicroTimestamp" };
		return true;
	default:
		return false;
	}
}

static bool
item_ok(const struct pg_type *item)
{
	int i;

	if (item->typtype == 'e' || item->oid == PG_NUMERIC || item->oid == PG_TIME
	    || item->oid == PG_TIMESTAMP)
		return true;
	i = fixed_index(item->oid);
	if (i >= 0)
		return fixed[i].flags & ITEM;
	i = named_index(item);
	return i >= 0 && named[i].flags & ITEM;
}

/* int2vector and oidvector have an element type too, but print as "1 2 3". */
static bool
is_array(const struct pg_type *t)
{
	size_t n = strlen(t->name);

	return t->item && n > 2 && strcmp(t->name + n - 2, "[]") == 0;
}

static struct wire_type
wire_array(const struct pg_type *t, struct arena *a)
{
	struct wire_type *w = arena_new(a, struct wire_type);
	struct pg_type item = *t->item;

	if (item.typmod < 0)
		item.typmod = t->typmod;
	*w = pgtype_wire(&item, a);
	return (struct wire_type){ .wire = W_ARRAY, .item = w };
}

struct wire_type
pgtype_wire_compound(const struct compound *k)
{
	return (struct wire_type){ .wire = W_COMPOUND, .semantic = k->name, .compound = k };
}

struct wire_type
pgtype_wire(const struct pg_type *t, struct arena *a)
{
	struct wire_type w = { .wire = W_STRING };
	int i;

	if (t->typtype == 'e') {
		w.semantic = ENUM_NAME;
		w.allowed = arena_text(a, slice_of(t->labels ? t->labels : ""));
		return w;
	}
	if (wire_by_typmod(t, &w)) {
		/* An empty one has no place in the boolean that a sink would make of it. */
		if (t->oid == PG_VARBIT && w.wire == W_BOOL)
			w.source_type = arena_text(a, slice_of(t->name));
		return w;
	}
	i = fixed_index(t->oid);
	if (i >= 0) {
		w = (struct wire_type){ .wire = fixed[i].wire, .semantic = fixed[i].semantic };
		/* A copy in text would compare by its blanks. Without a length it would be char(1). */
		if (t->oid == PG_BPCHAR && strchr(t->name, '('))
			w.source_type = arena_text(a, slice_of(t->name));
		return w;
	}
	i = named_index(t);
	if (i >= 0) {
		w.semantic = named[i].semantic;
		if (named[i].semantic && strcmp(named[i].semantic, JSON_NAME) == 0) /* no JSON, but its own text, is what arrives */
			w.source_type = arena_text(a, slice_of(t->name));
		return w;
	}
	if (is_array(t) && item_ok(t->item))
		return wire_array(t, a);
	if (compound_of(t, false))
		return pgtype_wire_compound(compound_of(t, false));
	w.source_type = arena_text(a, slice_of(t->name));
	return w;
}

bool
pgtype_binary(const struct pg_type *t)
{
	int i;

	switch (t->oid) {
	case PG_NUMERIC:
	case PG_MONEY:
	case PG_BIT:
	case PG_VARBIT:
	case PG_TIME:
	case PG_TIMESTAMP:
		return true;
	default:
		i = fixed_index(t->oid);
		return i >= 0 ? fixed[i].flags & BINARY : t->typtype == 'e';
	}
}

/* ---- what semantic names mean ---- */

/* clang-format off */
static const struct {
	const char *name;
	uint8_t n, wire, mean;
	int32_t per_second;
} meanings[] = {
#define MEANING(name, wire, mean, per) { name, sizeof(name) - 1, wire, mean, per }
	MEANING("io.debezium.time.MicroTimestamp", W_INT64, MEAN_TIMESTAMP, 1000000),
	MEANING("io.debezium.time.ZonedTimestamp", W_STRING, MEAN_TIMESTAMPTZ, 0),
	MEANING("io.debezium.time.Timestamp", W_INT64, MEAN_TIMESTAMP, 1000),
	MEANING("io.debezium.time.Date", W_INT32, MEAN_DATE, 0),
	MEANING("io.debezium.time.Time", W_INT32, MEAN_TIME, 1000),
	MEANING("io.debezium.time.MicroTime", W_INT64, MEAN_TIME, 1000000),
	MEANING("io.debezium.time.ZonedTime", W_STRING, MEAN_TIMETZ, 0),
	MEANING("io.debezium.time.MicroDuration", W_INT64, MEAN_INTERVAL, 1000000),
	MEANING(BITS_NAME, W_BYTES, MEAN_BITS, 0),
	MEANING("io.debezium.time.NanoTime", W_INT64, MEAN_TIME, 1000000000),
	MEANING("io.debezium.time.NanoTimestamp", W_INT64, MEAN_TIMESTAMP, 1000000000),
	MEANING("io.debezium.time.NanoDuration", W_INT64, MEAN_INTERVAL, 1000000000),
	MEANING("org.apache.kafka.connect.data.Date", W_INT32, MEAN_DATE, 0),
	MEANING("org.apache.kafka.connect.data.Time", W_INT32, MEAN_TIME, 1000),
	MEANING("org.apache.kafka.connect.data.Timestamp", W_INT64, MEAN_TIMESTAMP, 1000),
	MEANING("io.debezium.time.IsoDate", W_STRING, MEAN_DATE, 0),
	MEANING("io.debezium.time.IsoTime", W_STRING, MEAN_TIME, 0),
	MEANING("io.debezium.time.IsoTimestamp", W_STRING, MEAN_TIMESTAMP, 0),
#undef MEANING
};
/* clang-format on */

struct meaning
pgtype_meaning(const struct wire_type *w)
{
	size_t n;

	if (!w->semantic)
		return (struct meaning){ MEAN_PLAIN, 0 };
	n = strlen(w->semantic);
	for (size_t i = 0; i < COUNTOF(meanings); i++)
		if (meanings[i].n == n && meanings[i].wire == w->wire
		    && memcmp(meanings[i].name, w->semantic, n) == 0)
			return (struct meaning){ meanings[i].mean, meanings[i].per_second };
	return (struct meaning){ MEAN_PLAIN, 0 };
}

/* ---- wire -> column types at a sink ---- */

/* Type names that every PostgreSQL server knows, as format_type and pg_type spell them. */
/* clang-format off */
static const char *const known[] = {
	"smallint", "integer", "bigint", "int2", "int4", "int8", "oid", "real", "double precision",
	"float4", "float8", "numeric", "decimal", "money", "boolean", "bool", "bit", "bit varying",
	"varbit", "character", "character varying", "varchar", "bpchar", "char", "\"char\"", "text",
	"name", "bytea", "json", "jsonb", "xml", "uuid", "date", "time", "timetz", "timestamp",
	"timestamptz", "time without time zone", "time with time zone",
	"timestamp without time zone", "timestamp with time zone", "interval", "inet", "cidr",
	"macaddr", "macaddr8", "int4range", "int8range", "numrange", "tsrange", "tstzrange",
	"daterange", "int4multirange", "int8multirange", "nummultirange", "tsmultirange",
	"tstzmultirange", "datemultirange", "tsvector", "tsquery", "jsonpath", "pg_lsn", "point",
	"line", "lseg", "box", "path", "polygon", "circle", "txid_snapshot", "pg_snapshot", "xid8",
};
/* clang-format on */

static bool
interval_words(struct slice rest)
{
	static const char *const words[] = { "year", "month", "day", "hour", "minute", "second",
		"to" };

	while (rest.n) {
		size_t i = 0, n = 0;

		while (i < COUNTOF(words)
		    && (rest.n <= strlen(words[i]) || rest.p[0] != ' '
			|| strncasecmp(rest.p + 1, words[i], strlen(words[i])) != 0))
			i++;
		if (i == COUNTOF(words))
			return false;
		n = strlen(words[i]) + 1;
		rest = (struct slice){ rest.p + n, rest.n - n };
	}
	return true;
}

/* The name without "(10,2)" and "[]" is known. It comes from outside and goes into DDL, so nothing
 * else may pass. */
static bool
known_type(struct slice name)
{
	char base[48];
	size_t n = 0, i = 0;

	while (name.n > 2 && memcmp(name.p + name.n - 2, "[]", 2) == 0)
		name.n -= 2;
	for (; i < name.n && n < sizeof base; i++) {
		if (name.p[i] == '(') {
			do
				i++;
			while (i < name.n && (strchr("0123456789,- ", name.p[i]) && name.p[i]));
			if (i == name.n || name.p[i] != ')')
				return false;
		} else
			base[n++] = name.p[i];
	}
	if (i < name.n)
		return false;
	for (i = 0; i < COUNTOF(known); i++)
		if (strlen(known[i]) == n && strncasecmp(base, known[i], n) == 0)
			return true;
	return n > 8 && strncasecmp(base, "interval", 8) == 0
	    && interval_words((struct slice){ base + 8, n - 8 });
}

static const char *
create_string(const struct wire_type *w)
{
	static const struct {
		const char *semantic, *type;
	} types[] = {
		{ JSON_NAME, "json" },
		{ "io.debezium.data.Xml", "xml" },
		{ "io.debezium.data.Uuid", "uuid" },
		{ "io.debezium.data.Tsvector", "tsvector" },
		{ "io.debezium.time.Interval", "interval" },
	};

	for (size_t i = 0; w->semantic && i < COUNTOF(types); i++)
		if (strcmp(w->semantic, types[i].semantic) == 0)
			return types[i].type;
	return "text";
}

static const char *
create_plain(const struct wire_type *w, struct arena *a)
{
	switch (w->wire) {
	case W_BOOL:
		return "boolean";
	case W_INT16:
		return "smallint";
	case W_INT32:
		return "integer";
	case W_INT64:
		return "bigint";
	case W_FLOAT:
		return "real";
	case W_DOUBLE:
		return "double precision";
	case W_BYTES:
		return "bytea";
	case W_DECIMAL: /* 1000 is the most that PostgreSQL declares; 64 without a parameter is "not
	                   given" */
		if (w->precision > 0 && w->precision <= 1000 && w->scale >= 0 && w->scale <= 1000)
			return arena_printf(a, "numeric(%d,%d)", w->precision, w->scale);
		return "numeric";
	case W_VARDECIMAL:
		return "numeric";
	case W_ARRAY:
		return arena_printf(
		    a, "%s[]", pgtype_create(w->item, (struct slice){ NULL, 0 }, a));
	case W_COMPOUND:
		return w->compound->create;
	case W_STRING:
		return create_string(w);
	case W_OTHER:
		break;
	}
	return "text";
}

/* Its text may be of any type. */
static bool
is_plain_string(const struct wire_type *w)
{
	return (w->wire == W_STRING && pgtype_meaning(w).mean == MEAN_PLAIN) || w->wire == W_COMPOUND;
}

const char *
pgtype_create(const struct wire_type *w, struct slice source_type_name, struct arena *a)
{
	struct meaning m = pgtype_meaning(w);
	bool ms = m.per_second == 1000;

	if (w->plain)
		return pgtype_create(w->plain, (struct slice){ NULL, 0 }, a);
	if (source_type_name.n == 0)
		source_type_name = slice_of(w->source_type);
	if (source_type_name.n && known_type(source_type_name))
		return arena_text(a, source_type_name);
	if (source_type_name.n && is_plain_string(w)) /* an enum, hstore: its own text may come */
		return "text";
	if (source_type_name.n && w->wire == W_ARRAY && is_plain_string(w->item))
		return "text[]";
	switch (m.mean) {
	case MEAN_PLAIN:
		break;
	case MEAN_DATE:
		return "date";
	case MEAN_TIME:
		return ms ? "time(3) without time zone" : "time without time zone";
	case MEAN_TIMESTAMP:
		return ms ? "timestamp(3) without time zone" : "timestamp without time zone";
	case MEAN_TIMESTAMPTZ:
		return "timestamp with time zone";
	case MEAN_TIMETZ:
		return "time with time zone";
	case MEAN_INTERVAL:
		return "interval";
	case MEAN_BITS:
		return w->length > 0 && w->length < INT_MAX
		    ? arena_printf(a, "bit varying(%d)", w->length)
		    : "bit varying";
	}
	return create_plain(w, a);
}

const char *
sqlite_create(const struct wire_type *w)
{
	if (w->plain)
		return sqlite_create(w->plain);
	if (lite_is_any(w)) /* no type, no affinity */
		return "";
	if (pgtype_meaning(w).mean != MEAN_PLAIN)
		return "TEXT";
	switch (w->wire) {
	case W_BOOL: /* varbit(1) may be empty */
		return w->source_type && strncasecmp(w->source_type, "bit varying", 11) == 0 ? "TEXT" : "INTEGER";
	case W_INT16:
	case W_INT32:
	case W_INT64:
		return "INTEGER";
	case W_FLOAT:
	case W_DOUBLE:
		return "REAL";
	case W_BYTES:
	case W_OTHER:
		return "BLOB";
	case W_DECIMAL: /* SQLite's NUMERIC would make a double of it */
	case W_VARDECIMAL:
	case W_STRING:
	case W_ARRAY:
	case W_COMPOUND:
		break;
	}
	return "TEXT";
}
