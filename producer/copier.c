#include "producer/copier_impl.h"
#include "core/cursor.h"
#include "core/quote.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
	COPY_HEAD = 11 + 4 + 4, /* signature, flags, length of what extends the header */
	RANGE_ROWS = 20000,     /* a table of fewer rows is one range */
};

struct queue {
	struct job **jobs;
	int n, cap;
};

struct copiers {
	const struct conf *conf;
	pthread_mutex_t lock; /* of all below, and of copier.cancel */
	pthread_cond_t work;
	struct queue todo, done;
	bool stop;
	int fd;
	struct copier *copiers;
	int n;
};

/* ---- jobs ---- */

struct job *
job_new(enum job_kind kind)
{
	struct job *j = calloc(1, sizeof *j);

	if (!j)
		die("out of memory");
	j->kind = kind;
	return j;
}

void
job_free(struct job *j)
{
	if (!j)
		return;
	copy_table_free(j->found);
	free(j->snapshot.running);
	buf_free(&j->rows);
	arena_free(&j->arena);
	free(j);
}

bool
copy_snapshot_parse(const char *text, struct copy_snapshot *out)
{
	char *end;

	*out = (struct copy_snapshot){ .xmin = strtoull(text, &end, 10) };
	if (*end != ':')
		return false;
	out->xmax = strtoull(end + 1, &end, 10);
	if (*end++ != ':')
		return false;
	while (*end) {
		if (out->nrunning % 64 == 0) {
			out->running = realloc(out->running, (size_t)(out->nrunning + 64) * sizeof *out->running);
			if (!out->running)
				die("out of memory");
		}
		out->running[out->nrunning++] = strtoull(end, &end, 10);
		end += *end == ',';
	}
	return true;
}

bool
copy_snapshot_sees(const struct copy_snapshot *s, uint32_t xid)
{
	uint64_t full = s->xmin + (uint64_t)(int64_t)(int32_t)(xid - (uint32_t)s->xmin);

	if (full < s->xmin)
		return true;
	if (full >= s->xmax)
		return false;
	for (int i = 0; i < s->nrunning; i++)
		if (s->running[i] == full)
			return false;
	return true;
}

/* ---- connection ---- */

static enum rc
connect_copier(struct copier *c, struct err *err)
{
	static const char sql[] = "SET lock_timeout = '1s'; SET synchronous_commit = local; SET row_security = off";
	PGresult *res = NULL;
	bool standby;
	enum rc rc = pg_connect(c->all->conf->source_url, false, &c->conn, err);

	c->path = NULL;
	if (rc == OK) {
		pthread_mutex_lock(&c->all->lock);
		c->cancel = PQgetCancel(c->conn);
		pthread_mutex_unlock(&c->all->lock);
		/* Our own messages must not wait for a synchronous standby: it may be the producer. */
		rc = pg_exec(c->conn, "set up the connection", sql, NULL, err);
	}
	/* Not known before 17. */
	if (rc == OK && PQserverVersion(c->conn) >= 170000)
		rc = pg_exec(c->conn, "set up the connection", "SET transaction_timeout = 0", NULL, err);
	if (rc == OK)
		rc = pg_exec(c->conn, "look at the server", "SELECT pg_is_in_recovery()", &res, err);
	standby = rc == OK && *PQgetvalue(res, 0, 0) == 't';
	PQclear(res);
	if (standby)
		return fail(err, RETRY,
		    "tables cannot be copied from a standby, which takes no marks into its log; name the primary in source.url");
	return rc;
}

static void
disconnect(struct copier *c)
{
	pthread_mutex_lock(&c->all->lock);
	PQfreeCancel(c->cancel);
	c->cancel = NULL;
	pthread_mutex_unlock(&c->all->lock);
	PQfinish(c->conn);
	c->conn = NULL;
	c->torn = c->torn || c->copying;
	c->joined = c->copying = false;
	arena_free(&c->path_arena);
}

/* ---- a plan ---- */

/* n texts as a JSON array. */
static char *
array_text(struct arena *a, const PGresult *res, int row)
{
	struct buf b = { 0 };
	char *text;

	buf_byte(&b, '[');
	for (int i = 0; i < PQnfields(res); i++) {
		buf_text(&b, i ? "," : "");
		quote_json(&b, slice_of(PQgetvalue(res, row, i)));
	}
	buf_byte(&b, ']');
	text = arena_text(a, buf_view(&b));
	buf_free(&b);
	return text;
}

enum rc
copier_set_path(struct copier *c, const char *path, struct err *err)
{
	enum rc rc;

	if (c->path && strcmp(c->path, path) == 0)
		return OK;
	arena_reset(&c->path_arena);
	c->path = NULL;
	rc = pg_exec(c->conn, "set search_path", arena_printf(&c->path_arena, "SET search_path = %s", path), NULL, err);
	if (rc == OK)
		c->path = arena_text(&c->path_arena, slice_of(path));
	return rc;
}

static enum rc
part(struct copier *c, struct job *j, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = copier_set_path(c, j->found->path, err);

	if (rc == OK)
		rc = pg_exec(c->conn, "part the table", copy_table_bounds_sql(j->found, j->ranges, &j->arena), &res, err);
	if (rc == OK) {
		j->bounds = arena_array(&j->arena, (size_t)PQntuples(res) + 1, sizeof *j->bounds);
		for (int i = 0; i < PQntuples(res); i++)
			j->bounds[j->nbounds++] = array_text(&j->arena, res, i);
	}
	PQclear(res);
	return rc;
}

/*
 * What a transaction changed before the table was published is not in the stream. All that may have are older than the one that is begun
 * here: once they are over, every change is either there to be read or in the stream.
 */
static enum rc
begin_since(struct copier *c, struct job *j, struct err *err)
{
	PGresult *res = NULL;
	enum rc rc = pg_exec(c->conn, "begin", "SELECT pg_current_xact_id()", &res, err);

	if (rc == OK)
		j->since = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	return rc;
}

static enum rc
plan(struct copier *c, struct job *j, struct err *err)
{
	/* Names of types and operators as they are told without any path. */
	enum rc rc = copier_set_path(c, "pg_catalog", err);

	if (rc == OK)
		rc = copy_table_look(c->conn, c->all->conf, j->schema, j->name, &j->found, err);
	/* A condition that is no SQL is told at once. */
	if (rc == OK && j->where)
		rc = pg_exec(c->conn, "try the condition", arena_printf(&j->arena, "SELECT FROM %s WHERE (%s\n) LIMIT 0",
		    j->found->from, j->where), NULL, err);
	if (rc == OK && !j->since)
		rc = begin_since(c, j, err);
	if (rc == OK && j->ranges > 1 && j->found->estimate >= RANGE_ROWS && j->found->rel->table.nkeys)
		rc = part(c, j, err);
	return rc;
}

/* ---- a chunk ---- */

/* Why the table cannot be read. A right that lacks may be granted yet. */
static enum rc
judge_lock(const struct job *j, enum rc rc, struct err *err)
{
	if (rc == FATAL && strstr(err->text, "SQLSTATE 42P01"))
		return fail(err, REJECT, "table %s.%s is not there any more", j->schema, j->name);
	if (rc == FATAL && strstr(err->text, "SQLSTATE 42501"))
		return fail(err, RETRY, "%s; grant SELECT on %s.%s to the producer's role", err->text, j->schema, j->name);
	return rc;
}

enum rc
copier_look(struct copier *c, struct job *j, struct err *err)
{
	/* The lock comes first. In one go, as each statement takes a turn of a busy server. */
	const char *text, *sql = arena_printf(&j->arena, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
	    " LOCK TABLE %s IN ACCESS SHARE MODE; SELECT pg_current_snapshot()", j->table->from);
	PGresult *res = NULL;
	enum rc rc = judge_lock(j, pg_exec(c->conn, "take a snapshot of the table", sql, &res, err), err);

	if (rc == OK && !copy_snapshot_parse(PQgetvalue(res, 0, 0), &j->snapshot))
		rc = fail(err, FATAL, "pg_current_snapshot() gave '%.60s'", PQgetvalue(res, 0, 0));
	PQclear(res);
	j->early = rc == OK && j->snapshot.xmin < j->since;
	if (rc == OK)
		rc = copy_table_text(c->conn, j->schema, j->name, c->all->conf->publication, &j->arena, &text, err);
	j->changed = rc == OK && strcmp(text, j->table->text) != 0;
	return rc;
}

enum rc
copier_take_row(struct job *j, char *msg, int n, bool *head, struct err *err)
{
	struct slice s = { msg, (size_t)n };

	if (*head) {
		size_t skip = s.n >= COPY_HEAD ? COPY_HEAD + be32(msg + COPY_HEAD - 4) : SIZE_MAX;

		if (skip > s.n)
			return fail(err, FATAL, "COPY: short header");
		s.p += skip;
		s.n -= skip;
		*head = false;
	}
	if (s.n < 2 || be16(s.p) == 0xffff)
		return OK;
	buf_slice(&j->rows, s);
	j->nrows++;
	return j->rows.failed ? fail(err, FATAL, "COPY: rows too large") : OK;
}

static enum rc
copy_rows(struct copier *c, struct job *j, struct err *err)
{
	PGresult *res = PQexec(c->conn, copy_table_sql(j->table, j->from, j->to, j->where, j->rows_max, &j->arena));
	bool head = true, cut = false;
	enum rc rc = OK;
	char *msg, why[256];
	int n;

	j->rows.max = SIZE_MAX / 2;
	if (PQresultStatus(res) != PGRES_COPY_OUT)
		rc = pg_fail(c->conn, res, err, "read the table");
	PQclear(res);
	if (rc != OK)
		return rc;
	while ((n = PQgetCopyData(c->conn, &msg, 0)) > 0) {
		if (rc == OK && !cut)
			rc = copier_take_row(j, msg, n, &head, err);
		PQfreemem(msg);
		/* Wide rows: fewer than were asked for will do. */
		if (!cut && (rc != OK || j->rows.n >= j->bytes_max)) {
			cut = true;
			PQcancel(c->cancel, why, sizeof why);
		}
	}
	res = PQgetResult(c->conn);
	if (rc == OK && PQresultStatus(res) != PGRES_COMMAND_OK && !cut)
		rc = pg_fail(c->conn, res, err, "read the table");
	PQclear(res);
	while ((res = PQgetResult(c->conn)))
		PQclear(res);
	j->end = !cut && j->nrows < j->rows_max;
	return rc;
}

/* The cells of the row at *c. */
static bool
take_cells(struct cursor *c, int n, struct slice *cells)
{
	if (cursor_be16(c) != n)
		return false;
	for (int i = 0; i < n; i++) {
		uint32_t len = cursor_be32(c);

		cells[i] = len == UINT32_MAX ? (struct slice){ NULL, 0 } : cursor_bytes(c, len);
	}
	return !c->bad;
}

/* The last row's key as text, by PostgreSQL itself. */
static enum rc
last_key(struct copier *c, struct job *j, struct err *err)
{
	const struct table *tbl = &j->table->rel->table;
	int n = tbl->nkeys;
	struct slice *cells = arena_array(&j->arena, (size_t)tbl->ncols, sizeof *cells);
	const char **values = arena_array(&j->arena, (size_t)n, sizeof *values);
	Oid *types = arena_array(&j->arena, (size_t)n, sizeof *types);
	int *lengths = arena_array(&j->arena, (size_t)n, sizeof *lengths), *formats = arena_array(&j->arena, (size_t)n, sizeof *formats);
	struct cursor at = cursor_of(buf_view(&j->rows));
	struct buf sql = { 0 };
	PGresult *res;
	enum rc rc = OK;

	for (int i = 0; i < j->nrows; i++)
		if (!take_cells(&at, tbl->ncols, cells))
			return fail(err, FATAL, "COPY: malformed row");
	buf_text(&sql, "SELECT ");
	for (int i = 0; i < n; i++) {
		int col = tbl->keys[i];

		formats[i] = pgtype_binary(&j->table->rel->types[col]);
		types[i] = formats[i] ? tbl->cols[col].typid : PG_TEXT;
		values[i] = formats[i] ? cells[col].p : arena_text(&j->arena, cells[col]);
		lengths[i] = (int)cells[col].n;
		buf_printf(&sql, "%spg_catalog.format('%%s', $%d)", i ? ", " : "", i + 1);
	}
	res = PQexecParams(c->conn, buf_cstr(&sql), n, types, values, lengths, formats, 0);
	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		j->last = array_text(&j->arena, res, 0);
	else
		rc = pg_fail(c->conn, res, err, "print the last key");
	PQclear(res);
	buf_free(&sql);
	return rc;
}

static enum rc
write_mark(struct copier *c, struct job *j, struct err *err)
{
	const char *params[1] = { j->mark };
	enum rc rc = RETRY;

	/* A cancellation that came late may hit this one. */
	for (int tries = 0; tries < 3 && rc == RETRY && PQstatus(c->conn) == CONNECTION_OK; tries++)
		rc = pg_exec_params(c->conn, "mark the chunk", "SELECT pg_logical_emit_message(true, 'towline', $1)", 1, params, NULL, err);
	return rc;
}

void
copier_roll_back(struct copier *c)
{
	for (int tries = 0; tries < 3 && PQtransactionStatus(c->conn) != PQTRANS_IDLE && PQstatus(c->conn) == CONNECTION_OK; tries++)
		PQclear(PQexec(c->conn, "ROLLBACK"));
}

static enum rc
chunk(struct copier *c, struct job *j, struct err *err)
{
	enum rc rc = copier_set_path(c, "pg_catalog", err);

	if (rc == OK)
		rc = copier_look(c, j, err);
	if (rc == OK && strcmp(j->table->path, "pg_catalog") != 0)
		rc = pg_exec(c->conn, "set search_path", arena_printf(&j->arena, "SET LOCAL search_path = %s", j->table->path), NULL, err);
	if (rc == OK && !j->early && !j->changed)
		rc = copy_rows(c, j, err);
	copier_roll_back(c);
	if (rc == OK && j->nrows)
		rc = last_key(c, j, err);
	if (rc == OK && !j->early && !j->changed)
		rc = write_mark(c, j, err);
	return rc;
}

/* ---- threads ---- */

static void
push(struct queue *q, struct job *j)
{
	if (q->n == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 16;
		q->jobs = realloc(q->jobs, (size_t)q->cap * sizeof *q->jobs);
		if (!q->jobs)
			die("out of memory");
	}
	q->jobs[q->n++] = j;
}

/* The oldest that this copier may do; 0: whoever. */
static struct job *
pop(struct queue *q, int copier)
{
	for (int i = 0; i < q->n; i++) {
		struct job *j = q->jobs[i];

		if (copier && j->copier && j->copier != copier)
			continue;
		memmove(q->jobs + i, q->jobs + i + 1, (size_t)(--q->n - i) * sizeof *q->jobs);
		return j;
	}
	return NULL;
}

static void
work(struct copier *c, struct job *j)
{
	if (j->kind == JOB_MORE && copier_is_late(c, j))
		return;
	j->rc = c->conn ? OK : connect_copier(c, &j->err);
	if (j->rc != OK) {
		disconnect(c);
		if (j->kind == JOB_MORE)
			copier_stays_out(c, j);
		return;
	}
	switch (j->kind) {
	case JOB_PLAN: j->rc = plan(c, j, &j->err); break;
	case JOB_CHUNK: j->rc = chunk(c, j, &j->err); break;
	case JOB_WHOLE: j->rc = copier_begin(c, j, &j->err); break;
	case JOB_SHARE: j->rc = copier_share(c, j, &j->err); break;
	case JOB_MORE: j->rc = copier_more(c, j, &j->err); break;
	}
	if (PQstatus(c->conn) != CONNECTION_OK)
		disconnect(c);
}

static void *
copier_main(void *arg)
{
	static const uint64_t one = 1;
	struct copier *c = arg;
	struct copiers *all = c->all;
	int me = (int)(c - all->copiers) + 1;

	pthread_mutex_lock(&all->lock);
	for (;;) {
		struct job *j = NULL;

		while (!all->stop && !(j = pop(&all->todo, me)))
			pthread_cond_wait(&all->work, &all->lock);
		if (all->stop)
			break;
		pthread_mutex_unlock(&all->lock);
		work(c, j);
		pthread_mutex_lock(&all->lock);
		push(&all->done, j);
		if (write(all->fd, &one, sizeof one) < 0)
			die("eventfd");
	}
	pthread_mutex_unlock(&all->lock);
	disconnect(c);
	return NULL;
}

struct copiers *
copiers_start(const struct conf *conf, int n)
{
	struct copiers *all = calloc(1, sizeof *all);

	if (!all || !(all->copiers = calloc((size_t)n, sizeof *all->copiers)))
		die("out of memory");
	all->conf = conf;
	all->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (all->fd < 0)
		die("eventfd: out of descriptors");
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->work, NULL);
	for (all->n = 0; all->n < n; all->n++) {
		struct copier *c = &all->copiers[all->n];

		c->all = all;
		if (pthread_create(&c->thread, NULL, copier_main, c))
			die("cannot start a thread");
	}
	return all;
}

/* Whatever statement it is at; the next one as well. */
static void
end_copier(struct copier *c)
{
	struct timespec until;
	char why[256];

	do {
		pthread_mutex_lock(&c->all->lock);
		if (c->cancel)
			PQcancel(c->cancel, why, sizeof why);
		pthread_mutex_unlock(&c->all->lock);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 100 * 1000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
	} while (pthread_timedjoin_np(c->thread, NULL, &until) == ETIMEDOUT);
}

void
copiers_stop(struct copiers *all)
{
	struct job *j;

	if (!all)
		return;
	pthread_mutex_lock(&all->lock);
	all->stop = true;
	pthread_cond_broadcast(&all->work);
	pthread_mutex_unlock(&all->lock);
	for (int i = 0; i < all->n; i++)
		end_copier(&all->copiers[i]);
	while ((j = pop(&all->todo, 0)) || (j = pop(&all->done, 0)))
		job_free(j);
	free(all->todo.jobs);
	free(all->done.jobs);
	free(all->copiers);
	close(all->fd);
	pthread_cond_destroy(&all->work);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

int
copiers_fd(const struct copiers *all)
{
	return all->fd;
}

void
copiers_give(struct copiers *all, struct job *j)
{
	pthread_mutex_lock(&all->lock);
	push(&all->todo, j);
	if (j->copier)
		pthread_cond_broadcast(&all->work); /* the one that is woken alone may be another */
	else
		pthread_cond_signal(&all->work);
	pthread_mutex_unlock(&all->lock);
}

struct job *
copiers_take(struct copiers *all)
{
	uint64_t wakes;
	struct job *j;

	pthread_mutex_lock(&all->lock);
	j = pop(&all->done, 0);
	if (!j && read(all->fd, &wakes, sizeof wakes) < 0)
		wakes = 0;
	pthread_mutex_unlock(&all->lock);
	return j;
}
