/*
 * compound_impl.h - the pairs of functions of compound.c's table (compound.h says what they do). Nobody else includes it.
 */
#ifndef SCHEMAS_COMPOUND_IMPL_H
#define SCHEMAS_COMPOUND_IMPL_H

#include "schemas/compound.h"

/* Text that is read from its start; a shortfall sticks. */
struct words {
	const char *p, *end;
	bool bad;
};

static inline struct words
words_of(struct slice s)
{
	return (struct words){ s.p, s.n ? s.p + s.n : s.p, false };
}

static inline bool
words_have(const struct words *w, char c)
{
	return w->p < w->end && *w->p == c;
}

static inline void
words_take(struct words *w, char c)
{
	if (words_have(w, c))
		w->p++;
	else
		w->bad = true;
}

static inline bool
words_done(const struct words *w)
{
	return !w->bad && w->p == w->end;
}

/* A number as PostgreSQL prints it, up to what cannot be part of one. single: to the nearest float. */
double words_number(struct words *w, bool single);

/* The next one of an array or map that stands in blocks; false: it has ended, or is malformed. *left begins as 0. */
bool compound_next(struct cursor *c, uint64_t *left);

void compound_put_double(struct buf *out, double d);

bool point_read(struct slice text, uint32_t oid, struct buf *out);
bool point_text(struct cursor *c, struct buf *out);
bool line_read(struct slice text, uint32_t oid, struct buf *out);
bool line_text(struct cursor *c, struct buf *out);
bool circle_read(struct slice text, uint32_t oid, struct buf *out);
bool circle_text(struct cursor *c, struct buf *out);
bool geometry_read(struct slice text, uint32_t oid, struct buf *out);
bool geometry_text(struct cursor *c, struct buf *out);
bool geography_read(struct slice text, uint32_t oid, struct buf *out); /* and Geometry as it was before box and the like */
bool geography_text(struct cursor *c, struct buf *out);
bool vector_read(struct slice text, uint32_t oid, struct buf *out);
bool vector_text(struct cursor *c, struct buf *out);
bool halfvec_read(struct slice text, uint32_t oid, struct buf *out);
bool halfvec_text(struct cursor *c, struct buf *out);
bool sparsevec_read(struct slice text, uint32_t oid, struct buf *out);
bool sparsevec_text(struct cursor *c, struct buf *out);
bool hstore_read(struct slice text, uint32_t oid, struct buf *out);
bool hstore_text(struct cursor *c, struct buf *out);

#endif
