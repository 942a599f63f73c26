"""Calls of one association, over a connection or a named pipe: fragments are put together, answers find their calls."""

from __future__ import annotations

from typing import Any

from ids.counters import Counters
from ids.protocols.dcerpc import pdu
from ids.protocols.dcerpc.pdu import Interface, Pdu
from ids.protocols.framing import Pool
from ids.types import Direction

_ASKING = (pdu.BIND, pdu.ALTER)
_ANSWERS = {pdu.BIND_ACK: pdu.BIND, pdu.BIND_NAK: pdu.BIND, pdu.ALTER_RESPONSE: pdu.ALTER}
"""Answers to what is no request, by what they answer."""

CALL_BYTES = 1024
"""What an open call counts for besides what it says. One of each association is open whether there is room or not."""


class Bounds:
    """What calls may hold; shared by all associations of a protocol."""

    __slots__ = ("answers_whole", "counters", "open_calls", "pool", "prefix", "stub_bytes")

    def __init__(
        self, prefix: str, open_calls: int, stub_bytes: int, pool: Pool, counters: Counters, *, answers_whole: bool
    ) -> None:
        """Count what is beyond as ``<prefix>.calls_evicted``, ``.stub_cut`` and ``.contexts_evicted``.

        ``answers_whole``: the data of an answer begins behind the head of the message, as Suricata has it over TCP, and
        not 8 bytes later, as it has it in pipes. Rules are written for that.
        """
        self.answers_whole = answers_whole
        self.prefix = prefix
        self.open_calls = open_calls
        """Of one association."""
        self.stub_bytes = stub_bytes
        """Of one call, and of one answer."""
        self.pool = pool
        self.counters = counters

    def count(self, what: str) -> None:
        """Count something that was given up."""
        self.counters.add(f"{self.prefix}.{what}")


class RpcCall:
    """A call and its answer, or a bind and its answer; one of them may be lost."""

    __slots__ = (
        "answer", "answer_fragments", "answered", "answers", "asked", "bare", "bound", "call_id", "context", "cost",
        "fragments", "kind", "little", "minor", "named", "opnum", "owner", "stub",
    )  # fmt: skip

    def __init__(self, call_id: int, little: bool, minor: int, named: tuple[bytes, ...]) -> None:
        self.call_id = call_id
        self.little = little
        self.minor = minor
        self.kind: int | None = None
        """Type of the message that asks; None: it was not seen."""
        self.answers: int | None = None
        """Type of the message that answers."""
        self.asked = self.answered = False
        """All fragments are there."""
        self.context = self.opnum = 0
        self.stub, self.answer = bytearray(), bytearray()
        self.bare: bytearray | None = None
        """``stub`` without the UUIDs of objects that stand in it: a flag by which a client moves all behind it."""
        self.fragments = self.answer_fragments = 0
        self.bound: list[Interface] = []
        """Of a bind: what it asks for; of a call: what the last bind asked for."""
        self.named = named
        """The interface that is called, as rules test it."""
        self.cost = 0
        """Bytes that it counts for besides what it says, while it is open."""
        self.owner: Any = None
        """What the protocol that carries it knows of it."""


class Association:
    """What a client has bound, and the calls that are open."""

    __slots__ = ("_bounds", "_offered", "_open", "bound")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._open: dict[int, RpcCall] = {}
        """By call id, the oldest first."""
        self._offered: list[Interface] = []
        """What the last bind asked for."""
        self.bound: dict[int, Interface] = {}
        """By context: the interfaces that the client may call."""

    def close(self) -> list[RpcCall]:
        """Return the calls that were not answered, and hold nothing."""
        left = list(self._open.values())
        for call in left:
            self._forget(call)
        return left

    def take(self, direction: Direction, message: Pdu) -> tuple[RpcCall, RpcCall | None]:
        """Take a message; return its call, and the one that gave way to it.

        ``asked`` and ``answered`` of the call say what is complete.
        """
        return self._answered(message) if direction else self._asked(message)

    def _asked(self, message: Pdu) -> tuple[RpcCall, RpcCall | None]:
        kind = message.kind
        if pdu.is_unanswered(kind):
            alone = RpcCall(message.call_id, message.little, message.minor, ())
            alone.kind, alone.asked = kind, True
            return alone, None
        call, evicted = self._open.get(message.call_id), None
        goes_on = call is not None and call.kind == kind == pdu.REQUEST and not (call.asked or message.first)
        if call is None or not goes_on:
            call, evicted = self._begin(message)
            call.kind = kind
        if kind in _ASKING:
            self._offered = call.bound = pdu.read_bind(message)
            call.fragments, call.asked = 1, True
            return call, evicted
        if kind != pdu.REQUEST:
            call.asked = True
            return call, evicted
        said = pdu.read_call(message)
        if said is not None:
            if not call.fragments:
                call.context, call.opnum = said.context, said.opnum
                call.named, call.bound = self.interfaces(said.context), self._offered
            if said.bare is not None and call.bare is None and self._bounds.pool.take(len(call.stub)):
                call.bare = call.stub[:]
            self._add(call.stub, said.stub)
            if call.bare is not None:
                self._add(call.bare, said.bare if said.bare is not None else said.stub)
        call.fragments += 1
        call.asked = message.last
        return call, evicted

    def _answered(self, message: Pdu) -> tuple[RpcCall, RpcCall | None]:
        call, evicted = self._open.get(message.call_id), None
        expected = _ANSWERS.get(message.kind, pdu.REQUEST)
        if call is None or (call.kind is not None and call.kind != expected):
            call, evicted = self._begin(message)
        call.answers = message.kind
        call.answer_fragments += 1
        call.answered = True
        if message.kind in (pdu.BIND_ACK, pdu.ALTER_RESPONSE):
            self._bind(call, pdu.read_results(message))
        elif message.kind == pdu.RESPONSE:
            self._add(call.answer, message.body if self._bounds.answers_whole else pdu.read_answer(message))
            call.answered = message.last
        if call.answered:
            self._forget(call)
        return call, evicted

    def interfaces(self, context: int) -> tuple[bytes, ...]:
        """Return the interface that a context stands for, as rules test it; where none is known, all accepted ones."""
        known = self.bound.get(context)
        if known is not None:
            return (known.named,)
        return tuple(dict.fromkeys(interface.named for interface in self.bound.values()))

    def _begin(self, message: Pdu) -> tuple[RpcCall, RpcCall | None]:
        evicted, pool = self._open.get(message.call_id), self._bounds.pool
        room = len(self._open) < self._bounds.open_calls and pool.take(CALL_BYTES)
        if evicted is None and not room and self._open:
            evicted = next(iter(self._open.values()))
            self._bounds.count("calls_evicted")
        if evicted is not None:
            self._forget(evicted)
        call = self._open[message.call_id] = RpcCall(message.call_id, message.little, message.minor, ())
        call.cost = CALL_BYTES if room or pool.take(CALL_BYTES) else 0
        return call, evicted

    def _bind(self, call: RpcCall, results: list[tuple[int, int]]) -> None:
        """Note what the server accepts."""
        call.bound = [
            asked._replace(result=result, reason=reason)
            for asked, (result, reason) in zip(call.bound, results, strict=False)
        ] + call.bound[len(results) :]
        for interface in call.bound:
            if interface.result == 0:
                self.bound.pop(interface.context, None)
                self.bound[interface.context] = interface
                if len(self.bound) > pdu.MAX_CONTEXTS:
                    del self.bound[next(iter(self.bound))]
                    self._bounds.count("contexts_evicted")

    def _add(self, data: bytearray, more: bytes) -> None:
        """Add a fragment to the data of a call that is open."""
        room = self._bounds.stub_bytes - len(data)
        if len(more) > room:
            self._bounds.count("stub_cut")
            more = more[: max(room, 0)]
        if self._bounds.pool.take(len(more)):
            data += more

    def _forget(self, call: RpcCall) -> None:
        """Hold a call no longer; whoever has it may still read it."""
        if self._open.pop(call.call_id, None) is not None:
            self._bounds.pool.give(call.cost + len(call.stub) + len(call.answer) + len(call.bare or b""))
