"""Streams made by hand, for parser tests."""

from __future__ import annotations

from collections.abc import Iterable

from ids.counters import Counters
from ids.protocols import Parsers, ProtocolSettings
from ids.types import Direction, Flow, StreamChunk, Transaction
from tests.factory import T0, make_flow

CLIENT, SERVER = Direction


class Wire:
    """A connection whose two streams are fed to the parsers; collects the transactions."""

    def __init__(self, **http: int) -> None:
        self.counters = Counters()
        self.parsers = Parsers(ProtocolSettings.model_validate({"http": http}), self.counters)
        self.flow: Flow = make_flow()
        self.seen: list[Transaction] = []
        self._offsets = [0, 0]
        self._number = 0

    def send(self, direction: Direction, data: bytes, *, gap: int = 0, closed: bool = False, step: int = 0) -> Wire:
        """Feed bytes of one direction, whole or ``step`` at a time."""
        pieces = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
        for at, piece in enumerate(pieces):
            self._number += 1
            last = at == len(pieces) - 1
            offset = self._offsets[direction] + (gap if at == 0 else 0)
            chunk = StreamChunk(
                self.flow, direction, offset, piece, T0 + self._number, self._number,
                gap=gap if at == 0 else 0, closed=closed and last,
            )  # fmt: skip
            self._offsets[direction] = offset + len(piece)
            self.seen += self.parsers.feed(chunk)
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
