/*
 * towline source: makes a SQLite database one whose changes can be read, and undoes it.
 */
#include "control/command.h"
#include "core/quote.h"
#include "producer/capture.h"

#include <inttypes.h>
#include <stdio.h>

enum { BUSY_MS = 10000, ARGS_MAX = 2000 };

static enum rc
open_database(struct call *call, sqlite3 **db)
{
	const char *path = sqlite_url_path(call->argv[1]);

	return sqlite_open_there(path ? path : call->argv[1], BUSY_MS, db, &call->err);
}

static enum rc
must_be_installed(struct call *call, sqlite3 *db)
{
	int64_t id;
	enum rc rc = capture_id(db, &id, &call->err);

	if (rc == OK && !id)
		rc = fail_exit(&call->err, FATAL, EXIT_CONFIG, "%s: nothing is installed; run towline source install %s", call->argv[1],
		    call->argv[1]);
	return rc;
}

static void
print_notes(const struct call *call, const struct capture_notes *notes)
{
	struct buf b = { 0 };

	buf_text(&b, call->json ? "[" : "");
	for (int i = 0; i < notes->n; i++) {
		const struct capture_note *n = &notes->list[i];

		if (call->json) {
			buf_text(&b, i ? ",{\"table\":" : "{\"table\":");
			quote_json(&b, slice_of(n->table));
			buf_printf(&b, ",\"event\":\"%s\",\"reason\":", capture_event_name(n->event));
			quote_json(&b, slice_of(n->why ? n->why : ""));
			buf_byte(&b, '}');
		} else {
			buf_printf(&b, "%-10s %s%s%s\n", capture_event_name(n->event), n->table, n->why ? ": " : "",
			    n->why ? n->why : "");
		}
	}
	buf_text(&b, call->json ? "]\n" : notes->n ? "" : "nothing to do: everything is captured\n");
	fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
}

static enum rc
work(struct call *call, sqlite3 *db,
    enum rc (*what)(sqlite3 *db, char *const *names, int n, struct capture_notes *notes, struct err *err))
{
	struct arena a = { 0 };
	struct capture_notes notes = { .a = &a };
	enum rc rc = what(db, call->argv + 2, call->argc - 2, &notes, &call->err);

	if (rc == OK)
		print_notes(call, &notes);
	arena_free(&a);
	return rc;
}

static void
print_slots(const struct call *call, const struct capture_slot *slots, int n, uint64_t end)
{
	for (int i = 0; i < n; i++) {
		const char *copied = slots[i].copied ? "true" : "false";

		if (call->json)
			printf("%s{\"slot\":\"%s\",\"confirmed\":%" PRIu64 ",\"behind\":%" PRIu64 ",\"copied\":%s}", i ? "," : "",
			    slots[i].name,
			    slots[i].confirmed, end - slots[i].confirmed, copied);
		else
			printf("slot %s: confirmed %" PRIu64 ", %" PRIu64 " entries behind%s\n", slots[i].name, slots[i].confirmed,
			    end - slots[i].confirmed, slots[i].copied ? "" : ", first copy not done");
	}
}

static enum rc
list(struct call *call, sqlite3 *db)
{
	struct arena a = { 0 };
	struct captured *tables;
	struct capture_slot *slots;
	struct buf b = { 0 };
	uint64_t end;
	int n, nslots;
	enum rc rc = capture_list(db, &a, &tables, &n, &call->err);

	if (rc == OK)
		rc = capture_slots(db, &a, &slots, &nslots, &call->err);
	if (rc == OK)
		rc = capture_end(db, &end, &call->err);
	if (rc == OK && call->json)
		printf("{\"lsn\":%" PRIu64 ",\"tables\":[", end);
	for (int i = 0; rc == OK && i < n; i++)
		if (call->json) {
			buf_text(&b, i ? ",{\"table\":" : "{\"table\":");
			quote_json(&b, slice_of(tables[i].table));
			buf_printf(&b, ",\"complete\":%s}", tables[i].complete ? "true" : "false");
		} else {
			buf_printf(&b, "%s%s\n", tables[i].table,
			    tables[i].complete ? "" : ": its triggers are gone, it will be copied anew");
		}
	fwrite(b.p, 1, b.n, stdout);
	buf_free(&b);
	if (rc == OK && call->json)
		printf("],\"slots\":[");
	else if (rc == OK)
		printf("log ends at %" PRIu64 "\n", end);
	if (rc == OK)
		print_slots(call, slots, nslots, end);
	if (rc == OK && call->json)
		printf("]}\n");
	arena_free(&a);
	return rc;
}

/* By its word, and how many arguments follow it. */
static bool
is_known(const struct call *call)
{
	static const struct {
		const char *word;
		int min, max;
	} words[] = { { "install", 2, ARGS_MAX }, { "uninstall", 2, ARGS_MAX }, { "copy", 3, ARGS_MAX }, { "drop", 3, 3 }, { "ls", 2, 2 } };

	for (size_t i = 0; i < COUNTOF(words); i++)
		if (strcmp(call->argv[0], words[i].word) == 0)
			return call->argc >= words[i].min && call->argc <= words[i].max;
	return false;
}

int
cmd_source(struct call *call)
{
	const char *what = call->argv[0];
	sqlite3 *db = NULL;
	enum rc rc;

	if (!is_known(call))
		rc = call_usage(call, "source takes install DB [TABLE...], uninstall DB [TABLE...],"
		    " copy DB TABLE..., drop DB SLOT, or ls DB");
	else
		rc = open_database(call, &db);
	if (rc == OK && strcmp(what, "install") == 0)
		rc = work(call, db, capture_install);
	else if (rc == OK)
		rc = must_be_installed(call, db);
	if (rc == OK && strcmp(what, "uninstall") == 0)
		rc = capture_uninstall(db, call->argv + 2, call->argc - 2, &call->err);
	if (rc == OK && strcmp(what, "copy") == 0)
		rc = work(call, db, capture_copy);
	if (rc == OK && strcmp(what, "drop") == 0)
		rc = capture_slot_drop(db, call->argv[2], &call->err);
	if (rc == OK && strcmp(what, "ls") == 0)
		rc = list(call, db);
	sqlite3_close(db);
	return rc == OK ? EXIT_DONE : (int)call->err.exit;
}

const struct command command_source = {
	.name = "source",
	.summary = "make a SQLite database a source: install its log and triggers, take them out, list them",
	.usage = "install DB [TABLE...] | uninstall DB [TABLE...] | copy DB TABLE... | drop DB SLOT | ls DB",
	.examples = "towline source install /var/lib/app/app.db\ntowline source ls /var/lib/app/app.db\n",
	.detail = "DB is the file, or sqlite:FILE. install puts triggers on the tables, by which every client's changes are logged in its\n"
		  "own transaction, into table towline_log of the same file; without a TABLE on all, and on those that are made later.\n"
		  "Again, it looks after what is there: tables that were altered, triggers that are gone. uninstall takes everything out\n"
		  "that is ours, or one table's triggers. The log grows until every producer that has begun to read has read it: drop\n"
		  "forgets one that will not come again. copy empties a table at the sinks and copies it there again, in one\n"
		  "transaction.\n",
	.flags = COMMAND_NO_CONF,
	.args_min = 2,
	.args_max = ARGS_MAX,
	.run = cmd_source,
};
