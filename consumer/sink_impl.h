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

/*
 * A row was rejected before, and this is a later change of its key: it waits behind it (DESIGN 3).
 */
bool sink_row_waits(const struct reject *rejects, int n, const struct row *r);

/* PLAN_SET for the columns that a work writes. */
void sink_work_flags(const struct target *t, const struct work *w, uint8_t *flags);

#endif
