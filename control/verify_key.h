/*
 * verify_key.h - is a row at the sink what it is at the source, although both change meanwhile? Pure.
 *
 * Looks take turns: source (S), then the log's end is noted and the sink awaited up to there, then sink (K), and so on. Equal looks are
 * equal rows. Looks that differ prove nothing yet, as each is of another moment, but these do:
 *
 *   S K S'   S and S' are the very same version of the row: while K was looked at the source had it, and the sink had applied S, so that
 *            K had to be it.
 *   K S K'   K and K' are the same version: K' had applied the log up to behind S, K had not, so that the sink stood at S's place with
 *            this row.
 *
 * Both hold only if S' (S) saw everything that the sink could have had before. A commit is in the log, and at the sink, a moment
 * before others see it, or long before where it waits for a synchronous standby. So the look is `settled` when it was made after
 * every transaction that ran at the look at the sink before it had ended. Where some run for hours that does not come: then it takes
 * VERIFY_LIKELY rounds in a row with the proof.
 */
#ifndef CONTROL_VERIFY_KEY_H
#define CONTROL_VERIFY_KEY_H

#include "core/base.h"

enum { VERIFY_LIKELY = 5, VERIFY_GLANCES = 500 };

enum verify_verdict { VERIFY_OPEN = 0, VERIFY_EQUAL, VERIFY_DIFFERENT, VERIFY_MISSING, VERIFY_EXTRA };

/* Cells of a key that several rows have. */
#define VERIFY_SEVERAL "rows"

/* "equal", "different", "missing" (at the sink), "extra" (there); "undecided". */
const char *verify_verdict_name(enum verify_verdict v);

/*
 * A row as one look found it. version: no two versions of a row share it; cells: a digest of each column, with commas.
 *
 * A table without a key is looked at as if it were one row: cells are the digest of all its rows, version is that of their versions. Rows
 * that came and went between two looks leave no trace there. So S and S' of one version mean that the source had at least these rows all
 * the while, and the sink at K too: it is proven wrong if K has other rows and not more of them; K and K' the other way round.
 */
struct verify_row {
	bool there;
	char *version, *cells; /* from malloc; NULL when it is not there */
	int64_t rows;          /* of a table without a key; else 0 */
};

struct verify_key {
	char **key;            /* texts of its columns; the caller's */
	struct verify_row source, sink;
	bool source_looked, sink_looked, settled;
	bool proof;            /* in this round */
	char **glances;        /* cells of the source since its look; "": no row. The newest VERIFY_GLANCES */
	int nglances;
	int rounds, likely, missing;
	enum verify_verdict verdict;
};

/*
 * Take the result of a look, whose texts are k's from now on. The first is of the source. strict: commits may wait for the sinks, so that
 * only settled looks prove anything.
 */
void verify_key_source(struct verify_key *k, struct verify_row row, bool settled, bool strict);
void verify_key_sink(struct verify_key *k, struct verify_row row, bool strict);

/*
 * Between the two: another look at the source. It proves nothing, but what the sink has is right, too, when it is one of these: the sink
 * stands behind the source's look, where each of them came to be.
 */
void verify_key_glance(struct verify_key *k, struct verify_row row);

/*
 * There will be no more looks. A row that was at the source at each of many looks, always another version, and at none of the sink's is
 * missing, unless strict; anything else stays open.
 */
void verify_key_end(struct verify_key *k, bool strict);

/* Frees the looks; the verdict stays. */
void verify_key_drop(struct verify_key *k);

/* The number of the i-th column whose digests differ, from 0; -1: there are no more, or nobody can say. */
int verify_key_column(const struct verify_key *k, int i);

/* Keys in the order in which both sides list them: byte by byte, column by column. */
int verify_key_compare(char *const *a, char *const *b, int n);

#endif
