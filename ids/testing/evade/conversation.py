"""What client and server say: a session as text, out of which evasions are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ids.testing.evade.policies import ALL
from ids.testing.evade.steps import ACK, FIN, PSH, SYN, Await, Evasion, Event, Pause, Segment, Step
from ids.testing.session import Said, to_server
from ids.types import Direction

MSS = 1400
WINDOW_BYTES = 16 * MSS
"""Sent before the server has acknowledged any of it; hosts offer more."""
OPENING: tuple[Step, ...] = (Segment(-1, flags=SYN), Await(Event.OPENED), Segment(0, flags=ACK))
JUNK = b"z"


def junk(size: int) -> bytes:
    """Return bytes that no rule looks for, in place of what one might."""
    return JUNK * size


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session: what was said before, the client's last words, and what the server says to them."""

    before: tuple[Said, ...]
    attack: bytes
    """The client's last words: what the evasions hide."""
    reply: bytes = b""

    @property
    def base(self) -> int:
        """Where the attack begins in the client's stream."""
        return sum(len(said.data) for said in self.before if said.direction is Direction.TO_SERVER)

    def evasion(
        self, family: str, name: str, steps: Iterable[Step], policies: Iterable[str] = ALL, *,
        opening: Sequence[Step] = OPENING, size: int | None = None, **more: Any,
    ) -> Evasion:  # fmt: skip
        """Return an evasion whose steps send the attack, between a plain opening and a plain end.

        Offsets in ``steps`` count from the attack's begin, those in ``opening`` from the stream's. ``size`` is how many
        bytes the steps send in all (default: as many as the attack has).
        """
        base = self.base
        end = base + (len(self.attack) if size is None else size)
        whole = (*opening, *self._exchange(), *(rebased(step, base) for step in steps), *self.ending(end))
        return Evasion(name, family, whole, frozenset(policies), **more)

    def ending(self, end: int, connection: int = 0) -> tuple[Step, ...]:
        """Return the steps that hear the server out and close the connection; ``end`` is the offset of the FIN."""
        return (
            Await(Event.ANSWERED, end, connection, self.reply),
            Segment(end, b"", FIN | ACK, connection=connection),
            Await(Event.CLOSED, end + 1, connection),
        )

    def _exchange(self) -> Iterator[Step]:
        """Give the steps of what is said before the attack."""
        at = 0
        for said in self.before:
            if said.direction is Direction.TO_SERVER:
                yield from plainly(said.data, at)
                at += len(said.data)
            else:
                yield Await(Event.ANSWERED, at, says=said.data)


def conversation(*said: bytes | Said) -> Conversation:
    """Return the session in which this is said, in this order; plain bytes are the client's.

    Raises `ValueError` where the client says nothing.
    """
    parts = [part if isinstance(part, Said) else to_server(part) for part in said]
    last = max((place for place, part in enumerate(parts) if part.direction is Direction.TO_SERVER), default=-1)
    if last < 0 or not parts[last].data:
        raise ValueError("an evasion needs something that the client says")
    reply = b"".join(part.data for part in parts[last + 1 :])
    return Conversation(tuple(parts[:last]), parts[last].data, reply)


def rebased(step: Step, base: int) -> Step:
    """Return a step whose offsets count from ``base``."""
    return step if isinstance(step, Pause) or not base else replace(step, at=step.at + base)


def plainly(data: bytes, at: int = 0, size: int = MSS, connection: int = 0) -> Iterator[Step]:
    """Give the steps that send data as everybody does; ``size``: bytes a segment."""
    sent = 0
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        yield Segment(at + start, piece, PSH | ACK, connection=connection)
        sent += len(piece)
        if sent >= WINDOW_BYTES:
            yield Await(Event.TAKEN, at + start + len(piece), connection)
            sent = 0
