/*
 * compound_geo.c - PostgreSQL's geometric types and PostGIS', as Debezium's geometries.
 *
 * Well-known binary (OGC 06-103r4, 8.2): a byte of order (1: the least significant first), uint32 type (1 point, 2 line string, 3 polygon),
 * and what belongs to it: x and y; uint32 count and as many points; uint32 rings, of each a count and points. PostGIS' extended form has
 * flags in the type, 0x20000000 says that a uint32 SRID follows, and its text is that in hex (PostGIS, doc/ZMSgeoms.txt).
 */
#include "schemas/compound_impl.h"
#include "schemas/pgtypes_impl.h"

enum { LSEG = 601, PATH = 602, BOX = 603, POLYGON = 604 };
enum { WKB_POINT = 1, WKB_LINE = 2, WKB_POLYGON = 3 };
#define EWKB_SRID 0x20000000u

/* ---- points ---- */

static void
put_le32(struct buf *out, uint32_t v)
{
	for (int i = 0; i < 32; i += 8)
		buf_byte(out, (uint8_t)(v >> i));
}

static void
put_head(struct buf *out, uint32_t type)
{
	buf_byte(out, 1);
	put_le32(out, type);
}

/* "(x,y)", as two doubles. */
static void
take_point(struct words *w, struct buf *out)
{
	words_take(w, '(');
	compound_put_double(out, words_number(w, false));
	words_take(w, ',');
	compound_put_double(out, words_number(w, false));
	words_take(w, ')');
}

/* Points with commas between them; their number. */
static size_t
take_points(struct words *w, struct buf *out)
{
	take_point(w, out);
	while (!w->bad && words_have(w, ',')) {
		w->p++;
		take_point(w, out);
	}
	return out->n / 16;
}

static void
put_point(struct buf *out, double x, double y)
{
	buf_byte(out, '(');
	pgtype_put_real(x, false, out);
	buf_byte(out, ',');
	pgtype_put_real(y, false, out);
	buf_byte(out, ')');
}

static double
at(struct slice points, size_t i)
{
	double d;

	memcpy(&d, points.p + 8 * i, 8);
	return d;
}

static void
put_points(struct buf *out, struct slice points)
{
	for (size_t i = 0; i < points.n / 16; i++) {
		if (i)
			buf_byte(out, ',');
		put_point(out, at(points, 2 * i), at(points, 2 * i + 1));
	}
}

/* Point's record: x, y, wkb, srid. */
static void
put_point_record(struct buf *out, struct words *w)
{
	struct buf xy = { 0 };

	take_point(w, &xy);
	buf_slice(out, buf_view(&xy));
	buf_long(out, 1);
	buf_long(out, 5 + 16);
	put_head(out, WKB_POINT);
	buf_slice(out, buf_view(&xy));
	buf_long(out, 0);
	buf_free(&xy);
}

static void
some_bytes(struct cursor *c)
{
	if (cursor_long(c) == 1)
		(void)cursor_avro_bytes(c);
}

static void
text_of_point(struct cursor *c, struct buf *out)
{
	double x = cursor_double(c), y = cursor_double(c);

	some_bytes(c);
	if (cursor_long(c) == 1)
		(void)cursor_long(c);
	put_point(out, x, y);
}

bool
point_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	struct words w = words_of(text);

	put_point_record(out, &w);
	return words_done(&w);
}

bool
point_text(struct cursor *c, struct buf *out)
{
	text_of_point(c, out);
	return !c->bad;
}

/* "<(x,y),r>" */
bool
circle_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	struct words w = words_of(text);

	words_take(&w, '<');
	put_point_record(out, &w);
	words_take(&w, ',');
	compound_put_double(out, words_number(&w, false));
	words_take(&w, '>');
	return words_done(&w);
}

bool
circle_text(struct cursor *c, struct buf *out)
{
	buf_byte(out, '<');
	text_of_point(c, out);
	buf_byte(out, ',');
	pgtype_put_real(cursor_double(c), false, out);
	buf_byte(out, '>');
	return !c->bad;
}

/* "{A,B,C}" */
bool
line_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	struct words w = words_of(text);

	for (int i = 0; i < 3; i++) {
		words_take(&w, i ? ',' : '{');
		compound_put_double(out, words_number(&w, false));
	}
	words_take(&w, '}');
	return words_done(&w);
}

bool
line_text(struct cursor *c, struct buf *out)
{
	for (int i = 0; i < 3; i++) {
		buf_byte(out, i ? ',' : '{');
		pgtype_put_real(cursor_double(c), false, out);
	}
	buf_byte(out, '}');
	return !c->bad;
}

/* ---- box, lseg, path and polygon: a line or ring, and in the extensions what it is ---- */

static void
put_pair(struct buf *out, const char *key, const char *value)
{
	buf_avro_bytes(out, slice_of(key));
	buf_avro_bytes(out, slice_of(value));
}

/* A geometry of these points: wkb, srid, extensions. closed: of a path, else NULL. */
static void
put_shape(struct buf *out, uint32_t type, struct slice points, const char *what, const char *closed)
{
	bool ring = type == WKB_POLYGON;

	buf_long(out, (int64_t)(5 + (ring ? 4 : 0) + 4 + points.n));
	put_head(out, type);
	if (ring)
		put_le32(out, 1);
	put_le32(out, (uint32_t)(points.n / 16));
	buf_slice(out, points);
	buf_long(out, 0);
	buf_long(out, 1);
	buf_long(out, closed ? 2 : 1);
	if (closed)
		put_pair(out, "closed", closed);
	put_pair(out, "type", what);
	buf_long(out, 0);
}

static bool
ends_where_it_began(struct slice points)
{
	size_t n = points.n / 8;

	return points.n >= 32 && at(points, 0) == at(points, n - 2) && at(points, 1) == at(points, n - 1);
}

/* The corners of a box, the upper right one first, as Debezium goes around it. */
static void
put_corners(struct buf *ring, struct slice two)
{
	static const uint8_t order[] = { 0, 1, 0, 3, 2, 3, 2, 1, 0, 1 };

	for (size_t i = 0; i < COUNTOF(order); i++)
		compound_put_double(ring, at(two, order[i]));
}

static bool
shape_read(struct words *w, uint32_t oid, struct buf *points, struct buf *ring, struct buf *out)
{
	char open = w->p < w->end ? *w->p : 0, close = open == '[' ? ']' : ')';
	size_t n;

	if (oid != BOX)
		words_take(w, oid == LSEG ? '[' : oid == POLYGON || open != '[' ? '(' : '[');
	n = take_points(w, points);
	if (oid != BOX)
		words_take(w, close);
	if (!words_done(w) || n > INT32_MAX || ((oid == BOX || oid == LSEG) && n != 2))
		return false;
	if (oid == LSEG) {
		put_shape(out, WKB_LINE, buf_view(points), "lseg", NULL);
	} else if (oid == PATH) {
		put_shape(out, WKB_LINE, buf_view(points), "path", open == '(' ? "true" : "false");
	} else if (oid == BOX) {
		put_corners(ring, buf_view(points));
		put_shape(out, WKB_POLYGON, buf_view(ring), "box", NULL);
	} else {
		buf_slice(ring, buf_view(points));
		if (n > 1 && !ends_where_it_began(buf_view(points)))
			buf_bytes(ring, points->p, 16);
		put_shape(out, WKB_POLYGON, buf_view(ring), "polygon", NULL);
	}
	return true;
}

/* The points of a line, or of a polygon of one ring, of two dimensions. */
static bool
wkb_points(struct slice wkb, uint32_t want, struct buf *points)
{
	struct cursor c = cursor_of(wkb);
	bool little = cursor_u8(&c) != 0;
	uint32_t head[3] = { 0 }, n = want == WKB_POLYGON ? 3 : 2;

	for (uint32_t i = 0; i < n; i++)
		head[i] = little ? __builtin_bswap32(cursor_be32(&c)) : cursor_be32(&c);
	if (c.bad || head[0] != want || (n == 3 && head[1] != 1) || head[n - 1] != cursor_left(&c) / 16 || cursor_left(&c) % 16)
		return false;
	while (cursor_left(&c)) {
		uint64_t bits = cursor_be64(&c);

		bits = little ? __builtin_bswap64(bits) : bits;
		buf_bytes(points, &bits, 8);
	}
	return points->n > 0;
}

static bool
shape_text(struct slice wkb, struct slice what, bool closed, struct buf *points, struct buf *out)
{
	bool line = slice_is(what, "lseg") || slice_is(what, "path"), open = slice_is(what, "lseg") || (line && !closed);
	struct slice s;

	if (!wkb_points(wkb, line ? WKB_LINE : WKB_POLYGON, points))
		return false;
	s = buf_view(points);
	if (slice_is(what, "box")) {
		if (s.n != 5 * 16)
			return false;
		put_point(out, at(s, 0), at(s, 1));
		buf_byte(out, ',');
		put_point(out, at(s, 4), at(s, 5));
		return true;
	}
	if (!line && ends_where_it_began(s))
		s.n -= 16;
	buf_byte(out, open ? '[' : '(');
	put_points(out, s);
	buf_byte(out, open ? ']' : ')');
	return true;
}

/* ---- PostGIS ---- */

static int
nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* wkb and srid of a text in hex. */
static bool
ewkb_read(struct slice text, struct buf *out)
{
	size_t from;
	uint32_t type, srid;
	const char *p;

	if (text.n < 18 || text.n % 2)
		return false;
	buf_long(out, (int64_t)(text.n / 2));
	from = out->n;
	for (size_t i = 0; i < text.n; i += 2) {
		int high = nibble(text.p[i]), low = nibble(text.p[i + 1]);

		if (high < 0 || low < 0)
			return false;
		buf_byte(out, (uint8_t)(high << 4 | low));
	}
	if (out->failed)
		return false;
	p = out->p + from;
	type = be32(p + 1);
	srid = be32(p + 5);
	if (*p) {
		type = __builtin_bswap32(type);
		srid = __builtin_bswap32(srid);
	}
	buf_long(out, (type & EWKB_SRID) != 0);
	if (type & EWKB_SRID)
		buf_long(out, (int32_t)srid);
	return true;
}

static void
put_hex(struct buf *out, const char *p, size_t n)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < n; i++) {
		buf_byte(out, (uint8_t)hex[(uint8_t)p[i] >> 4]);
		buf_byte(out, (uint8_t)hex[p[i] & 15]);
	}
}

/* Of another source the SRID may stand beside the bytes only. */
static bool
ewkb_text(struct slice wkb, int64_t srid, struct buf *out)
{
	bool little = wkb.n && *wkb.p;
	char own[8];
	uint32_t words[2];

	if (wkb.n < 5)
		return false;
	words[0] = be32(wkb.p + 1);
	if (little)
		words[0] = __builtin_bswap32(words[0]);
	if (!srid || srid != (int32_t)srid || words[0] & EWKB_SRID) {
		put_hex(out, wkb.p, wkb.n);
		return true;
	}
	words[0] |= EWKB_SRID;
	words[1] = (uint32_t)srid;
	for (int i = 0; i < 8; i++)
		own[i] = (char)(words[i / 4] >> 8 * (little ? i % 4 : 3 - i % 4));
	put_hex(out, wkb.p, 1);
	put_hex(out, own, sizeof own);
	put_hex(out, wkb.p + 5, wkb.n - 5);
	return true;
}

bool
geography_read(struct slice text, uint32_t oid UNUSED, struct buf *out)
{
	return ewkb_read(text, out);
}

bool
geography_text(struct cursor *c, struct buf *out)
{
	struct slice wkb = cursor_avro_bytes(c);
	int64_t srid = cursor_long(c) == 1 ? cursor_long(c) : 0;

	return !c->bad && ewkb_text(wkb, srid, out);
}

bool
geometry_read(struct slice text, uint32_t oid, struct buf *out)
{
	struct words w = words_of(text);
	struct buf points = { 0 }, ring = { 0 };
	bool ok;

	if (oid < LSEG || oid > POLYGON) {
		ok = ewkb_read(text, out);
		buf_long(out, 0);
		return ok;
	}
	ok = shape_read(&w, oid, &points, &ring, out) && !points.failed && !ring.failed;
	buf_free(&points);
	buf_free(&ring);
	return ok;
}

bool
geometry_text(struct cursor *c, struct buf *out)
{
	struct slice wkb = cursor_avro_bytes(c), what = { "", 0 };
	int64_t srid = cursor_long(c) == 1 ? cursor_long(c) : 0;
	struct buf points = { 0 };
	uint64_t left = 0;
	bool closed = false, ok;

	if (cursor_long(c) == 1)
		while (compound_next(c, &left)) {
			struct slice key = cursor_avro_bytes(c), value = cursor_avro_bytes(c);

			if (slice_is(key, "type"))
				what = value;
			else if (slice_is(key, "closed"))
				closed = slice_is(value, "true");
		}
	if (c->bad)
		return false;
	if (!slice_is(what, "box") && !slice_is(what, "lseg") && !slice_is(what, "path") && !slice_is(what, "polygon"))
		return ewkb_text(wkb, srid, out);
	ok = shape_text(wkb, what, closed, &points, out);
	buf_free(&points);
	return ok;
}
