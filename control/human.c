#include "control/human.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

const char *
human_bytes(char buf[static HUMAN_MAX], uint64_t bytes)
{
	static const char *const units[] = { "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		snprintf(buf, HUMAN_MAX, "%" PRIu64 " B", bytes);
		return buf;
	}
	for (; v >= 1023.95 && i + 1 < COUNTOF(units); i++)
		v /= 1024;
	snprintf(buf, HUMAN_MAX, v < 9.95 && (int)(v * 10 + 0.5) % 10 ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}

const char *
human_span(char buf[static HUMAN_MAX], int64_t us)
{
	int64_t s = us / 1000000;

	if (us < 0)
		us = 0;
	if (us < 100000)
		snprintf(buf, HUMAN_MAX, us ? "%.1f ms" : "0 s", (double)us / 1e3);
	else if (s < 2 * MINUTE)
		snprintf(buf, HUMAN_MAX, s < 10 ? "%.1f s" : "%.0f s", (double)us / 1e6);
	else if (s < 2 * HOUR)
		snprintf(buf, HUMAN_MAX, "%" PRId64 " min", s / MINUTE);
	else if (s < DAY)
		snprintf(buf, HUMAN_MAX, "%02" PRId64 ":%02" PRId64 " h", s / HOUR, s % HOUR / MINUTE);
	else
		snprintf(buf, HUMAN_MAX, "%" PRId64 "d %02" PRId64 ":%02" PRId64, s / DAY, s % DAY / HOUR, s % HOUR / MINUTE);
	return buf;
}

const char *
human_time(char buf[static HUMAN_MAX], int64_t us)
{
	int64_t rest = us % 1000000;
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	size_t n;

	if (rest < 0) {
		rest += 1000000;
		s--;
	}
	if (!gmtime_r(&s, &tm) || !(n = strftime(buf, HUMAN_MAX, "%Y-%m-%dT%H:%M:%S", &tm)) || n + 9 > HUMAN_MAX) {
		snprintf(buf, HUMAN_MAX, "%" PRId64 " us", us);
		return buf;
	}
	snprintf(buf + n, HUMAN_MAX - n, ".%06dZ", (int)rest);
	return buf;
}

const char *
human_count(char buf[static HUMAN_MAX], int64_t n, const char *what)
{
	snprintf(buf, HUMAN_MAX, "%" PRId64 " %s%s", n, what, n == 1 ? "" : "s");
	return buf;
}

