/*
 * Acknowledgements as a broker may give them: a mock cluster in this process, which answers as it is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/publish_impl.h"

#include <cmocka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

static struct err err;

struct world {
	rd_kafka_t *rk;
	rd_kafka_mock_cluster_t *mock;
	struct conf conf;
	struct kafka kafka;
	struct inflight inflight;
	struct publisher *pub;
};

static int
setup(void **state)
{
	static const char *const topics[] = { "shop.towline.spine", "shop.towline.schemas", "shop.public.t" };
	struct world *w = calloc(1, sizeof *w);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[256];

	assert_non_null(w);
	rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
	w->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	assert_non_null(w->rk);
	w->mock = rd_kafka_mock_cluster_new(w->rk, 1);
	for (size_t i = 0; i < COUNTOF(topics); i++)
		assert_int_equal(rd_kafka_mock_topic_create(w->mock, topics[i], 1, 1), 0);
	w->conf = (struct conf){ .name = "shop", .node = "n", .topic = "{name}.{schema}.{table}", .partitions = 1, .replication = 1,
		.brokers = rd_kafka_mock_cluster_bootstraps(w->mock) };
	w->kafka.conf = &w->conf;
	inflight_init(&w->inflight, 1);
	if (publisher_open(&w->kafka, "db", &w->inflight, &w->pub, &err) != OK)
		fail_msg("%s", err.text);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	publisher_close(w->pub);
	inflight_free(&w->inflight);
	rd_kafka_mock_cluster_destroy(w->mock);
	rd_kafka_destroy(w->rk);
	free(w);
	return 0;
}

static struct group *
one_row(struct world *w)
{
	static struct column cols[] = { { .name = SLICE_LIT("id"), .type = { .wire = W_INT32 }, .notnull = true, .identity = true } };
	static int keys[] = { 0 };
	static const struct table tbl = { .schema = SLICE_LIT("public"), .name = SLICE_LIT("t"), .version = 1, .identity = IDENTITY_DEFAULT,
		.ncols = 1, .cols = cols, .nkeys = 1, .keys = keys };
	const struct value after[] = { { .kind = V_INT, .i = 5 } };
	const struct change ch = { .op = OP_CREATE, .tbl = &tbl, .after = after };
	const struct txn txn = { .commit_lsn = 100, .end_lsn = 108, .commit_us = 1000 };
	struct place at = { .gen = 1, .seq = 1 };
	struct group *g = inflight_open(&w->inflight);

	if (publish_change(w->pub, g, &txn, &ch, &at, &err) != OK)
		fail_msg("%s", err.text);
	return g;
}

static enum rc
served(struct world *w, const struct group *g)
{
	for (int i = 0; i < 100; i++) {
		enum rc rc = publish_serve(w->pub, 100, &err);

		if (rc != OK || g->acked == g->sent)
			return rc;
	}
	fail_msg("no acknowledgement");
	return FATAL;
}

static void
acknowledged(void **state)
{
	struct world *w = *state;
	struct group *g = one_row(w);

	assert_int_equal(served(w, g), OK);
	assert_int_equal(g->nparts, 1);
	assert_int_equal(g->parts[0].first, 0);
}

/*
 * A batch that is sent again after its answer was lost may be answered so: the broker has it, but no longer knows where. Without an offset
 * no GROUP can refer to the row.
 */
static void
acknowledged_without_offset(void **state)
{
	struct world *w = *state;

	/* The schema goes first. */
	assert_int_equal(served(w, one_row(w)), OK);
	rd_kafka_mock_push_request_errors(w->mock, 0 /* Produce */, 1, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
	assert_int_equal(served(w, one_row(w)), RETRY);
	assert_non_null(strstr(err.text, "without an offset"));
}

/* The texts that a Debezium 3.7 wrote for the same keys. */
static void
key_as_text(void **state)
{
	struct column cols[] = {
		{ .name = SLICE_LIT("a"), .type.wire = W_STRING }, { .name = SLICE_LIT("b"), .type.wire = W_INT64 },
		{ .name = SLICE_LIT("c"), .type.wire = W_BOOL }, { .name = SLICE_LIT("d-e"), .type.wire = W_BYTES },
		{ .name = SLICE_LIT("f"), .type = { .wire = W_DECIMAL, .scale = 2 } }, { .name = SLICE_LIT("g"), .type.wire = W_FLOAT },
		{ .name = SLICE_LIT("h"), .type.wire = W_DOUBLE }, { .name = SLICE_LIT("i"), .type.wire = W_VARDECIMAL },
	};
	int keys[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct table tbl = { .cols = cols, .ncols = COUNTOF(cols), .keys = keys, .nkeys = COUNTOF(keys) };
	struct value row[] = {
		value_string(SLICE_LIT("it's \"x\", {y}\\\n")), value_int(INT64_MIN), { .kind = V_BOOL, .i = 1 },
		{ .kind = V_BYTES, .s = SLICE_LIT("\1\2\xff") }, { .kind = V_BYTES, .s = SLICE_LIT("\xff\x6a") },
		{ .kind = V_FLOAT, .d = 0.1f }, { .kind = V_DOUBLE, .d = -2.5 },
		{ .kind = V_DECIMAL, .scale = 1, .s = SLICE_LIT("\x0f\x01") },
	};
	struct arena a = { 0 };

	(void)state;
	assert_string_equal(key_text(&tbl, row, &a).p,
	    "{\"a\":\"it's \\\"x\\\", {y}\\\\\\u000a\",\"b\":-9223372036854775808,\"c\":true,"
	    "\"d_e\":\"AQL/\",\"f\":-1.50,\"g\":0.1,\"h\":-2.5,\"i\":{\"scale\":1,\"value\":\"DwE=\"}}");
	row[3].s = SLICE_LIT("\1");
	row[4] = row[5] = value_null();
	tbl.nkeys = 6;
	assert_string_equal(strstr(key_text(&tbl, row, &a).p, "true,"), "true,\"d_e\":\"AQ==\",\"f\":null,\"g\":null}");
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(acknowledged, setup, teardown),
		cmocka_unit_test_setup_teardown(acknowledged_without_offset, setup, teardown),
		cmocka_unit_test(key_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
