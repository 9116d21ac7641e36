/*
 * heap.h - the C library's heap, given back.
 *
 * Small blocks that one thread makes and another frees out of order (librdkafka's, one for each record) leave a heap full of holes: glibc
 * gives back only what is free at its end, so a process that was busy for long would keep several times what it uses.
 */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include "core/base.h"

/*
 * What is free inside the heap goes back to the system when it is more than `most` bytes. Looks once a second; *looked_ms: the
 * caller's, when it was last.
 */
void heap_trim(int64_t *looked_ms, int64_t now_ms, int64_t most);

#endif
