"""What a host refuses for its options is refused, and what it takes is taken; as Linux does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from ids.decode.oddities import NAMES
from ids.types import Anomaly, Packets
from tests.decode.frames import anomalies, decode, payload

DATA = b"GET / HTTP/1.1\r\n"
SEGMENT = bytes(IP(bytes(IP(src="192.0.2.1", dst="198.51.100.2") / TCP(sport=1, dport=2) / Raw(DATA))))[20:]
V6_SEGMENT = bytes(IPv6(bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=1, dport=2) / Raw(DATA))))[40:]


def v4(options: bytes) -> bytes:
    """Build a packet with raw options, filled up with zeros."""
    padded = options + bytes(-len(options) % 4)
    header = IP(src="192.0.2.1", dst="198.51.100.2", proto=6, ihl=5 + len(padded) // 4, len=20 + len(padded) + 36)
    built = bytearray(bytes(header)[:20] + padded)
    built[10:12] = b"\0\0"
    total = sum(struct.unpack(f">{len(built) // 2}H", built))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    built[10:12] = (0xFFFF - total).to_bytes(2, "big")
    return bytes(built) + SEGMENT


def v6(*headers: tuple[int, bytes]) -> bytes:
    """Build a packet with raw extension headers, each (its type, all but its first two bytes)."""
    kinds = [kind for kind, _ in headers] + [6]
    body = b""
    for (kind, content), following in zip(headers, kinds[1:], strict=True):
        length = 0 if kind == 44 else (len(content) + 2) // 8 - 1
        assert (len(content) + 2) % 8 == 0
        body += bytes([following, length]) + content
    return bytes(IPv6(src="2001:db8::1", dst="2001:db8::2", nh=kinds[0]) / Raw(body + V6_SEGMENT))


def named(got: Packets) -> list[str]:
    return sorted({NAMES[code].removeprefix("decoder.") for code in got.notes.code.tolist()})


TAKEN = {
    "no operation": b"\x01\x01\x01\x01",
    "an end, and something behind it": b"\x00\x83\x00\x01",
    "router alert": b"\x94\x04\0\0",
    "record route": b"\x07\x07\x04" + bytes(4),
    "record route, full": b"\x07\x07\x08" + bytes(4),
    "time stamps": b"\x44\x0c\x05\x00" + bytes(8),
    "time stamps with addresses": b"\x44\x0c\x05\x01" + bytes(8),
    "security": b"\x82\x0b" + bytes(9),
    "an unknown one": b"\x99\x04\0\0",
}
REFUSED = {
    "no length": (b"\x01\x01\x01\x07", "ipv4.opt_invalid_len"),
    "length 0": (b"\x99\x00", "ipv4.opt_invalid_len"),
    "length 1": (b"\x99\x01", "ipv4.opt_invalid_len"),
    "beyond the header": (b"\x07\x0b\x04\0", "ipv4.opt_invalid_len"),
    "a short router alert": (b"\x94\x03\0", "ipv4.opt_invalid_len"),
    "a short record route": (b"\x07\x02", "ipv4.opt_invalid_len"),
    "route recorded twice": (b"\x07\x03\x04\x07\x03\x04", "ipv4.opt_duplicate"),
    "a pointer before the first place": (b"\x07\x07\x03" + bytes(4), "ipv4.opt_invalid"),
    "a pointer to the middle of a place": (b"\x07\x07\x05" + bytes(4), "ipv4.opt_invalid"),
    "loose source route": (b"\x83\x07\x04\xc6\x33\x64\x03", "ipv4.opt_invalid"),
    "strict source route, used up": (b"\x89\x07\x08\xc6\x33\x64\x03", "ipv4.opt_invalid"),
    "CIPSO": (b"\x86\x06\0\0\0\1", "ipv4.opt_invalid"),
    "time stamps, overflown": (b"\x44\x04\x05\xf0", "ipv4.opt_invalid"),
}


@pytest.mark.parametrize("options", TAKEN.values(), ids=TAKEN)
def test_ipv4_options_that_hosts_take(options: bytes) -> None:
    got = decode(v4(b""), v4(options), linktype=101)
    assert anomalies(got) == [Anomaly.NONE] * 2
    assert payload(got, 1) == DATA


@pytest.mark.parametrize(("options", "why"), REFUSED.values(), ids=REFUSED)
def test_ipv4_options_that_hosts_refuse_a_packet_for(options: bytes, why: str) -> None:
    got = decode(v4(b""), v4(options), v4(b"\x01"), linktype=101)
    assert anomalies(got) == [Anomaly.NONE, Anomaly.IPV4_BAD_OPTIONS, Anomaly.NONE]
    assert got.doubtful.tolist() == [False, True, False]
    assert payload(got, 1) == DATA, "another host may take it"
    assert why in named(got)


PADDED = b"\x01\x04" + bytes(4)
TAKEN6 = {
    "padding": [(0, PADDED)],
    "seven bytes of padding": [(60, b"\x3e\x05" + bytes(5) + b"\x01\x05" + bytes(5))],
    "router alert": [(0, b"\x05\x02\0\0\x01\0")],
    "an unknown option to be skipped": [(60, b"\x3e\x04" + bytes(4))],
    "hop-by-hop, routing that is done, destination twice": [(0, PADDED), (60, PADDED), (43, bytes(6)), (60, PADDED)],
    "an unknown routing header that is done": [(43, b"\x99\0" + bytes(4))],
    "an atomic fragment": [(44, bytes(6))],
}
REFUSED6 = {
    "unknown, discard": ([(60, b"\x7e\x04" + bytes(4))], Anomaly.IPV6_BAD_OPTIONS, "ipv6.dstopts_unknown_opt"),
    "unknown, report": ([(60, b"\xbe\x04" + bytes(4))], Anomaly.IPV6_BAD_OPTIONS, "ipv6.dstopts_unknown_opt"),
    "unknown hop-by-hop": ([(0, b"\xfe\x04" + bytes(4))], Anomaly.IPV6_BAD_OPTIONS, "ipv6.hopopts_unknown_opt"),
    "beyond its header": ([(60, b"\x3e\x05" + bytes(4))], Anomaly.IPV6_BAD_OPTIONS, "ipv6.exthdr_invalid_optlen"),
    "too much padding": ([(60, bytes(14))], Anomaly.IPV6_BAD_OPTIONS, "ipv6.exthdr_invalid_optlen"),
    "filled padding": ([(60, b"\x01\x04data")], Anomaly.IPV6_BAD_OPTIONS, "ipv6.exthdr_invalid_optlen"),
    "nine options": ([(60, b"\x3e\0" * 9 + b"\x01\x02\0\0")], Anomaly.IPV6_BAD_OPTIONS, "ipv6.exthdr_invalid_optlen"),
    "jumbo payload": ([(0, b"\xc2\x04\0\0\0\x24")], Anomaly.IPV6_BAD_OPTIONS, ""),
    "hop-by-hop, second": ([(60, PADDED), (0, PADDED)], Anomaly.IPV6_BAD_ORDER, ""),
    "hop-by-hop, twice": ([(0, PADDED), (0, PADDED)], Anomaly.IPV6_BAD_ORDER, "ipv6.exthdr_dupl_hh"),
    "routing header of type 0": ([(43, b"\0\1" + bytes(20))], Anomaly.IPV6_SOURCE_ROUTE, "ipv6.rh_type_0"),
    "unknown routing": ([(43, b"\x99\1" + bytes(4))], Anomaly.IPV6_SOURCE_ROUTE, ""),
    "two fragment headers": ([(44, bytes(6)), (44, bytes(6))], Anomaly.IPV6_BAD_ORDER, "ipv6.exthdr_dupl_fh"),
}


@pytest.mark.parametrize("headers", TAKEN6.values(), ids=TAKEN6)
def test_ipv6_headers_that_hosts_take(headers: list[tuple[int, bytes]]) -> None:
    got = decode(v6(), v6(*headers), linktype=101)
    assert anomalies(got) == [Anomaly.NONE] * 2
    assert payload(got, 1) == DATA


@pytest.mark.parametrize(("headers", "reason", "why"), REFUSED6.values(), ids=REFUSED6)
def test_ipv6_headers_that_hosts_refuse_a_packet_for(
    headers: list[tuple[int, bytes]], reason: Anomaly, why: str
) -> None:
    got = decode(v6(), v6(*headers), v6(), linktype=101)
    assert anomalies(got) == [Anomaly.NONE, reason, Anomaly.NONE]
    assert got.doubtful.tolist() == [False, True, False]
    assert payload(got, 1) == DATA
    assert not why or why in named(got)


def test_a_datagram_is_inspected_for_those_hosts_that_take_it() -> None:
    packet = bytearray(v4(b"\x83\x07\x08\xc6\x33\x64\x03"))
    datagram = bytes(IP(bytes(IP(src="192.0.2.1", dst="198.51.100.2") / UDP(sport=1, dport=2, chksum=0) / Raw(DATA))))[
        20:
    ]
    got = decode(bytes(packet[:28]) + datagram, linktype=101, verify=False)
    assert not got.usable.any()  # it says that it is TCP
    packet[9] = 17
    packet[2:4] = (28 + len(datagram)).to_bytes(2, "big")
    got = decode(bytes(packet[:28]) + datagram, linktype=101, verify=False)
    assert anomalies(got) == [Anomaly.NONE]
    assert not got.doubtful.any()
    assert payload(got, 0) == DATA
    assert "ipv4.opt_invalid" in named(got)


def test_fragments_that_hosts_refuse_are_no_part_of_a_datagram() -> None:
    def piece(offset: int, more: bool, data: bytes, options: bytes = b"") -> bytes:
        built = IP(src="192.0.2.1", dst="198.51.100.2", proto=17, id=5, frag=offset // 8, flags="MF" if more else 0)
        if options:
            built.ihl, built.len = 5 + len(options) // 4, 20 + len(options) + len(data)
            raw = bytearray(bytes(built)[:20] + options)
            raw[10:12] = b"\0\0"
            total = sum(struct.unpack(f">{len(raw) // 2}H", raw))
            raw[10:12] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
            return bytes(raw) + data
        return bytes(built / Raw(data))

    datagram = bytes(IP(bytes(IP(src="192.0.2.1", dst="198.51.100.2") / UDP(sport=1, dport=2) / Raw(b"x" * 16))))[20:]
    got = decode(
        piece(0, True, datagram[:16]), piece(16, False, b"junk....", b"\x99\x00\0\0"), piece(16, False, datagram[16:]),
        linktype=101,
    )  # fmt: skip
    assert got.usable.tolist() == [False, False, False, True]
    assert payload(got, 3) == b"x" * 16


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=40).filter(lambda options: len(options) <= 40), min_size=1, max_size=4), st.booleans()
)
def test_any_options_end_and_change_nothing_for_the_neighbours(options: list[bytes], six: bool) -> None:
    frames = []
    for content in options:
        filled = content + bytes(-(len(content) + 2) % 8)
        frames += [v6((60, filled)), v6()] if six else [v4(content[:40]), v4(b"")]
    got = decode(*frames, linktype=101)
    assert got.usable[1::2].all()
    assert (got.usable | got.doubtful)[::2].all()
