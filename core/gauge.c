#include "core/gauge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct gauge_table {
	char name[GAUGE_NAME_MAX];
	UT_hash_handle hh;
};

void
gauge_init(struct gauge *g)
{
	*g = (struct gauge){ .ntables = 0 };
	pthread_mutex_init(&g->lock, NULL);
}

void
gauge_free(struct gauge *g)
{
	struct gauge_table *t, *tmp;

	HASH_ITER (hh, g->tables, t, tmp) {
		HASH_DEL(g->tables, t);
		free(t);
	}
	pthread_mutex_destroy(&g->lock);
}

void
gauge_set(struct gauge *g, enum gauge_state state, const char *reason)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	if (reason)
		snprintf(g->reason, sizeof g->reason, "%s", reason);
	else if (state == GAUGE_RUNNING)
		g->reason[0] = '\0';
	pthread_mutex_unlock(&g->lock);
	if (atomic_exchange(&g->state, (int)state) != (int)state)
		atomic_fetch_add(&g->changed, 1);
}

void
gauge_at(struct gauge *g, int lane, const struct gauge_at *at)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->at[lane] = *at;
	g->lanes |= UINT64_C(1) << lane;
	pthread_mutex_unlock(&g->lock);
}

void
gauge_left(struct gauge *g, int lane)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->lanes &= ~(UINT64_C(1) << lane);
	pthread_mutex_unlock(&g->lock);
}

bool
gauge_least(struct gauge *g, struct gauge_at *out)
{
	bool found = false;

	pthread_mutex_lock(&g->lock);
	for (int i = 0; i < GAUGE_LANES_MAX; i++) {
		if (!(g->lanes >> i & 1) || (found && g->at[i].seq >= out->seq))
			continue;
		*out = g->at[i];
		found = true;
	}
	pthread_mutex_unlock(&g->lock);
	return found;
}

void
gauge_table(struct gauge *g, struct slice schema, struct slice table)
{
	struct gauge_table *t;
	char name[GAUGE_NAME_MAX];
	int n = snprintf(name, sizeof name, "%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(table));

	if (!g || n <= 0)
		return;
	pthread_mutex_lock(&g->lock);
	HASH_FIND_STR(g->tables, name, t);
	if (!t && g->ntables < GAUGE_TABLES_MAX) {
		t = calloc(1, sizeof *t);
		if (!t)
			die("out of memory");
		memcpy(t->name, name, sizeof name);
		g->order[g->ntables++] = t;
		HASH_ADD_STR(g->tables, name, t);
	}
	pthread_mutex_unlock(&g->lock);
}

const char *
gauge_table_name(struct gauge *g, int i)
{
	const char *name;

	pthread_mutex_lock(&g->lock);
	name = i < g->ntables ? g->order[i]->name : NULL;
	pthread_mutex_unlock(&g->lock);
	return name;
}

void
gauge_reason(struct gauge *g, char out[static GAUGE_REASON_MAX])
{
	pthread_mutex_lock(&g->lock);
	memcpy(out, g->reason, GAUGE_REASON_MAX);
	pthread_mutex_unlock(&g->lock);
}

const char *
gauge_state_name(enum gauge_state state)
{
	static const char *const names[] = { [GAUGE_STARTING] = "starting",
		[GAUGE_RUNNING] = "running",
		[GAUGE_RETRYING] = "retrying",
		[GAUGE_FAILED] = "failed",
		[GAUGE_STOPPED] = "stopped" };

	return names[state];
}
