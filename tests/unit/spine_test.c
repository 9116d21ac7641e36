/*
 * The spine's records against avro-c, cut short, and with numbers that do not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/frame.h"
#include "schemas/schema.h"
#include "schemas/spine.h"

#include <stdio.h>
#include <stdlib.h>

#include <avro.h>
#include <cmocka.h>

#include "tests/unit/random.h"

enum { PARTS_MAX = 5, TEXT_MAX = 12, FRAME_BYTES = 10 };

static struct slice
schema_text(struct arena *a)
{
	enum { MAX = 1 << 14 };
	FILE *f = fopen("schemas/spine.avsc", "r");
	char *p = arena_alloc(a, MAX);
	size_t n;

	assert_non_null(f);
	n = fread(p, 1, MAX, f);
	fclose(f);
	assert_true(n < MAX);
	return (struct slice){ p, n };
}

/* ---- bytes ---- */

static struct slice
any_text(struct rng *r, struct arena *a)
{
	size_t n = below(r, TEXT_MAX + 1);
	char *p = arena_alloc(a, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)('a' + below(r, 26));
	return (struct slice){ p, n };
}

static struct spine_part
any_part(struct rng *r, struct arena *a)
{
	int64_t first = (int64_t)(any_u64(r) >> 1), room = INT64_MAX - first;
	int64_t last = first + (int64_t)(any_u64(r) >> 1 & (uint64_t)room);
	int64_t count = 1 + (last == first ? 0 : (int64_t)below(r, (uint64_t)(last - first)));

	return (struct spine_part){ any_text(r, a), (int32_t)(any_u64(r) & INT32_MAX), first, last,
		count };
}

static struct spine_record
any_record(struct rng *r, struct arena *a)
{
	struct spine_record rec = { .kind = (enum spine_kind)below(r, 3),
		.gen = any_u64(r),
		.token = any_u64(r),
		.no = any_u64(r) | 1,
		.seq_from = (any_u64(r) | 1),
		.flags = (uint32_t)any_u64(r),
		.lsn = any_u64(r),
		.watermark = any_u64(r),
		.first_us = (int64_t)any_u64(r),
		.commit_us = (int64_t)any_u64(r),
		.at_us = (int64_t)any_u64(r),
		.system_id = any_u64(r),
		.timeline = (uint32_t)any_u64(r),
		.node = any_text(r, a),
		.prev_gen = any_u64(r),
		.reason = any_text(r, a) };

	rec.seq_to = rec.seq_from + (any_u64(r) & (UINT64_MAX - rec.seq_from));
	rec.nparts = (int)below(r, PARTS_MAX + 1);
	rec.parts = arena_array(a, PARTS_MAX, sizeof *rec.parts);
	for (int i = 0; i < rec.nparts; i++)
		rec.parts[i] = any_part(r, a);
	return rec;
}

static bool
same_record(const struct spine_record *x, const struct spine_record *y)
{
	bool same = x->kind == y->kind && x->gen == y->gen && x->token == y->token &&
	    x->no == y->no && x->seq_from == y->seq_from && x->seq_to == y->seq_to &&
	    x->flags == y->flags && x->lsn == y->lsn && x->watermark == y->watermark &&
	    x->first_us == y->first_us && x->commit_us == y->commit_us && x->at_us == y->at_us &&
	    x->system_id == y->system_id && x->timeline == y->timeline &&
	    slice_eq(x->node, y->node) && x->prev_gen == y->prev_gen &&
	    slice_eq(x->reason, y->reason) && x->nparts == y->nparts;

	for (int i = 0; same && i < x->nparts; i++) {
		const struct spine_part *p = &x->parts[i], *q = &y->parts[i];

		same = slice_eq(p->topic, q->topic) && p->partition == q->partition &&
		    p->first == q->first && p->last == q->last && p->count == q->count;
	}
	return same;
}

/* In a block of its own, so that ASan sees a read behind it. */
static enum rc
take_alone(struct slice s, size_t n)
{
	struct arena a = { 0 };
	char *alone = malloc(n ? n : 1);
	struct spine_record r;
	struct err err;
	enum rc rc;

	assert_non_null(alone);
	memcpy(alone, s.p, n);
	rc = spine_take((struct slice){ alone, n }, &a, &r, &err);
	free(alone);
	arena_free(&a);
	return rc;
}

static void
round_trip(void **state UNUSED)
{
	uint64_t seed = first_seed("round_trip"), times = rounds(3000);

	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		struct arena a = { 0 };
		struct buf b = { 0 };
		struct spine_record put = any_record(&r, &a), got;
		struct err err;

		spine_put(&b, &put);
		HOLDS(&r, spine_take(buf_view(&b), &a, &got, &err) == OK);
		HOLDS(&r, same_record(&put, &got));
		for (size_t n = 0; i < 100 && n < b.n; n++)
			HOLDS(&r, take_alone(buf_view(&b), n) == REJECT);
		buf_byte(&b, 0);
		HOLDS(&r, take_alone(buf_view(&b), b.n) == REJECT);
		buf_free(&b);
		arena_free(&a);
	}
}

static avro_value_t
field(const avro_value_t *rec, const char *name)
{
	avro_value_t v;

	assert_int_equal(avro_value_get_by_name(rec, name, &v, NULL), 0);
	return v;
}

static void
set_long(const avro_value_t *rec, const char *name, uint64_t v)
{
	avro_value_t f = field(rec, name);

	assert_int_equal(avro_value_set_long(&f, (int64_t)v), 0);
}

static void
set_int(const avro_value_t *rec, const char *name, int32_t v)
{
	avro_value_t f = field(rec, name);

	assert_int_equal(avro_value_set_int(&f, v), 0);
}

static void
set_text(const avro_value_t *rec, const char *name, struct slice s)
{
	avro_value_t f = field(rec, name);

	/* ends in a NUL, which avro-c counts and does not write */
	assert_int_equal(avro_value_set_string_len(&f, s.p, s.n + 1), 0);
}

static void
set_record(const avro_value_t *v, const struct spine_record *r)
{
	avro_value_t kind = field(v, "kind"), parts = field(v, "parts"), p;

	assert_int_equal(avro_value_set_enum(&kind, (int)r->kind), 0);
	set_long(v, "gen", r->gen);
	set_long(v, "token", r->token);
	set_long(v, "no", r->no);
	set_long(v, "seq_from", r->seq_from);
	set_long(v, "seq_to", r->seq_to);
	set_int(v, "flags", (int32_t)r->flags);
	set_long(v, "lsn", r->lsn);
	set_long(v, "watermark", r->watermark);
	set_long(v, "first_us", (uint64_t)r->first_us);
	set_long(v, "commit_us", (uint64_t)r->commit_us);
	set_long(v, "at_us", (uint64_t)r->at_us);
	set_long(v, "system_id", r->system_id);
	set_int(v, "timeline", (int32_t)r->timeline);
	set_text(v, "node", r->node);
	set_long(v, "prev_gen", r->prev_gen);
	set_text(v, "reason", r->reason);
	for (int i = 0; i < r->nparts; i++) {
		assert_int_equal(avro_value_append(&parts, &p, NULL), 0);
		set_text(&p, "topic", r->parts[i].topic);
		set_int(&p, "partition", r->parts[i].partition);
		set_long(&p, "first", (uint64_t)r->parts[i].first);
		set_long(&p, "last", (uint64_t)r->parts[i].last);
		set_long(&p, "count", (uint64_t)r->parts[i].count);
	}
}

static void
same_bytes_as_avro(void **state UNUSED)
{
	static char out[4096];
	struct arena a = { 0 };
	struct slice text = schema_text(&a);
	uint64_t seed = first_seed("same_bytes_as_avro"), times = rounds(2000);
	avro_value_iface_t *class;
	avro_schema_t schema;
	avro_value_t v;

	assert_int_equal(avro_schema_from_json_length(text.p, text.n, &schema), 0);
	class = avro_generic_class_from_schema(schema);
	assert_non_null(class);
	assert_int_equal(avro_generic_value_new(class, &v), 0);
	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		struct spine_record rec = any_record(&r, &a);
		avro_writer_t w = avro_writer_memory(out, sizeof out);
		struct buf b = { 0 };

		avro_value_reset(&v);
		set_record(&v, &rec);
		assert_int_equal(avro_value_write(w, &v), 0);
		spine_put(&b, &rec);
		HOLDS(&r, b.n == FRAME_BYTES + (size_t)avro_writer_tell(w));
		HOLDS(&r, memcmp(b.p + FRAME_BYTES, out, b.n - FRAME_BYTES) == 0);
		avro_writer_free(w);
		buf_free(&b);
		arena_reset(&a);
	}
	avro_value_decref(&v);
	avro_value_iface_decref(class);
	avro_schema_decref(schema);
	arena_free(&a);
}

/* The number in the frame is spine.avsc's: who changes the file changes it, and with it every reader. */
static void
fingerprint(void **state UNUSED)
{
	struct arena a = { 0 };
	struct buf b = { 0 };
	struct slice body;
	struct err err;
	struct frame f;
	uint64_t fp = 0;

	assert_int_equal(schema_fingerprint(schema_text(&a), &fp, &err), OK);
	spine_put(&b, &(struct spine_record){ .no = 1 });
	f = frame_take(buf_view(&b), &body);
	assert_int_equal(f.kind, FRAME_SINGLE);
	if (f.id != fp)
		fail_msg("SPINE_FINGERPRINT is 0x%" PRIx64 ", schemas/spine.avsc has 0x%" PRIx64,
		    f.id, fp);
	b.p[5] ^= 1;
	assert_int_equal(take_alone(buf_view(&b), b.n), REJECT);
	buf_free(&b);
	arena_free(&a);
}

static enum rc
take_changed(void (*change)(struct spine_record *))
{
	struct spine_part part = { SLICE_LIT("t"), 0, 10, 19, 10 };
	struct spine_record r = {
		.gen = 1, .no = 1, .seq_from = 1, .seq_to = 1, .parts = &part, .nparts = 1
	};
	struct buf b = { 0 };
	enum rc rc;

	change(&r);
	spine_put(&b, &r);
	rc = take_alone(buf_view(&b), b.n);
	buf_free(&b);
	return rc;
}

/* clang-format off */
static void as_it_is(struct spine_record *r UNUSED) {}
static void kind_3(struct spine_record *r) { r->kind = (enum spine_kind)3; }
static void kind_negative(struct spine_record *r) { r->kind = (enum spine_kind)-1; }
static void no_0(struct spine_record *r) { r->no = 0; }
static void seq_0(struct spine_record *r) { r->seq_from = 0; }
static void seq_back(struct spine_record *r) { r->seq_from = 2; }
static void beat_without_seq(struct spine_record *r) { *r = (struct spine_record){ .kind = SPINE_BEAT, .gen = 1 }; }
static void open_without_seq(struct spine_record *r) { *r = (struct spine_record){ .kind = SPINE_OPEN, .gen = 1 }; }
static void partition_negative(struct spine_record *r) { r->parts->partition = -1; }
static void first_negative(struct spine_record *r) { r->parts->first = -1; }
static void last_before_first(struct spine_record *r) { r->parts->last = 9; }
static void count_0(struct spine_record *r) { r->parts->count = 0; }
static void count_11(struct spine_record *r) { r->parts->count = 11; }
/* clang-format on */

static void
whole_range(struct spine_record *r)
{
	*r->parts = (struct spine_part){ SLICE_LIT("t"), INT32_MAX, 0, INT64_MAX, INT64_MAX };
}

static void
refused(void **state UNUSED)
{
	static const struct {
		void (*change)(struct spine_record *);
		enum rc want;
	} cases[] = { { as_it_is, OK }, { whole_range, OK }, { beat_without_seq, OK },
		{ open_without_seq, OK }, { kind_3, REJECT }, { kind_negative, REJECT },
		{ no_0, REJECT }, { seq_0, REJECT }, { seq_back, REJECT },
		{ partition_negative, REJECT }, { first_negative, REJECT },
		{ last_before_first, REJECT }, { count_0, REJECT }, { count_11, REJECT } };

	for (size_t i = 0; i < COUNTOF(cases); i++)
		if (take_changed(cases[i].change) != cases[i].want)
			fail_msg("case %zu", i);
}

/* Numbers that do not fit may not be cut to others that do, and a count may not make us allocate. */
static void
refused_bytes(void **state UNUSED)
{
	enum { FLAGS = 6, TIMELINE = 13, FIELDS_BEFORE_PARTS = 17 };
	static const struct {
		int at; /* this field, or one after the last: the count of parts */
		int64_t v;
	} cases[] = { { FLAGS, INT64_C(1) << 32 }, { FLAGS, INT64_C(1) << 31 },
		{ TIMELINE, INT64_C(1) << 40 }, { FIELDS_BEFORE_PARTS, INT64_MAX },
		{ FIELDS_BEFORE_PARTS, -1 }, { FIELDS_BEFORE_PARTS, INT64_MIN },
		{ FIELDS_BEFORE_PARTS, 2 } };

	for (size_t i = 0; i < COUNTOF(cases); i++) {
		struct buf b = { 0 };

		spine_put(&b, &(struct spine_record){ .no = 1 });
		b.n = FRAME_BYTES;
		for (int f = 0; f < FIELDS_BEFORE_PARTS; f++)
			buf_long(&b, f == cases[i].at ? cases[i].v : f >= 3 && f <= 5 ? 1 : 0);
		buf_long(&b, cases[i].at == FIELDS_BEFORE_PARTS ? cases[i].v : 0);
		if (take_alone(buf_view(&b), b.n) != REJECT)
			fail_msg("case %zu", i);
		buf_free(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fingerprint),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(same_bytes_as_avro),
		cmocka_unit_test(refused),
		cmocka_unit_test(refused_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
