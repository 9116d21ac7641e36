/*
 * pattern.h - one entry of `tables:`: SCHEMA.TABLE with * and ?, or /regex/ over "schema.table" (PCRE2, the whole name).
 */
#ifndef CORE_PATTERN_H
#define CORE_PATTERN_H

#include "core/base.h"

struct pattern_regex;

/* Is it written as a regular expression: /.../? */
bool pattern_is_regex(const char *text);

/* Compile what stands between the slashes; pattern_free releases. NULL: *why says what is wrong, *at where (in text). */
struct pattern_regex *pattern_compile(const char *text, char why[static 128], size_t *at);
void pattern_free(struct pattern_regex *r);

/* regex: of text, or NULL when it is none. */
bool pattern_matches(const char *text, const struct pattern_regex *regex, struct slice schema, struct slice table);

/* '*' and '?', over all of s. */
bool pattern_glob(struct slice pattern, struct slice s);

#endif
