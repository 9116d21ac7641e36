"""Hands requests on to another server, and logs each on stderr: http_forward.py PORT URL"""
import http.server
import sys
import urllib.error
import urllib.request

port, to = int(sys.argv[1]), sys.argv[2]


class Forward(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kind = {"Content-Type": self.headers["Content-Type"]} if body else {}
        ask = urllib.request.Request(to + self.path, body, kind, method=self.command)
        try:
            with urllib.request.urlopen(ask) as r:
                status, answer = r.status, r.read()
        except urllib.error.HTTPError as e:
            status, answer = e.code, e.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_GET


http.server.ThreadingHTTPServer(("127.0.0.1", port), Forward).serve_forever()
