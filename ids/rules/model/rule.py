"""The one model that every rule language loads into.

A rule is its `Signature`, the traffic it looks at, and a tree of tests on named buffers. Nothing here knows a file
format; `ids.rules.match.conditions` decides whether a tree holds, `ids.rules.match.matcher` when to ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol, TypeAlias

from ids.errors import Location
from ids.rules.model.buffers import APP_PROTOCOLS, CATALOGUE, PAYLOAD, TRANSPORT_PROTOCOLS
from ids.rules.model.chain import DECODED, Chain, Expression
from ids.rules.model.header import HeaderTest
from ids.rules.model.patterns import Pattern
from ids.rules.model.script import Script
from ids.rules.model.sets import ANY_ADDRESS, ANY_PORT, AddressSet, PortSet
from ids.types import Direction, Signature


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


ENDS = ("src_ip", "dst_ip", "outer_src_ip", "outer_dst_ip")
"""Addresses that conditions may name."""


class Addresses(Protocol):
    """A set of addresses, each given by its two halves."""

    def __contains__(self, address: tuple[int, int], /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Address:
    """The sender's (``src_ip``) or the receiver's (``dst_ip``) address is one of a set; or that of the outermost tunnel
    around them (``outer_src_ip``, ``outer_dst_ip``), which without a tunnel is the same.
    """

    end: str
    members: Addresses
    """An `AddressSet`, or `ids.rules.model.lists.ListedAddresses`."""


@dataclass(frozen=True, slots=True)
class ScapyField:
    """A packet of the flow has this Scapy layer with this value in this field; costly, so evaluated last."""

    layer: str
    name: str
    value: int | str
    place: Location | None = field(default=None, compare=False)
    """Where it is asked for."""


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


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a buffer satisfies every part; the parts are tests on this buffer, and groups of such."""

    buffer: str
    parts: tuple[Node, ...]


Test: TypeAlias = Literal | Regex | Size
Leaf: TypeAlias = Test | Chain | HeaderTest | Address | ScapyField | Script
Node: TypeAlias = Leaf | All | Any_ | NotAny | Instance

Identity: TypeAlias = tuple[int, int, int]
"""gid, sid and revision of a rule."""


def base_of(buffer: str) -> str:
    """Return the buffer that a name with transforms behind it starts from: of ``http.uri|lower`` it is ``http.uri``."""
    return buffer.partition("|")[0]


def leaves(node: Node) -> Iterator[Leaf]:
    """Yield the tests of a tree, in order."""
    if isinstance(node, All | Any_ | NotAny | Instance):
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
    payload_of: str | None = None
    """``stream``: payload is looked for in reassembled streams only; ``packet``: in single packets only; None: both."""
    any_state: bool = False
    """It must be a flow's packet, whatever its state (``stateless``); a fragment is none."""


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
    excepts: bool = False
    """An address was given as all but some (``!``). The sets say which are meant; when such a rule is judged, in
    Suricata's language, depends on how they were spelt."""

    @property
    def app_proto(self) -> str | None:
        """The application protocol that the flow must have, or None."""
        return self.protocol if self.protocol in APP_PROTOCOLS else None

    def carried_by(self, ip_proto: int) -> bool:
        """Return whether packets of this IP protocol number are concerned."""
        numbers = TRANSPORT_PROTOCOLS.get(self.protocol)
        return not numbers or ip_proto in numbers


@dataclass(frozen=True, slots=True)
class RuleTest:
    """A rule's own proof: what to send (or which capture to replay), and what must come of it."""

    name: str
    kind: str
    """``http``, ``payload``, ``dns``, ``tls``, ``probes`` or ``pcap``: what ``stimulus`` describes."""
    stimulus: Mapping[str, Any]
    alerts: int = 1
    evade: str | tuple[str, ...] = ()
    blocked_from_packet: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scoped:
    """What rules of all languages have: an identity, and the traffic that they look at."""

    signature: Signature
    traffic: Traffic
    flow: FlowOptions
    source: Location

    @property
    def identity(self) -> Identity:
        """What distinguishes it from other rules, also after a reload; a new revision is another rule."""
        return self.signature.gid, self.signature.sid, self.signature.rev


@dataclass(frozen=True, slots=True, eq=False)
class Rule(Scoped):
    """One rule whose condition is a tree of tests, ready to be matched."""

    condition: All
    repeats: bool = False
    """It may match again and again in one flow: at each packet that fits, as Suricata's rules do, not once."""
    apart: bool = False
    """Where it matches once, and looks at no bytes, it does so for each side by itself."""
    level: str = "medium"
    tests: tuple[RuleTest, ...] = ()
    buffers: frozenset[str] = field(init=False)
    """Every buffer that the condition names, without transforms; not what the rule itself decodes."""
    sides: frozenset[Direction] = field(init=False)
    """The sides that send these buffers; both: the rule looks at a request together with its response."""

    needs_scapy: bool = field(init=False)
    """Some tests are on Scapy fields, and wait for the flow's dissected packets."""

    asks_headers: bool = field(init=False)
    """Some tests are on the headers of packets."""

    scripts: tuple[Script, ...] = field(init=False)
    """The scripts that are asked."""

    exchanges: frozenset[str] = field(init=False)
    """Protocols of which these are asked of each exchange, whatever is in it."""

    covering: Any = field(default=None, init=False, repr=False)
    """A place for what `ids.rules.model.literals.cover_of` finds, which is kept with the rule."""

    def __post_init__(self) -> None:
        tests = tuple(leaves(self.condition))
        on_buffers = (test for test in tests if isinstance(test, Literal | Regex | Size | Chain))
        scripts = tuple(test for test in tests if isinstance(test, Script))
        names = frozenset(base_of(test.buffer) for test in (*on_buffers, *scripts) if test.buffer) - {DECODED}
        if any(script.of_payload for script in scripts):
            names |= {PAYLOAD}
        sides = (CATALOGUE[name].side for name in names if name in CATALOGUE)
        object.__setattr__(self, "buffers", names)
        object.__setattr__(self, "needs_scapy", any(isinstance(test, ScapyField) for test in tests))
        object.__setattr__(self, "asks_headers", any(isinstance(test, HeaderTest) for test in tests))
        object.__setattr__(self, "scripts", scripts)
        object.__setattr__(self, "exchanges", frozenset(script.protocol for script in scripts if script.protocol))
        object.__setattr__(self, "sides", frozenset(side for side in sides if side is not None))


def patterns_of(rule: Rule) -> Iterator[Pattern]:
    """Yield the regular expressions of a rule's tests, in order."""
    for leaf in leaves(rule.condition):
        if isinstance(leaf, Regex):
            yield leaf.pattern
        elif isinstance(leaf, Chain):
            yield from (step.pattern for step in leaf.steps if isinstance(step, Expression))
