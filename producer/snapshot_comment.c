/*
 * snapshot_comment.c - with the embedded broker, whose topics go with the process: what it leaves behind, as the publication's comment.
 */
#include "core/log.h"
#include "producer/snapshot_impl.h"

static const char *const unfinished[] = {
	[UNFINISHED_COPY] = "towline: first copy unfinished",
	[UNFINISHED_EMPTY] = "towline: sinks to be emptied, then copied",
};

static enum unfinished
unfinished_of(const char *comment)
{
	for (int i = 1; i < (int)COUNTOF(unfinished); i++)
		if (strcmp(comment, unfinished[i]) == 0)
			return (enum unfinished)i;
	return UNFINISHED_NONE;
}

bool
snapshot_is_unfinished(const char *comment)
{
	return unfinished_of(comment) != UNFINISHED_NONE;
}

static enum unfinished
unfinished_now(const struct snapshot *s)
{
	if (stopped_here(s))
		return UNFINISHED_EMPTY;
	return s->nopen ? UNFINISHED_COPY : UNFINISHED_NONE;
}

enum rc
comment_put(struct snapshot *s, struct err *err)
{
	int now = (int)unfinished_now(s);
	struct arena a = { 0 };
	enum rc rc = OK;

	if (now != s->embedded_said)
		rc = pg_exec(s->sql, "comment on the publication", arena_printf(&a, "COMMENT ON PUBLICATION %s IS %s",
		    pg_ident(&a, slice_of(s->conf->publication)), now ? pg_literal(&a, slice_of(unfinished[now])) : "NULL"), NULL, err);
	if (rc == FATAL) { /* the publication is somebody else's */
		log_warn("producer", "if this process ends before all tables are copied, the rest will not be", "reason=\"%s\"", err->text);
		rc = OK;
	}
	if (rc == OK)
		s->embedded_said = now;
	arena_free(&a);
	return rc;
}

enum rc
comment_look(struct snapshot *s, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec_params(s->sql, "look at the publication's comment",
	    "SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = $1", 1, &s->conf->publication, &res, err);

	if (rc == OK)
		s->embedded_said = PQntuples(res) ? (int)unfinished_of(PQgetvalue(res, 0, 0)) : UNFINISHED_NONE;
	PQclear(res);
	return rc;
}
