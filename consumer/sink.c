#include "consumer/sink_impl.h"
#include "core/log.h"
#include "core/pg.h"
#include "schemas/pgtypes.h"

#include <jansson.h>

enum rc
sink_open(const char *pipeline, const struct conf_sink *conf, struct sink **out, struct err *err)
{
	const char *url = conf->url;

	if (strncmp(url, "sqlite:", 7) == 0)
		return sink_sqlite_open(pipeline, conf, out, err);
	if (strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0)
		return sink_pg_open(pipeline, conf, out, err);
	/* libpq's other form: "host=db dbname=shop". */
	if (!strstr(url, "://") && strchr(url, '='))
		return sink_pg_open(pipeline, conf, out, err);
	return fail_exit(err, FATAL, EXIT_CONFIG,
	    "sink %s: no such kind of sink; the URL begins with postgres:// or sqlite:",
	    conf->name);
}

enum rc
sink_text(const struct column *col, const struct value *v, struct buf *out, struct err *err)
{
	return pgtype_text(&col->type, v, out, err);
}

static const char *
sqlite_literal(struct arena *a, struct slice s)
{
	struct buf b = { 0 };
	const char *text;

	buf_byte(&b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			buf_byte(&b, '\'');
		buf_byte(&b, (uint8_t)s.p[i]);
	}
	buf_byte(&b, '\'');
	text = arena_text(a, buf_view(&b));
	buf_free(&b);
	return text;
}

const char *
sink_default(enum dialect dialect, const struct column *c, struct arena *a)
{
	const char *text = arena_text(a, c->default_json), *out = "";
	json_t *j = c->has_default ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	bool plain = !c->type.semantic && c->type.wire != W_BYTES && c->type.wire != W_OTHER;
	bool pg = dialect == DIALECT_PG;

	if (json_is_string(j) && c->type.wire == W_STRING && (pg || plain)) {
		struct slice s = { json_string_value(j), json_string_length(j) };

		/* SQLite knows no escapes in a literal. */
		out = arena_printf(a, " DEFAULT %s", pg ? pg_literal(a, s) : sqlite_literal(a, s));
	} else if (json_is_boolean(j) && plain) {
		out = arena_printf(a, " DEFAULT %s", pg ? text : json_is_true(j) ? "1" : "0");
	} else if (json_is_number(j) && plain) {
		out = arena_printf(a, " DEFAULT %s%s%s", pg ? "'" : "", text, pg ? "'" : "");
	}
	json_decref(j);
	return out;
}

enum sink_policy
sink_policy(const struct conf_sink *conf)
{
	const char *policy = conf->on_schema_change;

	return !policy || strcmp(policy, "apply") == 0 ? SINK_APPLY : strcmp(policy, "stop") == 0 ? SINK_STOP : SINK_IGNORE;
}

enum rc
sink_refuse(const char *table, const char *what, const char *sql, struct err *err)
{
	return fail_exit(err, FATAL, EXIT_REFUSED, "table %s: %s; %s", table, what, sql);
}

const char *
sink_aside(struct arena *a, struct slice name)
{
	return pg_ident(a, slice_of(arena_printf(a, "%.*s_before", SLICE_ARG(name))));
}

enum rc
sink_both_there(const struct sink *s, const char *from, const char *to, const char *aside, const char *rename, struct err *err)
{
	if (sink_policy(s->conf) == SINK_IGNORE) {
		log_warn("sink", "left as it is: the source has given this table's name to another one", "sink=%s table=%s was=%s",
		    s->conf->name, to, from);
		return OK;
	}
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "table %s: the source has given this name to the table that was %s, and this sink has both; if the one that had the name before"
	    " is no more at the source, put it aside: ALTER TABLE %s RENAME TO %s; %s; if the two have exchanged their names there,"
	    " exchange them here too, and start with sinks.%s.on_schema_change: ignore until both have had a row",
	    to, from, to, aside, rename, s->conf->name);
}

/* Which column of the sink may be this one, by its old name; NULL: none. One of the same type rather than another. */
static const struct sink_extra *
may_be_renamed(const struct sink_adding *add)
{
	const struct sink_extra *found = NULL;

	for (int i = 0; i < add->nextra; i++) {
		const struct sink_extra *x = &add->extra[i];

		if (add->before && table_column(add->before, slice_of(x->name)) < 0)
			continue;
		if (strcasecmp(x->type, add->type) == 0)
			return x;
		if (!found)
			found = x;
	}
	return found;
}

enum rc
sink_add_check(const struct sink_adding *add, struct arena *a, struct err *err)
{
	const struct column *c = add->col;
	const struct sink_extra *old = c->fresh ? NULL : may_be_renamed(add);
	const char *dflt = sink_default(add->dialect, c, a), *name = pg_ident(a, c->name), *sql;
	/* Without a default the rows that were there have NULL at the source too. */
	bool told = !c->default_expr && (*dflt || (!c->notnull && !c->has_default));

	sql = arena_printf(a, "ALTER TABLE %s ADD COLUMN %s %s%s%s", add->table, name, add->type, dflt,
	    told ? "" : ", and fill it");
	if (old)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s lacks column %s at the sink, and has column %s that the source does not have; if it was renamed:"
		    " ALTER TABLE %s RENAME COLUMN %s TO %s; if it is new: %s", add->table, c->name.p, old->name,
		    add->table, pg_ident(a, slice_of(old->name)), name, sql);
	if (!told)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "table %s lacks column %s at the sink, and no schema tells which values the rows there have in it at the source; %s",
		    add->table, c->name.p, sql);
	return OK;
}

enum rc
sink_fits(const struct sink *s, const struct target *t, const struct table *tbl, bool there, const bool *generated, struct err *err)
{
	static const char fix[] = "the table has another shape now than the change: put the row right by hand, then skip it";

	if (!there)
		return fail(err, REJECT, "table %s is not at the sink; %s", t->name, fix);
	for (int i = 0; i < tbl->ncols; i++)
		if (!t->cols[i].name.n && tbl->cols[i].name.n && !generated[i] &&
		    (sink_policy(s->conf) != SINK_IGNORE || table_is_key(tbl, i)))
			return fail(err, REJECT, "table %s has no column %s at the sink; %s", t->name, tbl->cols[i].name.p, fix);
	return OK;
}

void
sink_work_flags(const struct target *t, const struct work *w, uint8_t *flags)
{
	for (int i = 0; i < t->ncols; i++)
		flags[i] = w->kind != WORK_DELETE && (!w->present || w->present[i]) ? PLAN_SET : 0;
}

/* ---- one row ---- */

static void
flag_present(const struct table *tbl, const struct value *row, uint8_t flag, uint8_t *flags)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (row[i].kind != V_ABSENT)
			flags[i] |= flag;
}

static void
step_add(struct row_steps *s, enum plan_kind kind, uint8_t *flags)
{
	s->step[s->n++] = (struct row_step){ kind, flags };
}

/* Created or read. An insert of a row that the sink has already (by its key) puts the row right. */
static void
steps_put(const struct target *t, const struct row *r, uint8_t *flags, struct row_steps *out)
{
	bool keyed = row_keyed(r);

	flag_present(r->tbl, r->after, PLAN_SET, flags);
	if (keyed && t->unique) {
		step_add(out, PLAN_ROW_UPSERT, flags);
		return;
	}
	if (keyed)
		step_add(out, PLAN_ROW_DELETE, flags);
	step_add(out, PLAN_ROW_INSERT, flags);
}

/*
 * GENERATED ALWAYS AS IDENTITY cannot be updated: a changed key of that kind is the old row away
 * and the new one in.
 */
static bool
key_is_fixed(const struct target *t, const struct row *r)
{
	for (int i = 0; r->moved && i < t->nkeys; i++)
		if (t->cols[t->keys[i]].identity_always)
			return true;
	return false;
}

static enum rc
steps_update(const struct target *t, const struct row *r, uint8_t *flags, struct row_steps *out,
    struct err *err)
{
	const struct table *tbl = r->tbl;

	out->must_hit = true;
	flag_present(tbl, r->after, PLAN_SET, flags);
	if (!row_keyed(r)) {
		flag_present(tbl, r->before, PLAN_WHERE, flags);
		step_add(out, PLAN_ROW_UPDATE_MATCH, flags);
		return OK;
	}
	if (key_is_fixed(t, r)) {
		for (int i = 0; i < tbl->ncols; i++)
			if (r->after[i].kind == V_ABSENT)
				return fail(err, REJECT,
				    "table %s: the changed key is GENERATED ALWAYS at the sink; ALTER COLUMN it SET"
				    " GENERATED BY DEFAULT",
				    t->name);
		step_add(out, PLAN_ROW_DELETE, flags);
		step_add(out, PLAN_ROW_INSERT, flags);
		return OK;
	}
	for (int i = 0; !r->moved && i < tbl->nkeys; i++)
		flags[tbl->keys[i]] = 0;
	step_add(out, PLAN_ROW_UPDATE, flags);
	return OK;
}

enum rc
sink_row_steps(const struct target *t, const struct row *r, uint8_t *flags, struct row_steps *out,
    struct err *err)
{
	memset(flags, 0, (size_t)r->tbl->ncols * 2);
	*out = (struct row_steps){ 0 };
	if (r->op == OP_TRUNCATE) {
		out->truncate = true;
		return OK;
	}
	if (r->op != OP_DELETE && !r->after)
		return fail(err, REJECT, "table %s: a change of kind '%c' without its new row",
		    t->name, r->op);
	if (r->op == OP_CREATE || r->op == OP_READ) {
		steps_put(t, r, flags, out);
		return OK;
	}
	if (!r->before && !row_keyed(r))
		return fail(err, REJECT,
		    "table %s: a change of kind '%c' with neither key nor old row; set REPLICA IDENTITY FULL at the source",
		    t->name, r->op);
	if (r->op == OP_UPDATE)
		return steps_update(t, r, flags, out, err);
	if (row_keyed(r)) {
		step_add(out, PLAN_ROW_DELETE, flags);
		return OK;
	}
	out->must_hit = true;
	flag_present(r->tbl, r->before, PLAN_WHERE, flags);
	step_add(out, PLAN_ROW_DELETE_MATCH, flags);
	return OK;
}

const struct value *
sink_row_value(const struct row *r, enum plan_kind kind, const struct plan_param *p)
{
	if (!p->old)
		return &r->after[p->col];
	if (kind == PLAN_ROW_UPDATE_MATCH || kind == PLAN_ROW_DELETE_MATCH)
		return &r->before[p->col];
	return row_key(r, p->col);
}

/* ---- rows that a redo leaves out ---- */

bool
redo_waits(struct redo_list *l, const struct row *r)
{
	struct parked_ids ids;
	int64_t head;

	if (!l->keys.n || !parked_has_table(&l->keys, r->tbl->schema, r->tbl->name))
		return false;
	parked_ids(r, &l->keys.scratch, &ids);
	return parked_has(&l->keys, &ids, &head);
}

enum rc
redo_leave(struct redo_list *l, struct arena *a, const struct row *r, bool waits, struct err *err)
{
	struct parked_ids ids;

	if (l->n == l->max)
		return REJECT;
	if (r->op == OP_TRUNCATE)
		return fail(err, FATAL, "%s; a truncate cannot wait: correct the sink and start again", err->text);
	l->rejects[l->n++] = (struct reject){ r, arena_text(a, slice_of(err->text)), waits };
	parked_ids(r, &l->keys.scratch, &ids);
	parked_add(&l->keys, r->tbl->schema, r->tbl->name, &ids, 1);
	return OK;
}

void
redo_truncated(struct redo_list *l, const struct row *r)
{
	int kept = 0;

	for (int i = 0; i < l->n; i++) {
		const struct table *t = l->rejects[i].row->tbl;

		if (!slice_eq(t->schema, r->tbl->schema) || !slice_eq(t->name, r->tbl->name))
			l->rejects[kept++] = l->rejects[i];
	}
	l->n = kept;
	parked_drop_table(&l->keys, r->tbl->schema, r->tbl->name);
}

void
redo_forget(struct redo_list *l)
{
	parked_free(&l->keys);
	l->n = 0;
}
