"""Matches rules on the payload of TCP: one window of bytes per direction of a flow.

A rule whose needle was seen in a direction waits there until its condition holds on the window, then is done. How often
it is judged meanwhile is what keeps the cost linear, whatever the sender does:

1. A chunk is scanned once for needles, together with the last ``longest needle - 1`` bytes before it.
2. A waiting rule is judged at each chunk until it has cost `EAGER_BYTES`; then only when the stream has grown by half,
   or by half a window. So it costs O(bytes) in all, and small streams are judged at once.
3. Before bytes leave the window, before a gap, and when the direction closes, every waiting rule is judged.

The window never spans a gap: bytes that were not seen are not guessed, so tests on both sides of one do not meet.
``none`` and upper bounds of a size speak of what was seen so far.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ids.counters import Counters
from ids.rules.buffers import PAYLOAD
from ids.rules.judging import Judge, Verdict
from ids.rules.model import Rule
from ids.rules.prefilter import Prefilter
from ids.rules.retained import Retained
from ids.rules.window import Window
from ids.types import Direction, Flow, Match, StreamChunk

STORAGE = "rules.stream"
"""Key of the two sides in `Flow.storage`."""

EAGER_BYTES = 16 << 10
JUDGE_BYTES = 256
"""What one judgement costs besides its window, in bytes of window: bounds the number of eager judgements to 64."""


@dataclass(slots=True)
class Waiting:
    """A rule that may yet hold in this direction."""

    spent: int = 0
    due: int = 0
    """Length of the stream from which on it is judged again."""


@dataclass(slots=True, eq=False)
class Side:
    """What is kept of one direction of a flow."""

    owner: object
    window: Window = field(default_factory=Window)
    waiting: dict[int, Waiting] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    next_due: int = 0

    def forget(self) -> None:
        """Let the window go; what comes next is judged by itself."""
        self.window.restart(self.window.end)


class StreamMatcher:
    """The rules on ``payload`` of TCP."""

    def __init__(
        self,
        rules: list[Rule],
        prefilter: Prefilter,
        unfiltered: Iterable[int],
        judge: Judge,
        retained: Retained,
        counters: Counters,
        window_bytes: int,
    ) -> None:
        self._rules = rules
        self._prefilter = prefilter
        self._unfiltered = frozenset(unfiltered)
        self._judge = judge
        self._retained = retained
        self._counters = counters
        self._window_bytes = window_bytes
        self._half = window_bytes // 2
        self._overlap = max(0, prefilter.longest - 1)
        self.active = bool(len(prefilter) or self._unfiltered)

    def chunk(self, chunk: StreamChunk) -> list[Match]:
        """Take the next bytes of a direction; return the rules that now hold."""
        matches: list[Match] = []
        side = self._side(chunk.flow, chunk.direction)
        if chunk.gap or chunk.offset != side.window.end:
            self._judge_waiting(side, chunk, matches, everything=True)
            if side.window:
                self._counters.add("rules.window.gap")
            for index in side.waiting.keys() - self._unfiltered:  # their needle is gone with the window
                del side.waiting[index]
            side.window.restart(chunk.offset)
        data = chunk.data
        for start in range(0, len(data), self._half):
            self._feed(side, data[start : start + self._half] if len(data) > self._half else data, chunk, matches)
        self._judge_waiting(side, chunk, matches, everything=chunk.closed)
        if chunk.closed:
            side.forget()
            self._retained.release(side)
        elif data:
            self._retained.hold(side, len(side.window))
        return matches

    def end(self, flow: Flow) -> None:
        """Release what is kept of a flow that ended."""
        for side in flow.storage.pop(STORAGE, {}).values():
            self._retained.release(side)

    def _feed(self, side: Side, data: bytes, chunk: StreamChunk, matches: list[Match]) -> None:
        window = side.window
        if len(window) + len(data) > self._window_bytes:
            self._judge_waiting(side, chunk, matches, everything=True)
            self._counters.add("rules.window.dropped_bytes", window.shorten(self._half))
        hits = self._prefilter.scan(window.append(data, self._overlap))
        if hits:
            self._admit(side, hits, chunk.flow, chunk.direction)

    def _admit(self, side: Side, hits: Iterable[int], flow: Flow, direction: Direction) -> None:
        for index in hits:
            if index in side.done or index in side.waiting:
                continue
            rule = self._rules[index]
            if rule.traffic.fits(flow, direction) and rule.flow.direction in (None, direction):
                side.waiting[index] = Waiting()
                side.next_due = 0
            else:
                side.done.add(index)

    def _judge_waiting(self, side: Side, chunk: StreamChunk, matches: list[Match], everything: bool) -> None:
        length = side.window.end
        if not side.waiting or not (everything or length >= side.next_due):
            return
        view = self._judge.view(chunk.flow, chunk.direction, {PAYLOAD: bytes(side.window.data)}, side.window.base)
        for index, waiting in list(side.waiting.items()):
            if not everything and length < waiting.due:
                continue
            rule = self._rules[index]
            if rule.open_to(chunk.flow, chunk.direction):
                answer = self._judge.judge(rule, view, chunk.flow, chunk.direction, (chunk.ts_ns, chunk.number))
                if answer is not Verdict.NO:
                    del side.waiting[index]
                    side.done.add(index)
                    if isinstance(answer, Match):
                        matches.append(answer)
                    continue
            waiting.spent += len(side.window) + JUDGE_BYTES
            eager = waiting.spent < EAGER_BYTES
            waiting.due = length + (1 if eager else max(1, min(length // 2, self._half)))
        side.next_due = min((waiting.due for waiting in side.waiting.values()), default=1 << 62)

    def _side(self, flow: Flow, direction: Direction) -> Side:
        sides: dict[int, Side] = flow.storage.setdefault(STORAGE, {})
        side = sides.get(direction)
        if side is None or side.owner is not self:
            side = sides[direction] = self._new_side(flow, direction, side)
        return side

    def _new_side(self, flow: Flow, direction: Direction, old: Side | None) -> Side:
        """Start a side; after a reload, go on with the window of the old rules, and with what they already told."""
        side = Side(self)
        self._admit(side, self._unfiltered, flow, direction)
        if old is None:
            return side
        self._retained.release(old)
        side.window = old.window
        told = (
            {_identity(old.owner._rules[index]) for index in old.done} if isinstance(old.owner, StreamMatcher) else ()
        )
        side.done.update(index for index, rule in enumerate(self._rules) if told and _identity(rule) in told)
        for index in side.done & side.waiting.keys():
            del side.waiting[index]
        self._admit(side, self._prefilter.scan(bytes(side.window.data)), flow, direction)
        return side


def _identity(rule: Rule) -> tuple[int, int, int]:
    return rule.signature.gid, rule.signature.sid, rule.signature.rev
