"""Delivered bytes that nobody has acknowledged are kept in few pieces, however small the segments were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.flow import FlowSettings, FlowTable
from ids.flow.delivered import together
from tests.flow.traffic import Talk, columns

Pieces = list[tuple[int, bytes]]


def laid(lengths: list[tuple[int, int]]) -> Pieces:
    """Return pieces of these lengths, each behind a hole of so many bytes."""
    pieces: Pieces = []
    at = 0
    for hole, length in lengths:
        at += hole
        pieces.append((at, bytes(number & 0xFF for number in range(at, at + length))))
        at += length
    return pieces


def bytes_at(pieces: Pieces) -> dict[int, int]:
    return {start + place: byte for start, data in pieces for place, byte in enumerate(data)}


@given(
    st.lists(st.tuples(st.sampled_from([0, 0, 0, 5]), st.integers(1, 3000)), min_size=1, max_size=12),
    st.integers(0, 12),
)
def test_pieces_are_joined_where_they_adjoin_and_are_small(lengths: list[tuple[int, int]], cut: int) -> None:
    pieces = laid(lengths)
    joined = together(pieces[:cut], pieces[cut:])
    assert bytes_at(joined) == bytes_at(pieces)
    assert joined == sorted(joined)
    assert all(len(data) <= 4096 for _, data in joined)
    for (start, data), (after, more) in zip(joined[max(cut - 1, 0) :], joined[max(cut, 1) :], strict=False):
        assert start + len(data) < after or len(data) + len(more) > 4096


def test_tiny_segments_that_nobody_acknowledges_are_kept_in_few_pieces() -> None:
    """A byte by itself takes 150 bytes of memory, and is charged as one."""
    table = FlowTable(FlowSettings(), Counters())
    talk = Talk().open()
    table.process(columns(talk.pkts))
    opened = len(talk.pkts)
    for number in range(600):
        talk.client(bytes([number & 0xFF]))
    for at in range(opened, len(talk.pkts), 50):
        table.process(columns(talk.pkts[at : at + 50]))
    kept = list(table._slots.unacked.values())
    assert [b"".join(data for _, data in pieces) for pieces in kept] == [bytes(number & 0xFF for number in range(600))]
    assert [len(pieces) for pieces in kept] == [1]
    assert table._reassembly.used == 600
