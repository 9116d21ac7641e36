#include "control/health.h"
#include "control/board.h"
#include "control/human.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { STUCK_US = 30000000 };

bool
health_span(const char *text, int64_t *us)
{
	static const struct {
		const char *unit;
		int64_t us;
	} units[] = { { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 }, { "h", 3600000000 },
		{ "d", 86400000000 } };
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || !isdigit((unsigned char)text[0]))
		return false;
	for (size_t i = 0; i < COUNTOF(units); i++)
		if (strcmp(end, units[i].unit) == 0)
			return !__builtin_mul_overflow((int64_t)n, units[i].us, us);
	*us = 0;
	return n == 0 && !*end;
}

static const char *
name_of(const struct progress *p)
{
	return p->role == PROGRESS_SINK ? p->sink : "the producer";
}

static bool
running(const struct progress *p, int64_t now_us, char why[static HEALTH_WHY_MAX])
{
	const char *state = board_state(p, now_us);

	if (strcmp(state, "running") == 0)
		return true;
	snprintf(why, HEALTH_WHY_MAX, "%s is %s%s%s", name_of(p), state, *p->reason ? ": " : "",
	    p->reason);
	return false;
}

bool
health_replica(
    const struct progress *p, int64_t lag_us, int64_t now_us, char why[static HEALTH_WHY_MAX])
{
	char is[HUMAN_MAX], most[HUMAN_MAX];

	if (!running(p, now_us, why))
		return false;
	if (p->syncing) {
		snprintf(why, HEALTH_WHY_MAX, "%s is still syncing", p->sink);
		return false;
	}
	if (lag_us >= 0 && (p->lag_us < 0 || p->lag_us > lag_us)) {
		if (p->lag_us < 0)
			snprintf(why, HEALTH_WHY_MAX, "the lag of %s is not known", p->sink);
		else
			snprintf(why, HEALTH_WHY_MAX, "%s is %s behind, more than %s", p->sink,
			    human_span(is, p->lag_us), human_span(most, lag_us));
		return false;
	}
	return true;
}

bool
health_primary(const struct progress *p, int64_t now_us, char why[static HEALTH_WHY_MAX])
{
	return running(p, now_us, why);
}

bool
health_ready(const struct progress *p, int64_t now_us, char why[static HEALTH_WHY_MAX])
{
	char is[HUMAN_MAX];

	if (!running(p, now_us, why))
		return false;
	if (p->lag_us <= STUCK_US + p->delay_ms * 1000)
		return true;
	snprintf(why, HEALTH_WHY_MAX, "%s is %s behind", name_of(p), human_span(is, p->lag_us));
	return false;
}

int
health_choose(
    const struct progress *const *p, int n, int64_t lag_us, int64_t now_us, uint64_t random)
{
	char why[HEALTH_WHY_MAX];
	int healthy = 0, nth;

	for (int i = 0; i < n; i++)
		healthy += health_replica(p[i], lag_us, now_us, why);
	if (!healthy)
		return -1;
	nth = (int)(random % (uint64_t)healthy);
	for (int i = 0; i < n; i++)
		if (health_replica(p[i], lag_us, now_us, why) && nth-- == 0)
			return i;
	return -1;
}

/* ---- answers to a load balancer ---- */

static void
answer(struct health_answer *out, int status, const char *why)
{
	out->status = status;
	if (why)
		snprintf(out->why, sizeof out->why, "%s", why);
}

static void
each(const struct progress *p, int n, int64_t now_us, bool ready, struct health_answer *out)
{
	char why[HEALTH_WHY_MAX];

	answer(out, 200, ready ? "ready" : "ok");
	for (int i = 0; i < n && out->status == 200; i++) {
		if (ready && !health_ready(&p[i], now_us, why))
			answer(out, 503, why);
		/* A sink of the configuration that fails ends the process; a replica that joined is tried again: no restart helps it. */
		else if (!ready && p[i].role == PROGRESS_PRODUCER && strcmp(p[i].state, "failed") == 0 && !running(&p[i], now_us, why))
			answer(out, 503, why);
	}
}

static void
primary(const struct progress *p, int n, int64_t now_us, struct health_answer *out)
{
	char why[HEALTH_WHY_MAX];

	answer(out, 503, "no producer runs here");
	for (int i = 0; i < n; i++)
		if (p[i].role == PROGRESS_PRODUCER)
			answer(out, health_primary(&p[i], now_us, why) ? 200 : 503, NULL);
	if (out->status == 200)
		answer(out, 200, "primary");
	else if (n && p[0].role == PROGRESS_PRODUCER)
		answer(out, 503, why);
}

static void
replica(const char *name, int64_t lag_us, const struct progress *p, int n, int64_t now_us,
    struct health_answer *out)
{
	char why[HEALTH_WHY_MAX];
	int found = 0;

	answer(out, 200, "replica");
	for (int i = 0; i < n; i++) {
		if (p[i].role != PROGRESS_SINK || (name && strcmp(p[i].sink, name) != 0))
			continue;
		found++;
		if (out->status == 200 && !health_replica(&p[i], lag_us, now_us, why))
			answer(out, 503, why);
	}
	if (!found && name) {
		snprintf(why, sizeof why, "no sink %.100s is fed here", name);
		answer(out, 404, why);
	} else if (!found) {
		answer(out, 503, "no sink is fed here");
	}
}

void
health_answer(const char *path, const char *lag, const struct progress *p, int n, int64_t now_us,
    struct health_answer *out)
{
	static const char of_one[] = "/replica/";
	int64_t us = -1;

	if (lag && !health_span(lag, &us))
		answer(out, 400, "lag is a time such as 500ms, 5s or 2m");
	else if (strcmp(path, "/healthz") == 0)
		each(p, n, now_us, false, out);
	else if (strcmp(path, "/readyz") == 0)
		each(p, n, now_us, true, out);
	else if (strcmp(path, "/primary") == 0)
		primary(p, n, now_us, out);
	else if (strcmp(path, "/replica") == 0)
		replica(NULL, us, p, n, now_us, out);
	else if (strncmp(path, of_one, strlen(of_one)) == 0 && path[strlen(of_one)])
		replica(path + strlen(of_one), us, p, n, now_us, out);
	else
		answer(out, 404,
		    "there are /metrics, /healthz, /readyz, /primary, /replica and /replica/SINK, the last two with ?lag=5s");
}
