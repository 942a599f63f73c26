"""HTTP/1 bodies: where they end, and how they are coded."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest

from tests.protocols.wire import Wire, chunked, only_response, request


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


NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("more", [b"", b"more", b"more\n", b"\nHTTP", b"H", b"HTTP/1.1 x"])
@pytest.mark.parametrize("following", [b"", NEXT])
@pytest.mark.parametrize("length", [b"2A", b"2\r\n 4", b"2, 4", b"2\r\nContent-Length: 4", b"2.0"])
def test_what_is_behind_a_body_whose_length_is_in_doubt_is_more_of_it(
    length: bytes, following: bytes, more: bytes, step: int
) -> None:
    """Some clients take the number, others read on until the end: up to where a response begins."""
    if following and more and not more.endswith(b"\n"):
        more += b"\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nok%s%s" % (length, more, following)
    wire = Wire().client(request() * 2).server(answer, step=step).close()
    bodies = [found.buffers["http.response_body"] for found in wire.seen if "http.response_body" in found.buffers]
    assert bodies == [b"ok" + more, *([b"new"] if following else [])]
    lengths = [found.fields["length"] for found in wire.seen if found.complete]
    assert lengths == [2 + len(more), 3 if following else 0]


@pytest.mark.parametrize("length", [b"2", b" 2 ", b"2, 2", b"2\r\nContent-Length: 2"])
def test_what_is_behind_a_body_whose_length_is_plain_is_no_more_of_it(length: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nokmore\n%s" % (length, NEXT)
    wire = Wire().client(request()).server(answer).close()
    assert next(found.fields["length"] for found in wire.seen if found.complete) == 2


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("blank", [b"\r\r\n", b"\r\r\r\n"])
@pytest.mark.parametrize(
    ("behind", "body"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", b"body"),
        (b"X-Y: z\r\nContent-Length: 4\r\n\r\nbody", b"body"),
        (b"body\r\n\r\nmore", b"body\r\n\r\nmore"),
        (b"<a:b>", b"<a:b>"),
        (b"a" * 60, b"a" * 60),
        (b" a: b", b" a: b"),
    ],
)
def test_a_line_of_carriage_returns_ends_a_head_where_no_header_follows(
    behind: bytes, body: bytes, blank: bytes, step: int
) -> None:
    wire = Wire().client(request()).server(b"HTTP/1.1 200 OK\r\nServer: x\r\n" + blank + behind, step=step).close()
    assert wire.seen[-1].buffers["http.response_body"] == body
