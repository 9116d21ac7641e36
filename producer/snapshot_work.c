/*
 * snapshot_work.c - what the copiers are given to do, and what comes back of it: plans of tables, ranges, chunks.
 */
#include "core/log.h"
#include "core/now.h"
#include "producer/snapshot_impl.h"

#include <stdlib.h>

enum {
	RETRY_MS = 1000,
	RANGES = 4,             /* for each connection */
	SENT_MAX = 64,          /* chunks that are on their way to Kafka */
};

static void
give_plan(struct snapshot *s, struct member *m)
{
	struct job *j = job_new(JOB_PLAN);

	j->schema = arena_text(&j->arena, slice_of(m->schema));
	j->name = arena_text(&j->arena, slice_of(m->name));
	j->where = member_where(s, m, &j->arena);
	/*
	 * since is asked for anew, in a copy that goes on too: what waits for a synchronous standby may have been published in a session
	 * before, and no chunk of this one would know that it does not see that.
	 */
	j->ranges = m->copy.nranges ? 0 : RANGES * (int)s->conf->snapshot_jobs;
	m->planning = true;
	copiers_give(s->copiers, j);
}

static void
begin_ranges(struct snapshot *s, struct member *m, const struct job *j)
{
	const struct copy_table *t = m->table;
	bool fresh = !m->copy.nranges || !m->copy.key || strcmp(m->copy.key, t->order) != 0;

	if (fresh && m->copy.nranges)
		log_warn("producer", "the key of a table, or its order, has changed: its copy begins again", "table=\"%s.%s\"", m->schema,
		    m->name);
	snapshot_forget_reaches(m);
	if (fresh) {
		copy_set_ranges(&m->copy, j->bounds, j->nbounds);
		copy_text(&m->copy.key, t->order);
		m->copy.rows = 0;
		m->copy.began_ms = wall_us() / 1000;
		log_info("producer", "copying a table", "table=\"%s.%s\" rows=%" PRId64 " ranges=%d%s", m->schema, m->name, t->estimate,
		    m->copy.nranges, m->copy.where ? " where=yes" : "");
	} else {
		log_info("producer", "copying a table further", "table=\"%s.%s\" rows=%" PRId64, m->schema, m->name, m->copy.rows);
	}
	/* In one transaction, from the beginning. */
	if (!t->rel->table.nkeys) {
		m->truncate = m->copy.again || m->copy.empty;
		m->copy.again = true;
		m->copy.rows = 0;
		m->copy.began_ms = wall_us() / 1000;
	}
	m->copy.since = j->since;
	m->copy.estimate = t->estimate;
	m->copy.state = member_is_void(m) ? COPY_WAITING : COPY_RUNNING; /* until it is known that it can be published */
	m->reaches = calloc((size_t)m->copy.nranges, sizeof *m->reaches);
	if (!m->reaches)
		die("out of memory");
	chunks_drop(s, m); /* none: where the ranges stand */
	m->rows_max = (int)s->conf->snapshot_rows;
	m->told_ms = now_ms();
	m->told_rows = m->copy.rows;
	snapshot_written(s, m, true);
}

static void
take_plan(struct snapshot *s, struct job *j)
{
	struct member *m = snapshot_member(s, slice_of(j->schema), slice_of(j->name));

	if (!m)
		return;
	m->planning = false;
	if (!copy_open(&m->copy) || m->copy.state == COPY_PAUSED)
		return;
	if (j->rc == RETRY) {
		snapshot_waits(s, m, j->err.text);
		m->retry_ms = now_ms() + RETRY_MS;
	} else if (j->rc != OK) {
		snapshot_fail(s, m, COPY_FAILED, j->err.text);
	} else if (!m->chunks) {
		copy_text(&m->copy.reason, NULL);
		copy_table_free(m->table);
		m->table = j->found;
		j->found = NULL;
		m->stale = false;
		begin_ranges(s, m, j);
	}
}

void
snapshot_take_job(struct snapshot *s, struct job *j)
{
	if (j->kind == JOB_CHUNK) {
		chunk_read(s, j); /* the chunk has it */
		return;
	}
	take_plan(s, j);
	job_free(j);
}

/* Those that hold rows. */
static int
unsent(const struct snapshot *s)
{
	int n = 0;

	for (const struct chunk *c = s->chunks; c; c = c->next)
		n += c->state != CHUNK_SENT;
	return n;
}

static void
give_chunks(struct snapshot *s, struct member *m, int max)
{
	int64_t now = now_ms();

	for (int i = 0; i < m->copy.nranges && unsent(s) < max; i++) {
		const struct reach *r = &m->reaches[i];

		if (!r->end && !r->busy && now >= r->retry_ms)
			chunk_begin(s, m, i);
	}
}

enum rc
snapshot_give(struct snapshot *s, struct err *err)
{
	int max = SNAPSHOT_CHUNKS * (int)s->conf->snapshot_jobs;

	for (struct member *m = s->members; m; m = m->next) {
		if (m->copy.state != COPY_WAITING && m->copy.state != COPY_RUNNING)
			continue;
		if (!s->copiers)
			s->copiers = copiers_start(s->conf, (int)s->conf->snapshot_jobs);
		if (m->stale && !m->chunks && s->whole.m != m) {
			copy_table_free(m->table);
			m->table = NULL;
			m->stale = false;
			snapshot_forget_reaches(m);
		}
		if ((!m->table || !m->reaches) && !m->planning && !m->chunks && now_ms() >= m->retry_ms)
			give_plan(s, m);
		else if (m->table && m->reaches && !m->stale) {
			bool keyed = m->table->rel->table.nkeys > 0;
			enum rc rc = OK;

			if (keyed && !member_is_void(m))
				give_chunks(s, m, max);
			else
				rc = keyed ? empty_ask(s, m, err) : whole_ask(s, m, err);
			if (rc != OK)
				return rc;
		}
		if (unsent(s) >= max || s->nchunks >= SENT_MAX)
			break;
	}
	return OK;
}
