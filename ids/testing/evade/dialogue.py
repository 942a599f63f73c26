"""Play an evasion: sequence numbers, headers and frames; on paper, with a server that does what is waited for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ids.testing.evade import packets
from ids.testing.evade.steps import ACK, FIN, PSH, SYN, Await, Evasion, Event, Pause, Segment

CLIENT_MAC, SERVER_MAC = bytes.fromhex("00005e005301"), bytes.fromhex("00005e005302")
"""For documentation (RFC 7042 section 2.1.2)."""
STEP_NS = 1_000_000
CLOCK = 100_000
"""The timestamp of a client's first segment."""
MSS = 1400
_TIMESTAMP, _FAST_OPEN = 8, 34
"""Kinds of TCP options (IANA)."""
_MODULUS = 1 << 32
_APART = 0x20000000
"""How far the sequence numbers of the two sides are from each other on paper."""


@dataclass(slots=True)
class Numbers:
    """What client and server have counted so far in one connection."""

    ports: tuple[int, int]
    client: int
    """Sequence number of the client's first byte."""
    server: int = 0
    """Sequence number of the server's first byte."""
    server_next: int = 0
    """The next sequence number that the client expects."""
    server_clock: int = 0
    clock: int = CLOCK
    taken: int = -1
    """Stream offset up to which the server has acknowledged."""


@dataclass(slots=True)
class Dialogue:
    """The connections of one evasion, between two hosts."""

    evasion: Evasion
    hosts: tuple[str, str]
    ports: tuple[int, int]
    macs: tuple[bytes, bytes] = (CLIENT_MAC, SERVER_MAC)
    cookie: bytes = b""
    """The TCP Fast Open cookie that the server gave."""
    connections: dict[int, Numbers] = field(default_factory=dict)
    _identification: int = 0

    def numbers(self, connection: int = 0) -> Numbers:
        """Return the numbers of a connection; a new one has initial sequence numbers that differ by hosts and ports."""
        if connection not in self.connections:
            sport = self.ports[0] + (0 if self.evasion.same_ports else connection)
            seed = zlib.crc32(f"{self.hosts}{self.ports}".encode()) & 0x3FFFFFFF
            first = (seed + connection * 1_000_003 + 1) % _MODULUS
            if self.evasion.first is not None:
                first = self.evasion.first
            self.connections[connection] = Numbers((sport, self.ports[1]), first)
        return self.connections[connection]

    def render(self, segment: Segment) -> list[bytes]:
        """Return the frames of a segment."""
        numbers, side = self.numbers(segment.connection), segment.side
        hosts, ports = (self.hosts, numbers.ports) if side == 0 else (self.hosts[::-1], numbers.ports[::-1])
        mine, theirs = (numbers.client, numbers.server_next) if side == 0 else (numbers.server, numbers.client)
        if side == 1:
            theirs += max(numbers.taken, 0)
            if not numbers.server:
                numbers.server = numbers.server_next = mine = (numbers.client + _APART) % _MODULUS
        acknowledged = theirs + segment.ack if segment.flags & ACK or segment.ack else 0
        tcp = packets.tcp_segment(
            hosts, ports, mine + segment.at, acknowledged, segment.flags, segment.data,
            window=segment.window, options=self._options(segment, numbers), urgent=segment.urgent,
            words=segment.words, damage=segment.damage,
        )  # fmt: skip
        packet = self._packet(segment, hosts, tcp)
        if segment.mangle is not None:
            packet = segment.mangle(packet)
        sender = 0 if segment.forged else side
        frames = [
            self.frame(each, sender) + segment.trailer for each in (segment.cut(packet) if segment.cut else [packet])
        ]
        return [segment.mac + frame[6:] for frame in frames] if segment.mac else frames

    def frame(self, packet: bytes, side: int) -> bytes:
        """Return the frame of an IP packet, in whatever the evasion wraps it."""
        kind, payload = packets.ethertype(packet), packet
        if self.evasion.wrap is not None:
            kind, payload = self.evasion.wrap(packet, side)
        return packets.ethernet(self.macs if side == 0 else self.macs[::-1], kind, payload)

    def heard(self, numbers: Numbers, segment: bytes) -> bytes:
        """Take a TCP segment of the server; return its new data. What comes out of order is not taken."""
        sequence, acknowledged, offset, flags = struct.unpack_from(">IIBB", segment, 4)
        data = segment[(offset >> 4) * 4 :]
        self._hear_options(numbers, segment[20 : (offset >> 4) * 4])
        if flags & SYN:
            numbers.server = (sequence + 1) % _MODULUS
            numbers.server_next = numbers.server
        if flags & ACK:
            distance = (acknowledged - numbers.client + (1 << 31)) % _MODULUS - (1 << 31)
            numbers.taken = max(numbers.taken, distance)
        if flags & SYN or sequence != numbers.server_next:
            return b""
        numbers.server_next = (sequence + len(data) + (flags & FIN)) % _MODULUS
        return data

    def _packet(self, segment: Segment, hosts: tuple[str, str], tcp: bytes) -> bytes:
        self._identification += 1
        if ":" not in hosts[0]:
            return packets.ipv4_packet(
                hosts, packets.TCP, tcp, ttl=segment.ttl, identification=self._identification,
                options=segment.ip_options, damage=segment.ip_damage,
                fragment=0 if segment.cut else packets.DONT_FRAGMENT,
            )  # fmt: skip
        following, payload = packets.TCP, tcp
        for number, body in reversed(segment.extensions):
            payload = packets.extension(following, body) + payload
            following = number
        return packets.ipv6_packet(hosts, following, payload, hops=segment.ttl)

    def _options(self, segment: Segment, numbers: Numbers) -> bytes:
        options = segment.options
        if segment.cookie:
            options += bytes((_FAST_OPEN, 2 + len(self.cookie))) + self.cookie
        if self.evasion.timestamps:
            clock, heard = numbers.clock, numbers.server_clock
            numbers.clock += 1
            if segment.side:
                clock, heard = heard, clock
            options += struct.pack(">BBBBII", 1, 1, _TIMESTAMP, 10, (clock - segment.age) % _MODULUS, heard)
        return options

    def _hear_options(self, numbers: Numbers, options: bytes) -> None:
        while options and options[0]:
            if options[0] == 1:
                options = options[1:]
                continue
            kind, size = options[0], max(options[1], 2) if len(options) > 1 else 2
            if kind == _TIMESTAMP and size == 10:
                numbers.server_clock = int.from_bytes(options[2:6], "big")
            if kind == _FAST_OPEN:
                self.cookie = options[2:size]
            options = options[size:]


def frames(
    evasion: Evasion, client: str = "", server: str = "", sport: int = 40000, dport: int = 80
) -> Iterator[tuple[int, bytes]]:
    """Give the frames of an evasion with their times in nanoseconds since its begin; the server answers on paper."""
    hosts = (client, server) if client else ("2001:db8::1", "2001:db8::2") if evasion.ipv6 else _HOSTS
    dialogue = Dialogue(evasion, hosts, (sport, dport))
    now = 0
    for step in evasion.steps:
        if isinstance(step, Pause):
            now += int(step.seconds * 1e9)
            continue
        segments = [step] if isinstance(step, Segment) else _answers(dialogue, step)
        for segment in segments:
            made = dialogue.render(segment)
            if evasion.unseen is not None and evasion.unseen(segment):
                continue
            for frame in made:
                yield now, frame
                now += STEP_NS


_HOSTS = ("192.0.2.1", "203.0.113.1")


def _answers(dialogue: Dialogue, step: Await) -> Iterator[Segment]:
    """Give what a server sends for that which is waited for, and the client's acknowledgement of it."""
    numbers = dialogue.numbers(step.connection)
    said = (numbers.server_next - numbers.server) % _MODULUS
    if step.event is Event.OPENED:
        numbers.server = numbers.server_next = (numbers.client + _APART) % _MODULUS
        numbers.server_clock, numbers.taken, dialogue.cookie = 5_000, step.at, b"cookie!!"
        yield Segment(-1, b"", SYN | ACK, side=1, connection=step.connection)
    elif step.event is Event.TAKEN:
        numbers.taken = max(numbers.taken, step.at)
        yield Segment(said, b"", ACK, side=1, connection=step.connection)
    elif step.event is Event.ANSWERED:
        numbers.taken = max(numbers.taken, step.at)
        if not step.says:
            yield Segment(said, b"", ACK, side=1, connection=step.connection)
            return
        for at in range(0, len(step.says), MSS):
            piece = step.says[at : at + MSS]
            yield Segment(said + at, piece, PSH | ACK, side=1, connection=step.connection)
            numbers.server_next = (numbers.server_next + len(piece)) % _MODULUS
        yield Segment(step.at, b"", ACK, connection=step.connection)
    else:
        numbers.taken = max(numbers.taken, step.at)
        yield Segment(said, b"", FIN | ACK, side=1, connection=step.connection)
        numbers.server_next = (numbers.server_next + 1) % _MODULUS
        yield Segment(step.at, b"", ACK, connection=step.connection)
