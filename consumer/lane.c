#include "consumer/lane.h"
#include "consumer/consumer.h"
#include "consumer/lanes.h"
#include "consumer/marker.h"
#include "core/log.h"
#include "core/stop.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { POLL_MS = 100, REJOIN_MS = 1000 };

static void
marker_name(char out[static 160], const char *pipeline, int lane)
{
	snprintf(out, 160, "%s/lane %d", pipeline, lane);
}

static enum rc
marker_of(struct sink *s, const char *name, struct marker *out, struct err *err)
{
	s->pipeline = name;
	return s->ops->marker(s, out, err);
}

static enum rc
move_marker(struct sink *s, const struct marker *from, const struct marker *to, struct err *err)
{
	struct batch none = { 0 };
	struct parked keys = { 0 }; /* read for the version that a begin compares */
	enum rc rc = s->ops->parking->load(s, &keys, err);

	parked_free(&keys);
	if (rc == OK)
		rc = s->ops->begin(s, from, to, err);
	if (rc == OK)
		rc = s->ops->apply(s, &none, err);
	if (rc == OK)
		rc = s->ops->commit(s, to, err);
	return rc == OK ? s->ops->settle(s, 0, err) : rc;
}

enum rc
lane_take(struct sink *s, struct lane *l, struct marker *applied, struct err *err)
{
	struct marker m, next, whole;
	uint64_t hash, token;
	enum rc rc;

	s->shared = true;
	rc = marker_of(s, l->name, &m, err);
	if (rc != OK)
		return rc;
	if (l->token && m.token != l->token)
		return fail_exit(err, FATAL, EXIT_REFUSED, "lane %d was taken over by another process", l->no);
	*applied = m;
	if (l->token)
		return OK;
	rc = l->group ? lanes_confirm(l->group, l->no, err) : OK;
	if (rc != OK)
		return rc;
	next = m;
	hash = m.spine_hash ^ m.token;
	/* A new lane of a sink that whole transactions have filled so far goes on where they stood. */
	if (m.spine_offset < 0) {
		rc = marker_of(s, l->pipeline, &whole, err);
		s->pipeline = l->name;
		if (rc != OK)
			return rc;
		if (whole.spine_offset >= 0)
			next = whole, hash = whole.spine_hash;
	}
	if (getrandom(&token, sizeof token, 0) != sizeof token)
		return fail(err, FATAL, "getrandom failed");
	next.token = token | 1;
	next.spine_hash = hash ^ next.token;
	rc = move_marker(s, &m, &next, err);
	if (rc == OK) {
		l->token = next.token;
		*applied = next;
	}
	return rc;
}

enum rc
lane_at(struct sink *s, const struct lane *l, int i, uint64_t no, bool *there, struct err *err)
{
	char name[160];
	struct marker m;
	enum rc rc;

	marker_name(name, l->pipeline, i);
	rc = marker_of(s, name, &m, err);
	s->pipeline = l->name;
	*there = rc == OK && m.no >= no;
	return rc;
}

/* ---- the process ---- */

struct worker {
	pthread_t thread;
	struct lane lane;
	const struct kafka *kafka;
	const struct conf_sink *conf;
	struct flow *flow;
	int number;
	struct gauge *gauge;
	bool running;
	_Atomic bool ended;
	enum rc rc;
	struct err err;
};

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	w->rc = consumer_loop(w->kafka, w->conf, w->flow, w->number, w->gauge, &w->lane, &w->err);
	gauge_left(w->gauge, w->lane.no);
	atomic_store(&w->ended, true);
	return NULL;
}

static void
worker_start(struct worker *w, struct lanes *group, const char *pipeline, int no, int of)
{
	w->lane = (struct lane){ .group = group, .pipeline = pipeline, .no = no, .of = of };
	marker_name(w->lane.name, pipeline, no);
	atomic_store(&w->ended, false);
	if (pthread_create(&w->thread, NULL, worker_main, w))
		die("cannot start a thread");
	w->running = true;
}

static void
workers_stop(struct worker *w, int n)
{
	for (int i = 0; i < n; i++)
		if (w[i].running)
			atomic_store(&w[i].lane.stop, true);
	for (int i = 0; i < n; i++)
		if (w[i].running) {
			pthread_join(w[i].thread, NULL);
			w[i].running = false;
		}
}

/*
 * Look after the workers: AGAIN when one lost its lane to somebody (the group has to tell anew who runs what), its verdict when one
 * ended for good. *running: how many still do.
 */
static enum rc
workers_look(struct worker *w, int n, int *running, struct err *err)
{
	*running = 0;
	for (int i = 0; i < n; i++) {
		if (!w[i].running)
			continue;
		if (!atomic_load(&w[i].ended)) {
			++*running;
			continue;
		}
		pthread_join(w[i].thread, NULL);
		w[i].running = false;
		if (w[i].rc == OK)
			continue;
		*err = w[i].err;
		return strstr(err->text, "taken over") || strstr(err->text, "the marker of") ? AGAIN : w[i].rc;
	}
	return OK;
}

/* Serve the group until it has to be joined anew (AGAIN), the program stops (OK), or somebody must act. */
static enum rc
serve(struct lanes *group, struct worker *w, int n, const char *pipeline, struct gauge *gauge, struct err *err)
{
	enum rc rc = OK;

	for (;;) {
		bool lost;
		int running;

		rc = lanes_poll(group, POLL_MS, &lost, err);
		if (rc == OK && lost) {
			workers_stop(w, n);
			lanes_released(group);
		}
		if (rc == OK)
			rc = workers_look(w, n, &running, err);
		if (rc != OK || ((stop_requested() || gauge_stopped(gauge)) && !running))
			return rc;
		for (int i = 0; i < n && !stop_requested() && !gauge_stopped(gauge); i++)
			if (lanes_owned(group, i) && !w[i].running)
				worker_start(&w[i], group, pipeline, i, n);
	}
}

/* How many lanes the sink has is settled by whoever fills it first. */
static enum rc
settle_number(const char *pipeline, const struct conf_sink *conf, struct err *err)
{
	struct sink *s = NULL;
	struct marker m, next;
	char name[160];
	enum rc rc;

	snprintf(name, sizeof name, "%s/lanes", pipeline);
	rc = sink_open(name, conf, &s, err);
	if (rc != OK)
		return fail_in(err, "sink %s", conf->name);
	rc = s->ops->marker(s, &m, err);
	if (rc == OK && m.no == 0) {
		next = m;
		next.no = (uint64_t)conf->lanes;
		next.spine_offset = 0;
		rc = move_marker(s, &m, &next, err);
		if (rc == FATAL && err->exit == EXIT_REFUSED) /* somebody settles it at this very moment: look again */
			rc = fail(err, RETRY, "another process joins as well");
	} else if (rc == OK && m.no != (uint64_t)conf->lanes) {
		rc = fail_exit(err, FATAL, EXIT_REFUSED,
		    "sink %s was filled by %" PRIu64
		    " lanes, which stand at different places; keep lanes: %" PRIu64,
		    conf->name, m.no, m.no);
	}
	if (s)
		s->ops->close(s);
	return rc;
}

enum rc
lane_run_all(const struct kafka *k, const struct conf_sink *conf, struct flow *flow, int number,
    struct gauge *gauge, struct err *err)
{
	int n = (int)conf->lanes;
	struct worker *w = calloc((size_t)n, sizeof *w);
	enum rc rc = RETRY;

	if (!w)
		die("out of memory");
	for (int i = 0; i < n; i++)
		w[i] = (struct worker){ .kafka = k, .conf = conf, .flow = flow, .number = number, .gauge = gauge };
	while (!stop_requested() && !gauge_stopped(gauge)) {
		struct lanes *group = NULL;

		rc = settle_number(k->conf->name, conf, err);
		if (rc == OK)
			rc = lanes_open(k, conf->name, n, &group, err);
		if (rc == OK)
			rc = serve(group, w, n, k->conf->name, gauge, err);
		workers_stop(w, n);
		lanes_close(group);
		if (rc != RETRY && rc != AGAIN)
			break;
		gauge_set(gauge, GAUGE_RETRYING, err->text);
		log_warn("lanes", err->text, "sink=%s retry_ms=%d", conf->name, REJOIN_MS);
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, REJOIN_MS);
	}
	free(w);
	return rc == FATAL || rc == REJECT ? rc : OK;
}

enum rc
lane_none(const char *pipeline, const struct conf_sink *conf, struct err *err)
{
	char name[160];
	struct marker m;
	bool found;
	enum rc rc;

	snprintf(name, sizeof name, "%s/lanes", pipeline);
	rc = marker_look(name, conf, &m, &found, err);
	if (rc == OK && found && m.no)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "sink %s was filled by %" PRIu64
		    " lanes, which stand at different places; keep apply: key",
		    conf->name, m.no);
	return rc;
}
