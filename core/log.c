/*
 * A line is put together in one buffer and written by one write(2), so that lines of several
 * threads never mix.
 *
 * The pairs' format is split before it is filled in, not after: values may hold spaces, quotes and equals signs, and
 * then nobody could say where one ends. Each unquoted space of the format becomes a separator that no
 * sane value holds; which one tells whether the pair's value is a number.
 */
#include "core/log.h"

#include "core/quote.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SEP_TEXT = 0x1f, SEP_NUMBER = 0x1e, FORMAT_MAX = 512, PAIRS_MAX = 4096, LINE_MAX_BYTES = 16384 };

/* Set by log_setup before other threads start, then only read. */
static struct {
	enum log_level level;
	enum log_format format;
	bool journal, colour;
} set = { .level = LOG_INFO, .format = LOG_LOGFMT };

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static const char *const format_names[] = { "auto", "text", "logfmt", "json" };

static int
find_name(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

bool
log_level_parse(const char *name, enum log_level *level)
{
	int i = find_name(name, level_names, COUNTOF(level_names));

	if (i >= 0)
		*level = (enum log_level)i;
	return i >= 0;
}

bool
log_format_parse(const char *name, enum log_format *format)
{
	int i = find_name(name, format_names, COUNTOF(format_names));

	if (i >= 0)
		*format = (enum log_format)i;
	return i >= 0;
}

/* Is stderr systemd's journal? It names the socket's device and inode (systemd.exec(5), JOURNAL_STREAM). */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char here[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(here, sizeof here, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return strcmp(stream, here) == 0;
}

void
log_setup(enum log_level level, enum log_format format)
{
	bool tty = isatty(STDERR_FILENO);
	const char *no_colour = getenv("NO_COLOR");

	set.level = level;
	set.format = format == LOG_AUTO ? (tty ? LOG_TEXT : LOG_LOGFMT) : format;
	set.journal = stderr_is_journal();
	set.colour = set.format == LOG_TEXT && tty && !(no_colour && *no_colour);
}

bool
log_on(enum log_level level)
{
	return level <= set.level;
}

/* Does the pair that starts at f end in one integer conversion and nothing else ("%d", "%llu", "%zu")? */
static bool
pair_is_number(const char *f)
{
	const char *eq = strchr(f, '=');

	if (!eq || eq[1] != '%')
		return false;
	f = eq + 2;
	f += strspn(f, "lzjht");
	return (*f == 'd' || *f == 'u' || *f == 'i') && (f[1] == '\0' || f[1] == ' ');
}

/* The format with separators for the spaces between pairs and without the quotes around values. */
static void
split_format(char out[static FORMAT_MAX], const char *f)
{
	bool quoted = false, fresh = true;
	size_t n = 0;

	for (; *f && n + 2 < FORMAT_MAX; f++) {
		if (*f == '"') {
			quoted = !quoted;
		} else if (*f == ' ' && !quoted) {
			fresh = true;
		} else {
			if (fresh)
				out[n++] = pair_is_number(f) ? SEP_NUMBER : SEP_TEXT;
			fresh = false;
			out[n++] = *f;
		}
	}
	out[n] = '\0';
}

static void
put_pair(struct buf *b, struct slice key, struct slice value, bool number)
{
	if (set.format == LOG_JSON) {
		buf_byte(b, ',');
		quote_json(b, key);
		buf_byte(b, ':');
		if (number)
			buf_slice(b, value);
		else
			quote_json(b, value);
		return;
	}
	buf_byte(b, ' ');
	buf_slice(b, key);
	buf_byte(b, '=');
	quote_logfmt(b, value);
}

static void
put_pairs(struct buf *b, const char *p)
{
	static const char seps[] = { SEP_TEXT, SEP_NUMBER, '\0' };

	while (*p) {
		bool number = *p == SEP_NUMBER;
		size_t n = strcspn(p + 1, seps);
		const char *eq = memchr(p + 1, '=', n);

		if (eq)
			put_pair(b, (struct slice){ p + 1, (size_t)(eq - p - 1) }, (struct slice){ eq + 1, n - (size_t)(eq - p) },
			    number);
		p += 1 + n;
	}
}

static void
put_head(struct buf *b, enum log_level level, const char *at, const char *msg)
{
	static const char *const colours[] = { "\033[31m", "\033[33m", "", "\033[2m" };
	struct timespec now;
	struct tm tm;
	char time[32];

	clock_gettime(CLOCK_REALTIME, &now);
	if (set.journal)
		buf_printf(b, "<%c>", "3467"[level]);
	if (set.format == LOG_TEXT) {
		localtime_r(&now.tv_sec, &tm);
		strftime(time, sizeof time, "%H:%M:%S", &tm);
		buf_printf(b, "%s %s%-5s%s %s: %s", time, set.colour ? colours[level] : "", level_names[level],
		    set.colour && *colours[level] ? "\033[0m" : "", at, msg);
		return;
	}
	gmtime_r(&now.tv_sec, &tm);
	strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(b, set.format == LOG_JSON ? "{\"ts\":\"%s.%03ldZ\",\"level\":\"%s\",\"at\":" : "ts=%s.%03ldZ level=%s at=",
	    time, now.tv_nsec / 1000000, level_names[level]);
	if (set.format == LOG_JSON) {
		quote_json(b, slice_of(at));
		buf_text(b, ",\"msg\":");
		quote_json(b, slice_of(msg));
	} else {
		quote_logfmt(b, slice_of(at));
		buf_text(b, " msg=");
		quote_logfmt(b, slice_of(msg));
	}
}

/* The caller's format was checked at the call, by log_line's own attribute; the split one differs in spaces and quotes only. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void
fill_pairs(char out[static PAIRS_MAX], const char *format, va_list ap)
{
	vsnprintf(out, PAIRS_MAX, format, ap);
}
#pragma GCC diagnostic pop

void
log_line(enum log_level level, const char *at, const char *msg, const char *pairs, ...)
{
	char format[FORMAT_MAX], filled[PAIRS_MAX];
	struct buf b = { .max = LINE_MAX_BYTES * 4 };
	va_list ap;

	if (!log_on(level))
		return;
	split_format(format, pairs);
	va_start(ap, pairs);
	fill_pairs(filled, format, ap);
	va_end(ap);
	put_head(&b, level, at, msg);
	put_pairs(&b, filled);
	buf_text(&b, set.format == LOG_JSON ? "}\n" : "\n");
	/* Nowhere to report it, should stderr be gone. */
	if (!b.failed && write(STDERR_FILENO, b.p, b.n) < 0)
		b.failed = true;
	buf_free(&b);
}
