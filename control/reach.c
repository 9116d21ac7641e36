#include "control/reach.h"

#include <stdio.h>

enum rc
reach_sink_at(const struct conf *conf, const struct conf_sink *sink, PGconn *conn, struct marker *at, struct err *err)
{
	bool lanes = strcmp(sink->apply, "key") == 0, found = false;
	enum rc rc = OK;

	for (int i = 0; rc == OK && i < (lanes ? (int)sink->lanes : 1); i++) {
		char name[160];
		struct marker m;

		snprintf(name, sizeof name, lanes ? "%s/lane %d" : "%s", conf->name, i);
		rc = conn ? marker_pg(conn, name, &m, &found, err) : marker_look(name, sink, &m, &found, err);
		if (rc == OK && !found)
			m = (struct marker){ 0 };
		if (rc == OK && (i == 0 || m.seq < at->seq))
			*at = m;
	}
	return rc;
}

bool
reach_reached(struct board *b, const struct marker *at, uint64_t lsn)
{
	const struct progress *front;
	struct err err;

	if (at->lsn >= lsn)
		return true;
	if (!b || board_update(b, false, &err) != OK)
		return false;
	front = board_front(b);
	return front && front->lag_bytes >= 0 && front->end_lsn - (uint64_t)front->lag_bytes >= lsn && at->gen == front->gen &&
	    at->seq >= front->seq;
}
