/*
 * arena.h - memory that dies together: one arena per lifetime (process, table version, batch).
 *
 * Nothing is freed piece by piece. Built with ASan, every allocation is a chunk of its own, so that
 * an overrun inside the arena is seen. Start with a zeroed struct; no init is needed.
 */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include "core/base.h"

struct arena_chunk;
struct arena {
	struct arena_chunk *head; /* the chunk that is being filled; older ones behind it */
	size_t used;              /* bytes handed out since the last reset */
};

/* Zeroed bytes, aligned to 16, that live until arena_reset or arena_free. Dies when out of memory. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((malloc, alloc_size(2), returns_nonnull));

/* Bytes that are not zeroed: for buffers that are written at once. */
void *arena_raw(struct arena *a, size_t n) __attribute__((malloc, alloc_size(2), returns_nonnull));

/* n elements of size bytes each; dies on overflow. */
void *arena_array(struct arena *a, size_t n, size_t size) __attribute__((malloc, alloc_size(2, 3), returns_nonnull));

/* Copies; the text copies end in a NUL that the slice does not count. */
char *arena_text(struct arena *a, struct slice s);
struct slice arena_slice(struct arena *a, struct slice s);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Forget everything; keeps one chunk for the next round. */
void arena_reset(struct arena *a);

/* Give the memory back; the struct is zeroed and may be used again. */
void arena_free(struct arena *a);

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))

#endif
