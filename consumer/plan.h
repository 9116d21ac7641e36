/*
 * plan.h - the SQL for a work: pure, one text per (target, kind, columns), for PostgreSQL and
 * SQLite.
 *
 * Set-based plans take one array per column: `INSERT ... SELECT ... FROM unnest($1::bigint[],
 * $2::text[])`, sent in binary. Row plans take one value per parameter, as text; they serve the
 * redo in exact order, single rows, and SQLite.
 */
#ifndef CONSUMER_PLAN_H
#define CONSUMER_PLAN_H

#include "core/arena.h"
#include "core/table.h"

enum dialect { DIALECT_PG = 0, DIALECT_SQLITE };

/* A column of the source's table as it is at the sink; the index is the source's. */
struct target_column {
	struct slice name;     /* empty: the sink does not have it, or must not be told (a generated column) */
	uint32_t typid;        /* base type, domains resolved; 0: SQLite */
	uint32_t arrayid;      /* its array type */
	const char *type;      /* the base type without modifiers, fit for a cast: "numeric", "\"bit\"", "app.mood" */
	const char *operators; /* quoted schema of the type's operators when that is not pg_catalog (citext); else NULL */
	bool binary;           /* travels in the binary form of typid; else as text with a cast */
	bool by_text;          /* the type has no equality (json, xml, point): compared as text */
	bool domain;           /* of a domain over an enum or a composite type, which has no equality but as its base type */
	bool identity_always;  /* GENERATED ALWAYS AS IDENTITY: may be inserted by OVERRIDING SYSTEM VALUE, never updated */
};

struct target {
	enum dialect dialect;
	const char *name;      /* quoted, with its schema */
	int ncols;
	struct target_column *cols;
	int nkeys;
	const int *keys;
	bool unique;           /* a unique index on exactly the key columns: what ON CONFLICT needs */
	bool children;         /* partitioned or inherited from: ctid alone does not name a row */
	bool copies;           /* PostgreSQL: COPY does what INSERT does */
	bool counted;          /* a set-based update that finds fewer rows than it brings is to fail (22012) */
};

enum plan_kind {
	/* set-based, PostgreSQL only */
	PLAN_INSERT = 0,
	PLAN_UPSERT,
	PLAN_UPDATE,
	PLAN_DELETE,
	PLAN_COPY,             /* COPY FROM STDIN: in binary where all columns have it, else in text; params tell the order */
	/* one row */
	PLAN_ROW_INSERT,
	PLAN_ROW_UPSERT,
	PLAN_ROW_UPDATE,       /* by the old key */
	PLAN_ROW_DELETE,
	PLAN_ROW_UPDATE_MATCH, /* one row that equals the old one */
	PLAN_ROW_DELETE_MATCH,
	PLAN_KINDS,
};

/* Flags of a column: what its value in this statement is for. */
enum {
	PLAN_SET = 1,          /* written */
	PLAN_WHERE = 2,        /* looked for; the key's columns in plans by key, the known old ones in _MATCH */
	PLAN_TEXT = 4,         /* goes as text although it could go in binary */
};

struct plan_param {
	int col;
	bool old;              /* the value to look for; else the value to write */
	bool text;             /* set-based: text[]; else an array of arrayid */
};

struct plan {
	const char *sql;
	int nparams;
	struct plan_param *params;
};

/*
 * flags: t->ncols. PLAN_SET is ignored for columns that the sink does not have. An update that
 * writes nothing has sql NULL. In set-based upserts and updates the key's columns are one parameter
 * each, used to look and (upsert) to write. All in a.
 */
struct plan plan_make(
    const struct target *t, enum plan_kind kind, const uint8_t *flags, struct arena *a);

/*
 * True when PostgreSQL's type has an equality that may be used to find an old row again; else
 * compare as text.
 */
bool plan_has_equality(uint32_t typid, char typtype);

#endif
