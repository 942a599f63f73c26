"""What is reported of one connection: transactions with buffers, for rules and events.

A message is reported when its head is there, as its body grows (`body`), and at its end; a request also where servers
would read another one, or several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ids.protocols.files import COST, FILE_BUFFERS, File
from ids.protocols.http.body import More, buffers_of, is_due, looked
from ids.protocols.http.ends import HEAD_END
from ids.protocols.http.files import files_of
from ids.protocols.http.head import other_readings, parse_part, parse_request
from ids.protocols.http.joined import RANGE, Joined, Place, joined
from ids.protocols.http.message import Exchange, Message, Side, State, Step
from ids.protocols.http.oddities import NOTED, OTHER_READING
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http.starts import REQUEST_AS_BODY
from ids.protocols.protocol import Setup
from ids.types import Direction, Transaction

MAX_REQUESTS_AS_BODY = 16
"""Requests that are read of one body."""
_BODY = {Direction.TO_SERVER: "http.request_body", Direction.TO_CLIENT: "http.response_body"}
_NO_MORE: Mapping[str, tuple[bytes, ...]] = {}


class Reports:
    """Makes the transactions of one connection."""

    def __init__(self, setup: Setup, state: State) -> None:
        self._flows = setup.flows
        self._settings: HttpSettings = setup.settings
        self._counters = setup.counters
        self._files = setup.files
        self._state = state
        self.out: list[Transaction] = []
        self.reading = False
        """What is reported ends before the bytes that are left in the buffer,"""
        self.beyond = 0
        """and before so many bytes of its body."""

    def report(self, side: Side, message: Message) -> None:
        """Report a message with the body that was inspected, once."""
        if message.reported:
            return
        message.reported = True
        if message.exchange.unasked and not self._state.affords(message.head.size + message.size):
            self._counters.add("http.unasked_responses")
            message.body.clear()
            return
        if side.direction is Direction.TO_SERVER and message.body:
            self.as_others_read(side, message)
            self.requests_as_body(side, message)
        buffers, more = buffers_of(message, side.direction, self._settings, self._counters)
        fields, answered = _fields(side, message), side.direction is Direction.TO_CLIENT
        files = self._files_of(side, message, buffers) if self._files.tracked else ()
        together = self._joined(side, message, buffers) if answered and RANGE in message.head.headers else ()
        message.body.clear()
        if len(files) > 1 and self._files.asked:
            self._parts(side, message, buffers, files, more)
            return
        alone = files[0].buffers if len(files) == 1 else buffers
        self.emit(side, message.exchange, alone, fields(), answered, more=more, files=files)
        for one in together:
            self.emit(side, message.exchange, one.buffers, fields(), False, partial=one.partial, files=one.files)

    def so_far(self, now: Side, message: Message) -> None:
        """Report a request that is answered before its end, which may never come: the server has acted on it."""
        if message.reported:
            return
        buffers, more = buffers_of(message, Direction.TO_SERVER, self._settings, self._counters, True)
        looked(message, Direction.TO_SERVER)
        self.emit(now, message.exchange, buffers, message.exchange.fields, False, Direction.TO_SERVER, more)

    def look(self, now: Side, side: Side, message: Message) -> None:
        """Report of a message that goes on its head, once, and its body, as often as it is due."""
        due, fields = is_due(message), _fields(side, message)
        if not message.looks:
            body, message.body = message.body, bytearray()
            buffers, more = buffers_of(message, side.direction, self._settings, self._counters, True)
            looked(message, side.direction)
            message.body = body
            self.emit(now, message.exchange, buffers, fields, False, side.direction, more, partial=True)
            self.out[-1].behind = message.behind
        if due:
            if side.direction is Direction.TO_SERVER:
                self.requests_as_body(side, message, partial=True)
            buffers, more = buffers_of(message, side.direction, self._settings, self._counters, True)
            looked(message, side.direction)
            self.emit(now, message.exchange, buffers, fields, False, side.direction, more, partial=True)
            if side.direction is Direction.TO_CLIENT and RANGE in message.head.headers:
                for one in self._joined(now, message, buffers):
                    exchange = message.exchange
                    self.emit(now, exchange, one.buffers, fields, False, side.direction, {}, one.partial, one.files)

    def part_of_head(self, side: Side, message: Message, block: bytes) -> None:
        """Report a part of a head beyond the limit, and note what its lines say of where the body ends."""
        of_client = side.direction is Direction.TO_SERVER
        for reading in (block, *(other_readings(block) if of_client else ())):
            message.framing.take(reading)
            buffers = parse_part(reading, of_client, self._counters)
            self.emit(side, message.exchange, buffers, message.exchange.fields(), False)

    def as_others_read(self, side: Side, message: Message) -> None:
        """Report a request as other servers read it, with the body that is there."""
        for head in message.others:
            other = Message(head, message.exchange)
            other.body = message.body
            buffers, more = buffers_of(other, side.direction, self._settings, self._counters)
            buffers[NOTED] = OTHER_READING
            self.emit(side, message.exchange, buffers, message.exchange.fields, False, side.direction, more)

    def waiting(self, now: Side, direction: Direction | None = None) -> None:
        """Report every request that waits as unanswered, at the time of the side that is read."""
        for exchange in self._state.waiting:
            self.unanswered(now, exchange, direction)
        self._state.waiting.clear()

    def unanswered(self, now: Side, exchange: Exchange, direction: Direction | None = None) -> None:
        """Report a request without its response."""
        self.emit(now, exchange, {}, exchange.fields(), True, direction)

    def odd(self, now: Side, exchange: Exchange, name: bytes) -> None:
        """Report something odd of a request behind its end."""
        self.emit(now, exchange, {NOTED: name}, exchange.fields, False, Direction.TO_SERVER)

    def emit(
        self,
        side: Side,
        exchange: Exchange,
        buffers: Mapping[str, bytes],
        fields: dict[str, Any] | Callable[[], dict[str, Any]],
        complete: bool,
        direction: Direction | None = None,
        more: Mapping[str, tuple[bytes, ...]] = _NO_MORE,
        partial: bool = False,
        files: Sequence[File] = (),
    ) -> None:
        """Append a transaction with buffers of ``direction``; ``side`` is what is read."""
        of = side.direction if direction is None else direction
        behind = self.beyond + len(side.buffer) if self.reading else 0
        row = Transaction(
            self._flows, self._state.slot, "http", exchange.tx_id, of, buffers, fields, side.ts_ns, side.number,
            complete, more, behind, partial, files,
        )  # fmt: skip
        self.out.append(row)
        if of is Direction.TO_CLIENT:
            for file in files:
                file.report(row)
        elif files and self._files.logged:
            further = [file for file in files if file not in exchange.files]
            exchange.files = (*exchange.files, *further)
            exchange.cost += COST * len(further)
        if complete and exchange.files:
            exchange.report_files(row)

    def requests_as_body(self, side: Side, message: Message, partial: bool = False) -> None:
        """Report the requests that a body is made of, to a server that reads none: it goes on behind the head."""
        body, at = bytes(message.body), 0
        for _ in range(MAX_REQUESTS_AS_BODY):
            if REQUEST_AS_BODY.match(body, at) is None:
                return
            end = HEAD_END[side.direction].search(body, at)
            block = body[at : end.start() + 1 if end is not None else None].lstrip(b"\r\n")
            if not partial:
                self._counters.add("http.request_as_body")
            head = parse_request(block, self._settings.header_count, self._counters)
            inner = Message(head, message.exchange)
            at = end.end() if end is not None else len(body)
            if head.length and not head.chunked:
                inner.body += body[at : at + head.length]
                at += head.length
            buffers, more = buffers_of(inner, side.direction, self._settings, self._counters)
            fields = message.exchange.fields
            self.emit(side, message.exchange, buffers, fields, False, side.direction, more, partial=partial)

    def _parts(
        self, side: Side, message: Message, buffers: dict[str, bytes], files: Sequence[File], more: More
    ) -> None:
        """Report a request with several files, and then each by itself: a rule on files is about one of them."""
        exchange, others = message.exchange, {name: of for name, of in more.items() if name not in FILE_BUFFERS}
        plain = {name: value for name, value in buffers.items() if name not in FILE_BUFFERS}
        self.emit(side, exchange, plain, exchange.fields(), False, more=others)
        for part, file in enumerate(files):
            file.part = part
            self.emit(side, exchange, file.buffers, exchange.fields(), False, files=(file,))

    def _joined(self, now: Side, message: Message, buffers: Mapping[str, bytes]) -> Sequence[Joined]:
        """Return what a response with a range makes with others."""
        place = Place(self._flows, self._state.slot, "http", now.ts_ns, now.number)
        host = str(message.exchange.fields().get("hostname", "")).encode()
        return joined(self._files, place, message, host, buffers, self._settings, self._counters)

    def _files_of(self, side: Side, message: Message, buffers: dict[str, bytes]) -> Sequence[File]:
        """Return the files in a message that is reported, ended as it is."""
        body, limit = len(message.body), side.limit
        complete = message.size <= body and (body < limit or (side.step is Step.BODY and not side.remaining))
        if b"content-encoding" in message.head.headers:
            complete &= len(buffers.get(_BODY[side.direction], b"")) < limit
        files = files_of(self._files, self._state.slot, side.direction, message, buffers)
        for file in files:
            file.gap(message.lost)
            if complete:
                file.close(side.ts_ns, side.number)
            else:
                file.truncate(side.ts_ns, side.number)
        return files


def _fields(side: Side, message: Message) -> Callable[[], dict[str, Any]]:
    """Return what makes what EVE logs of a message as it is now."""
    asked, size = message.exchange.fields, message.size + message.lost + message.chunk_bytes
    if side.direction is Direction.TO_SERVER:
        return asked
    return lambda: asked() | message.head.fields | {"length": size}
