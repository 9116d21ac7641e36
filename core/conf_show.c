/*
 * The configuration as text: what holds and where it came from, and the sample file.
 */
#include "core/conf_option.h"

#include "core/buf.h"
#include "core/quote.h"

#include <strings.h>

/* ---- secrets ---- */

/* The end of the value at p: in a URL at the next '&', in libpq's form at a space or its closing quote. */
static const char *
value_end(const char *p, bool url)
{
	if (url)
		return p + strcspn(p, "&#");
	if (*p != '\'')
		return p + strcspn(p, " ");
	for (p++; *p && *p != '\''; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

/* The value behind the next "password =" of text, in [*from, *to); false when there is none. */
static bool
find_password(const char *text, bool url, const char **from, const char **to)
{
	const char *p = text;

	while ((p = strcasestr(p, "password"))) {
		p += strlen("password");
		p += strspn(p, " ");
		if (*p != '=')
			continue;
		p++;
		*from = p + (url ? 0 : strspn(p, " "));
		*to = value_end(*from, url);
		return true;
	}
	return false;
}

/* Is it HOST:PORT,HOST:PORT up to the path: a port behind each colon? */
static bool
only_ports(const char *authority)
{
	const char *p = authority, *end = authority + strcspn(authority, "/?#");

	while ((p = memchr(p, ':', (size_t)(end - p)))) {
		p++;
		p += strspn(p, "0123456789");
		if (p < end && *p != ',')
			return false;
	}
	return true;
}

/*
 * The password of postgres://user:PASSWORD@host. One that holds '/', '?' or '@' unescaped is a mistake, and libpq
 * will say so, but it must not be shown either: so the last '@' before the query counts, and, when what
 * stands before the path cannot be hosts and ports, the last '@' of all.
 */
static bool
find_userinfo(const char *url, const char **from, const char **to)
{
	const char *scheme = strstr(url, "://"), *colon = scheme ? strchr(scheme + 3, ':') : NULL, *at;

	if (!colon)
		return false;
	at = memrchr(colon, '@', strcspn(colon, "?"));
	if (!at && !only_ports(scheme + 3))
		at = strrchr(colon, '@');
	if (!at)
		return false;
	*from = colon + 1;
	*to = at;
	return true;
}

const char *
conf_mask_url(struct arena *a, const char *url)
{
	bool is_url = strstr(url, "://") != NULL;
	const char *from, *to;
	struct buf b = { 0 };
	const char *masked;

	if (is_url && find_userinfo(url, &from, &to)) {
		buf_bytes(&b, url, (size_t)(from - url));
		buf_text(&b, "***");
		url = to;
	}
	while (find_password(url, is_url, &from, &to)) {
		buf_bytes(&b, url, (size_t)(from - url));
		buf_text(&b, "***");
		url = to;
	}
	buf_text(&b, url);
	masked = arena_text(a, buf_view(&b));
	buf_free(&b);
	return masked;
}

/* librdkafka's properties that hold a secret, or may. */
static bool
is_secret_key(const char *key)
{
	static const char *const words[] = { "password", "secret", "token", "ssl.key.pem", "sasl.oauthbearer.config", "jaas" };

	for (size_t i = 0; i < COUNTOF(words); i++)
		if (strcasestr(key, words[i]))
			return true;
	return false;
}

/* ---- what holds ---- */

enum { VALUE_WIDTH_MAX = 48 };

struct row {
	const char *key, *value, *origin;
	bool literal; /* JSON: no quotes */
};

struct show {
	struct arena arena;
	struct row *rows;
	int n;
};

static void
put(struct show *sh, const char *key, const char *value, bool literal, const char *origin)
{
	sh->rows[sh->n++] = (struct row){ key, value, origin, literal };
}

static void
print_text(const struct show *sh, struct buf *out)
{
	int key = 0, value = 0, n;

	for (int i = 0; i < sh->n; i++) {
		n = (int)strlen(sh->rows[i].key);
		key = n > key ? n : key;
		n = sh->rows[i].value ? (int)strlen(sh->rows[i].value) : 4;
		value = n > value && n <= VALUE_WIDTH_MAX ? n : value;
	}
	for (int i = 0; i < sh->n; i++)
		buf_printf(out, "%-*s  %-*s  %s\n", key, sh->rows[i].key, value, sh->rows[i].value ? sh->rows[i].value : "none",
		    sh->rows[i].origin);
}

static void
print_json(const struct show *sh, struct buf *out)
{
	buf_byte(out, '{');
	for (int i = 0; i < sh->n; i++) {
		const struct row *r = &sh->rows[i];

		buf_text(out, i ? ",\n  " : "\n  ");
		quote_json(out, slice_of(r->key));
		buf_text(out, ": {\"value\": ");
		if (!r->value)
			buf_text(out, "null");
		else if (r->literal)
			buf_text(out, r->value);
		else
			quote_json(out, slice_of(r->value));
		buf_text(out, ", \"origin\": ");
		quote_json(out, slice_of(r->origin));
		buf_byte(out, '}');
	}
	buf_text(out, "\n}\n");
}

static const char *
tables_text(struct arena *a, const struct conf_table *t, int n)
{
	struct buf b = { 0 };
	const char *text;

	for (int i = 0; i < n; i++)
		buf_printf(&b, "%s%s%s", i ? ", " : "", t[i].exclude ? "!" : "", t[i].pattern);
	text = n ? arena_text(a, buf_view(&b)) : NULL;
	buf_free(&b);
	return text;
}

/* The name at an index of "a|b|c". */
static const char *
choice_name(struct arena *a, const char *choices, int i)
{
	for (; i > 0; i--)
		choices += strcspn(choices, "|") + 1;
	return arena_text(a, (struct slice){ choices, strcspn(choices, "|") });
}

static const char *
value_text(struct arena *a, const struct conf *c, const struct conf_target *to, const struct conf_option *opt)
{
	const struct conf_sink *sink = *to->prefix ? to->base : NULL;
	const void *at = (const char *)to->base + opt->offset;
	const char *text;

	switch (opt->type) {
	case CONF_TEXT:
	case CONF_HOSTS:
	case CONF_LIST:
	case CONF_CHOICE:
		text = *(const char *const *)at;
		if (text && opt->flags & CONF_SECRET)
			return "***";
		if (text && opt->flags & CONF_LINES) {
			char *lines = arena_text(a, slice_of(text));

			for (char *p = lines; (p = strchr(p, '\n'));)
				*p = ';';
			return lines;
		}
		return text && opt->flags & CONF_URL ? conf_mask_url(a, text) : text;
	case CONF_INDEX: return choice_name(a, opt->choices, *(const int *)at);
	case CONF_BOOL: return *(const bool *)at ? "true" : "false";
	case CONF_INT:
	case CONF_SIZE:
	case CONF_TIME:
		if (!opt->standard && !*(const int64_t *)at)
			return "by memory";
		return conf_number_text(a, opt->type, *(const int64_t *)at);
	case CONF_TABLES: return sink ? tables_text(a, sink->tables, sink->ntables) : tables_text(a, c->tables, c->ntables);
	case CONF_PAIRS: return NULL;
	}
	return NULL;
}

static void
show_target(struct show *sh, const struct conf *c, const struct conf_target *to)
{
	for (int i = 0; i < to->noptions; i++) {
		const struct conf_option *opt = &to->options[i];

		if (opt->type != CONF_PAIRS) {
			put(sh, arena_printf(&sh->arena, "%s%s", to->prefix, opt->path), value_text(&sh->arena, c, to, opt),
			    opt->type == CONF_INT || opt->type == CONF_BOOL, to->origins[i]);
			continue;
		}
		for (int k = 0; k < c->nkafka_options; k++) {
			const struct conf_pair *p = &c->kafka_options[k];

			put(sh, arena_printf(&sh->arena, "%s.%s", opt->path, p->key), is_secret_key(p->key) ? "***" : p->value, false,
			    c->kafka_origins[k]);
		}
	}
}

void
conf_show(const struct conf *c, bool json, struct buf *out)
{
	struct show sh = { 0 };
	struct conf copy = *c; /* a target is not const, and c's arena must not grow here */
	size_t most = (size_t)(conf_noptions + c->nkafka_options) + (size_t)c->nsinks * (size_t)conf_nsink_options;
	struct conf_target to;

	copy.arena = (struct arena){ 0 };
	sh.rows = arena_array(&sh.arena, most, sizeof *sh.rows);
	to = conf_target_root(&copy);
	show_target(&sh, c, &to);
	for (int i = 0; i < c->nsinks; i++) {
		to = conf_target_sink(&copy, &copy.sinks[i]);
		show_target(&sh, c, &to);
	}
	if (json)
		print_json(&sh, out);
	else
		print_text(&sh, out);
	arena_free(&copy.arena);
	arena_free(&sh.arena);
}

/* ---- the sample ---- */

/* A sentence as comment lines of at most 96 columns. */
static void
put_comment(struct buf *out, int indent, const char *text)
{
	while (*text) {
		size_t room = 94 - (size_t)indent, n = strlen(text);

		if (n > room)
			for (n = room; n > 0 && text[n] != ' ';)
				n--;
		if (n == 0)
			n = strlen(text);
		buf_printf(out, "%*s# %.*s\n", indent, "", (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
}

/* An option's default for the sample: <name> as it comes out for the sample's own name. */
static const char *
sample_text(const struct conf_option *opt)
{
	if (opt->sample)
		return opt->sample;
	if (strcmp(opt->standard, "<name>") == 0)
		return conf_options[0].sample;
	return strcmp(opt->standard, "towline_<name>") == 0 ? "towline_inv" : opt->standard;
}

static void
example_options(struct buf *out, const struct conf_target *to, int indent)
{
	struct slice section = { "", 0 };

	for (int i = 0; i < to->noptions; i++) {
		const struct conf_option *opt = &to->options[i];
		const char *dot = strchr(opt->path, '.'), *key = dot ? dot + 1 : opt->path;
		struct slice its = { opt->path, dot ? (size_t)(dot - opt->path) : 0 };

		if (its.n && !slice_eq(its, section) && *to->prefix)
			buf_printf(out, "%*s%.*s:\n", indent, "", SLICE_ARG(its));
		else if (its.n && !slice_eq(its, section))
			buf_printf(out, "\n%.*s:\n", SLICE_ARG(its));
		else if (!its.n && !*to->prefix && i > 0)
			buf_byte(out, '\n');
		section = its;
		put_comment(out, indent + (its.n ? 2 : 0), opt->help);
		buf_printf(out, "%*s%s%s: %s\n", indent + (its.n ? 2 : 0), "", opt->flags & CONF_OPEN ? "" : "#", key, sample_text(opt));
	}
}

void
conf_example(struct buf *out)
{
	struct conf_target root = { .prefix = "", .options = conf_options, .noptions = conf_noptions };
	struct conf_target sink = { .prefix = "sinks.reports.", .options = conf_sink_options, .noptions = conf_nsink_options };

	buf_text(out, "# Towline's configuration, with every key. What is commented out shows its default or a sample.\n"
	    "# ${NAME} is replaced by an environment variable, ${file:PATH} by a file's content.\n"
	    "# Every key may be given as TOWLINE_<KEY> too (TOWLINE_SOURCE_URL), or by --set KEY=VALUE.\n\n");
	example_options(out, &root, 0);
	buf_text(out, "\nsinks:\n  reports:\n");
	example_options(out, &sink, 4);
}
