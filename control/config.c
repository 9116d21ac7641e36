/*
 * towline config: what the configuration comes to.
 */
#include "control/command.h"

#include "core/buf.h"
#include "core/quote.h"
#include "core/suggest.h"

#include <stdio.h>

static int
print(struct buf *out)
{
	fwrite(out->p, 1, out->n, stdout);
	buf_free(out);
	return EXIT_DONE;
}

static int
show(struct call *call, const struct conf *c)
{
	struct buf out = { 0 };

	conf_show(c, call->json, &out);
	return print(&out);
}

static int
check(struct call *call, const struct conf *c)
{
	const char *path = c->path ? c->path : "environment and --set";
	struct buf out = { 0 };

	if (call->json) {
		buf_text(&out, "{\"ok\": true, \"config\": ");
		quote_json(&out, slice_of(path));
		buf_text(&out, ", \"name\": ");
		quote_json(&out, slice_of(c->name));
		buf_printf(&out, ", \"source\": %s, \"sinks\": %d}\n", c->source_url ? "true" : "false", c->nsinks);
	} else {
		buf_printf(&out, "%s: ok (%s: %s, %d sink%s)\n", path, c->name, c->source_url ? "a source" : "no source", c->nsinks,
		    c->nsinks == 1 ? "" : "s");
	}
	return print(&out);
}

static int
example(void)
{
	struct buf out = { 0 };

	conf_example(&out);
	return print(&out);
}

static int
unknown(struct call *call, const char *word)
{
	static const char *const words[] = { "show", "check", "example" };
	struct suggestion s = { .word = slice_of(word) };

	for (size_t i = 0; i < COUNTOF(words); i++)
		suggest_offer(&s, slice_of(words[i]));
	if (s.best.n)
		fail_exit(&call->err, REJECT, EXIT_USAGE, "unknown command 'config %.60s'; did you mean 'config %.*s'?", word,
		    SLICE_ARG(s.best));
	else
		call_usage(call, "config knows show, check and example, not '%.60s'", word);
	return (int)call->err.exit;
}

int
cmd_config(struct call *call)
{
	const char *word = call->argv[0];
	bool shows = strcmp(word, "show") == 0;
	struct conf c = { 0 };
	int code;

	if (strcmp(word, "example") == 0)
		return example();
	if (!shows && strcmp(word, "check") != 0)
		return unknown(call, word);
	if (call_load_conf(call, &c))
		code = (int)call->err.exit;
	else
		code = shows ? show(call, &c) : check(call, &c);
	conf_free(&c);
	return code;
}

const struct command command_config = {
	.name = "config",
	.summary = "show the configuration that holds, check it, or print a sample",
	.usage = "show|check|example",
	.examples = "towline config example > towline.yaml\ntowline config show --set kafka.partitions=12\n",
	.detail = "show     every key with its value and where that came from; secrets are covered\n"
	    "check    read and check without reaching anything; 'towline check' goes further\n"
	    "example  a sample with every key and its default\n",
	.flags = COMMAND_NO_CONF,
	.args_min = 1,
	.args_max = 1,
	.run = cmd_config,
};
