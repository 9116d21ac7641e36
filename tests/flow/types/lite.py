#!/usr/bin/env python3
"""lite.py DUMP DATABASE: every value of the source's dump against SQLite's, which has numbers and bytes by its own types."""
import re
import sqlite3
import struct
import sys

NATIVE = {'smallint', 'integer', 'bigint', 'oid', 'pos', 'small'}


def same(type_, text, value):
    if text == '' and value is None:
        return True  # psql prints both alike; nullness was compared in PostgreSQL
    if value is None:
        return text in ('NaN',) and type_ in ('real', 'double precision')  # SQLite has no NaN
    # The empty ones: a blank or a b is what PostgreSQL reads as such.
    if (type_, value) == ('hstore', ' ') or type_.startswith('varbit') and value == 'b':
        return text == ''
    if type_ == 'boolean[]':
        return value == text.replace('t', '1').replace('f', '0')
    if type_ in ('boolean', 'bit', 'bit(1)') and isinstance(value, int):
        return value == (1 if text in ('t', '1') else 0)
    if type_ in NATIVE:
        return isinstance(value, int) and str(value) == text
    if type_ in ('real', 'double precision'):
        if text in ('-0', 'NaN'):  # SQLite's REAL has neither
            return value == {'-0': 0.0, 'NaN': 'NaN'}[text]
        if not isinstance(value, float):
            return False
        if type_ == 'real':
            return struct.pack('f', float(text)) == struct.pack('f', value)
        return value == float(text)
    if type_ == 'bytea':
        return isinstance(value, bytes) and '\\x' + value.hex() == text
    if type_ == 'money':
        return value == text.replace('$', '').replace(',', '')
    if type_[:11] in ('timestamptz', 'timetz') and str(value).endswith('Z'):  # ISO 8601 in UTC: the time of day says enough here
        clock = re.split('[ +-]', text.split(' ')[1] if ' ' in text else text)[0]
        iso = str(value).split('T')[-1][:-1]
        return iso.rstrip('0').rstrip('.') == clock.rstrip('0').rstrip('.') or iso[:8] == clock
    return str(value) == text


def rows(path):
    """Lines of psql -At: table|type|id|text, where a text may hold newlines."""
    row = None
    for line in open(path, encoding='utf-8', newline='\n'):
        line = line[:-1]
        if re.match(r'[tk]\d+\|', line):
            if row:
                yield row
            row = line.split('|', 3)
        else:
            row[3] += '\n' + line
    if row:
        yield row


db = sqlite3.connect(sys.argv[2])
count = bad = 0
for table, type_, id_, text in rows(sys.argv[1]):
    key = 'id' if table[0] == 't' else 'n'
    got = db.execute(f'select v from a_{table} where {key} = ?', (int(id_),)).fetchall()
    count += 1
    if len(got) != 1 or not same(type_, text, got[0][0]):
        bad += 1
        print(f'{table} {type_} {id_}: {text[:80]!r} is {str(got)[:100]}')
extra = 0
for (name,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
    if name[:2] in ('a_',) and name[2] in 'tk' and name[3:].isdigit():
        extra += db.execute(f'select count(*) from {name}').fetchone()[0]
if extra != count:
    bad += 1
    print(f'{extra} rows in SQLite, {count} at the source')
print(f'{count} in SQLite, {bad} wrong')
sys.exit(bad != 0)
