#!/usr/bin/env python3
"""pipeline.py [--rows N] [--legs LIST] [--json]: the pipeline against its limits and PostgreSQL's own replication, in one run.

Legs, each on the same backlog, drained from the start:
  recv      pg_recvlogical -P pgoutput to /dev/null: what the source can give
  producer  towline producer: source -> Kafka
  consumer  towline consumer: Kafka -> PostgreSQL
  sqlite    towline consumer: Kafka -> SQLite
  native    PostgreSQL's logical replication: source -> table, no Kafka
  latency   500 single-row transactions a second, commit -> visible: towline and native

w1: N inserts (1,000,000) in transactions of 1,000 rows of some 120 bytes. w2: N/10 single-row updates, a transaction each.
Everything is started here and stopped at the end: two PostgreSQL clusters (fsync on), one Kafka. Absolute times say little on a
shared machine: look at the ratios, at CPU-seconds per million rows, at peak RSS."""
import argparse, json, os, shutil, signal, socket, subprocess as sp, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TICK = os.sysconf('SC_CLK_TCK')
LIMIT = 300

WORK = """
create table bench(id bigint primary key, k int, v text, n numeric(12,2), ts timestamptz);
create table lat(id bigserial primary key, at timestamptz default clock_timestamp());
create publication bench_native for table bench, lat;
create procedure w1(n bigint, per int) language plpgsql as $$
declare a bigint := 1;
begin
  while a <= n loop
    insert into bench select i, (i * 7919 % 100000)::int, repeat(md5(i::text), 3) || 'xxxx', (i % 1000000) / 100.0, clock_timestamp()
      from generate_series(a, least(a + per - 1, n)) i;
    commit;
    a := a + per;
  end loop;
end $$;
create procedure w2(n bigint, rows int) language plpgsql as $$
begin
  for i in 1..n loop
    update bench set k = i, v = repeat(md5(i::text), 3) || 'yyyy', ts = clock_timestamp() where id = 1 + (i::bigint * 7919) % rows;
    commit;
  end loop;
end $$;
"""


def port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def bindir():
    for d in [os.environ.get('PGBIN', '')] + sorted((f'/usr/lib/postgresql/{v}/bin' for v in os.listdir('/usr/lib/postgresql')), reverse=True):
        if os.path.exists(d + '/initdb'):
            return d
    sys.exit('no PostgreSQL server found; apt-get install -y postgresql, or set PGBIN')


def wait(what, cond, limit=LIMIT, every=0.02):
    end = time.time() + limit
    while not cond():
        if time.time() > end:
            sys.exit(f'not within {limit} s: {what}')
        time.sleep(every)


def stat(pid):
    """CPU seconds and peak RSS (MB) of a process."""
    f = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    hwm = next((int(l.split()[1]) for l in open(f'/proc/{pid}/status') if l.startswith('VmHWM')), 0)
    return (int(f[11]) + int(f[12])) / TICK, hwm / 1024


class Pg:
    def __init__(self, base, name):
        self.dir, self.port, self.bin = f'{base}/{name}', port(), bindir()
        self.url = f'postgresql://postgres@127.0.0.1:{self.port}/postgres'
        os.mkdir(self.dir)
        if os.getuid() == 0:
            shutil.chown(self.dir, 'postgres')
        self.run('initdb', '-D', self.dir, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-instructions')
        conf = f"""port={self.port}
listen_addresses='127.0.0.1'
unix_socket_directories=''
wal_level=logical
max_replication_slots=20
max_wal_senders=20
shared_buffers=1GB
max_wal_size=8GB
checkpoint_timeout=30min
"""
        with open(f'{self.dir}/postgresql.conf', 'a') as f:
            f.write(conf)
        self.run('pg_ctl', '-D', self.dir, '-w', '-s', '-l', f'{self.dir}/log', 'start')

    def run(self, tool, *args):
        cmd = [f'{self.bin}/{tool}', *args]
        if os.getuid() == 0:
            cmd = ['runuser', '-u', 'postgres', '--'] + cmd
        sp.run(cmd, check=True, cwd='/', stdout=sp.DEVNULL, stdin=sp.DEVNULL)

    def sql(self, *queries):
        args = [f'{self.bin}/psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', self.url]
        for q in queries:
            args += ['-c', q]
        return sp.run(args, check=True, stdout=sp.PIPE, text=True, env=dict(os.environ, PGOPTIONS='-c client_min_messages=warning')).stdout.strip()

    def cpu(self):
        """Of the whole cluster, ended backends included."""
        pid = int(open(f'{self.dir}/postmaster.pid').readline())
        f = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
        total = sum(map(int, f[11:15])) / TICK
        for p in filter(str.isdigit, os.listdir('/proc')):
            try:
                g = open(f'/proc/{p}/stat').read().rsplit(')', 1)[1].split()
            except OSError:
                continue
            if int(g[1]) == pid:
                total += (int(g[11]) + int(g[12])) / TICK
        return total

    def stop(self):
        self.run('pg_ctl', '-D', self.dir, '-m', 'immediate', '-s', 'stop')


class Bench:
    def __init__(self, args):
        self.args, self.results, self.procs, self.servers = args, [], [], []
        self.base = tempfile.mkdtemp(prefix='bench.')
        os.chmod(self.base, 0o711)
        self.towline = args.towline
        self.kafka = None

    def start(self):
        self.src, self.dst = Pg(self.base, 'src'), Pg(self.base, 'dst')
        self.servers = [self.src, self.dst]
        self.kport = port()
        self.kafka = dict(os.environ, TOWLINE_KAFKA_RUN=f'{self.base}/kafka', KAFKA_PORT=str(self.kport), KAFKA_CTRL_PORT=str(port()))
        sp.run([f'{ROOT}/deploy/kafka/kafka', 'start'], check=True, env=self.kafka, stdout=sp.DEVNULL)
        self.src.sql(WORK)
        self.dst.sql('create table bench(id bigint primary key, k int, v text, n numeric(12,2), ts timestamptz)',
                     'create table lat(id bigint primary key, at timestamptz, applied timestamptz default clock_timestamp())',
                     'create database native')
        self.native = f'postgresql://postgres@127.0.0.1:{self.dst.port}/native'
        self.psql(self.native, 'create table bench(id bigint primary key, k int, v text, n numeric(12,2), ts timestamptz)',
                  'create table lat(id bigint primary key, at timestamptz, applied timestamptz default clock_timestamp())')
        self.conf = f'{self.base}/towline.yaml'
        with open(self.conf, 'w') as f:
            f.write(f'name: bench\nsource: {self.src.url}\nkafka: 127.0.0.1:{self.kport}\nsinks:\n  copy: {self.dst.url}\n  edge: sqlite:{self.base}/edge.db\n')

    def psql(self, url, *queries):
        args = [f'{self.src.bin}/psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', url]
        for q in queries:
            args += ['-c', q]
        return sp.run(args, check=True, stdout=sp.PIPE, text=True).stdout.strip()

    def stop(self):
        for p in self.procs:
            if p.poll() is None:
                p.kill()
        for s in self.servers:
            s.stop()
        if self.kafka:
            sp.run([f'{ROOT}/deploy/kafka/kafka', 'reset'], env=self.kafka, stdout=sp.DEVNULL)
        shutil.rmtree(self.base, ignore_errors=True)

    def run(self, *cmd):
        p = sp.Popen(cmd, stdin=sp.DEVNULL, stdout=sp.DEVNULL, stderr=open(f'{self.base}/log', 'a'))
        self.procs.append(p)
        return p

    def end(self, p):
        p.send_signal(signal.SIGTERM)
        p.wait(30)

    def leg(self, name, load, rows, p, cluster, done):
        """Time, CPU and peak RSS of process p (made by a function, so that its start counts) until done()."""
        pg0, t0 = cluster.cpu(), time.time()
        p = p()
        pid = p.pid if isinstance(p, sp.Popen) else p
        wait(f'{name} {load}', done)
        seconds = time.time() - t0
        cpu, hwm = stat(pid)
        r = dict(leg=name, load=load, rows=rows, seconds=round(seconds, 2), rows_per_s=round(rows / seconds), cpu_per_m=round(cpu / rows * 1e6, 2),
                 postgres_cpu_per_m=round((cluster.cpu() - pg0) / rows * 1e6, 2), rss_mb=round(hwm))
        self.results.append(r)
        print(json.dumps(r) if self.args.json else
              f"{name:10} {load}  {r['rows_per_s']:>9,} rows/s  {r['cpu_per_m']:>6} CPU-s/M  PostgreSQL {r['postgres_cpu_per_m']:>6} CPU-s/M  peak RSS {r['rss_mb']:>4} MB", flush=True)
        if isinstance(p, sp.Popen):
            self.end(p)
        return r

    # ---- the legs ----

    def prepare(self):
        """Slots and pipeline exist before the backlog is written."""
        p = self.run(self.towline, 'producer', '-c', self.conf)
        wait('slot', lambda: self.src.sql("select confirmed_flush_lsn is not null from pg_replication_slots where slot_name = 'towline_bench'") == 't')
        wait('spine', lambda: 'msg=streaming' in open(f'{self.base}/log').read() or 'streaming' in open(f'{self.base}/log').read())
        self.end(p)
        for s in ('native', 'recv'):
            self.src.sql(f"select 1 from pg_create_logical_replication_slot('bench_{s}', 'pgoutput')")

    def load(self, load, n):
        call = f'call w1({n}, 1000)' if load == 'w1' else f'call w2({n}, {min(n, self.args.rows)})'
        self.src.sql('set synchronous_commit = off', call)
        self.src.sql('checkpoint')
        self.end_lsn = self.src.sql('select pg_current_wal_insert_lsn()')

    def drain(self, load, rows):
        legs = self.args.legs.split(',')
        sent = lambda: self.src.sql(f"select confirmed_flush_lsn >= '{self.end_lsn}'::pg_lsn - 2000 from pg_replication_slots where slot_name = 'towline_bench'") == 't'
        if 'recv' in legs:
            t = lambda: self.run(f'{self.src.bin}/pg_recvlogical', '-d', self.src.url, '--slot=bench_recv', '--start', '-o', 'proto_version=1', '-o', 'publication_names=bench_native',
                                 '-o', 'binary=true', '-f', '/dev/null', '-s', '1', '-F', '1')
            self.leg('recv', load, rows, t, self.src,
                     lambda: self.src.sql(f"select confirmed_flush_lsn >= '{self.end_lsn}'::pg_lsn - 2000 from pg_replication_slots where slot_name = 'bench_recv'") == 't')
        self.leg('producer', load, rows, lambda: self.run(self.towline, 'producer', '-c', self.conf), self.src, sent)
        self.seq = int(self.seq) + (rows // 1000 if load == 'w1' else rows)
        self.leg('consumer', load, rows, lambda: self.run(self.towline, 'consumer', '-c', self.conf, 'copy'), self.dst,
                 lambda: self.dst.sql("select coalesce((select seq from towline.marker where name = 'bench'), 0)" if self.dst.sql("select to_regclass('towline.marker') is not null") == 't' else 'select 0') >= '0'
                 and self.marker() >= self.seq)
        if 'sqlite' in legs:
            self.leg('sqlite', load, rows, lambda: self.run(self.towline, 'consumer', '-c', self.conf, 'edge'), self.dst, lambda: self.lite() >= self.seq)
        if 'native' in legs:
            self.leg('native', load, rows, self.subscribe, self.dst, lambda: self.psql(self.native, self.same) == 't')
            self.psql(self.native, 'alter subscription s disable')
            wait('native worker', lambda: self.dst.sql("select count(*) from pg_stat_activity where backend_type = 'logical replication worker'") == '0')

    same = "select 1 = 0"

    def marker(self):
        if self.dst.sql("select to_regclass('towline.marker') is null") == 't':
            return 0
        return int(self.dst.sql("select coalesce(max(seq), 0) from towline.marker where name = 'bench'"))

    def lite(self):
        import sqlite3
        try:
            with sqlite3.connect(f'file:{self.base}/edge.db?mode=ro', uri=True) as c:
                return int(c.execute('select coalesce(max(seq), 0) from towline_marker').fetchone()[0])
        except sqlite3.Error:
            return 0

    def subscribe(self):
        if self.psql(self.native, "select count(*) from pg_subscription where subname = 's'") == '0':
            self.psql(self.native, f"create subscription s connection '{self.src.url}' publication bench_native with (create_slot = false, slot_name = bench_native, copy_data = false, enabled = false, binary = true)")
        self.psql(self.native, 'alter subscription s enable')
        worker = "select pid from pg_stat_activity where backend_type = 'logical replication worker' and datname = 'native' limit 1"
        wait('apply worker', lambda: self.dst.sql(worker) != '')
        return int(self.dst.sql(worker))

    def latency(self):
        script = f'{self.base}/lat.sql'
        open(script, 'w').write('insert into lat default values;\n')
        for who, url in (('towline', self.dst.url), ('native', self.native)):
            p = self.run(self.towline, 'run', '-c', self.conf, '--set', 'log.level=warn') if who == 'towline' else self.subscribe()
            wait('ready', lambda: self.src.sql(f"select active from pg_replication_slots where slot_name = '{'towline_bench' if who == 'towline' else 'bench_native'}'") == 't')
            self.src.sql("insert into lat default values")
            wait('first row', lambda: self.psql(url, 'select count(*) > 0 from lat') == 't')
            first = self.src.sql('select max(id) from lat')
            wait('what came before', lambda: self.psql(url, f'select exists(select from lat where id = {first})') == 't')
            before = int(self.psql(url, 'select max(id) from lat'))
            sp.run([f'{self.src.bin}/pgbench', '-n', '-f', script, '-R', '500', '-T', str(self.args.seconds), '-c', '4', self.src.url], check=True, stdout=sp.DEVNULL, stderr=sp.DEVNULL)
            last = self.src.sql('select max(id) from lat')
            wait('last row', lambda: self.psql(url, f'select exists(select from lat where id = {last})') == 't')
            ms = self.psql(url, f"select percentile_cont(array[0.5, 0.9, 0.99]) within group (order by extract(epoch from applied - at) * 1000) from lat where id > {before}")
            p50, p90, p99 = (round(float(x), 1) for x in ms.strip('{}').split(','))
            r = dict(leg='latency', who=who, p50_ms=p50, p90_ms=p90, p99_ms=p99)
            self.results.append(r)
            print(json.dumps(r) if self.args.json else f'latency    {who:8} p50 {p50} ms  p90 {p90} ms  p99 {p99} ms', flush=True)
            if who == 'towline':
                self.end(p)

    def all(self):
        self.start()
        self.prepare()
        self.seq = 0
        for load, n in (('w1', self.args.rows), ('w2', self.args.rows // 10)):
            self.load(load, n)
            self.same = f"select count(*) = {self.args.rows} from bench" if load == 'w1' else f"select exists(select from bench where k = {n} and id = 1 + ({n}::bigint * 7919) % {n})"
            self.drain(load, n)
        if 'latency' in self.args.legs:
            self.latency()
        a, b = self.src.sql('select count(*), sum(k), sum(n) from bench'), self.dst.sql('select count(*), sum(k), sum(n) from bench')
        if a != b:
            sys.exit(f'source and sink differ: {a} and {b}')


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--rows', type=int, default=1000000)
    ap.add_argument('--seconds', type=int, default=20, help='of the latency leg')
    ap.add_argument('--legs', default='recv,producer,consumer,sqlite,native,latency')
    ap.add_argument('--towline', default=f'{ROOT}/build/release/towline')
    ap.add_argument('--json', action='store_true')
    b = Bench(ap.parse_args())
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
    try:
        b.all()
    except BaseException:
        if os.path.exists(f'{b.base}/log'):
            sys.stderr.write(open(f'{b.base}/log').read()[-3000:])
        raise
    finally:
        b.stop()


if __name__ == '__main__':
    main()
