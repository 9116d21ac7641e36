#include "core/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Read by every thread and set by a signal handler: lock-free atomics may be both. */
static atomic_bool stop_flag;
static int stop_event = -1; /* written once, before the handlers are installed and any thread starts */

bool
stop_requested(void)
{
	return atomic_load_explicit(&stop_flag, memory_order_relaxed);
}

int
stop_fd(void)
{
	return stop_event;
}

void
stop_request(void)
{
	uint64_t one = 1;
	int saved = errno;

	atomic_store(&stop_flag, true);
	if (stop_event >= 0 && write(stop_event, &one, sizeof one) < 0) {
		/* Full: then it is readable, which is all that is wanted. */
	}
	errno = saved;
}

static void
on_signal(int sig UNUSED)
{
	stop_request();
}

enum rc
stop_install(struct err *err)
{
	/* SA_RESETHAND: the second signal finds the default action and ends a process that does not stop by itself. */
	struct sigaction stop = { .sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND) };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	if (stop_event < 0)
		stop_event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (stop_event < 0)
		return fail(err, FATAL, "cannot make an eventfd: %s", strerror(errno));
	sigemptyset(&stop.sa_mask);
	sigemptyset(&ignore.sa_mask);
	if (sigaction(SIGINT, &stop, NULL) || sigaction(SIGTERM, &stop, NULL) || sigaction(SIGPIPE, &ignore, NULL))
		return fail(err, FATAL, "cannot install signal handlers: %s", strerror(errno));
	return OK;
}
