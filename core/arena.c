#include "core/arena.h"
#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define CHUNK_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHUNK_EACH 1
#endif
#endif
#ifndef CHUNK_EACH
#define CHUNK_EACH 0
#endif

enum { CHUNK_MIN = 16 * 1024, CHUNK_KEEP_MAX = 4 * 1024 * 1024 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	_Alignas(16) char bytes[];
};

static struct arena_chunk *
chunk_add(struct arena *a, size_t n)
{
	size_t size = n;
	struct arena_chunk *c;

	if (!CHUNK_EACH) {
		size = a->head ? a->head->size * 2 : CHUNK_MIN;
		if (size > CHUNK_KEEP_MAX)
			size = CHUNK_KEEP_MAX;
		if (size < n)
			size = n;
	}
	c = malloc(sizeof *c + size);
	if (!c)
		die("out of memory: %zu bytes", size);
	*c = (struct arena_chunk){ .next = a->head, .size = size };
	a->head = c;
	return c;
}

void *
arena_raw(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->head;
	size_t take = CHUNK_EACH ? (n ? n : 1) : (n + 15) & ~(size_t)15;
	void *p;

	if (n > SIZE_MAX / 2)
		die("allocation of %zu bytes", n);
	if (!c || CHUNK_EACH || c->size - c->used < take)
		c = chunk_add(a, take);
	p = c->bytes + c->used;
	c->used += take;
	a->used += take;
	return p;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	void *p = arena_raw(a, n);

	return memset(p, 0, n);
}

void *
arena_array(struct arena *a, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		die("array of %zu times %zu bytes", n, size);
	return arena_alloc(a, bytes);
}

char *
arena_text(struct arena *a, struct slice s)
{
	char *p = arena_raw(a, s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct slice
arena_slice(struct arena *a, struct slice s)
{
	return (struct slice){ arena_text(a, s), s.n };
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		die("bad format \"%s\"", fmt);
	p = arena_raw(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk *keep = a->head;

	a->used = 0;
	if (!keep)
		return;
	for (struct arena_chunk *c = keep->next, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	keep->next = NULL;
	keep->used = 0;
	if (CHUNK_EACH || keep->size > CHUNK_KEEP_MAX) {
		free(keep);
		a->head = NULL;
	}
}

void
arena_free(struct arena *a)
{
	for (struct arena_chunk *c = a->head, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	*a = (struct arena){ 0 };
}
