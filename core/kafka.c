#include "core/kafka.h"
#include "core/log.h"
#include "core/stop.h"

#include <inttypes.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUEST_MS = 15000,
	REACH_MS = 3000, /* of a broker's silence, before it is told */
	CLOSE_S = 5,
	/* A broker that is gone without a word is noticed within a minute, also by who has nothing to send. */
	PROBE_IDLE_S = 10,
	PROBE_EVERY_S = 10,
	PROBES = 3,
	SILENT_MS = 45000,
	FIXED_BYTES = 16 << 20,   /* libraries, threads' stacks, connections */
	SHARE_MIN = 32 << 20,
	AHEAD_MIN = 1 << 20,
	BROKER_MAX = 1048588,     /* message.max.bytes of a broker for which it is not set */
	SPARE_KBYTES_MIN = 2048,  /* in librdkafka's queue, above what we count ourselves (producer/deliver.c) */
	FETCH_KBYTES_MIN = 256,   /* asked for at once, each partition */
};

struct broker {
	rd_kafka_t *rk; /* the handle that the mock cluster hangs on */
	rd_kafka_mock_cluster_t *cluster;
};

/* ---- errors ---- */

/* Codes that another try can cure. Everything else waits for an operator. */
static bool
passing(rd_kafka_resp_err_t code)
{
	switch (code) {
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR__RESOLVE:
	case RD_KAFKA_RESP_ERR__WAIT_COORD:
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
	case RD_KAFKA_RESP_ERR__FATAL: /* the idempotent producer gave up: it is made anew */
	case RD_KAFKA_RESP_ERR__STATE: /* its transaction failed in the meantime: the same */
	case RD_KAFKA_RESP_ERR__FENCED:
	case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
	case RD_KAFKA_RESP_ERR_INVALID_TXN_STATE:
	case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
	case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
	case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
	case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
	case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
	case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
	case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
	case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
	case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
	case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
	case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
	case RD_KAFKA_RESP_ERR_FETCH_SESSION_ID_NOT_FOUND:
	case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
		return true;
	default:
		return false;
	}
}

static const char *
fix_for(rd_kafka_resp_err_t code)
{
	switch (code) {
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
	case RD_KAFKA_RESP_ERR__RESOLVE:
		return "; is Kafka up, and kafka.brokers right?";
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		return "; give this principal the right with kafka-acls --add --allow-principal";
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
		return "; give this principal the rights Describe and Write on the transactional "
		"id with kafka-acls --add --transactional-id";
	case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
		return "; set transaction.timeout.ms and message.timeout.ms in kafka.options to at "
		"most the brokers' transaction.max.timeout.ms";
	case RD_KAFKA_RESP_ERR__AUTHENTICATION:
	case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		return "; check sasl.* and security.protocol in kafka.options";
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		return "; the topic takes less than message.max.bytes says: raise its "
		"max.message.bytes, or lower message.max.bytes in kafka.options";
	default:
		return "";
	}
}

enum rc
kafka_fail(rd_kafka_resp_err_t code, struct err *err, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	enum rc rc = passing(code) ? RETRY : FATAL;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return fail(err, rc, "%s: %s%s", what, rd_kafka_err2str(code), fix_for(code));
}

/* ---- handles ---- */

static enum rc
set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *err)
{
	char text[512];

	if (rd_kafka_conf_set(conf, key, value, text, sizeof text) == RD_KAFKA_CONF_OK)
		return OK;
	return fail_exit(err, FATAL, EXIT_CONFIG, "kafka.options: %s", text);
}

/* librdkafka's own log lines become ours at debug: what matters arrives as events and errors as well. */
static void
log_quiet(const rd_kafka_t *rk, int level, const char *fac, const char *buf)
{
	(void)rk, (void)level, (void)fac, (void)buf;
}

/* socket.keepalive.enable alone means the system's two hours. */
static int
open_socket(int domain, int type, int protocol, void *opaque)
{
	static const struct {
		int name, value;
	} options[] = { { TCP_KEEPIDLE, PROBE_IDLE_S }, { TCP_KEEPINTVL, PROBE_EVERY_S },
		{ TCP_KEEPCNT, PROBES }, { TCP_USER_TIMEOUT, SILENT_MS } };
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol);

	(void)opaque;
	for (size_t i = 0; fd >= 0 && i < COUNTOF(options); i++)
		(void)!setsockopt(fd, IPPROTO_TCP, options[i].name, &options[i].value, sizeof options[i].value);
	return fd;
}

static enum rc
make(const struct kafka *k, rd_kafka_type_t type, int events, const struct conf_pair *pairs, size_t n, rd_kafka_t **out, struct err *err)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *brokers = k->broker ? broker_address(k->broker) : k->conf->brokers;
	char text[512];
	enum rc rc;

	if (!brokers) {
		rd_kafka_conf_destroy(conf);
		return fail_exit(err, FATAL, EXIT_CONFIG, "kafka is not configured; set kafka: HOST:PORT");
	}
	rd_kafka_conf_set_log_cb(conf, log_quiet);
	rd_kafka_conf_set_socket_cb(conf, open_socket);
	rc = set(conf, "bootstrap.servers", brokers, err);
	for (size_t i = 0; rc == OK && i < n; i++)
		rc = set(conf, pairs[i].key, pairs[i].value, err);
	for (int i = 0; rc == OK && i < k->conf->nkafka_options; i++)
		rc = set(conf, k->conf->kafka_options[i].key, k->conf->kafka_options[i].value, err);
	if (rc != OK) {
		rd_kafka_conf_destroy(conf);
		return rc;
	}
	if (events)
		rd_kafka_conf_set_events(conf, events);
	*out = rd_kafka_new(type, conf, text, sizeof text);
	if (!*out) {
		rd_kafka_conf_destroy(conf);
		return fail_exit(err, FATAL, EXIT_CONFIG, "kafka: %s", text);
	}
	return OK;
}

int64_t
kafka_share(const struct kafka *k)
{
	int64_t all = k->conf->memory_bytes, fixed = all / 4 < FIXED_BYTES ? all / 4 : FIXED_BYTES;

	return (all - fixed) / (k->shares > 0 ? k->shares : 1);
}

int64_t
kafka_memory_min(int n)
{
	return FIXED_BYTES + (int64_t)SHARE_MIN * n;
}

int64_t
kafka_ahead(const struct kafka *k)
{
	int64_t fifth = kafka_share(k) / 5;

	return fifth < AHEAD_MIN ? AHEAD_MIN : fifth;
}

int64_t
kafka_message_max(const struct conf *conf)
{
	for (int i = 0; i < conf->nkafka_options; i++)
		if (strcmp(conf->kafka_options[i].key, "message.max.bytes") == 0)
			return strtoll(conf->kafka_options[i].value, NULL, 10);
	return 1000000;
}

/* Nagle would hold a lone GROUP record back for 40 ms (on by default before 2.10). */
#define COMMON_PAIRS \
	{ "client.id", "towline" }, { "socket.nagle.disable", "true" }, \
	    { "socket.keepalive.enable", "true" }, { "socket.timeout.ms", "30000" }, \
	    { "socket.connection.setup.timeout.ms", "10000" }, \
	    { "reconnect.backoff.max.ms", "2000" }, \
	{ \
		"allow.auto.create.topics", "false" \
	}

#define PRODUCER_PAIRS \
	COMMON_PAIRS, { "enable.idempotence", "true" }, { "acks", "all" }, { "linger.ms", "1" }, \
	    { "compression.type", "lz4" }, { "batch.size", "262144" }, \
	    { "batch.num.messages", "20000" }, { "queue.buffering.max.messages", "200000" }, \
	{ \
		"queue.buffering.max.kbytes", kbytes \
	}

/* The queue has to take the largest record, and more than the producer reads ahead: a full queue is not how it is slowed down. */
static void
queue_size(const struct kafka *k, char out[static 24])
{
	int64_t most = kafka_message_max(k->conf) / 1024 * 2, ahead = kafka_ahead(k) / 1024 * 3 / 2 + SPARE_KBYTES_MIN;

	snprintf(out, 24, "%" PRId64, most > ahead ? most : ahead);
}

enum rc
kafka_producer(const struct kafka *k, rd_kafka_t **out, struct err *err)
{
	/* message.timeout 0: never give a row up; the bounded queue is the back-pressure. */
	char kbytes[24];
	const struct conf_pair pairs[] = { PRODUCER_PAIRS, { "message.timeout.ms", "0" } };

	queue_size(k, kbytes);
	return make(k, RD_KAFKA_PRODUCER, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, pairs, COUNTOF(pairs), out, err);
}

enum rc
kafka_transactional(const struct kafka *k, const char *id, rd_kafka_t **out, struct err *err)
{
	/*
	 * The most that brokers grant by default: a large source transaction is one here too. (When
	 * we die, nobody waits for the end of that time: nothing else is written behind an open
	 * transaction of ours, and our next start ends it.) A record may not outlive its
	 * transaction.
	 */
	char kbytes[24];
	const struct conf_pair pairs[] = {
		PRODUCER_PAIRS, { "transactional.id", id }, { "transaction.timeout.ms", "900000" }, { "message.timeout.ms", "900000" },
	};

	queue_size(k, kbytes);
	return make(k, RD_KAFKA_PRODUCER, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, pairs, COUNTOF(pairs), out, err);
}

enum rc
kafka_teller(const struct kafka *k, rd_kafka_t **out, struct err *err)
{
	const struct conf_pair pairs[] = { COMMON_PAIRS, { "acks", "1" }, { "linger.ms", "0" }, { "message.timeout.ms", "5000" },
		{ "queue.buffering.max.messages", "2000" }, { "queue.buffering.max.kbytes", "4096" } };

	return make(k, RD_KAFKA_PRODUCER, RD_KAFKA_EVENT_ERROR, pairs, COUNTOF(pairs), out, err);
}

enum rc
kafka_consumer(const struct kafka *k, int queue_kbytes, rd_kafka_t **out, struct err *err)
{
	/*
	 * What is asked for at once comes compressed, and librdkafka looks at the queue's limit only before it asks: short rows are
	 * unpacked to five times that, and each has some 700 bytes of librdkafka's besides. So a third of the queue, but no less than a
	 * large batch.
	 */
	int least = queue_kbytes < FETCH_KBYTES_MIN ? queue_kbytes : FETCH_KBYTES_MIN;
	int most = queue_kbytes / 3 > least ? queue_kbytes / 3 : least;
	char kbytes[16], fetch[16];

	snprintf(kbytes, sizeof kbytes, "%d", queue_kbytes);
	snprintf(fetch, sizeof fetch, "%d", most * 1024);
	/*
	 * A lost position is an error, never a jump to one of the ends. fetch.wait.max.ms: one request at a time goes to a broker, so a
	 * request that waits for news of quiet partitions holds up the refill of busy ones; new data is answered at once however short the
	 * wait is. (The embedded broker answers only when it is over.)
	 */
	/*
	 * message.max.bytes does not limit what a consumer reads; it is the first size of the buffer
	 * that each lz4 batch is unpacked into and stays in, however small it is.
	 */
	struct conf_pair pairs[] = {
		COMMON_PAIRS,
		{ "enable.auto.commit", "false" }, { "enable.auto.offset.store", "false" },
		{ "auto.offset.reset", "error" }, { "check.crcs", "true" }, { "enable.partition.eof", "true" },
		{ "queued.max.messages.kbytes", kbytes }, { "queued.min.messages", "100000" },
		{ "fetch.message.max.bytes", fetch }, { "fetch.error.backoff.ms", "100" },
		{ "message.max.bytes", "65536" },
		{ "fetch.wait.max.ms", k->broker ? "5" : "20" },
		{ "fetch.queue.backoff.ms", "10" },
	};
	size_t n = COUNTOF(pairs);

	/* Before 2.2.0 a full queue backs off for a second, and there is no such property. */
	if (rd_kafka_version() < 0x02020000)
		n--;
	return make(k, RD_KAFKA_CONSUMER, 0, pairs, n, out, err);
}

enum rc
kafka_member(const struct kafka *k, const char *group, rd_kafka_t **out, struct err *err)
{
	/* Eager and even: what is assigned is a lane, not data. A member that is gone is replaced after ten seconds. */
	const struct conf_pair pairs[] = {
		COMMON_PAIRS,
		{ "group.id", group }, { "enable.auto.commit", "false" }, { "auto.offset.reset", "latest" },
		{ "partition.assignment.strategy", "roundrobin" }, { "session.timeout.ms", "10000" }, { "heartbeat.interval.ms", "2000" },
		{ "fetch.wait.max.ms", "500" },
	};

	return make(k, RD_KAFKA_CONSUMER,
	    RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_FETCH, pairs,
	    COUNTOF(pairs), out, err);
}

void
kafka_queue_wake(rd_kafka_queue_t *q, int fd)
{
	static const uint64_t one = 1;

	rd_kafka_queue_io_event_enable(q, fd, &one, sizeof one);
}

static void *
destroy(void *rk)
{
	rd_kafka_destroy(rk);
	return NULL;
}

void
kafka_close(rd_kafka_t *rk)
{
	struct timespec until;
	pthread_t thread;

	if (pthread_create(&thread, NULL, destroy, rk)) {
		rd_kafka_destroy(rk);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += CLOSE_S;
	if (pthread_timedjoin_np(thread, NULL, &until) == 0)
		return;
	pthread_detach(thread);
	log_warn("kafka", "a client of librdkafka does not end, and is left behind", "seconds=%d", CLOSE_S);
}

int
kafka_queue_fd(rd_kafka_queue_t *q)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		die("eventfd: out of descriptors");
	kafka_queue_wake(q, fd);
	return fd;
}

/* ---- reach ---- */

enum rc
kafka_reach(const struct kafka *k, rd_kafka_t *rk, struct err *err)
{
	const struct rd_kafka_metadata *md;
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
	const char *brokers = k->broker ? broker_address(k->broker) : k->conf->brokers;

	for (int waited = 0; waited < REQUEST_MS && !stop_requested(); waited += REACH_MS) {
		code = rd_kafka_metadata(rk, 0, NULL, &md, REACH_MS); /* of no topic */
		if (!code) {
			rd_kafka_metadata_destroy(md);
			return OK;
		}
		if (!passing(code))
			return kafka_fail(code, err, "ask Kafka at %s", brokers);
		if (!waited)
			log_warn("kafka", "cannot reach Kafka; still trying; is it up, and kafka.brokers right?",
			    "brokers=%s reason=\"%s\"", brokers, rd_kafka_err2str(code));
	}
	return fail(err, RETRY, "cannot reach Kafka at %s: %s; is it up, and kafka.brokers right?", brokers,
	    rd_kafka_err2str(code));
}

/* ---- topics ---- */

enum rc
kafka_partitions(rd_kafka_t *rk, const char *topic, int *n, struct err *err)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, rkt, &md, REQUEST_MS);
	enum rc rc = OK;

	*n = 0;
	if (code) {
		rc = kafka_fail(code, err, "metadata of topic %s", topic);
		goto out;
	}
	code = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (!code)
		*n = md->topics[0].partition_cnt;
	else if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		rc = kafka_fail(code, err, "topic %s", topic);
out:
	if (md)
		rd_kafka_metadata_destroy(md);
	rd_kafka_topic_destroy(rkt);
	return rc;
}

static enum rc
topic_result(rd_kafka_event_t *ev, const char *topic, struct err *err)
{
	const rd_kafka_topic_result_t **list;
	size_t n = 0;
	rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;

	if (code)
		return kafka_fail(code, err, "create topic %s", topic);
	list = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
	code = n ? rd_kafka_topic_result_error(list[0]) : RD_KAFKA_RESP_ERR__FAIL;
	if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		return OK;
	return fail(err, passing(code) ? RETRY : FATAL, "create topic %s: %s%s", topic,
	    rd_kafka_topic_result_error_string(list[0]) ? rd_kafka_topic_result_error_string(list[0]) : rd_kafka_err2str(code),
	    fix_for(code));
}

static const struct conf_pair keep_config[][6] = {
	[TOPIC_STANDARD] = { { NULL, NULL } },
	[TOPIC_COMPACT] = { { "cleanup.policy", "compact" } },
	[TOPIC_FOREVER] = { { "retention.ms", "-1" } },
	[TOPIC_NEWS] = { { "cleanup.policy", "compact,delete" }, { "retention.ms", "604800000" }, { "segment.ms", "600000" },
	    { "segment.bytes", "1048576" }, { "min.cleanable.dirty.ratio", "0.1" } },
	[TOPIC_BRIEF] = { { "cleanup.policy", "delete" }, { "retention.ms", "600000" }, { "segment.ms", "600000" },
	    { "segment.bytes", "16777216" } },
};

/* A topic that is made on the fly has to take what is sent to it, whatever brokers take by default. */
static void
take_large(rd_kafka_NewTopic_t *nt, const struct conf *conf)
{
	int64_t most = kafka_message_max(conf);
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, most);
	if (most > BROKER_MAX)
		rd_kafka_NewTopic_set_config(nt, "max.message.bytes", text);
}

static enum rc
topic_create(rd_kafka_t *rk, const struct conf *conf, const char *topic, int partitions, enum topic_keep keep, struct err *err)
{
	char text[512] = "";
	rd_kafka_NewTopic_t *nt = rd_kafka_NewTopic_new(topic, partitions, (int)conf->replication, text, sizeof text);
	rd_kafka_AdminOptions_t *opt = NULL;
	rd_kafka_queue_t *q = NULL;
	rd_kafka_event_t *ev = NULL;
	enum rc rc;

	if (!nt)
		return fail(err, FATAL, "topic %s: %s", topic, text);
	for (const struct conf_pair *config = keep_config[keep]; config->key; config++)
		rd_kafka_NewTopic_set_config(nt, config->key, config->value);
	if (keep == TOPIC_STANDARD)
		take_large(nt, conf);
	opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_AdminOptions_set_request_timeout(opt, REQUEST_MS, text, sizeof text);
	q = rd_kafka_queue_new(rk);
	rd_kafka_CreateTopics(rk, &nt, 1, opt, q);
	ev = rd_kafka_queue_poll(q, REQUEST_MS + 1000);
	rc = topic_result(ev, topic, err);
	if (ev)
		rd_kafka_event_destroy(ev);
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(opt);
	rd_kafka_NewTopic_destroy(nt);
	return rc;
}

enum rc
kafka_topic_ensure(const struct kafka *k, rd_kafka_t *rk, const char *topic, int partitions, enum topic_keep keep, int *n,
    struct err *err)
{
	enum rc rc;

	/* Before anybody asks about the topic: the mock cluster makes what it is asked about, with four partitions. */
	if (k->broker) {
		rc = broker_topic(k->broker, topic, partitions, err);
		if (rc != OK)
			return rc;
	}
	rc = kafka_partitions(rk, topic, n, err);
	if (rc != OK || *n > 0)
		return rc;
	rc = topic_create(rk, k->conf, topic, partitions, keep, err);
	if (rc != OK)
		return rc;
	/* The other brokers learn of a new topic a little later than its controller. */
	for (int tries = 0; tries < 100; tries++) {
		rc = kafka_partitions(rk, topic, n, err);
		if (rc == FATAL || (rc == OK && *n > 0))
			return rc;
		usleep(20 * 1000);
	}
	return fail(err, RETRY, "topic %s was created but does not show up", topic);
}

enum rc
kafka_one_partition(const char *topic, int n, struct err *err)
{
	return n > 1 ? fail_exit(err, FATAL, EXIT_CONFIG,
	    "topic %s has %d partitions, it must have one; delete it, it is made anew", topic, n) : OK;
}

/*
 * Behind a broker that hung or is no leader any more, librdkafka says of a partition that is there that it is not known, or that the answer
 * made no sense: it looks into metadata that is half renewed. What Kafka says when it is asked for them counts.
 */
static enum rc
offsets_fail(rd_kafka_t *rk, const char *topic, int partition, rd_kafka_resp_err_t code, struct err *err)
{
	bool doubtful = code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || code == RD_KAFKA_RESP_ERR__BAD_MSG;
	int n = 0;
	enum rc rc = doubtful ? kafka_partitions(rk, topic, &n, err) : OK;

	if (rc == OK && n > partition)
		return fail(err, RETRY, "offsets of %s [%d]: %s; it is there, asking again", topic, partition, rd_kafka_err2str(code));
	return rc == OK ? kafka_fail(code, err, "offsets of %s [%d]", topic, partition) : rc;
}

enum rc
kafka_offsets(rd_kafka_t *rk, const char *topic, int partition, int64_t *low, int64_t *high, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(rk, topic, partition, low, high, REQUEST_MS);

	return code ? offsets_fail(rk, topic, partition, code, err) : OK;
}

/* ---- the embedded broker ---- */

enum rc
broker_start(struct broker **out, struct err *err)
{
	char text[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	struct broker *b = calloc(1, sizeof *b);

	if (!b)
		die("out of memory");
	rd_kafka_conf_set_log_cb(conf, log_quiet);
	b->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
	if (!b->rk) {
		rd_kafka_conf_destroy(conf);
		free(b);
		return fail(err, FATAL, "embedded broker: %s", text);
	}
	b->cluster = rd_kafka_mock_cluster_new(b->rk, 1);
	if (!b->cluster) {
		broker_stop(b);
		return fail(err, FATAL, "embedded broker: no free port on 127.0.0.1?");
	}
	*out = b;
	return OK;
}

const char *
broker_address(const struct broker *b)
{
	return rd_kafka_mock_cluster_bootstraps(b->cluster);
}

enum rc
broker_topic(struct broker *b, const char *topic, int partitions, struct err *err)
{
	rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(b->cluster, topic, partitions, 1);

	return code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? kafka_fail(code, err, "create topic %s", topic) : OK;
}

void
broker_stop(struct broker *b)
{
	if (!b)
		return;
	if (b->cluster)
		rd_kafka_mock_cluster_destroy(b->cluster);
	rd_kafka_destroy(b->rk);
	free(b);
}
