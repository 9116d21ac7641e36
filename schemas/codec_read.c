/*
 * codec_read.c - Avro binary of any writer to rows and envelopes: runs the op lists that
 * codec_compile.c made.
 *
 * Nothing is believed: each length is compared with the bytes left, each number of items too, depth
 * is limited, and a message must end where its schema says. So work and memory are in proportion to
 * the message, whatever it says.
 */
#include "schemas/codec_ops.h"

/* Eight bytes at a time: times and LSNs, which every record has, take 8 or 9. */
struct wide
varint_wide(const uint8_t *p, const uint8_t *end)
{
	struct cursor slow = { p, end, false };
	uint64_t x, stop;
	int64_t v;

	if (end - p < 10) {
		v = cursor_long(&slow);
		return (struct wide){ slow.bad ? NULL : slow.p, v };
	}
	memcpy(&x, p, 8);
	stop = ~x & 0x8080808080808080;
	if (stop) {
		x = varint_close(x & (stop ^ (stop - 1)));
		p += (__builtin_ctzll(stop) >> 3) + 1;
	} else {
		x = varint_close(x) | (uint64_t)(p[8] & 0x7f) << 56;
		p += 9;
		if (p[-1] >= 0x80) {
			if (*p > 1)
				return (struct wide){ NULL, 0 };
			x |= (uint64_t)*p++ << 63;
		}
	}
	return (struct wide){ p, (int64_t)(x >> 1) ^ -(int64_t)(x & 1) };
}

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
			if ((zeros += count) > ZERO_ITEMS_MAX)
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

/*
 * Fields are set one by one: a struct built on the side and then copied costs more than all the
 * rest.
 */
static inline void
set_int(struct value *v, enum value_kind kind, int64_t i)
{
	v->kind = (uint8_t)kind;
	v->scale = 0;
	v->i = i;
	v->exact = (struct slice){ NULL, 0 };
}

static inline void
set_double(struct value *v, enum value_kind kind, double d)
{
	v->kind = (uint8_t)kind;
	v->scale = 0;
	v->d = d;
	v->exact = (struct slice){ NULL, 0 };
}

static inline void
set_slice(struct value *v, enum value_kind kind, struct slice s)
{
	v->kind = (uint8_t)kind;
	v->scale = 0;
	v->s = s;
	v->exact = (struct slice){ NULL, 0 };
}

static void
read_rare(const struct col_op *o, struct cursor *c, struct arena *a, struct value *v)
{
	struct slice s;
	int64_t scale;

	if (o->kind == COL_VARDECIMAL) {
		scale = take_int(c);
		s = c->bad ? (struct slice){ "", 0 } : take_bytes(c);
		set_slice(v, V_DECIMAL, s);
		v->scale = (int32_t)scale;
		return;
	}
	s = o->kind == COL_ARRAY ? array_rewrite(o->at.node, c, a) : walked(o->at.node, c);
	set_slice(v, V_AVRO, s);
}

/*
 * A union of several branches is a value as a whole, its branch number included; only its null is
 * NULL.
 */
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
				set_int(v, V_NULL, 0);
				continue;
			}
		} else if (o->at.null_at >= 0) {
			slow = c;
			if (whole_union_null(o, &slow)) {
				c = slow;
				set_int(v, V_NULL, 0);
				continue;
			}
		}
		if (c.bad)
			break;
		switch (o->kind) {
		case COL_NULL:
			set_int(v, V_NULL, 0);
			break;
		case COL_BOOL:
			set_int(v, V_BOOL, cursor_u8(&c));
			c.bad |= v->i > 1;
			break;
		case COL_INT:
			set_int(v, V_INT, take_int(&c));
			break;
		case COL_LONG:
			set_int(v, V_INT, take_long(&c));
			break;
		case COL_FLOAT:
			set_double(v, V_FLOAT, (double)cursor_float(&c));
			break;
		case COL_DOUBLE:
			set_double(v, V_DOUBLE, cursor_double(&c));
			break;
		case COL_BYTES:
			set_slice(v, V_BYTES, take_bytes(&c));
			break;
		case COL_STRING:
			set_slice(v, V_STRING, take_bytes(&c));
			break;
		default:
			slow = c;
			read_rare(o, &slow, a, v);
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

/*
 * What Debezium writes for an unchanged TOAST column that it did not get; the second form is an
 * hstore's.
 */
static const char absent_text[] = PLACEHOLDER, absent_pair[] = "{\"" PLACEHOLDER "\":\"" PLACEHOLDER "\"}";

static bool
is_placeholder(struct slice s)
{
	return (s.n == sizeof absent_text - 1 && memcmp(s.p, absent_text, sizeof absent_text - 1) == 0) ||
	    (s.n == sizeof absent_pair - 1 && memcmp(s.p, absent_pair, sizeof absent_pair - 1) == 0);
}

static bool
stands_for_absent(const struct col_op *o, const struct value *v)
{
	if (v->kind == V_AVRO)
		return o->absent.n && slice_eq(v->s, o->absent);
	return (v->kind == V_STRING || v->kind == V_BYTES) && is_placeholder(v->s);
}

void
reader_placeholders(const struct reader *r, struct value *row)
{
	for (int i = 0; row && r->image && i < r->image->n; i++) {
		struct value *v = &row[r->image->ops[i].col];

		if (stands_for_absent(&r->image->ops[i], v))
			set_slice(v, V_ABSENT, (struct slice){ NULL, 0 });
	}
}

/* ---- envelope ---- */

/* Where a message went wrong, for the error. */
struct place {
	const char *field; /* NULL: before the first one */
	struct slice col;
};

/* One message being read. */
struct reading {
	const struct reader *r;
	struct arena *a;
	struct envelope *env;
	struct raw raw;
	struct place at;
};

static void
step_row(struct reading *rd, const struct step *s, struct cursor *c)
{
	struct value *row = row_new(rd->r, s->row, rd->a);
	int bad = read_row(s->row, c, row, rd->a);

	if (s->kind == STEP_BEFORE)
		rd->env->before = row;
	else
		rd->env->after = row;
	if (bad >= 0)
		rd->at.col = s->row->node->labels[bad];
}

static void run_steps(struct reading *rd, const struct step *steps, int n, struct cursor *c);

/* The steps that are not a number or a text. */
static void
step_inside(struct reading *rd, const struct step *s, struct cursor *c)
{
	if (s->kind == STEP_SUB)
		run_steps(rd, s->sub, s->nsub, c);
	else if (s->kind == STEP_SKIP && s->at.node)
		(void)walked(s->at.node, c);
	else if (s->kind != STEP_SKIP)
		step_row(rd, s, c);
}

static void
run_steps(struct reading *rd, const struct step *steps, int n, struct cursor *from)
{
	struct cursor c = *from, slow;

	for (int i = 0; i < n && !c.bad; i++) {
		const struct step *s = &steps[i];
		char *to = (s->raw ? (char *)&rd->raw : (char *)rd->env) + s->off;
		struct slice text;
		int64_t v;

		rd->at.field = s->name;
		if (s->at.branch && (take_null(&c, &s->at) || c.bad))
			continue;
		if (s->kind == STEP_SLICE) {
			text = take_bytes(&c);
			memcpy(to, &text, sizeof text);
		} else if (s->kind == STEP_LONG) {
			v = take_long(&c);
			memcpy(to, &v, sizeof v);
		} else {
			slow = c;
			step_inside(rd, s, &slow);
			c = slow;
		}
	}
	*from = c;
}

/*
 * First number of `sequence`, ["<last commit LSN>","<LSN>"]; 0 where it is null, or where another
 * writer has something else.
 */
static uint64_t
sequence_lsn(struct slice s)
{
	uint64_t v = 0;
	size_t i = 2;

	if (s.n < 4 || s.p[0] != '[' || s.p[1] != '"')
		return 0;
	for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
		if (i == 22)
			return 0; /* 64 bits have at most 20 digits */
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	return i < s.n && s.p[i] == '"' ? v : 0;
}

/*
 * The finest time that the writer gave, in microseconds. Debezium before 2.6 has milliseconds only.
 */
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

static bool
op_known(struct slice op)
{
	switch (op.n == 1 ? op.p[0] : 0) {
	case OP_READ:
	case OP_CREATE:
	case OP_UPDATE:
	case OP_DELETE:
	case OP_TRUNCATE:
	case OP_MESSAGE:
		return true;
	}
	return false;
}

static enum rc
envelope_finish(const struct raw *raw, struct envelope *env, struct err *err)
{
	if (!op_known(raw->op))
		return fail(err, REJECT, "unknown op \"%.*s\"", (int)(raw->op.n > 20 ? 20 : raw->op.n),
		    raw->op.n ? raw->op.p : "");
	env->op = raw->op.p[0];
	env->source_us = time_us(raw->source_ms, raw->source_us, raw->source_ns);
	env->handled_us = time_us(raw->ms, raw->us, raw->ns);
	env->last_commit_lsn = sequence_lsn(raw->sequence);
	env->xid = (uint32_t)raw->txid;
	return OK;
}

static enum rc
fail_place(struct err *err, const struct place *at, const struct cursor *c, struct slice body)
{
	size_t byte = body.n - cursor_left(c);

	if (at->col.n)
		return fail(err, REJECT, "malformed message: %s.%.*s at byte %zu of %zu", at->field,
		    SLICE_ARG(at->col), byte, body.n);
	return fail(err, REJECT, "malformed message: %s at byte %zu of %zu", at->field ? at->field : "start", byte,
	    body.n);
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
	struct reading rd;
	struct cursor c = cursor_of(body);
	struct value *row = NULL;

	/*
	 * A call, since gcc 12 makes `rep stos` of such an assignment, whose start alone takes 15
	 * ns.
	 */
	explicit_bzero(env, sizeof *env);
	if (r->plain) {
		if (read_plain(r, r->row, "row", body, a, &row, err) != OK)
			return err->rc;
		env->after = row;
		return OK;
	}
	explicit_bzero(&rd, sizeof rd);
	rd.r = r;
	rd.a = a;
	rd.env = env;
	run_steps(&rd, r->steps, r->nsteps, &c);
	if (c.bad)
		return fail_place(err, &rd.at, &c, body);
	if (cursor_left(&c))
		return fail_rest(err, &c, body);
	return envelope_finish(&rd.raw, env, err);
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

bool
reader_flat(const struct reader *r)
{
	return r->plain;
}
