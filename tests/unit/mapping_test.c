/* What a table and its columns are called at a sink, and what cannot be. */
#include "consumer/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static struct conf_sink pg = { .name = "r", .url = "postgres://h/d" }, lite = { .name = "r", .url = "sqlite:x.db" };

static void
named(const struct conf_sink *conf, const char *schema, const char *table, const char *want)
{
	struct arena a = { 0 };
	struct slice s, t;

	mapping_name(conf, slice_of(schema), slice_of(table), &a, &s, &t);
	assert_string_equal(arena_printf(&a, "%.*s|%.*s", SLICE_ARG(s), SLICE_ARG(t)), want);
	assert_int_equal(s.p[s.n] | t.p[t.n], 0);
	arena_free(&a);
}

static void
test_tables(void **state UNUSED)
{
	const char *rename = "public.orders=sales.orders2,public.items=parts,old.*=new.*,old.log=app.journal";
	struct conf_sink p = pg, l = lite;

	named(&p, "public", "orders", "public|orders");
	p.rename = l.rename = rename;
	named(&p, "public", "orders", "sales|orders2");
	named(&p, "public", "items", "public|parts");
	named(&p, "public", "item", "public|item");
	named(&p, "old", "any", "new|any");
	named(&p, "old", "log", "app|journal"); /* its own entry goes before the schema's */
	p.schema = "copy";
	named(&p, "public", "items", "copy|parts");
	named(&p, "public", "orders", "sales|orders2");
	named(&p, "x", "y", "copy|y");
	named(&l, "public", "orders", "|sales_orders2");
	named(&l, "public", "items", "|parts");
	named(&l, "public", "other", "|other");
	named(&l, "shop", "other", "|shop_other");
	named(&l, "old", "any", "|new_any");
}

static int key0[] = { 0 };

static struct column cols[4];

static struct table
orders(void)
{
	cols[0] = (struct column){ .name = SLICE_LIT("id") };
	cols[1] = (struct column){ .name = SLICE_LIT("total") };
	cols[2] = (struct column){ .name = SLICE_LIT("note") };
	cols[3] = (struct column){ .name = SLICE_LIT("who") };
	return (struct table){
		.schema = SLICE_LIT("public"), .name = SLICE_LIT("orders"), .ncols = 4, .cols = cols, .nkeys = 1, .keys = key0
	};
}

static void
columns(const struct conf_sink *conf, const struct table *t, const char *want)
{
	struct arena a = { 0 };
	const struct table *to;
	struct err err;
	const char *got = "";

	if (mapping_table(conf, t, &a, &to, &err) != OK)
		fail_msg("%s", err.text);
	for (int i = 0; i < to->ncols; i++) {
		const struct column *c = &to->cols[i];

		got = arena_printf(&a, "%s%s%.*s%s%.*s", got, i ? " " : "", SLICE_ARG(c->name), c->was.n ? "<" : "", SLICE_ARG(c->was));
		assert_true(mapping_left_out(t, to, t->cols[i].name.p) == !c->name.n);
	}
	assert_string_equal(got, want);
	arena_free(&a);
}

static void
refused(const struct conf_sink *conf, const struct table *t, const char *words)
{
	struct arena a = { 0 };
	const struct table *to;
	struct err err;

	assert_int_equal(mapping_table(conf, t, &a, &to, &err), FATAL);
	assert_int_equal(err.exit, EXIT_CONFIG);
	if (!strstr(err.text, words))
		fail_msg("'%s' lacks '%s'", err.text, words);
	arena_free(&a);
}

static void
test_columns(void **state UNUSED)
{
	struct conf_sink c = pg;
	struct table t = orders();

	columns(&c, &t, "id total note who");
	c.columns_rename = "public.orders.total=sum,public.items.total=amount,public.orders.id=no";
	c.columns_exclude = "public.*.no?e";
	columns(&c, &t, "no sum  who");
	c.columns_rename = "public.orders.total=who,public.orders.who=total"; /* crosswise is fine */
	columns(&c, &t, "id who  total");
	c.columns_rename = "public.orders.total=who";
	refused(&c, &t, "columns total and who of public.orders would both be who");
	c.columns_rename = "public.orders.totl=sum";
	refused(&c, &t, "table public.orders has no column totl");
	c.columns_rename = NULL;
	c.columns_exclude = "*.*.id";
	refused(&c, &t, "id is of the key of public.orders");
}

/* The source renames a column, or the table: what the sink has to follow is the difference of the names there. */
static void
test_renamed_at_source(void **state UNUSED)
{
	struct conf_sink c = pg;
	struct table t = orders();
	struct arena a = { 0 };
	const struct table *to;
	struct err err;

	cols[1] = (struct column){ .name = SLICE_LIT("amount"), .was = SLICE_LIT("total") };
	columns(&c, &t, "id amount<total note who");
	c.columns_rename = "public.orders.total=sum";
	refused(&c, &t, "column total of public.orders is called amount at the source now; add 'public.orders.amount: sum'");
	c.columns_rename = "public.orders.total=sum,public.orders.amount=sum";
	columns(&c, &t, "id sum note who");
	c.columns_rename = "public.orders.amount=sum";
	columns(&c, &t, "id sum<total note who");

	t = orders();
	t.was_schema = SLICE_LIT("public");
	t.was_name = SLICE_LIT("sales");
	t.nwas_keys = 1;
	t.was_keys = (struct slice[]){ SLICE_LIT("total") };
	c.columns_rename = "public.sales.note=remark,public.orders.total=sum";
	c.rename = "public.sales=x";
	columns(&c, &t, "id sum<total note<remark who");
	assert_int_equal(mapping_table(&c, &t, &a, &to, &err), OK);
	assert_string_equal(to->was_name.p, "x");
	assert_string_equal(to->was_keys[0].p, "sum");
	c.rename = "public.orders=x,public.sales=x";
	assert_int_equal(mapping_table(&c, &t, &a, &to, &err), OK);
	assert_int_equal(to->was_name.n, 0); /* there nothing has changed */
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_renamed_at_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
