#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static enum rc
vfail(struct err *err, enum rc rc, enum exit_code code, const char *fmt, va_list ap)
{
	char text[sizeof err->text]; /* the arguments may point into err->text itself */

	vsnprintf(text, sizeof text, fmt, ap);
	for (size_t n = strlen(text); n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '); n--)
		text[n - 1] = '\0';
	err->rc = rc;
	err->exit = code;
	err->lost = false;
	memcpy(err->text, text, sizeof text);
	return rc;
}

enum rc
fail(struct err *err, enum rc rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, rc, rc == RETRY ? EXIT_UNREACHABLE : EXIT_FAILED, fmt, ap);
	va_end(ap);
	return rc;
}

enum rc
fail_exit(struct err *err, enum rc rc, enum exit_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, rc, code, fmt, ap);
	va_end(ap);
	return rc;
}

enum rc
fail_lost(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(err, FATAL, EXIT_REFUSED, fmt, ap);
	va_end(ap);
	err->lost = true;
	return FATAL;
}

enum rc
fail_in(struct err *err, const char *fmt, ...)
{
	char where[256], text[sizeof err->text];
	bool lost = err->lost;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(where, sizeof where, fmt, ap);
	va_end(ap);
	memcpy(text, err->text, sizeof text);
	fail_exit(err, err->rc, err->exit, "%s: %.*s", where, (int)(sizeof text - sizeof where - 3), text);
	err->lost = lost;
	return err->rc;
}

void
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("towline: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}

const char *
rc_name(enum rc rc)
{
	static const char *const names[] = { "ok", "again", "retry", "reject", "fatal" };

	return (size_t)rc < COUNTOF(names) ? names[rc] : "?";
}
