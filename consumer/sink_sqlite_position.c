/* How far the partitions are applied, at a SQLite sink. */
#include "consumer/sink_sqlite.h"
#include "schemas/sql.h"

static struct sink_sqlite *
self(struct sink *sink)
{
	return (struct sink_sqlite *)sink;
}

static enum rc
ensure(struct sink_sqlite *s, struct err *err)
{
	bool old = sqlite3_table_column_metadata(s->db, NULL, "towline_foreign_position", NULL, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK;
	enum rc rc = old ? lite_exec(s, "rename the positions", SQL_SQLITE_POSITION_RENAME, err) : OK;

	return rc == OK ? lite_exec(s, "create the positions", SQL_SQLITE_POSITION, err) : rc;
}

static enum rc
lite_read(struct sink *sink, struct arena *a, struct position **out, int *n, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	sqlite3_stmt *st = NULL;
	int step, cap = 0;
	enum rc rc = ensure(s, err);

	*n = 0;
	*out = NULL;
	if (rc == OK)
		rc = lite_compile(s, "read the positions", SQL_POSITION_READ("towline_position"), &st, err);
	if (rc != OK)
		return rc;
	sqlite3_bind_text(st, 1, sink->pipeline, -1, SQLITE_STATIC);
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		if (*n == cap) {
			struct position *more = arena_array(a, (size_t)(cap = cap ? cap * 2 : 64), sizeof *more);

			if (*n)
				memcpy(more, *out, (size_t)*n * sizeof *more);
			*out = more;
		}
		(*out)[(*n)++] = (struct position){
			.topic = arena_text(a, slice_of((const char *)sqlite3_column_text(st, 0))),
			.partition = sqlite3_column_int(st, 1),
			.next = sqlite3_column_int64(st, 2),
			.value_id = sqlite3_column_int64(st, 3)
		};
	}
	if (step != SQLITE_DONE)
		rc = lite_fail(s, "read the positions", err);
	sqlite3_finalize(st);
	return rc;
}

static enum rc
lite_write(struct sink *sink, const struct position *p, int n, struct err *err)
{
	struct sink_sqlite *s = self(sink);
	struct buf json = { 0 };
	sqlite3_stmt *st = NULL;
	enum rc rc = lite_compile(s, "write the positions", SQL_SQLITE_POSITION_WRITE, &st, err);

	if (rc != OK)
		return rc;
	position_json(p, n, &json);
	sqlite3_bind_text(st, 1, sink->pipeline, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 2, buf_cstr(&json), -1, SQLITE_STATIC);
	if (sqlite3_step(st) != SQLITE_DONE)
		rc = lite_fail(s, "write the positions", err);
	sqlite3_finalize(st);
	buf_free(&json);
	return rc == REJECT ? (err->rc = FATAL) : rc;
}

const struct position_ops lite_position_ops = {
	.read = lite_read,
	.write = lite_write,
};
