/*
 * pattern.h - one entry of `tables:`: SCHEMA.TABLE with * and ?, or /regex/ over "schema.table" (PCRE2, the whole name); and names made by
 * a template from the groups of such an expression (`outbox.regex`).
 */
#ifndef CORE_PATTERN_H
#define CORE_PATTERN_H

#include "core/buf.h"

struct pattern_regex;

/* Is it written as a regular expression: /.../? */
bool pattern_is_regex(const char *text);

/* Compile what stands between the slashes; pattern_free releases. NULL: *why says what is wrong, *at where (in text). */
struct pattern_regex *pattern_compile(const char *text, char why[static 128], size_t *at);
void pattern_free(struct pattern_regex *r);

/* Likewise, of a text that has no slashes. */
struct pattern_regex *pattern_compile_bare(const char *text, char why[static 128], size_t *at);

/*
 * tmpl with what stands in braces replaced: {route} by text, {NAME} and {1} by groups of the regex, which is to match all of text; a group
 * that took no part is empty. regex NULL: there are no groups. False: it does not match, or takes too many steps or too much
 * memory, or text is not UTF-8: *why, a static text to stand between the regex and the text; out is unchanged.
 */
bool pattern_fill(const struct pattern_regex *regex, struct slice text, const char *tmpl, struct buf *out, const char **why);

/* The first name in tmpl's braces that is neither route nor a group; n 0: there is none. */
struct slice pattern_unknown(const struct pattern_regex *regex, const char *tmpl);

/* regex: of text, or NULL when it is none. */
bool pattern_matches(const char *text, const struct pattern_regex *regex, struct slice schema, struct slice table);

/* '*' and '?', over all of s. */
bool pattern_glob(struct slice pattern, struct slice s);

#endif
