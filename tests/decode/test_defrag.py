"""Datagrams come together in any order, bounded in number, bytes and time; tricks are counted."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, fragment6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from ids.counters import Counters
from ids.decode import Decoder
from ids.types import Anomaly, Packets
from tests.decode.frames import T0, anomalies, batch_of, decoder, payload

CONTENT = bytes(range(256)) * 3
V4 = IP(src="192.0.2.1", dst="198.51.100.2", id=7) / UDP(sport=1000, dport=2000) / Raw(CONTENT)
V6 = (
    IPv6(src="2001:db8::1", dst="2001:db8::2")
    / IPv6ExtHdrHopByHop()
    / IPv6ExtHdrFragment(id=9)
    / UDP(sport=1000, dport=2000)
    / Raw(CONTENT)
)


def v4_pieces(size: int = 200) -> list[bytes]:
    return [bytes(piece) for piece in fragment(V4, size)]


def v6_pieces(size: int = 300) -> list[bytes]:
    return [bytes(piece) for piece in fragment6(V6, size)]


def piece(offset: int, data: bytes, *, more: bool = True, **header: Any) -> bytes:
    """An IPv4 fragment; ``offset`` in bytes."""
    fields = {"src": "192.0.2.1", "dst": "198.51.100.2", "id": 7, "proto": 17} | header
    return bytes(IP(frag=offset // 8, flags="MF" if more else 0, **fields) / Raw(data))


def run(into: Decoder, *frames: bytes, linktype: int = 101, ts_ns: list[int] | None = None) -> Packets:
    return into.decode(batch_of(frames, linktype, ts_ns=ts_ns))


def expect_whole(got: Packets, row: int) -> None:
    assert got.usable[row]
    assert not got.fragment[row]
    assert (got.sport[row], got.dport[row], got.proto[row]) == (1000, 2000, 17)
    assert payload(got, row) == CONTENT


@pytest.mark.parametrize("pieces", [v4_pieces(), v6_pieces()], ids=["ipv4", "ipv6"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), split=st.integers(0, 9))
def test_any_order_over_any_batches(pieces: list[bytes], seed: int, split: int) -> None:
    shuffled = pieces[:]
    random.Random(seed).shuffle(shuffled)
    decode = decoder()
    results = [run(decode, *part) for part in (shuffled[:split], shuffled[split:])]
    rows = [(got, int(row)) for got in results for row in got.usable.nonzero()[0]]
    assert len(rows) == 1
    expect_whole(*rows[0])


def test_the_datagram_stands_behind_the_fragment_that_completed_it() -> None:
    other = bytes(IP(src="203.0.113.9") / UDP() / Raw(b"x"))
    pieces = v4_pieces()
    got = run(decoder(), other, *pieces, other)
    n = len(pieces)
    assert anomalies(got) == [Anomaly.NONE] + [Anomaly.FRAGMENT] * n + [Anomaly.NONE] * 2
    assert got.fragment.tolist() == [False] + [True] * n + [False] * 2
    expect_whole(got, n + 1)
    assert got.batch.number.tolist() == [*range(1, n + 2), n + 1, n + 2]
    assert got.batch.ts_ns[n + 1] == got.batch.ts_ns[n]
    assert got.batch.interface[n + 1] == got.batch.interface[n]
    assert got.batch.linktype[n + 1] == 101
    assert payload(got, n + 2) == b"x"


def test_vlans_never_mix_and_stay_with_the_datagram() -> None:
    def tagged(vlan: int, packet: bytes) -> bytes:
        return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=vlan, type=0x800)) + packet

    pieces = v4_pieces(400)
    assert len(pieces) == 2
    decode = decoder()
    got = run(decode, tagged(5, pieces[0]), tagged(6, pieces[1]), linktype=1)
    assert not got.usable.any()
    got = run(decode, tagged(6, pieces[0]), linktype=1)
    assert got.vlan.tolist() == [6, 6]
    expect_whole(got, 1)


def test_a_bad_checksum_of_the_whole_datagram_is_noticed() -> None:
    broken = V4.copy()
    broken[UDP].chksum = 1
    got = run(decoder(), *(bytes(part) for part in fragment(broken, 200)))
    assert anomalies(got)[-1] is Anomaly.BAD_L4_CHECKSUM


def test_the_first_content_wins_and_the_conflict_is_counted() -> None:
    counters = Counters()
    v4_udp = bytes(V4)[20:]
    got = run(
        decoder(counters),
        piece(0, v4_udp[:160]),
        piece(80, b"\0" * 160),
        piece(80, v4_udp[80:160]),
        piece(160, b"", more=True),
        piece(240, v4_udp[240:], more=False),
    )
    assert counters["decode.defrag.overlaps"] == 2
    assert counters["decode.defrag.conflicts"] == 1
    assert counters["decode.defrag.reassembled"] == 1
    assert counters["decode.defrag.malformed"] == 1
    start = int(got.l3[-1]) + 20
    data = got.batch.data[start : start + len(v4_udp)].tobytes()
    assert data == v4_udp[:160] + b"\0" * 80 + v4_udp[240:]
    assert anomalies(got)[-1] is Anomaly.BAD_L4_CHECKSUM


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)), max_size=25), st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_overlaps_of_any_kind_keep_the_first_byte_of_each_place(cuts: list[tuple[int, int]], salt: int) -> None:
    first: dict[int, int] = {}
    frames = []
    for number, (at, units) in enumerate([*cuts, (0, 12), (8, 13)]):
        data = bytes((salt + number * 7 + k) % 256 for k in range(units * 8))
        frames.append(piece(at * 8, data))
        for k, byte in enumerate(data):
            first.setdefault(at * 8 + k, byte)
    reach = max(first) + 1
    got = run(decoder(), *frames, piece(reach, b"end", more=False))
    (row,) = (got.batch.linktype == 101).nonzero()[0][-1:]
    assert int(got.batch.caplen[row]) == 20 + reach + 3
    start = int(got.l3[row]) + 20
    expected = bytes(first[k] for k in range(reach)) + b"end"
    assert got.batch.data[start : start + reach + 3].tobytes() == expected


@pytest.mark.parametrize(
    ("frames", "counted"),
    [
        ([piece(65528, b"x" * 16)], "oversize"),
        ([piece(65504, b"x" * 8, more=False), piece(65504, b"y" * 24, more=False)], "oversize"),
        ([piece(0, b"")], "malformed"),
        ([piece(0, b"x" * 7)], "malformed"),
        ([piece(16, b"x" * 8, more=False), piece(24, b"x" * 8)], "malformed"),
        ([piece(16, b"x" * 8), piece(8, b"x" * 8, more=False)], "malformed"),
        ([piece(16, b"x" * 8, more=False), piece(16, b"x" * 7, more=False)], "malformed"),
        ([v6_pieces()[0][:4] + b"\0\x14" + v6_pieces()[0][6:60]], "malformed"),
    ],
)
def test_what_a_host_refuses_is_counted(frames: list[bytes], counted: str) -> None:
    counters = Counters()
    got = run(decoder(counters), *frames)
    assert counters[f"decode.defrag.{counted}"] == 1
    assert not got.usable.any()


def test_a_fragment_that_the_capture_cut_off_is_counted() -> None:
    counters = Counters()
    frame = piece(0, b"x" * 64)
    decoder(counters).decode(batch_of([frame[:-1]], 101, wirelen=[len(frame)]))
    assert counters["decode.defrag.truncated"] == 1


def test_the_oldest_gives_way_to_the_limit_of_datagrams() -> None:
    counters = Counters()
    decode = decoder(counters, max_datagrams=10)
    run(decode, *(piece(0, b"x" * 8, id=number) for number in range(25)))
    assert counters["decode.defrag.evicted"] == 15
    assert counters["decode.defrag.active"] == 10


def test_the_oldest_gives_way_to_the_limit_of_bytes() -> None:
    counters = Counters()
    decode = decoder(counters, memcap_bytes=10_000)
    for number in range(100):
        run(decode, piece(0, b"x" * 1000, id=number))
        assert counters["decode.defrag.memory_bytes"] <= 10_000
    assert counters["decode.defrag.evicted"] == 100 - counters["decode.defrag.active"]


def test_tiny_fragments_are_charged_for_their_bookkeeping() -> None:
    counters = Counters()
    run(decoder(counters), *(piece(16 * k, b"x" * 8) for k in range(100)))
    assert counters["decode.defrag.memory_bytes"] > 100 * (8 + 64)


def test_time_passes_by_packets() -> None:
    counters = Counters()
    decode = decoder(counters, timeout_s=30)
    pieces = v4_pieces(400)
    run(decode, pieces[0], ts_ns=[T0])
    got = run(decode, pieces[1], ts_ns=[T0 + 31_000_000_000])
    assert counters["decode.defrag.timeouts"] == 1
    assert not got.usable.any()


def test_memory_is_given_back() -> None:
    counters = Counters()
    decode = decoder(counters)
    for _ in range(3):
        run(decode, *v4_pieces(), *v6_pieces())
    assert counters["decode.defrag.reassembled"] == 6
    assert counters["decode.defrag.active"] == counters["decode.defrag.memory_bytes"] == 0
