/*
 * command.h - the commands of the one binary: what a command says of itself, and what it is called with.
 *
 * A new command is a file control/NAME.c that defines `const struct command command_NAME`, and one line in
 * the table of command.c. Help and option parsing come from the struct.
 */
#ifndef CONTROL_COMMAND_H
#define CONTROL_COMMAND_H

#include "core/conf.h"

enum { COMMAND_OPTIONS_MAX = 24 };

/* Letters c, v, q, h and the names of the global options are taken. */
struct command_option {
	const char *name; /* "--name" */
	char letter;      /* "-n", or 0 */
	const char *arg;  /* "FILE" when it takes one; NULL: a flag */
	const char *help; /* begins small, no full stop */
};

enum command_flag {
	COMMAND_NO_CONF = 1, /* runs without a configuration; call.conf is NULL */
};

struct call;

struct command {
	const char *name;
	const char *summary;  /* one line for the list, begins small, no full stop */
	const char *usage;    /* what follows "towline NAME", as in "[OPTIONS] TABLE"; may be "" */
	const char *examples; /* two lines or more, each ends in a newline */
	const char *detail;   /* more text below the summary, ends in a newline; NULL: none */
	const struct command_option *options;
	int noptions;
	unsigned flags;
	int args_min, args_max; /* of what is left after the options; args_max -1: any number */
	int (*run)(struct call *call);
};

/* One call of a command. */
struct call {
	const struct command *command;
	const struct conf *conf; /* loaded and checked; NULL with COMMAND_NO_CONF */
	const char *config_path; /* --config; NULL: not given */
	const char **sets;       /* --set, in order */
	int nsets;
	bool json;
	int verbosity;           /* each -v adds 1, each -q takes 1 */
	int argc;                /* arguments that are left after the options, without the command's name */
	char **argv;
	const char *values[COMMAND_OPTIONS_MAX]; /* of the command's options, in its order; "" for a flag; NULL: not given */
	struct err err;          /* rc OK until the command fails */
};

/*
 * A command returns an exit code (enum exit_code). When err holds an error by then, main prints it, so that
 * `if (x(..., &call->err)) return call->err.exit;` is all that a command has to do about one.
 */
int cmd_check(struct call *call);
int cmd_config(struct call *call);
int cmd_consumer(struct call *call);
int cmd_demo(struct call *call);
int cmd_dlq(struct call *call);
int cmd_help(struct call *call);
int cmd_log(struct call *call);
int cmd_producer(struct call *call);
int cmd_read(struct call *call);
int cmd_replica(struct call *call);
int cmd_resync(struct call *call);
int cmd_run(struct call *call);
int cmd_sequence(struct call *call);
int cmd_snapshot(struct call *call);
int cmd_source(struct call *call);
int cmd_stats(struct call *call);
int cmd_status(struct call *call);
int cmd_tail(struct call *call);
int cmd_takeover(struct call *call);
int cmd_verify(struct call *call);
int cmd_version(struct call *call);
int cmd_wait(struct call *call);
int cmd_write(struct call *call);

extern const struct command command_check, command_config, command_consumer, command_demo, command_dlq, command_help,
    command_log, command_producer, command_read, command_replica, command_resync, command_run, command_sequence,
    command_snapshot, command_source, command_stats, command_status, command_tail, command_takeover, command_verify, command_version,
    command_wait, command_write;

/* The value of one of the command's own options: NULL when not given, "" for a flag. Asking for an unknown name dies. */
const char *call_option(const struct call *call, const char *name);

/* The same as a number in [min, max]; standard when not given. REJECT with EXIT_USAGE when it is none. */
enum rc call_number(struct call *call, const char *name, int64_t standard, int64_t min, int64_t max, int64_t *out) MUST_CHECK;

/* An LSN as users write it: PostgreSQL's X/Y, or a decimal number. */
bool log_lsn(const char *text, uint64_t *lsn);

/* Wrong use: REJECT with EXIT_USAGE, and a hint at the command's help behind the text. */
enum rc call_usage(struct call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * Load the configuration that the call names: --config, else ./towline.yaml; without that file the environment
 * and --set alone, when they give a name. For main, and for commands with COMMAND_NO_CONF that want it after all.
 */
enum rc call_load_conf(struct call *call, struct conf *c) MUST_CHECK;

/* Levels and format of the log: of the configuration (NULL: info, auto), moved by -v and -q. */
void call_setup_log(const struct call *call, const struct conf *c);

/* "towline: text" to stderr, or {"error": text, "exit": code} with json. Results go to stdout, errors never do. */
void command_report(const struct err *err, bool json);

/* The whole program but main's signals: parse, load, run, report. Returns the exit code. */
int command_main(int argc, char **argv);

/* All commands, NULL at the end, and one of them by name (NULL: none). */
extern const struct command *const command_table[];
const struct command *command_find(const char *name);

/* Options that every command takes, in the order of help. */
extern const struct command_option command_globals[];
extern const int command_nglobals;

/* The help pages, to stdout. */
void help_all(void);
void help_command(const struct command *cmd);

/* UNKNOWN command: text with "did you mean" in err, EXIT_USAGE. */
enum rc command_unknown(const char *name, struct err *err);

#endif
