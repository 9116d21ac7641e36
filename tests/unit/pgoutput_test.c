/*
 * The pgoutput parser against messages by hand and of a PostgreSQL 15 (tests/golden/pgoutput), cut short and damaged.
 * GOLDEN_WRITE=1 writes the .out files anew, to be read before they are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "producer/pgoutput.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/random.h"

#define GOLDEN "tests/golden/pgoutput/"

enum { FILE_MAX = 1 << 16, MESSAGES_MAX = 64, SHOWN_MAX = 40 };

static const char *const files[] = { "hand", "pg15_text", "pg15_binary" };

/* ---- golden files ---- */

static struct slice
read_file(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "r");
	char *p = arena_alloc(a, FILE_MAX);
	size_t n;

	if (!f)
		fail_msg("no file %s", path);
	n = fread(p, 1, FILE_MAX - 1, f);
	fclose(f);
	return (struct slice){ p, n };
}

static struct slice
from_hex(struct arena *a, const char *line, size_t n)
{
	struct buf out = { 0 };
	struct slice s;
	int high = -1;

	for (size_t i = 0; i < n; i++) {
		int c = tolower((unsigned char)line[i]), v = isdigit(c) ? c - '0' : c - 'a' + 10;

		if (isspace(c))
			continue;
		assert_true(isxdigit(c));
		if (high >= 0)
			buf_byte(&out, (uint8_t)(high << 4 | v));
		high = high < 0 ? v : -1;
	}
	assert_true(high < 0);
	s = arena_slice(a, buf_view(&out));
	buf_free(&out);
	return s;
}

/* The messages of a .hex file: one a line. */
static int
messages(struct arena *a, const char *name, struct slice list[static MESSAGES_MAX])
{
	struct slice text = read_file(a, arena_printf(a, GOLDEN "%s.hex", name));
	int n = 0;

	for (const char *p = text.p, *end = text.p + text.n, *nl; p < end; p = nl + 1) {
		nl = memchr(p, '\n', (size_t)(end - p));
		assert_non_null(nl);
		if (*p == '#')
			continue;
		assert_true(n < MESSAGES_MAX);
		list[n++] = from_hex(a, p, (size_t)(nl - p));
	}
	assert_true(n > 0);
	return n;
}

/* ---- what was parsed, as text ---- */

static void
show_bytes(struct buf *out, struct slice s)
{
	buf_byte(out, '"');
	for (size_t i = 0; i < s.n && i < SHOWN_MAX; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (c < ' ' || c > '~' || c == '"' || c == '\\')
			buf_printf(out, "\\x%02x", c);
		else
			buf_byte(out, c);
	}
	buf_byte(out, '"');
	if (s.n > SHOWN_MAX)
		buf_printf(out, " of %zu bytes", s.n);
}

static void
show_named(struct buf *out, const char *what, struct slice s)
{
	buf_printf(out, " %s=", what);
	show_bytes(out, s);
}

static void
show_tuple(struct buf *out, const char *what, const struct pgo_tuple *t)
{
	if (!t->cells)
		return;
	buf_printf(out, "\n  %s", what);
	for (int i = 0; i < t->n; i++) {
		buf_printf(out, " %c", t->cells[i].kind);
		if (t->cells[i].kind == 't' || t->cells[i].kind == 'b')
			show_bytes(out, t->cells[i].data);
	}
}

static void
show_relation(struct buf *out, const struct pgo *m)
{
	show_named(out, "schema", m->schema);
	show_named(out, "name", m->name);
	buf_printf(out, " identity=%c", m->identity);
	for (int i = 0; i < m->ncols; i++) {
		buf_text(out, "\n  ");
		show_bytes(out, m->cols[i].name);
		buf_printf(out, " flags=%u type=%u typmod=%d", m->cols[i].flags, m->cols[i].typid,
		    m->cols[i].typmod);
	}
}

static void
show(struct buf *out, const struct pgo *m)
{
	buf_printf(out, "%c", m->type);
	if (strchr("RYIUD", m->type))
		buf_printf(out, " relid=%u", m->relid);
	if (strchr("BCOM", m->type))
		buf_printf(out, " lsn=%" PRIX64, m->lsn);
	if (m->type == 'C')
		buf_printf(out, " end=%" PRIX64, m->end_lsn);
	if (m->type == 'B' || m->type == 'C')
		buf_printf(out, " time=%" PRId64, m->time_us);
	if (m->type == 'B')
		buf_printf(out, " xid=%u", m->xid);
	if (m->type == 'T' || m->type == 'M')
		buf_printf(out, " flags=%u", m->flags);
	if (m->type == 'R')
		show_relation(out, m);
	if (m->type == 'Y')
		show_named(out, "schema", m->schema);
	if (m->type == 'Y' || m->type == 'O' || m->type == 'M')
		show_named(out, "name", m->name);
	if (m->type == 'M')
		show_named(out, "content", m->content);
	for (int i = 0; i < m->nrels; i++)
		buf_printf(out, " %u", m->rels[i]);
	show_tuple(out, m->old_kind == 'K' ? "key" : "old", &m->old);
	show_tuple(out, "new", &m->new);
	buf_byte(out, '\n');
}

static void
check_golden(struct arena *a, const char *name, struct buf *got)
{
	const char *path = arena_printf(a, GOLDEN "%s.out", name);

	if (getenv("GOLDEN_WRITE")) {
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fwrite(got->p, 1, got->n, f);
		fclose(f);
	}
	assert_string_equal(buf_cstr(got), read_file(a, path).p);
}

static void
golden(void **state UNUSED)
{
	for (size_t f = 0; f < COUNTOF(files); f++) {
		struct arena a = { 0 };
		struct buf out = { 0 };
		struct slice list[MESSAGES_MAX];
		int n = messages(&a, files[f], list);

		for (int i = 0; i < n; i++) {
			struct pgo m;
			struct err err;

			if (pgo_parse(list[i], &a, &m, &err) != OK)
				fail_msg("%s, message %d: %s", files[f], i + 1, err.text);
			show(&out, &m);
		}
		check_golden(&a, files[f], &out);
		buf_free(&out);
		arena_free(&a);
	}
}

/* ---- damage ---- */

/* In a block of its own, so that ASan sees a read behind it. */
static enum rc
parse_alone(const char *p, size_t n)
{
	struct arena a = { 0 };
	char *alone = malloc(n ? n : 1);
	struct pgo m;
	struct err err = { 0 };
	enum rc rc;

	assert_non_null(alone);
	memcpy(alone, p, n);
	rc = pgo_parse((struct slice){ alone, n }, &a, &m, &err);
	if (rc != OK)
		assert_true(err.rc == rc && err.text[0]);
	/* What is allocated is bounded by what came, whatever lengths the bytes claim. */
	assert_true(a.used <= n * sizeof(struct pgo_cell) + 64);
	free(alone);
	arena_free(&a);
	return rc;
}

static void
cut_or_longer(void **state UNUSED)
{
	for (size_t f = 0; f < COUNTOF(files); f++) {
		struct arena a = { 0 };
		struct slice list[MESSAGES_MAX];
		int n = messages(&a, files[f], list);

		for (int i = 0; i < n; i++) {
			for (size_t len = 0; len < list[i].n; len++)
				assert_int_equal(parse_alone(list[i].p, len), REJECT);
			assert_int_equal(parse_alone(list[i].p, list[i].n), OK);
			/* arena_slice put a NUL there */
			assert_int_equal(parse_alone(list[i].p, list[i].n + 1), REJECT);
		}
		arena_free(&a);
	}
}

static void
mutate(struct rng *r, char *p, size_t n)
{
	for (uint64_t k = below(r, 4) + 1; k > 0; k--) {
		size_t at = below(r, n < 64 || one_in(r, 4) ? n : 64);

		if (one_in(r, 2))
			p[at] = (char)rnd(r);
		else if (one_in(r, 2))
			p[at] = (char)0xff;
		else
			p[at] = "BCORYIUDTMNKOntub"[below(r, 17)];
	}
}

static void
damaged(void **state UNUSED)
{
	struct arena a = { 0 };
	struct slice list[MESSAGES_MAX];
	uint64_t seed = first_seed("damaged"), times = rounds(20000);
	int n[COUNTOF(files)], good = 0;
	struct slice all[COUNTOF(files)][MESSAGES_MAX];

	for (size_t f = 0; f < COUNTOF(files); f++) {
		n[f] = messages(&a, files[f], list);
		memcpy(all[f], list, sizeof list);
	}
	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		size_t f = below(&r, COUNTOF(files));
		struct slice from = all[f][below(&r, (uint64_t)n[f])];
		char *p = malloc(from.n);
		enum rc rc;

		assert_non_null(p);
		memcpy(p, from.p, from.n);
		mutate(&r, p, from.n);
		rc = parse_alone(p, one_in(&r, 4) ? below(&r, from.n) : from.n);
		HOLDS(&r, rc == OK || rc == REJECT);
		good += rc == OK;
		free(p);
	}
	printf("%d of %" PRIu64 " still parse\n", good, times);
	arena_free(&a);
}

static void
refused(void **state UNUSED)
{
	static const struct {
		const char *hex, *why;
	} cases[] = {
		{ "", "unknown message type 0x00" },
		{ "53000000010000", "unknown message type 0x53" }, /* stream start: version 2 */
		{ "4900004001 4b 0001 6e", "malformed 'I'" },	   /* an insert has no old row */
		{ "5500004001 4b 0001 6e 4b 0001 6e", "malformed 'U'" },
		{ "4400004001 4e 0001 6e", "malformed 'D'" }, /* a delete has no new row */
		{ "4900004001 4e 0001 78", "malformed 'I'" }, /* a cell of kind x */
		{ "4900004001 4e ffff 6e", "malformed 'I'" },
		{ "4900004001 4e 0001 74 ffffffff 31", "malformed 'I'" },
		{ "54 ffffffff 00 00004001", "malformed 'T'" },
		{ "54 40000001 00 00004001", "malformed 'T'" }, /* times four it is 4 in 32 bits */
		{ "52 00004001 00 7400 64 ffff", "malformed 'R'" },
		{ "4d 00 0000000000000000 00 ffffffff 31", "malformed 'M'" },
	};

	for (size_t i = 0; i < COUNTOF(cases); i++) {
		struct arena a = { 0 };
		struct err err = { 0 };
		struct pgo m;

		assert_int_equal(
		    pgo_parse(from_hex(&a, cases[i].hex, strlen(cases[i].hex)), &a, &m, &err),
		    REJECT);
		if (!strstr(err.text, cases[i].why))
			fail_msg("case %zu: \"%s\", not \"%s\"", i, err.text, cases[i].why);
		arena_free(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(cut_or_longer),
		cmocka_unit_test(damaged),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
