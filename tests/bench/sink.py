"""Receivers of events, beside the engine: ``python -m tests.bench.sink SYSLOG_PORT WEBHOOK_PORT``, until it is ended.

One takes syslog over TCP, one takes POSTs; both on 127.0.0.1. Stopped (SIGSTOP), they are receivers that stall: the
kernel still accepts connections, and some bytes, for them.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Syslog(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.request.recv(1 << 16):
            pass


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(syslog_port: int, webhook_port: int) -> None:
    """Take whatever comes."""
    syslog, webhook = (
        _Server(("127.0.0.1", syslog_port), _Syslog),
        ThreadingHTTPServer(("127.0.0.1", webhook_port), _Webhook),
    )
    threading.Thread(target=syslog.serve_forever, daemon=True).start()
    print("ready", flush=True)
    webhook.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
