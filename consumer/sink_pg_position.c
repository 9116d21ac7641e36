/* How far the partitions are applied, at a PostgreSQL sink. */
#include "consumer/sink_pg.h"
#include "schemas/sql.h"

#include <stdlib.h>

static struct sink_pg *
self(struct sink *sink)
{
	return (struct sink_pg *)sink;
}

/* What Towline itself writes is no row that could be set aside. */
static enum rc
ask(struct sink_pg *s, const char *what, const char *sql, int n, const char *const *params, PGresult **out, struct err *err)
{
	enum rc rc = pg_exec_params(s->conn, what, sql, n, params, out, err);

	return rc == REJECT ? (err->rc = FATAL) : rc;
}

static enum rc
ensure(struct sink_pg *s, struct err *err)
{
	PGresult *res = NULL;
	bool there = false;
	enum rc rc = pg_exec(s->conn, "look for the positions", "SELECT to_regclass('towline.position') IS NOT NULL", &res, err);

	if (rc == OK)
		there = *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	if (rc == OK && !there)
		rc = pg_make(s, "create the positions", "towline.position", SQL_PG_POSITION_RENAME "; " SQL_PG_POSITION, err);
	if (rc != OK || s->position_ready)
		return rc;
	rc = pg_exec(s->conn, "positions", "PREPARE towline_position AS " SQL_PG_POSITION_WRITE, NULL, err);
	s->position_ready = rc == OK;
	return rc;
}

static enum rc
pg_read(struct sink *sink, struct arena *a, struct position **out, int *n, struct err *err)
{
	struct sink_pg *s = self(sink);
	PGresult *res = NULL;
	enum rc rc = pipe_leave(s, err);

	*n = 0;
	if (rc == OK)
		rc = ensure(s, err);
	if (rc == OK)
		rc = ask(s, "read the positions", SQL_POSITION_READ("towline.position"), 1, &sink->pipeline, &res, err);
	if (rc != OK)
		return rc;
	*n = PQntuples(res);
	*out = arena_array(a, (size_t)*n, sizeof **out);
	for (int i = 0; i < *n; i++)
		(*out)[i] = (struct position){ .topic = arena_text(a, slice_of(PQgetvalue(res, i, 0))),
			.partition = (int32_t)strtol(PQgetvalue(res, i, 1), NULL, 10), .next = strtoll(PQgetvalue(res, i, 2), NULL, 10),
			.value_id = strtoll(PQgetvalue(res, i, 3), NULL, 10) };
	PQclear(res);
	return OK;
}

static enum rc
pg_write(struct sink *sink, const struct position *p, int n, struct err *err)
{
	struct sink_pg *s = self(sink);
	const char *params[] = { sink->pipeline, NULL };

	pipe_enter(s);
	if (s->broken)
		return pipe_report(s, err);
	position_json(p, n, &s->text);
	params[1] = buf_cstr(&s->text);
	pipe_sent(s, PQsendQueryPrepared(s->conn, "towline_position", 2, params, NULL, NULL, 0),
	    (struct sent){ .kind = SENT_CONTROL, .must_hit = -1 });
	return pipe_report(s, err);
}

const struct position_ops pg_position_ops = {
	.read = pg_read,
	.write = pg_write,
};
