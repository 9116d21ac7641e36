/*
 * pgoutput.h - the bytes of PostgreSQL's logical decoding plugin pgoutput, protocol version 1, as structs.
 *
 * Source: PostgreSQL documentation, "Logical Replication Message Formats"; the same from 14 to 18 for
 * version 1 with messages on. Pure: slices point into the message, arrays into the caller's arena.
 *
 *   B begin      int64 final lsn, int64 commit time, int32 xid
 *   C commit     int8 flags, int64 commit lsn, int64 end lsn, int64 commit time
 *   O origin     int64 origin lsn, cstring name
 *   R relation   int32 oid, cstring namespace ("" = pg_catalog), cstring name, int8 identity, int16 n,
 *                n times: int8 flags (1: part of the key), cstring name, int32 type, int32 typmod
 *   Y type       int32 oid, cstring namespace, cstring name
 *   I insert     int32 oid, 'N' tuple
 *   U update     int32 oid, ['K' or 'O' tuple], 'N' tuple
 *   D delete     int32 oid, 'K' or 'O' tuple
 *   T truncate   int32 n, int8 flags (1 cascade, 2 restart identity), n times int32 oid
 *   M message    int8 flags (1: transactional), int64 lsn, cstring prefix, int32 n, n bytes
 *   tuple        int16 n, n times: 'n' null | 'u' unchanged | 't' or 'b', int32 length, bytes
 *
 * Times are microseconds since 2000-01-01.
 */
#ifndef PRODUCER_PGOUTPUT_H
#define PRODUCER_PGOUTPUT_H

#include "core/arena.h"
#include "core/err.h"

enum { PG_EPOCH_DAYS = 10957 }; /* 1970-01-01 to 2000-01-01 */
#define PG_EPOCH_US (PG_EPOCH_DAYS * INT64_C(86400000000))

enum {
	TRUNCATE_CASCADE = 1,
	TRUNCATE_RESTART = 2,
	RELATION_KEY = 1,
	MESSAGE_TRANSACTIONAL = 1,
};

struct pgo_cell {
	char kind; /* n u t b */
	struct slice data;
};

struct pgo_tuple {
	int n;
	struct pgo_cell *cells; /* NULL: no such tuple */
};

struct pgo_column {
	uint8_t flags;
	struct slice name;
	uint32_t typid;
	int32_t typmod;
};

struct pgo {
	char type;               /* the letter of the message */
	uint32_t relid;          /* R I U D */
	uint64_t lsn;            /* B: final lsn; C: commit lsn; O: origin lsn; M: its lsn */
	uint64_t end_lsn;        /* C */
	int64_t time_us;         /* B C, since 1970 */
	uint32_t xid;            /* B */
	uint8_t flags;           /* T M */
	char identity;           /* R: d n f i */
	struct slice schema, name; /* R; O: name; M: name is the prefix */
	struct slice content;    /* M */
	int ncols;
	struct pgo_column *cols; /* R */
	char old_kind;           /* U D: K or O, 0 none */
	struct pgo_tuple old, new;
	int nrels;
	uint32_t *rels;          /* T */
};

/* REJECT: malformed, or a message that version 1 does not have. */
enum rc pgo_parse(struct slice msg, struct arena *a, struct pgo *out, struct err *err) MUST_CHECK;

#endif
