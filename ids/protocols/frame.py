"""Frames: pieces of a protocol's messages as they were sent, by their names (Suricata's ``frame``).

They are rows of their own among the transactions, and made only while a rule asks for one of the protocol: a parser
asks `Framed` when it begins to read a flow, and hands each message to the flow's `Framer` beside what else it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ids.types import Direction, Flow, FlowColumns, Transaction
from ids.types.transactions import DERIVED, Fields

INFIX = ".frame."
"""Between the protocol and the type in the names of their buffers: ``mqtt.frame.pdu``."""

Spans = Sequence[tuple[str, int, int]]
"""Of each frame: its type, and where it begins and ends in the message."""

SIDES = {Direction.TO_SERVER: "toserver", Direction.TO_CLIENT: "toclient"}
"""As EVE has them of frames."""


class Framed:
    """Whose frames somebody asks for: one for all parsers."""

    __slots__ = ("protocols",)

    def __init__(self) -> None:
        self.protocols: frozenset[str] = frozenset()

    def want(self, buffers: Iterable[str]) -> None:
        """Make the frames of the protocols from now on that have these buffers."""
        self.protocols = frozenset(
            name.partition(INFIX)[0] for name in buffers if INFIX in name and name not in DERIVED
        )

    def framer(self, protocol: str, *, stream: bool) -> Framer | None:
        """Return what makes the frames of one flow; None where nobody asks for any."""
        return Framer(protocol, stream=stream) if protocol in self.protocols else None


class Place(NamedTuple):
    """Where a message is."""

    flows: FlowColumns
    slot: int
    ts_ns: int
    number: int
    behind: int


class FrameRow(Transaction):
    """The frames of one message. Its ``tx_id`` is below 0, and no event's."""

    __slots__ = ("frames",)

    frames: Mapping[str, Fields]
    """By buffer: what EVE says of the frame, of several the first."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let what events say of the frames travel to another process."""
        return _travelled, (dict(self.frames), self.flow, self.protocol, self.tx_id, self.direction, self.number)


class Framer:
    """Makes the frames of one flow."""

    __slots__ = ("_came", "_next", "_protocol", "_stream")

    def __init__(self, protocol: str, *, stream: bool) -> None:
        self._protocol = protocol
        self._stream = stream
        first = 2 if stream else 1  # that of a stream as a whole is 1
        self._next = [first, first]
        """By direction: id of the next frame."""
        self._came = [0, 0]
        """By direction: bytes of the stream."""

    def came(self, direction: Direction, size: int) -> None:
        """Note that so many bytes of a stream came, or are missing."""
        self._came[direction] += size

    def row(self, direction: Direction, message: bytes, spans: Spans, place: Place, *, whole: bool = True) -> FrameRow:
        """Return the frames of a message."""
        begin = self._came[direction] - place.behind - len(message)
        instances: dict[str, list[bytes]] = {}
        frames: dict[str, Fields] = {}
        first = self._next[direction]
        for number, (kind, start, end) in enumerate(spans, first):
            buffer = f"{self._protocol}{INFIX}{kind}"
            instances.setdefault(buffer, []).append(message[start:end])
            frames.setdefault(
                buffer,
                {
                    "type": kind, "id": number, "direction": SIDES[direction],
                    **({"stream_offset": max(begin + start, 0)} if self._stream else {}),
                    "length": end - start, "complete": whole or end < len(message),
                },
            )  # fmt: skip
        self._next[direction] = first + len(spans)
        buffers = {name: several[0] for name, several in instances.items()}
        more = {name: tuple(several[1:]) for name, several in instances.items() if len(several) > 1}
        flows, slot, ts_ns, at, behind = place
        return _row(
            frames, flows, slot, self._protocol, -first, direction, buffers, {}, ts_ns, at, more=more, behind=behind
        )


def _row(frames: Mapping[str, Fields], *values: Any, **further: Any) -> FrameRow:
    row = FrameRow(*values, **further)
    row.frames = frames
    return row


def _travelled(
    frames: Mapping[str, Fields], flow: Flow, protocol: str, tx_id: int, side: Direction, number: int
) -> Any:
    return _row(frames, flow.columns, flow.slot, protocol, tx_id, side, {}, {}, 0, number)


def whole_message(message: bytes, direction: Direction) -> Spans:
    """Return the one frame of protocols without more."""
    return [("pdu", 0, len(message))]
