/*
 * Whole transactions of a Debezium, by the metadata that it writes with provide.transaction.metadata=true:
 *
 *   metadata topic   BEGIN 571  ...  END 571 {event_count 3, public.a: 2, public.b: 1}  ...
 *   topic a          row {571, total_order 1, data_collection_order 1}   row {571, 3, 2}
 *   topic b          row {571, total_order 2, data_collection_order 1}
 *
 * The order of END records is the order of commits. The counts in END say how many rows of each table belong to it; within a table they are
 * numbered without gaps, over all its partitions, so the next row of each table is known, and
 * total_order merges the tables. (It has gaps when some of the tables are not read here.) Every
 * partition has the transactions in the same order, so one record a partition is all that is held.
 *
 * `id` is "571:53195829", with an LSN that is another one in each record of the transaction: what counts is the part before the colon.
 */
#include "consumer/foreign_impl.h"
#include "core/cursor.h"
#include "core/log.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/frame.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <uthash.h>

enum {
	DONE_MAX = 65536,     /* transactions remembered */
	SWEEP_MS = 500,
	SWEEP_MAX = 1000,     /* records of one partition a sweep */
	WAIT_MS = 20,
	SILENT_MS = 100,      /* with whole transactions in the batch, these do not wait longer for the next one's rows */
	METADATA_MS = 15000,
};

struct foreign_done {
	char *id;
	UT_hash_handle hh;
};

/* A table's share of the transaction. */
struct share {
	struct slice table;            /* schema.table */
	int64_t count, taken;
	struct foreign_part **parts;
	int nparts, turn;
	struct foreign_part *ready;    /* its head is the next row */
};

struct end {
	struct slice id;
	uint64_t lsn;
	int64_t ms;
	struct share *shares;
	int nshares;
	int64_t left;                  /* rows */
};

/* ---- transactions that were applied ---- */

static bool
done_has(struct foreign *f, struct slice id)
{
	struct foreign_done *d;

	HASH_FIND(hh, f->done, id.p, id.n, d);
	return d;
}

static void
done_drop(struct foreign *f, struct foreign_done *d)
{
	HASH_DEL(f->done, d);
	free(d->id);
	free(d);
}

static void
done_add(struct foreign *f, struct slice id)
{
	struct foreign_done *d;

	if (done_has(f, id))
		return;
	if (HASH_COUNT(f->done) >= DONE_MAX)
		done_drop(f, f->done);
	d = malloc(sizeof *d);
	if (!d || !(d->id = strndup(id.p, id.n)))
		die("out of memory");
	HASH_ADD_KEYPTR(hh, f->done, d->id, id.n, d);
}

void
foreign_txn_free(struct foreign *f)
{
	while (f->done)
		done_drop(f, f->done);
	arena_free(&f->txn_arena);
}

/* ---- END ---- */

/*
 * The array of {data_collection: string, event_count: long}, in Avro binary; since 2.0 each may be null. A name with a dot is longer than
 * a branch of that union is high, so that one is never taken for the other.
 */
static bool
take_shares(struct cursor *c, struct end *end, bool may_be_null, struct arena *a)
{
	int cap = 0;

	end->nshares = 0;
	end->left = 0;
	for (int64_t n; (n = cursor_long(c)) != 0 && !c->bad;) {
		if (n < 0) {
			n = n == INT64_MIN ? 0 : -n;
			cursor_long(c); /* bytes */
		}
		for (; n > 0 && !c->bad; n--) {
			int64_t branch = may_be_null ? cursor_long(c) : 1;

			if (branch == 0)
				continue;
			if (branch != 1) {
				c->bad = true;
				break;
			}
			if (end->nshares == cap) {
				struct share *more = arena_array(a, (size_t)(cap = cap ? cap * 2 : 16), sizeof *more);

				if (end->nshares)
					memcpy(more, end->shares, (size_t)end->nshares * sizeof *more);
				end->shares = more;
			}
			end->shares[end->nshares].table = cursor_avro_bytes(c);
			end->shares[end->nshares].count = cursor_long(c);
			end->left += end->shares[end->nshares++].count;
		}
	}
	return !c->bad;
}

/*
 * The value; before 2.0 without the time at its end, and collections could not be null:
 *
 *   status string, id string, event_count ["null", long], data_collections ["null", array of ["null", collection]], ts_ms long
 *
 * *is false: a BEGIN.
 */
static enum rc
take_end(struct foreign *f, const rd_kafka_message_t *m, struct end *end, bool *is, struct err *err)
{
	struct slice body = { "", 0 }, status;
	int64_t count = -1;
	struct cursor c;

	*is = false;
	*end = (struct end){ 0 };
	if (!m->payload)
		return OK;
	if (frame_take((struct slice){ m->payload, m->len }, &body).kind == FRAME_NONE)
		goto foreign;
	c = cursor_of(body);
	status = cursor_avro_bytes(&c);
	end->id = foreign_txid(cursor_avro_bytes(&c), &end->lsn);
	if (cursor_long(&c) == 1)
		count = cursor_long(&c);
	if (cursor_long(&c) == 1) {
		struct cursor again = c;

		if (!take_shares(&c, end, true, &f->txn_arena)) {
			c = again;
			take_shares(&c, end, false, &f->txn_arena);
		}
	}
	if (cursor_left(&c))
		end->ms = cursor_long(&c);
	*is = slice_is(status, "END");
	if (c.bad || cursor_left(&c) || (!*is && !slice_is(status, "BEGIN")))
		goto foreign;
	if (*is && count != end->left)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "transaction %.*s: END counts %" PRId64 " events, but its tables %" PRId64,
		    SLICE_ARG(end->id), count, end->left);
	return OK;
foreign:
	return fail_exit(err, FATAL, EXIT_CONFIG,
	    "%s [0] offset %" PRId64
	    " is no transaction metadata; is foreign.transactions the topic that "
	    "provide.transaction.metadata=true writes?",
	    f->txns->fp->topic, m->offset);
}

/* ---- which partitions hold a table ---- */

/* Debezium's topic of a table ends in .schema.table, with '_' for what Kafka does not take. */
static bool
topic_of(const char *topic, struct slice table)
{
	size_t n = strlen(topic);

	if (n <= table.n || topic[n - table.n - 1] != '.')
		return false;
	for (size_t i = 0; i < table.n; i++) {
		char c = table.p[i], t = topic[n - table.n + i];

		if (c != t && t != '_')
			return false;
	}
	return true;
}

static void
find_parts(struct foreign *f, struct share *s)
{
	s->parts = arena_array(&f->txn_arena, (size_t)f->nparts, sizeof(struct foreign_part *));
	s->nparts = 0;
	for (int i = 0; i < f->nparts; i++)
		if (topic_of(f->parts[i]->fp->topic, s->table))
			s->parts[s->nparts++] = f->parts[i];
}

/* Is the table's topic in Kafka, and just not one of those that we read? */
static enum rc
elsewhere(struct foreign *f, struct slice table, bool *yes, struct err *err)
{
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code = rd_kafka_metadata(fetch_handle(f->fetch), 1, NULL, &md, METADATA_MS);

	*yes = false;
	if (code)
		return kafka_fail(code, err, "list the topics");
	for (int i = 0; i < md->topic_cnt; i++)
		*yes = *yes || topic_of(md->topics[i].topic, table);
	rd_kafka_metadata_destroy(md);
	return OK;
}

/* AGAIN: stopped. */
static enum rc
find_share(struct foreign *f, struct end *end, struct share *s, struct err *err)
{
	int64_t until = now_ms() + f->kafka->conf->foreign_wait_ms;
	bool other = false;
	enum rc rc = OK;

	for (;;) {
		find_parts(f, s);
		if (s->nparts)
			return OK;
		rc = foreign_look(f, err);
		if (rc == OK)
			find_parts(f, s);
		if (rc == OK && !s->nparts)
			rc = elsewhere(f, s->table, &other, err);
		if (rc != OK || s->nparts)
			return rc;
		if (other) { /* not wanted here */
			end->left -= s->count;
			s->count = 0;
			return OK;
		}
		if (stop_requested())
			return AGAIN;
		if (now_ms() > until)
			return fail_exit(err, FATAL, EXIT_REFUSED,
			    "transaction %.*s has rows of %.*s, and there is no topic that ends in "
			    ".%.*s; are topics renamed on the way? then set apply: key",
			    SLICE_ARG(end->id), SLICE_ARG(s->table), SLICE_ARG(s->table));
		poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, SILENT_MS);
	}
}

/* ---- rows ---- */

/*
 * A row of a transaction before the last one that was applied: `sequence` begins with the LSN that stands in the END of the transaction
 * before its own, and that is less than the last one's. Debezium wrote it again after a crash, maybe in front of rows that it had not yet
 * written then, and of whose END we wait for them.
 */
static bool
is_behind(const struct foreign *f, const struct foreign_part *p)
{
	return p->fr.behind_lsn && p->fr.behind_lsn < f->next.lsn;
}

/* Take a record that is no row of a transaction at work; *is: it was one. */
static enum rc
take_outside(struct foreign *f, struct foreign_part *p, bool *is, struct err *err)
{
	*is = true;
	if (!p->fr.txid.n) /* a snapshot's, or no row at all */
		return foreign_take(f, p, err);
	if (done_has(f, p->fr.txid) || is_behind(f, p)) { /* sent again by a Debezium that crashed */
		p->fr.kind = FOREIGN_NOTHING;
		return foreign_take(f, p, err);
	}
	*is = false;
	return OK;
}

/* Look for the next row of the share at the head of p. AGAIN: there is nothing more in p now. */
static enum rc
look_in(struct foreign *f, const struct end *end, struct share *s, struct foreign_part *p, int wait_ms, struct err *err)
{
	enum rc rc = OK;

	while (rc == OK && !s->ready) {
		bool outside;

		rc = foreign_head(f, p, wait_ms, err);
		if (rc == OK)
			rc = take_outside(f, p, &outside, err);
		if (rc != OK)
			return rc;
		if (outside) {
			if (foreign_full(f) && !f->moved)
				rc = foreign_stream(f, err);
			continue;
		}
		if (!slice_eq(p->fr.txid, end->id) || p->fr.order > s->taken + 1)
			return AGAIN;
		if (p->fr.order == s->taken + 1) {
			s->ready = p;
		} else {
			p->fr.kind = FOREIGN_NOTHING;
			rc = foreign_take(f, p, err);
		}
	}
	return rc;
}

static enum rc
look_for(struct foreign *f, const struct end *end, struct share *s, int wait_ms, struct err *err)
{
	enum rc rc = AGAIN;

	/* Where the last row was, the next one often is. */
	for (int i = 0; i < s->nparts && rc == AGAIN; i++, s->turn = rc == AGAIN ? (s->turn + 1) % s->nparts : s->turn)
		rc = look_in(f, end, s, s->parts[s->turn], wait_ms, err);
	return rc;
}

static enum rc
rows_lost(const struct foreign *f, const struct end *end, const struct share *s, struct err *err)
{
	const struct foreign_part *p = s->parts[0];

	for (int i = 0; i < s->nparts; i++)
		if (s->parts[i]->head)
			p = s->parts[i];
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "transaction %.*s has %" PRId64 " rows of %.*s, and only %" PRId64
	    " came within %" PRId64 " s (%s [%d], offset %" PRId64
	    "%s%.*s); set apply: key, or empty "
	    "the sink's tables and towline.position and begin anew from a snapshot",
	    SLICE_ARG(end->id), s->count, SLICE_ARG(s->table), s->taken,
	    f->kafka->conf->foreign_wait_ms / 1000, p->fp->topic, p->fp->partition, p->next,
	    p->head ? ", is of transaction " : "", SLICE_ARG(p->head ? p->fr.txid : SLICE_LIT("")));
}

/* Nothing of the transaction is in the batch yet: what is there need not wait for it. */
static enum rc
let_go(struct foreign *f, struct err *err)
{
	return f->partial || f->moved ? OK : foreign_commit(f, err);
}

/* Bring the next row of each table into sight. AGAIN: stopped. */
static enum rc
bring(struct foreign *f, struct end *end, struct err *err)
{
	int64_t begun = now_ms();

	for (int i = 0; i < end->nshares; i++) {
		struct share *s = &end->shares[i];
		int64_t silent = now_ms();

		while (s->taken < s->count && !s->ready) {
			bool waited = now_ms() - silent >= SILENT_MS;
			enum rc rc = look_for(f, end, s, now_ms() > silent ? WAIT_MS : 0, err);

			if (rc == AGAIN && waited)
				rc = let_go(f, err);
			if (rc != OK && rc != AGAIN)
				return rc;
			if (s->ready)
				break;
			if (stop_requested())
				return AGAIN;
			if (now_ms() - begun > f->kafka->conf->foreign_wait_ms)
				return rows_lost(f, end, s, err);
			if (rc == AGAIN) /* all of them may show rows of other transactions: then nothing was waited for */
				poll(&(struct pollfd){ .fd = stop_fd(), .events = POLLIN }, 1, 1);
		}
	}
	return OK;
}

static enum rc
take_first(struct foreign *f, struct end *end, struct err *err)
{
	struct share *least = NULL;
	enum rc rc;

	for (int i = 0; i < end->nshares; i++) {
		struct share *s = &end->shares[i];

		if (s->ready && (!least || s->ready->fr.total < least->ready->fr.total))
			least = s;
	}
	if (!least)
		return fail(err, FATAL, "transaction %.*s: no row is next", SLICE_ARG(end->id));
	f->partial = true;
	rc = foreign_take(f, least->ready, err);
	least->ready = NULL;
	least->taken++;
	end->left--;
	/* Not between the halves of a changed key. */
	return rc == OK && foreign_full(f) && !f->moved && end->left ? foreign_stream(f, err) : rc;
}

static enum rc
apply_transaction(struct foreign *f, struct end *end, struct err *err)
{
	enum rc rc = OK;

	for (int i = 0; i < end->nshares && rc == OK; i++)
		rc = find_share(f, end, &end->shares[i], err);
	while (rc == OK && end->left > 0) {
		rc = bring(f, end, err);
		if (rc == OK)
			rc = take_first(f, end, err);
	}
	if (rc != OK)
		return rc;
	foreign_unjoin(f);
	if (end->lsn)
		f->next.lsn = end->lsn;
	if (end->ms)
		f->next.commit_us = end->ms * 1000;
	done_add(f, end->id);
	return OK;
}

/* Snapshot rows, tombstones and what else stands outside transactions. AGAIN: none. */
static enum rc
sweep(struct foreign *f, struct err *err)
{
	bool any = false;
	enum rc rc = OK;

	for (int i = 0; i < f->nparts && (rc == OK || rc == AGAIN); i++) {
		bool outside = true;

		rc = OK;
		for (int n = 0; n < SWEEP_MAX && rc == OK && outside; n++) {
			rc = foreign_head(f, f->parts[i], 0, err);
			if (rc == OK)
				rc = take_outside(f, f->parts[i], &outside, err);
			any = any || (rc == OK && outside);
			if (rc == OK && foreign_full(f))
				rc = foreign_commit(f, err);
		}
	}
	f->swept_ms = now_ms();
	return rc == OK || rc == AGAIN ? (any ? OK : AGAIN) : rc;
}

enum rc
foreign_txn_round(struct foreign *f, struct err *err)
{
	struct foreign_part *t = f->txns;
	struct end end;
	bool none, is;
	enum rc rc = OK;

	if (t && now_ms() - f->swept_ms < SWEEP_MS) {
		if (!t->head)
			rc = fetch_next(f->fetch, t->fp, 0, &t->head, &none, err);
	} else {
		rc = sweep(f, err);
		return rc == AGAIN && t ? OK : rc;
	}
	if (rc == AGAIN)
		return sweep(f, err);
	if (rc != OK)
		return rc;
	arena_reset(&f->txn_arena);
	rc = take_end(f, t->head, &end, &is, err);
	if (rc == OK && is && end.lsn && end.lsn <= f->next.lsn)
		done_add(f, end.id); /* written again by a Debezium that crashed */
	else if (rc == OK && is)
		rc = apply_transaction(f, &end, err);
	if (rc != OK)
		return rc;
	f->partial = false;
	t->next = t->head->offset + 1;
	rd_kafka_message_destroy(t->head);
	t->head = NULL;
	t->value_id = 1;
	return f->open || foreign_full(f) ? foreign_commit(f, err) : OK;
}
