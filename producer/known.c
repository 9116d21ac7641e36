#include "producer/known.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/control.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { OPEN_MS = 5000, READ_MS = 30000, WAIT_MS = 200, WRITE_MS = 10000 };

#define PREFIX "lineage/"

struct entry {
	uint32_t relid;
	struct table *tbl; /* NULL: forgotten */
	uint64_t lsn;
	bool asked;
	UT_hash_handle hh;
};

struct note {
	const struct table *tbl;
	uint64_t lsn;
};

struct known {
	struct arena arena;
	struct control *control;
	uint64_t system_id;
	const char *database;
	struct entry *entries;
	struct note *notes; /* in the order of the versions */
	int nnotes, cap;
};

/* ---- a version as JSON ---- */

static json_t *
columns_json(const struct table *tbl)
{
	json_t *list = json_array();

	for (int i = 0; i < tbl->ncols; i++) {
		const struct column *c = &tbl->cols[i];

		json_array_append_new(list,
		    json_pack("[s#,i,I,i]", c->name.p, (int)c->name.n, c->attnum, (json_int_t)c->typid, (int)c->typmod));
	}
	return list;
}

static json_t *
key_json(const struct table *tbl)
{
	json_t *list = json_array();

	for (int i = 0; i < tbl->nkeys; i++)
		json_array_append_new(list, json_stringn(tbl->cols[tbl->keys[i]].name.p, tbl->cols[tbl->keys[i]].name.n));
	return list;
}

/* To be freed; NULL: a name that is no UTF-8. */
static char *
version_json(const struct known *k, const struct note *n)
{
	char id[24];
	json_t *o;
	char *text;

	snprintf(id, sizeof id, "%" PRIu64, k->system_id);
	o = json_pack("{s:s,s:s,s:I,s:s#,s:s#,s:o,s:o}", "system_id", id, "database", k->database, "lsn", (json_int_t)n->lsn,
	    "schema", n->tbl->schema.p, (int)n->tbl->schema.n, "table", n->tbl->name.p, (int)n->tbl->name.n, "key", key_json(n->tbl),
	    "columns", columns_json(n->tbl));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static bool
read_text(struct known *k, const json_t *v, struct slice *out)
{
	if (json_is_string(v))
		*out = arena_slice(&k->arena, (struct slice){ json_string_value(v), json_string_length(v) });
	return json_is_string(v);
}

/* false: it is not understood. */
static bool
read_version(struct known *k, const json_t *o, struct table *t)
{
	json_t *columns = json_object_get(o, "columns"), *keys = json_object_get(o, "key"), *v;
	struct slice name;
	bool good = read_text(k, json_object_get(o, "schema"), &t->schema) && read_text(k, json_object_get(o, "table"), &t->name);
	size_t i;

	t->cols = arena_array(&k->arena, json_array_size(columns) + 1, sizeof *t->cols);
	t->keys = arena_array(&k->arena, json_array_size(keys) + 1, sizeof *t->keys);
	json_array_foreach(columns, i, v) {
		struct column *c = &t->cols[t->ncols++];

		good = good && read_text(k, json_array_get(v, 0), &c->name);
		c->attnum = (int)json_integer_value(json_array_get(v, 1));
		c->typid = (uint32_t)json_integer_value(json_array_get(v, 2));
		c->typmod = (int32_t)json_integer_value(json_array_get(v, 3));
	}
	json_array_foreach(keys, i, v) {
		good = good && read_text(k, v, &name) && (t->keys[t->nkeys++] = table_column(t, name)) >= 0;
	}
	return good && t->ncols > 0;
}

/* ---- reading ---- */

static struct entry *
entry_of(const struct known *k, uint32_t relid)
{
	struct entry *e;

	HASH_FIND(hh, k->entries, &relid, sizeof relid, e);
	return e;
}

/* A record of the topic: of another kind, another database, or not understood, it says nothing. */
static void
take(struct known *k, const struct control_record *r)
{
	size_t n = sizeof PREFIX - 1;
	const char *text = arena_text(&k->arena, r->key), *id, *database;
	json_t *o;
	struct table *t;
	struct entry *e;
	char *end;
	uint32_t relid;

	if (r->key.n <= n || memcmp(text, PREFIX, n) != 0)
		return;
	relid = (uint32_t)strtoul(text + n, &end, 10);
	e = *end ? NULL : entry_of(k, relid);
	if (*end || (!r->value.n && !e))
		return;
	o = r->value.n ? json_loadb(r->value.p, r->value.n, 0, NULL) : NULL;
	id = json_string_value(json_object_get(o, "system_id"));
	database = json_string_value(json_object_get(o, "database"));
	t = arena_new(&k->arena, struct table);
	t->relid = relid;
	if (!e) {
		e = arena_new(&k->arena, struct entry);
		e->relid = relid;
		HASH_ADD(hh, k->entries, relid, sizeof e->relid, e);
	}
	e->tbl = NULL;
	if (id && database && strtoull(id, NULL, 10) == k->system_id && strcmp(database, k->database) == 0 && read_version(k, o, t)) {
		e->tbl = t;
		e->lsn = (uint64_t)json_integer_value(json_object_get(o, "lsn"));
	}
	json_decref(o);
}

static enum rc
read_all(struct known *k, struct err *err)
{
	struct control_record r;
	enum rc rc;

	while ((rc = control_held(k->control, READ_MS, &r, err)) == OK)
		take(k, &r);
	return rc == AGAIN ? OK : rc;
}

/* A topic that was made just now may have no leader for a moment: that is no reason to begin the session anew. */
static enum rc
open_topic(const struct kafka *kafka, struct control **out, struct err *err)
{
	int64_t until = now_ms() + OPEN_MS;
	enum rc rc;

	while ((rc = control_open(kafka, CONTROL_ALL, true, out, err)) == RETRY && now_ms() < until && !stop_requested())
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, WAIT_MS);
	return rc;
}

enum rc
known_open(const struct kafka *kafka, uint64_t system_id, const char *database, struct known **out, struct err *err)
{
	struct known *k = calloc(1, sizeof *k);
	enum rc rc;

	if (!k)
		die("out of memory");
	k->system_id = system_id;
	k->database = arena_text(&k->arena, slice_of(database));
	rc = open_topic(kafka, &k->control, err);
	if (rc == OK)
		rc = read_all(k, err);
	if (rc != OK) {
		known_close(k);
		return rc;
	}
	*out = k;
	return OK;
}

void
known_close(struct known *k)
{
	if (!k)
		return;
	HASH_CLEAR(hh, k->entries);
	control_close(k->control);
	arena_free(&k->arena);
	free(k->notes);
	free(k);
}

/* ---- what was ---- */

const struct table *
known_table(struct known *k, uint32_t relid, uint64_t lsn)
{
	struct entry *e = k ? entry_of(k, relid) : NULL;

	if (!e)
		return NULL;
	e->asked = true;
	return e->lsn < lsn ? e->tbl : NULL;
}

const struct table *
known_namesake(const struct known *k, uint32_t relid, struct slice schema, struct slice name)
{
	for (const struct entry *e = k ? k->entries : NULL; e; e = e->hh.next)
		if (e->tbl && !e->asked && e->relid != relid && slice_eq(e->tbl->schema, schema) && slice_eq(e->tbl->name, name))
			return e->tbl;
	return NULL;
}

/* ---- what is ---- */

void
known_note(struct known *k, const struct table *tbl, uint64_t lsn)
{
	if (!k)
		return;
	if (k->nnotes == k->cap) {
		k->cap = k->cap ? k->cap * 2 : 16;
		k->notes = realloc(k->notes, (size_t)k->cap * sizeof *k->notes);
		if (!k->notes)
			die("out of memory");
	}
	k->notes[k->nnotes++] = (struct note){ tbl, lsn };
}

void
known_drop(struct known *k, const struct table *tbl)
{
	int left = 0;

	for (int i = 0; k && i < k->nnotes; i++)
		if (k->notes[i].tbl != tbl)
			k->notes[left++] = k->notes[i];
	if (k)
		k->nnotes = left;
}

static enum rc
put(struct known *k, const struct note *n, struct err *err)
{
	char key[sizeof PREFIX + 12], *text = version_json(k, n);
	enum rc rc = OK;

	snprintf(key, sizeof key, PREFIX "%" PRIu32, n->tbl->relid);
	if (text)
		rc = control_put(k->control, key, slice_of(text), err);
	free(text);
	return rc;
}

/* The newest note of the relation that is safe makes those before it void. */
static bool
is_void(const struct known *k, int i, uint64_t lsn)
{
	for (int j = i + 1; j < k->nnotes; j++)
		if (k->notes[j].lsn <= lsn && k->notes[j].tbl->relid == k->notes[i].tbl->relid)
			return true;
	return false;
}

enum rc
known_keep(struct known *k, uint64_t lsn, struct err *err)
{
	int left = 0, n = k ? k->nnotes : 0, i = 0;
	enum rc rc = OK;

	while (i < n && k->notes[i].lsn > lsn)
		i++;
	if (i == n) /* as nearly always */
		return OK;
	for (i = 0; i < n && rc == OK; i++) {
		if (is_void(k, i, lsn))
			continue;
		if (k->notes[i].lsn > lsn) {
			k->notes[left++] = k->notes[i];
			continue;
		}
		rc = put(k, &k->notes[i], err);
	}
	if (rc != OK)
		return rc;
	k->nnotes = left;
	return control_flush(k->control, WRITE_MS, err);
}
