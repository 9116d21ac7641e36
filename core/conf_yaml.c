/*
 * The configuration file. libfyaml gives a tree whose scalars know their line and column; the tree is walked
 * with the table of options at hand. A mapping or list has no place of its own: the place of its key stands for it.
 */
#include "core/conf_option.h"

#include <libfyaml.h>

enum { MAP_MAX = 1000, LIST_MAX = 10000 };

struct yaml {
	struct conf_loader *ld;
	const char *path;
	struct slice text;
	struct conf_target root;
};

static struct conf_place
place(struct yaml *y, int line, int col)
{
	const char *origin = arena_printf(&y->ld->conf->arena, "%s:%d", y->path, line);

	return (struct conf_place){ y->path, origin, y->text, line, col };
}

/* Where a scalar stands; the other nodes, and nothing at all, stand where `near` does. */
static struct conf_place
place_of(struct yaml *y, struct fy_node *node, const struct conf_place *near)
{
	struct fy_token *tok = node ? fy_node_get_scalar_token(node) : NULL;
	const struct fy_mark *mark = tok ? fy_token_start_mark(tok) : NULL;

	return mark ? place(y, mark->line + 1, mark->column + 1) : *near;
}

/* Nothing, "~" or "null": as if the key were not there, so that all that follows it may be commented out. */
static bool
is_null(struct fy_node *node)
{
	size_t n;
	const char *s;

	if (fy_node_is_null(node))
		return fy_node_get_tag_token(node) == NULL;
	if (fy_node_get_type(node) != FYNT_SCALAR || fy_node_get_style(node) != FYNS_PLAIN)
		return false;
	s = fy_node_get_scalar(node, &n);
	return (n == 1 && *s == '~') || (n == 4 && memcmp(s, "null", 4) == 0);
}

/* A scalar, expanded, with its place. !x and *x without quotes mean other things in YAML than in a table pattern. */
static enum rc
read_item(struct yaml *y, struct fy_node *node, const struct conf_place *near, const char *what, struct conf_item *out)
{
	const char *s = "";
	size_t n = 0;

	out->at = place_of(y, node, near);
	if (fy_node_get_tag_token(node))
		return conf_fail(y->ld, &out->at, "a value that begins with '!' must stand in quotes: \"!...\"");
	if (fy_node_is_alias(node))
		return conf_fail(y->ld, &out->at,
		    "a value that begins with '*' must stand in quotes: \"*...\" (aliases are not supported)");
	if (!fy_node_is_scalar(node))
		return conf_fail(y->ld, &out->at, "%s must be one value, not a %s", what, fy_node_is_mapping(node) ? "mapping" : "list");
	if (!fy_node_is_null(node))
		s = fy_node_get_scalar(node, &n);
	return conf_expand(y->ld, &out->at, (struct slice){ s, n }, &out->text);
}

/* The key of a pair as text, after a look that the mapping does not have it before. */
static enum rc
read_key(struct yaml *y, struct fy_node *map, struct fy_node_pair *pair, const struct conf_place *near, const char **key,
    struct conf_place *at)
{
	struct fy_node *node = fy_node_pair_key(pair), *first;
	struct fy_node_pair *other;
	void *it = NULL;
	size_t n, m;
	const char *s, *t;

	*at = place_of(y, node, near);
	if (fy_node_get_type(node) != FYNT_SCALAR || fy_node_is_alias(node) || fy_node_is_null(node))
		return conf_fail(y->ld, at, "a key must be plain text");
	s = fy_node_get_scalar(node, &n);
	while ((other = fy_node_mapping_iterate(map, &it)) && other != pair) {
		first = fy_node_pair_key(other);
		t = fy_node_get_scalar(first, &m);
		if (m == n && memcmp(s, t, n) == 0)
			return conf_fail(y->ld, at, "key '%.*s' stands here twice; first in line %d", n > 60 ? 60 : (int)n, s,
			    place_of(y, first, near).line);
	}
	*key = arena_text(&y->ld->conf->arena, (struct slice){ s, n });
	return OK;
}

static enum rc
set_pairs(struct yaml *y, struct fy_node *map, const struct conf_option *opt, const struct conf_place *near)
{
	struct conf_place at;
	struct conf_item item;
	struct fy_node_pair *pair;
	const char *key;
	void *it = NULL;
	enum rc rc = OK;

	y->root.origins[opt - y->root.options] = near->origin;
	if (fy_node_mapping_item_count(map) > MAP_MAX)
		return conf_fail(y->ld, near, "%s has more than %d keys", opt->path, MAP_MAX);
	while (rc == OK && (pair = fy_node_mapping_iterate(map, &it))) {
		rc = read_key(y, map, pair, near, &key, &at);
		if (rc == OK && !is_null(fy_node_pair_value(pair)))
			rc = read_item(y, fy_node_pair_value(pair), &at,
			    arena_printf(&y->ld->conf->arena, "%s.%.60s", opt->path, key), &item);
		else
			continue;
		if (rc == OK)
			rc = conf_set_pair(y->ld, key, &item);
	}
	return rc;
}

static enum rc
set_list(struct yaml *y, const struct conf_target *to, const struct conf_option *opt, struct fy_node *list,
    const struct conf_place *near)
{
	int n = fy_node_sequence_item_count(list), i = 0;
	struct conf_item *items = arena_array(&y->ld->conf->arena, (size_t)n + 1, sizeof *items);
	const char *what = arena_printf(&y->ld->conf->arena, "an item of %s%s", to->prefix, opt->path);
	struct fy_node *node;
	void *it = NULL;
	enum rc rc = OK;

	if (n > LIST_MAX)
		return conf_fail(y->ld, near, "%s%s has more than %d items", to->prefix, opt->path, LIST_MAX);
	items[0] = (struct conf_item){ *near, "" };
	while (rc == OK && (node = fy_node_sequence_iterate(list, &it)))
		rc = read_item(y, node, near, what, &items[i++]);
	/* The list begins where its key stands; without a first item there is no other place. */
	return rc == OK ? conf_set(y->ld, to, opt, items, n, true) : rc;
}

/* A mapping as the list of its KEY=VALUE. */
static enum rc
set_mapping(struct yaml *y, const struct conf_target *to, const struct conf_option *opt, struct fy_node *map,
    const struct conf_place *near)
{
	struct arena *a = &y->ld->conf->arena;
	int n = fy_node_mapping_item_count(map), i = 0;
	struct conf_item *items = arena_array(a, (size_t)n + 1, sizeof *items);
	struct conf_place at;
	struct fy_node_pair *pair;
	const char *key;
	void *it = NULL;
	enum rc rc = OK;

	if (n > LIST_MAX)
		return conf_fail(y->ld, near, "%s%s has more than %d keys", to->prefix, opt->path, LIST_MAX);
	items[0] = (struct conf_item){ *near, "" };
	while (rc == OK && (pair = fy_node_mapping_iterate(map, &it))) {
		rc = read_key(y, map, pair, near, &key, &at);
		if (rc == OK)
			rc = read_item(
			    y, fy_node_pair_value(pair), &at, arena_printf(a, "%s%s.%.60s", to->prefix, opt->path, key), &items[i]);
		if (rc == OK)
			items[i] = (struct conf_item){ at, arena_printf(a, "%s=%s", key, items[i].text) };
		i++;
	}
	return rc == OK ? conf_set(y->ld, to, opt, items, n, true) : rc;
}

static enum rc
set_option(struct yaml *y, const struct conf_target *to, const struct conf_option *opt, struct fy_node *node,
    const struct conf_place *key_at)
{
	struct conf_item item;
	enum rc rc;

	if (is_null(node))
		return OK;
	if (opt->type == CONF_PAIRS && fy_node_is_mapping(node))
		return set_pairs(y, node, opt, key_at);
	if (opt->flags & CONF_MAPPING && fy_node_is_mapping(node))
		return set_mapping(y, to, opt, node, key_at);
	if (fy_node_is_sequence(node))
		return set_list(y, to, opt, node, key_at);
	rc = read_item(y, node, key_at, arena_printf(&y->ld->conf->arena, "%s%s", to->prefix, opt->path), &item);
	return rc == OK ? conf_set(y->ld, to, opt, &item, 1, false) : rc;
}

/* A value of a section: more keys, or the section's one option in short. */
static enum rc walk(struct yaml *y, const struct conf_target *to, struct fy_node *map, const char *section,
    const struct conf_place *near);

static enum rc
walk_section(struct yaml *y, const struct conf_target *to, struct fy_node *node, const char *section,
    const struct conf_place *at)
{
	const struct conf_option *opt = conf_option_short(to, section);

	if (fy_node_is_mapping(node))
		return walk(y, to, node, section, at);
	if (is_null(node))
		return OK;
	if (!opt)
		return conf_fail(y->ld, at, "%s must be a mapping", section);
	return set_option(y, to, opt, node, at);
}

static enum rc
walk_sinks(struct yaml *y, struct fy_node *map, const struct conf_place *near)
{
	struct conf_sink *sink;
	struct conf_place at;
	struct fy_node_pair *pair;
	struct conf_target to;
	const char *name;
	void *it = NULL;
	enum rc rc = OK;

	if (is_null(map))
		return OK;
	if (!fy_node_is_mapping(map))
		return conf_fail(y->ld, near, "sinks must be a mapping of names to URLs; write 'sinks: { NAME: URL }'");
	if (fy_node_mapping_item_count(map) > MAP_MAX)
		return conf_fail(y->ld, near, "more than %d sinks", MAP_MAX);
	while (rc == OK && (pair = fy_node_mapping_iterate(map, &it))) {
		rc = read_key(y, map, pair, near, &name, &at);
		if (rc == OK)
			rc = conf_sink_add(y->ld, name, &at, &sink);
		if (rc == OK) {
			to = conf_target_sink(y->ld->conf, sink);
			rc = walk_section(y, &to, fy_node_pair_value(pair), "", &at);
		}
	}
	return rc;
}

static enum rc
walk(struct yaml *y, const struct conf_target *to, struct fy_node *map, const char *section, const struct conf_place *near)
{
	const struct conf_option *opt;
	struct fy_node_pair *pair;
	struct conf_place at;
	const char *key, *path;
	void *it = NULL;
	enum rc rc = OK;

	while (rc == OK && (pair = fy_node_mapping_iterate(map, &it))) {
		rc = read_key(y, map, pair, near, &key, &at);
		if (rc)
			return rc;
		path = *section ? arena_printf(&y->ld->conf->arena, "%s.%s", section, key) : key;
		opt = conf_option_find(to, path);
		if (opt)
			rc = set_option(y, to, opt, fy_node_pair_value(pair), &at);
		else if (to->base == y->ld->conf && strcmp(path, "sinks") == 0)
			rc = walk_sinks(y, fy_node_pair_value(pair), &at);
		else if (conf_is_section(to, path))
			rc = walk_section(y, to, fy_node_pair_value(pair), path, &at);
		else
			rc = conf_unknown(y->ld, to, section, key, &at);
	}
	return rc;
}

/* ---- reading ---- */

static void
discard(struct fy_diag *diag UNUSED, void *user UNUSED, const char *text UNUSED, size_t n UNUSED)
{
}

/* libfyaml's first complaint as ours. */
static enum rc
parse_fail(struct yaml *y, struct fy_diag *diag)
{
	void *it = NULL;
	struct fy_diag_error *e = fy_diag_errors_iterate(diag, &it);
	struct conf_place at = e && e->line > 0 ? place(y, e->line, e->column > 0 ? e->column : 1) : place(y, 1, 1);

	return conf_fail(y->ld, &at, "not valid YAML: %s", e && e->msg ? e->msg : "it cannot be read");
}

static enum rc
read_document(struct yaml *y, struct fy_parser *parser, struct fy_diag *diag, struct fy_document **doc)
{
	struct conf_place start = place(y, 1, 1);
	struct fy_document *second;

	if (fy_parser_set_string(parser, y->text.p, y->text.n))
		return parse_fail(y, diag);
	*doc = fy_parse_load_document(parser);
	if (!*doc && (fy_diag_got_error(diag) || fy_parser_get_stream_error(parser)))
		return parse_fail(y, diag);
	if (!*doc)
		return OK;
	second = fy_parse_load_document(parser);
	if (second) {
		fy_parse_document_destroy(parser, second);
		return conf_fail(y->ld, &start, "the file holds a second document after '---'; only one is read");
	}
	if (fy_diag_got_error(diag) || fy_parser_get_stream_error(parser))
		return parse_fail(y, diag);
	return OK;
}

enum rc
conf_yaml(struct conf_loader *ld, const char *path, struct slice text)
{
	struct yaml y = { ld, path, text, conf_target_root(ld->conf) };
	struct conf_place start = place(&y, 1, 1);
	struct fy_diag_cfg diag_cfg;
	struct fy_parse_cfg cfg = { .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_ALLOW_DUPLICATE_KEYS };
	struct fy_parser *parser = NULL;
	struct fy_document *doc = NULL;
	struct fy_diag *diag;
	struct fy_node *root;
	enum rc rc;

	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL; /* it would write to stderr by itself */
	diag_cfg.output_fn = discard;
	diag_cfg.colorize = false;
	diag = fy_diag_create(&diag_cfg);
	if (diag) {
		fy_diag_set_collect_errors(diag, true);
		cfg.diag = diag;
		parser = fy_parser_create(&cfg);
	}
	if (!parser)
		die("out of memory for the YAML parser");
	rc = read_document(&y, parser, diag, &doc);
	root = rc == OK && doc ? fy_document_root(doc) : NULL;
	if (rc == OK && root && !is_null(root))
		rc = fy_node_is_mapping(root) ? walk(&y, &y.root, root, "", &start) :
		    conf_fail(ld, &start, "the file must be a mapping of keys to values, as in 'name: inv'");
	if (doc)
		fy_parse_document_destroy(parser, doc);
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return rc;
}
