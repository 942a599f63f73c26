"""Datagrams come together in any order, bounded in number, bytes and time; tricks are counted."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, fragment6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from ids.counters import Counters
from ids.decode import Decoder
from ids.decode.defrag import Lone
from ids.decode.fragments import keys_of
from ids.decode.holders import surplus
from ids.decode.settings import DecodeSettings
from ids.decode.versions import Part
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


def header_checksum(header: bytearray) -> bytes:
    """Return the checksum of an IPv4 header in which it is 0."""
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    return (0xFFFF - total % 0xFFFF).to_bytes(2, "big")


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
    decode = Decoder(DecodeSettings(checksums="all"), Counters())
    got = run(decode, *(bytes(part) for part in fragment(broken, 200)))
    assert anomalies(got)[-1] is Anomaly.BAD_L4_CHECKSUM


def content(got: Packets) -> list[bytes]:
    """What the datagrams hold that came together."""
    rows = (~got.fragment).nonzero()[0].tolist()
    starts = [int(got.l3[row]) + 20 for row in rows]
    ends = [int(got.batch.offset[row] + got.batch.caplen[row]) for row in rows]
    return [got.batch.data[start:end].tobytes() for start, end in zip(starts, ends, strict=True)]


DECOY, REAL, LAST = piece(0, b"decoy..." * 4), piece(0, b"attack!!" * 4), piece(32, b"end", more=False)


def test_a_copy_is_ignored_and_its_conflict_is_counted() -> None:
    counters = Counters()
    got = run(decoder(counters, versions=1), DECOY, REAL, piece(8, b"attack!!"), LAST)
    assert content(got) == [b"decoy..." * 4 + b"end"]
    assert counters["decode.defrag.overlaps"] == counters["decode.defrag.conflicts"] == 2
    assert counters["decode.defrag.reassembled"] == 1


@pytest.mark.parametrize(
    "decoys",
    [
        pytest.param([DECOY, piece(24, b"x" * 16)], id="partly-there"),
        pytest.param([piece(8, b"x" * 8), piece(0, b"x" * 8), piece(0, b"x" * 16)], id="over-two-runs"),
        pytest.param([DECOY, piece(8, b"")], id="empty"),
        pytest.param([DECOY, piece(48, b"x" * 8), piece(40, b"x" * 8, more=False)], id="end-before-others"),
        pytest.param([DECOY, piece(40, b"x" * 8, more=False), piece(48, b"x" * 8)], id="behind-the-end"),
        pytest.param([DECOY, piece(65_528, b"x" * 16), piece(65_520, b"x" * 16)], id="partly-there-too-large"),
        pytest.param([DECOY, piece(24, b"x" * 8, more=False), piece(24, b"x" * 16)], id="copy-as-end"),
    ],
)
@pytest.mark.parametrize("batch", [1, 100])
def test_decoys_that_linux_discards_do_not_hide_what_follows(decoys: list[bytes], batch: int) -> None:
    counters = Counters()
    decode = decoder(counters, versions=1)
    frames = [*decoys, REAL, LAST]
    found = [whole for at in range(0, len(frames), batch) for whole in content(run(decode, *frames[at : at + batch]))]
    assert found == [b"attack!!" * 4 + b"end"]
    assert counters["decode.defrag.active"] == counters["decode.defrag.memory_bytes"] == 0


class Host:
    """The oracle: runs as lists of bytes by place, looked at one by one."""

    def __init__(self) -> None:
        self.runs: list[dict[int, int]] = []
        self.wholes: list[bytes] = []
        self.end: int | None = None

    def take(self, start: int, data: bytes, more: bool) -> None:
        places = dict(enumerate(data, start))
        reach = max((max(run) + 1 for run in self.runs), default=0)
        end = start + len(data)
        wrong = self.end is not None and (end > self.end if more else end != self.end)
        common = [run for run in self.runs if run.keys() & places.keys()]
        copy = len(common) == 1 and places.keys() <= common[0].keys()
        if wrong or (not more and end < reach) or (common and not copy):
            self.runs, self.end = [], None
            return
        self.end = self.end if more else end
        if copy:
            return
        tail = next((run for run in self.runs if max(run) + 1 == reach == start), None)
        if tail is None:
            self.runs.append(places)
        else:
            tail.update(places)
        seen = {at: byte for run in self.runs for at, byte in run.items()}
        if self.end is not None and len(seen) == self.end:
            self.wholes.append(bytes(seen[at] for at in range(self.end)))
            self.runs, self.end = [], None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.integers(0, 3)), max_size=25), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_overlaps_of_any_kind_come_out_as_on_linux(cuts: list[tuple[int, int, int]], salt: int) -> None:
    host, frames = Host(), []
    for number, (at, units, last) in enumerate(cuts):
        data = bytes((salt + number * 7 + k) % 256 for k in range(units * 8))
        more = last > 0 or at == 0  # else it is no fragment
        host.take(at * 8, data, more)
        frames.append(piece(at * 8, data, more=more))
    assert content(run(decoder(versions=1), *frames)) == host.wholes
    rows = run(decoder(), *frames)
    seen = content(rows)
    for whole in host.wholes:
        assert whole in seen
        seen = seen[seen.index(whole) + 1 :]


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


@pytest.mark.parametrize(("lone", "most"), [(4200, 32_768), (6000, 2000)])
@pytest.mark.parametrize("to", ["one other", "many others", "the same"])
def test_lone_fragments_push_nothing_of_somebody_else_out(lone: int, most: int, to: str) -> None:
    """Of hosts that take what fragments they get, the one that gets most loses, and within it who sends most."""
    destinations = {
        "one other": ["198.51.100.9"],
        "many others": [f"198.51.{high}.{low}" for high in range(200, 210) for low in range(200)],
        "the same": [V4.dst],
    }[to]
    counters = Counters()
    decode = decoder(counters, max_datagrams=most)
    pieces = v4_pieces()
    run(decode, *pieces[:-1])
    frame = bytearray(piece(0, b"x" * 8, src="203.0.113.66"))
    at = 0
    while at < lone:
        frames = []
        for number in range(at, min(at + 5000, lone)):
            frame[4:6] = (number & 0xFFFF).to_bytes(2, "big")
            frame[16:20] = ipaddress.ip_address(destinations[number % len(destinations)]).packed
            frame[10:12] = b"\0\0"
            frame[10:12] = header_checksum(frame[:20])
            frames.append(bytes(frame))
        run(decode, *frames)
        at += len(frames)
    got = run(decode, pieces[-1])
    expect_whole(got, len(got) - 1)
    assert (counters["decode.defrag.evicted"] > 0) == (lone > most)
    assert counters["decode.defrag.active"] <= most


def test_a_flood_of_many_sources_loses_to_one_who_sends_little() -> None:
    decode = decoder(Counters(), max_datagrams=100)
    pieces = v4_pieces()
    run(decode, *pieces[:-1])
    run(decode, *(piece(0, b"x" * 8, id=k, src=f"203.0.113.{k % 250}", dst="198.51.100.9") for k in range(500)))
    expect_whole(got := run(decode, pieces[-1]), len(got) - 1)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 30),
    st.booleans(),
)
@example([(0, 0, 1), (0, 0, 1), (0, 0, 1), (2, 1, 1), (2, 1, 4), (0, 1, 2), (0, 1, 2), (0, 2, 4), (1, 1, 1)], 4, False)
def test_who_holds_most_loses_first(held: list[tuple[int, int, int]], wanted: int, by_count: bool) -> None:
    """Whoever loses something held, in one of its ends, at least as much as anybody holds then."""
    words = [(0, number, 0, source, 0, destination) for number, (source, destination, _) in enumerate(held)]
    keys = keys_of(list(np.array(words, np.uint64).T))
    cost = np.array([size for _, _, size in held], np.int64)
    wanted = min(wanted, len(held) if by_count else int(cost.sum()))
    gone = surplus(keys, cost, *((wanted, 0) if by_count else (0, wanted)))
    assert len(gone) == len(set(gone))
    assert (len(gone) if by_count else cost[gone].sum()) >= wanted
    weight = np.ones(len(held), np.int64) if by_count else cost
    before: Counter[tuple[int, int]] = Counter()
    after: Counter[tuple[int, int]] = Counter()
    for number, ends in enumerate(held):
        for end in (0, 1):
            before[end, ends[end]] += int(weight[number])
            after[end, ends[end]] += int(weight[number]) if number not in gone else 0
    highest = max(after.values())
    assert all(max(before[end, held[number][end]] for end in (0, 1)) >= highest for number in gone)


def test_of_equals_the_lone_fragment_goes_first() -> None:
    """Of hosts with one datagram each; a flood costs its sender more than one fragment for each then."""
    decode = decoder(Counters(), max_datagrams=100)
    pieces = v4_pieces()
    run(decode, *pieces[:-1])
    run(decode, *(piece(0, b"x" * 8, src=f"203.0.113.{k}", dst=f"198.51.200.{k}") for k in range(250)))
    expect_whole(got := run(decode, pieces[-1]), len(got) - 1)


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


def test_fragments_are_let_go_where_no_others_come() -> None:
    """At twice the time-out, for what came in time may wait to be decoded."""
    counters = Counters()
    decode = decoder(counters, timeout_s=30)
    pieces = v4_pieces(400)
    run(decode, pieces[0], ts_ns=[T0])
    decode.expire(T0 + 59_000_000_000)
    assert counters["decode.defrag.active"] == 1
    assert run(decode, pieces[1], ts_ns=[T0 + 10_000_000_000]).usable.any()
    run(decode, pieces[0], ts_ns=[T0])
    decode.expire(T0 + 61_000_000_000)
    assert counters["decode.defrag.active"] == counters["decode.defrag.memory_bytes"] == 0
    assert counters["decode.defrag.timeouts"] == 1


@given(
    st.tuples(*[st.integers(0, (1 << 64) - 1)] * 6),
    st.integers(0, 6),
)
def test_datagrams_have_the_same_key_where_all_words_are_the_same(words: tuple[int, ...], differs: int) -> None:
    other = [word ^ (number == differs) for number, word in enumerate(words)]
    one, two = keys_of(list(np.array([words, other], np.uint64).T))
    assert (one == two) == (differs == 6)


def test_memory_is_given_back() -> None:
    counters = Counters()
    decode = decoder(counters)
    for _ in range(3):
        run(decode, *v4_pieces(), *v6_pieces())
    assert counters["decode.defrag.reassembled"] == 6
    assert counters["decode.defrag.active"] == counters["decode.defrag.memory_bytes"] == 0


@given(start=st.integers(0, 8191), size=st.integers(1, 1480), more=st.booleans())
def test_a_lone_fragment_is_charged_as_if_others_were_there(start: int, size: int, more: bool) -> None:
    """It is held in less memory; whoever sends many gets no more room by that."""
    part = Part(8 * start, 8 * start + size, bytes(size), more, b"" if start else b"header", 17)
    lone = Lone.of(T0, part)
    assert lone.first_ns == T0
    assert (lone.opened().cost, lone.opened().parts) == (lone.cost, [part])
