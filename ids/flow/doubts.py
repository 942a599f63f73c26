"""Contested bytes: those of which several copies came, and what hosts may have of them.

THEORY. Each family folds the copies into what it has, one after the other, by its rule (`ids.flow.policies`). That is
done here as they come. But a host may not have got every copy that came by, so the copies are kept, too, each content
once: what hosts may have is one of the choices among them (`ids.flow.choices`).

MEMORY AND COST. A span costs its bytes, once for each copy, `COPY_COST` for each, and `SPAN_COST`; the caller charges
that to its memory cap, and where there is no room the spans go that were contested first (`let_go`). Of more than
`MAX_COPIES` copies the one with the lowest TTL goes that no rule chose. A copy is folded at the spans that it covers,
as it is compared with the pieces that it covers (`ids.pieces`), and with their other copies.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np

from ids.flow.choices import MAX_COPIES, Choice, choices
from ids.flow.policies import RULES
from ids.pieces import PIECE_COST, Copy

SPAN_COST = 2 * PIECE_COST
"""Bytes that Python needs to hold a span, besides its contents."""
COPY_COST = PIECE_COST
"""The same for a copy."""
VIEW_BYTES = 128 * 1024
"""Longest run of a view: what differs further apart are several."""


class Run(NamedTuple):
    """Bytes as some hosts have them, and where they belong."""

    start: int
    data: bytes


class _Span:
    """Bytes that begin at ``start``: the copies of them, and which each rule has."""

    __slots__ = ("chosen", "copies", "cost", "end", "number", "start")

    def __init__(self, start: int, end: int, chosen: tuple[Copy, ...], copies: list[Copy], number: int) -> None:
        self.start = start
        self.end = end
        self.chosen = chosen
        """By rule. Its data are just those of the span, as in ``copies``."""
        self.copies = copies
        """Those with different contents in the order in which they came; of like ones, that with the highest TTL."""
        self.number = number
        """Of the copy that came last."""
        self.cost = SPAN_COST + (end - start + COPY_COST) * len(copies)

    def cut(self, start: int, end: int) -> _Span:
        """Return a part of the span."""
        if start == self.start and end == self.end:
            return self
        low, high = start - self.start, end - self.start
        parts: dict[bytes, Copy] = {}
        for copy in self.copies:  # they may be alike in this part
            part = copy._replace(start=start, data=copy.data[low:high])
            if part.data not in parts or parts[part.data].ttl < part.ttl:
                parts.pop(part.data, None)
                parts[part.data] = part
        chosen = tuple(copy._replace(start=start, data=parts[copy.data[low:high]].data) for copy in self.chosen)
        return _Span(start, end, chosen, [*parts.values()], self.number)

    def take(self, copy: Copy, number: int) -> bool:
        """Have each rule choose between what it has and another copy of these bytes; return whether one had to go."""
        same = next((at for at, has in enumerate(self.copies) if has.data == copy.data), -1)
        if same < 0:
            self.copies.append(copy)
        elif self.copies[same].ttl < copy.ttl:  # hosts that are further away may have it only from here on
            copy = copy._replace(data=self.copies.pop(same).data)
            self.copies.append(copy)
        else:
            copy = copy._replace(data=self.copies[same].data)
        first, last = copy.first, copy.last
        self.chosen = tuple(
            copy if rule(has.first, has.last, first, last) else has
            for rule, has in zip(RULES, self.chosen, strict=True)
        )
        self.number = number
        full = len(self.copies) > MAX_COPIES
        if full:
            kept = {has.data for has in self.chosen} | {copy.data}
            idle = [at for at, has in enumerate(self.copies) if has.data not in kept]
            del self.copies[min(idle, key=lambda at: self.copies[at].ttl)]
        self.cost = SPAN_COST + (self.end - self.start + COPY_COST) * len(self.copies)
        return full


class Doubts:
    """The contested bytes of one direction."""

    __slots__ = ("_copies", "_spans", "_starts", "cost", "dropped", "rounds")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._spans: list[_Span] = []
        self._copies = 0
        self.cost = 0
        """Bytes of memory to charge for all this."""
        self.dropped = 0
        """Copies that there was no room for beside others of the same bytes."""
        self.rounds = 0
        """How many times it was added to, as the caller counts."""

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def start(self) -> int:
        """Where the first contested byte belongs; raises IndexError where nothing is."""
        return self._starts[0]

    def add(self, copy: Copy, *, known: bool = False) -> None:
        """Fold in another copy of some bytes. ``known``: one that counts only where there is none yet."""
        start, end = copy.start, copy.start + len(copy.data)
        self._copies += 1
        low = bisect_right(self._starts, start)
        if low and self._spans[low - 1].end > start:
            low -= 1
            if self._covers(self._spans[low], copy, end, known=known):
                return
        high, at = low, start
        laid: list[_Span] = []
        while high < len(self._spans) and self._spans[high].start < end:
            span = self._spans[high]
            high += 1
            self.cost -= span.cost
            if at < span.start:
                laid.append(self._fresh(copy, at, span.start))
            at = max(at, span.start)
            upto = min(span.end, end)
            if span.start < at:
                laid.append(span.cut(span.start, at))
            part = span.cut(at, upto)
            rest = span.cut(upto, span.end) if upto < span.end else None
            if not known:
                self.dropped += part.take(_part(copy, at, upto), self._copies)
            laid.append(part)
            if rest is not None:
                laid.append(rest)
            at = upto
        if at < end:
            laid.append(self._fresh(copy, at, end))
        self._spans[low:high] = laid
        self._starts[low:high] = [span.start for span in laid]
        self.cost += sum(span.cost for span in laid)

    def _covers(self, span: _Span, copy: Copy, end: int, *, known: bool) -> bool:
        """Fold a copy in, where a span is just there for it; that is what most are."""
        if known:
            return span.start <= copy.start and end <= span.end
        if span.start != copy.start or end != span.end:
            return False
        before = span.cost
        self.dropped += span.take(copy, self._copies)
        self.cost += span.cost - before
        return True

    def take_dropped(self) -> int:
        """Return how many copies there was no room for since the last call."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _fresh(self, copy: Copy, start: int, end: int) -> _Span:
        part = _part(copy, start, end)
        return _Span(start, end, (part,) * len(RULES), [part], self._copies)

    def let_go(self, room: int) -> int:
        """Let go of the spans that were contested first, but not of what the latest copy touched; return how many went.

        They free at least ``room`` bytes if they can, and half of all, so that this is not done for each copy.
        """
        wanted, freed = max(room, self.cost // 2), 0
        gone: set[int] = set()
        for span in sorted(self._spans, key=lambda span: span.number):
            if freed >= wanted or span.number == self._copies:
                break
            freed += span.cost
            gone.add(id(span))
        self._spans = [span for span in self._spans if id(span) not in gone]
        self._starts = [span.start for span in self._spans]
        self.cost -= freed
        return len(gone)

    def hand_over(self, start: int, end: int, to: Doubts) -> None:
        """Add the spans between two offsets to others, all of which lie before them; they stay here, too."""
        for span in self._spans[: bisect_right(self._starts, end - 1)]:
            if span.end > start:
                part = span.cut(max(span.start, start), min(span.end, end))
                to._spans.append(part)
                to._starts.append(part.start)
                to.cost += part.cost

    def take(self, start: int, delivered: bytes) -> list[list[Run]]:
        """Take out what begins before the end of bytes that were delivered from ``start`` on.

        Returns what hosts may have of these, where that is not what was delivered; each view once, those of the most
        likely choices first.
        """
        end = start + len(delivered)
        count = bisect_right(self._starts, end - 1)
        taken = self._spans[:count]
        del self._spans[:count], self._starts[:count]
        self.cost -= sum(span.cost for span in taken)
        mine = [span for span in taken if span.end > start]
        if not mine:
            return []
        low, high = max(mine[0].start, start), min(max(span.end for span in mine), end)
        base = delivered[low - start : high - start]
        views: list[list[Run]] = []
        known = {hash(base)}
        for choice in choices(mine):
            text = _text(low, base, choice)
            if hash(text) not in known:
                known.add(hash(text))
                views.append(_runs(low, text, base))
        return views


def _text(low: int, base: bytes, choice: Choice) -> bytes:
    """Return bytes that begin at ``low`` with the copies that were chosen in their places."""
    text, high = bytearray(base), low + len(base)
    for copy in choice:
        if copy is not None:
            at = copy.start - low
            cut = max(-at, 0)
            text[at + cut : at + len(copy.data)] = copy.data[cut : high - copy.start]
    return bytes(text)


def _part(copy: Copy, start: int, end: int) -> Copy:
    return copy._replace(start=start, data=copy.data[start - copy.start : end - copy.start])


def _runs(low: int, text: bytes, base: bytes) -> list[Run]:
    """Return where two texts of one length differ, in runs of at most `VIEW_BYTES`."""
    differs = np.flatnonzero(np.frombuffer(text, np.uint8) != np.frombuffer(base, np.uint8))
    runs: list[Run] = []
    at = 0
    while at < len(differs):
        first = int(differs[at])
        upto = int(np.searchsorted(differs, first + VIEW_BYTES))
        runs.append(Run(low + first, text[first : int(differs[upto - 1]) + 1]))
        at = upto
    return runs
