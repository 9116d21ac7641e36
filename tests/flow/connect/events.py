#!/usr/bin/env python3
"""events.py BROKERS REGISTRY OURS THEIRS [json]: events of an outbox in the topics that begin with OURS and with THEIRS, compared by the header id.

A line for each difference: the event, what of it, ours, theirs. Topic (behind the prefix), partition, timestamp, key, value and headers; keys and
values that Avro frames are decoded by Apache's library, and their schemas compared; json: values are JSON documents. REGISTRY -: as bytes."""
import io
import json
import struct
import subprocess
import sys
import urllib.request

brokers, registry, ours, theirs = sys.argv[1:5]
as_json = sys.argv[5:] == ["json"]
if registry != "-":
    import avro.io
    import avro.schema
schemas = {}


def kcat(*args):
    return subprocess.run(["kcat", "-b", brokers, *args], check=True, stdout=subprocess.PIPE).stdout


def schema(number):
    if number not in schemas:
        with urllib.request.urlopen(f"{registry}/schemas/ids/{number}") as answer:
            text = json.load(answer)["schema"]
        # Its prefix is ours and a d (connect.sh).
        name = ours.split(".")[0]
        text = text.replace(name + "d.", name + ".")
        schemas[number] = (json.loads(text), avro.io.DatumReader(avro.schema.parse(text)))
    return schemas[number]


def decode(message):
    """Schema and datum."""
    if message is None:
        return None, None
    if registry == "-":
        return None, message.decode()
    magic, number = struct.unpack(">bI", message[:5])
    assert magic == 0, message[:5]
    body = io.BytesIO(message[5:])
    value = schema(number)[1].read(avro.io.BinaryDecoder(body))
    assert not body.read(), "bytes behind the record"
    return schema(number)[0], value


def records(topic):
    """kcat's lengths and bytes; its JSON for the headers, which may have any sign in them."""
    read = ["-C", "-t", topic, "-X", "isolation.level=read_committed", "-e", "-q"]
    headers = {}
    for line in kcat(*read, "-J").decode("utf-8", "surrogateescape").splitlines():
        m = json.loads(line)
        h = m.get("headers", [])
        headers[m["partition"], m["offset"]] = list(zip(h[::2], h[1::2]))
    out = kcat(*read, "-f", "%p %o %T %K %S\\n%k%s")
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        partition, offset, stamp, *sizes = map(int, out[at:end].split())
        at = end + 1
        both = []
        for n in sizes:
            both.append(None if n < 0 else out[at:at + n])
            at += max(n, 0)
        yield partition, stamp, both, headers[partition, offset]


def events(prefix):
    found = {}
    names = {t["topic"] for t in json.loads(kcat("-L", "-J"))["topics"]}
    for topic in sorted(n for n in names if n.startswith(prefix)):
        for partition, stamp, (key, value), headers in records(topic):
            # Debezium's own of the connector are about the connector.
            headers = [(n, v) for n, v in headers if n != "tl" and not n.startswith("__debezium.context.")]
            number = dict(headers)["id"]
            assert number not in found, f"event {number} twice"
            key_schema, key = decode(key)
            value_schema, value = decode(value)
            if as_json and value is not None:
                value = json.loads(value)
            # Without a key any partition will do.
            found[number] = {"topic": topic[len(prefix):], "partition": "any" if key is None else partition, "timestamp": stamp, "key": key, "value": value,
                             "schema of the key": key_schema, "schema of the value": value_schema}
            found[number].update(("header " + n, v) for n, v in headers)
            found[number]["headers"] = " ".join(n for n, v in headers)
    return found


def show(v):
    return "absent" if v is ... else json.dumps(v, sort_keys=True, default=repr)


def compare(path, x, y):
    """A line for each place where they differ."""
    if isinstance(x, dict) and isinstance(y, dict):
        for k in sorted(x.keys() | y.keys()):
            compare(f"{path}.{k}", x.get(k, ...), y.get(k, ...))
    elif isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
        for i, (left, right) in enumerate(zip(x, y)):
            compare(f"{path}[{i}]", left, right)
    elif x != y or type(x) is not type(y):
        print(path + ":", "ours", show(x), "theirs", show(y))


a, b = events(ours), events(theirs)
for number in sorted(a.keys() | b.keys(), key=lambda n: (len(n), n)):
    x, y = a.get(number), b.get(number)
    if x is None or y is None:
        print(number, "only theirs" if x is None else "only ours")
        continue
    for part in sorted(x.keys() | y.keys()):
        compare(f"{number} {part}", x.get(part, ...), y.get(part, ...))
print(len(a), "of ours", len(b), "of theirs")
