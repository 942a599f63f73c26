"""The pcap format: both byte orders, both precisions, and records that lie."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ids.capture.pcap import FILE_HEADER_LEN, PcapFormat
from ids.capture.records import MAX_CAPLEN, Records
from tests.capture.build import FRAMES, pcap


def scan(content: bytes, limit: int = 1000) -> Records:
    reader = PcapFormat(content[:FILE_HEADER_LEN])
    return reader.scan(np.frombuffer(content, np.uint8), FILE_HEADER_LEN, len(content), limit)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("magic", "tick_ns", "extra"), [(0xA1B2C3D4, 1000, b""), (0xA1B23C4D, 1, b""), (0xA1B2CD34, 1000, bytes(8))]
)
def test_every_variant_gives_the_same_columns(order: str, magic: int, tick_ns: int, extra: bytes) -> None:
    content = pcap(order=order, magic=magic, linktype=113, extra=extra)
    records = scan(content)
    starts, lengths = records.offset.tolist(), records.caplen.tolist()
    assert [content[start : start + length] for start, length in zip(starts, lengths, strict=True)] == FRAMES
    assert records.wirelen.tolist() == [len(frame) + 7 for frame in FRAMES]
    assert records.ts_ns.tolist() == [(1000 + n) * 10**9 + n * tick_ns for n in range(len(FRAMES))]
    assert set(records.linktype.tolist()) == {113}
    assert records.end == len(content)
    assert not records.damage


def test_a_scan_takes_no_more_than_asked_and_says_so() -> None:
    records = scan(pcap(), limit=2)
    assert len(records.offset) == 2
    assert records.more
    assert not scan(pcap()).more


def test_a_claim_beyond_the_limit_is_damage_at_that_record() -> None:
    whole = pcap()
    bad = whole + struct.pack("<IIII", 1, 2, MAX_CAPLEN + 1, MAX_CAPLEN + 1) + bytes(100)
    records = scan(bad)
    assert len(records.offset) == len(FRAMES)
    assert records.end == len(whole)
    assert "claims 262145 captured bytes" in records.damage


def test_a_damaged_record_in_the_midst_stops_there_even_when_its_end_is_in_reach() -> None:
    claim = MAX_CAPLEN + 5
    content = pcap(FRAMES[:2]) + struct.pack("<IIII", 1, 2, claim, claim) + bytes(claim) + pcap(FRAMES)[24:]
    records = scan(content)
    assert len(records.offset) == 2
    assert records.damage


def test_a_wire_length_below_the_captured_length_is_raised_to_it() -> None:
    content = pcap([]) + struct.pack("<IIII", 1, 2, 4, 1) + b"abcd"
    assert scan(content).wirelen.tolist() == [4]


def test_the_frame_check_sequence_bits_are_no_part_of_the_link_type() -> None:
    assert set(scan(pcap(linktype=0x5400_0001)).linktype.tolist()) == {1}


def test_other_headers_are_refused() -> None:
    with pytest.raises(ValueError, match="not a pcap header"):
        PcapFormat(bytes(24))
