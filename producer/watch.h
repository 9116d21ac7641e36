/*
 * watch.h - wakes who waits for commits in a SQLite file: inotify on the file, its -wal and its -journal.
 *
 * A commit shows in shared memory, of which inotify tells nothing, a moment after the WAL was written, of which it does. So who was
 * woken and finds nothing is woken again, after 1, 2, 4 ... 64 ms; then only by the next write.
 */
#ifndef PRODUCER_WATCH_H
#define PRODUCER_WATCH_H

#include "core/err.h"

struct watch {
	int fd;          /* to poll: readable when it is worth a look; -1: closed */
	int inotify, timer;
	int delay_ms;    /* until the next look again; 0: none is due */
	char name[256];  /* of the file, without its directory */
};

/* RETRY: the kernel gives no more watches. */
enum rc watch_open(struct watch *w, const char *path, struct err *err) MUST_CHECK;
void watch_close(struct watch *w);

/* Before a look: what has woken us until now is used up. */
void watch_take(struct watch *w);

/* After it. found: there was something. */
void watch_looked(struct watch *w, bool found);

#endif
