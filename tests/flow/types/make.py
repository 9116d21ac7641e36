#!/usr/bin/env python3
"""make.py TYPES ONLY VERSION EXTENSION... DIR: what types.txt says as SQL for this version and these extensions; ONLY: a regular
expression for the types, empty: all.

DIR/tables.sql  per type n, in schema a: tN(id, v TYPE), and kN(v TYPE primary key, n) where the type can be a key
DIR/fill.sql    its values, then updates, deletes and changed keys
DIR/dump.sql    every row as text, by the type's own output function; DIR/sends.sql: as bytes of its send function
"""
import re
import sys

path, only, version, extensions, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:-1], sys.argv[-1]


def wanted(need):
    if need.isdigit():
        return version >= int(need)
    return need in extensions


def read():
    types, skipped = [], []
    for line in open(path, encoding='utf-8'):
        line = line.rstrip('\n')
        if line.startswith('# ') or line.startswith('-- '):
            continue
        if line.startswith('type '):
            name = line[5:]
            need, _, rest = name.partition(' ')
            keep = True
            if need.isdigit() or need in ('postgis', 'vector') and rest:
                keep, name = wanted(need), rest
            types.append((name, []) if keep else None)
            if not keep:
                skipped.append(f'{name} ({need})')
        elif types[-1]:
            types[-1][1].append(line[2:] if line.startswith('= ') else '$q$%s$q$' % line)
    return [t for t in types if t], skipped


def key_sql(n, name, what):
    # 42704: the type has no default operator class
    return f"do $do$ begin {what.format(n=n, name=name)}; exception when undefined_object or undefined_table then null; end $do$;\n"


types, skipped = read()
if only:
    types = [t for t in types if re.fullmatch(only, t[0])]
    skipped = []
with open(f'{out}/tables.sql', 'w') as f:
    for n, (name, _) in enumerate(types):
        f.write(f'create table a.t{n}(id int primary key, v {name});\n')
        f.write(key_sql(n, name, 'create table a.k{n}(v {name} primary key, n int)'))
with open(f'{out}/fill.sql', 'w') as f:
    for n, (name, values) in enumerate(types):
        for i, v in enumerate(values, 1):
            f.write(f'insert into a.t{n} values ({i}, ({v})::{name});\n')
        if name != 'price':
            f.write(f'insert into a.t{n} values (0, null);\n')
        # Every value a second time, by an update of a row that had another.
        f.write(f'insert into a.t{n} select id + 1000, (array_agg(v) over (order by id desc rows 1 preceding))[1] from a.t{n};\n'
                if '[]' not in name and not name.endswith('vector') and name not in ('price', 'goodpair') else
                f'insert into a.t{n} select id + 1000, v from a.t{n};\n')
        f.write(f'update a.t{n} x set v = y.v from a.t{n} y where x.id = y.id + 1000;\n')
        # Large values would not fit into an index.
        f.write(key_sql(n, name, "insert into a.k{n} select v, id from a.t{n} where id between 1 and 999 and pg_column_size(v) < 1000"
                        " and length(format('%s', v)) < 1000 on conflict do nothing;"
                        " update a.k{n} set n = -n;"
                        " delete from a.k{n} where n = -1;"
                        " update a.k{n} set v = (select v from a.t{n} where id = 1) where n = -2"))
shown = "case when v is distinct from null then format('%s', v) end"
with open(f'{out}/dump.sql', 'w') as f:
    for n, (name, _) in enumerate(types):
        f.write(f"select 't{n}', $q${name}$q$, id, {shown} from a.t{n} order by id;\n")
        f.write(f"select $e$select 'k{n}', $q${name}$q$, n, {shown} from a.k{n} order by n$e$ where to_regclass('a.k{n}') is not null\\gexec\n")
with open(f'{out}/sends.sql', 'w') as f:
    f.write("select format('select %L, id, md5(%s(v)) from %s order by id', c.relname, t.typsend, c.oid::regclass) from pg_class c"
            " join pg_attribute a on a.attrelid = c.oid and a.attname = 'v' join pg_type t on t.oid = a.atttypid"
            " where c.relnamespace = 'a'::regnamespace and c.relname ~ '^t' and t.oid < 16384 and t.typsend <> 0 and t.typname <> 'refcursor'"
            " and c.relkind = 'r' order by substr(c.relname, 2)::int\\gexec\n")
for s in skipped:
    print('skipped:', s)
print(len(types), 'types,', sum(len(v) for _, v in types), 'values')
