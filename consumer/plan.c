#include "consumer/plan.h"
#include "core/buf.h"
#include "core/pg.h"
#include "schemas/pgtypes.h"

#include <assert.h>

/* One statement in the making. */
struct draft {
	const struct target *t;
	const uint8_t *flags;
	struct arena *a;
	struct buf sql;
	struct plan plan;
};

static const char *
ident(struct draft *d, int col)
{
	return pg_ident(d->a, d->t->cols[col].name);
}

static bool
is_key(const struct target *t, int col)
{
	for (int i = 0; i < t->nkeys; i++)
		if (t->keys[i] == col)
			return true;
	return false;
}

static bool
writes(const struct draft *d, int col)
{
	return d->flags[col] & PLAN_SET && d->t->cols[col].name.n;
}

/* In a list: ", " before all but the first. */
static void
comma(struct draft *d, int *n, const char *sep)
{
	if ((*n)++)
		buf_text(&d->sql, sep);
}

/* A new parameter; its number. */
static int
param(struct draft *d, int col, bool old)
{
	const struct target_column *c = &d->t->cols[col];

	d->plan.params[d->plan.nparams] =
	    (struct plan_param){ col, old, !c->binary || d->flags[col] & PLAN_TEXT };
	return ++d->plan.nparams;
}

static void
place(struct draft *d, int number)
{
	buf_printf(&d->sql, "%c%d", d->t->dialect == DIALECT_PG ? '$' : '?', number);
}

static const char *
equals(struct draft *d, int col)
{
	const char *schema = d->t->cols[col].operators;

	return schema ? arena_printf(d->a, "OPERATOR(%s.=)", schema) : "=";
}

/* The column where it is compared: enum_eq and record_eq do not take a domain. The cast changes no bits, so an index serves. */
static const char *
compared(struct draft *d, const char *alias, int col)
{
	const struct target_column *c = &d->t->cols[col];

	return arena_printf(d->a, "%s%s%s%s", alias, ident(d, col), c->domain ? "::" : "", c->domain ? c->type : "");
}

/* ---- set-based ---- */

static bool
in_unnest(const struct draft *d, enum plan_kind kind, int col)
{
	bool key = is_key(d->t, col);

	switch (kind) {
	case PLAN_DELETE: return key;
	case PLAN_UPDATE: return key || (writes(d, col) && !d->t->cols[col].identity_always);
	default: return writes(d, col);
	}
}

/* unnest($1::bigint[], $2::text[]) AS u("id", "name") */
static void
put_unnest(struct draft *d, enum plan_kind kind)
{
	int n = 0;

	buf_text(&d->sql, "unnest(");
	for (int i = 0; i < d->t->ncols; i++)
		if (in_unnest(d, kind, i)) {
			int number = param(d, i,
			    kind == PLAN_DELETE || kind == PLAN_UPDATE ? is_key(d->t, i) : false);

			comma(d, &n, ", ");
			buf_printf(&d->sql, "$%d::%s[]", number,
			    d->plan.params[number - 1].text ? "text" : d->t->cols[i].type);
		}
	buf_text(&d->sql, ") AS u(");
	n = 0;
	for (int i = 0; i < d->t->ncols; i++)
		if (in_unnest(d, kind, i)) {
			comma(d, &n, ", ");
			buf_text(&d->sql, ident(d, i));
		}
	buf_byte(&d->sql, ')');
}

/*
 * u."col", with a cast where it travels as text. The cast is to the bare type: an explicit cast to
 * varchar(3) would cut the text in silence, while the assignment to the column that follows
 * complains.
 */
static void
put_value(struct draft *d, int col)
{
	const struct target_column *c = &d->t->cols[col];

	bool text = !c->binary || d->flags[col] & PLAN_TEXT;

	/* Its cast from text looks for a relation of that name: it knows no '-', and no number of one that is gone. */
	if (text && c->typid == PG_REGCLASS)
		buf_printf(&d->sql, "pg_catalog.regclassin(u.%s::cstring)", ident(d, col));
	else if (text && c->typid != PG_TEXT)
		buf_printf(&d->sql, "u.%s::%s", ident(d, col), c->type);
	else
		buf_printf(&d->sql, "u.%s", ident(d, col));
}

static void
put_columns(struct draft *d)
{
	int n = 0;

	buf_printf(&d->sql, "%s (", d->t->name);
	for (int i = 0; i < d->t->ncols; i++)
		if (writes(d, i)) {
			comma(d, &n, ", ");
			buf_text(&d->sql, ident(d, i));
		}
	buf_byte(&d->sql, ')');
}

/* Generated identities take the values that come, as with OVERRIDING SYSTEM VALUE. */
static bool
make_copy(struct draft *d)
{
	bool text = false;

	for (int i = 0; i < d->t->ncols; i++)
		if (writes(d, i))
			text = d->plan.params[param(d, i, false) - 1].text || text;
	for (int i = 0; i < d->plan.nparams; i++)
		d->plan.params[i].text = text;
	buf_text(&d->sql, "COPY ");
	put_columns(d);
	buf_printf(&d->sql, " FROM STDIN (FORMAT %s)", text ? "text" : "binary");
	return d->plan.nparams > 0;
}

static void
put_overriding(struct draft *d)
{
	for (int i = 0; i < d->t->ncols; i++)
		if (writes(d, i) && d->t->cols[i].identity_always) {
			buf_text(&d->sql, " OVERRIDING SYSTEM VALUE");
			return;
		}
}

/* ON CONFLICT (key) DO UPDATE SET everything else. */
static void
put_on_conflict(struct draft *d)
{
	int n = 0;

	buf_text(&d->sql, " ON CONFLICT (");
	for (int i = 0; i < d->t->nkeys; i++) {
		comma(d, &n, ", ");
		buf_text(&d->sql, ident(d, d->t->keys[i]));
	}
	buf_text(&d->sql, ") DO ");
	n = 0;
	for (int i = 0; i < d->t->ncols; i++) {
		const char *name;

		if (!writes(d, i) || is_key(d->t, i) || d->t->cols[i].identity_always)
			continue;
		name = ident(d, i);
		if (n == 0)
			buf_text(&d->sql, "UPDATE SET ");
		comma(d, &n, ", ");
		buf_printf(&d->sql, "%s = excluded.%s", name, name);
	}
	if (n == 0)
		buf_text(&d->sql, "NOTHING");
}

static void
make_insert(struct draft *d, enum plan_kind kind)
{
	int n = 0;

	buf_text(&d->sql, "INSERT INTO ");
	put_columns(d);
	put_overriding(d);
	buf_text(&d->sql, " SELECT ");
	for (int i = 0; i < d->t->ncols; i++)
		if (writes(d, i)) {
			comma(d, &n, ", ");
			put_value(d, i);
		}
	buf_text(&d->sql, " FROM ");
	put_unnest(d, kind);
	if (kind == PLAN_UPSERT)
		put_on_conflict(d);
}

static void
put_key_join(struct draft *d)
{
	int n = 0;

	buf_text(&d->sql, " WHERE ");
	for (int i = 0; i < d->t->nkeys; i++) {
		int col = d->t->keys[i];

		comma(d, &n, " AND ");
		buf_printf(&d->sql, "%s %s ", compared(d, "t.", col), equals(d, col));
		put_value(d, col);
	}
}

/*
 * The server itself has to count: by the time that the answer is here, the COMMIT is on its way.
 */
static bool
make_update(struct draft *d)
{
	int n = 0;

	if (d->t->counted)
		buf_text(&d->sql, "WITH hit AS (");
	buf_printf(&d->sql, "UPDATE %s AS t SET ", d->t->name);
	for (int i = 0; i < d->t->ncols; i++)
		if (in_unnest(d, PLAN_UPDATE, i) && !is_key(d->t, i)) {
			comma(d, &n, ", ");
			buf_printf(&d->sql, "%s = ", ident(d, i));
			put_value(d, i);
		}
	buf_text(&d->sql, " FROM ");
	put_unnest(d, PLAN_UPDATE);
	put_key_join(d);
	if (d->t->counted)
		buf_text(&d->sql, " RETURNING 1) SELECT 1 / (count(*) >= cardinality($1))::int FROM hit");
	return n > 0;
}

static void
make_delete(struct draft *d)
{
	buf_printf(&d->sql, "DELETE FROM %s AS t USING ", d->t->name);
	put_unnest(d, PLAN_DELETE);
	put_key_join(d);
}

/* ---- one row ---- */

static void
make_row_insert(struct draft *d, enum plan_kind kind)
{
	int n = 0;

	buf_text(&d->sql, "INSERT INTO ");
	put_columns(d);
	put_overriding(d);
	buf_text(&d->sql, " VALUES (");
	for (int i = 0; i < d->t->ncols; i++)
		if (writes(d, i)) {
			comma(d, &n, ", ");
			place(d, param(d, i, false));
		}
	buf_byte(&d->sql, ')');
	if (kind == PLAN_ROW_UPSERT)
		put_on_conflict(d);
}

static void
put_match(struct draft *d, int col)
{
	const struct target_column *c = &d->t->cols[col];
	const char *name = ident(d, col);

	if (d->t->dialect == DIALECT_SQLITE) {
		buf_printf(&d->sql, "%s IS ", name);
		place(d, param(d, col, true));
	} else if (c->by_text) {
		buf_printf(&d->sql, "%s::text IS NOT DISTINCT FROM ", name);
		place(d, param(d, col, true));
		buf_printf(&d->sql, "::%s::text", c->type);
	} else if (c->operators) {
		/* IS NOT DISTINCT FROM cannot name an operator's schema. */
		int number = param(d, col, true);

		buf_printf(&d->sql,
		    "coalesce(%s OPERATOR(%s.=) $%d::%s, %s IS NULL AND $%d::%s IS NULL)", name,
		    c->operators, number, c->type, name, number, c->type);
	} else {
		buf_printf(&d->sql, "%s IS NOT DISTINCT FROM ", compared(d, "", col));
		place(d, param(d, col, true));
	}
}

/* Exactly one of the rows that equal the old one. */
static void
put_match_where(struct draft *d)
{
	const char *id = d->t->dialect == DIALECT_SQLITE ? "rowid"
	    : d->t->children				 ? "(tableoid, ctid)"
							 : "ctid";
	const char *ids = d->t->children ? "tableoid, ctid" : id;
	int n = 0;

	buf_printf(&d->sql, " WHERE %s = (SELECT %s FROM %s WHERE ", id, ids, d->t->name);
	for (int i = 0; i < d->t->ncols; i++)
		if (d->flags[i] & PLAN_WHERE && d->t->cols[i].name.n) {
			comma(d, &n, " AND ");
			put_match(d, i);
		}
	if (n == 0)
		buf_text(&d->sql, d->t->dialect == DIALECT_PG ? "false" : "0");
	buf_text(&d->sql, " LIMIT 1)");
}

static void
put_key_where(struct draft *d)
{
	int n = 0;

	buf_text(&d->sql, " WHERE ");
	for (int i = 0; i < d->t->nkeys; i++) {
		int col = d->t->keys[i];

		comma(d, &n, " AND ");
		buf_printf(&d->sql, "%s %s ", compared(d, "", col), equals(d, col));
		place(d, param(d, col, true));
		/* Without its type a regclass, which has only oid's equality, would be read as an oid. */
		if (d->t->dialect == DIALECT_PG && (d->t->cols[col].operators || d->t->cols[col].by_text))
			buf_printf(&d->sql, "::%s", d->t->cols[col].type);
	}
}

static void
put_where(struct draft *d, bool match)
{
	if (match)
		put_match_where(d);
	else
		put_key_where(d);
}

static bool
make_row_update(struct draft *d, bool match)
{
	int n = 0;

	buf_printf(&d->sql, "UPDATE %s SET ", d->t->name);
	for (int i = 0; i < d->t->ncols; i++)
		if (writes(d, i) && !d->t->cols[i].identity_always) {
			comma(d, &n, ", ");
			buf_printf(&d->sql, "%s = ", ident(d, i));
			place(d, param(d, i, false));
		}
	put_where(d, match);
	return n > 0;
}

static bool
make(struct draft *d, enum plan_kind kind)
{
	switch (kind) {
	case PLAN_INSERT:
	case PLAN_UPSERT:
		make_insert(d, kind);
		return true;
	case PLAN_UPDATE:
		return make_update(d);
	case PLAN_DELETE:
		make_delete(d);
		return true;
	case PLAN_COPY:
		return make_copy(d);
	case PLAN_ROW_INSERT:
	case PLAN_ROW_UPSERT:
		make_row_insert(d, kind);
		return true;
	case PLAN_ROW_UPDATE:
	case PLAN_ROW_UPDATE_MATCH:
		return make_row_update(d, kind == PLAN_ROW_UPDATE_MATCH);
	case PLAN_ROW_DELETE:
	case PLAN_ROW_DELETE_MATCH:
		buf_printf(&d->sql, "DELETE FROM %s", d->t->name);
		put_where(d, kind == PLAN_ROW_DELETE_MATCH);
		return true;
	case PLAN_KINDS:
		break;
	}
	assert(!"plan kind");
	return false;
}

struct plan
plan_make(const struct target *t, enum plan_kind kind, const uint8_t *flags, struct arena *a)
{
	struct draft d = { .t = t, .flags = flags, .a = a };

	d.plan.params = arena_array(a, (size_t)t->ncols * 2, sizeof *d.plan.params);
	if (make(&d, kind))
		d.plan.sql = arena_text(a, buf_view(&d.sql));
	buf_free(&d.sql);
	return d.plan;
}

bool
plan_has_equality(uint32_t typid, char typtype)
{
	static const uint32_t with[] = { PG_BOOL, PG_BYTEA, PG_CHAR, PG_NAME, PG_INT8, PG_INT2,
		PG_INT4, PG_TEXT, PG_OID, PG_FLOAT4, PG_FLOAT8, PG_MONEY, PG_BPCHAR, PG_VARCHAR,
		PG_DATE, PG_TIME, PG_TIMESTAMP, PG_TIMESTAMPTZ, PG_TIMETZ, PG_BIT, PG_VARBIT,
		PG_NUMERIC, PG_UUID };

	if (typtype == 'e')
		return true;
	for (size_t i = 0; i < COUNTOF(with); i++)
		if (with[i] == typid)
			return true;
	return false;
}
