/*
 * The source's memory of us against Kafka's, at start: what may go on and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "producer/resume.h"

#include <cmocka.h>

/* clang-format off */
#define SPINE .st = { .started = true, .system_id = 42, .timeline = 2, .lsn = 800, .watermark = 900, .no = 9 }
#define SOURCE .system_id = 42, .timeline = 2, .exists = true

static const struct {
	const char *name;
	struct spine_state st;
	struct source_identity id;
	bool adopt;
	const char *refused; /* NULL: may go on */
} cases[] = {
	{ "the first start", .id = { .system_id = 42, .timeline = 2, .lsn = 500 } },
	{ "as left", SPINE, .id = { SOURCE, .confirmed = 900, .lsn = 1000 } },
	{ "the end of the log is the watermark", SPINE, .id = { SOURCE, .confirmed = 850, .lsn = 900 } },
	{ "another database", SPINE, .id = { .system_id = 7, .timeline = 2, .exists = true, .lsn = 1000 }, .refused = "another database" },
	{ "a slot by hand", .id = { SOURCE, .confirmed = 10, .lsn = 500 }, .refused = "--adopt-slot" },
	{ "a slot by hand, adopted", .id = { SOURCE, .confirmed = 10, .lsn = 500 }, .adopt = true },
	{ "no slot", SPINE, .id = { .system_id = 42, .timeline = 2, .lsn = 1000 }, .refused = "is gone" },
	{ "the slot was moved", SPINE, .id = { SOURCE, .confirmed = 901, .lsn = 1000 }, .refused = "is lost" },
	{ "a restored snapshot", SPINE, .id = { SOURCE, .confirmed = 300, .lsn = 899 }, .refused = "it was set back" },
	{ "where the end of its log is not known", SPINE, .id = { SOURCE, .confirmed = 300 } },
	{ "another timeline is judged by its fork", SPINE, .id = { .system_id = 42, .timeline = 3,
		.exists = true, .confirmed = 300, .lsn = 500 } },
	/* The embedded broker's spine begins with what the sinks have. */
	{ "a restored snapshot, embedded", .st = { .lsn = 800 }, .id = { SOURCE, .confirmed = 300,
		.lsn = 799 }, .adopt = true, .refused = "it was set back" },
};
/* clang-format on */

static void
judged(void **state UNUSED)
{
	const struct conf conf = { .name = "shop", .slot = "towline_shop" };
	struct err err;

	for (size_t i = 0; i < COUNTOF(cases); i++) {
		enum rc rc = resume_judge(&conf, &cases[i].st, &cases[i].id, cases[i].adopt, &err);

		if (!cases[i].refused ? rc != OK : rc != FATAL || err.exit != EXIT_REFUSED || !strstr(err.text, cases[i].refused))
			fail_msg("%s: %s: %s", cases[i].name, rc_name(rc), rc == OK ? "" : err.text);
	}
}

static void
forks(void **state UNUSED)
{
	const struct spine_state st = { .started = true, .timeline = 2, .watermark = 900 };
	const struct source_identity id = { .timeline = 3 };
	struct err err;

	assert_int_equal(resume_fork(&st, &id, 900, &err), OK);
	assert_int_equal(resume_fork(&st, &id, 899, &err), FATAL);
	assert_int_equal(err.exit, EXIT_REFUSED);
}

/* Nothing but OPENs: what a producer has said decides. */
static void
cut_back(void **state UNUSED)
{
	const struct conf conf = { .name = "shop", .slot = "towline_shop" };
	const struct source_identity slot = { .exists = true }, none = { .exists = false };
	const struct spine_state opens = { .started = true, .gen = 3 }, groups = { .started = true, .no = 1, .watermark = 9 },
				 beats = { .started = true, .watermark = 9 }, empty = { .started = false };
	struct err err;

	assert_true(resume_doubtful(&opens, &slot));
	assert_false(resume_doubtful(&opens, &none)); /* died before it had made the slot */
	assert_false(resume_doubtful(&groups, &slot));
	assert_false(resume_doubtful(&beats, &slot));
	assert_false(resume_doubtful(&empty, &slot));
	assert_int_equal(resume_published(&conf, &opens, 0, &err), OK);
	assert_int_equal(resume_copied(&conf, &opens, 0, &err), OK);
	assert_int_equal(resume_copied(&conf, &opens, 3, &err), FATAL);
	assert_int_equal(err.exit, EXIT_REFUSED);
	assert_non_null(strstr(err.text, "ends with group 3, by the topic shop.towline.control"));
	assert_int_equal(resume_published(&conf, &opens, 1, &err), FATAL);
	assert_int_equal(err.exit, EXIT_REFUSED);
	assert_non_null(strstr(err.text, "1 were published, by the topic shop.towline.progress"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judged),
		cmocka_unit_test(forks),
		cmocka_unit_test(cut_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
