#include "control/verify_key.h"

#include "core/err.h"

#include <stdlib.h>

enum { MISSING_ROUNDS = 12 };

const char *
verify_verdict_name(enum verify_verdict v)
{
	static const char *const names[] = { "undecided", "equal", "different", "missing", "extra" };

	return names[v];
}

static void
drop_row(struct verify_row *row)
{
	free(row->version);
	free(row->cells);
	*row = (struct verify_row){ 0 };
}

static void
drop_glances(struct verify_key *k)
{
	for (int i = 0; i < VERIFY_GLANCES && k->glances; i++)
		free(k->glances[i]);
	free(k->glances);
	k->glances = NULL;
	k->nglances = 0;
}

void
verify_key_drop(struct verify_key *k)
{
	drop_glances(k);
	drop_row(&k->source);
	drop_row(&k->sink);
}

static bool
same_row(const struct verify_row *a, const struct verify_row *b)
{
	return a->there == b->there && (!a->there || strcmp(a->cells, b->cells) == 0);
}

/* Two looks at one side between which nothing happened to the row. Of one that is not there nobody can tell. */
static bool
same_version(const struct verify_row *a, const struct verify_row *b)
{
	return a->there && b->there && strcmp(a->version, b->version) == 0;
}

static enum verify_verdict
difference(const struct verify_key *k)
{
	return !k->sink.there ? VERIFY_MISSING : k->source.there ? VERIFY_DIFFERENT : VERIFY_EXTRA;
}

static void
prove(struct verify_key *k, bool settled, bool strict)
{
	if (settled) {
		k->verdict = difference(k);
	} else if (!strict && !k->proof) {
		k->proof = true;
		if (++k->likely >= VERIFY_LIKELY)
			k->verdict = difference(k);
	}
}

void
verify_key_source(struct verify_key *k, struct verify_row row, bool settled, bool strict)
{
	struct verify_row before = k->source;

	drop_glances(k);
	k->source = row;
	k->settled = settled && k->sink_looked;
	if (!k->proof)
		k->likely = 0;
	k->proof = false;
	if (k->sink_looked && same_row(&k->source, &k->sink))
		k->verdict = VERIFY_EQUAL;
	else if (k->sink_looked && same_version(&before, &k->source) && k->sink.rows <= k->source.rows)
		prove(k, k->settled, strict);
	k->source_looked = true;
	drop_row(&before);
}

void
verify_key_glance(struct verify_key *k, struct verify_row row)
{
	char **at;

	if (!k->glances && !(k->glances = calloc(VERIFY_GLANCES, sizeof *k->glances)))
		die("out of memory");
	at = &k->glances[k->nglances++ % VERIFY_GLANCES];
	free(*at);
	if (!(*at = strdup(row.there ? row.cells : "")))
		die("out of memory");
	drop_row(&row);
}

static bool
was_glanced(const struct verify_key *k)
{
	for (int i = 0; i < VERIFY_GLANCES && i < k->nglances; i++)
		if (strcmp(k->glances[i], k->sink.there ? k->sink.cells : "") == 0)
			return true;
	return false;
}

void
verify_key_sink(struct verify_key *k, struct verify_row row, bool strict)
{
	struct verify_row before = k->sink;

	k->sink = row;
	k->rounds++;
	k->missing += k->source.there && !row.there;
	if (k->verdict == VERIFY_OPEN && (same_row(&k->source, &k->sink) || was_glanced(k)))
		k->verdict = VERIFY_EQUAL;
	else if (k->verdict == VERIFY_OPEN && k->sink_looked && same_version(&before, &k->sink) && k->source.rows <= k->sink.rows)
		prove(k, k->settled, strict);
	k->sink_looked = true;
	drop_row(&before);
}

void
verify_key_end(struct verify_key *k, bool strict)
{
	if (k->verdict == VERIFY_OPEN && !strict && k->rounds >= MISSING_ROUNDS && k->missing == k->rounds)
		k->verdict = VERIFY_MISSING;
}

int
verify_key_column(const struct verify_key *k, int i)
{
	const char *a = k->source.cells, *b = k->sink.cells;

	if (!a || !b || strcmp(a, VERIFY_SEVERAL) == 0 || strcmp(b, VERIFY_SEVERAL) == 0)
		return -1;
	for (int col = 0; *a && *b; col++) {
		size_t na = strcspn(a, ","), nb = strcspn(b, ",");

		if ((na != nb || memcmp(a, b, na) != 0) && i-- == 0)
			return col;
		a += na + (a[na] == ',');
		b += nb + (b[nb] == ',');
	}
	return -1;
}

int
verify_key_compare(char *const *a, char *const *b, int n)
{
	for (int i = 0; i < n; i++) {
		int c = strcmp(a[i], b[i]);

		if (c)
			return c;
	}
	return 0;
}
