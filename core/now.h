/*
 * now.h - what time it is. (A clock, in this project, is a vector clock.)
 */
#ifndef CORE_NOW_H
#define CORE_NOW_H

#include <stdint.h>
#include <time.h>

/* Microseconds of one of the system's clocks; clock_gettime(2). */
static inline int64_t
clock_us(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Since some moment in the past, never backwards: for waiting, limits and rates. */
static inline int64_t
now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

static inline int64_t
now_ms(void)
{
	return now_us() / 1000;
}

/* Microseconds since 1970: for what is told to others. May jump. */
static inline int64_t
wall_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

#endif
