#!/usr/bin/env python3
"""rows.py BROKERS REGISTRY TOPIC: the table that a topic makes, read by Apache's own Avro library with the schemas of the registry.

A line for each row that is left, its columns with | between them. kcat fetches, as librdkafka's Python client would."""
import io
import json
import struct
import subprocess
import sys
import urllib.request

import avro.io, avro.schema

brokers, registry, topic = sys.argv[1:4]
readers = {}


def decode(message):
    if message is None:
        return None
    magic, number = struct.unpack(">bI", message[:5])
    assert magic == 0, message[:5]
    if number not in readers:
        with urllib.request.urlopen(f"{registry}/schemas/ids/{number}") as answer:
            readers[number] = avro.io.DatumReader(avro.schema.parse(json.load(answer)["schema"]))
    body = io.BytesIO(message[5:])
    value = readers[number].read(avro.io.BinaryDecoder(body))
    assert not body.read(), "bytes behind the record"
    return value


def messages():
    """kcat's lengths, then the bytes themselves."""
    kcat = ["kcat", "-b", brokers, "-C", "-t", topic, "-e", "-q", "-f", "%K %S\\n%k%s"]
    out = subprocess.run(kcat, check=True, stdout=subprocess.PIPE).stdout
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        sizes = [int(n) for n in out[at:end].split()]
        at = end + 1
        both = []
        for n in sizes:
            both.append(None if n < 0 else out[at:at + n])
            at += max(n, 0)
        yield both


def text(v):
    if v is None:
        return ""
    if isinstance(v, bool):
        return "t" if v else "f"
    if isinstance(v, float):
        return f"{v:.17g}"
    if isinstance(v, bytes):
        return "\\x" + v.hex()
    return str(ordered(v))


def ordered(v):
    """A map of Java's has no order of its own."""
    if isinstance(v, dict):
        return {k: ordered(v[k]) for k in sorted(v)}
    if isinstance(v, list):
        items = [ordered(x) for x in v]
        return sorted(items, key=str) if items and isinstance(items[0], dict) and sorted(items[0]) == ["key", "value"] else items
    return v


rows = {}
for key, value in messages():
    key, value = decode(key), decode(value)
    name = json.dumps(key, sort_keys=True, default=str)
    if value is None:
        assert name not in rows, "a tombstone before its delete"
    elif value["op"] == "d":
        assert all(value["before"][k] == v for k, v in key.items()), (key, value)
        rows.pop(name)
    else:
        assert value["op"] in "cru" and value["source"]["connector"] == "postgresql" and value["transaction"] is None, value
        assert value["op"] != "u" or name in rows, name
        rows[name] = value["after"]
for line in sorted("|".join(text(v) for v in row.values()) for row in rows.values()):
    print(line)
