/*
 * Every kind of statement against tests/golden/plan/. GOLDEN_WRITE=1 writes those files anew, to be
 * read before they are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "consumer/plan.h"
#include "core/buf.h"
#include "schemas/pgtypes.h"

#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const kind_names[PLAN_KINDS] = { "insert", "upsert", "update", "delete", "copy",
	"row insert", "row upsert", "row update", "row delete", "row update match",
	"row delete match" };

static void
show(struct buf *out, const struct target *t, const char *what, enum plan_kind kind,
    const uint8_t *flags, struct arena *a)
{
	struct plan p = plan_make(t, kind, flags, a);

	buf_printf(out, "-- %s: %s\n%s;\n--", what, kind_names[kind], p.sql ? p.sql : "(nothing)");
	for (int i = 0; p.sql && i < p.nparams; i++)
		buf_printf(out, " %s%.*s%s", p.params[i].old ? "old " : "",
		    SLICE_ARG(t->cols[p.params[i].col].name), p.params[i].text ? " text" : "");
	buf_text(out, "\n\n");
}

static void
check_golden(const char *path, struct buf *got)
{
	char *want = calloc(1, 1 << 16);
	FILE *f;
	size_t n;

	if (getenv("GOLDEN_WRITE")) {
		f = fopen(path, "w");
		assert_non_null(f);
		fwrite(got->p, 1, got->n, f);
		fclose(f);
	}
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(want, 1, (1 << 16) - 1, f);
	fclose(f);
	want[n] = '\0';
	assert_string_equal(buf_cstr(got), want);
	free(want);
	buf_free(got);
}

static int id_key[] = { 0 }, two_keys[] = { 1, 0 };

static void
all_kinds(struct buf *out, struct target *t, const char *what, int from, struct arena *a)
{
	uint8_t *flags = arena_alloc(a, (size_t)t->ncols);

	for (int i = 0; i < t->ncols; i++)
		flags[i] = PLAN_SET | PLAN_WHERE;
	for (int k = from; k < PLAN_KINDS; k++)
		show(out, t, what, (enum plan_kind)k, flags, a);
}

static void
test_pg(void **state)
{
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct target_column cols[] = {
		{ .name = SLICE_LIT("id"),
		    .typid = PG_INT8,
		    .arrayid = 1016,
		    .type = "bigint",
		    .binary = true },
		{ .name = SLICE_LIT("say \"hi\""),
		    .typid = PG_VARCHAR,
		    .arrayid = 1015,
		    .type = "character varying" },
		{ .name = SLICE_LIT("flags"), .typid = PG_BIT, .arrayid = 1561, .type = "\"bit\"" },
		{ .name = SLICE_LIT("doc"),
		    .typid = PG_JSON,
		    .arrayid = 199,
		    .type = "json",
		    .by_text = true },
		{ .typid = PG_INT4, .type = "integer" },
		{ .name = SLICE_LIT("note"),
		    .typid = PG_TEXT,
		    .arrayid = 1009,
		    .type = "text",
		    .binary = true },
	};
	struct target t = { .name = "public.\"Order\"",
		.ncols = COUNTOF(cols),
		.cols = cols,
		.nkeys = 1,
		.keys = id_key,
		.unique = true };
	uint8_t flags[COUNTOF(cols)] = { 0 };

	(void)state;
	all_kinds(&out, &t, "one key", 0, &a);
	cols[0].identity_always = true;
	all_kinds(&out, &t, "identity always", 0, &a);
	cols[0].identity_always = false;
	t.nkeys = 2;
	t.keys = two_keys;
	all_kinds(&out, &t, "two keys, one as text", 0, &a);
	t.nkeys = 1;
	t.children = true;
	all_kinds(&out, &t, "no key, partitioned", PLAN_ROW_UPDATE_MATCH, &a);
	t.keys = id_key;
	flags[0] = PLAN_SET | PLAN_WHERE;
	show(&out, &t, "nothing but the key", PLAN_UPSERT, flags, &a);
	show(&out, &t, "nothing but the key", PLAN_ROW_UPSERT, flags, &a);
	flags[0] = PLAN_WHERE;
	show(&out, &t, "no column to write", PLAN_UPDATE, flags, &a);
	flags[5] = PLAN_SET;
	show(&out, &t, "some columns", PLAN_UPDATE, flags, &a);
	t.counted = true;
	show(&out, &t, "rows counted", PLAN_UPDATE, flags, &a);
	t.counted = false;
	flags[0] = PLAN_SET | PLAN_WHERE | PLAN_TEXT;
	flags[5] = PLAN_SET | PLAN_TEXT;
	show(&out, &t, "as text after all", PLAN_INSERT, flags, &a);
	show(&out, &t, "as text after all", PLAN_UPDATE, flags, &a);
	cols[0].type = "app.citext";
	cols[0].operators = "\"app\"";
	cols[0].binary = false;
	t.children = false;
	all_kinds(&out, &t, "operators elsewhere", PLAN_ROW_UPDATE, &a);
	show(&out, &t, "operators elsewhere", PLAN_DELETE, flags, &a);
	cols[0].type = "public.mood";
	cols[0].operators = NULL;
	cols[0].domain = true;
	all_kinds(&out, &t, "a domain over an enum as key", PLAN_ROW_UPDATE, &a);
	show(&out, &t, "a domain over an enum", PLAN_ROW_DELETE_MATCH, flags, &a);
	cols[0].type = "regclass";
	cols[0].typid = PG_REGCLASS;
	cols[0].domain = false;
	show(&out, &t, "regclass", PLAN_INSERT, flags, &a);
	show(&out, &t, "regclass", PLAN_DELETE, flags, &a);
	check_golden("tests/golden/plan/pg.sql", &out);
	arena_free(&a);
}

static void
test_sqlite(void **state)
{
	struct arena a = { 0 };
	struct buf out = { 0 };
	struct target_column cols[] = {
		{ .name = SLICE_LIT("id") },
		{ .name = SLICE_LIT("name") },
		{ .name = SLICE_LIT("note") },
	};
	struct target t = { .dialect = DIALECT_SQLITE,
		.name = "\"orders\"",
		.ncols = COUNTOF(cols),
		.cols = cols,
		.nkeys = 1,
		.keys = id_key,
		.unique = true };

	(void)state;
	all_kinds(&out, &t, "one key", PLAN_ROW_INSERT, &a);
	check_golden("tests/golden/plan/sqlite.sql", &out);
	arena_free(&a);
}

static void
test_equality(void **state)
{
	(void)state;
	assert_true(plan_has_equality(PG_NUMERIC, 'b'));
	assert_true(plan_has_equality(90000, 'e'));
	assert_false(plan_has_equality(PG_JSON, 'b'));
	assert_false(plan_has_equality(PG_XML, 'b'));
	assert_false(plan_has_equality(600, 'b')); /* point */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pg),
		cmocka_unit_test(test_sqlite),
		cmocka_unit_test(test_equality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
