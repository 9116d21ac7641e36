/*
 * json_avro.h - JSON documents as Avro records whose schema is what the documents showed so far.
 *
 *   object        record; a member is a nullable field, in the order in which they came; one that was only null has none yet
 *   array         array of nullable items; "null" while none was seen
 *   number        long; double once one had a fraction or an exponent
 *   string, true  string, boolean
 *
 * A shape only grows: by fields that are nullable, by null becoming something, by long becoming double. So each schema reads
 * what those before it wrote (BACKWARD), and a document that has less than others needs none of its own. What contradicts it is refused.
 */
#ifndef SCHEMAS_JSON_AVRO_H
#define SCHEMAS_JSON_AVRO_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"

#include <jansson.h>

enum { JSON_SHAPE_DEPTH = 32, JSON_SHAPE_FIELDS = 500 };

struct json_shape;

/* Of nothing seen yet; and a copy. In a. */
struct json_shape *json_shape_new(struct arena *a);
struct json_shape *json_shape_copy(const struct json_shape *s, struct arena *a);

/*
 * Let it be that of doc too. *wider: it was not. REJECT: something is of another kind than before (where, and what it was), two members
 * would be one field, a number loses digits, or it is deeper or has more fields than the limits; s may have grown then, and is of no use.
 * a: s's.
 */
enum rc json_shape_add(struct json_shape *s, const json_t *doc, struct arena *a, bool *wider, struct err *err) MUST_CHECK;

/* Does it hold doc as it is? */
bool json_shape_holds(const struct json_shape *s, const json_t *doc);

/* Was nothing seen but null? Its schema is "null" then. */
bool json_shape_is_null(const struct json_shape *s);

/* Its schema as JSON, appended: what stands for a type. ns, name: of a record at the top; names below follow from them. */
void json_shape_schema(const struct json_shape *s, const char *ns, const char *name, struct buf *out);

/* doc in Avro, appended; the shape holds it. */
void json_shape_put(const struct json_shape *s, const json_t *doc, struct buf *out);

/* The shape behind a schema that json_shape_schema made, wherever it stands. REJECT: it is no such schema. */
enum rc json_shape_take(const json_t *schema, struct arena *a, struct json_shape **out, struct err *err) MUST_CHECK;

#endif
