#include "consumer/entries.h"
#include "control/human.h"
#include "control/status.h"
#include "producer/capture.h"
#include "producer/resume.h"
#include "schemas/spine_log.h"
#include "schemas/topic.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* A question to a server may take this long. */
#define BOUNDS_SQL "SET statement_timeout = '10s'"

enum { SQLITE_BUSY_MS = 2000 };

static void problem(struct status *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
problem(struct status *s, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	if (s->nproblems == STATUS_PROBLEMS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	s->problems[s->nproblems++] = arena_text(&s->arena, slice_of(text));
}

/* ---- source ---- */

static void
judge_slot(struct status *s)
{
	const struct pg_slot *slot = &s->source.slot;
	const char *name = s->conf->slot;
	char bytes[HUMAN_MAX];
	struct err err;

	human_bytes(bytes, slot->restart && s->source.server.lsn > slot->restart ? s->source.server.lsn - slot->restart : 0);
	s->source.state = !slot->exists ? (s->spine.watermark ? "GONE" : "not begun") : slot->active_pid ? "streaming" : "stopped";
	if (slot->exists && strcmp(slot->wal_status, "lost") == 0)
		s->source.state = "LOST";
	if (!slot->exists && !s->spine.started)
		problem(s, "source: there is no slot %s yet; towline run makes it", name);
	else if (slot->exists && (!slot->ours || strcmp(slot->wal_status, "lost") == 0) && slot_judge(name, slot, &err) != OK)
		problem(s, "source: %s", err.text);
	else if (slot->exists && !slot->active_pid)
		problem(s, "source: no producer reads slot %s, which keeps %s of WAL; start towline run or towline producer", name, bytes);
	if (slot->exists && strcmp(slot->wal_status, "unreserved") == 0)
		problem(s, "source: slot %s is about to lose its WAL (max_slot_wal_keep_size)", name);
}

/* The slot against the spine, as the producer compares them at start; that it is the same database is not asked here. */
static void
judge_resume(struct status *s)
{
	struct source_identity id = { .system_id = s->spine.system_id,
		.exists = s->source.slot.exists, .confirmed = s->source.slot.confirmed };
	struct err err;

	if (s->spine_known && !s->source.slot.active_pid && resume_judge(s->conf, &s->spine, &id, s->conf->embedded, &err) != OK)
		problem(s, "source: %s", err.text);
}

/* Nobody can be asked who reads it: a producer holds nothing of a SQLite database while it waits. */
static void
look_at_sqlite(struct status *s, const char *path)
{
	struct status_source *src = &s->source;
	struct capture_slot slot = { 0 };
	struct err err;
	int64_t id = 0;
	sqlite3 *db = NULL;
	enum rc rc = sqlite_open_there(path, SQLITE_BUSY_MS, &db, &err);

	src->rows = true;
	if (rc == OK)
		rc = capture_id(db, &id, &err);
	if (rc == OK && id)
		rc = capture_slot_look(db, s->conf->slot, &slot, &err);
	if (rc == OK && id)
		rc = capture_end(db, &src->server.lsn, &err);
	sqlite3_close(db);
	src->reached = rc == OK;
	src->slot = (struct pg_slot){ .exists = slot.exists, .ours = true, .placed = slot.exists, .confirmed = slot.confirmed,
		.wal_status = "", .invalid = "" };
	src->state = rc != OK ? "UNREACHABLE" : slot.exists ? (slot.copied ? "installed" : "copying") : s->spine.watermark ? "GONE"
		: id ? "not begun" : "not installed";
	if (rc != OK) {
		s->unreachable = s->unreachable || err.exit == EXIT_UNREACHABLE;
		problem(s, "source: %s", err.text);
	} else if (!id) {
		problem(s, "source: its changes are not logged; run towline source install %s", path);
	} else {
		judge_resume(s);
	}
}

static void
look_at_source(struct status *s)
{
	PGconn *conn = NULL;
	struct err err;
	enum rc rc;

	s->source = (struct status_source){ .state = "UNREACHABLE" };
	if (!s->conf->source_url)
		return;
	if (sqlite_url_path(s->conf->source_url)) {
		look_at_sqlite(s, sqlite_url_path(s->conf->source_url));
		return;
	}
	rc = pg_connect(s->conf->source_url, false, &conn, &err);
	if (rc == OK)
		rc = pg_exec(conn, "settings", BOUNDS_SQL, NULL, &err);
	if (rc == OK)
		rc = server_look(conn, &s->arena, &s->source.server, &err);
	if (rc == OK)
		rc = slot_look(conn, s->conf->slot, &s->arena, &s->source.slot, &err);
	PQfinish(conn);
	s->source.reached = rc == OK;
	if (rc == OK) {
		judge_slot(s);
		judge_resume(s);
		return;
	}
	s->unreachable = true;
	problem(s, "source: %s", err.text);
}

/* ---- Kafka ---- */

static void
count_dead(struct status *s)
{
	const char *topic = topic_own(&s->arena, s->conf->name, "deadletter");
	int64_t low, high, n = 0;
	struct err err;

	for (int i = 0; i < cluster_partitions(&s->cluster, topic); i++)
		if (kafka_offsets(s->cluster.rk, topic, i, &low, &high, &err) == OK)
			n += high - low;
	s->dead_records = n;
}

static enum rc
read_spine(struct status *s, struct err *err)
{
	const char *topic = topic_own(&s->arena, s->conf->name, "spine");
	rd_kafka_t *rk = NULL;
	int64_t next;
	enum rc rc;

	if (!cluster_partitions(&s->cluster, topic))
		return OK;
	rc = kafka_consumer(s->kafka, 1024, &rk, err);
	if (rc == OK)
		rc = spine_log_state(rk, topic, &s->spine, &next, err);
	if (rk)
		rd_kafka_destroy(rk);
	return rc;
}

static void
look_at_kafka(struct status *s)
{
	struct err err;
	enum rc rc;

	s->spine = (struct spine_state){ 0 };
	s->spine_known = false;
	s->kafka_state = "empty";
	if (s->conf->embedded)
		return;
	rc = cluster_look(s->kafka, &s->cluster, &err);
	if (rc == OK)
		rc = read_spine(s, &err);
	s->spine_known = rc == OK;
	if (rc != OK) {
		/* A login that is refused leaves Kafka out of reach as well; a spine that makes no sense does not. */
		s->kafka_state = err.exit == EXIT_REFUSED ? "UNREADABLE" : "UNREACHABLE";
		s->unreachable = s->unreachable || err.exit != EXIT_REFUSED;
		problem(s, "kafka: %s", err.text);
		return;
	}
	count_dead(s);
}

/* ---- sinks ---- */

static void
judge_sink(struct status *s, struct status_sink *sink)
{
	const struct marker *m = &sink->marker;
	const struct spine_state *sp = &s->spine;

	sink->lag_us = -1;
	sink->state = sink->found ? "applied" : "empty";
	if (!s->spine_known || !sp->started)
		return;
	if (!sink->found) {
		sink->behind = sp->seq;
		return;
	}
	if (m->system_id && sp->system_id && m->system_id != sp->system_id)
		problem(s, "%s: what it has came from another source than what the spine holds", sink->conf->name);
	if (m->seq > sp->seq) {
		sink->state = "AHEAD";
		problem(s,
		    "%s: it has applied seq %" PRIu64 ", the spine ends at %" PRIu64
		    ": is this the Kafka that it was fed from?",
		    sink->conf->name, m->seq, sp->seq);
		return;
	}
	sink->behind = sp->seq - m->seq;
	sink->lag_us = sink->behind && sp->commit_us > m->commit_us ? sp->commit_us - m->commit_us : 0;
	sink->state = sink->behind ? "behind" : "caught up";
}

static void
look_at_parked(struct status *s, struct status_sink *sink)
{
	char changes[HUMAN_MAX];
	struct err err;

	if (entries_count(s->conf->name, sink->conf, &sink->parked, &sink->parked_causes, &err) != OK)
		problem(s, "%s: %s", sink->conf->name, err.text);
	else if (sink->parked)
		problem(s,
		    "%s: %s in the dead letters, of which %" PRId64
		    " cannot be applied and the others wait; see 'towline dlq ls %s'",
		    sink->conf->name, human_count(changes, sink->parked, "change"),
		    sink->parked_causes, sink->conf->name);
}

static void
look_at_sink(struct status *s, struct status_sink *sink)
{
	struct err err;

	if (marker_look(s->conf->name, sink->conf, &sink->marker, &sink->found, &err) == OK) {
		sink->reached = true;
		judge_sink(s, sink);
		look_at_parked(s, sink);
		return;
	}
	sink->state = "UNREACHABLE";
	sink->lag_us = -1;
	s->unreachable = true;
	problem(s, "%s: %s", sink->conf->name, err.text);
}

void
status_look(struct status *s)
{
	arena_reset(&s->arena);
	s->nproblems = 0;
	s->unreachable = false;
	look_at_kafka(s);
	look_at_source(s);
	s->sinks = arena_array(&s->arena, (size_t)s->conf->nsinks + 1, sizeof *s->sinks);
	for (int i = 0; i < s->conf->nsinks; i++) {
		s->sinks[i].conf = &s->conf->sinks[i];
		look_at_sink(s, &s->sinks[i]);
	}
}
