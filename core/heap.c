#include "core/heap.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

/* Of this process, in memory now and in no file (proc(5), statm: resident less shared); 0: not known. */
static int64_t
resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long all, shared;
	int64_t bytes = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%*d %ld %ld", &all, &shared) == 2)
		bytes = (int64_t)(all - shared) * sysconf(_SC_PAGESIZE);
	fclose(f);
	return bytes;
}

void
heap_trim(int64_t *looked_ms, int64_t now_ms, int64_t most)
{
	if (now_ms - *looked_ms < LOOK_MS)
		return;
	*looked_ms = now_ms;
#ifdef __GLIBC__
	struct mallinfo2 m = mallinfo2();

	/* fordblks counts what was given back, too: the pages are gone, the places stay. */
	if ((int64_t)m.fordblks > most && resident() - (int64_t)(m.uordblks + m.hblkhd) > most)
		malloc_trim(0);
#else
	(void)most;
#endif
}
