/*
 * server.h - what a PostgreSQL server says of itself and of our slot. The producer refuses to start by it; `towline check`
 * and `towline status` tell of it.
 */
#ifndef PRODUCER_SERVER_H
#define PRODUCER_SERVER_H

#include "core/arena.h"
#include "core/pg.h"
#include "producer/source.h"

enum { SERVER_OLDEST = 14, SERVER_NEWEST = 18 };

struct server {
	int major;              /* 16 */
	const char *version;    /* "16.4" */
	const char *wal_level;
	const char *role;
	bool replication;       /* the role may start logical replication */
	bool may_create;        /* it has CREATE on the database */
	bool standby;
	bool large_objects;     /* some exist: the stream does not carry them */
	int slots, slots_max;   /* in use; max_replication_slots */
	int senders, senders_max;
	int64_t slot_wal_max;   /* max_slot_wal_keep_size, bytes; -1: no limit */
	const char *slot_idle;  /* idle_replication_slot_timeout (18), "1d"; NULL: none */
	const char *slot_waits; /* synchronized_standby_slots (17): slots that a failover slot must not overtake; "": none */
	const char *slot_holds; /* those of them that nobody reads, which hold it; "": none */
	uint64_t lsn;           /* end of its WAL now */
};

/* Texts are in a. */
enum rc server_look(PGconn *conn, struct arena *a, struct server *out, struct err *err) MUST_CHECK;

/* FATAL/EXIT_CONFIG: wal_level does not allow logical decoding. */
enum rc server_judge(const struct server *server, struct err *err) MUST_CHECK;

/* System identifier, timeline and end of the WAL (on a standby: of what it has), over a walsender connection. */
enum rc server_identify(PGconn *repl, uint64_t *system_id, uint32_t *timeline, uint64_t *lsn, struct err *err) MUST_CHECK;

struct pg_slot {
	bool exists;
	bool ours;              /* of pgoutput and of this database */
	const char *wal_status; /* reserved, extended, unreserved, lost; "" */
	const char *invalid;    /* why it is lost (17): wal_removed, rows_removed, wal_level_insufficient, idle_timeout; "" */
	bool failover;          /* standbys have it too (17) */
	const char *active_pid; /* NULL: nobody reads it */
	bool placed;            /* confirmed holds: the slot is completely made */
	uint64_t confirmed, restart;
	int64_t safe_bytes;     /* WAL that may still be written before the slot is lost; -1: no limit */
};

/* Is the slot to be one that standbys have too? Only a primary from 17 on can make it. */
bool server_wants_failover(const struct server *server, const struct conf *conf);

enum rc slot_look(PGconn *conn, const char *name, struct arena *a, struct pg_slot *out, struct err *err) MUST_CHECK;

/*
 * May a producer go on with it? FATAL/EXIT_REFUSED: lost. FATAL/EXIT_CONFIG: another's. RETRY: in
 * use, or not made yet. OK when it does not exist.
 */
enum rc slot_judge(const char *name, const struct pg_slot *slot, struct err *err) MUST_CHECK;

/*
 * Make it: changes count from *from on. failover: standbys get it too (server_wants_failover). sql asks meanwhile whom it waits
 * for. AGAIN: stopped while it waited for older transactions.
 */
enum rc slot_create(PGconn *sql, PGconn *repl, const char *name, bool failover, uint64_t *from, struct err *err) MUST_CHECK;

/* 17 and later, on a primary, while nobody reads it. */
enum rc slot_set_failover(PGconn *repl, const char *name, bool failover, struct err *err) MUST_CHECK;

#endif
