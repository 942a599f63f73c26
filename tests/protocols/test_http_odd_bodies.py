"""What is odd about an HTTP/1 body, and about what comes behind one; as Suricata has it, where a test says no other."""

from __future__ import annotations

import gzip
import lzma
import zlib
from functools import partial
from pathlib import Path

import pytest

from ids.protocols.http.oddities import NOTED
from ids.protocols.http.parts import MAX_BOUNDARY, odd_parts
from ids.protocols.http.uri import MAX_FILE_NAME
from ids.testing import Said, Session, to_client
from plugins.rules import Rules
from tests.protocols.test_http_oddities import GET, GZIP, HOST, answer, odd_of
from tests.protocols.wire import Wire, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FILE = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\n'
FIELD = b'--B\r\nContent-Disposition: form-data; name="f"\r\n\r\n'
END = b"--B--\r\n"
GARBAGE = b"no request at all\r\n\r\n"


def form(body: bytes, method: bytes = b"POST") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return request(method + b" / HTTP/1.1", HOST, b"Content-Type: multipart/form-data; boundary=B", length, body=body)


def sids_of(tmp_path: Path, names: list[str], *said: bytes | Said, batch: int | None = None) -> list[str]:
    """Return the events whose rules alert, each rule about one."""
    path = tmp_path / "r.rules"
    rules = [f"alert http any any -> any any (app-layer-event:http.{name}; sid:{n};)\n" for n, name in enumerate(names)]
    path.write_text("".join(rules).replace("sid:0;", f"sid:{len(names)};"))
    played = Session(f"rules.paths=[{path}]", rules=Rules())
    played.tcp(*said, batch=batch)
    return [names[sid % len(names)] for sid in played.sids]


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (FILE + b"data\r\n" + END, set()),
        (FILE + b"data\r\n" + FILE + b"data\r\n" + END, set()),
        (FILE + b"\r\n" + END, set()),
        (FILE + END, {"multipart_no_filedata"}),
        (FILE + b"data\r\n" + FILE + END, {"multipart_no_filedata"}),
        (FIELD + END, set()),
        (FILE + FILE + b"data\r\n" + END, {"multipart_generic_error"}),
        (FILE + b"a" + END, {"multipart_generic_error"}),
        (FILE, set()),
        (FILE + b"a", set()),
        (FILE[:-2] + END + b"\r\n\r\nabc", {"multipart_generic_error", "multipart_invalid_header"}),
        (b"--B\r\n\r\ndata\r\n" + END, set()),
        (b"--B\r\nno colon\r\n\r\ndata\r\n" + END, {"multipart_invalid_header"}),
        (b"--B\r\n:\r\n\r\ndata\r\n" + END, {"multipart_invalid_header"}),
        (FILE[:-2] + b"Content-Type:\r\n\r\ndata\r\n" + END, {"multipart_invalid_header"}),
        (FILE[:-2] + b"Content-Type: text/plain\r\n\r\ndata\r\n" + END, set()),
        (b"no boundary\r\n\r\nno colon", set()),
    ],
)
def test_parts(body: bytes, expected: set[str], lane: bool) -> None:
    assert odd_of(form(body), lane=lane) == expected
    assert odd_of(form(body, b"PUT"), lane=lane) == set()


def test_parts_beyond_the_limit_are_left_alone() -> None:
    assert odd_parts(FIELD * 64 + FILE + END, b"B") == set()
    assert odd_parts(FIELD * 63 + FILE + END, b"B") == {b"multipart_no_filedata"}
    long = b"B" * MAX_BOUNDARY
    assert odd_parts(FILE.replace(b"B", long) + END.replace(b"B", long), long) == set()


@pytest.mark.parametrize("batch", [None, 1])
def test_a_part_alerts_once_however_its_body_comes(tmp_path: Path, batch: int | None) -> None:
    names = ["multipart_invalid_header", "multipart_no_filedata"]
    body = b"--B\r\nno colon\r\n\r\n" + b"x" * 5000 + b"\r\n" + FILE + END
    assert sorted(sids_of(tmp_path, names, form(body), to_client(OK), batch=batch)) == names


NAMED = b"/" + b"n" * (MAX_FILE_NAME - 1)


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("target", "method", "body", "odd"),
    [
        (NAMED, b"POST", b"hi", False),
        (NAMED + b"n", b"POST", b"hi", True),
        (NAMED + b"n", b"PUT", b"hi", True),
        (NAMED + b"n", b"POST", b"", False),
        (NAMED + b"n", b"PATCH", b"hi", False),
        (NAMED + b"?n", b"POST", b"hi", False),
        (NAMED.replace(b"n", b"%61"), b"POST", b"hi", False),
    ],
)
def test_the_name_of_what_is_sent(target: bytes, method: bytes, body: bytes, odd: bool, lane: bool) -> None:
    asked = request(method + b" " + target + b" HTTP/1.1", HOST, b"Content-Length: %d" % len(body), body=body)
    assert ("file_name_too_long" in odd_of(asked, lane=lane)) == odd


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("target", "headers", "body", "odd"),
    [
        (NAMED, (), b"ok", False),
        (NAMED + b"n", (), b"ok", True),
        (NAMED + b"n", (), b"", False),
        (NAMED + b"n", (b'Content-Disposition: attachment; filename="a"',), b"ok", False),
        (b"/", (b'Content-Disposition: attachment; filename="' + NAMED + b'n"',), b"ok", True),
        (b"/", (b'Content-Disposition: attachment; filename="' + NAMED + b'"',), b"ok", False),
    ],
)
def test_the_name_of_what_is_fetched(
    target: bytes, headers: tuple[bytes, ...], body: bytes, odd: bool, lane: bool
) -> None:
    wire = Wire(ordinary_lane=lane).client(request(b"GET " + target + b" HTTP/1.1", HOST))
    wire.server(answer(*headers, body=body)).close()
    assert any(b"http.file_name_too_long" in tx.instances("app-layer-event") for tx in wire.all) == odd


def test_the_name_of_an_ordinary_message_is_an_event() -> None:
    played = Session()
    played.tcp(request(b"GET " + NAMED + b"n HTTP/1.1", HOST), to_client(OK))
    said = [event["anomaly"]["event"] for event in played.events if event["event_type"] == "anomaly"]
    assert said == ["FILE_NAME_TOO_LONG"]


zipped = partial(gzip.compress, mtime=0)
"""The same whenever it is made: each process that collects the tests names them by it."""
ZEROS = bytes(10 << 20)
RAW = zlib.compress(ZEROS, 9)[2:-4]
HUGE = [{"id": lzma.FILTER_LZMA1, "dict_size": 64 << 20}]


@pytest.mark.parametrize(
    ("coding", "body", "expected"),
    [
        (b"gzip", zipped(ZEROS), set()),
        (b"gzip, gzip", zipped(GZIP), set()),
        (b"gzip, gzip", zipped(zipped(bytes(500 << 10))), set()),
        (b"gzip, gzip", zipped(zipped(ZEROS)), {"compression_bomb"}),
        (b"deflate, gzip", zipped(RAW), {"compression_bomb"}),
        (b"lzma", lzma.compress(ZEROS[:4096], lzma.FORMAT_ALONE), set()),
        (b"lzma, gzip", zipped(lzma.compress(b"hello", lzma.FORMAT_ALONE)), {"compression_bomb"}),
        (b"lzma", lzma.compress(b"hello", lzma.FORMAT_ALONE, filters=HUGE), {"lzma_memlimit_reached"}),
        (b"lzma", b"no LZMA", set()),
    ],
)
def test_bombs(coding: bytes, body: bytes, expected: set[str]) -> None:
    """Of LZMA our limit counts; Suricata's, where its users have it undo LZMA at all, is lower."""
    assert odd_of(answer(b"Content-Encoding: " + coding, body=body), of_server=True) == expected
    asked = request(
        b"POST / HTTP/1.1", HOST, b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body), body=body
    )
    assert odd_of(asked) == set()


POST = request(b"POST / HTTP/1.1", HOST)


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize(
    ("said", "times"),
    [
        ((POST, to_client(OK)), 0),
        ((POST + b"a=b&c=d\r\n", to_client(OK)), 1),
        ((POST + b"a=b&c=d", to_client(OK)), 1),
        ((POST + b"a=b&c=d", to_client(OK), request(GET, HOST), to_client(OK)), 1),
        ((POST + GARBAGE, to_client(OK), request(GET, HOST), to_client(OK)), 1),
        ((POST + GARBAGE * 3, to_client(OK)), 1),
        ((POST + b"\r\n" + POST, to_client(OK), to_client(OK)), 0),
        ((request(GET, HOST) + b"BREW /pot HTTP/1.1\r\n\r\n", to_client(OK), to_client(OK)), 0),
        ((request(GET, HOST) + b"GET /old\r\n\r\n", to_client(OK), to_client(OK)), 0),
        ((request(GET, HOST), to_client(OK), GARBAGE), 0),
        ((request(GET, HOST) + b"GE", to_client(OK), b"T / HTTP/1.1\r\nHost: a\r\n\r\n", to_client(OK)), 0),
        ((GARBAGE, to_client(OK)), 0),
    ],
)
def test_what_comes_behind_a_request(
    tmp_path: Path, said: tuple[bytes | Said, ...], times: int, batch: int | None
) -> None:
    names = ["request_body_unexpected"]
    assert sids_of(tmp_path, names, *said, batch=batch) == names * times


@pytest.mark.parametrize("lane", [True, False])
def test_what_comes_behind_a_request_is_said_of_that(lane: bool) -> None:
    wire = Wire(ordinary_lane=lane).client(request(GET, HOST) * 2 + GARBAGE)
    assert [tx.tx_id for tx in wire.all if tx.buffers.get(NOTED) == b"request_body_unexpected"] == [1]


@pytest.mark.parametrize("batch", [None, 1])
@pytest.mark.parametrize(
    ("said", "times"),
    [
        ((b"GET /long", to_client(OK)), 1),
        ((request(GET, HOST), to_client(OK), b"GET /long", to_client(OK)), 1),
        ((b"GET /long\r\n", to_client(OK)), 0),
        ((b"GET /long HTTP/1.1\r\nHost: a", to_client(OK)), 0),
        ((request(GET, HOST) + b"GET /lo", to_client(OK), b"ng HTTP/1.1\r\nHost: a\r\n\r\n", to_client(OK)), 0),
    ],
)
def test_a_request_that_is_answered_within_its_first_line(
    tmp_path: Path, said: tuple[bytes | Said, ...], times: int, batch: int | None
) -> None:
    """Where its end is known before the answer, as it may be in a replay, it is said of the request."""
    names = ["request_line_incomplete", "unable_to_match_response_to_request"]
    assert sids_of(tmp_path, names, *said, batch=batch) == names[:1] * times
