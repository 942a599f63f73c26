"""Build whole conversations, frame by frame: handshake, sequence and acknowledgement numbers, checksums, FIN.

Scapy writes each header; this module only keeps the numbers that belong together.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

START_NS = 1_767_225_600 * 1_000_000_000
"""2026-01-01 00:00:00 UTC: the first packet of every capture."""
STEP_NS = 500_000
"""Half a millisecond between the packets of one conversation."""
MSS = 1400
"""Payload bytes of a full segment; below 1460 so that a VLAN tag or IPv6 still fits an Ethernet frame."""
WINDOW = 64240
LINKTYPE_ETHERNET = 1
SNAPLEN = 262144

ATTACKER = "192.0.2.66"
BENIGN = "198.51.100.20"
SERVER = "203.0.113.80"
CLIENT_MAC = "00:00:5e:00:53:01"
SERVER_MAC = "00:00:5e:00:53:02"


@dataclass
class Capture:
    """Frames with their times; the bytes of a capture file come out in the order of the times."""

    frames: list[tuple[int, bytes]] = field(default_factory=list)
    now_ns: int = START_NS

    def wait(self, seconds: float) -> None:
        """Let the next conversation begin this much later."""
        self.now_ns += int(seconds * 1e9)

    def add(self, packet: Packet) -> None:
        """Append a frame at the present time and step the clock."""
        self.frames.append((self.now_ns, bytes(packet)))
        self.now_ns += STEP_NS

    def ordered(self) -> list[tuple[int, bytes]]:
        """Return the frames by time; equal times keep the order in which they were added."""
        return sorted(self.frames, key=lambda frame: frame[0])

    def pcap(self) -> bytes:
        """Return the classic capture file: little endian, microseconds (pcap-savefile(5))."""
        parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, LINKTYPE_ETHERNET)]
        for ts_ns, frame in self.ordered():
            seconds, rest = divmod(ts_ns, 1_000_000_000)
            parts.append(struct.pack("<IIII", seconds, rest // 1000, len(frame), len(frame)) + frame)
        return b"".join(parts)

    def pcapng(self) -> bytes:
        """Return a pcapng file with one interface in nanoseconds (draft-ietf-opsawg-pcapng section 4)."""
        nanoseconds = struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HH", 0, 0)
        blocks = [
            _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
            _block(1, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, SNAPLEN) + nanoseconds),
        ]
        for ts_ns, frame in self.ordered():
            head = struct.pack("<IIIII", 0, ts_ns >> 32, ts_ns & 0xFFFFFFFF, len(frame), len(frame))
            blocks.append(_block(6, head + frame + b"\0" * (-len(frame) % 4)))
        return b"".join(blocks)

    def pcap_gz(self) -> bytes:
        """Return the classic file, gzip-compressed with no time in its header."""
        return gzip.compress(self.pcap(), mtime=0)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def link(source: str, to_server: bool, vlan: Iterable[int] = ()) -> Packet:
    """Return the Ethernet header, with VLAN tags from the outside in, for a packet of ``source``'s address family."""
    macs = (CLIENT_MAC, SERVER_MAC) if to_server else (SERVER_MAC, CLIENT_MAC)
    tags = list(vlan)
    ethertype = 0x86DD if ":" in source else 0x0800
    header: Packet = Ether(src=macs[0], dst=macs[1], type=0x8100 if tags else ethertype)
    for position, tag in enumerate(tags):
        header = header / Dot1Q(vlan=tag, type=0x8100 if position + 1 < len(tags) else ethertype)
    return header


def network(source: str, destination: str, identification: int, **fields: int) -> Packet:
    """Return an IPv4 or IPv6 header, by the look of ``source``."""
    if ":" in source:
        return IPv6(src=source, dst=destination, hlim=64)
    return IP(src=source, dst=destination, ttl=64, id=identification & 0xFFFF, flags="DF", **fields)


class TcpConversation:
    """One TCP connection of a client with a server; each call adds the packets that such a step takes."""

    def __init__(
        self,
        capture: Capture,
        client: str = ATTACKER,
        server: str = SERVER,
        sport: int = 40000,
        dport: int = 80,
        vlan: Iterable[int] = (),
    ) -> None:
        self.capture = capture
        self.hosts = (client, server)
        self.ports = (sport, dport)
        self.vlan = tuple(vlan)
        seed = f"{client}:{sport}>{server}:{dport}".encode()
        self.next_seq = [zlib.crc32(seed), zlib.crc32(seed[::-1])]
        self.identification = [zlib.adler32(seed) & 0x7FFF, 0x4000]

    def open(self) -> TcpConversation:
        """Shake hands; returns the conversation, so that it can be had and opened in one line."""
        options = [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]
        self._send(0, "S", options=options)
        self.next_seq[0] += 1
        self._send(1, "SA", options=options)
        self.next_seq[1] += 1
        self._send(0, "A")
        return self

    def client(self, data: bytes) -> None:
        """Send ``data`` to the server in full segments, and the server's acknowledgement."""
        self._stream(0, data)

    def server(self, data: bytes) -> None:
        """Send ``data`` to the client in full segments, and the client's acknowledgement."""
        self._stream(1, data)

    def segment(self, side: int, at: int, data: bytes) -> None:
        """Send one segment ``at`` bytes after what was sent so far, without moving on: for reordering and overlap."""
        self._send(side, "PA", data, seq=self.next_seq[side] + at)

    def advance(self, side: int, size: int) -> None:
        """Count ``size`` bytes of `segment` calls as sent, and acknowledge them."""
        self.next_seq[side] += size
        self._send(1 - side, "A")

    def close(self) -> None:
        """End both directions in order: FIN, FIN, last acknowledgement."""
        for side in (0, 1):
            self._send(side, "FA")
            self.next_seq[side] += 1
        self._send(0, "A")

    def reset(self) -> None:
        """End with the server's RST."""
        self._send(1, "RA")

    def frame(self, side: int, flags: str, data: bytes = b"", seq: int | None = None, options: object = ()) -> Packet:
        """Return one frame of ``side`` (0 client, 1 server) without adding it to the capture."""
        source, destination = self.hosts[side], self.hosts[1 - side]
        self.identification[side] += 1
        header = TCP(
            sport=self.ports[side],
            dport=self.ports[1 - side],
            flags=flags,
            seq=(self.next_seq[side] if seq is None else seq) & 0xFFFFFFFF,
            ack=self.next_seq[1 - side] & 0xFFFFFFFF if "A" in flags else 0,
            window=WINDOW,
            options=list(options),  # type: ignore[call-overload]
        )
        packet = network(source, destination, self.identification[side]) / header
        if data:
            packet = packet / Raw(data)
        return link(source, side == 0, self.vlan) / packet

    def _send(self, side: int, flags: str, data: bytes = b"", seq: int | None = None, options: object = ()) -> None:
        self.capture.add(self.frame(side, flags, data, seq, options))

    def _stream(self, side: int, data: bytes) -> None:
        for start in range(0, len(data), MSS):
            piece = data[start : start + MSS]
            self._send(side, "PA" if start + MSS >= len(data) else "A", piece)
            self.next_seq[side] += len(piece)
        self._send(1 - side, "A")


def datagram(
    capture: Capture, source: str, destination: str, sport: int, dport: int, data: bytes, back: bool = False
) -> None:
    """Add one UDP datagram; ``back`` says that it is the server's answer, and swaps the MAC addresses only."""
    packet = network(source, destination, sport) / UDP(sport=sport, dport=dport) / Raw(data)
    capture.add(link(source, not back) / packet)
