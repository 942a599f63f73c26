"""Cut one direction of a stream into messages: frames that say their length, and lines.

A parser owns a `Frames` or a `Lines` for each direction and hands on what it is fed; what comes back are messages, each
with its place. What is held of unfinished messages counts in a `Pool`, one for all flows of a protocol: no number of
flows and no length that a sender claims takes more memory than the protocol may have.

A parser that hands its flow over (`ids.protocols.protocol.Handover`) stops to take messages: what it has not read of a
piece are the last `Message.behind` bytes of it.

COST. O(bytes), however they are cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from typing import Protocol as Interface

from ids.counters import Counters

LengthOf = Callable[[bytes | bytearray, int], int]
"""Returns how many bytes the frame at an offset has, its head included; 0 while more of it must be seen to know, less
where no frame begins there. It looks at the head only, for it is asked again when more bytes have come."""


class Message(NamedTuple):
    """A frame, a line, or a piece of what is handed on as it comes."""

    data: bytes
    """A line comes without its end."""
    behind: int
    """Bytes that were fed behind it in the same piece (`ids.types.Transaction.behind`)."""
    whole: bool = True
    """False: a frame or a line that is cut, at the limit or where the stream ended; a raw piece that is not the last
    one."""
    lost: int = 0
    """Bytes that are missing before it, or in its beginning."""


class Cutter(Interface):
    """What cuts one direction of a stream: `Frames`, `Lines`, or a protocol's own."""

    def feed(self, data: bytes, gap: int = 0, closed: bool = False) -> Iterator[Message]:
        """Yield what the next bytes complete; ``gap`` bytes are missing before them."""
        ...

    def release(self) -> None:
        """Hold nothing."""
        ...


class Pool:
    """The bytes that unfinished messages of all flows of a protocol hold, and the most that they may."""

    def __init__(self, protocol: str, memcap_bytes: int, counters: Counters) -> None:
        """Count what is refused as ``<protocol>.memcap``, and what is passed over as ``<protocol>.skipped_bytes``; as
        ``<protocol>.memcap_bytes``, what of that nothing has read for want of memory.
        """
        self.held = 0
        self._memcap_bytes = memcap_bytes
        self._counters = counters
        self._refused = f"{protocol}.memcap"
        self._unread = f"{protocol}.memcap_bytes"
        self._skipped = f"{protocol}.skipped_bytes"

    def take(self, size: int) -> bool:
        """Return whether so many bytes more may be held; if so, they count from now on."""
        if self.held + size > self._memcap_bytes:
            self._counters.add(self._refused)
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Hold so many bytes less."""
        self.held -= size

    def lose(self, size: int) -> None:
        """Count bytes of a message that are not read for want of memory."""
        self._counters.add(self._unread, size)

    def skip(self, size: int) -> None:
        """Count bytes in which no message is looked for."""
        if size:
            self._counters.add(self._skipped, size)


class Frames:
    """One direction of a protocol whose messages say their length; pieces that are no messages come raw."""

    __slots__ = (
        "_begins", "_cut", "_held", "_length_of", "_limit", "_lost", "_pool", "_raw", "_skip", "_synchronised",
    )  # fmt: skip

    def __init__(
        self, pool: Pool, length_of: LengthOf, limit: int, begins: re.Pattern[bytes] | None = None, *, cut: bool = False
    ) -> None:
        r"""Cut frames. Of one that is longer than ``limit`` bytes the first ones come, and the others are skipped.

        Where bytes are missing, or no frame can begin, all is skipped up to where ``begins`` is found; without that,
        whatever comes. A pattern that begins with ``\A`` is found at the first byte of a piece only.

        ``cut``: where bytes are missing in a frame, what came of it before them is a message that is not whole, and
        what comes of it behind them comes raw.
        """
        self._pool = pool
        self._length_of = length_of
        self._limit = limit
        self._begins = begins
        self._cut = cut
        self._held = bytearray()
        """The beginning of a frame."""
        self._skip = 0
        """Bytes of a frame that are still to come, and not wanted."""
        self._raw = 0
        """Bytes that come raw."""
        self._synchronised = True
        """Cleared while it is not known where a frame begins."""
        self._lost = 0
        """Bytes missing since the last message."""

    def raw(self, size: int) -> None:
        """Hand on so many bytes as they come, from behind the last frame; the last piece of them is ``whole``."""
        self._raw = size

    def feed(self, data: bytes, gap: int = 0, closed: bool = False) -> Iterator[Message]:
        """Yield the frames that the next bytes complete; ``gap`` bytes are missing before them."""
        begins = self._synchronised and not (self._held or gap or closed or self._raw or self._skip)
        if begins and data and self._length_of(data, 0) == len(data) <= self._limit:
            return iter((self._message(data, 0, True),))  # one frame, as of nine segments in ten
        return self._cut_up(data, gap, closed)

    def _cut_up(self, data: bytes, gap: int, closed: bool) -> Iterator[Message]:
        if gap and self._raw:
            missing = min(gap, self._raw)
            gap -= missing
            self._raw -= missing
            self._lost += missing
            if not self._raw:
                yield self._message(b"", len(data), True)
        if gap:
            yield from self._miss(gap, len(data))
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            self._pool.skip(passed)
            data = data[passed:]
        held = self._held
        if held:
            if not self._pool.take(len(data)):
                self._give_up(len(data))
                return
            held += data
        at, size = 0, len(held or data)
        while at < size:
            if self._raw:
                start, at = at, min(at + self._raw, size)
                self._raw -= at - start
                yield self._message(bytes((held or data)[start:at]), size - at, not self._raw)
                continue
            if not self._synchronised:
                at = self._find(held or data, at)
                continue
            length = self._length_of(held or data, at)
            if length < 0 or (not length and size - at >= self._limit):
                self._synchronised = False
                self._pool.skip(1)
                at += 1
                continue
            end = at + min(length, self._limit)
            if not length or end > size:
                break
            yield self._message(bytes((held or data)[at:end]), size - end, length <= self._limit)
            at = min(end + max(length - self._limit, 0), size)
            self._skip = max(length - self._limit, 0) - (at - end)
            self._pool.skip(at - end)
        self._keep(data, at)
        if closed:
            self.release()

    @property
    def held(self) -> bytes:
        """The beginning of a frame whose end has not come."""
        return bytes(self._held)

    def release(self) -> None:
        """Hold nothing; what was held is not a message any more."""
        self._pool.give(len(self._held))
        self._held = bytearray()

    def _message(self, data: bytes, behind: int, whole: bool) -> Message:
        lost, self._lost = self._lost, 0
        return Message(data, behind, whole, lost)

    def _keep(self, data: bytes, at: int) -> None:
        """Hold what is unread."""
        if self._held:
            del self._held[:at]
            self._pool.give(at)
        elif at < len(data):
            if self._pool.take(len(data) - at):
                self._held += data[at:]
            else:
                self._give_up(len(data) - at)

    def _give_up(self, size: int) -> None:
        """Skip so many bytes, and what follows up to where a frame begins, for want of memory."""
        self._pool.lose(len(self._held) + size)
        self.release()
        self._pool.skip(size)
        self._synchronised = False

    def _find(self, data: bytes | bytearray, at: int) -> int:
        """Return where a frame begins, at ``at`` or behind it; the end where none does."""
        found = self._begins.search(data, at) if self._begins is not None else None
        self._synchronised = found is not None
        start = found.start() if found is not None else len(data)
        self._pool.skip(start - at)
        return start

    def _miss(self, gap: int, behind: int) -> Iterator[Message]:
        """Go on behind missing bytes: they may all be of one frame whose length is known."""
        missing, raw = self._skip, False
        if self._held:
            length = self._length_of(self._held, 0)
            missing = length - len(self._held) if length > 0 else 0
            raw = self._cut and missing > 0 and length <= self._limit
            if raw:
                yield self._message(bytes(self._held), behind, False)
            self.release()
        self._lost += gap
        left = max(missing - gap, 0)
        self._raw, self._skip = (left, 0) if raw else (0, left)
        self._synchronised = self._synchronised and gap <= missing


class Lines:
    """One direction of a protocol of lines; pieces that are no lines come raw where the parser says so."""

    __slots__ = ("_held", "_limit", "_longest", "_lost", "_pool", "_raw", "_skipping", "_until")

    def __init__(self, pool: Pool, limit: int) -> None:
        """Cut at line feeds; a carriage return before one goes as well.

        Of a line that is longer than ``limit`` bytes the first ones come, and the others are skipped.
        """
        self._pool = pool
        self._limit = limit
        self._held = bytearray()
        self._skipping = False
        """The rest of the line is not wanted."""
        self._raw = 0
        """Bytes that come raw."""
        self._until: re.Pattern[bytes] | None = None
        """What ends raw bytes of an unknown number,"""
        self._longest = 0
        """and how many bytes of it are not its end."""
        self._lost = 0
        """Bytes missing since the last message."""

    def raw(self, size: int) -> None:
        """Hand on so many bytes as they come, from behind the last message; the last piece of them is ``whole``."""
        self._raw = size

    def until(self, end: re.Pattern[bytes], longest: int) -> None:
        """Hand on bytes as they come, up to what matches ``end``, which matches no more than ``longest`` bytes.

        The last piece, which may be empty, is ``whole``; what matched is in none.
        """
        self._until, self._longest = end, longest - 1

    def feed(self, data: bytes, gap: int = 0, closed: bool = False) -> Iterator[Message]:
        """Yield what the next bytes complete; ``gap`` bytes are missing before them."""
        if gap:
            yield from self._miss(gap, len(data))
        at, size = 0, len(data)
        while at < size:
            if self._raw:
                start, at = at, min(at + self._raw, size)
                self._raw -= at - start
                yield self._message(data[start:at], size - at, not self._raw)
            elif self._until is not None:
                piece = bytes(self._held) + data[at:]
                self.release()
                found = self._until.search(piece)
                if found is not None:
                    self._until = None
                    at = size - (len(piece) - found.end())
                    yield self._message(piece[: found.start()], size - at, True)
                    continue
                at = size
                safe = max(len(piece) - self._longest, 0)
                self._hold(piece[safe:])
                if safe:
                    yield self._message(piece[:safe], 0, False)
            else:
                end = self._end(data, at)
                whole = end >= 0
                start, at = at, end + 1 if whole else size
                yield from self._line(data[start : end if whole else size], size - at, whole)
        if closed:
            yield from self._close(0)

    def release(self) -> None:
        """Hold nothing."""
        self._pool.give(len(self._held))
        self._held = bytearray()

    def _end(self, data: bytes, at: int) -> int:
        """Return where the last byte of the line is that goes on at ``at``; -1: it does not end here."""
        return data.find(b"\n", at)

    def _line(self, piece: bytes, behind: int, ends: bool) -> Iterator[Message]:
        """Yield a line that ends with a piece of it, or that has become too long."""
        if self._skipping:
            self._pool.skip(len(piece))
            self._skipping = not ends
            return
        limit = self._limit + ((piece or self._held)[-1:] == b"\r")
        size = len(self._held) + len(piece)
        if not ends and size <= limit:
            self._hold(piece)
            return
        line = bytes(self._held) + piece if self._held else piece
        self.release()
        if size > limit:
            self._skipping = not ends
            self._pool.skip(size - self._limit)
            yield self._message(line[: self._limit], behind, False)
        else:
            yield self._message(line.removesuffix(b"\r"), behind, True)

    def _hold(self, piece: bytes) -> None:
        """Hold a piece more, or skip the rest of its line for want of memory."""
        if self._pool.take(len(piece)):
            self._held += piece
        else:
            self._pool.lose(len(self._held) + len(piece))
            self._pool.skip(len(self._held) + len(piece))
            self.release()
            self._skipping = self._until is None

    def _miss(self, gap: int, behind: int) -> Iterator[Message]:
        """Go on behind missing bytes; what was held before them is a message of its own."""
        yield from self._close(behind)
        self._lost += gap
        if self._raw:
            missing = min(gap, self._raw)
            self._raw -= missing
            if not self._raw:
                yield self._message(b"", behind, True)

    def _close(self, behind: int) -> Iterator[Message]:
        """Yield what is held, though its end is missing."""
        if self._held:
            rest = bytes(self._held)
            self.release()
            yield self._message(rest, behind, False)

    def _message(self, data: bytes, behind: int, whole: bool) -> Message:
        lost, self._lost = self._lost, 0
        return Message(data, behind, whole, lost)
