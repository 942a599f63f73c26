"""Events of link headers: each frame has the ones that Suricata 7.0.10 gives it."""

from __future__ import annotations

import shutil
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from ids.decode.links import LINKS
from ids.decode.noted import rows_with
from tests.decode.frames import decode
from tests.decode.peer import peer_events

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
    (PPP, b"\xff\3\x99\x99" + FOUR, "ppp.unsup_proto"),  # a number of one byte: the lowest bit says so
    (PPP, b"\xff\3\xc0\x26" + FOUR, "ppp.wrong_type"),
    (PPP, b"\xff\3\0\x2f" + FOUR[:19], "ppp.vju_pkt_too_small"),
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
    (ETHERNET, MACS + b"\x88\x47\0\1\1\xff" + FOUR, ""),
    (ETHERNET, MACS + b"\x88\x47\0\0\x11\xff" + FOUR, "mpls.bad_label_router_alert"),
    (ETHERNET, MACS + b"\x88\x47\0\0\x10\xff\0\1\1\xff" + FOUR, ""),  # there it may stand
    (ETHERNET, MACS + b"\x88\x47\0\0\x31\xff" + FOUR, "mpls.bad_label_implicit_null"),
    (ETHERNET, MACS + b"\x88\x47\0\0\x41\xff" + FOUR, "mpls.bad_label_reserved"),
    (ETHERNET, MACS + b"\x88\x47\0\0\xe1\xff" + FOUR, "mpls.bad_label_reserved"),
    (ETHERNET, MACS + b"\x88\x47\0\0\xf1\xff" + FOUR, ""),
    (ETHERNET, MACS + b"\x88\x47\0\1\1\xff" + b"\x55" * 40, "mpls.unknown_payload_type"),
    (ETHERNET, MACS + b"\x88\x64\x11\0\0\1", "pppoe.pkt_too_small"),
    (ETHERNET, MACS + b"\x88\x63\x11\x09\0", "pppoe.pkt_too_small"),
    (ETHERNET, MACS + b"\x88\x63\x11\x09\0\0\0\4\1\1\0\0", ""),
    (ETHERNET, MACS + b"\x88\x63\x11\x55\0\0\0\4\1\1\0\0", "pppoe.wrong_code"),
    (ETHERNET, MACS + b"\x88\x63\x11\x09\0\0\0\x20\1\1\0\0", "pppoe.malformed_tags"),
    (ETHERNET, MACS + b"\x88\x64\x11\0\0\1\0\x26\xc0\x21" + FOUR, "ppp.unsup_proto"),
    (ETHERNET, MACS + b"\x88\x64\x11\0\0\1\0\x26\x99\x99" + FOUR, "ppp.wrong_type"),
    (ETHERNET, MACS + b"\x88\x64\x11\0\0\1\0\x26\0\x2f" + FOUR[:19], "ppp.vju_pkt_too_small"),
    (ETHERNET, MACS + b"\x88\x64\x11\0\0\1\0\x26\0\x57" + b"\x60" * 10, "ppp.ip6_pkt_too_small"),
    (ETHERNET, MACS + b"\x89\x26" + bytes(5), "vntag.header_too_small"),
    (ETHERNET, MACS + b"\x89\x26" + bytes(4) + b"\x99\x99" + FOUR, "vntag.unknown_type"),
    (ETHERNET, MACS + b"\x81\0\0\1\x89\x26" + bytes(4) + b"\x99\x99" + FOUR, "vntag.unknown_type"),
    (ETHERNET, MACS + b"\x89\x26" + bytes(4) + b"\x08\0" + FOUR, ""),
    (ETHERNET, MACS + b"\x88\xe7" + bytes(17), "ieee8021ah.header_too_small"),
    (ETHERNET, MACS + b"\x88\xe7" + bytes(16) + b"\x08\0" + FOUR, ""),
    (ETHERNET, MACS + b"\x89\x03" + bytes(15), "dce.pkt_too_small"),
    (ETHERNET, MACS + b"\x89\x03\0\1" + MACS + b"\x08\0" + FOUR, ""),
]


@pytest.mark.parametrize(("link", "frame", "event"), CASES)
def test_a_frame_has_the_events_that_suricata_gives_it(link: int, frame: bytes, event: str) -> None:
    packets = decode(frame, linktype=link)
    assert [name for name in LINKS if rows_with(packets, name).tolist()] == ([event] if event else [])


@pytest.mark.skipif(shutil.which("suricata") is None, reason="Suricata is not installed: nothing to compare with")
@pytest.mark.parametrize("link", sorted({link for link, _, _ in CASES}))
def test_suricata_says_the_same(link: int) -> None:
    mine = [(frame, event) for number, frame, event in CASES if number == link]
    expected = {at: {event} for at, (_, event) in enumerate(mine, 1) if event}
    assert peer_events([frame for frame, _ in mine], set(LINKS), link) == expected


def test_a_frame_within_a_fabric_is_read() -> None:
    packets = decode(MACS + b"\x89\x03\0\1" + MACS + b"\x08\0" + FOUR)
    assert packets.usable.tolist() == [True]
    assert packets.dport.tolist() == [2]


def test_every_event_has_a_frame() -> None:
    assert {event for _, _, event in CASES if event} == LINKS.keys()


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.sampled_from([NULL, ETHERNET, PPP, RAW, CHDLC, SLL])
)
def test_any_frames_can_be_asked(frames: list[bytes], link: int) -> None:
    packets = decode(*frames, linktype=link)
    for name in LINKS:
        assert all(0 <= row < len(packets) for row in rows_with(packets, name).tolist())
