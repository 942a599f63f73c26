"""The one model that every rule language loads into.

A rule is its `Signature`, the traffic it looks at, and a tree of tests on named buffers. Nothing here knows a file
format; `ids.rules.conditions` decides whether a tree holds, `ids.rules.matcher` when to ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from ids.errors import Location
from ids.rules.buffers import APP_PROTOCOLS, CATALOGUE, TRANSPORT_PROTOCOLS
from ids.rules.patterns import Pattern
from ids.rules.variables import ANY_ADDRESS, ANY_PORT, AddressSet, PortSet
from ids.types import Direction, Flow, FlowState, Signature


class Anchor(Enum):
    """Where in its buffer a literal must stand."""

    ANYWHERE = "contains"
    START = "startswith"
    END = "endswith"
    WHOLE = "equals"


@dataclass(frozen=True, slots=True)
class Literal:
    """The buffer has these bytes; with ``nocase``, ASCII letters of either case (``value`` is lower case then)."""

    buffer: str
    value: bytes
    nocase: bool = False
    anchor: Anchor = Anchor.ANYWHERE


@dataclass(frozen=True, slots=True)
class Regex:
    """The buffer has a match of a regular expression."""

    buffer: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Size:
    """The buffer has at least ``least`` and, unless None, at most ``most`` bytes."""

    buffer: str
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """The sender's (``src_ip``) or the receiver's (``dst_ip``) address is one of a set."""

    end: str
    members: AddressSet


@dataclass(frozen=True, slots=True)
class ScapyField:
    """A packet of the flow has this Scapy layer with this value in this field; costly, so evaluated last."""

    layer: str
    name: str
    value: int | str


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; true when there are none."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801  # `Any` is typing's
    """At least one part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class NotAny:
    """No part holds. A test on a buffer that the traffic lacks does not hold, so this is true of it."""

    parts: tuple[Node, ...]


Test: TypeAlias = Literal | Regex | Size
Node: TypeAlias = Test | Address | ScapyField | All | Any_ | NotAny


def leaves(node: Node) -> Iterator[Test | Address | ScapyField]:
    """Yield the tests of a tree, in order."""
    if isinstance(node, All | Any_ | NotAny):
        for part in node.parts:
            yield from leaves(part)
    else:
        yield node


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """What a rule asks of the flow's state and of the direction."""

    established: bool | None = None
    """True: traffic both ways was seen; False: not yet; None: either."""
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Which packets a rule looks at: protocol, and for the sender and the receiver, address and port."""

    protocol: str = "ip"
    src: AddressSet = ANY_ADDRESS
    sport: PortSet = ANY_PORT
    dst: AddressSet = ANY_ADDRESS
    dport: PortSet = ANY_PORT
    both_ways: bool = False
    """``<>``: sender and receiver may be exchanged."""

    @property
    def app_proto(self) -> str | None:
        """The application protocol that the flow must have, or None."""
        return self.protocol if self.protocol in APP_PROTOCOLS else None

    def carried_by(self, ip_proto: int) -> bool:
        """Tell whether packets of this IP protocol number are concerned."""
        numbers = TRANSPORT_PROTOCOLS.get(self.protocol)
        return not numbers or ip_proto in numbers

    def fits(self, flow: Flow, direction: Direction) -> bool:
        """Judge addresses and ports, the sender being the client when ``direction`` is to the server."""
        if not self.carried_by(flow.proto):
            return False
        client, server = (flow.src, flow.sport), (flow.dst, flow.dport)
        sender, receiver = (client, server) if direction == Direction.TO_SERVER else (server, client)
        ports = flow.proto in (6, 17, 132)
        return self._oriented(sender, receiver, ports) or (self.both_ways and self._oriented(receiver, sender, ports))

    def _oriented(self, sender: tuple[Any, int], receiver: tuple[Any, int], ports: bool) -> bool:
        if ports and not (sender[1] in self.sport and receiver[1] in self.dport):
            return False
        return sender[0] in self.src and receiver[0] in self.dst


@dataclass(frozen=True, slots=True)
class RuleTest:
    """A rule's own proof: what to send (or which capture to replay), and what must come of it."""

    name: str
    kind: str
    """``http``, ``payload`` or ``pcap``: what ``stimulus`` describes."""
    stimulus: Mapping[str, Any]
    alerts: int = 1
    evade: str | tuple[str, ...] = ()
    blocked_from_packet: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule, ready to be matched."""

    signature: Signature
    traffic: Traffic
    flow: FlowOptions
    condition: All
    source: Location
    level: str = "medium"
    tests: tuple[RuleTest, ...] = ()
    buffers: frozenset[str] = field(init=False)
    """Every buffer that the condition names."""
    sides: frozenset[Direction] = field(init=False)
    """The sides that send these buffers; both: the rule looks at a request together with its response."""

    needs_scapy: bool = field(init=False)
    """Some tests are on Scapy fields, and wait for the flow's dissected packets."""

    def __post_init__(self) -> None:
        names = frozenset(leaf.buffer for leaf in leaves(self.condition) if isinstance(leaf, Literal | Regex | Size))
        sides = (CATALOGUE[name].side for name in names if name in CATALOGUE)
        object.__setattr__(self, "buffers", names)
        object.__setattr__(self, "needs_scapy", any(isinstance(leaf, ScapyField) for leaf in leaves(self.condition)))
        object.__setattr__(self, "sides", frozenset(side for side in sides if side is not None))

    def open_to(self, flow: Flow, direction: Direction, protocol: str | None = None) -> bool:
        """Judge what may change while the flow lives: its state and the protocol recognised in it.

        ``protocol`` is that of the transaction at hand, if any.
        """
        wanted = self.flow.direction
        if wanted is not None and wanted != direction:
            return False
        if self.flow.established is not None and self.flow.established == (flow.state is FlowState.NEW):
            return False
        app_proto = self.traffic.app_proto
        return app_proto is None or app_proto in (flow.app_proto, protocol)
