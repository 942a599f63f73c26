"""The catalogue of buffers and protocols agrees with the parsers that fill them, and with what is recognised."""

from __future__ import annotations

import pytest

from ids.counters import Counters
from ids.protocols import Protocols, ProtocolSettings
from ids.protocols.files import FILE_BUFFERS
from ids.rules.model.buffers import APP_PROTOCOLS, CATALOGUE, PARSED, TRANSPORT_PROTOCOLS, refusal, unrecognised
from ids.types import Direction, StreamChunk, Transactions
from ids.types.transactions import DERIVED, LINES
from tests.factory import NO_DATAGRAMS, make_flow, make_streams

EXCHANGE = (
    b"POST http://h.example/a HTTP/1.1\r\nHost: H.example\r\nUser-Agent: u\r\nReferer: r\r\nAccept: a\r\n"
    b"Accept-Encoding: e\r\nAccept-Language: l\r\nConnection: keep-alive\r\nContent-Type: text/plain\r\nCookie: c\r\n"
    b"Content-Length: 4\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nServer: s\r\nLocation: l\r\nContent-Type: text/plain\r\nSet-Cookie: c\r\n"
    b"Content-Length: 4\r\n\r\nbody",
)


def transactions(ordinary_lane: bool) -> Transactions:
    """Parse one exchange that has every header with a buffer of its own."""
    flow = make_flow()
    stage = Protocols(ProtocolSettings(), Counters(), flow.columns, ordinary_lane=ordinary_lane)
    chunks = [
        StreamChunk(flow, direction, 0, data, 0, 1, closed=True)
        for direction, data in zip(Direction, EXCHANGE, strict=True)
    ]
    return stage.feed(make_streams(chunks), NO_DATAGRAMS)


def test_protocols_of_rules() -> None:
    assert {"dns", "http", "http2", "tls", "ssh", "websocket", "smb", "dcerpc", "krb5", "ldap", "rdp"} <= PARSED
    assert PARSED <= APP_PROTOCOLS
    assert APP_PROTOCOLS.isdisjoint(TRANSPORT_PROTOCOLS)


@pytest.mark.parametrize("ordinary_lane", [True, False])
def test_every_buffer_of_the_parser_can_be_named_on_its_side(ordinary_lane: bool) -> None:
    """And every HTTP buffer that can be named is given, by the side that the catalogue says."""
    given: set[str] = set()
    for found in transactions(ordinary_lane):
        for name in found.buffers:
            assert CATALOGUE[name].side in (None, found.direction), name
        given |= set(found.buffers)
        given |= {name for name in (*LINES, *DERIVED) if found.instances(name)}
    assert given - set(FILE_BUFFERS) == {name for name, b in CATALOGUE.items() if b.protocol == "http"}


def test_a_buffer_that_nothing_fills_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ids.rules.model.buffers.PARSED", PARSED - {"smb"})
    assert refusal("smb.share", []) == ("there is no parser for smb that gives smb.share", "test payload instead")
    assert refusal("http.uri", []) is refusal("file.data", []) is refusal("payload", []) is None
    assert refusal("http.url", []) == ("unknown buffer 'http.url'", "did you mean 'http.uri'?")


@pytest.mark.parametrize(
    ("protocol", "ip_proto", "why"),
    [
        ("http", None, None),
        ("dns", None, None),
        ("dns", 17, None),
        ("dns", 6, None),
        ("krb5", 17, None),
        ("quic", 17, None),
        ("irc", None, "nothing here recognises irc, so the rule could never match"),
        ("smb", 17, "smb is recognised over TCP only, not over UDP"),
        ("tls", 132, "tls is recognised over TCP only, not over IP protocol 132"),
    ],
)
def test_protocols_that_no_flow_is_ever_recognised_as(protocol: str, ip_proto: int | None, why: str | None) -> None:
    found = unrecognised(protocol, ip_proto)
    assert (found[0] if found else None) == why
