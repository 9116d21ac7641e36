/*
 * One process applies to a SQLite sink for a pipeline: it holds a lock on a file beside the database, PATH-towline.PIPELINE, which has its
 * number in it. SQLite's own locks are held for a transaction only, and tell nobody who is between two of them.
 *
 * The lock goes with the process, however that ends; the file goes when it ends in order. Where it cannot be had (a file system without
 * locks) the marker's compare-and-set is what is left.
 */
#include "consumer/sink_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *
claim_path(const struct sink_sqlite *s, struct arena *a)
{
	const char *file = sqlite3_db_filename(s->db, "main");

	return file && *file ? arena_printf(a, "%s-towline.%s", file, s->sink.pipeline) : NULL;
}

/* The file that is locked is the one that has the name: its holder takes it away at the end. */
static bool
still_there(int fd, const char *path)
{
	struct stat mine, now;

	return fstat(fd, &mine) == 0 && stat(path, &now) == 0 && mine.st_dev == now.st_dev && mine.st_ino == now.st_ino;
}

static enum rc
held(int fd, struct err *err)
{
	char pid[24];
	ssize_t n = pread(fd, pid, sizeof pid - 1, 0);

	pid[n > 0 ? n : 0] = '\0';
	return fail(err, RETRY, "process %s still applies to this sink; waiting for its end", *pid ? pid : "(not known)");
}

static enum rc
claim(struct sink_sqlite *s, struct err *err)
{
	struct arena a = { 0 };
	const char *path = claim_path(s, &a);
	char pid[24];
	enum rc rc = OK;
	int fd = -1, n = snprintf(pid, sizeof pid, "%ld", (long)getpid());

	while (path && rc == OK && s->claim < 0) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			fd = open(path, O_RDONLY | O_CLOEXEC); /* made by another user */
		if (fd < 0)
			break;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			if (still_there(fd, path))
				s->claim = fd;
			else
				close(fd);
			continue;
		}
		if (errno == EWOULDBLOCK)
			rc = held(fd, err);
		close(fd);
		break;
	}
	if (s->claim >= 0 && (ftruncate(s->claim, 0) != 0 || pwrite(s->claim, pid, (size_t)n, 0) != n))
		rc = OK; /* then others cannot tell who it is */
	arena_free(&a);
	return rc;
}

enum rc
lite_marker(struct sink *sink, struct marker *out, struct err *err)
{
	struct sink_sqlite *s = (struct sink_sqlite *)sink;
	enum rc rc = s->claim >= 0 || sink->shared ? OK : claim(s, err);

	return rc == OK ? lite_read_marker(s, out, err) : rc;
}

void
lite_unclaim(struct sink_sqlite *s)
{
	struct arena a = { 0 };
	const char *path = s->claim >= 0 ? claim_path(s, &a) : NULL;

	if (path && still_there(s->claim, path))
		unlink(path);
	if (s->claim >= 0)
		close(s->claim);
	s->claim = -1;
	arena_free(&a);
}
