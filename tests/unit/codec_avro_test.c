/*
 * The codec against avro-c: random tables and rows. Our bytes are avro-c's bytes for the same data,
 * and each reads the other's. The seed is printed; TOWLINE_SEED sets it, TOWLINE_ROUNDS the number
 * of rounds.
 */
#include "core/cursor.h"
#include "schemas/codec.h"
#include "schemas/schema.h"
#include "tests/unit/codec_gen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <avro.h>
#include <cmocka.h>
#include <jansson.h>

enum { ROUNDS = 2500 };

#define PLACEHOLDER "__debezium_unavailable_value"

/* What codec.h says is written for an absent column. */
static struct value
written(const struct column *col, struct value v, bool after)
{
	static const struct slice zero = { "\0", 1 };

	if (v.kind != V_ABSENT)
		return v;
	if (after && col->type.wire == W_STRING)
		return value_string(SLICE_LIT(PLACEHOLDER));
	if (after && col->type.wire == W_BYTES)
		return (struct value){ .kind = V_BYTES, .s = SLICE_LIT(PLACEHOLDER) };
	if (!col->notnull)
		return value_null();
	switch (col->type.wire) {
	case W_BOOL:
		return (struct value){ .kind = V_BOOL };
	case W_FLOAT:
		return (struct value){ .kind = V_FLOAT };
	case W_DOUBLE:
		return (struct value){ .kind = V_DOUBLE };
	case W_STRING:
		return value_string(SLICE_LIT(""));
	case W_BYTES:
		return (struct value){ .kind = V_BYTES, .s = SLICE_LIT("") };
	case W_DECIMAL:
		return (struct value){ .kind = V_BYTES, .s = zero };
	case W_VARDECIMAL:
		return (struct value){ .kind = V_DECIMAL, .s = zero };
	case W_ARRAY:
		return (struct value){ .kind = V_AVRO, .s = zero };
	case W_COMPOUND:
		return (struct value){ .kind = V_AVRO, .s = col->type.compound->zero };
	default:
		return value_int(0);
	}
}

/* ---- avro-c's side ---- */

static avro_value_t
field_of(avro_value_t *record, const char *name)
{
	avro_value_t f = { 0 };

	if (avro_value_get_by_name(record, name, &f, NULL) != 0)
		fail_msg("no field %s", name);
	return f;
}

/* The branch of a union that is null or is not. */
static avro_value_t
branch_of(avro_value_t *u, bool null)
{
	avro_schema_t s = avro_value_get_schema(u);
	avro_value_t b = { 0 };

	if (avro_value_get_type(u) != AVRO_UNION)
		return *u;
	for (size_t i = 0; i < avro_schema_union_size(s); i++) {
		if ((avro_typeof(avro_schema_union_branch(s, (int)i)) == AVRO_NULL) != null)
			continue;
		assert_int_equal(avro_value_set_branch(u, (int)i, &b), 0);
		return b;
	}
	fail_msg("no such branch");
	return *u;
}

static void
set_string(avro_value_t *record, const char *name, struct slice s)
{
	avro_value_t f = field_of(record, name), v = branch_of(&f, false);
	char *text = malloc(s.n + 1);

	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	assert_int_equal(avro_value_set_string_len(&v, text, s.n + 1), 0);
	free(text);
}

static void
set_long(avro_value_t *record, const char *name, int64_t i, bool null)
{
	avro_value_t f = field_of(record, name), v = branch_of(&f, null);

	assert_int_equal(null ? avro_value_set_null(&v) : avro_value_set_long(&v, i), 0);
}

/* avro-c takes bytes as void *, and copies them. */
static void *
loose(struct slice s)
{
	union {
		const char *from;
		void *to;
	} u = { s.n ? s.p : "" };

	return u.to;
}

static void
set_value(avro_value_t *f, const struct wire_type *w, const struct value *v)
{
	avro_value_t x = branch_of(f, v->kind == V_NULL), part;
	avro_reader_t reader;

	if (v->kind == V_NULL) {
		assert_int_equal(avro_value_set_null(&x), 0);
		return;
	}
	switch (w->wire) {
	case W_BOOL:
		avro_value_set_boolean(&x, (int)v->i);
		break;
	case W_INT16:
	case W_INT32:
		avro_value_set_int(&x, (int32_t)v->i);
		break;
	case W_INT64:
		avro_value_set_long(&x, v->i);
		break;
	case W_FLOAT:
		avro_value_set_float(&x, (float)v->d);
		break;
	case W_DOUBLE:
		avro_value_set_double(&x, v->d);
		break;
	case W_STRING: /* all our texts end in a NUL */
		assert_int_equal(avro_value_set_string_len(&x, loose(v->s), v->s.n + 1), 0);
		break;
	case W_BYTES:
	case W_DECIMAL:
		assert_int_equal(avro_value_set_bytes(&x, loose(v->s), v->s.n), 0);
		break;
	case W_VARDECIMAL:
		part = field_of(&x, "scale");
		avro_value_set_int(&part, v->scale);
		part = field_of(&x, "value");
		assert_int_equal(avro_value_set_bytes(&part, loose(v->s), v->s.n), 0);
		break;
	case W_ARRAY:
	case W_COMPOUND:
	case W_OTHER:
		reader = avro_reader_memory(v->s.p, (int64_t)v->s.n);
		assert_int_equal(avro_value_read(reader, &x), 0);
		avro_reader_free(reader);
		break;
	}
}

static void
set_row(avro_value_t *record, const char *image, const struct table *t, const struct value *row)
{
	avro_value_t f = field_of(record, image), x = branch_of(&f, !row);

	if (!row) {
		avro_value_set_null(&x);
		return;
	}
	for (int i = 0; i < t->ncols; i++) {
		struct value v = written(&t->cols[i], row[i], strcmp(image, "after") == 0);
		avro_value_t col = field_of(&x, t->cols[i].name.p);

		set_value(&col, &t->cols[i].type, &v);
	}
}

static void
set_source(avro_value_t *record, const struct envelope *e)
{
	avro_value_t s = field_of(record, "source"), null;
	char seq[80], last[32], lsn[32];

	snprintf(last, sizeof last, e->last_commit_lsn ? "\"%llu\"" : "null", (unsigned long long)e->last_commit_lsn);
	snprintf(lsn, sizeof lsn, e->lsn ? "\"%llu\"" : "null", (unsigned long long)e->lsn);
	snprintf(seq, sizeof seq, "[%s,%s]", last, lsn);
	set_string(&s, "version", e->version);
	set_string(&s, "connector", e->connector);
	set_string(&s, "name", e->name);
	set_long(&s, "ts_ms", e->source_us / 1000, false);
	set_string(&s, "snapshot", e->snapshot.n ? e->snapshot : SLICE_LIT("false"));
	set_string(&s, "db", e->db);
	set_string(&s, "sequence", slice_of(seq));
	set_long(&s, "ts_us", e->source_us, false);
	set_long(&s, "ts_ns", e->source_us * 1000, false);
	set_string(&s, "schema", e->schema);
	set_string(&s, "table", e->table);
	set_long(&s, "txId", e->xid, e->xid == 0);
	set_long(&s, "lsn", (int64_t)e->lsn, e->lsn == 0);
	set_long(&s, "xmin", 0, true);
	if (e->origin.n) {
		set_string(&s, "origin", e->origin);
	} else {
		null = field_of(&s, "origin");
		null = branch_of(&null, true);
		avro_value_set_null(&null);
	}
	set_long(&s, "origin_lsn", (int64_t)e->origin_lsn, e->origin_lsn == 0);
}

static void
set_envelope(avro_value_t *record, const struct table *t, const struct envelope *e)
{
	avro_value_t f = field_of(record, "transaction");

	set_row(record, "before", t, e->before);
	set_row(record, "after", t, e->after);
	set_source(record, e);
	f = branch_of(&f, true);
	avro_value_set_null(&f);
	set_string(record, "op", (struct slice){ &e->op, 1 });
	set_long(record, "ts_ms", e->handled_us / 1000, e->handled_us == 0);
	set_long(record, "ts_us", e->handled_us, e->handled_us == 0);
	set_long(record, "ts_ns", e->handled_us * 1000, e->handled_us == 0);
}

static avro_value_t
value_new(struct slice json)
{
	avro_schema_t schema;
	avro_value_iface_t *iface;
	avro_value_t v;

	assert_int_equal(avro_schema_from_json_length(json.p, json.n, &schema), 0);
	iface = avro_generic_class_from_schema(schema);
	assert_int_equal(avro_generic_value_new(iface, &v), 0);
	avro_value_iface_decref(iface);
	avro_schema_decref(schema);
	return v;
}

static struct slice
encoded(avro_value_t *v, struct arena *a)
{
	size_t n = 0;
	avro_writer_t w;
	char *p;

	assert_int_equal(avro_value_sizeof(v, &n), 0);
	p = arena_raw(a, n);
	w = avro_writer_memory(p, (int64_t)n);
	assert_int_equal(avro_value_write(w, v), 0);
	assert_int_equal(avro_writer_tell(w), (int64_t)n);
	avro_writer_free(w);
	return (struct slice){ p, n };
}

/* ---- the rounds ---- */

static struct envelope
any_envelope(struct rng *r, struct arena *a, const struct table *t)
{
	static const char ops[] = "rcudt";
	struct envelope e = {
		.op = ops[below(r, 5)],
		.before = below(r, 2) ? any_row(r, a, t, true) : NULL,
		.after = below(r, 4) ? any_row(r, a, t, true) : NULL,
		.version = any_bytes(r, a, true), .connector = any_bytes(r, a, true), .name = any_bytes(r, a, true),
		.db = any_bytes(r, a, true), .schema = any_bytes(r, a, true), .table = any_bytes(r, a, true),
		.source_us = (int64_t)(1 + below(r, INT64_MAX / 1000 - 1)),
		.last_commit_lsn = (uint64_t)any_long(r),
		.lsn = (uint64_t)any_long(r),
		.xid = (uint32_t)rnd(r) * (below(r, 3) != 0),
		.origin_lsn = (uint64_t)any_long(r),
		.handled_us = below(r, 4) ? (int64_t)(1 + below(r, INT64_MAX / 1000 - 1)) : 0,
	};

	if (below(r, 2))
		e.origin = any_bytes(r, a, true);
	if (below(r, 2))
		e.snapshot = SLICE_LIT("first_in_data_collection");
	return e;
}

static void
check_row(const struct table *t, const struct value *wrote, const struct value *got, bool after)
{
	assert_int_equal(!wrote, !got);
	for (int i = 0; wrote && i < t->ncols; i++) {
		struct value want = written(&t->cols[i], wrote[i], after);

		if (!value_eq(&want, &got[i]))
			fail_msg("column %d: kind %d, got %d", i, want.kind, got[i].kind);
	}
}

static void
check_decoded(const struct reader *rd, struct slice body, const struct envelope *e, struct arena *a)
{
	const struct table *t = reader_table(rd);
	struct envelope got;
	struct err err;

	if (reader_value(rd, body, a, &got, &err) != OK)
		fail_msg("%s", err.text);
	assert_int_equal(got.op, e->op);
	check_row(t, e->before, got.before, false);
	check_row(t, e->after, got.after, true);
	assert_true(slice_eq(got.version, e->version) && slice_eq(got.connector, e->connector));
	assert_true(slice_eq(got.name, e->name) && slice_eq(got.db, e->db));
	assert_true(slice_eq(got.schema, e->schema) && slice_eq(got.table, e->table));
	assert_true(slice_eq(got.snapshot, e->snapshot.n ? e->snapshot : SLICE_LIT("false")));
	assert_true(slice_eq(got.origin, e->origin));
	assert_int_equal(got.source_us, e->source_us);
	assert_int_equal(got.handled_us, e->handled_us);
	assert_true(got.lsn == e->lsn && got.last_commit_lsn == e->last_commit_lsn);
	assert_true(got.xid == e->xid && got.origin_lsn == e->origin_lsn);
}

/*
 * No strict prefix of a message is a message; a changed byte may be anything but a crash or a
 * flood.
 */
static void
check_damage(struct rng *r, const struct reader *rd, struct slice body)
{
	size_t rows = 2 * (size_t)reader_table(rd)->ncols * sizeof(struct value) + 64;
	struct arena a = { 0 };
	struct envelope got;
	struct err err;
	char *p = malloc(body.n);

	for (int i = 0; i < 8; i++) {
		size_t n = below(r, body.n);

		memcpy(p, body.p, n);
		assert_int_equal(reader_value(rd, (struct slice){ p, n }, &a, &got, &err), REJECT);
		memcpy(p, body.p, body.n);
		for (uint64_t k = 1 + below(r, 3); k > 0; k--)
			p[below(r, body.n)] = (char)rnd(r);
		arena_reset(&a);
		(void)!reader_value(rd, (struct slice){ p, body.n }, &a, &got, &err);
		assert_true(a.used <= rows + 2 * body.n);
		arena_reset(&a);
	}
	arena_free(&a);
	free(p);
}

static void
check_key(struct rng *r, const struct reader *rd, const struct writer *w, const struct table *t, struct slice json,
    struct arena *a)
{
	struct value *row = any_row(r, a, t, false), *got;
	avro_value_t v = value_new(json);
	struct buf out = { 0 };
	struct err err;

	assert_int_equal(writer_key(w, row, &out, &err), OK);
	for (int i = 0; i < t->nkeys; i++) {
		avro_value_t f = field_of(&v, t->cols[t->keys[i]].name.p);

		set_value(&f, &t->cols[t->keys[i]].type, &row[t->keys[i]]);
	}
	assert_true(slice_eq(buf_view(&out), encoded(&v, a)));
	assert_int_equal(reader_key(rd, buf_view(&out), a, &got, &err), OK);
	for (int i = 0; i < t->nkeys; i++)
		assert_true(value_eq(&row[t->keys[i]], &got[t->keys[i]]));
	avro_value_decref(&v);
	buf_free(&out);
}

static void
one_round(struct rng *r)
{
	struct arena a = { 0 };
	struct table *t = any_table(r, &a);
	struct slice key = schema_key(SLICE_LIT("srv"), t, &a), json, theirs;
	struct writer *w = writer_compile(t, &a);
	struct reader *rd;
	struct buf out = { 0 };
	struct err err;
	avro_value_t v, back;
	avro_reader_t mem;

	if (schema_value(SLICE_LIT("srv"), t, &a, &json, &err) != OK || reader_compile(key, json, &a, &rd, &err) != OK)
		fail_msg("%s", err.text);
	assert_int_equal(reader_table(rd)->nkeys, t->nkeys);
	v = value_new(json);
	back = value_new(json);
	for (int i = 0; i < 3; i++) {
		struct envelope e = any_envelope(r, &a, t);

		buf_reset(&out);
		if (writer_value(w, &e, &out, &err) != OK)
			fail_msg("%s", err.text);
		avro_value_reset(&v);
		set_envelope(&v, t, &e);
		theirs = encoded(&v, &a);
		assert_true(slice_eq(buf_view(&out), theirs));
		mem = avro_reader_memory(out.p, (int64_t)out.n);
		assert_int_equal(avro_value_read(mem, &back), 0);
		avro_reader_free(mem);
		assert_true(avro_value_equal(&v, &back));
		check_decoded(rd, theirs, &e, &a);
		check_damage(r, rd, theirs);
	}
	if (key.n)
		check_key(r, rd, w, t, key, &a);
	avro_value_decref(&v);
	avro_value_decref(&back);
	buf_free(&out);
	arena_free(&a);
}

/* ---- foreign schemas: what Debezium's readers may meet ---- */

/* Any Avro type; n makes names that are used once. */
static json_t *
any_schema(struct rng *r, struct arena *a, int depth, int *n)
{
	static const char *const plain[] = { "null", "boolean", "int", "long", "float", "double", "bytes", "string" };
	json_t *j = json_object(), *list = json_array();
	const char *name = arena_printf(a, "N%d", ++*n);

	switch (depth > 3 ? 0 : below(r, 7)) {
	case 1:
		for (int i = (int)below(r, 4); i > 0; i--)
			json_array_append_new(list, json_pack("{s:s,s:o}", "name", arena_printf(a, "f%d", i), "type",
			    any_schema(r, a, depth + 1, n)));
		json_object_update_new(j, json_pack("{s:s,s:s,s:O}", "type", "record", "name", name, "fields", list));
		break;
	case 2:
		json_object_update_new(j, json_pack("{s:s,s:s,s:[s,s]}", "type", "enum", "name", name, "symbols", "A", "B"));
		break;
	case 3:
		json_object_update_new(j, json_pack("{s:s,s:s,s:i}", "type", "fixed", "name", name, "size", 1 + (int)below(r, 9)));
		break;
	case 4:
		json_object_update_new(j, json_pack("{s:s,s:o}", "type", "array", "items", any_schema(r, a, depth + 1, n)));
		break;
	case 5:
		json_object_update_new(j, json_pack("{s:s,s:o}", "type", "map", "values", any_schema(r, a, depth + 1, n)));
		break;
	case 6:
		for (size_t i = below(r, 3), step = 1 + below(r, 3); i < COUNTOF(plain); i += step)
			json_array_append_new(list, json_string(plain[i]));
		json_decref(j);
		return list;
	default:
		json_decref(j);
		j = json_string(plain[below(r, COUNTOF(plain))]);
	}
	json_decref(list);
	return j;
}

/* Fields in another order, and some that nobody knows. */
static void
disturb(struct rng *r, struct arena *a, json_t *fields, int *n)
{
	for (uint64_t i = 1 + below(r, 4); i > 0; i--) {
		json_t *type = any_schema(r, a, 0, n);

		json_array_insert_new(fields, below(r, json_array_size(fields) + 1),
		    json_pack("{s:s,s:o}", "name", arena_printf(a, "extra%d", ++*n), "type", type));
	}
	for (uint64_t i = below(r, 8); i > 0; i--) {
		size_t from = below(r, json_array_size(fields));
		json_t *f = json_incref(json_array_get(fields, from));

		json_array_remove(fields, from);
		json_array_append_new(fields, f);
	}
}

static struct slice
foreign_schema(struct rng *r, struct arena *a, struct slice json)
{
	json_t *root = json_loadb(json.p, json.n, 0, NULL), *fields = json_object_get(root, "fields"), *f;
	struct slice s;
	char *text;
	size_t i;
	int n = 0;

	json_array_foreach(fields, i, f)
		if (strcmp(json_string_value(json_object_get(f, "name")), "source") == 0)
			disturb(r, a, json_object_get(json_object_get(f, "type"), "fields"), &n);
	disturb(r, a, fields, &n);
	json_array_foreach(fields, i, f) /* which defines Value, so it must stay in front of after */
		if (strcmp(json_string_value(json_object_get(f, "name")), "before") == 0) {
			json_incref(f);
			json_array_remove(fields, i);
			json_array_insert_new(fields, 0, f);
			break;
		}
	text = json_dumps(root, JSON_COMPACT);
	s = arena_slice(a, slice_of(text));
	free(text);
	json_decref(root);
	return s;
}

/* Something in every field; what is known is set after it. */
static void
fill(struct rng *r, struct arena *a, avro_value_t *v)
{
	avro_schema_t s = avro_value_get_schema(v);
	avro_value_t part;
	struct slice bytes;
	size_t n = 0;

	switch (avro_value_get_type(v)) {
	case AVRO_BOOLEAN:
		avro_value_set_boolean(v, (int)below(r, 2));
		break;
	case AVRO_INT32:
		avro_value_set_int(v, (int32_t)any_long(r));
		break;
	case AVRO_INT64:
		avro_value_set_long(v, any_long(r));
		break;
	case AVRO_BYTES:
		bytes = any_bytes(r, a, false);
		avro_value_set_bytes(v, loose(bytes), bytes.n);
		break;
	case AVRO_STRING:
		bytes = any_bytes(r, a, true);
		avro_value_set_string_len(v, bytes.p, bytes.n + 1);
		break;
	case AVRO_ENUM:
		avro_value_set_enum(v, (int)below(r, 2));
		break;
	case AVRO_FIXED:
		n = (size_t)avro_schema_fixed_size(s);
		avro_value_set_fixed(v, arena_alloc(a, n), n);
		break;
	case AVRO_UNION:
		avro_value_set_branch(v, (int)below(r, avro_schema_union_size(s)), &part);
		fill(r, a, &part);
		break;
	case AVRO_ARRAY:
		for (uint64_t i = below(r, 4); i > 0; i--) {
			avro_value_append(v, &part, NULL);
			fill(r, a, &part);
		}
		break;
	case AVRO_MAP:
		for (uint64_t i = below(r, 4); i > 0; i--) {
			avro_value_add(v, arena_printf(a, "k%d", (int)i), &part, NULL, NULL);
			fill(r, a, &part);
		}
		break;
	case AVRO_RECORD:
		avro_value_get_size(v, &n);
		for (size_t i = 0; i < n; i++) {
			avro_value_get_by_index(v, i, &part, NULL);
			fill(r, a, &part);
		}
		break;
	default:
		break;
	}
}

static void
foreign_round(struct rng *r)
{
	struct arena a = { 0 };
	struct table *t = any_table(r, &a);
	struct slice json, theirs;
	struct reader *rd;
	struct envelope e;
	struct err err;
	avro_value_t v;

	if (schema_value(SLICE_LIT("srv"), t, &a, &json, &err) != OK)
		fail_msg("%s", err.text);
	json = foreign_schema(r, &a, json);
	if (reader_compile((struct slice){ "", 0 }, json, &a, &rd, &err) != OK)
		fail_msg("%s: %.*s", err.text, SLICE_ARG(json));
	v = value_new(json);
	e = any_envelope(r, &a, t);
	fill(r, &a, &v);
	set_envelope(&v, t, &e);
	theirs = encoded(&v, &a);
	check_decoded(rd, theirs, &e, &a);
	check_damage(r, rd, theirs);
	avro_value_decref(&v);
	arena_free(&a);
}

static void
rounds(void (*round)(struct rng *))
{
	struct rng r = { env_number("TOWLINE_SEED", (uint64_t)time(NULL)) };
	uint64_t n = env_number("TOWLINE_ROUNDS", ROUNDS);

	printf("seed %llu, %llu rounds\n", (unsigned long long)r.s, (unsigned long long)n);
	for (; n > 0; n--)
		round(&r);
}

static void
same_bytes_as_avro_c(void **state UNUSED)
{
	rounds(one_round);
}

static void
foreign_schemas(void **state UNUSED)
{
	rounds(foreign_round);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bytes_as_avro_c),
		cmocka_unit_test(foreign_schemas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
