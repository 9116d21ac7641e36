/*
 * err.h - what a caller has to do about a failure, and the sentence that says why.
 *
 * The function that knows fills the error in one statement, `return fail(err, RETRY, "...")`. Nobody
 * logs and returns; only a stage's loop logs and decides, in one switch over the verdict. The text is
 * one sentence with cause, and after "; " the fix, where there is one.
 */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include "core/base.h"

enum rc {
	OK = 0,
	AGAIN,  /* nothing yet; wait for the descriptor and call again */
	RETRY,  /* passing trouble: reconnect, back off, try again */
	REJECT, /* this one input is bad: set it aside, or stop, by policy */
	FATAL,  /* an operator must act */
};

/* Exit codes of the program: README, "Exit codes". */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_CONFIG = 3,
	EXIT_UNREACHABLE = 4,
	EXIT_REFUSED = 5,     /* going on would lose data */
	EXIT_DIFFERENT = 6,
	EXIT_INTERRUPTED = 130,
};

struct err {
	enum rc rc;
	enum exit_code exit;
	bool lost; /* what it would go on from is not there any more: only a new copy helps */
	char text[1024];
};

/* Fill err (never NULL) and return rc. The exit code is EXIT_FAILED, EXIT_UNREACHABLE for RETRY. */
enum rc fail(struct err *err, enum rc rc, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same with the exit code that the program ends with, should it end by this. */
enum rc fail_exit(struct err *err, enum rc rc, enum exit_code code, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* FATAL/EXIT_REFUSED, and lost. */
enum rc fail_lost(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Put "where: " before the text of an error that passes through; returns its verdict. */
enum rc fail_in(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Out of memory and broken promises of the program to itself: print and abort. */
_Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

const char *rc_name(enum rc rc);

#endif
