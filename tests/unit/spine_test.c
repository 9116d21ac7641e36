/*
 * The spine's records against avro-c, and its rules: one by one, and from every place in random histories.
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

	return (struct spine_part){ any_text(r, a), (int32_t)(any_u64(r) & INT32_MAX), first, last, count };
}

static struct spine_record
any_record(struct rng *r, struct arena *a)
{
	struct spine_record rec = { .kind = (enum spine_kind)below(r, 3), .gen = any_u64(r), .token = any_u64(r), .no = any_u64(r) | 1,
		.seq_from = (any_u64(r) | 1), .flags = (uint32_t)any_u64(r), .lsn = any_u64(r), .watermark = any_u64(r),
		.first_us = (int64_t)any_u64(r), .commit_us = (int64_t)any_u64(r), .at_us = (int64_t)any_u64(r), .system_id = any_u64(r),
		.timeline = (uint32_t)any_u64(r), .node = any_text(r, a), .prev_gen = any_u64(r), .reason = any_text(r, a) };

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
	bool same = x->kind == y->kind && x->gen == y->gen && x->token == y->token && x->no == y->no && x->seq_from == y->seq_from &&
	    x->seq_to == y->seq_to && x->flags == y->flags && x->lsn == y->lsn && x->watermark == y->watermark && x->first_us == y->first_us &&
	    x->commit_us == y->commit_us && x->at_us == y->at_us && x->system_id == y->system_id && x->timeline == y->timeline &&
	    slice_eq(x->node, y->node) && x->prev_gen == y->prev_gen && slice_eq(x->reason, y->reason) && x->nparts == y->nparts;

	for (int i = 0; same && i < x->nparts; i++) {
		const struct spine_part *p = &x->parts[i], *q = &y->parts[i];

		same = slice_eq(p->topic, q->topic) && p->partition == q->partition && p->first == q->first && p->last == q->last && p->count == q->count;
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
		fail_msg("SPINE_FINGERPRINT is 0x%" PRIx64 ", schemas/spine.avsc has 0x%" PRIx64, f.id, fp);
	b.p[5] ^= 1;
	assert_int_equal(take_alone(buf_view(&b), b.n), REJECT);
	buf_free(&b);
	arena_free(&a);
}

static enum rc
take_changed(void (*change)(struct spine_record *))
{
	struct spine_part part = { SLICE_LIT("t"), 0, 10, 19, 10 };
	struct spine_record r = { .gen = 1, .no = 1, .seq_from = 1, .seq_to = 1, .parts = &part, .nparts = 1 };
	struct buf b = { 0 };
	enum rc rc;

	change(&r);
	spine_put(&b, &r);
	rc = take_alone(buf_view(&b), b.n);
	buf_free(&b);
	return rc;
}

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
	} cases[] = { { as_it_is, OK }, { whole_range, OK }, { beat_without_seq, OK }, { open_without_seq, OK }, { kind_3, REJECT },
		{ kind_negative, REJECT }, { no_0, REJECT }, { seq_0, REJECT }, { seq_back, REJECT }, { partition_negative, REJECT },
		{ first_negative, REJECT }, { last_before_first, REJECT }, { count_0, REJECT }, { count_11, REJECT } };

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
	} cases[] = { { FLAGS, INT64_C(1) << 32 }, { FLAGS, INT64_C(1) << 31 }, { TIMELINE, INT64_C(1) << 40 },
		{ FIELDS_BEFORE_PARTS, INT64_MAX }, { FIELDS_BEFORE_PARTS, -1 }, { FIELDS_BEFORE_PARTS, INT64_MIN }, { FIELDS_BEFORE_PARTS, 2 } };

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

/* ---- the rules, one by one ---- */

#define OPENS(g, p, t, n)               { .kind = SPINE_OPEN, .gen = g, .prev_gen = p, .token = t, .no = n }
#define GROUPS(g, t, n, from, to, f)    { .kind = SPINE_GROUP, .gen = g, .token = t, .no = n, .seq_from = from, .seq_to = to, .flags = f, .lsn = to * 10 }
#define BEATS(g, t, n, w)               { .kind = SPINE_BEAT, .gen = g, .token = t, .no = n, .watermark = w }
#define ENDS                            { .kind = SPINE_BEAT }, SPINE_STALE

static const struct rule {
	const char *name;
	struct step {
		struct spine_record r;
		enum spine_verdict want;
	} steps[10];
	struct spine_state end; /* gen token no seq watermark partial count */
} rules[] = {
	{ "the first of two openers wins",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { OPENS(1, 0, 8, 0), SPINE_STALE }, { GROUPS(1, 8, 1, 1, 1, 0), SPINE_STALE },
		{ BEATS(1, 8, 0, 99), SPINE_STALE }, { GROUPS(1, 7, 1, 1, 3, 0), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 1, .seq = 3 } },
	{ "the same two, the other way round",
	    { { OPENS(1, 0, 8, 0), SPINE_ACCEPT }, { OPENS(1, 0, 7, 0), SPINE_STALE }, { GROUPS(1, 7, 1, 1, 3, 0), SPINE_STALE },
		{ GROUPS(1, 8, 1, 1, 1, 0), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 1, .token = 8, .no = 1, .seq = 1 } },
	{ "an opener with the winner's token is no second winner",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { OPENS(1, 0, 7, 0), SPINE_STALE }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "a zombie's groups and beats do not count",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 5, 0), SPINE_ACCEPT }, { OPENS(2, 1, 9, 1), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 6, 6, 0), SPINE_STALE }, { BEATS(1, 7, 1, 99), SPINE_STALE }, { GROUPS(2, 9, 2, 6, 8, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 3, 9, 9, 0), SPINE_STALE }, { ENDS } },
	    { .gen = 2, .token = 9, .no = 2, .seq = 8 } },
	{ "an opener that looked before another one opened",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { OPENS(2, 1, 8, 0), SPINE_ACCEPT }, { OPENS(2, 1, 9, 0), SPINE_STALE },
		{ OPENS(3, 2, 9, 0), SPINE_ACCEPT }, { OPENS(2, 1, 5, 0), SPINE_STALE }, { ENDS } },
	    { .gen = 3, .token = 9 } },
	{ "groups that came between look and OPEN stay",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 5, 0), SPINE_ACCEPT }, { OPENS(2, 1, 9, 0), SPINE_ACCEPT },
		{ GROUPS(2, 9, 2, 6, 6, 0), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 2, .token = 9, .no = 2, .seq = 6 } },
	{ "a generation may not be skipped",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { OPENS(3, 1, 9, 0), SPINE_STALE }, { OPENS(1, 1, 9, 0), SPINE_STALE },
		{ OPENS(2, 0, 9, 0), SPINE_STALE }, { ENDS } },
	    { .gen = 1, .token = 7 } },
	{ "what was accepted comes again",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 1, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 2, 2, 2, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 2, 2, 0), SPINE_REPEAT }, { GROUPS(1, 7, 1, 1, 1, 0), SPINE_REPEAT }, { BEATS(1, 7, 1, 99), SPINE_REPEAT },
		{ GROUPS(1, 7, 3, 3, 3, 0), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 3, .seq = 3 } },
	{ "a missing group", { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 2, 1, 1, 0), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "a missing transaction", { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 2, 2, 0), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "a transaction twice",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 2, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 2, 2, 3, 0), SPINE_GAP }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 1, .seq = 2 } },
	{ "a beat of groups that are missing", { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { BEATS(1, 7, 1, 99), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "a group of a generation whose OPEN is missing",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(2, 9, 1, 1, 1, 0), SPINE_GAP }, { BEATS(2, 9, 0, 0), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "an OPEN after one that is missing", { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { OPENS(3, 2, 9, 0), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "an OPEN after groups that are missing", { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { OPENS(2, 1, 9, 4), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "a log that has lost its beginning",
	    { { GROUPS(1, 7, 1, 1, 1, 0), SPINE_GAP }, { BEATS(1, 7, 0, 0), SPINE_GAP }, { OPENS(5, 4, 7, 3), SPINE_GAP }, { OPENS(1, 0, 7, 1), SPINE_GAP }, { ENDS } },
	    { 0 } },
	{ "a transaction in three groups",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 3, 3, SPINE_CONTINUES | SPINE_MORE), SPINE_ACCEPT }, { GROUPS(1, 7, 3, 3, 5, SPINE_CONTINUES), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 3, .seq = 5 } },
	{ "an unfinished transaction must go on",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT }, { GROUPS(1, 7, 2, 3, 4, 0), SPINE_GAP },
		{ GROUPS(1, 7, 2, 4, 4, SPINE_CONTINUES), SPINE_GAP }, { GROUPS(1, 7, 2, 4, 4, 0), SPINE_GAP }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 1, .seq = 2, .partial = true } },
	{ "nothing goes on that was not begun",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 1, SPINE_CONTINUES), SPINE_GAP }, { ENDS } }, { .gen = 1, .token = 7 } },
	{ "an OPEN makes an unfinished transaction void",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 3, 3, SPINE_CONTINUES | SPINE_MORE), SPINE_ACCEPT }, { OPENS(2, 1, 9, 2), SPINE_ACCEPT },
		{ GROUPS(1, 7, 3, 3, 3, SPINE_CONTINUES), SPINE_STALE }, { GROUPS(2, 9, 3, 3, 3, SPINE_CONTINUES), SPINE_GAP },
		{ GROUPS(2, 9, 3, 3, 4, 0), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 2, .token = 9, .no = 3, .seq = 4 } },
	{ "an opener that lost makes nothing void",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT }, { OPENS(1, 0, 8, 0), SPINE_STALE },
		{ GROUPS(1, 7, 2, 3, 3, SPINE_CONTINUES), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 2, .seq = 3 } },
	{ "a beat moves the watermark, and only forward",
	    { { OPENS(1, 0, 7, 0), SPINE_ACCEPT }, { BEATS(1, 7, 0, 50), SPINE_ACCEPT }, { BEATS(1, 7, 0, 40), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 1, 0), SPINE_ACCEPT }, { ENDS } },
	    { .gen = 1, .token = 7, .no = 1, .seq = 1, .watermark = 50 } },
};

static bool
same_state(const struct spine_state *x, const struct spine_state *y)
{
	return x->gen == y->gen && x->token == y->token && x->no == y->no && x->seq == y->seq && x->lsn == y->lsn && x->watermark == y->watermark &&
	    x->system_id == y->system_id && x->timeline == y->timeline && x->commit_us == y->commit_us && x->partial == y->partial &&
	    x->started == y->started;
}

static void
one_by_one(void **state UNUSED)
{
	for (size_t i = 0; i < COUNTOF(rules); i++) {
		const struct spine_state *end = &rules[i].end;
		struct spine_state s = { 0 };

		for (const struct step *step = rules[i].steps; step->r.gen; step++) {
			struct spine_state before = s;
			enum spine_verdict got = spine_step(&s, &step->r);

			if (got != step->want)
				fail_msg("%s: step %td: %d, not %d", rules[i].name, step - rules[i].steps + 1, (int)got, (int)step->want);
			if (got != SPINE_ACCEPT && !same_state(&before, &s))
				fail_msg("%s: step %td was not accepted, yet it changed the state", rules[i].name, step - rules[i].steps + 1);
		}
		if (s.gen != end->gen || s.token != end->token || s.no != end->no || s.seq != end->seq || s.watermark != end->watermark ||
		    s.partial != end->partial)
			fail_msg("%s: ends at gen %" PRIu64 " token %" PRIu64 " no %" PRIu64 " seq %" PRIu64, rules[i].name, s.gen, s.token, s.no, s.seq);
	}
}

/* ---- random histories ---- */

enum { RECORDS_MAX = 400, ZOMBIES_MAX = 8, OPENERS_MAX = 4 };

/* A writer as it sees itself; it may be fenced and not know it yet. */
struct actor {
	struct spine_record last; /* its last record: what the next one follows */
	uint64_t seq;             /* complete transactions */
	bool partial;
	int until;                /* a zombie writes nothing from this record on */
};

struct opener {
	struct spine_record open;
	bool looked;
};

struct history {
	struct rng *r;
	struct spine_record recs[RECORDS_MAX];
	const struct spine_record *list[RECORDS_MAX];
	enum spine_verdict want[RECORDS_MAX];
	int n;
	struct actor writer, zombies[ZOMBIES_MAX];
	int nzombies;
	struct opener openers[OPENERS_MAX];
	uint64_t tokens;
};

static void
add(struct history *h, const struct spine_record *rec, enum spine_verdict want)
{
	h->recs[h->n] = *rec;
	h->list[h->n] = &h->recs[h->n];
	h->want[h->n++] = want;
}

static struct spine_record
next_group(struct rng *r, struct actor *a)
{
	struct spine_record g = a->last;
	uint64_t complete;

	g.kind = SPINE_GROUP;
	g.no++;
	g.seq_from = a->seq + 1;
	g.seq_to = g.seq_from + (one_in(r, 2) ? 0 : below(r, 5));
	g.flags = (a->partial ? SPINE_CONTINUES : 0) | (one_in(r, 5) ? SPINE_MORE : 0);
	a->partial = g.flags & SPINE_MORE;
	complete = a->partial ? g.seq_to - 1 : g.seq_to;
	if (complete > a->seq) {
		g.lsn += 1 + below(r, 100);
		g.watermark = g.watermark > g.lsn ? g.watermark : g.lsn + 8;
	}
	g.commit_us++;
	a->seq = complete;
	a->last = g;
	return g;
}

static struct spine_record
next_beat(struct rng *r, struct actor *a)
{
	struct spine_record b = a->last;

	b.kind = SPINE_BEAT;
	b.seq_from = 0;
	b.seq_to = a->seq;
	b.flags = 0;
	b.watermark += below(r, 100);
	a->last = b;
	return b;
}

static struct spine_record
next_record(struct rng *r, struct actor *a)
{
	return !a->partial && one_in(r, 4) ? next_beat(r, a) : next_group(r, a);
}

/* One that would like to write looks at the log as it is now. */
static void
look(struct history *h, struct opener *o)
{
	o->open = h->writer.last;
	o->open.kind = SPINE_OPEN;
	o->open.prev_gen = h->writer.last.gen;
	o->open.gen = o->open.prev_gen + 1;
	o->open.token = ++h->tokens;
	o->open.timeline = (uint32_t)(h->writer.last.timeline + one_in(h->r, 3));
	o->open.system_id = 42;
	o->open.seq_to = h->writer.seq;
	o->open.flags = 0;
	o->looked = true;
}

/* Its OPEN arrives: first for its generation, or too late. */
static void
open_arrives(struct history *h, struct opener *o)
{
	bool wins = o->open.prev_gen == h->writer.last.gen;
	struct actor *z = &h->zombies[h->nzombies % ZOMBIES_MAX];

	o->looked = false;
	add(h, &o->open, wins ? SPINE_ACCEPT : SPINE_STALE);
	if (!wins)
		return;
	*z = h->writer;
	z->until = h->n + SPINE_UNREAD_MAX;
	h->nzombies++;
	/* It has read everything up to its OPEN. */
	h->writer.last.gen = o->open.gen;
	h->writer.last.token = o->open.token;
	h->writer.last.timeline = o->open.timeline;
	h->writer.last.system_id = o->open.system_id;
	h->writer.partial = false;
}

static void
zombie_writes(struct history *h)
{
	struct actor *z = &h->zombies[below(h->r, ZOMBIES_MAX)];
	struct spine_record rec;

	if (h->n >= z->until || z->last.gen == 0)
		return;
	rec = next_record(h->r, z);
	add(h, &rec, SPINE_STALE);
}

/* The last few records once more, as a retried batch. */
static void
repeat(struct history *h)
{
	int from = h->n, n = h->n;

	while (from > 0 && n - from < 3 && h->recs[from - 1].kind == SPINE_GROUP && h->want[from - 1] == SPINE_ACCEPT)
		from--;
	for (int i = from; i < n && h->n < RECORDS_MAX; i++)
		add(h, &h->recs[i], SPINE_REPEAT);
}

static void
make_history(struct history *h, struct rng *r)
{
	int n = 1 + (int)below(r, RECORDS_MAX), change = 0;
	uint64_t writes = 0, zombies = 0, opens = 0;

	h->r = r;
	look(h, &h->openers[0]);
	open_arrives(h, &h->openers[0]);
	while (h->n < n) {
		struct opener *o = &h->openers[below(r, OPENERS_MAX)];
		uint64_t what;

		/* Times differ: at work, or one writer after the other opens and dies, or zombies wake. */
		if (h->n >= change) {
			change = h->n + 1 + (int)below(r, 120);
			writes = one_in(r, 2) ? 0 : below(r, 8);
			zombies = one_in(r, 2) ? 0 : below(r, 4);
			opens = 1 + below(r, 3);
		}
		what = below(r, writes + zombies + opens + 1);
		if (what < writes) {
			struct spine_record rec = next_record(r, &h->writer);

			add(h, &rec, SPINE_ACCEPT);
		} else if (what < writes + zombies)
			zombie_writes(h);
		else if (what < writes + zombies + opens && one_in(r, 4 - opens))
			o->looked ? open_arrives(h, o) : look(h, o);
		else if (one_in(r, 8))
			repeat(h);
	}
}

/* The state by the tail from record `cut` on; false: the tail does not tell. */
static bool
resumed(const struct history *h, int cut, struct spine_state *s)
{
	int n = h->n - cut, i = spine_resume(s, h->list + cut, n);

	HOLDS(h->r, i <= n);
	if (i < 0)
		return false;
	for (; i < n; i++)
		HOLDS(h->r, spine_step(s, h->list[cut + i]) != SPINE_GAP);
	return true;
}

static void
from_every_place(void **state UNUSED)
{
	static struct history h;
	uint64_t seed = first_seed("from_every_place"), times = rounds(600), told = 0, cuts = 0, doubts = 0;

	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		struct spine_state whole = { 0 }, s;

		memset(&h, 0, sizeof h);
		make_history(&h, &r);
		for (int k = 0; k < h.n; k++) {
			enum spine_verdict got = spine_step(&whole, h.list[k]);

			HOLDS(&r, got == h.want[k]);
		}
		HOLDS(&r, whole.gen == h.writer.last.gen && whole.token == h.writer.last.token && whole.no == h.writer.last.no);
		HOLDS(&r, whole.seq == h.writer.seq && whole.partial == h.writer.partial && whole.watermark == h.writer.last.watermark);
		HOLDS(&r, whole.lsn == h.writer.last.lsn && whole.commit_us == h.writer.last.commit_us);
		HOLDS(&r, whole.timeline == h.writer.last.timeline && whole.system_id == h.writer.last.system_id && whole.started);
		for (int cut = 0; cut == 0 || cut < h.n - SPINE_UNREAD_MAX; cut++) {
			cuts++;
			if (!resumed(&h, cut, &s)) {
				doubts++;
				continue;
			}
			told++;
			HOLDS(&r, same_state(&whole, &s));
		}
	}
	printf("%" PRIu64 " tails, %" PRIu64 " do not tell\n", cuts, doubts);
	if (times >= 100)
		assert_true(told > cuts / 4);
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
		cmocka_unit_test(one_by_one),
		cmocka_unit_test(from_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
