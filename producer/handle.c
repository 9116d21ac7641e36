#include "producer/handle.h"
#include "schemas/topic.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum {
	INIT_MS = 15000,   /* the broker first ends what our predecessor left open */
	ABORT_MS = 3000,
};

static bool
is_fence(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
	    code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

enum rc
handle_fail(struct handle *h, rd_kafka_resp_err_t code, struct err *err, const char *fmt, ...)
{
	char what[400], text[256];
	rd_kafka_resp_err_t fatal;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	h->broken = true;
	/* Fatal: this handle cannot go on; the session begins anew, under a new generation. Records that it drops then do not say why. */
	fatal = rd_kafka_fatal_error(h->rk, text, sizeof text);
	h->fenced = h->fenced || is_fence(code) || is_fence(fatal);
	return fatal ? fail(err, RETRY, "%s: %s; the producer is made anew", what, text) : kafka_fail(code, err, "%s", what);
}

/* The answer to a transaction's call; takes e. */
static enum rc
take_answer(struct handle *h, rd_kafka_error_t *e, const char *what, struct err *err)
{
	bool passes;
	enum rc rc;

	if (!e)
		return OK;
	passes = rd_kafka_error_is_retriable(e) || rd_kafka_error_txn_requires_abort(e) || rd_kafka_error_is_fatal(e);
	rc = handle_fail(h, rd_kafka_error_code(e), err, "Kafka transaction: %s", what);
	if (rc != RETRY && (passes || h->fenced))
		rc = fail(err, RETRY, "Kafka transaction: %s: %s", what, rd_kafka_error_string(e));
	rd_kafka_error_destroy(e);
	return rc;
}

/* Both handles of one session are fenced by those of the next. */
static enum rc
open_transactional(const struct kafka *k, int number, struct handle *h, struct err *err)
{
	struct arena a = { 0 };
	const char *id = topic_own(&a, k->conf->name, number ? "producer.2" : "producer");
	enum rc rc = kafka_transactional(k, id, &h->rk, err);

	h->transactional = true;
	if (rc == OK)
		rc = take_answer(h, rd_kafka_init_transactions(h->rk, INIT_MS), arena_printf(&a, "init of %s", id), err);
	arena_free(&a);
	return rc;
}

enum rc
handle_open(const struct kafka *k, int number, int *wake, struct handle *h, struct err *err)
{
	enum rc rc = k->conf->transactions ? open_transactional(k, number, h, err) : kafka_producer(k, &h->rk, err);

	if (!h->rk)
		return rc;
	h->queue = rd_kafka_queue_get_main(h->rk);
	if (*wake < 0)
		*wake = kafka_queue_fd(h->queue);
	else
		kafka_queue_wake(h->queue, *wake);
	return rc;
}

void
handle_close(struct handle *h)
{
	if (!h->rk)
		return;
	rd_kafka_purge(h->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_queue_destroy(h->queue);
	rd_kafka_destroy(h->rk);
	*h = (struct handle){ 0 };
}

enum rc
handle_begin(struct handle *h, struct err *err)
{
	enum rc rc;

	if (!h->transactional || h->state != HANDLE_IDLE)
		return OK;
	rc = take_answer(h, rd_kafka_begin_transaction(h->rk), "begin", err);
	if (rc == OK)
		h->state = HANDLE_ROWS;
	return rc;
}

void
handle_commit(struct handle *h, struct committer *c)
{
	h->state = HANDLE_COMMITS;
	committer_ask(c, h->rk);
}

enum rc
handle_committed(struct handle *h, struct committer *c, struct err *err)
{
	rd_kafka_error_t *answer;
	enum rc rc;

	if (!committer_answer(c, &answer))
		return AGAIN;
	rc = take_answer(h, answer, "commit", err);
	if (rc == OK)
		h->state = HANDLE_IDLE;
	return rc;
}

void
handle_abort(struct handle *h)
{
	if (h->state != HANDLE_ROWS || h->broken || rd_kafka_outq_len(h->rk))
		return;
	h->broken = true;
	rd_kafka_error_destroy(rd_kafka_abort_transaction(h->rk, ABORT_MS));
}
