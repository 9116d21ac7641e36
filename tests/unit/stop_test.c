#include "core/stop.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static bool
readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void
test_signal(void **state UNUSED)
{
	struct err err = { 0 };

	assert_int_equal(stop_fd(), -1);
	assert_int_equal(stop_install(&err), OK);
	assert_false(stop_requested());
	assert_false(readable(stop_fd()));
	raise(SIGPIPE);
	assert_false(stop_requested());
	raise(SIGTERM);
	assert_true(stop_requested());
	assert_true(readable(stop_fd()));
	assert_true(readable(stop_fd())); /* and it stays so, for the next thread */
}

/* Who does not stop at the first signal ends at the second. */
static void
test_second_signal(void **state UNUSED)
{
	struct err err = { 0 };
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (stop_install(&err))
			_exit(1);
		raise(SIGINT);
		raise(SIGINT);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_second_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
