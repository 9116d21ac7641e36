/*
 * copy_table.h - a table as the copiers read it: what the stream would say of it in RELATION, and the SQL of a chunk.
 */
#ifndef PRODUCER_COPY_TABLE_H
#define PRODUCER_COPY_TABLE_H

#include "core/cursor.h"
#include "producer/catalog.h"

/* As it stands in the catalogue; never changes once made. */
struct copy_table {
	struct arena arena;
	struct pgo relation;    /* the message that pgoutput would send */
	const char *text;       /* the same as one text: equal texts, equal tables */
	struct relation *rel;   /* types and key by it */
	const char *from;       /* "ONLY \"s\".\"t\"" */
	const char *filter;     /* of the publication; NULL: none */
	const char **types;     /* of the key's columns, for casts */
	const char *path;       /* search_path by which the key's operators are found */
	const char *key;        /* names of the key's columns, a JSON array */
	const char *order;      /* names, types and collations of them, likewise: equal texts, equal ranges */
	int64_t estimate;       /* rows, about */
};

/*
 * Look it up; conn may be inside a transaction. REJECT: it is not there, or not in the publication. RETRY: connection, lock; FATAL: the
 * catalogue refuses.
 */
enum rc copy_table_look(PGconn *conn, const struct conf *conf, const char *schema, const char *name, struct copy_table **out,
    struct err *err) MUST_CHECK;
void copy_table_free(struct copy_table *t);

/* The text that copy_table_look would find now; in a. REJECT as above. */
enum rc copy_table_text(PGconn *conn, const char *schema, const char *name, const char *publication, struct arena *a, const char **text,
    struct err *err) MUST_CHECK;

/*
 * COPY of the rows with from < key <= to (JSON arrays, NULL: open) that `where` (NULL: all) and the publication's filter take, in
 * order of the key, at most limit; in a. What has no binary form of ours comes as text.
 */
const char *copy_table_sql(const struct copy_table *t, const char *from, const char *to, const char *where, int limit, struct arena *a);

/* COPY of the rows that `blocks` (a condition on ctid; NULL: all), `where` and the filter take, in any order; in a. */
const char *copy_table_part_sql(const struct copy_table *t, const char *blocks, const char *where, struct arena *a);

/* The query for keys that part the table into n ranges of about as many rows, by a sample; in a. */
const char *copy_table_bounds_sql(const struct copy_table *t, int n, struct arena *a);

/*
 * The next row of COPY's binary form. tbl: the version of rel in the stream. Values point into the row, or into a. REJECT: a value is
 * malformed.
 */
enum rc copy_row_take(const struct relation *rel, const struct table *tbl, struct cursor *at, struct arena *a, const struct value **out,
    struct err *err) MUST_CHECK;

/* `col = value` for the row with that key, for a WHERE; row: values of the stream. In a. REJECT: a value has no text. */
enum rc copy_table_where(const struct copy_table *t, const struct value *row, struct arena *a, const char **out,
    struct err *err) MUST_CHECK;

#endif
