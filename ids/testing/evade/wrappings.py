"""Packets in other packets: VLAN tags at any depth, MPLS, PPPoE, and tunnels.

A host sees the same whatever it came wrapped in, so every policy holds. None but the priority tag (VLAN 0) can be tried
against a plain Linux server: it would have to be the other end of the tunnel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from ids.testing.evade import packets
from ids.testing.evade.conversation import Conversation, plainly
from ids.testing.evade.steps import Evasion, Wrap

FAMILY = "wrappings"
OUTER = ("198.51.100.1", "198.51.100.2")
OUTER6 = ("2001:db8:f::1", "2001:db8:f::2")
"""The ends of tunnels; addresses for documentation."""
DOT1Q, DOT1AD, OLD_QINQ = 0x8100, 0x88A8, 0x9100
MPLS, PPPOE, BRIDGED = 0x8847, 0x8864, 0x6558
GRE, IN_IPV4, IN_IPV6 = 47, 4, 41
VXLAN_PORT, GENEVE_PORT, TEREDO_PORT = 4789, 6081, 3544
"""EtherTypes, protocol numbers and ports (IANA)."""


def wrappings(talk: Conversation) -> Iterator[Evasion]:
    """Give the attack in each wrapping."""
    for depth in (1, 2, 3, 5):
        yield _evasion(talk, f"priority tag (VLAN 0), {depth} deep", tagged(*[(DOT1Q, 0)] * depth), checked=True)
    for name, wrap in WRAPS.items():
        yield _evasion(talk, name, wrap)
    yield _evasion(talk, "6in4", in_ip(OUTER, IN_IPV6), ipv6=True)
    yield _evasion(talk, "IPv6 in IPv6", in_ip(OUTER6, IN_IPV6), ipv6=True)
    yield _evasion(talk, "Teredo", in_udp(TEREDO_PORT, lambda packet: packet), ipv6=True)


def _evasion(talk: Conversation, name: str, wrap: Wrap, *, checked: bool = False, ipv6: bool = False) -> Evasion:
    unchecked = "" if checked else "the server would have to be the end of the tunnel"
    return talk.evasion(FAMILY, name, plainly(talk.attack), wrap=wrap, ipv6=ipv6, unchecked=unchecked)


def tagged(*tags: tuple[int, int]) -> Wrap:
    """Return what puts VLAN tags before a packet: EtherType and number of each, from the outside in."""

    def wrap(packet: bytes, side: int) -> tuple[int, bytes]:
        kinds = [kind for kind, _ in tags[1:]] + [packets.ethertype(packet)]
        body = b"".join(struct.pack(">HH", vlan, kind) for (_, vlan), kind in zip(tags, kinds, strict=True))
        return tags[0][0], body + packet

    return wrap


def in_ip(ends: tuple[str, str], proto: int, head: Callable[[bytes, int], bytes] = lambda packet, side: packet) -> Wrap:
    """Return what puts a packet, behind what ``head`` adds to it, into an IP packet between two ends."""

    def wrap(packet: bytes, side: int) -> tuple[int, bytes]:
        outer = packets.ip_packet(ends if side == 0 else ends[::-1], proto, head(packet, side))
        return packets.ethertype(outer), outer

    return wrap


def in_udp(port: int, head: Callable[[bytes], bytes], ends: tuple[str, str] = OUTER) -> Wrap:
    """Return what puts a packet, behind what ``head`` adds to it, into a UDP datagram to a port."""

    def body(packet: bytes, side: int) -> bytes:
        hosts = ends if side == 0 else ends[::-1]
        return packets.udp_datagram(hosts, (50000, port), head(packet))

    return in_ip(ends, packets.UDP, body)


def bridged(packet: bytes) -> bytes:
    """Return the Ethernet frame of a packet within a tunnel."""
    macs = (bytes.fromhex("00005e005311"), bytes.fromhex("00005e005312"))
    return packets.ethernet(macs, packets.ethertype(packet), packet)


def labelled(labels: int) -> Wrap:
    """Return what puts MPLS labels before a packet (RFC 3032)."""

    def wrap(packet: bytes, side: int) -> tuple[int, bytes]:
        stack = b"".join(
            struct.pack(">I", 1000 + each << 12 | (each == labels - 1) << 8 | 64) for each in range(labels)
        )
        return MPLS, stack + packet

    return wrap


def _pppoe(packet: bytes, side: int) -> tuple[int, bytes]:
    protocol = 0x57 if packet[0] >> 4 == 6 else 0x21
    return PPPOE, struct.pack(">BBHHH", 0x11, 0, 7, len(packet) + 2, protocol) + packet


def _gre(flags: int = 0, fields: bytes = b"") -> Callable[[bytes, int], bytes]:
    return lambda packet, side: struct.pack(">HH", flags, packets.ethertype(packet)) + fields + packet


def _bridged_gre(packet: bytes, side: int) -> bytes:
    return struct.pack(">HH", 0, BRIDGED) + bridged(packet)


def _erspan(packet: bytes, side: int) -> bytes:
    """Version II: GRE with a sequence number, then eight bytes of its own."""
    return struct.pack(">HHI", 0x1000, 0x88BE, 1) + struct.pack(">HHI", 0x1000, 7, 0) + bridged(packet)


def _vxlan(packet: bytes) -> bytes:
    return struct.pack(">II", 0x08000000, 77 << 8) + bridged(packet)


def _geneve(options: bytes = b"") -> Callable[[bytes], bytes]:
    return lambda packet: struct.pack(">BBHI", len(options) // 4, 0, BRIDGED, 77 << 8) + options + bridged(packet)


def _deep(packet: bytes, side: int, depth: int) -> bytes:
    for _ in range(depth):
        packet = in_ip(OUTER, IN_IPV4)(packet, side)[1]
    return packet


def _twice(outer: Callable[[bytes], bytes], inner: Wrap) -> Wrap:
    def wrap(packet: bytes, side: int) -> tuple[int, bytes]:
        _, body = inner(packet, side)
        return in_udp(VXLAN_PORT, outer)(body, side)

    return wrap


WRAPS: dict[str, Wrap] = {
    "VLAN": tagged((DOT1Q, 100)),
    "VLAN in VLAN": tagged((DOT1AD, 100), (DOT1Q, 200)),
    "VLAN in VLAN, the old EtherType": tagged((OLD_QINQ, 100), (DOT1Q, 200)),
    "three VLANs": tagged((DOT1AD, 100), (DOT1Q, 200), (DOT1Q, 300)),
    "five VLANs": tagged(*[(DOT1Q, each) for each in range(1, 6)]),
    "MPLS": labelled(1),
    "MPLS, four labels": labelled(4),
    "PPPoE": _pppoe,
    "IP in IP": in_ip(OUTER, IN_IPV4),
    "IPv4 in IPv6": in_ip(OUTER6, IN_IPV4),
    "IP in IP, four deep": in_ip(OUTER, IN_IPV4, lambda packet, side: _deep(packet, side, 3)),
    "PPPoE in a VLAN": lambda packet, side: (DOT1Q, struct.pack(">HH", 100, PPPOE) + _pppoe(packet, side)[1]),
    "MPLS in a VLAN": lambda packet, side: (DOT1Q, struct.pack(">HH", 100, MPLS) + labelled(2)(packet, side)[1]),
    "GRE": in_ip(OUTER, GRE, _gre()),
    "GRE with checksum, key and sequence number": in_ip(OUTER, GRE, _gre(0xB000, bytes(12))),
    "GRE over IPv6": in_ip(OUTER6, GRE, _gre()),
    "GRE with Ethernet in it": in_ip(OUTER, GRE, _bridged_gre),
    "ERSPAN": in_ip(OUTER, GRE, _erspan),
    "VXLAN": in_udp(VXLAN_PORT, _vxlan),
    "VXLAN over IPv6": in_udp(VXLAN_PORT, _vxlan, OUTER6),
    "Geneve": in_udp(GENEVE_PORT, _geneve()),
    "Geneve with options": in_udp(GENEVE_PORT, _geneve(bytes((1, 2, 3, 1, 0, 0, 0, 0)))),
    "GRE in VXLAN": _twice(_vxlan, in_ip(OUTER, GRE, _gre())),
}
