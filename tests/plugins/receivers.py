"""Receivers of events, in threads of the test: servers of HTTP, mail, and plain sockets."""

from __future__ import annotations

import queue
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ids.config import Config
from ids.counters import Counters
from ids.events import Events
from ids.plugin.context import EngineContext
from ids.plugin.output import Output
from ids.types import FlowColumns

PATIENCE_S = 60.0
"""For a machine that is busy; where all is well nobody waits so long."""


def context(live: bool = True, **groups: dict[str, Any]) -> EngineContext:
    return EngineContext(Config.model_validate(groups), Counters(), {}, FlowColumns(1), live=live)


def alert(sid: int = 1, severity: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "timestamp": "2026-01-01T00:00:00.123456+0000", "event_type": "alert", "src_ip": "192.0.2.1",
        "dest_ip": "203.0.113.1", "dest_port": 80,
        "alert": {"gid": 1, "signature_id": sid, "rev": 1, "signature": f"title {sid}", "severity": severity,
                  "action": "allowed"},
        "ids": {"evidence": [{"buffer": "http.uri", "offset": 0, "excerpt": "/needle"}]},
    } | more  # fmt: skip


@contextmanager
def running(output: Output, context: EngineContext) -> Iterator[Callable[..., None]]:
    """Start an output; gives what hands it events, and stops it."""
    output.ids_start(context)

    def emit(*events: dict[str, Any]) -> None:
        output.ids_events(Events(list(events)))

    try:
        yield emit
    finally:
        output.ids_stop()


class Datagrams:
    """A socket that takes datagrams."""

    def __init__(self, family: int, address: Any) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind(address)

    def receive(self) -> bytes:
        return self.socket.recv(1 << 20)

    def __enter__(self) -> Datagrams:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


class Stream:
    """A listener that takes one connection after the other."""

    def __init__(self, family: int, address: Any) -> None:
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.settimeout(PATIENCE_S)
        self.listener.bind(address)
        self.listener.listen()
        self.port = self.listener.getsockname()[1] if family != socket.AF_UNIX else 0

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE_S)
        return connection

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()


def octets(connection: socket.socket) -> bytes:
    """Read one message that its length stands before (RFC 6587)."""
    digits = b""
    while (byte := connection.recv(1)) != b" ":
        assert byte.isdigit(), (digits, byte)
        digits += byte
    wanted, data = int(digits), b""
    while len(data) < wanted:
        data += connection.recv(wanted - len(data))
    return data


@contextmanager
def web_server(
    answers: list[int], poison: bytes = b"\0"
) -> Iterator[tuple[str, queue.Queue[tuple[dict[str, str], bytes]]]]:
    """A server that answers with these codes in turn, the last for good; gives its URL and what was posted.

    A filter in front of it refuses what has ``poison`` in it.
    """
    posted: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = answers.pop(0) if len(answers) > 1 else answers[0]
            code = 403 if poison in body else code
            self.send_response(code)
            if 300 <= code < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            posted.put((dict(self.headers), body))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/events", posted
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def mail_server(
    refuses: int = 0, poison: str = "\0", farewell: str = "221 bye", stranger: str = "\0"
) -> Iterator[tuple[int, queue.Queue[str]]]:
    """A mail server that refuses so many mails first; gives its port and the mails.

    A filter of it refuses mails with ``poison``. It says ``farewell``, nothing where that is empty, and does not know
    the ``stranger``.
    """
    mails: queue.Queue[str] = queue.Queue()
    left = [refuses]

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 x\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    data = b""
                    while (of := self.rfile.readline()) not in (b".\r\n", b""):
                        data += of
                    if poison in data.decode():
                        self.wfile.write(b"554 5.7.1 that looks like an attack\r\n")
                        continue
                    mails.put(data.decode())
                elif word == b"MAIL" and left[0]:
                    left[0] -= 1
                    self.wfile.write(b"451 later\r\n")
                    continue
                elif word == b"RCPT" and stranger.encode() in line:
                    self.wfile.write(b"550 nobody of that name\r\n")
                    continue
                elif word == b"QUIT":
                    self.wfile.write(f"{farewell}\r\n".encode() if farewell else b"")
                    return
                self.wfile.write(b"250 fine\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], mails
        finally:
            server.shutdown()
            thread.join()
