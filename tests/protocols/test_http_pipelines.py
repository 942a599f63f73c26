"""HTTP/1 clients that are ahead of their servers, and what is held of them."""

from __future__ import annotations

import pytest

from ids.counters import Counters
from ids.protocols.http.parser import UNANSWERED_READ
from ids.protocols.settings import ProtocolSettings
from ids.protocols.stage import Protocols
from ids.types import Direction, FlowColumns, StreamChunk
from tests.factory import NO_DATAGRAMS, T0, make_flow, make_streams
from tests.protocols.wire import CLIENT, OK, SERVER, Wire, chunked, request, uris


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
        found = [transaction.buffers.get("http.uri") for transaction in stage.feed(rows, NO_DATAGRAMS)]
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
