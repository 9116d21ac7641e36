/*
 * A record of Debezium's as a row. What counts is what the source promises: of a delete only the key (its other columns are NULL, or 0 and
 * "" where NULL is not allowed), of an update the columns that are no placeholder.
 */
#include "consumer/foreign_impl.h"
#include "schemas/frame.h"

#include <stdlib.h>

#define HEADER_NEWKEY "__debezium.newkey" /* on the delete */
#define HEADER_OLDKEY "__debezium.oldkey" /* on the create */

struct slice
foreign_txid(struct slice id, uint64_t *lsn)
{
	size_t n = 0, m;

	*lsn = 0;
	while (n < id.n && id.p[n] >= '0' && id.p[n] <= '9')
		n++;
	if (!n || n == id.n || id.p[n] != ':')
		return id;
	for (m = n + 1; m < id.n && id.p[m] >= '0' && id.p[m] <= '9'; m++)
		*lsn = *lsn * 10 + (uint64_t)(id.p[m] - '0');
	if (m < id.n || m == n + 1) { /* another database's: a GTID */
		*lsn = 0;
		return id;
	}
	return (struct slice){ id.p, n };
}

static bool
has_header(const rd_kafka_message_t *m, const char *name)
{
	rd_kafka_headers_t *headers;
	const void *p;
	size_t n;

	return rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
	    rd_kafka_header_get_last(headers, name, &p, &n) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool
begins_with(struct slice s, struct slice start)
{
	return s.n >= start.n && memcmp(s.p, start.p, start.n) == 0;
}

/*
 * Records of Debezium itself that a wide pattern brings along: heartbeats, transaction metadata.
 * Their namespace is io.debezium.connector...
 */
static bool
internal(const struct table *tbl)
{
	return begins_with(tbl->schema, SLICE_LIT("connector")) || begins_with(tbl->name, SLICE_LIT("TransactionMetadata")) ||
	    slice_is(tbl->name, "Heartbeat");
}

/* What is read again, of dead letters, was wanted by its sink. */
static bool
wanted(const struct foreign *f, const struct table *tbl)
{
	return conf_wants(f->kafka->conf, tbl->schema, tbl->name) && (!f->conf || conf_sink_wants(f->conf, tbl->schema, tbl->name));
}

bool
foreign_all_there(const struct table *tbl, const struct value *row)
{
	for (int i = 0; i < tbl->ncols; i++)
		if (row[i].kind == V_ABSENT)
			return false;
	return true;
}

const char *
foreign_lacks(struct foreign *f, const struct row *r)
{
	const struct table *tbl = r->tbl;

	for (int i = 0; i < tbl->ncols; i++)
		if (r->after[i].kind == V_ABSENT)
			return arena_printf(&f->batch.arena,
			    "the row has a new key, and Debezium did not send its unchanged column "
			    "%.*s; set REPLICA IDENTITY FULL on %.*s.%.*s, or give its topic"
			    " one partition",
			    SLICE_ARG(tbl->cols[i].name), SLICE_ARG(tbl->schema),
			    SLICE_ARG(tbl->name));
	return NULL;
}

/* The row's op as the sink is to understand it. False: it cannot be found there. */
static bool
settle_op(struct row *r, const struct envelope *env, struct value *key)
{
	bool keyed = r->tbl->nkeys > 0;

	r->after = (struct value *)(uintptr_t)env->after;
	r->before = NULL;
	switch (env->op) {
	case 0: /* flattened: what holds now */
	case OP_READ:
	case OP_CREATE:
		r->op = keyed ? OP_READ : OP_CREATE; /* may be there already, from a time before these topics */
		return r->after;
	case OP_UPDATE:
		if (keyed) {
			/* The topic may have been compacted, so that the create is gone. */
			r->op = r->after && foreign_all_there(r->tbl, r->after) ? OP_READ : OP_UPDATE;
			return r->after;
		}
		r->op = OP_UPDATE;
		r->before = (struct value *)(uintptr_t)env->before;
		r->before_full = true;
		return r->after && r->before;
	case OP_DELETE:
		r->op = OP_DELETE;
		r->after = NULL;
		r->before = keyed ? key : (struct value *)(uintptr_t)env->before;
		r->before_full = !keyed;
		return r->before;
	default:
		r->op = OP_TRUNCATE;
		r->after = NULL;
		return true;
	}
}

static enum rc
tombstone(struct foreign *f, struct foreign_part *p, rd_kafka_message_t *m, struct foreign_row *out, struct err *err)
{
	struct frame value = { FRAME_CONFLUENT, (uint64_t)p->value_id };
	const struct table *tbl;
	struct value *key = NULL;
	bool flat;
	enum rc rc;

	/* No value was ever seen there, so the sink has nothing of it. */
	if (!p->value_id || !m->key)
		return OK;
	rc = decode_tombstone(f->decode, m, value, &f->batch.arena, &tbl, &key, &flat, err);
	if (rc != OK || !flat || !wanted(f, tbl) || internal(tbl))
		return rc;
	out->kind = FOREIGN_ROW;
	out->row.op = OP_DELETE;
	out->row.tbl = tbl;
	out->row.before = key;
	return OK;
}

static enum rc
value_row(struct foreign *f, rd_kafka_message_t *m, struct foreign_row *out, struct err *err)
{
	struct envelope env;
	const struct table *tbl;
	struct value *key;
	struct slice body;
	uint64_t lsn;
	enum rc rc;

	memset(&env, 0, sizeof env);
	rc = decode_record(f->decode, m, NULL, &f->batch.arena, &env, &tbl, &key, err);
	if (rc == REJECT && strstr(err->text, "which describes no row")) /* heartbeats and the like */
		return OK;
	if (rc != OK)
		return rc;
	out->value_id = (int64_t)frame_take((struct slice){ m->payload, m->len }, &body).id;
	out->txid = foreign_txid(env.transaction_id, &lsn);
	out->total = env.total_order;
	out->order = env.collection_order;
	out->behind_lsn = env.last_commit_lsn;
	out->source_us = env.source_us;
	if (env.op == OP_MESSAGE || internal(tbl) || !wanted(f, tbl))
		return OK;
	out->row.tbl = tbl;
	out->row.lsn = env.lsn;
	if (!strchr("rcudt", env.op) && env.op)
		return fail(err, REJECT, "the envelope's op is '%c', which means nothing here", env.op);
	if (!settle_op(&out->row, &env, key))
		return fail(err, REJECT, "an envelope with op '%c' has no row", env.op ? env.op : '-');
	out->kind = FOREIGN_ROW;
	if (env.op == OP_DELETE && has_header(m, HEADER_NEWKEY))
		out->half = HALF_OLD;
	if (env.op == OP_CREATE && has_header(m, HEADER_OLDKEY))
		out->half = HALF_NEW;
	return OK;
}

enum rc
foreign_decode(struct foreign *f, struct foreign_part *p, rd_kafka_message_t *m, struct foreign_row *out, struct err *err)
{
	enum rc rc;

	*out = (struct foreign_row){ .kind = FOREIGN_NOTHING, .value_id = p->value_id };
	rc = m->payload ? value_row(f, m, out, err) : tombstone(f, p, m, out, err);
	if (rc == REJECT) {
		out->kind = FOREIGN_BAD;
		out->why = arena_text(&f->batch.arena, slice_of(err->text));
		rc = OK;
	}
	out->row.topic = p->fp->topic;
	out->row.partition = m->partition;
	out->row.offset = m->offset;
	return rc;
}
