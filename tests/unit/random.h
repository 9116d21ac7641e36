/*
 * random.h - randomness of the property tests: one number replays a round.
 *
 * A test prints the seed of its first round; TOWLINE_SEED=n begins there, TOWLINE_ROUNDS=n sets how many. Round i has seed + i, and a
 * failed HOLDS names the seed of its round: TOWLINE_SEED=<that> TOWLINE_ROUNDS=1 repeats it alone. Include after cmocka.h.
 */
#ifndef TESTS_UNIT_RANDOM_H
#define TESTS_UNIT_RANDOM_H

#include "core/base.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct rng {
	uint64_t s, seed;
};

#define HOLDS(r, what) \
	do { \
		if (!(what)) \
			fail_msg("TOWLINE_SEED=%" PRIu64 ": does not hold: %s", (r)->seed, #what); \
	} while (0)

static inline struct rng
rng_of(uint64_t seed)
{
	return (struct rng){ seed, seed };
}

/* splitmix64 */
static inline uint64_t
rnd(struct rng *r)
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t
below(struct rng *r, uint64_t n)
{
	return rnd(r) % n;
}

/* True once in n times. */
static inline bool
one_in(struct rng *r, uint64_t n)
{
	return below(r, n) == 0;
}

/* Numbers of every length, so that each varint length is met. */
static inline uint64_t
any_u64(struct rng *r)
{
	static const uint64_t edges[] = { 0, 1, 63, 64, 127, 128, INT32_MAX, UINT32_MAX, INT64_MAX,
		(uint64_t)INT64_MIN, UINT64_MAX };

	return one_in(r, 4) ? edges[below(r, COUNTOF(edges))] : rnd(r) >> below(r, 64);
}

static inline uint64_t
first_seed(const char *test)
{
	const char *given = getenv("TOWLINE_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003;

	printf("%s: TOWLINE_SEED=%" PRIu64 "\n", test, seed);
	return seed;
}

static inline uint64_t
rounds(uint64_t otherwise)
{
	const char *given = getenv("TOWLINE_ROUNDS");

	return given ? strtoull(given, NULL, 0) : otherwise;
}

#endif
