/*
 * The rules by which every reader of the spine agrees: one by one, and from every place in random histories.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "schemas/spine.h"

#include <cmocka.h>

#include "tests/unit/random.h"

/* ---- the rules, one by one ---- */

/* clang-format off */
#define OPENS(g, p, t, n) { .kind = SPINE_OPEN, .gen = g, .prev_gen = p, .token = t, .no = n }
#define GROUPS(g, t, n, from, to, f) \
	{ .kind = SPINE_GROUP, .gen = g, .token = t, .no = n, .seq_from = from, .seq_to = to, .flags = f }
#define BEATS(g, t, n, w) { .kind = SPINE_BEAT, .gen = g, .token = t, .no = n, .watermark = w }
#define ENDS { .kind = SPINE_BEAT }, SPINE_STALE

static const struct rule {
	const char *name;
	struct step {
		struct spine_record r;
		enum spine_verdict want;
	} steps[10];
	struct spine_state end; /* gen token no seq watermark partial count */
} rules[] = {
	{ "the first of two openers wins",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ OPENS(1, 0, 8, 0), SPINE_STALE },
		{ GROUPS(1, 8, 1, 1, 1, 0), SPINE_STALE },
		{ BEATS(1, 8, 0, 99), SPINE_STALE },
		{ GROUPS(1, 7, 1, 1, 3, 0), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 1, .seq = 3 } },
	{ "the same two, the other way round",
	    {
		{ OPENS(1, 0, 8, 0), SPINE_ACCEPT },
		{ OPENS(1, 0, 7, 0), SPINE_STALE },
		{ GROUPS(1, 7, 1, 1, 3, 0), SPINE_STALE },
		{ GROUPS(1, 8, 1, 1, 1, 0), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 1, .token = 8, .no = 1, .seq = 1 } },
	{ "an opener with the winner's token is no second winner",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ OPENS(1, 0, 7, 0), SPINE_STALE },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "a zombie's groups and beats do not count",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 5, 0), SPINE_ACCEPT },
		{ OPENS(2, 1, 9, 1), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 6, 6, 0), SPINE_STALE },
		{ BEATS(1, 7, 1, 99), SPINE_STALE },
		{ GROUPS(2, 9, 2, 6, 8, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 3, 9, 9, 0), SPINE_STALE },
		{ ENDS },
	    },
	    { .gen = 2, .token = 9, .no = 2, .seq = 8 } },
	{ "an opener that looked before another one opened",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ OPENS(2, 1, 8, 0), SPINE_ACCEPT },
		{ OPENS(2, 1, 9, 0), SPINE_STALE },
		{ OPENS(3, 2, 9, 0), SPINE_ACCEPT },
		{ OPENS(2, 1, 5, 0), SPINE_STALE },
		{ ENDS },
	    },
	    { .gen = 3, .token = 9 } },
	{ "groups that came between look and OPEN stay",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 5, 0), SPINE_ACCEPT },
		{ OPENS(2, 1, 9, 0), SPINE_ACCEPT },
		{ GROUPS(2, 9, 2, 6, 6, 0), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 2, .token = 9, .no = 2, .seq = 6 } },
	{ "a generation may not be skipped",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ OPENS(3, 1, 9, 0), SPINE_STALE },
		{ OPENS(1, 1, 9, 0), SPINE_STALE },
		{ OPENS(2, 0, 9, 0), SPINE_STALE },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "what was accepted comes again",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 1, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 2, 2, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 2, 2, 0), SPINE_REPEAT },
		{ GROUPS(1, 7, 1, 1, 1, 0), SPINE_REPEAT },
		{ BEATS(1, 7, 1, 99), SPINE_REPEAT },
		{ GROUPS(1, 7, 3, 3, 3, 0), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 3, .seq = 3 } },
	{ "a missing group",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 1, 1, 0), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "a missing transaction",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 2, 2, 0), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "a transaction twice",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 2, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 2, 3, 0), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 1, .seq = 2 } },
	{ "a beat of groups that are missing",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ BEATS(1, 7, 1, 99), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "a group of a generation whose OPEN is missing",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(2, 9, 1, 1, 1, 0), SPINE_GAP },
		{ BEATS(2, 9, 0, 0), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "an OPEN after one that is missing",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ OPENS(3, 2, 9, 0), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "an OPEN after groups that are missing",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ OPENS(2, 1, 9, 4), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "a log that has lost its beginning",
	    {
		{ GROUPS(1, 7, 1, 1, 1, 0), SPINE_GAP },
		{ BEATS(1, 7, 0, 0), SPINE_GAP },
		{ OPENS(5, 4, 7, 3), SPINE_GAP },
		{ OPENS(1, 0, 7, 1), SPINE_GAP },
		{ ENDS },
	    },
	    { 0 } },
	{ "a transaction in three groups",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 3, 3, SPINE_CONTINUES | SPINE_MORE), SPINE_ACCEPT },
		{ GROUPS(1, 7, 3, 3, 5, SPINE_CONTINUES), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 3, .seq = 5 } },
	{ "an unfinished transaction must go on",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 3, 4, 0), SPINE_GAP },
		{ GROUPS(1, 7, 2, 4, 4, SPINE_CONTINUES), SPINE_GAP },
		{ GROUPS(1, 7, 2, 4, 4, 0), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 1, .seq = 2, .partial = true } },
	{ "nothing goes on that was not begun",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 1, SPINE_CONTINUES), SPINE_GAP },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7 } },
	{ "an OPEN makes an unfinished transaction void",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT },
		{ GROUPS(1, 7, 2, 3, 3, SPINE_CONTINUES | SPINE_MORE), SPINE_ACCEPT },
		{ OPENS(2, 1, 9, 2), SPINE_ACCEPT },
		{ GROUPS(1, 7, 3, 3, 3, SPINE_CONTINUES), SPINE_STALE },
		{ GROUPS(2, 9, 3, 3, 3, SPINE_CONTINUES), SPINE_GAP },
		{ GROUPS(2, 9, 3, 3, 4, 0), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 2, .token = 9, .no = 3, .seq = 4 } },
	{ "an opener that lost makes nothing void",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 3, SPINE_MORE), SPINE_ACCEPT },
		{ OPENS(1, 0, 8, 0), SPINE_STALE },
		{ GROUPS(1, 7, 2, 3, 3, SPINE_CONTINUES), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 2, .seq = 3 } },
	{ "a beat moves the watermark, and only forward",
	    {
		{ OPENS(1, 0, 7, 0), SPINE_ACCEPT },
		{ BEATS(1, 7, 0, 50), SPINE_ACCEPT },
		{ BEATS(1, 7, 0, 40), SPINE_ACCEPT },
		{ GROUPS(1, 7, 1, 1, 1, 0), SPINE_ACCEPT },
		{ ENDS },
	    },
	    { .gen = 1, .token = 7, .no = 1, .seq = 1, .watermark = 50 } },
};
/* clang-format on */

static bool
same_state(const struct spine_state *x, const struct spine_state *y)
{
	return x->gen == y->gen && x->token == y->token && x->no == y->no && x->seq == y->seq &&
	    x->lsn == y->lsn && x->watermark == y->watermark && x->system_id == y->system_id &&
	    x->timeline == y->timeline && x->commit_us == y->commit_us &&
	    x->partial == y->partial && x->started == y->started;
}

static void
one_by_one(void **state UNUSED)
{
	for (size_t i = 0; i < COUNTOF(rules); i++) {
		const struct spine_state *end = &rules[i].end;
		struct spine_state s = { 0 };

		for (const struct step *step = rules[i].steps; step->r.gen; step++) {
			struct spine_state before = s;
			enum spine_verdict got = spine_step(&s, &step->r);

			if (got != step->want)
				fail_msg("%s: step %td: %d, not %d", rules[i].name,
				    step - rules[i].steps + 1, (int)got, (int)step->want);
			if (got != SPINE_ACCEPT && !same_state(&before, &s))
				fail_msg("%s: step %td was not accepted, yet it changed the state",
				    rules[i].name, step - rules[i].steps + 1);
		}
		if (s.gen != end->gen || s.token != end->token || s.no != end->no ||
		    s.seq != end->seq || s.watermark != end->watermark || s.partial != end->partial)
			fail_msg("%s: ends at gen %" PRIu64 " token %" PRIu64 " no %" PRIu64
				 " seq %" PRIu64,
			    rules[i].name, s.gen, s.token, s.no, s.seq);
	}
}

/* ---- random histories ---- */

enum { RECORDS_MAX = 400, ZOMBIES_MAX = 8, OPENERS_MAX = 4 };

/* A writer as it sees itself; it may be fenced and not know it yet. */
struct actor {
	struct spine_record last; /* its last record: what the next one follows */
	uint64_t seq;		  /* complete transactions */
	bool partial;
	int until; /* a zombie writes nothing from this record on */
};

struct opener {
	struct spine_record open;
	bool looked;
};

struct history {
	struct rng *r;
	struct spine_record recs[RECORDS_MAX];
	const struct spine_record *list[RECORDS_MAX];
	enum spine_verdict want[RECORDS_MAX];
	int n;
	struct actor writer, zombies[ZOMBIES_MAX];
	int nzombies;
	struct opener openers[OPENERS_MAX];
	uint64_t tokens;
};

static void
add(struct history *h, const struct spine_record *rec, enum spine_verdict want)
{
	h->recs[h->n] = *rec;
	h->list[h->n] = &h->recs[h->n];
	h->want[h->n++] = want;
}

static struct spine_record
next_group(struct rng *r, struct actor *a)
{
	struct spine_record g = a->last;
	uint64_t complete;

	g.kind = SPINE_GROUP;
	g.no++;
	g.seq_from = a->seq + 1;
	g.seq_to = g.seq_from + (one_in(r, 2) ? 0 : below(r, 5));
	g.flags = (a->partial ? SPINE_CONTINUES : 0) | (one_in(r, 5) ? SPINE_MORE : 0);
	a->partial = g.flags & SPINE_MORE;
	complete = a->partial ? g.seq_to - 1 : g.seq_to;
	if (complete > a->seq) {
		g.lsn += 1 + below(r, 100);
		g.watermark = g.watermark > g.lsn ? g.watermark : g.lsn + 8;
	}
	g.commit_us++;
	a->seq = complete;
	a->last = g;
	return g;
}

static struct spine_record
next_beat(struct rng *r, struct actor *a)
{
	struct spine_record b = a->last;

	b.kind = SPINE_BEAT;
	b.seq_from = 0;
	b.seq_to = a->seq;
	b.flags = 0;
	b.watermark += below(r, 100);
	a->last = b;
	return b;
}

static struct spine_record
next_record(struct rng *r, struct actor *a)
{
	return !a->partial && one_in(r, 4) ? next_beat(r, a) : next_group(r, a);
}

/* One that would like to write looks at the log as it is now. */
static void
look(struct history *h, struct opener *o)
{
	o->open = h->writer.last;
	o->open.kind = SPINE_OPEN;
	o->open.prev_gen = h->writer.last.gen;
	o->open.gen = o->open.prev_gen + 1;
	o->open.token = ++h->tokens;
	o->open.timeline = (uint32_t)(h->writer.last.timeline + one_in(h->r, 3));
	o->open.system_id = 42;
	o->open.seq_to = h->writer.seq;
	o->open.flags = 0;
	o->looked = true;
}

/* Its OPEN arrives: first for its generation, or too late. */
static void
open_arrives(struct history *h, struct opener *o)
{
	bool wins = o->open.prev_gen == h->writer.last.gen;
	struct actor *z = &h->zombies[h->nzombies % ZOMBIES_MAX];

	o->looked = false;
	add(h, &o->open, wins ? SPINE_ACCEPT : SPINE_STALE);
	if (!wins)
		return;
	*z = h->writer;
	z->until = h->n + SPINE_UNREAD_MAX;
	h->nzombies++;
	/* It has read everything up to its OPEN. */
	h->writer.last.gen = o->open.gen;
	h->writer.last.token = o->open.token;
	h->writer.last.timeline = o->open.timeline;
	h->writer.last.system_id = o->open.system_id;
	h->writer.partial = false;
}

static void
zombie_writes(struct history *h)
{
	struct actor *z = &h->zombies[below(h->r, ZOMBIES_MAX)];
	struct spine_record rec;

	if (h->n >= z->until || z->last.gen == 0)
		return;
	rec = next_record(h->r, z);
	add(h, &rec, SPINE_STALE);
}

/* The last few records once more, as a retried batch. */
static void
repeat(struct history *h)
{
	int from = h->n, n = h->n;

	while (from > 0 && n - from < 3 && h->recs[from - 1].kind == SPINE_GROUP &&
	    h->want[from - 1] == SPINE_ACCEPT)
		from--;
	for (int i = from; i < n && h->n < RECORDS_MAX; i++)
		add(h, &h->recs[i], SPINE_REPEAT);
}

static void
make_history(struct history *h, struct rng *r)
{
	int n = 1 + (int)below(r, RECORDS_MAX), change = 0;
	uint64_t writes = 0, zombies = 0, opens = 0;

	h->r = r;
	look(h, &h->openers[0]);
	open_arrives(h, &h->openers[0]);
	while (h->n < n) {
		struct opener *o = &h->openers[below(r, OPENERS_MAX)];
		uint64_t what;

		/* Times differ: at work, or one writer after the other opens and dies, or zombies wake. */
		if (h->n >= change) {
			change = h->n + 1 + (int)below(r, 120);
			writes = one_in(r, 2) ? 0 : below(r, 8);
			zombies = one_in(r, 2) ? 0 : below(r, 4);
			opens = 1 + below(r, 3);
		}
		what = below(r, writes + zombies + opens + 1);
		if (what < writes) {
			struct spine_record rec = next_record(r, &h->writer);

			add(h, &rec, SPINE_ACCEPT);
		} else if (what < writes + zombies)
			zombie_writes(h);
		else if (what < writes + zombies + opens && one_in(r, 4 - opens))
			o->looked ? open_arrives(h, o) : look(h, o);
		else if (one_in(r, 8))
			repeat(h);
	}
}

/* The state by the tail from record `cut` on; false: the tail does not tell. */
static bool
resumed(const struct history *h, int cut, struct spine_state *s)
{
	int n = h->n - cut, i = spine_resume(s, h->list + cut, n);

	HOLDS(h->r, i <= n);
	if (i < 0)
		return false;
	for (; i < n; i++)
		HOLDS(h->r, spine_step(s, h->list[cut + i]) != SPINE_GAP);
	return true;
}

static void
from_every_place(void **state UNUSED)
{
	static struct history h;
	uint64_t seed = first_seed("from_every_place"), times = rounds(600), told = 0, cuts = 0,
		 doubts = 0;

	for (uint64_t i = 0; i < times; i++) {
		struct rng r = rng_of(seed + i);
		struct spine_state whole = { 0 }, s;

		memset(&h, 0, sizeof h);
		make_history(&h, &r);
		for (int k = 0; k < h.n; k++) {
			enum spine_verdict got = spine_step(&whole, h.list[k]);

			HOLDS(&r, got == h.want[k]);
		}
		HOLDS(&r,
		    whole.gen == h.writer.last.gen && whole.token == h.writer.last.token &&
			whole.no == h.writer.last.no);
		HOLDS(&r,
		    whole.seq == h.writer.seq && whole.partial == h.writer.partial &&
			whole.watermark == h.writer.last.watermark);
		HOLDS(&r,
		    whole.lsn == h.writer.last.lsn && whole.commit_us == h.writer.last.commit_us);
		HOLDS(&r,
		    whole.timeline == h.writer.last.timeline &&
			whole.system_id == h.writer.last.system_id && whole.started);
		for (int cut = 0; cut == 0 || cut < h.n - SPINE_UNREAD_MAX; cut++) {
			cuts++;
			if (!resumed(&h, cut, &s)) {
				doubts++;
				continue;
			}
			told++;
			HOLDS(&r, same_state(&whole, &s));
		}
	}
	printf("%" PRIu64 " tails, %" PRIu64 " do not tell\n", cuts, doubts);
	if (times >= 100)
		assert_true(told > cuts / 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_by_one),
		cmocka_unit_test(from_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
