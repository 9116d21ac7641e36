/*
 * Each tests/golden/conf/NAME.yaml is loaded; NAME.out holds the complaint, or what `config show` prints of it.
 * UPDATE=1 in the environment writes the .out files anew: read the diff before believing it.
 */
#include "core/buf.h"
#include "core/conf.h"
#include "core/suggest.h"

#include <glob.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void
read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "r");
	char chunk[4096];
	size_t n;

	buf_reset(out);
	if (!f)
		return;
	while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
		buf_bytes(out, chunk, n);
	fclose(f);
}

/* A file with that content; the caller removes it. */
static void
write_temp(char path[static 32], const char *text)
{
	int fd;

	snprintf(path, 32, "/tmp/conf_test_XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static enum rc
load_text(struct conf *c, const char *text, const char *const *sets, int nsets, struct err *err)
{
	char path[32];
	enum rc rc;

	write_temp(path, text);
	rc = conf_load(c, path, sets, nsets, err);
	unlink(path);
	return rc;
}

static void
golden_one(const char *yaml)
{
	struct buf got = { 0 }, want = { 0 };
	struct conf c = { 0 };
	struct err err = { 0 };
	char out[256];

	snprintf(out, sizeof out, "%.*s.out", (int)(strlen(yaml) - 5), yaml);
	if (conf_load(&c, yaml, NULL, 0, &err) == OK) {
		conf_show(&c, false, &got);
	} else {
		assert_int_equal(err.rc, FATAL);
		assert_int_equal(err.exit, EXIT_CONFIG);
		buf_printf(&got, "%s\n", err.text);
	}
	if (getenv("UPDATE")) {
		FILE *f = fopen(out, "w");

		assert_non_null(f);
		fwrite(got.p, 1, got.n, f);
		fclose(f);
	}
	read_file(out, &want);
	if (strcmp(buf_cstr(&got), buf_cstr(&want)) != 0)
		fail_msg("%s: got\n%swanted\n%s", yaml, buf_cstr(&got), buf_cstr(&want));
	/* Whatever the file is, its passwords are in no output. */
	assert_null(strstr(buf_cstr(&got), "hunter2"));
	buf_free(&got);
	buf_free(&want);
	conf_free(&c);
}

static void
test_golden(void **state UNUSED)
{
	glob_t files;

	assert_int_equal(glob("tests/golden/conf/*.yaml", 0, NULL, &files), 0);
	assert_true(files.gl_pathc > 30);
	for (size_t i = 0; i < files.gl_pathc; i++)
		golden_one(files.gl_pathv[i]);
	globfree(&files);
}

static void
test_order(void **state UNUSED)
{
	const char *sets[] = { "kafka.partitions=9", "kafka=h:1, h:2", "tables=a.*, !a.b", "sinks.new=sqlite:n.db",
		"sinks.r-1.apply=key", "kafka.options.acks=1", "source=sqlite:x.db" };
	struct conf c = { 0 };
	struct err err = { 0 };
	struct buf show = { 0 };

	setenv("TOWLINE_KAFKA_PARTITIONS", "8", 1);
	setenv("TOWLINE_KAFKA_REPLICATION", "2", 1);
	setenv("TOWLINE_KAFKA_OPTIONS_SASL_PASSWORD", "hunter2", 1);
	setenv("TOWLINE_SINKS_R_1_BATCH_ROWS", "77", 1);
	setenv("TOWLINE_SINKS_EXTRA_URL", "sqlite:extra.db", 1);
	setenv("TOWLINE_SINKS_EXTRA_CREATE_TABLES", "off", 1);
	setenv("TOWLINE_SINKS_EXTRA_COLUMNS_RENAME", "a.b.c=d, a.b.e=f", 1);
	setenv("TOWLINE_PORT", "tcp://10.0.0.1:80", 1); /* nobody's: left alone */
	setenv("TOWLINE_LOG_LEVEL", "", 1);             /* empty: not set */
	assert_int_equal(load_text(&c, "name: n\nkafka: {partitions: 7, replication: 1}\nsinks: {r-1: 'sqlite:r.db'}\n", sets,
	    COUNTOF(sets), &err), OK);
	assert_int_equal(c.partitions, 9);
	assert_int_equal(c.replication, 2);
	assert_string_equal(c.brokers, "h:1,h:2");
	assert_false(c.embedded);
	assert_int_equal(c.ntables, 2);
	assert_true(c.tables[1].exclude);
	assert_string_equal(c.tables[1].pattern, "a.b");
	assert_int_equal(c.nsinks, 3);
	assert_string_equal(conf_sink(&c, "r-1")->apply, "key");
	assert_int_equal(conf_sink(&c, "r-1")->batch_rows, 77);
	assert_string_equal(conf_sink(&c, "extra")->url, "sqlite:extra.db");
	assert_false(conf_sink(&c, "extra")->create_tables);
	assert_int_equal(conf_sink(&c, "extra")->ntables, 0);
	assert_string_equal(conf_sink(&c, "extra")->columns_rename, "a.b.c=d,a.b.e=f");
	assert_string_equal(conf_sink(&c, "new")->url, "sqlite:n.db");
	assert_null(conf_sink(&c, "none"));
	assert_int_equal(c.nkafka_options, 2);
	assert_string_equal(c.source_url, "sqlite:x.db");
	assert_string_equal(c.log_level, "info");
	conf_show(&c, true, &show);
	assert_null(strstr(buf_cstr(&show), "hunter2"));
	buf_free(&show);
	conf_free(&c);
	unsetenv("TOWLINE_KAFKA_PARTITIONS");
	unsetenv("TOWLINE_KAFKA_REPLICATION");
	unsetenv("TOWLINE_KAFKA_OPTIONS_SASL_PASSWORD");
	unsetenv("TOWLINE_SINKS_R_1_BATCH_ROWS");
	unsetenv("TOWLINE_SINKS_EXTRA_URL");
	unsetenv("TOWLINE_SINKS_EXTRA_CREATE_TABLES");
	unsetenv("TOWLINE_SINKS_EXTRA_COLUMNS_RENAME");
	unsetenv("TOWLINE_PORT");
	unsetenv("TOWLINE_LOG_LEVEL");
}

static void
test_environment_alone(void **state UNUSED)
{
	struct conf c = { 0 };
	struct err err = { 0 };

	setenv("TOWLINE_NAME", "env", 1);
	setenv("TOWLINE_SOURCE_URL", "postgres://a/b", 1);
	setenv("TOWLINE_KAFKA_BROKERS", "embedded", 1);
	assert_int_equal(conf_load(&c, NULL, NULL, 0, &err), OK);
	assert_string_equal(c.name, "env");
	assert_string_equal(c.node, "env");
	assert_string_equal(c.slot, "towline_env");
	assert_true(c.embedded);
	assert_null(c.path);
	assert_null(c.registry);
	assert_int_equal(c.memory_bytes, 100 << 20);
	assert_int_equal(c.heartbeat_ms, 10000);
	assert_int_equal(c.group_rows, 10000);
	assert_int_equal(c.group_ms, 5);
	assert_int_equal(c.partitions, 6);
	assert_int_equal(c.replication, -1);
	conf_free(&c);
	setenv("TOWLINE_KAFKA_PARTITIONS", "many", 1);
	assert_int_equal(conf_load(&c, NULL, NULL, 0, &err), FATAL);
	assert_string_equal(err.text, "environment TOWLINE_KAFKA_PARTITIONS: kafka.partitions must be a whole number, not 'many'");
	conf_free(&c);
	unsetenv("TOWLINE_KAFKA_PARTITIONS");
	unsetenv("TOWLINE_NAME");
	unsetenv("TOWLINE_SOURCE_URL");
	unsetenv("TOWLINE_KAFKA_BROKERS");
}

static void
test_set_errors(void **state UNUSED)
{
	static const struct {
		const char *set, *text;
	} cases[] = {
		{ "kafka.partitons=6", "--set: unknown key 'partitons'; did you mean 'partitions'?" },
		{ "kafak.partitions=6", "--set: unknown key 'kafak'; did you mean 'kafka'?" },
		{ "nmae=x", "--set: unknown key 'nmae'; did you mean 'name'?" },
		{ "name", "--set: 'name' is not KEY=VALUE" },
		{ "=x", "--set: '=x' is not KEY=VALUE" },
		{ "sinks.r.aply=key", "--set: unknown key 'aply'; did you mean 'apply'?" },
		{ "sinks.r.apply=all", "--set: sinks.r.apply must be one of transaction/key, not 'all'" },
		{ "kafka.options=x", "--set: kafka.options must be a mapping of librdkafka's names to values" },
		{ "tables=", "--set: tables is empty; leave it out to copy every table" },
		{ "kafka=", "--set: kafka.brokers must not be empty" },
		{ "memory=99999999999999GB", "--set: memory must be a size such as 64MB (units: B, kB, MB, GB), not '99999999999999GB'" },
		{ "kafka.partitions=99999999999999999999", "--set: kafka.partitions must be a whole number, not '99999999999999999999'" },
	};

	for (size_t i = 0; i < COUNTOF(cases); i++) {
		struct conf c = { 0 };
		struct err err = { 0 };

		assert_int_equal(conf_load(&c, NULL, &cases[i].set, 1, &err), FATAL);
		assert_string_equal(err.text, cases[i].text);
		conf_free(&c);
	}
}

static void
test_missing_file(void **state UNUSED)
{
	struct conf c = { 0 };
	struct err err = { 0 };

	assert_int_equal(conf_load(&c, "/nonexistent/towline.yaml", NULL, 0, &err), FATAL);
	assert_string_equal(err.text, "/nonexistent/towline.yaml: cannot read the configuration: No such file or directory");
	assert_int_equal(err.exit, EXIT_CONFIG);
	conf_free(&c);
}

static void
test_expansion(void **state UNUSED)
{
	struct conf c = { 0 };
	struct err err = { 0 };
	char secret[32], text[512];

	write_temp(secret, "s3cret\r\n");
	setenv("TEST_HOST", "db9", 1);
	snprintf(text, sizeof text,
	    "name: n\nsource: postgres://u:${file:%s}@${TEST_HOST}/x\nschemas: {password: 'a$${b}$c'}\n"
	    "kafka:\n  options: {a: 'x${TEST_HOST}'}\n", secret);
	assert_int_equal(load_text(&c, text, NULL, 0, &err), OK);
	assert_string_equal(c.source_url, "postgres://u:s3cret@db9/x");
	assert_string_equal(c.registry_password, "a${b}$c");
	assert_string_equal(c.kafka_options[0].value, "xdb9");
	conf_free(&c);
	unsetenv("TEST_HOST");
	unlink(secret);
}

static void
test_wants(void **state UNUSED)
{
	static const struct {
		const char *tables, *schema, *table;
		bool want;
	} cases[] = {
		{ "public.*", "public", "orders", true },
		{ "public.*", "audit", "orders", false },
		{ "public.*", "publicx", "orders", false },
		{ "public.*, !public.audit_*", "public", "audit_1", false },
		{ "public.*, !public.audit_*, public.audit_keep", "public", "audit_keep", true },
		{ "!public.audit_*", "public", "orders", true },
		{ "!public.audit_*", "public", "audit_x", false },
		{ "*.orders", "any", "orders", true },
		{ "p*c.o?d*s", "public", "orders", true },
		{ "public.t?", "public", "t\xc3\xbc", true },
		{ "public.t?", "public", "tab", false },
		{ "public.a.b", "public", "a.b", true },
		{ "public.a*b*c*d", "public", "aabbccd", true },
		{ "public.a*b*c*d", "public", "aabbccdx", false },
		{ "/public\\.(orders|items)/", "public", "items", true },
		{ "/public\\.(orders|items)/", "public", "items2", false }, /* the whole name */
		{ "/public\\.(orders|items)/", "xpublic", "items", false },
		{ "public.*, !/.*\\.audit_\\d+/", "public", "audit_17", false },
		{ "public.*, !/.*\\.audit_\\d+/", "public", "audit_x", true },
		{ "/public\\.t.?/", "public", "t\xc3\xbc", true },
		{ "/(a+)+\\.b/", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", "b", false }, /* ends all the same */
	};

	for (size_t i = 0; i < COUNTOF(cases); i++) {
		const char *sets[3] = { "name=n", "source=sqlite:a.db" };
		struct conf c = { 0 };
		struct err err = { 0 };
		char tables[200];

		snprintf(tables, sizeof tables, "tables=%s", cases[i].tables);
		sets[2] = tables;
		assert_int_equal(conf_load(&c, NULL, sets, 3, &err), OK);
		if (conf_wants(&c, slice_of(cases[i].schema), slice_of(cases[i].table)) != cases[i].want)
			fail_msg("%s against %s.%s", cases[i].tables, cases[i].schema, cases[i].table);
		conf_free(&c);
	}
	assert_true(conf_wants(&(struct conf){ 0 }, SLICE_LIT("any"), SLICE_LIT("thing")));
}

static void
test_bad_regex(void **state UNUSED)
{
	const char *const sets[] = { "name=n", "source=sqlite:a.db", "tables=/public.t[0-9]/, !/public.(x/" };
	struct conf c = { 0 };
	struct err err = { 0 };

	assert_int_equal(conf_load(&c, NULL, sets, 3, &err), FATAL);
	assert_int_equal(err.exit, EXIT_CONFIG);
	assert_non_null(strstr(err.text, "pattern '!/public.(x/' is no regular expression: missing closing parenthesis"));
	conf_free(&c);
}

static void
test_mask_url(void **state UNUSED)
{
	static const char *const cases[][2] = {
		{ "postgres://u:pw@h/db", "postgres://u:***@h/db" },
		{ "postgres://u@h:5432/db", "postgres://u@h:5432/db" },
		{ "postgres://h:5432,g:5433/db?options=a@b", "postgres://h:5432,g:5433/db?options=a@b" },
		{ "postgres://u:p@w@h/db", "postgres://u:***@h/db" },
		{ "postgres://u:p/w@h/db", "postgres://u:***@h/db" },
		{ "postgres://u:p?w@h/db", "postgres://u:***@h/db" },
		{ "postgres://u:12345@h/db", "postgres://u:***@h/db" },
		{ "postgres://h/db?password=pw&x=1", "postgres://h/db?password=***&x=1" },
		{ "postgres://h/db?sslpassword=pw", "postgres://h/db?sslpassword=***" },
		{ "host=a password=pw user=u", "host=a password=*** user=u" },
		{ "host=a password = 'p \\' w' user=u", "host=a password = *** user=u" },
		{ "sqlite:/a/b.db", "sqlite:/a/b.db" },
		{ "", "" },
	};
	struct arena a = { 0 };

	for (size_t i = 0; i < COUNTOF(cases); i++)
		assert_string_equal(conf_mask_url(&a, cases[i][0]), cases[i][1]);
	arena_free(&a);
}

/* The sample loads as it is, and with everything in it brought to life. */
static void
test_example(void **state UNUSED)
{
	struct buf sample = { 0 }, open = { 0 };
	const char *from, *to;
	struct conf c = { 0 };
	struct err err = { 0 };

	conf_example(&sample);
	if (load_text(&c, buf_cstr(&sample), NULL, 0, &err) != OK)
		fail_msg("%s", err.text);
	assert_string_equal(c.slot, "towline_inv");
	conf_free(&c);
	/* Not together with a source: foreign topics. */
	from = strstr(buf_cstr(&sample), "\nforeign:");
	to = strstr(from, "\nlog:");
	for (const char *p = buf_cstr(&sample); *p; p++)
		if (!(p[0] == '#' && p[1] != ' ') && (p < from || p >= to))
			buf_byte(&open, (uint8_t)*p);
	setenv("REGISTRY_PASSWORD", "x", 1);
	setenv("MASK_SALT", "x", 1);
	if (load_text(&c, buf_cstr(&open), NULL, 0, &err) != OK)
		fail_msg("%s", err.text);
	assert_int_equal(c.nkafka_options, 1);
	assert_string_equal(c.sinks[0].schema, "public");
	conf_free(&c);
	unsetenv("REGISTRY_PASSWORD");
	buf_free(&sample);
	buf_free(&open);
}

static void
test_show_json(void **state UNUSED)
{
	struct conf c = { 0 };
	struct err err = { 0 };
	struct buf out = { 0 };
	json_error_t why;
	json_t *root;

	assert_int_equal(conf_load(&c, "tests/golden/conf/full.yaml", NULL, 0, &err), OK);
	conf_show(&c, true, &out);
	root = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		fail_msg("%s in %s", why.text, buf_cstr(&out));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "kafka.partitions"), "value")), 12);
	assert_string_equal(json_string_value(json_object_get(json_object_get(root, "sinks.reports.batch_bytes"), "value")), "1MB");
	assert_string_equal(json_string_value(json_object_get(json_object_get(root, "name"), "origin")), "tests/golden/conf/full.yaml:1");
	json_decref(root);
	buf_free(&out);
	conf_free(&c);
}

static void
test_suggest(void **state UNUSED)
{
	struct suggestion s = { .word = SLICE_LIT("stauts") };

	assert_int_equal(suggest_distance(SLICE_LIT("partitons"), SLICE_LIT("partitions")), 1);
	assert_int_equal(suggest_distance(SLICE_LIT("ab"), SLICE_LIT("ba")), 1);
	assert_int_equal(suggest_distance(SLICE_LIT(""), SLICE_LIT("abc")), 3);
	assert_int_equal(suggest_distance(SLICE_LIT("kitten"), SLICE_LIT("sitting")), 3);
	suggest_offer(&s, SLICE_LIT("run"));
	assert_int_equal(s.best.n, 0);
	suggest_offer(&s, SLICE_LIT("status"));
	suggest_offer(&s, SLICE_LIT("stats"));
	assert_true(slice_is(s.best, "status"));
}

/* Whatever stands in the file, the answer is a verdict: cut and spoilt copies of a good one, from a printed seed. */
static void
test_damaged(void **state UNUSED)
{
	struct buf good = { 0 };
	unsigned seed = getenv("SEED") ? (unsigned)strtoul(getenv("SEED"), NULL, 10) : 20240817;
	static const char spoil[] = "{}[]:,!*&#-\"'\n \t?|>%@`~$\xff\xc3";

	print_message("seed %u\n", seed);
	read_file("tests/golden/conf/full.yaml", &good);
	assert_true(good.n > 100);
	for (int i = 0; i < 2000; i++) {
		struct conf c = { 0 };
		struct err err = { 0 };
		char *text = strndup(good.p, i % 4 == 0 ? (size_t)rand_r(&seed) % good.n : good.n);
		size_t n = strlen(text);

		for (int k = rand_r(&seed) % 3; k >= 0 && n; k--)
			text[(size_t)rand_r(&seed) % n] = spoil[(size_t)rand_r(&seed) % (sizeof spoil - 1)];
		if (load_text(&c, text, NULL, 0, &err) != OK) {
			assert_int_equal(err.exit, EXIT_CONFIG);
			assert_true(strlen(err.text) > 10);
		}
		conf_free(&c);
		free(text);
	}
	buf_free(&good);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_environment_alone),
		cmocka_unit_test(test_set_errors),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_expansion),
		cmocka_unit_test(test_wants),
		cmocka_unit_test(test_bad_regex),
		cmocka_unit_test(test_mask_url),
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_show_json),
		cmocka_unit_test(test_suggest),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
