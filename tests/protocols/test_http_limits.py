"""HTTP/1 beyond its limits: what is longer than is read ends buffers, and never the framing."""

from __future__ import annotations

import pytest

from ids.counters import Counters
from ids.protocols.http.connection import Connection
from ids.protocols.http.head import other_readings, parse_request
from tests.cost import LINEAR, growth
from tests.protocols.wire import SERVER, Wire, chunked, request, uris

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


@pytest.mark.parametrize(
    ("before", "again", "behind"),
    [(b"GET / HTTP/1.1\r\nA: ", b"\r", b"\n"), (b"GET", b" ", b"\n"), (b"GET", b" \t", b"")],
)
def test_the_cost_of_white_space_in_a_head_is_linear(before: bytes, again: bytes, behind: bytes) -> None:
    assert growth(lambda n: other_readings(before + again * n + behind), 1000) < LINEAR
