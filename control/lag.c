#include "control/lag.h"

/* The sample goes whose neighbours are closest, never the oldest nor the newest: what stays is spread evenly. */
static void
thin(struct lag *l)
{
	int which = 1;

	for (int i = 2; i < l->n - 1; i++)
		if (l->samples[i + 1].us - l->samples[i - 1].us <
		    l->samples[which + 1].us - l->samples[which - 1].us)
			which = i;
	l->n--;
	memmove(&l->samples[which], &l->samples[which + 1],
	    (size_t)(l->n - which) * sizeof l->samples[0]);
}

static void
forget(struct lag *l, uint64_t mine)
{
	int passed = 0;

	while (passed < l->n && l->samples[passed].at <= mine)
		passed++;
	if (passed)
		l->estimated = false;
	l->n -= passed;
	for (int i = 0; i < l->n; i++)
		l->samples[i] = l->samples[i + passed];
}

void
lag_note(struct lag *l, uint64_t front, int64_t front_us, uint64_t mine, int64_t mine_us)
{
	bool first = !l->begun;

	l->begun = true;
	forget(l, mine);
	if (l->estimated && mine_us)
		l->samples[0].us = mine_us;
	if (front <= mine || (l->n && l->samples[l->n - 1].at >= front))
		return;
	if (l->n == LAG_SAMPLES)
		thin(l);
	l->estimated = l->estimated || first;
	l->samples[l->n].at = front;
	l->samples[l->n++].us = first && mine_us < front_us ? mine_us : front_us;
}

int64_t
lag_us(const struct lag *l, uint64_t mine, int64_t now_us)
{
	for (int i = 0; i < l->n; i++)
		if (l->samples[i].at > mine) {
			if (!l->samples[i].us)
				return -1;
			return now_us > l->samples[i].us ? now_us - l->samples[i].us : 0;
		}
	return 0;
}
