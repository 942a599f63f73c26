"""However a stream is cut, shuffled and repeated, its bytes come out once and in order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.flow import lives, lost, passage, stretches
from ids.flow.notes import Note
from ids.types import Direction
from tests.flow.traffic import ACK, FIN, PSH, Pkt, Run, Talk

pytestmark = pytest.mark.long

ISNS = st.sampled_from([0, 1000, 0x7FFFFFFA, 0xFFFFFFF0, 0xFFFFFFFF])


def wrapped(sequence: int) -> int:
    return sequence & 0xFFFFFFFF


@st.composite
def shuffled_streams(draw: st.DrawFn) -> tuple[int, bytes, list[Pkt]]:
    """Return a client ISN, a stream, and its segments: overlapping, repeated, in any order."""
    isn = draw(ISNS)
    stream = draw(st.binary(min_size=1, max_size=60))
    cuts = sorted({0, len(stream), *draw(st.lists(st.integers(0, len(stream)), max_size=8))})
    spans = list(pairwise(cuts))
    extra = draw(st.lists(st.tuples(st.integers(0, len(stream)), st.integers(1, 20)), max_size=4))
    spans += [(start, min(start + size, len(stream))) for start, size in extra if start < len(stream)]
    spans = draw(st.permutations(spans))
    return (
        isn,
        stream,
        [Pkt(flags=PSH | ACK, seq=wrapped(isn + 1 + start), ack=5001, data=stream[start:end]) for start, end in spans],
    )


@given(shuffled_streams(), st.sampled_from([1, 2, 5, 1000]))
def test_any_cut_order_and_repetition_gives_the_stream(case: tuple[int, bytes, list[Pkt]], batch: int) -> None:
    isn, stream, segments = case
    run = Run(Talk(client_isn=isn).open().pkts + segments, batch=batch, drain=False)
    assert run.stream() == stream
    assert run.started[0].conflicts == (0, 0)
    assert run.started[0].gaps == (0, 0)
    offsets = [chunk.offset for chunk in run.chunks]
    assert offsets == sorted(offsets)


@st.composite
def hostile_streams(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Return segments with content of their own: offset and bytes, overlapping at will."""
    segment = st.tuples(
        st.integers(0, 30), st.binary(min_size=1, max_size=12).map(lambda data: bytes(b % 3 + 65 for b in data))
    )
    return draw(st.lists(segment, min_size=1, max_size=12))


def keep_first(segments: list[tuple[int, bytes]]) -> tuple[bytes, int]:
    """The oracle: byte by byte, the first copy counts; a segment with another byte is a conflict."""
    seen: dict[int, int] = {}
    conflicts = 0
    for start, data in segments:
        conflicts += any(seen.get(start + at, byte) != byte for at, byte in enumerate(data))
        for at, byte in enumerate(data):
            seen.setdefault(start + at, byte)
    last = max(seen) + 1
    return bytes(seen.get(at, ord("~")) for at in range(last)), conflicts


@given(hostile_streams(), ISNS, st.sampled_from([1, 3, 1000]))
@settings(max_examples=200)
def test_the_first_copy_of_a_byte_counts(segments: list[tuple[int, bytes]], isn: int, batch: int) -> None:
    talk = Talk(client_isn=isn).open()
    for start, data in segments:
        talk.client(data, seq=wrapped(isn + 1 + start))
    run = Run(talk.pkts, batch=batch, policy="first")
    stream, conflicts = keep_first(segments)
    assert run.stream() == stream
    assert run.started[0].conflicts == (conflicts, 0)
    assert run.started[0].gaps == (stream.count(b"~"), 0)
    assert any(chunk.conflict for chunk in run.chunks) == bool(conflicts)
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] == 0


OPTIONS = st.one_of(
    st.just(b""),
    st.integers(0, 5).map(lambda stamp: b"\x01\x01\x08\x0a" + stamp.to_bytes(4, "big") + bytes(4)),
    st.sampled_from([b"\x01\x01\x13\x12" + bytes(16), b"\x03\x03\x07\x00", b"\x08\x0a" + bytes(8)]),
)
"""Timestamps, a signature, a window scale."""


@st.composite
def conversations(draw: st.DrawFn) -> list[Pkt]:
    """Return a few conversations, mostly orderly, with here and there a packet lost, repeated, moved or strange."""
    pkts: list[Pkt] = []
    for number in range(draw(st.integers(1, 3))):
        talk = Talk(
            client_isn=draw(ISNS), server_isn=draw(ISNS), base=Pkt(sport=1 + number, options=draw(OPTIONS))
        ).open()
        for _ in range(draw(st.integers(0, 6))):
            back = draw(st.booleans())
            talk.add(back, draw(st.sampled_from([ACK, ACK | PSH])), draw(st.binary(max_size=5)))
        if draw(st.booleans()):
            talk.close()
        if draw(st.booleans()):
            talk.open().client(b"again").close()
        pkts += talk.pkts
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(pkts) - 1))
        match draw(st.sampled_from(["lose", "repeat", "swap", "flags", "seq", "ack", "cut", "options"])):
            case "lose":
                pkts.pop(at) if len(pkts) > 1 else None
            case "repeat":
                pkts.insert(draw(st.integers(at, len(pkts))), pkts[at])
            case "swap":
                to = draw(st.integers(0, len(pkts) - 1))
                pkts[at], pkts[to] = pkts[to], pkts[at]
            case "flags":
                pkts[at] = replace(pkts[at], flags=draw(st.integers(0, 63)))
            case "seq":
                pkts[at] = replace(pkts[at], seq=wrapped(pkts[at].seq + draw(st.integers(-3, 3))))
            case "ack":
                pkts[at] = replace(pkts[at], ack=wrapped(pkts[at].ack + draw(st.integers(-3, 3))))
            case "options":
                pkts[at] = replace(pkts[at], options=draw(OPTIONS))
            case "cut":
                pkts[at] = replace(pkts[at], missing=draw(st.integers(0, 3)))
    return pkts


@given(conversations(), st.integers(1, 9), st.sampled_from([1, 2, 16]))
@settings(max_examples=200)
def test_orderly_and_careful_lane_agree(pkts: list[Pkt], batch: int, worth_a_round: int) -> None:
    """However the packets are cut into batches, and however often the lanes take turns within one."""
    careful = Run(pkts, orderly_lane=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passage, "WORTH_A_ROUND", worth_a_round)
        patch.setattr(passage, "MIN_CAREFUL", worth_a_round)
        patch.setattr(lives, "WORTH_A_WAVE", worth_a_round)
        patch.setattr(stretches, "MIN_STRETCH", min(worth_a_round, 2))
        patch.setattr(stretches, "MAX_STRETCH", 2 * worth_a_round)
        runs = [Run(pkts, batch=size) for size in {1, batch, 1 << 20}]
    for run in runs:
        assert run.summary() == careful.summary()
        assert run.counters.values == careful.counters.values
    for run in (careful, *runs):
        for flow in run.started:
            for side in Direction:
                closed = [c.closed for c in run.chunks if c.flow is flow and c.direction is side]
                assert closed == [False] * (len(closed) - 1) + [True] if closed else True


def test_an_end_that_is_sent_twice_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its segments are in order, but the connection as a whole is not: there is nothing behind its beginning."""
    monkeypatch.setattr(passage, "WORTH_A_ROUND", 1)
    monkeypatch.setattr(passage, "MIN_CAREFUL", 1)
    pkts = Talk(0, 0).open().pkts + [Pkt(seq=1, ack=1)] * 2
    pkts += Talk(1, 1).open().client(b"again").add(False, FIN | ACK).add(True, FIN | ACK).add(False, FIN | ACK).pkts
    run, careful = Run(pkts), Run(pkts, orderly_lane=False)
    assert run.summary() == careful.summary()
    assert [list(flow.packets) for flow in run.started] == [list(flow.packets) for flow in careful.started]


def test_a_hole_is_waited_for() -> None:
    talk = Talk().open().client(b"world", seq=1007)
    run = Run(talk.pkts, drain=False)
    assert run.chunks == []
    run = Run(talk.client(b"hello ", seq=1001).pkts, drain=False)
    assert run.stream() == b"hello world"


def test_a_hole_that_the_receiver_acknowledged_is_a_gap() -> None:
    talk = Talk().open().client(b"abc").client(b"ghi", seq=1007).server(b"", ack=1010)
    run = Run(talk.pkts, drain=False)
    assert [(chunk.offset, chunk.data, chunk.gap) for chunk in run.chunks] == [(0, b"abc", 0), (6, b"ghi", 3)]
    assert run.started[0].gaps == (3, 0)
    assert run.counters["flow.tcp.reassembly.gap_bytes"] == 3


def test_an_acknowledgement_within_the_hole_gives_nothing_up() -> None:
    talk = Talk().open().client(b"abc").client(b"ghi", seq=1007).server(b"", ack=1006)
    assert Run(talk.pkts, drain=False).stream() == b"abc"


def test_an_acknowledgement_of_what_nobody_sent_gives_nothing_up() -> None:
    talk = Talk().open().client(b"ghi", seq=1007).server(b"", ack=99999)
    run = Run(talk.pkts, drain=False)
    assert run.stream() == b""
    assert run.counters["flow.tcp.ack_unseen"] == 1


def test_what_is_behind_a_hole_comes_out_at_the_end() -> None:
    run = Run(Talk().open().client(b"ghi", seq=1007).pkts)
    assert [(c.gap, c.data, c.closed) for c in run.chunks if c.direction == 0] == [(6, b"ghi", False), (0, b"", True)]


def test_bytes_cut_by_the_capture_are_a_gap() -> None:
    talk = Talk().open()
    talk.pkts.append(Pkt(seq=1001, ack=5001, data=b"abc", missing=4))
    talk.client(b"next", seq=1008).server(b"", ack=1012)
    assert Run(talk.pkts, drain=False).stream() == b"abc~~~~next"


def test_decoy_before_the_real_data_is_a_conflict_at_once() -> None:
    run = Run(Talk().open().client(b"GOOD").client(b"EVIL", seq=1001).pkts, drain=False)
    assert [(c.data, c.conflict) for c in run.chunks] == [(b"GOOD", False), (b"", True)]
    assert run.counters["flow.tcp.reassembly.conflicts"] == 1


def test_other_bytes_after_their_acknowledgement_change_nothing() -> None:
    run = Run(Talk().open().client(b"GOOD").server(b"").client(b"EVIL", seq=1001).pkts, drain=False)
    assert run.started[0].conflicts == (0, 0)


def test_data_beyond_a_fin_that_nobody_acknowledged() -> None:
    talk = Talk().open().client(b"GET ").add(False, FIN | ACK).client(b"/evil", seq=1005)
    run = Run(talk.pkts, drain=False)
    assert run.stream() == b"GET /evil"
    assert run.counters["flow.tcp.reassembly.data_past_fin"] == 1
    assert run.started[0].conflicts == (1, 0)


def test_data_after_an_acknowledged_fin_is_counted() -> None:
    talk = Talk().open().client(b"bye").close().client(b"more")
    run = Run(talk.pkts)
    assert run.stream() == b"bye"
    assert run.counters["flow.tcp.reassembly.after_close_bytes"] == 4


@pytest.mark.parametrize("batch", [1, 1000])
def test_depth(batch: int) -> None:
    talk = Talk().open()
    for _ in range(10):
        talk.client(b"0123456789")
    run = Run(talk.close().pkts, batch=batch, depth_bytes=25)
    assert run.stream() == b"0123456789012345678901234"
    assert run.counters["flow.tcp.reassembly.depth_bytes"] == 75
    assert [chunk.closed for chunk in run.chunks if chunk.direction == 0].count(True) == 1


def test_depth_applies_to_what_is_held_back() -> None:
    talk = Talk().open().client(b"b" * 30, seq=1011).client(b"a" * 10, seq=1001)
    run = Run(talk.pkts, depth_bytes=25)
    assert run.stream() == b"a" * 10 + b"b" * 15


def test_far_ahead_of_the_window_is_ignored_and_counted() -> None:
    run = Run(Talk().open().client(b"far", seq=1001 + (1 << 21)).client(b"near", seq=1001).pkts)
    assert run.stream() == b"near"
    assert run.counters["flow.tcp.beyond_window"] == 1
    run = Run(Talk().client(b"near").client(b"far", seq=1000 + (1 << 21)).pkts, midstream=True)
    assert run.stream() == b"near"
    assert run.counters["flow.tcp.reassembly.out_of_window"] == 1


def test_a_loss_of_more_than_a_window_is_caught_up() -> None:
    far = 1001 + (1 << 21)
    run = Run(Talk().open().client(b"near").server(b"", ack=far).client(b"far", seq=far).pkts, depth_bytes=1 << 22)
    assert run.stream() == b"near" + b"~" * ((1 << 21) - 4) + b"far"
    assert run.counters["flow.tcp.reassembly.catch_up"] == 1


def test_what_is_furthest_ahead_gives_way_to_limits_and_the_hole_stays_open() -> None:
    talk = Talk().open()
    for at in range(5):
        talk.client(b"x", seq=1002 + 2 * at)
    run = Run([*talk.pkts, Pkt(seq=1001, ack=5001, data=b"evil")], drain=False, max_segments=4)
    assert run.stream() == b"evilx"[:4]
    assert run.counters["flow.tcp.reassembly.segments_limit"] == 1


def test_thousands_of_pieces_behind_a_hole_do_not_hide_what_fills_it() -> None:
    stream = b"GET /?q=" + bytes(97 + at % 26 for at in range(9000)) + b" HTTP/1.1"
    talk = Talk().open()
    for at in range(len(stream) - 1, -1, -1):
        talk.client(stream[at : at + 1], seq=1001 + at)
    run = Run(talk.pkts, drain=False)
    assert run.stream() == stream or run.counters["flow.tcp.reassembly.segments_limit"] > 0
    talk = Talk().open()
    for at in range(1, len(stream)):
        talk.client(stream[at : at + 1], seq=1001 + at)
    run = Run(talk.client(stream[:1], seq=1001).pkts, drain=False)
    assert run.stream() == stream
    assert run.started[0].gaps == (0, 0)


def test_where_the_receiver_is_not_seen_limits_give_up_the_first_hole_and_what_fills_it_is_read() -> None:
    talk = Talk().client(b"a")
    for at in range(5):
        talk.client(b"x", seq=1002 + 2 * at)
    run = Run(talk.pkts, drain=False, max_segments=4, midstream=True)
    assert run.stream() == b"a~x"
    assert run.counters["flow.tcp.reassembly.segments_limit"] == 1
    run = Run(talk.client(b"y", seq=1001).pkts, max_segments=4, midstream=True)
    assert run.versions() == {b"ayx~x~x~x~x"}
    assert [note for note, _, _ in run.notes] == [Note.LATE_DATA]


def holed(count: int) -> tuple[Talk, bytes]:
    """Return a conversation in which the server is said to have acknowledged ``count`` holes of four bytes."""
    talk = Talk().open()
    for at in range(1001, 1001 + 8 * count, 8):
        talk.client(b"kept", seq=at + 4)
        talk.pkts.append(Pkt(back=True, seq=5001, ack=at + 8))
    return talk, b"~~~~kept" * count


@pytest.mark.parametrize("filled", [0, 100, 299])
@pytest.mark.parametrize("batch", [1, 10_000])
def test_what_fills_a_hole_is_read_however_many_there_are(filled: int, batch: int) -> None:
    talk, stream = holed(300)
    talk.client(b"EVIL", seq=1001 + 8 * filled)
    run = Run(talk.pkts, batch=batch, drain=False)
    assert run.stream() == stream
    assert any(b"EVIL" in version for version in run.versions())
    ended = Run(talk.pkts, batch=batch)
    assert ended.counters["flow.tcp.reassembly.memuse_bytes"] == 0


def test_what_a_hole_begins_with_is_read_when_the_other_side_speaks() -> None:
    """It may have been all that the other side waited for, whatever an acknowledgement claims."""
    talk, _ = holed(20)
    talk.client(b"EV", seq=1001 + 8 * 7)
    assert not any(b"EV" in version for version in Run(talk.pkts, drain=False).versions())
    talk.server(b"answer")
    assert any(b"EV" in version for version in Run(talk.pkts, drain=False).versions())
    talk.client(b"IL", seq=1003 + 8 * 7)
    assert any(b"EVIL" in version for version in Run(talk.pkts, drain=False).versions())


def test_of_too_many_holes_those_given_up_first_are_forgotten_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "MAX_HOLES", 50)
    talk, _ = holed(100)
    first = Run([*talk.pkts, Pkt(seq=1001, ack=5001, data=b"EVIL")])
    assert not any(b"EVIL" in version for version in first.versions())
    assert first.counters["flow.tcp.reassembly.holes_forgotten"] >= 50
    last = Run([*talk.pkts, Pkt(seq=1001 + 8 * 99, ack=5001, data=b"EVIL")])
    assert any(b"EVIL" in version for version in last.versions())
    poor = Run(talk.pkts, memcap_bytes=5000, drain=False)
    assert poor.counters["flow.tcp.reassembly.memuse_bytes"] <= 5000


def test_adjacent_holes_are_one() -> None:
    holes = lost.Lost()
    assert [holes.add(0, 4), holes.add(4, 8), holes.add(9, 12)] == [0, 0, 0]
    assert [(hole.start, hole.end) for hole in holes.within(0, 100)] == [(0, 8), (9, 12)]
    assert [(hole.start, hole.end) for hole in holes.within(8, 9)] == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(1, 12)), max_size=40))
def test_holes_keep_count_of_themselves(steps: list[tuple[int, int, int]]) -> None:
    """Against the bytes themselves: which were given up, which came, and what they are charged."""
    holes, end, missing = lost.Lost(), 0, set[int]()
    for what, start, size in steps:
        if what == 0:
            holes.add(end + start % 3, end + start % 3 + size)
            missing |= set(range(end + start % 3, end + start % 3 + size))
            end += start % 3 + size
        elif what == 1:
            for hole in holes.within(start, start + size):
                low, high = max(hole.start, start), min(hole.end, start + size)
                holes.fill(hole, low, bytes(high - low))
                if hole.full:
                    for at, data in holes.take(hole):
                        missing -= set(range(at, at + len(data)))
        elif what == 2:
            for runs in holes.take_begun():
                for at, data in runs:
                    missing -= set(range(at, at + len(data)))
        left = holes.within(0, end)
        assert holes.cost == sum(hole.cost for hole in left)
        assert holes.late == sum(len(hole.late) for hole in left)
        assert {at for hole in left for at in range(hole.start, hole.end)} == missing
        assert {id(hole) for hole in holes.begun.values()} == {
            id(hole) for hole in left if hole.late and hole.late.start == hole.start
        }


def test_the_memory_cap_lets_go_of_what_is_furthest_ahead() -> None:
    talk = Talk().open().client(b"x" * 100, seq=1101).client(b"y" * 100, seq=1301)
    run = Run(talk.client(b"z" * 100, seq=1001).pkts, drain=False, memcap_bytes=300)
    assert run.stream() == b"z" * 100 + b"x" * 100
    assert run.counters["flow.tcp.reassembly.memcap"] == 1
    assert run.counters["flow.tcp.reassembly.memuse_bytes"] <= 300
