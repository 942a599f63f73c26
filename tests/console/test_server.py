"""The console's HTTP has bounds: in size, in time, in how many at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.console import server as http
from ids.console.messages import SAFETY, Request, Response
from ids.console.server import BoundedServer
from ids.errors import UsageError


class Echo:
    """Answers with what it understood; holds requests to /wait until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = threading.Semaphore(0)

    def answer(self, request: Request) -> Response:
        if request.path == "/wait":
            self.waiting.release()
            self.go.wait(60)
        if request.path == "/fault":
            raise RuntimeError("secret")
        return Response(body=f"{request.method} {request.path} {dict(request.query)} {dict(request.form)}".encode())


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def listening(echo: Echo) -> Iterator[BoundedServer]:
    server = BoundedServer(("127.0.0.1", 0), echo.answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    echo.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def place(server: BoundedServer) -> tuple[str, int]:
    """Return where it listens."""
    return "127.0.0.1", int(server.server_address[1])


def ask(server: BoundedServer, raw: bytes) -> bytes:
    """Send bytes, and return all that comes back."""
    with socket.create_connection(place(server), timeout=60) as client:
        client.sendall(raw)
        parts = []
        try:
            while part := client.recv(65536):
                parts.append(part)
        except ConnectionResetError:  # it was hung up on while it was still sending
            pass
        return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_a_request_is_parsed_and_every_answer_has_the_headers_of_safety(listening: BoundedServer) -> None:
    form = b"token=a%20b"
    head = f"POST /x?q=1&q=2 HTTP/1.1\r\nHost: h\r\nContent-Length: {len(form)}\r\n".encode()
    answer = ask(listening, head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + form)
    assert answer.endswith(b"POST /x {'q': '2'} {'token': 'a b'}")
    for name, value in SAFETY:
        assert f"{name}: {value}\r\n".encode() in answer
    assert b"Connection: close" in answer
    assert b"default-src 'none'" in answer
    assert b"unsafe" not in answer


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"a" * http.MAX_HEAD_BYTES * 2 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}", 415),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET /?" + b"a&" * 100 + b" HTTP/1.1\r\n\r\n", 400),
        (b"DELETE / HTTP/1.1\r\n\r\n", 501),
        (b"\x16\x03\x01\x00\x05hello\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
    ],
)
def test_what_is_too_large_or_no_request_is_refused(listening: BoundedServer, raw: bytes, code: int) -> None:
    answer = ask(listening, raw)
    assert status(answer) == code
    assert b"hello" not in answer, "no word of what was sent"


def test_a_fault_is_the_consoles_and_shows_nothing(listening: BoundedServer, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(listening, b"GET /fault HTTP/1.1\r\nHost: h\r\n\r\n")
    assert status(answer) == 500
    assert b"secret" not in answer
    assert "secret" in caplog.text


def test_who_sends_byte_by_byte_is_hung_up_on(listening: BoundedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_S", 0.05)
    with socket.create_connection(place(listening), timeout=60) as client:
        client.sendall(b"GET / HT")
        assert client.recv(100) == b""


def test_whoever_comes_beyond_the_room_gets_503_at_once_and_room_comes_back(
    listening: BoundedServer, echo: Echo
) -> None:
    held = [socket.create_connection(place(listening), timeout=60) for _ in range(http.MOST_AT_ONCE)]
    for client in held:
        client.sendall(b"GET /wait HTTP/1.1\r\n\r\n")
    for _ in held:
        assert echo.waiting.acquire(timeout=60)
    assert status(ask(listening, b"")) == 503
    assert listening.refused == 1
    echo.go.set()
    for client in held:
        while client.recv(4096):
            pass
        client.close()
    codes = (status(ask(listening, b"GET / HTTP/1.1\r\n\r\n")) for _ in range(100))
    assert 200 in codes


def test_idle_connections_do_not_shut_others_out(listening: BoundedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUEST_S", "MAKE_WAY_S"):
        monkeypatch.setattr(http, name, 60.0)
    idle = [socket.create_connection(place(listening), timeout=60) for _ in range(http.MOST_AT_ONCE + 2)]
    try:
        assert status(ask(listening, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")) == 200
        assert [client.recv(1) for client in idle[:3]] == [b""] * 3, "the oldest make way"
        assert listening.refused == 0
        idle[-1].sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle[-1].recv(12) == b"HTTP/1.1 200"
    finally:
        for client in idle:
            client.close()


def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_console(tmp_path: Path, echo: Echo) -> None:
    path = tmp_path / "console.sock"
    server = BoundedServer(path, echo.answer)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="answers at"):
        BoundedServer(path, echo.answer)
    server.server_close()
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(UsageError, match="no socket"):
        BoundedServer(path, echo.answer)


def test_a_taken_port_is_named(listening: BoundedServer, echo: Echo) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        BoundedServer(place(listening), echo.answer)
