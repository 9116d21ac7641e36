/*
 * source_pg_table.c - the tables of the stream: their versions, by RELATION messages, and of rows that are copied.
 */
#include "core/log.h"
#include "producer/known.h"
#include "producer/lineage.h"
#include "producer/source_pg_impl.h"

#include <stdlib.h>

bool
source_pg_locked(enum rc rc, const struct err *err)
{
	return rc == RETRY && strstr(err->text, "SQLSTATE 55P03");
}

/* Another relation that has the name, as far as the stream has told, now or before a restart. */
static const struct table *
namesake(const struct source_pg *s, uint32_t relid, struct slice schema, struct slice name)
{
	for (const struct slot *o = s->rels; o; o = o->hh.next)
		if (o->rel && o->relid != relid && slice_eq(o->rel->table.schema, schema) && slice_eq(o->rel->table.name, name))
			return &o->rel->table;
	return known_namesake(s->base.known, relid, schema, name);
}

/* What became of the table since the version before, `last`, is said where it is known, and what sinks cannot follow is told. */
static void
follow_version(struct source_pg *s, struct slot *slot, struct relation *rel, const struct table *last)
{
	struct table *t = &rel->table;
	const struct table *other = namesake(s, t->relid, t->schema, t->name), *before = last ? last : other;
	bool unchanged = last && !slot->rel && lineage_same(t, last); /* since the last run */

	t->version = slot->rel ? slot->rel->table.version + 1 : 1;
	rel->follows = rel->followed = before && !unchanged;
	rel->unpublished = slot->refused;
	if (rel->follows)
		lineage_compare(t, before, &rel->arena);
	/* Copied rows have no place in the log: they are safe when everything is that is there now. */
	if (!unchanged && !slot->refused)
		known_note(s->base.known, t, s->copied ? s->base.end_lsn + 1 : s->txn.commit_lsn);
	if (other && !last)
		log_warn("producer", "another table has the name now: at sinks its rows join those of the one that was dropped or renamed",
		    "table=\"%s.%s\" fix=\"delete the old ones there\"", t->schema.p, t->name.p);
	if (other && t->was_name.n)
		log_warn("producer", "another table has the name now: sinks that have both stop, and say what to do",
		    "table=\"%s.%s\" was=\"%s.%s\"", t->schema.p, t->name.p, t->was_schema.p, t->was_name.p);
	/* Then the sink's table of the old name has the rows of two tables by now. */
	if (t->was_name.n && namesake(s, t->relid, t->was_schema, t->was_name))
		t->was_schema = t->was_name = (struct slice){ NULL, 0 };
	for (int i = last ? lineage_replaced(t, last, 0) : -1; i >= 0; i = lineage_replaced(t, last, i + 1))
		log_warn("producer",
		    "a column was dropped and made anew: sinks keep the old one's values in rows not written since",
		    "table=\"%s.%s\" column=\"%s\"", t->schema.p, t->name.p, t->cols[i].name.p);
	rel->prev = slot->rel;
	slot->rel = rel;
}

/* The last version of which sinks have heard; NULL: none. */
static const struct table *
published(const struct slot *slot)
{
	const struct relation *rel = slot->rel;

	while (rel && rel->unpublished)
		rel = rel->prev;
	return rel ? &rel->table : slot->known;
}

enum rc
source_pg_learn(struct source_pg *s, const struct pgo *m, struct err *err)
{
	struct slot *slot;
	struct relation *rel;
	const struct table *last;
	enum rc rc;

	HASH_FIND(hh, s->rels, &m->relid, sizeof m->relid, slot);
	if (!slot) {
		slot = calloc(1, sizeof *slot);
		if (!slot)
			die("out of memory");
		slot->relid = m->relid;
		HASH_ADD(hh, s->rels, relid, sizeof slot->relid, slot);
	}
	/* Each time: a table may be renamed into `tables:`, or out of it. */
	slot->skip = slice_is(m->schema, "towline") || !conf_wants(s->base.conf, m->schema, m->name);
	if (slot->skip)
		return OK;
	if (!slot->rel)
		slot->known = known_table(s->base.known, m->relid, s->copied ? UINT64_MAX : s->txn.commit_lsn);
	last = published(slot);
	rc = catalog_relation(s->sql, s->base.conf, m, last, &rel, err);
	s->waiting = source_pg_locked(rc, err);
	if (s->waiting && !s->told_waiting)
		log_warn("producer", "changes wait: another session has their table locked, so its "
		"description cannot be read", "table=\"%.*s.%.*s\"",
		    SLICE_ARG(m->schema), SLICE_ARG(m->name));
	s->told_waiting = s->waiting;
	if (rc != OK)
		return s->waiting ? AGAIN : rc;
	if (slot->rel && table_same(&slot->rel->table, &rel->table)) {
		catalog_free(rel);
		return OK;
	}
	free(slot->text);
	slot->text = NULL;
	follow_version(s, slot, rel, last);
	log_info("producer", "table version",
	    "table=\"%s.%s\" version=%u columns=%d key_columns=%d", rel->table.schema.p,
	    rel->table.name.p, rel->table.version, rel->table.ncols, rel->table.nkeys);
	if (rel->unsent)
		log_warn("producer", "PostgreSQL does not send generated columns of this table; towline check says what to do",
		    "table=\"%s.%s\" columns=%s", rel->table.schema.p, rel->table.name.p, rel->unsent);
	/* The catalogue did not tell, for the table is gone, or was altered since. It must not be asked again, or this would never end. */
	s->base.text = s->base.text || (s->binary && !rel->binary);
	if (s->binary && !rel->binary)
		return fail(err, RETRY, "table %s.%s has types that only travel as text; streaming again in text form", rel->table.schema.p,
		    rel->table.name.p);
	return OK;
}

enum rc
source_pg_find(struct source_pg *s, uint32_t relid, struct slot **slot, struct err *err)
{
	HASH_FIND(hh, s->rels, &relid, sizeof relid, *slot);
	if (*slot)
		return OK;
	return fail(err, FATAL, "pgoutput: a change of relation %u came before its description", relid);
}

enum rc
source_pg_learn_again(struct source_pg *s, struct slot *slot, struct err *err)
{
	const struct table *t = &slot->rel->table;
	struct pgo m = { .type = 'R', .relid = t->relid, .identity = t->identity, .schema = t->schema, .name = t->name, .ncols = t->ncols,
		.cols = arena_array(&s->arena, (size_t)t->ncols, sizeof *m.cols) };

	for (int i = 0; i < t->ncols; i++)
		m.cols[i] = (struct pgo_column){ .flags = t->cols[i].identity ? RELATION_KEY : 0, .name = t->cols[i].name,
			.typid = t->cols[i].typid, .typmod = t->cols[i].typmod };
	return source_pg_learn(s, &m, err);
}

/* ---- rows that are copied ---- */

const struct table *
source_pg_table(struct source *base, uint32_t relid)
{
	struct source_pg *s = (struct source_pg *)base;
	struct slot *slot;

	HASH_FIND(hh, s->rels, &relid, sizeof relid, slot);
	return slot && slot->rel ? &slot->rel->table : NULL;
}

enum rc
source_pg_adopt(struct source *base, const struct pgo *relation, const char *text, const struct table *seen,
    const struct table **tbl, struct err *err)
{
	struct source_pg *s = (struct source_pg *)base;
	const struct table *now = source_pg_table(base, relation->relid);
	bool waiting = s->waiting; /* of the stream's own message */
	struct slot *slot;
	enum rc rc = OK;

	HASH_FIND(hh, s->rels, &relation->relid, sizeof relation->relid, slot);
	if (!slot || !slot->text || strcmp(slot->text, text) != 0) {
		/* The stream is at another version by now than when the rows were asked for: which of the two is later? */
		if (now != seen)
			return AGAIN;
		s->copied = true;
		rc = source_pg_learn(s, relation, err);
		s->copied = false;
		s->waiting = waiting;
		if (rc != OK)
			return rc;
		HASH_FIND(hh, s->rels, &relation->relid, sizeof relation->relid, slot);
		if (slot->skip)
			return AGAIN;
		slot->text = strdup(text);
		if (!slot->text)
			die("out of memory");
	}
	*tbl = &slot->rel->table;
	return OK;
}

bool
source_pg_begins(struct source *base, uint32_t relid)
{
	struct source_pg *s = (struct source_pg *)base;
	struct slot *slot;
	bool yes;

	HASH_FIND(hh, s->rels, &relid, sizeof relid, slot);
	if (!slot || !slot->rel)
		return false;
	yes = slot->rel->follows;
	slot->rel->follows = false;
	return yes;
}

void
source_pg_refuse(struct source *base, const struct table *tbl, bool yes)
{
	struct source_pg *s = (struct source_pg *)base;
	struct slot *slot;

	HASH_FIND(hh, s->rels, &tbl->relid, sizeof tbl->relid, slot);
	if (!slot || !slot->rel)
		return;
	slot->refused = yes;
	for (struct relation *rel = slot->rel; rel && yes; rel = &rel->table == tbl ? NULL : rel->prev) {
		rel->unpublished = true;
		rel->follows = rel->followed;
		known_drop(s->base.known, &rel->table);
	}
	if (!yes && slot->rel->unpublished) {
		slot->rel->unpublished = false;
		known_note(s->base.known, &slot->rel->table, base->end_lsn + 1);
	}
}
