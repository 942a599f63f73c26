"""HTTP: a message is reported when its head is there, and as its body grows; its end may never come."""

from __future__ import annotations

import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.http.body import EARLY_LOOKS
from ids.types import Direction
from tests.protocols.wire import CLIENT, SERVER, Wire, chunked, request

UNENDING = [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"]
POST = b"POST /x HTTP/1.1"
ANSWER = b"HTTP/1.1 200 OK\r\n"


def bodies(wire: Wire, side: str = "request") -> list[bytes]:
    """Return the bodies of the looks."""
    return [look.buffers.get(f"http.{side}_body", b"") for look in wire.looks]


@pytest.mark.parametrize("framing", UNENDING)
def test_a_head_is_reported_before_its_body_ends(framing: bytes) -> None:
    wire = Wire().client(request(POST, framing))
    (look,) = wire.looks
    assert wire.seen == []
    assert (look.buffers["http.uri"], look.direction, look.tx_id, look.complete) == (b"/x", CLIENT, 0, False)
    assert look.fields["url"] == "/x"


@pytest.mark.parametrize("framing", [*UNENDING, b"Connection: close"])
def test_the_head_of_a_response_as_well(framing: bytes) -> None:
    wire = Wire().client(request()).server(ANSWER + framing + b"\r\n\r\n")
    (look,) = wire.looks
    assert (look.buffers["http.stat_code"], look.direction, look.complete) == (b"200", SERVER, False)
    assert (look.fields["url"], look.fields["status"], look.fields["length"]) == ("/", 200, 0)


def test_a_head_and_its_body_name_the_packets_that_brought_them() -> None:
    wire = Wire()
    head = request(POST, b"Content-Length: 99")
    wire.feed(wire.chunk(CLIENT, head + b"a" * 10), wire.chunk(CLIENT, b"b" * 10))
    assert [(len(body), look.number, look.behind) for body, look in zip(bodies(wire), wire.looks, strict=True)] == [
        (0, 1, 10), (10, 1, 0), (20, 2, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("ordinary_lane", [True, False])
def test_a_message_that_lies_whole_in_a_piece_is_reported_once(ordinary_lane: bool) -> None:
    wire = Wire(ordinary_lane=ordinary_lane)
    wire.client(request(POST, b"Content-Length: 5", body=b"hello")).client(
        request(POST, b"Transfer-Encoding: chunked", body=chunked([b"hello"]))
    )
    assert [found.partial for found in wire.all] == [False, False]


@pytest.mark.parametrize("framing", UNENDING)
def test_a_body_is_looked_at_as_it_grows(framing: bytes) -> None:
    piece = b"a" * 100 if b"Length" in framing else b"64\r\n" + b"a" * 100 + b"\r\n"
    wire = Wire().client(request(POST, framing))
    for _ in range(100):
        wire.client(piece)
    sizes = list(map(len, bodies(wire)))
    assert sizes[: EARLY_LOOKS + 1] == [100 * number for number in range(EARLY_LOOKS + 1)]
    assert all(later <= earlier * 1.5 + 100 for earlier, later in pairwise(sizes))


@given(st.lists(st.integers(1, 900), max_size=60), st.sampled_from([b"", b"Content-Encoding: deflate\r\n"]))
def test_what_is_looked_at_is_bounded_by_what_came(sizes: list[int], coding: bytes) -> None:
    wire = Wire().client(request(POST, coding + UNENDING[0]))
    for size in sizes:
        wire.client(b"\0" * size)
    early = sum(sum(sizes[:number]) for number in range(1, EARLY_LOOKS + 1))
    assert sum(map(len, bodies(wire))) <= 3 * sum(sizes) + early
    server = Wire().client(request()).server(ANSWER + UNENDING[0] + b"\r\n\r\n")
    for size in sizes:
        server.server(b"\0" * size)
    assert sum(map(len, bodies(server, "response"))) <= 2 * sum(sizes)


def test_what_is_found_out_before_the_end_is_counted_at_the_end() -> None:
    coded = b"not gzip at all!" * 4
    head = request(POST, b"Content-Encoding: gzip", b"Content-Length: %d" % len(coded))
    wire = Wire().client(head)
    wire.client(coded[:-1], step=1)
    assert len(wire.looks) > 3
    assert wire.counters["http.coding_invalid"] == 0
    wire.client(coded[-1:])
    assert wire.counters["http.coding_invalid"] == 1


def test_a_coded_body_shows_before_its_end() -> None:
    coded = gzip.compress(b"exploit" * 50 + bytes(range(256)) * 20)
    wire = Wire().client(request(POST, b"Content-Encoding: gzip", UNENDING[0]) + coded[:-200])
    assert bodies(wire)[-1].startswith(b"exploit" * 50)


@given(st.binary(max_size=300), st.integers(1, 60), st.sampled_from([b"", b"gzip", b"deflate"]))
def test_what_is_shown_first_begins_what_is_shown_last(body: bytes, step: int, coding: bytes) -> None:
    """So a rule that holds because of what it found holds at the end as well."""
    sent = gzip.compress(body * 5) if coding == b"gzip" else body
    lines = [b"Content-Length: %d" % len(sent)] + ([b"Content-Encoding: " + coding] if coding else [])
    wire = Wire().client(request(POST, *lines)).client(sent, step=step)
    (whole,) = wire.seen
    last = whole.instances("http.request_body")
    for look in wire.looks:
        shown = look.instances("http.request_body")
        assert all(any(full.startswith(part) for full in last) for part in shown[:1] if part)
        assert {name: value for name, value in look.buffers.items() if "body" not in name and "file" not in name} == {
            name: value for name, value in whole.buffers.items() if "body" not in name and "file" not in name
        }


def test_a_request_that_is_answered_first_is_reported_as_the_server_saw_it() -> None:
    wire = Wire().client(request(POST, UNENDING[0]) + b"half").server(ANSWER + b"Content-Length: 0\r\n\r\n")
    asked, answered = wire.seen
    assert (asked.buffers["http.request_body"], asked.direction) == (b"half", Direction.TO_SERVER)
    assert answered.complete
