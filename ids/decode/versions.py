"""Versions of a datagram whose fragments contradict each other: hosts differ in which of two copies they keep.

THEORY. A disputed datagram keeps its fragments as they came. When they cover all of it, it is put together by every
way that hosts are known to choose (Shankar and Paxson 2003, "Active Mapping"; Novak 2005, "Target-Based Fragmentation
Reassembly"). Each result that is new is a version. A fragment that comes later may make more: one host may have put the
datagram together already, another may have forgotten its beginning by then, and has it begun anew. So it stays until
it times out.

COST. Each way is a pass over the fragments. Passes are charged, and a batch has `WORK` of them; what is more is counted
(``decode.defrag.versions_not_made``), so that contradictions cannot be sent faster than they are looked at.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from ids.pieces import PIECE_COST

MAX_FRAGMENTS = 256
"""Fragments of a disputed datagram: 128 pieces, each twice. What is more is ignored, and counted."""
MAX_ENDS = 4
"""Ends that its last fragments claim."""
WORK = 16_384
"""Fragments that are laid in all passes of one batch, at some 5 microseconds for all ways."""


class Part(NamedTuple):
    """A fragment, as it came."""

    start: int
    end: int
    data: bytes
    more: bool
    header: bytes
    """IP header, of one that begins the datagram."""
    proto: int


class Version(NamedTuple):
    """A datagram as some host may see it."""

    payload: bytes
    first: Part
    """The fragment that its header is taken from."""


class Shard(NamedTuple):
    """Bytes from ``start`` to ``stop``, which a fragment has for itself."""

    start: int
    stop: int
    part: Part


Way: TypeAlias = Callable[[Part, Part], bool]
"""Takes an old fragment and a new one; returns whether the new one has what they share."""


def _first(old: Part, new: Part) -> bool:
    """Never: the first copy stays (Windows in parts, macOS, HP-UX)."""
    return False


def _last(old: Part, new: Part) -> bool:
    """Always: the last copy stays (Cisco IOS)."""
    return True


def _bsd(old: Part, new: Part) -> bool:
    """The copy that begins further to the left stays; of two, the first (BSD, AIX, IRIX)."""
    return new.start < old.start


def _bsd_right(old: Part, new: Part) -> bool:
    """The copy that begins further to the right stays; of two, the last (printers of HP)."""
    return new.start >= old.start


def _linux(old: Part, new: Part) -> bool:
    """The copy that begins further to the left stays; of two, the last (Linux before 2.6.30, OpenBSD)."""
    return new.start <= old.start


def _windows(old: Part, new: Part) -> bool:
    """A later copy replaces only what lies wholly within it (Windows)."""
    return new.start < old.start and new.end > old.end


def _solaris(old: Part, new: Part) -> bool:
    """A later copy replaces what it reaches around on one side, and begins with or before (Solaris)."""
    return new.start <= old.start and new.end > old.end


WAYS: tuple[Way, ...] = (_first, _last, _bsd, _bsd_right, _linux, _windows, _solaris)
"""Whether a new fragment replaces what it shares with an old one."""


class Dispute:
    """The fragments of one disputed datagram."""

    __slots__ = ("_made", "_most", "_seen", "ends", "first_ns", "parts", "size")

    def __init__(self, first_ns: int, parts: Iterable[Part], most: int) -> None:
        """Begin with some fragments; there will be at most ``most`` versions."""
        self.first_ns = first_ns
        self._most = most
        self.parts: list[Part] = []
        self.ends: list[int] = []
        self.size = 0
        self._made: set[int] = set()
        self._seen: set[int] = set()
        for part in parts:
            self.add(part)

    @property
    def cost(self) -> int:
        """Bytes of memory this is charged for."""
        return self.size + PIECE_COST * (len(self.parts) + 1)

    def add(self, part: Part) -> bool:
        """Keep a fragment; return whether there was room for it."""
        known = hash(part)
        if known in self._seen:  # a copy of what is here changes nothing
            return True
        if len(self.parts) >= MAX_FRAGMENTS:
            return False
        self._seen.add(known)
        self.parts.append(part)
        self.size += len(part.data)
        if not part.more and part.end not in self.ends and len(self.ends) < MAX_ENDS:
            self.ends.append(part.end)
        return True

    def made(self, payload: bytes) -> None:
        """Note a version that somebody else made."""
        if len(self._made) < self._most:
            self._made.add(hash(payload))

    @property
    def work(self) -> int:
        """What `versions` costs."""
        return len(self.parts) * len(self.ends)

    def versions(self) -> list[Version]:
        """Return the versions that are whole by now, and were not returned before."""
        found: list[Version] = []
        for end in self.ends:
            if not self._covers(end):
                continue
            for way in WAYS:
                if len(self._made) >= self._most:
                    return found
                version = self._lay(way, end)
                if version is not None and hash(version.payload) not in self._made:
                    self._made.add(hash(version.payload))
                    found.append(version)
        return found

    def _covers(self, end: int) -> bool:
        """Return whether there is a fragment for each byte before ``end``."""
        at = 0
        for part in sorted(self.parts):
            if part.start > at:
                break
            at = max(at, part.end)
        return at >= end

    def _lay(self, way: Way, end: int) -> Version | None:
        """Lay the fragments one over the other; None where the beginning has no header."""
        starts: list[int] = []
        laid: list[Shard] = []
        for new in self.parts:
            _lay_over(starts, laid, new, way)
        payload = b"".join(
            [part.data[start - part.start : min(stop, end) - part.start] for start, stop, part in laid if start < end]
        )
        first = laid[0].part
        return Version(payload, first) if first.header else None


def _lay_over(starts: list[int], laid: list[Shard], new: Part, way: Way) -> None:
    """Add a fragment to the shards laid, which are sorted by their ``starts`` and do not overlap."""
    start, end = new.start, new.end
    if start >= end:
        return
    low = bisect_right(starts, start)
    if low and laid[low - 1].stop > start:
        low -= 1
    high = bisect_left(starts, end, low)
    between: list[Shard] = []
    at = start
    for old in laid[low:high]:
        if at < old.start:
            between.append(Shard(at, old.start, new))
        if way(old.part, new):
            if old.start < start:
                between.append(Shard(old.start, start, old.part))
            between.append(Shard(max(old.start, start), min(old.stop, end), new))
            if old.stop > end:
                between.append(Shard(end, old.stop, old.part))
        else:
            between.append(old)
        at = min(old.stop, end)
    if at < end:
        between.append(Shard(at, end, new))
    laid[low:high] = between
    starts[low:high] = [shard.start for shard in between]
