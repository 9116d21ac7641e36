-- The tables of 91-drop-in: keys of several kinds; every common type, with and without a default; and the types that Debezium
-- writes as structures of its own, or not at all.
create extension hstore; create extension citext; create extension ltree; create extension isn;
create type color as enum ('red', 'green', 'blue');
create type pt as (x int, y text);
create domain posint as int check (value > 0);
create table serial(id serial primary key, v text);
create table two(b text, a bigint, primary key (a, b), v int default 7);
create table uuid(u uuid primary key default gen_random_uuid(), v int);
create table keys(a text, b bigint, c boolean, d date, e bytea, f numeric(5,2), g real, primary key (a, b, c, d, e, f, g));
create table types(
  id int primary key,
  b boolean, bnn boolean not null default true, b1 bit(1), b5 bit(5), vb varbit, vb1 varbit(1), vb9 varbit(9),
  s2 smallint, s2d smallint not null default 3, i4 int, i4d int default 42, i4nd int not null default 5, i8 bigint,
    i8d bigint default 9000000000, o oid,
  f4 real, f8 double precision, f8d double precision default 1.5,
  n numeric, nd numeric default 1.5, n102 numeric(10,2), n102d numeric(10,2) not null default 3.14, n100 numeric(10),
    nneg numeric(5,-2), m money,
  c1 char(1), c5 char(5), vc varchar, vc20 varchar(20) not null default 'x''y', t text, td text default 'hello',
    nm name, ct citext, isb isbn,
  by bytea, byd bytea default '\x0102', j json, jb jsonb, jbd jsonb default '{"a": 1}', x xml, u uuid,
    ud uuid default '00000000-0000-0000-0000-000000000001', e color, ed color not null default 'green',
  d date, dd date default '2020-01-02', t0 time(0), t3 time(3), t6 time, t6d time default '01:02:03', ts timestamp,
    ts0 timestamp(0), ts3 timestamp(3), ts3d timestamp(3) default '2020-01-02 03:04:05', ts6 timestamp(6) default now(),
    tz timestamptz, tzd timestamptz default '2020-01-02 03:04:05+00', ttz timetz,
  iv interval, ivd interval default '1 day',
  ip inet, ci cidr, ma macaddr, ma8 macaddr8, r4 int4range, r8 int8range, nr numrange, tr tsrange, tzr tstzrange,
    dr daterange,
  hs hstore, lt ltree, tv tsvector, dom posint,
  a4 int[], a8 bigint[], a2 smallint[], at text[], avc varchar(5)[], ab boolean[], af4 real[], af8 float8[],
    an numeric[], an102 numeric(10,2)[], ad date[], ats timestamp[], atz timestamptz[], au uuid[], aj json[],
    ajb jsonb[], ae color[], aby bytea[], ai inet[], ac char(3)[], att time[], ah hstore[], act citext[], alt ltree[],
    ar4 int4range[],
  g int generated always as (id * 2) stored,
  "Odd Name" int, "9lives" text
);
alter table types replica identity full;
create table text(id int primary key, p point, cn circle not null default '<(0,0),1>', bx box, l line, ls lseg, pa path, po polygon, ci circle, cm pt,
    mr int4multirange, l2 pg_lsn, tq tsquery, jp jsonpath, x8 xid8, am money[], av interval[], vx varbit(3)[],
    ab bit(3)[], nn name[]);
