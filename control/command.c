/*
 * From argv to a command's function. getopt_long runs twice: over the global options up to the command's name, then over
 * what follows it with the command's own options added.
 */
#include "control/command.h"

#include "core/log.h"
#include "core/quote.h"
#include "core/suggest.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* In the order of help. */
const struct command *const command_table[] = {
	&command_run,
	&command_producer,
	&command_consumer,
	&command_source,
	&command_check,
	&command_status,
	&command_stats,
	&command_log,
	&command_tail,
	&command_write,
	&command_read,
	&command_wait,
	&command_replica,
	&command_resync,
	&command_sequence,
	&command_verify,
	&command_snapshot,
	&command_takeover,
	&command_dlq,
	&command_demo,
	&command_config,
	&command_help,
	&command_version,
	NULL,
};

enum { GLOBAL_CONFIG, GLOBAL_SET, GLOBAL_JSON, GLOBAL_VERBOSE, GLOBAL_QUIET, GLOBAL_HELP, GLOBAL_VERSION };

const struct command_option command_globals[] = {
	[GLOBAL_CONFIG] = { "config", 'c', "FILE", "read this configuration (default: ./towline.yaml)" },
	[GLOBAL_SET] = { "set", 0, "KEY=VALUE", "set one key over file and environment; may be repeated" },
	[GLOBAL_JSON] = { "json", 0, NULL, "print results and errors as JSON" },
	[GLOBAL_VERBOSE] = { "verbose", 'v', NULL, "log more; may be repeated" },
	[GLOBAL_QUIET] = { "quiet", 'q', NULL, "log less; may be repeated" },
	[GLOBAL_HELP] = { "help", 'h', NULL, "print help and exit" },
	[GLOBAL_VERSION] = { "version", 0, NULL, "print the version and exit" },
};
const int command_nglobals = COUNTOF(command_globals);

enum { VAL_GLOBAL = 0x100, VAL_OWN = 0x200 };

/* What the parsing leaves beside the call. */
struct parsed {
	bool help, version;
};

const struct command *
command_find(const char *name)
{
	for (int i = 0; command_table[i]; i++)
		if (strcmp(command_table[i]->name, name) == 0)
			return command_table[i];
	return NULL;
}

enum rc
command_unknown(const char *name, struct err *err)
{
	struct suggestion s = { .word = slice_of(name) };

	for (int i = 0; command_table[i]; i++)
		suggest_offer(&s, slice_of(command_table[i]->name));
	if (s.best.n)
		return fail_exit(err, REJECT, EXIT_USAGE, "unknown command '%.60s'; did you mean '%.*s'?", name, SLICE_ARG(s.best));
	return fail_exit(err, REJECT, EXIT_USAGE, "unknown command '%.60s'; 'towline help' lists them", name);
}

void
command_report(const struct err *err, bool json)
{
	struct buf b = { 0 };

	if (!json) {
		fprintf(stderr, "towline: %s\n", err->text);
		return;
	}
	buf_text(&b, "{\"error\": ");
	quote_json(&b, slice_of(err->text));
	buf_printf(&b, ", \"exit\": %d}\n", (int)err->exit);
	fwrite(b.p, 1, b.n, stderr);
	buf_free(&b);
}

/* ---- what a command asks of its call ---- */

const char *
call_option(const struct call *call, const char *name)
{
	for (int i = 0; i < call->command->noptions; i++)
		if (strcmp(call->command->options[i].name, name) == 0)
			return call->values[i];
	die("command %s has no option --%s", call->command->name, name);
}

enum rc
call_number(struct call *call, const char *name, int64_t standard, int64_t min, int64_t max, int64_t *out)
{
	const char *text = call_option(call, name);
	char *end;

	*out = standard;
	if (!text)
		return OK;
	errno = 0;
	*out = strtoll(text, &end, 10);
	if (errno || end == text || *end || *out < min || *out > max)
		return call_usage(call, "--%s must be a whole number from %lld to %lld, not '%.60s'", name, (long long)min,
		    (long long)max, text);
	return OK;
}

enum rc
call_usage(struct call *call, const char *fmt, ...)
{
	const char *name = call->command ? call->command->name : "";
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return fail_exit(&call->err, REJECT, EXIT_USAGE, "%s; see 'towline %s%s--help'", text, name, *name ? " " : "");
}

enum rc
call_load_conf(struct call *call, struct conf *c)
{
	const char *path = call->config_path ? call->config_path : "towline.yaml";

	if (!call->config_path && access(path, F_OK) != 0) {
		if (!call->nsets && !getenv("TOWLINE_NAME"))
			return fail_exit(&call->err, FATAL, EXIT_CONFIG,
			    "there is no ./towline.yaml; name one with --config, or begin with 'towline config example > towline.yaml'");
		path = NULL;
	}
	return conf_load(c, path, call->sets, call->nsets, &call->err);
}

void
call_setup_log(const struct call *call, const struct conf *c)
{
	enum log_level level = LOG_INFO;
	enum log_format format = LOG_AUTO;
	int moved;

	if (c && (!log_level_parse(c->log_level, &level) || !log_format_parse(c->log_format, &format)))
		die("log.level or log.format that the configuration let through");
	moved = (int)level + call->verbosity;
	level = moved < LOG_ERROR ? LOG_ERROR : moved > LOG_DEBUG ? LOG_DEBUG : (enum log_level)moved;
	log_setup(level, format);
}

/* ---- parsing ---- */

/* getopt's two tables, made of ours. cmd NULL: the global options alone, up to the first word that is none. */
struct getopt_tables {
	char letters[2 * (COMMAND_OPTIONS_MAX + 8) + 3];
	struct option longs[COMMAND_OPTIONS_MAX + 9];
	int n, nletters;
};

static void
add_options(struct getopt_tables *t, const struct command_option *options, int n, int val)
{
	for (int i = 0; i < n; i++) {
		const struct command_option *o = &options[i];

		t->longs[t->n++] = (struct option){ o->name, o->arg ? required_argument : no_argument, NULL, val + i };
		if (!o->letter)
			continue;
		assert(!strchr(t->letters, o->letter));
		t->letters[t->nletters++] = o->letter;
		if (o->arg)
			t->letters[t->nletters++] = ':';
	}
}

static void
make_tables(struct getopt_tables *t, const struct command *cmd)
{
	*t = (struct getopt_tables){ 0 };
	assert(!cmd || cmd->noptions <= COMMAND_OPTIONS_MAX);
	if (!cmd)
		t->letters[t->nletters++] = '+';
	t->letters[t->nletters++] = ':';
	add_options(t, command_globals, command_nglobals, VAL_GLOBAL);
	if (cmd)
		add_options(t, cmd->options, cmd->noptions, VAL_OWN);
}

/* The value that getopt gives for a letter, as the one for the long name. */
static int
val_of_letter(const struct command *cmd, int letter)
{
	for (int i = 0; i < command_nglobals; i++)
		if (command_globals[i].letter == letter)
			return VAL_GLOBAL + i;
	for (int i = 0; cmd && i < cmd->noptions; i++)
		if (cmd->options[i].letter == letter)
			return VAL_OWN + i;
	return letter;
}

/*
 * getopt said '?' or ':'. It tells in optopt what it met: a letter, or the val of a long option; 0 is a long option that it
 * does not know, and then the word before optind is that one.
 */
static enum rc
bad_option(struct call *call, const struct getopt_tables *t, int what, const char *word)
{
	struct suggestion s = { { "", 0 }, { "", 0 }, 0 };

	if (optopt && optopt < VAL_GLOBAL)
		return call_usage(call, what == ':' ? "option -%c needs a value" : "unknown option -%c", optopt);
	s.word = (struct slice){ word + 2, strcspn(word + 2, "=") };
	if (optopt)
		return call_usage(call, "option --%.*s %s", SLICE_ARG(s.word), what == ':' ? "needs a value" : "takes no value");
	for (int i = 0; i < t->n; i++)
		suggest_offer(&s, slice_of(t->longs[i].name));
	if (s.best.n)
		return fail_exit(&call->err, REJECT, EXIT_USAGE, "unknown option --%.*s; did you mean --%.*s?", SLICE_ARG(s.word),
		    SLICE_ARG(s.best));
	return call_usage(call, "unknown option --%.*s", SLICE_ARG(s.word));
}

static void
take_global(struct call *call, struct parsed *p, int which)
{
	switch (which) {
	case GLOBAL_CONFIG: call->config_path = optarg; break;
	case GLOBAL_SET: call->sets[call->nsets++] = optarg; break;
	case GLOBAL_JSON: call->json = true; break;
	case GLOBAL_VERBOSE: call->verbosity++; break;
	case GLOBAL_QUIET: call->verbosity--; break;
	case GLOBAL_HELP: p->help = true; break;
	case GLOBAL_VERSION: p->version = true; break;
	}
}

/* The options of argv, whose word 0 is passed over; *rest is the index of the first word that is no option. */
static enum rc
parse_options(struct call *call, struct parsed *p, int argc, char **argv, int *rest)
{
	struct getopt_tables t;
	int got;

	make_tables(&t, call->command);
	optind = 0; /* glibc: forget the round before */
	opterr = 0;
	while ((got = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		if (got == '?' || got == ':')
			return bad_option(call, &t, got, argv[optind - 1]);
		if (got < VAL_GLOBAL)
			got = val_of_letter(call->command, got);
		if (got >= VAL_OWN)
			call->values[got - VAL_OWN] = optarg ? optarg : "";
		else
			take_global(call, p, got - VAL_GLOBAL);
	}
	*rest = optind;
	return OK;
}

static enum rc
check_args(struct call *call)
{
	const struct command *cmd = call->command;

	if (call->argc < cmd->args_min)
		return call_usage(call, "%s needs %s", cmd->name, cmd->usage);
	if (cmd->args_max >= 0 && call->argc > cmd->args_max)
		return call_usage(call, "%s does not know what to do with '%.60s'", cmd->name, call->argv[cmd->args_max]);
	return OK;
}

/* Both rounds. Leaves call->command NULL when there is nothing to run because of --help or --version. */
static enum rc
parse(struct call *call, struct parsed *p, int argc, char **argv)
{
	int at;
	enum rc rc = parse_options(call, p, argc, argv, &at);

	if (rc)
		return rc;
	if (at == argc) {
		if (p->help || p->version)
			return OK;
		return fail_exit(&call->err, REJECT, EXIT_USAGE, "there is no command; 'towline help' lists them");
	}
	call->command = command_find(argv[at]);
	if (!call->command)
		return command_unknown(argv[at], &call->err);
	argc -= at;
	argv += at;
	rc = parse_options(call, p, argc, argv, &at);
	call->argc = argc - at;
	call->argv = argv + at;
	return rc || p->help || p->version ? rc : check_args(call);
}

/* ---- running ---- */

static int
run(struct call *call)
{
	struct conf c = { 0 };
	int code = EXIT_DONE;

	if (!(call->command->flags & COMMAND_NO_CONF)) {
		if (call_load_conf(call, &c))
			code = (int)call->err.exit;
		call->conf = &c;
	}
	if (code == EXIT_DONE) {
		call_setup_log(call, call->conf);
		code = call->command->run(call);
	}
	conf_free(&c);
	return code;
}

static int
dispatch(struct call *call, int argc, char **argv)
{
	struct parsed p = { 0 };

	if (parse(call, &p, argc, argv))
		return (int)call->err.exit;
	if (p.version)
		return cmd_version(call);
	if (!p.help)
		return run(call);
	if (call->command)
		help_command(call->command);
	else
		help_all();
	return EXIT_DONE;
}

/* Is --json among the words? Asked before parsing, so that an error of parsing is JSON too. */
static bool
wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

int
command_main(int argc, char **argv)
{
	struct call call = { .json = wants_json(argc, argv) };
	int code;

	call.sets = calloc((size_t)argc + 1, sizeof *call.sets);
	if (!call.sets)
		die("out of memory");
	code = dispatch(&call, argc, argv);
	/* A full disk must not look like success. A reader that has gone is not worth a word. */
	if ((fflush(stdout) || ferror(stdout)) && call.err.rc == OK) {
		code = EXIT_FAILED;
		if (errno != EPIPE)
			fail(&call.err, FATAL, "cannot write the output: %s", strerror(errno));
	}
	if (call.err.rc != OK)
		command_report(&call.err, call.json);
	free(call.sets);
	return code;
}
