"""proxy.py CONTROL LISTEN:TARGET...: a TCP proxy on 127.0.0.1 that breaks what it carries.

CONTROL is a file that is read again when it changes; its last line is the fault for all connections, old and new:

    pass            carry everything
    delay MS        each chunk so much later, both ways
    throttle BYTES  at most so many bytes a second, each way
    stall           read nothing, but the kernel goes on to acknowledge: a peer that hangs
    drop            packets are lost, both ways, acknowledgements too: a cable that was pulled. On the next other fault the
                    connections of that time are reset: who comes back knows them no more (half-open)
    dropback        as drop, but the same connections go on: a net that comes back
    lose            the connections there are go on as under drop, for good; new ones are carried
    reset           every connection gets a RST, again and again
    refuse          reset, and no new connection is taken

A pulled cable in user space: a socket filter that accepts no byte. The kernel drops such segments before it looks at them, SYNs to the
listening socket too, so nothing is acknowledged and no keepalive answered.
"""
import ctypes
import os
import selectors
import socket
import struct
import sys
import time

ATTACH, DETACH = 26, 27
CHUNK, HELD = 65536, 1 << 20


def deaf(sock, yes):
    if yes:
        program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # return 0: not one byte
        sock.setsockopt(socket.SOL_SOCKET, ATTACH, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))
    else:
        try:
            sock.setsockopt(socket.SOL_SOCKET, DETACH, 0)
        except OSError:
            pass


def slam(sock):
    deaf(sock, False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Way:
    """One direction: chunks, and when each may leave."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink
        self.queue, self.size, self.ended, self.shut = [], 0, False, False
        self.next = 0.0  # when the next byte may leave, throttled

    def take(self, fault, now):
        try:
            data = self.source.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data:
            self.ended = True
            return True
        at = now
        if fault[0] == "delay":
            at = now + int(fault[1]) / 1000
        self.queue.append((at, data))
        self.size += len(data)
        return True

    def give(self, fault, now):
        while self.queue and self.queue[0][0] <= now:
            at, data = self.queue[0]
            part = data
            if fault[0] == "throttle":
                if now < self.next:
                    return True
                part = data[:max(1, int(fault[1]) // 20)]
            try:
                n = self.sink.send(part)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            self.size -= n
            if fault[0] == "throttle":
                self.next = now + n / int(fault[1])
            if n < len(data):
                self.queue[0] = (at, data[n:])
            else:
                self.queue.pop(0)
        if self.ended and not self.queue and not self.shut:
            self.shut = True
            try:
                self.sink.shutdown(socket.SHUT_WR)
            except OSError:
                return False
        return True


class Pair:
    def __init__(self, client, target):
        self.client, self.server = client, socket.socket()
        self.server.setblocking(False)
        self.server.connect_ex(("127.0.0.1", target))
        for s in (self.client, self.server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lost = False
        self.ways = [Way(self.client, self.server), Way(self.server, self.client)]

    def work(self, fault, now):
        """False: it is over."""
        for way in self.ways:
            if not way.give(fault, now):
                return False
            if not way.ended and way.size < HELD and not way.take(fault, now):
                return False
            if not way.give(fault, now):
                return False
        return not all(way.shut for way in self.ways)

    def wants(self, selector, fault):
        for s in (self.client, self.server):
            events = 0
            for way in self.ways:
                if way.source is s and not way.ended and way.size < HELD:
                    events |= selectors.EVENT_READ
                if way.sink is s and way.queue and fault[0] == "pass":
                    events |= selectors.EVENT_WRITE
            if events:
                selector.register(s, events)


class Proxy:
    def __init__(self, control, routes):
        self.control, self.stamp, self.fault = control, None, ["pass"]
        self.pairs, self.listeners = set(), {}
        for listen, target in routes:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", listen))
            s.listen(64)
            s.setblocking(False)
            self.listeners[s] = target

    def end(self, pair):
        slam(pair.client)
        slam(pair.server)
        self.pairs.discard(pair)

    def look(self):
        try:
            stat = os.stat(self.control)
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self.stamp:
                return
            with open(self.control) as f:
                line = f.read().split("\n")[-2]
        except (OSError, IndexError):
            return
        self.stamp = stamp
        old, self.fault = self.fault, line.split()
        kind = self.fault[0]
        lost = kind in ("drop", "dropback")
        if old[0] == "drop" and kind != "drop":
            for pair in list(self.pairs):
                self.end(pair)
        for s in self.listeners:
            deaf(s, lost or kind == "refuse")
        for pair in self.pairs:
            pair.lost = pair.lost or kind == "lose"
            for s in (pair.client, pair.server):
                deaf(s, lost or pair.lost)
        print(f"{time.time():.3f} {line}, {len(self.pairs)} connections", flush=True)

    def accept(self):
        for listener, target in self.listeners.items():
            try:
                client, _ = listener.accept()
            except OSError:
                continue
            client.setblocking(False)
            self.pairs.add(Pair(client, target))

    def run(self):
        while True:
            self.look()
            kind = self.fault[0]
            if kind in ("drop", "dropback", "stall"):
                time.sleep(0.02)
                continue
            self.accept()
            if kind in ("reset", "refuse"):
                for pair in list(self.pairs):
                    self.end(pair)
                time.sleep(0.02)
                continue
            now = time.monotonic()
            live = [pair for pair in self.pairs if not pair.lost]
            for pair in live:
                if not pair.work(self.fault, now):
                    self.end(pair)
            with selectors.DefaultSelector() as selector:
                for listener in self.listeners:
                    selector.register(listener, selectors.EVENT_READ)
                for pair in self.pairs:
                    if pair.lost:
                        continue
                    pair.wants(selector, self.fault)
                selector.select(0.002 if kind in ("delay", "throttle") else 0.02)


Proxy(sys.argv[1], [tuple(map(int, a.split(":"))) for a in sys.argv[2:]]).run()
