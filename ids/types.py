"""The values that one stage hands to the next.

Shapes and units are part of the contract. ``n`` is the number of packets in a batch; every column has shape ``(n,)``
unless it says otherwise. Times are integer nanoseconds since the UNIX epoch (``ts_ns``): no stage reads a clock.
Numbers are in host byte order. Addresses are two 64-bit halves of the 128-bit address, IPv4 as ``::ffff:a.b.c.d``
(RFC 4291 section 2.5.5.2), so that one comparison serves both families.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]
I64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

IPV4_MAPPED_PREFIX = 0xFFFF << 32
"""Low half of an IPv4-mapped address without its 32 address bits; the high half is zero."""


class Direction(IntEnum):
    """Which way a packet or a byte of a stream went, seen from the flow's first sender (the client)."""

    TO_SERVER = 0
    TO_CLIENT = 1


class Anomaly(IntEnum):
    """Why decoding of a packet stopped early; the names become counters. Append only."""

    NONE = 0
    TRUNCATED_LINK = 1
    UNKNOWN_LINKTYPE = 2
    NOT_IP = 3
    IPV4_TRUNCATED = 4
    IPV4_BAD_HEADER_LENGTH = 5
    IPV4_BAD_TOTAL_LENGTH = 6
    IPV6_TRUNCATED = 7
    IPV6_BAD_EXTENSION = 8
    TCP_TRUNCATED = 9
    TCP_BAD_OFFSET = 10
    UDP_TRUNCATED = 11
    UDP_BAD_LENGTH = 12
    ICMP_TRUNCATED = 13
    BAD_IP_CHECKSUM = 14
    BAD_L4_CHECKSUM = 15
    UNSUPPORTED_L4 = 16
    FRAGMENT = 17
    TOO_MANY_VLAN_TAGS = 18
    IP_BAD_VERSION = 19
    PARTIAL_L4_CHECKSUM = 20


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """Up to a few ten thousand captured frames in one byte buffer, as a capture or a ring delivers them."""

    data: U8
    """All captured bytes, one dimension; frames may lie anywhere in it, in any order."""
    offset: I64
    """Index in ``data`` of the first byte of each frame."""
    caplen: I64
    """Bytes of each frame present in ``data``."""
    wirelen: I64
    """Bytes that each frame had on the wire; at least ``caplen``."""
    ts_ns: I64
    """Arrival of each frame, nanoseconds since the UNIX epoch."""
    number: I64
    """1-based number of each frame in its source: ``pcap_cnt`` of EVE."""
    linktype: U16
    """LINKTYPE_ value of each frame (pcap-linktype(7)); 1 is Ethernet."""
    interface: U32
    """Interface index of each frame on a live capture; pcapng interface number, or 0, in a file."""
    source: str
    """File name of the capture, or the name of the live source."""
    unsummed: Bool | None = None
    """Frames that were seen before their device filled the checksums in, so that these say nothing; None: no frame."""

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True, slots=True)
class Packets:
    """A decoded batch: the same packets as columns of header fields. Row i describes frame i of ``batch``.

    A row whose ``anomaly`` is set has only the columns that were decoded before the trouble; the rest are zero
    (offsets: -1). ``usable`` picks the rows that the flow stage takes.
    """

    batch: PacketBatch
    anomaly: U8
    """An `Anomaly` for each packet."""
    usable: Bool
    """Rows with a complete IP and TCP, UDP, ICMP or other L4 header and acceptable checksums."""
    ip_version: U8
    """4, 6, or 0 where no IP header was found."""
    src: U64
    """Source address, shape (n, 2): high and low half."""
    dst: U64
    """Destination address, shape (n, 2)."""
    proto: U8
    """IP protocol number of the transport header."""
    sport: U16
    """TCP or UDP source port; the type of an ICMP message."""
    dport: U16
    """TCP or UDP destination port; the code of an ICMP message."""
    vlan: U32
    """Outer VLAN id in bits 0-11, inner one in bits 16-27; 0 where there is no tag."""
    ttl: U8
    """IPv4 TTL or IPv6 hop limit."""
    fragment: Bool
    """The packet is a fragment of a larger datagram (first ones included)."""
    l3: I64
    """Index in ``batch.data`` of the innermost IP header; -1 where there is none."""
    l4: I64
    """Index in ``batch.data`` of the transport header; -1 where there is none."""
    payload: I64
    """Index in ``batch.data`` of the first payload byte; -1 where there is none."""
    payload_len: I64
    """Payload bytes present in ``batch.data``, by the IP length: link padding is no payload."""
    payload_missing: I64
    """Payload bytes that the packet had on the wire and the capture lacks (snap length)."""
    tcp_flags: U8
    """TCP flags, FIN 0x01 ... CWR 0x80."""
    seq: U32
    """TCP sequence number."""
    ack: U32
    """TCP acknowledgement number."""
    window: U16
    """TCP window, unscaled."""

    def __len__(self) -> int:
        return len(self.batch)


class FlowState(Enum):
    """Life of a flow, in EVE's words."""

    NEW = "new"
    ESTABLISHED = "established"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class Flow:
    """One conversation; the client sent its first packet (or, for TCP picked up at a SYN/ACK, received it)."""

    id: int
    """Unique while the engine lives, below 2**53 (EVE's ``flow_id``)."""
    ip_version: int
    proto: int
    src: tuple[int, int]
    """The client's address, high and low half."""
    dst: tuple[int, int]
    """The server's address."""
    sport: int
    dport: int
    vlan: int
    """As `Packets.vlan`."""
    interface: int
    start_ns: int
    last_ns: int
    echo_id: int | None = None
    """Identifier of an ICMP echo and its reply; None for every other flow."""
    packets: list[int] = field(default_factory=lambda: [0, 0])
    """Packets by `Direction`."""
    bytes: list[int] = field(default_factory=lambda: [0, 0])
    """Wire bytes by `Direction`, link header included (as EVE counts)."""
    unseen_packets: list[int] = field(default_factory=lambda: [0, 0])
    """Of ``packets``, those that the gate did not show; known when the flow has ended."""
    unseen_bytes: list[int] = field(default_factory=lambda: [0, 0])
    """Of ``bytes``, those of packets that the gate did not show."""
    tcp_flags: list[int] = field(default_factory=lambda: [0, 0])
    """All TCP flags seen, by `Direction`."""
    state: FlowState = FlowState.NEW
    reason: str = "unknown"
    """Why the flow ended: ``timeout``, ``forced``, ``shutdown`` (EVE's ``flow.reason``)."""
    app_proto: str | None = None
    """Protocol recognised by content, as EVE names it."""
    midstream: bool = False
    """No handshake was seen."""
    alerted: bool = False
    flagged: bool = False
    """A rule or plugin asked for this flow's packets as Scapy packets."""
    gaps: list[int] = field(default_factory=lambda: [0, 0])
    """Stream bytes that were never seen, by `Direction`."""
    conflicts: list[int] = field(default_factory=lambda: [0, 0])
    """Segments whose overlapping bytes differed from those already seen, by `Direction`."""
    first_number: int = 0
    """`PacketBatch.number` of the first packet."""
    source: str = ""
    """`PacketBatch.source` of the first packet."""
    storage: dict[str, Any] = field(default_factory=dict)
    """Private room for stages and plugins, by their name; goes with the flow."""

    @property
    def src_ip(self) -> str:
        """The client's address as text."""
        return address_text(self.src)

    @property
    def dst_ip(self) -> str:
        """The server's address as text."""
        return address_text(self.dst)


@dataclass(frozen=True, slots=True)
class FlowCount:
    """What the gate itself has counted of a flow, whether it showed it or not."""

    first_ns: int
    """First packet counted (``ts_ns``), to the tick of the kernel's coarse clock, which lags behind."""
    last_ns: int
    """Latest packet, as exact."""
    packets: tuple[int, int]
    """Packets by `Direction`."""
    bytes: tuple[int, int]
    """Wire bytes by `Direction`, as `Flow.bytes`."""
    condemned: bool
    """Its packets are being dropped."""


@dataclass(slots=True)
class StreamChunk:
    """Contiguous, newly inspectable bytes of one direction of a TCP flow.

    Not to be changed by whom it is handed to. (It is not frozen: that costs more than the rest of making one.)
    """

    flow: Flow
    direction: Direction
    offset: int
    """Stream offset of ``data[0]``; 0 is the first byte after the SYN (or the first byte seen, when midstream)."""
    data: bytes
    ts_ns: int
    """Arrival of the packet that completed the chunk."""
    number: int
    """`PacketBatch.number` of the packet that completed the chunk."""
    gap: int = 0
    """Bytes lost for good directly before ``data``; ``offset`` already counts them."""
    conflict: bool = False
    """Some of these bytes were sent more than once, with different content; the first content is in ``data``."""
    closed: bool = False
    """No more bytes will come in this direction (``data`` may then be empty)."""


@dataclass(frozen=True, slots=True)
class FlowBatch:
    """What the flow stage made of one batch."""

    flows: list[Flow]
    """The flows that the batch touched, in the order of their first packet in it."""
    index: I64
    """Position in ``flows`` of each packet's flow; -1 for a packet without one."""
    direction: U8
    """`Direction` of each packet."""
    chunks: list[StreamChunk]
    """TCP chunks in the order of the packets that completed them."""
    started: list[Flow]
    ended: list[Flow]
    """Flows that closed or timed out; they get no more chunks."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One protocol exchange, or the part of it known so far, as named buffers."""

    flow: Flow
    protocol: str
    """EVE's name of the protocol, such as ``http``."""
    tx_id: int
    """0-based within the flow."""
    direction: Direction
    """Which side sent the part that completed these buffers."""
    buffers: Mapping[str, bytes]
    """Suricata's sticky buffer names (``http.uri``) to their bytes."""
    fields: Mapping[str, Any]
    """What EVE logs of it: the object under the protocol's key."""
    ts_ns: int
    number: int
    complete: bool = False
    """Both sides of the exchange are done: an event of the protocol may be written."""


class Action(Enum):
    """What a rule asks for, besides being told."""

    ALERT = "alert"
    DROP = "drop"
    REJECT = "reject"
    PASS = "pass"


class BlockMode(Enum):
    """Whether a block drops packets or only counts what it would have dropped."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What a rule wants blocked when it matches; `ids.respond` decides."""

    target: str
    """``src_ip`` or ``dst_ip``, of the direction that matched."""
    ttl_s: int
    mode: BlockMode
    require_proven: bool
    """Only a source that completed a handshake may be blocked."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """How often a rule may alert. ``limit``: at most ``count`` in ``seconds``; ``threshold``: every ``count``-th;
    ``both``: once in ``seconds`` after ``count``."""

    type: str
    track: str
    """``by_src``, ``by_dst``, ``by_rule`` or ``by_flow``."""
    count: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Signature:
    """The identity of a rule, as events carry it: everything but how it matches."""

    sid: int
    title: str
    gid: int = 1
    rev: int = 1
    severity: int = 3
    """EVE's severity: 1 is the most severe, 4 the least."""
    classtype: str = ""
    action: Action = Action.ALERT
    metadata: Mapping[str, list[str]] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    block: BlockRequest | None = None
    threshold: Threshold | None = None
    origin: str = ""
    """``path:line`` of the rule."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a rule found what it looked for."""

    buffer: str
    offset: int
    """Position in the buffer; a stream offset for ``payload`` of a TCP flow."""
    excerpt: bytes
    """The matched bytes with a little of their surroundings, at most 256 bytes."""


@dataclass(frozen=True, slots=True)
class Match:
    """A detector's finding. It asks; `ids.respond` decides."""

    signature: Signature
    flow: Flow
    direction: Direction
    ts_ns: int
    number: int
    """`PacketBatch.number` of the packet that completed the match."""
    evidence: tuple[Evidence, ...] = ()
    detector: str = ""
    """Name of the plugin that found it."""
    transaction: Transaction | None = None


@lru_cache(maxsize=65536)
def address_text(address: tuple[int, int]) -> str:
    """Spell an address given as two halves, IPv4-mapped ones as IPv4."""
    return str(address_object(address))


def address_object(address: tuple[int, int]) -> IPAddress:
    """Return the `ipaddress` object of an address given as two halves."""
    high, low = address
    if high == 0 and low >> 32 == 0xFFFF:
        return ipaddress.IPv4Address(low & 0xFFFFFFFF)
    return ipaddress.IPv6Address(high << 64 | low)


def address_halves(address: IPAddress | str) -> tuple[int, int]:
    """Return the two 64-bit halves of an address; raises ValueError where it is none."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return 0, IPV4_MAPPED_PREFIX | int(parsed)
    return int(parsed) >> 64, int(parsed) & 0xFFFFFFFFFFFFFFFF


def unmapped(network: IPNetwork) -> IPNetwork:
    """Return the IPv4 network that an IPv4-mapped one means (RFC 4291, 2.5.5.2), any other as it is.

    The logs of dual-stack sockets spell IPv4 clients so; on the wire they are IPv4.
    """
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
