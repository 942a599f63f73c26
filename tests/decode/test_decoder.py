"""Columns say what Scapy says, of honest packets; of others they say what is wrong, and never raise."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.packet import Packet, Raw

from ids.capture import open_capture
from ids.counters import Counters
from ids.decode import Decoder, DecodeSettings
from ids.types import Anomaly, address_halves
from tests.decode.frames import anomalies, batch_of, decode, payload
from tests.shared import shared

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.0.2.1", dst="198.51.100.2", ttl=61)
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=62)
DATA = Raw(b"GET / HTTP/1.1\r\n")

ports = st.integers(0, 65535)
words = st.integers(0, 0xFFFFFFFF)
contents = st.binary(max_size=80)

options_v4 = st.sampled_from([[], [IPOption(b"\x94\x04\x00\x00")], [IPOption(b"\x07\x07\x04\0\0\0\0\0")]])
networks_v4 = st.builds(
    lambda src, dst, ttl, tos, options: IP(src=src, dst=dst, ttl=ttl, tos=tos, options=options),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=4).map(str),
    st.integers(0, 255),
    st.integers(0, 255),
    options_v4,
)
extensions = st.builds(
    lambda first, middle, fragment, last: [*first, *middle, *fragment, *last],
    st.sampled_from([[], [IPv6ExtHdrHopByHop()]]),
    st.lists(st.sampled_from([IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(segleft=0)]), max_size=2),
    st.sampled_from([[], [IPv6ExtHdrFragment(m=0, offset=0, id=7)]]),
    st.lists(st.sampled_from([IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(segleft=0)]), max_size=2),
)


def _extended(src: str, dst: str, hlim: int, headers: list[Packet]) -> Packet:
    packet = IPv6(src=src, dst=dst, hlim=hlim)
    for header in headers:
        packet = packet / header.copy()
    return packet


networks_v6 = st.builds(
    _extended, st.ip_addresses(v=6).map(str), st.ip_addresses(v=6).map(str), st.integers(0, 255), extensions
)
tcp = st.builds(
    lambda sport, dport, seq, ack, flags, window, options: TCP(
        sport=sport, dport=dport, seq=seq, ack=ack, flags=flags, window=window, options=options
    ),
    ports,
    ports,
    words,
    words,
    st.integers(0, 255),
    st.integers(0, 65535),
    st.sampled_from([[], [("MSS", 1460)], [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]]),
)
udp = st.builds(lambda sport, dport: UDP(sport=sport, dport=dport), ports, ports)
icmp = st.builds(lambda kind, code: ICMP(type=kind, code=code), st.sampled_from([0, 8]), st.integers(0, 255))
icmp6 = st.builds(lambda code: ICMPv6EchoRequest(code=code), st.integers(0, 255))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    version = draw(st.sampled_from([4, 6]))
    network = draw(networks_v4 if version == 4 else networks_v6)
    return network / draw(st.one_of(tcp, udp, icmp if version == 4 else icmp6)) / Raw(draw(contents))


TAGS = [
    (ETHER, 0),
    (ETHER / Dot1Q(vlan=5, prio=3), 5),
    (ETHER / Dot1AD(vlan=4095) / Dot1Q(vlan=17), 4095 | 17 << 16),
    (ETHER / Dot1Q(vlan=0) / Dot1Q(vlan=9), 9),
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(packets(), st.sampled_from(TAGS), st.binary(max_size=5)), min_size=1, max_size=4))
def test_columns_agree_with_scapy(drawn: list[tuple[Packet, tuple[Packet, int], bytes]]) -> None:
    """Scapy builds and dissects the packets; link padding behind them is no payload."""
    built = [bytes(link / packet) for packet, (link, _vlan), _padding in drawn]
    got = decode(*(frame + padding for frame, (_p, _l, padding) in zip(built, drawn, strict=True)))
    assert anomalies(got) == [Anomaly.NONE] * len(drawn)
    assert got.usable.all()
    for row, (frame, (_packet, (_link, vlan), _padding)) in enumerate(zip(built, drawn, strict=True)):
        seen = Ether(frame)
        expected = _fields(seen)
        expected["vlan"] = vlan
        values = {name: getattr(got, name)[row].tolist() for name in expected}
        assert values == expected
        assert payload(got, row) == _payload(seen)
        assert got.payload_missing[row] == 0


def _fields(seen: Packet) -> dict[str, Any]:
    network = seen[IP] if IP in seen else seen[IPv6]
    fields: dict[str, Any] = {
        "ip_version": network.version,
        "src": list(address_halves(network.src)),
        "dst": list(address_halves(network.dst)),
        "ttl": network.ttl if IP in seen else network.hlim,
        "fragment": False,
    }
    if TCP in seen:
        layer = seen[TCP]
        fields |= {"proto": 6, "sport": layer.sport, "dport": layer.dport, "seq": layer.seq, "ack": layer.ack}
        fields |= {"tcp_flags": int(layer.flags) & 0xFF, "window": layer.window}
    elif UDP in seen:
        fields |= {"proto": 17, "sport": seen[UDP].sport, "dport": seen[UDP].dport, "tcp_flags": 0}
    else:
        layer = seen[ICMP] if ICMP in seen else seen[ICMPv6EchoRequest]
        fields |= {"proto": 1 if ICMP in seen else 58, "sport": layer.type, "dport": layer.code}
    return fields


def _payload(seen: Packet) -> bytes:
    if ICMPv6EchoRequest in seen:
        return bytes(seen[ICMPv6EchoRequest].data)
    layer = next(seen[kind] for kind in (TCP, UDP, ICMP) if kind in seen)
    return bytes(layer.payload)


V4_TCP = V4 / TCP(sport=1, dport=2, flags="PA") / DATA
V6_TCP = V6 / TCP(sport=1, dport=2, flags="PA") / DATA


@pytest.mark.parametrize(
    ("linktype", "header", "inner"),
    [
        (0, b"\x02\0\0\0", V4_TCP),
        (0, b"\0\0\0\x02", V4_TCP),
        (0, b"\x1e\0\0\0", V6_TCP),
        (108, b"\0\0\0\x18", V6_TCP),
        (9, b"\xff\x03\x00\x21", V4_TCP),
        (9, b"\x00\x57", V6_TCP),
        (9, b"\x21", V4_TCP),
        (50, bytes(HDLC() / PPP(proto=0x21)), V4_TCP),
        (104, b"\x0f\0\x08\0", V4_TCP),
        (12, b"", V4_TCP),
        (14, b"", V6_TCP),
        (101, b"", V6_TCP),
        (228, b"", V4_TCP),
        (229, b"", V6_TCP),
        (113, bytes(CookedLinux(proto=0x800)), V4_TCP),
        (113, bytes(CookedLinux(proto=0x8100)) + b"\0\x05\x86\xdd", V6_TCP),
        (276, bytes(CookedLinuxV2(proto=0x86DD)), V6_TCP),
        (1, bytes(ETHER / PPPoE() / PPP(proto=0x21)), V4_TCP),
        (1, bytes(ETHER / Dot1Q() / PPPoE() / PPP(proto=0x57)), V6_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\x47\0\0\x10\x40\0\0\x21\x40", V4_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\x47\0\0\x21\x40", V6_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\x47\0\0\x21\x40" + bytes(4) + bytes(ETHER)[:12] + b"\x08\0", V4_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\x47\0\0\x21\x40" + bytes(ETHER)[:12] + b"\x86\xdd", V6_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\x64\x11\0\0\1\0\0\x21", V4_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\x64\x11\0\0\1\0\0\x02\x81" + b"\0\0\x21\x40", V4_TCP),
        (1, bytes(ETHER)[:12] + b"\x81\0\0\1" * 15 + b"\x08\0", V4_TCP),
        (1, bytes(ETHER)[:12] + b"\x89\x26" + bytes(4) + b"\x81\0\0\7\x08\0", V4_TCP),
        (1, bytes(ETHER)[:12] + b"\x89\x3f" + bytes(6) + b"\x86\xdd", V6_TCP),
        (1, bytes(ETHER)[:12] + b"\x88\xe7" + bytes(16) + b"\x81\0\0\7\x08\0", V4_TCP),
    ],
)
def test_every_link_type_finds_the_ip_header(linktype: int, header: bytes, inner: Packet) -> None:
    got = decode(header + bytes(inner), linktype=linktype)
    assert anomalies(got) == [Anomaly.NONE]
    assert got.dport.tolist() == [2]
    assert payload(got, 0) == DATA.load
    assert got.l3[0] - got.batch.offset[0] == len(header)


def test_of_many_vlan_tags_the_first_three_are_kept() -> None:
    tags = b"".join(b"\x81\0" + vlan.to_bytes(2, "big") for vlan in (0x3001, 10, 100, 4000))
    got = decode(bytes(ETHER)[:12] + tags + b"\x08\0" + bytes(V4_TCP))
    assert anomalies(got) == [Anomaly.NONE]
    assert got.vlan.tolist() == [1 | 10 << 16 | 100 << 32]


def test_a_priority_tag_is_no_vlan() -> None:
    """Hosts take it off at any depth, so a conversation may have it or not."""
    for tags, vlan in ((b"\x81\0\xe0\0", 0), (b"\x81\0\0\0\x81\0\0\5\x81\0\0\0\x81\0\0\7", 5 | 7 << 16)):
        got = decode(bytes(ETHER)[:12] + tags + b"\x08\0" + bytes(V4_TCP))
        assert anomalies(got) == [Anomaly.NONE]
        assert got.vlan.tolist() == [vlan]


def test_link_types_mix_in_a_batch() -> None:
    batch = batch_of([bytes(ETHER / V4_TCP), bytes(V6_TCP), bytes(V4_TCP), b"?"])
    batch.linktype[:] = [1, 101, 228, 147]
    got = Decoder(DecodeSettings(checksums="all"), Counters()).decode(batch)
    assert anomalies(got) == [Anomaly.NONE] * 3 + [Anomaly.UNKNOWN_LINKTYPE]
    assert got.ip_version.tolist() == [4, 6, 4, 0]


def test_an_empty_batch_decodes() -> None:
    assert len(decode()) == 0
    assert len(decode(b"", linktype=101)) == 1


def set_bytes(packet: Packet, at: int, value: bytes) -> bytes:
    """Overwrite bytes of the built packet, counted from its IP header."""
    built = bytearray(bytes(packet))
    built[at : at + len(value)] = value
    return bytes(built)


OPTIONS = V4.copy() / UDP(sport=5, dport=6) / DATA
OPTIONS[IP].options = [IPOption(b"\x94\x04\x00\x00")]

FAULTS = [
    (b"\x45" + bytes(18), Anomaly.IPV4_TRUNCATED),
    (set_bytes(V4_TCP, 0, b"\x44"), Anomaly.IPV4_BAD_HEADER_LENGTH),
    (bytes(OPTIONS)[:22], Anomaly.IPV4_TRUNCATED),
    (set_bytes(V4_TCP, 2, b"\x00\x13"), Anomaly.IPV4_SHORT_TOTAL_LENGTH),
    (bytes(V4_TCP)[:-1], Anomaly.IPV4_BAD_TOTAL_LENGTH),
    (set_bytes(V4_TCP, 8, b"\x01"), Anomaly.BAD_IP_CHECKSUM),
    (set_bytes(OPTIONS, 20, b"\x95"), Anomaly.BAD_IP_CHECKSUM),
    (set_bytes(V4_TCP, 24, b"\x01"), Anomaly.BAD_L4_CHECKSUM),
    (set_bytes(V4_TCP, 45, b"\x01"), Anomaly.BAD_L4_CHECKSUM),
    (bytes(V4 / TCP(chksum=1) / DATA), Anomaly.BAD_L4_CHECKSUM),
    (bytes(V4 / UDP(chksum=1) / DATA), Anomaly.BAD_L4_CHECKSUM),
    (bytes(V4 / ICMP(chksum=1) / DATA), Anomaly.BAD_L4_CHECKSUM),
    (bytes(V4 / ICMP(type=0, chksum=0)), Anomaly.BAD_L4_CHECKSUM),
    (bytes(V6 / UDP(chksum=0) / DATA), Anomaly.BAD_L4_CHECKSUM),
    (bytes(V6 / ICMPv6EchoRequest(cksum=1)), Anomaly.BAD_L4_CHECKSUM),
    (bytes(IP(proto=6) / Raw(bytes(19))), Anomaly.TCP_TRUNCATED),
    (bytes(V4 / TCP(dataofs=4) / DATA), Anomaly.TCP_BAD_OFFSET),
    (bytes(V4 / TCP(dataofs=15) / DATA), Anomaly.TCP_BAD_OFFSET),
    (bytes(IP(proto=17) / Raw(bytes(7))), Anomaly.UDP_TRUNCATED),
    (bytes(V4 / UDP(len=7) / DATA), Anomaly.UDP_BAD_LENGTH),
    (bytes(V4 / UDP(len=25) / DATA), Anomaly.UDP_BAD_LENGTH),
    (bytes(IP(proto=1) / Raw(bytes(7))), Anomaly.ICMP_TRUNCATED),
    (bytes(V6)[:39], Anomaly.IPV6_TRUNCATED),
    (bytes(V6_TCP)[:-1], Anomaly.IPV6_TRUNCATED),
    (bytes(IPv6(nh=60) / Raw(b"\x06\x02" + bytes(14))), Anomaly.IPV6_BAD_EXTENSION),
    (bytes(IPv6(nh=0)), Anomaly.IPV6_BAD_EXTENSION),
    (bytes(IPv6(nh=44) / Raw(b"\x06" + bytes(7) + b"\0")), Anomaly.IPV6_BAD_EXTENSION),
    (bytes(IPv6(nh=60) / Raw(b"\x3c\0\1\4\0\0\0\0" * 17)), Anomaly.IPV6_BAD_EXTENSION),
    (b"\x20", Anomaly.NOT_IP),
    (b"", Anomaly.TRUNCATED_LINK),
]


@pytest.mark.parametrize(("frame", "reason"), FAULTS)
def test_each_fault_has_its_reason(frame: bytes, reason: Anomaly) -> None:
    counters = Counters()
    got = decode(bytes(V4_TCP), frame, bytes(V6_TCP), linktype=101, counters=counters)
    assert anomalies(got) == [Anomaly.NONE, reason, Anomaly.NONE]
    assert got.usable.tolist() == [True, False, True]
    assert counters[f"decode.anomaly.{reason.name.lower()}"] == 1
    assert counters["decode.packets"] == 3


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (bytes(ETHER)[:13], Anomaly.TRUNCATED_LINK),
        (bytes(ETHER / ARP()), Anomaly.NOT_IP),
        (bytes(ETHER)[:12] + b"\x81\x00\0\1" * 17 + b"\x08\x00" + bytes(V4_TCP), Anomaly.TOO_MANY_VLAN_TAGS),
        (bytes(ETHER / Dot1Q())[:17], Anomaly.TRUNCATED_LINK),
        (bytes(ETHER)[:12] + b"\x08\x00" + bytes(V6_TCP), Anomaly.IP_BAD_VERSION),
        (bytes(ETHER)[:12] + b"\x86\xdd" + bytes(V4_TCP), Anomaly.IPV6_BAD_VERSION),
        (bytes(ETHER)[:12] + b"\x88\x47" + bytes(4) * 17 + bytes(V4_TCP), Anomaly.TOO_MANY_VLAN_TAGS),
        (bytes(ETHER)[:12] + b"\x88\x64\x11\xa7" + bytes(7), Anomaly.NOT_IP),
        (bytes(ETHER)[:12] + b"\x88\x64\x11\0" + bytes(4), Anomaly.TRUNCATED_LINK),
    ],
)
def test_each_link_fault_has_its_reason(frame: bytes, reason: Anomaly) -> None:
    assert anomalies(decode(frame)) == [reason]


def test_without_verification_bad_checksums_pass() -> None:
    got = decode(bytes(V4 / TCP(chksum=1)), set_bytes(V4_TCP, 8, b"\x01"), linktype=101, verify=False)
    assert got.usable.all()


def test_an_absent_udp_checksum_is_no_bad_one_over_ipv4() -> None:
    assert decode(bytes(V4 / UDP(chksum=0) / DATA), linktype=101).usable.all()


@pytest.mark.parametrize("packet", [V4_TCP, V6_TCP, V4 / UDP() / DATA, V6 / UDP() / DATA, V4 / ICMP() / DATA])
@pytest.mark.parametrize("gap", range(8))
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5])
def test_checksums_hold_at_any_alignment_and_length(packet: Packet, gap: int, length: int) -> None:
    """A right one passes and any flipped bit of the segment is noticed, wherever it lies in the buffer."""
    packet = packet.copy()
    packet[Raw].load = b"\xff\x80\x7f\x01\xfe"[:length]
    good = bytes(packet)
    first = 20 if IP in packet else 40
    bad = [bytes(good[:at]) + bytes([good[at] ^ 0x10]) + good[at + 1 :] for at in range(first + 8, len(good))]
    batch = batch_of([good, *bad], 101, gap=gap)
    got = Decoder(DecodeSettings(checksums="all"), Counters()).decode(batch)
    assert got.usable[0]
    assert not got.usable[1:].any()


def test_what_the_snap_length_cut_off_is_reported_and_not_held_against_the_packet() -> None:
    whole = bytes(V4_TCP)
    got = decode(whole[:45], whole[:40], whole[:39], wirelen=[len(whole)] * 3, linktype=101)
    assert anomalies(got) == [Anomaly.NONE, Anomaly.NONE, Anomaly.TCP_TRUNCATED]
    assert got.payload_len.tolist()[:2] == [5, 0]
    assert got.payload_missing.tolist()[:2] == [len(DATA) - 5, len(DATA)]


def test_other_protocols_are_flows_without_ports() -> None:
    got = decode(bytes(IP(proto=50) / DATA), bytes(IP(proto=132) / DATA), bytes(IPv6(nh=59) / DATA), linktype=101)
    assert got.usable.all()
    assert got.proto.tolist() == [50, 132, 59]
    assert got.sport.tolist() == got.dport.tolist() == [0, 0, 0]
    assert payload(got, 1) == DATA.load


def test_an_authentication_header_is_followed() -> None:
    """Its length counts words of four bytes, unlike that of the other extension headers (RFC 4302 section 2.2)."""
    protected = V6.copy()
    protected.nh = 51
    segment = bytes(V6_TCP)[40:]
    header = bytes(AH(nh=6, payloadlen=4, icv=b"123456789012"))
    got = decode(bytes(protected / Raw(header + segment)), linktype=101)
    assert anomalies(got) == [Anomaly.NONE]
    assert got.dport.tolist() == [2]
    assert payload(got, 0) == DATA.load


def test_a_routed_ipv6_checksum_is_left_to_the_last_address() -> None:
    packet = V6 / IPv6ExtHdrRouting(segleft=1, addresses=["2001:db8::9"]) / TCP() / DATA
    got = decode(bytes(packet), linktype=101)
    assert anomalies(got) == [Anomaly.IPV6_SOURCE_ROUTE]
    assert got.doubtful.all()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_frames_never_raise_and_stay_in_bounds(data: st.DataObject) -> None:
    frames = []
    for _ in range(data.draw(st.integers(1, 4))):
        frame = bytearray(bytes(data.draw(st.sampled_from(SEEDS))))
        for _ in range(data.draw(st.integers(0, 4))):
            frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        frames.append(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    linktype = data.draw(st.sampled_from([1, 1, 1, 0, 9, 12, 101, 104, 108, 113, 228, 229, 276, 999]))
    extra = data.draw(st.integers(0, 2000))
    got = decode(
        *frames, linktype=linktype, wirelen=[len(frame) + extra for frame in frames], verify=data.draw(st.booleans())
    )
    assert (got.usable == (got.anomaly == Anomaly.NONE)).all()
    ends = got.payload + got.payload_len
    limit = got.batch.offset + got.batch.caplen
    assert (got.payload_len >= 0).all()
    assert (got.payload_missing >= 0).all()
    assert ((got.payload == -1) | ((got.payload >= got.batch.offset) & (ends <= limit))).all()
    assert (got.l4[got.usable] > got.l3[got.usable]).all()


SEEDS = [
    ETHER / V4_TCP,
    ETHER / Dot1Q(vlan=7) / V6_TCP,
    ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1, offset=0) / UDP() / DATA,
    ETHER / V6 / IPv6ExtHdrDestOpt() / AH(nh=6, payloadlen=4, icv=b"123456789012") / TCP() / DATA,
    ETHER / IP(flags="MF", frag=1) / DATA,
    ETHER / PPPoE() / PPP(proto=0x21) / V4 / ICMP() / DATA,
    V4_TCP,
    V6 / UDP() / DATA,
    ETHER / V4 / UDP(dport=4789) / Raw(b"\x08" + bytes(7)) / ETHER / V4_TCP,
    ETHER / V4 / Raw(b"\x10\0\x88\xbe" + bytes(12)) / ETHER / V4_TCP,
    ETHER / IP(proto=47) / Raw(b"\0\0\x08\0") / V6 / IPv6ExtHdrFragment(m=1, offset=0) / UDP() / DATA,
    ETHER / V4 / V6 / V4 / UDP(dport=3544) / V6_TCP,
    Raw(struct.pack(">II", 0x88470000, 0) * 10),
]


def test_foreign_captures_decode() -> None:
    decoder = Decoder(DecodeSettings(), Counters())
    usable = 0
    for path in sorted(shared("suricata-verify").rglob("*.pcap*")):
        with open_capture(path) as capture:
            usable += sum(int(decoder.decode(batch).usable.sum()) for batch in capture)
    assert usable
