/*
 * reach.h - has a sink applied an LSN? For `towline wait`, `read` and `verify`.
 */
#ifndef CONTROL_REACH_H
#define CONTROL_REACH_H

#include "consumer/marker.h"
#include "control/board.h"

/* How far the sink is: of lanes the one that is least far. conn: to it, NULL: one is made, or it is a SQLite file. */
enum rc reach_sink_at(const struct conf *conf, const struct conf_sink *sink, PGconn *conn, struct marker *at, struct err *err) MUST_CHECK;

/*
 * A sink knows LSNs of commits only. One that none has, as pg_current_wal_lsn() on a quiet source gives, is reached too when all that
 * was committed up to there is in the spine, as the producer says, and the sink has all of the spine. b NULL: nobody says.
 */
bool reach_reached(struct board *b, const struct marker *at, uint64_t lsn);

#endif
