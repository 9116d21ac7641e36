#include "control/demo.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { DRAW_US = 100000, PLAIN_US = 2000000, CELLS = 22, LABEL = 10 };

static void line(const struct demo_show *s, const char *label, const char *fmt, va_list ap)
    PRINTF_LIKE(3, 0);

/*
 * ESC [ K: the rest of the line is blank. ESC [ ? 7 l and h: a line that is too long for the
 * terminal ends at its edge, or goes on in the next, which would spoil the counting of lines.
 */
static void
line(const struct demo_show *s, const char *label, const char *fmt, va_list ap)
{
	if (s->tty && s->drawing)
		fputs("\033[?7l", stdout);
	printf("%-*s ", LABEL, label);
	vprintf(fmt, ap);
	if (s->tty)
		fputs(s->drawing ? "\033[?7h\033[K" : "\033[K", stdout);
	putchar('\n');
}

void
demo_say(struct demo_show *s, const char *label, const char *fmt, ...)
{
	va_list ap;

	if (s->json)
		return;
	va_start(ap, fmt);
	line(s, label, fmt, ap);
	va_end(ap);
	fflush(stdout);
}

bool
demo_show_due(struct demo_show *s, int64_t now)
{
	if (s->json || now - s->drawn_us < (s->tty ? DRAW_US : PLAIN_US))
		return false;
	s->drawn_us = now;
	return true;
}

/* ESC [ n A: n lines up; ESC [ J: all below is blank. */
void
demo_show_begin(struct demo_show *s)
{
	if (s->tty && s->lines)
		printf("\033[%dA", s->lines);
	s->lines = 0;
}

void
demo_show_line(struct demo_show *s, const char *label, const char *fmt, ...)
{
	va_list ap;

	s->drawing = true;
	va_start(ap, fmt);
	line(s, label, fmt, ap);
	va_end(ap);
	s->drawing = false;
	s->lines++;
	fflush(stdout);
}

void
demo_show_clear(struct demo_show *s)
{
	demo_show_begin(s);
	if (s->tty)
		fputs("\033[J", stdout);
}

const char *
demo_bar(char buf[static 72], double share)
{
	/* Eighths of a cell, U+2588 to U+258F. */
	int eighths = (int)(share * CELLS * 8 + 0.5), n = 0;

	for (int i = 0; i < CELLS; i++) {
		int full = eighths - i * 8;

		if (full <= 0)
			buf[n++] = ' ';
		else
			n += snprintf(
			    buf + n, 72 - (size_t)n, "\xe2\x96%c", full >= 8 ? 0x88 : 0x90 - full);
	}
	buf[n] = '\0';
	return buf;
}

const char *
demo_number(char buf[static 32], uint64_t number)
{
	char plain[24];
	int digits = snprintf(plain, sizeof plain, "%" PRIu64, number), n = 0;

	for (int i = 0; i < digits; i++) {
		if (i && (digits - i) % 3 == 0)
			buf[n++] = ',';
		buf[n++] = plain[i];
	}
	buf[n] = '\0';
	return buf;
}
