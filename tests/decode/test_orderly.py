"""Orderly datagrams are put together at once; what comes of a stream is the same as one by one, whatever it holds."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.counters import Counters
from ids.decode import Defragmenter, DefragSettings
from ids.decode.columns import Columns
from ids.decode.fragments import collect
from ids.decode.ipv4 import decode_ipv4
from ids.decode.ipv6 import decode_ipv6
from ids.decode.link import IPV4, IPV6, decode_link
from ids.decode.orderly import Datagrams, find
from tests.decode.frames import T0, batch_of

Stream: TypeAlias = "list[tuple[list[Part], list[int]]]"
"""Batches of fragments, each with its time."""

SECOND = 1_000_000_000
NEVER = 1 << 30
PATTERN = random.Random(1).randbytes(70_000)


@dataclass(frozen=True)
class Part:
    """A fragment to be sent."""

    key: int
    """Selects version, VLAN, addresses and identification."""
    offset: int
    length: int
    more: bool
    salt: int = 0
    options: int = 0
    """Words of IPv4 options, or units of an IPv6 hop-by-hop header."""
    cut: bool = False
    """The capture lacks its last byte."""

    @property
    def payload(self) -> bytes:
        data = PATTERN[self.offset : self.offset + self.length]
        return bytes(byte ^ self.salt for byte in data) if self.salt else data

    def frame(self) -> bytes:
        version, vlan, number = (4, 6)[self.key & 1], (0, 5)[self.key >> 1 & 1], self.key >> 2
        link = bytes(12) + (struct.pack("!HH", 0x8100, vlan) if vlan else b"")
        payload = self.payload
        if version == 4:
            header_len = 20 + 4 * self.options
            field = self.offset >> 3 | (0x2000 if self.more else 0)
            header = struct.pack(
                "!BBHHHBBH4s4s", 0x40 | header_len // 4, 0, header_len + len(payload), number, field, 64, 17, 0,
                b"\xc0\0\2\1", b"\xc6\x33\x64\2",
            ) + b"\1" * (4 * self.options)  # fmt: skip
            return link + b"\x08\0" + header + payload
        before = b""
        if self.options:
            room = 8 * self.options - 4
            before = bytes([44, self.options - 1, 0x3E, room]) + bytes(room)  # an unknown one, to be skipped
        before += struct.pack("!BBHI", 17, 0, self.offset | self.more, number)
        address = bytes.fromhex("20010db8") + bytes(11)
        header = struct.pack("!IHBB", 6 << 28, len(before) + len(payload), 0 if self.options else 44, 64)
        return link + b"\x86\xdd" + header + address + b"\1" + address + b"\2" + before + payload


def columns_of(parts: list[Part], ts_ns: list[int]) -> Columns:
    """Decode as far as defragmentation needs."""
    frames = [part.frame() for part in parts]
    batch = batch_of(
        [frame[: len(frame) - part.cut] for part, frame in zip(parts, frames, strict=True)],
        wirelen=[len(frame) for frame in frames],
        ts_ns=ts_ns,
    )
    columns = Columns(batch)
    decode_link(columns)
    decode_ipv4(columns, np.flatnonzero(columns.kind == IPV4), False)
    decode_ipv6(columns, np.flatnonzero(columns.kind == IPV6))
    return columns


def datagram(key: int, *sizes: int, options: int = 0) -> list[Part]:
    """Return the fragments of an orderly datagram."""
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return [
        Part(key, start, size, start + size < sum(sizes), options=options)
        for start, size in zip(starts, sizes, strict=True)
    ]


def packets(whole: Datagrams) -> list[tuple[int, bytes]]:
    places = zip(whole.row.tolist(), whole.offset.tolist(), whole.length.tolist(), strict=True)
    return [(row, whole.data[at : at + length].tobytes()) for row, at, length in places]


def found(parts: list[Part]) -> set[tuple[int, int]]:
    """Return the rows of the first and the last fragment of each orderly datagram."""
    columns = columns_of(parts, [T0] * len(parts))
    fragments, _ = collect(columns)
    orderly = find(fragments, fragments.words(columns))
    return set(zip(orderly.opened.tolist(), orderly.completed.tolist(), strict=True))


V4, V6, V4_VLAN, OTHER_V4 = 0, 1, 2, 4
A, B, C = datagram(V4, 16, 8, 5)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([A, B, C], {(0, 2)}),
        ([C, A, B], {(0, 2)}),
        (datagram(V6, 8, 8), {(0, 1)}),
        ([A, *datagram(V6, 8, 8), *datagram(V4_VLAN, 8, 3), B, *datagram(OTHER_V4, 8, 1), C],
         {(1, 2), (3, 4), (0, 8), (6, 7)}),
        ([A, B], set()),
        ([B, C], set()),
        ([A, C], set()),
        ([A, B, C, B], set()),
        ([A, B, C, A, B, C], set()),
        ([A, B, C, Part(V4, 32, 8, True)], set()),
        ([A, Part(V4, 8, 16, True), C], set()),
        ([A, B, C, Part(V4, 24, 5, False)], set()),
        ([Part(V4, 0, 17, True), B, C], set()),
        (datagram(V4, 65_480, 35), {(0, 1)}),
        (datagram(V4, 65_480, 35, options=1), set()),
    ],
)  # fmt: skip
def test_what_is_orderly(parts: list[Part], expected: set[tuple[int, int]]) -> None:
    assert found(parts) == expected


def test_parts_of_different_vlans_and_versions_make_no_datagram() -> None:
    assert found([A, datagram(V4_VLAN, 16, 8, 5)[1], C]) == set()
    assert found([A, datagram(V6, 16, 8, 5)[1], C]) == set()


@pytest.mark.parametrize("key", [V4, V6, V4_VLAN])
@pytest.mark.parametrize("options", [0, 1, 4])
def test_headers_become_those_of_a_whole_packet(key: int, options: int) -> None:
    parts = datagram(key, 64, 8, 13, options=options)
    (row, packet), = packets(Defragmenter(DefragSettings(), Counters(), orderly_from=0).process(
        columns_of(parts[::-1], [T0] * 3)
    ))  # fmt: skip
    assert row == 2
    header = packet[: len(packet) - 85]
    assert packet[len(header) :] == PATTERN[:85]
    if key == V6:
        assert header[4:7] == b"\0\x55\x11"
        assert len(header) == 40
    else:
        assert int.from_bytes(header[2:4], "big") == len(packet)
        assert header[6:8] == b"\0\0"
        assert sum(struct.unpack(f"!{len(header) // 2}H", header)) % 0xFFFF == 0


@pytest.mark.parametrize("orderly_from", [0, NEVER])
def test_a_whole_that_is_too_large_though_no_fragment_is(orderly_from: int) -> None:
    """The first fragment's header is longer than the last one's, with which the end was just within bounds."""
    counters = Counters()
    parts = [Part(V4, 0, 8, True, options=10), Part(V4, 8, 65_472, True), Part(V4, 65_480, 35, False)]
    defragmenter = Defragmenter(DefragSettings(), counters, orderly_from=orderly_from)
    assert not len(defragmenter.process(columns_of(parts, [T0] * 3)))
    assert counters["decode.defrag.oversize"] == 1
    assert counters["decode.defrag.active"] == counters["decode.defrag.memory_bytes"] == 0


def _parts(draw: st.DrawFn) -> list[Part]:
    """Draw one datagram's fragments: mostly orderly, or with one of the tricks."""
    units = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    sizes = [8 * unit for unit in units[:-1]] + [8 * units[-1] - draw(st.integers(0, 7))]
    parts = datagram(draw(st.integers(0, 15)), *sizes, options=draw(st.sampled_from([0, 0, 2])))
    trick = draw(st.sampled_from(["none"] * 6 + ["lose", "repeat", "overlap", "uneven", "far", "cut", "empty", "end"]))
    at = draw(st.integers(0, len(parts) - 1))
    part = parts[at]
    key, offset, length, more = part.key, part.offset, part.length, part.more
    if trick == "lose":
        del parts[at]
    elif trick == "repeat":
        parts.append(part)
    elif trick == "overlap":
        parts.append(Part(key, max(offset - 8, 0), length // 8 * 8 + 8, more, salt=draw(st.integers(0, 1))))
    elif trick == "uneven":
        parts[at] = Part(key, offset, length + 3, True)
    elif trick == "far":
        parts.append(Part(key, 65_528, 16, more))
    elif trick == "cut":
        parts[at] = Part(key, offset, length, more, cut=True)
    elif trick == "empty":
        parts.append(Part(key, offset, 0, more))
    elif trick == "end":
        parts.append(Part(key, offset + length, 8, False))
    return draw(st.permutations(parts)) if draw(st.booleans()) else parts


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Draw batches of fragments with their times."""
    datagrams = [_parts(draw) for _ in range(draw(st.integers(1, 10)))]
    if draw(st.booleans()):
        turns = draw(st.permutations([k for k, parts in enumerate(datagrams) for _ in parts]))
        queues = [iter(parts) for parts in datagrams]
        parts = [next(queues[k]) for k in turns]
    else:
        parts = [part for parts in datagrams for part in parts]
    jump = st.sampled_from([0] * 12 + [10, 20, 31, 70, -5, -40])
    now, times = T0, []
    for _ in parts:
        now += draw(jump) * SECOND + 1000
        times.append(now)
    cuts = sorted(draw(st.lists(st.integers(0, len(parts)), max_size=3)))
    bounds = list(zip([0, *cuts], [*cuts, len(parts)], strict=True))
    return [(parts[low:high], times[low:high]) for low, high in bounds]


def outcome(stream: Stream, bounds: DefragSettings, orderly_from: int) -> list[tuple[list[tuple[int, bytes]], object]]:
    """Return the packets and the counters of each batch."""
    counters = Counters()
    defragmenter = Defragmenter(bounds, counters, orderly_from=orderly_from)
    return [(packets(defragmenter.process(columns_of(*batch))), counters.tree()) for batch in stream]


EMPTY = Part(OTHER_V4, 8, 0, True)
D = datagram(OTHER_V4, 16, 8, 5)
E = datagram(V6, 16, 8, 5)


def at(*seconds: int) -> list[int]:
    return [T0 + second * SECOND for second in seconds]


@pytest.mark.parametrize(
    ("stream", "limits", "expected"),
    [
        pytest.param([([A], at(0)), ([A, B, C], at(1, 1, 1))], {},
                     {"reassembled": 1, "overlaps": 1}, id="held-before"),
        pytest.param([([A], at(0)), ([EMPTY, B, C], at(61, 59, 59))], {},
                     {"timeouts": 1, "active": 1}, id="a-refused-one-is-late"),
        pytest.param([([A], at(0)), ([EMPTY], at(61))], {},
                     {"timeouts": 1, "active": 0}, id="a-refused-one-is-late-and-last"),
        pytest.param([([D[0], EMPTY, D[1], D[2]], at(0, 0, 0, 0))], {},
                     {"malformed": 1, "reassembled": 0, "active": 1}, id="an-empty-one-discards"),
        pytest.param([([A], at(0)), ([*D, B, C], at(61, 61, 61, 59, 59))], {},
                     {"timeouts": 1, "reassembled": 1, "active": 1}, id="an-orderly-one-is-late"),
        pytest.param([([A, D[0], B, C], at(0, 61, 61, 61))], {},
                     {"timeouts": 1, "active": 2}, id="too-late-within-a-batch"),
        pytest.param([([A, D[0], E[0], B, C, *D[1:], *E[1:]], at(*[0] * 9))], {"max_datagrams": 2},
                     {"evicted": 3, "reassembled": 1}, id="too-many"),
        pytest.param([([D[0]], at(0)), ([A, E[0], B, C, *E[1:]], at(*[0] * 6))], {"max_datagrams": 2},
                     {"evicted": 1, "reassembled": 2}, id="too-many-with-one-held"),
        pytest.param([([A, D[0], B, C, *D[1:]], at(*[0] * 6))], {"memcap_bytes": 750},
                     {"evicted": 3, "reassembled": 0}, id="too-large"),
    ],
)  # fmt: skip
def test_what_strikes_one_by_one_strikes_at_once(
    stream: Stream, limits: dict[str, float], expected: dict[str, int]
) -> None:
    bounds = DefragSettings.model_validate({"timeout_s": 60, **limits})
    results = [outcome(stream, bounds, orderly_from) for orderly_from in (0, NEVER)]
    assert results[0] == results[1]
    counters = Counters()
    defragmenter = Defragmenter(bounds, counters, orderly_from=0)
    for batch in stream:
        defragmenter.process(columns_of(*batch))
    assert {name: counters[f"decode.defrag.{name}"] for name in expected} == expected


@given(
    streams(),
    st.sampled_from([{}, {}, {"max_datagrams": 2}, {"memcap_bytes": 900}, {"memcap_bytes": 6000}]),
    st.sampled_from([30.0, 60.0]),
)
@settings(max_examples=200, deadline=None)
def test_at_once_and_one_by_one_are_the_same(stream: Stream, limits: dict[str, float], timeout_s: float) -> None:
    bounds = DefragSettings.model_validate({"timeout_s": timeout_s, **limits})
    assert outcome(stream, bounds, 0) == outcome(stream, bounds, NEVER)
