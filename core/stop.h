/*
 * stop.h - the one way to end a program that runs on: a flag to look at, and a descriptor to poll.
 *
 * SIGINT and SIGTERM ask for an orderly end; the same signal a second time ends the process at once.
 */
#ifndef CORE_STOP_H
#define CORE_STOP_H

#include "core/err.h"

/* Catch the two signals and ignore SIGPIPE. Once, in main, before any thread starts. */
enum rc stop_install(struct err *err) MUST_CHECK;

bool stop_requested(void);

/* Becomes readable when the end is asked for and stays so: every thread may poll it, nobody reads it. -1 before stop_install. */
int stop_fd(void);

/* Ask from inside the program what a signal asks from outside. */
void stop_request(void);

#endif
