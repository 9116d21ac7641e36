/*
 * suggest.h - "did you mean": the known word nearest to a misspelt one.
 *
 * Offer every known word, then look at `best`: empty when none is near enough to be worth printing.
 */
#ifndef CORE_SUGGEST_H
#define CORE_SUGGEST_H

#include "core/base.h"

struct suggestion {
	struct slice word; /* as the user wrote it */
	struct slice best; /* points into the offered word */
	unsigned distance; /* of best; meaningless while best is empty */
};

void suggest_offer(struct suggestion *s, struct slice known);

/* Insertions, deletions, replacements and swaps of neighbours (optimal string alignment); words beyond 63 bytes: UINT_MAX. */
unsigned suggest_distance(struct slice a, struct slice b);

#endif
