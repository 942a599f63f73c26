"""The script of an evasion: what is sent, what is waited for, and for which victims it comes to the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
"""TCP flags (RFC 9293 section 3.1)."""

Cut: TypeAlias = Callable[[bytes], list[bytes]]
"""Makes several IP packets of one: its fragments, in the order in which they are sent."""
Mangle: TypeAlias = Callable[[bytes], bytes]
"""Makes an odd IP packet of a right one."""
Wrap: TypeAlias = Callable[[bytes, int], tuple[int, bytes]]
"""Makes EtherType and payload of a frame of an IP packet and the side that sends it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment, in the terms of the connection: what is not named is as an honest host would have it."""

    at: int
    """Offset of its first byte in the stream; the SYN stands at -1."""
    data: bytes = b""
    flags: int = PSH | ACK
    side: int = 0
    """0: it comes from the client; 1: from the server, which only an evasion without a real server can have."""
    connection: int = 0
    """Which connection of several; each has sequence numbers of its own."""
    ack: int = 0
    """Added to the right acknowledgement number."""
    window: int = 64240
    options: bytes = b""
    """TCP options besides timestamps."""
    age: int = 0
    """Subtracted from the right timestamp; only where the evasion has timestamps."""
    damage: int = 0
    """Added to the right checksum."""
    urgent: int = 0
    words: int | None = None
    """Overrides the length of the TCP header."""
    ttl: int = 64
    ip_options: bytes = b""
    ip_damage: int = 0
    """Added to the right checksum of the IPv4 header."""
    extensions: tuple[tuple[int, bytes], ...] = ()
    """IPv6 extension headers before the segment: their numbers and bodies."""
    mac: bytes = b""
    """Where the frame goes instead of the next hop."""
    mangle: Mangle | None = None
    """What is done to the IP packet at last."""
    trailer: bytes = b""
    """Bytes of the frame behind the packet, as padding is."""
    forged: bool = False
    """The client sends it in the name of ``side``."""
    cut: Cut | None = None
    cookie: bool = False
    """The TCP Fast Open cookie of the first connection is among the options (RFC 7413)."""


class Event(Enum):
    """What the client waits for."""

    OPENED = "the server's SYN/ACK"
    TAKEN = "the server's acknowledgement of what was sent"
    ANSWERED = "the server's reply"
    CLOSED = "the server's FIN"


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for the server, within reason: what does not come is not there."""

    event: Event
    at: int = 0
    """Offset up to which it acknowledges by then; all that the client has sent, where the client answers that."""
    connection: int = 0
    says: bytes = b""
    """`Event.ANSWERED`: what the server says, where no real one does."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Let time pass."""

    seconds: float


Step: TypeAlias = Segment | Await | Pause


@dataclass(frozen=True, slots=True)
class Evasion:
    """One way to say the same."""

    name: str
    family: str
    """What kind of trick it is: ``overlaps``, ``fragments``, ``requests``, ..."""
    steps: tuple[Step, ...]
    policies: frozenset[str]
    """The hosts and servers whose view is unchanged: of `POLICIES`, and of `SERVERS` where the request itself is."""
    ipv6: bool = False
    timestamps: bool = False
    same_ports: bool = False
    """All connections use the same ports, one after the other."""
    wrap: Wrap | None = None
    first: int | None = None
    """The client's sequence number of its first byte."""
    unseen: Callable[[Segment], bool] | None = None
    """Which segments do not come by where one looks; only without a real server."""
    unchecked: str = ""
    """Why it cannot be tried against a real Linux server; empty where it can."""
    http: bool = False
    """The request is another one than in the session, of the same meaning."""

    @property
    def works_on_linux(self) -> bool:
        """Whether a Linux host with nginx is said to see what the session says."""
        return "linux" in self.policies and (not self.http or "nginx" in self.policies)
