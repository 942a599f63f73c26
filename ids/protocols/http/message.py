"""What the HTTP parser keeps: of all connections their memory, of one its requests without an answer, of a direction
the message that is being read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from ids.protocols.files import FieldsOf, File
from ids.protocols.http.head import Framing, Head
from ids.protocols.http.heads import RequestHead
from ids.types import Direction

UPLOADS = (b"POST", b"PUT")
"""Methods whose bodies are files, as Suricata has it."""

STALLED_BYTES = 16 << 20
"""Of requests that wait for answers to those before them, over all connections: their servers may have gone long ago,
and nobody is to fill the memory of others with what is never read."""
_LEAST_BYTES = 512
"""That each of these counts at least."""


UNASKED_BYTES = 128
"""What a response that nobody asked for has to bring to be reported: less is no answer of a server, and a packet holds
dozens of such. A capture of one direction has nothing but responses without requests; theirs are longer."""
UNASKED_FREE = 16
"""Responses for which it need not."""


class Stalled(Protocol):
    """A parser that holds requests until those before them are answered."""

    def give_up_stall(self) -> None:
        """Let go of them."""


class Memory:
    """Bytes held by all parsers together."""

    __slots__ = ("_stalled", "_stalled_bytes", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._stalled: OrderedDict[Stalled, int] = OrderedDict()
        self._stalled_bytes = 0

    def stall(self, parser: Stalled, held: int) -> None:
        """Note how much a parser holds of such requests now, 0 for none; where all is too much, the oldest let go."""
        self._stalled_bytes -= self._stalled.pop(parser, 0)
        if held:
            self._stalled[parser] = max(held, _LEAST_BYTES)
            self._stalled_bytes += self._stalled[parser]
        while self._stalled_bytes > STALLED_BYTES:
            oldest, size = self._stalled.popitem(last=False)
            self._stalled_bytes -= size
            oldest.give_up_stall()


class Upgraded(NamedTuple):
    """The request with which a connection went over to HTTP/2."""

    headers: list[tuple[bytes, bytes]]
    """As HTTP/2 has them."""
    settings: bytes
    """The value of HTTP2-Settings."""
    next_id: int
    """The id that the next exchange of HTTP/1 would have had."""


class Exchange:
    """A request, as long as it waits for its response. What is logged of it does not change."""

    __slots__ = ("_fields", "_path", "continued", "cost", "files", "head", "method", "said", "tx_id", "unasked")

    def __init__(
        self,
        tx_id: int,
        method: bytes = b"",
        fields: dict[str, Any] | RequestHead | None = None,
        cost: int = 0,
        path: bytes = b"",
    ) -> None:
        """Take its fields, or the head of an ordinary request to make them from when they are asked for.

        ``path``: that of the request's target, normalised, where the fields are given.
        """
        self.tx_id = tx_id
        self.method = method
        self._fields: dict[str, Any] = {}
        self._path = path
        self.said: RequestHead | None = None
        """What its head says, of an ordinary request."""
        self.head = b""
        """The head as it was sent, where it is known: that of an ordinary request, and of one that asks to upgrade."""
        if isinstance(fields, RequestHead):
            self.said, self.head = fields, fields.block
        elif fields:
            self._fields = fields
        self.files: Sequence[File] = ()
        """Those of its request, whose events wait for the response."""
        self.cost = cost
        """Bytes that it keeps, at most."""
        self.continued = 0
        """Times that its server said 100 Continue."""
        self.unasked = not fields
        """No request was seen: it begins with a response."""

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs of the request, as a copy; with the length of a response that has not come."""
        return {**self._fields, "length": 0} if self.said is None else self.said.fields()

    def path(self) -> bytes:
        """Return the path of its target, normalised, by which its files are called; empty where no request was seen."""
        return self._path if self.said is None else self.said.path()

    def report_files(self, fields: FieldsOf) -> None:
        """Have the events of its request's files written: the exchange is complete."""
        for file in self.files:
            file.report(fields)
        self.files = ()


class Stray(Exchange):
    """What came behind a request and begins as none does, though it is read as one: more of a body than was said, or
    nothing of HTTP."""

    __slots__ = ()


class State:
    """What a connection is at a message boundary: all that the ordinary and the careful lane have in common."""

    __slots__ = ("closed", "heard", "held", "next_id", "slot", "unasked_room", "waiting")

    def __init__(self, slot: int, next_id: int) -> None:
        self.slot = slot
        self.next_id = next_id
        """Id of the next transaction."""
        self.waiting: list[Exchange] = []
        """Requests without a final response, oldest first; at most ``open_requests``."""
        self.closed = 0
        """Bits of the directions in which no more bytes come."""
        self.held = 0
        """Bytes of `Memory` that are this connection's."""
        self.heard = False
        """The server said something."""
        self.unasked_room = UNASKED_FREE * UNASKED_BYTES
        """Bytes that responses nobody asked for may be short of."""

    def affords(self, size: int) -> bool:
        """Return whether a response of this size is reported that nobody asked for."""
        if size >= UNASKED_BYTES:
            return True
        reported = self.unasked_room + size >= UNASKED_BYTES
        self.unasked_room += size - (UNASKED_BYTES if reported else 0)
        return reported


class Step(Enum):
    """What the next bytes of a direction are."""

    HEAD = "head"
    LONG_HEAD = "head beyond the limit"
    """The head goes on; what comes of it is reported in parts."""
    BODY = "body"
    """Bytes of a body with a length."""
    UNTIL_CLOSE = "body until close"
    HEADLESS = "answer without a status line"
    """A body, until the connection closes or a response begins."""
    BEHIND = "behind a body"
    """More of a body whose length is in doubt, until the connection closes or a response begins."""
    CHUNK_LINE = "chunk-size line"
    CHUNK_EXTENSION = "rest of a chunk-size line"
    CHUNK = "chunk"
    TRAILER = "trailer"
    LOST = "lost"
    """Between messages, and nobody knows where the next one starts."""


class Message:
    """A message whose body is being read."""

    __slots__ = (
        "before", "behind", "body", "chunk_bytes", "due", "exchange", "forms", "framing", "head", "looks", "lost",
        "miscoded", "noted", "others", "reported", "size", "strays",
    )  # fmt: skip

    def __init__(self, head: Head, exchange: Exchange) -> None:
        self.head = head
        self.exchange = exchange
        self.body = bytearray()
        self.before: bytes | None = None
        """Of a further reading of chunks (`Side.further`), the content before them."""
        self.strays = bytearray()
        """Of a request, lines of chunk sizes with more in them than that; at most as much as of a body."""
        self.others: list[Head] = []
        """Of a request, what other servers take for its head."""
        self.noted: set[bytes] = set()
        """What was found odd beside the head (`ids.protocols.http.oddities`)."""
        self.miscoded = False
        """The body is not what its codings say."""
        self.size = 0
        """Body bytes so far, inspected or not;"""
        self.lost = 0
        """those that were lost,"""
        self.chunk_bytes = 0
        """and those between chunks: their sizes and line ends."""
        self.reported = False
        self.framing = Framing()
        """Of a head beyond the limit, the lines so far that say where the body ends."""
        self.looks = 0
        """How often it was looked at before its end."""
        self.due = 1
        """Bytes of the body at which it is looked at next."""
        self.behind = 0
        """Bytes of the piece in which the head ended that are behind it."""
        self.forms: tuple[bytes, ...] | None = None
        """Further forms of the target; None while they have not been made."""


class Side:
    """The reader of one direction."""

    __slots__ = (
        "buffer", "direction", "fed", "further", "further_left", "further_until", "limit", "message", "number",
        "remaining", "scanned", "step", "ts_ns",
    )  # fmt: skip

    def __init__(self, direction: Direction, limit: int) -> None:
        self.direction = direction
        self.limit = limit
        """Body bytes to inspect."""
        self.buffer = bytearray()
        self.scanned = 0
        """Where the search for the end of the head, or of the line, goes on."""
        self.step = Step.HEAD
        self.remaining = 0
        self.message: Message | None = None
        self.further: Message | None = None
        """A request with a body that other servers take for longer, as long as that lasts; the first one of several."""
        self.further_left = 0
        self.fed = 0
        """Bytes that came, in all,"""
        self.further_until = 0
        """and of them, those up to the end of that body: the next such one begins behind it."""
        self.ts_ns = 0
        self.number = 0

    @property
    def held(self) -> int:
        """Bytes kept."""
        found = [one for one in (self.message, self.further) if one is not None]
        return len(self.buffer) + sum(len(one.body) + len(one.strays) + len(one.before or b"") for one in found)

    @property
    def at_boundary(self) -> bool:
        """Between two messages, with nothing kept."""
        return self.step is Step.HEAD and self.message is None and self.further is None and not self.buffer
