"""HTTP with bounds, for a few people and a scraper: one request a connection, so many at once, so long, so large.

Python's own server, for it needs no more than that: who holds a connection open, or sends byte by byte, is hung up on
when the time of the whole request is over. Beyond `MOST_AT_ONCE` whoever has waited longest with a request makes way,
or who comes gets 503 at once.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ids.console.messages import SAFETY, Answer, BadRequest, Request, Response, fields
from ids.errors import UsageError

log = logging.getLogger(__name__)

MOST_AT_ONCE = 16
"""Requests that are answered at the same time: each has a thread."""
REQUEST_S = 5.0
"""How long a request may take to arrive, from the first byte to the last."""
MAKE_WAY_S = 1.0
"""How long somebody who has to make way for another may take to: no more than a turn of its thread."""
ANSWER_S = 10.0
"""How long whoever asked may take to take the answer."""
LINGER_S = 0.5
LINGER_BYTES = 1 << 20
"""How long, and of how much, whoever was refused may send what it has begun to."""
MAX_HEAD_BYTES = 32 << 10
"""Of the request line and all headers, as of a proxy's."""
MAX_BODY_BYTES = 16 << 10
"""Of a form: the largest holds a token or a network."""


class _Arriving(io.RawIOBase):
    """What a client sends, until its time or its bytes are used up."""

    def __init__(self, connection: socket.socket, seconds: float, size: int) -> None:
        self._connection = connection
        self._until = time.monotonic() + seconds
        self.left = size

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come; raises `TimeoutError` when the time is over, and `BadRequest` when it is too much."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if self.left <= 0:
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large")
        self._connection.settimeout(left_s)
        view = memoryview(buffer)[: self.left]
        count = self._connection.recv_into(view)
        self.left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request."""

    protocol_version = "HTTP/1.1"
    _refused = False
    server: BoundedServer
    answer: ClassVar[Answer]

    def setup(self) -> None:
        """Bound what is read and how long the answer may take."""
        self.connection = self.request
        self._arriving = _Arriving(self.connection, REQUEST_S, MAX_HEAD_BYTES + MAX_BODY_BYTES)
        self.rfile = io.BufferedReader(self._arriving, 4096)
        self.wfile = self._answered = io.BytesIO()
        self.command, self.requestline, self.request_version = "GET", "", self.protocol_version

    def handle(self) -> None:
        """Answer one request; who sends too slowly, or goes away, is hung up on."""
        with suppress(OSError):
            try:
                self.handle_one_request()
            except BadRequest as error:
                self._refuse(error)

    def _refuse(self, error: BadRequest) -> None:
        self._refused = True
        self._send(Response.text(error.status, str(error)))

    def finish(self) -> None:
        """Send what was answered."""
        with suppress(OSError):
            self.connection.settimeout(ANSWER_S)
            self.connection.sendall(self._answered.getvalue())
            if self._refused:
                self._let_finish()

    def _let_finish(self) -> None:
        """Read what is still on its way, within bounds: else the client's system throws the answer away."""
        self.connection.shutdown(socket.SHUT_WR)
        self._arriving = _Arriving(self.connection, LINGER_S, LINGER_BYTES)
        with suppress(BadRequest):
            while self._arriving.readinto(bytearray(16384)):
                pass

    def parse_request(self) -> bool:
        """Parse as the base class does; what it found wrong, it has answered."""
        self.close_connection = True
        parsed = super().parse_request()
        self.close_connection = True  # whatever the client would like
        return parsed

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _answer(self) -> None:
        try:
            request = self._request()
            self.server.arrived(self.connection)
            response = self.server.answer(request)
        except BadRequest as error:
            return self._refuse(error)
        except Exception:
            log.exception("a request could not be answered: please report this")
            response = Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the console's own: its log has it")
        return self._send(response)

    def _request(self) -> Request:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            lower = name.lower()
            if lower in headers and lower in ("host", "content-length", "authorization", "origin"):
                raise BadRequest(HTTPStatus.BAD_REQUEST, f"{lower} comes twice")
            headers[lower] = value
        if not self.path.startswith("/"):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "expected a path")
        parts = urlsplit(self.path)
        return Request(self.command, parts.path, fields(parts.query), headers, self._form(headers))

    def _form(self, headers: Mapping[str, str]) -> dict[str, str]:
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isascii() or not length.isdecimal():
            raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "expected a body of a length that is said")
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(length)) if self.command == "POST" else b""
        if not body:
            return {}
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise BadRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected a form")
        return fields(body.decode("utf-8", "replace"))

    def _send(self, response: Response) -> None:
        self.request_version = self.protocol_version  # to whoever speaks none of HTTP, too
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Connection", "close")
        for name, value in (*SAFETY, *response.headers):
            self.send_header(name, "".join(c for c in value if c.isprintable()))  # a header is one line
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what cannot be parsed in a line of text, with no word of what was sent."""
        self.command = self.command or "GET"
        self._refused = True
        self._send(Response.text(HTTPStatus(code), HTTPStatus(code).phrase))

    def version_string(self) -> str:
        """Say no version."""
        return "ids"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing of what others send; the command is none before a request was parsed."""


class BoundedServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Listens on an address and a port, or on a unix socket; answers in threads, `MOST_AT_ONCE` of them."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, place: tuple[str, int] | Path, answer: Answer) -> None:
        """Listen; raises `UsageError` where that cannot be."""
        self.answer = answer
        self.refused = 0
        """Connections that came beyond `MOST_AT_ONCE`."""
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._arriving: dict[socket.socket, None] = {}
        """Connections whose request is not there yet, the oldest first."""
        self._lock = threading.Lock()
        self._path = place if isinstance(place, Path) else None
        if isinstance(place, Path):
            self.address_family = socket.AF_UNIX
            _make_way(place)
        elif ":" in place[0]:
            self.address_family = socket.AF_INET6
        before = os.umask(0o177)  # a unix socket is for its owner alone
        try:
            super().__init__(str(place) if isinstance(place, Path) else place, _Handler)  # type: ignore[arg-type]
        except OSError as error:
            raise UsageError(f"cannot listen on {place}: {error.strerror or error}; choose another --listen") from error
        finally:
            os.umask(before)

    def server_bind(self) -> None:
        """Bind, whatever the kind of socket."""
        if self.address_family != socket.AF_UNIX:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or say at once that there is no room."""
        if not self._room.acquire(blocking=False) and not self._make_room():
            self.refused += 1
            with suppress(OSError):
                request.settimeout(0)
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        with self._lock:
            self._arriving[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread to be had
            self.arrived(request)
            self._room.release()
            raise

    def arrived(self, connection: socket.socket) -> None:
        """Note that a request is there, or will not be."""
        with self._lock:
            self._arriving.pop(connection, None)

    def _make_room(self) -> bool:
        """Hang up on whoever has waited longest without a request: a few idle connections must not shut all others out.

        Return whether that made room, and take it.
        """
        with self._lock:
            oldest = next(iter(self._arriving), None)
            if oldest is None:
                return False
            del self._arriving[oldest]
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and ends
        return self._room.acquire(timeout=MAKE_WAY_S)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.arrived(request)
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a fault without the words of who asked."""
        log.exception("a connection failed: please report this")

    def server_close(self) -> None:
        """Stop listening, and remove a unix socket."""
        super().server_close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens on any more; raises `UsageError` where somebody does, or it is a file."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"{path} is no socket; choose another --listen")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UsageError(f"a console answers at {path} already")
