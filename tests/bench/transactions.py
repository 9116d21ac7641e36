#!/usr/bin/env python3
"""transactions.py [--rows N] [--seconds S]: what kafka.transactions: on costs, against off, in one run on the same backlog.

Two pipelines read one source. Throughput: N inserts in transactions of 1,000 rows, then N/10 single-row updates, drained by the producer of each
mode, five times, the modes in turn. Latency: 500 single-row transactions a second, commit -> visible in the sink, the same. At the end medians of all
rounds. Servers of its own; look at the ratios, not at the times of a shared machine."""
import argparse, signal, statistics, subprocess as sp, sys
from pipeline import Bench, ROOT, wait

MODES = ('off', 'on')


class Transactions(Bench):
    def start(self):
        super().start()
        self.modes = {}
        for m in MODES:
            self.dst.sql(f'create database sink_{m}')
            url = f'postgresql://postgres@127.0.0.1:{self.dst.port}/sink_{m}'
            self.psql(url, 'create table bench(id bigint primary key, k int, v text, n numeric(12,2), ts timestamptz)',
                      'create table lat(id bigint primary key, at timestamptz, applied timestamptz default clock_timestamp())')
            conf = f'{self.base}/{m}.yaml'
            with open(conf, 'w') as f:
                f.write(f'name: {m}\nsource: {self.src.url}\nkafka:\n  brokers: 127.0.0.1:{self.kport}\n  transactions: {m}\nsinks:\n  copy: {url}\n')
            self.modes[m] = (conf, url)

    def ready(self, m):
        return self.src.sql(f"select coalesce((select active from pg_replication_slots where slot_name = 'towline_{m}'), false)") == 't'

    def prepare(self):
        for m in MODES:
            p = self.run(self.towline, 'producer', '-c', self.modes[m][0])
            wait('slot', lambda: self.ready(m))
            self.end(p)

    def throughput(self, load, rows, turn):
        speed = {}
        for m in MODES if turn % 2 else MODES[::-1]:
            sent = lambda: self.src.sql(f"select confirmed_flush_lsn >= '{self.end_lsn}'::pg_lsn - 2000 from pg_replication_slots where slot_name = 'towline_{m}'") == 't'
            speed[m] = self.leg(m, load, rows, lambda: self.run(self.towline, 'producer', '-c', self.modes[m][0]), self.src, sent)['rows_per_s']
        self.speeds.setdefault(load, []).append(speed)

    def latency(self):
        script = f'{self.base}/lat.sql'
        open(script, 'w').write('insert into lat default values;\n')
        for turn in range(self.args.rounds):
            for m in MODES if turn % 2 else MODES[::-1]:
                conf, url = self.modes[m]
                p = self.run(self.towline, 'run', '-c', conf, '--set', 'log.level=warn')
                wait('ready', lambda: self.ready(m))
                last = self.src.sql('insert into lat default values returning id')
                wait('caught up', lambda: self.psql(url, f'select exists(select from lat where id = {last})') == 't')
                sp.run([f'{self.src.bin}/pgbench', '-n', '-f', script, '-R', '500', '-T', str(self.args.seconds), '-c', '4', self.src.url],
                       check=True, stdout=sp.DEVNULL, stderr=sp.DEVNULL)
                to = self.src.sql('select max(id) from lat')
                wait('last row', lambda: self.psql(url, f'select exists(select from lat where id = {to})') == 't')
                ms = self.psql(url, 'select percentile_cont(array[0.5, 0.9, 0.99]) within group '
                               f'(order by extract(epoch from applied - at) * 1000) from lat where id > {last}')
                p50, p90, p99 = (float(x) for x in ms.strip('{}').split(','))
                self.waits.setdefault(m, []).append((p50, p90, p99))
                print(f'latency    {m:4} p50 {p50:.1f} ms  p90 {p90:.1f} ms  p99 {p99:.1f} ms', flush=True)
                self.end(p)

    def all(self):
        self.speeds, self.waits = {}, {}
        self.start()
        self.prepare()
        for turn in range(self.args.rounds):
            self.src.sql('truncate bench')
            for load, n in (('w1', self.args.rows), ('w2', self.args.rows // 10)):
                self.load(load, n)
                self.throughput(load, n, turn)
        self.latency()
        for load, speeds in self.speeds.items():
            mid = {m: statistics.median(s[m] for s in speeds) for m in MODES}
            ratio = statistics.median(s['on'] / s['off'] for s in speeds)
            print(f"median     {load}  off {mid['off']:,.0f} rows/s  on {mid['on']:,.0f} rows/s  on / off {ratio:.2f}")
        for m, waits in self.waits.items():
            p = [statistics.median(w[i] for w in waits) for i in range(3)]
            print(f'median     {m:4} p50 {p[0]:.1f} ms  p90 {p[1]:.1f} ms  p99 {p[2]:.1f} ms')


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--rows', type=int, default=300000)
    ap.add_argument('--rounds', type=int, default=5)
    ap.add_argument('--seconds', type=int, default=8, help='of each latency measurement')
    ap.add_argument('--towline', default=f'{ROOT}/build/release/towline')
    ap.add_argument('--json', action='store_true')
    b = Transactions(ap.parse_args())
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
    try:
        b.all()
    finally:
        b.stop()


main()
