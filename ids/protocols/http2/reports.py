"""What is reported of the streams of one connection: transactions with buffers, for rules and events.

A side of a stream is reported when its head is there, as its body grows (`ids.protocols.http.body`), and at its end;
trailers by themselves. Of frames that are no messages each is a transaction with its type and what rules ask of it, but
only so many of them in a row (`FRAMES_IN_A_ROW`): nobody is to make the engine work by sending nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ids.protocols.files import File
from ids.protocols.http.body import buffers_of, looked
from ids.protocols.http.files import files_of, opened_file
from ids.protocols.http.head import Head
from ids.protocols.http.joined import RANGE, Joined, Place, joined
from ids.protocols.http.message import Message
from ids.protocols.http2.settings import Http2Settings
from ids.protocols.http2.streams import Half, Stream
from ids.protocols.protocol import ODDITY
from ids.protocols.shared import Shared
from ids.types import Direction, Transaction

FRAMES_IN_A_ROW = 512
"""Frames without a message in them that are reported one by one, until messages come: `FRAMES_A_MESSAGE` for each."""
FRAMES_A_MESSAGE = 8

_NO_MORE: Mapping[str, tuple[bytes, ...]] = {}


class Reports:
    """Makes the transactions of one connection."""

    __slots__ = (
        "_counters",
        "_files",
        "_flows",
        "_frames_left",
        "_settings",
        "_slot",
        "behind",
        "number",
        "out",
        "ts_ns",
    )

    def __init__(self, shared: Shared[Http2Settings], slot: int) -> None:
        self._flows = shared.flows
        self._files = shared.files
        self._settings = shared.settings
        self._counters = shared.counters
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
        if message.miscoded and b"http2.failed_decompression" not in half.odd:
            half.odd.append(b"http2.failed_decompression")
        self._add_frames(half, buffers, more)
        self._frames_left = min(self._frames_left + FRAMES_A_MESSAGE, FRAMES_IN_A_ROW)
        together = self._joined(stream, message, buffers) if direction is Direction.TO_CLIENT else ()
        for one in together:
            self._emit(stream, direction, one.buffers, partial=one.partial, files=one.files)
        if partial:
            self._emit(stream, direction, buffers, more, partial=True)
            return
        message.reported = True
        files = self._files_of(stream, direction, buffers) if self._files.tracked else ()
        message.body.clear()
        alone = files[0].buffers if len(files) == 1 else buffers
        self._emit(stream, direction, alone, more, complete=complete, files=files)
        for file in files if len(files) > 1 and self._files.asked else ():
            self._emit(stream, direction, file.buffers, files=(file,))

    def _joined(self, stream: Stream, message: Message, buffers: Mapping[str, bytes]) -> Sequence[Joined]:
        """Return what a response with a range makes with others."""
        if RANGE not in message.head.headers:
            return ()
        asked = stream.halves[Direction.TO_SERVER].message
        host = asked.head.buffers.get("http.host", b"") if asked is not None else b""
        place = Place(self._flows, self._slot, "http2", self.ts_ns, self.number)
        found = joined(self._files, place, message, host, buffers, self._settings, self._counters)
        stream.files = (*stream.files, *[file for one in found for file in one.files])
        return found

    def take_file(self, stream: Stream, direction: Direction, content: bytes) -> None:
        """Hand bytes of a body to the file that it is; one that is coded, or has several in it, is handed on whole."""
        half = stream.halves[direction]
        message = half.message
        if half.file is None and self._files.tracked and message is not None and not message.size:
            half.file = opened_file(self._files, self._slot, direction, message, "http2")
        if half.file is not None:
            half.file.append(content, self.ts_ns, self.number)

    def end_file(self, stream: Stream, direction: Direction, *, complete: bool) -> None:
        """End the file that a body is."""
        file = stream.halves[direction].file
        if file is None or file.ended:
            return
        if complete:
            file.close(self.ts_ns, self.number)
        else:
            file.truncate(self.ts_ns, self.number)
        stream.files = (*stream.files, file)
        message = stream.halves[direction].message
        if self._files.asked and (message is None or message.reported):
            self._emit(stream, direction, file.buffers, files=(file,))

    def _files_of(self, stream: Stream, direction: Direction, buffers: dict[str, bytes]) -> Sequence[File]:
        """Return the files in a message that is reported, ended as it is."""
        half = stream.halves[direction]
        message = half.message
        assert message is not None
        if half.file is not None:
            half.file.beside = buffers
            return (half.file,) if half.file.ended else ()
        of_client = direction is Direction.TO_SERVER
        limit = self._settings.request_body_bytes if of_client else self._settings.response_body_bytes
        complete = half.ended and message.size <= len(message.body)
        if b"content-encoding" in message.head.headers:
            complete &= len(buffers.get("http.request_body" if of_client else "http.response_body", b"")) < limit
        files = files_of(self._files, self._slot, direction, message, buffers, "http2")
        for file in files:
            file.gap(message.lost)
            if complete:
                file.close(self.ts_ns, self.number)
            else:
                file.truncate(self.ts_ns, self.number)
        stream.files = (*stream.files, *files)
        return files

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
        if half.sizes:
            sizes = [b"%d" % size for size in half.sizes]
            buffers["http2.size_update"], more["http2.size_update"] = sizes[0], tuple(sizes[1:])
        odd = [name for name in (buffers.get(ODDITY), *more.get(ODDITY, ()), *half.odd) if name is not None]
        if odd:
            buffers[ODDITY], more[ODDITY] = odd[0], tuple(dict.fromkeys(odd[1:]))

    def _emit(
        self,
        stream: Stream,
        direction: Direction,
        buffers: Mapping[str, bytes],
        more: Mapping[str, tuple[bytes, ...]] = _NO_MORE,
        *,
        partial: bool = False,
        complete: bool = False,
        silent: bool = False,
        files: Sequence[File] = (),
    ) -> None:
        fields: dict[str, Any] | Callable[[], dict[str, Any]] = {} if silent else stream.fields
        self.out.append(
            Transaction(
                self._flows, self._slot, "http2", stream.tx_id, direction, buffers, fields, self.ts_ns, self.number,
                complete and stream.says, more, behind=self.behind, partial=partial, files=files,
            )
        )  # fmt: skip
        if complete:
            for file in stream.files:
                file.report(stream.fields)
            stream.files = ()
