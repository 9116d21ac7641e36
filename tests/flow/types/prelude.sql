-- The types that types.txt uses and a server does not have from the start; at the source and at the sink that has the same tables.
create schema a;
create schema b;
select format('create extension %I', name) from pg_available_extensions where name in ('hstore', 'citext', 'ltree', 'isn', 'cube') \gexec
create type mood as enum ('sad', 'so so', 'it''s "ok"', 'a,b', 'ünï');
create domain pos as int check (value > 0);
create domain small as pos check (value < 1000);
create domain price as numeric(8,2) not null default 0;
create domain label as varchar(12) check (value <> 'no');
create domain moods as mood check (value <> 'sad');
create type pair as (x int, "the y" text);
create type deep as (p pair, q pair[], m mood, at timestamptz);
create domain goodpair as pair check (value is null or (value).x is not null);
create type textrange as range (subtype = text, collation = "C");
create type "Odd Type" as ("a b" text, "c""d" numeric);
