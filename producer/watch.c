#include "producer/watch.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { AGAIN_MAX_MS = 64 };

static enum rc
failed(struct watch *w, const char *what, struct err *err)
{
	enum rc rc = fail(err, RETRY, "%s: %s%s", what, strerror(errno),
	    errno == EMFILE || errno == ENOSPC ? "; raise fs.inotify.max_user_instances and max_user_watches" : "");

	watch_close(w);
	return rc;
}

enum rc
watch_open(struct watch *w, const char *path, struct err *err)
{
	struct epoll_event in = { .events = EPOLLIN };
	char dir[4096], base[4096];

	*w = (struct watch){ .fd = epoll_create1(EPOLL_CLOEXEC), .inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
		.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC) };
	snprintf(dir, sizeof dir, "%s", path);
	snprintf(base, sizeof base, "%s", path);
	snprintf(w->name, sizeof w->name, "%s", basename(base));
	if (w->fd < 0 || w->inotify < 0 || w->timer < 0)
		return failed(w, "watch", err);
	/* The directory, as the -wal comes and goes, and a file may be put in the place of ours. */
	if (inotify_add_watch(w->inotify, dirname(dir), IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO) < 0)
		return failed(w, "watch the database's directory", err);
	if (epoll_ctl(w->fd, EPOLL_CTL_ADD, w->inotify, &in) < 0 || epoll_ctl(w->fd, EPOLL_CTL_ADD, w->timer, &in) < 0)
		return failed(w, "watch", err);
	return OK;
}

void
watch_close(struct watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	if (w->inotify >= 0)
		close(w->inotify);
	if (w->timer >= 0)
		close(w->timer);
	w->fd = w->inotify = w->timer = -1;
}

static void
arm(struct watch *w, int ms)
{
	struct itimerspec t = { .it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L } };

	timerfd_settime(w->timer, 0, &t, NULL);
}

/* The database, its -wal or its -journal; not the -shm, which readers touch, nor a neighbour. */
static bool
is_ours(const struct watch *w, const struct inotify_event *e)
{
	size_t n = strlen(w->name);
	const char *rest = e->name + n;

	if (e->mask & IN_Q_OVERFLOW)
		return true;
	if (!e->len || strncmp(e->name, w->name, n) != 0)
		return false;
	return !*rest || strcmp(rest, "-wal") == 0 || strcmp(rest, "-journal") == 0;
}

void
watch_take(struct watch *w)
{
	char bytes[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	uint64_t times;
	ssize_t n;

	if (read(w->timer, &times, sizeof times) < 0)
		times = 0;
	while ((n = read(w->inotify, bytes, sizeof bytes)) > 0)
		for (char *p = bytes; p < bytes + n;) {
			const struct inotify_event *e = (const struct inotify_event *)(void *)p;

			if (is_ours(w, e))
				w->delay_ms = 1;
			p += sizeof *e + e->len;
		}
}

void
watch_looked(struct watch *w, bool found)
{
	if (found)
		w->delay_ms = 1; /* another commit may be about to show */
	if (!w->delay_ms)
		return;
	arm(w, w->delay_ms);
	w->delay_ms = w->delay_ms >= AGAIN_MAX_MS ? 0 : w->delay_ms * 2;
}
