"""Tunnels of the model: ``bpf/ids_tunnel.h`` in Python. Where does an inner packet begin, and whose is it?"""

from __future__ import annotations

from enum import IntEnum

from ids.kernel.contract import Tunnel
from ids.kernel.model.parse import (
    MAX_VLAN_TAGS,
    NO_PORT,
    VLAN_TYPES,
    WHOLE,
    Packet,
    judge_fragment,
    judge_l4,
    note_vlan,
    walk_ip6,
)

MAX_TUNNELS = 2
"""Tunnels within each other that are looked into."""
PROTO_TUNNELS: dict[int, Tunnel] = {4: Tunnel.IP4, 41: Tunnel.IP6, 47: Tunnel.GRE}
"""By protocol of IP."""

_IP4, _IP6, _ARP, _ETHERNET = 0x0800, 0x86DD, 0x0806, 0x6558
_PPP, _WCCP, _ERSPAN, _ERSPAN3 = 0x880B, 0x883E, 0x88BE, 0x22EB
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _ACK = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
_UDP_HEADER = 8


class Entry(IntEnum):
    """ids_entry: what became of looking into a tunnel."""

    ENTERED = 0
    EMPTY = 1
    UNREAD = 2


def carried(packet: Packet) -> Packet:
    """Return what is known of a packet in a tunnel before it is looked into: where that begins and ends."""
    inner = Packet(packet.frame)
    inner.l4, inner.ip_end, inner.tunnel = packet.l4, packet.ip_end, packet.tunnel
    return inner


def enter_tunnel(packet: Packet) -> Entry:
    """Make what is known of a packet in a tunnel that of the packet which it carries."""
    kind = _open(packet)
    packet.vlan, packet.fragment, packet.tcp_flags, packet.unknown_header = 0, WHOLE, 0, False
    packet.sport = packet.dport = NO_PORT
    packet.first_ports = (NO_PORT, NO_PORT)
    if kind == _ETHERNET:
        kind = _open_frame(packet)
    if kind not in (_IP4, _IP6):
        return Entry.EMPTY if kind in (0, _ARP) else Entry.UNREAD
    if not (_enter_ip4(packet) if kind == _IP4 else _enter_ip6(packet)):
        return Entry.EMPTY
    packet.malformed = packet.malformed or judge_l4(packet)
    return Entry.ENTERED


def _peek(packet: Packet, offset: int, length: int) -> bytes:
    """Return bytes of the packet; none where they are not all there."""
    return packet.frame[offset : offset + length] if offset + length <= packet.ip_end else b""


def _word(data: bytes, at: int = 0) -> int:
    return data[at] << 8 | data[at + 1]


def _open(packet: Packet) -> int:
    """Find where the packet begins that is carried, and its EtherType; 0: none."""
    packet.l3 = packet.l4
    if packet.tunnel in (Tunnel.IP4, Tunnel.IP6):
        return _IP4 if packet.tunnel == Tunnel.IP4 else _IP6
    readers = {Tunnel.GRE: _gre, Tunnel.VXLAN: _vxlan, Tunnel.GENEVE: _geneve, Tunnel.TEREDO: _teredo}
    return readers[Tunnel(packet.tunnel)](packet)


def _gre(packet: Packet) -> int:
    head = _peek(packet, packet.l4, 4)
    if not head:
        return 0
    flags, kind = _word(head), _word(head, 2)
    version = flags & 7
    if version > 1 or flags & _ROUTING or (version == 1 and kind != _PPP):
        return 0
    packet.l3 += 4 + 4 * sum(bool(flags & bit) for bit in (_CHECKSUM, _KEY, _SEQUENCE))
    packet.l3 += 4 * bool(version and flags & _ACK)
    if kind == _PPP:
        return _ppp(packet)
    if kind in (_ERSPAN, _ERSPAN3):
        return _erspan(packet, flags, kind)
    if kind == _WCCP:
        head = _peek(packet, packet.l3, 1)
        packet.l3 += 4 * bool(head and head[0] >> 4 != 4)
        return _IP4 if head else 0
    return kind


def _ppp(packet: Packet) -> int:
    head = _peek(packet, packet.l3, 4)
    if not head:
        return 0
    at = 2 if head[:2] == b"\xff\x03" else 0
    protocol, at = head[at], at + 1
    if not protocol & 1:
        protocol, at = protocol << 8 | head[at], at + 1
    packet.l3 += at
    return {0x21: _IP4, 0x57: _IP6}.get(protocol, 0)


def _erspan(packet: Packet, flags: int, kind: int) -> int:
    if kind == _ERSPAN:
        packet.l3 += 8 * bool(flags & _SEQUENCE)
        return _ETHERNET
    head = _peek(packet, packet.l3, 12)
    if not head:
        return 0
    packet.l3 += 20 if head[11] & 1 else 12
    return _ETHERNET


def _vxlan(packet: Packet) -> int:
    head = _peek(packet, packet.l4 + _UDP_HEADER, 8)
    if not head or not head[0] & 0x08:
        return 0
    packet.l3 += _UDP_HEADER + 8
    return {1: _IP4, 2: _IP6, 3: _ETHERNET}.get(head[3], 0) if head[0] & 0x04 else _ETHERNET


def _geneve(packet: Packet) -> int:
    head = _peek(packet, packet.l4 + _UDP_HEADER, 8)
    if not head or head[0] >> 6:
        return 0
    packet.l3 += _UDP_HEADER + 8 + 4 * (head[0] & 63)
    return _word(head, 2)


def _teredo(packet: Packet) -> int:
    packet.l3 += _UDP_HEADER
    head = _peek(packet, packet.l3, 4)
    if not head:
        return 0
    if _word(head) == 1:
        packet.l3 += 13 + head[2] + head[3]
    head = _peek(packet, packet.l3, 2)
    if not head:
        return 0
    packet.l3 += 8 * (_word(head) == 0)
    return _IP6


def _open_frame(packet: Packet) -> int:
    head = _peek(packet, packet.l3, 14)
    if not head:
        return 0
    packet.l3 += 14
    kind = head[12:14]
    for _ in range(MAX_VLAN_TAGS):
        if kind not in VLAN_TYPES:
            break
        head = _peek(packet, packet.l3, 4)
        if not head:
            return 0
        note_vlan(packet, _word(head) & 0xFFF)
        kind = head[2:4]
        packet.l3 += 4
    return _word(kind)


def _enter_ip4(packet: Packet) -> bool:
    head = _peek(packet, packet.l3, 20)
    if not head or head[0] >> 4 != 4:
        return False
    header_len, total_len, offset = (head[0] & 15) * 4, _word(head, 2), _word(head, 6)
    if header_len < 20 or total_len < header_len:
        return False
    packet.version, packet.proto, packet.src, packet.dst = 4, head[9], head[12:16], head[16:20]
    packet.fragment_id = head[4:6]
    packet.l4 = packet.l3 + header_len
    packet.ip_end = min(packet.ip_end, packet.l3 + total_len)
    more = bool(offset & 0x2000)
    packet.malformed = judge_fragment(packet, (offset & 0x1FFF) * 8, total_len - header_len, more)
    return True


def _enter_ip6(packet: Packet) -> bool:
    head = _peek(packet, packet.l3, 40)
    if not head or head[0] >> 4 != 6:
        return False
    packet.version, packet.proto, packet.src, packet.dst = 6, head[6], head[8:24], head[24:40]
    packet.l4 = packet.l3 + 40
    packet.ip_end = min(packet.ip_end, packet.l4 + _word(head, 4))
    packet.malformed = walk_ip6(packet)
    return True
