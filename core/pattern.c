#include "core/pattern.h"
#include "core/buf.h"
#include "core/err.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Of one match: a pattern that backtracks without end finds nothing rather than to stop the stream. */
enum { MATCH_STEPS = 1000000 };

bool
pattern_is_regex(const char *text)
{
	size_t n = strlen(text);

	return n > 2 && text[0] == '/' && text[n - 1] == '/';
}

struct pattern_regex *
pattern_compile(const char *text, char why[static 128], size_t *at)
{
	int code;
	PCRE2_SIZE offset = 0;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)text + 1, strlen(text) - 2,
	    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF, &code, &offset, NULL);

	*at = offset + 1;
	if (!re)
		pcre2_get_error_message(code, (PCRE2_UCHAR *)why, 128);
	return (struct pattern_regex *)re;
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
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	struct buf name = { 0 };
	bool yes;

	if (!data || !context)
		die("out of memory");
	pcre2_set_match_limit(context, MATCH_STEPS);
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
