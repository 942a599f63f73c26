"""Matches rules on the buffers of transactions, and rules that look at a request together with its response.

Each buffer that rules name is taken as a column of the batch and searched in one pass. A buffer that no rule names is
never asked for, because asking may make it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ids.counters import Counters
from ids.protocols.files import FILE_BUFFERS
from ids.rules.match.beside import Beside
from ids.rules.match.conditions import View
from ids.rules.match.evaluation import Evaluator, Moment, Outcome, scene_of, view_of
from ids.rules.match.facts import ASKS_REQUEST, REQUEST_BUFFERS
from ids.rules.match.index import RuleIndex
from ids.rules.match.memory import Exchanges, FlowMemory, Request
from ids.rules.match.yara import YaraScanner, yara_evidence
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.header import HeaderTest
from ids.rules.model.rule import Rule
from ids.rules.model.yara import YaraRule
from ids.types import I64, Bool, Direction, Match, Transaction, Transactions, ascending
from ids.types.transactions import ODD

REPORTED_PER_FLOW = 64
"""Sides of transactions of one flow of which it is remembered which rules matched; a parser that hands one on in
parts does so before the next 64."""

_FILE = "file."
_ODD = {ODD}
_NONE: I64 = np.zeros(0, np.int64)


class TransactionMatcher:
    """The rules on named buffers other than ``payload``, in all languages."""

    def __init__(
        self,
        index: RuleIndex,
        evaluator: Evaluator,
        yara: YaraScanner,
        memory: FlowMemory,
        counters: Counters,
        transactions_per_flow: int,
        headers: Callable[[int, int], Callable[[HeaderTest], bool]],
        beside: Beside | None,
    ) -> None:
        """``headers`` returns what judges tests on the headers of a packet, by its number and its flow's slot.
        ``beside`` has the payload beside an exchange; None: no rule asks for it.
        """
        self._index = index
        self._evaluator = evaluator
        self._yara = yara
        self._memory = memory
        self._counters = counters
        self._limit = transactions_per_flow
        self._headers = headers
        self._beside = beside
        self._in_heads = index.buffers.keys() - index.made_always
        """Buffers of which an ordinary head shows whether anything is in them (`_worth_a_look`)."""
        rules = index.rules
        self._early: dict[int, Rule | YaraRule | None] = {}
        """By rule that was looked at: what of it is judged on a side that goes on (`Transaction.partial`)."""
        self._both = {i for i, rule in enumerate(rules) if isinstance(rule, Rule) and len(rule.sides) == 2}
        self._looks_back = any(
            isinstance(rule, Rule) and any(not ASKS_REQUEST.isdisjoint(script.functions) for script in rule.scripts)
            for rule in rules
        )
        """Some script, of responses perhaps, asks for something of requests."""
        self._kept_names = sorted(
            {name for i in self._both if isinstance(rule := rules[i], Rule) for name in rule.buffers}
            | set(REQUEST_BUFFERS if self._looks_back else ())
        )
        self._of_files = {
            i
            for i, rule in enumerate(rules)
            if (isinstance(rule, YaraRule) and rule.scope.startswith(_FILE))
            or (isinstance(rule, Rule) and not rule.buffers.isdisjoint(FILE_BUFFERS))
        }
        """Rules on files: each file of a message may match."""
        self._waits: Bool = np.isin(np.arange(len(rules)), list(self._both))
        self._direction: I64 = np.full(len(rules), -1, np.int64)
        """By rule: the direction that a rule on both sides is seen from, or one on nothing but what is odd, which is of
        the exchange, whichever side showed it; -1: that of the transaction."""
        self._sides: Bool = np.ones((len(rules), 2), bool)
        """By rule and direction: that side sends what the rule looks at."""
        for number, rule in enumerate(rules):
            if number in self._both:
                self._direction[number] = rule.flow.direction or Direction.TO_SERVER
            elif isinstance(rule, Rule) and rule.buffers == _ODD:
                if rule.flow.direction is not None:
                    self._direction[number] = rule.flow.direction
            elif isinstance(rule, Rule) and rule.sides:
                self._sides[number] = [side in rule.sides for side in Direction]

    def transactions(self, transactions: Transactions) -> list[Match]:
        """Take the transactions of a batch; return the rules that now hold, in their order."""
        if not (self._index.made_always or self._in_heads or self._index.by_protocol) or not len(transactions):
            return []
        candidates = self._candidates(transactions)
        if self._both or self._looks_back:
            return self._with_requests(transactions, candidates)
        return [match for row in sorted(candidates) for match in self._judge(transactions[row], candidates[row], None)]

    def _candidates(self, transactions: Transactions) -> dict[int, set[int]]:
        """Return the rules noticed in each transaction that look at its flow and are open to it, by row."""
        rows, rules = self._noticed(transactions)
        if not len(rows):
            return {}
        noticed, place = np.unique(rows, return_inverse=True)
        own = [transactions[row] for row in noticed.tolist()]
        slots = np.array([tx.slot for tx in own], np.int64)[place]
        directions = np.array([tx.direction for tx in own], np.int64)[place]
        spoken = [own[i].protocol for i in place.tolist()]
        keep = self._sides[rules, directions]
        wanted = self._direction[rules]
        seen_from = np.where(wanted < 0, directions, wanted).astype(np.uint8)
        flows = own[0].flows
        keep &= self._index.selectors.fits(flows, slots, seen_from, rules)
        keep &= self._waits[rules] | self._index.selectors.open(flows, slots, rules, spoken)
        candidates: dict[int, set[int]] = {}
        for row, rule in zip(rows[keep].tolist(), rules[keep].tolist(), strict=True):
            candidates.setdefault(row, set()).add(rule)
        return candidates

    def _noticed(self, transactions: Transactions) -> tuple[I64, I64]:
        """Search every buffer that rules name; return pairs of row and rule, possibly repeated."""
        all_rows: list[I64] = [_NONE]
        all_rules: list[I64] = [_NONE]
        worth = self._worth_a_look(transactions)
        columns = transactions.columns(self._index.made_always, self._in_heads, worth)
        for name, (rows, contents) in sorted(columns.items()):
            prefilter = self._index.buffers.get(name)
            if prefilter is not None:
                starts = np.zeros(len(contents) + 1, np.int64)
                np.cumsum(np.fromiter(map(len, contents), np.int64, len(contents)), out=starts[1:])
                places, rules = prefilter.find(b"".join(contents), starts)
                if len(places):
                    all_rows.append(np.array(rows, np.int64)[places])
                    all_rules.append(rules)
            if name in self._index.by_buffer:
                with_buffer = ascending(np.array(rows, np.int64))
                for rule in self._index.by_buffer[name]:
                    all_rows.append(with_buffer)
                    all_rules.append(np.full(len(with_buffer), rule, np.int64))
        for protocol, numbers in self._index.by_protocol.items():
            spoken: I64 = np.array([row for row, tx in enumerate(transactions) if tx.protocol == protocol], np.int64)
            for rule in numbers:
                all_rows.append(spoken)
                all_rules.append(np.full(len(spoken), rule, np.int64))
        return np.concatenate(all_rows), np.concatenate(all_rules)

    def _worth_a_look(self, transactions: Transactions) -> set[int]:
        """Return the rows that may have a needle in a buffer: those that are not ordinary, and those that have one in
        their head as it was sent. Of the others no buffer has to be made that is a part of the head.
        """
        worth: set[int] = set()
        rows: list[int] = []
        heads: list[bytes] = []
        for row, tx in enumerate(transactions):
            head = tx.head_as_sent()
            if head is None:
                worth.add(row)
            else:
                rows.append(row)
                heads.append(head)
        if heads and len(self._index.heads):
            starts = np.zeros(len(heads) + 1, np.int64)
            np.cumsum(np.fromiter(map(len, heads), np.int64, len(heads)), out=starts[1:])
            found, _ = self._index.heads.find(b"".join(heads), starts)
            worth.update(np.array(rows)[ascending(found)].tolist())
        return worth

    def _with_requests(self, transactions: Transactions, candidates: dict[int, set[int]]) -> list[Match]:
        """Keep of requests what rules on both sides need, and judge responses together with theirs."""
        matches: list[Match] = []
        for row, tx in enumerate(transactions):
            noticed = candidates.get(row, set())
            request: Request | None = None
            if tx.direction == Direction.TO_SERVER:
                self._keep(tx, noticed & self._both)
                noticed -= self._both
            else:
                request = self._request(tx)
                if request is not None:
                    noticed |= request.candidates
            if noticed:
                matches += self._judge(tx, noticed, request)
        return matches

    def _judge(self, tx: Transaction, candidates: set[int], request: Request | None) -> list[Match]:
        matches: list[Match] = []
        views: dict[tuple[bool, bool, Direction], View] = {}
        yara: dict[str, list[int]] = {}
        for number in sorted(candidates):
            rule = self._early_of(number) if tx.partial else self._index.rules[number]
            if rule is None or self._was_reported(tx, number):
                continue
            if isinstance(rule, YaraRule):
                yara.setdefault(rule.scope, []).append(number)
                continue
            both = number in self._both
            if both and not self._index.selectors.of(number).is_open(tx.flow, tx.protocol):
                continue
            seen_from = int(self._direction[number])
            direction = Direction(seen_from) if seen_from >= 0 else tx.direction
            moment = Moment(tx.flow, direction, tx.ts_ns, tx.number, tx)
            mixed = number in self._index.mixed
            key = (both, mixed, direction)
            if key not in views:
                instances = _joined(tx, request) if both else tx.instances
                views[key] = view_of(moment, self.with_payload(tx, instances) if mixed else instances)
                if self._looks_back and request is not None:
                    views[key].scene = partial(scene_of, moment, request.buffers)
                if self._index.asks_headers:
                    views[key].header = self._headers(tx.number, tx.slot)
            answer = self._evaluator.evaluate(rule, views[key], moment)
            if answer is not Outcome.NO:
                self._report(tx, number)
            if isinstance(answer, Match):
                matches.append(answer)
        for scope, numbers in yara.items():
            matches += self._run_yara(tx, scope, numbers)
        return matches

    def _early_of(self, number: int) -> Rule | YaraRule | None:
        if number not in self._early:
            self._early[number] = self._index.early(self._index.rules[number])
        return self._early[number]

    def with_payload(
        self, tx: Transaction, instances: Callable[[str], Sequence[bytes]]
    ) -> Callable[[str], Sequence[bytes]]:
        """Return the buffers of an exchange, and the payload beside them."""
        assert self._beside is not None
        payloads = self._beside.payloads(tx)
        return lambda name: payloads if name == PAYLOAD else instances(name)

    def _run_yara(self, tx: Transaction, scope: str, numbers: list[int]) -> list[Match]:
        """Run YARA over the instances of a buffer, for the rules that were noticed in it."""
        matches: list[Match] = []
        moment = Moment(tx.flow, tx.direction, tx.ts_ns, tx.number, tx)
        left = set(numbers)
        for data in tx.instances(scope):
            if not data or not left:
                continue
            for number, what in self._yara.scan(scope, data, moment.ts_ns).items():
                if number not in left:
                    continue
                left.discard(number)
                rule = self._index.rules[number]
                shown = self._evaluator.guarded(rule, moment.flow, moment.ts_ns, yara_evidence, what, scope, data) or ()
                self._report(tx, number)
                matches.append(self._evaluator.match(rule, moment, shown))
        return matches

    def _exchanges(self, tx: Transaction) -> Exchanges:
        """Return what is kept of a flow; what other rules left is forgotten."""
        kept = self._memory.exchanges.of(tx.flow)
        if kept.load is not self._index.identities:
            kept.load = self._index.identities
            kept.waiting.clear()
            kept.reported.clear()
            self._memory.retained.release(kept)
        return kept

    def _known(self, tx: Transaction) -> Exchanges | None:
        kept = self._memory.exchanges.get(tx.flow) if self._memory.exchanges.by_id else None
        return kept if kept is not None and kept.load is self._index.identities else None

    def _keep(self, tx: Transaction, candidates: set[int]) -> None:
        """Keep of a request what rules on both sides need."""
        buffers = {name: tuple(many) for name in self._kept_names if (many := tx.instances(name))}
        if not buffers:
            return
        kept = self._exchanges(tx)
        known = kept.waiting.get(tx.key)
        if known is not None:
            known.buffers.update(buffers)
            known.candidates |= candidates
        else:
            kept.waiting[tx.key] = Request(buffers, candidates)
        if len(kept.waiting) > self._limit:
            kept.waiting.popitem(last=False)
            self._counters.add("rules.transactions.evicted")
        self._memory.retained.hold(kept, kept.size)

    def _request(self, tx: Transaction) -> Request | None:
        """Return the request of a response; the last part of the response takes it away."""
        kept = self._known(tx)
        if kept is None:
            return None
        request = kept.waiting.pop(tx.key, None) if tx.complete else kept.waiting.get(tx.key)
        if request is not None:
            self._memory.retained.hold(kept, kept.size)
        return request

    def _was_reported(self, tx: Transaction, number: int) -> bool:
        kept = self._known(tx)
        return kept is not None and number in kept.reported.get((*tx.key, self._side(tx, number)), ())

    def _side(self, tx: Transaction, number: int) -> int:
        """Return the side of a transaction, for a rule on files also which of several files it is."""
        part: int = tx.files[0].part if len(tx.files) == 1 and number in self._of_files else 0
        return tx.direction + 2 * part

    def _report(self, tx: Transaction, number: int) -> None:
        reported = self._exchanges(tx).reported
        reported.setdefault((*tx.key, self._side(tx, number)), set()).add(number)
        if len(reported) > REPORTED_PER_FLOW:
            reported.popitem(last=False)


def _joined(tx: Transaction, request: Request | None) -> Callable[[str], Sequence[bytes]]:
    """Return the buffers of a response, and of its request those that the response lacks."""
    if request is None:
        return tx.instances
    return lambda name: tx.instances(name) or request.buffers.get(name, ())
