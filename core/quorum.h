/*
 * quorum.h - how many of which sinks must have a transaction, in the words of PostgreSQL's synchronous_standby_names.
 *
 *   a, b                 all of them
 *   ANY 2 (a, b, c)      any two
 *
 * FIRST is refused: it passes over standbys that are not connected, and of a sink nobody knows that.
 * PostgreSQL documentation, "synchronous_standby_names".
 */
#ifndef CORE_QUORUM_H
#define CORE_QUORUM_H

#include "core/arena.h"
#include "core/err.h"

enum { QUORUM_MAX = 64 };

struct quorum {
	int need;                      /* of the members */
	int nmembers;
	const char *members[QUORUM_MAX]; /* names of sinks; in the arena */
};

/* FATAL: not of one of the forms above, a name twice, or more needed than there are. No text (or ""): no members. */
enum rc quorum_parse(const char *text, struct arena *a, struct quorum *out, struct err *err) MUST_CHECK;

/*
 * By synchronous.mode and synchronous.sinks of a configuration: no members where commits wait for no sink; all sinks where none is named.
 * FATAL: as above, or too many.
 */
struct conf;
enum rc quorum_of(const struct conf *conf, struct arena *a, struct quorum *out, struct err *err) MUST_CHECK;

/* What enough members have reached, when member i has reached `at[i]`. */
uint64_t quorum_reached(const struct quorum *q, const uint64_t *at);

#endif
