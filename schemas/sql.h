/*
 * sql.h - what Towline keeps in a sink: the marker, as SQL.
 *
 * One row per pipeline says how far the sink is; it is written in the transaction that writes the
 * rows (consumer/sink.h). The
 * 64-bit numbers without sign (hash, token, system_id) are stored as the bigint of the same bits.
 */
#ifndef SCHEMAS_SQL_H
#define SCHEMAS_SQL_H

#define SQL_PG_SCHEMA "CREATE SCHEMA IF NOT EXISTS towline"

#define SQL_PG_MARKER \
	"CREATE TABLE IF NOT EXISTS towline.marker (\n" \
	"	name         text PRIMARY KEY,\n" \
	"	spine_offset bigint NOT NULL DEFAULT -1,\n" \
	"	spine_hash   bigint NOT NULL DEFAULT 0,\n" \
	"	gen          bigint NOT NULL DEFAULT 0,\n" \
	"	token        bigint NOT NULL DEFAULT 0,\n" \
	"	no           bigint NOT NULL DEFAULT 0,\n" \
	"	seq          bigint NOT NULL DEFAULT 0,\n" \
	"	lsn          pg_lsn NOT NULL DEFAULT '0/0',\n" \
	"	commit_at    timestamptz NOT NULL DEFAULT 'epoch',\n" \
	"	system_id    bigint NOT NULL DEFAULT 0,\n" \
	"	applied_at   timestamptz NOT NULL DEFAULT now()\n" \
	") WITH (fillfactor = 50)"

/*
 * Compare and set. Raising (not returning) is what makes it safe in a pipeline: the server skips
 * all that was sent behind it.
 */
#define SQL_PG_ADVANCE \
	"CREATE OR REPLACE FUNCTION towline.advance(pipeline text, from_offset bigint, from_hash bigint, to_offset bigint,\n" \
	"    to_hash bigint, to_gen bigint, to_token bigint, to_no bigint, to_seq bigint, to_lsn pg_lsn,\n" \
	"    to_commit_us bigint, to_system_id bigint)\n" \
	"RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$\n" \
	"DECLARE\n" \
	"	m towline.marker;\n" \
	"BEGIN\n" \
	"	UPDATE towline.marker SET spine_offset = to_offset, spine_hash = to_hash, gen = to_gen, token = to_token, no = to_no,\n" \
	"	    seq = to_seq, lsn = to_lsn, commit_at = 'epoch'::timestamptz + to_commit_us * interval '1 microsecond',\n" \
	"	    system_id = to_system_id, applied_at = clock_timestamp()\n" \
	"	WHERE name = pipeline AND spine_offset = from_offset AND spine_hash = from_hash AND gen <= to_gen;\n" \
	"	IF FOUND THEN\n" \
	"		RETURN;\n" \
	"	END IF;\n" \
	"	SELECT * INTO m FROM towline.marker WHERE name = pipeline;\n" \
	"	RAISE EXCEPTION 'the marker of % is at spine offset % of generation %, not at % of generation % or older', pipeline,\n" \
	"	    m.spine_offset, m.gen, from_offset, to_gen USING ERRCODE = 'TW001';\n" \
	"END $$"

#define SQL_PG_MARKER_ROW "INSERT INTO towline.marker (name) VALUES ($1) ON CONFLICT DO NOTHING"

#define SQL_PG_MARKER_READ \
	"SELECT spine_offset, spine_hash, gen, token, no, seq, lsn, (extract(epoch FROM commit_at) * 1000000)::bigint, system_id\n" \
	"FROM towline.marker WHERE name = $1"

#define SQL_SQLITE_MARKER \
	"CREATE TABLE IF NOT EXISTS towline_marker (\n" \
	"	name         TEXT PRIMARY KEY,\n" \
	"	spine_offset INTEGER NOT NULL DEFAULT -1,\n" \
	"	spine_hash   INTEGER NOT NULL DEFAULT 0,\n" \
	"	gen          INTEGER NOT NULL DEFAULT 0,\n" \
	"	token        INTEGER NOT NULL DEFAULT 0,\n" \
	"	no           INTEGER NOT NULL DEFAULT 0,\n" \
	"	seq          INTEGER NOT NULL DEFAULT 0,\n" \
	"	lsn          INTEGER NOT NULL DEFAULT 0,\n" \
	"	commit_us    INTEGER NOT NULL DEFAULT 0,\n" \
	"	system_id    INTEGER NOT NULL DEFAULT 0,\n" \
	"	applied_at   TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP\n" \
	")"

/* Which source table a sink table holds: public.a_b and a.b would both be a_b. */
#define SQL_SQLITE_TABLES \
	"CREATE TABLE IF NOT EXISTS towline_table (name TEXT PRIMARY KEY, source TEXT NOT NULL)"

#define SQL_SQLITE_ADVANCE \
	"UPDATE towline_marker SET spine_offset = ?4, spine_hash = ?5, gen = ?6, token = ?7, no = ?8, seq = ?9, lsn = ?10,\n" \
	"    commit_us = ?11, system_id = ?12, applied_at = CURRENT_TIMESTAMP\n" \
	"WHERE name = ?1 AND spine_offset = ?2 AND spine_hash = ?3 AND gen <= ?6"

#define SQL_SQLITE_MARKER_READ \
	"SELECT spine_offset, spine_hash, gen, token, no, seq, lsn, commit_us, system_id FROM towline_marker WHERE name = ?1"

#endif
