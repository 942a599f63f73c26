"""Of contradicting fragments every version is inspected that some host puts together, within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.oddities import NAMES
from ids.decode.versions import MAX_FRAGMENTS, WAYS, Dispute, Part, Way
from ids.types import Anomaly, Packets
from tests.decode.frames import T0, anomalies, batch_of, decoder, payload

SECOND = 1_000_000_000


def part(at: int, data: bytes, *, more: bool = True) -> Part:
    return Part(at, at + len(data), data, more, b"\x45" if not at else b"", 17)


def oracle(parts: Sequence[Part], way: Way, end: int) -> bytes:
    """Decide byte by byte who has it."""
    owners: list[Part | None] = [None] * 100
    for new in parts:
        for at in range(new.start, new.end):
            old = owners[at]
            if old is None or way(old, new):
                owners[at] = new
    return bytes(owner.data[at - owner.start] for at, owner in enumerate(owners[:end]) if owner is not None)


shapes = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=8)


@given(shapes)
@settings(max_examples=300, deadline=None)
def test_each_way_is_laid_as_byte_by_byte(cuts: list[tuple[int, int]]) -> None:
    parts = [part(0, b"\0" * 8), part(32, b"\1" * 8, more=False)]
    parts += [part(8 * at, bytes([n]) * 8 * units) for n, (at, units) in enumerate(cuts, 2)]
    expected: list[bytes] = []
    for way in WAYS:
        if len(payload := oracle(parts, way, 40)) == 40 and payload not in expected:
            expected.append(payload)
    found = [version.payload for version in Dispute(0, parts, 100).versions()]
    assert found == expected


@pytest.mark.parametrize(
    ("second", "kept_by"),
    [
        ((8, 16), {"_last", "_bsd_right", "_linux", "_solaris"}),
        ((8, 8), {"_last", "_bsd_right", "_linux"}),
        ((16, 16), {"_last", "_bsd_right"}),
        ((0, 16), {"_last", "_bsd", "_linux"}),
        ((0, 24), {"_last", "_bsd", "_linux", "_windows", "_solaris"}),
    ],
    ids=["reaches beyond", "the same place", "begins in it", "reaches into it", "around it"],
)
def test_who_keeps_the_second_copy(second: tuple[int, int], kept_by: set[str]) -> None:
    at, size = second
    first = part(8, b"a" * (16 if at == 16 else 8))
    assert {way.__name__ for way in WAYS if way(first, part(at, b"b" * size))} == kept_by


# Through the decoder.

HEAD = {"src": "192.0.2.1", "dst": "198.51.100.2", "id": 7}


def fragments(packet: IP, *cuts: tuple[int, int]) -> list[bytes]:
    """Cut the payload of a packet at places in bytes; the last one says that there is no more."""
    whole = bytes(IP(bytes(packet)))
    body, proto = whole[20:], whole[9]
    return [
        bytes(IP(frag=low // 8, flags="MF" if high < len(body) else 0, proto=proto, **HEAD) / Raw(body[low:high]))
        for low, high in cuts
    ]


def udp(data: bytes) -> IP:
    return IP(**HEAD) / UDP(sport=1000, dport=2000, chksum=0) / Raw(data)


def tcp(data: bytes) -> IP:
    return IP(**HEAD) / TCP(sport=1000, dport=2000) / Raw(data)


def run(into: Decoder, *frames: bytes, at_s: Sequence[float] | None = None) -> Packets:
    ts_ns = None if at_s is None else [T0 + int(second * SECOND) for second in at_s]
    return into.decode(batch_of(frames, 101, ts_ns=ts_ns))


def data_of(got: Packets) -> list[bytes]:
    return [payload(got, row) for row in range(len(got)) if not got.fragment[row]]


DECOY, ATTACK = b"decoy...", b"attack!!"


def test_both_copies_are_inspected_linux_first() -> None:
    one, other = udp(b"." * 8 + DECOY + b"end"), udp(b"." * 8 + ATTACK + b"end")
    counters = Counters()
    head, copy = fragments(one, (0, 16), (16, 24))
    second = fragments(other, (16, 24))[0]
    (tail,) = fragments(one, (24, 27))
    got = run(decoder(counters), head, copy, second, tail)
    assert data_of(got) == [b"." * 8 + DECOY + b"end", b"." * 8 + ATTACK + b"end"]
    assert got.usable[-2:].all()
    assert counters["decode.defrag.versions"] == 1
    assert [(int(row), NAMES[code]) for row, code in zip(*got.notes, strict=True)] == [(2, "decoder.ipv4.frag_overlap")]


def test_what_linux_discards_others_put_together() -> None:
    first, second = udp(DECOY * 4), udp(ATTACK * 4)
    got = run(decoder(), *fragments(first, (0, 24)), *fragments(second, (16, 40)))
    assert data_of(got) == [DECOY * 2 + ATTACK * 2, DECOY + ATTACK * 3]


def test_a_segment_that_only_others_see_is_doubtful() -> None:
    """Only with a right checksum, as for every host."""
    packet = tcp(ATTACK * 4)
    junk = tcp(DECOY * 4)
    frames = [*fragments(junk, (24, 40)), *fragments(packet, (0, 32)), *fragments(packet, (32, 52))]
    got = run(decoder(), *frames)
    versions = anomalies(got)[3:]
    assert Anomaly.DISPUTED_DATAGRAM in versions
    assert set(versions) <= {Anomaly.DISPUTED_DATAGRAM, Anomaly.BAD_L4_CHECKSUM}
    row = 3 + versions.index(Anomaly.DISPUTED_DATAGRAM)
    assert got.doubtful[row]
    assert payload(got, row) == ATTACK * 4


@pytest.mark.parametrize("forgotten_s", [20, 31, 61, 100])
def test_what_a_host_has_forgotten_hides_nothing(forgotten_s: float) -> None:
    """A decoy as the beginning; when the host has forgotten it, the end, and then the true beginning."""
    decoy, attack = udp(DECOY * 3), udp(ATTACK * 3)
    frames = [*fragments(decoy, (0, 16)), *fragments(attack, (16, 32)), *fragments(attack, (0, 16))]
    for batches in ([frames], [[frame] for frame in frames]):
        into, times, seen = decoder(), iter([0, forgotten_s, forgotten_s + 1]), list[bytes]()
        for batch in batches:
            seen += data_of(run(into, *batch, at_s=[next(times) for _ in batch]))
        assert ATTACK * 3 in seen


def test_a_true_copy_is_no_dispute() -> None:
    counters = Counters()
    frames = fragments(udp(ATTACK * 4), (0, 16), (16, 40))
    got = run(decoder(counters), frames[0], frames[0], frames[1])
    assert data_of(got) == [ATTACK * 4]
    assert counters["decode.defrag.disputes"] == counters["decode.defrag.versions"] == 0


def test_disputes_are_bounded_and_end() -> None:
    counters = Counters()
    into = decoder(counters, max_datagrams=10, timeout_s=30)
    for number in range(50):
        packet = udp(ATTACK * 4)
        packet.id = number
        frames = [bytearray(frame) for frame in fragments(packet, (0, 16), (8, 32))]
        for frame in frames:
            frame[4:6] = number.to_bytes(2, "big")
            frame[10:12] = b"\0\0"
            frame[10:12] = bytes(IP(bytes(IP(bytes(frame), chksum=None))))[10:12]
        run(into, *map(bytes, frames), at_s=[0, 0])
    assert 0 < counters["decode.defrag.disputes"] <= 10
    run(into, *fragments(udp(b"x" * 16), (0, 16)), at_s=[100])
    assert counters["decode.defrag.disputes"] == 0


def test_what_there_is_no_room_for_is_counted() -> None:
    counters = Counters()
    copies = [n.to_bytes(8, "big") for n in range(MAX_FRAGMENTS + 9)]
    frames = [bytes(IP(frag=1, flags="MF", proto=17, **HEAD) / Raw(copy)) for copy in copies]
    run(decoder(counters), *frames)
    assert counters["decode.defrag.versions_not_made"] == 9


def test_contradictions_cannot_be_sent_faster_than_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ids.decode.defrag.WORK", 2)
    counters = Counters()
    first, second = udp(DECOY * 4), udp(ATTACK * 4)
    run(decoder(counters), *fragments(first, (0, 24)), *fragments(second, (16, 40)), *fragments(second, (8, 24)))
    assert counters["decode.defrag.versions_not_made"] == 1
