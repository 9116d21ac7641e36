"""Hands requests on to another server, and logs each on stderr: http_forward.py PORT URL [STATUS TEXT [CODE]]

With STATUS and TEXT it answers what is posted to a path with TEXT in it by itself, with that status (and error code)."""
import http.server
import json
import sys
import urllib.error
import urllib.request

port, to = int(sys.argv[1]), sys.argv[2]
refused = (int(sys.argv[3]), sys.argv[4]) if len(sys.argv) > 3 else None
code = int(sys.argv[5]) if len(sys.argv) > 5 else refused and refused[0] * 100 + 1


class Forward(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        kind = {"Content-Type": self.headers["Content-Type"]} if body else {}
        if refused and self.command == "POST" and refused[1] in self.path:
            return self.say(refused[0], json.dumps({"error_code": code, "message": "refused by the test"}).encode())
        ask = urllib.request.Request(to + self.path, body, kind, method=self.command)
        try:
            with urllib.request.urlopen(ask) as r:
                status, answer = r.status, r.read()
        except urllib.error.HTTPError as e:
            status, answer = e.code, e.read()
        self.say(status, answer)

    def say(self, status, answer):
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_GET


http.server.ThreadingHTTPServer(("127.0.0.1", port), Forward).serve_forever()
