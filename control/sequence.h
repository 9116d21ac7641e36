/*
 * sequence.h - the sequences of a source and of a PostgreSQL sink, which logical decoding does not carry: compared, and moved forward. For
 * `towline sequence` and `verify`.
 */
#ifndef CONTROL_SEQUENCE_H
#define CONTROL_SEQUENCE_H

#include "core/conf.h"

enum sequence_state { SEQUENCE_EQUAL = 0, SEQUENCE_AHEAD, SEQUENCE_BEHIND, SEQUENCE_MISSING };
const char *sequence_state_name(enum sequence_state s);

struct sequence_found {
	const char *sink, *name;     /* "schema.name", the source's */
	enum sequence_state state;
	bool used, used_there;       /* it gave out values: */
	int64_t last, last_there;
	bool set;                    /* it had to be moved, or made */
};

/* A sink that takes over would give out values twice. */
static inline bool
sequence_is_less(const struct sequence_found *f)
{
	return f->state == SEQUENCE_BEHIND || f->state == SEQUENCE_MISSING;
}

struct buf;

/* The last value of one that is there: `unused` for one that gave out none. "none": it is not there. */
void sequence_put_last(struct buf *b, bool there, bool used, int64_t last, const char *unused);

struct sequence_how {
	bool copy, create; /* else nothing is changed */
	int64_t ahead;     /* values to pass over */
};

struct sequences; /* of a source */

/* List them; in a, but for the connection, which sequences_close ends. FATAL: one may not be read. */
enum rc sequences_open(const struct conf *conf, struct arena *a, struct sequences **out, struct err *err) MUST_CHECK;
void sequences_close(struct sequences *w);

/* Those of one sink, wholly or not at all; *found with room for all in a. */
enum rc sequences_treat(struct sequences *w, const struct conf_sink *sink, const struct sequence_how *how, struct sequence_found **found,
    int *n, struct err *err) MUST_CHECK;

#endif
