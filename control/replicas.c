#include "control/replicas.h"
#include "consumer/consumer.h"
#include "control/human.h"
#include "core/log.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/control.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { WAIT_MS = 200, LOOK_US = 150000, LOAD_MS = 10000, FLUSH_MS = 10000, AGAIN_US = 5000000, NEW_US = 2000000 };

static const char prefix[] = "replica/";

/* ---- records ---- */

/* NULL: the key is about something else. */
static const char *
name_of(struct slice key, struct arena *a)
{
	struct slice name;

	return control_about(key, prefix, &name) ? arena_text(a, name) : NULL;
}

/* What the record says. REJECT: it makes no sense. */
static enum rc
take(struct conf *own, const char *name, struct slice value, const struct conf_sink **sink,
    const char **node, const char **id, struct err *err)
{
	json_t *o = json_loadb(value.p, value.n, 0, NULL);
	const char *url = json_string_value(json_object_get(o, "url")),
		   *at = json_string_value(json_object_get(o, "node")), *mark = json_string_value(json_object_get(o, "id"));
	int64_t delay = (int64_t)json_integer_value(json_object_get(o, "delay_ms"));
	enum rc rc = OK;

	if (!url || !at || delay < 0)
		rc = fail(err, REJECT,
		    "the record of replica %s in the control topic makes no sense", name);
	if (rc == OK)
		rc = conf_sink_new(own, name, url, delay, sink, err);
	if (rc == OK)
		*node = arena_text(&own->arena, slice_of(at));
	if (rc == OK && id)
		*id = mark ? arena_text(&own->arena, slice_of(mark)) : "";
	json_decref(o);
	return rc == FATAL ? REJECT : rc;
}

/* ---- the list ---- */

static void
push(struct replica_list *l, const struct conf_sink *sink, const char *node, const char *id, const char *record)
{
	struct replica **at = &l->first, *r = arena_new(&l->own.arena, struct replica);

	while (*at)
		at = &(*at)->next;
	*r = (struct replica){ .sink = sink, .node = node, .id = id, .record = record };
	*at = r;
	l->n++;
}

static void
drop(struct replica_list *l, const char *name)
{
	for (struct replica **at = &l->first; *at; at = &(*at)->next)
		if (*(*at)->node && strcmp((*at)->sink->name, name) == 0) {
			*at = (*at)->next;
			l->n--;
			return;
		}
}

static void
change(struct replica_list *l, const struct control_record *rec)
{
	const char *name = name_of(rec->key, &l->own.arena), *node, *id;
	const struct conf_sink *sink;
	struct err err;

	if (!name)
		return;
	if (!rec->value.n)
		drop(l, name);
	else if (!replicas_find(l, name) && take(&l->own, name, rec->value, &sink, &node, &id, &err) == OK)
		push(l, sink, node, id, arena_text(&l->own.arena, rec->value));
}

enum rc
replicas_load(const struct kafka *k, struct replica_list *out, struct err *err)
{
	struct control *c = NULL;
	struct control_record rec;
	enum rc rc;

	*out = (struct replica_list){ .n = 0 };
	for (int i = 0; i < k->conf->nsinks; i++)
		push(out, &k->conf->sinks[i], "", "", "");
	if (k->conf->embedded)
		return OK;
	rc = control_open(k, CONTROL_ALL, false, &c, err);
	while (rc == OK && (rc = control_held(c, LOAD_MS, &rec, err)) == OK)
		change(out, &rec);
	control_close(c);
	return rc == AGAIN ? OK : rc;
}

void
replicas_free(struct replica_list *l)
{
	conf_free(&l->own);
	*l = (struct replica_list){ .n = 0 };
}

const struct replica *
replicas_find(const struct replica_list *l, const char *name)
{
	for (const struct replica *r = l->first; r; r = r->next)
		if (strcmp(r->sink->name, name) == 0)
			return r;
	return NULL;
}

/* Records of one key, in this order; no text: the end of what was there. */
static enum rc
put(const struct kafka *k, const char *key, const char *const *values, int n, struct err *err)
{
	struct control *c = NULL;
	enum rc rc = control_open(k, CONTROL_NEWS, true, &c, err);

	for (int i = 0; rc == OK && i < n; i++)
		rc = control_put(c, key, slice_of(values[i] ? values[i] : ""), err);
	if (rc == OK)
		rc = control_flush(c, FLUSH_MS, err);
	control_close(c);
	return rc;
}

/* Is the record with that id the one that counts? If not, the other is put back. */
static enum rc
confirm(const struct kafka *k, const char *key, const char *name, const char *id, struct err *err)
{
	struct replica_list l;
	const struct replica *r;
	enum rc rc = replicas_load(k, &l, err);

	r = rc == OK ? replicas_find(&l, name) : NULL;
	if (r && strcmp(r->id, id) != 0) {
		const char *const back[] = { NULL, r->record };

		rc = put(k, key, back, COUNTOF(back), err);
		if (rc == OK)
			rc = fail_exit(err, FATAL, EXIT_USAGE,
			    "somebody else has added a replica '%s' at the same moment; take another name, or remove that one first", name);
	}
	replicas_free(&l);
	return rc;
}

static const struct replica *
of_database(const struct replica_list *l, const char *url)
{
	for (const struct replica *r = l->first; r; r = r->next)
		if (strcmp(r->sink->url, url) == 0)
			return r;
	return NULL;
}

enum rc
replicas_add(const struct kafka *k, const char *name, const char *url, int64_t delay_ms,
    const char *node, struct err *err)
{
	struct replica_list l;
	const struct conf_sink *sink;
	const struct replica *other;
	uint64_t random;
	char id[24] = "", *text;
	const char *key, *values[1];
	json_t *o;
	enum rc rc = replicas_load(k, &l, err);

	if (rc == OK)
		rc = conf_sink_new(&l.own, name, url, delay_ms, &sink, err);
	if (rc == OK && replicas_find(&l, name))
		rc = fail_exit(err, FATAL, EXIT_USAGE,
		    "there is a replica '%s' already; take another name, or remove that one first",
		    name);
	if (rc == OK && (other = of_database(&l, url)))
		rc = fail_exit(err, FATAL, EXIT_USAGE,
		    "that is the database of '%s', and a database keeps one place of a pipeline; give the replica one of its own",
		    other->sink->name);
	if (rc == OK && getrandom(&random, sizeof random, 0) != sizeof random)
		rc = fail(err, FATAL, "getrandom failed");
	if (rc == OK) {
		snprintf(id, sizeof id, "%" PRIx64, random);
		o = json_pack("{s:s,s:I,s:s,s:s}", "url", url, "delay_ms", (json_int_t)delay_ms, "node", node, "id", id);
		values[0] = text = o ? json_dumps(o, JSON_COMPACT) : NULL;
		key = arena_printf(&l.own.arena, "%s%s", prefix, name);
		rc = text ? put(k, key, values, 1, err) : fail_exit(err, FATAL, EXIT_USAGE, "the URL is not UTF-8");
		if (rc == OK)
			rc = confirm(k, key, name, id, err);
		free(text);
		json_decref(o);
	}
	replicas_free(&l);
	return rc;
}

enum rc
replicas_remove(const struct kafka *k, const char *name, struct err *err)
{
	struct replica_list l;
	const struct replica *r;
	const char *const end = NULL;
	enum rc rc = replicas_load(k, &l, err);

	r = rc == OK ? replicas_find(&l, name) : NULL;
	if (rc == OK && !r)
		rc = fail_exit(err, FATAL, EXIT_USAGE,
		    "there is no replica '%s'; 'towline replica ls' lists them", name);
	if (rc == OK && !*r->node)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "replica '%s' stands in the configuration; take it out there and start towline run again",
		    name);
	/* A resync that it was in means nothing to another replica of that name. */
	if (rc == OK)
		rc = put(k, arena_printf(&l.own.arena, "%s%s", CONTROL_RESYNC, name), &end, 1, err);
	if (rc == OK)
		rc = put(k, arena_printf(&l.own.arena, "%s%s", prefix, name), &end, 1, err);
	replicas_free(&l);
	return rc;
}

/* ---- feeding them ---- */

struct fed {
	struct fed *next;
	char *name;
	struct conf own;
	char *record; /* what the control topic said, JSON */
	const struct conf_sink *sink;
	struct gauge gauge;
	struct replicas *all;
	pthread_t thread;
};

struct replicas {
	const struct kafka *kafka;
	struct report *report;
	struct resync_watch *watch;
	bool feeds; /* the replicas of this node; else only resyncs are looked after */
	pthread_t thread;
	struct fed *first;
};

static bool
ending(struct fed *f)
{
	return stop_requested() || gauge_stopped(&f->gauge);
}

/* Its place in the log is gone: no other way leads back. */
static void
begin_anew(struct fed *f, const char *at)
{
	struct err err;
	int n;

	report_expect_resync(f->all->report, f->sink->name, true);
	if (resync_start(f->all->kafka, f->sink, &n, &err) == OK) {
		log_warn(at, "begins anew: its tables are copied again", "tables=%d", n);
	} else {
		report_expect_resync(f->all->report, f->sink->name, false);
		log_warn(at, err.text, "%s", "");
	}
}

/* What cannot go on is tried again: a sink that was mended comes back by itself. */
static void *
fed_main(void *arg)
{
	struct fed *f = arg;
	char at[80];
	struct err err;

	snprintf(at, sizeof at, "sink %s", f->sink->name);
	while (!ending(f)) {
		int64_t until;

		if (consumer_run(f->all->kafka, f->sink, NULL, 0, &f->gauge, &err) == OK)
			break;
		gauge_set(&f->gauge, GAUGE_FAILED, err.text);
		log_error(at, err.text, "retry_ms=%d", AGAIN_US / 1000);
		if (err.lost)
			begin_anew(f, at);
		until = now_us() + AGAIN_US;
		while (!ending(f) && now_us() < until)
			poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, WAIT_MS);
	}
	gauge_set(&f->gauge, GAUGE_STOPPED, "");
	return NULL;
}

static void
end(struct replicas *r, struct fed *f, bool forget)
{
	pthread_join(f->thread, NULL);
	report_remove(r->report, &f->gauge, forget);
	gauge_free(&f->gauge);
	conf_free(&f->own);
	free(f->name);
	free(f->record);
	free(f);
}

static void
begin(struct replicas *r, const char *name, struct slice value)
{
	struct fed *f = calloc(1, sizeof *f);
	const char *node = "";
	struct err err;

	if (!f || !(f->name = strdup(name)) || !(f->record = strndup(value.p, value.n)))
		die("out of memory");
	err = (struct err){ .rc = OK };
	if (take(&f->own, name, value, &f->sink, &node, NULL, &err) != OK ||
	    strcmp(node, r->kafka->conf->node) != 0 || conf_sink(r->kafka->conf, name)) {
		if (err.rc != OK)
			log_warn("replicas", err.text, "%s", "");
		conf_free(&f->own);
		free(f->name);
		free(f->record);
		free(f);
		return;
	}
	f->all = r;
	gauge_init(&f->gauge);
	report_add(r->report, f->sink, &f->gauge);
	f->next = r->first;
	r->first = f;
	log_info("replicas", "replica joined", "replica=%s", name);
	if (pthread_create(&f->thread, NULL, fed_main, f))
		die("cannot start a thread");
}

static void
leave(struct replicas *r, const char *name, bool forget)
{
	for (struct fed **at = &r->first; *at; at = &(*at)->next) {
		struct fed *f = *at;

		if (strcmp(f->name, name) != 0)
			continue;
		*at = f->next;
		atomic_store(&f->gauge.stop, true);
		end(r, f, forget);
		log_info("replicas", "replica left", "replica=%s", name);
		return;
	}
}

static struct fed *
find_fed(const struct replicas *r, const char *name)
{
	struct fed *f = r->first;

	while (f && strcmp(f->name, name) != 0)
		f = f->next;
	return f;
}

/* What the topic says of one name by now: of two beginnings the first counts. */
static void
obey(struct replicas *r, const char *name, struct slice value)
{
	if (value.n && find_fed(r, name))
		return;
	leave(r, name, !value.n);
	if (value.n)
		begin(r, name, value);
}

struct newest {
	struct newest *next;
	const char *name;
	struct slice value;
};

static void
remember(struct newest **list, struct arena *a, const char *name, struct slice value)
{
	struct newest *n = *list;

	while (n && strcmp(n->name, name) != 0)
		n = n->next;
	if (!n) {
		n = arena_new(a, struct newest);
		*n = (struct newest){ .next = *list, .name = arena_text(a, slice_of(name)) };
		*list = n;
	}
	if (!n->value.n || !value.n)
		n->value = (struct slice){ arena_text(a, value), value.n };
}

/* Only what holds in the end counts of what the topic has; who is not in it any more has left. */
static void
obey_newest(struct replicas *r, const struct newest *list)
{
	for (struct fed *f = r->first, *next; f; f = next) {
		const struct newest *n = list;

		next = f->next;
		while (n && strcmp(n->name, f->name) != 0)
			n = n->next;
		/* Or it has left and come again, as another. */
		if (!n || !slice_is(n->value, f->record))
			leave(r, f->name, !n || !n->value.n);
	}
	for (const struct newest *n = list; n; n = n->next)
		obey(r, n->name, n->value);
}

/* It was removed, perhaps while it began anew: what it has said of that since is void too. */
static enum rc
obey_news(struct replicas *r, struct control *c, const char *name, struct slice value, struct err *err)
{
	bool ours = find_fed(r, name) != NULL;
	struct arena a = { 0 };
	enum rc rc = OK;

	obey(r, name, value);
	if (ours && !value.n) {
		rc = control_put(c, arena_printf(&a, "%s%s", CONTROL_RESYNC, name), (struct slice){ NULL, 0 }, err);
		if (rc == OK)
			rc = control_flush(c, FLUSH_MS, err);
	}
	arena_free(&a);
	return rc;
}

static enum rc
look_after_one(struct replicas *r, struct control *c, const struct conf_sink *sink, struct err *err)
{
	struct arena a = { 0 };
	struct copy_place upto;
	const char *table;
	enum resync_state state = resync_state(r->watch, sink, &upto);
	enum rc rc = OK;

	if (report_resync(r->report, sink->name, state, upto)) {
		log_info("replicas", "has all of its tables again", "sink=%s", sink->name);
		rc = control_put(c, arena_printf(&a, "%s%s", CONTROL_RESYNC, sink->name), (struct slice){ NULL, 0 }, err);
		if (rc == OK)
			rc = control_flush(c, FLUSH_MS, err);
	}
	while (rc == OK && c && (table = resync_unasked(r->watch, sink))) {
		log_info("replicas", "joined while the sink began anew: asks for its copy", "sink=%s table=\"%s\"", sink->name, table);
		rc = resync_ask(c, r->watch, table, err);
	}
	arena_free(&a);
	return rc;
}

/* Sinks of this process that are made anew. */
static enum rc
look_after(struct replicas *r, struct control *c, struct err *err)
{
	const struct conf *conf = r->kafka->conf;
	enum rc rc = OK;

	for (int i = 0; i < conf->nsinks && rc == OK; i++)
		rc = look_after_one(r, c, &conf->sinks[i], err);
	for (struct fed *f = r->first; f && rc == OK; f = f->next)
		rc = look_after_one(r, c, f->sink, err);
	return rc;
}

static enum rc
follow(struct replicas *r, struct control *c, struct err *err)
{
	struct newest *list = NULL;
	struct control_record rec;
	struct arena a = { 0 };
	bool current = false;
	int64_t looked_us = 0;
	enum rc rc = OK;

	while (!stop_requested() && (rc == OK || rc == AGAIN)) {
		const char *name;

		if (!current && (current = control_current(c)))
			obey_newest(r, list);
		/* At once when all is known, and also while there is always something new. */
		if (current && now_us() - looked_us >= LOOK_US) {
			looked_us = now_us();
			rc = look_after(r, c, err);
			if (rc != OK)
				break;
		}
		if (current)
			arena_reset(&a);
		rc = control_next(c, WAIT_MS, &rec, err);
		name = rc == OK && r->feeds ? name_of(rec.key, &a) : NULL;
		if (rc == OK)
			resync_note(r->watch, rec.key, rec.value);
		if (name && current)
			rc = obey_news(r, c, name, rec.value, err);
		else if (name)
			remember(&list, &a, name, rec.value);
	}
	arena_free(&a);
	return rc;
}

static void *
replicas_main(void *arg)
{
	struct replicas *r = arg;

	while (!stop_requested()) {
		struct control *c = NULL;
		struct err err;
		enum rc rc = control_open(r->kafka, CONTROL_ALL, report_begun(r->report), &c, &err);
		bool there = rc == OK && control_there(c); /* made by the first who begins, or by a command */

		if (there)
			rc = follow(r, c, &err);
		else if (rc == OK)
			rc = look_after(r, c, &err); /* no topic: nothing is being made anew */
		control_close(c);
		if (rc != OK && rc != AGAIN)
			log_warn("replicas", err.text, "retry_ms=%d", NEW_US / 1000);
		if ((!there || rc != OK) && !stop_requested())
			poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, NEW_US / 1000);
	}
	return NULL;
}

void
replicas_start(const struct kafka *k, struct report *report, bool feeds, struct replicas **out)
{
	struct replicas *r = calloc(1, sizeof *r);

	if (!r)
		die("out of memory");
	r->kafka = k;
	r->report = report;
	r->feeds = feeds;
	r->watch = resync_watch_new();
	report_watched(report);
	if (pthread_create(&r->thread, NULL, replicas_main, r))
		die("cannot start a thread");
	*out = r;
}

void
replicas_join(struct replicas *r)
{
	struct fed *f;

	if (!r)
		return;
	pthread_join(r->thread, NULL);
	while ((f = r->first)) {
		r->first = f->next;
		end(r, f, false);
	}
	resync_watch_free(r->watch);
	free(r);
}
