/*
 * publication.h - which tables the publication of a pipeline holds, and keeping it in step with `tables:`.
 *
 * A table whose updates and deletes could not be published (no primary key, no REPLICA IDENTITY) is left out with a warning: put
 * into a publication, PostgreSQL would refuse the application's own UPDATE and DELETE on it.
 */
#ifndef PRODUCER_PUBLICATION_H
#define PRODUCER_PUBLICATION_H

#include "core/conf.h"
#include "core/pg.h"

struct publication_report {
	int published;   /* wanted tables that are in it */
	int added;       /* of these, added by this call */
	int left_out;    /* wanted, but without replica identity */
};

/*
 * Make the publication when missing, and add wanted tables that it lacks. Tables that are in it but not wanted stay (the stream
 * drops their changes). known: left_out of the last call, so that a warning is said once; -1 at first.
 */
enum rc publication_ensure(PGconn *conn, const struct conf *conf, int known, struct publication_report *out, struct err *err) MUST_CHECK;

#endif
