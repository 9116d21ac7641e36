/* What a sink's column must become to hold the source's values, and what has to be renamed. */
#include "consumer/reshape.h"
#include "schemas/pgtypes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NUMERIC(p, s) (((p) << 16 | (s)) + 4)

static const struct wire_type text = { .wire = W_STRING }, int16 = { .wire = W_INT16 }, int32 = { .wire = W_INT32 },
			      int64 = { .wire = W_INT64 }, boolean = { .wire = W_BOOL }, twice = { .wire = W_DOUBLE },
			      micro = { .wire = W_INT64, .semantic = "io.debezium.time.MicroTimestamp" },
			      zoned = { .wire = W_STRING, .semantic = "io.debezium.time.ZonedTimestamp" },
			      clock = { .wire = W_INT64, .semantic = "io.debezium.time.MicroTime" },
			      any = { .wire = W_VARDECIMAL, .semantic = "io.debezium.data.VariableScaleDecimal" },
			      mood = { .wire = W_STRING, .semantic = "io.debezium.data.Enum", .allowed = "a,b" },
			      dec = { .wire = W_DECIMAL, .semantic = "org.apache.kafka.connect.data.Decimal", .precision = 12, .scale = 4 };

static void
test_pg_types(void **state)
{
	const struct {
		const struct wire_type *w;
		const char *name, *before; /* types in words */
		struct reshape_pg have;
		enum fit fit;
		const char *to;
	} cases[] = {
		{ &int64, "", NULL, { PG_INT4, -1, 'b', false }, FIT_WIDEN, "bigint" },
		{ &int32, "", NULL, { PG_INT2, -1, 'b', false }, FIT_WIDEN, "integer" },
		{ &int16, "", NULL, { PG_INT8, -1, 'b', false }, FIT_AS_IS, NULL },
		{ &int64, "", NULL, { PG_TEXT, -1, 'b', false }, FIT_AS_IS, NULL },
		{ &int64, "", NULL, { PG_FLOAT8, -1, 'b', false }, FIT_NOT, "bigint" },
		{ &int64, "", NULL, { PG_INT4, -1, 'd', false }, FIT_AS_IS, NULL },
		{ &twice, "", NULL, { PG_FLOAT4, -1, 'b', false }, FIT_WIDEN, "double precision" },
		{ &twice, "", NULL, { PG_INT8, -1, 'b', false }, FIT_NOT, "double precision" },
		{ &dec, "", NULL, { PG_NUMERIC, NUMERIC(6, 2), 'b', false }, FIT_WIDEN, "numeric(12,4)" },
		{ &dec, "", NULL, { PG_NUMERIC, NUMERIC(20, 2), 'b', false }, FIT_WIDEN, "numeric(22,4)" },
		{ &dec, "", NULL, { PG_NUMERIC, NUMERIC(12, 4), 'b', false }, FIT_AS_IS, NULL },
		{ &dec, "", NULL, { PG_NUMERIC, -1, 'b', false }, FIT_AS_IS, NULL },
		{ &any, "", NULL, { PG_NUMERIC, NUMERIC(12, 4), 'b', false }, FIT_WIDEN, "numeric" },
		{ &dec, "", NULL, { PG_INT4, -1, 'b', false }, FIT_WIDEN, "numeric(12,4)" },
		{ &text, "character varying(20)", NULL, { PG_VARCHAR, 14, 'b', false }, FIT_WIDEN, "character varying(20)" },
		{ &text, "character varying(10)", NULL, { PG_VARCHAR, 14, 'b', false }, FIT_AS_IS, NULL },
		{ &text, "", NULL, { PG_VARCHAR, 14, 'b', false }, FIT_AS_IS, NULL },
		{ &text, "", "character varying(10)", { PG_VARCHAR, 14, 'b', false }, FIT_WIDEN, "text" },
		{ &text, "", NULL, { PG_INT4, -1, 'b', false }, FIT_WIDEN, "text" },
		{ &text, "", NULL, { PG_TIMESTAMPTZ, -1, 'b', false }, FIT_NOT, "text" },
		{ &text, "", NULL, { 869, -1, 'b', false }, FIT_AS_IS, NULL }, /* inet: its text is what comes */
		{ &mood, "", NULL, { 20000, -1, 'e', false }, FIT_AS_IS, NULL },
		{ &micro, "", NULL, { PG_DATE, -1, 'b', false }, FIT_WIDEN, "timestamp without time zone" },
		{ &micro, "", NULL, { PG_TIMESTAMP, 3, 'b', false }, FIT_WIDEN, "timestamp without time zone" },
		{ &micro, "", NULL, { PG_TIMESTAMP, -1, 'b', false }, FIT_AS_IS, NULL },
	};
	struct arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNTOF(cases); i++) {
		struct column c = { .type = *cases[i].w, .type_name = slice_of(cases[i].name) };
		struct column before = { .type = *cases[i].w, .type_name = slice_of(cases[i].before) };
		const char *to;

		if (reshape_pg_type(&c, cases[i].before ? &before : NULL, &cases[i].have, &a, &to) != cases[i].fit)
			fail_msg("case %zu", i);
		if (cases[i].to)
			assert_string_equal(to, cases[i].to);
	}
	arena_free(&a);
}

/* Schemas come from outside: what is not a length is none, and its text is nobody's statement. */
static void
test_lengths(void **state)
{
	static const char *const bad[] = { "character varying(99) USING (SELECT 1); DROP TABLE t; --",
		"character varying(99", "character(99)x", "character varying()", "character varying(99999999999999999999)",
		"character varying(-1)", "varchar(99)", "character( 99)" };
	struct reshape_pg have = { PG_VARCHAR, 14, 'b', false };
	struct arena a = { 0 };
	struct column c = { .type = text };
	const char *to;

	(void)state;
	for (size_t i = 0; i < COUNTOF(bad); i++) {
		c.type_name = slice_of(bad[i]);
		if (reshape_pg_type(&c, NULL, &have, &a, &to) != FIT_AS_IS || strchr(to, ';'))
			fail_msg("%s: %s", bad[i], to);
	}
	c.type_name = SLICE_LIT("character(99)");
	assert_int_equal(reshape_pg_type(&c, NULL, &(struct reshape_pg){ PG_BPCHAR, 14, 'b', false }, &a, &to), FIT_WIDEN);
	assert_string_equal(to, "character(99)");
	arena_free(&a);
}

/* timestamp to timestamptz and back: one column would hold moments and wall times side by side. */
static void
test_zones(void **state)
{
	const struct {
		const struct wire_type *now, *before;
		uint32_t have;
		enum fit fit;
	} cases[] = {
		{ &zoned, &micro, PG_TIMESTAMP, FIT_NOT },
		{ &micro, &zoned, PG_TIMESTAMPTZ, FIT_NOT },
		{ &clock, &(const struct wire_type){ .wire = W_STRING, .semantic = "io.debezium.time.ZonedTime" }, PG_TIMETZ, FIT_NOT },
		{ &zoned, &micro, PG_TIMESTAMPTZ, FIT_AS_IS }, /* altered by hand */
		{ &zoned, &micro, PG_TEXT, FIT_AS_IS },
		{ &zoned, &zoned, PG_TIMESTAMP, FIT_AS_IS }, /* its owner's */
		{ &micro, NULL, PG_TIMESTAMPTZ, FIT_AS_IS },
	};
	struct reshape_pg begins = { PG_TIMESTAMPTZ, -1, 'b', true };
	struct column c_now = { .type = micro };
	const char *text_to;
	struct arena a = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNTOF(cases); i++) {
		struct column c = { .type = *cases[i].now }, before;
		const char *to;

		if (cases[i].before)
			before.type = *cases[i].before;
		if (reshape_pg_type(&c, cases[i].before ? &before : NULL, &(struct reshape_pg){ cases[i].have, -1, 'b', false }, &a, &to) !=
		    cases[i].fit)
			fail_msg("case %zu", i);
	}
	/* After a new start the version before is not known. */
	assert_int_equal(reshape_pg_type(&c_now, NULL, &begins, &a, &text_to), FIT_NOT);
	arena_free(&a);
}

static void
test_lite_types(void **state)
{
	struct column t = { .type = text }, n = { .type = int64 }, b = { .type = boolean }, d = { .type = dec };
	const char *to, *using;

	(void)state;
	assert_int_equal(reshape_lite_type(&t, &n, "INTEGER", &to, &using), FIT_WIDEN);
	assert_string_equal(to, "TEXT");
	assert_string_equal(using, "CAST(%s AS TEXT)");
	assert_int_equal(reshape_lite_type(&t, &b, "INTEGER", &to, &using), FIT_WIDEN);
	assert_int_equal(reshape_lite_type(&t, NULL, "INTEGER", &to, &using), FIT_NOT);
	assert_int_equal(reshape_lite_type(&t, NULL, "VARCHAR(20)", &to, &using), FIT_AS_IS);
	assert_int_equal(reshape_lite_type(&d, NULL, "DECIMAL(10,2)", &to, &using), FIT_AS_IS);
	assert_int_equal(reshape_lite_type(&d, &n, "INTEGER", &to, &using), FIT_WIDEN);
	assert_int_equal(reshape_lite_type(&n, NULL, "REAL", &to, &using), FIT_NOT);
	assert_int_equal(reshape_lite_type(&n, NULL, "INTEGER", &to, &using), FIT_AS_IS);
}

static void
moves(struct column *cols, int n, const char *const *have, int nhave, const char *want)
{
	struct table t = { .schema = SLICE_LIT("s"), .name = SLICE_LIT("t"), .ncols = n, .cols = cols };
	struct reshape_move out[8];
	char text_out[200] = "";
	struct err err;
	int nout;

	for (int begins = 0; begins < 2; begins++)
		assert_int_equal(reshape_moves(&t, "t", begins, have, nhave, out, &nout, &err), OK);
	for (int i = 0; i < nout; i++)
		snprintf(text_out + strlen(text_out), sizeof text_out - strlen(text_out), "%s>%s ", out[i].from, cols[out[i].col].name.p);
	assert_string_equal(text_out, want);
}

static void
test_moves(void **state)
{
	struct column one[] = { { .name = SLICE_LIT("b"), .was = SLICE_LIT("a") } };
	struct column chain[] = { { .name = SLICE_LIT("b"), .was = SLICE_LIT("a") }, { .name = SLICE_LIT("c"), .was = SLICE_LIT("b") } };
	struct column swap[] = { { .name = SLICE_LIT("b"), .was = SLICE_LIT("a") }, { .name = SLICE_LIT("a"), .was = SLICE_LIT("b") } };
	struct table t = { .schema = SLICE_LIT("s"), .name = SLICE_LIT("t"), .ncols = 2, .cols = swap };
	struct reshape_move out[2];
	struct err err;
	int n;

	(void)state;
	moves(one, 1, (const char *const[]){ "a", "x" }, 2, "a>b ");
	moves(one, 1, (const char *const[]){ "b", "x" }, 2, "");  /* done before */
	moves(chain, 2, (const char *const[]){ "a", "b" }, 2, "b>c a>b ");
	moves(chain, 2, (const char *const[]){ "a", "c" }, 2, "a>b "); /* begun before */
	assert_int_equal(reshape_moves(&t, "t", false, (const char *const[]){ "a", "b" }, 2, out, &n, &err), FATAL);
	assert_non_null(strstr(err.text, "swapped their names"));
}

/* The new name is taken: by what was done before, or by a column that has nothing to do with it. */
static void
test_taken(void **state)
{
	struct column one[] = { { .name = SLICE_LIT("a"), .was = SLICE_LIT("a_new") } };
	struct column over[] = { { .name = SLICE_LIT("b"), .was = SLICE_LIT("a") }, { .name = SLICE_LIT("a") } };
	struct table t = { .ncols = 1, .cols = one }, renewed = { .ncols = 2, .cols = over };
	const char *const both[] = { "a", "a_new" }, *const done[] = { "a", "b" };
	struct reshape_move out[2];
	struct err err;
	int n;

	(void)state;
	assert_int_equal(reshape_moves(&t, "s.t", true, both, 2, out, &n, &err), FATAL);
	assert_non_null(strstr(err.text, "ALTER TABLE s.t DROP COLUMN \"a\"; ALTER TABLE s.t RENAME COLUMN \"a_new\" TO \"a\""));
	/* It began long ago: the old name is a column that the sink's owner has made since. */
	assert_int_equal(reshape_moves(&t, "s.t", false, both, 2, out, &n, &err), OK);
	assert_int_equal(n, 0);
	/* Renamed and a new one under the old name, both done, then a crash: the version begins again. */
	assert_int_equal(reshape_moves(&renewed, "s.t", true, done, 2, out, &n, &err), OK);
	assert_int_equal(n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pg_types),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_zones),
		cmocka_unit_test(test_lite_types),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
