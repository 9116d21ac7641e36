/*
 * compound.c - the table of structures, their layouts, and what is the same for all of them.
 */
#include "schemas/compound_impl.h"
#include "schemas/lite.h"
#include "schemas/pgtypes_impl.h"

enum { POINT = 600, LSEG = 601, PATH = 602, BOX = 603, POLYGON = 604, LINE = 628, CIRCLE = 718 };

#define GEOMETRY "io.debezium.data.geometry."
#define RECORD(space, name, fields, doc, version) \
	"{\"type\":\"record\",\"name\":\"" name "\",\"namespace\":\"" space "\",\"fields\":[" fields "]," \
	"\"connect.doc\":\"" doc "\",\"connect.version\":" version ",\"connect.name\":\"" space "." name "\"}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define OPTIONAL(name, type) "{\"name\":\"" name "\",\"type\":[\"null\"," type "],\"default\":null}"
#define SHAPE(name, fields, doc, version) RECORD("io.debezium.data.geometry", name, fields, doc, version)
#define POINT_SCHEMA SHAPE("Point", FIELD("x", "\"double\"") "," FIELD("y", "\"double\"") "," OPTIONAL("wkb", "\"bytes\"") "," \
	OPTIONAL("srid", "\"int\""), "Geometry (POINT)", "1")
#define POINT_LAYOUT "{x:d y:d wkb:?b srid:?i}"
#define WKB_FIELDS FIELD("wkb", "\"bytes\"") "," OPTIONAL("srid", "\"int\"")

#define EIGHT "\0\0\0\0\0\0\0\0"
#define ORIGIN EIGHT EIGHT "\x02\x2a\x01\x01\0\0\0" EIGHT EIGHT "\0"
#define NOTHING "\x12\x01\x07\0\0\0\0\0\0\0" /* GEOMETRYCOLLECTION EMPTY */
#define PAIR "\x38__debezium_unavailable_value"
#define BYTES(text) { text, sizeof(text) - 1 }

static const struct compound table[] = {
	{ GEOMETRY "Point", POINT_LAYOUT, POINT_SCHEMA, "point", BYTES(ORIGIN), { 0 }, point_read, point_text },
	{ GEOMETRY "Line", "{a:d b:d c:d}",
	    SHAPE("Line", FIELD("a", "\"double\"") "," FIELD("b", "\"double\"") "," FIELD("c", "\"double\""), "Geometry (LINE)", "1"),
	    "line", BYTES(EIGHT "\0\0\0\0\0\0\xf0\x3f" EIGHT), { 0 }, line_read, line_text },
	{ GEOMETRY "Circle", "{center:" POINT_LAYOUT " radius:d}",
	    SHAPE("Circle", FIELD("center", POINT_SCHEMA) "," FIELD("radius", "\"double\""), "Geometry (CIRCLE)", "1"), "circle",
	    BYTES(ORIGIN EIGHT), { 0 }, circle_read, circle_text },
	{ GEOMETRY "Geometry", "{wkb:b srid:?i extensions:?<s>}",
	    SHAPE("Geometry", WKB_FIELDS "," OPTIONAL("extensions", "{\"type\":\"map\",\"values\":\"string\"}"), "Geometry", "2"), "text",
	    BYTES(NOTHING "\0\0"), { 0 }, geometry_read, geometry_text },
	{ GEOMETRY "Geometry", "{wkb:b srid:?i}", NULL, "text", BYTES(NOTHING "\0"), { 0 }, geography_read, geography_text },
	{ GEOMETRY "Geography", "{wkb:b srid:?i}", SHAPE("Geography", WKB_FIELDS, "Geography", "1"), "text", BYTES(NOTHING "\0"), { 0 },
	    geography_read, geography_text },
	{ "io.debezium.data.DoubleVector", "[d]",
	    "{\"type\":\"array\",\"items\":\"double\",\"connect.version\":1,\"connect.name\":\"io.debezium.data.DoubleVector\"}",
	    "double precision[]", BYTES("\0"), { 0 }, vector_read, vector_text },
	{ "io.debezium.data.FloatVector", "[f]",
	    "{\"type\":\"array\",\"items\":\"float\",\"connect.version\":1,\"connect.name\":\"io.debezium.data.FloatVector\"}", "real[]",
	    BYTES("\0"), { 0 }, halfvec_read, halfvec_text },
	{ "io.debezium.data.SparseDoubleVector", "{dimensions:i vector:[{key:i value:d}]}",
	    RECORD("io.debezium.data", "SparseDoubleVector", FIELD("dimensions", "{\"type\":\"int\",\"connect.type\":\"int16\"}") ","
	    FIELD("vector", "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"MapEntry\","
	    "\"namespace\":\"io.confluent.connect.avro\",\"fields\":["
	    FIELD("key", "{\"type\":\"int\",\"connect.type\":\"int16\"}") "," FIELD("value", "\"double\"") "]}}"),
	    "Sparse double vector", "1"), "text", BYTES("\0\0"), { 0 }, sparsevec_read, sparsevec_text },
	{ NULL, "<?s>", "{\"type\":\"map\",\"values\":[\"null\",\"string\"]}", "text", BYTES("\0"), BYTES("\x02" PAIR "\x02" PAIR "\0"),
	    hstore_read, hstore_text },
};

/* ---- which ---- */

const struct compound *
compound_find(const char *name, const char *layout)
{
	for (size_t i = 0; i < COUNTOF(table); i++)
		if (!name == !table[i].name && (!name || strcmp(name, table[i].name) == 0) && strcmp(layout, table[i].layout) == 0)
			return &table[i];
	return NULL;
}

/* The one that we write. */
static const struct compound *
named(const char *name)
{
	for (size_t i = 0; i < COUNTOF(table); i++)
		if (table[i].schema && (name ? table[i].name && strcmp(name, table[i].name) == 0 : !table[i].name))
			return &table[i];
	return NULL;
}

const struct compound *
compound_of(const struct pg_type *t, bool map)
{
	switch (t->oid) {
	case POINT: return named(GEOMETRY "Point");
	case LINE: return named(GEOMETRY "Line");
	case CIRCLE: return named(GEOMETRY "Circle");
	case LSEG:
	case PATH:
	case BOX:
	case POLYGON: return named(GEOMETRY "Geometry");
	}
	if (pgtype_is_of(t, "geometry"))
		return named(GEOMETRY "Geometry");
	if (pgtype_is_of(t, "geography"))
		return named(GEOMETRY "Geography");
	if (pgtype_is_of(t, "vector"))
		return named("io.debezium.data.DoubleVector");
	if (pgtype_is_of(t, "halfvec"))
		return named("io.debezium.data.FloatVector");
	if (pgtype_is_of(t, "sparsevec"))
		return named("io.debezium.data.SparseDoubleVector");
	return map && pgtype_is_of(t, "hstore") ? named(NULL) : NULL;
}

/* ---- bytes by their layout ---- */

bool
compound_next(struct cursor *c, uint64_t *left)
{
	int64_t n;

	if (*left == 0) {
		n = cursor_long(c);
		*left = n < 0 ? -(uint64_t)n : (uint64_t)n;
		if (n < 0)
			(void)cursor_long(c); /* the block's size */
		if (*left > cursor_left(c)) /* each takes a byte at least */
			c->bad = true;
		if (c->bad || *left == 0)
			return false;
	}
	--*left;
	return !c->bad;
}

static const char *skip(const char *layout, struct cursor *c);

/* "name:X name:Y}" */
static const char *
skip_fields(const char *layout, struct cursor *c)
{
	while (*layout != '}') {
		layout = skip(strchr(layout, ':') + 1, c);
		layout += *layout == ' ';
	}
	return layout + 1;
}

/* Past the type that begins there; a cursor that is bad stays where it is. */
static const char *
skip(const char *layout, struct cursor *c)
{
	struct cursor none = { NULL, NULL, true };
	uint64_t left = 0;

	switch (*layout++) {
	case '?':
		return cursor_long(c) == 1 ? skip(layout, c) : skip(layout, &none);
	case '[':
		while (compound_next(c, &left))
			(void)skip(layout, c);
		return skip(layout, &none) + 1;
	case '<':
		while (compound_next(c, &left)) {
			(void)cursor_avro_bytes(c);
			(void)skip(layout, c);
		}
		return skip(layout, &none) + 1;
	case '{':
		return skip_fields(layout, c);
	case 'd':
		(void)cursor_take(c, 8);
		break;
	case 'f':
		(void)cursor_take(c, 4);
		break;
	case 'i':
	case 'l':
		(void)cursor_long(c);
		break;
	case 'o':
		(void)cursor_u8(c);
		break;
	default: /* b, s */
		(void)cursor_avro_bytes(c);
		break;
	}
	return layout;
}

void
compound_skip(const struct compound *k, struct cursor *c)
{
	(void)skip(k->layout, c);
}

void
compound_put_double(struct buf *out, double d)
{
	buf_bytes(out, &d, 8);
}

double
words_number(struct words *w, bool single)
{
	const char *from = w->p;
	struct value v = { 0 };

	while (w->p < w->end && !memchr(",:)]}>/", *w->p, 7))
		w->p++;
	if (!pgtype_read_real((struct slice){ from, (size_t)(w->p - from) }, single ? V_FLOAT : V_DOUBLE, &v))
		w->bad = true;
	return v.d;
}

/* ---- there, and back ---- */

bool
compound_text(const struct compound *k, struct slice avro, struct buf *out)
{
	struct cursor c = cursor_of(avro);

	return k->text(&c, out) && !c.bad && cursor_left(&c) == 0;
}

bool
compound_read(const struct compound *k, uint32_t oid, struct slice text, struct arena *a, struct value *out)
{
	struct buf avro = { 0 }, back = { 0 };
	bool same = false;

	*out = value_null();
	if (k->read(text, oid, &avro) && !avro.failed) {
		*out = (struct value){ .kind = V_AVRO, .s = arena_slice(a, buf_view(&avro)) };
		same = compound_text(k, out->s, &back) && !back.failed && slice_eq(buf_view(&back), text);
	}
	if (!same)
		out->exact = text;
	buf_free(&avro);
	buf_free(&back);
	/* A value that would be taken for NULL, or for one of SQLite's: no PostgreSQL prints such a text. */
	return !value_is_null(out) && !lite_is_classed(out);
}
