"""HTTP/1 over the two streams of a connection: chunks in, transactions out. Sans-IO; RFC 9112, read as servers do.

THEORY.

(1) Each direction is a sequence of messages: head, then a body whose end the head has. A request is reported when its
    body is complete, or as much of it as is inspected; a response likewise. Requests and responses pair up in order.
(2) What a server would still understand is understood: bare LF, empty lines before a message, white space around and
    within, no version, folded headers, a body with both a length and chunks (chunks win), an encoded body that is not.
    An answer without a status line is a body, up to where a response begins after all: clients differ.
(3) Bytes that were lost are no bytes: a gap within a body of known length shortens it, any other gap ends the message,
    which is reported as it is; the next one begins at the next line that looks like one.
    Limits end buffers, and never the framing: a head beyond ``header_bytes`` is reported in parts, of a chunk-size line
    or a trailer the size or nothing is kept, and the next message begins where the server takes it to.
(4) Whatever ends the connection reports what is unfinished. Nothing that arrived goes unreported.
(5) After CONNECT or an upgrade the streams are no longer HTTP, and are handed over with what was fed of them.
(6) At a message boundary nothing is held but the requests that wait (`State`): there the ordinary lane may hand a
    connection to this one, and take it back.
(7) A client that is ``open_requests`` ahead of its server is read on when that answers. What is never answered costs
    nothing but its bytes; at the end, some more of it are read, `UNANSWERED_READ`.
(8) A message whose end has not come with its head is reported as it is, and again as it grows (`body`): its end may
    never come. A request that is answered before its end is reported as what the server acted on. The end comes again.

COST. O(bytes), even when fed a byte at a time: a search never looks again where it has looked; no byte that is not
inspected is kept. A client's chunk makes at most ``open_requests`` transactions, and some for what exceeds
``header_bytes``. MEMORY is at most ``header_bytes`` and one body per direction, and ``open_requests`` heads.
"""

from __future__ import annotations

from typing import Any

from ids.later import late_pattern
from ids.protocols.http import chunks
from ids.protocols.http.body import buffers_of
from ids.protocols.http.ends import next_block
from ids.protocols.http.head import (
    Head,
    listed,
    other_readings,
    parse_bare_requests,
    parse_request,
    parse_response,
)
from ids.protocols.http.message import Exchange, Memory, Message, Side, State, Step, Stray
from ids.protocols.http.oddities import CUT_REQUEST
from ids.protocols.http.reports import Reports
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http.starts import (
    HTTP2_START,
    ODD_ANSWER,
    REQUEST_AS_BODY,
    REQUEST_START,
    RESPONSE_START,
    is_request,
    proxy_header,
)
from ids.protocols.http.upgrade import agreed
from ids.protocols.http.uri import QUERY
from ids.protocols.protocol import Handover, Setup
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_BARE_REQUESTS = late_pattern(rb"(?:[\r\n]*[^\r\n]{1,512}\r?\n\r{0,8}\n){4,}")
"""Requests without headers. The last byte of each is its own, so that what follows is cut as otherwise."""
_EMPTY = {Direction.TO_SERVER: b"\r\n", Direction.TO_CLIENT: b"\r\n\t \0"}
"""What may stand before a message."""
_LOOKBACK = 64
"""Bytes kept while looking for the start of a message: the longest start, and some."""
UNANSWERED_READ = 1024
"""Requests that are read at the end, of those that nobody was seen to answer: the server may have carried them out all
the same, for a client that reads no answers gets none."""
_ANSWER = late_pattern(RESPONSE_START)
_MAY_ANSWER = late_pattern(rb"(?i)H(?:T(?:T(?:P(?:/(?:\d(?:\.(?:\d(?:[ \t]{1,32}\d{0,2})?)?)?)?)?)?)?)?")
"""What may become one."""
_STARTS = {
    Direction.TO_SERVER: late_pattern(rb"\n(?=" + REQUEST_START + rb")"),
    Direction.TO_CLIENT: late_pattern(rb"\n(?=" + RESPONSE_START + rb")"),
}


class HttpParser:
    """The careful lane of one connection, from a message boundary on."""

    def __init__(self, setup: Setup, memory: Memory, state: State) -> None:
        settings: HttpSettings = setup.settings
        self._settings = settings
        self._names = frozenset(name.lower().replace("_", "-").encode() for name in settings.logged_header_names)
        self._counters = setup.counters
        self._contradicted = setup.contradicted
        self._memory = memory
        self._state = state
        self._waiting = state.waiting
        self._sides = (
            Side(Direction.TO_SERVER, settings.request_body_bytes),
            Side(Direction.TO_CLIENT, settings.response_body_bytes),
        )
        self._reports = Reports(setup, state)
        self._tunnel = False
        """The streams are no longer HTTP: what is left in the buffers is the other protocol's."""
        self._agreed: tuple[str | None, Any] = (None, None)
        """What the other protocol is, and what its parser is to know of the request before it."""
        self._proxied = False
        """A proxy has said something of the client, and no more has come yet."""
        self._stalled = False
        """Requests wait in the buffer for the server to answer those before them."""
        self._answered: Exchange | None = None
        """The request before what has come of the client and was not read yet, where the server has answered since,"""
        self._cut = False
        """and whether it has when not even a first line had come."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        side = self._sides[direction]
        side.ts_ns, side.number = ts_ns, number
        self._reports.out = out
        if gap:
            self._gap(side, gap)
        if data:
            self._take_further(side, data)
            side.buffer += data
            side.fed += len(data)
            if direction is Direction.TO_CLIENT and not self._state.heard:
                self._state.heard = True
                if self._waiting and ODD_ANSWER.match(data) is not None:
                    self._contradicted(self._state.slot, data, ts_ns, number, out)
            self._reports.reading = True
            while not self._tunnel and self._advance(side):
                pass
            self._reports.reading = False
            self._go_on()
        if closed or gap or self._tunnel:
            self._end_further(side)
        if closed and not self._tunnel:
            self._close(side)
        self._memory.stall(self, len(self._sides[Direction.TO_SERVER].buffer) if self._stalled else 0)
        if self._hold() and self._memory.used > self._memory.limit and not self._tunnel:
            self._counters.add("http.memcap")
            self._shed(side)
        if self._tunnel:
            return self._leave(side)
        for each in self._sides:
            for message in (each.message, each.further):
                if message is not None and not message.reported:
                    self._reports.look(side, each, message)
        return None

    @property
    def at_boundary(self) -> bool:
        """Nothing is held but requests that wait: the ordinary lane may go on."""
        return all(side.at_boundary for side in self._sides)

    def _leave(self, side: Side) -> Handover:
        """Report what waits, and hand over what is left."""
        self._reports.waiting(side)
        requests, responses = self._sides
        rest = bytes(requests.buffer), bytes(responses.buffer)
        to, before = self._agreed
        first = self._state.next_id if to == "websocket" else 0  # those of another protocol count anew, as in Suricata
        return Handover(first, rest, to, before)

    def _hold(self) -> int:
        """Note what is held now with the memory of all connections, and return it."""
        state = self._state
        held = sum(side.held for side in self._sides) + sum(exchange.cost for exchange in self._waiting)
        self._memory.used += held - state.held
        state.held = held
        return held

    def _shed(self, now: Side) -> None:
        """Report what is unfinished, as far as it came, and let go of it."""
        for side in self._sides:
            self._end_further(side)
            if side.message is not None:
                self._reports.report(side, side.message)
            elif side.buffer and side.step is Step.HEAD:
                self._end_unfinished(side)
                self._lose(side)
        self._reports.waiting(now, Direction.TO_SERVER)
        self._hold()

    def _advance(self, side: Side) -> bool:
        """Take one step through the buffer; return whether another may follow."""
        if not side.buffer:
            return False
        match side.step:
            case Step.HEAD:
                return not self._stalls(side) and (self._skim(side) or self._read_head(side))
            case Step.LONG_HEAD:
                return self._read_long_head(side)
            case Step.BODY | Step.CHUNK:
                return self._read_body(side)
            case Step.UNTIL_CLOSE:
                self._take_body(side, len(side.buffer))
                return False
            case Step.HEADLESS:
                return self._read_headless(side)
            case Step.BEHIND:
                return self._read_behind(side)
            case Step.CHUNK_LINE:
                self._doubt_chunks(side)
                return chunks.read_size(side, self._counters)
            case Step.CHUNK_EXTENSION:
                return chunks.read_extension(side)
            case Step.TRAILER:
                return self._read_trailer(side)
            case Step.LOST:
                return self._find_start(side)

    def _stalls(self, side: Side) -> bool:
        """Return whether this is a client that is too far ahead of its server."""
        if side.direction is Direction.TO_CLIENT or len(self._waiting) < self._settings.open_requests:
            return False
        self._stalled = len(side.buffer) <= self._settings.header_bytes
        return self._stalled

    def _skim(self, side: Side) -> bool:
        """Take at once the requests of nothing but a line of a client that is too far ahead; return whether it did.

        Such a client may say anything, and a transaction each would cost more than a microsecond for each of its bytes.
        """
        if side.direction is Direction.TO_CLIENT or len(self._waiting) < self._settings.open_requests or side.scanned:
            return False
        run = _BARE_REQUESTS.match(side.buffer)
        if run is None:
            return False
        lines = [line for line in bytes(run[0]).split(b"\n") if line.strip(b"\r")]
        del side.buffer[: run.end()]
        self._counters.add("http.skimmed_requests", len(lines))
        buffers, more = parse_bare_requests(dict.fromkeys(lines))
        self._reports.emit(side, self._new_exchange(), buffers, {}, False, more=more)
        return True

    def _go_on(self) -> None:
        """Read the requests that an answer has made room for."""
        if not self._stalled or len(self._waiting) >= self._settings.open_requests:
            return
        reading, self._reports.reading, self._stalled = self._reports.reading, False, False
        while not self._tunnel and self._advance(self._sides[Direction.TO_SERVER]):
            pass
        self._reports.reading = reading

    def give_up_stall(self) -> None:
        """Let go of the requests that wait in the buffer: rules on the raw stream have seen them."""
        if not self._stalled:
            return
        side = self._sides[Direction.TO_SERVER]
        self._counters.add("http.unparsed_bytes", len(side.buffer))
        side.buffer.clear()
        self._stalled = False
        self._lose(side)
        self._hold()

    def _end_stall(self) -> None:
        """Read some of the requests that will not be answered any more, and leave the others."""
        side, room = self._sides[Direction.TO_SERVER], UNANSWERED_READ
        self._stalled = False
        while room and (self._skim(side) or self._read_head(side)):
            while side.step is not Step.HEAD and self._advance(side):
                pass
            if side.step is not Step.HEAD or not side.buffer or self._tunnel:
                return
            room -= 1
        if not room:
            self._counters.add("http.unparsed_bytes", len(side.buffer))
            side.buffer.clear()
            side.scanned = 0

    # Heads.

    def _read_head(self, side: Side) -> bool:
        buffer = side.buffer
        if side.direction is Direction.TO_SERVER and (self._skip_proxy_header(side) or self._is_http2(side)):
            return False
        if not side.scanned:
            empty = len(buffer) - len(buffer.lstrip(_EMPTY[side.direction]))
            del buffer[:empty]
        if side.direction is Direction.TO_CLIENT and not b"HTTP/".startswith(bytes(buffer[:5]).upper()):
            self._counters.add("http.response_without_status")
            if not self._begin_headless(side):
                self._lose(side)
            return True
        block, ended = next_block(side, self._settings.header_bytes)
        if not block:
            return False
        if ended:
            self._start_message(side, block)
            return True
        self._counters.add("http.header_too_long")
        if self._open_message(side, block) and side.message is not None:
            for reading in (block, *other_readings(block)):
                side.message.framing.take(reading)
            side.step = Step.LONG_HEAD
        else:
            self._lose(side)
        return True

    def _skip_proxy_header(self, side: Side) -> bool:
        """Skip what a proxy says of the client before its request; return whether more of that must come first."""
        size, whole = proxy_header(side.buffer)
        if size and whole:
            self._counters.add("http.proxy_header")
            self._proxied = True
            del side.buffer[:size]
            side.scanned = 0
        return not whole

    def _is_http2(self, side: Side) -> bool:
        """Return whether HTTP/2 begins behind what a proxy said, or may: then more must come first."""
        if not self._proxied or not HTTP2_START.startswith(bytes(side.buffer[: len(HTTP2_START)])):
            self._proxied = False
            return False
        if len(side.buffer) >= len(HTTP2_START):
            self._agreed, self._tunnel = ("http2", None), True
        return True

    def _read_long_head(self, side: Side) -> bool:
        """Report the next part of a head beyond the limit; at its end, go on as its lines say."""
        message = side.message
        assert message is not None
        block, ended = next_block(side, self._settings.header_bytes)
        if not block:
            return False
        self._reports.part_of_head(side, message, block)
        if not ended:
            return True
        message.head.take_framing(message.framing.lines(), self._counters)
        self._begin_body(side, message)
        return True

    def _start_message(self, side: Side, block: bytes, *, cut: bool = False) -> None:
        if self._open_message(side, block) and side.message is not None:
            if cut and not (self._cut or isinstance(side.message.exchange, Stray)):
                side.message.noted.add(CUT_REQUEST)
            self._begin_body(side, side.message)

    def _open_message(self, side: Side, block: bytes) -> bool:
        """Begin a message with its head; return False where it is none, but comes before one."""
        if side.direction is Direction.TO_SERVER:
            self._open_request(side, block)
            return True
        return self._open_response(side, block)

    def _open_request(self, side: Side, block: bytes) -> None:
        before = self._waiting[-1] if self._waiting else self._answered
        strays, self._answered = not is_request(block), None
        if strays and before is not None and not isinstance(before, Stray):
            self._reports.odd(side, before, b"request_body_unexpected")
        head = parse_request(block, self._settings.header_count, self._counters)
        self._list_headers(side, head)
        exchange = self._new_exchange(head, 2 * len(block), Stray if strays else Exchange)
        if b"upgrade" in head.headers:
            exchange.head = block
        self._waiting.append(exchange)
        if len(self._waiting) > self._settings.open_requests:
            self._counters.add("http.too_many_open_requests")
            self._reports.unanswered(side, self._waiting.pop(0))
        side.message = Message(head, exchange)
        for reading in other_readings(block):
            self._counters.add("http.head_ambiguous")
            other = parse_request(reading, self._settings.header_count, self._counters)
            side.message.others.append(other)
            head.reconcile(other)
        self._reports.as_others_read(side, side.message)

    def _begin_headless(self, side: Side) -> bool:
        """Take what answers a request without a status line for a body; return False where no request waits."""
        self._start_unended_request()
        if not self._waiting:
            return False
        exchange = self._waiting.pop(0)
        if not exchange.tx_id:
            self._contradicted(self._state.slot, bytes(side.buffer), side.ts_ns, side.number, self._reports.out)
        requests = self._sides[Direction.TO_SERVER]
        if requests.message is not None and requests.message.exchange is exchange:
            self._reports.so_far(side, requests.message)
        side.message = Message(Head({}, {}), exchange)
        side.message.behind = len(side.buffer) if self._reports.reading else 0
        side.step = Step.HEADLESS
        return True

    def _read_headless(self, side: Side) -> bool:
        """Take such a body up to where a response begins, which then is the answer; the rest of a line may be one."""
        found = _STARTS[side.direction].search(side.buffer)
        if found is None:
            line = side.buffer.rfind(b"\n", max(len(side.buffer) - _LOOKBACK, 0))
            self._take_body(side, line if line >= 0 else len(side.buffer))
            return False
        self._take_body(side, found.end())
        message, side.message, side.step = side.message, None, Step.HEAD
        if message is not None and not message.reported:
            message.due = len(message.body)
            self._reports.look(side, side, message)
            self._waiting.insert(0, message.exchange)
        return True

    def _start_unended_request(self) -> None:
        """Take a request that is answered before its head has ended: HTTP/0.9, or a server that does not wait."""
        requests = self._sides[Direction.TO_SERVER]
        if requests.step is Step.HEAD and requests.buffer and self._waiting:
            self._answered = self._waiting[-1]
        self._go_on()
        if not self._waiting and requests.step is Step.HEAD and b"\n" in requests.buffer:
            self._start_message(requests, bytes(requests.buffer))
            requests.buffer.clear()
            requests.scanned = 0

    def _open_response(self, side: Side, block: bytes) -> bool:
        self._start_unended_request()
        requests = self._sides[Direction.TO_SERVER]
        head = parse_response(block, self._settings.header_count, self._counters)
        if 100 <= head.status < 200 and head.status != 101 and head.length is None and not head.chunked:
            if self._waiting and head.status == 100:
                self._waiting[0].continued += 1
            return False
        self._list_headers(side, head)
        cut = not self._waiting and requests.step is Step.HEAD and bool(requests.buffer.strip())
        exchange = self._waiting.pop(0) if self._waiting else self._new_exchange()
        if requests.message is not None and requests.message.exchange is exchange:
            self._reports.so_far(side, requests.message)
        side.message = Message(head, exchange)
        if exchange.continued > 1:
            side.message.noted.add(b"100_continue_already_seen")
        if cut and not self._cut:
            self._cut = True
            side.message.noted.add(CUT_REQUEST)
        return True

    def _list_headers(self, side: Side, head: Head) -> None:
        """Add to the fields of a message the headers that its event is to list."""
        if not self._settings.lists_headers:
            return
        of_client = side.direction is Direction.TO_SERVER
        which = "request" if of_client else "response"
        wanted = None if self._settings.logged_headers in (which, "both") else self._names
        if found := listed(head, wanted, of_client):
            head.fields[f"{which}_headers"] = found

    def _begin_body(self, side: Side, message: Message) -> None:
        """Go on behind the head: where the body ends depends on it, and of a response on the request."""
        head, method = message.head, message.exchange.method
        message.behind = len(side.buffer) if self._reports.reading else 0
        if side.direction is Direction.TO_SERVER:
            if head.further_length and side.fed - len(side.buffer) >= side.further_until:
                self._begin_further(side, message, head.further_length)
            if head.chunked:
                side.step = Step.CHUNK_LINE
            else:
                side.step, side.remaining = Step.BODY, head.length or 0
                if not head.length:
                    self._finish(side)
        elif head.status == 101 or (method == b"CONNECT" and 200 <= head.status < 300):
            self._agreed = agreed(head, message.exchange.head, self._state.next_id)
            self._finish(side)
            self._enter_tunnel()
        elif method == b"HEAD" or head.status in (204, 304):
            self._finish(side)
        elif head.chunked:
            side.step = Step.CHUNK_LINE
        elif head.length is None:
            side.step = Step.UNTIL_CLOSE
        elif head.length:
            side.step, side.remaining = Step.BODY, head.length
        elif head.loose:
            side.step = Step.BEHIND
        else:
            self._finish(side)

    def _new_exchange(self, head: Head | None = None, cost: int = 0, kind: type[Exchange] = Exchange) -> Exchange:
        tx_id = self._state.next_id
        self._state.next_id += 1
        if head is None:
            return Exchange(tx_id)
        path = QUERY.split(head.buffers.get("http.uri", b""), maxsplit=1)[0]
        return kind(tx_id, head.method, head.fields, cost, path)

    def _enter_tunnel(self) -> None:
        self._tunnel = True
        requests = self._sides[Direction.TO_SERVER]
        if requests.message is not None:
            self._finish(requests)

    # Bodies.

    def _read_body(self, side: Side) -> bool:
        size = min(side.remaining, len(side.buffer))
        side.remaining -= size
        self._take_body(side, size)
        if side.remaining:
            return False
        if side.step is Step.CHUNK:
            side.step = Step.CHUNK_LINE
        elif side.direction is Direction.TO_CLIENT and side.message is not None and side.message.head.loose:
            side.step = Step.BEHIND
        else:
            self._finish(side)
        return True

    def _read_behind(self, side: Side) -> bool:
        """Take what is behind a body whose length is in doubt for more of it, up to where a response begins."""
        message, buffer = side.message, side.buffer
        assert message is not None
        found = _ANSWER.match(buffer) if message.size + message.lost == message.head.length else None
        if found is None and message.size + message.lost == message.head.length and _MAY_ANSWER.fullmatch(buffer):
            return False
        if found is None:
            found = _STARTS[side.direction].search(buffer)
            line = buffer.rfind(b"\n", max(len(buffer) - _LOOKBACK, 0))
            self._take_body(side, found.end() if found is not None else line if line >= 0 else len(buffer))
        if found is not None:
            self._finish(side)
        return found is not None

    def _take_body(self, side: Side, size: int) -> None:
        """Move ``size`` bytes from the buffer to the body, as far as they are inspected."""
        message = side.message
        assert message is not None
        room = 0 if message.reported else max(side.limit - len(message.body), 0)
        message.body += side.buffer[: min(size, room)]
        del side.buffer[:size]
        message.size += size
        if size > room:
            self._counters.add("http.body_limit_bytes", size - room)
        if len(message.body) >= side.limit or not side.limit:
            self._reports.beyond = max(size - room, 0)
            self._reports.report(side, message)
            self._reports.beyond = 0

    def _doubt_chunks(self, side: Side) -> None:
        """Take chunks that begin like a request for one besides: servers that know no chunks (Python's) do, and the
        letters with which some methods begin are a size to others. Likewise those whose lines may end early.
        """
        message = side.message
        assert message is not None
        if side.direction is Direction.TO_CLIENT or side.further is not None:
            return
        if side.fed - len(side.buffer) < side.further_until:
            return
        if chunks.ENDS_EARLY.match(side.buffer):
            before = bytes(message.body)
            self._begin_further(side, message, side.limit, before)
        elif message.size or message.chunk_bytes:
            return
        elif chunks.MAY_BE_METHOD.match(side.buffer) and REQUEST_AS_BODY.match(side.buffer):
            self._begin_further(side, message, side.limit)

    def _begin_further(self, side: Side, message: Message, size: int, before: bytes | None = None) -> None:
        """Take for a body, besides, what other servers take for one: what follows is read both ways.

        ``before``: it is chunks whose lines end early, behind this content of others. None: it is content.
        """
        side.further = Message(message.head, message.exchange)
        side.further.before = before
        side.further.looks = 1  # the head is reported with the message
        side.further_left = min(size, side.limit)
        side.further_until = side.fed - len(side.buffer) + side.further_left
        self._take_further(side, bytes(side.buffer[: side.further_left]))

    def _take_further(self, side: Side, data: bytes) -> None:
        if side.further is None:
            return
        taken = data[: side.further_left]
        side.further.body += taken
        side.further_left -= len(taken)
        if not side.further_left:
            self._end_further(side)

    def _end_further(self, side: Side) -> None:
        further, side.further = side.further, None
        if further is not None and further.body:
            if further.before is not None:
                further.body[:] = further.before + chunks.content_of(bytes(further.body), side.limit)
            buffers, more = buffers_of(further, side.direction, self._settings, self._counters)
            self._reports.emit(side, further.exchange, buffers, further.exchange.fields, False, more=more)
            self._reports.requests_as_body(side, further)

    def _read_trailer(self, side: Side) -> bool:
        end = side.buffer.find(b"\n", side.scanned)
        if end < 0:
            side.scanned = len(side.buffer)
            if side.scanned > self._settings.header_bytes:
                self._counters.add("http.header_too_long")
                side.buffer[:] = b"-"  # a line that is not empty, whatever else it is
                side.scanned = 0
            return False
        line = bytes(side.buffer[:end])
        del side.buffer[: end + 1]
        side.scanned = 0
        if not line.strip(b"\r"):
            self._finish(side)
        return True

    # Losing one's place, and finding it again.

    def _gap(self, side: Side, size: int) -> None:
        self._counters.add("http.gap")
        message = side.message
        if message is not None and side.step in (Step.UNTIL_CLOSE, Step.HEADLESS, Step.BEHIND):
            self._take_body(side, len(side.buffer))
            message.lost += size
            return
        if message is not None and side.step in (Step.BODY, Step.CHUNK) and not side.buffer:
            of_body = min(size, side.remaining)
            side.remaining -= of_body
            message.lost += of_body
            if side.remaining:
                return
            if side.step is Step.BODY:
                self._finish(side)
            elif size == of_body:
                side.step = Step.CHUNK_LINE
            if size == of_body:
                return
        if side.step is not Step.UNTIL_CLOSE:
            self._end_unfinished(side)
            self._lose(side)

    def _lose(self, side: Side) -> None:
        if self._tunnel:
            return
        side.buffer[:0] = b"\n"  # a message may start right here
        side.step = Step.LOST
        side.scanned = 0

    def _find_start(self, side: Side) -> bool:
        found = _STARTS[side.direction].search(side.buffer)
        if found is None:
            lost = max(len(side.buffer) - _LOOKBACK, 0)
            self._counters.add("http.unparsed_bytes", lost)
            del side.buffer[:lost]
            return False
        start, end = found.span()
        self._counters.add("http.unparsed_bytes", start)
        del side.buffer[:end]
        side.step = Step.HEAD
        return True

    def _end_unfinished(self, side: Side) -> None:
        """Report a message as far as it came."""
        if self._stalled and side.direction is Direction.TO_SERVER:
            self._end_stall()
        if side.step is Step.HEAD and side.buffer.strip():
            self._counters.add("http.head_incomplete")
            asks = side.direction is Direction.TO_SERVER and self._state.closed >> Direction.TO_SERVER & 1
            self._start_message(side, bytes(side.buffer), cut=bool(asks) and b"\n" not in side.buffer)
        if side.message is not None:
            if side.step is Step.LONG_HEAD:
                self._reports.part_of_head(side, side.message, bytes(side.buffer))
            if side.step in (Step.CHUNK_LINE, Step.HEADLESS, Step.BEHIND):
                self._take_body(side, len(side.buffer))
            self._finish(side)
        side.buffer.clear()
        side.scanned = 0

    def _close(self, side: Side) -> None:
        """Note the end of a direction. Requests that wait in the buffer may still be answered, until the other's."""
        self._state.closed |= 1 << side.direction
        if not (self._stalled and side.direction is Direction.TO_SERVER) or self._state.closed == 0b11:
            self._end_unfinished(side)
        if self._state.closed == 0b11:
            self._end_unfinished(self._sides[Direction.TO_SERVER])
            self._reports.waiting(side)

    def _finish(self, side: Side) -> None:
        message = side.message
        side.message = None
        side.step = Step.HEAD
        if message is not None and not message.reported:
            self._reports.report(side, message)
