/*
 * codec_compile.c - a writer's schemas to the op lists of codec_read.c.
 *
 * schema_table (schemas/schema_table.c) says what the columns are; here each field is matched with
 * how its bytes lie. Envelope fields are found by name, wherever they stand, and what is not known
 * becomes a step that passes over it: so Debezium's layouts of 1.0, 2.6 and 2.7 need no case each.
 */
#include "schemas/codec_ops.h"
#include "schemas/compound.h"
#include "schemas/schema.h"

struct compile {
	struct arena *a;
	struct err *err;
	const struct table *tbl;
	const struct row_ops *row; /* of before and after: one record */
};

/* What is taken from a record, by its name in the envelope. */
struct wanted {
	const char *in, *name; /* in "": the envelope itself */
	enum step_kind kind;
	bool raw;
	size_t off;
};

#define RAW(member) true, offsetof(struct raw, member)
#define ENV(member) false, offsetof(struct envelope, member)

static const struct wanted wanted[] = {
	{ "", "before", STEP_BEFORE, false, 0 },
	{ "", "after", STEP_AFTER, false, 0 },
	{ "", "source", STEP_SUB, false, 0 },
	{ "", "transaction", STEP_SUB, false, 0 },
	{ "", "message", STEP_SUB, false, 0 },
	{ "", "op", STEP_SLICE, RAW(op) },
	{ "", "ts_ms", STEP_LONG, RAW(ms) },
	{ "", "ts_us", STEP_LONG, RAW(us) },
	{ "", "ts_ns", STEP_LONG, RAW(ns) },
	{ "source", "version", STEP_SLICE, ENV(version) },
	{ "source", "connector", STEP_SLICE, ENV(connector) },
	{ "source", "name", STEP_SLICE, ENV(name) },
	{ "source", "ts_ms", STEP_LONG, RAW(source_ms) },
	{ "source", "snapshot", STEP_SLICE, ENV(snapshot) },
	{ "source", "db", STEP_SLICE, ENV(db) },
	{ "source", "sequence", STEP_SLICE, RAW(sequence) },
	{ "source", "ts_us", STEP_LONG, RAW(source_us) },
	{ "source", "ts_ns", STEP_LONG, RAW(source_ns) },
	{ "source", "schema", STEP_SLICE, ENV(schema) },
	{ "source", "table", STEP_SLICE, ENV(table) },
	{ "source", "txId", STEP_LONG, RAW(txid) },
	{ "source", "lsn", STEP_LONG, ENV(lsn) },
	{ "source", "origin", STEP_SLICE, ENV(origin) },
	{ "source", "origin_lsn", STEP_LONG, ENV(origin_lsn) },
	{ "transaction", "id", STEP_SLICE, ENV(transaction_id) },
	{ "transaction", "total_order", STEP_LONG, ENV(total_order) },
	{ "transaction", "data_collection_order", STEP_LONG, ENV(collection_order) },
	{ "message", "prefix", STEP_SLICE, ENV(prefix) },
	{ "message", "content", STEP_SLICE, ENV(content) },
};

struct choice
node_choice(const struct node *t)
{
	struct choice at = { .node = t, .null_at = -1, .value_at = -1 };
	int others = 0, other = -1;

	if (t->type == A_NULL)
		at.node = NULL;
	if (t->type != A_UNION)
		return at;
	for (int i = 0; i < t->n; i++) {
		if (t->kids[i]->type == A_NULL) {
			at.null_at = i;
		} else {
			other = i;
			others++;
		}
	}
	if (others > 1)
		return at;
	at.branch = true;
	at.value_at = other;
	at.node = others ? t->kids[other] : NULL;
	return at;
}

/* ---- rows ---- */

/* How bytes of t make a value of the wire type; false: the two do not belong together. */
static bool
col_kind_of(enum wire wire, const struct node *t, enum col_kind *kind)
{
	static const struct {
		enum avro type;
		enum col_kind kind;
	} plain[] = {
		[W_BOOL] = { A_BOOL, COL_BOOL }, [W_INT16] = { A_INT, COL_INT }, [W_INT32] = { A_INT, COL_INT },
		[W_INT64] = { A_LONG, COL_LONG }, [W_FLOAT] = { A_FLOAT, COL_FLOAT },
		[W_DOUBLE] = { A_DOUBLE, COL_DOUBLE }, [W_STRING] = { A_STRING, COL_STRING },
		[W_BYTES] = { A_BYTES, COL_BYTES }, [W_DECIMAL] = { A_BYTES, COL_BYTES },
		[W_VARDECIMAL] = { A_RECORD, COL_VARDECIMAL }, [W_ARRAY] = { A_ARRAY, COL_AVRO },
	};

	if (!t || wire == W_OTHER || wire == W_COMPOUND) {
		*kind = t ? COL_AVRO : COL_NULL;
		return wire == W_OTHER || (wire == W_COMPOUND && t);
	}
	*kind = plain[wire].kind;
	if (wire == W_INT64 && t->type == A_INT) { /* a key's int may be a long in the row, and the reverse */
		*kind = COL_INT;
		return true;
	}
	if ((wire == W_INT16 || wire == W_INT32) && t->type == A_LONG) {
		*kind = COL_LONG;
		return true;
	}
	if (wire == W_VARDECIMAL)
		return t->type == A_RECORD && t->n == 2 && t->kids[0]->type == A_INT && t->kids[1]->type == A_BYTES;
	if (wire == W_ARRAY && t->type == A_ARRAY && !array_plain(t))
		*kind = COL_ARRAY;
	return t->type == plain[wire].type;
}

static enum rc
col_compile(struct compile *cc, const struct node *record, int field, struct col_op *o)
{
	struct slice name = record->labels[field];
	const struct column *col;

	o->col = schema_field_column(cc->tbl, name, cc->a);
	if (o->col < 0)
		return fail(cc->err, REJECT, "field \"%.*s\" of %.*s is not a column", SLICE_ARG(name),
		    SLICE_ARG(record->name));
	col = &cc->tbl->cols[o->col];
	o->at = node_choice(record->kids[field]);
	if (!col_kind_of(col->type.wire, o->at.node, &o->kind))
		return fail(cc->err, REJECT, "field \"%.*s\" of %.*s has another type than its column",
		    SLICE_ARG(name), SLICE_ARG(record->name));
	if (col->type.wire == W_ARRAY)
		o->absent = array_placeholder(col->type.item, cc->a);
	if (col->type.wire == W_COMPOUND)
		o->absent = col->type.compound->absent;
	return OK;
}

static enum rc
row_compile(struct compile *cc, const struct node *t, const struct row_ops **out)
{
	struct row_ops *row = arena_new(cc->a, struct row_ops);

	if (!t || t->type != A_RECORD)
		return fail(cc->err, REJECT, "a row's schema is not a record");
	row->node = t;
	row->n = t->n;
	row->full = t->n == cc->tbl->ncols;
	row->ops = arena_array(cc->a, (size_t)t->n, sizeof *row->ops);
	for (int i = 0; i < t->n; i++) {
		if (col_compile(cc, t, i, &row->ops[i]) != OK)
			return cc->err->rc;
		row->full &= row->ops[i].col == i; /* two fields of one name would leave a column unset */
	}
	*out = row;
	return OK;
}

/* ---- envelope ---- */

static const struct wanted *
wanted_find(const char *in, struct slice name)
{
	for (size_t i = 0; i < COUNTOF(wanted); i++)
		if (strcmp(wanted[i].in, in) == 0 && slice_is(name, wanted[i].name))
			return &wanted[i];
	return NULL;
}

static bool
step_fits(enum step_kind kind, const struct node *t)
{
	if (!t)
		return false;
	switch (kind) {
	case STEP_SLICE:
		return t->type == A_STRING || t->type == A_BYTES;
	case STEP_LONG:
		return t->type == A_LONG || t->type == A_INT;
	case STEP_BEFORE:
	case STEP_AFTER:
	case STEP_SUB:
		return t->type == A_RECORD;
	case STEP_SKIP:
		break;
	}
	return false;
}

static enum rc steps_compile(struct compile *cc, const struct node *t, const char *in, const struct step **out, int *n)
    MUST_CHECK;

static enum rc
step_compile(struct compile *cc, const struct node *record, int field, const char *in, struct step *s)
{
	const struct wanted *w = wanted_find(in, record->labels[field]);

	s->name = record->labels[field].p;
	s->at = node_choice(record->kids[field]);
	s->kind = STEP_SKIP;
	if (!w || !step_fits(w->kind, s->at.node))
		return OK;
	s->kind = w->kind;
	s->raw = w->raw;
	s->off = w->off;
	if (w->kind == STEP_SUB)
		return steps_compile(cc, s->at.node, w->name, &s->sub, &s->nsub);
	if (w->kind == STEP_BEFORE || w->kind == STEP_AFTER) {
		if ((!cc->row || cc->row->node != s->at.node) && row_compile(cc, s->at.node, &cc->row) != OK)
			return cc->err->rc;
		s->row = cc->row;
	}
	return OK;
}

static enum rc
steps_compile(struct compile *cc, const struct node *t, const char *in, const struct step **out, int *n)
{
	struct step *steps = arena_array(cc->a, (size_t)t->n, sizeof *steps);

	*out = steps;
	*n = t->n;
	for (int i = 0; i < t->n; i++)
		if (step_compile(cc, t, i, in, &steps[i]) != OK)
			return cc->err->rc;
	return OK;
}

static bool
has_field(const struct node *t, const char *name)
{
	for (int i = 0; i < t->n; i++)
		if (slice_is(t->labels[i], name))
			return true;
	return false;
}

static bool
ends_in(struct slice s, struct slice end)
{
	return s.n >= end.n && memcmp(s.p + s.n - end.n, end.p, end.n) == 0;
}

/* The same rule as schema_table's. */
static bool
is_envelope(const struct node *t)
{
	if (t->connect.n)
		return ends_in(t->connect, SLICE_LIT(".Envelope"));
	return has_field(t, "op") && (has_field(t, "before") || has_field(t, "after"));
}

/* Logical messages have an envelope of their own, and no row. */
static bool
is_message(const struct node *t)
{
	struct slice prefix = SLICE_LIT("io.debezium.connector.");

	return t->connect.n > prefix.n && memcmp(t->connect.p, prefix.p, prefix.n) == 0 &&
	    ends_in(t->connect, SLICE_LIT(".MessageValue"));
}

static enum rc
value_compile(struct compile *cc, const struct node *t, struct reader *r)
{
	if (is_envelope(t) || is_message(t))
		return steps_compile(cc, t, "", &r->steps, &r->nsteps);
	r->plain = true;
	return row_compile(cc, t, &r->row);
}

enum rc
reader_compile(struct slice key_json, struct slice value_json, struct arena *a, struct reader **out, struct err *err)
{
	struct reader *r = arena_new(a, struct reader);
	struct compile cc = { .a = a, .err = err };
	struct node *key = NULL, *value;
	struct table *tbl = NULL;

	if (node_parse(value_json, a, &value, err) != OK || (key_json.n && node_parse(key_json, a, &key, err) != OK))
		return err->rc;
	if (value->type != A_RECORD)
		return fail(err, REJECT, "the value's schema is not a record");
	if (is_message(value)) {
		tbl = arena_new(a, struct table);
		tbl->schema = tbl->name = SLICE_LIT("");
		key = NULL;
	} else if (schema_table(key_json, value_json, a, &tbl, err) != OK) {
		return err->rc;
	}
	cc.tbl = r->tbl = tbl;
	if (value_compile(&cc, value, r) != OK)
		return err->rc;
	r->image = r->plain ? r->row : cc.row;
	if (key && row_compile(&cc, key, &r->key) != OK)
		return err->rc;
	*out = r;
	return OK;
}
