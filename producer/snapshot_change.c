/*
 * snapshot_change.c - changes that the stream brings of tables that are being copied.
 */
#include "producer/snapshot_impl.h"

#include <stdlib.h>

/* The columns that the change does not bring, as the row has them that is found by `where`. *found: there is one; *seen: and it is of
 * after the change. */
static enum rc
read_absent(struct snapshot *s, const struct member *m, const struct txn *txn, struct change *ch, const struct value *key, bool *found,
    bool *seen, struct err *err)
{
	const struct copy_table *t = m->table;
	const struct table *tbl = ch->tbl;
	struct arena *a = &s->change_arena;
	struct value *after = arena_array(a, (size_t)tbl->ncols, sizeof *after);
	struct copy_snapshot snap = { 0 };
	struct buf cols = { 0 };
	const char *where;
	PGresult *res = NULL;
	enum rc rc = copy_table_where(t, key, a, &where, err);

	for (int i = 0; i < tbl->ncols; i++)
		if (ch->after[i].kind == V_ABSENT)
			buf_printf(&cols, ", t.%s", pg_ident(a, tbl->cols[i].name));
	/* Most keys' operators are found anyway. */
	if (rc == OK && strcmp(t->path, "pg_catalog") != 0)
		rc = pg_exec(s->sql, "set search_path", arena_printf(a, "SET search_path = %s", t->path), NULL, err);
	if (rc == OK)
		rc = pg_exec(s->sql, "read a row that has moved", arena_printf(a, "SELECT pg_current_snapshot(), t.ctid IS NOT NULL%s"
		    " FROM (SELECT) o LEFT JOIN %s AS t ON %s", buf_cstr(&cols), t->from, where), &res, err);
	buf_free(&cols);
	if (rc == OK && !copy_snapshot_parse(PQgetvalue(res, 0, 0), &snap))
		rc = fail(err, FATAL, "pg_current_snapshot() gave '%.60s'", PQgetvalue(res, 0, 0));
	*seen = rc == OK && copy_snapshot_sees(&snap, txn->xid);
	*found = rc == OK && *PQgetvalue(res, 0, 1) == 't';
	memcpy(after, ch->after, (size_t)tbl->ncols * sizeof *after);
	for (int i = 0, col = 2; *found && rc == OK && i < tbl->ncols; i++) {
		if (ch->after[i].kind != V_ABSENT)
			continue;
		after[i].kind = V_NULL;
		if (!PQgetisnull(res, 0, col))
			rc = pgtype_read(&t->rel->types[i], &tbl->cols[i].type, false,
			    arena_slice(a, (struct slice){ PQgetvalue(res, 0, col), (size_t)PQgetlength(res, 0, col) }), a, &after[i], err);
		col++;
	}
	free(snap.running);
	PQclear(res);
	if (rc == OK && *found)
		ch->after = after;
	if (strcmp(t->path, "pg_catalog") != 0) {
		struct err why;
		enum rc reset = pg_exec(s->sql, "set search_path", "SET search_path = pg_catalog", NULL, rc == OK ? err : &why);

		rc = rc == OK ? reset : rc;
	}
	return rc;
}

/*
 * The row has another key, and the change does not bring all of its values, which a sink may not have under the old key, as that
 * part of the table is still to come. They are read as they are now: what changed them since comes in the stream. Where the row is gone
 * since, under that key, whoever took it away comes in the stream too. A transaction that nobody else sees yet is at its old key; what
 * is at neither was made by that transaction itself, so every sink has it. *there: that is so.
 */
static enum rc
fill(struct snapshot *s, struct member *m, const struct txn *txn, struct change *ch, bool *there, struct err *err)
{
	bool found, seen;
	enum rc rc = OK;

	arena_reset(&s->change_arena);
	if (!m->table)
		rc = copy_table_look(s->sql, s->conf, m->schema, m->name, &m->table, err);
	if (rc == OK && m->table->rel->table.ncols != ch->tbl->ncols)
		rc = fail(err, FATAL, "the table is described otherwise by now");
	/* It may come to be seen between the two looks: then it is where it went to. */
	for (bool again = true; rc == OK && again;) {
		const struct value *after = ch->after;

		rc = read_absent(s, m, txn, ch, ch->after, &found, &seen, err);
		if (rc != OK || found || seen)
			break;
		rc = read_absent(s, m, txn, ch, ch->before, &found, &seen, err);
		again = rc == OK && seen;
		if (again)
			ch->after = after;
	}
	*there = rc == OK && !found && !seen;
	if (rc == OK && !found && seen) {
		ch->op = OP_DELETE;
		ch->after = NULL;
	}
	return rc;
}

static bool
lacks(const struct change *ch)
{
	for (int i = 0; i < ch->tbl->ncols; i++)
		if (ch->after[i].kind == V_ABSENT && !ch->after[i].exact.n)
			return true;
	return false;
}

/*
 * An update that moves its row to another key becomes a delete and an insert, which each sink can do whether or not the row has been
 * copied: the new key may lie where the copy has passed by, and the old one where it has not been.
 */
static enum rc
move(struct snapshot *s, struct member *m, const struct txn *txn, struct change *ch, struct err *err)
{
	bool there = false;
	enum rc rc = lacks(ch) ? fill(s, m, txn, ch, &there, err) : OK;

	if (rc == OK) {
		ch->apart = !there;
		return OK;
	}
	if (rc == RETRY)
		return rc;
	snapshot_fail(s, m, COPY_FAILED, err->text);
	return OK;
}

enum rc
snapshot_change(struct snapshot *s, const struct txn *txn, struct change *ch, struct err *err)
{
	struct member *m;
	enum rc rc = OK;

	if (s->off)
		return recopy_change(s->recopy, ch);
	if ((!s->nopen && !s->nseen && !s->nempty) || !ch->tbl)
		return OK;
	if (s->last_tbl != ch->tbl) {
		s->last_tbl = ch->tbl;
		s->last_member = stopped_as(s, ch->tbl->relid);
		if (!s->last_member)
			s->last_member = snapshot_member(s, ch->tbl->schema, ch->tbl->name);
	}
	m = s->last_member;
	if (m && member_is_void(m)) {
		stop_change(s, m, ch->tbl);
		return AGAIN;
	}
	if (m && m->copy.seen && copy_snapshot_sees(&m->seen, txn->xid))
		return AGAIN;
	if (!m || !copy_open(&m->copy))
		return OK;
	if (change_moves_key(ch))
		rc = move(s, m, txn, ch, err);
	for (struct chunk *c = s->chunks; c && rc == OK; c = c->next)
		if (c->m == m && c->window && !c->dead)
			window_change(c->window, ch);
	return rc;
}
