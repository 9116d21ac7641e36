#!/usr/bin/env python3
"""sqlite_source.py [--rows N] [--rounds R]: what a SQLite database pays for being a source, and how fast its log is drained.

Write cost: the same statements, by the sqlite3 shell, on a database as it is and on one where `towline source install` was, in turn, WAL and
synchronous=NORMAL: N inserts in transactions of 1,000 rows, N/5 updates by key in transactions of 1,000, N/50 inserts of one row a transaction;
for a table with its key alone, and for one with another unique index (by which a REPLACE may delete). Rows a second, CPU of the shell.
Source: the log of the N inserts, `towline producer`: SQLite -> Kafka. Latency: one row each few ms, commit -> visible in another SQLite file.
Ratios and CPU count; absolute times of a shared machine do not."""
import argparse, os, shutil, signal, sqlite3, statistics, subprocess as sp, tempfile, time
from pipeline import ROOT, port, stat, wait

TABLES = {
    'key': 'create table bench(id integer primary key, k integer, v text, n real, ts text)',
    'key+unique': 'create table bench(id integer primary key, k integer, v text, n real, ts text, u text unique)',
}
GEN = "with recursive g(i) as (select {a} union all select i + 1 from g where i < {b}) "


def script(kind, load, n):
    extra = ", 'u' || i" if kind == 'key+unique' else ''
    out = ['.timeout 60000', 'pragma synchronous = normal;']
    if load == 'insert':
        for a in range(1, n + 1, 1000):
            out.append('begin; insert into bench ' + GEN.format(a=a, b=min(a + 999, n)) +
                       f"select i, i * 7919 % 100000, hex(i * 7919) || '{'x' * 88}', i * 0.25, '2026-01-01 00:00:00'{extra} from g; commit;")
    elif load == 'update':
        for a in range(1, n // 5 + 1, 1000):
            out.append(f'begin; update bench set k = k + 1, n = n * 2 where id between {a} and {min(a + 999, n // 5)}; commit;')
    else:
        out += [f"insert into bench(id, k, v) values ({10 * n + i}, {i}, '{'y' * 88}');" for i in range(n // 50)]
    return '\n'.join(out) + '\n'


def shell(db, text):
    """Seconds and CPU seconds of the sqlite3 shell."""
    before, at = os.times(), time.time()
    sp.run(['sqlite3', '-bail', db], input=text, text=True, check=True, stdout=sp.DEVNULL)
    after = os.times()
    return time.time() - at, after.children_user + after.children_system - before.children_user - before.children_system


class Bench:
    def __init__(self, args):
        self.args, self.procs = args, []
        self.base = tempfile.mkdtemp(prefix='bench.')
        self.kafka = None

    def db(self, kind, name, captured):
        path = f'{self.base}/{name}.db'
        for f in (path, path + '-wal', path + '-shm'):
            if os.path.exists(f):
                os.unlink(f)
        sp.run(['sqlite3', path, 'pragma journal_mode = wal; ' + TABLES[kind]], check=True, stdout=sp.DEVNULL)
        if captured:
            sp.run([self.args.towline, 'source', 'install', path], check=True, stdout=sp.DEVNULL)
        return path

    def cost(self, kind):
        n = self.args.rows
        counts = {'insert': n, 'update': n // 5, 'single': n // 50}
        seen = {load: {False: [], True: []} for load in counts}
        for turn in range(self.args.rounds):
            for captured in (False, True) if turn % 2 else (True, False):
                db = self.db(kind, 'cost', captured)
                for load in counts:
                    seen[load][captured].append(shell(db, script(kind, load, n)))
        for load, count in counts.items():
            mid = {c: [statistics.median(x[i] for x in seen[load][c]) for i in (0, 1)] for c in (False, True)}
            us = {c: mid[c][1] / count * 1e6 for c in mid}
            print(f'{kind:11} {load:7} plain {count / mid[False][0]:9,.0f} rows/s {us[False]:6.2f} CPU-us a row   captured '
                  f'{count / mid[True][0]:9,.0f} rows/s {us[True]:6.2f} CPU-us a row   CPU x {us[True] / us[False]:.2f}', flush=True)

    def conf(self, name, db):
        path = f'{self.base}/{name}.yaml'
        with open(path, 'w') as f:
            f.write(f'name: {name}\nsource: sqlite:{db}\nkafka: 127.0.0.1:{self.kport}\nsinks: {{ copy: "sqlite:{self.base}/{name}-copy.db" }}\n')
        return path

    def run(self, *args):
        p = sp.Popen([self.args.towline, *args], stderr=open(f'{self.base}/log', 'a'), stdout=sp.DEVNULL)
        self.procs.append(p)
        return p

    def end(self, p):
        p.send_signal(signal.SIGTERM)
        p.wait(60)

    def confirmed(self, db):
        with sqlite3.connect(f'file:{db}?mode=ro', uri=True, timeout=60) as c:
            row = c.execute("select confirmed, (select seq from sqlite_sequence where name = 'towline_log') from towline_slot").fetchone()
        return row is not None and row[0] >= row[1]

    def drain(self):
        n = self.args.rows
        for load in ('log', 'copy'):
            name = f'drain{load}'
            db = self.db('key', name, True)
            conf = self.conf(name, db)
            if load == 'log':  # the slot first, so that the rows come through the log
                p = self.run('producer', '-c', conf)
                wait('slot', lambda: self.confirmed(db))
                self.end(p)
            shell(db, script('key', 'insert', n))
            at = time.time()
            p = self.run('producer', '-c', conf)
            wait('drained', lambda: self.confirmed(db), every=0.1)
            took, (cpu, rss) = time.time() - at, stat(p.pid)
            self.end(p)
            print(f'producer    {load:7} {n / took:9,.0f} rows/s  {cpu / n * 1e6:5.2f} CPU-s a million rows  {rss:.0f} MB', flush=True)

    def latency(self):
        db = self.db('key', 'latency', True)
        p = self.run('run', '-c', self.conf('latency', db))
        copy = f'{self.base}/latency-copy.db'
        src = sqlite3.connect(db, timeout=60, isolation_level=None)
        src.execute("insert into bench(id) values (0)")
        wait('first row', lambda: os.path.exists(copy) and 'bench' in sp.run(['sqlite3', copy, '.tables'], capture_output=True, text=True).stdout)
        dst = sqlite3.connect(copy, timeout=60, isolation_level=None)
        ms = []
        for i in range(1, 500):
            src.execute('insert into bench(id, v) values (?, ?)', (i, 'x' * 90))
            at = time.time()
            while not dst.execute('select 1 from bench where id = ?', (i,)).fetchone():
                time.sleep(0.0002)
            ms.append((time.time() - at) * 1000)
        self.end(p)
        q = statistics.quantiles(ms, n=100)
        print(f'latency     p50 {q[49]:.1f} ms  p90 {q[89]:.1f} ms  p99 {q[98]:.1f} ms, one row at a time', flush=True)

    def all(self):
        for kind in TABLES:
            self.cost(kind)
        self.kport = port()
        self.kafka = dict(os.environ, TOWLINE_KAFKA_RUN=f'{self.base}/kafka', KAFKA_PORT=str(self.kport), KAFKA_CTRL_PORT=str(port()))
        sp.run([f'{ROOT}/deploy/kafka/kafka', 'start'], check=True, env=self.kafka, stdout=sp.DEVNULL)
        self.drain()
        self.latency()

    def close(self):
        for p in self.procs:
            if p.poll() is None:
                p.kill()
                p.wait()
        if self.kafka:
            sp.run([f'{ROOT}/deploy/kafka/kafka', 'reset'], env=self.kafka, stdout=sp.DEVNULL)
        shutil.rmtree(self.base, ignore_errors=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--rows', type=int, default=500000)
    a.add_argument('--rounds', type=int, default=3)
    a.add_argument('--towline', default=f'{ROOT}/build/release/towline')
    b = Bench(a.parse_args())
    try:
        b.all()
    finally:
        b.close()


if __name__ == '__main__':
    main()
