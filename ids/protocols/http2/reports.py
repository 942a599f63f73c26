"""What is reported of the streams of one connection: transactions with buffers, for rules and events.

A side of a stream is reported when its head is there, as its body grows (`ids.protocols.http.body`), and at its end;
trailers by themselves. Of frames that are no messages each is a transaction with its type and what rules ask of it, but
only so many of them in a row (`FRAMES_IN_A_ROW`): nobody is to make the engine work by sending nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ids.protocols.http.body import buffers_of, looked
from ids.protocols.http.head import Head
from ids.protocols.http2.settings import Http2Settings
from ids.protocols.http2.streams import Half, Stream
from ids.protocols.protocol import ODDITY, Setup
from ids.types import Direction, Transaction

FRAMES_IN_A_ROW = 512
"""Frames without a message in them that are reported one by one, until messages come: `FRAMES_A_MESSAGE` for each."""
FRAMES_A_MESSAGE = 8

_NO_MORE: Mapping[str, tuple[bytes, ...]] = {}


class Reports:
    """Makes the transactions of one connection."""

    __slots__ = ("_counters", "_flows", "_frames_left", "_settings", "_slot", "behind", "number", "out", "ts_ns")

    def __init__(self, setup: Setup, slot: int) -> None:
        self._flows = setup.flows
        self._settings: Http2Settings = setup.settings
        self._counters = setup.counters
        self._slot = slot
        self._frames_left = FRAMES_IN_A_ROW
        self.out: list[Transaction] = []
        self.ts_ns = self.number = self.behind = 0
        """Of what is being read: when it came, in which packet, and how many bytes are behind it."""

    def message(self, stream: Stream, direction: Direction, *, partial: bool, complete: bool = False) -> None:
        """Report a side of a stream with the body that is there."""
        half = stream.halves[direction]
        message = half.message
        if message is None or message.reported:
            if complete:
                self._emit(stream, direction, self._of_frames(half), complete=True)
            return
        buffers, more = buffers_of(message, direction, self._settings, self._counters, partial)
        looked(message, direction)
        if not partial:
            message.reported = True
            message.body.clear()
        self._add_frames(half, buffers, more)
        self._frames_left = min(self._frames_left + FRAMES_A_MESSAGE, FRAMES_IN_A_ROW)
        self._emit(stream, direction, buffers, more, partial=partial, complete=complete)

    def part(self, stream: Stream, direction: Direction, head: Head) -> None:
        """Report headers that are not the head of the message."""
        buffers, more = head.buffers, head.more
        self._add_frames(stream.halves[direction], buffers, more)
        self._emit(stream, direction, buffers, more)

    def frame(
        self,
        stream: Stream,
        direction: Direction,
        kind: int,
        buffers: dict[str, bytes],
        more: Mapping[str, tuple[bytes, ...]] = _NO_MORE,
        *,
        logged: bool = False,
        silent: bool = False,
    ) -> bool:
        """Report a frame; return False where there were too many of them. ``silent``: its stream has nothing to log."""
        if not self.affords():
            return False
        buffers["http2.frametype"] = b"%d" % kind
        self._emit(stream, direction, buffers, more, complete=logged, silent=silent)
        return True

    def affords(self) -> bool:
        """Take one of the frames that are reported in a row; return False where there were too many."""
        if not self._frames_left:
            self._counters.add("http2.frames_unreported")
            return False
        self._frames_left -= 1
        return True

    def odd(self, stream: Stream, direction: Direction, name: bytes) -> None:
        """Report something odd that belongs to no message."""
        self._emit(stream, direction, {ODDITY: name}, silent=True)

    def _of_frames(self, half: Half) -> dict[str, bytes]:
        return {} if not half.kinds else {"http2.frametype": b"%d" % min(half.kinds)}

    def _add_frames(self, half: Half, buffers: dict[str, bytes], more: dict[str, tuple[bytes, ...]]) -> None:
        """Add what the frames of a side say, and what was odd about them."""
        if half.kinds:
            first, *others = [b"%d" % kind for kind in sorted(half.kinds)]
            buffers["http2.frametype"], more["http2.frametype"] = first, tuple(others)
        if half.priority is not None:
            buffers["http2.priority"] = b"%d" % half.priority
        sizes = [b"%d" % entry for entry in half.entries if isinstance(entry, int)]
        if sizes:
            buffers["http2.size_update"], more["http2.size_update"] = sizes[0], tuple(sizes[1:])
        odd = [name for name in (buffers.get(ODDITY), *more.get(ODDITY, ()), *half.odd) if name is not None]
        if odd:
            buffers[ODDITY], more[ODDITY] = odd[0], tuple(dict.fromkeys(odd[1:]))

    def _emit(
        self,
        stream: Stream,
        direction: Direction,
        buffers: dict[str, bytes],
        more: Mapping[str, tuple[bytes, ...]] = _NO_MORE,
        *,
        partial: bool = False,
        complete: bool = False,
        silent: bool = False,
    ) -> None:
        fields: dict[str, Any] | Callable[[], dict[str, Any]] = {} if silent else stream.fields
        self.out.append(
            Transaction(
                self._flows, self._slot, "http2", stream.tx_id, direction, buffers, fields, self.ts_ns, self.number,
                complete and stream.says, more, behind=self.behind, partial=partial,
            )
        )  # fmt: skip
