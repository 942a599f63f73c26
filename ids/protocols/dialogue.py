"""A protocol of messages: its module says what a message says; how messages come, and what becomes of it, is here.

A protocol derives a class from `Dialogue`, of which each flow has an object. It gets messages, whole and in their
order, one at a time (`Dialogue.take`), and hands on what each says (`Dialogue.say`): buffers for rules, an object for
EVE, what is odd about it. Over TCP it names what cuts the messages (`Dialogue.cut`); over UDP each datagram is one.

Requests that wait for their answer are kept in a `Waiting`, which is released with the flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ids.protocols.frame import Framer, Place, Spans
from ids.protocols.framing import Cutter, Frames, Message
from ids.protocols.protocol import ODDITY, Handover, Setup
from ids.protocols.shared import Shared as Common
from ids.protocols.shared import parsing
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

Said = Mapping[str, "bytes | tuple[bytes, ...] | None"]
"""By name of a buffer: its bytes, or its instances; None and no instances are no buffer."""
EveFields = dict[str, Any]

MIB = 1024 * 1024


class DialogueSettings(BaseModel):
    """Bounds of the parser. What is beyond them is counted, and still seen by rules on the raw bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    message_bytes: int = Field(
        default=64 * 1024,
        ge=256,
        le=16 * MIB,
        description="Bytes of one message that are read; of a longer one the first so many count. A datagram has no"
        " more, and no message of these protocols that says something about them has.",
    )
    memcap_bytes: int = Field(
        default=32 * MIB,
        ge=65536,
        description="Unfinished messages, and requests that wait, over all flows. Beyond it messages are skipped, and"
        " requests reported without their answers.",
    )
    open_requests: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="Requests of one flow that wait for their answer; the oldest gives way. Few clients have more of"
        " them under way at once.",
    )


Shared: TypeAlias = Common[DialogueSettings]
"""What the parsers of all flows of such a protocol share."""


class Dialogue:
    """One flow of a protocol; a `StreamParser` and a `DatagramParser`."""

    protocol: ClassVar[str]
    """Its name."""

    __slots__ = ("_at", "_cut", "_ended", "_framer", "_out", "next_id", "shared", "slot")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        self.shared = shared
        self.slot = slot
        self.next_id = tx_id
        """Id of the next transaction."""
        self._cut: list[Cutter] = []
        """By direction, once there is a stream."""
        self._ended = 0
        """Bits of the directions that ended."""
        self._at = (0, 0, 0)
        """Time and number of the packet that is read, and bytes behind the message."""
        self._out: list[Transaction] = []
        self._framer: Framer | None = None

    # What a protocol says of itself.

    def cut(self, direction: Direction) -> Cutter:
        """Return what cuts a direction of a stream into messages."""
        raise NotImplementedError(f"{self.protocol} has no streams")

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message. What it raises costs the flow its parser."""
        raise NotImplementedError

    @staticmethod
    def frames(message: bytes, direction: Direction) -> Spans:
        """Return the frames of a message that is no line."""
        return ()

    def end(self) -> None:
        """Say what is left to say: the streams have ended."""

    # What it hands on.

    def new(self) -> int:
        """Return the id of a new transaction."""
        tx_id = self.next_id
        self.next_id += 1
        return tx_id

    def say(
        self,
        direction: Direction,
        said: Said,
        fields: EveFields | Callable[[], EveFields],
        tx_id: int,
        *,
        complete: bool = True,
        odd: tuple[str, ...] | list[str] = (),
    ) -> None:
        """Hand on what a message says, as a part of its transaction; ``complete``: the event may be written."""
        buffers: dict[str, bytes] = {}
        more: dict[str, tuple[bytes, ...]] = {}
        for name, value in said.items():
            if isinstance(value, tuple):
                if value:
                    buffers[name] = value[0]
                if len(value) > 1:
                    more[name] = value[1:]
            elif value is not None:
                buffers[name] = value
        if odd:
            first, *others = [f"{self.protocol}.{name}".encode() for name in dict.fromkeys(odd)]
            buffers[ODDITY] = first
            if others:
                more[ODDITY] = tuple(others)
        ts_ns, number, behind = self._at
        self._out.append(
            Transaction(
                self.shared.flows, self.slot, self.protocol, tx_id, direction, buffers, fields, ts_ns, number, complete,
                more=more, behind=behind,
            )
        )  # fmt: skip

    def count(self, what: str, number: int = 1) -> None:
        """Count something under the protocol's name."""
        self.shared.counters.add(f"{self.protocol}.{what}", number)

    # What the stage calls.

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        if not self._cut:
            self._cut = [self.cut(side) for side in Direction]
            if isinstance(self._cut[stretch.direction], Frames):
                self._framer = self.shared.framed.framer(self.protocol, stream=True)
        self._out, direction = out, stretch.direction
        if self._framer is not None:
            self._framer.came(direction, stretch.gap + len(stretch.data))
        for message in self._cut[direction].feed(stretch.data, stretch.gap, stretch.closed):
            self._at = stretch.ts_ns, stretch.number, message.behind
            self._frame(direction, message)
            self.take(direction, message)
        if stretch.closed:
            self._ended |= 1 << direction
            if self._ended == 0b11:
                self._at = stretch.ts_ns, stretch.number, 0
                self.end()
        self._out = []
        return None

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram, as `DatagramParser` has it."""
        self._out, self._at = out, (ts_ns, number, 0)
        if self._framer is None and self.protocol in self.shared.framed.protocols:
            self._framer = self.shared.framed.framer(self.protocol, stream=False)
        message = Message(data, 0)
        self._frame(direction, message)
        self.take(direction, message)
        self._out = []

    def _frame(self, direction: Direction, message: Message) -> None:
        """Hand on the frames of a message, where somebody asks for them."""
        if self._framer is not None:
            spans = self.frames(message.data, direction)
            place = Place(self.shared.flows, self.slot, *self._at)
            self._out.append(self._framer.row(direction, message.data, spans, place, whole=message.whole))

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for one in self._cut:
            one.release()


def speaking(made: type[Dialogue]) -> Callable[[Setup], Any]:
    """Return what `ids.protocols.protocol.Protocol.streams` or ``datagrams`` is for a protocol of messages."""
    return parsing(made.protocol, made)
