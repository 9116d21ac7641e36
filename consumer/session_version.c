/*
 * session_version.c - where, among the rows, a table goes on in another shape.
 *
 * A producer that has seen the change says so: the group is a barrier, its first row has TL_BEGINS, and the schema says what was renamed.
 * One that has not, as it was down or the embedded broker has forgotten, says nothing: then the schemas of the topic's records tell.
 */
#include "consumer/session.h"

#include <stdlib.h>
#include <uthash.h>

struct shape_seen {
	const rd_kafka_topic_t *rkt; /* key of the hash */
	uint64_t value_id, key_id;
	UT_hash_handle hh;
};

static struct shape_seen *
shape_of(struct session *s, const rd_kafka_topic_t *rkt)
{
	struct shape_seen *e = s->shape;

	if (e && e->rkt == rkt)
		return e;
	HASH_FIND_PTR(s->shapes, &rkt, e);
	if (!e) {
		e = calloc(1, sizeof *e);
		if (!e)
			die("out of memory");
		e->rkt = rkt;
		HASH_ADD_PTR(s->shapes, rkt, e);
	}
	return s->shape = e;
}

enum rc
session_turn(struct session *s, const rd_kafka_message_t *m, const struct tl *tl, struct err *err)
{
	struct slice body;
	struct frame value = frame_take((struct slice){ m->payload, m->len }, &body), key = { FRAME_NONE, 0 };
	struct shape_seen *e;
	bool other;

	/* Of a large row's records the first one has the frame. */
	if (value.kind == FRAME_NONE || (tl->flags & TL_CHUNK && tl->number))
		return OK;
	if (m->key)
		key = frame_take((struct slice){ m->key, m->key_len }, &body);
	e = shape_of(s, m->rkt);
	if (e->value_id == value.id && e->key_id == key.id)
		return OK;
	other = e->value_id || e->key_id;
	e->value_id = value.id;
	e->key_id = key.id;
	/* The halves of a changed key live in one batch. */
	if (!other || s->f->moved || chunk_pending(&s->chunk))
		return OK;
	return filling(s)->nrows ? session_stream(s, err) : session_settle(s, 0, err);
}

enum rc
session_begins(struct session *s, const struct table *tbl, struct err *err)
{
	enum rc rc = session_settle(s, 0, err);

	s->sink->begins = tbl;
	if (rc == OK)
		rc = s->sink->ops->prepare(s->sink, tbl, err);
	s->sink->begins = NULL;
	return rc;
}

void
session_forget_versions(struct session *s)
{
	struct shape_seen *e, *next;

	HASH_ITER(hh, s->shapes, e, next) {
		HASH_DEL(s->shapes, e);
		free(e);
	}
	s->shape = NULL;
}
