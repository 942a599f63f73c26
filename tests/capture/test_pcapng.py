"""The pcapng format: every block type used, all others stepped over, and blocks that lie."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.capture.pcapng import PcapngFormat, to_nanoseconds
from ids.capture.records import MAX_SECONDS, Records
from tests.capture import build
from tests.capture.build import FRAMES

NAME_RESOLUTION, STATISTICS, CUSTOM = 4, 5, 0x0BAD


def scan_all(content: bytes, limit: int = 1000) -> list[Records]:
    reader, data = PcapngFormat(), np.frombuffer(content, np.uint8)
    start, found = 0, []
    while True:
        records = reader.scan(data, start, len(content), limit)
        found.append(records)
        start = records.end
        if not records.more:
            return found


def frames(content: bytes, scans: list[Records]) -> list[bytes]:
    return [
        content[start : start + length]
        for records in scans
        for start, length in zip(records.offset.tolist(), records.caplen.tolist(), strict=True)
    ]


def times(scans: list[Records]) -> list[int]:
    return [ts_ns for records in scans for ts_ns in records.ts_ns.tolist()]


@pytest.mark.parametrize("order", "<>")
def test_enhanced_packets_in_both_byte_orders(order: str) -> None:
    content = build.pcapng(order=order)
    scans = scan_all(content)
    assert frames(content, scans) == FRAMES
    assert times(scans) == [(1000 + n) * 10**9 + n * 1000 for n in range(len(FRAMES))]
    assert scans[-1].end == len(content)


@pytest.mark.parametrize("order", "<>")
def test_old_and_simple_packet_blocks(order: str) -> None:
    content = (
        build.section(order)
        + build.interface(1, order=order)
        + build.interface(113, snaplen=6, order=order)
        + build.simple(b"no time", 9, order)
        + build.old_packet(b"with drops", 5_000_000, number=1, drops=7, order=order)
        + build.simple(b"abcdefg", 9, order)
    )
    scans = scan_all(content)
    assert [frame[:10] for frame in frames(content, scans)] == [b"no time\0", b"with drops", b"abcdefg\0"]
    assert times(scans) == [0, 5_000_000_000, 5_000_000_000]
    assert scans[0].interface.tolist() == [0, 1, 0]
    assert scans[0].linktype.tolist() == [1, 113, 1]
    assert scans[0].wirelen.tolist() == [9, 17, 9]


def test_a_simple_packet_is_cut_by_the_snap_length_not_by_its_padding() -> None:
    content = build.section() + build.interface(snaplen=6) + build.simple(b"abcdef", 900)
    assert frames(content, scan_all(content)) == [b"abcdef"]


def test_other_blocks_are_stepped_over() -> None:
    content = build.section() + build.interface()
    for number, kind in enumerate((NAME_RESOLUTION, STATISTICS, CUSTOM)):
        content += build.block(kind, bytes(8 * number)) + build.enhanced(FRAMES[number])
    scans = scan_all(content)
    assert frames(content, scans) == FRAMES[:3]
    assert not scans[-1].damage


def test_sections_have_their_own_byte_order_and_interfaces() -> None:
    content = (
        build.section()
        + build.interface(1)
        + build.enhanced(b"first")
        + build.section(">")
        + build.interface(101, order=">")
        + build.enhanced(b"second", order=">")
    )
    scans = scan_all(content)
    assert frames(content, scans) == [b"first", b"second"]
    assert [records.linktype.tolist() for records in scans if len(records.offset)] == [[1], [101]]
    assert not scans[-1].damage


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_limit_changes_nothing_but_the_portions(limit: int) -> None:
    content = build.pcapng() + build.pcapng(order=">")
    scans = scan_all(content, limit)
    assert frames(content, scans) == FRAMES * 2
    assert max(len(records.offset) for records in scans) <= limit


@pytest.mark.parametrize(
    ("options", "ticks", "expected"),
    [
        (b"", 1_500_000, 1_500_000_000),
        (build.option(9, b"\x09"), 1_500_000_000, 1_500_000_000),
        (build.option(9, b"\x03"), 1_500, 1_500_000_000),
        (build.option(9, b"\x00"), 3, 3_000_000_000),
        (build.option(9, b"\x0c"), 1_500_000_000_999, 1_500_000_000),
        (build.option(9, b"\x8a"), 3 << 9, 1_500_000_000),
        (build.option(9, b"\xbe"), 3 << 61, 1_500_000_000),
        (build.option(2, b"eth0") + build.option(9, b"\x06"), 1, 1000),
        (build.option(14, struct.pack("<q", 100)), 1_000_000, 101_000_000_000),
        (build.option(14, struct.pack("<q", -100)), 200_000_000, 100_000_000_000),
        (build.option(0, b"") + build.option(9, b"\x09"), 1_000_000, 1_000_000_000),
        (build.option(9, b"\x00"), (1 << 64) - 1, MAX_SECONDS * 10**9),
        (build.option(14, struct.pack("<q", -(1 << 63))), 1, 1000),
    ],
)
def test_timestamp_resolution_and_offset(options: bytes, ticks: int, expected: int) -> None:
    content = build.section() + build.interface(options=options) + build.enhanced(b"x", ticks)
    assert times(scan_all(content)) == [expected]


@given(st.integers(0, (1 << 64) - 1), st.integers(0, 62) | st.integers(0, 18).map(lambda k: -k))
def test_times_are_those_of_exact_arithmetic_to_a_nanosecond(ticks: int, power: int) -> None:
    per_second = 1 << power if power >= 0 else int(10**-power)
    got = int(to_nanoseconds(np.array([ticks], np.uint64), per_second, 0)[0])
    if ticks // per_second <= MAX_SECONDS:
        assert abs(got - ticks * 10**9 // per_second) <= 1
    else:
        assert got // 10**9 == MAX_SECONDS


def test_each_interface_keeps_its_own_clock() -> None:
    content = (
        build.section()
        + build.interface()
        + build.interface(options=build.option(9, b"\x09"))
        + build.enhanced(b"a", 1000, 0)
        + build.enhanced(b"b", 1000, 1)
    )
    assert times(scan_all(content)) == [1_000_000, 1000]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (struct.pack("<III", 6, 0, 0) + bytes(20), "length of 0 bytes"),
        (struct.pack("<III", 6, 13, 0) + bytes(20), "length of 13 bytes"),
        (struct.pack("<III", CUSTOM, 1 << 30, 0) + bytes(20), "length of 1073741824 bytes"),
        (build.enhanced(b"x", number=1), "claims interface 1"),
        (build.block(6, struct.pack("<IIIII", 0, 0, 0, 400, 400) + bytes(8)), "caplen 400"),
        (build.block(6, bytes(4)), "a packet block of 16 bytes"),
        (build.block(3, b""), "a packet block of 12 bytes"),
        (build.block(1, bytes(4)), "interface description of 16 bytes"),
        (build.interface(options=build.option(9, b"\xff")), "if_tsresol 0xff"),
        (build.block(0x0A0D0D0A, b"\x01\x02\x03\x04" + bytes(12)), "byte-order magic 01020304"),
    ],
)
def test_a_block_that_makes_no_sense_is_damage_and_what_came_before_is_kept(bad: bytes, reason: str) -> None:
    before = build.pcapng()
    content = before + bad + build.enhanced(b"behind") + bytes(64)
    scans = scan_all(content)
    assert frames(content, scans) == FRAMES
    assert reason in scans[-1].damage
    assert scans[-1].end == len(before)
