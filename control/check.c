#include "control/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum result { RESULT_OK, RESULT_WARN, RESULT_FAIL };

static const char *const result_words[] = { "ok", "warn", "FAIL" };

/* ---- results ---- */

void
check_begin(struct checks *c, const char *subject, const char *heading)
{
	c->subject = arena_text(&c->arena, slice_of(subject));
	if (!c->list && heading)
		printf("%s\n", heading);
}

/* Text from a server may hold anything; a terminal is not to obey it. */
static const char *
one_line(struct arena *a, const char *text)
{
	char *p = arena_text(a, slice_of(text));

	for (char *at = p; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = ' ';
	return p;
}

static json_t *
json_text(const char *text)
{
	json_t *j = text ? json_string(text) : json_null();

	return j ? j : json_string("(not UTF-8)");
}

static void
report(struct checks *c, enum result result, const char *name, const char *detail, const char *fix)
{
	static const char *const json_words[] = { "ok", "warn", "fail" };

	c->ok += result == RESULT_OK;
	c->warnings += result == RESULT_WARN;
	c->failures += result == RESULT_FAIL;
	detail = one_line(&c->arena, detail);
	fix = fix ? one_line(&c->arena, fix) : NULL;
	if (c->list) {
		json_t *j = json_object();

		json_object_set_new(j, "subject", json_text(c->subject));
		json_object_set_new(j, "name", json_text(name));
		json_object_set_new(j, "result", json_string(json_words[result]));
		json_object_set_new(j, "detail", json_text(detail));
		json_object_set_new(j, "fix", json_text(fix));
		json_array_append_new(c->list, j);
		return;
	}
	printf("  %-5s %-32s %s\n", result_words[result], one_line(&c->arena, name), detail);
	if (fix)
		printf("        fix: %s\n", fix);
	fflush(stdout); /* the next test may take seconds */
}

static void
vreport(struct checks *c, enum result result, const char *name, const char *fix, const char *fmt, va_list ap)
{
	char text[1200];

	vsnprintf(text, sizeof text, fmt, ap);
	report(c, result, name, text, fix);
}

void
check_ok(struct checks *c, const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(c, RESULT_OK, name, NULL, fmt, ap);
	va_end(ap);
}

void
check_warn(struct checks *c, const char *name, const char *fix, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vreport(c, RESULT_WARN, name, fix, fmt, ap);
	va_end(ap);
}

void
check_fail(struct checks *c, const char *name, const char *fix, const char *fmt, ...)
{
	va_list ap;

	c->failed = true;
	va_start(ap, fmt);
	vreport(c, RESULT_FAIL, name, fix, fmt, ap);
	va_end(ap);
}

void
check_error(struct checks *c, const char *name, const struct err *err)
{
	struct slice detail = slice_of(err->text);
	const char *fix = strstr(err->text, "; ");

	if (fix)
		detail.n = (size_t)(fix - err->text);
	if (err->exit == EXIT_UNREACHABLE)
		c->unreachable = true;
	else if (err->exit == EXIT_CONFIG)
		c->misconfigured = true;
	else
		c->failed = true;
	report(c, RESULT_FAIL, name, arena_text(&c->arena, detail), fix ? fix + 2 : NULL);
}

/* ---- PostgreSQL ---- */

/* In single quotes for the shell. */
static const char *
shell_quote(struct arena *a, const char *text)
{
	char *p = arena_raw(a, strlen(text) * 4 + 3), *at = p;

	*at++ = '\'';
	for (; *text; text++) {
		if (*text == '\'') {
			memcpy(at, "'\\'", 3);
			at += 3;
		}
		*at++ = *text;
	}
	*at++ = '\'';
	*at = '\0';
	return p;
}

const char *
check_psql(struct checks *c, PGconn *conn, const char *sql)
{
	struct arena *a = &c->arena;
	const char *host = PQhost(conn), *port = PQport(conn), *quoted = shell_quote(a, sql);

	if (!host || !*host || *host == '/')
		return arena_printf(a, "psql -U postgres -d %s -c %s", shell_quote(a, PQdb(conn)), quoted);
	if (strcmp(port, "5432") == 0)
		return arena_printf(a, "psql -c %s postgres://postgres@%s/%s", quoted, host, PQdb(conn));
	return arena_printf(a, "psql -c %s postgres://postgres@%s:%s/%s", quoted, host, port, PQdb(conn));
}

bool
check_connect(struct checks *c, const char *url, PGconn **out)
{
	struct err err;

	if (pg_connect(url, false, out, &err) == OK &&
	    pg_exec(*out, "settings", "SET statement_timeout = '10s'; SET lock_timeout = '5s'",
		NULL, &err) == OK)
		return true;
	if (err.exit == EXIT_UNREACHABLE && !strstr(err.text, "; "))
		(void)fail_exit(&err, err.rc, err.exit, "%s; start the server, or correct the URL", err.text);
	check_error(c, "reachable", &err);
	PQfinish(*out);
	*out = NULL;
	return false;
}

/* ---- the command ---- */

static void
check_all(struct checks *c)
{
	if (c->conf->source_url)
		check_source(c);
	check_kafka(c);
	check_registry(c);
	for (int i = 0; i < c->conf->nsinks; i++)
		check_sink(c, &c->conf->sinks[i]);
}

static void
print_summary(const struct checks *c)
{
	int n = c->ok + c->warnings + c->failures;

	printf("%d check%s: %d ok, %d warning%s, %d failure%s\n", n, n == 1 ? "" : "s", c->ok,
	    c->warnings, c->warnings == 1 ? "" : "s", c->failures, c->failures == 1 ? "" : "s");
}

static void
print_json(struct checks *c)
{
	json_t *top = json_object();
	char *text;

	json_object_set_new(top, "checks", c->list);
	json_object_set_new(top, "ok", json_integer(c->ok));
	json_object_set_new(top, "warnings", json_integer(c->warnings));
	json_object_set_new(top, "failures", json_integer(c->failures));
	text = json_dumps(top, JSON_INDENT(2));
	if (!text)
		die("out of memory");
	puts(text);
	free(text);
	json_decref(top);
}

int
cmd_check(struct call *call)
{
	struct checks c = { .conf = call->conf, .list = call->json ? json_array() : NULL };

	check_all(&c);
	if (call->json)
		print_json(&c);
	else
		print_summary(&c);
	arena_free(&c.arena);
	if (c.failed)
		return EXIT_FAILED;
	return c.misconfigured ? EXIT_CONFIG : c.unreachable ? EXIT_UNREACHABLE : EXIT_DONE;
}

const struct command command_check = {
	.name = "check",
	.summary = "test everything that the configuration names, before it runs",
	.usage = "",
	.examples = "towline check\ntowline check -c inv.yaml --json\n",
	.detail = "Reaches source, Kafka, schema registry and sinks, and looks for what would fail later: rights, settings,\n"
	    "slots, tables without key, topics that do not fit. Changes nothing and makes nothing. Each failure comes\n"
	    "with the one command that cures it. Ends with 0 when nothing failed (warnings are none), 4 when all that\n"
	    "failed is that something cannot be reached, 3 when it is the configuration, else 1.\n",
	.run = cmd_check,
};
