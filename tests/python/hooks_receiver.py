"""Receives webhooks, verifies them with the `standardwebhooks` library, and answers as the path says.

A line of JSON goes to the standard output for each request: its path, whether its signature was good, and what it said.
The paths: /ok, /fails/N (500 for the first N requests, then 204), /slow (answers after a minute), /redirect (to /ok),
/gone (410), /loud (500 with a long body).
"""

import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SECRETS = sys.argv[1:]
seen = Counter()
telling = threading.Lock()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen[self.path] += 1
        told = {
            "path": self.path,
            "good": [good(secret, body, headers) for secret in SECRETS],
            "id": headers.get("webhook-id"),
            "timestamp": headers.get("webhook-timestamp"),
            "content_type": headers.get("content-type"),
            "traceparent": headers.get("traceparent"),
            "encoding": headers.get("accept-encoding"),
            "body": body.decode(),
        }
        with telling:
            print(json.dumps(told), flush=True)
        self.answer(seen[self.path])

    do_GET = do_POST

    def answer(self, number):
        status, headers, said = 204, {}, b""
        match self.path.split("/")[1:]:
            case ["ok" | "traced"]:
                pass
            case ["fails", count] if number <= int(count):
                status, said = 500, b"not yet"
            case ["fails", _]:
                pass
            case ["slow"]:
                time.sleep(60)
            case ["redirect"]:
                status, headers = 307, {"location": "/ok"}
            case ["gone"]:
                status = 410
            case ["loud"]:
                status, said = 500, b"no " * 100_000
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        try:
            self.wfile.write(said)
        except OSError:
            pass  # Who asked has heard enough.

    def log_message(self, *_):
        pass


def good(secret, body, headers):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
server.daemon_threads = True
print(f"listening on port {server.server_port}", flush=True)
server.serve_forever()
