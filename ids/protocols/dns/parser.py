"""DNS of one flow: messages in datagrams, or in streams behind their length; queries find their answers by id."""

from __future__ import annotations

from functools import partial

from ids.protocols.dns.buffers import OF_CLIENT, OF_SERVER, UNREADABLE
from ids.protocols.dns.fields import answer, query
from ids.protocols.dns.message import QR, Message
from ids.protocols.dns.names import Malformed
from ids.protocols.dns.settings import DnsSettings
from ids.protocols.dns.starts import begins
from ids.protocols.made import Made
from ids.protocols.protocol import ODDITY, Setup
from ids.types import Direction, Transaction

_LENGTH = 2
"""Bytes before each message of a stream (RFC 1035 section 4.2.2)."""


class Shared:
    """What the parsers of all flows share; makes them."""

    def __init__(self, setup: Setup) -> None:
        settings: DnsSettings = setup.settings
        self.flows = setup.flows
        self.counters = setup.counters
        self.records = settings.records
        self.open_queries = settings.open_queries
        self.memcap_bytes = settings.memcap_bytes
        self.held = 0
        """Bytes of unfinished messages of all flows."""

    def __call__(self, slot: int, tx_id: int) -> DnsFlow:
        """Return the parser of a flow."""
        return DnsFlow(self, slot, tx_id)


class DnsFlow:
    """Both directions of a flow; a `StreamParser` and a `DatagramParser`."""

    __slots__ = ("_held", "_lost", "_next_id", "_shared", "_slot", "_waiting")

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        self._shared = shared
        self._slot = slot
        self._next_id = tx_id
        self._waiting: dict[int, int] = {}
        """Queries without an answer, the oldest first: their id to that of their transaction."""
        self._held: list[bytearray | None] = [None, None]
        """By direction: the beginning of a message of a stream."""
        self._lost = [False, False]
        """By direction: bytes are missing, so it is not known where a message begins."""

    def datagram(self, direction: Direction, data: bytes, ts_ns: int, number: int, out: list[Transaction]) -> None:
        """Take the next datagram, as `DatagramParser` has it."""
        self._message(direction, data, ts_ns, number, 0, out)

    def feed(
        self,
        direction: Direction,
        data: bytes,
        ts_ns: int,
        number: int,
        gap: int,
        closed: bool,
        out: list[Transaction],
    ) -> None:
        """Take the next bytes of a direction, as `StreamParser` has it."""
        if gap:
            self._drop(direction)
            self._lost[direction] = True
        if self._lost[direction] and data:
            if not begins(data, direction):
                self._shared.counters.add("dns.skipped_bytes", len(data))
                return
            self._lost[direction] = False
        held = self._held[direction]
        at = self._complete(direction, held, data, ts_ns, number, out) if held is not None else 0
        at = self._whole(direction, data, at, ts_ns, number, out)
        if closed:
            self._drop(direction)
        elif at < len(data):
            self._hold(direction, data[at:])

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        for direction in Direction:
            self._drop(direction)

    # Streams.

    def _complete(
        self, direction: Direction, held: bytearray, data: bytes, ts_ns: int, number: int, out: list[Transaction]
    ) -> int:
        """Complete the message that is held; return where what follows it begins."""
        at = 0
        if len(held) < _LENGTH:
            at = min(_LENGTH - len(held), len(data))
            held += data[:at]
            self._shared.held += at
            if len(held) < _LENGTH:
                return at
        missing = _LENGTH + (held[0] << 8 | held[1]) - len(held)
        more = data[at : at + missing]
        held += more
        self._shared.held += len(more)
        at += len(more)
        if self._shared.held > self._shared.memcap_bytes:
            self._give_up(direction)
            return len(data)
        if len(more) == missing:
            message = bytes(held[_LENGTH:])
            self._drop(direction)
            self._message(direction, message, ts_ns, number, len(data) - at, out)
        return at

    def _whole(
        self, direction: Direction, data: bytes, at: int, ts_ns: int, number: int, out: list[Transaction]
    ) -> int:
        """Take the messages that are there to their end; return where what follows them begins."""
        size = len(data)
        while at + _LENGTH <= size:
            end = at + _LENGTH + (data[at] << 8 | data[at + 1])
            if end > size:
                break
            self._message(direction, data[at + _LENGTH : end], ts_ns, number, size - end, out)
            at = end
        return at

    def _hold(self, direction: Direction, rest: bytes) -> None:
        """Keep the beginning of a message."""
        shared = self._shared
        self._held[direction] = bytearray(rest)
        shared.held += len(rest)
        if shared.held > shared.memcap_bytes:
            self._give_up(direction)

    def _give_up(self, direction: Direction) -> None:
        """Skip to where the beginning of a message is seen again, for want of memory."""
        self._shared.counters.add("dns.memcap")
        self._drop(direction)
        self._lost[direction] = True

    def _drop(self, direction: Direction) -> None:
        """Forget the beginning of a message."""
        held = self._held[direction]
        if held is not None:
            self._shared.held -= len(held)
            self._held[direction] = None

    # Messages.

    def _message(
        self, direction: Direction, data: bytes, ts_ns: int, number: int, behind: int, out: list[Transaction]
    ) -> None:
        """Append the transaction of a message, and of each further question the event of one."""
        shared = self._shared
        try:
            message = Message(data, shared.records, shared.counters)
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
        waiting = self._waiting
        waiting.pop(message_id, None)
        if len(waiting) >= self._shared.open_queries:
            del waiting[next(iter(waiting))]
            self._shared.counters.add("dns.queries_evicted")
        waiting[message_id] = tx_id
        return tx_id

    def _answered(self, message_id: int) -> int:
        """Return the id of the transaction that an answer belongs to.

        Ids count messages, as Suricata's do: the next query's is not that of the answer plus one.
        """
        tx_id = self._waiting.pop(message_id, self._next_id)
        self._next_id += 1
        return tx_id
