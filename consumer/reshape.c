#include "consumer/reshape.h"
#include "core/pg.h"
#include "schemas/lite.h"
#include "schemas/pgtypes.h"

#include <stdlib.h>
#include <strings.h>

/* ---- names ---- */

static bool
is_here(const char *const *have, const bool *gone, int n, struct slice name)
{
	for (int i = 0; i < n; i++)
		if (!gone[i] && slice_is(name, have[i]))
			return true;
	return false;
}

static bool
moved_already(const struct reshape_move *out, int n, int col)
{
	for (int i = 0; i < n; i++)
		if (out[i].col == col)
			return true;
	return false;
}

/* One column whose old name is there and whose new one is free; -1: none. */
static int
next_move(const struct table *tbl, const char *const *have, const bool *gone, int n,
    const struct reshape_move *out, int nout, int *from)
{
	for (int i = 0; i < tbl->ncols; i++) {
		const struct column *c = &tbl->cols[i];

		if (!c->was.n || moved_already(out, nout, i) || is_here(have, gone, n, c->name))
			continue;
		for (*from = 0; *from < n; ++*from)
			if (!gone[*from] && slice_is(c->was, have[*from]))
				return i;
	}
	return -1;
}

/* Does the chain of old names lead back to the column? */
static bool
in_circle(const struct table *tbl, int col)
{
	int at = col;

	for (int i = 0; i < tbl->ncols; i++) {
		if (!tbl->cols[at].was.n)
			return false;
		at = table_column(tbl, tbl->cols[at].was);
		if (at < 0)
			return false;
		if (at == col)
			return true;
	}
	return false;
}

/*
 * A column whose new name is taken though the version begins only here. Had the rename been done, before a crash, the old name would be
 * free: unless the version has a column of that name, too.
 */
static enum rc
check_free(const struct table *tbl, const char *name, const char *const *have, const bool *gone, int n,
    const struct reshape_move *out, int nout, struct err *err)
{
	struct arena a = { 0 };
	enum rc rc = OK;

	for (int i = 0; i < tbl->ncols && rc == OK; i++) {
		const struct column *c = &tbl->cols[i];

		if (!c->name.n || !c->was.n || moved_already(out, nout, i) || table_column(tbl, c->was) >= 0 ||
		    !is_here(have, gone, n, c->name) || !is_here(have, gone, n, c->was))
			continue;
		const char *to = pg_ident(&a, c->name), *from = pg_ident(&a, c->was);

		rc = fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s: column %s is called %s at the source now, and this sink has another column of that name, which the source"
		    " has dropped or never had; drop that one, or give it another name, then rename:"
		    " ALTER TABLE %s DROP COLUMN %s; ALTER TABLE %s RENAME COLUMN %s TO %s",
		    name, from, to, name, to, name, from, to);
	}
	arena_free(&a);
	return rc;
}

enum rc
reshape_moves(const struct table *tbl, const char *name, bool begins, const char *const *have, int n,
    struct reshape_move *out, int *nout, struct err *err)
{
	bool *gone = calloc((size_t)n + 1, sizeof *gone);
	int col, from;
	enum rc rc = OK;

	if (!gone)
		die("out of memory");
	*nout = 0;
	for (int i = 0; i < tbl->ncols && rc == OK; i++)
		if (in_circle(tbl, i))
			rc = fail_exit(err, FATAL, EXIT_REFUSED,
			    "table %.*s.%.*s: columns have swapped their names at the source (%.*s was %.*s);"
			    " do the same at the sink, and start once with on_schema_change: ignore",
			    SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name),
			    SLICE_ARG(tbl->cols[i].name), SLICE_ARG(tbl->cols[i].was));
	while (rc == OK && (col = next_move(tbl, have, gone, n, out, *nout, &from)) >= 0) {
		out[(*nout)++] = (struct reshape_move){ have[from], col };
		gone[from] = true;
	}
	if (rc == OK && begins)
		rc = check_free(tbl, name, have, gone, n, out, *nout, err);
	free(gone);
	return rc;
}

/* ---- PostgreSQL's types ---- */

static int
int_bytes(uint32_t oid)
{
	return oid == PG_INT2 ? 2 : oid == PG_INT4 ? 4 : oid == PG_INT8 ? 8 : 0;
}

static int
wire_bytes(const struct wire_type *w)
{
	if (w->semantic)
		return 0;
	return w->wire == W_INT16 ? 2 : w->wire == W_INT32 ? 4 : w->wire == W_INT64 ? 8 : 0;
}

static bool
means(const struct wire_type *w, const char *semantic)
{
	return w->semantic && strcmp(w->semantic, semantic) == 0;
}

static enum fit
widen(const char **to, const char *type)
{
	*to = type;
	return FIT_WIDEN;
}

/* An integer at the source. */
static enum fit
fit_int(int bytes, uint32_t oid, const char **to)
{
	if (int_bytes(oid) && int_bytes(oid) < bytes)
		return widen(to, bytes == 8 ? "bigint" : "integer");
	/* It would be rounded without a word. */
	return (oid == PG_FLOAT4 && bytes > 2) || (oid == PG_FLOAT8 && bytes > 4) ? FIT_NOT
										  : FIT_AS_IS;
}

static enum fit
fit_float(const struct wire_type *w, uint32_t oid, const char **to)
{
	bool twice = w->wire == W_DOUBLE;
	int bytes = int_bytes(oid);

	if (twice && (oid == PG_FLOAT4 || (bytes && bytes < 8)))
		return widen(to, "double precision");
	if (!twice && bytes == 2)
		return widen(to, "real");
	return bytes ? FIT_NOT : FIT_AS_IS;
}

static enum fit
fit_decimal(
    const struct wire_type *w, const struct reshape_pg *have, struct arena *a, const char **to)
{
	int precision = (have->typmod - 4) >> 16 & 0xffff,
	    scale = (((have->typmod - 4) & 0x7ff) ^ 1024) - 1024;
	bool bounded = w->wire == W_DECIMAL && w->precision > 0;
	int whole = w->precision - w->scale;

	if (int_bytes(have->oid))
		return widen(to,
		    bounded ? arena_printf(a, "numeric(%d,%d)", w->precision, w->scale)
			    : "numeric");
	if (have->oid == PG_FLOAT4 || have->oid == PG_FLOAT8)
		return FIT_NOT;
	if (have->oid != PG_NUMERIC || have->typmod < 4)
		return FIT_AS_IS;
	if (!bounded)
		return widen(to, "numeric");
	if (whole <= precision - scale && w->scale <= scale)
		return FIT_AS_IS;
	whole = whole > precision - scale ? whole : precision - scale;
	scale = scale > w->scale ? scale : w->scale;
	return widen(to, arena_printf(a, "numeric(%d,%d)", whole + scale, scale));
}

enum { LENGTH_MAX = 10485760 }; /* the most that PostgreSQL declares */

/* n of "character varying(n)" and "character(n)"; 0: anything else. It comes from a schema, which anybody may have written. */
static int
length_of(struct slice type_name, bool *fixed)
{
	static const char *const words[] = { "character varying(", "character(" };
	long n = 0;
	size_t at;

	for (int i = 0; i < 2; i++) {
		at = strlen(words[i]);
		*fixed = i == 1;
		if (type_name.n <= at || memcmp(type_name.p, words[i], at) != 0)
			continue;
		while (at < type_name.n && type_name.p[at] >= '0' && type_name.p[at] <= '9' && n <= LENGTH_MAX)
			n = n * 10 + type_name.p[at++] - '0';
		return at + 1 == type_name.n && type_name.p[at] == ')' && n <= LENGTH_MAX ? (int)n : 0;
	}
	return 0;
}

/* varchar(n) or char(n) at the sink. Without a length in the schema it is known only from a version before that had one. */
static enum fit
fit_length(const struct column *c, const struct column *before, const struct reshape_pg *have,
    struct arena *a, const char **to)
{
	bool fixed, old_fixed;
	int n = length_of(c->type_name, &fixed);

	if (have->typmod < 4)
		return FIT_AS_IS;
	if (n > have->typmod - 4 || (n && have->oid == PG_BPCHAR && !fixed))
		return widen(to, arena_printf(a, "character%s(%d)", fixed ? "" : " varying", n));
	return !n && before && length_of(before->type_name, &old_fixed) ? widen(to, "text") : FIT_AS_IS;
}

/* Text at the source: what else can hold any of it as it is? */
static enum fit
fit_text(const struct column *c, const struct column *before, const struct reshape_pg *have,
    struct arena *a, const char **to)
{
	static const uint32_t other[] = { PG_INT2, PG_INT4, PG_INT8, PG_NUMERIC, PG_BOOL, PG_FLOAT4,
		PG_FLOAT8, PG_UUID, PG_DATE };
	bool was_enum = before && means(&before->type, "io.debezium.data.Enum");

	if (have->oid == PG_VARCHAR || have->oid == PG_BPCHAR)
		return fit_length(c, before, have, a, to);
	/* Of a type that we print as text, not one that is text. */
	if (c->type.source_type)
		return FIT_AS_IS;
	for (size_t i = 0; i < COUNTOF(other); i++)
		if (have->oid == other[i])
			return widen(to, "text");
	if (have->oid == PG_TIMESTAMP || have->oid == PG_TIMESTAMPTZ || have->oid == PG_TIME ||
	    have->oid == PG_TIMETZ || have->oid == PG_INTERVAL)
		return FIT_NOT; /* how the source printed them is not known */
	return was_enum && have->typtype == 'e' ? widen(to, "text") : FIT_AS_IS;
}

enum zone { ZONE_NONE, ZONE_LOCAL, ZONE_TOLD };

/* Does a time say which moment it is, or what a clock on some wall shows? */
static enum zone
zone_of(const struct wire_type *w)
{
	static const char *const local[] = { "io.debezium.time.Timestamp", "io.debezium.time.MicroTimestamp",
		"io.debezium.time.NanoTimestamp", "io.debezium.time.Time", "io.debezium.time.MicroTime", "io.debezium.time.NanoTime",
		"io.debezium.time.IsoTimestamp", "io.debezium.time.IsoTime" };

	w = w->plain ? w->plain : w;
	if (means(w, "io.debezium.time.ZonedTimestamp") || means(w, "io.debezium.time.ZonedTime"))
		return ZONE_TOLD;
	for (size_t i = 0; i < COUNTOF(local); i++)
		if (means(w, local[i]))
			return ZONE_LOCAL;
	return ZONE_NONE;
}

/* The sink's column is of the other kind: a value would lose its zone, or be given one, without a word. */
static bool
is_other_zone(const struct wire_type *w, const struct reshape_pg *have)
{
	switch (zone_of(w)) {
	case ZONE_LOCAL:
		return have->oid == PG_TIMESTAMPTZ || have->oid == PG_TIMETZ;
	case ZONE_TOLD:
		return have->oid == PG_TIMESTAMP || have->oid == PG_TIME;
	case ZONE_NONE:
		break;
	}
	return false;
}

static enum fit
fit_time(const struct wire_type *w, const struct reshape_pg *have, const char **to)
{
	bool coarse = have->typmod >= 0 && have->typmod <= 3;

	if (have->oid == PG_DATE &&
	    (means(w, "io.debezium.time.MicroTimestamp") || means(w, "io.debezium.time.Timestamp")))
		return widen(to, "timestamp without time zone");
	if (coarse && have->oid == PG_TIMESTAMP && means(w, "io.debezium.time.MicroTimestamp"))
		return widen(to, "timestamp without time zone");
	if (coarse && have->oid == PG_TIME && means(w, "io.debezium.time.MicroTime"))
		return widen(to, "time without time zone");
	return FIT_AS_IS;
}

enum fit
reshape_pg_type(const struct column *c, const struct column *before, const struct reshape_pg *have,
    struct arena *a, const char **to)
{
	const struct wire_type *w = c->type.plain ? c->type.plain : &c->type;
	enum fit fit = FIT_AS_IS;

	*to = pgtype_create(w, c->type_name, a);
	if (have->typtype == 'd')
		return FIT_AS_IS; /* a domain is its owner's */
	/* Which the sink's owner may have wanted; but not that it begins in the midst of the rows. */
	if ((before ? zone_of(&before->type) != zone_of(w) : have->begins) && is_other_zone(w, have))
		return FIT_NOT;
	if (wire_bytes(w))
		fit = fit_int(wire_bytes(w), have->oid, to);
	else if ((w->wire == W_FLOAT || w->wire == W_DOUBLE) && !w->semantic)
		fit = fit_float(w, have->oid, to);
	else if (w->wire == W_DECIMAL || w->wire == W_VARDECIMAL)
		fit = fit_decimal(w, have, a, to);
	else if (w->wire == W_STRING && !w->semantic)
		fit = fit_text(c, before, have, a, to);
	else if (w->wire == W_INT32 || w->wire == W_INT64)
		fit = fit_time(w, have, to);
	return fit;
}

/* ---- SQLite's ---- */

/* A column of numbers makes numbers of texts that look like one: of '007' a 7, of a long decimal a double. */
enum fit
reshape_lite_type(const struct column *c, const struct column *before, const char *declared,
    const char **to, const char **using)
{
	enum affinity have = lite_affinity(declared);
	bool text = strcmp(sqlite_create(&c->type), "TEXT") == 0;

	*to = sqlite_create(&c->type);
	*using = "%s";
	if (have == AFFINITY_REAL && wire_bytes(&c->type) == 8)
		return FIT_NOT;
	if (!text || have == AFFINITY_TEXT || have == AFFINITY_BLOB)
		return FIT_AS_IS;
	if (before && wire_bytes(&before->type)) {
		*using = "CAST(%s AS TEXT)";
		return FIT_WIDEN;
	}
	if (before && before->type.wire == W_BOOL) {
		*using = "CASE %s WHEN 1 THEN 'true' WHEN 0 THEN 'false' END";
		return FIT_WIDEN;
	}
	/* 0.1 has more than one text. A DATE or a DECIMAL that somebody declared so is his choice. */
	return c->type.wire == W_STRING && !c->type.semantic && !c->type.source_type ? FIT_NOT
										     : FIT_AS_IS;
}
