/* The HTTP kind against a server of canned answers in a thread; the topic kind against the embedded broker. */
#include "schemas/registry.h"

#include "schemas/schema.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define A_LONG "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}"
#define A_TEXT "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}"

/* ---- a server that answers the next of a list to each request ---- */

struct canned {
	int status;
	const char *body;
	size_t repeat; /* the body so many times; 0: once */
};

struct server {
	int fd, port;
	pthread_t thread;
	const struct canned *list;
	int n, requests, connections;
	char seen[4096]; /* the last request */
};

static void
server_answer(int fd, const struct canned *c)
{
	size_t len = strlen(c->body), times = c->repeat ? c->repeat : 1;
	char head[128];
	int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n", c->status, len * times);

	if (send(fd, head, (size_t)n, MSG_NOSIGNAL) < 0)
		return;
	while (times-- > 0 && send(fd, c->body, len, MSG_NOSIGNAL) >= 0)
		;
}

/* One request into s->seen: the head, and as many bytes as it announces. */
static bool
server_read(struct server *s, int fd)
{
	size_t n = 0;

	for (;;) {
		ssize_t got = recv(fd, s->seen + n, sizeof s->seen - 1 - n, 0);
		char *end, *length;

		if (got <= 0)
			return false;
		n += (size_t)got;
		s->seen[n] = 0;
		end = strstr(s->seen, "\r\n\r\n");
		length = strstr(s->seen, "Content-Length: ");
		if (end && (!length || n >= (size_t)(end - s->seen) + 4 + strtoul(length + 16, NULL, 10)))
			return true;
	}
}

static void *
server_run(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		s->connections++;
		while (server_read(s, fd)) {
			server_answer(fd, &s->list[s->requests < s->n ? s->requests : s->n - 1]);
			s->requests++;
		}
		close(fd);
	}
	return NULL;
}

static void
server_listen(struct server *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
}

/* ---- one registry against one server ---- */

struct http {
	struct server server;
	struct conf conf;
	struct kafka kafka;
	struct registry *r;
	char url[128];
	struct err err;
	struct frame frame;
	struct slice json;
};

static void
http_start(struct http *h, const struct canned *list, int n, const char *credentials)
{
	memset(h, 0, sizeof *h);
	h->server.list = list;
	h->server.n = n;
	server_listen(&h->server);
	if (n > 0) {
		assert_int_equal(listen(h->server.fd, 8), 0);
		assert_int_equal(pthread_create(&h->server.thread, NULL, server_run, &h->server), 0);
	}
	snprintf(h->url, sizeof h->url, "http://%s127.0.0.1:%d/api/", credentials, h->server.port);
	h->conf.registry = h->url;
	h->kafka.conf = &h->conf;
	assert_int_equal(registry_open(&h->kafka, true, &h->r, &h->err), OK);
}

/* Closing the registry ends its connection; after the join what the server counted may be read. */
static void
http_stop(struct http *h)
{
	registry_close(h->r);
	shutdown(h->server.fd, SHUT_RDWR);
	if (h->server.n > 0)
		pthread_join(h->server.thread, NULL);
	close(h->server.fd);
}

static enum rc
put(struct http *h, const char *subject, const char *json)
{
	return registry_put(h->r, subject, slice_of(json), false, &h->frame, &h->err);
}

static enum rc
get(struct http *h, uint64_t id)
{
	return registry_get(h->r, (struct frame){ FRAME_CONFLUENT, id }, &h->json, &h->err);
}

static void
says(const struct http *h, const char *what)
{
	if (!strstr(h->err.text, what))
		fail_msg("\"%s\" is not in: %s", what, h->err.text);
}

static void
put_once_then_from_memory(void **state UNUSED)
{
	static const struct canned list[] = { { 200, "{\"id\":7}", 0 }, { 200, "{\"id\":8}", 0 }, { 200, "{\"id\":9}", 0 } };
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(put(&h, "shop.public.t \xc3\xa4/x-value", A_LONG), OK);
	assert_int_equal(h.frame.kind, FRAME_CONFLUENT);
	assert_int_equal(h.frame.id, 7);
	assert_int_equal(put(&h, "shop.public.t \xc3\xa4/x-value", A_LONG), OK);
	assert_int_equal(h.frame.id, 7);
	assert_int_equal(put(&h, "shop.public.t-key", A_LONG), OK);
	assert_int_equal(h.frame.id, 8);
	assert_int_equal(put(&h, "shop.public.t \xc3\xa4/x-value", A_TEXT), OK);
	assert_int_equal(h.frame.id, 9);
	assert_int_equal(get(&h, 7), OK); /* what was put is known for reading */
	assert_true(slice_is(h.json, A_LONG));
	http_stop(&h);
	assert_int_equal(h.server.requests, 3);
	assert_int_equal(h.server.connections, 1);
}

static void
request_as_the_api_wants_it(void **state UNUSED)
{
	static const struct canned list[] = { { 200, "{\"id\":7}", 0 } };
	struct http h;

	http_start(&h, list, COUNTOF(list), "us%40er:p%3Aw@");
	assert_int_equal(put(&h, "a b/\xc3\xa4-value", A_LONG), OK);
	http_stop(&h);
	assert_non_null(strstr(h.server.seen, "POST /api/subjects/a%20b%2F%C3%A4-value/versions HTTP/1.1\r\n"));
	assert_non_null(strstr(h.server.seen, "Content-Type: application/vnd.schemaregistry.v1+json\r\n"));
	assert_non_null(strstr(h.server.seen, "Authorization: Basic dXNAZXI6cDp3\r\n")); /* us@er:p:w */
	assert_non_null(strstr(h.server.seen, "\r\n\r\n{\"schema\":\"{\\\"type\\\":\\\"record\\\""));
}

static void
get_by_id(void **state UNUSED)
{
	static const struct canned list[] = {
		{ 200, "{\"schema\":\"\\\"long\\\"\"}", 0 },
		{ 404, "{\"error_code\":40403,\"message\":\"Schema 5 not found\"}", 0 },
		{ 404, "<html>no such page</html>", 0 },
		{ 200, "{\"schema\":\"syntax\",\"schemaType\":\"PROTOBUF\"}", 0 },
		{ 200, "{\"schema\":\"{}\",\"references\":[{\"name\":\"x\"}]}", 0 },
	};
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(get(&h, 4), OK);
	assert_true(slice_is(h.json, "\"long\""));
	assert_int_equal(get(&h, 4), OK);
	assert_int_equal(get(&h, 5), REJECT);
	says(&h, "does not know schema 5");
	assert_int_equal(get(&h, 6), FATAL);
	says(&h, "/apis/ccompat/v7");
	assert_int_equal(get(&h, 7), REJECT);
	says(&h, "PROTOBUF");
	assert_int_equal(get(&h, 8), REJECT);
	says(&h, "refers to other schemas");
	assert_int_equal(registry_get(h.r, (struct frame){ FRAME_SINGLE, 4 }, &h.json, &h.err), REJECT);
	says(&h, "by fingerprint");
	http_stop(&h);
	assert_int_equal(h.server.requests, 5);
}

static enum rc
again(struct http *h, uint64_t id)
{
	return registry_again(h->r, (struct frame){ FRAME_CONFLUENT, id }, &h->json, &h->err);
}

/* Numbers that mean other schemas by now: asked for once a second, and what was known stays known while nobody answers. */
static void
asked_again(void **state UNUSED)
{
	static const struct canned list[] = {
		{ 200, "{\"schema\":\"\\\"long\\\"\"}", 0 },
		{ 404, "{\"error_code\":40403,\"message\":\"Schema 5 not found\"}", 0 },
		{ 200, "{\"schema\":\"\\\"string\\\"\"}", 0 },
		{ 200, "{\"schema\":\"\\\"int\\\"\"}", 0 },
	};
	struct slice first;
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(get(&h, 4), OK);
	first = h.json;
	assert_int_equal(again(&h, 4), REJECT);
	assert_int_equal(get(&h, 4), OK);
	assert_ptr_equal(h.json.p, first.p);
	assert_int_equal(again(&h, 4), OK); /* within the second: as it was */
	assert_ptr_equal(h.json.p, first.p);
	assert_int_equal(get(&h, 9), OK); /* another one is asked for at once */
	assert_true(slice_is(h.json, "\"string\""));
	assert_int_equal(again(&h, 9), OK);
	assert_true(slice_is(h.json, "\"int\""));
	assert_int_equal(get(&h, 9), OK);
	assert_true(slice_is(h.json, "\"int\""));
	assert_true(slice_is(first, "\"long\""));
	http_stop(&h);
	assert_int_equal(h.server.requests, COUNTOF(list));
}

/* A writer learns that the registry was emptied when a number comes that another schema has. */
static void
number_given_twice(void **state UNUSED)
{
	static const struct canned list[] = { { 200, "{\"id\":7}", 0 }, { 200, "{\"id\":7}", 0 } };
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(put(&h, "t-value", A_LONG), OK);
	assert_int_equal(put(&h, "u-value", A_TEXT), RETRY);
	says(&h, "gives number 7 to u-value");
	http_stop(&h);
}

/* A key keeps its number where the subject's newest schema differs in defaults alone: no post then. */
static void
newest_is_alike(void **state UNUSED)
{
#define RECORD(type) \
	"{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"R\\\"," \
	"\\\"fields\\\":[{\\\"name\\\":\\\"a\\\",\\\"type\\\":" type "}]}\",\"id\":5}"
	static const struct canned list[] = {
		{ 200, RECORD("{\\\"type\\\":\\\"long\\\",\\\"connect.default\\\":0},\\\"default\\\":0"), 0 },
		{ 200, RECORD("\\\"string\\\""), 0 }, { 200, "{\"id\":6}", 0 },
		{ 404, "{\"error_code\":40401,\"message\":\"no subject\"}", 0 }, { 200, "{\"id\":6}", 0 },
		{ 404, "<html>no such page</html>", 0 },
	};
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(registry_put(h.r, "t-key", slice_of(A_LONG), true, &h.frame, &h.err), OK);
	assert_int_equal(h.frame.id, 5);
	assert_int_equal(get(&h, 5), OK);
	assert_non_null(strstr(h.json.p, "connect.default")); /* as it is there */
	assert_int_equal(registry_put(h.r, "u-key", slice_of(A_LONG), true, &h.frame, &h.err), OK);
	assert_int_equal(h.frame.id, 6);
	assert_int_equal(registry_put(h.r, "v-key", slice_of(A_LONG), true, &h.frame, &h.err), OK);
	assert_int_equal(h.frame.id, 6);
	assert_int_equal(registry_put(h.r, "w-key", slice_of(A_LONG), true, &h.frame, &h.err), FATAL);
	http_stop(&h);
	assert_int_equal(h.server.requests, COUNTOF(list));
}

static void
subjects(void **state UNUSED)
{
	struct slice json = SLICE_LIT("{\"type\":\"record\",\"name\":\"Key\",\"namespace\":\"inv.public.t\",\"fields\":[]}");
	struct arena a = { 0 };

	assert_string_equal(registry_subject(SUBJECTS_TOPIC, "x.t", "key", json, &a), "x.t-key");
	assert_string_equal(registry_subject(SUBJECTS_RECORD, "x.t", "key", json, &a), "inv.public.t.Key");
	assert_string_equal(registry_subject(SUBJECTS_TOPIC_RECORD, "x.t", "key", json, &a), "x.t-inv.public.t.Key");
	arena_free(&a);
}

static void
refusals(void **state UNUSED)
{
	static const struct canned list[] = {
		{ 409, "{\"error_code\":409,\"message\":\"reader type: LONG not compatible\"}", 0 },
		{ 401, "", 0 },
		{ 403, "{\"error_code\":40301,\"message\":\"user has no right\"}", 0 },
		{ 422, "{\"error_code\":42201,\"message\":\"Invalid Avro schema\"}", 0 },
		{ 422, "{\"error_code\":42205,\"message\":\"Subject s-value is in read-only mode\"}", 0 },
	};
	static const enum rc verdict[] = { REJECT, FATAL, FATAL, REJECT, RETRY };
	static const char *const text[][2] = {
		{ "reader type: LONG not compatible", "compatibility to NONE" },
		{ "an empty answer", "schemas.user" },
		{ "user has no right", "right to read and write" },
		{ "Invalid Avro schema", "does not take this schema" },
		{ "read-only mode", "back to READWRITE" },
	};
	struct http h;

	http_start(&h, list, COUNTOF(list), "u:secret@");
	for (size_t i = 0; i < COUNTOF(list); i++) {
		assert_int_equal(put(&h, "s-value", A_LONG), verdict[i]);
		says(&h, text[i][0]);
		says(&h, text[i][1]);
		says(&h, "subject s-value");
		assert_null(strstr(h.err.text, "secret"));
	}
	http_stop(&h);
	assert_int_equal(h.server.requests, COUNTOF(list)); /* a refusal is not tried again */
}

static void
trouble_that_passes(void **state UNUSED)
{
	static const struct canned list[] = {
		{ 500, "{\"error_code\":50001,\"message\":\"store\"}", 0 },
		{ 503, "busy", 0 },
		{ 429, "slow down", 0 },
		{ 200, "{\"id\":3}", 0 },
	};
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(put(&h, "s-value", A_LONG), OK);
	assert_int_equal(h.frame.id, 3);
	http_stop(&h);
	assert_int_equal(h.server.requests, 4);
}

static void
trouble_that_stays(void **state UNUSED)
{
	static const struct canned list[] = { { 500, "{\"error_code\":50001,\"message\":\"the store is down\"}", 0 } };
	char what[128];
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(put(&h, "s-value", A_LONG), RETRY);
	says(&h, "the store is down");
	http_stop(&h);
	assert_true(h.server.requests > 3);

	http_start(&h, NULL, 0, ""); /* bound, nobody listens: refused */
	assert_int_equal(registry_check(h.r, what, &h.err), RETRY);
	says(&h, "is it up");
	http_stop(&h);
}

static void
answers_that_are_none(void **state UNUSED)
{
	static const struct canned list[] = {
		{ 200, "<html>please log in\n</html>", 0 }, { 200, "", 0 }, { 200, "{\"id\":-1}", 0 }, { 200, "{\"id\":\"7\"}", 0 },
		{ 200, "[7]", 0 }, { 200, "{\"id\":99999999999}", 0 }, { 302, "moved", 0 }, { 200, "0123456789abcdef", 1 << 20 },
	};
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	for (size_t i = 0; i < COUNTOF(list); i++) {
		assert_int_equal(put(&h, "s-value", A_LONG), FATAL);
		says(&h, i == 7 ? "larger than" : "schemas.registry");
	}
	http_stop(&h);
	assert_int_equal(h.server.requests, COUNTOF(list));
}

static void
check(void **state UNUSED)
{
	static const struct canned list[] = { { 200, "[\"a-key\",\"a-value\"]", 0 }, { 200, "{}", 0 } };
	char what[128];
	struct http h;

	http_start(&h, list, COUNTOF(list), "");
	assert_int_equal(registry_check(h.r, what, &h.err), OK);
	assert_string_equal(what, "Confluent API, 2 subjects");
	assert_int_equal(registry_check(h.r, what, &h.err), FATAL);
	http_stop(&h);
}

static void
bad_urls(void **state UNUSED)
{
	static const char *const bad[] = { "http://", "http://h:99999999", "://x" };
	struct conf conf = { 0 };
	struct kafka k = { .conf = &conf };
	struct registry *r;
	struct err err;

	for (size_t i = 0; i < COUNTOF(bad); i++) {
		conf.registry = bad[i];
		assert_int_equal(registry_open(&k, false, &r, &err), FATAL);
		assert_int_equal(err.exit, EXIT_CONFIG);
	}
}

/* ---- kind none ---- */

struct embedded {
	struct broker *broker;
	struct conf conf;
	struct kafka kafka;
	struct err err;
};

static int
embedded_start(void **state)
{
	struct embedded *e = calloc(1, sizeof *e);

	if (!e || broker_start(&e->broker, &e->err) != OK)
		return -1;
	e->conf.name = "shop";
	e->conf.brokers = "embedded";
	e->conf.embedded = true;
	e->conf.replication = 1;
	e->kafka = (struct kafka){ &e->conf, e->broker, 1 };
	*state = e;
	return 0;
}

static int
embedded_stop(void **state)
{
	struct embedded *e = *state;

	broker_stop(e->broker);
	free(e);
	return 0;
}

static struct registry *
opened(struct embedded *e, bool writer)
{
	struct registry *r = NULL;

	assert_int_equal(registry_open(&e->kafka, writer, &r, &e->err), OK);
	return r;
}

static int64_t
records(struct embedded *e)
{
	rd_kafka_t *rk;
	int64_t low, high;

	assert_int_equal(kafka_consumer(&e->kafka, 64, &rk, &e->err), OK);
	assert_int_equal(kafka_offsets(rk, "shop.towline.schemas", 0, &low, &high, &e->err), OK);
	rd_kafka_destroy(rk);
	return high - low;
}

/* A reader that was there before finds what a writer adds; a writer that comes later adds nothing twice. */
static void
through_the_topic(void **state)
{
	struct embedded *e = *state;
	struct registry *early = opened(e, false), *w = opened(e, true);
	struct frame one, two, again;
	struct slice json;
	char what[128];

	assert_int_equal(registry_check(early, what, &e->err), OK);
	assert_string_equal(what, "topic shop.towline.schemas, 0 schemas");
	e->err.text[0] = 0;
	if (registry_put(w, "t-value", SLICE_LIT(A_LONG), false, &one, &e->err) != OK)
		fail_msg("%s", e->err.text);
	assert_int_equal(one.kind, FRAME_SINGLE);
	assert_int_equal(registry_get(early, one, &json, &e->err), OK);
	assert_true(slice_is(json, A_LONG));
	assert_int_equal(registry_put(w, "t-value", SLICE_LIT(A_TEXT), false, &two, &e->err), OK);
	assert_true(one.id != two.id);
	assert_int_equal(registry_get(early, two, &json, &e->err), OK);
	assert_true(slice_is(json, A_TEXT));
	registry_close(w);

	w = opened(e, true);
	assert_int_equal(registry_put(w, "t-value", SLICE_LIT(A_TEXT), false, &again, &e->err), OK);
	assert_true(again.id == two.id);
	assert_int_equal(registry_put(w, "u-value", SLICE_LIT(A_LONG), false, &again, &e->err), OK);
	assert_int_equal(records(e), 2);
	assert_int_equal(registry_check(w, what, &e->err), OK);
	assert_string_equal(what, "topic shop.towline.schemas, 2 schemas");
	registry_close(w);
	registry_close(early);
}

static void
produce(struct embedded *e, const char *key, const char *value)
{
	rd_kafka_t *rk;
	rd_kafka_queue_t *q;
	rd_kafka_event_t *ev;

	assert_int_equal(kafka_producer(&e->kafka, &rk, &e->err), OK);
	assert_int_equal(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC("shop.towline.schemas"), RD_KAFKA_V_PARTITION(0),
	    RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value ? strlen(value) : 0),
	    RD_KAFKA_V_END), 0);
	q = rd_kafka_queue_get_main(rk);
	ev = rd_kafka_queue_poll(q, 5000);
	assert_int_equal(rd_kafka_event_type(ev), RD_KAFKA_EVENT_DR);
	rd_kafka_event_destroy(ev);
	rd_kafka_queue_destroy(q);
	rd_kafka_destroy(rk);
}

/* What others write into the topic is not believed: junk, a key that is not the fingerprint, a null. */
static void
strangers_in_the_topic(void **state)
{
	struct embedded *e = *state;
	struct registry *r;
	struct frame f = { FRAME_SINGLE, 0 };
	struct slice json;
	char hex[17];

	assert_int_equal(broker_topic(e->broker, "shop.towline.schemas", 1, &e->err), OK);
	assert_int_equal(schema_fingerprint(SLICE_LIT(A_LONG), &f.id, &e->err), OK);
	snprintf(hex, sizeof hex, "%016llx", (unsigned long long)f.id);
	produce(e, hex, A_TEXT);
	produce(e, hex, "not json");
	produce(e, "", A_LONG);
	produce(e, hex, NULL);
	r = opened(e, false);
	assert_int_equal(registry_get(r, f, &json, &e->err), REJECT);
	assert_non_null(strstr(e->err.text, "3 records that are no schemas"));
	assert_int_equal(registry_get(r, f, &json, &e->err), REJECT); /* at once, the second time */
	produce(e, hex, A_LONG);
	assert_int_equal(registry_get(r, f, &json, &e->err), OK);
	assert_true(slice_is(json, A_LONG));
	assert_int_equal(registry_get(r, (struct frame){ FRAME_CONFLUENT, 1 }, &json, &e->err), REJECT);
	assert_int_equal(registry_get(r, (struct frame){ FRAME_NONE, 0 }, &json, &e->err), REJECT);
	assert_int_equal(registry_put(r, "s", SLICE_LIT(A_LONG), false, &f, &e->err), FATAL);
	registry_close(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_once_then_from_memory),
		cmocka_unit_test(request_as_the_api_wants_it),
		cmocka_unit_test(get_by_id),
		cmocka_unit_test(asked_again),
		cmocka_unit_test(number_given_twice),
		cmocka_unit_test(newest_is_alike),
		cmocka_unit_test(subjects),
		cmocka_unit_test(refusals),
		cmocka_unit_test(trouble_that_passes),
		cmocka_unit_test(trouble_that_stays),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(check),
		cmocka_unit_test(bad_urls),
		cmocka_unit_test_setup_teardown(through_the_topic, embedded_start, embedded_stop),
		cmocka_unit_test_setup_teardown(strangers_in_the_topic, embedded_start, embedded_stop),
	};

	setenv("no_proxy", "127.0.0.1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
