/*
 * shape.h - what leaves the process of a table: columns.exclude, columns.mask, kafka.keys. Pure.
 *
 * The publisher asks once for each table version and sends every change through it, whatever the change comes from: a stream and
 * a snapshot alike need nothing more than to hand their changes, in the source's own shape, to publish_change. Who writes rows
 * by another way takes shape_table for the schema and shape_change for each row, before anything of it is written or logged.
 *
 * A masked value is the same for the same value, so that keys and joins hold: hash is HMAC-SHA-256 (RFC 2104) of the value's
 * text under columns.salt, in hex. NULL stays NULL, an unchanged TOAST value stays one.
 */
#ifndef PRODUCER_SHAPE_H
#define PRODUCER_SHAPE_H

#include "core/arena.h"
#include "core/conf.h"
#include "core/err.h"
#include "core/event.h"

struct shape;

/*
 * *out is NULL when the table goes as it is. All in a; tbl outlives it. texts: geometric types and the like go as text.
 * FATAL/EXIT_CONFIG: a key column is left out, or masked by other than hash; a column named without wildcards is none of tbl's; a mask does
 * not fit its type.
 */
enum rc shape_make(const struct conf *conf, const struct table *tbl, bool texts, struct arena *a,
    struct shape **out, struct err *err) MUST_CHECK;

/* Does it travel as a structure of Debezium's, where text would do? */
bool shape_is_structure(const struct column *col);

const struct table *shape_table(const struct shape *s);

/* Does the value of that column of tbl not leave as it is: left out, or masked? */
bool shape_hides(const struct shape *s, int col);

/* The change as it leaves; values in a. REJECT: a value has no text. */
enum rc shape_change(const struct shape *s, const struct change *ch, struct arena *a,
    struct change *out, struct err *err) MUST_CHECK;

#endif
