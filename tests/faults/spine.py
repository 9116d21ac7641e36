"""spine.py TRANSACTIONS < records: the spine's rules by another hand than the program's.

Standard input: records as kcat -f '%S\\n%s' writes them. Exit 1 when accepted groups leave a hole, go twice, or hold more or fewer
transactions than the source has committed; else one line that counts.
"""
import sys

GROUP, OPEN, BEAT = 0, 1, 2
CONTINUES, MORE = 1, 2


def records(data):
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        n = int(data[at:end])
        yield data[end + 1:end + 1 + n]
        at = end + 1 + n


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 10  # behind the single-object frame

    def long(self):
        shift = value = 0
        while True:
            b = self.data[self.at]
            self.at += 1
            value |= (b & 127) << shift
            shift += 7
            if b < 128:
                return (value >> 1) ^ -(value & 1)

    def bytes(self):
        n = self.long()
        self.at += n
        return self.data[self.at - n:self.at]


FIELDS = "kind gen token no seq_from seq_to flags lsn watermark first_us commit_us at_us system_id timeline".split()


def parse(data):
    c = Cursor(data)
    r = {f: c.long() for f in FIELDS}
    r["node"], r["prev_gen"], r["reason"], r["parts"] = c.bytes(), c.long(), c.bytes(), []
    for _ in range(c.long()):
        r["parts"].append((c.bytes(), c.long(), c.long(), c.long(), c.long()))
    return r


def main():
    gen = token = no = seq = watermark = lsn = 0
    partial = False
    opens = groups = fenced = rows = undone = 0
    reach = {}  # topic-partition -> last offset of an accepted group, and its generation

    for i, r in enumerate(map(parse, records(sys.stdin.buffer.read()))):
        if r["kind"] == OPEN:
            if r["prev_gen"] != gen or r["gen"] != gen + 1:
                fenced += 1
                continue
            undone += partial
            gen, token, partial, opens = r["gen"], r["token"], False, opens + 1
            continue
        if r["gen"] != gen or r["token"] != token:
            fenced += 1
            continue
        if r["kind"] == BEAT:
            continue
        if r["no"] <= no:
            sys.exit(print(f"record {i}: group {r['no']} comes again under its own generation") or 1)
        if r["no"] != no + 1 or r["seq_from"] != seq + 1 or bool(r["flags"] & CONTINUES) != partial:
            sys.exit(print(f"record {i}: group {r['no']}, transactions {r['seq_from']} on, follows group {no}, transaction {seq}") or 1)
        if r["lsn"] < lsn or r["watermark"] < watermark:
            sys.exit(print(f"record {i}: group {r['no']} goes back in the source's log") or 1)
        for topic, part, first, last, count in r["parts"]:
            if first <= reach.get((topic, part), -1):
                sys.exit(print(f"record {i}: group {r['no']} takes rows of {topic.decode()} [{part}] that an older group has") or 1)
            reach[topic, part] = last
            rows += count
        partial = bool(r["flags"] & MORE)
        no, seq, lsn, watermark, groups = r["no"], r["seq_to"] - partial, r["lsn"], r["watermark"], groups + 1
    want = int(sys.argv[1])
    if seq != want or partial:
        sys.exit(print(f"{seq} transactions are in the spine, {want} at the source") or 1)
    print(f"{seq} transactions in {groups} groups, {rows} records, {opens} generations, {fenced} fenced records, {undone} undone transactions")


main()
