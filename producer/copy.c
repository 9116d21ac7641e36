#include "producer/copy.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[] = {
	[COPY_NONE] = "none",
	[COPY_WAITING] = "waiting",
	[COPY_RUNNING] = "copying",
	[COPY_PAUSED] = "paused",
	[COPY_DONE] = "done",
	[COPY_CANCELLED] = "cancelled",
	[COPY_FAILED] = "failed",
	[COPY_STOPPED] = "stopped",
};

bool
copy_open(const struct copy *c)
{
	return c->state == COPY_WAITING || c->state == COPY_RUNNING || c->state == COPY_PAUSED;
}

const char *
copy_state_name(enum copy_state state)
{
	return names[state];
}

char *
copy_name(struct arena *a, struct slice schema, struct slice table)
{
	char *name = arena_alloc(a, schema.n * 2 + table.n + 2), *at = name;

	for (size_t i = 0; i < schema.n; i++) {
		if (schema.p[i] == '.' || schema.p[i] == '\\')
			*at++ = '\\';
		*at++ = schema.p[i];
	}
	*at++ = '.';
	memcpy(at, table.p, table.n);
	at[table.n] = '\0';
	return name;
}

bool
copy_name_split(struct slice name, struct arena *a, struct slice *schema, struct slice *table)
{
	char *out = arena_alloc(a, name.n + 1);
	size_t i = 0, n = 0;

	for (; i < name.n && name.p[i] != '.'; i++) {
		i += name.p[i] == '\\' && i + 1 < name.n;
		out[n++] = name.p[i];
	}
	out[n] = '\0';
	*schema = (struct slice){ out, n };
	*table = i < name.n ? (struct slice){ name.p + i + 1, name.n - i - 1 } : (struct slice){ NULL, 0 };
	return i < name.n;
}

void
copy_text(char **at, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		die("out of memory");
	free(*at);
	*at = copy;
}

static void
drop_ranges(struct copy *c)
{
	for (int i = 0; i < c->nranges; i++) {
		free(c->ranges[i].from);
		free(c->ranges[i].to);
		free(c->ranges[i].at);
	}
	free(c->ranges);
	c->ranges = NULL;
	c->nranges = 0;
}

void
copy_free(struct copy *c)
{
	drop_ranges(c);
	free(c->reason);
	free(c->where);
	free(c->key);
	free(c->command);
	free(c->seen);
	*c = (struct copy){ 0 };
}

void
copy_restart(struct copy *c, const char *where, struct copy_place begun)
{
	struct copy_place whole = c->whole, upto = c->upto;
	bool empty = c->empty;
	char *command = c->command, *condition = where ? strdup(where) : NULL;

	if (where && !condition)
		die("out of memory");
	c->command = NULL;
	copy_free(c);
	*c = (struct copy){ .state = COPY_WAITING, .where = condition, .command = command, .empty = empty, .begun = begun,
		.whole = whole, .upto = upto };
}

void
copy_complete(struct copy *c, struct copy_place upto)
{
	if (c->where)
		return;
	c->whole = c->begun;
	c->upto = upto;
}

bool
copy_adopt(struct copy *c, struct copy_place upto)
{
	if (!c->whole.gen || c->upto.gen)
		return false;
	c->upto = upto;
	return true;
}

static void
make_ranges(struct copy *c, int n)
{
	drop_ranges(c);
	c->nranges = n;
	c->ranges = calloc((size_t)n, sizeof *c->ranges);
	if (!c->ranges)
		die("out of memory");
}

void
copy_set_ranges(struct copy *c, char *const *bounds, int nbounds)
{
	make_ranges(c, nbounds + 1);
	for (int i = 0; i < nbounds; i++) {
		copy_text(&c->ranges[i].to, bounds[i]);
		copy_text(&c->ranges[i + 1].from, bounds[i]);
	}
}

/* ---- JSON ---- */

/* The array that a text of ours is; null for none. */
static json_t *
array_of(const char *text)
{
	json_t *j = text ? json_loads(text, 0, NULL) : NULL;

	return j ? j : json_null();
}

static void
dump(struct buf *out, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	if (!text)
		die("out of memory");
	buf_text(out, text);
	free(text);
	json_decref(o);
}

void
copy_put(struct buf *out, const struct copy *c)
{
	json_t *ranges = json_array(), *o;
	char since[24];

	snprintf(since, sizeof since, "%" PRIu64, c->since);
	for (int i = 0; i < c->nranges; i++) {
		const struct copy_range *r = &c->ranges[i];

		o = json_pack("{s:o,s:o,s:o,s:b}", "from", array_of(r->from), "to", array_of(r->to), "at",
		    array_of(r->at), "done", r->done);
		json_array_append_new(ranges, o);
	}
	o = json_pack("{s:s,s:s,s:s?,s:I,s:b,s:b,s:s?,s:s,s:o,s:I,s:I,s:I,s:I,s:s?,s:o,s:[I,I],s:[I,I],s:[I,I]}",
	    "state", names[c->state], "reason", c->reason ? c->reason : "", "where", c->where, "relid", (json_int_t)c->relid,
	    "again", c->again, "empty", c->empty, "seen", c->seen, "since", since,
	    "key", array_of(c->key), "rows", (json_int_t)c->rows, "estimate", (json_int_t)c->estimate,
	    "began_ms", (json_int_t)c->began_ms, "ended_ms", (json_int_t)c->ended_ms, "command", c->command, "ranges", ranges,
	    "begun", (json_int_t)c->begun.gen, (json_int_t)c->begun.no, "whole", (json_int_t)c->whole.gen, (json_int_t)c->whole.no,
	    "upto", (json_int_t)c->upto.gen, (json_int_t)c->upto.no);
	dump(out, o);
}

/* An array of texts as text again; NULL: it is none. */
static char *
texts_of(const json_t *j)
{
	json_t *v;
	size_t i;

	if (!json_is_array(j))
		return NULL;
	json_array_foreach (j, i, v)
		if (!json_is_string(v))
			return NULL;
	return json_dumps(j, JSON_COMPACT);
}

static enum rc
take_state(const json_t *o, struct copy *c)
{
	const char *state = json_string_value(json_object_get(o, "state"));

	for (size_t i = 0; state && i < COUNTOF(names); i++)
		if (strcmp(names[i], state) == 0) {
			c->state = (enum copy_state)i;
			return OK;
		}
	return REJECT;
}

static struct copy_place
place_of(const json_t *j)
{
	return (struct copy_place){ .gen = (uint64_t)json_integer_value(json_array_get(j, 0)),
		.no = (uint64_t)json_integer_value(json_array_get(j, 1)) };
}

static void
take_ranges(const json_t *ranges, struct copy *c)
{
	make_ranges(c, (int)json_array_size(ranges));
	for (int i = 0; i < c->nranges; i++) {
		const json_t *r = json_array_get(ranges, (size_t)i);

		c->ranges[i] = (struct copy_range){ .from = texts_of(json_object_get(r, "from")), .to = texts_of(json_object_get(r, "to")),
			.at = texts_of(json_object_get(r, "at")), .done = json_is_true(json_object_get(r, "done")) };
	}
}

enum rc
copy_take(struct slice json, struct copy *c, struct err *err)
{
	json_t *o = json_loadb(json.p, json.n, 0, NULL);
	const char *since = json_string_value(json_object_get(o, "since"));
	const json_t *ranges = json_object_get(o, "ranges");

	copy_free(c);
	if (!json_is_object(o) || take_state(o, c) != OK || (ranges && !json_is_array(ranges))) {
		json_decref(o);
		return fail(err, REJECT, "a record of a copy in the control topic makes no sense");
	}
	copy_text(&c->reason, json_string_value(json_object_get(o, "reason")));
	copy_text(&c->where, json_string_value(json_object_get(o, "where")));
	copy_text(&c->command, json_string_value(json_object_get(o, "command")));
	copy_text(&c->seen, json_string_value(json_object_get(o, "seen")));
	c->again = json_is_true(json_object_get(o, "again"));
	c->empty = json_is_true(json_object_get(o, "empty"));
	c->key = texts_of(json_object_get(o, "key"));
	c->relid = (uint32_t)json_integer_value(json_object_get(o, "relid"));
	c->since = since ? strtoull(since, NULL, 10) : 0;
	c->rows = json_integer_value(json_object_get(o, "rows"));
	c->estimate = json_integer_value(json_object_get(o, "estimate"));
	c->began_ms = json_integer_value(json_object_get(o, "began_ms"));
	c->ended_ms = json_integer_value(json_object_get(o, "ended_ms"));
	c->begun = place_of(json_object_get(o, "begun"));
	c->whole = place_of(json_object_get(o, "whole"));
	c->upto = place_of(json_object_get(o, "upto"));
	if (ranges && json_array_size(ranges))
		take_ranges(ranges, c);
	json_decref(o);
	return OK;
}

void
copy_command_put(struct buf *out, const struct copy_command *c)
{
	dump(out, json_pack("{s:s,s:s,s:s?}", "id", c->id, "verb", c->verb, "where", c->where));
}

enum rc
copy_command_take(struct slice json, struct copy_command *c, struct err *err)
{
	json_t *o = json_loadb(json.p, json.n, 0, NULL);
	const char *verb = json_string_value(json_object_get(o, "verb")), *id = json_string_value(json_object_get(o, "id"));
	enum rc rc = OK;

	*c = (struct copy_command){ 0 };
	if (!verb || !id || strlen(verb) >= sizeof c->verb || strlen(id) >= sizeof c->id) {
		rc = fail(err, REJECT, "a command in the control topic makes no sense");
	} else {
		snprintf(c->verb, sizeof c->verb, "%s", verb);
		snprintf(c->id, sizeof c->id, "%s", id);
		copy_text(&c->where, json_string_value(json_object_get(o, "where")));
	}
	json_decref(o);
	return rc;
}
