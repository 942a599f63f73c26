"""What is odd about the head of an HTTP/1 message, in both lanes alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.protocols import BY_NAME, ODDITIES
from ids.testing import Session
from plugins.rules import Rules
from tests.protocols.wire import CLIENT, SERVER, Wire, request

GET = b"GET / HTTP/1.1"
HOST = b"Host: www.example.com"


def odd_of(data: bytes, *, lane: bool = True, of_server: bool = False) -> set[str]:
    wire = Wire(ordinary_lane=lane)
    if of_server:
        wire.client(request(GET, HOST)).server(data).close()
    else:
        wire.client(data).close()
    side = SERVER if of_server else CLIENT
    found = {one.decode() for tx in wire.all if tx.direction is side for one in tx.instances("app-layer-event")}
    assert found <= ODDITIES
    return {name.removeprefix("http.") for name in found}


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request(GET, HOST), set()),
        (request(b"GET / HTTP/1.0"), set()),
        (request(GET), {"missing_host_header"}),
        (request(GET, HOST, b"Authorization: Bearer x"), set()),
        (request(GET, HOST, b"Authorization: basic eDp5"), set()),
        (request(GET, HOST, b"Authorization: Foo x"), {"request_auth_unrecognized"}),
        (request(GET, b"Host: [::1]:8080"), set()),
        (request(GET, b"Host: a b"), {"request_header_host_invalid"}),
        (request(GET, b"Host: " + b"a" * 64), {"request_header_host_invalid"}),
        (request(b"GET http://www.example.com/ HTTP/1.1", HOST), set()),
        (request(b"GET http://other.example/ HTTP/1.1", HOST), {"host_header_ambiguous"}),
        (request(GET, HOST, b"Host: other"), {"host_header_ambiguous", "request_header_repetition"}),
        (request(b"GET /%252e HTTP/1.1", HOST), {"double_encoded_uri"}),
        (request(b"GET\t/ HTTP/1.1", HOST), {"method_delim_non_compliant"}),
        (request(GET, HOST, b"no colon"), {"request_field_missing_colon"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1", b"Content-Length: 1", body=b"x"),
         {"duplicate_content_length_field_in_request", "request_header_repetition"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 1x", body=b"x"),
         {"invalid_content_length_field_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: xchunked"),
         {"invalid_transfer_encoding_value_in_request"}),
        (request(b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
         {"length_and_chunked"}),
    ],
)  # fmt: skip
def test_requests(data: bytes, expected: set[str], lane: bool) -> None:
    assert odd_of(data, lane=lane) == expected


@pytest.mark.parametrize("lane", [True, False])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n", set()),
        (b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n", {"response_invalid_status"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: 1\r\nX: 2\r\n\r\n", {"response_header_repetition"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nwhat\r\n\r\n", {"response_field_missing_colon"}),
    ],
)
def test_responses(data: bytes, expected: set[str], lane: bool) -> None:
    assert odd_of(data, lane=lane, of_server=True) == expected


def test_a_rule_asks_for_one_of_several(tmp_path: Path) -> None:
    path = tmp_path / "r.rules"
    path.write_text(
        "".join(
            f"alert http any any -> any any (app-layer-event:http.{name}; sid:{n};)\n"
            for n, name in enumerate(BY_NAME["http"].oddities, 1)
        )
    )
    found = Session(f"rules.paths=[{path}]", rules=Rules())
    found.tcp(request(b"GET /%252e HTTP/1.1", b"Authorization: Foo x"))
    names = [BY_NAME["http"].oddities[sid - 1] for sid in found.sids]
    assert sorted(names) == ["double_encoded_uri", "missing_host_header", "request_auth_unrecognized"]
