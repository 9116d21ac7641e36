/*
 * sink_impl.h - what the sinks share: values as text, and how one row becomes statements. Nobody
 * else includes it.
 */
#ifndef CONSUMER_SINK_IMPL_H
#define CONSUMER_SINK_IMPL_H

#include "consumer/plan.h"
#include "consumer/sink.h"
#include "core/buf.h"

/* Value -> text for the sink, appended; not for V_NULL and V_ABSENT. REJECT: it has none. */
enum rc sink_text(
    const struct column *col, const struct value *v, struct buf *out, struct err *err) MUST_CHECK;

/*
 * " DEFAULT ..." for a column that is added, or "". The rows that the sink has already must not get
 * NULL where the source's got the new column's default; so far for values whose JSON is their text.
 */
const char *sink_default(enum dialect dialect, const struct column *c, struct arena *a);

/* A column of the sink that the table has not. */
struct sink_extra {
	const char *name, *type;
	bool needed;           /* NOT NULL, and nothing fills it */
};

/* A column that the sink lacks, and what may be known about it. */
struct sink_adding {
	enum dialect dialect;
	const char *table;     /* quoted */
	const struct column *col;
	const char *type;      /* as the sink would have it */
	const struct sink_extra *extra;
	int nextra;
	const struct table *before; /* the version that came before; NULL: not known */
};

/* on_schema_change of a sink, with its default. */
enum sink_policy { SINK_APPLY, SINK_STOP, SINK_IGNORE };
enum sink_policy sink_policy(const struct conf_sink *conf);

/* A change that the policy does not let us make, or that we cannot, with the statement that would. FATAL/EXIT_REFUSED. */
enum rc sink_refuse(const char *table, const char *what, const char *sql, struct err *err) MUST_CHECK;

/* A name for a table that somebody is told to put aside, quoted, in a: never to drop, as only he knows what is in it. */
const char *sink_aside(struct arena *a, struct slice name);

/*
 * A table version begins whose table was called `from` so far, and the sink has that one and another one of the new name: `to`, both
 * quoted. aside: of sink_aside. FATAL with the statements, or OK with a warning, as the policy says.
 */
enum rc sink_both_there(const struct sink *s, const char *from, const char *to, const char *aside, const char *rename, struct err *err)
    MUST_CHECK;

/*
 * Whether it may be added to a table with rows in it. FATAL, with the SQL, when it cannot be told which values they have at the
 * source: a default that no schema tells, or a column by another name until now.
 */
enum rc sink_add_check(const struct sink_adding *add, struct arena *a, struct err *err) MUST_CHECK;

/* sink.as_is: REJECT when the sink lacks the table, or a column of tbl (its names) that the policy does not leave out. */
enum rc sink_fits(const struct sink *s, const struct target *t, const struct table *tbl, bool there, const bool *generated,
    struct err *err) MUST_CHECK;

/* One row in exact order: at most two statements. */
struct row_step {
	enum plan_kind kind;
	uint8_t *flags;        /* tbl->ncols */
};

struct row_steps {
	int n;
	bool truncate;
	bool must_hit;         /* the last one is to change one row */
	struct row_step step[2];
};

/*
 * flags: room for 2 * tbl->ncols. REJECT: the row cannot be found at the sink by what is known of
 * it.
 */
enum rc sink_row_steps(const struct target *t, const struct row *r, uint8_t *flags,
    struct row_steps *out, struct err *err) MUST_CHECK;

/* The value behind a parameter of a row plan; V_NULL and V_ABSENT are NULL. */
const struct value *sink_row_value(
    const struct row *r, enum plan_kind kind, const struct plan_param *p);

/* The rows that a redo leaves out. keys: of those, so that later changes of them are left out too. */
struct redo_list {
	struct reject *rejects;
	int max, n;
	struct parked keys;
};

bool redo_waits(struct redo_list *l, const struct row *r);

/* Leave it out, for the reason in err; REJECT when there is no room, FATAL for a truncate. */
enum rc redo_leave(struct redo_list *l, struct arena *a, const struct row *r, bool waits, struct err *err) MUST_CHECK;

/* r is a truncate that was done. */
void redo_truncated(struct redo_list *l, const struct row *r);
void redo_forget(struct redo_list *l);

/* Entries as the JSON array that SQL_PG_PARK and SQL_SQLITE_PARK take, and numbers as one. lsn_text: as PostgreSQL's pg_lsn. */
void park_json(const struct parked_entry *e, int n, bool lsn_text, struct buf *out);
void park_ids_json(const int64_t *ids, int n, struct buf *out);

/* One result of SQL_PARKED_READ, as texts, NULL for NULL; in a. */
enum { PARKED_CELLS = 20 };
void park_entry(const char *const cells[PARKED_CELLS], struct arena *a, struct parked_entry *out);

/* One result of SQL_PARKED_KEYS, likewise, into the set. */
enum { PARKED_KEY_CELLS = 6 };
void park_key(const char *const cells[PARKED_KEY_CELLS], struct parked *set);

/* SQL_PARKED_READ with its parameters as texts. */
enum { PARKED_PARAMS = 7 };
struct park_params {
	char numbers[PARKED_PARAMS][24];
	const char *values[PARKED_PARAMS];
};
void park_params(const char *pipeline, const struct parked_query *q, struct park_params *out);

/*
 * The parameters of SQL_NAMES_NOTE as texts, and but for the last those of SQL_NAMES_SINCE: a change's place, and what its table's
 * columns are called (NULL: not asked). In a.
 */
enum { NAMES_PARAMS = 6 };
const char **names_params(const struct sink *s, struct slice schema, struct slice table, const struct names_at *at, const char *names,
    struct arena *a);

/* Positions as the JSON array that SQL_PG_POSITION_WRITE and SQL_SQLITE_POSITION_WRITE take. */
void position_json(const struct position *p, int n, struct buf *out);

/* "p" of "p" and of "p/lane 3". In a. */
const char *park_base(const char *pipeline, struct arena *a);

/* PLAN_SET for the columns that a work writes. */
void sink_work_flags(const struct target *t, const struct work *w, uint8_t *flags);

#endif
