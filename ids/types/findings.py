"""What rules and detectors say: the identity of a rule, where it found what, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ids.types.counting import After, Distinct, Remembered
from ids.types.packets import Direction
from ids.types.state import STATELESS, State

if TYPE_CHECKING:
    from ids.types.flows import Flow
    from ids.types.transactions import Transaction


class Action(Enum):
    """What a rule asks for, besides an alert."""

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
    """``src_ip`` or ``dst_ip``, of the direction that matched; ``outer_src_ip`` or ``outer_dst_ip``, of the outermost
    tunnel around it."""
    ttl_s: int
    mode: BlockMode
    require_proven: bool
    """Only a source that completed a handshake may be blocked."""
    home: bool = False
    """Also a host inside of HOME_NET for what it does outside of it, as the rule looks for hosts that are infected."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """How often a rule may alert. ``limit``: at most ``count`` in ``seconds``; ``threshold``: every ``count``-th;
    ``both``: once in ``seconds`` after ``count``; ``filter``: each after the first ``count`` (``detection_filter``)."""

    type: str
    track: str
    """``by_src``, ``by_dst``, ``by_both``, ``by_rule`` or ``by_flow``."""
    count: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A rule that matched more than ``count`` times in ``seconds`` asks for another action, for ``timeout_s``
    (Suricata's ``rate_filter``)."""

    track: str
    """As of a `Threshold`."""
    count: int
    seconds: int
    action: Action
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Suppression:
    """Alerts of a rule are not reported where the sender's (``src_ip``) or the receiver's (``dst_ip``) address, of one
    of the ``ends``, lies in one of the runs of addresses; IPv4 as ``::ffff:a.b.c.d``."""

    ends: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]


class Stores(NamedTuple):
    """Which files a rule asks to be stored (Suricata's ``filestore``)."""

    scope: str = "file"
    """``file``: those in which it matched; ``tx``: those of the exchange; ``flow``: those of the flow from then on."""
    side: str = ""
    """Of which side: ``request``, ``response`` or ``both``; empty: of the side that matched."""


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
    category: str = ""
    """What the class is called in events (EVE's ``alert.category``); empty: by its name."""
    action: Action = Action.ALERT
    metadata: Mapping[str, list[str]] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    block: BlockRequest | None = None
    threshold: Threshold | None = None
    suppressed: tuple[Suppression, ...] = ()
    rate: Rate | None = None
    rated: bool = False
    """Its action is the one that ``rate`` asks for."""
    state: State = STATELESS
    distinct: Distinct | None = None
    after: After | None = None
    remembered: tuple[Remembered, ...] = ()
    """How its matches are kept for the rules that come ``after`` it."""
    attacked: str = ""
    """Which end of the packet is the attacked one, ``src_ip`` or ``dest_ip`` (Suricata's ``target``); empty: not
    known."""
    rejected: str = ""
    """Who would be sent the reset of a ``reject``: ``to_client`` (who sent the packet), ``to_server`` or ``both``."""
    bypass: bool = False
    """Nothing more is to be heard of the flow behind the packet of a match, and the kernel need not show it."""
    packet_wise: bool = False
    """What it drops or lets pass is the packet alone, unless it matched in the stream; otherwise the rest of the
    flow. (What is dropped is the flow as well, unless settings say otherwise: see `ids.settings.respond`.)"""
    announced: bool = False
    """It alerts though its action is ``pass``."""
    stores: Stores | None = None
    """Which files are to be stored when it matches."""
    unlogged: bool = False
    """The exchange in which it matches has no event of its protocol."""
    exception: str = ""
    """It is no rule but an exception policy, and this the reason that `drop` events give: nothing of the flow is heard
    from its packet on, and there is no alert."""
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
    matched: tuple[int, int] | None = None
    """Where in ``excerpt`` the matched bytes begin and end; None: they are all of it."""


class ForwardedFor(NamedTuple):
    """The client for whom a trusted reverse proxy sent the request of a match (`respond.trusted_proxies`)."""

    address: tuple[int, int]
    """As `Flow.src`."""
    via: str
    """How the proxies said so: the header, in lower case, or ``proxy-protocol``."""


class FlowCount(NamedTuple):
    """How much of a flow had come at some time."""

    packets_to_server: int
    packets_to_client: int
    bytes_to_server: int
    bytes_to_client: int


@dataclass(frozen=True, slots=True)
class Exhibit:
    """What events show of the packet of a match, beyond what is its flow's; attached where packets and bytes are at
    hand, as far as settings ask."""

    source: str = ""
    """Where the packet came from, in Suricata's words (``pkt_src``), where that is not the wire."""
    counts: FlowCount | None = None
    """How much of the flow had come by then; None: no more has come since."""
    icmp: tuple[int, int] | None = None
    """Type and code of the very message, which may be the answer of its flow."""
    ether: tuple[str, str] | None = None
    """Source and destination of the frame."""
    header: Mapping[str, int | bool] | None = None
    """Header fields as `drop` events have them."""
    payload: bytes | None = None
    stream: bool = False
    """The payload is that of the stream."""
    of_stream: bool = False
    """What matched are bytes of the stream, and no buffer of an exchange."""
    exchange: Transaction | None = None
    """The exchange in which bytes that matched are likely to be; the match itself is in none."""
    guessed: bool = False
    """There may be another one."""
    xff: str = ""
    """Whom a proxy says that it speaks for."""
    client: ForwardedFor | None = None
    """The same where the proxy is trusted: it counts as the flow's client then."""
    capture: str = ""
    """The file in which the packets around it are recorded."""
    packet: bytes | None = None
    """The frame, or of what it brought the packet alone (from a tunnel, of fragments)."""
    files: tuple[Mapping[str, object], ...] = ()
    """What EVE says of the files in its transaction."""
    linktype: int = 0
    """Of ``packet``, as libpcap numbers it on this kind of system (``DLT_``)."""


class Captured(NamedTuple):
    """A text that a group of a regex captured, and under which name of whom it is kept: ``flow`` or ``pkt``."""

    scope: str
    name: str
    value: bytes


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
    exhibit: Exhibit | None = None
    captured: tuple[Captured, ...] = ()
    of_protocol: bool = False
    """Its rule is about the traffic of one protocol."""
    message: int = 0
    """Stream offset of the message in which a rule on raw bytes matched once more: those of one packet are matches of
    their own. 0: the first, or one that no message sets apart."""
