"""What each rule costs on a capture: how often it is looked at, how often it matches, and the time that takes.

Nothing is measured in ordinary work: here, what evaluates, searches and scans is wrapped, of one engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TypeVar

from ids.authoring.bench import Bench, OnProgress, Watch
from ids.config import Config
from ids.rules.match.evaluation import Moment, Outcome
from ids.rules.match.flagged import Session
from ids.rules.match.matcher import Matcher
from ids.rules.match.portwise import PortwisePrefilter
from ids.rules.match.prefilter import Prefilter
from ids.rules.model.rule import Identity, Rule, Scoped
from ids.rules.model.yara import YaraRule
from ids.rules.model.yara_parts import compile_part
from ids.types import Datagrams, FlowBatch, Match, Packets, Streams, Transactions

YARA_ALONE = 500
"""YARA rules of one scope up to which each is measured by itself; of more, libyara's time is shared out evenly."""

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class RuleCost:
    """What one rule cost."""

    rule: Scoped
    checks: int = 0
    """How often its whole condition was looked at."""
    matches: int = 0
    ns: int = 0

    @property
    def us_per_check(self) -> float:
        """Microseconds of one look."""
        return self.ns / self.checks / 1000 if self.checks else 0.0


@dataclass(slots=True)
class Spent:
    """Time, calls, and bytes that were searched."""

    ns: int = 0
    calls: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Profile:
    """What rules cost on captures."""

    rules: dict[Identity, RuleCost] = field(default_factory=dict)
    loaded: int = 0
    packets: int = 0
    total: Spent = field(default_factory=Spent)
    """All matching."""
    prefilters: dict[str, Spent] = field(default_factory=dict)
    """The search for literals, by where: ``stream``, ``datagram``, ``packet``, a buffer, ``heads``."""
    estimated: bool = False
    """The times of single YARA rules are shares of that of all."""

    @property
    def prefilter_ns(self) -> int:
        """All searches for literals."""
        return sum(spent.ns for spent in self.prefilters.values())

    @property
    def rules_ns(self) -> int:
        """All looks at rules."""
        return sum(cost.ns for cost in self.rules.values())

    @property
    def other_ns(self) -> int:
        """All else of matching: which flows rules look at, headers in columns, bytes that are kept."""
        return max(0, self.total.ns - self.prefilter_ns - self.rules_ns)

    def ordered(self, key: str = "total") -> list[RuleCost]:
        """Return the rules that were looked at, the dearest first; ``key``: ``total``, ``checks``, ``matches``,
        ``average``."""
        measures: dict[str, Callable[[RuleCost], float]] = {
            "total": lambda cost: cost.ns, "checks": lambda cost: cost.checks, "matches": lambda cost: cost.matches,
            "average": lambda cost: cost.us_per_check,
        }  # fmt: skip
        measure = measures[key]
        return sorted(self.rules.values(), key=lambda cost: (-measure(cost), cost.rule.signature.sid))


def profile(paths: Iterable[Path], config: Config, on_progress: OnProgress | None = None) -> Profile:
    """Run captures and return what the rules cost; raises `IdsError` for bad rules and captures."""
    found = Profile()
    bench = Bench(config)
    try:
        with bench.watched(lambda matcher: _Clock(matcher, found)):
            for path in paths:
                bench.run(path, on_progress)
    finally:
        bench.close()
    found.packets = bench.packets
    return found


class _Clock(Watch):
    """Measures what the matcher does as a whole, and what it has others do."""

    def __init__(self, matcher: Matcher, found: Profile) -> None:
        super().__init__(matcher)
        self._found = found
        self._yara: dict[int, Any] = {}
        found.loaded = len(matcher.rules)
        evaluator, index = matcher.evaluator, matcher.index
        _replace(evaluator, evaluate=self._evaluated(evaluator.evaluate), match=self._matched(evaluator.match))
        _replace(matcher.scanner, scan=self._scanned(matcher))
        self._time(index.stream, "stream")
        self._time(index.datagram, "datagram")
        self._time(index.heads, "heads")
        for (name, _), of_packets in index.in_packets.items():
            self._time(of_packets, "packet" if name == "payload" else name)
        for name, prefilter in index.buffers.items():
            self._time(prefilter, name)

    def streams(self, streams: Streams) -> list[Match]:
        return self._timed(self.matcher.streams, streams)

    def datagrams(self, datagrams: Datagrams) -> list[Match]:
        return self._timed(self.matcher.datagrams, datagrams)

    def transactions(self, transactions: Transactions) -> list[Match]:
        return self._timed(self.matcher.transactions, transactions)

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        return self._timed(self.matcher.packets, packets, flows)

    def flagged(self, session: Session) -> list[Match]:
        return self._timed(self.matcher.flagged, session)

    def _timed(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        started = perf_counter_ns()
        answer = function(*arguments)
        self._found.total.ns += perf_counter_ns() - started
        self._found.total.calls += 1
        return answer

    def _cost(self, rule: Scoped) -> RuleCost:
        cost = self._found.rules.get(rule.identity)
        if cost is None:
            cost = self._found.rules[rule.identity] = RuleCost(rule)
        return cost

    def _evaluated(self, evaluate: Callable[..., Match | Outcome]) -> Callable[..., Match | Outcome]:
        def timed(rule: Rule, view: Any, moment: Moment) -> Match | Outcome:
            started = perf_counter_ns()
            answer = evaluate(rule, view, moment)
            cost = self._cost(rule)
            cost.ns += perf_counter_ns() - started
            cost.checks += 1
            return answer

        return timed

    def _matched(self, match: Callable[..., Match]) -> Callable[..., Match]:
        def counted(rule: Scoped, *what: Any) -> Match:
            self._cost(rule).matches += 1
            return match(rule, *what)

        return counted

    def _time(self, prefilter: Prefilter | PortwisePrefilter, name: str) -> None:
        spent = self._found.prefilters.setdefault(name, Spent())
        find = prefilter.find

        def timed(data: bytes, *arguments: Any, **options: Any) -> Any:
            started = perf_counter_ns()
            answer = find(data, *arguments, **options)
            spent.ns += perf_counter_ns() - started
            spent.calls += 1
            spent.bytes += len(data)
            return answer

        _replace(prefilter, find=timed)

    def _scanned(self, matcher: Matcher) -> Callable[..., dict[int, Any]]:
        """Return what scans as `YaraScanner.scan` does, and then measures each rule by itself."""
        scan, rules = matcher.scanner.scan, matcher.rules
        numbers = {scope: sorted(of.values()) for scope, of in matcher.index.yara_scopes.items()}

        def measured(scope: str, data: bytes, ts_ns: int = 0) -> dict[int, Any]:
            started = perf_counter_ns()
            found = scan(scope, data, ts_ns)
            whole = perf_counter_ns() - started
            of_scope = numbers[scope]
            alone = len(of_scope) <= YARA_ALONE
            self._found.estimated |= not alone
            for number in of_scope:
                rule = rules[number]
                assert isinstance(rule, YaraRule)
                cost = self._cost(rule)
                cost.checks += 1
                cost.ns += self._alone(matcher, number, rule, data) if alone else whole // len(of_scope)
            if alone:  # the second scan is ours, and no part of matching
                self._found.total.ns -= perf_counter_ns() - started - whole
            return found

        return measured

    def _alone(self, matcher: Matcher, number: int, rule: YaraRule, data: bytes) -> int:
        """Return what libyara takes for one rule by itself."""
        if number not in self._yara:
            self._yara[number] = compile_part(matcher.scanner.sources, [(rule.namespace, rule.name)])
        compiled = self._yara[number]
        if compiled is None:
            return 0
        started = perf_counter_ns()
        compiled.match(data=data, fast=True)
        return perf_counter_ns() - started


def _replace(of: object, **functions: Callable[..., Any]) -> None:
    """Put other functions in the place of an object's methods."""
    for name, function in functions.items():
        setattr(of, name, function)
