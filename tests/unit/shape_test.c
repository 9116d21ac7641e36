/* What leaves of a table: columns left out and masked. HMAC's value: RFC 4231, test case 2. */
#include "producer/shape.h"
#include "schemas/pgtypes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define COL(n, w) \
	{ \
		.name = { n, sizeof(n) - 1 }, .type = {.wire = w } \
	}

static struct column cols[] = { COL("secret", W_STRING), COL("id", W_INT32), COL("mail", W_STRING),
	COL("n", W_INT64) };
static int keys[] = { 1 };
static const struct table people = { .schema = SLICE_LIT("public"),
	.name = SLICE_LIT("people"),
	.ncols = 4,
	.cols = cols,
	.nkeys = 1,
	.keys = keys };

static enum rc
make(const char *exclude, const char *mask, struct arena *a, struct shape **s, struct err *err)
{
	struct conf c = {
		.columns_exclude = exclude, .columns_mask = mask, .columns_salt = "Jefe"
	};

	return shape_make(&c, &people, false, a, s, err);
}

static void
test_shapes(void **state)
{
	struct value row[] = { value_string(SLICE_LIT("x")), value_int(7),
		value_string(SLICE_LIT("what do ya want for nothing?")), value_int(5) };
	struct change ch = { .op = OP_UPDATE, .tbl = &people, .before = row, .after = row }, out;
	struct arena a = { 0 };
	struct shape *s;
	struct err err;

	(void)state;
	assert_int_equal(make(NULL, "audit.*.*=hash", &a, &s, &err), OK);
	assert_null(s); /* as it is */
	assert_int_equal(make("public.people.secret",
			     "*.*.mail=null,public.*.mail=hash,*.*.n=fixed", &a, &s, &err),
	    OK);
	assert_int_equal(shape_table(s)->ncols, 3);
	assert_int_equal(shape_table(s)->keys[0], 0);
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	assert_ptr_equal(out.tbl, shape_table(s));
	assert_int_equal(out.after[0].i, 7);
	assert_true(slice_is(
	    out.after[1].s, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
	assert_true(slice_is(out.before[2].s, "***"));
	row[2] = value_null();
	row[3] = (struct value){ .kind = V_ABSENT };
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	assert_int_equal(out.after[1].kind, V_NULL);
	assert_int_equal(out.after[2].kind, V_ABSENT);
	row[2] = value_string(SLICE_LIT("\xc3\xbc\xc3\xb6x"));
	assert_int_equal(make(NULL, "*.*.mail=truncate:2", &a, &s, &err), OK);
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	assert_true(slice_is(out.after[2].s, "\xc3\xbc\xc3\xb6"));
	arena_free(&a);
}

static void
test_refused(void **state)
{
	const char *const cases[][3] = {
		{ "*.people.id", NULL, "id is of the key" },
		{ NULL, "public.people.id=fixed", "mask it by hash" },
		{ "public.people.sceret", NULL, "has no column sceret" },
		{ NULL, "public.people.n=truncate:3", "no text that could be truncated" },
	};
	struct arena a = { 0 };
	struct shape *s;
	struct err err;

	(void)state;
	for (size_t i = 0; i < COUNTOF(cases); i++) {
		assert_int_equal(make(cases[i][0], cases[i][1], &a, &s, &err), FATAL);
		assert_int_equal(err.exit, EXIT_CONFIG);
		assert_non_null(strstr(err.text, cases[i][2]));
	}
	assert_int_equal(make(NULL, "*.people.id=hash", &a, &s, &err), OK);
	arena_free(&a);
}

/* A structure as text: its column is what it was before there were structures. */
static void
test_texts(void **state)
{
	const struct pg_type point = { .oid = 600, .typmod = -1, .typtype = 'b', .name = "point" };
	struct arena a = { 0 };
	struct column at = { .name = SLICE_LIT("at"), .type_name = SLICE_LIT("point"), .type = pgtype_wire(&point, &a) };
	const struct table places = { .schema = SLICE_LIT("public"), .name = SLICE_LIT("places"), .ncols = 1, .cols = &at };
	struct value row[1];
	struct change ch = { .op = OP_CREATE, .tbl = &places, .after = row }, out;
	struct conf c = { .columns_salt = "" };
	struct shape *s;
	struct err err;

	(void)state;
	assert_true(shape_is_structure(&at));
	assert_int_equal(shape_make(&c, &places, false, &a, &s, &err), OK);
	assert_null(s);
	assert_int_equal(shape_make(&c, &places, true, &a, &s, &err), OK);
	assert_int_equal(shape_table(s)->cols[0].type.wire, W_STRING);
	assert_string_equal(shape_table(s)->cols[0].type.source_type, "point");
	assert_int_equal(pgtype_read(&point, &at.type, false, SLICE_LIT("(1,2.5)"), &a, row, &err), OK);
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	assert_int_equal(out.after[0].kind, V_STRING);
	assert_true(slice_is(out.after[0].s, "(1,2.5)"));
	row[0] = value_null();
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	assert_int_equal(out.after[0].kind, V_NULL);
	arena_free(&a);
}

/* Another key for the records: the table's stays, and what cannot be told is no guess. */
static void
test_message_keys(void **state)
{
	struct value row[] = { value_string(SLICE_LIT("x")), value_int(7), value_string(SLICE_LIT("m")), value_int(5) };
	struct conf c = { .keys = "*.x=id\npublic.people= n,mail ", .columns_exclude = "public.people.secret" };
	struct change ch = { .op = OP_CREATE, .tbl = &people, .after = row }, out;
	struct arena a = { 0 };
	struct shape *s;
	struct err err;

	(void)state;
	assert_int_equal(shape_make(&c, &people, false, &a, &s, &err), OK);
	assert_int_equal(shape_table(s)->nkeys, 1);
	assert_int_equal(shape_table(s)->keys[0], 0);
	assert_int_equal(shape_table(s)->nmessage_keys, 2);
	assert_int_equal(shape_table(s)->message_keys[0], 2);
	assert_int_equal(shape_table(s)->message_keys[1], 1);
	assert_true(table_key_strays(shape_table(s)));
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	ch.op = OP_UPDATE;
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), FATAL);
	assert_non_null(strstr(err.text, "does not tell what n was"));
	ch.before = row;
	ch.before_kind = BEFORE_FULL;
	assert_int_equal(shape_change(s, &ch, &a, &out, &err), OK);
	c.keys = "public.people=id";
	assert_int_equal(shape_make(&c, &people, false, &a, &s, &err), OK);
	assert_false(table_key_strays(shape_table(s)));
	c.keys = "public.people=id, secret";
	assert_int_equal(shape_make(&c, &people, false, &a, &s, &err), FATAL);
	assert_non_null(strstr(err.text, "left out by columns.exclude"));
	c.keys = "public.people=id, male";
	assert_int_equal(shape_make(&c, &people, false, &a, &s, &err), FATAL);
	assert_non_null(strstr(err.text, "has no column male"));
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_texts), cmocka_unit_test(test_message_keys) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
