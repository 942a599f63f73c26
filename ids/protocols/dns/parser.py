"""DNS of one flow: messages in datagrams, or in streams behind their length; queries find their answers by id."""

from __future__ import annotations

from functools import partial

from ids.protocols.dns.buffers import OF_CLIENT, OF_SERVER, UNREADABLE
from ids.protocols.dns.fields import answer, query
from ids.protocols.dns.message import QR, Message
from ids.protocols.dns.names import Malformed
from ids.protocols.dns.settings import DnsSettings
from ids.protocols.dns.starts import BEGINS
from ids.protocols.frame import Framer, Place, whole_message
from ids.protocols.framing import Frames
from ids.protocols.made import Made
from ids.protocols.protocol import ODDITY
from ids.protocols.shared import Shared
from ids.protocols.stretch import Stretch
from ids.types import Direction, Transaction

_LENGTH = 2
"""Bytes before each message of a stream, which say how many it has (RFC 1035 section 4.2.2)."""
_LONGEST = _LENGTH + 0xFFFF
QUERY_BYTES = 192
"""What a query that waits counts for in the memory of the protocol; but for one of each flow, which has no more as a
rule."""


def _length_of(data: bytes | bytearray, at: int) -> int:
    """Return how many bytes a message of a stream takes, as `ids.protocols.framing.LengthOf`."""
    return _LENGTH + (data[at] << 8 | data[at + 1]) if len(data) >= at + _LENGTH else 0


class DnsFlow:
    """Both directions of a flow; a `StreamParser` and a `DatagramParser`."""

    __slots__ = ("_framer", "_frames", "_next_id", "_shared", "_slot", "_waiting")

    def __init__(self, shared: Shared[DnsSettings], slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._waiting: dict[int, int] = {}
        """Queries without an answer, the oldest first: their id to that of their transaction."""
        self._frames: list[Frames] = []
        """By direction, once there is a stream: most flows are datagrams."""
        self._framer: Framer | None = None

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram, as `DatagramParser` has it."""
        if self._framer is None and "dns" in self._shared.framed.protocols:
            self._framer = self._shared.framed.framer("dns", stream=False)
        self._frame(direction, data, (ts_ns, number, 0), out)
        self._message(direction, data, ts_ns, number, 0, out)

    def _frame(self, direction: Direction, data: bytes, at: tuple[int, int, int], out: list[Transaction]) -> None:
        """Append the frame of a message, where somebody asks for it."""
        if self._framer is not None:
            place = Place(self._shared.flows, self._slot, *at)
            out.append(self._framer.row(direction, data, whole_message(data, direction), place))

    def feed(self, stretch: Stretch, out: list[Transaction]) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        direction = stretch.direction
        if not self._frames:
            self._frames = [Frames(self._shared.pool, _length_of, _LONGEST, begins) for begins in BEGINS]
            self._framer = self._shared.framed.framer("dns", stream=True)
        if self._framer is not None:
            self._framer.came(direction, stretch.gap + len(stretch.data))
        for frame in self._frames[direction].feed(stretch.data, stretch.gap, stretch.closed):
            self._frame(direction, frame.data[_LENGTH:], (stretch.ts_ns, stretch.number, frame.behind), out)
            self._message(direction, frame.data[_LENGTH:], stretch.ts_ns, stretch.number, frame.behind, out)

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for frames in self._frames:
            frames.release()
        self._shared.pool.give(QUERY_BYTES * max(len(self._waiting) - 1, 0))
        self._waiting.clear()

    # Messages.

    def _message(
        self, direction: Direction, data: bytes, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> None:
        """Append the transaction of a message, and of each further question the event of one."""
        shared = self._shared
        try:
            message = Message(data, shared.settings.records, shared.counters)
        except Malformed:
            shared.counters.add("dns.malformed")
            odd = {ODDITY: UNREADABLE}
            out.append(
                Transaction(
                    shared.flows, self._slot, "dns", self._next_id, direction, odd, {}, ts_ns, number, behind=behind
                )
            )
            self._next_id += 1
            return
        answers = message.flags & QR
        own = self._next_id
        tx_id = self._answered(message.id) if answers else self._asked(message.id)
        buffers = Made(OF_SERVER if direction else OF_CLIENT, message)
        fields = partial(answer, message) if answers else partial(query, message, 0, tx_id)
        out.append(
            Transaction(
                shared.flows, self._slot, "dns", tx_id, direction, buffers, fields, ts_ns, number, True,
                more=buffers.further, behind=behind,
            )
        )  # fmt: skip
        if answers:
            out[-1].shown_id = own
            return
        for which in range(1, len(message.questions)):
            further = partial(query, message, which, tx_id)
            out.append(
                Transaction(
                    shared.flows, self._slot, "dns", tx_id, direction, {}, further, ts_ns, number, True, behind=behind
                )
            )

    def _asked(self, message_id: int) -> int:
        """Return the id of a new transaction, which an answer with this id belongs to."""
        tx_id = self._next_id
        self._next_id += 1
        waiting, shared = self._waiting, self._shared
        known = waiting.pop(message_id, None) is not None
        full = len(waiting) >= shared.settings.open_queries
        if waiting and not known and (full or not shared.pool.take(QUERY_BYTES)):
            del waiting[next(iter(waiting))]
            shared.counters.add("dns.queries_evicted")
        waiting[message_id] = tx_id
        return tx_id

    def _answered(self, message_id: int) -> int:
        """Return the id of the transaction that an answer belongs to.

        Ids count messages, as Suricata's do: the next query's is not that of the answer plus one.
        """
        tx_id = self._waiting.pop(message_id, None)
        if tx_id is None:
            tx_id = self._next_id
        elif self._waiting:
            self._shared.pool.give(QUERY_BYTES)
        self._next_id += 1
        return tx_id
