"""HTTP/1: whatever a server would understand becomes buffers, however the streams are cut."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.http.connection import Connection
from ids.protocols.http.head import parse_request
from ids.protocols.http.parser import UNANSWERED_READ
from ids.protocols.http.uri import further_body, further_forms, normalise, split_target
from ids.protocols.settings import ProtocolSettings
from ids.protocols.stage import Protocols
from ids.types import Direction, FlowColumns, StreamChunk, Transactions
from tests.factory import T0, make_datagrams, make_flow, make_streams
from tests.protocols.wire import CLIENT, SERVER, Wire, chunked, request
from tests.shared import shared

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def only_request(data: bytes, **limits: Any) -> dict[str, bytes]:
    wire = Wire(**limits).client(data)
    (transaction,) = wire.seen
    return dict(transaction.buffers)


def only_response(data: bytes, closed: bool = False, **limits: Any) -> dict[str, bytes]:
    wire = Wire(**limits).client(request()).server(data, closed=closed)
    _, transaction = wire.seen
    return dict(transaction.buffers)


def test_a_request_and_its_response() -> None:
    wire = Wire().client(
        b"GET /a%20b/../c//d?q=%41 HTTP/1.1\r\nHost: Example.COM:8080\r\nUser-Agent: curl\r\nCookie: s=1\r\n"
        b"Referer: http://r/\r\n\r\n"
    )
    wire.server(b"HTTP/1.1 302 Found\r\nServer: x\r\nLocation: /new\r\nContent-Type: text/html; a=b\r\n"
                b"Set-Cookie: t=2\r\nContent-Length: 5\r\n\r\nhello")  # fmt: skip
    asked, answered = wire.seen
    assert asked.buffers == {
        "http.request_line": b"GET /a%20b/../c//d?q=%41 HTTP/1.1",
        "http.method": b"GET",
        "http.uri.raw": b"/a%20b/../c//d?q=%41",
        "http.uri": b"/c/d?q=A",
        "http.protocol": b"HTTP/1.1",
        "http.host": b"example.com",
        "http.host.raw": b"Example.COM:8080",
        "http.user_agent": b"curl",
        "http.referer": b"http://r/",
        "http.cookie": b"s=1",
        "http.header": b"Host: Example.COM:8080\r\nUser-Agent: curl\r\nReferer: http://r/\r\n",
        "http.header.raw": b"Host: Example.COM:8080\r\nUser-Agent: curl\r\nCookie: s=1\r\nReferer: http://r/\r\n",
        "http.header_names": b"\r\nHost\r\nUser-Agent\r\nCookie\r\nReferer\r\n\r\n",
        "http.start": b"GET /a%20b/../c//d?q=%41 HTTP/1.1\r\nHost: Example.COM:8080\r\nUser-Agent: curl\r\n"
        b"Cookie: s=1\r\nReferer: http://r/\r\n\r\n",
    }
    assert list(asked.instances("http.request_header")) == [
        b"Host: Example.COM:8080", b"User-Agent: curl", b"Cookie: s=1", b"Referer: http://r/",
    ]  # fmt: skip
    assert not asked.instances("http.response_header")
    assert list(answered.instances("http.response_header"))[:2] == [b"Server: x", b"Location: /new"]
    rows, lines = Transactions(wire.seen).column("http.request_header")
    assert (rows, lines) == ([0] * 4, list(asked.instances("http.request_header")))
    assert answered.buffers["http.stat_code"] == b"302"
    assert answered.buffers["http.stat_msg"] == b"Found"
    assert answered.buffers["http.response_line"] == b"HTTP/1.1 302 Found"
    assert answered.buffers["http.cookie"] == b"t=2"
    assert answered.buffers["file.data"] == answered.buffers["http.response_body"] == b"hello"
    assert answered.fields == {
        "hostname": "example.com", "http_port": 8080, "url": "/a%20b/../c//d?q=%41", "http_user_agent": "curl",
        "http_refer": "http://r/", "http_method": "GET", "protocol": "HTTP/1.1", "status": 302, "redirect": "/new",
        "http_content_type": "text/html", "length": 5,
    }  # fmt: skip
    assert (asked.complete, answered.complete) == (False, True)
    assert (asked.tx_id, answered.tx_id) == (0, 0)
    assert wire.flow.app_proto == "http"


def test_fields_are_those_of_eve() -> None:
    schema = json.loads(shared("eve-schema.json").read_text())["properties"]["http"]["properties"]
    wire = Wire().client(request(b"GET / HTTP/1.1", b"Host: a", b"User-Agent: b", b"Referer: c")).server(OK)
    types = {"string": str, "integer": int}
    for name, value in wire.seen[-1].fields.items():
        assert isinstance(value, types[schema[name]["type"]]), name


@pytest.mark.parametrize(
    ("line", "uri"),
    [
        (b"GET /a HTTP/1.1", b"/a"),
        (b"GET   /a   HTTP/1.1", b"/a"),
        (b"GET\t/a\tHTTP/1.1", b"/a"),
        (b"GET /a b HTTP/1.1", b"/a b"),
        (b"GET /a", b"/a"),
        (b"GET http://h/a?b HTTP/1.1", b"/a?b"),
        (b"GET http://h HTTP/1.1", b"/"),
        (b"GET /./a/.././b/. HTTP/1.1", b"/b/"),
        (b"GET /../../etc/passwd HTTP/1.0", b"/etc/passwd"),
        (b"GET /%2e%2e/%2E./etc//passwd HTTP/1.0", b"/etc/passwd"),
        (b"GET \\a\\..\\b HTTP/1.0", b"/b"),
        (b"GET /a\x00b HTTP/1.1", b"/a\x00b"),
        (b"GET /%61%zz%4 HTTP/1.1", b"/a%zz%4"),
        (b"GET /%2561 HTTP/1.1", b"/%61"),
        (b"GET /?a=%2e%2e%2f+b HTTP/1.1", b"/?a=../+b"),
        (b"OPTIONS * HTTP/1.1", b"*"),
        (b"FROB /x HTTP/1.1", b"/x"),
    ],
)
def test_request_targets(line: bytes, uri: bytes) -> None:
    assert only_request(request(line))["http.uri"] == uri


def test_bare_line_feeds_and_leading_empty_lines() -> None:
    buffers = only_request(b"\r\n\nGET / HTTP/1.1\nHost: a\n\n")
    assert buffers["http.host"] == b"a"


@pytest.mark.parametrize(
    ("lines", "header"),
    [
        ([b"X: a", b" b", b"\tc"], b"X: a b c\r\n"),
        ([b"X : a  "], b"X: a\r\n"),
        ([b"X:a", b"x: b"], b"X: a\r\nx: b\r\n"),
        ([b"no colon"], b": no colon\r\n"),
        ([b"X: a\x00b"], b"X: a\x00b\r\n"),
        ([b"X:"], b"X: \r\n"),
    ],
)
def test_odd_headers(lines: list[bytes], header: bytes) -> None:
    assert only_request(request(b"GET / HTTP/1.1", *lines))["http.header"] == header


@pytest.mark.parametrize(
    ("lines", "headers"),
    [
        ([b"X-Two:  one ", b"Y:", b"x-two: two"], [b"X-Two: one, two", b"Y: "]),
        ([b"Fold: a", b" b"], [b"Fold: a b"]),
        ([b"no colon"], [b": no colon"]),
        ([], []),
    ],
)
def test_each_header_by_itself_and_those_of_one_name_together(lines: list[bytes], headers: list[bytes]) -> None:
    wire = Wire().client(request(b"GET / HTTP/1.1", *lines))
    (asked,) = wire.seen
    assert list(asked.instances("http.request_header")) == headers
    assert asked.buffers["http.start"] == b"\r\n".join([b"GET / HTTP/1.1", *headers, b"\r\n"])


def test_http_0_9_is_reported_when_the_server_answers_or_the_client_closes() -> None:
    wire = Wire().client(b"GET /old\r\n")
    assert wire.seen == []
    wire.server(b"HTTP/1.0 200 OK\r\n\r\nx")
    assert wire.seen[0].buffers["http.uri"] == b"/old"
    assert Wire().client(b"GET /old\r\n", closed=True).seen[0].buffers["http.uri"] == b"/old"


def test_pipelined_requests_pair_up_in_order() -> None:
    wire = Wire().client(request(b"GET /1 HTTP/1.1") + request(b"HEAD /2 HTTP/1.1") + request(b"GET /3 HTTP/1.1"))
    wire.server(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + OK)
    done = [transaction for transaction in wire.seen if transaction.complete]
    assert [transaction.fields["url"] for transaction in done] == ["/1", "/2", "/3"]
    assert [transaction.fields["length"] for transaction in done] == [2, 0, 2]


def test_interim_responses_are_not_the_answer() -> None:
    wire = Wire().client(request(b"POST / HTTP/1.1", b"Content-Length: 1", body=b"x"))
    wire.server(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert wire.seen[-1].fields["status"] == 200


@pytest.mark.parametrize(
    ("headers", "wire_body", "body"),
    [
        ([b"Content-Length: 5"], b"hello", b"hello"),
        ([b"Content-Length: 5, 5"], b"hello", b"hello"),
        ([b"Content-Length: 5", b"Content-Length: 9"], b"hello", b"hello"),
        ([b"Content-Length: +5"], b"hello", b"hello"),
        ([b"Content-Length: " + b"0" * 30 + b"5"], b"hello", b"hello"),
        ([b"Content-Length: +" + b"0" * 30 + b"5, 5"], b"hello", b"hello"),
        ([b"Transfer-Encoding: chunked"], chunked([b"hel", b"lo"]), b"hello"),
        ([b"Transfer-Encoding: \x0bCHUNKED"], chunked([b"hel", b"lo"]), b"hello"),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 3"], chunked([b"hello"]), b"hello"),
        ([b"Transfer-Encoding: chunked"], b"5;ext=1\nhello\n0\nTrailer: x\n\n", b"hello"),
        ([b"Transfer-Encoding: chunked"], b" 00005 \r\nhello\r\n0\r\n\r\n", b"hello"),
        ([b"Transfer-Encoding: chunked"], b"0" * 20 + b"5\r\nhello\r\n" + b"0" * 20 + b"\r\n\r\n", b"hello"),
        ([b"Content-Length: 13", b"Content-Encoding: deflate"], zlib.compress(b"hello"), b"hello"),
    ],
)
def test_request_bodies(headers: list[bytes], wire_body: bytes, body: bytes) -> None:
    *_, asked = Wire().client(request(b"POST / HTTP/1.1", *headers, body=wire_body)).seen
    assert asked.buffers["http.request_body"] == asked.buffers["file.data"] == body


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        (b"gzip", gzip.compress),
        (b"x-gzip", gzip.compress),
        (b"deflate", zlib.compress),
        (b"deflate", lambda data: zlib.compress(data)[2:-4]),
        (b"gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
        (b"gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
        (b"gzip", lambda data: data),
        (b"br", lambda data: data),
        (b"identity", lambda data: data),
    ],
)
def test_response_codings(coding: bytes, encode) -> None:  # type: ignore[no-untyped-def]
    body = encode(b"hello world")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    assert only_response(head + body)["http.response_body"] == b"hello world"


GZ = gzip.compress(b"hello", mtime=0)  # without a time, for tests are named by their data
GZ_FIELDS = GZ[:3] + b"\x1e" + GZ[4:10] + b"\2\0xxname\0note\0hc" + GZ[10:]
"""With extra field, name, comment and a header checksum that is wrong."""


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"http/1.1 200 ok\r\nContent-Length: 5\r\n\r\n", b"hello"),
        (b" \t\r\n\0HTTP/1.1 200 ok\r\nContent-Length: 5\r\n\r\n", b"hello"),
        (b"junk\r\nHTTP/1.1 200 ok\r\nContent-Length: 5\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 ok\r\nContent-Length: 5\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 ok\r\nContent-Length: " + b"0" * 30 + b"5\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 20 + b"5\r\nhello\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 ok\rContent-Length: 5\rX: y\n\n", b"hello"),
        (b"HTTP/1.1 200 ok\r\nContent-Length: 5\n \n", b"hello"),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: xchunked\r\n\r\n", chunked([b"hel", b"lo"])),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chu\0nked\r\n\r\n", chunked([b"hel", b"lo"])),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding\r\n : chunked\r\n\r\n", chunked([b"hel", b"lo"])),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chunked\r\n\r\n", b"\r\n\r3\r\nhel\r\n\r\n\x0c2\r\nlo\r\n0\r\n\r\n"),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", b"hello"),
        (b"HTTP/1.0 200 ok\r\nTransfer-Encoding: chunked\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 ok\r\nContent-Encoding: gzip;\0\r\n\r\n", GZ),
        (b"HTTP/1.1 200 ok\r\nContent-Encoding: deflate, gzip x\r\n\r\n", GZ),
        (b"HTTP/1.1 200 ok\r\nContent-Encoding: gzip\r\n\r\n", GZ[:-8] + b"checksum"),
        (b"HTTP/1.1 200 ok\r\nContent-Encoding: gzip\r\n\r\n", GZ_FIELDS),
        (b"HTTP/1.1 200 ok\r\nContent-Encoding: gzip\r\n\r\n", GZ[:-12]),
    ],
)  # fmt: skip
def test_odd_responses_that_clients_understand(head: bytes, body: bytes) -> None:
    found = only_response(head + body, closed=True)["file.data"]
    assert found == b"hello" or (body == GZ[:-12] and b"hello".startswith(found) and found)


def test_decompression_bomb() -> None:
    body = gzip.compress(b"\0" * 10_000_000)
    wire = Wire().client(request())
    wire.server(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert len(wire.seen[1].buffers["file.data"]) == 100 * 1024
    assert wire.counters["http.decompression_limit"] == 1


def stored(data: bytes, padding: int = 0, last: bool = True) -> bytes:
    """Return raw deflate with one stored block (RFC 1951 section 3.2.4), whose padding bits are free to choose."""
    return bytes((padding << 3 | last,)) + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def like_zlib(data: bytes) -> bytes:
    """Return raw deflate that begins like zlib, of which a decoy comes if it is read as such."""
    decoy = stored(b"decoy")
    for size in range(len(decoy), 0x10000):
        first, low = 0x78, size & 0xFF
        if (first << 8 | low) % 31 == 0:
            head = bytes((first,)) + struct.pack("<HH", size, size ^ 0xFFFF)
            content = data + b"." * (size - len(data))
            if len(content) == size and zlib_reading(head + content):
                return head + content + stored(b"")
    raise AssertionError("no size fits")


def zlib_reading(data: bytes) -> bytes:
    """Return what comes of the data of a zlib stream, however little."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    found = b""
    for at in range(2, len(data)):
        try:
            found += machine.decompress(data[at : at + 1])
        except zlib.error:
            break
    return found


def test_gzip_with_any_number_of_members() -> None:
    """Empty ones hide nothing, nor does padding between them (RFC 1952 section 2.2)."""
    empty = gzip.compress(b"", mtime=0)
    for before in (empty * 17, empty * 4000, (empty + b"\0" * 100) * 40):
        wire = Wire().client(request(b"POST / HTTP/1.1", b"Content-Encoding: gzip", b"Content-Length: %d" % (
            len(before) + len(gzip.compress(b"exploit"))), body=before + gzip.compress(b"exploit")))  # fmt: skip
        assert wire.seen[0].buffers["http.request_body"] == b"exploit"
        assert wire.counters["http.gzip_too_many_members"] == 0


def test_gzip_members_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ids.protocols.http.content.MAX_MEMBERS", 3)
    coded = gzip.compress(b"a") * 5
    wire = Wire().client(
        request(b"POST / HTTP/1.1", b"Content-Encoding: gzip", b"Content-Length: %d" % len(coded), body=coded)
    )
    assert wire.seen[0].buffers["http.request_body"] == b"aaa" + coded[-2 * len(coded) // 5 :]
    assert wire.counters["http.gzip_too_many_members"] == 1


def test_raw_deflate_that_looks_like_zlib_is_read_as_both() -> None:
    """Who gets it takes it for the one or for the other."""
    coded = like_zlib(b"exploit")
    decoy = zlib_reading(coded)
    assert decoy
    head = request(b"POST / HTTP/1.1", b"Content-Encoding: deflate", b"Content-Length: %d" % len(coded))
    (asked,) = Wire().client(head + coded).seen
    first, second = asked.instances("http.request_body")[:2]
    assert first == decoy
    assert second.startswith(b"exploit")
    assert [data[:7] for data in asked.instances("file.data")[:2]] == [decoy[:7], b"exploit"]
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(coded)
    answered = Wire().client(request()).server(answer + coded).seen[-1]
    assert answered.instances("http.response_body")[1].startswith(b"exploit")


def test_what_came_before_an_error_is_kept_to_the_byte() -> None:
    coded = zlib.compress(bytes(range(256)) * 2, 0)
    wire = (
        Wire()
        .client(request())
        .server(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 400\r\n\r\n" + coded[:300] + b"?" * 100
        )
    )
    assert wire.seen[-1].buffers["http.response_body"].startswith(bytes(range(256)))


def test_body_until_close() -> None:
    head = b"HTTP/1.0 200 OK\r\n\r\n"
    assert only_response(head + b"all of it", closed=True)["http.response_body"] == b"all of it"


def test_body_limit_reports_at_once_and_counts_the_rest() -> None:
    wire = Wire(request_body_bytes=10).client(request(b"POST / HTTP/1.1", b"Content-Length: 25", body=b"x" * 10))
    assert wire.seen[0].buffers["http.request_body"] == b"x" * 10
    wire.client(b"y" * 15 + request(b"GET /next HTTP/1.1"))
    assert wire.counters["http.body_limit_bytes"] == 15
    assert wire.seen[1].buffers["http.uri"] == b"/next"


LONG = [b"A-%d: %s" % (i, b"b" * 40) for i in range(200)]


@pytest.mark.parametrize("step", [0, 1, 100, 1500])
@pytest.mark.parametrize(
    ("last", "body"),
    [(b"X: y", b""), (b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", chunked([b"hel", b"lo"]))],
)
def test_a_head_beyond_the_limit_is_reported_in_parts(last: bytes, body: bytes, step: int) -> None:
    """All of it is inspected, its body is found, and so is the next request."""
    asked = request(b"POST /long HTTP/1.1", *LONG, b"User-Agent: evil", last, body=body)
    wire = Wire(header_bytes=1024).client(asked + request(b"GET /next HTTP/1.1"), step=step)
    *parts, whole, after = wire.seen
    assert (whole.buffers["http.uri"], whole.buffers.get("http.request_body")) == (b"/long", b"hello" if body else None)
    assert (after.tx_id, after.buffers["http.uri"]) == (1, b"/next")
    assert {part.tx_id for part in parts} == {0}
    raw = [found.buffers["http.header.raw"] for found in [whole, *parts]]
    assert all(any(line in one for one in raw) for line in LONG), "none lies across two parts and in neither"
    assert [part.buffers["http.user_agent"] for part in parts if "http.user_agent" in part.buffers] == [b"evil"]
    assert wire.counters["http.header_too_long"] == 1


@pytest.mark.parametrize("step", [0, 1000])
@pytest.mark.parametrize(
    "filler",
    [
        [b"Content-Type: %d" % number for number in range(200)],
        [b"Transfer-Encoding: t%d" % number for number in range(200)],
        [b"Content-Length: 9"] * 200,
    ],
)
def test_no_number_of_lines_hides_where_the_body_of_a_long_head_ends(filler: list[bytes], step: int) -> None:
    lines = [*filler, b"X: " + b"x" * 2000, b"Transfer-Encoding: chunked"]
    asked = request(b"POST /a HTTP/1.1", *lines, body=chunked([b"x\r\n\r\nGET /body HTTP/1.1\r\n\r\n"]))
    wire = Wire(header_bytes=1024).client(asked + request(b"GET /next HTTP/1.1"), step=step)
    assert list(dict.fromkeys(uris(wire))) == [b"/a", b"/next"]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("lengths", "bodies"),
    [
        ([b"1_6"], [b"0", b"0123456789abcdef"]),
        ([b"3", b"16"], [b"012", b"0123456789abcdef"]),
        ([b"16", b"3"], [b"012", b"0123456789abcdef"]),
        ([b"16, 3"], [b"012", b"0123456789abcdef"]),
        ([b"16", b"0"], [b"0123456789abcdef"]),
        ([b"16, 16"], [b"0123456789abcdef"]),
        ([b"16x"], [b"0123456789abcdef"]),
    ],
)
def test_a_length_that_servers_take_for_two_gives_both_bodies(
    lengths: list[bytes], bodies: list[bytes], step: int
) -> None:
    asked = request(b"POST /a HTTP/1.1", *[b"Content-Length: " + length for length in lengths])
    wire = Wire().client(asked + b"0123456789abcdef", step=step)
    wire.client(request(b"GET /next HTTP/1.1", b"Host: a")).close()
    shown = {found.buffers["http.request_body"] for found in wire.seen if "http.request_body" in found.buffers}
    assert shown == set(bodies)
    assert any(uri.endswith(b"/next") for uri in uris(wire))
    odd = wire.counters["http.length_conflict"] + wire.counters["http.length_invalid"]
    assert odd == (lengths != [b"16, 16"])
    assert sum(found.complete for found in wire.seen) == len({found.tx_id for found in wire.seen})


def test_of_bodies_of_two_lengths_one_is_read_besides_at_a_time() -> None:
    """So each byte is looked at twice at most, however many say so."""
    asked = request(b"POST /a HTTP/1.1", b"Content-Length: 0", b"Content-Length: 99999")
    wire = Wire().client(asked * 500).close()
    assert sum(len(found.buffers.get("http.request_body", b"")) for found in wire.seen) <= len(asked) * 500


PROXY_HEADERS = [
    b"PROXY TCP4 192.0.2.1 203.0.113.1 40000 80\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 80\n",
    b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c" + bytes(12),
    b"\r\n\r\n\0\r\nQUIT\n \0\0\0",
    b"\r\n\r\n\0\r\nQUIT\n!!\0\x5c" + b"\r\n" * 46,
]


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("header", PROXY_HEADERS)
def test_what_a_proxy_says_of_the_client_hides_no_request(header: bytes, step: int) -> None:
    wire = Wire().client(header + request(b"GET /x HTTP/1.1", b"Host: a"), step=step)
    assert wire.flow.app_proto == "http"
    assert [(found.buffers["http.uri"], found.buffers["http.host"]) for found in wire.seen] == [(b"/x", b"a")]
    assert wire.counters["http.proxy_header"] == 1


@pytest.mark.parametrize(
    "first",
    [
        b"PROXY TCP4 " + b"x" * 200 + b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n!\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x60 x\r\nGET /x HTTP/1.1\r\n\r\n",
    ],
)
def test_what_only_looks_like_a_proxy_hides_no_request_either(first: bytes) -> None:
    """A server that does not know of proxies reads lines."""
    wire = Wire().client(request()).client(first + b"\r\n\r\n" + request(b"GET /next HTTP/1.1") + request())
    assert b"/next" in uris(wire)
    assert b"GET /x " not in first or any(b"GET /x" in found.buffers["http.header.raw"] for found in wire.seen)


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_a_response_with_a_head_beyond_the_limit(step: int) -> None:
    wire = Wire(header_bytes=1024).client(request() + request(b"GET /next HTTP/1.1"))
    answer = request(b"HTTP/1.1 200 OK", *LONG, b"Server: evil", b"Content-Length: 5", body=b"hello")
    wire.server(answer + request(b"HTTP/1.1 404 No", b"Content-Length: 0"), step=step)
    answers = [found for found in wire.seen if found.direction is SERVER and found.complete]
    assert [(found.tx_id, found.fields["status"]) for found in answers] == [(0, 200), (1, 404)]
    assert answers[0].buffers["http.response_body"] == b"hello"
    assert any(found.buffers.get("http.server") == b"evil" for found in wire.seen)


def test_a_head_without_end_is_reported_when_the_connection_ends() -> None:
    wire = Wire(header_bytes=1024).client(b"GET /long HTTP/1.1\r\n" + b"\r\n".join(LONG)).close()
    assert b"/long" in [found.buffers.get("http.uri") for found in wire.seen]
    assert any(LONG[-1] in found.buffers.get("http.header.raw", b"") for found in wire.seen)


def test_what_is_held_of_a_head_without_end_is_bounded() -> None:
    wire = Wire(header_bytes=1024).client(b"GET /long HTTP/1.1\r\n")
    for _ in range(200):
        wire.client(b"Content-Length: 5\r\nA: b\r\n" * 100)
    parser = wire.stage._talks.by_id[wire.flow.id].parser
    assert isinstance(parser, Connection)
    assert parser.held < 8192
    assert parser._careful is not None
    assert parser._careful._sides[0].message is not None
    assert len(parser._careful._sides[0].message.framing) == 16


@pytest.mark.parametrize("step", [0, 1, 1000])
@pytest.mark.parametrize(
    "line",
    [
        b"0" * 20_000 + b"5",
        b"5;" + b"x" * 20_000,
        b"5" + b" " * 20_000,
        b" " * 20_000 + b"5",
        b"0x" + b"0" * 9000 + b"5;a=b",
    ],
)
def test_a_chunk_size_line_of_any_length_keeps_the_framing(line: bytes, step: int) -> None:
    body = line + b"\r\nhello\r\n0\r\n\r\n"
    asked = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body) + request(b"GET /next HTTP/1.1")
    first, second = Wire().client(asked, step=step).seen
    assert first.buffers["http.request_body"] == b"hello"
    assert second.buffers["http.uri"] == b"/next"


@pytest.mark.parametrize("step", [0, 1000])
@pytest.mark.parametrize("trailer", [b"A: b\r\n" * 20_000, b"A: " + b"b" * 200_000 + b"\r\n"])
def test_a_trailer_of_any_length_keeps_the_framing(trailer: bytes, step: int) -> None:
    body = b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n"
    asked = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body) + request(b"GET /next HTTP/1.1")
    first, second = Wire().client(asked, step=step).seen
    assert first.buffers["http.request_body"] == b"hello"
    assert second.buffers["http.uri"] == b"/next"


@pytest.mark.parametrize(
    ("last", "body"),
    [(b"Content-Length: 5", b"hello"), (b"Transfer-Encoding: chunked", chunked([b"hel", b"lo"]))],
)
def test_many_headers_are_counted_and_all_of_them_read(last: bytes, body: bytes) -> None:
    asked = request(b"POST / HTTP/1.1", *[b"A: b"] * 300, b"User-Agent: evil", last, body=body)
    wire = Wire().client(asked + request(b"GET /next HTTP/1.1"))
    first, second = wire.seen
    assert first.buffers["http.header"].count(b"\r\n") == 302
    assert first.buffers["http.user_agent"] == b"evil"
    assert first.buffers["http.request_body"] == b"hello"
    assert second.buffers["http.uri"] == b"/next"
    assert wire.counters["http.too_many_headers"] == 1


def test_the_cost_of_many_headers_is_linear() -> None:
    """Joined one by one, values of one name would be copied for each."""
    counters = Counters()
    found = parse_request(b"GET / HTTP/1.1\n" + b"a:\n" * 500_000, 8, counters)
    assert len(found.headers[b"a"]) == 2 * 499_999


def uris(wire: Wire) -> list[bytes]:
    return [uri for transaction in wire.seen for uri in transaction.instances("http.uri")]


def hosted(*numbers: int) -> bytes:
    return b"".join(request(b"GET /%d HTTP/1.1" % number, b"Host: a") for number in numbers)


def numbered(*numbers: int) -> bytes:
    return b"".join(request(b"GET /%d HTTP/1.1" % number) for number in numbers)


def test_a_client_ahead_of_its_server_is_read_on_when_that_answers() -> None:
    """As the server does: so requests that nobody answers cost next to nothing, and none that is answered is missed."""
    wire = Wire(open_requests=4).client(numbered(*range(10)))
    assert uris(wire) == [b"/0", b"/1", b"/2", b"/3"]
    wire.server(OK * 3)
    assert uris(wire) == [b"/%d" % number for number in range(7)]
    wire.client(numbered(10)).server(OK * 8)
    assert uris(wire) == [b"/%d" % number for number in range(11)]
    done = [(transaction.tx_id, transaction.fields["url"]) for transaction in wire.seen if transaction.complete]
    assert done == [(number, f"/{number}") for number in range(11)]
    assert wire.counters["http.too_many_open_requests"] == 0


@pytest.mark.parametrize("step", [0, 1460])
def test_requests_of_a_line_that_nobody_answers_are_read_at_once(step: int) -> None:
    """All are inspected, in few transactions; the next one that has more to it is read as ever."""
    bare = [b"G /%d" % (number % 50) for number in range(40_000)]
    bare[30_000] = b"G /%2e%2e//etc/passwd"
    asked = b"\n\n".join(bare) + b"\n\n" + request(b"POST /next HTTP/1.1", b"Content-Length: 2", body=b"hi")
    wire = Wire().client(asked, step=step).close()
    assert len(wire.seen) < 3000
    found = uris(wire)
    assert {b"/etc/passwd", *[b"/%d" % number for number in range(50)]} <= set(found)
    assert wire.counters["http.skimmed_requests"] > 20_000
    assert [one.buffers["http.request_body"] for one in wire.seen if "http.request_body" in one.buffers] == [b"hi"]


def test_a_client_that_closed_is_answered_to_the_end() -> None:
    wire = Wire(open_requests=4)
    wire.client(numbered(*range(9)), closed=True).server(OK * 9, closed=True)
    assert uris(wire) == [b"/%d" % number for number in range(9)]
    assert sum(transaction.complete for transaction in wire.seen) == 9


@pytest.mark.parametrize("heard", [True, False])
def test_of_what_is_never_answered_some_is_read_at_the_end(heard: bool) -> None:
    """The server may have answered all the same, to a client that read nothing."""
    last = 4 + heard + UNANSWERED_READ
    wire = Wire(open_requests=4).client(hosted(*range(last + 70)))
    if heard:
        wire.server(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
    wire.close()
    assert uris(wire) == [b"/%d" % number for number in range(last)]
    assert wire.counters["http.unparsed_bytes"] == len(hosted(*range(last, last + 70)))


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
def test_a_request_that_is_answered_before_its_end_is_reported_then(framing: bytes) -> None:
    """Its end may never come, and the server has acted on it. What comes of it is reported at its end, once more."""
    wire = Wire().client(request(b"POST /early HTTP/1.1", framing)).server(OK)
    assert [(one.direction, one.buffers.get("http.uri")) for one in wire.seen] == [
        (Direction.TO_SERVER, b"/early"), (Direction.TO_CLIENT, None)
    ]  # fmt: skip
    wire.close()
    assert uris(wire) == [b"/early", b"/early"]


def test_a_client_that_reads_no_answers_has_its_requests_read() -> None:
    wire = Wire().client(hosted(0)).server(OK).client(hosted(*range(1, 200)))
    assert uris(wire) == [b"/%d" % number for number in range(200)]


def test_what_waits_for_answers_takes_no_memory_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest let go, and are read again from the next request on."""
    asked = numbered(*range(100))
    waiting = len(asked) - len(numbered(0))
    monkeypatch.setattr("ids.protocols.http.message.STALLED_BYTES", 2 * waiting)
    flows, counters = FlowColumns(4), Counters()
    stage = Protocols(ProtocolSettings.model_validate({"http": {"open_requests": 1}}), counters, flows)
    members = [make_flow(columns=flows) for _ in range(5)]

    def feed(place: int, direction: Direction, data: bytes, offset: int = 0) -> list[bytes]:
        rows = make_streams([StreamChunk(members[place], direction, offset, data, T0, place + 1)])
        found = [transaction.buffers.get("http.uri") for transaction in stage.feed(rows, make_datagrams([]))]
        return [uri for uri in found if uri is not None]

    for place in range(5):
        assert feed(place, CLIENT, asked) == [b"/0"]
    assert counters["http.unparsed_bytes"] == 3 * waiting
    assert feed(4, SERVER, OK * 3) == [b"/1", b"/2", b"/3"], "the youngest are held"
    assert feed(0, SERVER, OK) == []
    assert feed(0, CLIENT, numbered(100), len(asked)) == [b"/100"]


def test_requests_behind_a_full_buffer_of_them_are_read_without_answers() -> None:
    """Who sees but one direction sees no answers."""
    asked = [request(b"GET /%d HTTP/1.1" % number, b"Host: a") for number in range(200)]
    wire = Wire(open_requests=4, header_bytes=1024).client(b"".join(asked))
    assert uris(wire)[-1] == b"/%d" % (len(uris(wire)) - 1)
    assert len(b"".join(asked[len(uris(wire)) :])) <= 1024
    assert wire.counters["http.too_many_open_requests"] == len(uris(wire)) - 4


def test_the_memory_cap_reports_what_is_unfinished() -> None:
    wire = Wire(memcap_bytes=1000).client(request(b"POST /a HTTP/1.1", b"Content-Length: 3000", body=b"x" * 2000))
    assert wire.seen[0].buffers["http.request_body"] == b"x" * 2000
    assert wire.counters["http.memcap"] == 1
    wire.client(b"y" * 1000 + request(b"GET /next HTTP/1.1"))
    assert wire.seen[-1].buffers["http.uri"] == b"/next"


def test_a_byte_at_a_time_costs_no_memory_beyond_the_limits() -> None:
    wire = Wire(request_body_bytes=64).client(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"))
    wire.client(chunked([b"z"] * 500), step=1)
    assert wire.seen[0].buffers["http.request_body"] == b"z" * 64
    assert wire.counters["http.body_limit_bytes"] == 436


def test_unanswered_requests_complete_when_the_connection_ends() -> None:
    wire = Wire().client(request(b"GET /x HTTP/1.1")).close()
    assert [(transaction.complete, transaction.fields["url"]) for transaction in wire.seen] == [
        (False, "/x"),
        (True, "/x"),
    ]


def test_connect_becomes_a_tunnel() -> None:
    wire = Wire().client(request(b"CONNECT h:443 HTTP/1.1")).server(b"HTTP/1.1 200 OK\r\n\r\n")
    assert wire.seen[0].buffers["http.host"] == b"h"
    before = len(wire.seen)
    wire.client(b"\x16\x03\x01").server(b"\x16\x03\x01").close()
    assert len(wire.seen) == before == 2


@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_gap_within_a_body_shortens_it(step: int) -> None:
    wire = Wire().client(request(b"POST / HTTP/1.1", b"Content-Length: 20", body=b"a" * 5), step=step)
    wire.client(b"b" * 5 + request(b"GET /next HTTP/1.1"), gap=10)
    assert wire.seen[0].buffers["http.request_body"] == b"aaaaabbbbb"
    assert wire.seen[1].buffers["http.uri"] == b"/next"


def test_after_a_gap_the_next_request_is_found() -> None:
    wire = Wire().client(b"GET /broken HTTP/1.1\r\nHos").client(b"ken: x\r\n\r\nGET /next HTTP/1.1\r\n\r\n", gap=9)
    assert [transaction.buffers["http.uri"] for transaction in wire.seen] == [b"/broken", b"/next"]


def test_after_a_gap_the_next_response_is_found() -> None:
    wire = Wire().client(request() * 2).server(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.server(b"n: 3\r\n\r\nabc\r\n" + OK, gap=4)
    assert [transaction.fields["status"] for transaction in wire.seen if transaction.complete] == [200, 200]


def test_multipart_uploads_are_files() -> None:
    body = (b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfield\r\n"
            b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\nContent-Type: y\r\n\r\n<?php\r\n"
            b"--B--\r\n")  # fmt: skip
    buffers = only_request(request(
        b"POST / HTTP/1.1", b"Content-Type: multipart/form-data; boundary=B", b"Content-Length: %d" % len(body),
        body=body,
    ))  # fmt: skip
    assert buffers["file.name"] == b"x.php"
    assert buffers["file.data"] == b"<?php"
    assert buffers["http.request_body"] == body


def test_put_is_a_file_named_by_the_path_of_its_target() -> None:
    buffers = only_request(request(b"PUT /up/shell.jsp?x HTTP/1.1", b"Content-Length: 1", body=b"j"))
    assert (buffers["file.name"], buffers["file.data"]) == (b"/up/shell.jsp", b"j")


EXCHANGES = st.lists(
    st.sampled_from([
        (request(b"GET /a HTTP/1.1", b"Host: h"), OK),
        (request(b"POST /b HTTP/1.1", b"Content-Length: 5", body=b"hello"), OK),
        (request(b"POST /c HTTP/1.1", b"Transfer-Encoding: chunked", body=chunked([b"ab", b"c"])), OK),
        (b"\r\n\nGET /lf HTTP/1.0\nX: 1\n 2\n\n", b"HTTP/1.1 204 None\n\n"),
        (request(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([b"x" * 30, b"\r\n0\r\n"])),
        (request(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbroken"),
        (request(b"HEAD / HTTP/1.1"), b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        (b"JUNK\r\nno colon\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n"),
    ]),
    min_size=1,
    max_size=4,
)  # fmt: skip


@given(EXCHANGES, st.integers(1, 40), st.integers(1, 40))
def test_any_cut_gives_the_same_transactions(exchanges: list[tuple[bytes, bytes]], up: int, down: int) -> None:
    asked = request(b"GET /first HTTP/1.1") + b"".join(pair[0] for pair in exchanges)
    answered = OK + b"".join(pair[1] for pair in exchanges)
    whole = Wire().client(asked).server(answered).close()
    cut = Wire().client(asked, step=up).server(answered, step=down).close()
    assert cut.what() == whole.what()
    assert cut.counters.values == whole.counters.values


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=30), st.integers(0, 3)), max_size=10))
def test_no_bytes_make_the_parser_fail(pieces: list[tuple[bool, bytes, int]]) -> None:
    wire = Wire(header_bytes=1024).client(b"GET / HTTP/1.1\r\n").server(b"HTTP/1.1 200")
    for back, data, gap in pieces:
        wire.send(SERVER if back else CLIENT, data, gap=gap)
    wire.close()
    assert wire.counters["app_layer.error.http.internal"] == 0


TOKENS = st.sampled_from([
    b"GET / HTTP/1.1", b"HTTP/1.1 200 OK", b"\r\n", b"\n", b"\r\n\r\n", b"Transfer-Encoding: chunked", b"0",
    b"5\r\nhello\r\n", b"Content-Length: 3", b"Content-Encoding: gzip", b" ", b":", b"\0", b"CONNECT h:1 HTTP/1.1",
    b"HTTP/1.1 101 S", b"abc", b"\r", b"\t",
])  # fmt: skip


@given(st.lists(TOKENS, max_size=30), st.lists(TOKENS, max_size=30), st.integers(1, 9))
def test_grammar_soup_never_fails_and_is_cut_alike(up: list[bytes], down: list[bytes], step: int) -> None:
    asked, answered = b"GET / HTTP/1.1\r\n" + b"".join(up), b"HTTP/1.1 200 OK\r\n" + b"".join(down)
    whole = Wire().client(asked).server(answered).close()
    cut = Wire().client(asked, step=step).server(answered, step=step).close()
    assert whole.counters["app_layer.error.http.internal"] == 0
    found, expected = (
        [
            repr((t.tx_id, t.direction, sorted(t.buffers.items()), sorted(t.fields.items()), t.complete))
            for t in wire.seen
        ]
        for wire in (cut, whole)
    )
    assert sorted(found) == sorted(expected), "a body that is read in two ways may end later"


@pytest.mark.parametrize(
    ("target", "forms"),
    [
        (b"/shop?size=100g", []),
        (b"/shop?q=a%20b", []),
        (b"/shop/%74ea", []),
        (b"/%252e%252e/x", [b"/../x", b"/x"]),
        (b"/a/%2e%2e/b", [b"/a/../b"]),
        (b"/a/../b", [b"/a/../b"]),
        (b"/a?f=..//..//.//etc", [b"/a?f=../../etc"]),
        (b"/a?f=/./etc/./passwd", [b"/a?f=/etc/passwd"]),
        (b"/a?f=..%5cetc", [b"/a?f=../etc"]),
        (b"/a?f=%25255c", [b"/a?f=/"]),
        (b"/a?f=%u002e%U002F", [b"/a?f=./"]),
        (b"/a?f=%uff0f", [b"/a?f=/"]),
        (b"/a?f=%u4e2d", []),
        (b"/a?f=%c0%ae%c0%af%e0%80%af", [b"/a?f=./"]),
        (b"/a?b#c", [b"/a?b"]),
        (b"/a.php%00.html?a=%00b", [b"/a.php?a=b"]),
        (b"http://h/a%2561", [b"/aa"]),
        (b"http://h//a", []),
    ],
)
@pytest.mark.parametrize("ordinary_lane", [False, True])
def test_further_forms_of_a_target(target: bytes, forms: list[bytes], ordinary_lane: bool) -> None:
    """What an application or an odd server makes of it, beside the form that every server does."""
    (asked,) = Wire(ordinary_lane=ordinary_lane).client(request(b"GET %s HTTP/1.1" % target, b"Host: a")).seen
    assert list(asked.instances("http.uri")[1:]) == forms


@pytest.mark.parametrize(
    ("body", "forms"),
    [
        (b"a=b+c", []),
        (b"a=%27+or", [b"a=' or"]),
        (b"100%", []),
        (b"%24%7bjndi", [b"${jndi"]),
        (rb'{"a": "\u0024\u007bjndi\u4e2d"}', [rb'{"a": "${jndi\u4e2d"}']),
    ],
)
@pytest.mark.parametrize("ordinary_lane", [False, True])
def test_a_body_with_percent_encoding_is_seen_without_as_well(
    body: bytes, forms: list[bytes], ordinary_lane: bool
) -> None:
    asked = request(b"POST / HTTP/1.1", b"Content-Length: %d" % len(body), body=body)
    (seen,) = Wire(ordinary_lane=ordinary_lane).client(asked).seen
    assert list(seen.instances("http.request_body")) == [body, *forms]


@given(st.binary(max_size=80) | st.text("%u0feE2cC./\\#a", max_size=60).map(str.encode))
def test_further_forms_are_few_and_settle(target: bytes) -> None:
    """No bytes make it fail; what comes out is other than what is there already."""
    first = normalise(split_target(target)[1])
    forms = further_forms(target)
    assert len(forms) <= 2
    assert first not in forms
    assert len(set(forms)) == len(forms)
    assert all(b"\0" not in form and b"#" not in form.partition(b"%")[0] for form in forms)


def test_many_encoded_bytes_cost_linear_time() -> None:
    began = time.process_time()
    further_forms(b"/" + b"%25" * 200_000 + b"%c0%ae" * 50_000 + b"/./" * 100_000)
    further_body(b"%41" * 200_000)
    assert time.process_time() - began < 3


def answered(*pieces: bytes) -> Wire:
    wire = Wire()
    wire.stage.files.want(None, logged=True)
    wire.client(request(b"GET /old HTTP/1.1"))
    for piece in pieces:
        wire.server(piece)
    return wire


@pytest.mark.parametrize("step", [1, 5, 100])
def test_an_answer_without_a_status_line_is_a_body(step: int) -> None:
    said = b"<html>evil</html>\n\nmore of it\n"
    wire = answered(*(said[at : at + step] for at in range(0, len(said), step))).close()
    body = [found.buffers["http.response_body"] for found in wire.seen if "http.response_body" in found.buffers]
    assert body[-1] == said
    (event,) = [dict(found.fields) for found in wire.seen if found.complete]
    assert (event["url"], event["length"], "status" in event) == ("/old", len(said), False)
    (file,) = wire.stage.files.take()[0]
    assert (file.name, file.content) == (b"/old", said)


def test_where_a_response_follows_that_is_the_answer() -> None:
    wire = answered(b"a banner\r\nof evil\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").close()
    bodies = [found.buffers["http.response_body"] for found in wire.all if "http.response_body" in found.buffers]
    assert (b"a banner\r\nof evil\r\n" in bodies, bodies[-1]) == (True, b"abc")
    (event,) = [dict(found.fields) for found in wire.seen if found.complete]
    assert (event["url"], event["status"], event["length"]) == ("/old", 200, 3)


@pytest.mark.parametrize(("said", "found"), [(b"SSH-2.0-OpenSSH_9.2\r\n", 1), (b"any other words\r\n", 0), (OK, 0)])
def test_a_server_that_begins_in_another_protocol_is_noted(said: bytes, found: int) -> None:
    assert len(answered(said).close().stage.contradictions) == found


def test_what_nobody_asked_for_needs_a_status_line() -> None:
    wire = answered(OK, b"no answer\r\n", OK).close()
    assert [found.fields["status"] for found in wire.seen if found.complete] == [200, 200]
    assert not any(b"no answer" in found.buffers.get("http.response_body", b"") for found in wire.all)


@pytest.mark.parametrize(
    ("settings", "asked", "answered"),
    [
        ({"logged_headers": "both"}, {"Host": "a", "X-Two": "1, 2"}, {"Server": "s", "Content-Length": "0"}),
        ({"logged_headers": "response", "logged_header_names": ("x_two",)}, {"X-Two": "1, 2"},
         {"Server": "s", "Content-Length": "0"}),
        ({"logged_header_names": ("SERVER",)}, None, {"Server": "s"}),
        ({}, None, None),
    ],
)  # fmt: skip
def test_events_list_the_headers_that_are_wanted(settings: dict[str, Any], asked: Any, answered: Any) -> None:
    wire = Wire(**settings).client(b"GET / HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\n\r\n")
    wire.server(b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 0\r\n\r\n")
    event = wire.seen[-1].fields
    for key, expected in (("request_headers", asked), ("response_headers", answered)):
        found = {each["name"]: each["value"] for each in event[key]} if key in event else None
        assert found == expected
