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
	"	applied_at   timestamptz NOT NULL DEFAULT now(),\n" \
	"	parked_last  bigint NOT NULL DEFAULT 0,\n" \
	"	parked_version bigint NOT NULL DEFAULT 0\n" \
	") WITH (fillfactor = 50)"

/*
 * Compare and set. parked: the version of the parked changes that the caller knows; `towline dlq` raises it. Raising
 * (not returning) is what makes it safe in a pipeline: the server skips all that was sent behind it.
 */
#define SQL_PG_ADVANCE \
	"CREATE OR REPLACE FUNCTION towline.advance(pipeline text, from_offset bigint, from_hash bigint, to_offset bigint,\n" \
	"    to_hash bigint, to_gen bigint, to_token bigint, to_no bigint, to_seq bigint, to_lsn pg_lsn,\n" \
	"    to_commit_us bigint, to_system_id bigint, parked bigint)\n" \
	"RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$\n" \
	"DECLARE\n" \
	"	m towline.marker;\n" \
	"BEGIN\n" \
	"	UPDATE towline.marker SET spine_offset = to_offset, spine_hash = to_hash, gen = to_gen, token = to_token, no = to_no,\n" \
	"	    seq = to_seq, lsn = to_lsn, commit_at = 'epoch'::timestamptz + to_commit_us * interval '1 microsecond',\n" \
	"	    system_id = to_system_id, applied_at = clock_timestamp()\n" \
	"	WHERE name = pipeline AND spine_offset = from_offset AND spine_hash = from_hash AND gen <= to_gen\n" \
	"	    AND parked_version = parked;\n" \
	"	IF FOUND THEN\n" \
	"		RETURN;\n" \
	"	END IF;\n" \
	"	SELECT * INTO m FROM towline.marker WHERE name = pipeline;\n" \
	"	IF m.parked_version <> parked AND m.spine_offset = from_offset AND m.spine_hash = from_hash THEN\n" \
	"		RAISE EXCEPTION 'the parked changes of % were changed by another', pipeline USING ERRCODE = 'TW002';\n" \
	"	END IF;\n" \
	"	RAISE EXCEPTION 'the marker of % is at spine offset % of generation %, not at % of generation % or older', pipeline,\n" \
	"	    m.spine_offset, m.gen, from_offset, to_gen USING ERRCODE = 'TW001';\n" \
	"END $$"

/* What a source table is called at the sink, both quoted. SQLite: towline_table, by the sink's name. */
#define SQL_PG_TABLES \
	"CREATE TABLE IF NOT EXISTS towline.tables (\n" \
	"	pipeline text NOT NULL,\n" \
	"	source   text NOT NULL,\n" \
	"	name     text NOT NULL,\n" \
	"	PRIMARY KEY (pipeline, source)\n" \
	")"

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
	"	applied_at   TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,\n" \
	"	parked_last  INTEGER NOT NULL DEFAULT 0,\n" \
	"	parked_version INTEGER NOT NULL DEFAULT 0\n" \
	")"

/* Which source table a sink table holds: public.a_b and a.b would both be a_b. */
#define SQL_SQLITE_TABLES \
	"CREATE TABLE IF NOT EXISTS towline_table (name TEXT PRIMARY KEY, source TEXT NOT NULL)"

#define SQL_SQLITE_ADVANCE \
	"UPDATE towline_marker SET spine_offset = ?4, spine_hash = ?5, gen = ?6, token = ?7, no = ?8, seq = ?9, lsn = ?10,\n" \
	"    commit_us = ?11, system_id = ?12, applied_at = CURRENT_TIMESTAMP\n" \
	"WHERE name = ?1 AND spine_offset = ?2 AND spine_hash = ?3 AND gen <= ?6 AND parked_version = ?13"

#define SQL_SQLITE_MARKER_READ \
	"SELECT spine_offset, spine_hash, gen, token, no, seq, lsn, commit_us, system_id FROM towline_marker WHERE name = ?1"

/*
 * Where each partition begins that is not applied yet (consumer/session_position.c, consumer/foreign.h).
 * Written in the transaction that writes the rows; the marker's compare-and-set guards it.
 * value_id: schema of the last value seen there, for the tombstones of flattened foreign topics.
 * foreign_position is its name in development versions before 0.1.
 */
#define SQL_POSITION_COLUMNS "topic, topic_partition, next_offset, value_id"
#define SQL_PG_POSITION \
	"CREATE TABLE IF NOT EXISTS towline.position (\n" \
	"	pipeline        text NOT NULL,\n" \
	"	topic           text NOT NULL,\n" \
	"	topic_partition int NOT NULL,\n" \
	"	next_offset     bigint NOT NULL,\n" \
	"	value_id        bigint NOT NULL,\n" \
	"	PRIMARY KEY (pipeline, topic, topic_partition)\n" \
	") WITH (fillfactor = 50)"
#define SQL_SQLITE_POSITION \
	"CREATE TABLE IF NOT EXISTS towline_position (\n" \
	"	pipeline        TEXT NOT NULL,\n" \
	"	topic           TEXT NOT NULL,\n" \
	"	topic_partition INTEGER NOT NULL,\n" \
	"	next_offset     INTEGER NOT NULL,\n" \
	"	value_id        INTEGER NOT NULL,\n" \
	"	PRIMARY KEY (pipeline, topic, topic_partition)\n" \
	")"
#define SQL_POSITION_READ(T) "SELECT " SQL_POSITION_COLUMNS " FROM " T " WHERE pipeline = $1"
#define SQL_POSITION_SET \
	" ON CONFLICT (pipeline, topic, topic_partition) DO UPDATE SET next_offset = excluded.next_offset, value_id = excluded.value_id"
#define SQL_PG_POSITION_RENAME "ALTER TABLE IF EXISTS towline.foreign_position RENAME TO position"
#define SQL_SQLITE_POSITION_RENAME "ALTER TABLE towline_foreign_position RENAME TO towline_position"
#define SQL_PG_POSITION_WRITE \
	"INSERT INTO towline.position (pipeline, " SQL_POSITION_COLUMNS ")\n" \
	"SELECT $1, " SQL_POSITION_COLUMNS " FROM json_to_recordset($2::json) AS e(topic text, topic_partition int, next_offset bigint,\n" \
	"    value_id bigint)" SQL_POSITION_SET
#define SQL_SQLITE_POSITION_WRITE \
	"INSERT INTO towline_position (pipeline, " SQL_POSITION_COLUMNS ")\n" \
	"SELECT $1, json_extract(value, '$.topic'), json_extract(value, '$.topic_partition'), json_extract(value, '$.next_offset'),\n" \
	"    json_extract(value, '$.value_id') FROM json_each($2) WHERE true" SQL_POSITION_SET

/*
 * Parked changes (consumer/parked.h): those that the sink refused, and those that wait behind them. Written in the
 * transaction that moves the marker past them, ids from marker.parked_last, so that their order is the source's. Rows
 * go in as one JSON array, which both databases take apart.
 */
#define SQL_PG_PARKED \
	"CREATE TABLE IF NOT EXISTS towline.parked (\n" \
	"	pipeline        text NOT NULL,\n" \
	"	id              bigint NOT NULL,\n" \
	"	topic           text NOT NULL,\n" \
	"	topic_partition int NOT NULL,\n" \
	"	topic_offset    bigint NOT NULL,\n" \
	"	from_partition  int NOT NULL,\n" \
	"	from_offset     bigint NOT NULL,\n" \
	"	copy_offset     bigint NOT NULL,\n" \
	"	from_copy       bigint NOT NULL,\n" \
	"	src_schema      text NOT NULL,\n" \
	"	src_table       text NOT NULL,\n" \
	"	key             text,\n" \
	"	key_hash        text,\n" \
	"	to_hash         text,\n" \
	"	op              text NOT NULL,\n" \
	"	seq             bigint NOT NULL,\n" \
	"	idx             bigint NOT NULL,\n" \
	"	lsn             pg_lsn NOT NULL,\n" \
	"	reason          text NOT NULL,\n" \
	"	waits_behind    bigint,\n" \
	"	parked_at       timestamptz NOT NULL DEFAULT clock_timestamp(),\n" \
	"	PRIMARY KEY (pipeline, id)\n" \
	")"

#define SQL_SQLITE_PARKED \
	"CREATE TABLE IF NOT EXISTS towline_parked (\n" \
	"	pipeline        TEXT NOT NULL,\n" \
	"	id              INTEGER NOT NULL,\n" \
	"	topic           TEXT NOT NULL,\n" \
	"	topic_partition INTEGER NOT NULL,\n" \
	"	topic_offset    INTEGER NOT NULL,\n" \
	"	from_partition  INTEGER NOT NULL,\n" \
	"	from_offset     INTEGER NOT NULL,\n" \
	"	copy_offset     INTEGER NOT NULL,\n" \
	"	from_copy       INTEGER NOT NULL,\n" \
	"	src_schema      TEXT NOT NULL,\n" \
	"	src_table       TEXT NOT NULL,\n" \
	"	key             TEXT,\n" \
	"	key_hash        TEXT,\n" \
	"	to_hash         TEXT,\n" \
	"	op              TEXT NOT NULL,\n" \
	"	seq             INTEGER NOT NULL,\n" \
	"	idx             INTEGER NOT NULL,\n" \
	"	lsn             INTEGER NOT NULL,\n" \
	"	reason          TEXT NOT NULL,\n" \
	"	waits_behind    INTEGER,\n" \
	"	parked_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),\n" \
	"	PRIMARY KEY (pipeline, id)\n" \
	")"

#define SQL_PARKED_COLUMNS \
	"id, topic, topic_partition, topic_offset, from_partition, from_offset, copy_offset, from_copy, src_schema, src_table,\n" \
	"key, key_hash, to_hash, op, seq, idx, lsn, reason, waits_behind"

#define SQL_PG_PARK \
	"INSERT INTO towline.parked (pipeline, " SQL_PARKED_COLUMNS ")\n" \
	"SELECT $1, " SQL_PARKED_COLUMNS " FROM json_to_recordset($2::json) AS e(id bigint, topic text, topic_partition int,\n" \
	"    topic_offset bigint, from_partition int, from_offset bigint, copy_offset bigint, from_copy bigint, src_schema text,\n" \
	"    src_table text, key text, key_hash text, to_hash text, op text, seq bigint, idx bigint, lsn pg_lsn, reason text,\n" \
	"    waits_behind bigint)"

/* What the columns of a table are called from a change on, of each version that began while this sink was there (consumer/names.h). */
#define SQL_NAMES(T, NUMBER, TEXT) \
	"CREATE TABLE IF NOT EXISTS " T " (\n" \
	"	pipeline   " TEXT " NOT NULL,\n" \
	"	src_schema " TEXT " NOT NULL,\n" \
	"	src_table  " TEXT " NOT NULL,\n" \
	"	seq        " NUMBER " NOT NULL,\n" \
	"	idx        " NUMBER " NOT NULL,\n" \
	"	names      " TEXT " NOT NULL,\n" \
	"	PRIMARY KEY (pipeline, src_schema, src_table, seq, idx)\n" \
	")"
#define SQL_PG_NAMES SQL_NAMES("towline.names", "bigint", "text")
#define SQL_SQLITE_NAMES SQL_NAMES("towline_names", "INTEGER", "TEXT")
#define SQL_NAMES_NOTE(T) \
	"INSERT INTO " T " (pipeline, src_schema, src_table, seq, idx, names)\n" \
	"VALUES ($1, $2, $3, CAST($4 AS bigint), CAST($5 AS bigint), $6)\n" \
	"ON CONFLICT (pipeline, src_schema, src_table, seq, idx) DO UPDATE SET names = excluded.names"
#define SQL_NAMES_SINCE(T) \
	"SELECT names FROM " T " WHERE pipeline = $1 AND src_schema = $2 AND src_table = $3\n" \
	"    AND (seq, idx) > (CAST($4 AS bigint), CAST($5 AS bigint)) ORDER BY seq, idx"

/* In the order of SQL_PARKED_COLUMNS; lsn is a number here. */
#define SQL_SQLITE_PARK \
	"INSERT INTO towline_parked (pipeline, " SQL_PARKED_COLUMNS ")\n" \
	"SELECT $1, json_extract(value, '$.id'), json_extract(value, '$.topic'), json_extract(value, '$.topic_partition'),\n" \
	"    json_extract(value, '$.topic_offset'), json_extract(value, '$.from_partition'), json_extract(value, '$.from_offset'),\n" \
	"    json_extract(value, '$.copy_offset'), json_extract(value, '$.from_copy'), json_extract(value, '$.src_schema'),\n" \
	"    json_extract(value, '$.src_table'), json_extract(value, '$.key'), json_extract(value, '$.key_hash'),\n" \
	"    json_extract(value, '$.to_hash'), json_extract(value, '$.op'), json_extract(value, '$.seq'),\n" \
	"    json_extract(value, '$.idx'), json_extract(value, '$.lsn'), json_extract(value, '$.reason'),\n" \
	"    json_extract(value, '$.waits_behind') FROM json_each($2)"

/*
 * The same words for both from here on: T is the table of parked changes, M the marker's. The parameters' first
 * places are in order, as SQLite counts them. A sink with lanes (consumer/lane.h) has a marker for each, "NAME/lane
 * I"; what is parked is NAME's.
 */
#define SQL_OF_LANES "(name = $1 OR substr(name, 1, length($1) + 6) = $1 || '/lane ')"
#define SQL_PARKED_IDS(M) "UPDATE " M " SET parked_last = parked_last + CAST($1 AS bigint) WHERE name = $2 RETURNING parked_last"
#define SQL_PARKED_VERSION(M) "SELECT parked_version FROM " M " WHERE name = $1"
#define SQL_PARKED_TOUCH(M) "UPDATE " M " SET parked_version = parked_version + 1 WHERE " SQL_OF_LANES " AND name <> $2"
#define SQL_PARKED_KEYS(T) \
	"SELECT key_hash, to_hash, src_schema, src_table, min(coalesce(waits_behind, id)), count(*) FROM " T " WHERE pipeline = $1\n" \
	"GROUP BY key_hash, to_hash, src_schema, src_table"
#define SQL_UNPARK_TABLE(T) "DELETE FROM " T " WHERE pipeline = $1 AND src_schema = $2 AND src_table = $3"
#define SQL_PARKED_COUNT(T) "SELECT count(*), count(*) FILTER (WHERE waits_behind IS NULL) FROM " T " WHERE pipeline = $1"

/* The longer queue first: whoever numbers changes holds a lane's marker and then wants NAME's. */
#define SQL_PG_PARKED_LOCK "SELECT FROM towline.marker WHERE " SQL_OF_LANES " ORDER BY length(name) DESC, name FOR UPDATE"

#define SQL_PARKED_READ(T, LSN, TIME) \
	"SELECT id, topic, topic_partition, topic_offset, from_partition, from_offset, copy_offset, from_copy, src_schema,\n" \
	"    src_table, key, key_hash, to_hash, op, seq, idx, " LSN ", reason, waits_behind, " TIME " FROM " T "\n" \
	"WHERE pipeline = $1 AND id > CAST($2 AS bigint) AND CAST($3 AS bigint) IN (0, id)\n" \
	"    AND (CAST($4 AS text) = '' OR src_schema = $4) AND (CAST($5 AS text) = '' OR src_table = $5)\n" \
	"    AND (CAST($6 AS bigint) = 0 OR to_hash IS NOT NULL)\n" \
	"ORDER BY id LIMIT CAST($7 AS bigint)"
#define SQL_PG_PARKED_READ \
	SQL_PARKED_READ("towline.parked", "(lsn - '0/0'::pg_lsn)::bigint", "(extract(epoch FROM parked_at) * 1000000)::bigint")
#define SQL_SQLITE_PARKED_READ \
	SQL_PARKED_READ("towline_parked", "lsn", "CAST((julianday(parked_at) - 2440587.5) * 86400000000 AS INTEGER)")

/* IDS: what makes rows of the JSON array $2. What waited behind those that go is told. */
#define SQL_UNPARK(T, IDS) "DELETE FROM " T " WHERE pipeline = $1 AND id IN (" IDS ")"
#define SQL_UNPARK_BEHIND(T, IDS) \
	"UPDATE " T " SET waits_behind = NULL, reason = 'what it waited behind is gone; retry it'\n" \
	"WHERE pipeline = $1 AND waits_behind IN (" IDS ")"
#define SQL_PG_IDS "SELECT value::bigint FROM json_array_elements_text($2::json)"
#define SQL_SQLITE_IDS "SELECT value FROM json_each($2)"

#endif
