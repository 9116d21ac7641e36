#include "control/http.h"
#include "control/health.h"
#include "control/human.h"
#include "control/metrics.h"
#include "control/report.h"
#include "core/log.h"
#include "core/now.h"
#include "core/quote.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64, CONNECTIONS_MAX = 200, TIMEOUT_S = 30 };

struct http {
	struct report *report;
	struct MHD_Daemon *daemon;
};

/* ---- answers ---- */

static enum MHD_Result
respond(struct MHD_Connection *conn, int status, const char *type, struct buf *body)
{
	struct MHD_Response *resp =
	    MHD_create_response_from_buffer(body->n, body->p, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result done = MHD_NO;

	buf_free(body);
	if (!resp)
		return MHD_NO;
	if (MHD_add_response_header(resp, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_YES)
		done = MHD_queue_response(conn, (unsigned)status, resp);
	MHD_destroy_response(resp);
	return done;
}

/* {"status":503,"text":"...","nodes":[...]}: what a person with curl wants to see. */
static void
put_answer(struct buf *body, const struct health_answer *a, const struct progress *p, int n)
{
	buf_printf(body, "{\"status\":%d,\"text\":", a->status);
	quote_json(body, slice_of(a->why));
	buf_text(body, ",\"nodes\":[");
	for (int i = 0; i < n; i++) {
		if (i)
			buf_byte(body, ',');
		progress_put(body, &p[i]);
	}
	buf_text(body, "]}\n");
}

static enum MHD_Result
serve(void *arg, struct MHD_Connection *conn, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **state)
{
	struct http *h = arg;
	struct arena a = { 0 };
	struct buf body = { 0 };
	struct health_answer answer;
	struct progress *p;
	bool metrics = strcmp(url, "/metrics") == 0;
	int n;

	(void)version, (void)data, (void)state;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 &&
	    strcmp(method, "OPTIONS") != 0) {
		*size = 0;
		buf_text(&body, "{\"status\":405,\"text\":\"only GET, HEAD and OPTIONS\"}\n");
		return respond(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "application/json", &body);
	}
	n = report_now(h->report, &a, &p);
	if (metrics) {
		answer.status = MHD_HTTP_OK;
		metrics_put(&body, report_pipeline(h->report), p, n);
	} else {
		health_answer(url, MHD_lookup_connection_value(conn, MHD_GET_ARGUMENT_KIND, "lag"),
		    p, n, wall_us(), &answer);
		put_answer(&body, &answer, p, n);
	}
	arena_free(&a);
	return respond(conn, answer.status,
	    metrics ? "text/plain; version=0.0.4; charset=utf-8" : "application/json", &body);
}

/* ---- life ---- */

static enum rc
split(const char *listen, char host[static 256], const char **port, struct err *err)
{
	const char *colon = strrchr(listen, ':');
	size_t n = colon ? (size_t)(colon - listen) : 0;

	if (n && listen[0] == '[' && listen[n - 1] == ']') {
		listen++;
		n -= 2;
	}
	if (!colon || !colon[1] || n >= 256)
		return fail_exit(
		    err, FATAL, EXIT_CONFIG, "http.listen: '%.60s' is not HOST:PORT", listen);
	memcpy(host, listen, n);
	host[n] = '\0';
	*port = colon + 1;
	return OK;
}

static int
bind_first(const struct addrinfo *list)
{
	int one = 1, fd = -1;

	for (; list && fd < 0; list = list->ai_next) {
		fd = socket(list->ai_family, list->ai_socktype | SOCK_CLOEXEC, list->ai_protocol);
		if (fd < 0)
			continue;
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
			break;
		close(fd);
		fd = -1;
	}
	return fd;
}

static enum rc
open_port(const char *address, int *fd, struct err *err)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE
	};
	struct addrinfo *list = NULL;
	char host[256];
	const char *port = NULL;
	int code;
	enum rc rc = split(address, host, &port, err);

	if (rc != OK)
		return rc;
	code = getaddrinfo(*host ? host : NULL, port, &hints, &list);
	if (code)
		return fail_exit(
		    err, FATAL, EXIT_CONFIG, "http.listen: %s: %s", address, gai_strerror(code));
	*fd = bind_first(list);
	if (*fd < 0)
		rc = fail_exit(err, FATAL, EXIT_CONFIG,
		    "http.listen: cannot listen on %s: %s; choose another port or free this one",
		    address, strerror(errno));
	freeaddrinfo(list);
	return rc;
}

enum rc
http_start(struct report *r, const char *listen, struct http **out, struct err *err)
{
	struct http *h;
	int fd = -1;
	enum rc rc = open_port(listen, &fd, err);

	if (rc != OK)
		return rc;
	h = calloc(1, sizeof *h);
	if (!h)
		die("out of memory");
	h->report = r;
	h->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL,
	    serve, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
	    MHD_OPTION_END);
	if (!h->daemon) {
		close(fd);
		free(h);
		return fail_exit(
		    err, FATAL, EXIT_CONFIG, "http.listen: cannot serve on %s", listen);
	}
	*out = h;
	log_info("http", "listening", "address=%s", listen);
	return OK;
}

void
http_stop(struct http *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}
