#include "consumer/names.h"
#include "core/quote.h"

#include <jansson.h>

/* The column of this name in the version before is this one. */
static bool
is_same(const struct table *tbl, const struct column *c)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (slice_eq(tbl->cols[i].was, c->name))
			return false;
	return !c->was.n && !c->fresh;
}

static void
put_list(const struct table *tbl, bool same, struct buf *out)
{
	const char *sep = "";

	buf_byte(out, '[');
	for (int i = 0; i < tbl->ncols; i++) {
		const struct column *c = &tbl->cols[i];

		if (is_same(tbl, c) != same)
			continue;
		buf_text(out, sep);
		quote_json(out, c->name);
		sep = ",";
	}
	buf_byte(out, ']');
}

void
names_put(const struct table *tbl, struct buf *out)
{
	buf_text(out, "{\"same\":");
	put_list(tbl, true, out);
	buf_text(out, ",\"other\":");
	put_list(tbl, false, out);
	buf_byte(out, '}');
}

static bool
lists(const json_t *o, const char *which, struct slice name)
{
	const json_t *v;
	size_t i;

	json_array_foreach (json_object_get(o, which), i, v)
		if (json_is_string(v) && slice_eq((struct slice){ json_string_value(v), json_string_length(v) }, name))
			return true;
	return false;
}

/* One version further. *lost: the column that had the name has it no more. True: another one has it. */
static bool
step(const json_t *note, struct slice name, bool *lost)
{
	bool same = lists(note, "same", name);

	*lost = *lost || !same;
	return *lost && (same || lists(note, "other", name));
}

enum rc
names_check(const struct table *tbl, const char *const *notes, int n, struct err *err)
{
	static const char fix[] = "put the row right by hand, then skip it";
	static const char again[] = "it was renamed or dropped, and the name given again";
	bool *lost = calloc((size_t)tbl->ncols + 1, sizeof *lost);
	enum rc rc = OK;

	if (!lost)
		die("out of memory");
	for (int k = 0; k < n && rc == OK; k++) {
		json_t *note = json_loads(notes[k], JSON_DECODE_ANY, NULL);

		if (!json_is_object(note))
			rc = fail(err, REJECT, "table %.*s.%.*s was renamed since the change, and its name may be another table's now; %s",
			    SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name), fix);
		for (int i = 0; i < tbl->ncols && rc == OK; i++)
			if (step(note, tbl->cols[i].name, &lost[i]))
				rc = fail(err, REJECT,
				    "column %.*s of table %.*s.%.*s is another one now than the change's: %s; %s",
				    SLICE_ARG(tbl->cols[i].name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name), again, fix);
		json_decref(note);
	}
	free(lost);
	return rc;
}
