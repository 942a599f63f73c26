"""The ordinary lane and the careful lane say the same: buffer by buffer, field by field, counter by counter."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings, brief
from ids.protocols.brief import WORTH_A_LOOK
from ids.protocols.expected import FIRST_PORT
from ids.protocols.http import PROTOCOL
from ids.protocols.http.connection import Shared
from ids.protocols.http.heads import MAX_KNOWN, MAX_KNOWN_BYTES, request_heads
from ids.protocols.http.message import UNASKED_BYTES, UNASKED_FREE
from ids.protocols.http.ordinary import Ordinary
from ids.types import Direction, FlowColumns, StreamChunk, Transaction
from ids.types.transactions import NO_EXCHANGE
from tests.factory import NO_DATAGRAMS, T0, make_flow, make_streams
from tests.protocols.test_http import EXCHANGES, TOKENS
from tests.protocols.wire import CLIENT, OK, SERVER, Wire, chunked, request

pytestmark = pytest.mark.long

Piece = tuple[Direction, bytes, int, bool]
"""Direction, bytes, bytes lost before, last."""


BUFFERS = {buffer.name: buffer for buffer in PROTOCOL.buffers}


@pytest.fixture(autouse=True, scope="module")
def _looks_for_brief_flows() -> Iterator[None]:
    """Have them looked for however few flows a batch has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brief, "WORTH_A_LOOK", 2)
        yield


def said(found: Transaction) -> tuple[Any, ...]:
    """Return all that a transaction says."""
    return (
        found.slot, found.protocol, found.tx_id, found.direction, dict(found.buffers), list(found.fields.items()),
        found.ts_ns, found.number, found.behind, found.complete, dict(found.more), found.partial,
        [(file.name, file.size, file.state, file.start, file.end, file.content) for file in found.files],
    )  # fmt: skip


def fed(pieces: Sequence[Piece], limits: dict[str, int], ordinary_lane: bool, batch: int) -> tuple[Wire, list[Any]]:
    """Feed pieces, so many a batch; return what came out."""
    wire = Wire(ordinary_lane=ordinary_lane, **limits)  # type: ignore[arg-type]
    chunks: list[StreamChunk] = [
        wire.chunk(direction, data, gap=gap, closed=last) for direction, data, gap, last in pieces
    ]
    for at in range(0, len(chunks), batch):
        wire.feed(*chunks[at : at + batch])
    return wire, [said(found) for found in wire.all]


def assert_lanes_agree(pieces: Sequence[Piece], limits: dict[str, int] | None = None, batch: int = 1000) -> Wire:
    """Assert that both lanes make the same of these pieces."""
    both, ordinary = fed(pieces, limits or {}, True, batch)
    careful, expected = fed(pieces, limits or {}, False, 1)
    assert ordinary == expected
    assert both.counters.values == careful.counters.values
    assert both.flow.app_proto == careful.flow.app_proto
    assert not any(isinstance(found.buffers, Ordinary) for found in careful.seen)
    for found in both.all:
        spelt = found.spelt()
        assert spelt is None or json.loads(f"{{{spelt}}}") == {"http": found.fields}
    return both


# Messages: ordinary for the most part, with every kind of oddness now and then.

HEADER_NAMES = st.sampled_from([
    b"Host", b"HOST", b"User-Agent", b"Referer", b"Cookie", b"Set-Cookie", b"Content-Type", b"Accept", b"Location",
    b"Accept-Encoding", b"Accept-Language", b"Connection", b"Server", b"X-A", b"Content-Disposition", b"Upgrade",
    b"Host", b"User-Agent", b"Expect",
])  # fmt: skip
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(str.encode)
VALUES = st.one_of(
    PRINTABLE,
    st.sampled_from([
        b"h.example", b"H.example:8080", b"user@h:1", b"[::1]:80", b"", b" ", b"a\tb", b"text/html; charset=x",
        b'attachment; filename="x.exe"', b"multipart/form-data; boundary=B", b"close",
    ]),
)  # fmt: skip
ODD_LINES = st.sampled_from([
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Content-Encoding: gzip", b"Content-Length: 3",
    b"Content-Length: 1, 1", b"Content-Length: +1", b"Content-Length: x", b"Content-Length:", b"Content-Length : 4",
    b"Content-Length: 00000000000000000000", b"Content-Length: 00000000000000000003",
    b"X: caf\xc3\xa9", b"X: \xff", b" folded", b"\tfolded", b"no colon", b": no name", b"X: a\0b", b"X: a\rb",
    b"X: a\nY: b", b"content-length: 2",
])  # fmt: skip
TARGETS = st.one_of(
    st.sampled_from([
        b"/", b"/a/b?c=d", b"/%41", b"/a//b", b"/a/../b", b"/.", b"*", b"http://h.example:81/x", b"http://h", b"h:443",
        b"/a\\b", b"/?q=http://x", b"/a+b?c+d", b"/upload/x.jsp?y",
    ]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=10).map(str.encode),
)  # fmt: skip
METHODS = st.sampled_from([b"GET"] * 3 + [b"POST", b"PUT", b"HEAD", b"FROB", b"CONNECT"])
VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"http/1.1", b"HTTP/2.0"])
STATUS = st.sampled_from([b"200 OK"] * 6 + [
    b"204 No Content", b"304 Not Modified", b"404 Not Found", b"200", b"200 ", b"200  two", b"200 OK ", b"100 Continue",
    b"101 Switching", b"999 X", b"2000 X", b"20 X", b"abc X", b"302 caf\xc3\xa9",
])  # fmt: skip
BODIES = st.binary(max_size=12) | st.sampled_from(
    [b"", b"--B\r\nX: filename=a\r\n\r\nhi\r\n--B--", b"GET / HTTP/1.1\r\n\r\n"]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r\n\r\n", b""])
AROUND = st.sampled_from([b""] * 12 + [b"\r\n", b"\n", b" ", b"\0"])


@st.composite
def messages(draw: st.DrawFn, first_lines: st.SearchStrategy[bytes]) -> bytes:
    """Return a message: ordinary, but for what was drawn to make it odd."""
    headers = [name + b":" + draw(AROUND_VALUE) + value for name, value in draw(st.lists(HEADERS, max_size=2))]
    if draw(st.integers(0, 3)) == 0:
        headers.insert(draw(st.integers(0, len(headers))), draw(ODD_LINES))
    body = draw(BODIES)
    if body or draw(st.booleans()):
        headers.insert(draw(st.integers(0, len(headers))), b"Content-Length: %d" % len(body))
    end = draw(ENDS)
    return draw(AROUND) + b"\r\n".join([draw(first_lines), *headers]) + end + b"\r\n" + body


HEADERS = st.tuples(HEADER_NAMES, VALUES)
AROUND_VALUE = st.sampled_from([b" ", b"", b" \t"])
REQUESTS = messages(st.builds(lambda *words: b" ".join(words), METHODS, TARGETS, VERSIONS))
RESPONSES = messages(st.builds(lambda *words: b" ".join(words), VERSIONS, STATUS))
LIMITS = st.sampled_from([
    {}, {}, {}, {"open_requests": 2}, {"header_count": 8}, {"header_bytes": 1024}, {"memcap_bytes": 200},
    {"request_body_bytes": 5}, {"response_body_bytes": 5}, {"request_body_bytes": 0}, {"memcap_bytes": 0},
])  # fmt: skip


@st.composite
def cuts(draw: st.DrawFn, sides: Sequence[bytes]) -> list[Piece]:
    """Cut two streams into pieces, interleaved, now and then with a gap, and with an end at some time."""
    left = [bytearray(side) for side in sides]
    pieces: list[Piece] = []
    open_sides = [0, 1]
    while open_sides and len(pieces) < 12:
        side = draw(st.sampled_from(open_sides))
        size = draw(st.sampled_from([len(left[side])] * 3 + [1, 7, 40]))
        data = bytes(left[side][:size])
        del left[side][:size]
        gap = draw(st.sampled_from([0] * 15 + [1, 30]))
        last = not left[side] and draw(st.booleans())
        if last:
            open_sides.remove(side)
        pieces.append((Direction(side), data, gap, last))
    return pieces


@st.composite
def conversations(draw: st.DrawFn) -> list[Piece]:
    """Return a connection."""
    asked = b"".join(draw(st.lists(REQUESTS, min_size=1, max_size=3)))
    answered = b"".join(draw(st.lists(RESPONSES, min_size=1, max_size=3)))
    return draw(cuts([asked, answered]))


@settings(max_examples=300)
@given(conversations(), LIMITS, st.integers(1, 4))
def test_both_lanes_say_the_same(pieces: list[Piece], limits: dict[str, int], batch: int) -> None:
    assert_lanes_agree(pieces, limits, batch)


@st.composite
def brief_flows(draw: st.DrawFn) -> list[Piece]:
    """Return a connection with one message of each side, as `ids.protocols.brief` looks for them, or nearly."""
    rows = [(CLIENT, draw(REQUESTS)), (SERVER, draw(RESPONSES))]
    ends = [draw(st.sampled_from([0, 1, 2])) for _ in rows]  # with its bytes, behind all, or not yet
    gap = draw(st.sampled_from([0] * 15 + [7]))
    pieces = [(side, data, gap * side, end == 0) for (side, data), end in zip(rows, ends, strict=True)]
    closes = [(side, b"", 0, True) for side, end in zip(Direction, ends, strict=True) if end == 1]
    more = draw(st.lists(st.sampled_from([(CLIENT, request(), 0, False), (SERVER, OK, 0, False)]), max_size=1))
    open_ = [piece for piece in more if ends[piece[0]] == 2]
    return [*pieces, *draw(st.permutations(closes)), *open_]


@settings(max_examples=200)
@given(brief_flows(), LIMITS, st.integers(1, 5), st.booleans())
@example([(CLIENT, request(), 0, True), (SERVER, OK, 0, False), (SERVER, OK, 0, True)], {}, 2, False)
def test_both_lanes_say_the_same_of_brief_flows(
    pieces: list[Piece], limits: dict[str, int], batch: int, announceable: bool
) -> None:
    """Whether or not their port is one that another flow may announce."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brief, "FIRST_PORT", 0 if announceable else FIRST_PORT)
        assert_lanes_agree(pieces, limits, batch)


@given(EXCHANGES.flatmap(lambda pairs: cuts([b"".join(pair[side] for pair in pairs) for side in (0, 1)])), LIMITS)
def test_both_lanes_say_the_same_of_known_exchanges(pieces: list[Piece], limits: dict[str, int]) -> None:
    assert_lanes_agree(pieces, limits)


@given(
    st.tuples(st.lists(TOKENS, max_size=30), st.lists(TOKENS, max_size=30)).flatmap(
        lambda soup: cuts([b"GET / HTTP/1.1\r\n" + b"".join(soup[0]), b"HTTP/1.1 200 OK\r\n" + b"".join(soup[1])])
    )
)
@example([(SERVER, b"HTTP/1.1 101 S", 0, True), (CLIENT, b"GET / HTTP/1.1\r\n\r\n", 0, True)])
@example([(SERVER, b"HTTP/1.1 101 S", 0, False), (SERVER, b"\x16\3\1\0\5hello", 9, False)])
@example([(CLIENT, b"GET / HTTP/1.1\r\n\r\n\r", 0, False), (CLIENT, b"\nGET /2 HTTP/1.1\r\n\r\n", 0, True)])
def test_both_lanes_say_the_same_of_grammar_soup(pieces: list[Piece]) -> None:
    assert_lanes_agree(pieces)


@given(st.lists(conversations(), min_size=2, max_size=3), st.data())
def test_flows_in_one_batch_do_not_meet(talks: list[list[Piece]], data: st.DataObject) -> None:
    flows = FlowColumns(4)
    stage = Protocols(ProtocolSettings(), Counters(), flows)
    members = [make_flow(columns=flows) for _ in talks]
    order = data.draw(st.permutations([at for at, pieces in enumerate(talks) for _ in pieces]))
    left = [iter(pieces) for pieces in talks]
    rows = []
    for number, at in enumerate(order):
        direction, content, gap, last = next(left[at])
        rows.append(StreamChunk(members[at], direction, 0, content, T0, number, gap=gap, closed=last))
    seen = stage.feed(make_streams(rows), NO_DATAGRAMS)
    for flow, pieces in zip(members, talks, strict=True):
        alone, _ = fed(pieces, {}, True, 1)
        mine = [found for found in seen if found.slot == flow.slot]
        of_exchanges = [found for found in mine if found.tx_id != NO_EXCHANGE]
        of_flow = [found for found in mine if found.tx_id == NO_EXCHANGE]
        assert [said(found)[1:6] for found in of_exchanges] == [said(t)[1:6] for t in alone.all]
        assert [odd for found in of_flow for odd in found.instances(ODDITY)] == alone.noted
        assert flow.app_proto == alone.flow.app_proto


def head(size: int) -> bytes:
    """Return a request that keeps twice so many bytes while it waits."""
    line = b"GET /%b HTTP/1.1"
    return request(line % (b"x" * (size - len(request(line % b"")) + 2)))


GZ = gzip.compress(b"hello", mtime=0)
CODED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZ) + GZ
POST = request(b"POST / HTTP/1.1", b"Content-Length: 5", body=b"hello")
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BARE = b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n"


def cookies(*values: str) -> bytes:
    """Return a response that sets cookies."""
    return EMPTY[:-2] + b"".join([b"Set-Cookie: %s\r\n" % value.encode() for value in values]) + b"\r\n"


@pytest.mark.parametrize(
    ("limits", "sent", "counter"),
    [
        ({}, [(CLIENT, request(b"CONNECT h:1 HTTP/1.1")), (SERVER, EMPTY), (CLIENT, request())], None),
        ({}, [(CLIENT, request(b"CONNECT h:1 HTTP/1.1") + request()), (SERVER, OK + OK)], None),
        ({}, [(CLIENT, request()), (SERVER, CODED), (CLIENT, request()), (SERVER, CODED + OK)], None),
        ({}, [(CLIENT, request() * 2), (SERVER, BARE + OK), (SERVER, OK)], None),
        ({}, [(CLIENT, request(b"HEAD / HTTP/1.1") + request()), (SERVER, OK[:-2] + OK)], None),
        ({}, [(CLIENT, request(b"GET / HTTP/1.1", b"Content-Length: " + b"0" * 18) + request())], None),
        ({}, [(CLIENT, request(b"GET / HTTP/1.1", b"Content-Length: " + b"0" * 18 + b"1") + request())], None),
        (
            {},
            [(CLIENT, request(b"POST / HTTP/1.1", b"Content-Length: " + b"0" * 30 + b"5", body=b"hello") + POST)],
            None,
        ),
        (
            {},
            [(CLIENT, POST), (SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: " + b"0" * 30 + b"2\r\n\r\nhi" + OK)],
            None,
        ),
        ({}, [(CLIENT, b"\r\n" * 400 + POST + request()), (SERVER, OK + OK)], None),
        ({}, [(CLIENT, b"\r\n" * 400), (CLIENT, POST), (CLIENT, b"\r\n" * 400 + POST), (SERVER, OK)], None),
        ({}, [(CLIENT, request(b"F" * 300 + b" / HTTP/1.1") + POST), (SERVER, OK)], None),
        ({}, [(CLIENT, request(b"GET / HTTP/1.1", *[b"X: y"] * 300) + POST), (SERVER, OK)], "http.too_many_headers"),
        ({}, [(CLIENT, POST + b"\r\n"), (SERVER, OK), (CLIENT, POST)], None),
        ({}, [(CLIENT, POST * 4), *[(SERVER, cookies(*values)) for values in ("a", "ab", ("", ""), ("a", ""))]], None),
        ({"memcap_bytes": 200}, [(CLIENT, head(90)), (SERVER, OK)] * 5, None),
        ({"memcap_bytes": 200}, [(CLIENT, head(90))] * 2 + [(SERVER, OK)] * 2, "http.memcap"),
        (
            {"memcap_bytes": 200},
            [(CLIENT, head(60) * 2), (SERVER, OK), (CLIENT, head(60)), (SERVER, OK)],
            "http.memcap",
        ),
        ({"memcap_bytes": 0}, [(CLIENT, POST), (SERVER, OK)], "http.memcap"),
        ({"open_requests": 2}, [(CLIENT, request() * 5), (SERVER, OK * 5)], None),
        ({"open_requests": 2}, [(CLIENT, request() * 5), (SERVER, OK)], "http.too_many_open_requests"),
        ({"open_requests": 2}, [(CLIENT, request() * 2), (SERVER, OK * 2)] * 3, None),
        ({"header_count": 8}, [(CLIENT, request(b"GET / HTTP/1.1", *[b"X: y"] * 8))], None),
        ({"header_count": 8}, [(CLIENT, request(b"GET / HTTP/1.1", *[b"X: y"] * 9))], "http.too_many_headers"),
        ({"request_body_bytes": 5}, [(CLIENT, POST + POST), (SERVER, OK + OK)], None),
        ({"request_body_bytes": 4}, [(CLIENT, POST + POST), (SERVER, OK + OK)], "http.body_limit_bytes"),
        ({"response_body_bytes": 2}, [(CLIENT, POST + POST), (SERVER, OK + OK)], None),
        ({"response_body_bytes": 1}, [(CLIENT, POST + POST), (SERVER, OK + OK)], "http.body_limit_bytes"),
        ({"response_body_bytes": 0}, [(CLIENT, POST + POST), (SERVER, OK + OK)], "http.body_limit_bytes"),
    ],
)
def test_both_lanes_say_the_same_at_the_edges(
    limits: dict[str, int], sent: list[tuple[Direction, bytes]], counter: str | None
) -> None:
    """And where a limit is reached, it is counted."""
    pieces = [(direction, data, 0, False) for direction, data in sent]
    wire = assert_lanes_agree([*pieces, (CLIENT, b"", 0, True), (SERVER, b"", 0, True)], limits)
    counted = {name for name in wire.counters.values if name.startswith("http.")}
    assert counted == ({counter} if counter else set())


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize("answer", [NO_CONTENT, OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_tiny_responses_that_nobody_asked_for_are_counted_beyond_a_few(answer: bytes) -> None:
    """Each of them would cost what a request does, and an event, and a packet holds dozens."""
    size = len(answer) - (7 if b"chunked" in answer else 2)
    wire = assert_lanes_agree([(CLIENT, request(), 0, False), *[(SERVER, answer * 50, 0, False)] * 20])
    reported = sum(found.complete for found in wire.seen)
    assert reported <= 1 + UNASKED_FREE * UNASKED_BYTES / (UNASKED_BYTES - size) + 1000 * size / UNASKED_BYTES
    assert wire.counters["http.unasked_responses"] == 1000 - reported


def test_other_responses_without_requests_are_reported() -> None:
    """Some captures have but one direction."""
    answer = b'HTTP/1.1 304 Not Modified\r\nDate: Sat, 21 Nov 2026 21:00:00 GMT\r\nETag: "0123456789abcdef"\r\n' + (
        b"Cache-Control: max-age=3600\r\nServer: x\r\n\r\n"
    )
    assert sum(found.complete for found in assert_lanes_agree([(SERVER, answer * 500, 0, False)]).seen) == 500


def test_every_request_has_its_response_however_tiny() -> None:
    wire = assert_lanes_agree([(CLIENT, request() * 200, 0, False), (SERVER, NO_CONTENT * 200, 0, False)])
    assert sum(found.complete for found in wire.seen) == 200


# What lets rules look at the head as it was sent in place of the buffers that are made of it.


@given(conversations())
@example([(CLIENT, request(b"GET / HTTP/1.1", b"X:a", b"Cookie: c ", b"Accept:b  ", b"Accept: d"), 0, False)])
def test_what_holds_no_seam_stands_in_the_head_as_sent(pieces: list[Piece]) -> None:
    wire, _ = fed(pieces, {}, True, 1000)
    for found in wire.seen:
        sent = found.head_as_sent()
        if sent is None:
            continue
        for name in found.buffers.keys() & BUFFERS.keys():
            content = found.buffers[name]
            for start, end in itertools.combinations(range(len(content) + 1), 2):
                value = content[start:end]
                assert not BUFFERS[name].stands_in_head(value) or value.lower() in sent.lower(), (name, value)


@pytest.mark.parametrize("value", [b" evil", b"evil\r", b"X:", b": ", b"a: b", b"a\r\n", b"a\r\nb", b"\nb"])
def test_what_begins_or_ends_in_a_seam_may_not_stand_in_the_head(value: bytes) -> None:
    assert not BUFFERS["http.header"].stands_in_head(value)
    assert BUFFERS["http.header"].stands_in_head(b"evil value")


# Which lane takes what: else the comparison above could hold by never leaving the careful one.


def lanes(*pieces: tuple[Direction, bytes]) -> list[bool]:
    """Return for each transaction with buffers whether the ordinary lane made it."""
    wire = assert_lanes_agree([(direction, data, 0, False) for direction, data in pieces])
    return [isinstance(found.buffers, Ordinary) for found in wire.seen if found.buffers]


CLOSING = [(CLIENT, b"", 0, True), (SERVER, b"", 0, True)]


def took_whole(*pieces: Piece) -> bool:
    """Return whether a flow was taken as a whole exchange; its rows come in one batch."""
    wire = Wire()
    streams = make_streams([wire.chunk(side, data, gap=gap, closed=last) for side, data, gap, last in pieces])
    wire.stage.feed(streams, NO_DATAGRAMS)
    return bool(streams.exchanged)


@pytest.mark.parametrize("announceable", [False, True])
@pytest.mark.parametrize("ends", [CLOSING, CLOSING[::-1], CLOSING[:1], []])
def test_a_brief_flow_is_taken_as_a_whole(
    ends: list[Piece], announceable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brief, "FIRST_PORT", 0 if announceable else FIRST_PORT)
    assert took_whole((CLIENT, request(), 0, False), (SERVER, OK, 0, False), *ends)
    assert took_whole((CLIENT, request(), 0, True), (SERVER, OK, 0, False))
    assert took_whole((CLIENT, request(b"HEAD / HTTP/1.1"), 0, False), (SERVER, OK[:-2], 0, False), *ends)


def test_a_batch_of_a_few_flows_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "WORTH_A_LOOK", WORTH_A_LOOK)
    assert not took_whole((CLIENT, request(), 0, False), (SERVER, OK, 0, False), *CLOSING)


@pytest.mark.parametrize(
    "pieces",
    [
        [(CLIENT, POST, 0, False), (SERVER, OK, 0, False)],
        [(CLIENT, request() * 2, 0, False), (SERVER, OK, 0, False)],
        [(CLIENT, request(), 0, False), (SERVER, OK * 2, 0, False)],
        [(CLIENT, request(), 0, False), (SERVER, OK[:-1], 0, False)],
        [(CLIENT, request(), 0, False), (SERVER, OK, 1, False)],
        [(CLIENT, request(), 0, False), (SERVER, OK, 0, False), (CLIENT, request(), 0, False)],
        [(SERVER, OK, 0, False), (CLIENT, request(), 0, False)],
        [(CLIENT, request(b"CONNECT h:1 HTTP/1.1"), 0, False), (SERVER, EMPTY, 0, False)],
        [(CLIENT, request(), 0, False), *CLOSING],
    ],
)
def test_another_flow_is_not(pieces: list[Piece]) -> None:
    assert not took_whole(*pieces)
    assert_lanes_agree(pieces)


def test_a_short_way_that_fails_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow is read as any other."""

    def fail(shared: Shared, *what: Any) -> bool:
        what[-1].append(None)
        raise ZeroDivisionError

    monkeypatch.setattr(Shared, "exchange", fail)
    wire = assert_lanes_agree([(CLIENT, request(), 0, False), (SERVER, OK, 0, False), *CLOSING])
    assert [found.complete for found in wire.seen] == [False, True]


def test_the_messages_of_a_brief_flow_end_where_they_end() -> None:
    """Rules on raw bytes see each by itself."""
    wire = Wire()
    streams = make_streams([wire.chunk(CLIENT, request()), wire.chunk(SERVER, OK)])
    wire.stage.feed(streams, NO_DATAGRAMS)
    assert [streams.message_ends(wire.flow.slot, side) for side in Direction] == [[len(request())], [len(OK)]]


def test_a_head_is_read_anew_where_too_many_are_known() -> None:
    heads, first = request_heads(64, 65536), request(b"GET / HTTP/1.1")
    known = heads.at(first, 0)
    assert known is not None
    assert heads.at(first, 0) is known
    for number in range(MAX_KNOWN):
        heads.at(request(b"GET /%d HTTP/1.1" % number), 0)
    again = heads.at(first, 0)
    assert again is not None
    assert again is not known
    assert again.fields() == known.fields()


@pytest.mark.parametrize(
    ("asked", "answered", "ready"),
    [
        (request(), OK, True),
        (request(b'GET /"x HTTP/1.0', b'User-Agent: a\\"b', b"Host: h.example:8080"), OK, True),
        (request(), EMPTY[:-2] + b"Location: /x\r\n\r\n", True),
        (request(b"GET / HTTP/1.1", b"Location: /y"), EMPTY[:-2] + b"Location: /x\r\n\r\n", False),
        (request(b"GET / HTTP/1.1", b"User-Agent: a"), EMPTY[:-2] + b"User-Agent: b\r\n\r\n", False),
        (request(b"FROB / HTTP/1.1"), OK, False),
    ],
)
def test_the_event_of_an_exchange_is_ready_unless_its_sides_share_a_field(
    asked: bytes, answered: bytes, ready: bool
) -> None:
    wire = assert_lanes_agree([(CLIENT, asked, 0, False), (SERVER, answered, 0, False)])
    assert [found.spelt() is not None for found in wire.seen if found.complete] == [ready]


def test_a_long_head_is_not_kept() -> None:
    heads, long = request_heads(64, 65536), request(b"GET /%b HTTP/1.1" % (b"x" * MAX_KNOWN_BYTES))
    assert heads.at(long, 0) is not heads.at(long, 0)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked([b"ab"])


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (request(), OK),
        (request() * 3, OK * 3),
        (POST + request(), OK + OK),
        (
            request(b"PUT /x HTTP/1.0", b"Content-Length:  5 ", body=b"hello"),
            b"HTTP/1.0 404\r\nContent-Length: 0\r\n\r\n",
        ),
        (request(b"HEAD / HTTP/1.1"), b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"),
        (request(), b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"),
    ],
)
def test_the_ordinary_lane_takes_what_is_ordinary(asked: bytes, answered: bytes) -> None:
    taken = lanes((CLIENT, asked), (SERVER, answered))
    assert taken
    assert all(taken)


@pytest.mark.parametrize(
    "asked",
    [
        request(b"GET / HTTP/1.1", b"X: a\xff"),
        request(b"GET / HTTP/1.1", b"X: a", b" folded"),
        request(b"GET / HTTP/1.1", b"X: a\0"),
        request(b"GET / HTTP/1.1", b"X : a"),
        request(b"GET / HTTP/1.1", b"Content-Length: 0", b"Content-Length: 0"),
        request(b"GET / HTTP/1.1", *[b"X: y"] * 65),
        request(b"FROB / HTTP/1.1"),
        request(b"GET  / HTTP/1.1"),
        b"\r\n" + request(),
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nX: a\n\r\n",
        request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=chunked([b"a"])),
        request(b"POST / HTTP/1.1", b"Content-Encoding: gzip", b"Content-Length: 1", body=b"a"),
        request(b"POST / HTTP/1.1", b"Content-Type: multipart/x; boundary=b", b"Content-Length: 1", body=b"a"),
    ],
)
def test_the_careful_lane_takes_what_is_odd(asked: bytes) -> None:
    assert lanes((CLIENT, asked)) == [False]


def test_a_message_that_is_cut_is_careful_and_the_next_one_is_ordinary_again() -> None:
    assert lanes((CLIENT, POST[:-2]), (CLIENT, POST[-2:]), (CLIENT, POST)) == [False, True]
    assert lanes((CLIENT, request()), (SERVER, CHUNKED), (CLIENT, request()), (SERVER, OK)) == [True, False, True, True]


def test_what_is_odd_waits_for_an_ordinary_answer() -> None:
    assert lanes((CLIENT, request(b"FROB / HTTP/1.1")), (SERVER, OK)) == [False, True]


def test_fields_of_a_request_are_its_own_however_late_one_asks() -> None:
    wire = Wire().client(request(b"GET /x HTTP/1.1")).server(OK)
    assert "status" not in wire.seen[0].fields
    assert wire.seen[1].fields["status"] == 200
