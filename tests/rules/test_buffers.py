"""The catalogue of buffers agrees with the parsers that fill them."""

from __future__ import annotations

from ids.protocols import PROTOCOLS
from ids.rules.model.buffers import APP_PROTOCOLS, CATALOGUE, PARSED, TRANSPORT_PROTOCOLS
from ids.types import Transaction
from tests.protocols.wire import Wire

EXCHANGE = (
    b"POST http://h.example/a HTTP/1.1\r\nHost: H.example\r\nUser-Agent: u\r\nReferer: r\r\nAccept: a\r\n"
    b"Accept-Encoding: e\r\nAccept-Language: l\r\nConnection: keep-alive\r\nContent-Type: text/plain\r\nCookie: c\r\n"
    b"Content-Length: 4\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nServer: s\r\nLocation: l\r\nContent-Type: text/plain\r\nSet-Cookie: c\r\n"
    b"Content-Length: 4\r\n\r\nbody",
)


def transactions() -> list[Transaction]:
    """Parse one exchange that has every header with a buffer of its own."""
    request, response = EXCHANGE
    return Wire().client(request).server(response).close().seen


def test_every_protocol_with_a_parser_is_known_as_such() -> None:
    """A rule on a buffer of another protocol is refused."""
    assert {protocol.name for protocol in PROTOCOLS if protocol.parsed} == PARSED
    assert PARSED <= APP_PROTOCOLS
    assert APP_PROTOCOLS.isdisjoint(TRANSPORT_PROTOCOLS)


def test_every_buffer_of_the_parser_can_be_named_on_its_side() -> None:
    """And every HTTP buffer that can be named is given, by the side that the catalogue says."""
    given: set[str] = set()
    for found in transactions():
        for name in found.buffers:
            assert CATALOGUE[name].side in (None, found.direction), name
        given |= found.buffers.keys()
    assert given - {"file.data", "file.name"} == {name for name, b in CATALOGUE.items() if b.protocol == "http"}
