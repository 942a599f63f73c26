"""Events of link headers: each frame has the ones that Suricata 7.0.10 gives it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from ids.decode.links import LINKS
from ids.decode.noted import rows_with
from tests.decode.frames import decode

NULL, ETHERNET, PPP, RAW, CHDLC, SLL = 0, 1, 9, 12, 104, 113
FOUR = bytes(IP(src="192.0.2.1", dst="198.51.100.2") / UDP(sport=1, dport=2))
MACS = b"\2" * 12

CASES: list[tuple[int, bytes, str]] = [
    (SLL, bytes(15), "sll.pkt_too_small"),
    (SLL, bytes(16), ""),
    (NULL, b"\2\0\0", "ltnull.pkt_too_small"),
    *((NULL, struct.pack("<I", family) + FOUR, "ltnull.unsupported_type") for family in (7, 29, 99)),
    *((NULL, struct.pack("<I", family) + FOUR, "") for family in (2, 10, 24, 26, 30)),
    (CHDLC, b"\x0f\0\x08", "chdlc.pkt_too_small"),
    (CHDLC, b"\x0f\0\x08\0", ""),
    (PPP, b"\xff\3\0", "ppp.pkt_too_small"),
    (PPP, b"\xff\3\x99\x99" + FOUR, "ppp.unsup_proto"),
    (PPP, b"\xff\3\xc0\x21" + FOUR, "ppp.unsup_proto"),
    (PPP, b"\xff\3\0\x2f" + FOUR, ""),
    (PPP, b"\xff\3\0\x21" + FOUR[:19], "ppp.ip4_pkt_too_small"),
    (PPP, b"\xff\3\0\x57" + b"\x60" * 10, "ppp.ip6_pkt_too_small"),
    (PPP, b"\xff\3\0\x21" + FOUR, ""),
    (RAW, b"\x55" * 20, "ipraw.invalid_ip_version"),
    (RAW, bytes(30), "ipraw.invalid_ip_version"),
    (RAW, FOUR, ""),
    (ETHERNET, MACS, "ethernet.pkt_too_small"),
    (ETHERNET, MACS + b"\x81\0", "vlan.header_too_small"),
    (ETHERNET, MACS + b"\x81\0\0\1\x08", "vlan.header_too_small"),
    (ETHERNET, MACS + b"\x88\xa8\0\1\x81\0\0", "vlan.header_too_small"),
    (ETHERNET, MACS + b"\x81\0\0\1\x99\x99" + bytes(10), "vlan.unknown_type"),
    (ETHERNET, MACS + b"\x81\0\0\1\x08\x06" + bytes(28), ""),
    (ETHERNET, MACS + b"\x81\0\0\1\x08\0" + FOUR, ""),
    (ETHERNET, MACS + b"\x88\x47\0\0\0", "mpls.header_too_small"),
    (ETHERNET, MACS + b"\x88\x47\0\1\1\xff", "mpls.pkt_too_small"),
    (ETHERNET, MACS + b"\x88\x64\x11\0\0\1", "pppoe.pkt_too_small"),
]


@pytest.mark.parametrize(("link", "frame", "event"), CASES)
def test_a_frame_has_the_events_that_suricata_gives_it(link: int, frame: bytes, event: str) -> None:
    packets = decode(frame, linktype=link)
    assert [name for name in LINKS if rows_with(packets, name).tolist()] == ([event] if event else [])


def test_every_event_has_a_frame() -> None:
    assert {event for _, _, event in CASES if event} == LINKS.keys()


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.sampled_from([NULL, ETHERNET, PPP, RAW, CHDLC, SLL])
)
def test_any_frames_can_be_asked(frames: list[bytes], link: int) -> None:
    packets = decode(*frames, linktype=link)
    for name in LINKS:
        assert all(0 <= row < len(packets) for row in rows_with(packets, name).tolist())
