/* Batches as sink transactions: rows, then the positions behind them, under the marker. One at a time. */
#include "consumer/foreign_impl.h"
#include "core/log.h"
#include "core/now.h"

#include <inttypes.h>
#include <stdlib.h>

void
foreign_release(void *msg)
{
	rd_kafka_message_destroy(msg);
}

bool
foreign_full(const struct foreign *f)
{
	return f->batch.nrows >= f->conf->batch_rows || f->batch.bytes >= f->batch_bytes;
}

enum rc
foreign_load_parked(struct foreign *f, struct err *err)
{
	enum rc rc;

	parked_free(&f->parked);
	rc = f->sink->ops->parking->load(f->sink, &f->parked, err);
	if (rc == OK && f->flow)
		atomic_store(&f->flow->parked[f->number], (uint64_t)f->parked.entries);
	return rc == OK ? parked_bounded(&f->parked, f->conf->name, err) : rc;
}

static void
plan(struct foreign *f)
{
	if (f->parked.n || f->batch.special)
		parked_route(&f->parked, &f->batch);
	batch_plan(&f->batch);
}

static enum rc
put_aside(struct foreign *f, const struct reject *rejects, int n, struct err *err)
{
	struct aside_place place = { .at = f->at, .sink = f->sink, .dead = f->dead, .parked = &f->parked };
	int64_t more;
	enum rc rc = aside_store(&place, &f->batch, rejects, n, &more, err);

	if (rc == OK && more && f->flow)
		atomic_fetch_add(&f->flow->parked[f->number], (uint64_t)more);
	return rc;
}

/* Said once for a table: of rows with a key a second time is none, of others it is one row too many. */
static void
tell_keyless(struct foreign *f, const struct table *tbl)
{
	if (f->whole || tbl->nkeys)
		return;
	for (int i = 0; i < f->nkeyless; i++)
		if (f->keyless[i] == tbl)
			return;
	if (f->nkeyless == FOREIGN_KEYLESS_MAX)
		return;
	f->keyless[f->nkeyless++] = tbl;
	log_warn(f->at,
	    "a table without key: what Debezium writes twice, after a crash of its own, is applied twice; foreign.transactions avoids it",
	    "table=%.*s.%.*s", SLICE_ARG(tbl->schema), SLICE_ARG(tbl->name));
}

static enum rc
prepare(struct foreign *f, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < f->batch.nworks && rc == OK; i++) {
		tell_keyless(f, f->batch.works[i].tbl);
		rc = f->sink->ops->prepare(f->sink, f->batch.works[i].tbl, err);
	}
	return rc;
}

/* The batch was refused: row by row in exact order. The transaction is open again then. */
static enum rc
redo(struct foreign *f, struct err *err)
{
	struct batch *b = &f->batch;
	bool aside = f->conf->on_error == ON_ERROR_DEADLETTER;
	struct reject *rejects = calloc((size_t)b->nrows + 1, sizeof *rejects);
	int n = 0;
	enum rc rc = OK;

	if (!rejects)
		die("out of memory");
	log_info(f->at, "batch refused, done again with care", "rows=%d reason=\"%s\"", b->nrows, err->text);
	for (int i = 0; i < b->nrows && rc == OK; i++)
		if (!b->rows[i].aside)
			rc = f->sink->ops->prepare(f->sink, b->rows[i].tbl, err);
	if (rc == OK)
		rc = f->sink->ops->redo(f->sink, b, rejects, aside ? b->nrows : 0, &n, err);
	if (rc == REJECT)
		rc = fail(err, FATAL, "%s; correct the sink and start again, or set on_error: dead-letter", err->text);
	if (rc == OK)
		rc = put_aside(f, rejects, n, err);
	free(rejects);
	return rc;
}

/* Begin if need be, and bring the batch's rows in. */
static enum rc
send_rows(struct foreign *f, struct err *err)
{
	const struct sink_ops *ops = f->sink->ops;
	enum rc rc;

	foreign_unjoin(f);
	plan(f);
	rc = prepare(f, err);
	if (rc == OK && !f->open)
		rc = ops->begin(f->sink, &f->applied, &f->next, err);
	if (rc == OK)
		rc = ops->apply(f->sink, &f->batch, err);
	if (rc == OK)
		rc = ops->settle(f->sink, 0, err);
	if (rc == REJECT)
		rc = redo(f, err);
	else if (rc == OK)
		rc = put_aside(f, NULL, 0, err);
	f->open = true;
	f->rows += (uint64_t)f->batch.nrows;
	return rc;
}

static void
forget_batch(struct foreign *f)
{
	batch_reset(&f->batch, foreign_release);
	f->batch_no++;
}

static enum rc
write_positions(struct foreign *f, bool done, struct err *err)
{
	struct position *p = arena_array(&f->batch.arena, (size_t)f->nparts + 1, sizeof *p);
	int n = 0;

	for (int i = 0; i <= f->nparts; i++) {
		struct foreign_part *part = i < f->nparts ? f->parts[i] : f->txns;

		if (!part || part->next == part->sent_next)
			continue;
		if (done)
			part->sent_next = part->next;
		p[n++] = (struct position){ part->fp->topic, part->fp->partition, part->next, part->value_id };
	}
	return n && !done ? f->sink->ops->positions->write(f->sink, p, n, err) : OK;
}

/* The marker of the next transaction: it has to differ from every other's, and says what an operator wants to know. */
static void
next_marker(struct foreign *f)
{
	for (int i = 0; i < f->batch.nrows; i++)
		if (f->batch.rows[i].lsn > f->next.lsn && !f->whole)
			f->next.lsn = f->batch.rows[i].lsn;
	f->next.no = f->applied.no + 1;
	f->next.seq = f->next.no;
	f->next.token = f->whole ? MODE_WHOLE : MODE_KEY;
	f->next.spine_offset = (int64_t)f->next.no;
	f->next.spine_hash = f->token ^ f->next.no;
}

static void
note(struct foreign *f)
{
	f->rows_committed += f->rows;
	f->committed = true;
	if (f->gauge) {
		atomic_fetch_add(&f->gauge->rows, f->rows);
		gauge_at(f->gauge, 0, &(struct gauge_at){ .seq = f->next.no, .commit_us = f->next.commit_us });
	}
	if (f->flow) {
		atomic_fetch_add(&f->flow->rows[f->number], f->rows);
		atomic_store(&f->flow->commit_us[f->number], f->next.commit_us);
		atomic_store(&f->flow->lag_us[f->number], wall_us() - f->next.commit_us);
	}
	f->rows = 0;
}

static bool
anything(const struct foreign *f)
{
	for (int i = 0; i < f->nparts; i++)
		if (f->parts[i]->next != f->parts[i]->sent_next)
			return true;
	return f->batch.nrows || f->open || f->moved || (f->txns && f->txns->next != f->txns->sent_next);
}

enum rc
foreign_commit(struct foreign *f, struct err *err)
{
	enum rc rc;

	if (!anything(f))
		return OK;
	next_marker(f);
	rc = send_rows(f, err);
	if (rc == OK)
		rc = write_positions(f, false, err);
	if (rc == OK)
		rc = f->sink->ops->commit(f->sink, &f->next, err);
	if (rc == OK)
		rc = f->sink->ops->settle(f->sink, 0, err);
	/* Only constraints that are checked at the commit itself can break it now, and those know no row. */
	if (rc == REJECT)
		return fail(err, FATAL, "%s; the sink refuses the transaction as a whole; correct the sink and start again", err->text);
	if (rc != OK)
		return rc;
	f->open = false;
	rc = write_positions(f, true, err);
	f->applied = f->next;
	note(f);
	forget_batch(f);
	return rc;
}

enum rc
foreign_stream(struct foreign *f, struct err *err)
{
	enum rc rc;

	if (!f->open)
		next_marker(f);
	rc = send_rows(f, err);
	if (rc == OK)
		forget_batch(f);
	return rc;
}
