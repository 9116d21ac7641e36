#include "control/dlq.h"
#include "control/human.h"
#include "control/tail.h"
#include "core/pg.h"
#include "core/quote.h"

#include <inttypes.h>
#include <stdio.h>

enum { COLUMNS = 7, KEY_MAX = 60, REASON_MAX = 160 };

/* ---- the list ---- */

/* Fit for one line: control characters become spaces, and no more than max bytes, cut between two characters. */
static const char *
one_line(struct arena *a, const char *text, size_t max)
{
	size_t n = 0, full = strlen(text);
	char *line;

	while (n < full) {
		size_t one = quote_utf8((struct slice){ text + n, full - n });

		one = one ? one : 1;
		if (n + one > max)
			break;
		n += one;
	}
	line = arena_printf(a, "%.*s%s", (int)n, text, n < full ? "..." : "");
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	return line;
}

static void
entry_cells(struct arena *a, const struct dlq_entry *d, const char *cells[COLUMNS])
{
	const struct parked_entry *e = d->e;
	char when[HUMAN_MAX];

	cells[0] = arena_printf(a, "%s/%" PRId64, d->sink, e->id);
	cells[1] = arena_printf(a, "%.19sZ", human_time(when, e->parked_us));
	cells[2] = *e->table ? one_line(a, arena_printf(a, "%s.%s", e->schema, e->table), KEY_MAX)
			     : e->topic;
	cells[3] = e->key ? one_line(a, e->key, KEY_MAX) : "-";
	cells[4] = arena_printf(a, "%c", e->op);
	cells[5] = e->behind ? arena_printf(a, "%" PRId64, e->behind) : "-";
	cells[6] = one_line(a, e->reason, REASON_MAX);
}

void
dlq_list_text(struct buf *out, const struct dlq_entry *list, int n)
{
	static const char *const head[COLUMNS] = { "ID", "PARKED AT", "TABLE", "KEY", "OP",
		"BEHIND", "REASON" };
	struct arena a = { 0 };
	const char *(*rows)[COLUMNS];
	int width[COLUMNS] = { 0 };

	if (!n) {
		buf_text(out, "nothing is parked\n");
		return;
	}
	rows = arena_array(&a, (size_t)n + 1, sizeof *rows);
	memcpy(rows[0], head, sizeof head);
	for (int i = 0; i < n; i++)
		entry_cells(&a, &list[i], rows[i + 1]);
	for (int i = 0; i <= n; i++)
		for (int c = 0; c < COLUMNS; c++)
			if ((int)strlen(rows[i][c]) > width[c])
				width[c] = (int)strlen(rows[i][c]);
	for (int i = 0; i <= n; i++) {
		for (int c = 0; c + 1 < COLUMNS; c++)
			buf_printf(out, "%-*s  ", width[c], rows[i][c]);
		buf_printf(out, "%s\n", rows[i][COLUMNS - 1]);
	}
	arena_free(&a);
}

/* ---- JSON of an entry ---- */

static void
put_text(struct buf *out, const char *name, const char *text)
{
	buf_printf(out, ",\"%s\":", name);
	if (text)
		quote_json(out, slice_of(text));
	else
		buf_text(out, "null");
}

static void
put_number(struct buf *out, const char *name, int64_t v, bool known)
{
	if (known)
		buf_printf(out, ",\"%s\":%" PRId64, name, v);
	else
		buf_printf(out, ",\"%s\":null", name);
}

/* Without the closing brace. */
static void
put_entry(struct buf *out, const struct dlq_entry *d)
{
	const struct parked_entry *e = d->e;
	const char op[2] = { e->op, '\0' };
	char when[HUMAN_MAX], lsn[20], table[600];

	snprintf(table, sizeof table, "%s.%s", e->schema, e->table);
	buf_text(out, "{\"sink\":");
	quote_json(out, slice_of(d->sink));
	put_number(out, "id", e->id, true);
	put_text(out, "parked_at", human_time(when, e->parked_us));
	put_text(out, "table", *e->table ? table : NULL);
	buf_printf(out, ",\"key\":%s", e->key ? e->key : "null"); /* JSON itself */
	put_text(out, "op", e->op == '?' ? NULL : op);
	put_number(out, "behind", e->behind, e->behind);
	put_text(out, "reason", e->reason);
	put_text(out, "topic", e->topic);
	put_number(out, "partition", e->partition, true);
	put_number(out, "offset", e->offset, true);
	put_number(out, "seq", (int64_t)e->seq, e->lsn);
	put_number(out, "index", (int64_t)e->index, e->lsn);
	put_text(out, "lsn", e->lsn ? pg_lsn_text(lsn, e->lsn) : NULL);
}

void
dlq_list_json(struct buf *out, const struct dlq_entry *list, int n)
{
	buf_byte(out, '[');
	for (int i = 0; i < n; i++) {
		buf_text(out, i ? ",\n" : "\n");
		put_entry(out, &list[i]);
		buf_byte(out, '}');
	}
	buf_text(out, n ? "\n]\n" : "]\n");
}

/* ---- one entry ---- */

static struct tail_change
change_of(const struct readback_change *c, const struct parked_entry *e)
{
	return (struct tail_change){ .tl = c->ours ? &c->tl : NULL,
		.env = &c->env,
		.tbl = c->row.tbl,
		.key = c->row.moved ? NULL : c->key,
		.partition = e->partition,
		.offset = e->offset };
}

void
dlq_show_text(
    struct buf *out, const struct dlq_entry *d, const struct readback_change *c, const char *why)
{
	const struct parked_entry *e = d->e;
	char when[HUMAN_MAX], lsn[20];

	buf_printf(out, "id         %s/%" PRId64 "\n", d->sink, e->id);
	buf_printf(out, "parked at  %s\n", human_time(when, e->parked_us));
	if (*e->table)
		buf_printf(out, "table      %s.%s\n", e->schema, e->table);
	if (e->key)
		buf_printf(out, "key        %s\n", e->key);
	buf_printf(
	    out, "record     %s [%d] offset %" PRId64 "\n", e->topic, e->partition, e->offset);
	if (e->lsn)
		buf_printf(out, "position   seq %" PRIu64 ", index %" PRIu64 ", LSN %s\n", e->seq,
		    e->index, pg_lsn_text(lsn, e->lsn));
	if (e->behind)
		buf_printf(out, "behind     %s/%" PRId64 "\n", d->sink, e->behind);
	buf_printf(out, "reason     %s\n", e->reason);
	buf_text(out, "change     ");
	if (c) {
		struct tail_change t = change_of(c, e);

		tail_text(out, &t);
	} else {
		buf_printf(out, "(%s)\n", why);
	}
}

void
dlq_show_json(
    struct buf *out, const struct dlq_entry *d, const struct readback_change *c, const char *why)
{
	put_entry(out, d);
	buf_text(out, ",\"change\":");
	if (c) {
		struct tail_change t = change_of(c, d->e);

		tail_json(out, &t);
		out->n--; /* its newline */
	} else {
		buf_text(out, "null");
		put_text(out, "why", why);
	}
	buf_text(out, "}\n");
}

/* ---- what a retry came to ---- */

void
dlq_retry_text(struct buf *out, const char *sink, const struct retry_report *r)
{
	char changes[HUMAN_MAX], keys[HUMAN_MAX];
	struct arena a = { 0 };

	buf_printf(out, "%s: %s of %s applied\n", sink, human_count(changes, r->changes, "change"),
	    human_count(keys, r->keys, "key"));
	for (int i = 0; i < r->nfails; i++) {
		const struct retry_fail *f = &r->fails[i];

		buf_printf(out, "%s/%" PRId64 "  %s  %s  still fails: %s", sink, f->id, f->table,
		    f->key ? one_line(&a, f->key, KEY_MAX) : "-", f->reason);
		if (f->waiting)
			buf_printf(
			    out, " (%s with it)", human_count(changes, f->waiting, "change"));
		buf_byte(out, '\n');
	}
	arena_free(&a);
}

void
dlq_retry_json(struct buf *out, const char *sink, const struct retry_report *r)
{
	buf_text(out, "{\"sink\":");
	quote_json(out, slice_of(sink));
	put_number(out, "changes", r->changes, true);
	put_number(out, "keys", r->keys, true);
	buf_text(out, ",\"failed\":[");
	for (int i = 0; i < r->nfails; i++) {
		const struct retry_fail *f = &r->fails[i];

		buf_printf(out, "%s{\"id\":%" PRId64, i ? "," : "", f->id);
		put_text(out, "table", f->table);
		buf_printf(out, ",\"key\":%s", f->key ? f->key : "null");
		put_text(out, "reason", f->reason);
		put_number(out, "with_it", f->waiting, true);
		buf_byte(out, '}');
	}
	buf_text(out, "]}\n");
}
