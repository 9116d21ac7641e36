/* Debezium's own topics: schemas as a Debezium 3.6 registered them (tests/golden/debezium), and bodies that avro-c reads as written. */
#include "schemas/debezium.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <avro.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static bool
registered(const char *text)
{
	FILE *f = fopen("tests/golden/debezium/schemas.jsonl", "r");
	json_t *want = json_loads(text, 0, NULL);
	char *line = NULL;
	size_t cap = 0;
	bool found = false;

	assert_non_null(f);
	assert_non_null(want);
	while (!found && getline(&line, &cap, f) > 0) {
		json_t *entry = json_loads(line, 0, NULL), *schema = json_loads(json_string_value(json_object_get(entry, "schema")), 0,
		    NULL);

		found = json_equal(schema, want);
		json_decref(schema);
		json_decref(entry);
	}
	free(line);
	fclose(f);
	json_decref(want);
	return found;
}

static void
schemas_to_the_letter(void **state)
{
	(void)state;
	assert_true(registered(debezium_transaction_key));
	assert_true(registered(debezium_transaction_value));
}

/* What avro-c makes of it, as JSON. */
static char *
read_back(const char *schema, const struct buf *b)
{
	avro_schema_t s;
	avro_value_iface_t *iface;
	avro_value_t v;
	avro_reader_t r = avro_reader_memory(b->p, (int64_t)b->n);
	char *json;

	assert_int_equal(avro_schema_from_json_length(schema, strlen(schema), &s), 0);
	iface = avro_generic_class_from_schema(s);
	assert_int_equal(avro_generic_value_new(iface, &v), 0);
	assert_int_equal(avro_value_read(r, &v), 0);
	assert_int_equal(avro_value_to_json(&v, 1, &json), 0);
	avro_value_decref(&v);
	avro_value_iface_decref(iface);
	avro_schema_decref(s);
	avro_reader_free(r);
	return json;
}

static void
check(const char *schema, struct buf *b, const char *want)
{
	char *got = read_back(schema, b);
	json_t *g = json_loads(got, 0, NULL), *w = json_loads(want, 0, NULL);

	assert_non_null(w);
	if (!json_equal(g, w))
		fail_msg("got %s, want %s", got, want);
	json_decref(g);
	json_decref(w);
	free(got);
	buf_reset(b);
}

static void
bodies(void **state)
{
	const struct debezium_share shares[] = { { SLICE_LIT("public.a"), 300 }, { SLICE_LIT("public.\xc3\xbc"), 1 } };
	struct buf b = { 0 };

	(void)state;
	debezium_put_key(SLICE_LIT("571:53195829"), &b);
	check(debezium_transaction_key, &b, "{\"id\": \"571:53195829\"}");
	debezium_put_begin(SLICE_LIT("571:5"), 1700000000123, &b);
	check(debezium_transaction_value, &b,
	    "{\"status\": \"BEGIN\", \"id\": \"571:5\", \"event_count\": null, \"data_collections\": null, \"ts_ms\": 1700000000123}");
	debezium_put_end(SLICE_LIT("571:6"), shares, 2, -1, &b);
	check(debezium_transaction_value, &b,
	    "{\"status\": \"END\", \"id\": \"571:6\", \"event_count\": {\"long\": 301}, \"data_collections\": {\"array\": ["
	    "{\"collection\": {\"data_collection\": \"public.a\", \"event_count\": 300}},"
	    "{\"collection\": {\"data_collection\": \"public.\xc3\xbc\", \"event_count\": 1}}]}, \"ts_ms\": -1}");
	debezium_put_key(SLICE_LIT("inv"), &b);
	check(debezium_heartbeat_key, &b, "{\"serverName\": \"inv\"}");
	debezium_put_heartbeat(1700000000123, &b);
	check(debezium_heartbeat_value, &b, "{\"ts_ms\": 1700000000123}");
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(schemas_to_the_letter), cmocka_unit_test(bodies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
