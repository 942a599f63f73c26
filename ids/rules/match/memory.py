"""All that the rules stage keeps of live flows, with one bound for its bytes. It outlives a reload of the rules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from ids.counters import Counters
from ids.rules.match.trail import Trail
from ids.rules.model.rule import Identity
from ids.types import FlowColumns, FlowPlace

if TYPE_CHECKING:
    from ids.rules.model.rule import Identity
    from ids.types import Direction, Evidence, Transaction

HOLDER_BYTES = 512
"""What a holder costs besides its content, so that many empty ones are bounded too."""


class Holder(Protocol):
    """Something that keeps bytes of a flow and can let them go."""

    def forget(self) -> None:
        """Let the bytes go; the holder stays usable."""


class Retained:
    """Accounts for the bytes of all holders; above the cap, the one that was silent longest must forget."""

    def __init__(self, memcap_bytes: int, counters: Counters) -> None:
        self.memcap_bytes = memcap_bytes
        self._counters = counters
        self._costs: OrderedDict[Holder, int] = OrderedDict()
        """What each holder costs, the one that was silent longest first."""
        self.total = 0

    def __len__(self) -> int:
        return len(self._costs)

    def hold(self, holder: Holder, size: int) -> None:
        """Note that ``holder`` now keeps ``size`` bytes and was just used; others may have to forget."""
        costs = self._costs
        cost = size + HOLDER_BYTES
        self.total += cost - costs.get(holder, 0)
        costs[holder] = cost
        costs.move_to_end(holder)
        while self.total > self.memcap_bytes and len(costs) > 1:
            victim, freed = costs.popitem(last=False)
            self.total -= freed
            victim.forget()
            self._counters.add("rules.memcap.evicted")
            self._counters.add("rules.memcap.bytes", freed - HOLDER_BYTES)

    def release(self, holder: Holder) -> None:
        """Forget about a holder that is no longer used."""
        self.total -= self._costs.pop(holder, 0)


@dataclass(slots=True)
class Request:
    """What is kept of a request until its response comes."""

    buffers: dict[str, tuple[bytes, ...]]
    """All instances of each buffer."""
    candidates: set[int]


@dataclass(slots=True, eq=False)
class Exchanges:
    """A flow's requests that wait for their response, oldest first, and what was already reported."""

    load: tuple[Identity, ...] = ()
    """The identities of the rules that ``waiting`` and ``reported`` have the numbers of."""
    waiting: OrderedDict[tuple[str, int, int], Request] = field(default_factory=OrderedDict)
    reported: OrderedDict[tuple[str, int, int, int], set[int]] = field(default_factory=OrderedDict)
    """Numbers of the rules that matched, by exchange (`Transaction.key`) and direction."""

    def forget(self) -> None:
        """Let the requests go; their responses are judged by themselves."""
        self.waiting.clear()

    @property
    def size(self) -> int:
        """Bytes of all buffers kept."""
        return sum(len(data) for request in self.waiting.values() for many in request.buffers.values() for data in many)


_State = TypeVar("_State")


class _HeldPlace(FlowPlace[_State]):
    """A place whose content is accounted for."""

    def __init__(
        self, make: Callable[[], _State], retained: Retained, holders: Callable[[_State], Iterable[Holder]]
    ) -> None:
        super().__init__(make)
        self._retained = retained
        self._holders = holders

    def let_go(self, kept: _State) -> None:
        for holder in self._holders(kept):
            self._retained.release(holder)


@dataclass(slots=True)
class Pending:
    """A rule that waits for Scapy fields: where the rest of it held, and the evidence of that."""

    evidence: tuple[Evidence, ...]
    transaction: Transaction | None
    ts_ns: int
    number: int
    """`PacketBatch.number` of the packet that completed the rest."""
    looked: int = 0
    """Packets that were dissected for it, again and again."""


class FlowMemory:
    """What is kept of each flow, in places that go with it."""

    def __init__(self, flows: FlowColumns, memcap_bytes: int, counters: Counters) -> None:
        self.flows = flows
        self.retained = Retained(memcap_bytes, counters)
        self.trails: FlowPlace[dict[int, Trail]] = _HeldPlace(dict, self.retained, lambda kept: kept.values())
        """By direction: its window, and the rules that wait there."""
        self.exchanges: FlowPlace[Exchanges] = _HeldPlace(Exchanges, self.retained, lambda kept: (kept,))
        flows.places += (self.trails, self.exchanges)
        self.headers: FlowPlace[set[tuple[int, ...]]] = flows.place(set)
        """Rules without a test on bytes that matched the flow."""
        self.pending: FlowPlace[dict[tuple[Identity, Direction], Pending]] = flows.place(dict)
        """Rules that wait for the packets of one direction as Scapy packets."""
