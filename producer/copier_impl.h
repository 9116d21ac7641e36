/*
 * copier_impl.h - inside of a copier: copier.c has the threads, the plans and the chunks, copier_whole.c tables without a key. For these
 * only.
 */
#ifndef PRODUCER_COPIER_IMPL_H
#define PRODUCER_COPIER_IMPL_H

#include "producer/copier.h"

#include <pthread.h>

struct copier {
	struct copiers *all;
	pthread_t thread;
	PGconn *conn;
	PGcancel *cancel;    /* under the lock */
	const char *path;    /* search_path that is set, in path_arena */
	struct arena path_arena;
	/* A table without key: */
	bool joined;         /* its transaction is open, by the snapshot that all have */
	bool out;            /* could not join, and does not try again */
	bool copying, head;  /* a part is on its way; its COPY's header was not read yet */
	bool torn;           /* the connection was lost with a part on its way */
};

/* ---- copier.c ---- */

enum rc copier_set_path(struct copier *c, const char *path, struct err *err) MUST_CHECK;

/* Begin the transaction that is to read it: is the table as it was, and is it time? */
enum rc copier_look(struct copier *c, struct job *j, struct err *err) MUST_CHECK;
void copier_roll_back(struct copier *c);

/* A message of COPY: its row into the job, if it is one. */
enum rc copier_take_row(struct job *j, char *msg, int n, bool *head, struct err *err) MUST_CHECK;

/* ---- copier_whole.c ---- */

/* JOB_MORE of one that has not begun to read: if there is nothing left for it, the job is done by that. */
bool copier_is_late(const struct copier *c, struct job *j);

/* JOB_MORE has failed before anything was read: of the first one, or of one that has lost a part, that is so; the others are not needed. */
void copier_stays_out(struct copier *c, struct job *j);

enum rc copier_begin(struct copier *c, struct job *j, struct err *err) MUST_CHECK; /* JOB_WHOLE */
enum rc copier_share(struct copier *c, struct job *j, struct err *err) MUST_CHECK; /* JOB_SHARE */
enum rc copier_more(struct copier *c, struct job *j, struct err *err) MUST_CHECK;  /* JOB_MORE */

#endif
