#include "core/heap.h"

#include <malloc.h>

enum { LOOK_MS = 1000 };

void
heap_trim(int64_t *looked_ms, int64_t now_ms, int64_t most)
{
	if (now_ms - *looked_ms < LOOK_MS)
		return;
	*looked_ms = now_ms;
#ifdef __GLIBC__
	if ((int64_t)mallinfo2().fordblks > most)
		malloc_trim(0);
#else
	(void)most;
#endif
}
