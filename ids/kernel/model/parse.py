"""The parsers of ``bpf/ids_parse.h`` in Python, check by check: what one frame says, or why it goes no further.

Names and order follow the C side, so that the two can be read side by side.
"""

from __future__ import annotations

from ids.kernel.contract import Reason

MAX_VLAN_TAGS = 8
MAX_IP6_EXTENSIONS = 8
INTERFACE = 1
"""On which ``BPF_PROG_RUN`` has packets arrive: loopback."""

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
WHOLE, FIRST_FRAGMENT, LATER_FRAGMENT = 0, 1, 2

_GO_ON = 0
_IP4, _IP6 = b"\x08\x00", b"\x86\xdd"
VLAN_TYPES = (b"\x81\x00", b"\x88\xa8")
_FRAGMENT_HEADER, _AH = 44, 51
_RARE = frozenset((135, 139, 140))
_EXTENSIONS = frozenset((0, 43, _AH, 60)) | _RARE
_HEADERS = _EXTENSIONS | {_FRAGMENT_HEADER}
NO_PORT = b"\0\0"


class Packet:
    """``struct ids_packet``: what the parsers found in one frame. Ports and addresses stay in network byte order."""

    __slots__ = (
        "ack", "apart", "charged", "dport", "dst", "fate", "first_ports", "fragment", "fragment_id", "frame", "ip_end",
        "kind", "l3", "l4", "len", "malformed", "met_shadow", "neighbour", "news", "payload_len", "proto", "refused",
        "seq", "shadowed", "sport", "src", "tcp_flags", "tunnel", "unknown_header", "version", "vlan",
    )  # fmt: skip

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.len = len(frame)
        self.l3 = self.l4 = self.ip_end = self.payload_len = self.seq = self.ack = self.vlan = 0
        self.sport = self.dport = NO_PORT
        self.first_ports = (NO_PORT, NO_PORT)
        self.kind = self.fragment_id = b""
        self.version = self.proto = self.fragment = self.tcp_flags = self.charged = self.fate = self.neighbour = 0
        self.tunnel = self.malformed = 0
        self.src = self.dst = b""
        self.news = self.refused = self.unknown_header = self.shadowed = self.met_shadow = self.apart = False


def parse_addresses(packet: Packet) -> int:
    """Find the addresses; return 0, or the `Reason` why there are none."""
    frame = packet.frame
    if packet.len < 14:
        return Reason.DROP_ETH_SHORT
    kind, at = frame[12:14], 14
    for _ in range(MAX_VLAN_TAGS):
        if kind not in VLAN_TYPES:
            break
        if at + 4 > packet.len:
            return Reason.DROP_ETH_SHORT
        note_vlan(packet, int.from_bytes(frame[at : at + 2], "big") & 0xFFF)
        kind, at = frame[at + 2 : at + 4], at + 4
    packet.l3, packet.kind = at, kind
    if kind == _IP4:
        if at + 20 > packet.len:
            return Reason.DROP_IP4_SHORT
        packet.version, packet.src, packet.dst = 4, frame[at + 12 : at + 16], frame[at + 16 : at + 20]
        return _GO_ON
    if kind == _IP6:
        if at + 40 > packet.len:
            return Reason.DROP_IP6_SHORT
        packet.version, packet.src, packet.dst = 6, frame[at + 8 : at + 24], frame[at + 24 : at + 40]
        return _GO_ON
    return Reason.PASS_VLAN_TAGS if kind in VLAN_TYPES else Reason.PASS_NOT_IP


def note_vlan(packet: Packet, vlan: int) -> None:
    if packet.vlan < 1 << 12:
        packet.vlan |= vlan << 12
    elif not packet.vlan & 0xFFF:
        packet.vlan |= vlan


def neighbour(frame: bytes) -> int:
    """Return who handed us a frame, on the first interface."""
    first, second, third = (int.from_bytes(frame[at : at + 2], "little") for at in (6, 8, 10))
    return (third | second << 16) ^ (first << 8) ^ (INTERFACE * 0x9E3779B1 & 0xFFFFFFFF)


def judge_headers(packet: Packet) -> int:
    """Judge the IP header and what follows; return 0, or the `Reason` that calls the packet malformed."""
    reason = _judge_ip4(packet) if packet.version == 4 else _judge_ip6(packet)
    return reason or judge_l4(packet)


def judge_fragment(packet: Packet, offset: int, length: int, more: bool) -> int:
    if offset + length > 65535:
        return Reason.DROP_FRAGMENT_OVERSIZE
    if offset:
        packet.fragment = LATER_FRAGMENT
        if packet.proto == TCP and offset < 20:
            return Reason.DROP_FRAGMENT_TINY
    elif more:
        packet.fragment = FIRST_FRAGMENT
    return _GO_ON


def _judge_ip4(packet: Packet) -> int:
    frame, at = packet.frame, packet.l3
    header_len = (frame[at] & 15) * 4
    total_len = frame[at + 2] << 8 | frame[at + 3]
    if frame[at] >> 4 != 4:
        return Reason.DROP_IP4_VERSION
    if header_len < 20:
        return Reason.DROP_IP4_HEADER_LEN
    if total_len < header_len or at + total_len > packet.len:
        return Reason.DROP_IP4_TOTAL_LEN
    if packet.src[0] == 127 or packet.src[0] & 0xF0 == 224:
        return Reason.DROP_IP_SOURCE
    packet.proto = frame[at + 9]
    packet.l4 = at + header_len
    packet.ip_end = at + total_len
    packet.fragment_id = frame[at + 4 : at + 6]
    offset = frame[at + 6] << 8 | frame[at + 7]
    return judge_fragment(packet, (offset & 0x1FFF) * 8, total_len - header_len, bool(offset & 0x2000))


def _judge_ip6(packet: Packet) -> int:
    frame, at = packet.frame, packet.l3
    if frame[at] >> 4 != 6:
        return Reason.DROP_IP6_VERSION
    packet.proto = frame[at + 6]
    packet.l4 = at + 40
    packet.ip_end = packet.l4 + (frame[at + 4] << 8 | frame[at + 5])
    if packet.ip_end > packet.len:
        return Reason.DROP_IP6_PAYLOAD_LEN
    if packet.src[0] == 0xFF:
        return Reason.DROP_IP_SOURCE
    return walk_ip6(packet)


def walk_ip6(packet: Packet) -> int:
    for _ in range(MAX_IP6_EXTENSIONS):
        if packet.fragment == LATER_FRAGMENT or packet.proto not in _HEADERS:
            return _GO_ON
        reason = _step_fragment(packet) if packet.proto == _FRAGMENT_HEADER else _step_extension(packet)
        if reason:
            return reason
    if packet.fragment != LATER_FRAGMENT and packet.proto in _HEADERS:
        return Reason.DROP_IP6_EXT_CHAIN
    return _GO_ON


def _step_extension(packet: Packet) -> int:
    at = packet.l4
    if at + 2 > packet.ip_end:
        return Reason.DROP_IP6_EXT_SHORT
    following, units = packet.frame[at], packet.frame[at + 1]
    length = (units + 2) * 4 if packet.proto == _AH else (units + 1) * 8
    if at + length > packet.ip_end:
        return Reason.DROP_IP6_EXT_SHORT
    packet.unknown_header |= packet.proto in _RARE and packet.fragment == WHOLE
    packet.proto = following
    packet.l4 += length
    return _GO_ON


def _step_fragment(packet: Packet) -> int:
    at = packet.l4
    if at + 8 > packet.ip_end:
        return Reason.DROP_IP6_EXT_SHORT
    offset = packet.frame[at + 2] << 8 | packet.frame[at + 3]
    packet.proto = packet.frame[at]
    packet.fragment_id = packet.frame[at + 4 : at + 8]
    packet.l4 += 8
    return judge_fragment(packet, offset & 0xFFF8, packet.ip_end - packet.l4, bool(offset & 1))


def judge_l4(packet: Packet) -> int:
    packet.payload_len = packet.ip_end - packet.l4
    if packet.fragment == LATER_FRAGMENT:
        return _GO_ON
    reason = _GO_ON
    if packet.proto == TCP:
        reason = _judge_tcp(packet)
    elif packet.proto == UDP:
        reason = _judge_udp(packet)
    elif packet.proto == (ICMP if packet.version == 4 else ICMPV6):
        reason = _judge_icmp(packet)
    if packet.fragment:
        packet.first_ports = packet.sport, packet.dport
        packet.sport = packet.dport = NO_PORT
    return reason


def _lacks(packet: Packet, length: int, reason: Reason) -> int:
    """Return why ``length`` bytes of the transport header are not there, or 0."""
    if packet.l4 + length <= packet.ip_end:
        return _GO_ON
    return Reason.DROP_FRAGMENT_TINY if packet.fragment == FIRST_FRAGMENT else reason


def _judge_tcp(packet: Packet) -> int:
    reason = _lacks(packet, 20, Reason.DROP_TCP_SHORT)
    if reason:
        return reason
    frame, at = packet.frame, packet.l4
    header_len = (frame[at + 12] >> 4) * 4
    if header_len < 20 or at + header_len > packet.ip_end:
        return Reason.DROP_TCP_OFFSET
    flags = packet.tcp_flags = frame[at + 13]
    if flags & SYN and flags & (FIN | RST):
        return Reason.DROP_TCP_FLAGS
    packet.sport, packet.dport = frame[at : at + 2], frame[at + 2 : at + 4]
    packet.seq = int.from_bytes(frame[at + 4 : at + 8], "big")
    packet.ack = int.from_bytes(frame[at + 8 : at + 12], "big")
    packet.payload_len -= header_len
    return _GO_ON


def _judge_udp(packet: Packet) -> int:
    reason = _lacks(packet, 8, Reason.DROP_UDP_SHORT)
    if reason:
        return reason
    frame, at = packet.frame, packet.l4
    length = frame[at + 4] << 8 | frame[at + 5]
    if length < 8 or (packet.fragment == WHOLE and at + length > packet.ip_end):
        return Reason.DROP_UDP_LEN
    packet.sport, packet.dport = frame[at : at + 2], frame[at + 2 : at + 4]
    packet.payload_len -= 8
    return _GO_ON


def _judge_icmp(packet: Packet) -> int:
    reason = _lacks(packet, 8, Reason.DROP_ICMP_SHORT)
    if reason:
        return reason
    at = packet.l4
    if packet.frame[at] in ((8, 0) if packet.version == 4 else (128, 129)):
        packet.sport = packet.dport = packet.frame[at + 4 : at + 6]
    packet.payload_len -= 8
    return _GO_ON
