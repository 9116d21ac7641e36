/*
 * codec_read.c - Avro binary of any writer to rows and envelopes: runs the op lists that codec_compile.c made.
 *
 * Nothing is believed: each length is compared with the bytes left, each number of items too, depth is limited, and a
 * message must end where its schema says. So work and memory are in proportion to the message, whatever it says.
 */
#include "schemas/codec_ops.h"

/* ---- any value ---- */

static void
walk_blocks(const struct node *t, struct cursor *c, int depth)
{
	const struct node *item = t->kids[0];
	uint64_t zeros = 0;

	for (;;) {
		int64_t n = take_long(c), size;
		uint64_t count = n < 0 ? -(uint64_t)n : (uint64_t)n;
		const uint8_t *end = NULL;

		if (c->bad || n == 0)
			return;
		if (n < 0) {
			size = take_long(c);
			if (c->bad || size < 0 || (uint64_t)size > cursor_left(c))
				break;
			end = c->p + size;
		}
		if (t->type == A_ARRAY && !item->sized) {
			if (count > ZERO_ITEMS_MAX || (zeros += count) > ZERO_ITEMS_MAX)
				break;
		} else if (count > cursor_left(c)) {
			break;
		} else {
			for (; count > 0 && !c->bad; count--) {
				if (t->type == A_MAP)
					(void)take_bytes(c);
				if (item->sized && !c->bad)
					node_walk(item, c, depth + 1);
			}
		}
		if (c->bad || (end && c->p != end))
			break;
	}
	c->bad = true;
}

static void
walk_union(const struct node *t, struct cursor *c, int depth)
{
	uint64_t b = (uint64_t)take_long(c);

	if (c->bad || b >= (uint64_t)t->n)
		c->bad = true;
	else
		node_walk(t->kids[b], c, depth + 1);
}

void
node_walk(const struct node *t, struct cursor *c, int depth)
{
	if (c->bad || depth > VALUE_DEPTH_MAX) {
		c->bad = true;
		return;
	}
	switch (t->type) {
	case A_NULL:
		return;
	case A_BOOL:
		if (cursor_u8(c) > 1)
			c->bad = true;
		return;
	case A_INT:
		(void)take_int(c);
		return;
	case A_LONG:
		(void)take_long(c);
		return;
	case A_FLOAT:
		(void)cursor_take(c, 4);
		return;
	case A_DOUBLE:
		(void)cursor_take(c, 8);
		return;
	case A_BYTES:
	case A_STRING:
		(void)take_bytes(c);
		return;
	case A_FIXED:
		(void)cursor_take(c, t->size);
		return;
	case A_ENUM:
		if ((uint64_t)take_long(c) >= (uint64_t)t->n)
			c->bad = true;
		return;
	case A_ARRAY:
	case A_MAP:
		walk_blocks(t, c, depth);
		return;
	case A_UNION:
		walk_union(t, c, depth);
		return;
	case A_RECORD:
		for (int i = 0; i < t->nwalk && !c->bad; i++)
			node_walk(t->walk[i], c, depth + 1);
		return;
	}
}

/* The bytes of one value. */
static struct slice
walked(const struct node *t, struct cursor *c)
{
	struct cursor end = *c;
	struct slice s;

	node_walk(t, &end, 0);
	s = (struct slice){ (const char *)c->p, (size_t)(end.p - c->p) };
	*c = end;
	return s;
}

/* ---- rows ---- */

static inline struct value
read_fixed_width(struct cursor *c, enum col_kind kind)
{
	struct value v = { .kind = kind == COL_FLOAT ? V_FLOAT : V_DOUBLE };
	const uint8_t *p = cursor_take(c, kind == COL_FLOAT ? 4 : 8);
	float f;

	if (!p)
		return v;
	if (kind == COL_DOUBLE) {
		memcpy(&v.d, p, 8);
	} else {
		memcpy(&f, p, 4);
		v.d = (double)f;
	}
	return v;
}

/* What Debezium writes for an unchanged TOAST column that it did not get; the second form is an hstore's. */
static inline bool
is_placeholder(struct slice s)
{
	static const char plain[] = PLACEHOLDER, pair[] = "{\"" PLACEHOLDER "\":\"" PLACEHOLDER "\"}";

	return (s.n == sizeof plain - 1 && memcmp(s.p, plain, sizeof plain - 1) == 0) ||
	    (s.n == sizeof pair - 1 && memcmp(s.p, pair, sizeof pair - 1) == 0);
}

static struct value
read_text(struct cursor *c, uint8_t kind)
{
	struct value v = { .kind = kind, .s = take_bytes(c) };

	if (is_placeholder(v.s))
		v = (struct value){ .kind = V_ABSENT };
	return v;
}

static struct value
read_rare(const struct col_op *o, struct cursor *c, struct arena *a)
{
	struct value v = { .kind = V_AVRO };

	if (o->kind == COL_VARDECIMAL) {
		v = (struct value){ .kind = V_DECIMAL, .scale = (int32_t)take_int(c) };
		if (!c->bad)
			v.s = take_bytes(c);
		return v;
	}
	v.s = o->kind == COL_ARRAY ? array_rewrite(o->at.node, c, a) : walked(o->at.node, c);
	if (o->absent.n && slice_eq(v.s, o->absent))
		v = (struct value){ .kind = V_ABSENT };
	return v;
}

/* A union of several branches is a value as a whole, its branch number included; only its null is NULL. */
static bool
whole_union_null(const struct col_op *o, struct cursor *c)
{
	struct cursor peek = *c;

	if (take_long(&peek) != o->at.null_at || peek.bad)
		return false;
	*c = peek;
	return true;
}

/* Read one row into row[]; the index of the op that failed, or -1. */
static int
read_row(const struct row_ops *ops, struct cursor *from, struct value *row, struct arena *a)
{
	struct cursor c = *from, slow;
	int i;

	for (i = 0; i < ops->n; i++) {
		const struct col_op *o = &ops->ops[i];
		struct value *v = &row[o->col];

		if (o->at.branch) {
			if (take_null(&c, &o->at)) {
				*v = value_null();
				continue;
			}
		} else if (o->at.null_at >= 0 && whole_union_null(o, &c)) {
			*v = value_null();
			continue;
		}
		if (c.bad)
			break;
		switch (o->kind) {
		case COL_NULL:
			*v = value_null();
			break;
		case COL_BOOL:
			*v = (struct value){ .kind = V_BOOL, .i = cursor_u8(&c) };
			c.bad |= v->i > 1;
			break;
		case COL_INT:
			*v = value_int(take_int(&c));
			break;
		case COL_LONG:
			*v = value_int(take_long(&c));
			break;
		case COL_FLOAT:
		case COL_DOUBLE:
			*v = read_fixed_width(&c, o->kind);
			break;
		case COL_BYTES:
		case COL_STRING:
			slow = c;
			*v = read_text(&slow, o->kind == COL_BYTES ? V_BYTES : V_STRING);
			c = slow;
			break;
		default:
			slow = c;
			*v = read_rare(o, &slow, a);
			c = slow;
			break;
		}
		if (c.bad)
			break;
	}
	*from = c;
	return c.bad ? i : -1;
}

static struct value *
row_new(const struct reader *r, const struct row_ops *ops, struct arena *a)
{
	size_t n = (size_t)r->tbl->ncols;

	return ops->full ? arena_raw(a, n * sizeof(struct value)) : arena_array(a, n, sizeof(struct value));
}

/* ---- envelope ---- */

/* Where a message went wrong, for the error. */
struct place {
	const char *field;
	struct slice col;
};

static bool
step_row(const struct reader *r, const struct step *s, struct cursor *c, struct arena *a, struct raw *raw,
    struct place *at)
{
	struct value *row = row_new(r, s->row, a);
	int bad = read_row(s->row, c, row, a);

	if (s->kind == STEP_BEFORE)
		raw->env.before = row;
	else
		raw->env.after = row;
	if (bad >= 0)
		at->col = s->row->node->labels[bad];
	return bad < 0;
}

static bool
run_steps(const struct reader *r, const struct step *steps, int n, struct cursor *from, struct arena *a,
    struct raw *raw, struct place *at)
{
	struct cursor c = *from;

	for (int i = 0; i < n && !c.bad; i++) {
		const struct step *s = &steps[i];
		struct cursor slow;
		struct slice text;
		int64_t v;

		at->field = s->name;
		if (s->at.branch && (take_null(&c, &s->at) || c.bad))
			continue;
		switch (s->kind) {
		case STEP_SLICE:
			text = take_bytes(&c);
			memcpy((char *)raw + s->off, &text, sizeof text);
			break;
		case STEP_LONG:
			v = take_long(&c);
			memcpy((char *)raw + s->off, &v, sizeof v);
			break;
		case STEP_BEFORE:
		case STEP_AFTER:
			slow = c;
			if (!step_row(r, s, &slow, a, raw, at))
				slow.bad = true;
			c = slow;
			break;
		case STEP_SUB:
			slow = c;
			if (!run_steps(r, s->sub, s->nsub, &slow, a, raw, at))
				slow.bad = true;
			c = slow;
			break;
		case STEP_SKIP:
			slow = c;
			if (s->at.node)
				(void)walked(s->at.node, &slow);
			c = slow;
			break;
		}
	}
	*from = c;
	return !c.bad;
}

/* First number of `sequence`, ["<last commit LSN>","<LSN>"]; 0 where it is null, or where another writer has something else. */
static uint64_t
sequence_lsn(struct slice s)
{
	uint64_t v = 0;
	size_t i = 2;

	if (s.n < 4 || s.p[0] != '[' || s.p[1] != '"')
		return 0;
	for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
			return 0;
	return i < s.n && s.p[i] == '"' ? v : 0;
}

/* The finest time that the writer gave, in microseconds. Debezium before 2.6 has milliseconds only. */
static int64_t
time_us(int64_t ms, int64_t us, int64_t ns)
{
	int64_t v;

	if (us)
		return us;
	if (ns)
		return ns / 1000;
	return __builtin_mul_overflow(ms, 1000, &v) ? 0 : v;
}

static enum rc
envelope_finish(struct raw *raw, struct envelope *env, struct err *err)
{
	struct envelope *e = &raw->env;

	if (raw->op.n != 1 || !memchr("rcudtm", raw->op.p[0], 6))
		return fail(err, REJECT, "unknown op \"%.*s\"", (int)(raw->op.n > 20 ? 20 : raw->op.n),
		    raw->op.n ? raw->op.p : "");
	e->op = raw->op.p[0];
	e->source_us = time_us(raw->source_ms, raw->source_us, raw->source_ns);
	e->handled_us = time_us(raw->ms, raw->us, raw->ns);
	e->last_commit_lsn = sequence_lsn(raw->sequence);
	e->lsn = (uint64_t)raw->lsn;
	e->xid = (uint32_t)raw->txid;
	e->origin_lsn = (uint64_t)raw->origin_lsn;
	*env = *e;
	return OK;
}

static enum rc
fail_place(struct err *err, const struct place *at, const struct cursor *c, struct slice body)
{
	size_t byte = body.n - cursor_left(c);

	if (at->col.n)
		return fail(err, REJECT, "malformed message: %s.%.*s at byte %zu of %zu", at->field,
		    SLICE_ARG(at->col), byte, body.n);
	return fail(err, REJECT, "malformed message: %s at byte %zu of %zu", at->field, byte, body.n);
}

static enum rc
fail_rest(struct err *err, const struct cursor *c, struct slice body)
{
	return fail(err, REJECT, "malformed message: %zu of its %zu bytes are left over; is this its schema?",
	    cursor_left(c), body.n);
}

static enum rc
read_plain(const struct reader *r, const struct row_ops *ops, const char *what, struct slice body, struct arena *a,
    struct value **row, struct err *err)
{
	struct cursor c = cursor_of(body);
	struct value *v = row_new(r, ops, a);
	int bad = read_row(ops, &c, v, a);

	if (bad >= 0)
		return fail_place(err, &(struct place){ what, ops->node->labels[bad] }, &c, body);
	if (cursor_left(&c))
		return fail_rest(err, &c, body);
	*row = v;
	return OK;
}

enum rc
reader_value(const struct reader *r, struct slice body, struct arena *a, struct envelope *env, struct err *err)
{
	struct cursor c = cursor_of(body);
	struct place at = { "", { "", 0 } };
	struct raw raw = { 0 };
	struct value *row = NULL;

	if (r->plain) {
		*env = (struct envelope){ 0 };
		if (read_plain(r, r->row, "row", body, a, &row, err) != OK)
			return err->rc;
		env->after = row;
		return OK;
	}
	if (!run_steps(r, r->steps, r->nsteps, &c, a, &raw, &at))
		return fail_place(err, &at, &c, body);
	if (cursor_left(&c))
		return fail_rest(err, &c, body);
	return envelope_finish(&raw, env, err);
}

enum rc
reader_key(const struct reader *r, struct slice body, struct arena *a, struct value **row, struct err *err)
{
	if (!r->key)
		return fail(err, REJECT, "a message has a key, but there is no key schema that is a record");
	return read_plain(r, r->key, "key", body, a, row, err);
}

const struct table *
reader_table(const struct reader *r)
{
	return r->tbl;
}
