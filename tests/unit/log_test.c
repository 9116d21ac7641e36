#include "core/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char captured[65536];

/* stderr goes into a file from here to capture_end, which leaves what was written in `captured`. */
static int
capture_begin(int *file)
{
	char path[] = "/tmp/log_test_XXXXXX";
	int saved = dup(STDERR_FILENO);

	*file = mkstemp(path);
	assert_true(*file >= 0);
	unlink(path);
	dup2(*file, STDERR_FILENO);
	return saved;
}

static void
capture_end(int saved, int file)
{
	ssize_t n;

	dup2(saved, STDERR_FILENO);
	close(saved);
	n = pread(file, captured, sizeof captured - 1, 0);
	assert_true(n >= 0);
	captured[n] = '\0';
	close(file);
}

#define CAPTURE(format, call) do { \
	int file_, saved_ = capture_begin(&file_); \
	log_setup(LOG_INFO, format); \
	call; \
	capture_end(saved_, file_); \
} while (0)

static void
test_logfmt(void **state UNUSED)
{
	CAPTURE(LOG_LOGFMT, log_warn("sink reports", "slow", "slot=%s lag_bytes=%llu why=\"%s\"", "inv", 12ULL, "it \"is\" = so"));
	assert_non_null(strstr(captured, "Z level=warn at=\"sink reports\" msg=slow slot=inv lag_bytes=12 why=\"it \\\"is\\\" = so\"\n"));
	assert_memory_equal(captured, "ts=2", 4);
	assert_int_equal(captured[strlen("ts=2024-01-01T00:00:00.000")], 'Z');
}

/* A space inside an argument does not end its pair, one in the format does. */
static void
test_values_with_spaces(void **state UNUSED)
{
	CAPTURE(LOG_LOGFMT, log_info("p", "m", "a=%s b=%s took=\"%d ms\" e=%s", "x y=z", "\n", 5, ""));
	assert_non_null(strstr(captured, " a=\"x y=z\" b=\"\\n\" took=\"5 ms\" e=\"\"\n"));
}

static void
test_text(void **state UNUSED)
{
	CAPTURE(LOG_TEXT, log_info("producer", "slot made", "slot=%s", "inv"));
	assert_string_equal(captured + strlen("00:00:00"), " info  producer: slot made slot=inv\n");
	CAPTURE(LOG_TEXT, log_error("main", "that is all", ""));
	assert_string_equal(captured + strlen("00:00:00"), " error main: that is all\n");
}

static void
test_json(void **state UNUSED)
{
	json_error_t why;
	json_t *line;

	CAPTURE(LOG_JSON, log_info("p\t", "bad \xff byte", "n=%d id=%s text=%s mixed=%d/%d", 7, "7", "a\"b\\c", 1, 2));
	line = json_loads(captured, JSON_REJECT_DUPLICATES, &why);
	if (!line)
		fail_msg("%s in %s", why.text, captured);
	assert_int_equal(json_integer_value(json_object_get(line, "n")), 7);
	assert_string_equal(json_string_value(json_object_get(line, "id")), "7");
	assert_string_equal(json_string_value(json_object_get(line, "text")), "a\"b\\c");
	assert_string_equal(json_string_value(json_object_get(line, "mixed")), "1/2");
	assert_string_equal(json_string_value(json_object_get(line, "msg")), "bad \xef\xbf\xbd byte");
	assert_string_equal(json_string_value(json_object_get(line, "level")), "info");
	json_decref(line);
}

static void
test_levels(void **state UNUSED)
{
	enum log_level level = LOG_INFO;
	enum log_format format = LOG_AUTO;

	CAPTURE(LOG_LOGFMT, log_debug("p", "not shown", ""));
	assert_string_equal(captured, "");
	assert_true(log_on(LOG_INFO));
	assert_false(log_on(LOG_DEBUG));
	assert_true(log_level_parse("debug", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_false(log_level_parse("loud", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_true(log_format_parse("json", &format));
	assert_int_equal(format, LOG_JSON);
}

static void *
shout(void *arg)
{
	for (int i = 0; i < 100; i++)
		log_info(arg, "a line that must stay whole", "i=%d", i);
	return NULL;
}

static void
test_threads(void **state UNUSED)
{
	char a[] = "one", b[] = "two";
	pthread_t t[2];
	int lines = 0;

	CAPTURE(LOG_LOGFMT, {
		assert_int_equal(pthread_create(&t[0], NULL, shout, a), 0);
		assert_int_equal(pthread_create(&t[1], NULL, shout, b), 0);
		pthread_join(t[0], NULL);
		pthread_join(t[1], NULL);
	});
	for (char *p = captured, *end; (end = strchr(p, '\n')); p = end + 1, lines++) {
		*end = '\0';
		assert_memory_equal(p, "ts=", 3);
		assert_non_null(strstr(p, "msg=\"a line that must stay whole\" i="));
	}
	assert_int_equal(lines, 200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_logfmt),
		cmocka_unit_test(test_values_with_spaces),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
