/*
 * check.h - the inside of `towline check`: named tests, printed as they end, and what one test leaves for the next.
 *
 *   check.c          the command, results and how they are printed
 *   check_source.c   PostgreSQL as a source
 *   check_select.c   what the configuration says of single tables and columns
 *   check_lite.c     SQLite as a source
 *   check_standby.c  and commits there that wait
 *   check_applied.c  and sinks that those wait for
 *   check_versions.c what only some versions of it have
 *   check_kafka.c    Kafka, the topics, the spine, the registry
 *   check_sink.c     the sinks
 */
#ifndef CONTROL_CHECK_H
#define CONTROL_CHECK_H

#include "control/command.h"
#include "core/pg.h"
#include "producer/publication.h"
#include "producer/server.h"
#include "producer/source.h"
#include "schemas/spine.h"

#include <jansson.h>

struct checks {
	struct arena arena;        /* everything that outlives one test */
	const struct conf *conf;
	json_t *list;              /* NULL: print text */
	const char *subject;
	int ok, warnings, failures;
	bool failed, unreachable, misconfigured; /* of which kinds the failures were */

	/* What was found out on the way. */
	bool tables_known;
	struct publication tables; /* wanted tables, as far as the source could be asked */
	bool source_known;
	struct source_identity source;
	bool kafka_known, spine_known;
	struct spine_state spine;
	int64_t spine_next;        /* offset behind its last record; 0: the topic is empty or missing */
};

/* What follows is about this; heading is its line, or NULL. */
void check_begin(struct checks *c, const char *subject, const char *heading);

void check_ok(struct checks *c, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* fix may be NULL. Texts are copied. */
void check_warn(struct checks *c, const char *name, const char *fix, const char *fmt, ...) PRINTF_LIKE(4, 5);
void check_fail(struct checks *c, const char *name, const char *fix, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A failure by an error: what stands behind "; " is the fix, its exit code says of which kind it is. */
void check_error(struct checks *c, const char *name, const struct err *err);

/* The shell command that runs sql as an administrator of the database behind conn; in the arena. */
const char *check_psql(struct checks *c, PGconn *conn, const char *sql);

/* Connect with bounds on how long anything may take; said as a failure of "reachable" when it cannot be. */
bool check_connect(struct checks *c, const char *url, PGconn **out);

void check_source(struct checks *c);
void check_source_sqlite(struct checks *c, const char *path);

/* Where the source's log ends by now: what was read of Kafka later than of the source may be ahead of what that said. */
void check_source_end(struct checks *c);
void check_end_sqlite(struct checks *c, const char *path);

/* Do commits at the source wait for the producer as synchronous.mode says? */
void check_standby(struct checks *c, PGconn *conn);

/* Do the sinks say what they have that commits wait for? Behind check_kafka. */
void check_applied(struct checks *c);

/* Behind check_source's look at the tables. */
void check_select(struct checks *c, PGconn *conn);
void check_versions(struct checks *c, PGconn *conn, const struct server *server, const struct pg_slot *slot);
void check_kafka(struct checks *c);
void check_registry(struct checks *c);
void check_sink(struct checks *c, const struct conf_sink *sink);

#endif
