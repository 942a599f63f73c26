"""What a feed is fetched from, against a real server: what has changed, what is too large, too slow, or elsewhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ids.fetch.download import MAX_REDIRECTS, FetchFailed, Limits, Stamp, read

LIMITS = Limits(max_bytes=1000, timeout_s=60.0)
Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """A server whose answers a function gives; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, dict(self.headers))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_what_has_not_changed_is_not_sent_again() -> None:
    def answer(path: str, headers: dict[str, str]) -> Answer:
        if headers.get("If-None-Match") == '"one"' and headers.get("If-Modified-Since") == "yesterday":
            return 304, {}, b""
        return 200, {"ETag": '"one"', "Last-Modified": "yesterday"}, b"192.0.2.1\n"

    with serving(answer) as url:
        first = read(url, LIMITS)
        assert (first.data, first.stamp) == (b"192.0.2.1\n", Stamp('"one"', "yesterday"))
        again = read(url, LIMITS, first.stamp)
        assert (again.data, again.stamp) == (None, first.stamp)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b"x"), "the answer is 404"),
        ((200, {}, b"x" * 1001), "larger than 1,000 bytes"),
        ((200, {"Content-Length": "999"}, b"x"), "1 of 999 bytes|IncompleteRead"),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "compressed"),
        ((302, {"Location": "/again"}, b""), f"more than {MAX_REDIRECTS} redirects"),
        ((302, {"Location": "ftp://x/"}, b""), "ftp"),
        ((304, {}, b""), None),
    ],
)
def test_what_is_no_feed_is_refused(answer: Answer, message: str | None) -> None:
    with serving(lambda path, headers: answer) as url:
        if message is None:
            assert read(url, LIMITS).data is None
            return
        with pytest.raises(FetchFailed, match=message):
            read(url, LIMITS)


def test_a_redirect_is_followed() -> None:
    def answer(path: str, headers: dict[str, str]) -> Answer:
        return (200, {}, b"here") if path == "/new" else (301, {"Location": "/new"}, b"")

    with serving(answer) as url:
        assert read(f"{url}/old", LIMITS).data == b"here"


def test_a_certificate_that_is_not_trusted_is_no_server() -> None:
    with serving(lambda path, headers: (200, {}, b"x")) as url, pytest.raises(FetchFailed, match="SSL"):
        read(url.replace("http:", "https:"), LIMITS)


def test_nobody_there_is_a_message() -> None:
    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1"):
        read("https://127.0.0.1:1/feed", LIMITS)


def test_a_transfer_that_never_ends_is_given_up() -> None:
    """A drop at a time, each in time by itself."""
    gone = threading.Event()

    class Drops(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            while not gone.wait(0.005):
                self.wfile.write(b"#")
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Drops) as server:
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            with pytest.raises(FetchFailed, match="not all of it came"):
                read(f"http://127.0.0.1:{server.server_address[1]}", Limits(1 << 30, 0.3))
        finally:
            gone.set()
            server.shutdown()


def test_a_head_that_never_ends_is_given_up() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                while not over.wait(0.02):
                    connection.sendall(b"H")

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(FetchFailed, match="timeout_s"):
            read(f"http://127.0.0.1:{server.getsockname()[1]}/", Limits(max_bytes=1000, timeout_s=0.3))
        over.set()


def test_a_file_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"x" * 1000)
    assert read(str(path), LIMITS).data == b"x" * 1000
    path.write_bytes(b"x" * 1001)
    with pytest.raises(FetchFailed, match="larger"):
        read(str(path), LIMITS)
    with pytest.raises(FetchFailed, match="No such file"):
        read(str(tmp_path / "none"), LIMITS)
