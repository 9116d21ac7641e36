/*
 * pgtypes_random_test.c - PostgreSQL's types: random values survive text and binary both ways.
 *
 * SEED=n in the environment repeats a run; each test prints its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <gmp.h>

#include "core/buf.h"
#include "schemas/pgtime.h"
#include "schemas/pgtypes.h"

#include <cmocka.h> /* last: its fail() is a macro */

static struct slice
view(const struct buf *b)
{
	return (struct slice){ b->p ? b->p : "", b->n };
}

static void
assert_slice(const char *what, struct slice got, struct slice want)
{
	if (!slice_eq(got, want))
		fail_msg("%s: got \"%.*s\", want \"%.*s\"", what, SLICE_ARG(got), SLICE_ARG(want));
}

static struct value
read_ok(const struct pg_type *t, const struct wire_type *w, bool binary, struct slice s, struct arena *a)
{
	struct value v = { 0 };
	struct err err;

	if (pgtype_read(t, w, binary, s, a, &v, &err) != OK)
		fail_msg("%s \"%.*s\": %s", t->name, SLICE_ARG(s), err.text);
	return v;
}

static uint64_t
seed_of(const char *what)
{
	const char *env = getenv("SEED");
	uint64_t seed = env ? strtoull(env, NULL, 10) : (uint64_t)time(NULL);

	printf("%s: SEED=%llu\n", what, (unsigned long long)seed);
	return seed * 2 + 1;
}

static uint64_t
rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * 0x2545f4914f6cdd1dULL;
}

/* "-123.4500": up to `most` digits on each side, often groups of zeros and nines, where carries and strips go wrong. */
static struct slice
random_numeric(uint64_t *s, size_t most, struct arena *a)
{
	size_t whole = 1 + rnd(s) % most, frac = rnd(s) % 2 ? rnd(s) % most : 0, n = 0;
	unsigned mode = (unsigned)(rnd(s) % 3);
	char *p = arena_raw(a, whole + frac + 3);

	if (rnd(s) % 2)
		p[n++] = '-';
	for (size_t i = 0; i < whole + frac; i++) {
		unsigned d = mode == 0 || rnd(s) % 8 == 0 ? (unsigned)(rnd(s) % 10) : mode == 1 ? 0 : 9;

		if (i == whole)
			p[n++] = '.';
		p[n++] = (char)('0' + (i == 0 && whole > 1 && d == 0 ? 1 : d));
	}
	if (*p == '-' && strspn(p + 1, "0.") >= n - 1)
		*p = '1'; /* there is no -0 */
	return (struct slice){ p, n };
}

/* The bytes are the number that GMP reads from the digits. */
static void
check_against_gmp(struct slice text, const struct value *v, struct arena *a)
{
	char *digits = arena_raw(a, text.n + 1);
	mpz_t want, got;
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] != '.')
			digits[n++] = text.p[i];
	digits[n] = '\0';
	mpz_init_set_str(want, digits, 10);
	mpz_init(got);
	mpz_import(got, v->s.n, 1, 1, 1, 0, v->s.p);
	if ((uint8_t)*v->s.p >= 0x80) {
		mpz_t top;

		mpz_init_set_ui(top, 1);
		mpz_mul_2exp(top, top, v->s.n * 8);
		mpz_sub(got, got, top);
		mpz_clear(top);
	}
	if (mpz_cmp(want, got) != 0)
		fail_msg("numeric %.*s: bytes differ", SLICE_ARG(text));
	assert_true(v->s.n == 1 || ((uint8_t)v->s.p[0] != 0 || (uint8_t)v->s.p[1] >= 0x80));
	assert_true(v->s.n == 1 || ((uint8_t)v->s.p[0] != 0xff || (uint8_t)v->s.p[1] < 0x80));
	mpz_clear(want);
	mpz_clear(got);
}

static void
random_numerics(void **state)
{
	uint64_t s = seed_of("numeric");
	struct arena a = { 0 };
	struct buf out = { 0 }, bin = { 0 };
	struct wire_type var = { .wire = W_VARDECIMAL };
	struct pg_type t = { .oid = PG_NUMERIC, .typmod = -1, .typtype = 'b', .name = "numeric" };
	struct err err;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct slice text = random_numeric(&s, i % 100 == 0 ? 400 : 24, &a);
		const char *dot = memchr(text.p, '.', text.n);
		int scale = dot ? (int)(text.p + text.n - dot - 1) : 0;
		struct wire_type dec = { .wire = W_DECIMAL, .precision = 1000, .scale = scale };
		struct value v = read_ok(&t, &var, false, text, &a), vb, vd = read_ok(&t, &dec, false, text, &a);

		check_against_gmp(text, &vd, &a);
		assert_int_equal(vd.exact.n, 0);
		buf_reset(&out);
		assert_int_equal(pgtype_text(&dec, &vd, &out, &err), OK);
		assert_slice("decimal text", view(&out), text);
		buf_reset(&bin);
		assert_int_equal(pgtype_binary_value(&dec, PG_NUMERIC, &vd, &bin, &err), OK);
		vb = read_ok(&t, &var, true, view(&bin), &a);
		assert_true(value_eq(&v, &vb));
		v.exact.n = 0; /* the stripped form alone is the same number */
		buf_reset(&out);
		assert_int_equal(pgtype_text(&var, &v, &out, &err), OK);
		assert_true(out.n <= text.n && memcmp(out.p, text.p, out.n) == 0);
		arena_reset(&a);
	}
	buf_free(&out);
	buf_free(&bin);
	arena_free(&a);
}

static void
check_moment(uint32_t oid, int64_t us, struct arena *a, struct buf *out)
{
	struct pg_type t = { .oid = oid, .typmod = -1, .typtype = 'b', .name = "timestamp" };
	struct wire_type w = pgtype_wire(&t, a);
	struct value v, vt;
	struct err err;
	char bin[8];

	put_be64(bin, (uint64_t)us);
	v = read_ok(&t, &w, true, (struct slice){ bin, 8 }, a);
	buf_reset(out);
	assert_int_equal(pgtype_text(&w, &v, out, &err), OK);
	vt = read_ok(&t, &w, false, view(out), a);
	if (!value_eq(&v, &vt))
		fail_msg("timestamp %lld: text %.*s reads differently", (long long)us, SLICE_ARG(view(out)));
	buf_reset(out);
	assert_int_equal(pgtype_binary_value(&w, oid, &v, out, &err), OK);
	if (!slice_eq(view(out), (struct slice){ bin, 8 }))
		fail_msg("timestamp %lld: binary differs", (long long)us);
}

static void
random_moments(void **state)
{
	uint64_t s = seed_of("timestamp"), range = (uint64_t)PG_TIMESTAMP_MAX - (uint64_t)PG_TIMESTAMP_MIN + 1;
	struct arena a = { 0 };
	struct buf out = { 0 };

	(void)state;
	for (int i = 0; i < 50000; i++) {
		int64_t us = (int64_t)(rnd(&s) % range + (uint64_t)PG_TIMESTAMP_MIN);

		if (i % 3 == 0) /* around now, where most data is */
			us = (int64_t)(rnd(&s) % (100 * 366 * (uint64_t)PG_DAY_US)) - 50 * 366 * PG_DAY_US;
		check_moment(PG_TIMESTAMP, us, &a, &out);
		check_moment(PG_TIMESTAMPTZ, us, &a, &out);
		arena_reset(&a);
	}
	buf_free(&out);
	arena_free(&a);
}

/* Every day from 4714 BC to 3000, then in larger steps: the texts follow each other. */
static void
every_day(void **state)
{
	char tmp[PGTIME_TEXT_MAX], last[PGTIME_TEXT_MAX] = "";

	(void)state;
	for (int64_t d = PG_DATE_MIN; d <= PG_DATE_MAX; d += d < 366000 ? 1 : 4999) {
		struct slice s = { tmp, (size_t)(pgtime_put_date(tmp, (int32_t)d) - tmp) };
		int32_t back = 0;

		if (!pgtime_date_parse(s, &back) || back != d)
			fail_msg("day %lld: %.*s reads as %d", (long long)d, SLICE_ARG(s), back);
		tmp[s.n] = '\0';
		if (d > 0 && d < 366000)
			assert_true(strcmp(last, tmp) < 0);
		memcpy(last, tmp, sizeof last);
	}
}

static void
random_intervals(void **state)
{
	uint64_t s = seed_of("interval");
	struct arena a = { 0 };
	struct pg_type t = { .oid = PG_INTERVAL, .typmod = -1, .typtype = 'b', .name = "interval" };
	struct wire_type w = pgtype_wire(&t, &a);
	struct buf out = { 0 };

	(void)state;
	for (int i = 0; i < 50000; i++) {
		unsigned shift = (unsigned)(rnd(&s) % 64);
		struct pg_interval v = { (int64_t)rnd(&s) >> shift, (int32_t)rnd(&s) >> shift / 2, (int32_t)rnd(&s) >> shift / 2 };
		struct value vb, vt;
		struct err err;
		char bin[16];

		v.us *= rnd(&s) % 4 != 0;
		v.days *= rnd(&s) % 4 != 0;
		v.months *= rnd(&s) % 4 != 0;
		put_be64(bin, (uint64_t)v.us);
		put_be32(bin + 8, (uint32_t)v.days);
		put_be32(bin + 12, (uint32_t)v.months);
		vb = read_ok(&t, &w, true, (struct slice){ bin, 16 }, &a);
		buf_reset(&out);
		assert_int_equal(pgtype_text(&w, &vb, &out, &err), OK);
		vt = read_ok(&t, &w, false, view(&out), &a);
		assert_true(value_eq(&vb, &vt));
		buf_reset(&out);
		assert_int_equal(pgtype_binary_value(&w, PG_INTERVAL, &vb, &out, &err), OK);
		assert_true(slice_eq(view(&out), (struct slice){ bin, 16 }));
		arena_reset(&a);
		w = pgtype_wire(&t, &a);
	}
	buf_free(&out);
	arena_free(&a);
}

static void
random_reals(void **state)
{
	uint64_t s = seed_of("double");
	struct buf out = { 0 };
	struct arena a = { 0 };
	struct err err;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		bool is_float = i % 2;
		struct pg_type t = { .oid = is_float ? PG_FLOAT4 : PG_FLOAT8, .typmod = -1, .typtype = 'b', .name = "real" };
		struct wire_type w = { .wire = is_float ? W_FLOAT : W_DOUBLE };
		struct value v, vt;
		char bin[8];

		put_be64(bin, rnd(&s));
		v = read_ok(&t, &w, true, (struct slice){ bin, is_float ? 4 : 8 }, &a);
		buf_reset(&out);
		assert_int_equal(pgtype_text(&w, &v, &out, &err), OK);
		vt = read_ok(&t, &w, false, view(&out), &a);
		if (!value_eq(&v, &vt))
			fail_msg("%.*s reads differently", SLICE_ARG(view(&out)));
	}
	buf_free(&out);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_numerics),
		cmocka_unit_test(random_moments),
		cmocka_unit_test(every_day),
		cmocka_unit_test(random_intervals),
		cmocka_unit_test(random_reals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
