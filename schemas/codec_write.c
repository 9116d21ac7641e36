/*
 * codec_write.c - rows and envelopes of ours to Avro binary: Debezium 3.6's layout
 * (schemas/README.md).
 *
 *   Envelope  before: ["null", Value]  after: ["null", Value]  source: Source  transaction: ["null", block]
 *             op: string  ts_ms, ts_us, ts_ns: ["null", long]
 *   Source    version, connector, name: string  ts_ms: long  snapshot: [string, "null"]  db: string
 *             sequence: ["null", string]  ts_us, ts_ns: ["null", long]  schema, table: string
 *             txId, lsn, xmin: ["null", long]  origin: ["null", string]  origin_lsn: ["null", long]
 *   Value     a column: ["null", T]; [T, "null"] when it has a default; T when it is not null
 *
 * Space for a record is reserved once, with room to spare, so that nothing below checks bounds:
 * each number counts as NUMBER_MAX bytes and a slice as its length besides.
 */
#include "schemas/codec_ops.h"
#include "schemas/compound.h"

enum {
	NUMBER_MAX = 11,  /* ten bytes, and put_long may touch one more */
	COLUMN_MAX = 1 + 2 * NUMBER_MAX + sizeof PLACEHOLDER,
	SOURCE_MAX = 26 * NUMBER_MAX + 64, /* 64: `sequence` */
	ENVELOPE_MAX = SOURCE_MAX + 16 * NUMBER_MAX,
};

struct col_write {
	uint8_t wire;     /* enum wire */
	uint8_t kind;     /* the value kind that fits */
	bool nullable;
	uint8_t null_at, value_at; /* branch numbers as they are on the wire */
	const struct compound *compound;
};

struct writer {
	const struct table *tbl;
	struct col_write *cols;
};

static enum value_kind
kind_of(enum wire wire)
{
	switch (wire) {
	case W_BOOL:
		return V_BOOL;
	case W_INT16:
	case W_INT32:
	case W_INT64:
		return V_INT;
	case W_FLOAT:
		return V_FLOAT;
	case W_DOUBLE:
		return V_DOUBLE;
	case W_STRING:
		return V_STRING;
	case W_BYTES:
	case W_DECIMAL:
		return V_BYTES;
	case W_VARDECIMAL:
		return V_DECIMAL;
	case W_ARRAY:
	case W_COMPOUND:
	case W_OTHER:
		return V_AVRO;
	}
	die("wire type %d", (int)wire);
}

struct writer *
writer_compile(const struct table *tbl, struct arena *a)
{
	struct writer *w = arena_new(a, struct writer);

	w->tbl = tbl;
	w->cols = arena_array(a, (size_t)tbl->ncols, sizeof *w->cols);
	for (int i = 0; i < tbl->ncols; i++) {
		const struct column *col = &tbl->cols[i];
		bool value_first = col->has_default && !slice_is(col->default_json, "null");

		w->cols[i] = (struct col_write){
			.wire = (uint8_t)col->type.wire,
			.kind = (uint8_t)kind_of(col->type.wire),
			.nullable = !col->notnull,
			.null_at = value_first ? 2 : 0,
			.value_at = value_first ? 0 : 2,
			.compound = col->type.compound,
		};
	}
	return w;
}

/* Nine and ten byte numbers keep the bits above 56 in their last bytes. */
static inline char *
put_long(char *p, int64_t v)
{
	uint64_t u = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63), x;
	unsigned n;

	if (u < 0x80) {
		*p = (char)u;
		return p + 1;
	}
	n = (63u - (unsigned)__builtin_clzll(u)) / 7 + 1;
	x = varint_open(u & 0x00ffffffffffffff) | 0x8080808080808080;
	if (n <= 8) {
		x ^= (uint64_t)0x80 << (8 * (n - 1));
		memcpy(p, &x, 8);
		return p + n;
	}
	memcpy(p, &x, 8);
	p[8] = (char)(u >> 56 & 0x7f);
	if (n == 10) {
		p[8] = (char)(p[8] | 0x80);
		p[9] = (char)(u >> 63);
	}
	return p + n;
}

/* Short texts are most of what is copied, and a call of memcpy costs more than they do. */
static inline char *
put_raw(char *p, struct slice s)
{
	if (s.n > 16) {
		memcpy(p, s.p, s.n);
	} else if (s.n >= 8) {
		memcpy(p, s.p, 8);
		memcpy(p + s.n - 8, s.p + s.n - 8, 8);
	} else if (s.n >= 4) {
		memcpy(p, s.p, 4);
		memcpy(p + s.n - 4, s.p + s.n - 4, 4);
	} else {
		for (size_t i = 0; i < s.n; i++)
			p[i] = s.p[i];
	}
	return p + s.n;
}

static inline char *
put_bytes(char *p, struct slice s)
{
	return put_raw(put_long(p, (int64_t)s.n), s);
}

static inline char *
put_float(char *p, double d)
{
	float f = (float)d;

	memcpy(p, &f, 4);
	return p + 4;
}

static inline char *
put_double(char *p, double d)
{
	memcpy(p, &d, 8);
	return p + 8;
}

/* The null branch, or "null": 0 stands for null in all fields that use this. */
static inline char *
put_some_long(char *p, int64_t v)
{
	if (v == 0) {
		*p = 0;
		return p + 1;
	}
	*p = 2;
	return put_long(p + 1, v);
}

static char *
put_zero(char *p, const struct col_write *o)
{
	switch ((enum wire)o->wire) {
	case W_FLOAT:
		return put_float(p, 0);
	case W_DOUBLE:
		return put_double(p, 0);
	case W_DECIMAL: /* one byte of 0: Java's BigInteger refuses an empty number */
		return put_bytes(p, (struct slice){ "\0", 1 });
	case W_VARDECIMAL:
		return put_bytes(put_long(p, 0), (struct slice){ "\0", 1 });
	case W_COMPOUND: /* they are shorter than the placeholder's room, COLUMN_MAX */
		return put_raw(p, o->compound->zero);
	default:
		*p = 0; /* false, 0, "", no bytes, no items */
		return p + 1;
	}
}

/*
 * NULL, and what is not known. NULL with an exact text (a numeric NaN) is no NULL: the header
 * carries the text, so a column that is NOT NULL gets a zero instead of being refused. NULL: does
 * not fit.
 */
static char *
put_odd(char *p, const struct col_write *o, const struct value *v, bool placeholder)
{
	if (v->kind == V_ABSENT && placeholder && (o->wire == W_STRING || o->wire == W_BYTES)) {
		if (o->nullable)
			*p++ = (char)o->value_at;
		return put_bytes(p, SLICE_LIT(PLACEHOLDER));
	}
	if (v->kind > V_NULL)
		return NULL;
	if (o->nullable) {
		*p = (char)o->null_at;
		return p + 1;
	}
	if (v->kind == V_ABSENT ? o->wire != W_OTHER : v->exact.n > 0 && o->wire != W_OTHER)
		return put_zero(p, o);
	return NULL;
}

/* One column; NULL: the value does not fit. */
static inline char *
put_column(char *p, const struct col_write *o, const struct value *v, bool placeholder)
{
	if (v->kind != o->kind)
		return put_odd(p, o, v, placeholder);
	if (o->nullable)
		*p++ = (char)o->value_at;
	switch ((enum wire)o->wire) {
	case W_BOOL:
		*p = v->i != 0;
		return p + 1;
	case W_INT16:
		return v->i == (int16_t)v->i ? put_long(p, v->i) : NULL;
	case W_INT32:
		return v->i == (int32_t)v->i ? put_long(p, v->i) : NULL;
	case W_INT64:
		return put_long(p, v->i);
	case W_FLOAT:
		return put_float(p, v->d);
	case W_DOUBLE:
		return put_double(p, v->d);
	case W_STRING:
	case W_BYTES:
	case W_DECIMAL:
		return put_bytes(p, v->s);
	case W_VARDECIMAL:
		return put_bytes(put_long(p, v->scale), v->s);
	case W_ARRAY:
	case W_COMPOUND:
	case W_OTHER:
		return put_raw(p, v->s);
	}
	return NULL;
}

/* NULL: column *bad does not fit. */
static char *
put_row(char *p, const struct writer *w, const struct value *row, bool placeholder, int *bad)
{
	for (int i = 0, n = w->tbl->ncols; i < n; i++) {
		p = put_column(p, &w->cols[i], &row[i], placeholder);
		if (!p) {
			*bad = i;
			return NULL;
		}
	}
	return p;
}

static size_t
row_size(const struct value *row, int n)
{
	size_t size = (size_t)n * COLUMN_MAX;

	for (int i = 0; i < n; i++)
		if (row[i].kind >= V_BYTES)
			size += row[i].s.n;
	return size;
}

static enum rc
fail_column(struct err *err, const struct column *col, const struct value *v)
{
	static const char *const names[] = { [V_ABSENT] = "no value", [V_NULL] = "NULL", [V_BOOL] = "a boolean",
		[V_INT] = "an integer", [V_FLOAT] = "a float", [V_DOUBLE] = "a double", [V_BYTES] = "bytes",
		[V_STRING] = "a string", [V_DECIMAL] = "a decimal", [V_AVRO] = "Avro data" };
	const char *what = v->kind < COUNTOF(names) ? names[v->kind] : "an unknown value";

	if (v->kind == V_INT && kind_of(col->type.wire) == V_INT)
		return fail(err, REJECT, "column \"%.*s\": %lld is out of range", SLICE_ARG(col->name), (long long)v->i);
	return fail(err, REJECT, "column \"%.*s\" cannot hold %s", SLICE_ARG(col->name), what);
}

static enum rc
fail_space(struct err *err, const struct buf *out, size_t n)
{
	return fail(err, REJECT, "a record of up to %zu bytes does not fit into the limit of %zu", n,
	    out->max ? out->max : (size_t)BUF_MAX_DEFAULT);
}

enum rc
writer_key(const struct writer *w, const struct value *row, struct buf *out, struct err *err)
{
	const struct table *tbl = w->tbl;
	size_t size = 0;
	const int *keys;
	int n = table_message_keys(tbl, &keys);
	char *p;

	for (int i = 0; i < n; i++)
		size += row_size(&row[keys[i]], 1);
	if (!buf_reserve(out, size))
		return fail_space(err, out, size);
	p = out->p + out->n;
	for (int i = 0; i < n; i++) {
		const struct value *v = &row[keys[i]];

		p = v->kind == V_ABSENT ? NULL : put_column(p, &w->cols[keys[i]], v, false);
		if (!p)
			return fail_column(err, &tbl->cols[keys[i]], v);
	}
	out->n = (size_t)(p - out->p);
	return OK;
}

static const char digit_pairs[] =
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
	"49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
	"9899";

/* In quotes, or the word null for 0; at most 22 bytes. */
static char *
put_lsn_text(char *p, uint64_t v)
{
	char text[20], *t = text + sizeof text;
	size_t n;

	if (v == 0) {
		memcpy(p, "null", 4);
		return p + 4;
	}
	for (; v >= 10; v /= 100) {
		t -= 2;
		memcpy(t, digit_pairs + v % 100 * 2, 2);
		if (v < 100) {
			v = 0;
			break;
		}
	}
	if (v)
		*--t = (char)('0' + v);
	n = (size_t)(text + sizeof text - t);
	*p++ = '"';
	p = put_raw(p, (struct slice){ t, n });
	*p++ = '"';
	return p;
}

/* ["24023119","24023128"], at most 47 bytes: its length is one byte. */
static char *
put_sequence(char *p, uint64_t last_commit_lsn, uint64_t lsn)
{
	char *len = p++;

	*p++ = '[';
	p = put_lsn_text(p, last_commit_lsn);
	*p++ = ',';
	p = put_lsn_text(p, lsn);
	*p++ = ']';
	*len = (char)((p - len - 1) * 2);
	return p;
}

/*
 * Microseconds as nanoseconds; what does not fit 64 bits (the years before 1678, after 2262) wraps
 * around, as in Java.
 */
static inline int64_t
us_to_ns(int64_t us)
{
	return (int64_t)((uint64_t)us * 1000);
}

static size_t
source_size(const struct envelope *env)
{
	return SOURCE_MAX + env->version.n + env->connector.n + env->name.n + env->db.n + env->schema.n +
	    env->table.n + env->snapshot.n + env->origin.n;
}

static char *
put_source(char *p, const struct envelope *env)
{
	p = put_bytes(p, env->version);
	p = put_bytes(p, env->connector);
	p = put_bytes(p, env->name);
	p = put_long(p, env->source_us / 1000);
	*p++ = 0; /* [string, "null"] */
	p = put_bytes(p, env->snapshot.n ? env->snapshot : SLICE_LIT("false"));
	p = put_bytes(p, env->db);
	*p++ = 2;
	p = put_sequence(p, env->last_commit_lsn, env->lsn);
	*p++ = 2;
	p = put_long(p, env->source_us);
	*p++ = 2;
	p = put_long(p, us_to_ns(env->source_us));
	p = put_bytes(p, env->schema);
	p = put_bytes(p, env->table);
	p = put_some_long(p, env->xid);
	p = put_some_long(p, (int64_t)env->lsn);
	*p++ = 0; /* xmin */
	*p++ = env->origin.n ? 2 : 0;
	if (env->origin.n)
		p = put_bytes(p, env->origin);
	return put_some_long(p, (int64_t)env->origin_lsn);
}

/* transaction: ["null", event.block] */
static char *
put_block(char *p, const struct envelope *env)
{
	*p++ = env->transaction_id.n ? 2 : 0;
	if (!env->transaction_id.n)
		return p;
	p = put_bytes(p, env->transaction_id);
	p = put_long(p, env->total_order);
	return put_long(p, env->collection_order);
}

enum rc
writer_value(const struct writer *w, const struct envelope *env, struct buf *out, struct err *err)
{
	const struct value *row = env->before;
	int ncols = w->tbl->ncols, bad = -1;
	size_t size = ENVELOPE_MAX + source_size(env) + env->transaction_id.n;
	char *p;

	size += env->before ? row_size(env->before, ncols) : 0;
	size += env->after ? row_size(env->after, ncols) : 0;
	if (!buf_reserve(out, size))
		return fail_space(err, out, size);
	p = out->p + out->n;
	*p++ = env->before ? 2 : 0;
	if (env->before)
		p = put_row(p, w, row, false, &bad);
	if (p) {
		row = env->after;
		*p++ = env->after ? 2 : 0;
		if (env->after)
			p = put_row(p, w, row, true, &bad);
	}
	if (!p)
		return fail_column(err, &w->tbl->cols[bad], &row[bad]);
	p = put_source(p, env);
	p = put_block(p, env);
	*p++ = 2;
	*p++ = env->op;
	p = put_some_long(p, env->handled_us / 1000);
	p = put_some_long(p, env->handled_us);
	p = put_some_long(p, us_to_ns(env->handled_us));
	out->n = (size_t)(p - out->p);
	return OK;
}

void
writer_message_key(struct slice prefix, struct buf *out)
{
	buf_byte(out, 2);
	buf_avro_bytes(out, prefix);
}

void
writer_message_value(const struct envelope *env, struct buf *out)
{
	char *p;

	if (!buf_reserve(out, ENVELOPE_MAX + source_size(env) + env->prefix.n + env->content.n))
		return;
	p = out->p + out->n;
	*p++ = 2;
	*p++ = OP_MESSAGE;
	p = put_some_long(p, env->handled_us / 1000);
	p = put_source(p, env);
	*p++ = 0; /* transaction */
	*p++ = 2;
	p = put_bytes(p, env->prefix);
	*p++ = 2;
	p = put_bytes(p, env->content);
	out->n = (size_t)(p - out->p);
}
