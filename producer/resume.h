/*
 * resume.h - what the source remembers of us (the slot) against what Kafka does (the spine), at start. Pure.
 *
 * The slot is confirmed only past what was read back from the spine, so slot <= watermark always; anything else means that one of
 * the two has lost its memory. Compared, never guessed.
 */
#ifndef PRODUCER_RESUME_H
#define PRODUCER_RESUME_H

#include "core/conf.h"
#include "producer/source.h"
#include "schemas/spine.h"

/*
 * May a producer go on from st with this source? FATAL/EXIT_REFUSED: changes are lost, or it is another database. adopt: a slot without a
 * spine is all right. A changed timeline is judged by resume_fork.
 */
enum rc resume_judge(const struct conf *conf, const struct spine_state *st,
    const struct source_identity *id, bool adopt, struct err *err) MUST_CHECK;

/*
 * A spine in which somebody has taken a generation, and nothing more: its first writer died in its first moment, or it was cut back to
 * there. Is it to be told by what a producer has said is published, and by a slot that was there to confirm it?
 */
bool resume_doubtful(const struct spine_state *st, const struct source_identity *id);

/* published: the last transaction that a producer said is published (schemas/progress_log.h). FATAL/EXIT_REFUSED: the spine has lost it. */
enum rc resume_published(const struct conf *conf, const struct spine_state *st, uint64_t published, struct err *err) MUST_CHECK;

/* copied: the last group that the record of a copy knows (producer/copied.h). FATAL/EXIT_REFUSED: the spine has lost it. */
enum rc resume_copied(const struct conf *conf, const struct spine_state *st, uint64_t copied, struct err *err) MUST_CHECK;

/* The source has left the timeline of the spine at LSN fork: everything at or before it is common. */
enum rc resume_fork(const struct spine_state *st, const struct source_identity *id, uint64_t fork, struct err *err) MUST_CHECK;

#endif
