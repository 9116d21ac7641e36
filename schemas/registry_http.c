/*
 * A Confluent-compatible registry over HTTP. Four calls of its API (Confluent, "Schema Registry API Reference"):
 *
 *   POST /subjects/{subject}/versions   {"schema": "..."}   ->  {"id": 7}
 *   GET  /subjects/{subject}/versions/latest            ->  {"id": 7, "schema": "..."}
 *   GET  /schemas/ids/{id}                                  ->  {"schema": "...", "schemaType": ...}
 *   GET  /subjects                                          ->  ["a-key", ...]
 *
 * A refusal is {"error_code": 40901, "message": "..."} with the status in front of the code.
 */
#include "core/arena.h"
#include "core/now.h"
#include "core/stop.h"
#include "schemas/registry_kind.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define MEDIA "application/vnd.schemaregistry.v1+json"

/* One request gets CONNECT_MS and TOTAL_MS; trouble that passes is tried again with doubled waits until BUDGET_MS are spent. */
enum { CONNECT_MS = 3000, TOTAL_MS = 10000, BUDGET_MS = 2000, FIRST_WAIT_MS = 50, ANSWER_MAX = 8 << 20 };

struct http {
	struct registry_texts *texts;
	struct arena arena;         /* the names below */
	struct arena scratch;       /* of one call */
	CURL *curl;                 /* one handle: its connection is kept alive */
	struct curl_slist *headers;
	const char *base;           /* without credentials and the slash at the end */
	const char *user, *password;
	struct buf body;            /* of the answer */
	char why[CURL_ERROR_SIZE];
};

/* An answer that arrived: its status and, when it was JSON, what it says. */
struct reply {
	long status;
	json_t *json;
	struct slice message; /* the registry's own words, or the first bytes of whatever came; in the handle's buffers */
};

/* ---- opening ---- */

/* Part of the URL as text in the arena; NULL when it is not there. */
static const char *
part(struct http *h, CURLU *u, CURLUPart what, unsigned flags)
{
	char *text = NULL;
	const char *kept = NULL;

	if (curl_url_get(u, what, &text, flags) == CURLUE_OK)
		kept = arena_text(&h->arena, slice_of(text));
	curl_free(text);
	return kept;
}

/* Credentials may stand in the URL (https://user:pass@host); they leave it here, so that no message shows them. */
static enum rc
take_url(struct http *h, const struct conf *conf, struct err *err)
{
	CURLU *u = curl_url();
	CURLUcode code;
	char *base;

	if (!u)
		die("out of memory for the registry's URL");
	code = curl_url_set(u, CURLUPART_URL, conf->registry, 0);
	if (code != CURLUE_OK) {
		curl_url_cleanup(u);
		return fail_exit(err, FATAL, EXIT_CONFIG, "schemas.registry is not a URL: %s; write http://HOST:PORT",
		    curl_url_strerror(code));
	}
	h->user = conf->registry_user ? conf->registry_user : part(h, u, CURLUPART_USER, CURLU_URLDECODE);
	h->password = conf->registry_password ? conf->registry_password : part(h, u, CURLUPART_PASSWORD, CURLU_URLDECODE);
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	curl_url_set(u, CURLUPART_QUERY, NULL, 0);
	curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	h->base = part(h, u, CURLUPART_URL, 0);
	curl_url_cleanup(u);
	if (!h->base)
		return fail_exit(err, FATAL, EXIT_CONFIG, "schemas.registry has no host; write http://HOST:PORT");
	base = arena_text(&h->arena, slice_of(h->base));
	for (size_t n = strlen(base); n > 0 && base[n - 1] == '/'; n--)
		base[n - 1] = 0;
	h->base = base;
	return OK;
}

/* What has come so far stays within ANSWER_MAX: taking less than was offered makes curl give up the transfer. */
static size_t
take_bytes(char *p, size_t size, size_t n, void *arg)
{
	struct http *h = arg;

	buf_bytes(&h->body, p, size * n);
	return h->body.failed ? 0 : size * n;
}

static void
set_options(struct http *h, const struct conf *conf)
{
	CURL *c = h->curl;

	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->why);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)TOTAL_MS);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
	curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "towline/" TOWLINE_VERSION);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	if (h->user || h->password) {
		curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(c, CURLOPT_USERNAME, h->user ? h->user : "");
		curl_easy_setopt(c, CURLOPT_PASSWORD, h->password ? h->password : "");
	}
	if (conf->registry_ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, conf->registry_ca);
	if (conf->registry_cert)
		curl_easy_setopt(c, CURLOPT_SSLCERT, conf->registry_cert);
	if (conf->registry_key)
		curl_easy_setopt(c, CURLOPT_SSLKEY, conf->registry_key);
}

static void
http_close(void *self)
{
	struct http *h = self;

	curl_easy_cleanup(h->curl);
	curl_slist_free_all(h->headers);
	buf_free(&h->body);
	arena_free(&h->arena);
	arena_free(&h->scratch);
	free(h);
}

enum rc
registry_http_open(const struct conf *conf, struct registry_texts *texts, void **self, struct err *err)
{
	struct http *h = calloc(1, sizeof *h);
	enum rc rc;

	if (!h)
		die("out of memory for the registry");
	h->texts = texts;
	h->body.max = ANSWER_MAX;
	rc = take_url(h, conf, err);
	if (rc != OK) {
		http_close(h);
		return rc;
	}
	h->curl = curl_easy_init();
	h->headers = curl_slist_append(NULL, "Content-Type: " MEDIA);
	if (!h->curl || !h->headers || !curl_slist_append(h->headers, "Accept: " MEDIA ", application/json"))
		die("out of memory for the registry");
	set_options(h, conf);
	*self = h;
	return OK;
}

/* ---- one request ---- */

static bool
passing_status(long status)
{
	return status >= 500 || status == 408 || status == 429;
}

/* Did the connection fail in a way that may heal by itself? Certificates and bad names of files do not. */
static enum rc
connection_failed(struct http *h, CURLcode code, struct err *err)
{
	const char *why = h->why[0] ? h->why : curl_easy_strerror(code);

	/* TLS 1.3 tells it when the answer is read, as any trouble of a connection. */
	if (strstr(why, "certificate required") || strstr(why, "bad certificate"))
		return fail_exit(err, FATAL, EXIT_UNREACHABLE,
		    "registry %s: %s; set schemas.cert and schemas.key to a certificate that it takes", h->base, why);
	switch (code) {
	case CURLE_WRITE_ERROR:
		return fail(err, FATAL,
		    "registry %s: an answer is larger than %d MiB; is it a schema registry?",
		    h->base, ANSWER_MAX >> 20);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		return fail_exit(err, FATAL, EXIT_UNREACHABLE,
		    "registry %s: %s; set schemas.ca to the file with its authority's certificate",
		    h->base, why);
	case CURLE_SSL_CACERT_BADFILE:
		return fail_exit(err, FATAL, EXIT_CONFIG, "registry %s: %s; schemas.ca must be a readable PEM file", h->base, why);
	case CURLE_SSL_CERTPROBLEM:
		return fail_exit(err, FATAL, EXIT_CONFIG,
		    "registry %s: %s; schemas.cert and schemas.key must be a certificate and its key, in PEM", h->base, why);
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
		return fail_exit(err, FATAL, EXIT_CONFIG, "registry %s: %s; write http://HOST:PORT or https://HOST:PORT", h->base, why);
	default:
		return fail(err, RETRY, "registry %s: %s; is it up, and schemas.registry right?", h->base, why);
	}
}

/* One try. A reply that arrived is OK, whatever its status. body NULL: GET. */
static enum rc
try_once(struct http *h, const char *path, const char *body, long *status, struct err *err)
{
	char *url = arena_printf(&h->scratch, "%s%s", h->base, path);
	CURLcode code;

	buf_reset(&h->body);
	h->why[0] = 0;
	curl_easy_setopt(h->curl, CURLOPT_URL, url);
	if (body) {
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
		curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body);
	} else {
		curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
	}
	code = curl_easy_perform(h->curl);
	if (code != CURLE_OK)
		return connection_failed(h, code, err);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, status);
	return OK;
}

/* The registry's words; without any, the start of what it sent, up to the end of the line. */
static void
read_reply(struct http *h, struct reply *r)
{
	json_t *message;
	size_t n = h->body.n < 200 ? h->body.n : 200;
	const char *end;

	r->json = json_loadb(h->body.p ? h->body.p : "", h->body.n, JSON_DECODE_ANY, NULL);
	message = json_object_get(r->json, "message");
	if (json_is_string(message)) {
		r->message = (struct slice){ json_string_value(message), json_string_length(message) };
		return;
	}
	end = n ? memchr(h->body.p, '\n', n) : NULL;
	r->message = n ? (struct slice){ h->body.p, end ? (size_t)(end - h->body.p) : n } : SLICE_LIT("an empty answer");
}

/* Ask until there is an answer that is not "later", or the budget is spent. r->json is the caller's. */
static enum rc
ask(struct http *h, const char *path, const char *body, struct reply *r, struct err *err)
{
	int64_t until = now_ms() + BUDGET_MS;
	int wait = FIRST_WAIT_MS;
	enum rc rc;

	for (;; wait *= 2) {
		rc = try_once(h, path, body, &r->status, err);
		if (rc != RETRY && (rc != OK || !passing_status(r->status)))
			break;
		if (stop_requested() || now_ms() + wait > until)
			break;
		registry_pause(wait);
	}
	if (rc != OK)
		return rc;
	read_reply(h, r);
	if (passing_status(r->status)) {
		rc = fail(err, RETRY, "registry %s: status %ld: %.*s", h->base, r->status, SLICE_ARG(r->message));
		json_decref(r->json);
	}
	return rc;
}

/* ---- answers ---- */

/* Error code 42205 is "operation not permitted": registry or subject in mode READONLY or IMPORT, during a migration of it. */
static bool
not_permitted(const struct reply *r)
{
	return r->status == 422 && json_integer_value(json_object_get(r->json, "error_code")) == 42205;
}

/* What every call may be told. 404 is an answer only where the caller took it before. */
static enum rc
refused(struct http *h, const struct reply *r, const char *what, struct err *err)
{
	const char *fix = "is schemas.registry the base URL of a Confluent-compatible API?";

	/* About no schema: whoever gave one up for it would give up all. It passes. */
	if (not_permitted(r))
		return fail(err, RETRY, "registry %s, %s: %.*s; set its mode, or the subject's, back to READWRITE", h->base, what,
		    SLICE_ARG(r->message));
	switch (r->status) {
	case 401:
		fix = "set schemas.user and schemas.password";
		break;
	case 403:
		fix = "give this user the right to read and write the subjects of this pipeline";
		break;
	case 404:
		fix = "nothing answers at that path; Apicurio's is http://HOST:PORT/apis/ccompat/v7";
		break;
	case 409:
		fix = "make the change compatible, or set the subject's compatibility to NONE";
		break;
	case 422:
		fix = "the registry does not take this schema; see its log";
		break;
	default:
		break;
	}
	/* These are about one schema, the others about us. */
	return fail(err, r->status == 409 || r->status == 422 ? REJECT : FATAL, "registry %s, %s: status %ld: %.*s; %s",
	    h->base, what, r->status, SLICE_ARG(r->message), fix);
}

/* Status 200, but not what the API promises: a login page, a proxy, another service. */
static enum rc
garbage(struct http *h, const struct reply *r, const char *what, struct err *err)
{
	return fail(err, FATAL, "registry %s, %s: not the answer of a schema registry: %.*s; check schemas.registry", h->base, what,
	    SLICE_ARG(r->message));
}

static bool
good(const struct reply *r)
{
	return r->status >= 200 && r->status < 300;
}

/* {"schema": "<the text>"}; the caller frees it. */
static char *
request_body(struct slice json)
{
	json_t *text = json_stringn(json.p, json.n);
	json_t *obj = json_object();
	char *body = NULL;

	if (text && obj && json_object_set(obj, "schema", text) == 0)
		body = json_dumps(obj, JSON_COMPACT);
	json_decref(text);
	json_decref(obj);
	return body;
}

static enum rc
http_put(void *self, const char *subject, struct slice json, uint64_t *id, struct err *err)
{
	struct http *h = self;
	struct reply r = { 0 };
	char *body = request_body(json);
	char *escaped = curl_easy_escape(h->curl, subject, (int)strlen(subject));
	const char *what, *path;
	json_int_t n;
	enum rc rc;

	arena_reset(&h->scratch);
	if (!body || !escaped) {
		rc = fail(err, FATAL, "the schema of %s is not UTF-8", subject);
		goto out;
	}
	what = arena_printf(&h->scratch, "subject %s", subject);
	path = arena_printf(&h->scratch, "/subjects/%s/versions", escaped);
	rc = ask(h, path, body, &r, err);
	if (rc != OK)
		goto out;
	if (!good(&r)) {
		rc = refused(h, &r, what, err);
	} else {
		n = json_integer_value(json_object_get(r.json, "id"));
		if (n <= 0 || n > INT32_MAX)
			rc = garbage(h, &r, what, err);
		*id = (uint64_t)n;
	}
	json_decref(r.json);
out:
	free(body);
	curl_free(escaped);
	return rc;
}

/* Error code 40403 is the registry's "schema not found"; any other 404 is a wrong address. */
static bool
not_found(const struct reply *r)
{
	return r->status == 404 && json_integer_value(json_object_get(r->json, "error_code")) / 100 == 404;
}

/* Only a whole Avro schema can be read alone: one that refers to others, or a Protobuf file, cannot. */
static enum rc
take_schema(struct http *h, const struct reply *r, uint64_t id, const char *what, struct err *err)
{
	json_t *text = json_object_get(r->json, "schema");
	const char *type = json_string_value(json_object_get(r->json, "schemaType"));

	if (!json_is_string(text))
		return garbage(h, r, what, err);
	if (type && strcmp(type, "AVRO") != 0)
		return fail(err, REJECT, "schema %llu is of type %s, not AVRO", (unsigned long long)id, type);
	if (json_array_size(json_object_get(r->json, "references")) > 0)
		return fail(err, REJECT, "schema %llu refers to other schemas, which is not supported", (unsigned long long)id);
	return registry_learn(h->texts, id, (struct slice){ json_string_value(text), json_string_length(text) }, err);
}

/* Error codes 40401 and 40402: no such subject, or no version of it. */
static enum rc
http_latest(void *self, const char *subject, uint64_t *id, struct slice *json, struct err *err)
{
	struct http *h = self;
	struct reply r = { 0 };
	char *escaped = curl_easy_escape(h->curl, subject, (int)strlen(subject));
	const char *what, *path;
	json_t *text;
	enum rc rc;

	*id = 0;
	if (!escaped)
		die("out of memory for a subject");
	arena_reset(&h->scratch);
	what = arena_printf(&h->scratch, "subject %s", subject);
	path = arena_printf(&h->scratch, "/subjects/%s/versions/latest", escaped);
	curl_free(escaped);
	rc = ask(h, path, NULL, &r, err);
	if (rc != OK)
		return rc;
	text = json_object_get(r.json, "schema");
	if (good(&r) && json_is_string(text) && json_integer_value(json_object_get(r.json, "id")) > 0) {
		*id = (uint64_t)json_integer_value(json_object_get(r.json, "id"));
		*json = (struct slice){ arena_text(&h->scratch, (struct slice){ json_string_value(text), json_string_length(text) }),
			json_string_length(text) };
	} else if (!not_found(&r)) {
		rc = good(&r) ? garbage(h, &r, what, err) : refused(h, &r, what, err);
	}
	json_decref(r.json);
	return rc;
}

static enum rc
http_get(void *self, uint64_t id, struct err *err)
{
	struct http *h = self;
	struct reply r = { 0 };
	const char *what, *path;
	enum rc rc;

	arena_reset(&h->scratch);
	what = arena_printf(&h->scratch, "schema %llu", (unsigned long long)id);
	path = arena_printf(&h->scratch, "/schemas/ids/%llu", (unsigned long long)id);
	rc = ask(h, path, NULL, &r, err);
	if (rc != OK)
		return rc;
	if (not_found(&r))
		rc = fail(err, REJECT, "registry %s does not know schema %llu; was the topic written with another registry?", h->base,
		    (unsigned long long)id);
	else if (!good(&r))
		rc = refused(h, &r, what, err);
	else
		rc = take_schema(h, &r, id, what, err);
	json_decref(r.json);
	return rc;
}

static enum rc
http_check(void *self, char what[static 128], struct err *err)
{
	struct http *h = self;
	struct reply r = { 0 };
	enum rc rc;

	arena_reset(&h->scratch);
	rc = ask(h, "/subjects", NULL, &r, err);
	if (rc != OK)
		return rc;
	if (!good(&r))
		rc = refused(h, &r, "list of subjects", err);
	else if (!json_is_array(r.json))
		rc = garbage(h, &r, "list of subjects", err);
	else
		snprintf(what, 128, "Confluent API, %zu subjects", json_array_size(r.json));
	json_decref(r.json);
	return rc;
}

const struct registry_ops registry_http = { FRAME_CONFLUENT, http_put, http_latest, http_get, http_check, http_close };
