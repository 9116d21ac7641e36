/*
 * sim [--seeds N [--from SEED]] [--plant NAME] [-v] [SEED]
 *
 * Worlds from seeds 1 to N (10000), or one world with its story. Exit 1 at the first that breaks a rule.
 */
#include "tests/sim/sim.h"

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

enum {
	QUIET_STEPS = 40000, /* after the faults everything has arrived by then */
};

static const char *const plants[PLANT_N] = { "none", "lsn-only", "no-read-back", "confirm-early",
	"group-early", "no-cas", "any-gen", "all-rows", "no-cut" };

static const char *const moment_names[M_N] = { "OPEN sent", "no GROUP yet", "BEGIN decoded",
	"rows sent", "rows acked", "GROUP sent", "GROUP stands", "read back", "batch read",
	"marker written", "rows written", "COMMIT sent", "committed", "sink" };

/* What the handler of SIGABRT prints: an assertion of the core is a find too. */
static char again[80];

_Noreturn void
broken(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "broken: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nagain: sim%s%s %" PRIu64 "\n", w->plant ? " --plant " : "",
	    w->plant ? plants[w->plant] : "", w->seed);
	_exit(1);
}

void
tell(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	printf("%6" PRId64 " ", w->now_ms);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static void
aborted(int sig UNUSED)
{
	if (write(STDERR_FILENO, again, strlen(again)) >= 0)
		_exit(1);
}

void
refuse(struct world *w, const char *who, int number, const char *why)
{
	TELL(w, "%s %d: refuses: %s", who, number, why);
	if (!w->lost)
		broken(w, "%s %d refuses although nothing was lost: %s", who, number, why);
	w->refused = true;
	w->stats->refused++;
}

/* ---- a world ---- */

static int keys[] = { 0 };
static struct column columns[COLS] = { { .name = SLICE_LIT("id") }, { .name = SLICE_LIT("a") },
	{ .name = SLICE_LIT("b") } };
static const char *const names[TABLES] = { "t0", "t1", "t2" };

static void
make_world(struct world *w)
{
	struct rng *r = &w->rng;

	w->rng = rng_of(w->seed * UINT64_C(0x9e3779b97f4a7c15));
	for (int i = 0; i < F_N; i++) {
		w->on[i] = i < F_USUAL ? one_in(r, 2) : one_in(r, 16);
		w->stats->features[i] += w->on[i];
	}
	for (int i = 0; i < TABLES; i++)
		w->tbl[i] = (struct table){ .schema = SLICE_LIT("s"),
			.name = slice_of(names[i]),
			.ncols = COLS,
			.cols = columns,
			.nkeys = 1,
			.keys = keys };
	w->parts = 1 + (int)below(r, PARTS);
	w->nwriters = w->on[F_MORE_WRITERS] || w->on[F_PAUSE_WRITER] ? WRITERS : 1;
	w->nreaders = w->on[F_TWO_READERS] ? READERS : 1;
	w->tail_min = SPINE_UNREAD_MAX + 1 + (int)below(r, 8);
	w->batch_rows = 1 + (int)below(r, 12);
	w->group_rows = w->on[F_LONG] ? 1 + below(r, 3) : 2 + below(r, 10);
	w->sink.owner = -1;
	w->sink.marker.spine_offset = -1;
	source_make(w);
	for (int i = 0; i < WRITERS; i++)
		w->writers[i].number = i;
	for (int i = 0; i < READERS; i++)
		w->readers[i].number = i;
	writer_start(w, &w->writers[0]);
	for (int i = 0; i < w->nreaders; i++)
		w->readers[i].phase = START;
}

static void
free_world(struct world *w)
{
	for (int i = 0; i < WRITERS; i++)
		inflight_free(&w->writers[i].g.inflight);
	for (int i = 0; i < READERS; i++)
		reader_free(&w->readers[i]);
	arena_free(&w->arena);
}

/* ---- faults ---- */

static void
fault_writer(struct world *w, struct writer *wr)
{
	bool others = false;

	for (int i = 0; i < w->nwriters; i++)
		others |= i != wr->number && w->writers[i].phase != DEAD && !w->writers[i].paused;
	if (wr->phase == DEAD) {
		if (!others || w->on[F_MORE_WRITERS])
			writer_start(w, wr);
	} else if (wr->paused) {
		wr->paused = !one_in(&w->rng, 3);
	} else if (w->on[F_KILL_WRITER] && one_in(&w->rng, 3)) {
		writer_kill(w, wr);
	} else if (w->on[F_PAUSE_WRITER] && one_in(&w->rng, 3)) {
		TELL(w, "writer %d: paused", wr->number);
		wr->paused = true;
	} else if (w->on[F_DROP_SOURCE] && wr->connected && one_in(&w->rng, 3)) {
		wr->connected = false;
		wr->buffered = (int)below(&w->rng, 12);
	}
}

static void
fault_reader(struct world *w, struct reader *rd)
{
	if (rd->phase == DEAD)
		rd->phase = START;
	else if (rd->paused)
		rd->paused = false;
	else if (w->on[F_KILL_READER] && one_in(&w->rng, 2))
		reader_kill(w, rd);
	else if (w->on[F_PAUSE_READER] && one_in(&w->rng, 2))
		rd->paused = true;
}

static void
sink_crash(struct world *w)
{
	TELL(w, "sink: crash%s", w->sink.owner >= 0 ? " with a transaction open" : "");
	w->stats->moments[M_SINK] += w->sink.owner >= 0;
	w->sink.owner = -1;
	w->sink.epoch++;
}

static void
fault(struct world *w)
{
	struct rng *r = &w->rng;

	switch (below(r, 8)) {
	case 0:
	case 1:
	case 2: fault_writer(w, &w->writers[below(r, (uint64_t)w->nwriters)]); break;
	case 3:
	case 4:
	case 5: fault_reader(w, &w->readers[below(r, (uint64_t)w->nreaders)]); break;
	case 6:
		if (w->on[F_SINK_CRASH])
			sink_crash(w);
		break;
	case 7:
		if (w->on[F_LOSE_SPINE] && one_in(r, 4))
			log_lose_tail(w, SPINE);
		else if (w->on[F_LOSE_ROWS] && one_in(r, 4))
			log_lose_tail(w, (int)below(r, SPINE));
		break;
	}
}

/* ---- steps ---- */

static void
source_step(struct world *w)
{
	if (w->slot && w->committed < w->ntxns && one_in(&w->rng, 6))
		w->committed++;
}

static void
ghost_step(struct world *w)
{
	int log = (int)below(&w->rng, LOGS);
	struct mail *m = mail_take(&w->ghosts[log]);

	if (m)
		log_append(w, log, &m->rec);
}

/* One that is up, most often. */
static struct writer *
some_writer(struct world *w)
{
	struct writer *wr = &w->writers[0];

	for (int i = 0; i < 4; i++) {
		wr = &w->writers[below(&w->rng, (uint64_t)w->nwriters)];
		if (wr->phase != DEAD && !wr->paused)
			break;
	}
	return wr;
}

static void
step(struct world *w)
{
	struct rng *r = &w->rng;
	struct writer *wr = some_writer(w);
	struct reader *rd = &w->readers[below(r, (uint64_t)w->nreaders)];

	w->now_ms += (int64_t)below(r, 60);
	switch (below(r, 16)) {
	case 0: source_step(w); break;
	case 1: ghost_step(w); break;
	case 2:
	case 3:
	case 4:
	case 5:
		for (uint64_t n = 1 + below(r, 4); n > 0 && writer_deliver(w, wr);)
			n--;
		break;
	case 6:
	case 7:
	case 8:
		if (!rd->paused)
			reader_step(w, rd);
		break;
	default:
		if (!wr->paused)
			writer_step(w, wr);
		break;
	}
}

/* One of each goes on, the others are gone. */
static void
calm(struct world *w)
{
	int wr = (int)below(&w->rng, (uint64_t)w->nwriters),
	    rd = (int)below(&w->rng, (uint64_t)w->nreaders);

	TELL(w, "calm: writer %d and reader %d go on", wr, rd);
	w->quiet = true;
	for (int i = 0; i < w->nwriters; i++)
		if (i != wr && w->writers[i].phase != DEAD)
			writer_kill(w, &w->writers[i]);
	for (int i = 0; i < w->nreaders; i++)
		if (i != rd && w->readers[i].phase != DEAD)
			reader_kill(w, &w->readers[i]);
	w->writers[wr].paused = w->readers[rd].paused = false;
}

static bool
arrived(const struct world *w)
{
	return w->committed == w->ntxns && w->sink.marker.seq == w->last_seq &&
	    w->confirmed >= w->txns[w->ntxns - 1].end_lsn;
}

/* Everything is refused, or nothing is left to be done. */
static bool
over(struct world *w)
{
	for (int i = 0; i < w->nwriters; i++)
		if (w->writers[i].phase == REFUSED)
			return true;
	for (int i = 0; i < w->nreaders; i++)
		if (w->readers[i].phase == REFUSED)
			return true;
	return arrived(w);
}

static void
revive(struct world *w)
{
	bool writer = false, reader = false;

	for (int i = 0; i < w->nwriters; i++)
		writer |= w->writers[i].phase != DEAD;
	for (int i = 0; i < w->nreaders; i++)
		reader |= w->readers[i].phase != DEAD;
	if (!writer)
		writer_start(w, &w->writers[0]);
	if (!reader)
		w->readers[0].phase = START;
}

static void
settle(struct world *w)
{
	for (int i = 0; i < QUIET_STEPS && !over(w); i++) {
		revive(w);
		step(w);
		w->stats->steps++;
	}
}

static void
run_world(struct world *w)
{
	uint64_t steps = w->on[F_LONG] ? 6000 + below(&w->rng, 6000) : 300 + below(&w->rng, 1500),
		 rare = 10 + below(&w->rng, 60);

	make_world(w);
	for (uint64_t i = 0; i < steps; i++) {
		step(w);
		if (one_in(&w->rng, rare))
			fault(w);
	}
	w->stats->steps += steps;
	calm(w);
	settle(w);
	/*
	 * Who was at work while the spine lost its end and grew past it again, unseen, may wait for
	 * ever for what is not there (README.md, "What is not told"). Whoever starts sees it and
	 * refuses; where a start is enough to go on, nobody had to wait.
	 */
	if (!over(w) && w->lost) {
		w->stats->restarts++;
		for (int i = 0; i < w->nwriters; i++)
			writer_kill(w, &w->writers[i]);
		for (int i = 0; i < w->nreaders; i++)
			reader_kill(w, &w->readers[i]);
		settle(w);
		if (arrived(w))
			broken(w, "all stood still although a start was enough to go on");
	}
	if (!over(w))
		broken(w,
		    "the faults are over, but the sink stays at seq %" PRIu64 " of %" PRIu64
		    ", the slot at %" PRIu64 " of %" PRIu64,
		    w->sink.marker.seq, w->last_seq, w->confirmed, w->txns[w->ntxns - 1].end_lsn);
	w->stats->detected += w->refused;
}

static void
one(uint64_t seed, enum plant plant, bool verbose, struct stats *stats)
{
	static struct world w;

	snprintf(again, sizeof again, "again: sim%s%s %" PRIu64 "\n", plant ? " --plant " : "",
	    plant ? plants[plant] : "", seed);
	w = (struct world){ .seed = seed,
		.plant = plant,
		.verbose = verbose,
		.stats = stats,
		.rng = rng_of(seed) };
	run_world(&w);
	free_world(&w);
}

static void
summary(const struct stats *s)
{
	printf("%" PRIu64 " steps, %" PRIu64 " groups, %" PRIu64 " commits at the sink, %" PRIu64
	       " rows\n",
	    s->steps, s->groups, s->commits, s->rows);
	printf("skipped %" PRIu64 " orphans, %" PRIu64 " foreign; %" PRIu64
	       " cut transactions, %" PRIu64 " fenced, %" PRIu64 " late openers, %" PRIu64
	       " stopped by the marker, %" PRIu64 " worlds refused, %" PRIu64
	       " only after a restart\n",
	    s->orphans, s->foreign, s->cuts, s->fenced, s->lost_opens, s->cas, s->detected,
	    s->restarts);
	printf("killed at:");
	for (int i = 0; i < M_N; i++)
		printf("%s %s %" PRIu64, i ? "," : "", moment_names[i], s->moments[i]);
	putchar('\n');
}

static int
usage(void)
{
	fputs("usage: sim [--seeds N [--from SEED]] [--plant NAME] [-v] [SEED]\n", stderr);
	return 2;
}

int
main(int argc, char **argv)
{
	uint64_t seeds = 10000, from = 1;
	enum plant plant = PLANT_NONE;
	bool verbose = false;
	struct stats stats = { 0 };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0) {
			verbose = true;
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
			seeds = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc) {
			from = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--plant") == 0 && i + 1 < argc) {
			i++;
			for (plant = 0; plant < PLANT_N && strcmp(plants[plant], argv[i]) != 0;)
				plant++;
			if (plant == PLANT_N)
				return usage();
		} else if (argv[i][0] >= '0' && argv[i][0] <= '9') {
			from = strtoull(argv[i], NULL, 0);
			seeds = 1;
			verbose = true;
		} else {
			return usage();
		}
	}
	signal(SIGABRT, aborted);
	for (uint64_t i = 0; i < seeds; i++)
		one(from + i, plant, verbose, &stats);
	summary(&stats);
	printf("%" PRIu64 " passed, 0 failed\n", seeds);
	return 0;
}
