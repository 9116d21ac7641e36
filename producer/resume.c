#include "producer/resume.h"
#include "core/pg.h"
#include "core/sqlite.h"

#include <inttypes.h>
#include <stdio.h>

/* As the source's own tools write it. */
static const char *
lsn_text(const struct conf *conf, char buf[static 24], uint64_t lsn)
{
	if (!sqlite_url_path(conf->source_url))
		return pg_lsn_text(buf, lsn);
	snprintf(buf, 24, "%" PRIu64, lsn);
	return buf;
}

enum rc
resume_judge(const struct conf *conf, const struct spine_state *st, const struct source_identity *id, bool adopt, struct err *err)
{
	const char *slot = conf->slot;
	uint64_t newest = st->watermark > st->lsn ? st->watermark : st->lsn;
	char a[24], b[24];
	const char *path = sqlite_url_path(conf->source_url);

	if (st->started && st->system_id && st->system_id != id->system_id)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "source: system identifier %" PRIu64
		    " is not the one this pipeline began with (%" PRIu64
		    "); it is another database: use another name",
		    id->system_id, st->system_id);
	if (!st->started && id->exists && !adopt)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "slot %s exists but the topics of %s are empty: either Kafka lost them, or the "
		    "slot was made by hand; to begin with the slot "
		    "as it is run with --adopt-slot, to begin anew drop it: %s%s%s%s",
		    slot, conf->name, path ? "towline source drop " : "SELECT pg_drop_replication_slot('", path ? path : slot,
		    path ? " " : "", path ? slot : "')");
	if (st->watermark && !id->exists)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "slot %s is gone, so changes after %s were not kept; use another name and copy the tables again",
		    slot, lsn_text(conf, a, st->watermark));
	if (st->watermark && id->confirmed > st->watermark)
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "slot %s is at %s, but Kafka has changes only up to %s: what is between is "
		    "lost (Kafka lost it, or the slot was moved); use another "
		    "name and copy the tables again",
		    slot, lsn_text(conf, a, id->confirmed), lsn_text(conf, b, st->watermark));
	/* On the same timeline: what it writes from here on would be taken for what is published already. */
	if (id->lsn && id->lsn < newest && (!st->timeline || st->timeline == id->timeline))
		return fail_exit(err, FATAL, EXIT_REFUSED,
		    "source: its %s ends at %s, before %s that was published: it was set back, by "
		    "a restored snapshot for example; use another name and copy "
		    "the tables again",
		    path ? "log" : "WAL", lsn_text(conf, a, id->lsn), lsn_text(conf, b, newest));
	return OK;
}

bool
resume_doubtful(const struct spine_state *st, const struct source_identity *id)
{
	return st->started && !st->watermark && !st->no && id->exists;
}

enum rc
resume_published(const struct conf *conf, const struct spine_state *st, uint64_t published, struct err *err)
{
	if (published <= st->seq)
		return OK;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "the spine of %s has no transaction, but %" PRIu64 " were published, by the topic %s.towline.progress: Kafka has lost the rest "
	    "of the spine; use another name and copy the tables again", conf->name, published, conf->name);
}

enum rc
resume_copied(const struct conf *conf, const struct spine_state *st, uint64_t copied, struct err *err)
{
	if (copied <= st->no)
		return OK;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "the spine of %s has no group, but the copy of a table ends with group %" PRIu64 ", by the topic %s.towline.control: Kafka has"
	    " lost the rest of the spine; use another name and copy the tables again", conf->name, copied, conf->name);
}

enum rc
resume_fork(const struct spine_state *st, const struct source_identity *id, uint64_t fork, struct err *err)
{
	char a[20], b[20];

	if (fork >= st->watermark)
		return OK;
	return fail_exit(err, FATAL, EXIT_REFUSED,
	    "source: timeline %u left ours at %s, before %s that was published: a standby that lacked the last commits was promoted; "
	    "use another name and copy the tables again", id->timeline, pg_lsn_text(a, fork), pg_lsn_text(b, st->watermark));
}
