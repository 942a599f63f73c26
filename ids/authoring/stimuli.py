"""Packets of a rule's test: what its ``http``, ``payload``, ``packets`` or the like describe, as frames with times."""

from __future__ import annotations

import ipaddress
import struct
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ids.authoring.parties import CLIENT_PORT, Parties, parties
from ids.authoring.single_packets import FLAGS, single_packet
from ids.rules.model.rule import RuleTest, Scoped
from ids.rules.model.sets import LAST_PORT
from ids.testing.evade import packets
from ids.testing.evade.dialogue import CLIENT_MAC, SERVER_MAC
from ids.testing.session import MSS, STEP_NS, Said, to_client, to_server
from ids.types import Direction

DEFAULT_PORT = 4444
"""The server's, in a test of bytes that names none."""
PORTS = {"http": 80, "dns": 53, "tls": 443}

_SYN, _FIN_ACK, _ACK, _PSH_ACK = 0x02, 0x11, 0x10, 0x18
_ECHO, _ECHO6, _ICMP6 = (8, 0), (128, 129), 58
_CIPHERS = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030)

AGAIN_NS = 100_000_000
"""Between the connections of a test with ``times``."""

Frames = list[tuple[int, bytes]]
"""Nanoseconds since the first, and the frame."""


def said(proof: RuleTest) -> list[Said]:
    """Return what client and server say in a test, in order; nothing of a capture."""
    stimulus = proof.stimulus
    if proof.kind == "http":
        parts = [to_server(http_request(stimulus))]
        return parts if stimulus["status"] is None else [*parts, to_client(http_response(stimulus))]
    if proof.kind == "payload" and stimulus["turns"]:
        return list(map(_turn, stimulus["turns"]))
    if proof.kind == "payload":
        return [
            Said(side, data)
            for side, name in ((Direction.TO_SERVER, "to_server"), (Direction.TO_CLIENT, "to_client"))
            if (data := stimulus[name].encode() or bytes.fromhex(stimulus[f"{name}_hex"]))
        ]
    if proof.kind == "dns":
        return dns_messages(stimulus)
    return [to_server(client_hello(stimulus["sni"], stimulus["alpn"]))] if proof.kind == "tls" else []


def _turn(turn: Mapping[str, str]) -> Said:
    """Return one turn of a ``payload`` test: the one key of it that is set says who, and in which spelling."""
    key, text = next(((key, text) for key, text in turn.items() if text), ("client", ""))
    side, _, spelling = key.partition("_")
    data = bytes.fromhex(text) if spelling == "hex" else b64decode(text) if spelling else text.encode()
    return Said(Direction.TO_CLIENT if side == "server" else Direction.TO_SERVER, data)


def transport(proof: RuleTest) -> str:
    """Return what carries a test: ``tcp``, ``udp`` or ``icmp``."""
    if proof.kind == "payload":
        return str(proof.stimulus["proto"])
    if proof.kind == "packets":
        return str(proof.stimulus["packets"][0]["proto"])
    return str(proof.stimulus["proto"]) if proof.kind == "probes" else "udp" if proof.kind == "dns" else "tcp"


def meeting(rule: Scoped, proof: RuleTest, ipv6: bool | None = None) -> Parties:
    """Return who talks in a rule's test (``ipv6`` as in `parties`); raises `NoParties`."""
    port = PORTS.get(proof.kind, DEFAULT_PORT)
    parts = said(proof)
    answers_alone = bool(parts) and all(part.direction == Direction.TO_CLIENT for part in parts)
    found = parties(rule, proof.stimulus.get("port") or port, answers_alone, ipv6)
    if proof.stimulus.get("port"):  # what its author wrote counts, also where the rule does not look there
        found = Parties(found.hosts, (found.ports[0], proof.stimulus["port"]))
    return found


def frames_of(rule: Scoped, proof: RuleTest) -> Frames:
    """Return the packets of a rule's test; raises `NoParties`."""
    who = meeting(rule, proof)
    if proof.kind == "probes":
        return _probes(who, proof.stimulus)
    if proof.kind == "packets":
        singles = (single_packet(who, packet) for packet in proof.stimulus["packets"])
        return [(number * STEP_NS, packets.ethernet(*_framed(one))) for number, one in enumerate(singles)]
    make = {"tcp": _tcp, "udp": _udp, "icmp": _icmp}[transport(proof)]
    found: Frames = []
    for again in range(proof.stimulus.get("times", 1)):
        sport = who.ports[0] + again if who.ports[0] + again <= LAST_PORT else who.ports[0]
        sent = map(_framed, make(Parties(who.hosts, (sport, who.ports[1])), said(proof)))
        found += [
            (again * AGAIN_NS + number * STEP_NS, packets.ethernet(*framed)) for number, framed in enumerate(sent)
        ]
    return found


def http_request(stimulus: Mapping[str, Any]) -> bytes:
    """Return the request of an ``http`` test."""
    body = stimulus["body"].encode()
    fields = {"Host": "shop.example.org", **stimulus["headers"], "Content-Length": str(len(body))}
    return _message(f"{stimulus['method']} {stimulus['uri']} HTTP/{stimulus['version']}", fields, body)


def http_response(stimulus: Mapping[str, Any]) -> bytes:
    """Return the response of an ``http`` test."""
    body = stimulus["response_body"].encode()
    fields = {"Content-Type": "text/plain", **stimulus["response_headers"], "Content-Length": str(len(body))}
    return _message(f"HTTP/{stimulus['version']} {stimulus['status']} OK", fields, body)


def _message(first_line: str, fields: Mapping[str, str], body: bytes) -> bytes:
    lines = [first_line, *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def dns_messages(stimulus: Mapping[str, Any]) -> list[Said]:
    """Return the question of a ``dns`` test, and its answer where there is one (RFC 1035)."""
    from scapy.layers.dns import DNS, DNSQR, DNSRR  # here, for it takes a while

    name, kind, answers, rcode = (stimulus[key] for key in ("query", "type", "answers", "rcode"))
    question = DNSQR(qname=name, qtype=kind)
    parts = [to_server(bytes(DNS(id=0x1D5, rd=1, qd=question)))]
    if answers or rcode is not None:
        records = [DNSRR(rrname=name, type=kind, ttl=300, rdata=answer) for answer in answers]
        parts.append(to_client(bytes(DNS(id=0x1D5, qr=1, rd=1, ra=1, rcode=rcode or 0, qd=question, an=records))))
    return parts


def client_hello(sni: str, alpn: Sequence[str]) -> bytes:
    """Return the record of a client's first message (RFC 8446 section 4.1.2)."""
    extensions = b""
    if sni:
        name = sni.encode()
        extensions += _extension(0, _sized(2, b"\0" + _sized(2, name)))
    extensions += _extension(10, _sized(2, struct.pack(">2H", 29, 23)))
    extensions += _extension(13, _sized(2, struct.pack(">2H", 0x0403, 0x0804)))
    if alpn:
        extensions += _extension(16, _sized(2, b"".join(_sized(1, each.encode()) for each in alpn)))
    extensions += _extension(43, _sized(1, struct.pack(">2H", 0x0304, 0x0303)))
    ciphers = struct.pack(f">{len(_CIPHERS)}H", *_CIPHERS)
    hello = struct.pack(">H", 0x0303) + bytes(range(32)) + _sized(1, b"") + _sized(2, ciphers) + b"\1\0"
    handshake = b"\1" + _sized(3, hello + _sized(2, extensions))
    return struct.pack(">BH", 22, 0x0301) + _sized(2, handshake)


def _extension(kind: int, body: bytes) -> bytes:
    return struct.pack(">H", kind) + _sized(2, body)


def _sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _framed(sent: tuple[int, bytes]) -> tuple[tuple[bytes, bytes], int, bytes]:
    side, packet = sent
    macs = (SERVER_MAC, CLIENT_MAC) if side else (CLIENT_MAC, SERVER_MAC)
    return macs, packets.ethertype(packet), packet


def _tcp(who: Parties, parts: Sequence[Said]) -> Iterator[tuple[int, bytes]]:
    """Yield the packets of a connection with the sides that send them: handshake, what is said, FINs."""
    segments = [(0, _SYN, b""), (1, _SYN | _ACK, b""), (0, _ACK, b"")]
    for part in parts:
        side = int(part.direction)
        segments += [(side, _PSH_ACK, part.data[at : at + MSS]) for at in range(0, len(part.data), MSS)]
        segments.append((1 - side, _ACK, b""))
    segments += [(0, _FIN_ACK, b""), (1, _FIN_ACK, b""), (0, _ACK, b"")]
    sent = [1000, 5000]
    for number, (side, flags, data) in enumerate(segments):
        hosts, ports = _from(who, side)
        answers = sent[1 - side] if flags & _ACK else 0
        segment = packets.tcp_segment(hosts, ports, sent[side], answers, flags, data)
        yield side, packets.ip_packet(hosts, packets.TCP, segment, identification=number + 1)
        sent[side] += len(data) + (flags & 1) + (flags >> 1 & 1)


def _udp(who: Parties, parts: Sequence[Said]) -> Iterator[tuple[int, bytes]]:
    for number, part in enumerate(parts):
        hosts, ports = _from(who, int(part.direction))
        datagram = packets.udp_datagram(hosts, ports, part.data)
        yield int(part.direction), packets.ip_packet(hosts, packets.UDP, datagram, identification=number + 1)


def _icmp(who: Parties, parts: Sequence[Said]) -> Iterator[tuple[int, bytes]]:
    """Yield echo requests of the client and replies of the server."""
    for number, part in enumerate(parts):
        side = int(part.direction)
        hosts, _ = _from(who, side)
        six = ":" in hosts[0]
        head = struct.pack(">BBHHH", (_ECHO6 if six else _ECHO)[side], 0, 0, 0x1D5, 1)
        whole = head + part.data
        total = packets.transport_checksum(hosts, _ICMP6, whole) if six else packets.checksum(whole)
        message = whole[:2] + struct.pack(">H", total) + whole[4:]
        yield side, packets.ip_packet(hosts, _ICMP6 if six else packets.ICMP, message, identification=number + 1)


def _probes(who: Parties, stimulus: Mapping[str, Any]) -> Frames:
    """Return a packet to each port of each host in turn; hosts follow each other from the server's address on."""
    first = ipaddress.ip_address(who.hosts[1])
    hosts = [str(first + number) for number in range(stimulus["hosts"])]
    flags = sum(FLAGS[name] for name in set(stimulus["flags"]))
    made: Frames = []
    for port in range(stimulus["first_port"], stimulus["first_port"] + stimulus["ports"]):
        for host in hosts:
            to = Parties((who.hosts[0], host), (CLIENT_PORT + port % 1000, port))
            if stimulus["proto"] == "tcp":
                segment = packets.tcp_segment(to.hosts, to.ports, 7, 0, flags, b"")
                sent = 0, packets.ip_packet(to.hosts, packets.TCP, segment)
            else:
                make = _udp if stimulus["proto"] == "udp" else _icmp
                sent = next(make(to, [to_server(b"")]))
            made.append((len(made) * stimulus["every_ms"] * 1_000_000, packets.ethernet(*_framed(sent))))
    return made


def _from(who: Parties, side: int) -> tuple[tuple[str, str], tuple[int, int]]:
    return (who.hosts[::-1], who.ports[::-1]) if side else (who.hosts, who.ports)
