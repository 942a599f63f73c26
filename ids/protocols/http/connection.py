"""One HTTP/1 connection: ordinary messages by the short way, and everything else by the careful one.

The ordinary lane (`ordinary`) takes messages that lie whole within one chunk, as long as nothing about them is odd.
From the first one that is not, the rest of the chunk goes to the careful lane (`HttpParser`), and so does every chunk
after it until that lane stands at a message boundary again. The lanes share `State`, so nothing is converted; what
comes out does not depend on which lane a message took.
"""

from __future__ import annotations

from collections.abc import Mapping

from ids.protocols.files import COST, Body, Files
from ids.protocols.http.files import request_file, response_file
from ids.protocols.http.heads import request_heads, response_heads
from ids.protocols.http.message import UNASKED_BYTES, UNASKED_FREE, UPLOADS, Exchange, Memory, State
from ids.protocols.http.ordinary import Request, RequestWithFile, Response, ResponseWithFile
from ids.protocols.http.parser import HttpParser
from ids.protocols.http.settings import HttpSettings
from ids.protocols.http.starts import REQUEST_AS_BODY
from ids.protocols.protocol import Handover, Setup
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_TO_SERVER, _TO_CLIENT = Direction
_DISPOSITION = b"\ncontent-disposition:"
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
        self.request_body_bytes = settings.request_body_bytes
        self.response_body_bytes = settings.response_body_bytes
        self.request_heads = request_heads(settings.header_count, settings.header_bytes)
        self.response_heads = response_heads(settings.header_count, settings.header_bytes)

    def __call__(self, slot: int, tx_id: int) -> Connection:
        """Return the parser of a flow."""
        return Connection(self, slot, tx_id)

    def exchange(
        self, slot: int, asked: bytes, answered: bytes, at: tuple[int, int], answered_at: tuple[int, int],
        out: list[Transaction],
    ) -> bool:  # fmt: skip
        """Take a whole exchange, as `ids.protocols.protocol.Exchanges` has it."""
        request, response = self.request_heads.at(asked, 0), self.response_heads.at(answered, 0)
        if request is None or response is None or request.method == b"CONNECT" or not self.ordinary_lane:
            return False
        start, end = len(request.block) + 2, len(response.block) + 2
        size, length = len(answered), response.length
        if request.length > 0 or start != len(asked):
            return False
        if request.method != b"HEAD" and not response.bodiless:
            if end + length != size or not 0 <= length <= self.response_body_bytes or (length and response.coded):
                return False
        elif end != size:
            return False
        memory, files = self.memory, self.files
        if memory.used + 2 * len(request.block) > memory.limit:
            return False
        plain = files.plain and size > end and not response.named
        tracked = files.tracked and size > end and not plain
        flows, answer = self.flows, (ResponseWithFile if tracked else Response)(response, answered[end:], request)
        row = Transaction(flows, slot, "http", 0, _TO_CLIENT, answer, answer.fields, *answered_at, True, response.more)
        out += (
            Transaction(
                flows, slot, "http", 0, _TO_SERVER, Request(request, b""), request.fields, *at, False, request.more
            ),
            row,
        )
        if plain:
            files.bodies.append(Body(row, request.path(), length))
        elif tracked:
            _file_of_response(files, row, answer, Exchange(0, request.method, request))
        return True

    def behind(self, slot: int) -> Connection:
        """Return the parser of a flow behind its first exchange."""
        parser = Connection(self, slot, 1)
        parser.heard = True
        return parser


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
        at, size, head_at, as_body = 0, len(data), self._shared.request_heads.at, REQUEST_AS_BODY.match
        while at < size and len(waiting) < shared.open_requests:
            said = head_at(data, at)
            if said is None:
                break
            start = end = at + len(said.block) + 2
            length = said.length
            if length > 0:
                end += length
                if end > size or length > shared.request_body_bytes or said.coded or as_body(data, start):
                    break
            tx_id = self.next_id
            self.next_id = tx_id + 1
            cost = 2 * len(said.block)
            self.held += cost
            shared.memory.used += cost
            exchange = Exchange(tx_id, said.method, said, cost)
            waiting.append(exchange)
            asked = Request(said, data[start:end])
            out.append(
                Transaction(
                    shared.flows, self.slot, "http", tx_id, _TO_SERVER, asked,
                    said.fields, ts_ns, number, more=asked.further(), behind=size - end,
                )
            )  # fmt: skip
            if length > 0 and shared.files.tracked and exchange.method in UPLOADS:
                self._file_of_request(exchange, out)
            at = end
        return at

    def _responses(self, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> int:
        """Take the ordinary responses at the start of ``data``; return where what is not ordinary begins."""
        shared, waiting = self._shared, self.waiting
        at, size, head_at = 0, len(data), self._shared.response_heads.at
        while at < size:
            said = head_at(data, at)
            method = waiting[0].method if waiting else b""
            if said is None or method == b"CONNECT":
                break
            start = end = at + len(said.block) + 2
            length = said.length
            if method != b"HEAD" and not said.bodiless:
                end += length
                if length < 0 or end > size or length > shared.response_body_bytes or (length and said.coded):
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
            plain = files.plain and end > start and not said.named
            tracked = files.tracked and end > start and not plain
            response = (ResponseWithFile if tracked else Response)(said, data[start:end], exchange.said or exchange)
            row = Transaction(
                shared.flows, self.slot, "http", exchange.tx_id, _TO_CLIENT, response,
                response.fields, ts_ns, number, True, more=said.more, behind=size - end,
            )  # fmt: skip
            out.append(row)
            if exchange.files:
                exchange.report_files(row)
            if plain:
                files.bodies.append(Body(row, exchange.path(), end - start))
            elif tracked:
                _file_of_response(files, row, response, exchange)
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
        asked = RequestWithFile(plain.said, plain.body)
        asked.file = file = request_file(self._shared.files, self.slot, exchange, plain.body, exchange.path(), _NOTHING)
        row.buffers, row.files = asked, (file,)
        if self._shared.files.logged:
            exchange.files = row.files
            exchange.cost += COST
            self.held += COST
            self._shared.memory.used += COST
        file.close(row.ts_ns, row.number)


def _file_of_response(files: Files, row: Transaction, answer: Response, exchange: Exchange) -> None:
    """Make the body of a response a file."""
    assert isinstance(answer, ResponseWithFile)
    disposition = answer.header(_DISPOSITION) if answer.said.named else None
    answer.file = file = response_file(files, row.slot, exchange, answer.body, disposition, None, _NOTHING)
    row.files = (file,)
    file.close(row.ts_ns, row.number)
    file.report(row)
