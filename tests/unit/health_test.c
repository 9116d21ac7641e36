/* Who may be read from, and what a load balancer is told. */
#include "control/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define S INT64_C(1000000)
#define NOW (1000 * S)

static struct progress
sink(const char *name, const char *state, int64_t lag_us)
{
	return (struct progress){ .role = PROGRESS_SINK,
		.node = "n",
		.sink = name,
		.state = state,
		.reason = "",
		.at_us = NOW,
		.lag_us = lag_us };
}

static struct progress
producer(const char *state)
{
	return (struct progress){ .role = PROGRESS_PRODUCER,
		.node = "n",
		.sink = "",
		.state = state,
		.reason = "",
		.at_us = NOW };
}

static int
status(const char *path, const char *lag, const struct progress *p, int n)
{
	struct health_answer a = { 0 };

	health_answer(path, lag, p, n, NOW, &a);
	assert_true(a.why[0]);
	return a.status;
}

static void
spans(void **state)
{
	static const char *const bad[] = { "", "5", "-5s", "5 s", "s", "1.5s", "5s5",
		"99999999999999999999s", "9223372036854775807d", "+5s", " 5s" };
	int64_t us;

	(void)state;
	assert_true(health_span("5s", &us) && us == 5 * S);
	assert_true(health_span("500ms", &us) && us == S / 2);
	assert_true(health_span("2m", &us) && us == 120 * S);
	assert_true(health_span("1h", &us) && us == 3600 * S);
	assert_true(health_span("1d", &us) && us == 86400 * S);
	assert_true(health_span("0", &us) && us == 0);
	for (size_t i = 0; i < COUNTOF(bad); i++)
		assert_false(health_span(bad[i], &us));
}

static void
one_replica(void **state)
{
	struct progress p = sink("a", "running", 3 * S);
	char why[HEALTH_WHY_MAX];

	(void)state;
	assert_true(health_replica(&p, -1, NOW, why));
	assert_true(health_replica(&p, 3 * S, NOW, why));
	assert_false(health_replica(&p, 3 * S - 1, NOW, why));
	assert_string_equal(why, "a is 3.0 s behind, more than 3.0 s");
	assert_true(health_replica(&p, -1, NOW + 5 * S, why));
	assert_false(health_replica(&p, -1, NOW + 5 * S + 1, why));
	assert_string_equal(why, "a is gone");
	p.syncing = true;
	assert_false(health_replica(&p, -1, NOW, why));
	assert_string_equal(why, "a is still syncing");
	p = sink("a", "running", -1);
	assert_true(health_replica(&p, -1, NOW, why));
	assert_false(health_replica(&p, 5 * S, NOW, why));
	p = sink("a", "failed", 0);
	p.reason = "disk full";
	assert_false(health_replica(&p, -1, NOW + 60 * S, why));
	assert_string_equal(why, "a is failed: disk full");
}

static void
choice(void **state)
{
	struct progress a = sink("a", "running", 0), b = sink("b", "failed", 0),
			c = sink("c", "running", 9 * S), d = sink("d", "running", S);
	const struct progress *p[] = { &a, &b, &c, &d };
	int hits[4] = { 0 };

	(void)state;
	for (uint64_t r = 0; r < 300; r++)
		hits[health_choose(p, 4, -1, NOW, r)]++;
	assert_true(hits[0] == 100 && hits[1] == 0 && hits[2] == 100 && hits[3] == 100);
	for (uint64_t r = 0; r < 300; r++)
		assert_int_not_equal(health_choose(p, 4, 5 * S, NOW, r), 2);
	assert_int_equal(health_choose(&p[1], 1, -1, NOW, UINT64_MAX), -1);
	assert_int_equal(health_choose(p, 0, -1, NOW, 7), -1);
	assert_int_equal(health_choose(p, 4, -1, NOW + 60 * S, 7), -1);
}

static void
replicas(void **state)
{
	struct progress p[] = { producer("running"), sink("a", "running", S),
		sink("b", "running", 9 * S) };

	(void)state;
	assert_int_equal(status("/replica", NULL, p, 3), 200);
	assert_int_equal(status("/replica", "10s", p, 3), 200);
	assert_int_equal(status("/replica", "5s", p, 3), 503);
	assert_int_equal(status("/replica/a", "5s", p, 3), 200);
	assert_int_equal(status("/replica/b", "5s", p, 3), 503);
	assert_int_equal(status("/replica/c", "5s", p, 3), 404);
	assert_int_equal(status("/replica", "5", p, 3), 400);
	assert_int_equal(status("/replica", NULL, p, 1), 503);
	assert_int_equal(status("/replica", NULL, p, 0), 503);
	p[1].state = "retrying";
	assert_int_equal(status("/replica/a", NULL, p, 3), 503);
}

static void
primaries(void **state)
{
	struct progress p[] = { sink("a", "running", 0), producer("running") };

	(void)state;
	assert_int_equal(status("/primary", NULL, p, 2), 200);
	assert_int_equal(status("/primary", NULL, p, 1), 503);
	assert_int_equal(status("/primary", NULL, p, 0), 503);
	p[1].state = "retrying";
	assert_int_equal(status("/primary", NULL, p, 2), 503);
	assert_int_equal(status("/primary", NULL, &p[1], 1), 503);
}

static void
ready(void **state)
{
	struct progress p[] = { producer("running"), sink("a", "running", 0) };

	(void)state;
	assert_int_equal(status("/readyz", NULL, p, 2), 200);
	assert_int_equal(status("/healthz", NULL, p, 2), 200);
	p[1].lag_us = 31 * S;
	assert_int_equal(status("/readyz", NULL, p, 2), 503);
	assert_int_equal(status("/healthz", NULL, p, 2), 200);
	p[1].delay_ms = 5000;
	assert_int_equal(status("/readyz", NULL, p, 2), 200);
	p[0].state = "starting";
	assert_int_equal(status("/readyz", NULL, p, 2), 503);
	assert_int_equal(status("/healthz", NULL, p, 2), 200);
	p[0].state = "failed";
	assert_int_equal(status("/healthz", NULL, p, 2), 503);
	/* A restart would not help a replica that cannot go on, and would stop the others. */
	p[0].state = "running";
	p[1].state = "failed";
	assert_int_equal(status("/healthz", NULL, p, 2), 200);
	assert_int_equal(status("/readyz", NULL, p, 2), 503);
	assert_int_equal(status("/nothing", NULL, p, 2), 404);
	assert_int_equal(status("/replica/", NULL, p, 2), 404);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spans),
		cmocka_unit_test(one_replica),
		cmocka_unit_test(choice),
		cmocka_unit_test(replicas),
		cmocka_unit_test(primaries),
		cmocka_unit_test(ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
