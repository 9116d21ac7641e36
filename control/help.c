/*
 * The pages of help, made from the tables, and the two commands that only print.
 */
#include "control/command.h"

#include "core/buf.h"

#include <librdkafka/rdkafka.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>

static void
print_options(const struct command_option *options, int n)
{
	for (int i = 0; i < n; i++) {
		const struct command_option *o = &options[i];
		char left[64];

		snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		if (o->letter)
			printf("  -%c, %-22s %s\n", o->letter, left, o->help);
		else
			printf("      %-22s %s\n", left, o->help);
	}
}

static void
print_indented(const char *lines)
{
	while (*lines) {
		size_t n = strcspn(lines, "\n");

		printf("  %.*s\n", (int)n, lines);
		lines += n + (lines[n] == '\n');
	}
}

void
help_command(const struct command *cmd)
{
	fputs("Examples:\n", stdout);
	print_indented(cmd->examples);
	printf("\ntowline %s: %s\n\nUsage: towline %s%s%s\n", cmd->name, cmd->summary, cmd->name, *cmd->usage ? " " : "", cmd->usage);
	if (cmd->detail)
		printf("\n%s", cmd->detail);
	if (cmd->noptions) {
		fputs("\nOptions:\n", stdout);
		print_options(cmd->options, cmd->noptions);
	}
	fputs("\nGlobal options:\n", stdout);
	print_options(command_globals, command_nglobals);
}

void
help_all(void)
{
	fputs("towline: copies what happens in one database into others, through Kafka\n\n"
	    "Usage: towline [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n", stdout);
	for (int i = 0; command_table[i]; i++)
		printf("  %-12s %s\n", command_table[i]->name, command_table[i]->summary);
	fputs("\nGlobal options:\n", stdout);
	print_options(command_globals, command_nglobals);
	fputs("\nExit codes: 0 done, 1 failed, 2 wrong use, 3 configuration, 4 cannot reach something,\n"
	    "            5 refused because data would be lost, 6 differences found, 130 interrupted.\n"
	    "'towline COMMAND --help' says more of a command.\n", stdout);
}

int
cmd_help(struct call *call)
{
	const struct command *cmd;

	if (call->argc == 0) {
		help_all();
		return EXIT_DONE;
	}
	cmd = command_find(call->argv[0]);
	if (!cmd) {
		command_unknown(call->argv[0], &call->err);
		return (int)call->err.exit;
	}
	help_command(cmd);
	return EXIT_DONE;
}

const struct command command_help = {
	.name = "help",
	.summary = "this list, or the help of one command",
	.usage = "[COMMAND]",
	.examples = "towline help\ntowline help config\n",
	.flags = COMMAND_NO_CONF,
	.args_max = 1,
	.run = cmd_help,
};

int
cmd_version(struct call *call)
{
	int pq = PQlibVersion(); /* 150004 is 15.4 */

	printf(call->json ? "{\"towline\": \"%s\", \"librdkafka\": \"%s\", \"libpq\": \"%d.%d\", \"sqlite\": \"%s\"}\n" :
	    "towline %s\nlibrdkafka %s\nlibpq %d.%d\nSQLite %s\n", TOWLINE_VERSION, rd_kafka_version_str(), pq / 10000, pq % 10000,
	    sqlite3_libversion());
	return EXIT_DONE;
}

const struct command command_version = {
	.name = "version",
	.summary = "versions of Towline and of the libraries it runs with",
	.usage = "",
	.examples = "towline version\ntowline version --json\n",
	.flags = COMMAND_NO_CONF,
	.run = cmd_version,
};
