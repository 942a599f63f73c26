"""Matches rules on the buffers of transactions, and rules that look at a request together with its response."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ids.counters import Counters
from ids.rules.conditions import View
from ids.rules.judging import Judge, Verdict
from ids.rules.model import Rule
from ids.rules.prefilter import Prefilter
from ids.rules.retained import Retained
from ids.types import Direction, Flow, Match, Transaction

STORAGE = "rules.transactions"
"""Key of the flow's `Requests` in `Flow.storage`."""

TOLD_PER_FLOW = 64
"""Sides of transactions of one flow of which it is remembered which rules matched; a parser that hands one on in
parts does so before the next 64."""


@dataclass(slots=True)
class Request:
    """What is kept of a request until its response comes."""

    buffers: dict[str, bytes]
    candidates: set[int]


@dataclass(slots=True, eq=False)
class Requests:
    """A flow's requests that wait for their response, oldest first, and what was already told."""

    owner: object
    waiting: OrderedDict[tuple[str, int], Request] = field(default_factory=OrderedDict)
    told: OrderedDict[tuple[str, int, int], set[int]] = field(default_factory=OrderedDict)

    def forget(self) -> None:
        """Let the requests go; their responses are judged by themselves."""
        self.waiting.clear()

    @property
    def size(self) -> int:
        """Bytes of all buffers kept."""
        return sum(len(data) for request in self.waiting.values() for data in request.buffers.values())


class TransactionMatcher:
    """The rules on named buffers other than ``payload``."""

    def __init__(
        self,
        rules: list[Rule],
        prefilters: Mapping[str, Prefilter],
        unfiltered: Iterable[int],
        judge: Judge,
        retained: Retained,
        counters: Counters,
        transactions_per_flow: int,
    ) -> None:
        self._rules = rules
        self._prefilters = prefilters
        self._judge = judge
        self._retained = retained
        self._counters = counters
        self._limit = transactions_per_flow
        self._by_buffer: dict[str, list[int]] = {}
        for index in unfiltered:
            for name in rules[index].buffers:
                self._by_buffer.setdefault(name, []).append(index)
        self._both = frozenset(i for i, rule in enumerate(rules) if len(rule.sides) == 2)
        self._kept_buffers = frozenset(name for index in self._both for name in rules[index].buffers)

    def transaction(self, tx: Transaction) -> list[Match]:
        """Take one side of an exchange; return the rules that now hold."""
        candidates: set[int] = set()
        for name, data in tx.buffers.items():
            prefilter = self._prefilters.get(name)
            if prefilter is not None:
                candidates |= prefilter.scan(data)
            if name in self._by_buffer:
                candidates.update(self._by_buffer[name])
        merged: dict[str, bytes] | None = None
        if self._both:
            if tx.direction == Direction.TO_SERVER:
                self._keep(tx, candidates & self._both)
                candidates -= self._both
            else:
                merged = self._joined(tx, candidates)
        return self._judged(tx, candidates, merged) if candidates else []

    def end(self, flow: Flow) -> None:
        """Release what is kept of a flow that ended."""
        requests = flow.storage.pop(STORAGE, None)
        if requests is not None:
            self._retained.release(requests)

    def _judged(self, tx: Transaction, candidates: set[int], merged: dict[str, bytes] | None) -> list[Match]:
        matches: list[Match] = []
        own = dict(tx.buffers)
        views: dict[tuple[bool, Direction], View] = {}
        for index in sorted(candidates):
            rule = self._rules[index]
            both = index in self._both
            if not both and tx.direction not in (rule.sides or {tx.direction}):
                continue
            direction = (rule.flow.direction or Direction.TO_SERVER) if both else tx.direction
            if not rule.open_to(tx.flow, direction, tx.protocol) or not rule.traffic.fits(tx.flow, direction):
                continue
            if self._was_told(tx, index):
                continue
            key = (both, direction)
            if key not in views:
                buffers = merged if both and merged is not None else own
                views[key] = self._judge.view(tx.flow, direction, buffers)
            answer = self._judge.judge(rule, views[key], tx.flow, direction, (tx.ts_ns, tx.number), tx)
            if answer is not Verdict.NO:
                self._tell(tx, index)
            if isinstance(answer, Match):
                matches.append(answer)
        return matches

    def _requests(self, flow: Flow) -> Requests:
        requests = flow.storage.get(STORAGE)
        if not isinstance(requests, Requests) or requests.owner is not self:
            if isinstance(requests, Requests):
                self._retained.release(requests)
            requests = flow.storage[STORAGE] = Requests(self)
        return requests

    def _keep(self, tx: Transaction, candidates: set[int]) -> None:
        """Keep of a request what rules on both sides need."""
        buffers = {name: data for name, data in tx.buffers.items() if name in self._kept_buffers}
        if not buffers:
            return
        requests = self._requests(tx.flow)
        known = requests.waiting.get((tx.protocol, tx.tx_id))
        if known is not None:
            known.buffers.update(buffers)
            known.candidates |= candidates
        else:
            requests.waiting[tx.protocol, tx.tx_id] = Request(buffers, candidates)
        if len(requests.waiting) > self._limit:
            requests.waiting.popitem(last=False)
            self._counters.add("rules.transactions.evicted")
        self._retained.hold(requests, requests.size)

    def _joined(self, tx: Transaction, candidates: set[int]) -> dict[str, bytes]:
        """Return a response's buffers with those of its request, and add the request's candidates."""
        requests = tx.flow.storage.get(STORAGE)
        if not isinstance(requests, Requests) or requests.owner is not self:
            return dict(tx.buffers)
        key = (tx.protocol, tx.tx_id)
        request = requests.waiting.pop(key, None) if tx.complete else requests.waiting.get(key)
        if request is None:
            return dict(tx.buffers)
        candidates |= request.candidates
        self._retained.hold(requests, requests.size)
        return {**request.buffers, **tx.buffers}

    def _was_told(self, tx: Transaction, index: int) -> bool:
        requests = tx.flow.storage.get(STORAGE)
        if not isinstance(requests, Requests) or requests.owner is not self:
            return False
        return index in requests.told.get((tx.protocol, tx.tx_id, tx.direction), ())

    def _tell(self, tx: Transaction, index: int) -> None:
        told = self._requests(tx.flow).told
        told.setdefault((tx.protocol, tx.tx_id, tx.direction), set()).add(index)
        if len(told) > TOLD_PER_FLOW:
            told.popitem(last=False)
