"""Streams made by hand, for parser tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ids.counters import Counters
from ids.protocols import ODDITY, PROTOCOLS, Protocol, Protocols, ProtocolSettings
from ids.protocols.framing import Pool
from ids.protocols.shared import Limits, Shared
from ids.types import Direction, Flow, StreamChunk, Transaction
from ids.types.transactions import NO_EXCHANGE
from tests.factory import NO_DATAGRAMS, T0, make_flow, make_streams

CLIENT, SERVER = Direction
DEFAULTS = ProtocolSettings()


class Wire:
    """A connection whose two streams are fed to the stage; collects the transactions. ``http`` are settings of HTTP/1;
    a mapping has those of another protocol.
    """

    def __init__(self, protocols: Sequence[Protocol] = PROTOCOLS, ordinary_lane: bool = True, **http: Any) -> None:
        self.counters = Counters()
        self.flow: Flow = make_flow()
        own = {name: value for name, value in http.items() if not isinstance(value, dict)}
        others = {name: value for name, value in http.items() if isinstance(value, dict)}
        settings = ProtocolSettings.model_validate(others | {"http": own}) if http else DEFAULTS
        self.stage = Protocols(
            settings, self.counters, self.flow.columns, protocols=protocols, ordinary_lane=ordinary_lane
        )
        self.all: list[Transaction] = []
        self.noted: list[bytes] = []
        """What was odd about the flow, and about no exchange in it."""
        self._offsets = [0, 0]
        self._number = 0

    def chunk(self, direction: Direction, data: bytes, *, gap: int = 0, closed: bool = False) -> StreamChunk:
        """Return the next bytes of a direction, without feeding them."""
        self._number += 1
        offset = self._offsets[direction] + gap
        self._offsets[direction] = offset + len(data)
        return StreamChunk(
            self.flow, direction, offset, data, T0 + self._number, self._number, gap=gap, closed=closed
        )  # fmt: skip

    def pool(self, protocol: str) -> Pool:
        """Return what unfinished messages of all flows of a protocol hold."""
        shared: Shared[Limits] = self.stage._make_parser[protocol].args[0]  # type: ignore[attr-defined]
        return shared.pool

    def feed(self, *chunks: StreamChunk) -> Wire:
        """Feed chunks as one batch."""
        for row in self.stage.feed(make_streams(chunks), NO_DATAGRAMS):
            if row.tx_id == NO_EXCHANGE:
                self.noted += row.instances(ODDITY)
            else:
                self.all.append(row)
        return self

    @property
    def seen(self) -> list[Transaction]:
        """What came of it, but for what was reported of sides that went on."""
        return [found for found in self.all if not found.partial]

    @property
    def looks(self) -> list[Transaction]:
        """What was reported of sides that went on."""
        return [found for found in self.all if found.partial]

    def send(self, direction: Direction, data: bytes, *, gap: int = 0, closed: bool = False, step: int = 0) -> Wire:
        """Feed bytes of one direction, whole or ``step`` at a time."""
        pieces = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
        for at, piece in enumerate(pieces):
            last = at == len(pieces) - 1
            self.feed(self.chunk(direction, piece, gap=gap if at == 0 else 0, closed=closed and last))
        return self

    def client(self, data: bytes, **options: int) -> Wire:
        """Feed bytes of the client."""
        return self.send(CLIENT, data, **options)  # type: ignore[arg-type]

    def server(self, data: bytes, **options: int) -> Wire:
        """Feed bytes of the server."""
        return self.send(SERVER, data, **options)  # type: ignore[arg-type]

    def close(self) -> Wire:
        """End both directions."""
        return self.send(CLIENT, b"", closed=True).send(SERVER, b"", closed=True)

    def what(self) -> list[tuple[object, ...]]:
        """Return what must not depend on how the streams were cut."""
        return [(t.tx_id, t.direction, dict(t.buffers), dict(t.fields), t.complete) for t in self.seen]


def request(line: bytes = b"GET / HTTP/1.1", *headers: bytes, body: bytes = b"") -> bytes:
    """Return a request with these header lines."""
    return b"\r\n".join([line, *headers, b"", body])


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Return a body in the chunked transfer coding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def only_request(data: bytes, **limits: Any) -> dict[str, bytes]:
    """Return the buffers of the one request in what a client says."""
    wire = Wire(**limits).client(data)
    (transaction,) = wire.seen
    return dict(transaction.buffers)


def only_response(data: bytes, closed: bool = False, **limits: Any) -> dict[str, bytes]:
    """Return the buffers of what a server answers."""
    wire = Wire(**limits).client(request()).server(data, closed=closed)
    _, transaction = wire.seen
    return dict(transaction.buffers)


def uris(wire: Wire) -> list[bytes]:
    """Return the targets of all requests."""
    return [uri for transaction in wire.seen for uri in transaction.instances("http.uri")]
