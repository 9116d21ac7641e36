/*
 * frame.h - the bytes before an Avro body that say which schema wrote it.
 *
 *   Confluent:      00 | schema id, 4 bytes big-endian | body
 *   single object:  C3 01 | CRC-64-AVRO fingerprint, 8 bytes little-endian | body   (Avro specification)
 */
#ifndef SCHEMAS_FRAME_H
#define SCHEMAS_FRAME_H

#include "core/buf.h"

enum frame_kind { FRAME_NONE = 0, FRAME_CONFLUENT, FRAME_SINGLE };

struct frame {
	enum frame_kind kind;
	uint64_t id; /* schema id, or fingerprint */
};

void frame_put(struct buf *out, struct frame f);
size_t frame_size(struct frame f); /* bytes that it puts */

/* Split a message; FRAME_NONE when it begins with neither. */
struct frame frame_take(struct slice msg, struct slice *body);

#endif
