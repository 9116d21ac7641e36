/*
 * How a value gets into struct conf: by the type its option has in the table, with the place it came from at hand for the complaint.
 */
#include "core/conf_option.h"

#include "core/buf.h"
#include "core/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXCERPT_MAX = 100, VALUE_FILE_MAX = 64 * 1024, MANY_MAX = 1000 };

/* ---- complaints ---- */

/* The line of the place, without its end. */
static struct slice
line_of(const struct conf_place *at)
{
	struct slice rest = at->text;
	const char *end;

	for (int line = 1; line < at->line; line++) {
		end = memchr(rest.p, '\n', rest.n);
		if (!end)
			return (struct slice){ "", 0 };
		rest.n -= (size_t)(end + 1 - rest.p);
		rest.p = end + 1;
	}
	end = rest.n ? memchr(rest.p, '\n', rest.n) : NULL;
	if (end)
		rest.n = (size_t)(end - rest.p);
	if (rest.n && rest.p[rest.n - 1] == '\r')
		rest.n--;
	return rest;
}

/* Stars over the value that follows a word like "password" or "secret" in line; a reference like ${NAME} stays. */
static void
cover_word(char *line, const char *word)
{
	char *p = line;

	while ((p = strcasestr(p, word))) {
		p += strcspn(p, ":=");
		p += strspn(p, ":= \"'");
		if (p[0] == '$' && p[1] == '{')
			continue;
		for (; *p && !strchr(",}&\"'", *p); p++)
			*p = '*';
	}
}

/* A complaint may end in a log, and the line that it quotes may hold a password. */
static void
cover_secrets(char *line)
{
	char *from, *at;

	cover_word(line, "password");
	cover_word(line, "secret");
	for (char *url = strstr(line, "://"); url; url = strstr(url + 3, "://")) {
		from = strchr(url + 3, ':');
		at = strrchr(url + 3, '@');
		if (from && at && from < at && from[1] != '$')
			memset(from + 1, '*', (size_t)(at - from - 1));
	}
}

/*
 * A new line, the line of the place, and a caret below the column. Columns count characters, not bytes. Of a
 * long line only the part around the caret is shown.
 */
static void
put_excerpt(struct arena *a, struct buf *b, const struct conf_place *at)
{
	char *line = arena_text(a, line_of(at));
	int skip = at->col > 80 ? at->col - 40 : 0, col = 0;

	cover_secrets(line);
	buf_byte(b, '\n');
	for (; *line; line++) {
		if ((*line & 0xc0) != 0x80)
			col++;
		if (col > skip && col <= skip + EXCERPT_MAX)
			buf_byte(b, *line == '\t' ? ' ' : (uint8_t)*line);
	}
	buf_byte(b, '\n');
	for (col = skip + 1; col < at->col; col++)
		buf_byte(b, ' ');
	buf_byte(b, '^');
}

enum rc
conf_fail(struct conf_loader *ld, const struct conf_place *at, const char *fmt, ...)
{
	char text[600];
	struct buf b = { 0 };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	buf_text(&b, at->what);
	if (at->line)
		buf_printf(&b, ":%d:%d", at->line, at->col);
	buf_printf(&b, ": %s", text);
	if (at->line && at->text.n)
		put_excerpt(&ld->conf->arena, &b, at);
	fail_exit(ld->err, FATAL, EXIT_CONFIG, "%s", buf_cstr(&b));
	buf_free(&b);
	return FATAL;
}

/* Each known key right under prefix, once: to the guess, and to a list for those who were far off. */
static void
offer_keys(const struct conf_target *to, const char *prefix, struct suggestion *guess, struct buf *list)
{
	size_t skip = *prefix ? strlen(prefix) + 1 : 0;
	struct slice last = { "", 0 };

	for (int i = 0; i < to->noptions; i++) {
		const char *path = to->options[i].path;
		struct slice key;

		if (skip && (strncmp(path, prefix, skip - 1) || path[skip - 1] != '.'))
			continue;
		key = (struct slice){ path + skip, strcspn(path + skip, ".") };
		if (slice_eq(key, last))
			continue;
		suggest_offer(guess, key);
		buf_printf(list, "%s%.*s", list->n ? ", " : "", SLICE_ARG(key));
		last = key;
	}
	if (!skip && !*to->prefix) {
		suggest_offer(guess, SLICE_LIT("sinks"));
		buf_text(list, ", sinks");
	}
}

enum rc
conf_unknown(struct conf_loader *ld, const struct conf_target *to, const char *prefix, const char *key,
    const struct conf_place *at)
{
	struct suggestion guess = { .word = slice_of(key) };
	struct buf list = { 0 };

	offer_keys(to, prefix, &guess, &list);
	if (guess.best.n)
		conf_fail(ld, at, "unknown key '%.60s'; did you mean '%.*s'?", key, SLICE_ARG(guess.best));
	else
		conf_fail(ld, at, "unknown key '%.60s'; known here: %s", key, buf_cstr(&list));
	buf_free(&list);
	return FATAL;
}

/* ---- ${NAME} and ${file:PATH} ---- */

bool
conf_read_file(struct arena *a, const char *path, size_t max, struct slice *out, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buf b = { .max = max + 1 };
	ssize_t n = -1;

	*why = NULL;
	if (fd < 0) {
		*why = strerror(errno);
		return false;
	}
	while (buf_reserve(&b, b.cap > b.n ? b.cap - b.n : 1) && (n = read(fd, b.p + b.n, b.cap - b.n)) > 0)
		b.n += (size_t)n;
	if (b.failed || b.n > max)
		*why = "the file is too large";
	else if (n < 0)
		*why = strerror(errno);
	else if (b.n && memchr(b.p, '\0', b.n))
		*why = "the file holds a NUL byte, so it is not text";
	else
		*out = arena_slice(a, buf_view(&b));
	close(fd);
	buf_free(&b);
	return *why == NULL;
}

/* What ${what} stands for. */
static enum rc
expand_one(struct conf_loader *ld, const struct conf_place *at, struct slice what, struct slice *out)
{
	char *name = arena_text(&ld->conf->arena, what);
	const char *value, *why;

	if (strncmp(name, "file:", 5) == 0) {
		if (!conf_read_file(&ld->conf->arena, name + 5, VALUE_FILE_MAX, out, &why))
			return conf_fail(ld, at, "cannot read the file of ${%.200s}: %s", name, why);
		if (out->n && out->p[out->n - 1] == '\n')
			out->n--;
		if (out->n && out->p[out->n - 1] == '\r')
			out->n--;
		return OK;
	}
	if (!*name || name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")])
		return conf_fail(ld, at, "'${%.60s}' is neither ${NAME} nor ${file:PATH}; write $${ for a plain ${", name);
	value = getenv(name);
	if (!value)
		return conf_fail(ld, at, "environment variable %.60s is not set", name);
	*out = slice_of(value);
	return OK;
}

enum rc
conf_expand(struct conf_loader *ld, const struct conf_place *at, struct slice text, const char **out)
{
	const char *p = text.p, *end = text.p + text.n, *close;
	struct buf b = { 0 };
	struct slice value;
	enum rc rc = OK;

	while (p < end && rc == OK) {
		if (end - p >= 3 && p[0] == '$' && p[1] == '$' && p[2] == '{') {
			buf_text(&b, "${");
			p += 3;
		} else if (end - p >= 2 && p[0] == '$' && p[1] == '{') {
			close = memchr(p, '}', (size_t)(end - p));
			if (!close) {
				rc = conf_fail(ld, at, "'${' without its '}'; write $${ for a plain ${");
				break;
			}
			rc = expand_one(ld, at, (struct slice){ p + 2, (size_t)(close - p - 2) }, &value);
			if (rc == OK)
				buf_slice(&b, value);
			p = close + 1;
		} else {
			buf_byte(&b, (uint8_t)*p++);
		}
	}
	*out = arena_text(&ld->conf->arena, buf_view(&b));
	buf_free(&b);
	return rc;
}

/* ---- values by type ---- */

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit sizes[] = {
	{ "B", 1 }, { "kB", 1 << 10 }, { "KiB", 1 << 10 }, { "MB", 1 << 20 }, { "MiB", 1 << 20 }, { "GB", 1 << 30 },
	{ "GiB", 1 << 30 }, { NULL, 0 },
};
static const struct unit times[] = {
	{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "min", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

/* A whole number, and with units one of them behind it ("64MB", "5 ms"); 0 needs none. */
static bool
parse_number(const char *text, const struct unit *units, int64_t *out)
{
	char *end;
	long long v;

	if (!strchr("-0123456789", *text) || !*text)
		return false;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text)
		return false;
	*out = v;
	if (!units || (v == 0 && !*end))
		return *end == '\0';
	end += strspn(end, " ");
	for (; units->name; units++)
		if (strcasecmp(end, units->name) == 0)
			return !__builtin_mul_overflow(v, units->factor, out);
	return false;
}

static enum rc
set_number(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *it)
{
	static const struct {
		const struct unit *units;
		const char *wanted;
	} kinds[] = {
		[CONF_INT] = { NULL, "a whole number" },
		[CONF_SIZE] = { sizes, "a size such as 64MB (units: B, kB, MB, GB)" },
		[CONF_TIME] = { times, "a duration such as 10s (units: ms, s, m, h, d)" },
	};
	int64_t v;

	if (!parse_number(it->text, kinds[opt->type].units, &v))
		return conf_fail(ld, &it->at, "%s%s must be %s, not '%.60s'", to->prefix, opt->path, kinds[opt->type].wanted, it->text);
	if (v < opt->min || v > opt->max)
		return conf_fail(ld, &it->at, "%s%s must be between %s and %s, not '%.60s'", to->prefix, opt->path,
		    conf_number_text(&ld->conf->arena, opt->type, opt->min), conf_number_text(&ld->conf->arena, opt->type, opt->max),
		    it->text);
	*(int64_t *)((char *)to->base + opt->offset) = v;
	return OK;
}

const char *
conf_number_text(struct arena *a, enum conf_type type, int64_t v)
{
	const struct unit *units = type == CONF_SIZE ? sizes : type == CONF_TIME ? times : NULL, *best = NULL;

	for (const struct unit *u = units; u && u->name && v; u++)
		if (v % u->factor == 0 && (!best || u->factor > best->factor))
			best = u;
	return best ? arena_printf(a, "%lld%s", (long long)(v / best->factor), best->name) : arena_printf(a, "%lld", (long long)v);
}

/* The index of text among "a|b|c", or -1. */
static int
choice_of(const char *choices, struct slice text)
{
	struct slice one;
	int i = 0;

	for (;; i++, choices += one.n + 1) {
		one = (struct slice){ choices, strcspn(choices, "|") };
		if (slice_eq(one, text))
			return i;
		if (!choices[one.n])
			return -1;
	}
}

static enum rc
set_choice(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *it)
{
	void *where = (char *)to->base + opt->offset;
	int i = choice_of(opt->choices, slice_of(it->text));
	char *words = arena_text(&ld->conf->arena, slice_of(opt->choices));

	if (i < 0) {
		for (char *p = words; *p; p++)
			if (*p == '|')
				*p = '/';
		return conf_fail(ld, &it->at, "%s%s must be one of %s, not '%.60s'", to->prefix, opt->path, words, it->text);
	}
	if (opt->type == CONF_INDEX)
		*(int *)where = i;
	else
		*(const char **)where = it->text;
	return OK;
}

static enum rc
set_bool(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *it)
{
	int i = choice_of("false|no|off|true|yes|on", slice_of(it->text));

	if (i < 0)
		return conf_fail(ld, &it->at, "%s%s must be true or false, not '%.60s'", to->prefix, opt->path, it->text);
	*(bool *)((char *)to->base + opt->offset) = i >= 3;
	return OK;
}

static enum rc
set_text(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *it)
{
	bool none = opt->flags & CONF_NONE && strcmp(it->text, "none") == 0;
	const char *complaint = NULL;

	if (!none && !*it->text)
		complaint = "must not be empty";
	else if (!none && opt->check)
		complaint = opt->check(it->text);
	if (complaint)
		return conf_fail(ld, &it->at, "%s%s %s", to->prefix, opt->path, complaint);
	*(const char **)((char *)to->base + opt->offset) = none ? NULL : it->text;
	return OK;
}

/* ---- lists ---- */

/* One text with commas (or newlines) as several items at the same place. */
/* At least one is always there to read the place from, though n may be 0. */
static const struct conf_item *
split_items(struct arena *a, const struct conf_item *it, char between, int *n)
{
	const char ends[] = { between, '\0' };
	size_t most = 1;
	struct conf_item *out;
	const char *p = it->text;

	for (const char *q = p; *q; q++)
		most += *q == between;
	out = arena_array(a, most, sizeof *out);
	out[0] = *it;
	for (*n = 0; *p; p += *p == between) {
		struct slice s;

		p += strspn(p, " ");
		s = (struct slice){ p, strcspn(p, ends) };
		p += s.n;
		while (s.n && s.p[s.n - 1] == ' ')
			s.n--;
		if (s.n)
			out[(*n)++] = (struct conf_item){ it->at, arena_text(a, s) };
	}
	return out;
}

static enum rc
set_hosts(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *it, int n)
{
	const char *all = NULL;

	for (int i = 0; i < n; i++) {
		size_t len = strcspn(it[i].text, " ,/");

		if (!len || it[i].text[len])
			return conf_fail(ld, &it[i].at, "%s%s: '%.60s' is not HOST:PORT", to->prefix, opt->path, it[i].text);
		if (n > 1 && strcmp(it[i].text, "embedded") == 0)
			return conf_fail(ld, &it[i].at, "%s%s: 'embedded' cannot stand beside other brokers", to->prefix, opt->path);
		all = all ? arena_printf(&ld->conf->arena, "%s,%s", all, it[i].text) : it[i].text;
	}
	if (!all)
		return conf_fail(ld, &it[0].at, "%s%s must not be empty", to->prefix, opt->path);
	*(const char **)((char *)to->base + opt->offset) = all;
	return OK;
}

static enum rc
set_list(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *it, int n)
{
	char between = opt->flags & CONF_LINES ? '\n' : ',';
	const char *all = NULL, *complaint;

	for (int i = 0; i < n; i++) {
		complaint = opt->check(it[i].text);
		if (complaint)
			return conf_fail(ld, &it[i].at, "%s%s: '%.60s' %s", to->prefix, opt->path, it[i].text, complaint);
		all = all ? arena_printf(&ld->conf->arena, "%s%c%s", all, between, it[i].text) : it[i].text;
	}
	if (!all)
		return conf_fail(ld, &it[0].at, "%s%s must not be empty", to->prefix, opt->path);
	*(const char **)((char *)to->base + opt->offset) = all;
	return OK;
}

static void
free_patterns(const struct conf_table *t, int n)
{
	for (int i = 0; i < n; i++)
		pattern_free(t[i].regex);
}

static enum rc
set_tables(struct conf_loader *ld, const struct conf_target *to, const struct conf_item *it, int n)
{
	bool root = to->base == ld->conf;
	struct conf_sink *sink = root ? NULL : to->base;
	struct conf_table **list = root ? &ld->conf->tables : &sink->tables;
	int *count = root ? &ld->conf->ntables : &sink->ntables;
	struct conf_table *t = arena_array(&ld->conf->arena, (size_t)n, sizeof *t);

	if (n == 0)
		return conf_fail(ld, &it[0].at, "%stables is empty; leave it out to copy every table", to->prefix);
	for (int i = 0; i < n; i++) {
		const char *p = it[i].text, *dot;
		char why[128];
		size_t at;

		t[i].exclude = *p == '!';
		t[i].pattern = p + t[i].exclude;
		if (pattern_is_regex(t[i].pattern)) {
			t[i].regex = pattern_compile(t[i].pattern, why, &at);
			if (!t[i].regex) {
				free_patterns(t, i);
				return conf_fail(ld, &it[i].at, "pattern '%.60s' is no regular expression: %s at its character %zu", p, why,
				    at + t[i].exclude + 1);
			}
			continue;
		}
		dot = strchr(t[i].pattern, '.');
		if (!dot || dot == t[i].pattern || !dot[1])
			free_patterns(t, i);
		if (!dot)
			return conf_fail(ld, &it[i].at,
			    "pattern '%.60s' names no schema; write 'public.%.60s', or '*.%.60s' for every schema",
			    p, t[i].pattern, t[i].pattern);
		if (dot == t[i].pattern || !dot[1])
			return conf_fail(ld, &it[i].at, "pattern '%.60s' is not SCHEMA.TABLE", p);
	}
	free_patterns(*list, *count); /* of the file, say, where --set has others */
	*list = t;
	*count = n;
	return OK;
}

enum rc
conf_set_pair(struct conf_loader *ld, const char *key, const struct conf_item *item)
{
	struct conf *c = ld->conf;
	int at = 0, n = c->nkafka_options;

	while (at < n && strcmp(c->kafka_options[at].key, key) != 0)
		at++;
	if (at == n) {
		struct conf_pair *more = arena_array(&c->arena, (size_t)n + 1, sizeof *more);
		const char **origins = arena_array(&c->arena, (size_t)n + 1, sizeof *origins);

		if (n >= MANY_MAX)
			return conf_fail(ld, &item->at, "more than %d keys in kafka.options", MANY_MAX);
		if (n) {
			memcpy(more, c->kafka_options, (size_t)n * sizeof *more);
			memcpy(origins, c->kafka_origins, (size_t)n * sizeof *origins);
		}
		c->kafka_options = more;
		c->kafka_origins = origins;
		c->nkafka_options++;
	}
	c->kafka_options[at] = (struct conf_pair){ key, item->text };
	c->kafka_origins[at] = item->at.origin;
	return OK;
}

/* ---- options and sinks ---- */

enum rc
conf_set(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt, const struct conf_item *items,
    int n, bool list)
{
	const char **origin = &to->origins[opt - to->options];
	bool many = opt->type == CONF_HOSTS || opt->type == CONF_LIST || opt->type == CONF_TABLES;
	enum rc rc = OK;

	if (items[0].at.line && strcmp(*origin, "default") != 0)
		return conf_fail(ld, &items[0].at, "%s%s is given twice; first at %s", to->prefix, opt->path, *origin);
	if (list && !many)
		return conf_fail(ld, &items[0].at, "%s%s takes one value, not a list", to->prefix, opt->path);
	*origin = items[0].at.origin;
	if (many && !list)
		items = split_items(&ld->conf->arena, items, opt->flags & CONF_LINES ? '\n' : ',', &n);
	switch (opt->type) {
	case CONF_TEXT: rc = set_text(ld, to, opt, items); break;
	case CONF_HOSTS: rc = set_hosts(ld, to, opt, items, n); break;
	case CONF_LIST: rc = set_list(ld, to, opt, items, n); break;
	case CONF_CHOICE:
	case CONF_INDEX: rc = set_choice(ld, to, opt, items); break;
	case CONF_BOOL: rc = set_bool(ld, to, opt, items); break;
	case CONF_INT:
	case CONF_SIZE:
	case CONF_TIME: rc = set_number(ld, to, opt, items); break;
	case CONF_TABLES: rc = set_tables(ld, to, items, n); break;
	case CONF_PAIRS:
		rc = conf_fail(ld, &items[0].at, "%s%s must be a mapping of librdkafka's names to values", to->prefix, opt->path);
		break;
	}
	return rc;
}

/* The defaults are values like any other: written through the same door, so the table cannot hold a bad one. */
enum rc
conf_set_defaults(struct conf_loader *ld, const struct conf_target *to)
{
	for (int i = 0; i < to->noptions; i++) {
		struct conf_item it = { { .what = "default", .origin = "default" }, to->options[i].standard };
		enum rc rc;

		to->origins[i] = "default";
		if (!it.text || strstr(it.text, "<name>"))
			continue;
		rc = conf_set(ld, to, &to->options[i], &it, 1, false);
		if (rc)
			return rc;
	}
	return OK;
}

static const char *
check_sink_name(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");

	return n > 0 && n <= 60 && name[n] == '\0' ? NULL : "must be 1 to 60 letters, digits, '_' or '-'";
}

enum rc
conf_sink_add(struct conf_loader *ld, const char *name, const struct conf_place *at, struct conf_sink **out)
{
	struct conf *c = ld->conf;
	const char *complaint = check_sink_name(name);
	struct conf_target to;

	for (int i = 0; i < c->nsinks; i++)
		if (strcmp(c->sinks[i].name, name) == 0) {
			*out = &c->sinks[i];
			return OK;
		}
	if (complaint)
		return conf_fail(ld, at, "the name of sink '%.60s' %s", name, complaint);
	if (c->nsinks == MANY_MAX)
		return conf_fail(ld, at, "more than %d sinks", MANY_MAX);
	if (c->nsinks == ld->sinks_cap) {
		int cap = ld->sinks_cap ? ld->sinks_cap * 2 : 4;
		struct conf_sink *sinks = arena_array(&c->arena, (size_t)cap, sizeof *sinks);
		struct conf_place *places = arena_array(&c->arena, (size_t)cap, sizeof *places);

		if (c->nsinks) {
			memcpy(sinks, c->sinks, (size_t)c->nsinks * sizeof *sinks);
			memcpy(places, ld->sink_places, (size_t)c->nsinks * sizeof *places);
		}
		c->sinks = sinks;
		ld->sink_places = places;
		ld->sinks_cap = cap;
	}
	ld->sink_places[c->nsinks] = *at;
	*out = &c->sinks[c->nsinks++];
	(*out)->name = arena_text(&c->arena, slice_of(name));
	(*out)->origins = arena_array(&c->arena, (size_t)conf_nsink_options, sizeof *(*out)->origins);
	to = conf_target_sink(c, *out);
	return conf_set_defaults(ld, &to);
}
