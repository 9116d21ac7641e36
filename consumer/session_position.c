/*
 * session_position.c - where a sink stands in each partition of the rows.
 *
 * The groups tell which offsets hold rows, and nothing of what lies between them: left-overs, and records that somebody else wrote. A
 * session reads over those and counts them or obeys on_error. So that a later session does the same with what this one has not met,
 * the offset behind the last record read goes into the sink, in the transaction that moves the marker. A batch writes only what moved.
 *
 * A sink that was filled by a version that kept no positions has none at first: its partitions begin at the next group's rows.
 */
#include "consumer/session.h"
#include "schemas/topic.h"

/*
 * Among the positions stands one for the spine: where it was when the first of them was written. At its beginning: then a partition without
 * a position is one that no group has referred to.
 */
static bool
is_spine(const struct session *s, struct arena *a, const char *topic)
{
	return strcmp(topic, topic_own(a, s->kafka->conf->name, "spine")) == 0;
}

/* A lane that goes on where whole transactions stood takes their positions over. */
static enum rc
of_before(struct session *s, struct arena *a, struct position **p, int *n, struct err *err)
{
	enum rc rc;

	s->sink->pipeline = s->lane->pipeline;
	rc = s->sink->ops->positions->read(s->sink, a, p, n, err);
	s->sink->pipeline = s->lane->name;
	return rc;
}

enum rc
session_load_positions(struct session *s, struct err *err)
{
	const struct position_ops *ops = s->sink->ops->positions;
	struct arena a = { 0 };
	struct position *p = NULL;
	int n = 0;
	bool own = true;
	enum rc rc = OK;

	if (s->kafka->broker) /* its offsets are those of another life */
		return OK;
	rc = ops->read(s->sink, &a, &p, &n, err);
	if (rc == OK && !n && s->lane && s->f->applied.spine_offset >= 0) {
		own = false;
		rc = of_before(s, &a, &p, &n, err);
	}
	for (int i = 0; rc == OK && i < n; i++) {
		if (!is_spine(s, &a, p[i].topic))
			fetch_know(s->fetch, &p[i], own);
		else if (p[i].next == 0)
			s->from_start = true;
	}
	s->tell_start = rc == OK && ((!n && s->f->applied.spine_offset < 0) || (!own && s->from_start));
	s->from_start = s->from_start || s->tell_start;
	if (s->from_start)
		fetch_know_others(s->fetch);
	arena_free(&a);
	return rc;
}

static bool
mine(const struct session *s, const struct fetch_part *p)
{
	return !s->lane || lanes_of(slice_of(p->topic), p->partition, s->lane->of) == s->lane->no;
}

void
session_note_positions(struct session *s, struct sent *t)
{
	const struct fetch_part *p;
	struct position *more;
	int cap = 16;

	t->npositions = 0;
	if (s->kafka->broker)
		return;
	t->positions = arena_array(&t->batch.arena, (size_t)cap, sizeof *t->positions);
	if (s->tell_start)
		t->positions[t->npositions++] = (struct position){ .topic = topic_own(&t->batch.arena, s->kafka->conf->name, "spine") };
	s->tell_start = false;
	while ((p = fetch_moved(s->fetch))) {
		if (!mine(s, p))
			continue;
		if (t->npositions == cap) {
			more = arena_array(&t->batch.arena, (size_t)cap * 2, sizeof *more);
			memcpy(more, t->positions, (size_t)cap * sizeof *more);
			t->positions = more;
			cap *= 2;
		}
		t->positions[t->npositions++] = (struct position){ .topic = p->topic, .partition = p->partition, .next = p->known };
	}
}

enum rc
session_put_positions(struct session *s, const struct sent *t, struct err *err)
{
	return t->npositions ? s->sink->ops->positions->write(s->sink, t->positions, t->npositions, err) : OK;
}
