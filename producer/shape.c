#include "producer/shape.h"
#include "core/buf.h"
#include "schemas/pgtypes.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

enum mask { MASK_NONE, MASK_OUT, MASK_HASH, MASK_FIXED, MASK_NULL, MASK_TRUNCATE, MASK_TEXT /* a structure of Debezium's as text */ };

static const char fixed_text[] = "***";

struct shaping {
	enum mask mask;
	int characters; /* MASK_TRUNCATE */
};

struct shape {
	const struct table *from;
	struct table to;
	struct shaping *cols; /* from->ncols */
	int *message_keys, nmessage_keys; /* of from; none: its key */
	const char *salt;
};

/* One entry of a list: SCHEMA.TABLE.COLUMN[=MASK]. */
struct rule {
	const char *table;   /* pattern */
	struct slice column; /* pattern */
	struct shaping what;
};

static struct rule
rule_of(struct slice entry, bool out, struct arena *a)
{
	const char *equal = out ? NULL : memchr(entry.p, '=', entry.n);
	struct slice name = { entry.p, equal ? (size_t)(equal - entry.p) : entry.n };
	const char *dot = memrchr(name.p, '.', name.n);
	const char *mask =
	    equal ? arena_text(a, (struct slice){ equal + 1, entry.n - name.n - 1 }) : "";
	struct rule r = { .table = arena_text(a, (struct slice){ name.p, (size_t)(dot - name.p) }),
		.column = { dot + 1, (size_t)(name.p + name.n - dot - 1) },
		.what = { .mask = MASK_OUT } };

	if (strcmp(mask, "hash") == 0)
		r.what.mask = MASK_HASH;
	else if (strcmp(mask, "fixed") == 0)
		r.what.mask = MASK_FIXED;
	else if (strcmp(mask, "null") == 0)
		r.what.mask = MASK_NULL;
	else if (strncmp(mask, "truncate:", 9) == 0)
		r.what = (struct shaping){ MASK_TRUNCATE, (int)strtol(mask + 9, NULL, 10) };
	return r;
}

static enum rc
rule_apply(struct shape *s, const struct rule *r, struct err *err)
{
	const struct table *tbl = s->from;
	bool plain = !strpbrk(r->table, "*?") && !memchr(r->column.p, '*', r->column.n) &&
	    !memchr(r->column.p, '?', r->column.n),
	     any = false;

	if (!pattern_matches(r->table, NULL, tbl->schema, tbl->name))
		return OK;
	for (int i = 0; i < tbl->ncols; i++) {
		if (!pattern_glob(r->column, tbl->cols[i].name))
			continue;
		any = true;
		if (s->cols[i].mask != MASK_OUT)
			s->cols[i] = r->what;
	}
	/* A misspelt mask would let out what it is to hide. */
	if (plain && !any)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "columns: table %.*s.%.*s has no column %.*s; correct columns.exclude or columns.mask",
		    SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name), SLICE_ARG(r->column));
	return OK;
}

static enum rc
rules_apply(struct shape *s, const char *list, bool out, struct arena *a, struct err *err)
{
	enum rc rc = OK;

	for (const char *p = list; p && *p && rc == OK; p += strspn(p, ",")) {
		struct slice entry = { p, strcspn(p, ",") };
		struct rule r = rule_of(entry, out, a);

		rc = rule_apply(s, &r, err);
		p += entry.n;
	}
	return rc;
}

/* The column as it leaves. */
static enum rc
column_shape(const struct shape *s, int i, struct column *out, struct err *err)
{
	const struct table *tbl = s->from;
	bool key = table_is_key(tbl, i), plain;
	enum mask mask = s->cols[i].mask;

	*out = tbl->cols[i];
	plain = out->type.wire == W_STRING && !out->type.semantic && !out->type.plain;
	if (mask == MASK_NONE)
		return OK;
	if (mask == MASK_TEXT) {
		out->type = (struct wire_type){ .wire = W_STRING, .source_type = out->type_name.p };
		return OK;
	}
	if (key && mask != MASK_HASH)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "columns: %.*s is of the key of %.*s.%.*s, and rows would lose their identity; leave it, or mask it by hash",
		    SLICE_ARG(out->name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
	if (mask == MASK_TRUNCATE && !plain)
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "columns: %.*s of %.*s.%.*s is no text that could be truncated; use hash, fixed or null",
		    SLICE_ARG(out->name), SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
	out->has_default = out->default_expr = false;
	out->notnull = out->notnull && mask != MASK_NULL;
	if (mask == MASK_HASH || mask == MASK_FIXED) {
		out->type = (struct wire_type){ .wire = W_STRING };
		out->type_name = SLICE_LIT("text");
		out->typid = PG_TEXT;
		out->typmod = -1;
	}
	return OK;
}

static enum rc
table_shape(struct shape *s, struct arena *a, struct err *err)
{
	const struct table *from = s->from;
	int *place = arena_array(a, (size_t)from->ncols + 1, sizeof *place);
	enum rc rc = OK;

	s->to = *from;
	s->to.nmessage_keys = s->nmessage_keys;
	s->to.message_keys = arena_array(a, (size_t)s->nmessage_keys + 1, sizeof *s->to.message_keys);
	s->to.ncols = 0;
	s->to.cols = arena_array(a, (size_t)from->ncols, sizeof *s->to.cols);
	s->to.keys = arena_array(a, (size_t)from->nkeys + 1, sizeof *s->to.keys);
	for (int i = 0; i < from->ncols && rc == OK; i++) {
		place[i] = s->to.ncols;
		rc = column_shape(s, i, &s->to.cols[s->to.ncols], err);
		s->to.ncols += s->cols[i].mask != MASK_OUT;
	}
	for (int i = 0; i < from->nkeys; i++)
		s->to.keys[i] = place[from->keys[i]];
	for (int i = 0; i < s->to.nmessage_keys; i++)
		s->to.message_keys[i] = place[s->message_keys[i]];
	return rc;
}

/* A column of kafka.keys. */
static enum rc
message_key(struct shape *s, struct slice name, struct err *err)
{
	const struct table *tbl = s->from;
	int at = table_column(tbl, name);

	if (at < 0)
		return fail_exit(err, FATAL, EXIT_CONFIG, "kafka.keys: table %s.%s has no column %.*s", tbl->schema.p, tbl->name.p,
		    SLICE_ARG(name));
	if (s->cols[at].mask == MASK_OUT)
		return fail_exit(err, FATAL, EXIT_CONFIG, "kafka.keys: column %.*s of %s.%s is left out by columns.exclude",
		    SLICE_ARG(name),
		    tbl->schema.p, tbl->name.p);
	s->message_keys[s->nmessage_keys++] = at;
	return OK;
}

static enum rc
message_keys(struct shape *s, struct slice list, struct arena *a, struct err *err)
{
	enum rc rc = OK;

	s->message_keys = arena_array(a, list.n + 1, sizeof *s->message_keys);
	for (size_t i = 0; rc == OK && i < list.n;) {
		size_t from = i, to;

		while (i < list.n && list.p[i] != ',')
			i++;
		for (to = i++; to > from && list.p[to - 1] == ' ';)
			to--;
		while (from < to && list.p[from] == ' ')
			from++;
		rc = message_key(s, (struct slice){ list.p + from, to - from }, err);
	}
	return rc;
}

bool
shape_is_structure(const struct column *col)
{
	return col->type.wire == W_COMPOUND && col->type.semantic;
}

enum rc
shape_make(const struct conf *conf, const struct table *tbl, bool texts, struct arena *a, struct shape **out,
    struct err *err)
{
	struct shape *s = arena_new(a, struct shape);
	bool any = false;
	enum rc rc;

	*out = NULL;
	s->from = tbl;
	s->salt = conf->columns_salt;
	s->cols = arena_array(a, (size_t)tbl->ncols + 1, sizeof *s->cols);
	rc = rules_apply(s, conf->columns_exclude, true, a, err);
	if (rc == OK)
		rc = rules_apply(s, conf->columns_mask, false, a, err);
	if (rc == OK)
		rc = message_keys(s, conf_of_table(conf->keys, tbl->schema, tbl->name), a, err);
	for (int i = 0; i < tbl->ncols; i++) {
		if (texts && s->cols[i].mask == MASK_NONE && shape_is_structure(&tbl->cols[i]))
			s->cols[i].mask = MASK_TEXT;
		any |= s->cols[i].mask != MASK_NONE;
	}
	any |= s->nmessage_keys > 0;
	if (rc != OK || !any)
		return rc;
	rc = table_shape(s, a, err);
	if (rc == OK)
		*out = s;
	return rc;
}

const struct table *
shape_table(const struct shape *s)
{
	return &s->to;
}

bool
shape_hides(const struct shape *s, int col)
{
	return s->cols[col].mask != MASK_NONE && s->cols[col].mask != MASK_TEXT;
}

/* ---- values ---- */

static enum rc
hash(const struct shape *s, const struct column *c, const struct value *v, struct arena *a,
    struct value *out, struct err *err)
{
	uint8_t sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct buf text = { 0 };
	char *hex = arena_raw(a, 2 * sizeof sum + 1);
	enum rc rc = pgtype_text(&c->type, v, &text, err);

	if (rc == OK &&
	    !HMAC(EVP_sha256(), s->salt, (int)strlen(s->salt),
		(const uint8_t *)(text.n ? text.p : ""), text.n, sum, &n))
		rc = fail(err, FATAL, "HMAC-SHA-256 failed");
	for (unsigned i = 0; i < n; i++) {
		hex[2 * i] = "0123456789abcdef"[sum[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[sum[i] & 15];
	}
	*out = value_string((struct slice){ hex, 2 * (size_t)n });
	buf_free(&text);
	return rc;
}

static enum rc
text_of(const struct column *c, const struct value *v, struct arena *a, struct value *out, struct err *err)
{
	struct buf text = { 0 };
	enum rc rc = pgtype_text(&c->type, v, &text, err);

	*out = value_string(arena_slice(a, buf_view(&text)));
	buf_free(&text);
	return rc;
}

static struct value
truncated(struct slice s, int characters)
{
	size_t n = 0;

	while (n < s.n && characters-- > 0)
		do
			n++;
		while (n < s.n && (s.p[n] & 0xc0) == 0x80);
	return value_string((struct slice){ s.p, n });
}

static enum rc
value_shape(const struct shape *s, int i, const struct value *v, struct arena *a, struct value *out,
    struct err *err)
{
	*out = *v;
	if (v->kind == V_ABSENT || value_is_null(v))
		return OK;
	switch (s->cols[i].mask) {
	case MASK_HASH: return hash(s, &s->from->cols[i], v, a, out, err);
	case MASK_FIXED: *out = value_string(SLICE_LIT(fixed_text)); return OK;
	case MASK_NULL: *out = value_null(); return OK;
	case MASK_TRUNCATE: *out = truncated(v->s, s->cols[i].characters); return OK;
	case MASK_TEXT: return text_of(&s->from->cols[i], v, a, out, err);
	case MASK_NONE:
	case MASK_OUT: break;
	}
	return OK;
}

static enum rc
row_shape(const struct shape *s, const struct value *row, struct arena *a, const struct value **out,
    struct err *err)
{
	struct value *v;
	enum rc rc = OK;
	int n = 0;

	*out = NULL;
	if (!row)
		return OK;
	v = arena_array(a, (size_t)s->to.ncols + 1, sizeof *v);
	for (int i = 0; i < s->from->ncols && rc == OK; i++)
		if (s->cols[i].mask != MASK_OUT)
			rc = value_shape(s, i, &row[i], a, &v[n++], err);
	*out = v;
	return rc;
}

/* Where a row was, its old columns must tell: of a delete, and to see that an update takes it elsewhere. keys_check has looked before. */
static enum rc
key_told(const struct shape *s, const struct change *ch, struct err *err)
{
	for (int i = 0; (ch->op == OP_UPDATE || ch->op == OP_DELETE) && i < s->nmessage_keys; i++) {
		int col = s->message_keys[i];

		if (ch->before_kind != BEFORE_FULL && !ch->tbl->cols[col].identity)
			return fail_exit(err, FATAL, EXIT_CONFIG,
			    "kafka.keys: an update or a delete of %s.%s does not tell what %s was, as its replica identity was changed; "
			    "take the "
			    "table out of kafka.keys",
			    ch->tbl->schema.p, ch->tbl->name.p, ch->tbl->cols[col].name.p);
	}
	return OK;
}

enum rc
shape_change(const struct shape *s, const struct change *ch, struct arena *a, struct change *out,
    struct err *err)
{
	enum rc rc = key_told(s, ch, err);

	if (rc != OK)
		return rc;
	*out = *ch;
	out->tbl = &s->to;
	rc = row_shape(s, ch->before, a, &out->before, err);
	return rc == OK ? row_shape(s, ch->after, a, &out->after, err) : rc;
}
