#include "core/pattern.h"
#include "core/buf.h"
#include "core/err.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

/* Of one match: a pattern that backtracks without end finds nothing rather than to stop the stream, or to take its memory. */
enum { MATCH_STEPS = 1000000, MATCH_KIB = 8192 };

static pcre2_match_context *
limits(void)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);

	if (!context)
		die("out of memory");
	pcre2_set_match_limit(context, MATCH_STEPS);
	pcre2_set_heap_limit(context, MATCH_KIB);
	return context;
}

bool
pattern_is_regex(const char *text)
{
	size_t n = strlen(text);

	return n > 2 && text[0] == '/' && text[n - 1] == '/';
}

static struct pattern_regex *
compile(struct slice text, char why[static 128], size_t *at)
{
	int code;
	PCRE2_SIZE offset = 0;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &code, &offset, NULL);

	*at = offset;
	if (!re)
		pcre2_get_error_message(code, (PCRE2_UCHAR *)why, 128);
	return (struct pattern_regex *)re;
}

struct pattern_regex *
pattern_compile(const char *text, char why[static 128], size_t *at)
{
	struct pattern_regex *r = compile((struct slice){ text + 1, strlen(text) - 2 }, why, at);

	*at += 1;
	return r;
}

struct pattern_regex *
pattern_compile_bare(const char *text, char why[static 128], size_t *at)
{
	return compile(slice_of(text), why, at);
}

void
pattern_free(struct pattern_regex *r)
{
	pcre2_code_free((pcre2_code *)r);
}

static bool
regex_matches(const struct pattern_regex *regex, struct slice schema, struct slice table)
{
	const pcre2_code *re = (const pcre2_code *)regex;
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	pcre2_match_context *context = limits();
	struct buf name = { 0 };
	bool yes;

	if (!data)
		die("out of memory");
	buf_printf(&name, "%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(table));
	yes = pcre2_match(re, (PCRE2_SPTR)name.p, name.n, 0, 0, data, context) >= 0;
	buf_free(&name);
	pcre2_match_context_free(context);
	pcre2_match_data_free(data);
	return yes;
}

/* One character of UTF-8 on: '?' stands for a character, not for a byte of one. */
static size_t
next_char(struct slice s, size_t i)
{
	i++;
	while (i < s.n && (s.p[i] & 0xc0) == 0x80)
		i++;
	return i;
}

/* '*' and '?' only. After a mismatch the last star takes one character more: never exponential. */
bool
pattern_glob(struct slice pattern, struct slice s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;

	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			mark = i;
		} else if (p < pattern.n && pattern.p[p] == '?') {
			p++;
			i = next_char(s, i);
		} else if (p < pattern.n && pattern.p[p] == s.p[i]) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = mark = next_char(s, mark);
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

bool
pattern_matches(
    const char *text, const struct pattern_regex *regex, struct slice schema, struct slice table)
{
	const char *dot = strchr(text, '.');

	if (regex)
		return regex_matches(regex, schema, table);
	return dot && pattern_glob((struct slice){ text, (size_t)(dot - text) }, schema) &&
	    pattern_glob(slice_of(dot + 1), table);
}

/* ---- templates ---- */

/* What stands between the braces at s: "{NAME}". */
static struct slice
braced(const char *s)
{
	return (struct slice){ s + 1, strcspn(s + 1, "}") };
}

/* Its number; -1: there is none of that name. */
static int
group(const pcre2_code *re, struct slice name)
{
	char text[64];
	uint32_t n = 0;
	long number;

	if (!re || !name.n || name.n >= sizeof text)
		return -1;
	memcpy(text, name.p, name.n);
	text[name.n] = 0;
	if (strspn(text, "0123456789") < name.n) {
		int named = pcre2_substring_number_from_name(re, (PCRE2_SPTR)text);

		return named > 0 ? named : -1;
	}
	pcre2_pattern_info(re, PCRE2_INFO_CAPTURECOUNT, &n);
	number = strtol(text, NULL, 10);
	return number <= (long)n ? (int)number : -1;
}

/* Braces are known to be groups. */
static void
fill(const pcre2_code *re, pcre2_match_data *data, struct slice text, const char *tmpl, struct buf *out)
{
	for (const char *s = tmpl; *s;) {
		size_t plain = strcspn(s, "{");
		struct slice name;
		int n;

		buf_bytes(out, s, plain);
		s += plain;
		if (!*s)
			break;
		name = braced(s);
		n = slice_is(name, "route") ? 0 : group(re, name);
		if (n == 0) {
			buf_slice(out, text);
		} else if (n > 0 && data) {
			const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data) + 2 * n;

			if (at[0] != PCRE2_UNSET)
				buf_bytes(out, text.p + at[0], at[1] - at[0]);
		}
		s = name.p + name.n + (name.p[name.n] == '}');
	}
}

/* code: of pcre2_match. */
static const char *
why_not(int code)
{
	if (code == PCRE2_ERROR_NOMATCH)
		return "does not match";
	return code <= PCRE2_ERROR_UTF8_ERR1 && code >= PCRE2_ERROR_UTF8_ERR21 ? "takes UTF-8, and there is something else in"
	                                                                       : "backtracks too much, write it simpler: it gives up at";
}

bool
pattern_fill(const struct pattern_regex *regex, struct slice text, const char *tmpl, struct buf *out, const char **why)
{
	const pcre2_code *re = (const pcre2_code *)regex;
	pcre2_match_context *context;
	pcre2_match_data *data;
	int code;

	*why = NULL;
	if (!re) {
		fill(NULL, NULL, text, tmpl, out);
		return true;
	}
	context = limits();
	data = pcre2_match_data_create_from_pattern(re, NULL);
	if (!data)
		die("out of memory");
	code = pcre2_match(re, (PCRE2_SPTR)(text.n ? text.p : ""), text.n, 0, 0, data, context);
	if (code > 0)
		fill(re, data, text, tmpl, out);
	else
		*why = why_not(code);
	pcre2_match_data_free(data);
	pcre2_match_context_free(context);
	return code > 0;
}

struct slice
pattern_unknown(const struct pattern_regex *regex, const char *tmpl)
{
	for (const char *s = strchr(tmpl, '{'); s; s = strchr(s + 1, '{')) {
		struct slice name = braced(s);

		if (!slice_is(name, "route") && group((const pcre2_code *)regex, name) < 0)
			return name;
	}
	return (struct slice){ "", 0 };
}
