"""endtxn_proxy.py CONTROL LISTEN:TARGET: carries a client's connections to a broker, on 127.0.0.1, and keeps back requests to end a Kafka transaction.

CONTROL is a file; its last line says what becomes of them:

    pass    they go on, and so does what was kept back, in its order, though its client may be gone
    keep    they, and what comes behind them on the same connection, stay here

Each one that is kept is told on standard output.
"""
import socket
import struct
import sys
import threading
import time

END_TXN = 26


def take(sock, n):
    data = b""
    while len(data) < n:
        part = sock.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def keeps(control):
    with open(control) as f:
        return f.read().split()[-1:] == ["keep"]


def requests(control, client, server):
    try:
        while True:
            head = take(client, 4)
            body = take(client, struct.unpack(">i", head)[0])
            if struct.unpack(">h", body[:2])[0] == END_TXN and keeps(control):
                print("kept", flush=True)
                while keeps(control):
                    time.sleep(0.01)
                print("sent", flush=True)
            server.sendall(head + body)
    except (OSError, EOFError):
        try:
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def replies(client, server):
    listens = True
    try:
        while data := server.recv(65536):
            try:
                if listens:
                    client.sendall(data)
            except OSError:
                listens = False
    except OSError:
        pass
    client.close()
    server.close()


def main():
    control, (listen, target) = sys.argv[1], map(int, sys.argv[2].split(":"))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", listen))
    listener.listen(64)
    while True:
        client, _ = listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", target))
        except OSError:
            client.close()
            continue
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=requests, args=(control, client, server), daemon=True).start()
        threading.Thread(target=replies, args=(client, server), daemon=True).start()


main()
