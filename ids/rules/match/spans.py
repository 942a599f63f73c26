"""Where a rule that has matched may match anew: the spans of a direction, in each of which it does so once.

A span ends with a message, of protocols whose parser says where these end (`ids.types.Streams.message_ends`), or with
the packet that brings it to `REPEAT_BYTES`. So each request of a connection counts, however many there are in a packet;
and bytes without messages count as they do for Suricata, which inspects a stream in such pieces.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ids.rules.match.rows import StreamRows

REPEAT_BYTES = 2560
"""Length of a span without the end of a message: as much as Suricata inspects at a time (``toserver-chunk-size``)."""

MAX_SPANS = 1024
"""In which a rule is judged by itself in one row; what is left behind them is one span. A row may have thousands of
messages of a few bytes, and each evaluation costs microseconds: about what its parser takes for a message."""


class Span(NamedTuple):
    """A piece of a stream, by stream offsets."""

    start: int
    end: int
    whole: bool
    """It is as long as it gets; otherwise more of it is still to come."""
    message: bool
    """A message ends before it: it begins with the next one."""


@dataclass
class Marks:
    """Where spans may end in one row, and where the last message before it did."""

    rows: StreamRows
    place: int
    messages: Sequence[int]
    """Stream offsets behind the messages of the direction in this batch, ascending."""
    before: int
    """Stream offset behind the last message that ended no later than the row begins; -1: none did."""

    @cached_property
    def packets(self) -> Sequence[int]:
        """Stream offsets behind the packets of the row, and of what it was cut from."""
        ends: list[int] = self.rows.streams.packet_ends(int(self.rows.row[self.place])).tolist()
        return ends

    def next_start(self, done: int, end: int) -> int | None:
        """Return where a rule looks from that matched up to ``done``, in a stream up to ``end``; None where the same
        span goes on.
        """
        if self.before >= done:
            return self.before
        at = bisect_left(self.messages, done)
        if at < len(self.messages) and self.messages[at] < end:
            return self.messages[at]
        return done if end - done >= REPEAT_BYTES else None

    def behind(self, reached: int, end: int) -> tuple[int, bool]:
        """Return where the span ends in which a match reached so far, and whether a message ends there."""
        packet = self._packet_end(reached, end)
        at = bisect_left(self.messages, reached)
        if at < len(self.messages) and self.messages[at] <= min(end, packet + REPEAT_BYTES):
            return self.messages[at], True
        return packet, False

    def spans(self, start: int, end: int, anew: bool) -> Iterator[Span]:
        """Yield the spans from ``start`` to ``end``, which is no later than that of the row.

        ``anew``: the first one may be of any length; otherwise it is left out where no message and not enough bytes
        end it. So is the last one where the one before it ended with no message.
        """
        at = bisect_left(self.messages, start)
        begins = start == self.before or (at < len(self.messages) and self.messages[at] == start)
        for number in range(MAX_SPANS + 1):
            if start >= end:
                return
            limit = self._packet_end(start + REPEAT_BYTES, end)
            at = bisect_right(self.messages, start)
            message = at < len(self.messages) and self.messages[at] <= limit
            stop = self.messages[at] if message else limit
            if number == MAX_SPANS:
                stop, message = end, False
            whole = message or stop - start >= REPEAT_BYTES
            if not (whole or anew):
                return
            yield Span(start, stop, whole, begins)
            start, anew = stop, message
            begins = message

    def _packet_end(self, offset: int, end: int) -> int:
        """Return the end of the packet that brought the byte before an offset; of the first in the row, of an earlier
        byte."""
        packets = self.packets
        return min(packets[min(bisect_left(packets, offset), len(packets) - 1)], end)
