"""What is orderly in the midst of disorder is taken in stretches, and comes to what segments one by one come to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.flow.passage import Passage
from ids.flow.stretches import MAX_STRETCH, MIN_STRETCH
from ids.types import Direction
from tests.flow.traffic import ACK, Pkt, Run, Talk

LONG = 4 * MAX_STRETCH
DEPTH = 3 * LONG + 2
"""Reached in the midst of a segment, far behind the holes."""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of the segments that are taken one by one, as they come."""
    rows: list[int] = []
    one_by_one = Passage._segment

    def noted(self: Passage, row_of: list[int], direction: int) -> object:
        rows.append(row_of[0])
        return one_by_one(self, row_of, direction)

    monkeypatch.setattr(Passage, "_segment", noted)
    return rows


def agree(pkts: list[Pkt], **limits: object) -> Run:
    """Return what comes of packets, which is what comes of them one by one."""
    run, careful = Run(pkts, **limits), Run(pkts, orderly_lane=False, **limits)  # type: ignore[arg-type]
    assert run.summary() == careful.summary()
    assert run.counters.values == careful.counters.values
    assert run.notes == careful.notes
    assert run.versions() == careful.versions()
    return run


def lossy(said: int = LONG) -> Talk:
    """Return a connection with a hole that its server acknowledges, now and then, and much in order in between."""
    talk = Talk().open()
    for number in range(said):
        talk.client(b"%04d" % number)
        talk.server(b"ok" if number % 5 else b"")
    lost = {3 + 2 * number for number in range(10, said, 2 * MAX_STRETCH)}
    talk.pkts = [pkt for at, pkt in enumerate(talk.pkts) if at not in lost]
    return talk


def test_behind_a_hole_segments_are_taken_together(alone: list[int]) -> None:
    pkts = lossy().pkts
    run = Run(pkts)
    assert run.counters["flow.tcp.reassembly.gap_acked"] == 2
    assert 0 < len(alone) < len(pkts) // 4
    alone.clear()
    assert agree(pkts).stream().count(b"~") == 8


def one_side(said: int) -> list[Pkt]:
    """Return the middle of a connection of which only the client is seen."""
    talk = Talk()
    for number in range(said):
        talk.client(b"%04d" % number, ack=6000 + number)
    return talk.pkts


def test_a_side_that_acknowledges_what_nobody_saw_is_taken_together(alone: list[int]) -> None:
    pkts = one_side(LONG)
    run = Run(pkts, midstream=True)
    assert run.stream() == b"".join(b"%04d" % number for number in range(LONG))
    assert len(alone) <= MAX_STRETCH  # until the first acknowledgement of what nobody saw
    assert agree(pkts, midstream=True).counters["flow.tcp.ack_unseen"] == LONG - 1


def test_each_packet_is_handed_on_by_itself() -> None:
    """Whoever reads the stream says in which packet something was found."""
    run = Run(one_side(2 * MAX_STRETCH), drain=False, midstream=True)
    assert [chunk.number for chunk in run.chunks] == list(range(1, 2 * MAX_STRETCH + 1))


def test_limits_hold_within_a_stretch() -> None:
    cramped = agree(lossy().pkts, memcap_bytes=500)
    assert cramped.counters["flow.tcp.reassembly.verify_memcap"]
    assert len(agree(lossy().pkts, verify_bytes=0).stream()) == 4 * LONG


def test_the_depth_ends_within_a_stretch_of_the_server(alone: list[int]) -> None:
    """It is of one turn. What a client says has none, as long as its protocol is not known."""
    talk = Talk().open()
    for number in range(LONG):
        talk.server(b"%04d" % number)
        if number % 5 == 0:
            talk.client(b"")
    del talk.pkts[101], talk.pkts[21]  # two holes: behind the first one there is a round of array work
    run = Run(talk.pkts, depth_bytes=DEPTH)
    assert len(run.stream(Direction.TO_CLIENT)) == DEPTH
    assert run.counters["flow.tcp.reassembly.depth_bytes"]
    assert len(alone) < len(talk.pkts) // 2
    agree(talk.pkts, depth_bytes=DEPTH)


def test_another_copy_of_what_a_stretch_brought_is_compared_with_it() -> None:
    talk = lossy(MAX_STRETCH)
    sent = talk.sent[0]
    talk.client(b"said once").client(b"SAID ONCE", seq=sent)
    run = agree(talk.pkts)
    assert run.counters["flow.tcp.reassembly.conflicts"] == 1


def test_a_stretch_that_does_not_go_on_where_the_connection_stands_is_left() -> None:
    """It begins behind a hole that is still open: its bytes wait."""
    talk = Talk().open().client(b"lost")
    talk.pkts.pop()
    for number in range(MAX_STRETCH):
        talk.client(b"%04d" % number)
    assert agree(talk.pkts).started[0].gaps[Direction.TO_SERVER] == 4
    assert Run(talk.pkts, drain=False).chunks == []


def test_nothing_is_found_where_nothing_is_orderly(alone: list[int]) -> None:
    pkts = [Pkt(seq=7 * number, flags=ACK, data=b"abc") for number in range(50, 0, -1)]
    Run([*Talk().open().pkts, *pkts])
    assert len(alone) >= len(pkts), "each is taken by itself"
    agree([*Talk().open().pkts, *pkts])


LIMITS: list[dict[str, object]] = [{}, {"depth_bytes": 30}, {"verify_bytes": 20}, {"midstream": True}]


@st.composite
def disorder(draw: st.DrawFn) -> list[Pkt]:
    """Return an exchange of long turns with segments lost, repeated, changed, moved, and perhaps one side of it."""
    talk = Talk().open()
    for _ in range(draw(st.integers(1, 6))):
        back = draw(st.booleans())
        for number in range(draw(st.integers(1, 2 * MIN_STRETCH))):
            talk.add(back, ACK, b"%02d" % number)
            if draw(st.integers(0, 3)) == 0:
                talk.add(not back, ACK)
    if draw(st.booleans()):
        talk.close()
    pkts = talk.pkts
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(pkts) - 1))
        to = min(at + draw(st.integers(0, MIN_STRETCH)), len(pkts) - 1)
        match draw(st.sampled_from(["lose", "repeat", "change", "move", "ack"])):
            case "lose":
                pkts = pkts[:at] + pkts[at + 1 :] if len(pkts) > 1 else pkts
            case "repeat":
                pkts.insert(to, pkts[at])
            case "change":
                pkts.insert(to, replace(pkts[at], data=pkts[at].data.swapcase() + b"!"))
            case "move":
                pkts.insert(to, pkts.pop(at))
            case "ack":
                pkts[at] = replace(
                    pkts[at], ack=pkts[at].ack + draw(st.integers(-4, 4)), window=draw(st.integers(0, 9))
                )
    side = draw(st.sampled_from([None, None, False, True]))
    return [pkt for pkt in pkts if side is None or pkt.back is side] or pkts


@given(disorder(), st.sampled_from([40, 1 << 20]), st.sampled_from(LIMITS))
@settings(max_examples=60)
def test_stretches_come_to_what_segments_come_to(pkts: list[Pkt], batch: int, limits: dict[str, object]) -> None:
    run = Run(pkts, batch=batch, **limits)  # type: ignore[arg-type]
    careful = Run(pkts, orderly_lane=False, **limits)  # type: ignore[arg-type]
    assert run.summary() == careful.summary()
    assert run.counters.values == careful.counters.values
    assert run.notes == careful.notes
