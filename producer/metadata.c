#include "producer/metadata.h"
#include "core/now.h"
#include "schemas/debezium.h"

#include <inttypes.h>

struct metadata {
	struct topic *topic;
	struct frame key, value;
	bool begun;
	int64_t total;                /* rows of the transaction so far */
	struct debezium_share *shares; /* of its tables, in order of their first rows */
	struct arena names;           /* of these: as long as the transaction */
	int nshares, cap, at;         /* at: of the row at hand */
	struct buf keybuf, valuebuf;
	rd_kafka_t *teller;           /* heartbeats */
	const char *heartbeats;       /* their topic */
	struct frame beat_key, beat_value;
	int64_t beat_ms;
};

static struct metadata *
state(struct publisher *p)
{
	if (!p->metadata)
		p->metadata = arena_new(&p->arena, struct metadata);
	return p->metadata;
}

/* Both schemas of a topic. */
static enum rc
register_both(struct publisher *p, const char *topic, const char *key, const char *value, struct frame *fk, struct frame *fv,
    struct err *err)
{
	enum subjects by = p->kafka->conf->subjects;
	enum rc rc = registry_put(p->registry, registry_subject(by, topic, "key", slice_of(key), &p->arena), slice_of(key), true, fk, err);

	if (rc != OK)
		return rc;
	return registry_put(p->registry, registry_subject(by, topic, "value", slice_of(value), &p->arena), slice_of(value), false, fv, err);
}

/* ---- transactions ---- */

/* As Debezium has it: the xid, and an LSN that differs from record to record. */
static struct slice
id_of(const struct txn *txn, uint64_t lsn, struct arena *a)
{
	return slice_of(arena_printf(a, "%u:%" PRIu64, txn->xid, lsn));
}

static enum rc
say(struct publisher *p, struct group *g, const struct txn *txn, uint64_t lsn, bool end, struct err *err)
{
	struct metadata *m = p->metadata;
	struct slice id = id_of(txn, lsn, &p->row);
	struct record r = { .topic = m->topic, .aside = true, .timestamp_ms = txn->commit_us / 1000 };

	buf_reset(&m->keybuf);
	buf_reset(&m->valuebuf);
	frame_put(&m->keybuf, m->key);
	frame_put(&m->valuebuf, m->value);
	debezium_put_key(id, &m->keybuf);
	if (end)
		debezium_put_end(id, m->shares, m->nshares, txn->commit_us / 1000, &m->valuebuf);
	else
		debezium_put_begin(id, txn->commit_us / 1000, &m->valuebuf);
	r.key = buf_view(&m->keybuf);
	r.value = buf_view(&m->valuebuf);
	return deliver(p, g, &r, err);
}

static enum rc
begin(struct publisher *p, struct group *g, const struct txn *txn, uint64_t lsn, struct err *err)
{
	struct metadata *m = state(p);
	const char *name = arena_printf(&p->row, "%s.transaction", p->kafka->conf->name);
	enum rc rc = OK;

	if (!m->topic) {
		rc = publisher_topic(p, name, 1, TOPIC_STANDARD, SLICE_LIT("transaction metadata"), &m->topic, err);
		if (rc == OK && m->topic->partitions != 1)
			rc = fail_exit(err, FATAL, EXIT_CONFIG, "topic %s has %d partitions, and transactions need one; delete it, it "
			    "is made anew", name,
			    m->topic->partitions);
		if (rc == OK)
			rc = register_both(p, m->topic->name, debezium_transaction_key, debezium_transaction_value, &m->key, &m->value,
			    err);
		if (rc != OK) {
			m->topic = NULL;
			return rc == REJECT ? fail(err, FATAL, "transaction metadata: %s", err->text) : rc;
		}
	}
	arena_reset(&m->names);
	m->nshares = 0;
	m->total = 0;
	rc = say(p, g, txn, lsn, false, err);
	m->begun = rc == OK;
	return rc;
}

/* The share of that table. */
static int
share_of(struct publisher *p, struct slice schema, struct slice table)
{
	struct metadata *m = p->metadata;
	struct debezium_share *more;
	char *name;

	for (int i = 0; i < m->nshares; i++) {
		struct slice t = m->shares[i].table;

		if (t.n == schema.n + 1 + table.n && memcmp(t.p, schema.p, schema.n) == 0 && memcmp(t.p + schema.n + 1, table.p,
		    table.n) == 0)
			return i;
	}
	if (m->nshares == m->cap) {
		m->cap = m->cap ? m->cap * 2 : 16;
		more = arena_array(&p->arena, (size_t)m->cap, sizeof *more);
		if (m->nshares)
			memcpy(more, m->shares, (size_t)m->nshares * sizeof *more);
		m->shares = more;
	}
	name = arena_printf(&m->names, "%.*s.%.*s", SLICE_ARG(schema), SLICE_ARG(table));
	m->shares[m->nshares] = (struct debezium_share){ slice_of(name), 0 };
	return m->nshares++;
}

enum rc
metadata_row(struct publisher *p, struct group *g, const struct txn *txn, struct envelope *env, struct err *err)
{
	struct metadata *m;
	enum rc rc = OK;

	if (!p->kafka->conf->debezium_transactions || !txn->xid)
		return OK;
	m = state(p);
	if (!m->begun)
		rc = begin(p, g, txn, env->lsn, err);
	if (rc != OK)
		return rc;
	m->at = share_of(p, env->schema, env->table);
	env->transaction_id = id_of(txn, env->lsn, &p->row);
	env->total_order = m->total + 1;
	env->collection_order = m->shares[m->at].count + 1;
	return OK;
}

void
metadata_sent(struct publisher *p)
{
	struct metadata *m = p->metadata;

	if (!m || !m->begun)
		return;
	m->total++;
	m->shares[m->at].count++;
}

bool
publisher_in_transaction(const struct publisher *p)
{
	return p->metadata && p->metadata->begun;
}

enum rc
publish_end(struct publisher *p, struct group *g, const struct txn *txn, struct err *err)
{
	arena_reset(&p->row);
	p->metadata->begun = false;
	return say(p, g, txn, txn->commit_lsn, true, err);
}

/* ---- heartbeats ---- */

static enum rc
heartbeat_open(struct publisher *p, struct err *err)
{
	struct metadata *m = state(p);
	const char *topic = arena_printf(&p->arena, "__debezium-heartbeat.%s", p->kafka->conf->name);
	int partitions;
	enum rc rc = m->teller ? OK : kafka_teller(p->kafka, &m->teller, err);

	if (rc == OK)
		rc = kafka_topic_ensure(p->kafka, m->teller, topic, 1, TOPIC_STANDARD, &partitions, err);
	if (rc == OK)
		rc = register_both(p, topic, debezium_heartbeat_key, debezium_heartbeat_value, &m->beat_key, &m->beat_value, err);
	if (rc == OK)
		m->heartbeats = topic;
	return rc == REJECT ? fail(err, FATAL, "heartbeats: %s", err->text) : rc;
}

enum rc
publish_heartbeat(struct publisher *p, int64_t now_ms, struct err *err)
{
	const struct conf *conf = p->kafka->conf;
	struct metadata *m;
	enum rc rc = OK;

	if (!conf->debezium_heartbeat_ms)
		return OK;
	m = state(p);
	if (m->heartbeats && now_ms - m->beat_ms < conf->debezium_heartbeat_ms)
		return OK;
	if (!m->heartbeats)
		rc = heartbeat_open(p, err);
	if (rc != OK)
		return rc;
	m->beat_ms = now_ms;
	buf_reset(&m->keybuf);
	buf_reset(&m->valuebuf);
	frame_put(&m->keybuf, m->beat_key);
	frame_put(&m->valuebuf, m->beat_value);
	debezium_put_key(slice_of(conf->name), &m->keybuf);
	debezium_put_heartbeat(wall_us() / 1000, &m->valuebuf);
	/* One that is lost is followed by the next. */
	(void)rd_kafka_producev(m->teller, RD_KAFKA_V_TOPIC(m->heartbeats), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_KEY(m->keybuf.p, m->keybuf.n), RD_KAFKA_V_VALUE(m->valuebuf.p, m->valuebuf.n), RD_KAFKA_V_END);
	rd_kafka_poll(m->teller, 0);
	return OK;
}

void
metadata_close(struct publisher *p)
{
	struct metadata *m = p->metadata;

	if (!m)
		return;
	if (m->teller) {
		rd_kafka_flush(m->teller, 500);
		rd_kafka_destroy(m->teller);
	}
	buf_free(&m->keybuf);
	buf_free(&m->valuebuf);
	arena_free(&m->names);
}
