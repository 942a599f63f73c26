"""Segments that hosts ignore, put aside until the other side shows that its host did not (`ids.flow.acceptance`)."""

from __future__ import annotations

from typing import NamedTuple

from ids.flow.reassembly import Reassembly

MAX_ASIDE = 16
"""Segments of a direction that are put aside; together at most a window of bytes."""


class Ignored(NamedTuple):
    """A segment that a host would have ignored."""

    start: int
    """Stream offset of its first byte."""
    data: bytes
    stamp: int | None
    """Its timestamp."""
    acks: int | None
    """It acknowledges bytes of the other side, up to this stream offset, that were not seen yet."""
    fin: bool
    """The segment ends the direction."""

    @property
    def end(self) -> int:
        """Stream offset behind its last byte."""
        return self.start + len(self.data)


class Aside:
    """The segments of one direction that are put aside."""

    __slots__ = ("_segments", "_shared")

    def __init__(self, shared: Reassembly) -> None:
        self._shared = shared
        self._segments: list[Ignored] = []

    def __len__(self) -> int:
        return len(self._segments)

    def put(self, segment: Ignored) -> None:
        """Keep a segment, if it is not there yet and there is room; count it where there is none."""
        shared, kept = self._shared, self._segments
        size = sum(len(one.data) for one in kept) + len(segment.data)
        if len(kept) >= MAX_ASIDE or size > shared.window or shared.used + size > shared.memcap:
            shared.count("aside_dropped")
        elif all((one.start, one.data, one.fin) != (segment.start, segment.data, segment.fin) for one in kept):
            kept.append(segment)
            shared.used += len(segment.data)

    def take_acknowledged(self, upto: int) -> list[Ignored]:
        """Take out what the receiver has acknowledged, up to a stream offset."""
        return self._take([one for one in self._segments if one.end <= upto])

    def take_answering(self, shown: int) -> list[Ignored]:
        """Take out what acknowledges bytes that the other side has sent by now, up to ``shown``."""
        return self._take([one for one in self._segments if one.acks is not None and one.acks <= shown])

    def forget(self) -> None:
        """Let all go."""
        self._take([*self._segments])

    def _take(self, chosen: list[Ignored]) -> list[Ignored]:
        if chosen:
            self._segments = [one for one in self._segments if not any(one is other for other in chosen)]
            self._shared.used -= sum(len(one.data) for one in chosen)
        return chosen
