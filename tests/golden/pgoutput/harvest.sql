-- Makes pg15_text.hex and pg15_binary.hex on PostgreSQL 15 (wal_level=logical), in an empty database of encoding UTF8:
--   psql -qAt -f harvest.sql, then one message a line for slot `txt` (binary false) and slot `bin` (binary true):
--   SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('txt', NULL, NULL, 'proto_version', '1',
--       'publication_names', 'p', 'binary', 'false', 'messages', 'true');
set timezone = utc;
create type mood as enum ('sad', 'ok');
create table a (id int primary key, t text, n numeric(10,2), b bytea, m mood, f double precision);
create table o (id int primary key, t text) ;
alter table o replica identity full;
create table w ("Wide Name" text, id int not null, arr int[]);
create unique index w_id on w (id);
alter table w replica identity using index w_id;
alter table a alter t set storage external;
create publication p for all tables;
select pg_create_logical_replication_slot('txt', 'pgoutput');
select pg_create_logical_replication_slot('bin', 'pgoutput');
begin;
insert into a values (1, repeat('x', 3000), 12.50, '\x00ff', 'ok', 1.5), (2, null, null, null, null, null);
update a set n = 13 where id = 1;
update a set id = 3 where id = 2;
delete from a where id = 3;
commit;
begin;
insert into o values (1, 'one');
update o set t = 'two';
delete from o;
insert into w values ('ä', 7, '{1,NULL}');
update w set id = 8;
select pg_logical_emit_message(true, 'in', 'inside');
truncate a, o restart identity cascade;
commit;
select pg_logical_emit_message(false, 'out', 'outside');
select pg_replication_origin_create('other node');
select pg_replication_origin_session_setup('other node');
begin;
select pg_replication_origin_xact_setup('1/2345', '2024-01-02 03:04:05.678901+00');
insert into o values (2, '');
commit;
select pg_replication_origin_session_reset();
