"""What the stage knows of one flow."""

from __future__ import annotations

from dataclasses import dataclass

from ids.protocols.protocol import DatagramParser, Protocol, StreamParser
from ids.protocols.walked import Walk
from ids.types import Direction, FlowPlace

NOTHING = (b"", b"")
BOTH = 0b11
"""Bits of both directions."""


@dataclass(slots=True)
class Rival:
    """The other reading of a flow."""

    protocol: Protocol | None = None
    """None: it does not show yet in what the server says."""
    parser: StreamParser | None = None
    said: bytes = b""
    """First bytes of the server, while they show nothing; no more than are probed."""
    fresh: bool = False
    """The stretch at hand is in ``said``."""
    judged: bool = False
    """The server has said something since the client contradicted it."""


class Talk:
    """What is known of one flow."""

    __slots__ = (
        "announced", "awaited", "began", "closed", "expected", "greeted", "handed", "handed_at", "handovers", "heard",
        "left", "line", "listener", "missed", "noted", "offered", "parser", "prefix", "probing", "protocol", "rival",
        "since", "slot", "tx_id", "walk",
    )  # fmt: skip

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.probing = True
        self.protocol: Protocol | None = None
        self.parser: StreamParser | None = None
        self.listener: DatagramParser | None = None
        self.rival: Rival | None = None
        """The other reading of a flow whose sides contradict each other."""
        self.prefix = NOTHING
        """First bytes by `Direction`, while the protocol is unknown; no more each than the stage says."""
        self.closed = 0
        """Bits of the directions whose end was taken: no more bytes come."""
        self.heard = 0
        """Bits of the directions whose first bytes were judged."""
        self.began = 0
        """Bits of the directions whose first bytes are the protocol's."""
        self.announced = False
        """Another flow said what it is, and nothing belies that."""
        self.awaited = False
        """There is no parser for what the client seems to speak, and the server's first bytes are to confirm it."""
        self.greeted = False
        """The server's first bytes decided for the parser; the client's may contradict."""
        self.expected: str | None = None
        """The protocol that was agreed on, while nothing was said in it."""
        self.noted: tuple[bytes, ...] = ()
        """Events of recognition that it had (`ids.protocols.sides.EVENTS`)."""
        self.line: bytes | None = b""
        """The last line of a client, as far as it came, whose protocol its server has not confirmed; None: nothing else
        is looked for in what it says."""
        self.walk: tuple[Protocol, Walk] | None = None
        """The protocol whose port it is, while its first message has not come; None: no such port, or nothing is to be
        expected any more."""
        self.missed = 0
        """Bytes of the client behind those in ``prefix`` meanwhile."""
        self.offered = False
        """`Protocols.opaque` has returned it."""
        self.left = False
        """`Protocols.unread` has returned it."""
        self.since = 0
        """`PacketBatch.number` of the datagram by which it was recognised: those before it are not parsed."""
        self.tx_id = 0
        """Id of the next parser's first transaction."""
        self.handovers = 0
        """Parsers that handed the flow over,"""
        self.handed = 0
        """and how many did within the piece of a stream that ended with the packet"""
        self.handed_at = -1

    @property
    def named_by_server(self) -> bool:
        """The server's bytes decided what the flow is, or that it is nothing known."""
        if self.handovers:
            return False
        return self.began == 1 << Direction.TO_CLIENT or (
            self.protocol is None and self.heard == 1 << Direction.TO_CLIENT
        )

    def start_over(self, tx_id: int) -> None:
        """Probe anew: what comes is another protocol, whose first transaction has this id."""
        self.tx_id = tx_id
        self.probing, self.protocol, self.heard, self.began = True, None, 0, 0
        self.awaited, self.missed, self.greeted = False, 0, False

    def release(self) -> None:
        """Let the parser go, with what it holds."""
        if self.parser is not None:
            self.parser.release()
        if self.listener is not None:
            self.listener.release()
        if self.rival is not None and self.rival.parser is not None:
            self.rival.parser.release()
        self.parser = self.listener = self.rival = None


class Talks(FlowPlace[Talk]):
    """What is known of all flows; a parser that goes with its flow gives its memory back."""

    held = 0
    """Bytes in `Talk.prefix` of all flows."""

    lines = 0
    """Bytes in `Talk.line` of all flows."""

    def keep_line(self, talk: Talk, line: bytes | None) -> None:
        """Keep the line that a client has begun, in place of the one kept so far; None: none any more."""
        self.lines += len(line or b"") - len(talk.line or b"")
        talk.line = line

    def hold(self, talk: Talk, prefix: tuple[bytes, bytes]) -> None:
        """Keep first bytes of a flow, in place of those kept so far."""
        self.held += sum(map(len, prefix)) - sum(map(len, talk.prefix))
        talk.prefix = prefix

    def let_go(self, kept: Talk) -> None:
        """Release the parser, and what was held for one."""
        self.hold(kept, NOTHING)
        self.keep_line(kept, None)
        kept.release()
