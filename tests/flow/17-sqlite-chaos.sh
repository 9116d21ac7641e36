#!/bin/bash
# SQLite as the source under several clients at once, some killed in their transactions, while the producer is killed and the schema changes.
# Every state of the sink that anybody sees is one of the source after a commit (money moves between tables, none appears), and in the end
# both files have the same rows in the same storage classes.
# limit: 180
. "$(dirname "$0")/lib.sh"

src=$DIR/data/src.db dst=$DIR/data/dst.db
kafka_start
sqlite3 -bail "$src" >/dev/null <<'E2'
pragma journal_mode = wal;
create table debit(id integer primary key, v integer not null);
create table credit(id text primary key not null, v integer not null) without rowid;
create table mixed(id integer primary key, u unique, v, w real);
create table bag(x, y);
insert into debit with recursive g(i) as (select 1 union all select i + 1 from g where i < 100) select i, 1000 from g;
insert into credit select 'c' || id, 1000 from debit;
E2
"$TOWLINE" source install "$src" >/dev/null
printf '%s\n' "name: $NAME" "source: sqlite:$src" "kafka: $BROKERS" "sinks: { file: 'sqlite:$dst' }" >"$DIR/conf.yaml"

cat >"$DIR/data/client.py" <<'E2'
import os, random, sqlite3, sys
path, seed, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
r = random.Random(seed)
db = sqlite3.connect(path, timeout=60, isolation_level=None)
values = [None, 0, 1, 2, 3, 1.0, 2.5, '1', 'a', 'it''s', b'', b'\0\xff', 2**63 - 1, -2**63, 1e300]
def transfer():
    n = r.randrange(1, 50)
    db.execute('begin immediate')
    db.execute('update debit set v = v - ? where id = ?', (n, r.randrange(1, 101)))
    if r.random() < 0.1:
        db.execute('update debit set id = id + 1000 where id = (select max(id) from debit where id <= 100)')
        db.execute('update debit set id = id - 1000 where id > 100')
    db.execute("update credit set v = v + ? where id = 'c' || ?", (n, r.randrange(1, 101)))
    db.execute('rollback' if r.random() < 0.1 else 'commit')
def odd():
    v = lambda: r.choice(values)
    sql, args = r.choice([
        ('insert or replace into mixed(id, u, v) values (?, ?, ?)', (r.randrange(40), v(), v())),
        ('insert or ignore into mixed(u, w) values (?, ?)', (v(), v())),
        ('insert into mixed(u, v) values (?, ?) on conflict do update set v = excluded.v', (v(), v())),
        ('update or replace mixed set u = ? where id = ?', (v(), r.randrange(40))),
        ('update or replace mixed set id = ? where id = ?', (r.randrange(40), r.randrange(40))),
        ('delete from mixed where id = ?', (r.randrange(40),)),
        ('insert into bag(x, y) values (?, ?)', (v(), v())),
        ('update bag set y = ? where x is ?', (v(), v())),
        ('delete from bag where rowid = (select rowid from bag where x is ? limit 1)', (v(),)),
    ])
    db.execute(sql, args)
while not os.path.exists(stop):
    try:
        transfer() if r.random() < 0.5 else odd()
    except (sqlite3.IntegrityError, sqlite3.OperationalError) as e:
        if isinstance(e, sqlite3.OperationalError) and 'no column' not in str(e) and 'no such column' not in str(e):
            raise
        if db.in_transaction:
            db.execute('rollback')
E2
cat >"$DIR/data/watch.py" <<'E2'
import os, sqlite3, sys, time
path, stop, seen = sys.argv[1], sys.argv[2], 0
while not os.path.exists(stop):
    try:
        db = sqlite3.connect(f'file:{path}?mode=ro', uri=True, timeout=60)
        while not os.path.exists(stop):
            total = db.execute('select (select sum(v) from debit) + (select sum(v) from credit)').fetchone()[0]
            if total is not None and total != 200000:
                sys.exit(f'a torn transaction at the sink: the total is {total}')
            seen += total is not None
            time.sleep(0.001)
    except sqlite3.OperationalError:
        time.sleep(0.05)
print(seen)
E2
stop=$DIR/data/stop
towline_start producer producer -c "$DIR/conf.yaml"
towline_start sink consumer file -c "$DIR/conf.yaml"
wait_for 40 "sqlite3 -readonly $dst 'select count(*) from debit' | grep -q '^100$'"
python3 "$DIR/data/watch.py" "$dst" "$stop" >"$DIR/watch.log" 2>&1 &
watcher=$!
seed=$RANDOM clients=()
say "seed $seed"
client() {
	python3 "$DIR/data/client.py" "$src" "$1" "$stop" >>"$DIR/client.log" 2>&1 &
	clients+=($!)
}
# A client that was killed while it wrote may leave the index of the WAL to be mended: who reads meanwhile waits for that.
written() { sqlite3 -cmd '.timeout 60000' "$src" "select seq from sqlite_sequence where name = 'towline_log'"; }
grown() { (($(written) > $1)); }
for i in 1 2 3; do client $((seed + i)); done
for round in 1 2 3 4 5 6; do
	at=$(written)
	wait_for 40 "grown $((at + 800))"
	kill -KILL "${clients[round % 3]}"
	wait "${clients[round % 3]}" 2>/dev/null || true
	python3 "$DIR/data/client.py" "$src" $((seed + 10 * round)) "$stop" >>"$DIR/client.log" 2>&1 &
	clients[round % 3]=$!
	case $round in
	1) towline_kill producer KILL ;;
	2) sqlite3 -cmd '.timeout 60000' "$src" "alter table mixed add column late$round numeric default 'x'; alter table debit add column note text" ;;
	3) towline_kill sink KILL && towline_start sink consumer file -c "$DIR/conf.yaml" ;;
	4) sqlite3 -cmd '.timeout 60000' "$src" "alter table mixed rename column v to vv; create unique index bag_x on bag(x) where y = 1" || true ;;
	5) towline_kill producer KILL ;;
	6) sqlite3 -cmd '.timeout 60000' "$src" "begin; create table n(x, y, z); insert into n select x, y, rowid from bag; drop table bag; alter table n rename to bag; commit" ;;
	esac
	towline_alive producer || towline_start producer producer -c "$DIR/conf.yaml"
done
at=$(written)
wait_for 40 "grown $((at + 500))"
touch "$stop"
for pid in "${clients[@]}"; do wait "$pid" || { cat "$DIR/client.log"; flunk 'a client failed'; }; done
wait $watcher || flunk "$(cat "$DIR/watch.log")"

# A sink learns of a shape by a row of it: each table gets one, once the producer has seen the last change of the schema.
wait_for 40 "grep -q 'table=bag event=copied' $DIR/producer.log"
sqlite3 -cmd '.timeout 60000' "$src" "insert into mixed(id) values (-1); insert into bag(x) values ('last'); update debit set v = v"

rows() { # FILE TABLE COLUMNS
	local c
	c=$(printf 'quote(%s)' "${3// /)||quote(}")
	sqlite3 -readonly -cmd '.timeout 60000' "$1" "select $c from $2" | sort
}
same() { diff <(rows "$src" "$1" "$2") <(rows "$dst" "$1" "$2"); }
wait_for 60 "same debit 'id v note' && same credit 'id v' && same mixed 'id u vv w late2' && same bag 'x y z'"
refute grep -h 'level=error' "$DIR/producer.log" "$DIR/sink.log"
say "equal after $(written) changes; $(cat "$DIR/watch.log") states of the sink, none torn"
