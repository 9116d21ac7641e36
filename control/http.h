/*
 * http.h - what a process answers over HTTP: /metrics, /healthz, /readyz, /primary, /replica (control/health.h). Reads only.
 */
#ifndef CONTROL_HTTP_H
#define CONTROL_HTTP_H

#include "core/err.h"

struct report;
struct http;

/* Listen on HOST:PORT (also [HOST]:PORT) with a thread of its own. FATAL/EXIT_CONFIG: the address cannot be had. r outlives it. */
enum rc http_start(
    struct report *r, const char *listen, struct http **out, struct err *err) MUST_CHECK;
void http_stop(struct http *h);

#endif
