"""What this package knows of one protocol, in one place: how it is recognised, parsed, limited, named and logged."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, runtime_checkable
from typing import Protocol as Interface

from pydantic import BaseModel

from ids.counters import Counters
from ids.protocols.expected import Expected
from ids.protocols.files import Files, FileSettings
from ids.protocols.frame import Framed
from ids.protocols.stretch import Stretch
from ids.protocols.walked import Walked
from ids.types import Direction, FlowColumns, Transaction

_MAY_CAPTURE = re.compile(rb"\((?!\?)|\(\?P<")
"""What a capturing group begins with; it may be escaped. To compile all patterns, to know, takes 8 ms."""

ODDITY = "app-layer-event"
"""The buffer in which parsers name what they find odd."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named piece of traffic that rules can test: one of Suricata's sticky buffers."""

    name: str
    protocol: str | None
    """The protocol that has it, None where several do."""
    side: Direction | None
    """Which direction carries it, None where either can."""
    text: str
    """What it is, for the documentation."""
    several: bool = False
    """One transaction may have several instances (`Transaction.more`)."""
    seams: tuple[bytes, ...] | None = None
    """What its parser puts between pieces of the head of an ordinary message (`Transaction.head_as_sent`) to make it,
    the letters' case apart (`stands_in_head`). None: it is made of something else, or in another way."""
    grows: bool = False
    """It may be longer, or be there at all, only when a message comes again (`Transaction.partial`)."""

    def stands_in_head(self, value: bytes) -> bool:
        """Return whether bytes of this buffer must stand in the head as sent: they hold no seam, and begin or end in
        none.
        """
        return self.seams is not None and not any(
            seam in value
            or any(value.startswith(seam[cut:]) or value.endswith(seam[:cut]) for cut in range(1, len(seam)))
            for seam in self.seams
        )


Contradicted = Callable[[int, bytes, int, int, list[Transaction]], None]
"""Takes a flow's slot, the first bytes of its server, time and number of their packet, and where transactions go."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the parsers of one protocol share, for as long as the stage lives."""

    flows: FlowColumns
    settings: Any
    """An instance of `Protocol.settings`; None for a protocol without."""
    counters: Counters
    ordinary_lane: bool = True
    """Let a parser that has a fast way for ordinary input use it. Off, every byte takes the careful way; what comes
    out is the same."""
    files: Files = field(default_factory=lambda: Files(FileSettings(), Counters(), FlowColumns(1)))
    """The files of all flows: see `ids.protocols.files` for how a parser hands one over."""
    expected: Expected = field(default_factory=lambda: Expected(Counters()))
    """Connections that other flows announce."""
    framed: Framed = field(default_factory=Framed)
    """Whose frames somebody asks for."""
    contradicted: Contradicted = lambda slot, data, ts_ns, number, out: None
    """To be called by a parser whose server does not begin as its protocol does."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A parser's last word: from here on, the streams of its flow are another protocol's."""

    tx_id: int
    """The id of the next parser's first transaction: that which the parser would have given to its own next one, unless
    the other protocol counts anew."""
    rest: tuple[bytes, bytes]
    """Bytes by `Direction` that the parser was fed and that are the other protocol's."""
    to: str | None = None
    """The other protocol, where both sides have agreed on it; None: it shows in its bytes."""
    before: Any = None
    """What the other parser is to know of what went before: handed to its `Heir.take_over`, where it has one."""
    expected: str | None = None
    """The protocol that both sides have agreed on, though it is to show in its bytes."""


class StreamParser(Interface):
    """The parser of one TCP flow. It may raise: that costs the flow its parser, and nothing else."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction; append the transactions that they completed to ``out``.

        Called for every row of `Streams`, also for one without bytes. Return a `Handover` where the protocol ends and
        another begins (STARTTLS, CONNECT, an upgrade); the parser is then released.
        """
        ...

    def release(self) -> None:
        """Give back what the parser took from limits that all flows share; it is used no more."""
        ...


class Heir(StreamParser, Interface):
    """A parser that wants to know what went before a handover."""

    def take_over(self, before: Any, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take `Handover.before`, before any bytes; append the transactions that come of it to ``out``."""
        ...


@runtime_checkable
class Exchanges(Interface):
    """What makes the parsers of a protocol that is `Protocol.sure`, and has a short way for flows that begin with one
    ordinary exchange."""

    def exchange(
        self, slot: int, asked: bytes, answered: bytes, at: tuple[int, int], answered_at: tuple[int, int],
        out: list[Transaction],
    ) -> bool:  # fmt: skip
        """Take the first bytes of both sides, where they are one whole exchange: append to ``out`` what a parser would
        have made of them, a transaction each. ``at`` is ``ts_ns`` and ``number`` of the packet that completed the first
        ones. Return False where they are anything else: nothing was done then.
        """
        ...

    def behind(self, slot: int) -> StreamParser:
        """Return the parser of a flow behind such an exchange."""
        ...


class MessageParser(StreamParser, Interface):
    """A parser of a protocol `by_message` whose messages are no transactions."""

    ended: Sequence[int]
    """Of each message that ended in the last piece that it was fed: the bytes of the piece behind it."""


class DatagramParser(Interface):
    """The parser of one UDP flow. It may raise: that costs the flow its parser, and nothing else."""

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram; append the transactions that it completed to ``out``."""
        ...

    def release(self) -> None:
        """Give back what the parser took from limits that all flows share; it is used no more."""
        ...


MakeStreamParser = Callable[..., StreamParser]
"""Makes the parser of a flow: its slot, and the id of its first transaction."""
MakeDatagramParser = Callable[[int, int], DatagramParser]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One protocol. All that the engine knows of it follows from this: recognition, settings, buffers, events.

    A pattern is the source of a regular expression without capturing groups, matched at the first byte of a direction.
    It must need few bytes, for a decision comes with them, and must not match what another protocol's peer could send:
    a flow keeps the first name that fits.
    """

    name: str
    """As EVE spells it (``app_proto``); also the key of its settings and of its object in events."""
    from_client: bytes | None = None
    """How the client of a TCP flow begins; None: not to be recognised by that."""
    client_prelude: bytes | None = None
    """What its client may send at any length before the protocol shows; it does not count against ``probe_bytes``."""
    from_server: bytes | None = None
    """How the server of a TCP flow begins."""
    server_prelude: bytes | None = None
    """What its server may send before the protocol shows."""
    announced: bool = False
    """Its TCP flows are known by what another flow says of them (`ids.protocols.expected`): what makes its parsers
    takes what was announced as a third argument."""
    greets: bool = False
    """Its server speaks first."""
    strict: bool = False
    """Each of its sides shows it at once (`from_client`, `from_server`): where one does not, that is an event."""
    client_first: bool = False
    """Its client always speaks first: where the server does, that is an event (`ids.protocols.sides`)."""
    commands: bytes | None = None
    """How its client may begin behind the server's greeting, though it looks like another protocol's by itself."""
    within: tuple[bytes, bytes] | None = None
    """How its client may go on at the start of a line, behind words of another protocol or of none which its server
    does not confirm: what the line holds, in small letters, and the pattern of its start. Strictly, for it may be
    content."""
    answers: bytes | None = None
    """How its server may answer a client that began so, though it looks like another protocol's by itself."""
    sure: bool = False
    """Its client's first bytes settle it: no answer of the server in another protocol makes the flow that one's. Right
    where whoever begins so is heard by servers of it alone."""
    agreed: bool = False
    """It does not show in its bytes: flows of another protocol are handed over to it (`Handover.to`)."""
    datagram: Callable[[bytes], bool] | None = None
    """Judges one datagram of a UDP flow, of either side; never raises."""
    foreign_ports: frozenset[int] = frozenset()
    """UDP ports of other protocols whose datagrams look the same: no flow of theirs is recognised as this one."""
    home_ports: frozenset[int] = frozenset()
    """Ports of which a flow must have one to be recognised as this one by a datagram, where its form says too little;
    none: any will do."""
    usual_ports: frozenset[int] = frozenset()
    """UDP ports at which its servers are: a datagram there that its form allows is one of it, whatever else it looks
    like, and whatever came before it."""
    usual_starts: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """By usual port: first bytes of its datagrams there, where not any may come; the others are passed over in columns,
    for there may be many (ESP beside IKE)."""
    walked: Walked | None = None
    """How the messages of its clients are walked at its TCP ports, where no first one shows what it is."""
    first_bytes: frozenset[int] | None = None
    """First bytes of the datagrams that its parser wants; the others are passed over in columns. None: it wants all."""
    settings: type[BaseModel] | None = None
    """Its bounds: the group ``protocols.<name>`` of the settings."""
    buffers: tuple[Buffer, ...] = ()
    """What rules can test. Without a parser nothing fills them, and rules on them are refused."""
    oddities: tuple[str, ...] = ()
    """What its parser finds odd, by Suricata's names: instances of the buffer `ODDITY` are these behind the protocol's
    name and a dot."""
    event: str | None = None
    """The type of event that is written for a complete transaction, and the key of its object there and in alerts: that
    is what the parser gave the transaction as ``fields``. Without one, the key in alerts is the protocol's name."""
    by_message: bool = False
    """Rules on raw bytes that are counted see each of its messages, however short: a request, a response, or what its
    parser says (`MessageParser`). Suricata 7 inspects the streams of these where a message ends, others by length."""
    of_sender: bool = False
    """Its events name who sent the message first, as Suricata's do; those of the others name the client."""
    ours: bool = False
    """Suricata has no such event: its object stands under ``ids``."""
    beside: tuple[str, ...] = ()
    """Keys of ``fields`` whose values are objects of their own in events: ``email`` beside ``smtp``."""
    in_alert: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Makes of ``fields`` the object that alerts have, where that is another than the event's."""
    streams: Callable[[Setup], MakeStreamParser] | None = field(default=None, repr=False)
    """Begins to parse TCP flows; called once a stage."""
    datagrams: Callable[[Setup], MakeDatagramParser] | None = field(default=None, repr=False)
    """Begins to parse UDP flows."""

    def __post_init__(self) -> None:
        patterns = [
            self.from_client, self.client_prelude, self.from_server, self.server_prelude, self.commands, self.answers,
            *(self.within or ())[1:],
        ]  # fmt: skip
        for pattern in patterns:
            if pattern is not None and _MAY_CAPTURE.search(pattern) and re.compile(pattern).groups:
                raise ValueError(f"a pattern of {self.name} captures: write (?:...)")

    @property
    def parsed(self) -> bool:
        """There is a parser that fills its buffers."""
        return self.streams is not None or self.datagrams is not None

    def recognised_over(self, ip_proto: int) -> bool:
        """Return whether flows of an IP protocol (6: TCP, 17: UDP) can be recognised as this one."""
        if ip_proto == 6:
            return self.announced or self.agreed or self.from_client is not None or self.from_server is not None
        return ip_proto == 17 and self.datagram is not None
