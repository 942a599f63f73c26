"""Packets by name, as the tests of the kernel side send them. Built with Scapy, so with right lengths and checksums."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
ETHER_BACK = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01")
CLIENT, SERVER = "192.0.2.7", "198.51.100.1"
CLIENT6, SERVER6 = "2001:db8::7", "2001:db8:1::1"
VTEP, OTHER_VTEP = "203.0.113.1", "203.0.113.2"
VTEP6, OTHER_VTEP6 = "2001:db8:f::1", "2001:db8:f::2"
IP4 = IP(src=CLIENT, dst=SERVER)
IP6 = IPv6(src=CLIENT6, dst=SERVER6)


def wire(*layers: Packet | bytes) -> bytes:
    """Return the bytes of a frame: Ethernet, then the given layers. What the server sends comes from the other side."""
    back = any(getattr(layer, "src", None) in (SERVER, SERVER6) for layer in layers)
    packet = (ETHER_BACK if back else ETHER).copy()
    for layer in layers:
        packet = packet / (Raw(layer) if isinstance(layer, bytes) else layer.copy())
    return bytes(packet)


def tcp(flags: str, sport: int = 40000, dport: int = 80, **fields: int) -> TCP:
    """Return a TCP header from the client to the server."""
    return TCP(sport=sport, dport=dport, flags=flags, **fields)


def reply(flags: str, sport: int = 80, dport: int = 40000, **fields: int) -> TCP:
    """Return a TCP header from the server to the client."""
    return TCP(sport=sport, dport=dport, flags=flags, **fields)


IP4_BACK = IP(src=SERVER, dst=CLIENT)
IP6_BACK = IPv6(src=SERVER6, dst=CLIENT6)

SYN = wire(IP4, tcp("S"))
SYN6 = wire(IP6, tcp("S"))
DATA = wire(IP4, tcp("PA"), b"GET / HTTP/1.1\r\n\r\n")
DATA6 = wire(IP6, tcp("PA"), b"GET / HTTP/1.1\r\n\r\n")
DNS = wire(IP4, UDP(sport=5353, dport=53), b"question")
PING = wire(IP4, ICMP(id=77), b"ping")
PING6 = wire(IP6, ICMPv6EchoRequest(id=77), b"ping")
ARP_REQUEST = wire(ARP(psrc=CLIENT, pdst=SERVER))
LLDP = bytes(ETHER)[:12] + b"\x88\xcc" + bytes(46)

VLAN = wire(Dot1Q(vlan=7), IP4, tcp("S"))
QINQ = wire(Dot1AD(vlan=9), Dot1Q(vlan=7), IP4, tcp("S"))
THREE_TAGS = wire(Dot1AD(vlan=9), Dot1Q(vlan=7), Dot1Q(vlan=5), IP4, tcp("S"))
EIGHT_TAGS = wire(*[Dot1Q(vlan=0)] * 8, IP4, tcp("S"))
EIGHT_TAGS6 = wire(*[Dot1Q(vlan=0)] * 8, IP6, tcp("S"))
NINE_TAGS = wire(*[Dot1Q(vlan=0)] * 9, IP4, tcp("S"))
IP4_OPTIONS = wire(IP(src=CLIENT, dst=SERVER, options=[b"\x94\x04\x00\x00"]), tcp("S"))
IP4_FIRST_FRAGMENT = wire(IP(src=CLIENT, dst=SERVER, flags="MF"), UDP(sport=1, dport=2, len=100), bytes(24))
IP4_LATER_FRAGMENT = wire(IP(src=CLIENT, dst=SERVER, frag=4, proto=17), bytes(32))
IP6_HOP_BY_HOP = wire(IP6, IPv6ExtHdrHopByHop(), tcp("S"))
IP6_MANY_EXTENSIONS = wire(
    IP6,
    IPv6ExtHdrHopByHop(),
    IPv6ExtHdrDestOpt(),
    IPv6ExtHdrRouting(),
    AH(icv=bytes(12)),
    IPv6ExtHdrDestOpt(),
    tcp("S"),
)
IP6_FIRST_FRAGMENT = wire(IP6, IPv6ExtHdrFragment(m=1, id=3), UDP(sport=1, dport=2, len=100), bytes(24))
IP6_LATER_FRAGMENT = wire(IP6, IPv6ExtHdrFragment(offset=4, id=3, nh=17), bytes(32))


def ipip(inner: bytes, **fields: Any) -> bytes:
    """Return a frame's IP packet in another of the tunnel's ends: IP in IP, 4in6, 6in4, by the two versions."""
    proto = 4 if inner[14] >> 4 == 4 else 41
    return wire(IP(src=VTEP, dst=OTHER_VTEP, proto=proto, **fields), inner[14:])


def in_ip6(inner: bytes) -> bytes:
    """Return a frame's IP packet in an IPv6 one."""
    return wire(IPv6(src=VTEP6, dst=OTHER_VTEP6, nh=4 if inner[14] >> 4 == 4 else 41), inner[14:])


def gre(inner: bytes, header: bytes = b"\0\0\x65\x58") -> bytes:
    """Return what follows a GRE header, by default a frame, between the tunnel's ends."""
    return wire(IP(src=VTEP, dst=OTHER_VTEP, proto=47), header + inner)


def over_udp(dport: int, header: bytes, inner: bytes, sport: int = 50000, **fields: Any) -> bytes:
    """Return what follows a tunnel's header in a datagram between its ends."""
    return wire(IP(src=VTEP, dst=OTHER_VTEP, **fields), UDP(sport=sport, dport=dport), header + inner)


def vxlan(inner: bytes, **fields: Any) -> bytes:
    """Return a frame in VXLAN."""
    return over_udp(4789, b"\x08\0\0\0\0\0\x2a\0", inner, **fields)


def geneve(inner: bytes, options: bytes = b"", kind: bytes = b"\x65\x58") -> bytes:
    """Return a frame in Geneve, or what else ``kind`` says."""
    return over_udp(6081, bytes((len(options) // 4, 0)) + kind + b"\0\0\x2a\0" + options, inner)


def tunnelled(inner: bytes) -> dict[str, bytes]:
    """Return a frame in every kind of tunnel that the gate looks into, but for Teredo's."""
    ip, kind = inner[14:], b"\x08\0" if inner[14] >> 4 == 4 else b"\x86\xdd"
    mapped = b"\1" if kind == b"\x08\0" else b"\2"
    return {
        "IP in IPv4": ipip(inner),
        "IP in IPv6": in_ip6(inner),
        "GRE": gre(ip, b"\0\0" + kind),
        "GRE with all options": gre(ip, b"\xb0\0" + kind + bytes(12)),
        "GRE with a frame": gre(inner),
        "GRE with PPP": gre(ip, b"\x30\x81\x88\x0b" + bytes(12) + b"\xff\3\0" + (b"\x21", b"\x57")[mapped == b"\2"]),
        "GRE with PPP, compressed": gre(ip, b"\x20\1\x88\x0b" + bytes(4) + (b"\x21", b"\x57")[mapped == b"\2"]),
        "ERSPAN I": gre(inner, b"\0\0\x88\xbe"),
        "ERSPAN II": gre(inner, b"\x10\0\x88\xbe" + bytes(12)),
        "ERSPAN III": gre(inner, b"\x10\0\x22\xeb" + bytes(16)),
        "ERSPAN III with its trailer": gre(inner, b"\x10\0\x22\xeb" + bytes(15) + b"\1" + bytes(8)),
        "VXLAN": vxlan(inner),
        "VXLAN on Linux' own port": over_udp(8472, b"\x08\0\0\0\0\0\x2a\0", inner),
        "VXLAN-GPE": over_udp(4790, b"\x0c\0\0" + mapped + b"\0\0\x2a\0", ip),
        "VXLAN, a frame with tags": vxlan(inner[:12] + b"\x88\xa8\0\5\x81\0\0\6" + inner[12:]),
        "VXLAN, the answer": over_udp(50000, b"\x08\0\0\0\0\0\x2a\0", inner, sport=4789),
        "Geneve": geneve(inner),
        "Geneve with options": geneve(ip, bytes(12), kind),
        "VXLAN in GRE": gre(vxlan(inner)),
        "IP in IP in IP": ipip(ipip(inner)),
    }


ETHERNET_SHORT = VLAN[:16]
IP4_SHORT = SYN[:30]
IP4_VERSION = wire(IP(src=CLIENT, dst=SERVER, version=5), tcp("S"))
IP4_HEADER_LENGTH = SYN[:14] + b"\x44" + SYN[15:]
IP4_TOTAL_LENGTH = wire(IP(src=CLIENT, dst=SERVER, len=900), tcp("S"))
IP4_TOTAL_BELOW_HEADER = wire(IP(src=CLIENT, dst=SERVER, len=19), tcp("S"))
IP6_SHORT = SYN6[:50]
IP6_VERSION = SYN6[:14] + b"\x40" + SYN6[15:]
IP6_PAYLOAD_LENGTH = wire(IPv6(src=CLIENT6, dst=SERVER6, plen=900), tcp("S"))
IP6_EXTENSION_SHORT = wire(IP6, IPv6ExtHdrHopByHop(len=9), tcp("S"))
IP6_EXTENSION_CHAIN = wire(IP6, *[IPv6ExtHdrDestOpt() for _ in range(9)], tcp("S"))
MULTICAST_SOURCE = wire(IP(src="224.0.0.1", dst=SERVER), tcp("S"))
LOOPBACK_SOURCE = wire(IP(src="127.0.0.1", dst=SERVER), tcp("S"))
MULTICAST_SOURCE6 = wire(IPv6(src="ff02::1", dst=SERVER6), tcp("S"))
PING_OF_DEATH = wire(IP(src=CLIENT, dst=SERVER, frag=8189, proto=1), bytes(64))
TINY_FIRST_FRAGMENT = wire(IP(src=CLIENT, dst=SERVER, flags="MF", proto=6), bytes(8))
TINY_OFFSET = wire(IP(src=CLIENT, dst=SERVER, frag=1, proto=6), bytes(32))
TCP_SHORT = wire(IP(src=CLIENT, dst=SERVER, proto=6), bytes(12))
TCP_OFFSET_SMALL = wire(IP4, TCP(dataofs=4, flags="S"))
TCP_OFFSET_BEYOND = wire(IP4, TCP(dataofs=15, flags="S"))
SYN_FIN = wire(IP4, tcp("SF"))
SYN_RST = wire(IP4, tcp("SR"))
UDP_SHORT = wire(IP(src=CLIENT, dst=SERVER, proto=17), bytes(6))
UDP_LENGTH_BEYOND = wire(IP4, UDP(len=500), b"x")
UDP_LENGTH_SMALL = wire(IP4, UDP(len=7), b"x")
ICMP_SHORT = wire(IP(src=CLIENT, dst=SERVER, proto=1), bytes(5))


def filled_in(frame: Ether) -> bytes:
    """Return a frame with lengths and checksums as Scapy computes them: what a well-formed one is already."""
    again = frame.copy()
    del again[TCP].chksum
    if IP in again:
        del again[IP].chksum, again[IP].len
    else:
        del again[IPv6].plen
    return bytes(again)


HANDSHAKE = [
    wire(IP4, tcp("S", seq=1000)),
    wire(IP4_BACK, reply("SA", seq=5000, ack=1001)),
    wire(IP4, tcp("A", seq=1001, ack=5001)),
]
HANDSHAKE6 = [
    wire(IP6, tcp("S", seq=1000)),
    wire(IP6_BACK, reply("SA", seq=5000, ack=1001)),
    wire(IP6, tcp("A", seq=1001, ack=5001)),
]
