"""Tests on the headers of one packet, judged on columns: a rule with such a test is judged packet by packet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ids.rules.model.sets import Interval
from ids.types import U64, Bool

NUMBERS = (
    "ip.ttl", "ip.id", "ip.tos", "ip.proto", "ip.fragoffset", "tcp.seq", "tcp.ack", "tcp.window", "tcp.mss",
    "tcp.wscale", "icmp.type", "icmp.code", "icmp.id", "icmp.seq", "icmpv6.mtu", "payload.size",
    "flow.age",
)  # fmt: skip
"""Numeric fields; ``payload.size`` is the bytes behind the transport header of this packet (``dsize``), ``flow.age``
the whole seconds since its flow began."""

BITS = ("tcp.flags", "ip.fragbits")
"""Fields of bits. ``ip.fragbits``: 1 more fragments, 2 don't fragment, 4 reserved."""


@dataclass(frozen=True, slots=True)
class HeaderNumber:
    """A field's value lies in one of the intervals, or with ``negated`` in none. A packet without it does not fit."""

    field: str
    intervals: tuple[Interval, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HeaderBits:
    """Bits of a field, but for the ``ignored`` ones: ``exactly`` these, ``all`` of these, ``any``, ``none``,
    or some of them ``lacking``."""

    field: str
    mode: str
    bits: int
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class SameAddress:
    """Source and destination address are the same (``sameip``)."""


@dataclass(frozen=True, slots=True)
class IpOption:
    """The IPv4 header has an option: ``rr eol nop ts sec esec lsrr ssrr satid any``."""

    name: str


@dataclass(frozen=True, slots=True)
class StreamSize:
    """Bytes of a TCP direction so far: ``side`` ``client``, ``server``, ``both`` or ``either``."""

    side: str
    intervals: tuple[Interval, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Noted:
    """An oddity was noted of this packet, by the name that events have for it (``decode-event``, ``stream-event``).

    ``stage``: ``decode`` or ``stream``.
    """

    stage: str
    name: str


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of the packet is ``valid`` or not (``tcpv4-csum``): ``layer`` ``ipv4 tcpv4 tcpv6 udpv4 udpv6 icmpv4
    icmpv6``."""

    layer: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Spoken:
    """The application protocol that was recognised in the flow by then is this one, or with ``negated`` another
    (``app-layer-protocol``). ``failed``: none was, though there was payload enough. Before that, neither holds."""

    name: str
    negated: bool = False


class AddressList(Protocol):
    """A set of addresses, asked for those of a batch at once."""

    def among(self, addresses: U64) -> Bool:
        """Return which addresses, shape (n, 2) as in `Packets.src`, are members."""
        ...


@dataclass(frozen=True, slots=True)
class AddressIn:
    """An address of the packet is in a list from a file (``geoip``, ``iprep``, ``dataset`` on ``ip.src``).

    ``end``: ``src``, ``dst``, ``any`` or ``both``. ``name`` says which list, to whom reads it and to the matcher.
    """

    end: str
    name: str
    members: AddressList = field(compare=False, repr=False)
    negated: bool = False
    lasting: bool = False
    """Suricata asks it once a direction of a flow, as its addresses are: of reputations."""


HeaderTest: TypeAlias = (
    HeaderNumber | HeaderBits | SameAddress | IpOption | StreamSize | Noted | Checksum | Spoken | AddressIn
)
