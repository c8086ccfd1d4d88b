"""A receiver that verifies every delivery with the published `standardwebhooks` library.

Use: verify_standard_webhooks.py SECRET...

Several secrets stand for a rotation: a delivery is good when any of them verifies it. Standard output carries JSON
lines: first {"port": N} with the loopback port it listens on, then one line a request,
{"id": "<webhook-id>", "ok": true} or {"id": ..., "ok": false, "error": "<why>"}. A good delivery is answered 204, any
other 401. It ends when its standard input does.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

OUTPUT = threading.Lock()


def say(line: dict) -> None:
    with OUTPUT:
        print(json.dumps(line), flush=True)


def fault(verifiers: list, body: bytes, headers: dict) -> str:
    """Why no secret verifies the delivery, or nothing."""
    reason = "no secret was given"
    for verifier in verifiers:
        try:
            verifier.verify(body, headers)
            return ""
        except (WebhookVerificationError, ValueError) as error:
            reason = str(error) or type(error).__name__
    return reason


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    verifiers: list = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        error = fault(self.verifiers, body, dict(self.headers.items()))
        line = {"id": self.headers.get("webhook-id"), "ok": not error}
        say({**line, "error": error} if error else line)
        self.send_response(401 if error else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_PATCH = do_POST

    def log_message(self, *args) -> None:
        """Standard error stays for tracebacks."""


def main() -> None:
    Receiver.verifiers = [Webhook(secret) for secret in sys.argv[1:]]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say({"port": server.server_address[1]})
    sys.stdin.read()


if __name__ == "__main__":
    main()
