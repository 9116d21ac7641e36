#include "core/suggest.h"

#include <limits.h>
#include <strings.h>

enum { WORD_MAX = 63 };

static unsigned
min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

unsigned
suggest_distance(struct slice a, struct slice b)
{
	unsigned rows[3][WORD_MAX + 1], *two = rows[0], *one = rows[1], *now = rows[2], *spare;

	if (a.n > WORD_MAX || b.n > WORD_MAX)
		return UINT_MAX;
	for (unsigned j = 0; j <= b.n; j++)
		one[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		now[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned differ = a.p[i - 1] != b.p[j - 1];

			now[j] = min3(one[j] + 1, now[j - 1] + 1, one[j - 1] + differ);
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] && two[j - 2] + 1 < now[j])
				now[j] = two[j - 2] + 1;
		}
		spare = two;
		two = one;
		one = now;
		now = spare;
	}
	return one[b.n];
}

void
suggest_offer(struct suggestion *s, struct slice known)
{
	unsigned d;

	if (s->word.n == known.n && strncasecmp(s->word.p, known.p, known.n) == 0)
		d = 0;
	else
		d = suggest_distance(s->word, known);
	/* A third of the letters may be wrong; beyond that a guess only misleads. */
	if (d > (s->word.n + 2) / 3 || d >= known.n || (s->best.n && d >= s->distance))
		return;
	s->best = known;
	s->distance = d;
}
