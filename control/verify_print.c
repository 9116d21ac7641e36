#include "control/human.h"
#include "control/sequence.h"
#include "control/verify.h"
#include "core/log.h"
#include "core/now.h"
#include "core/quote.h"

#include <inttypes.h>
#include <stdio.h>

enum { TERMINAL_MS = 200, LOG_MS = 10000 };

static const char *
state_name(const struct verify_table *t)
{
	static const char *const names[] = { "equal", "different", "undecided", "skipped" };

	return names[t->state];
}

static int
percent(const struct verify_table *t)
{
	int64_t of = t->estimate > t->rows ? t->estimate : t->rows;

	return of ? (int)(t->rows * 99 / of) : 0;
}

void
verify_print_progress(struct verify *v, const struct verify_table *t)
{
	if (now_ms() - v->told_ms < (v->terminal ? TERMINAL_MS : LOG_MS))
		return;
	v->told_ms = now_ms();
	if (v->terminal)
		fprintf(stderr, "\r\033[K%s.%s  %d %%  %" PRId64 " rows", t->schema, t->name, percent(t), t->rows);
	else
		log_info("verify", "comparing", "table=\"%s.%s\" rows=%" PRId64 " percent=%d", t->schema, t->name, t->rows, percent(t));
}

/* ---- for people ---- */

static void
put_text_key(struct buf *b, const struct verify_table *t, const struct verify_found *f)
{
	for (int i = 0; i < t->shape.nkeys; i++) {
		buf_text(b, i ? " " : "");
		quote_logfmt(b, slice_of(t->shape.cols[t->shape.keys[i]].name));
		buf_byte(b, '=');
		quote_logfmt(b, slice_of(f->key[i]));
	}
}

static void
put_counts(struct buf *b, const struct verify_table *t)
{
	static const enum verify_verdict order[] = { VERIFY_DIFFERENT, VERIFY_MISSING, VERIFY_EXTRA, VERIFY_OPEN };
	const char *sep = "; ";

	for (size_t i = 0; i < COUNTOF(order); i++) {
		if (!t->counts[order[i]] || !t->shape.nkeys)
			continue;
		buf_printf(b, "%s%" PRId64 " %s", sep, t->counts[order[i]], verify_verdict_name(order[i]));
		sep = ", ";
	}
}

void
verify_print_table(struct verify *v, const struct verify_table *t)
{
	char rows[HUMAN_MAX];
	struct buf b = { 0 };

	if (v->terminal && v->told_ms)
		fputs("\r\033[K", stderr);
	if (v->call->json)
		return;
	buf_printf(&b, "%s.%s  %s", t->schema, t->name, state_name(t));
	if (t->state == VERIFY_SKIPPED)
		buf_printf(&b, ": %s", t->why);
	else
		buf_printf(&b, "  %s", human_count(rows, t->rows, "row"));
	put_counts(&b, t);
	buf_byte(&b, '\n');
	for (int i = 0; i < t->nfound; i++) {
		const struct verify_found *f = &t->found[i];

		if (f->verdict == VERIFY_OPEN)
			continue;
		buf_printf(&b, "  %-9s  ", verify_verdict_name(f->verdict));
		put_text_key(&b, t, f);
		for (int c = 0; c < f->ncolumns; c++)
			buf_printf(&b, "%s%s", c ? ", " : "  ", f->columns[c]);
		buf_byte(&b, '\n');
	}
	if (t->cut && t->nfound >= v->limit)
		buf_printf(&b, "  and more: the rest of the table was not looked at (--limit)\n");
	if (t->note)
		buf_printf(&b, "  %s\n", t->note);
	for (int i = 0; i < t->nleft; i++)
		buf_printf(&b, "  column %s not compared: %s\n", t->left[i].column, t->left[i].why);
	fwrite(b.p, 1, b.n, stdout);
	fflush(stdout);
	buf_free(&b);
}

static int
count_state(const struct verify_table *tables, int n, enum verify_state state)
{
	int found = 0;

	for (int i = 0; i < n; i++)
		found += tables[i].state == state;
	return found;
}

void
verify_print_end(struct verify *v, const struct verify_table *tables, int n, const struct sequence_found *seqs, int nseqs)
{
	struct buf b = { 0 };
	char text[HUMAN_MAX];
	int less = 0;

	for (int i = 0; i < nseqs; i++) {
		less += sequence_is_less(&seqs[i]);
		buf_printf(&b, "sequence %s  %s: source ", seqs[i].name, sequence_state_name(seqs[i].state));
		sequence_put_last(&b, true, seqs[i].used, seqs[i].last, "unused");
		buf_text(&b, ", sink ");
		sequence_put_last(&b, seqs[i].state != SEQUENCE_MISSING, seqs[i].used_there, seqs[i].last_there, "unused");
		buf_text(&b, seqs[i].set ? "  (set)\n" : "\n");
	}
	buf_printf(&b, "%s: %s compared: %d equal, %d different", v->sink->name,
	    human_count(text, n - count_state(tables, n, VERIFY_SKIPPED), "table"), count_state(tables, n, VERIFY_SAME),
	    count_state(tables, n, VERIFY_DIFFERS));
	if (count_state(tables, n, VERIFY_UNDECIDED))
		buf_printf(&b, ", %d undecided", count_state(tables, n, VERIFY_UNDECIDED));
	if (count_state(tables, n, VERIFY_SKIPPED))
		buf_printf(&b, "; %d skipped", count_state(tables, n, VERIFY_SKIPPED));
	if (nseqs)
		buf_printf(&b, "; %d of %s behind or missing", less, human_count(text, nseqs, "sequence"));
	buf_byte(&b, '\n');
	fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
}

/* ---- JSON ---- */

static void
put_or_null(struct buf *b, const char *name, const char *text)
{
	buf_printf(b, ",\"%s\":", name);
	if (text)
		quote_json(b, slice_of(text));
	else
		buf_text(b, "null");
}

static void
put_key(struct buf *b, const struct verify_table *t, const struct verify_found *f)
{
	buf_printf(b, "{\"state\":\"%s\",\"key\":{", verify_verdict_name(f->verdict));
	for (int i = 0; i < t->shape.nkeys; i++) {
		buf_text(b, i ? "," : "");
		quote_json(b, slice_of(t->shape.cols[t->shape.keys[i]].name));
		buf_byte(b, ':');
		quote_json(b, slice_of(f->key[i]));
	}
	buf_text(b, "},\"columns\":[");
	for (int i = 0; i < f->ncolumns; i++) {
		buf_text(b, i ? "," : "");
		quote_json(b, slice_of(f->columns[i]));
	}
	buf_text(b, "]}");
}

static void
put_table(struct buf *b, const struct verify_table *t)
{
	buf_text(b, "{\"schema\":");
	quote_json(b, slice_of(t->schema));
	put_or_null(b, "table", t->name);
	buf_printf(b, ",\"state\":\"%s\",\"rows\":%" PRId64, state_name(t), t->rows);
	for (int i = VERIFY_OPEN; i <= VERIFY_EXTRA; i++)
		if (i != VERIFY_EQUAL)
			buf_printf(b, ",\"%s\":%" PRId64, verify_verdict_name(i), t->counts[i]);
	buf_printf(b, ",\"complete\":%s", t->cut || t->state == VERIFY_SKIPPED ? "false" : "true");
	put_or_null(b, "reason", t->why);
	put_or_null(b, "note", t->note);
	buf_text(b, ",\"keys\":[");
	for (int i = 0; i < t->nfound; i++) {
		buf_text(b, i ? "," : "");
		put_key(b, t, &t->found[i]);
	}
	buf_text(b, "],\"left_out\":[");
	for (int i = 0; i < t->nleft; i++) {
		buf_text(b, i ? ",{\"column\":" : "{\"column\":");
		quote_json(b, slice_of(t->left[i].column));
		put_or_null(b, "reason", t->left[i].why);
		buf_byte(b, '}');
	}
	buf_text(b, "]}");
}

static void
put_number(struct buf *b, const char *name, bool there, int64_t n)
{
	if (there)
		buf_printf(b, ",\"%s\":%" PRId64, name, n);
	else
		buf_printf(b, ",\"%s\":null", name);
}

void
verify_print_json(struct verify *v, const struct verify_table *tables, int n, const struct sequence_found *seqs, int nseqs)
{
	bool equal = verify_equal(tables, n);
	struct buf b = { 0 };

	for (int i = 0; i < nseqs; i++)
		equal = equal && !sequence_is_less(&seqs[i]);
	buf_printf(&b, "{\"sink\":\"%s\",\"equal\":%s,\"tables\":[", v->sink->name, equal ? "true" : "false");
	for (int i = 0; i < n; i++) {
		buf_text(&b, i ? "," : "");
		put_table(&b, &tables[i]);
	}
	buf_text(&b, "],\"sequences\":[");
	for (int i = 0; i < nseqs; i++) {
		buf_text(&b, i ? ",{\"sequence\":" : "{\"sequence\":");
		quote_json(&b, slice_of(seqs[i].name));
		put_or_null(&b, "state", sequence_state_name(seqs[i].state));
		put_number(&b, "source", seqs[i].used, seqs[i].last);
		put_number(&b, "at_sink", seqs[i].used_there, seqs[i].last_there);
		buf_printf(&b, ",\"set\":%s}", seqs[i].set ? "true" : "false");
	}
	buf_text(&b, "]}\n");
	fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
}
