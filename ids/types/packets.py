"""Captured frames, and what decoding makes of them: one row a packet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from ids.types.arrays import I64, U8, U16, U32, U64, Bool

LIVE = "live"
"""`PacketBatch.source` of packets that come from interfaces."""


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
    CARRIER = 21
    """It carried a packet, which has a row of its own, and is no conversation itself: GRE."""
    IPV4_BAD_OPTIONS = 22
    IPV6_BAD_OPTIONS = 23
    IPV6_BAD_ORDER = 24
    """Hop-by-hop options in another than the first place (RFC 8200 section 4.1)."""
    IPV6_SOURCE_ROUTE = 25
    """It is to be sent on by whom it is addressed to, which hosts refuse (RFC 5095)."""
    DISPUTED_DATAGRAM = 26
    """A version of a datagram of contradicting fragments, of TCP, that Linux does not see."""
    IPV4_SHORT_TOTAL_LENGTH = 27
    """The packet is to be shorter than its own header."""
    IPV6_BAD_VERSION = 28
    """What the link header calls IPv6 says to be something else."""


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
    holder: U64 | None = None
    """In whose name each frame takes up time: the address of who opened its flow, shape (n, 2), as it lies in memory;
    an IPv6 one by its /64. None: nobody has to share."""
    tag: U32 | None = None
    """A number for the flow of each frame, which another may have too; given where ``holder`` is."""

    def __len__(self) -> int:
        return len(self.offset)

    def rows(self, rows: I64 | Bool | slice) -> PacketBatch:
        """Return some of the frames, in the same buffer."""
        return replace(
            self,
            offset=self.offset[rows],
            caplen=self.caplen[rows],
            wirelen=self.wirelen[rows],
            ts_ns=self.ts_ns[rows],
            number=self.number[rows],
            linktype=self.linktype[rows],
            interface=self.interface[rows],
            unsummed=None if self.unsummed is None else self.unsummed[rows],
            holder=None if self.holder is None else self.holder[rows],
            tag=None if self.tag is None else self.tag[rows],
        )


class Notes(NamedTuple):
    """Oddities of packets, at most one of a kind a row; columns of shape (k,), in the order of the rows."""

    row: I64
    code: U8
    """Index of the event's name in `ids.decode.oddities.NAMES`."""


@dataclass(frozen=True, slots=True)
class Packets:
    """A decoded batch: the same packets as columns of header fields. Row i describes frame i of ``batch``.

    A frame may be several rows, one behind the other: of the fragment that completed a datagram, and of the datagram;
    of a packet of a tunnel, and of the packet in it.

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
    vlan: U64
    """VLAN ids from the outermost on, in bits 0-11, 16-27 and 32-43; 0 where there is no tag. Of more than three the
    first three; tags of VLAN 0, which hosts take off, are none."""
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
    doubtful: Bool
    """Rows of TCP that are decoded to their end and yet not usable, as Linux drops such packets, and another host may
    not."""
    depth: U8
    """How many tunnels the packet came through: 0 for what is on the wire itself."""
    carrier: I64
    """Row of the outermost packet around a packet of a tunnel; -1 where there is none."""
    notes: Notes
    """What is odd about packets, for events; most of it does not keep them from being used."""

    def __len__(self) -> int:
        return len(self.batch)
