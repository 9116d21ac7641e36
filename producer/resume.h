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

/* The source has left the timeline of the spine at LSN fork: everything at or before it is common. */
enum rc resume_fork(const struct spine_state *st, const struct source_identity *id, uint64_t fork, struct err *err) MUST_CHECK;

#endif
