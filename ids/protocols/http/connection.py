"""One HTTP/1 connection: ordinary messages by the short way, and everything else by the careful one.

The ordinary lane (`ordinary`) takes messages that lie whole within one chunk, as long as nothing about them is odd.
From the first one that is not, the rest of the chunk goes to the careful lane (`HttpParser`), and so does every chunk
after it until that lane stands at a message boundary again. The lanes share `State`, so nothing is converted; what
comes out does not depend on which lane a message took.
"""

from __future__ import annotations

from collections.abc import Mapping

from ids.protocols.files import COST, Body
from ids.protocols.http.files import request_file, response_file
from ids.protocols.http.message import UNASKED_BYTES, UNASKED_FREE, UPLOADS, Exchange, Memory, State
from ids.protocols.http.ordinary import (
    Request,
    RequestWithFile,
    Response,
    ResponseWithFile,
    body_length,
    coded,
    request_pattern,
    response_pattern,
    several_cookies,
)
from ids.protocols.http.parser import HttpParser
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http.starts import REQUEST_AS_BODY
from ids.protocols.protocol import Handover, Setup
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_BODILESS = (b"204", b"304")
_TO_SERVER, _TO_CLIENT = Direction
_DISPOSITION = b"\ncontent-disposition:"
_RANGE = b"\ncontent-range:"
_NOTHING: Mapping[str, bytes] = {}


class Shared:
    """What all connections share; makes them."""

    def __init__(self, setup: Setup) -> None:
        settings: HttpSettings = setup.settings
        self.setup = setup
        self.flows = setup.flows
        self.files = setup.files
        self.ordinary_lane = setup.ordinary_lane and not settings.lists_headers
        self.memory = Memory(settings.memcap_bytes)
        self.open_requests = settings.open_requests
        self.header_bytes = settings.header_bytes
        self.request_body_bytes = settings.request_body_bytes
        self.response_body_bytes = settings.response_body_bytes
        self.match_request = request_pattern(settings.header_count).match
        self.match_response = response_pattern(settings.header_count).match

    def __call__(self, slot: int, tx_id: int) -> Connection:
        """Return the parser of a flow."""
        return Connection(self, slot, tx_id)


class Connection(State):
    """Both directions of a flow; a `StreamParser`."""

    __slots__ = ("_careful", "_shared")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        self.slot = slot  # as `State.__init__` has it: one call less for each flow
        self.next_id = tx_id
        self.waiting = []
        self.closed = self.held = 0
        self.heard = False
        self.unasked_room = UNASKED_FREE * UNASKED_BYTES
        self._shared = shared
        self._careful = None if shared.ordinary_lane else HttpParser(shared.setup, shared.memory, self)
        """Reads on, while anything is odd or unfinished."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction, data, ts_ns, number, gap, closed = stretch
        shared = self._shared
        if self._careful is None and not gap:
            if data:
                read = self._requests if direction is _TO_SERVER else self._responses
                data = data[read(data, ts_ns, number, out) :]
            if not data and not (self.held and shared.memory.used > shared.memory.limit):
                if closed:
                    self._close(direction, ts_ns, number, out)
                return None
        return self._feed_careful(stretch._replace(data=data), out)

    def release(self) -> None:
        """Give back the memory of a connection that is parsed no more."""
        self._shared.memory.used -= self.held
        self.held = 0
        if self._careful is not None:
            self._shared.memory.stall(self._careful, 0)
            self._careful = None  # no cycle is to wait for the collector

    def _feed_careful(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        shared = self._shared
        careful = self._careful
        if careful is None:
            careful = self._careful = HttpParser(shared.setup, shared.memory, self)
        handover = careful.feed(stretch, out)
        if shared.ordinary_lane and careful.at_boundary:
            self._careful = None
        return handover

    def _requests(self, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> int:
        """Take the ordinary requests at the start of ``data``; return where what is not ordinary begins."""
        shared, waiting = self._shared, self.waiting
        at, size, as_body = 0, len(data), REQUEST_AS_BODY.match
        while at < size and len(waiting) < shared.open_requests:
            found = shared.match_request(data, at)
            if found is None:
                break
            start = found.end()
            block = data[at : start - 2]
            low = block.lower()
            length = body_length(low)
            if length is None or start - at > shared.header_bytes or several_cookies(low):
                break
            end = start
            if length > 0:
                end += length
                if end > size or length > shared.request_body_bytes or coded(low) or as_body(data, start):
                    break
            tx_id = self.next_id
            self.next_id = tx_id + 1
            cost = 2 * len(block)
            self.held += cost
            shared.memory.used += cost
            exchange = Exchange(tx_id, block[: block.index(b" ")], block, cost)
            waiting.append(exchange)
            asked = Request(block, data[start:end])
            out.append(
                Transaction(
                    shared.flows, self.slot, "http", tx_id, _TO_SERVER, asked,
                    exchange.fields, ts_ns, number, more=asked.further(), behind=size - end,
                )
            )  # fmt: skip
            if length > 0 and shared.files.tracked and exchange.method in UPLOADS:
                self._file_of_request(exchange, out)
            at = end
        return at

    def _responses(self, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> int:
        """Take the ordinary responses at the start of ``data``; return where what is not ordinary begins."""
        shared, waiting = self._shared, self.waiting
        at, size = 0, len(data)
        while at < size:
            found = shared.match_response(data, at)
            if found is None:
                break
            start = end = found.end()
            block = data[at : start - 2]
            low = block.lower()
            length = body_length(low)
            method = waiting[0].method if waiting else b""
            if length is None or method == b"CONNECT" or start - at > shared.header_bytes or _RANGE in low:
                break
            if method != b"HEAD" and block[9:12] not in _BODILESS:
                end += length
                if length < 0 or end > size or length > shared.response_body_bytes or (length and coded(low)):
                    break
            self.heard = True
            if waiting:
                exchange = waiting.pop(0)
                self.held -= exchange.cost
                shared.memory.used -= exchange.cost
            else:
                exchange = Exchange(self.next_id)
                self.next_id += 1
                if not self.affords(end - at - 2):
                    shared.setup.counters.add("http.unasked_responses")
                    at = end
                    continue
            files = shared.files
            plain = files.plain and end > start and _DISPOSITION not in low
            tracked = files.tracked and end > start and not plain
            response = (ResponseWithFile if tracked else Response)(block, data[start:end], exchange)
            row = Transaction(
                shared.flows, self.slot, "http", exchange.tx_id, _TO_CLIENT, response,
                response.fields, ts_ns, number, True, more=response.further(low), behind=size - end,
            )  # fmt: skip
            out.append(row)
            if exchange.files:
                exchange.report_files(row)
            if plain:
                files.bodies.append(Body(row, exchange.path(), end - start))
            elif tracked:
                self._file_of_response(row, response, low)
            at = end
        return at

    def _close(self, direction: Direction, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Note the end of a direction; after the second one, report the requests that were not answered."""
        self.closed |= 1 << direction
        if self.closed == 0b11 and self.waiting:
            flows, slot = self._shared.flows, self.slot
            for asked in self.waiting:
                out.append(
                    Transaction(flows, slot, "http", asked.tx_id, direction, {}, asked.fields, ts_ns, number, True)
                )
                asked.report_files(asked.fields)
            self.waiting.clear()
            self.release()

    def _file_of_request(self, exchange: Exchange, out: list[Transaction]) -> None:
        """Make the body of the request that was read last a file."""
        row = out[-1]
        plain = row.buffers
        assert isinstance(plain, Request)
        asked = RequestWithFile(plain.block, plain.body)
        asked.file = file = request_file(self._shared.files, self.slot, exchange, plain.body, exchange.path(), _NOTHING)
        row.buffers, row.files = asked, (file,)
        if self._shared.files.logged:
            exchange.files = row.files
            exchange.cost += COST
            self.held += COST
            self._shared.memory.used += COST
        file.close(row.ts_ns, row.number)

    def _file_of_response(self, row: Transaction, answer: Response, low: bytes) -> None:
        """Make the body of a response a file."""
        assert isinstance(answer, ResponseWithFile)
        disposition = answer.header(_DISPOSITION) if _DISPOSITION in low else None
        answer.file = file = response_file(
            self._shared.files, self.slot, answer.exchange, answer.body, disposition, None, _NOTHING
        )
        row.files = (file,)
        file.close(row.ts_ns, row.number)
        file.report(row)
