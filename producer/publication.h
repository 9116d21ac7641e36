/*
 * publication.h - which tables the publication of a pipeline holds, and keeping it in step with `tables:`.
 *
 * A table whose updates and deletes could not be published (no primary key, no REPLICA IDENTITY) is left out with a warning: put
 * into a publication, PostgreSQL would refuse the application's own UPDATE and DELETE on it.
 */
#ifndef PRODUCER_PUBLICATION_H
#define PRODUCER_PUBLICATION_H

#include "core/arena.h"
#include "core/conf.h"
#include "core/pg.h"

/* A table that is wanted. */
struct publication_table {
	const char *schema, *name;
	uint32_t oid;
	bool fit;        /* its updates and deletes can be published */
	bool keyed;      /* it has a primary key, or a unique index as replica identity */
	bool in;         /* it is in the publication */
	bool owned;      /* this role may put it there */
	bool filtered;   /* it is in it with a row filter */
};

struct publication {
	bool exists, owned;
	const char *omits; /* of insert, update, delete, truncate, what it does not publish; NULL: nothing */
	struct publication_table *tables; /* in order of schema and name */
	int ntables;
};

/* Look without touching. All in a. */
enum rc publication_look(PGconn *conn, const struct conf *conf, struct arena *a, struct publication *out, struct err *err) MUST_CHECK;

/*
 * The condition "c, a row of pg_class, is in publication p". Not by pg_publication_tables: from 16 on that view opens every table,
 * and waits for whoever has one of them locked.
 */
const char *publication_has_sql(PGconn *conn);

/* The statement that makes it as this server can, with tables ("a, b") or NULL: none yet. In a. */
const char *publication_sql_create(PGconn *conn, struct slice name, const char *tables, struct arena *a);

/* The table as it stands in that list: with its condition of `rows:`. In a. */
const char *publication_table_sql(const struct conf *conf, const struct publication_table *t, struct arena *a);

struct publication_report {
	int published;   /* wanted tables that are in it */
	int added;       /* of these, added by this call */
	int joined;      /* likewise, with a row filter */
	int left_out;    /* wanted, but without replica identity */
};

/*
 * Make the publication when missing, and add wanted tables that it lacks. Tables that are in it but not wanted stay (the stream
 * drops their changes). known: left_out of the last call, so that a warning is said once; -1 at first.
 */
enum rc publication_ensure(PGconn *conn, const struct conf *conf, int known, struct publication_report *out, struct err *err) MUST_CHECK;

#endif
