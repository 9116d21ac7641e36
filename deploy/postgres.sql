-- The rights that Towline needs in PostgreSQL, and none beyond. Run as a superuser, once at the source and once at each sink:
--
--   psql -v side=source -d inventory -f deploy/postgres.sql
--   psql -v side=sink   -d inventory -f deploy/postgres.sql
--
--   -v role=towline      the role that Towline connects as; made when missing
--   -v owner=app         source: the role that owns the tables. With it Towline makes and extends its publication by itself;
--                        without it the publication is made here, for the tables that are there now (see below)
--   -v name=inv          source without owner: the pipeline's name, as in the configuration
--   -v schema=public     the schema of the tables; run again for each further one
--
-- Set a password afterwards (\password towline), and let the role in through pg_hba.conf; at the source a line for the database is
-- enough, logical replication needs none for "replication".
\set ON_ERROR_STOP on
\if :{?role} \else \set role towline \endif
\if :{?schema} \else \set schema public \endif
\if :{?name} \else \set name '' \endif
\if :{?side} \else
DO $$ BEGIN RAISE 'say -v side=source or -v side=sink'; END $$;
\endif
SELECT :'side' = 'source' AS at_source, :'side' = 'sink' AS at_sink,
	NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS no_role,
	current_database() AS db, current_setting('server_version_num')::int >= 150000 AS can_grant_parameter \gset

\if :no_role
CREATE ROLE :"role" LOGIN;
\endif
GRANT CONNECT ON DATABASE :"db" TO :"role";

\if :at_source
-- Reads the log. wal_level must be logical (postgresql.conf, needs a restart).
ALTER ROLE :"role" REPLICATION;
-- For the first copy of the tables, and to look at their definitions.
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT ON ALL TABLES IN SCHEMA :"schema" TO :"role";
\if :{?owner}
-- CREATE PUBLICATION asks for CREATE on the database, ALTER PUBLICATION ADD TABLE for the table's owner.
GRANT CREATE ON DATABASE :"db" TO :"role";
GRANT :"owner" TO :"role";
\else
-- Somebody else owns the tables: make the publication here. Tables that are made later: ALTER PUBLICATION ... ADD TABLE as their
-- owner, or FOR TABLES IN SCHEMA (15 and newer). Without a primary key a table needs REPLICA IDENTITY FULL first.
SELECT format('CREATE PUBLICATION %I FOR TABLE %s WITH (publish_via_partition_root = true%s)',
	'towline_' || regexp_replace(lower(:'name'), '[^a-z0-9]', '_', 'g'), string_agg(format('%I.%I', n.nspname, c.relname), ', '),
	CASE WHEN current_setting('server_version_num')::int >= 180000 THEN ', publish_generated_columns = stored' ELSE '' END)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE :'name' <> '' AND n.nspname = :'schema' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
	AND (c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))
HAVING count(*) > 0 \gexec
\endif
\endif

\if :at_sink
-- Schema "towline" with the marker, schemas and tables that are missing.
GRANT CREATE ON DATABASE :"db" TO :"role";
GRANT USAGE, CREATE ON SCHEMA :"schema" TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA :"schema" TO :"role";
-- Triggers and foreign keys have done their work at the source. Before 15 only a superuser may switch them off.
\if :can_grant_parameter
GRANT SET ON PARAMETER session_replication_role TO :"role";
\endif
-- Columns that a later change of a table adds are added by the table's owner: tables that Towline made are its own. For others:
--   GRANT owner_of_the_tables TO towline;
\endif
