"""What a side said last is kept within bounds, and says what is missing in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.respond import said as module
from ids.respond.said import Conversation, Said
from ids.types import Direction, Flow, StreamChunk
from tests.factory import T0, make_flow, make_match, make_streams

TO_SERVER = Direction.TO_SERVER


def chunk(flow: Flow, offset: int, data: bytes, number: int = 1, *, closed: bool = False) -> StreamChunk:
    return StreamChunk(flow, TO_SERVER, offset, data, T0, number, closed=closed)


def test_what_never_came_is_counted_in_its_place() -> None:
    said = Said()
    said.add(4, b"GOOD", 0, 4, 100)
    said.add(8, b"DATA", 0, 4, 100)
    said.add(20, b"END", 0, 3, 100)
    assert said.text() == b"[4 bytes missing]GOODDATA[8 bytes missing]END"


def test_what_was_cut_away_is_not_missing() -> None:
    said = Said()
    said.add(0, b"0123456789", 0, 10, 4)
    assert said.text() == b"6789"
    said.add(10, b"ab", 0, 2, 4)
    assert said.text() == b"89ab"


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(min_size=1, max_size=12)), max_size=60), st.integers(1, 40))
def test_it_is_the_end_of_what_was_said(pieces: list[tuple[int, bytes]], limit: int) -> None:
    said, offset = Said(), 0
    stream: list[int | None] = []
    for gap, data in pieces:
        stream += [None] * gap + list(data)
        said.add(offset + gap, b"x" + data + b"x", 1, 1 + len(data), limit)
        offset += gap + len(data)
        assert len(said.pieces) <= module.MAX_PIECES
        assert sum(len(data) for _, data in said.pieces) <= limit
    for at, data in said.pieces:
        assert list(data) == stream[at : at + len(data)]


def test_of_a_batch_that_counts_which_had_come_with_the_packet() -> None:
    flow = make_flow()
    streams = make_streams([chunk(flow, 0, b"one ", 3), chunk(flow, 4, b"two ", 5), chunk(flow, 8, b"three", 9)])
    conversation = Conversation(100, Counters())
    matches = [make_match(flow, number=number) for number in (3, 5, 7, 9)]
    texts = conversation.until(matches, streams, end=False)
    assert texts == [b"one ", b"one two ", b"one two ", b"one two three"]
    assert conversation.until(matches[:1], streams, end=True) == [b"one two three"]
    conversation.note(streams)
    later = make_streams([chunk(flow, 13, b" four", 12)])
    assert conversation.until([make_match(flow, number=12)], later, end=False) == [b"one two three four"]
    other = make_match(flow, number=12, direction=Direction.TO_CLIENT)
    assert conversation.until([other], later, end=False) == [b""]


def test_a_side_that_closed_is_forgotten_and_so_is_a_flow_that_ended() -> None:
    flow = make_flow()
    conversation = Conversation(100, Counters())
    conversation.note(make_streams([chunk(flow, 0, b"one")]))
    conversation.note(make_streams([chunk(flow, 3, b"two", closed=True)]))
    assert conversation.until([make_match(flow)], make_streams([]), end=True) == [b""]
    conversation.note(make_streams([chunk(flow, 6, b"more")]))
    conversation.forget(flow.columns.id[[flow.slot]])
    assert conversation.until([make_match(flow)], make_streams([]), end=True) == [b""]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT_BYTES", 10_000)
    counters = Counters()
    conversation = Conversation(1000, counters)
    columns = make_flow().columns
    flows = [make_flow(columns=columns) for _ in range(50)]
    for flow in flows:
        conversation.note(make_streams([chunk(flow, 0, bytes(900))]))
    assert counters["events.payload_evicted"] > 30
    assert conversation.until([make_match(flows[-1])], make_streams([]), end=True) == [bytes(900)]
