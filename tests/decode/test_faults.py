"""Events of GRE, ICMP, and of packets in IPv6: each packet has the ones that Suricata 7.0.10 gives it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from ids.decode.faults import FAULTS
from ids.decode.noted import FINDERS, rows_with
from tests.decode.frames import decode

V4, V6 = {"src": "192.0.2.1", "dst": "198.51.100.2"}, {"src": "2001:db8::1", "dst": "2001:db8::2"}
FOUR = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"abc")
SIX = bytes(IPv6(src="2001:db8::5", dst="2001:db8::6") / UDP(sport=1, dport=2) / b"abc")


def gre(first: int, second: int, kind: int, rest: bytes = bytes(20)) -> Packet:
    return IP(**V4, proto=47) / Raw(bytes([first, second]) + kind.to_bytes(2, "big") + rest)


def icmp(kind: int, rest: bytes = b"", code: int = 0) -> Packet:
    return IP(**V4, proto=1) / Raw(bytes([kind, code]) + bytes(6) + rest)


def icmp6(kind: int, rest: bytes = b"", code: int = 0, hops: int = 64) -> Packet:
    return IPv6(**V6, nh=58, hlim=hops) / Raw(bytes([kind, code]) + bytes(6) + rest)


CASES: list[tuple[Packet, str]] = [
    (gre(0, 0, 0x0800, FOUR), ""),
    (gre(0x07, 0, 0x0800, FOUR), "gre.version0_recur"),
    (gre(0, 0x88, 0x0800, FOUR), "gre.version0_flags"),
    (gre(0xB0, 0, 0x0800, b"ab"), "gre.version0_hdr_too_big"),
    (gre(0x80, 1, 0x880B), "gre.version1_chksum"),
    (gre(0x40, 1, 0x880B), "gre.version1_route"),
    (gre(0x28, 1, 0x880B), "gre.version1_ssr"),
    (gre(0x21, 1, 0x880B), "gre.version1_recur"),
    (gre(0x20, 0x41, 0x880B), "gre.version1_flags"),
    (gre(0x20, 1, 0x0800), "gre.version1_wrong_protocol"),
    (gre(0, 1, 0x880B), "gre.version1_no_key"),
    (gre(0x30, 0x81, 0x880B, b"ab"), "gre.version1_hdr_too_big"),
    (gre(0, 2, 0x0800, FOUR), "gre.wrong_version"),
    (icmp(3), ""),
    (icmp(3, FOUR), ""),
    (icmp(3, FOUR[:10]), "icmpv4.ipv4_trunc_pkt"),
    (icmp(4), "icmpv4.ipv4_trunc_pkt"),
    (icmp(13, bytes(11)), "icmpv4.ipv4_trunc_pkt"),
    (icmp(13, bytes(12)), ""),
    (icmp(11, b"\x65" + FOUR[1:]), "icmpv4.ipv4_unknown_ver"),
    (icmp6(1, SIX), ""),
    (icmp6(1), "icmpv6.ipv6_trunc_pkt"),
    (icmp6(4, SIX[:20]), "icmpv6.ipv6_trunc_pkt"),
    (icmp6(2, b"\x45" + SIX[1:]), "icmpv6.ipv6_unknown_version"),
    (icmp6(1, SIX, code=8), "icmpv6.unknown_code"),
    (icmp6(128, code=1), "icmpv6.unknown_code"),
    (icmp6(127), "icmpv6.unknown_type"),
    (icmp6(100), "icmpv6.experimentation_type"),
    (icmp6(99), "icmpv6.unassigned_type"),
    (icmp6(254), "icmpv6.unassigned_type"),
    (icmp6(150), ""),
    (icmp6(131), "icmpv6.mld_message_with_invalid_hl"),
    (icmp6(131, hops=1), ""),
    (icmp6(143, bytes(20)), ""),
    (IPv6(**V6, nh=4) / Raw(FOUR), ""),
    (IPv6(**V6, nh=4) / Raw(FOUR[:10]), "ipv6.ipv4_in_ipv6_too_small"),
    (IPv6(**V6, nh=4) / Raw(b"\x65" + FOUR[1:]), "ipv6.ipv4_in_ipv6_wrong_version"),
    (IPv6(**V6, nh=41) / Raw(SIX[:10]), "ipv6.ipv6_in_ipv6_too_small"),
    (IPv6(**V6, nh=41) / Raw(b"\x45" + SIX[1:]), "ipv6.ipv6_in_ipv6_wrong_version"),
]


@pytest.mark.parametrize(("packet", "event"), CASES)
def test_a_packet_has_this_event_and_no_other_of_these(packet: Packet, event: str) -> None:
    got = decode(bytes(packet), linktype=101, verify=False)
    assert [name for name in FAULTS if 0 in rows_with(got, name)] == ([event] if event else [])


@given(st.sampled_from(CASES), st.data())
def test_any_cut_packet_can_be_asked_for_any_event(case: tuple[Packet, str], data: st.DataObject) -> None:
    raw = bytearray(bytes(case[0]))
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    got = decode(bytes(raw[: data.draw(st.integers(0, len(raw)))]), linktype=101, verify=False)
    for name in FINDERS:
        assert all(0 <= row < len(got) for row in rows_with(got, name).tolist())
