#!/usr/bin/env python3
"""events.py BROKERS REGISTRY TOPIC: a topic's records, a line each: partition, timestamp, key, value as JSON, headers but `tl`.

Decoded by the specification of Avro alone, with the schemas of the registry; REGISTRY '-': as text. read_committed."""
import json
import struct
import subprocess
import sys
import urllib.request

brokers, registry, topic = sys.argv[1:4]
schemas = {}


class Body:
    def __init__(self, data, names):
        self.data, self.at, self.names = data, 0, names

    def take(self, n):
        assert self.at + n <= len(self.data), "short"
        self.at += n
        return self.data[self.at - n:self.at]

    def long(self):
        shift = u = 0
        while True:
            b = self.take(1)[0]
            u |= (b & 127) << shift
            shift += 7
            if b < 128:
                return u >> 1 ^ -(u & 1)

    def value(self, s, ns=""):
        if isinstance(s, list):
            return self.value(s[self.long()], ns)
        if isinstance(s, dict) and s["type"] == "record":
            ns = s.get("namespace", ns)
            return {f["name"]: self.value(f["type"], ns) for f in s["fields"]}
        if isinstance(s, dict) and s["type"] == "array":
            out = []
            while n := self.long():
                assert n > 0
                out += [self.value(s["items"], ns) for _ in range(n)]
            return out
        if isinstance(s, dict):
            s = s["type"]
        if s == "null":
            return None
        if s == "boolean":
            return self.take(1) == b"\1"
        if s in ("int", "long"):
            return self.long()
        if s == "double":
            return struct.unpack("<d", self.take(8))[0]
        if s in ("string", "bytes"):
            text = self.take(self.long())
            return text.decode() if s == "string" else text.hex()
        raise ValueError(f"schema {s}")


def decode(message):
    if message is None or registry == "-":
        return None if message is None else message.decode()
    magic, number = struct.unpack(">bI", message[:5])
    assert magic == 0, message[:5]
    if number not in schemas:
        with urllib.request.urlopen(f"{registry}/schemas/ids/{number}") as answer:
            schemas[number] = json.loads(json.load(answer)["schema"])
    body = Body(message[5:], {})
    value = body.value(schemas[number])
    assert body.at == len(body.data), "bytes behind the record"
    return value


kcat = ["kcat", "-b", brokers, "-C", "-t", topic, "-X", "isolation.level=read_committed", "-e", "-q", "-f", "%p %T %K %S %h\\n%k%s"]
out = subprocess.run(kcat, check=True, stdout=subprocess.PIPE).stdout
at = 0
while at < len(out):
    end = out.index(b"\n", at)
    partition, stamp, nkey, nvalue, headers = out[at:end].decode("utf-8", "replace").split(" ", 4)
    at = end + 1
    both = []
    for n in int(nkey), int(nvalue):
        both.append(None if n < 0 else out[at:at + n])
        at += max(n, 0)
    key, value = decode(both[0]), decode(both[1])
    print(partition, stamp, key, json.dumps(value, sort_keys=True) if registry != "-" else value, headers)
