/*
 * catalog.h - what PostgreSQL's catalogue knows of a table and RELATION does not say: primary key, nullability,
 * defaults, element and base types, enum labels.
 *
 * A table version is made from a RELATION message (names, order, type oids: exact for its place in the stream) and the
 * catalogue as it is now. The catalogue may already be ahead of the stream: a column that it no longer has, or has with
 * another type, is taken as nullable and without default, so that nothing is claimed that did not hold.
 */
#ifndef PRODUCER_CATALOG_H
#define PRODUCER_CATALOG_H

#include "core/conf.h"
#include "core/pg.h"
#include "core/table.h"
#include "producer/pgoutput.h"
#include "schemas/pgtypes.h"

/* A table version and how its columns' bytes are read; all in its own arena. */
struct relation {
	struct arena arena;
	struct table table;
	struct pg_type *types;  /* table.ncols */
	bool binary;            /* every column may travel in binary form */
	const char *unsent;     /* generated columns that the server does not send, "a,b"; NULL: none */
	struct relation *prev;  /* the version before */
	bool follows;           /* no change of it was given yet, and it follows another version: reshaped */
	bool followed;          /* it follows another one */
	bool unpublished;       /* nothing of it was published (source_ops.refuse) */
};

/*
 * Make the version; conn is an ordinary connection. before: the version before, of the same
 * relation, or NULL: the columns are numbered by it (producer/lineage.h). conf: the publication, and the forms of types.
 * RETRY: connection, or the table is locked; FATAL: the catalogue refuses.
 */
enum rc catalog_relation(PGconn *conn, const struct conf *conf, const struct pgo *msg, const struct table *before,
    struct relation **out, struct err *err) MUST_CHECK;

/*
 * Does the row have a label that the table version does not know? PostgreSQL sends no new description
 * when a type gets one: then the version is to be made again.
 */
bool catalog_new_label(const struct table *tbl, const struct value *row);

void catalog_free(struct relation *r);

/* Can all columns of all published tables be sent in binary form? */
enum rc catalog_all_binary(PGconn *conn, const char *publication, bool *yes, struct err *err) MUST_CHECK;

#endif
