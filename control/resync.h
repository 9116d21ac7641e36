/*
 * resync.h - a sink whose place in the log is lost gets its tables anew, while the log goes on.
 *
 *   spine's end noted -> what tables there are -> record resync/SINK -> command/snapshot/TABLE of each table (producer/copy.h)
 *   -> the sink: emptied, marker at that end -> it follows from there, and the copies come with the log -> all are there: the record goes
 *
 * In this order a crash anywhere is mended by beginning again: copies that nobody waits for harm no one. Other sinks get the copied rows
 * too, which change nothing there.
 *
 *   resync/SINK  {"id":"...","gen":3,"no":810}: as long as it stands the sink is syncing, and is not read from
 *
 * gen and no: the generation and the group where the sink was put. A table is there when a copy of all its rows came behind that, whoever
 * asked for it (`whole` of producer/copy.h), and the sink has committed the spine up to where that copy ends (`upto`): the order of the
 * spine alone tells, no clock and nobody's progress does.
 */
#ifndef CONTROL_RESYNC_H
#define CONTROL_RESYNC_H

#include "core/kafka.h"
#include "producer/copy.h"
#include "schemas/control.h"

/*
 * Do all of the above but the last; *tables: how many are copied. FATAL: nothing was changed. RETRY: Kafka, the sink, or
 * another process that applies to it.
 */
enum rc resync_start(const struct kafka *k, const struct conf_sink *sink, int *tables, struct err *err) MUST_CHECK;

/* By the control topic as it is now: is the sink being made anew? What was read from it before the call lacked no row, if not. */
enum rc resync_stands(const struct kafka *k, const struct conf_sink *sink, bool *stands, struct err *err) MUST_CHECK;

/* ---- when is it over? ---- */

/* What the control topic says of resyncs and copies. */
struct resync_watch;

struct resync_watch *resync_watch_new(void);
void resync_watch_free(struct resync_watch *w);

/* A record of the control topic, in its order; others than those of resyncs and copies are passed over. */
void resync_note(struct resync_watch *w, struct slice key, struct slice value);

enum resync_state {
	RESYNC_NONE = 0, /* the sink is not in one */
	RESYNC_COPYING,
	RESYNC_COPIED,   /* all rows are in the log, up to *upto: who has committed that has them */
};
enum resync_state resync_state(const struct resync_watch *w, const struct conf_sink *sink, struct copy_place *upto);

/*
 * A table that the sink waits for although nobody copies it again: it joined while the resync began, so that its rows may be before the
 * place where the sink was put, and no copy was asked for. Its name in the keys, good until the next note; NULL: none. Who runs the sink
 * asks, by resync_ask.
 */
const char *resync_unasked(const struct resync_watch *w, const struct conf_sink *sink);
enum rc resync_ask(struct control *c, struct resync_watch *w, const char *table, struct err *err) MUST_CHECK;

#endif
