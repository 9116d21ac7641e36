/*
 * lite.h - values of a SQLite source: their storage class, where it is not the one of the column's wire type.
 *
 * value.exact then begins with LITE_MARK, a byte that no text of PostgreSQL's begins with, and the class's letter. Behind them stands
 * the value where the wire form has it not (schemas/README.md, "SQLite's storage classes").
 */
#ifndef SCHEMAS_LITE_H
#define SCHEMAS_LITE_H

#include "core/arena.h"
#include "core/err.h"
#include "core/table.h"
#include "core/value.h"

enum { LITE_MARK = 1 };

#define LITE_INTEGER 'i'
#define LITE_REAL    'r'
#define LITE_TEXT    't'
#define LITE_BLOB    'b'
#define LITE_OCTETS  'o' /* text that is not UTF-8 */

/* The semantic name of a column that takes any class: NUMERIC, no type, STRICT's ANY. */
#define LITE_ANY "io.towline.sqlite.Any"

enum affinity { AFFINITY_INTEGER, AFFINITY_TEXT, AFFINITY_BLOB, AFFINITY_REAL, AFFINITY_NUMERIC };

/* Of a declared type, not in a STRICT table (SQLite documentation, "Determination Of Column Affinity"). */
enum affinity lite_affinity(const char *declared);

static inline bool
lite_is_any(const struct wire_type *w)
{
	return w->semantic && strcmp(w->semantic, LITE_ANY) == 0;
}

/* Is it a value with a class of its own? */
static inline bool
lite_is_classed(const struct value *v)
{
	return v->exact.n >= 2 && v->exact.p[0] == LITE_MARK;
}

/* "a blob"; for messages. */
const char *lite_class_name(char class);

/* A value of the class in a column of the wire type (W_INT64, W_DOUBLE, W_STRING, W_BYTES); s: its bytes, or the text of a number. */
struct value lite_value(enum wire wire, char class, struct slice s, struct arena *a);

/*
 * The class's letter of a classed value, and its bytes or the text of a number. REJECT: malformed.
 */
enum rc lite_class(const struct value *v, struct arena *a, char *class, struct slice *s, struct err *err) MUST_CHECK;

/* As SQLite would print it, and exact: 1.0, 0.1, -1.5e+300, Inf. */
struct slice lite_real_text(double d, struct arena *a);

#endif
