/*
 * towline verify: a sink compared with the source, table by table, while writes go on.
 */
#include "consumer/marker.h"
#include "control/health.h"
#include "control/replicas.h"
#include "control/resync.h"
#include "control/sequence.h"
#include "control/verify.h"
#include "core/suggest.h"
#include "producer/publication.h"
#include "producer/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOAD_MS = 10000, TIMEOUT_US = 60000000, CHUNK_ROWS = 10000, LIMIT = 1000 };

struct verify_call {
	struct verify v;
	struct arena arena;
	struct replica_list replicas;
	bool sequences, copy;
	struct publication pub;
	struct verify_table *tables;
	int n;
	struct sequence_found *seqs;
	int nseqs;
};

/* ---- what was asked for ---- */

static enum rc
take_options(struct verify_call *w)
{
	struct call *call = w->v.call;
	const char *timeout = call_option(call, "timeout"), *sequences = call_option(call, "sequences");
	enum rc rc = call_number(call, "chunk-size", CHUNK_ROWS, 1, 10000000, &w->v.chunk_rows);

	if (rc == OK)
		rc = call_number(call, "limit", LIMIT, 1, 10000000, &w->v.limit);
	w->v.timeout_us = TIMEOUT_US;
	if (rc == OK && timeout && !health_span(timeout, &w->v.timeout_us))
		return call_usage(call, "--timeout takes a time such as 30s or 2m, not '%.60s'", timeout);
	w->sequences = sequences != NULL;
	w->copy = sequences && strcmp(sequences, "copy") == 0;
	if (rc == OK && sequences && !w->copy && strcmp(sequences, "check") != 0)
		return call_usage(call, "--sequences takes check or copy, not '%.60s'", sequences);
	return rc;
}

static enum rc
take_sink(struct verify_call *w)
{
	struct call *call = w->v.call;
	const struct conf *conf = call->conf;
	const struct replica *r;
	enum rc rc;

	if (!conf->source_url || marker_sqlite_path(conf->source_url) || conf->foreign_topics)
		return fail_exit(&call->err, FATAL, EXIT_CONFIG,
		    "only what Towline copies out of PostgreSQL can be verified; set source: postgres://...%s",
		    conf->foreign_topics ? ", without foreign.topics" : "");
	if ((rc = replicas_load(&w->v.kafka, &w->replicas, &call->err)) != OK)
		return rc;
	if (!(r = replicas_find(&w->replicas, call->argv[0])))
		return fail_exit(&call->err, FATAL, EXIT_CONFIG, "there is no sink '%s'", call->argv[0]);
	w->v.sink = r->sink;
	w->v.timeout_us += r->sink->delay_ms * 1000;
	if (marker_sqlite_path(r->sink->url))
		return fail_exit(&call->err, FATAL, EXIT_USAGE,
		    "sink %s is a SQLite store, whose values have other forms: only PostgreSQL sinks can be verified",
		    r->sink->name);
	return OK;
}

static bool
asked_for(const struct verify_call *w, const char *arg, struct slice schema, struct slice name)
{
	const char *full = strchr(arg, '.') ? arg : NULL;
	struct arena a = { 0 };
	bool yes;

	if (!full)
		full = arena_printf(&a, "%.*s.%s", SLICE_ARG(conf_schema(w->v.conf)), arg);
	yes = pattern_matches(full, NULL, schema, name);
	arena_free(&a);
	return yes;
}

static void
add_table(struct verify_call *w, const struct publication_table *p, bool named)
{
	struct verify_table *t = &w->tables[w->n++];

	t->schema = arena_text(&w->arena, slice_of(p->schema));
	t->name = arena_text(&w->arena, slice_of(p->name));
	if (!conf_sink_wants(w->v.sink, slice_of(p->schema), slice_of(p->name)))
		t->why = "this sink does not take it";
	else if (conf_lists(w->v.conf->outbox_tables, slice_of(p->schema), slice_of(p->name)))
		t->why = "an outbox, whose rows are events";
	else if (!p->in)
		t->why = p->fit ? "it is not in the publication" : "it has no key, and no REPLICA IDENTITY FULL, so it is not published";
	t->named = named;
	t->state = t->why ? VERIFY_SKIPPED : VERIFY_SAME;
}

/* Those of the arguments, or all; what the sink does not take by its configuration is left out unless it was asked for by name. */
static enum rc
take_tables(struct verify_call *w)
{
	struct call *call = w->v.call;
	enum rc rc = publication_look(w->v.look[VERIFY_SOURCE], w->v.conf, &w->arena, &w->pub, &call->err);
	bool *used = arena_array(&w->arena, (size_t)call->argc + 1, sizeof *used);

	if (rc != OK)
		return fail_in(&call->err, "source");
	w->tables = calloc((size_t)w->pub.ntables + 1, sizeof *w->tables);
	if (!w->tables)
		die("out of memory");
	for (int i = 0; i < w->pub.ntables; i++) {
		const struct publication_table *p = &w->pub.tables[i];
		bool named = false, take = call->argc == 1 && conf_sink_wants(w->v.sink, slice_of(p->schema), slice_of(p->name));

		for (int k = 1; k < call->argc; k++)
			if (asked_for(w, call->argv[k], slice_of(p->schema), slice_of(p->name))) {
				used[k] = take = true;
				named = named || (!strpbrk(call->argv[k], "*?") && call->argv[k][0] != '/');
			}
		if (take)
			add_table(w, p, named);
	}
	for (int k = 1; k < call->argc; k++) {
		struct suggestion s = { .word = slice_of(call->argv[k]) };

		for (int i = 0; i < w->pub.ntables && !used[k]; i++) {
			suggest_offer(&s, slice_of(w->pub.tables[i].name));
			suggest_offer(&s, slice_of(arena_printf(&w->arena, "%s.%s", w->pub.tables[i].schema, w->pub.tables[i].name)));
		}
		if (!used[k])
			return fail_exit(&call->err, FATAL, EXIT_USAGE, "the source has no table %s that 'tables' takes in%s%.*s%s",
			    call->argv[k], s.best.n ? "; did you mean " : "", SLICE_ARG(s.best), s.best.n ? "?" : "");
	}
	return OK;
}

/* ---- copies ---- */

static void
judge_copy(struct verify_table *t, const struct copy *c)
{
	t->upto = c->upto;
	t->copy = t->copy_now;
	if (c->state == COPY_STOPPED || (c->empty && !copy_open(c))) {
		t->state = VERIFY_SKIPPED;
		t->why = "it is stopped, as it cannot be published as it is now: the sink lacks changes of it; see towline snapshot ls";
	} else if (c->state == COPY_WAITING || c->state == COPY_RUNNING || c->state == COPY_PAUSED) {
		t->state = VERIFY_SKIPPED;
		t->why = c->state == COPY_PAUSED ? "its copy is paused" : "it is being copied; see towline snapshot ls";
	} else if (c->state == COPY_NONE) {
		t->note = "rows from before were not copied (snapshot: never); towline snapshot add copies them";
	} else if (c->state == COPY_CANCELLED || c->state == COPY_FAILED) {
		t->note = "its copy was not finished; towline snapshot add makes it";
	} else if (c->where) {
		t->note = "its last copy had a condition (snapshot add --where)";
	}
}

static void
note_copy(struct verify_call *w, struct slice name, struct slice value, bool judge)
{
	struct slice schema, table;
	struct copy c = { 0 };
	struct err err;

	if (!copy_name_split(name, &w->arena, &schema, &table) || copy_take(value, &c, &err) != OK)
		return;
	for (int i = 0; i < w->n; i++) {
		struct verify_table *t = &w->tables[i];

		/* The newest record of a table counts. */
		if (!slice_is(schema, t->schema) || !slice_is(table, t->name))
			continue;
		t->copy_now = (struct verify_copy){ c.state, c.empty, c.begun, c.upto };
		if (!judge)
			continue;
		if (t->state == VERIFY_SKIPPED && t->copied)
			t->state = VERIFY_SAME, t->why = NULL;
		t->note = NULL;
		t->copied = t->state != VERIFY_SKIPPED;
		if (t->copied)
			judge_copy(t, &c);
		t->lacks = t->copied && t->state == VERIFY_SKIPPED;
	}
	copy_free(&c);
}

/* judge: tables are skipped, or noted, for their copies; else those are only noted down in copy_now. */
static enum rc
read_copies(struct verify_call *w, bool judge)
{
	struct err *err = &w->v.call->err;
	struct control *c = NULL;
	struct control_record rec;
	struct slice name;
	enum rc rc = control_open(&w->v.kafka, CONTROL_ALL, false, &c, err);

	for (int i = 0; i < w->n; i++)
		w->tables[i].copy_now = (struct verify_copy){ 0 };
	while (rc == OK && control_there(c) && (rc = control_held(c, LOAD_MS, &rec, err)) == OK)
		if (control_about(rec.key, COPY_PREFIX, &name) && rec.value.n)
			note_copy(w, name, rec.value, judge);
	control_close(c);
	return rc == AGAIN ? OK : rc;
}

/* Rows may be missing at the sink that are still to come. With the embedded broker only the publication's comment tells. */
static enum rc
rows_to_come(struct verify_call *w, bool *yes)
{
	struct err *err = &w->v.call->err;
	PGresult *res = NULL;
	enum rc rc;

	if (!w->v.conf->embedded)
		return resync_stands(&w->v.kafka, w->v.sink, yes, err);
	rc = verify_ask(w->v.look[VERIFY_SOURCE], "the publication's comment",
	    "SELECT obj_description(oid, 'pg_publication') FROM pg_catalog.pg_publication WHERE pubname = $1", 1,
	    &w->v.conf->publication, &res, err);
	*yes = rc == OK && PQntuples(res) && snapshot_is_unfinished(PQgetvalue(res, 0, 0));
	PQclear(res);
	return rc == OK ? OK : fail_in(err, "source");
}

static enum rc
look_at_copies(struct verify_call *w)
{
	struct err *err = &w->v.call->err;
	bool yes = false;
	enum rc rc = rows_to_come(w, &yes);

	if (rc == OK && yes && w->v.conf->embedded)
		return fail(err, FATAL, "tables are still being copied, so that rows of them are not at the sink; try again once the log of"
		    " towline run says that the copies are done");
	if (rc == OK && yes)
		return fail(err, FATAL, "sink %s is being made anew (towline resync) and lacks rows until that is over; see towline stats",
		    w->v.sink->name);
	return rc == OK && !w->v.conf->embedded ? read_copies(w, true) : rc;
}

static bool
same_copy(const struct verify_copy *a, const struct verify_copy *b)
{
	return a->state == b->state && a->empty == b->empty && a->begun.gen == b->begun.gen && a->begun.no == b->begun.no &&
	    a->upto.gen == b->upto.gen && a->upto.no == b->upto.no;
}

/* Before it is said that a table differs: a copy, or a resync, that began after the first look explains it. */
static enum rc
look_at_copy_again(struct verify_call *w, struct verify_table *t)
{
	bool yes = false;
	enum rc rc = rows_to_come(w, &yes);

	if (rc == OK && !yes && !w->v.conf->embedded) {
		rc = read_copies(w, false);
		yes = !same_copy(&t->copy, &t->copy_now);
	}
	if (rc != OK || !yes)
		return rc;
	t->state = VERIFY_UNDECIDED;
	t->note = "it differed, but is copied again, or is the sink made anew, since it was looked at; verify it once that is over";
	for (int i = VERIFY_DIFFERENT; i <= VERIFY_EXTRA; i++) {
		t->counts[VERIFY_OPEN] += t->counts[i];
		t->counts[i] = 0;
	}
	for (int i = 0; i < t->nfound; i++)
		t->found[i].verdict = VERIFY_OPEN;
	return OK;
}

/* ---- the comparison ---- */

/* Rights, or a policy that would hide rows; more columns than a row may have: other tables can be compared all the same. */
static bool
is_of_the_table(enum rc rc, const struct err *err)
{
	return rc == FATAL && (strstr(err->text, "(SQLSTATE 42501)") || strstr(err->text, "(SQLSTATE 54"));
}

static enum rc
verify_one(struct verify_call *w, struct verify_table *t)
{
	struct err *err = &w->v.call->err;
	const char *note = t->note;
	enum rc rc = OK;

	if (t->state != VERIFY_SKIPPED)
		rc = verify_table_look(&w->v, t, err);
	if (rc == OK && t->state != VERIFY_SKIPPED && t->shape.from[VERIFY_SINK])
		rc = verify_rows(&w->v, t, err);
	if (rc == REJECT || is_of_the_table(rc, err)) {
		/* A value that the sink's type does not take, say. What was found before holds. */
		bool wrong = t->counts[VERIFY_DIFFERENT] + t->counts[VERIFY_MISSING] + t->counts[VERIFY_EXTRA];

		t->state = wrong ? VERIFY_DIFFERS : VERIFY_UNDECIDED;
		t->cut = true;
		t->note = arena_text(&t->arena, slice_of(err->text));
		rc = verify_quiet(&w->v, err);
	}
	if (rc == OK && t->state == VERIFY_DIFFERS)
		rc = look_at_copy_again(w, t);
	/* Where nothing is wrong nobody needs to hear why something could be. */
	if (t->note == note && t->state == VERIFY_SAME)
		t->note = NULL;
	if (rc == OK)
		verify_print_table(&w->v, t);
	return rc == OK ? OK : fail_in(err, "table %s.%s", t->schema, t->name);
}

static enum rc
verify_sequences(struct verify_call *w, struct arena *a)
{
	struct sequence_how how = { .copy = w->copy, .create = w->copy };
	struct sequences *s = NULL;
	enum rc rc;

	if (!w->sequences)
		return OK;
	rc = sequences_open(w->v.conf, a, &s, &w->v.call->err);
	if (rc == OK)
		rc = sequences_treat(s, w->v.sink, &how, &w->seqs, &w->nseqs, &w->v.call->err);
	sequences_close(s);
	return rc;
}

int
verify_open_tables(const struct verify_table *tables, int n)
{
	int found = 0;

	for (int i = 0; i < n; i++)
		found += tables[i].state == VERIFY_UNDECIDED ||
		    (tables[i].state == VERIFY_SKIPPED && (tables[i].named || tables[i].lacks));
	return found;
}

bool
verify_equal(const struct verify_table *tables, int n)
{
	int same = 0;

	for (int i = 0; i < n; i++) {
		if (tables[i].state == VERIFY_DIFFERS)
			return false;
		same += tables[i].state == VERIFY_SAME;
	}
	return same && !verify_open_tables(tables, n);
}

static int
verdict(struct verify_call *w)
{
	int undecided = verify_open_tables(w->tables, w->n);
	bool different = false;

	for (int i = 0; i < w->n; i++)
		different = different || w->tables[i].state == VERIFY_DIFFERS;
	for (int i = 0; i < w->nseqs; i++)
		different = different || sequence_is_less(&w->seqs[i]);
	if (different)
		return EXIT_DIFFERENT;
	if (verify_equal(w->tables, w->n))
		return EXIT_DONE;
	if (undecided)
		(void)fail(&w->v.call->err, FATAL, "%d %s undecided, or skipped", undecided, undecided == 1 ? "table is" : "tables are");
	else
		(void)fail(&w->v.call->err, FATAL, "no table was compared");
	return EXIT_FAILED;
}

int
cmd_verify(struct call *call)
{
	struct verify_call w = { .v = { .call = call, .conf = call->conf, .kafka = { .conf = call->conf } } };
	struct arena a = { 0 };
	int code = EXIT_DONE;
	enum rc rc = take_options(&w);

	w.v.terminal = isatty(STDERR_FILENO) && !call->json;
	w.v.strict = call->conf->synchronous != SYNC_OFF;
	if (rc == OK)
		rc = take_sink(&w);
	if (rc == OK && !call->conf->embedded)
		rc = board_open(&w.v.kafka, &w.v.board, &call->err);
	if (rc == OK)
		rc = verify_open(&w.v, &call->err);
	if (rc == OK)
		rc = take_tables(&w);
	if (rc == OK)
		rc = look_at_copies(&w);
	for (int i = 0; i < w.n && rc == OK; i++)
		rc = verify_one(&w, &w.tables[i]);
	if (rc == OK)
		rc = verify_sequences(&w, &a);
	if (rc == OK) {
		(call->json ? verify_print_json : verify_print_end)(&w.v, w.tables, w.n, w.seqs, w.nseqs);
		code = verdict(&w);
	}
	for (int i = 0; i < w.n; i++)
		arena_free(&w.tables[i].arena);
	free(w.tables);
	verify_close(&w.v);
	board_close(w.v.board);
	replicas_free(&w.replicas);
	arena_free(&w.arena);
	arena_free(&a);
	return rc == OK ? code : (int)call->err.exit;
}

static const struct command_option verify_options[] = {
	{ "chunk-size", 0, "ROWS", "rows that are digested at once (10000)" },
	{ "limit", 0, "N", "keys to name of a table; then the rest of it is not looked at (1000)" },
	{ "sequences", 0, "WHAT", "check: compare them too; copy: make and move those that are behind" },
	{ "timeout", 0, "TIME", "how long to wait for the sink to follow (60s)" },
};

const struct command command_verify = {
	.name = "verify",
	.summary = "compare a sink with the source while writes go on; name the keys that differ",
	.usage = "SINK [TABLE...] [--limit N] [--sequences check|copy]",
	.examples = "towline verify reports\ntowline verify reports public.orders 'audit.*' --json\n",
	.detail =
	    "TABLE is SCHEMA.TABLE, or a table of schema public, with * and ?. Reads both databases, changes nothing (but for --sequences\n"
	    "copy). Chunks are compared by digests that the servers make; what differs is looked at again, key by key, until one side\n"
	    "stood still and the sink had applied the log up to there: a row that is only on its way is no difference. Tables that are\n"
	    "being copied, or stopped, are skipped. Exit code 6: something differs; 1: something is undecided, as it changed at every\n"
	    "look, or skipped although it was named or is copied, or nothing was compared.\n",
	.options = verify_options,
	.noptions = COUNTOF(verify_options),
	.args_min = 1,
	.args_max = -1,
	.run = cmd_verify,
};
