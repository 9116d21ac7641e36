#include "schemas/frame.h"
#include "core/cursor.h"

#include <assert.h>

enum { CONFLUENT_BYTES = 5, SINGLE_BYTES = 10 };

void
frame_put(struct buf *out, struct frame f)
{
	switch (f.kind) {
	case FRAME_NONE:
		return;
	case FRAME_CONFLUENT:
		assert(f.id <= UINT32_MAX);
		buf_byte(out, 0);
		buf_be32(out, (uint32_t)f.id);
		return;
	case FRAME_SINGLE:
		buf_bytes(out, "\xc3\x01", 2);
		buf_be64(out, __builtin_bswap64(f.id));
		return;
	}
}

size_t
frame_size(struct frame f)
{
	return f.kind == FRAME_CONFLUENT ? CONFLUENT_BYTES : f.kind == FRAME_SINGLE ? SINGLE_BYTES : 0;
}

struct frame
frame_take(struct slice msg, struct slice *body)
{
	struct frame f = { FRAME_NONE, 0 };
	size_t n = 0;

	if (msg.n >= CONFLUENT_BYTES && msg.p[0] == 0) {
		f = (struct frame){ FRAME_CONFLUENT, be32(msg.p + 1) };
		n = CONFLUENT_BYTES;
	} else if (msg.n >= SINGLE_BYTES && memcmp(msg.p, "\xc3\x01", 2) == 0) {
		f = (struct frame){ FRAME_SINGLE, __builtin_bswap64(be64(msg.p + 2)) };
		n = SINGLE_BYTES;
	}
	*body = n ? (struct slice){ msg.p + n, msg.n - n } : msg;
	return f;
}
