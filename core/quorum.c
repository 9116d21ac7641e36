#include "core/quorum.h"
#include "core/conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *
skip_blank(const char *p)
{
	while (isspace((unsigned char)*p))
		p++;
	return p;
}

/* A name of a sink, or a word; "" when none is here. */
static const char *
word(const char **at, struct arena *a)
{
	const char *from = skip_blank(*at), *p = from;

	while (isalnum((unsigned char)*p) || *p == '_' || *p == '-')
		p++;
	*at = skip_blank(p);
	return arena_text(a, (struct slice){ from, (size_t)(p - from) });
}

static enum rc
take_member(struct quorum *q, const char *name, struct err *err)
{
	if (!*name)
		return fail(err, FATAL, "the name of a sink is missing");
	if (q->nmembers == QUORUM_MAX)
		return fail(err, FATAL, "more than %d sinks are named", QUORUM_MAX);
	for (int i = 0; i < q->nmembers; i++)
		if (strcmp(q->members[i], name) == 0)
			return fail(err, FATAL, "sink '%s' is named twice", name);
	q->members[q->nmembers++] = name;
	return OK;
}

/* The names up to the end, or to the bracket that closes them. */
static enum rc
take_members(const char **at, const char *first, bool bracket, struct arena *a, struct quorum *q, struct err *err)
{
	enum rc rc = take_member(q, first ? first : word(at, a), err);

	while (rc == OK && **at == ',') {
		++*at;
		rc = take_member(q, word(at, a), err);
	}
	if (rc == OK && bracket && *(*at)++ != ')')
		rc = fail(err, FATAL, "')' is missing");
	if (rc == OK && *skip_blank(*at))
		rc = fail(err, FATAL, "'%.20s' is not understood", skip_blank(*at));
	return rc;
}

/* ANY n (a, b): behind the word. */
static enum rc
take_any(const char *p, struct arena *a, struct quorum *out, struct err *err)
{
	enum rc rc;

	out->need = (int)strtol(word(&p, a), NULL, 10);
	if (*p++ != '(')
		return fail(err, FATAL, "'(' is missing");
	rc = take_members(&p, NULL, true, a, out, err);
	if (rc == OK && (out->need < 1 || out->need > out->nmembers))
		rc = fail(err, FATAL, "%d of %d sinks cannot be waited for", out->need, out->nmembers);
	return rc;
}

enum rc
quorum_parse(const char *text, struct arena *a, struct quorum *out, struct err *err)
{
	const char *p = text ? skip_blank(text) : "", *first;
	enum rc rc;

	*out = (struct quorum){ 0 };
	if (!*p)
		return OK;
	first = word(&p, a);
	if (strcasecmp(first, "FIRST") == 0 && isdigit((unsigned char)*p))
		return fail(err, FATAL, "FIRST is not known here, as nobody can tell that a sink is away; write ANY %.3s (...)", p);
	if (strcasecmp(first, "ANY") == 0 && isdigit((unsigned char)*p))
		return take_any(p, a, out, err);
	rc = take_members(&p, first, false, a, out, err);
	out->need = out->nmembers;
	return rc;
}

uint64_t
quorum_reached(const struct quorum *q, const uint64_t *at)
{
	uint64_t best = 0;

	/* The largest value that `need` members have reached: one of theirs. */
	for (int i = 0; i < q->nmembers; i++) {
		int n = 0;

		for (int k = 0; k < q->nmembers; k++)
			n += at[k] >= at[i];
		if (n >= q->need && at[i] > best)
			best = at[i];
	}
	return best;
}

enum rc
quorum_of(const struct conf *conf, struct arena *a, struct quorum *out, struct err *err)
{
	enum rc rc = OK;

	*out = (struct quorum){ 0 };
	if (conf->synchronous != SYNC_APPLIED)
		return OK;
	if (conf->synchronous_sinks)
		return quorum_parse(conf->synchronous_sinks, a, out, err);
	for (int i = 0; rc == OK && i < conf->nsinks; i++)
		rc = take_member(out, conf->sinks[i].name, err);
	out->need = out->nmembers;
	return rc;
}
