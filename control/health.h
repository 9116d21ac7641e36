/*
 * health.h - who may be read from: what a record of progress is worth to a load balancer and to `towline read`. Pure.
 */
#ifndef CONTROL_HEALTH_H
#define CONTROL_HEALTH_H

#include "schemas/progress.h"

enum { HEALTH_WHY_MAX = 700 };

/* "5s", "500ms", "2m", "1h", "1d": a time without sign or fraction, in microseconds. false: it is none. */
bool health_span(const char *text, int64_t *us);

/*
 * May the sink be read from? It runs, is no longer syncing, and is at most lag_us behind (negative: any lag). now_us: of the
 * reader; a record that is too old is of one that is gone. why, when not.
 */
bool health_replica(
    const struct progress *p, int64_t lag_us, int64_t now_us, char why[static HEALTH_WHY_MAX]);

/* Does the producer publish? */
bool health_primary(const struct progress *p, int64_t now_us, char why[static HEALTH_WHY_MAX]);

/* Does this stage get on: it runs, and is not behind by more than its delay and half a minute? */
bool health_ready(const struct progress *p, int64_t now_us, char why[static HEALTH_WHY_MAX]);

/* One of the n that health_replica allows, by the number `random`; -1: there is none. */
int health_choose(
    const struct progress *const *p, int n, int64_t lag_us, int64_t now_us, uint64_t random);

/* What a request for a path of health means, for the stages of one process. */
struct health_answer {
	int status;		  /* 200, 400, 404, 503 */
	char why[HEALTH_WHY_MAX]; /* one sentence */
};

/*
 * /healthz, /readyz, /primary, /replica and /replica/SINK; lag: the value of ?lag=, or NULL. Several sinks in one process: /replica
 * alone asks after all of them.
 */
void health_answer(const char *path, const char *lag, const struct progress *p, int n,
    int64_t now_us, struct health_answer *out);

#endif
