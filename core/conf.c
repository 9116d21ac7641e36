/*
 * The order in which values win: defaults are written first, then the file, the environment, and --set,
 * each over what was there. Only then come the checks that need more than one value.
 */
#include "core/conf_option.h"
#include "core/quorum.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { FILE_MAX = 1 << 20, IDENT_MAX = 63 };

extern char **environ;

/* ---- environment ---- */

/* Does var end in path, with everything that is not a letter or digit as '_' and in upper case? var is no shorter. */
static bool
ends_in(struct slice var, const char *path)
{
	for (const char *v = var.p + var.n - strlen(path); *path; path++, v++)
		if (*v != (isalnum((unsigned char)*path) ? toupper((unsigned char)*path) : '_'))
			return false;
	return true;
}

static bool
env_is(struct slice var, const char *path)
{
	return var.n == strlen("TOWLINE_") + strlen(path) && ends_in(var, path);
}

/* TOWLINE_SINKS_REPORTS_URL: which option, and the sink's name in front of it. */
static const struct conf_option *
env_sink_option(struct slice var, struct slice *name)
{
	size_t skip = strlen("TOWLINE_SINKS_");
	const struct conf_option *found = NULL;

	if (var.n <= skip || memcmp(var.p, "TOWLINE_SINKS_", skip) != 0)
		return NULL;
	/* X_CREATE_TABLES is create_tables of x, not tables of x_create: the longest that fits. */
	for (int i = 0; i < conf_nsink_options; i++) {
		const char *path = conf_sink_options[i].path;
		size_t n = strlen(path);

		if (var.n > skip + 1 + n && var.p[var.n - n - 1] == '_' && ends_in(var, path) &&
		    (!found || n > strlen(found->path))) {
			*name = (struct slice){ var.p + skip, var.n - n - 1 - skip };
			found = &conf_sink_options[i];
		}
	}
	return found;
}

/* The sink that is meant: one that exists and folds to the same letters, else a new one in lower case. */
static enum rc
env_sink(struct conf_loader *ld, struct slice folded, const struct conf_place *at, struct conf_sink **out)
{
	struct conf *c = ld->conf;
	char *name = arena_text(&c->arena, folded);

	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	for (int i = 0; i < c->nsinks; i++) {
		const char *s = c->sinks[i].name;
		size_t k = 0;

		while (s[k] && name[k] == (isalnum((unsigned char)s[k]) ? tolower((unsigned char)s[k]) : '_'))
			k++;
		if (!s[k] && !name[k]) {
			*out = &c->sinks[i];
			return OK;
		}
	}
	return conf_sink_add(ld, name, at, out);
}

/* One variable. Names that nobody knows are left alone: Kubernetes makes TOWLINE_PORT and the like for a service "towline". */
static enum rc
env_one(struct conf_loader *ld, struct slice var, const char *value)
{
	struct arena *a = &ld->conf->arena;
	struct conf_item item = { { .what = arena_printf(a, "environment %.*s", SLICE_ARG(var)), .origin = "environment" }, value };
	struct conf_target to = conf_target_root(ld->conf);
	const size_t options = strlen("TOWLINE_KAFKA_OPTIONS_");
	const struct conf_option *opt;
	struct conf_sink *sink;
	struct slice name;
	char *key;

	for (int i = 0; i < conf_noptions; i++)
		if (env_is(var, conf_options[i].path))
			return conf_set(ld, &to, &conf_options[i], &item, 1, false);
	if (var.n > options && memcmp(var.p, "TOWLINE_KAFKA_OPTIONS_", options) == 0) {
		key = arena_text(a, (struct slice){ var.p + options, var.n - options });
		for (char *p = key; *p; p++)
			*p = *p == '_' ? '.' : (char)tolower((unsigned char)*p);
		return conf_set_pair(ld, key, &item);
	}
	opt = env_sink_option(var, &name);
	if (!opt)
		return OK;
	if (env_sink(ld, name, &item.at, &sink))
		return FATAL;
	to = conf_target_sink(ld->conf, sink);
	return conf_set(ld, &to, opt, &item, 1, false);
}

static enum rc
apply_environment(struct conf_loader *ld)
{
	enum rc rc = OK;

	for (char **e = environ; e && *e && rc == OK; e++) {
		const char *eq = strchr(*e, '=');

		/* Set but empty counts as not set, as is usual where variables pass through compose files. */
		if (eq && eq[1] && strncmp(*e, "TOWLINE_", 8) == 0)
			rc = env_one(ld, (struct slice){ *e, (size_t)(eq - *e) }, arena_text(&ld->conf->arena, slice_of(eq + 1)));
	}
	return rc;
}

/* ---- --set ---- */

/* sinks.NAME=URL and sinks.NAME.OPTION=VALUE; key is what follows "sinks.". */
static enum rc
set_sink(struct conf_loader *ld, const char *key, const struct conf_item *item)
{
	const char *dot = strchr(key, '.');
	const char *name = arena_text(&ld->conf->arena, (struct slice){ key, dot ? (size_t)(dot - key) : strlen(key) });
	const struct conf_option *opt;
	struct conf_target to;
	struct conf_sink *sink;

	if (conf_sink_add(ld, name, &item->at, &sink))
		return FATAL;
	to = conf_target_sink(ld->conf, sink);
	opt = dot ? conf_option_find(&to, dot + 1) : conf_option_short(&to, "");
	return opt ? conf_set(ld, &to, opt, item, 1, false) : conf_unknown(ld, &to, "", dot + 1, &item->at);
}

/* A key that nobody knows: the guess is made among the keys of its section, if that part is right. */
static enum rc
unknown_set(struct conf_loader *ld, const struct conf_target *to, const char *key, const struct conf_place *at)
{
	const char *dot = strchr(key, '.');
	const char *section = dot ? arena_text(&ld->conf->arena, (struct slice){ key, (size_t)(dot - key) }) : "";

	if (dot && conf_is_section(to, section))
		return conf_unknown(ld, to, section, dot + 1, at);
	return conf_unknown(ld, to, "", dot ? section : key, at);
}

static enum rc
apply_set(struct conf_loader *ld, const char *text)
{
	struct arena *a = &ld->conf->arena;
	const char *eq = strchr(text, '='), *key;
	struct conf_item item = { { .what = "--set", .origin = "--set" }, eq ? arena_text(a, slice_of(eq + 1)) : "" };
	struct conf_target to = conf_target_root(ld->conf);
	const struct conf_option *opt;

	if (!eq || eq == text)
		return conf_fail(ld, &item.at, "'%.60s' is not KEY=VALUE", text);
	key = arena_text(a, (struct slice){ text, (size_t)(eq - text) });
	opt = conf_option_find(&to, key);
	if (!opt && conf_is_section(&to, key))
		opt = conf_option_short(&to, key);
	if (opt)
		return conf_set(ld, &to, opt, &item, 1, false);
	if (strncmp(key, "kafka.options.", 14) == 0 && key[14])
		return conf_set_pair(ld, key + 14, &item);
	if (strncmp(key, "sinks.", 6) == 0 && key[6])
		return set_sink(ld, key + 6, &item);
	return unknown_set(ld, &to, key, &item.at);
}

/* ---- all of it ---- */

/* Defaults that follow from the name: PostgreSQL's slots want [a-z0-9_], at most 63. */
static void
derive(struct conf *c)
{
	char *ident = arena_printf(&c->arena, "towline_%s", c->name);

	for (char *p = ident; *p; p++)
		*p = isalnum((unsigned char)*p) ? (char)tolower((unsigned char)*p) : '_';
	if (strlen(ident) > IDENT_MAX)
		ident[IDENT_MAX] = '\0';
	if (!c->slot)
		c->slot = ident;
	if (!c->publication)
		c->publication = ident;
	if (!c->node)
		c->node = c->name;
	c->embedded = strcmp(c->brokers, "embedded") == 0;
}

/* librdkafka's options that would undo what Towline stands on. */
static enum rc
check_kafka(struct conf_loader *ld, const struct conf_place *at)
{
	const struct conf *c = ld->conf;

	if (c->transactions && strcmp(c->brokers, "embedded") == 0)
		return conf_fail(ld, at,
		    "kafka.transactions: on needs a real Kafka: the embedded broker shows uncommitted records to every reader; "
		    "set kafka.brokers to HOST:PORT, or kafka.transactions to off");
	for (int i = 0; i < c->nkafka_options; i++) {
		const struct conf_pair *o = &c->kafka_options[i];

		if (strcmp(o->key, "transactional.id") == 0)
			return conf_fail(ld, at, "kafka.options: transactional.id is not yours to choose; set kafka.transactions: on");
		if (strcmp(o->key, "isolation.level") == 0 && strcmp(o->value, "read_committed") != 0)
			return conf_fail(ld, at,
			    "kafka.options: isolation.level must stay read_committed, or sinks would apply what was aborted; leave it out");
	}
	return OK;
}

bool
conf_lists(const char *list, struct slice schema, struct slice table)
{
	char name[300];
	int n = snprintf(name, sizeof name, "%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(table));

	for (const char *p = list; p && *p && n > 0 && n < (int)sizeof name; p += *p == ',') {
		struct slice entry = { p, strcspn(p, ",") };

		if (pattern_glob(entry, (struct slice){ name, (size_t)n }))
			return true;
		p += entry.n;
	}
	return false;
}

struct slice
conf_of_table(const char *lines, struct slice schema, struct slice table)
{
	struct slice found = { "", 0 };
	char name[300];
	int n = snprintf(name, sizeof name, "%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(table));

	for (const char *p = lines; p && *p && n > 0 && n < (int)sizeof name; p += *p == '\n') {
		struct slice line = { p, strcspn(p, "\n") };
		const char *equal = memchr(p, '=', line.n);

		p += line.n;
		if (equal && pattern_glob((struct slice){ line.p, (size_t)(equal - line.p) }, (struct slice){ name, (size_t)n }))
			found = (struct slice){ equal + 1, (size_t)(p - equal - 1) };
	}
	return found;
}

static enum rc
check_salt(struct conf_loader *ld, const struct conf_place *at)
{
	const char *mask = ld->conf->columns_mask;

	if (mask && strstr(mask, "=hash") && !ld->conf->columns_salt)
		return conf_fail(ld, at,
		    "columns.mask: hash needs columns.salt, or anybody could hash his guesses; set it to ${NAME} or ${file:PATH}");
	return OK;
}

static enum rc
check_outbox(struct conf_loader *ld, const struct conf_place *at)
{
	struct conf *c = ld->conf;
	struct slice name;
	char why[128];
	size_t where;

	if (c->outbox_regex && !c->outbox_groups)
		c->outbox_groups = pattern_compile_bare(c->outbox_regex, why, &where);
	if (c->outbox_regex && !c->outbox_groups)
		return conf_fail(ld, at, "outbox.regex '%.60s' is no regular expression: %s at its character %zu", c->outbox_regex, why,
		    where + 1);
	name = pattern_unknown(c->outbox_groups, c->outbox_topic);
	return name.n ? conf_fail(ld, at, "outbox.topic: {%.*s} is neither {route} nor a group of outbox.regex", SLICE_ARG(name)) : OK;
}

/* The next "LEFT=RIGHT" of a list with commas; false: none. */
static bool
next_pair(const char **list, struct slice *left, struct slice *right)
{
	const char *p = *list ? *list + strspn(*list, ",") : "", *equal = strchr(p, '=');
	size_t n = strcspn(p, ",");

	if (!n || !equal)
		return false;
	*left = (struct slice){ p, (size_t)(equal - p) };
	*right = (struct slice){ equal + 1, n - left->n - 1 };
	*list = p + n;
	return true;
}

/* Do two tables, renamed so, come to one name? Those that keep their schemas do not, if the schemas differ. */
static bool
one_name(const struct conf_sink *s, struct slice left, struct slice right, struct slice left2, struct slice right2)
{
	bool kept = !memchr(right.p, '.', right.n) && !s->schema && strncmp(s->url, "sqlite:", 7) != 0;
	size_t n = (size_t)((const char *)memchr(left.p, '.', left.n) - left.p);

	return slice_eq(right, right2) && (!kept || (left2.n > n && memcmp(left.p, left2.p, n + 1) == 0));
}

/* A column may be renamed twice, under its old name and the one that the source has given it since: they come to one name here. */
static enum rc
check_renames(struct conf_loader *ld, const struct conf_sink *s, const struct conf_place *at)
{
	struct slice left, right, left2, right2;

	for (const char *p = s->rename; next_pair(&p, &left, &right);)
		for (const char *q = p; next_pair(&q, &left2, &right2);) {
			if (slice_eq(left, left2))
				return conf_fail(ld, at, "sinks.%s.rename: %.*s stands there twice", s->name, SLICE_ARG(left));
			if (one_name(s, left, right, left2, right2))
				return conf_fail(ld, at,
				    "sinks.%s.rename: %.*s and %.*s would both go to %.*s; give them names of their own", s->name,
				    SLICE_ARG(left), SLICE_ARG(left2), SLICE_ARG(right));
		}
	for (const char *p = s->columns_rename; next_pair(&p, &left, &right);)
		for (const char *q = p; next_pair(&q, &left2, &right2);)
			if (slice_eq(left, left2))
				return conf_fail(ld, at, "sinks.%s.columns.rename: %.*s stands there twice", s->name, SLICE_ARG(left));
	return OK;
}

/* Can a commit wait for this one? */
static enum rc
check_awaited(struct conf_loader *ld, const struct conf_place *at, struct conf_sink *s)
{
	if (strcmp(s->apply, "key") == 0)
		return conf_fail(ld, at,
		    "synchronous.sinks: '%s' has apply: key, where no transaction is ever whole; name the others only", s->name);
	if (s->delay_ms)
		return conf_fail(ld, at,
		    "synchronous.sinks: '%s' has a delay, for which every commit would wait; name the others only", s->name);
	s->awaited = true;
	return OK;
}

static bool
quorum_names(const struct quorum *q, const char *sink)
{
	for (int i = 0; i < q->nmembers; i++)
		if (strcmp(q->members[i], sink) == 0)
			return true;
	return !q->nmembers;
}

static enum rc
check_synchronous(struct conf_loader *ld, const struct conf_place *at)
{
	struct conf *c = ld->conf;
	struct quorum q;
	struct err err;

	if (c->synchronous == SYNC_OFF)
		return OK;
	if (c->source_url && strncmp(c->source_url, "sqlite:", 7) == 0)
		return conf_fail(ld, at, "synchronous.mode needs a PostgreSQL as the source: it is PostgreSQL that makes a commit wait");
	if (strcmp(c->brokers, "embedded") == 0)
		return conf_fail(ld, at, "synchronous.mode needs a real Kafka: what the embedded broker has is gone with its process");
	if (c->synchronous != SYNC_APPLIED)
		return OK;
	if (quorum_parse(c->synchronous_sinks, &c->arena, &q, &err) != OK)
		return conf_fail(ld, at, "synchronous.sinks: %s", err.text);
	if (!c->nsinks)
		return conf_fail(ld, at, "synchronous.mode: applied waits for sinks, and there are none; add 'sinks: { NAME: URL }'");
	for (int i = 0; i < c->nsinks; i++)
		if (quorum_names(&q, c->sinks[i].name) && check_awaited(ld, at, &c->sinks[i]))
			return FATAL;
	/* Who waits for sinks must know them. Where there is no source some of them may be, and others elsewhere. */
	for (int i = 0; i < q.nmembers; i++)
		if (c->source_url && !conf_sink(c, q.members[i]))
			return conf_fail(ld, at, "synchronous.sinks: there is no sink '%s'; add it to 'sinks:'", q.members[i]);
	return OK;
}

/* Where the sinks' rows come from, if not from us. */
static enum rc
check_foreign(struct conf_loader *ld, const struct conf_place *at)
{
	const struct conf *c = ld->conf;

	if (!c->foreign_topics && c->foreign_transactions)
		return conf_fail(ld, at, "foreign.transactions alone feeds no sink; add foreign.topics");
	if (!c->foreign_topics)
		return OK;
	if (c->source_url)
		return conf_fail(ld, at,
		    "there is a source as well as foreign.topics; a sink is fed from one of them, so make a file for each");
	if (!c->nsinks)
		return conf_fail(ld, at, "foreign.topics feeds no sink; add 'sinks: { NAME: URL }'");
	if (!c->registry)
		return conf_fail(ld, at, "foreign.topics needs the registry that their schemas are in; add 'schemas: URL'");
	if (strcmp(c->brokers, "embedded") == 0)
		return conf_fail(ld, at, "foreign.topics needs a real Kafka; set kafka.brokers to HOST:PORT");
	for (int i = 0; i < c->nsinks; i++)
		if (c->sinks[i].delay_ms)
			return conf_fail(ld, &ld->sink_places[i],
			    "sink '%s' cannot be delayed: delay works with Towline's own topics only", c->sinks[i].name);
	for (int i = 0; i < c->nsinks; i++) {
		struct conf_target to = conf_target_sink(ld->conf, &ld->conf->sinks[i]);
		const char *origin = c->sinks[i].origins[conf_option_find(&to, "apply") - to.options];

		if (strcmp(origin, "default") == 0 && !c->foreign_transactions)
			c->sinks[i].apply = "key";
		else if (strcmp(c->sinks[i].apply, "transaction") == 0 && !c->foreign_transactions)
			return conf_fail(ld, &ld->sink_places[i],
			    "sink '%s' cannot apply whole transactions, as nothing tells of them; add "
			    "foreign.transactions, or set apply: key",
			    c->sinks[i].name);
	}
	return OK;
}

static enum rc
check_whole(struct conf_loader *ld)
{
	struct conf *c = ld->conf;
	struct conf_place at = { .what = c->path ? c->path : "configuration" };

	if (!c->name)
		return conf_fail(ld, &at, "there is no name; add 'name: NAME', the prefix of the topics");
	for (int i = 0; i < c->nsinks; i++)
		if (!c->sinks[i].url)
			return conf_fail(ld, &ld->sink_places[i], "sink '%s' has no url; add 'url: postgres://...' or 'url: sqlite:PATH'",
			    c->sinks[i].name);
	for (int i = 0; i < c->nsinks; i++)
		for (int k = 0; k < i; k++)
			if (strcmp(c->sinks[i].url, c->sinks[k].url) == 0)
				return conf_fail(ld, &ld->sink_places[i],
				    "sinks '%s' and '%s' are one database, which keeps one place of a pipeline: give each one of its own",
				    c->sinks[k].name, c->sinks[i].name);
	for (int i = 0; i < c->nsinks; i++)
		if (check_renames(ld, &c->sinks[i], &ld->sink_places[i]))
			return FATAL;
	if (!c->source_url && !c->nsinks)
		return conf_fail(ld, &at, "there is neither a source nor a sink; add 'source: URL' or 'sinks: { NAME: URL }'");
	if (c->source_url && c->rows && strncmp(c->source_url, "sqlite:", 7) == 0)
		return conf_fail(ld, &at, "'rows:' are row filters of a PostgreSQL's publication, and the source is SQLite; take them out");
	/* Two long names could be cut to the same slot, and then steal each other's changes. */
	if (c->source_url && !c->slot && strlen("towline_") + strlen(c->name) > IDENT_MAX)
		return conf_fail(ld, &at, "the name is too long to make a slot's name of it; add 'source: { slot: NAME }'");
	if (check_foreign(ld, &at) || check_salt(ld, &at) || check_synchronous(ld, &at) || check_outbox(ld, &at))
		return FATAL;
	return check_kafka(ld, &at);
}

static enum rc
read_conf_file(struct conf_loader *ld, const char *path)
{
	struct conf *c = ld->conf;
	struct conf_place at;
	struct slice text;
	const char *why;

	c->path = arena_text(&c->arena, slice_of(path));
	at = (struct conf_place){ .what = c->path };
	if (!conf_read_file(&c->arena, path, FILE_MAX, &text, &why))
		return conf_fail(ld, &at, "cannot read the configuration: %s", why);
	return conf_yaml(ld, c->path, text);
}

enum rc
conf_load(struct conf *c, const char *path, const char *const *sets, int nsets, struct err *err)
{
	struct conf_loader ld = { .conf = c, .err = err };
	struct conf_target root;
	enum rc rc;

	c->origins = arena_array(&c->arena, (size_t)conf_noptions, sizeof *c->origins);
	root = conf_target_root(c);
	rc = conf_set_defaults(&ld, &root);
	if (rc == OK && path)
		rc = read_conf_file(&ld, path);
	if (rc == OK)
		rc = apply_environment(&ld);
	for (int i = 0; i < nsets && rc == OK; i++)
		rc = apply_set(&ld, sets[i]);
	if (rc == OK)
		rc = check_whole(&ld);
	if (rc == OK)
		derive(c);
	return rc;
}

enum rc
conf_sink_new(struct conf *own, const char *name, const char *url, int64_t delay_ms, const struct conf_sink **out, struct err *err)
{
	struct conf_loader ld = { .conf = own, .err = err };
	struct conf_place at = { .what = "replica" };
	struct conf_item item = { .at = at, .text = arena_text(&own->arena, slice_of(url)) };
	struct conf_target to;
	struct conf_sink *s = NULL;
	enum rc rc;

	/* One at a time: those before keep their place in memory. */
	own->sinks = NULL;
	own->nsinks = 0;
	rc = conf_sink_add(&ld, name, &at, &s);
	if (rc != OK)
		return rc;
	to = conf_target_sink(own, s);
	rc = conf_set(&ld, &to, conf_option_find(&to, "url"), &item, 1, false);
	s->delay_ms = delay_ms;
	*out = s;
	return rc;
}

void
conf_free(struct conf *c)
{
	struct arena a = c->arena;

	for (int i = 0; i < c->ntables; i++)
		pattern_free(c->tables[i].regex);
	for (int k = 0; k < c->nsinks; k++)
		for (int i = 0; i < c->sinks[k].ntables; i++)
			pattern_free(c->sinks[k].tables[i].regex);
	pattern_free(c->outbox_groups);
	arena_free(&a);
	*c = (struct conf){ 0 };
}

const struct conf_sink *
conf_sink(const struct conf *c, const char *name)
{
	for (int i = 0; i < c->nsinks; i++)
		if (strcmp(c->sinks[i].name, name) == 0)
			return &c->sinks[i];
	return NULL;
}

struct slice
conf_schema(const struct conf *c)
{
	return c->source_url && strncmp(c->source_url, "sqlite:", 7) == 0 ? SLICE_LIT("main") : SLICE_LIT("public");
}

/* ---- table patterns ---- */

static bool
wants(const struct conf_table *t, int n, struct slice schema, struct slice table)
{
	for (int i = n - 1; i >= 0; i--)
		if (pattern_matches(t[i].pattern, t[i].regex, schema, table))
			return !t[i].exclude;
	return n == 0 || t[0].exclude;
}

bool
conf_wants(const struct conf *c, struct slice schema, struct slice table)
{
	return wants(c->tables, c->ntables, schema, table);
}

bool
conf_sink_wants(const struct conf_sink *s, struct slice schema, struct slice table)
{
	return wants(s->tables, s->ntables, schema, table);
}
