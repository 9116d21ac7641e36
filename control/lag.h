/*
 * lag.h - how far behind somebody is, in time: from samples of where the one in front was, and when. Pure.
 *
 * "The commit time of the last transaction less mine" tells nothing about one who stands still while nothing new is committed.
 * So each sample of the front is kept until the follower has passed it; the lag is the age of the oldest that it has not. When
 * there are too many samples one goes, never the oldest: so the lag of one who stands still is exact however long that takes.
 */
#ifndef CONTROL_LAG_H
#define CONTROL_LAG_H

#include "core/base.h"

enum { LAG_SAMPLES = 128 };

struct lag {
	struct {
		uint64_t at;
		int64_t us;
	} samples[LAG_SAMPLES]; /* oldest first, at growing */
	int n;
	bool begun;	/* some sample has come */
	bool estimated; /* the oldest is from before we looked: that it is behind is known, since when is not */
};

/*
 * The front is at `front` since front_us (when it was committed there, or seen), the follower at `mine`, which was committed
 * at mine_us (0: it has nothing). One that was behind when we began to look is taken to be so since what it has, until it has
 * passed where the front was then.
 */
void lag_note(struct lag *l, uint64_t front, int64_t front_us, uint64_t mine, int64_t mine_us);

/* How long the follower at `mine` has been behind; 0: it is not; -1: it is, and has nothing yet that would tell. */
int64_t lag_us(const struct lag *l, uint64_t mine, int64_t now_us);

#endif
