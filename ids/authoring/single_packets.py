"""The packets of a rule's test that says them header by header (``packets``)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from ids.authoring.parties import Parties
from ids.testing.evade import packets

FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32}
"""Bits of the flags of TCP, by the names that tests have for them."""

_FRAGMENT_BITS = {"more_fragments": packets.MORE_FRAGMENTS, "dont_fragment": packets.DONT_FRAGMENT, "reserved": 0x8000}
_ICMP6 = 58
_ECHO_TYPES = {False: 8, True: 128}
"""Of an echo request in ICMP and in ICMPv6, where a test names no type."""


def single_packet(who: Parties, said: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the side that sends a packet of a test, 0 is the client, and the IP packet.

    Of IPv6, ``tos``, ``id``, fragments and options do not exist and are ignored.
    """
    side = int(said["sender"] == "server")
    ports = (who.ports[0], said["port"] or who.ports[1])
    hosts, ports = (who.hosts[::-1], ports[::-1]) if side else (who.hosts, ports)
    if said["same_address"]:
        hosts = (hosts[0], hosts[0])
    six = ":" in hosts[0]
    proto, payload = _transport(hosts, ports, six, said)
    if six:
        return side, packets.ipv6_packet(hosts, proto, payload, hops=said["ttl"])
    fragment = sum(_FRAGMENT_BITS[name] for name in set(said["fragbits"])) | said["fragoffset"]
    return side, packets.ipv4_packet(
        hosts, proto, payload, ttl=said["ttl"], identification=said["id"], fragment=fragment, tos=said["tos"],
        options=bytes.fromhex(said["ip_options_hex"]), damage=int("ip" in said["wrong_checksum"]),
    )  # fmt: skip


def _transport(hosts: tuple[str, str], ports: tuple[int, int], six: bool, said: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the number of the IP protocol and what the IP packet carries."""
    data = said["data"].encode() or bytes.fromhex(said["data_hex"])
    damage = int("transport" in said["wrong_checksum"])
    if said["proto"] == "tcp":
        flags = sum(FLAGS[name] for name in set(said["flags"]))
        return packets.TCP, packets.tcp_segment(
            hosts, ports, said["seq"], said["ack"], flags, data, window=said["window"],
            options=bytes.fromhex(said["tcp_options_hex"]), damage=damage,
        )  # fmt: skip
    if said["proto"] == "udp":
        datagram = packets.udp_datagram(hosts, ports, data)
        return packets.UDP, _damaged(datagram, 6, damage)
    kind = _ECHO_TYPES[six] if said["type"] is None else said["type"]
    whole = struct.pack(">BBHHH", kind, said["code"], 0, said["echo_id"], said["echo_seq"]) + data
    total = packets.transport_checksum(hosts, _ICMP6, whole) if six else packets.checksum(whole)
    message = whole[:2] + struct.pack(">H", total) + whole[4:]
    return _ICMP6 if six else packets.ICMP, _damaged(message, 2, damage)


def _damaged(message: bytes, at: int, damage: int) -> bytes:
    """Return a message with another number in its checksum."""
    (right,) = struct.unpack_from(">H", message, at)
    wrong = (right - 1 + damage) % 0xFFFF + 1 if right else right + damage  # never zero, which is none in UDP
    return message[:at] + struct.pack(">H", wrong) + message[at + 2 :]
