"""HTTP/2 over the two streams of a connection: frames in, transactions out. Sans-IO; RFC 9113, read leniently.

THEORY.

(1) Each direction is a sequence of frames; a message is a header block, data and perhaps trailers, and those of many
    streams are interleaved. A stream is an exchange as HTTP/1 has it, with the same buffers.
(2) What ends a connection for an endpoint (RFC 9113 section 5.4.1) is noted as odd and read on, as far as it means
    anything: not every endpoint is strict, and what comes behind may have been acted upon.
(3) Header blocks must all be decoded, in their order, for later ones refer to earlier ones. Where bytes were lost, all
    that one direction had said before is forgotten (`hpack`), and the next frame is looked for by its head; within a
    frame with data, the place is not lost.
(4) The data of a stream come as they are sent: a frame may never be complete. A message is reported when its head is
    there, as it grows, and at its end, as HTTP/1 does.
(5) A frame of stream 0 is an exchange by itself, as Suricata has it, with an id of its own.
(6) Floods: of frames that carry nothing, some are reported and all counted (`reports`); a header block has a limit in
    bytes, and many frames of it are noted; so are streams that a client opens and resets, and more open ones than
    servers take.

COST. O(bytes), some microseconds a frame. MEMORY: of each direction a header block and a table, of each open stream a
body and its headers; all flows together ``memcap_bytes``.
"""

from __future__ import annotations

from dataclasses import replace

from ids.protocols.framing import Message as Piece
from ids.protocols.http.body import is_due
from ids.protocols.http.head import Head
from ids.protocols.http.message import Exchange, Message, Upgraded
from ids.protocols.http.uri import path_of
from ids.protocols.http2.control import Control, upgraded_settings
from ids.protocols.http2.doubt import Doubt
from ids.protocols.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    PADDED,
    PUSH_PROMISE,
    SETTINGS,
    WITH_PRIORITY,
    FrameHead,
    number_of,
    read_head,
    unpadded,
)
from ids.protocols.http2.heads import part_head, request_head, response_head
from ids.protocols.http2.hpack import OVERFLOW, Block
from ids.protocols.http2.reports import Reports
from ids.protocols.http2.settings import Http2Settings
from ids.protocols.http2.side import LEAST_TABLE_BYTES, Side
from ids.protocols.http2.streams import HEADER_BYTES, HEADER_COPIES, STREAM_BYTES, Half, Stream
from ids.protocols.protocol import Handover, Setup
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.protocols.websocket.parser import Connection as Socket
from ids.protocols.websocket.settings import WebSocketSettings
from ids.types import Direction, Transaction

MANY_CONTINUATIONS = 64
"""Frames of one header block at which it is odd: 64 KiB need four."""
_PROMISED_BYTES = 4
_PRIORITY_BYTES = 5
_WEIGHT_AT = 4
_STREAM_BITS = 0x7FFFFFFF
_TO_SERVER, _TO_CLIENT = Direction


class SharedSockets(Shared[Http2Settings]):
    """With what makes the WebSockets of streams."""

    def __init__(self, protocol: str, setup: Setup) -> None:
        super().__init__(protocol, setup)
        self.sockets: Shared[WebSocketSettings] = Shared("websocket", replace(setup, settings=WebSocketSettings()))
        """By the default settings."""


class Connection:
    """Both directions of a flow; a `StreamParser`, and an `Heir` of one that was HTTP/1."""

    __slots__ = (
        "_closed", "_control", "_doubt", "_growing", "_next_id", "_reports", "_shared", "_sides", "_slot", "_streams",
    )  # fmt: skip

    def __init__(self, shared: SharedSockets, slot: int, tx_id: int) -> None:
        settings = shared.settings
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._sides = tuple(
            [Side(direction, shared.pool, settings.block_bytes, settings.table_bytes) for direction in Direction]
        )
        self._streams: dict[int, Stream] = {}
        """Open ones by their number, the oldest first."""
        self._growing: dict[int, tuple[Stream, int]] = {}
        """Streams whose message may go on behind what is being fed, and how many bytes of that are behind them."""
        self._reports = Reports(shared, slot)
        self._control = Control(self._reports, shared.counters, shared.pool)
        self._doubt: Doubt | None = None
        """Whether the client of an upgrade speaks it, as long as that is not clear."""
        self._closed = 0
        """Bits of the directions in which no more bytes come."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        if self._doubt is not None:
            taken = self._doubt.take(stretch)
            if isinstance(taken, Handover):
                out.append(self._doubt.failed(self._shared.flows, self._slot, stretch))
            elif taken is not None:
                if self._doubt.over:
                    self._doubt = None
                self._feed(taken, out)
            return taken if isinstance(taken, Handover) else None
        self._feed(stretch, out)
        return None

    def _feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        direction, data, ts_ns, number, gap, closed = stretch
        side, reports = self._sides[direction], self._reports
        reports.out, reports.ts_ns, reports.number, reports.behind = out, ts_ns, number, 0
        if side.preface is not None and (data or gap):
            data = self._skip_preface(side, data, gap)
        for piece in side.frames.feed(data, gap, closed):
            reports.behind = piece.behind
            if side.data is not None:
                self._take_data(side, side.data, piece)
            else:
                self._take_frame(side, piece)
        if self._growing:
            self._look(direction)
        reports.behind = 0
        if closed:
            self._close(direction)

    def take_over(self, before: Upgraded, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the request with which HTTP/1 was left: it is that of stream 1 (RFC 7540 section 3.2)."""
        reports = self._reports
        reports.out, reports.ts_ns, reports.number = out, ts_ns, number
        self._doubt = Doubt(before)
        stream = self._open(1)
        half = stream.halves[_TO_SERVER]
        half.keep(list(before.headers))
        head = request_head(before.headers, upgraded=True)
        half.message = Message(head, self._named(stream, head))
        half.kinds.add(HEADERS)
        self._end_half(stream, _TO_SERVER)
        settings = upgraded_settings(before.settings)
        if settings is None:
            reports.odd(stream, _TO_SERVER, b"http2.invalid_http1_settings")
        else:
            frame = FrameHead(len(settings), SETTINGS, 0, 0)
            self._control.take(frame, settings, _TO_SERVER, self._exchange(0), None)

    def release(self) -> None:
        """Give back what all flows share."""
        for side in self._sides:
            side.frames.release()
            self._drop_block(side)
            self._shared.pool.give(side.table_cost)
            side.table_cost = 0
        for stream in self._streams.values():
            self._give(stream)
        self._streams.clear()
        self._control.release()

    # Frames.

    def _skip_preface(self, side: Side, data: bytes, gap: int) -> bytes:
        if gap:
            side.preface = None
            return data
        rest, odd = side.behind_preface(data)
        if odd:
            self._odd(side.direction, b"http2.invalid_client_magic")
        return rest

    def _take_frame(self, side: Side, piece: Piece) -> None:
        """Take a frame, or the head of one with data."""
        if piece.lost:
            self._lose(side)
        head, payload = read_head(piece.data), piece.data[HEAD_BYTES:]
        if side.block is not None and (head.kind != CONTINUATION or head.stream != side.block_stream):
            self._odd(side.direction, b"http2.invalid_frame_data")
            self._end_block(side)
        if not piece.whole:
            self._shared.counters.add("http2.frame_too_long")
            self._odd(side.direction, b"http2.long_frame_data")
            if head.kind in (HEADERS, PUSH_PROMISE, CONTINUATION):
                self._drop_block(side)
                side.decoder.forget()
        elif head.kind == DATA:
            self._begin_data(side, head, payload)
        elif head.kind in (HEADERS, PUSH_PROMISE):
            self._begin_block(side, head, payload)
        elif head.kind == CONTINUATION:
            self._continue_block(side, head, payload)
        else:
            self._take_control(side, head, payload)

    def _take_control(self, side: Side, head: FrameHead, payload: bytes) -> None:
        """Take a frame that is no part of a message; one may end its stream."""
        if head.kind == SETTINGS and head.flags & ACK:
            self._control.acknowledged(side.direction)
            return
        stream = self._streams.get(head.stream) if head.stream else None
        ends = self._control.ends(head, payload)
        if ends and stream is not None:
            for direction in Direction:
                self._reports.end_file(stream, direction, complete=False)
                self._end_message(stream, direction)
        exchange = stream or self._exchange(head.stream)
        self._control.take(head, payload, side.direction, exchange, stream)
        if ends and stream is not None:
            self._forget(stream)

    def _lose(self, side: Side) -> None:
        """Go on behind missing frames."""
        self._shared.counters.add("http2.gap")
        self._drop_block(side)
        side.decoder.forget()

    def _odd(self, direction: Direction, name: bytes, stream: Stream | None = None) -> None:
        """Note something odd, with what is reported next of a stream, or by itself."""
        if stream is not None:
            odd = stream.halves[direction].odd
            if name not in odd:
                odd.append(name)
        elif self._control.is_new(direction, name):
            self._reports.odd(self._exchange(0), direction, name)

    # Header blocks.

    def _begin_block(self, side: Side, head: FrameHead, payload: bytes) -> None:
        fragment = unpadded(payload, head.flags)
        number, promised = head.stream, head.kind == PUSH_PROMISE
        before = _PROMISED_BYTES if promised else _PRIORITY_BYTES if head.flags & WITH_PRIORITY else 0
        if fragment is None or len(fragment) < before:
            self._odd(side.direction, b"http2.invalid_frame_data")
            side.decoder.forget()
            return
        if promised:
            number = number_of(fragment) & _STREAM_BITS
        elif before:
            side.block_weight = fragment[_WEIGHT_AT]
        side.begin_block(number, head.kind, bool(head.flags & END_STREAM) and not promised)
        self._add_to_block(side, fragment[before:], head.flags)

    def _continue_block(self, side: Side, head: FrameHead, payload: bytes) -> None:
        if side.block is None:
            self._odd(side.direction, b"http2.invalid_frame_data")
            return
        side.continuations += 1
        if side.continuations == MANY_CONTINUATIONS:
            self._shared.counters.add("http2.continuation_flood")
            self._odd(side.direction, b"http2.continuation_flood")
        self._add_to_block(side, payload, head.flags)

    def _add_to_block(self, side: Side, fragment: bytes, flags: int) -> None:
        block = side.block
        assert block is not None
        too_long = len(block) + len(fragment) > self._shared.settings.block_bytes
        if too_long or not self._shared.pool.take(len(fragment)):
            self._shared.counters.add("http2.block_too_long" if too_long else "http2.block_dropped")
            self._odd(side.direction, b"http2.reassembly_limit_reached")
            self._drop_block(side)
            side.decoder.forget()
            return
        block += fragment
        if flags & END_HEADERS:
            self._end_block(side)

    def _drop_block(self, side: Side) -> None:
        if side.block is not None:
            self._shared.pool.give(len(side.block))
            side.block = None

    def _end_block(self, side: Side) -> None:
        """Take the headers of a whole block."""
        assert side.block is not None
        block = side.decoder.decode(bytes(side.block))
        self._drop_block(side)
        self._weigh_table(side)
        direction = side.direction
        stream = self._streams.get(side.block_stream) or self._open(side.block_stream, direction)
        half = stream.halves[direction]
        self._judge(block, direction, stream)
        half.kinds |= {side.block_kind} | ({CONTINUATION} if side.continuations else set())
        for weight in (self._control.weight(side.block_stream), side.block_weight):
            if weight is not None:
                half.weigh(weight)
        side.block_weight = None
        self._keep(stream, half, block)
        self._take_head(side, stream, half, block)
        if side.block_last:
            self._end_half(stream, direction)

    def _judge(self, block: Block, direction: Direction, stream: Stream) -> None:
        """Note what is odd about a block."""
        counters = self._shared.counters
        if block.unknown:
            counters.add("http2.headers_unknown", block.unknown)
            self._odd(direction, b"http2.invalid_header", stream)
        if block.left_out:
            counters.add("http2.headers_left_out", block.left_out)
            self._odd(direction, b"http2.header_bomb", stream)
        if block.fault is not None:
            counters.add("http2.block_invalid")
            self._odd(direction, b"http2." + block.fault.encode(), stream)
            if block.fault == OVERFLOW:  # then Suricata notes what is left behind it as well
                self._odd(direction, b"http2.extra_header_data", stream)

    def _keep(self, stream: Stream, half: Half, block: Block) -> None:
        """Keep the headers for the event of the exchange, where there is room for them."""
        cost = sum([HEADER_COPIES * (len(name) + len(value)) + HEADER_BYTES for name, value in block.headers])
        if self._make_room(cost, stream):
            half.cost += cost
            half.keep(block.entries)

    def _take_head(self, side: Side, stream: Stream, half: Half, block: Block) -> None:
        headers, direction = block.headers, side.direction
        of_client = direction is _TO_SERVER
        if half.message is not None or side.block_kind == PUSH_PROMISE:
            self._reports.part(stream, direction, part_head(headers, of_client))
            return
        head = request_head(headers) if of_client else response_head(headers)
        if not of_client and 100 <= head.status < 200:
            self._reports.part(stream, direction, head)
            return
        if not of_client:
            self._control.answered()
        half.message = Message(head, self._named(stream, head))
        if head.headers.get(b":protocol", b"").lower() == b"websocket":
            stream.socket = Socket(self._shared.sockets, self._slot, 0)
        if not side.block_last:
            self._growing[stream.number] = stream, self._reports.behind

    def _named(self, stream: Stream, head: Head) -> Exchange:
        """Return an exchange with the path by which files are called, which the request has."""
        asked = stream.halves[_TO_SERVER].message
        path = path_of((head if asked is None else asked.head).buffers.get("http.uri.raw", b""))
        return Exchange(stream.tx_id, head.method, path=path)

    def _weigh_table(self, side: Side) -> None:
        """Count a table that was made larger; one for which there is no room is emptied."""
        cost = max(2 * side.decoder.held, LEAST_TABLE_BYTES)
        if cost > side.table_cost:
            if self._shared.pool.take(cost - side.table_cost):
                side.table_cost = cost
            else:
                side.decoder.forget()

    # Data.

    def _begin_data(self, side: Side, head: FrameHead, padding: bytes) -> None:
        """Let the payload of a frame come as it is sent."""
        left = head.length - len(padding)
        behind = padding[0] if head.flags & PADDED and padding else 0
        stream = self._streams.get(head.stream) or self._open(head.stream, side.direction)
        stream.halves[side.direction].kinds.add(DATA)
        if behind > left:
            self._odd(side.direction, b"http2.invalid_frame_data", stream)
            behind = 0
        side.data, side.data_left, side.data_last = stream, left - behind, bool(head.flags & END_STREAM)
        if left:
            side.frames.raw(left)
        else:
            self._end_data(side, stream)

    def _take_data(self, side: Side, stream: Stream, piece: Piece) -> None:
        if piece.lost:
            self._shared.counters.add("http2.gap")
            message = stream.halves[side.direction].message
            if message is not None:
                message.lost += min(piece.lost, side.data_left)
            file = stream.halves[side.direction].file
            if file is not None:
                file.gap(min(piece.lost, side.data_left))
            side.data_left = max(side.data_left - piece.lost, 0)
        content = piece.data[: side.data_left]
        side.data_left -= len(content)
        if content and stream.number in self._streams:
            self._take_content(side, stream, content)
        if piece.whole:
            self._end_data(side, stream)
        else:
            self._growing[stream.number] = stream, 0

    def _take_content(self, side: Side, stream: Stream, content: bytes) -> None:
        """Take bytes of a body, as far as they are inspected."""
        shared, direction = self._shared, side.direction
        if stream.socket is not None and _becomes_socket(stream, direction):
            self._feed_socket(stream.socket, direction, content)
            return
        half = stream.halves[direction]
        if half.message is None:  # its head was lost, or never came
            half.message = Message(Head({}, {}), Exchange(stream.tx_id))
        message = half.message
        self._reports.take_file(stream, direction, content)
        settings = shared.settings
        limit = settings.request_body_bytes if direction is _TO_SERVER else settings.response_body_bytes
        taken = content[: max(limit - len(message.body), 0)] if not message.reported else b""
        message.size += len(content)
        if taken and not shared.pool.take(len(taken)):
            taken = b""
        half.cost += len(taken)
        message.body += taken
        if len(taken) < len(content):
            shared.counters.add("http2.body_limit_bytes", len(content) - len(taken))
            if not message.reported:
                self._end_message(stream, direction)

    def _feed_socket(self, socket: Socket, direction: Direction, content: bytes) -> None:
        """Let the WebSocket of a stream take its data; what comes of it has ids of this flow."""
        reports = self._reports
        socket.next_id, socket.beyond = self._next_id, reports.behind
        socket.feed(Stretch(direction, content, reports.ts_ns, reports.number), reports.out)
        self._next_id = socket.next_id

    def _end_data(self, side: Side, stream: Stream) -> None:
        """Go on behind a frame with data."""
        side.data = None
        if side.data_last:
            self._end_half(stream, side.direction)
        else:
            self._growing[stream.number] = stream, self._reports.behind

    def _look(self, direction: Direction) -> None:
        """Report the messages that go on behind what was fed, if it is time for that."""
        growing, self._growing = self._growing, {}
        for stream, behind in growing.values():
            message = stream.halves[direction].message
            if message is None or message.reported or stream.halves[direction].ended:
                continue
            if not message.looks or (message.body and is_due(message)):
                self._reports.behind = behind
                self._reports.message(stream, direction, partial=True)

    # Streams.

    def _exchange(self, number: int) -> Stream:
        """Return an exchange that is not kept."""
        self._next_id += 1
        return Stream(number, self._next_id - 1)

    def _open(self, number: int, direction: Direction = _TO_SERVER) -> Stream:
        """Open a stream; where there are too many, the oldest is reported as it is."""
        streams = self._streams
        if len(streams) >= self._shared.settings.open_streams:
            self._shared.counters.add("http2.streams_evicted")
            self._odd(direction, b"http2.too_many_streams")
            self._give_up(next(iter(streams.values())))
        if self._control.reuses(number, direction):
            self._odd(direction, b"http2.stream_id_reuse")
        cost = STREAM_BYTES if self._make_room(STREAM_BYTES) else 0
        stream = streams[number] = self._exchange(number)
        stream.halves[_TO_SERVER].cost = cost
        return stream

    def _make_room(self, size: int, but: Stream | None = None) -> bool:
        """Return whether so many bytes more may be held; if need be, the oldest streams but one are reported as they
        are. One is open in any case."""
        while not self._shared.pool.take(size):
            oldest = next((stream for stream in self._streams.values() if stream is not but), None)
            if oldest is None:
                return False
            self._shared.counters.add("http2.streams_evicted")
            self._give_up(oldest)
        return True

    def _end_message(self, stream: Stream, direction: Direction) -> None:
        """Report a side that has not ended as far as it came, and keep its body no longer."""
        half = stream.halves[direction]
        if half.message is not None and not half.message.reported:
            self._reports.message(stream, direction, partial=False)

    def _end_half(self, stream: Stream, direction: Direction) -> None:
        """End one side of a stream; with the second one, the exchange is complete."""
        half = stream.halves[direction]
        if half.ended:
            return
        half.ended = True
        message = half.message
        if (
            message is not None
            and message.head.length is not None
            and message.head.length != message.size
            and (direction is _TO_SERVER or message.size)
        ):  # an answer to HEAD has a length and no body
            self._odd(direction, b"http2.length_mismatch", stream)
        self._reports.end_file(stream, direction, complete=True)
        self._reports.message(stream, direction, partial=False, complete=stream.ended)
        if stream.ended:
            self._forget(stream)

    def _give_up(self, stream: Stream) -> None:
        """Report a stream of which no more is read, and let go of it."""
        for direction in Direction:
            self._reports.end_file(stream, direction, complete=False)
            self._end_message(stream, direction)
        self._reports.message(stream, _TO_CLIENT, partial=False, complete=True)
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self._give(stream)
        self._streams.pop(stream.number, None)

    def _give(self, stream: Stream) -> None:
        for half in stream.halves:
            self._shared.pool.give(half.cost)
            half.cost = 0
            if half.file is not None:
                half.file.release()
        if stream.socket is not None:
            stream.socket.release()

    def _close(self, direction: Direction) -> None:
        """Note the end of a direction; after the second one, report what is open."""
        self._closed |= 1 << direction
        if self._closed == 0b11:
            for side in self._sides:
                if side.block is not None:
                    self._end_block(side)
            for stream in list(self._streams.values()):
                self._give_up(stream)


def _becomes_socket(stream: Stream, direction: Direction) -> bool:
    """Return whether a direction of a stream with a WebSocket has one, rather than a refusal."""
    if direction is _TO_SERVER:
        return True
    message = stream.halves[_TO_CLIENT].message
    return message is None or 200 <= message.head.status < 300
