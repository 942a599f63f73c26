"""Says why a rule matched in a capture, or what kept it from it: of all places that it looks at, the nearest miss.

The whole engine runs, with all rules, so that what counts (matches, alerts) is what it found. Beside it the one rule is
judged everywhere, also where no literal of it was seen, which the engine would not do.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ids.authoring.admission import admission
from ids.authoring.bench import Bench, OnProgress, Watch
from ids.authoring.trace import Finding, Mark, trace
from ids.authoring.words import spelt, state_in_words
from ids.authoring.yara_strings import YaraTracer
from ids.config import Config
from ids.errors import UsageError
from ids.respond.uninspected import Uninspected, uninspected
from ids.rules.match.evaluation import Moment, view_of
from ids.rules.match.matcher import Matcher
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.header import HeaderTest
from ids.rules.model.literals import Needle, cover_of
from ids.rules.model.rule import Rule, Scoped
from ids.rules.model.yara import STREAM, YaraRule
from ids.types import (
    BitChange,
    BitTest,
    CounterChange,
    Datagrams,
    Direction,
    Flow,
    FlowBatch,
    Match,
    Packets,
    Streams,
    Transaction,
    Transactions,
)
from ids.types.state import TextChange

MAX_HELD_BYTES = 256 << 20
"""Bytes of streams that are kept for one rule; the direction that was silent longest loses its own."""

MAX_PACKETS = 200_000
"""Packets that a rule on packets is judged on; of a larger capture, the first."""

MAX_REQUESTS = 4096
"""Requests that are kept for their responses."""

EAGER_BYTES = 64 << 10
"""Bytes of a direction up to which it is judged at every batch; then whenever it has grown by half."""

Instances = Callable[[str], Sequence[bytes]]


@dataclass(slots=True)
class Look:
    """One place that was looked at."""

    place: str
    """``stream``, ``datagram``, ``packet`` or the transaction."""
    ends: str
    number: int
    """The packet that brought the last of it."""
    traffic: list[Finding]
    """What the rule asks of the flow, one by one."""
    needle: Finding | None = None
    """Whether one of the literals was seen that let the engine look at all."""
    condition: Finding | None = None
    """None where the flow is none of the rule's."""

    @property
    def held(self) -> bool:
        """All of it holds."""
        return self.condition is not None and self.condition.held

    @property
    def rank(self) -> tuple[float, ...]:
        """How near it is to a match; larger is nearer."""
        fits = sum(finding.held for finding in self.traffic) / max(1, len(self.traffic))
        seen = float(self.needle is not None and self.needle.held)
        return fits, float(self.held), self.condition.progress if self.condition else 0.0, seen


@dataclass(slots=True)
class Explanation:
    """What became of a rule in captures."""

    rule: Scoped
    looks: int = 0
    """Places that it might look at,"""
    admitted: int = 0
    """those of its traffic,"""
    noticed: int = 0
    """and of these, where one of its literals stood."""
    best: Look | None = None
    matches: list[Match] = field(default_factory=list)
    alerts: int = 0
    state: list[Finding] = field(default_factory=list)
    """What it asks of state, with who sets it."""
    threshold: str = ""
    packets: int = 0
    uninspected: list[Uninspected] = field(default_factory=list)
    """What of the captures no rule got to see, as a replay says it."""
    cut_short: str = ""


def explain(sid: int, paths: Iterable[Path], config: Config, on_progress: OnProgress | None = None) -> Explanation:
    """Run captures and explain what became of a rule; raises `IdsError`, also where there is no such rule."""
    bench = Bench(config)
    try:
        found = [rule for rule in bench.matcher.rules if rule.signature.sid == sid]
        if not found:
            known = len(bench.matcher.rules)
            raise UsageError(f"no rule with sid {sid} is loaded, of {known:,}: name its file as FILE:{sid}, or by -S")
        story = Explanation(found[0])
        with bench.watched(lambda matcher: _Onlooker(matcher, story, config.rules.window_bytes)) as watch:
            for path in paths:
                bench.run(path, on_progress)
                watch.forget()
            story.uninspected = uninspected(bench.engine.all_counters().values, live=False)
    finally:
        bench.close()
    story.packets = bench.packets
    story.alerts = sum(alert["alert"]["signature_id"] == sid for alert in bench.alerts)
    story.state = watch.state()
    story.threshold = _threshold(story.rule)
    return story


class _Onlooker(Watch):
    """Judges one rule on all that the matcher is handed."""

    def __init__(self, matcher: Matcher, story: Explanation, window_bytes: int) -> None:
        super().__init__(matcher)
        self._story = story
        self._window_bytes = window_bytes
        self._rule = rule = story.rule
        number = matcher.index.numbers[rule.identity]
        index = matcher.index
        self._needles = cover_of(rule) if isinstance(rule, Rule) else getattr(rule, "needles", None)
        self._yara = YaraTracer(rule, matcher.scanner.sources) if isinstance(rule, YaraRule) else None
        buffers = rule.buffers if isinstance(rule, Rule) else {PAYLOAD if rule.scope == STREAM else rule.scope}  # type: ignore[attr-defined]
        self._buffers = frozenset(buffers)
        of_packets = number in index.packet or number in index.packet_unfiltered or number in index.headers
        self._in_packets = of_packets
        of_payload = PAYLOAD in buffers or (not buffers and not getattr(rule, "exchanges", ()))
        self._beside = number in index.mixed
        """It looks at payload beside an exchange."""
        of_payload = of_payload and not self._beside
        self._in_payload = of_payload and (not of_packets or number in index.of_either)
        asks_exchanges = isinstance(rule, Rule) and bool(rule.exchanges)
        of_exchange = asks_exchanges or self._beside or (bool(self._buffers) and PAYLOAD not in self._buffers)
        self._in_transactions = of_exchange and not of_packets
        self._windows: OrderedDict[tuple[int, int], _Window] = OrderedDict()
        self._held = 0
        self._requests: OrderedDict[tuple[int, str, int], dict[str, tuple[bytes, ...]]] = OrderedDict()
        self._others: Counter[int] = Counter()
        self._packets = 0

    def forget(self) -> None:
        """Forget the capture that ended."""
        self._windows.clear()
        self._requests.clear()
        self._held = 0

    def streams(self, streams: Streams) -> list[Match]:
        if self._in_payload and self._rule.traffic.carried_by(6):
            for row in range(len(streams)):
                self._stream(streams, row)
        return self._noted(self.matcher.streams(streams))

    def datagrams(self, datagrams: Datagrams) -> list[Match]:
        if self._in_payload and self._rule.traffic.protocol != "tcp":
            for row in range(len(datagrams)):
                flow, direction = (
                    datagrams.flows.view(int(datagrams.slot[row])),
                    Direction(int(datagrams.direction[row])),
                )
                data = datagrams.content(row)
                moment = Moment(flow, direction, int(datagrams.ts_ns[row]), int(datagrams.number[row]))
                self._look("datagram", moment, lambda name, data=data: (data,) if name == PAYLOAD else ())  # type: ignore[misc]
        return self._noted(self.matcher.datagrams(datagrams))

    def transactions(self, transactions: Transactions) -> list[Match]:
        if self._in_transactions:
            for tx in transactions:
                self._transaction(tx)
        return self._noted(self.matcher.transactions(transactions))

    def packets(self, packets: Packets, flows: FlowBatch) -> list[Match]:
        found = self.matcher.packets(packets, flows)
        if self._in_packets:
            self._each_packet(packets, flows)
        return self._noted(found)

    def state(self) -> list[Finding]:
        """Return what the rule asks of state: which rules set that, and whether one of them matched."""
        return [self._state(test) for test in self._rule.signature.state.tests]

    def _state(self, test: object) -> Finding:
        names = test.names if isinstance(test, BitTest) else (getattr(test, "name", ""),)
        setters = [
            rule.signature.sid
            for rule in self.matcher.rules
            for change in rule.signature.state.changes
            if isinstance(change, BitChange | CounterChange | TextChange) and change.name in names
        ]
        matched = [sid for sid in setters if self._others[sid]]
        who = f"changed by sid {', '.join(map(str, setters[:8]))}" if setters else "no loaded rule changes it"
        seen = f"; of these matched here: {', '.join(map(str, matched[:8])) or 'none'}" if setters else ""
        negated = bool(getattr(test, "negated", False))
        return Finding(f"{state_in_words(test)} ({who}{seen})", bool(matched) is not negated)  # type: ignore[arg-type]

    def _noted(self, found: list[Match]) -> list[Match]:
        for match in found:
            self._others[match.signature.sid] += 1
            if match.signature.sid == self._rule.signature.sid:
                self._story.matches.append(match)
        return found

    def _stream(self, streams: Streams, row: int) -> None:
        flow, direction = streams.flows.view(int(streams.slot[row])), Direction(int(streams.direction[row]))
        window = self._window(flow, direction)
        before = len(window.data)
        window.take(streams.content(row), int(streams.offset[row]), int(streams.gap[row]), self._window_bytes)
        self._held += len(window.data) - before
        closed = bool(streams.closed[row])
        if window.data and window.due(closed):
            moment = Moment(flow, direction, int(streams.ts_ns[row]), int(streams.number[row]))
            data = bytes(window.data)
            self._look("stream", moment, lambda name: (data,) if name == PAYLOAD else (), window.base)
        elif not window.data and not self._buffers:
            self._look(
                "stream", Moment(flow, direction, int(streams.ts_ns[row]), int(streams.number[row])), lambda _: ()
            )
        if closed:
            self._held -= len(self._windows.pop((flow.id, int(direction))).data)
        while self._held > MAX_HELD_BYTES and len(self._windows) > 1:
            self._held -= len(self._windows.popitem(last=False)[1].data)

    def _window(self, flow: Flow, direction: Direction) -> _Window:
        key = flow.id, int(direction)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
        self._windows.move_to_end(key)
        return window

    def _transaction(self, tx: Transaction) -> None:
        both = isinstance(self._rule, Rule) and len(self._rule.sides) == 2
        instances: Instances = tx.instances
        if both:
            key = tx.flow.id, tx.protocol, tx.tx_id
            if tx.direction == Direction.TO_SERVER:
                self._requests[key] = {name: tuple(tx.instances(name)) for name in self._buffers}
                if len(self._requests) > MAX_REQUESTS:
                    self._requests.popitem(last=False)
            asked = self._requests.get(key, {})
            instances = lambda name: tx.instances(name) or asked.get(name, ())  # noqa: E731
        elif isinstance(self._rule, Rule) and self._rule.sides and tx.direction not in self._rule.sides:
            return
        if self._beside:
            instances = self.matcher.transaction_matcher.with_payload(tx, instances)
        direction = (self._rule.flow.direction or Direction.TO_SERVER) if both else tx.direction
        moment = Moment(tx.flow, direction, tx.ts_ns, tx.number, tx)
        self._look(f"{tx.protocol} transaction {tx.tx_id}", moment, instances, spoken=tx.protocol)

    def _each_packet(self, packets: Packets, flows: FlowBatch) -> None:
        batch = packets.batch
        for row in range(len(packets)):
            self._packets += 1
            if self._packets > MAX_PACKETS:
                self._story.cut_short = f"only the first {MAX_PACKETS:,} packets were looked at one by one"
                return
            looked, slot = self.matcher.packet_matcher.looked(row), int(flows.slot[row])
            if looked is None or slot < 0:
                continue
            direction = Direction(int(flows.direction[row]))
            moment = Moment(flows.flows.view(slot), direction, int(batch.ts_ns[row]), int(batch.number[row]))
            self._look("packet", moment, looked[0], header=looked[1])

    def _look(
        self,
        place: str,
        moment: Moment,
        instances: Instances,
        base: int = 0,
        spoken: str | None = None,
        header: Callable[[HeaderTest], bool] | None = None,
    ) -> None:
        story, rule = self._story, self._rule
        story.looks += 1
        flow = moment.flow
        traffic = admission(rule, flow, moment.direction, spoken)
        look = Look(place, _ends(flow, moment.direction), moment.number, traffic)
        if all(finding.held for finding in traffic):
            story.admitted += 1
            look.needle = self._seen(instances)
            story.noticed += look.needle is None or look.needle.held
            if isinstance(rule, Rule):
                view = view_of(moment, instances, base)
                view.header = header
                look.condition = trace(rule.condition, view)
            elif self._yara is not None:
                look.condition = self._yara.trace(instances(PAYLOAD if rule.scope == STREAM else rule.scope), base)  # type: ignore[attr-defined]
        if story.best is None or look.rank > story.best.rank:
            story.best = look

    def _seen(self, instances: Instances) -> Finding | None:
        """Return which of the literals stands where it is looked for, that lets the engine look at the rule."""
        if not self._needles:
            return None
        parts = [_needle(needle, instances(needle.buffer)) for needle in sorted(self._needles, key=lambda n: n.value)]
        return Finding("one of its literals was seen", any(part.held for part in parts), parts=parts)


@dataclass(slots=True)
class _Window:
    """The latest bytes of one direction of a stream."""

    data: bytearray = field(default_factory=bytearray)
    base: int = 0
    judged: int = 0

    def take(self, data: bytes, offset: int, gap: int, limit: int) -> None:
        """Take new bytes; the oldest above a limit are let go."""
        if gap or not self.data:
            self.data.clear()
            self.base, self.judged = offset, 0
        self.data += data
        over = len(self.data) - limit
        if over > 0:
            del self.data[:over]
            self.base += over

    def due(self, closed: bool) -> bool:
        """Return whether it is to be judged again."""
        grown = self.base + len(self.data)
        if closed or grown <= EAGER_BYTES or grown >= self.judged + self.judged // 2:
            self.judged = grown
            return True
        return False


def _needle(needle: Needle, instances: Sequence[bytes]) -> Finding:
    text = f"{needle.buffer} {needle.anchor.value} {spelt(needle.value)}" + (" nocase" if needle.nocase else "")
    for data in instances:
        at = (data.lower() if needle.nocase else data).find(needle.value)
        if at >= 0:
            first = max(0, at - 16)
            kept = data[first : at + len(needle.value) + 16]
            mark = Mark(needle.buffer, first, kept, at - first, at - first + len(needle.value), len(data))
            return Finding(text, True, mark, progress=1)
    return Finding(text, False)


def _ends(flow: Flow, direction: Direction) -> str:
    client, server = f"{flow.src_ip} port {flow.sport}", f"{flow.dst_ip} port {flow.dport}"
    return f"{client} → {server}" if direction == Direction.TO_SERVER else f"{server} → {client}"


def _threshold(rule: Scoped) -> str:
    threshold = rule.signature.threshold
    if threshold is None:
        return ""
    return f"{threshold.type}, {threshold.track}: count {threshold.count} in {threshold.seconds} s"
