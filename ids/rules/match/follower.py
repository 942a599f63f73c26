"""Follows one direction of a flow, row by row, for the rules that wait in it.

A rule whose needle was seen in a direction waits there until its condition holds on the window, then is done. How often
it is evaluated meanwhile is what keeps the cost linear, whatever the sender does:

1. A waiting rule is evaluated at each row until it has cost `EAGER_BYTES`; then only when the stream has grown by half,
   or by half a window. So it costs O(bytes) in all, and small streams are judged at once.
2. The YARA rules of a direction are judged together: on the whole window while that has cost less than
   `YARA_EAGER_BYTES`, then whenever the stream has grown by half. In between only what is new is judged, with
   `OVERLAP_BYTES` before it, which finds what stands together; rules whose condition speaks of positions or sizes are
   left out there.
3. Before bytes leave the window, before a gap, and when the direction closes, every waiting rule is judged.
4. A rule that repeats matches once on the whole window, and from there on once in each span (`ids.rules.match.spans`),
   judged by itself: a request that carries what the rule excepts hides no other. It waits anew when its needle is seen
   in a further span, without a needle as soon as there is one.

The window never spans a gap: bytes that were not seen are not guessed, so tests on both sides of one do not meet.
``none`` and upper bounds of a size speak of what was seen so far.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence

from ids.counters import Counters
from ids.rules.match.beginnings import Beginnings
from ids.rules.match.conditions import View
from ids.rules.match.evaluation import Evaluator, Moment, payload_view
from ids.rules.match.index import RuleIndex
from ids.rules.match.judging import Seen, StreamJudge
from ids.rules.match.rows import StreamRows
from ids.rules.match.spans import Marks
from ids.rules.match.trail import Trail, Waiting, YaraWaiting
from ids.rules.match.yara import YaraScanner, yara_end, yara_evidence
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.rule import Rule
from ids.rules.model.yara import STREAM, YaraRule
from ids.types import Direction, Match, Streams

EAGER_BYTES = 16 << 10
EVALUATION_BYTES = 256
"""What one evaluation costs besides its window, in bytes of window: bounds the number of eager evaluations to 64."""

OVERLAP_BYTES = 4096
"""Bytes before new ones that YARA judges again with them: longer than any sensible string of a rule."""

YARA_EAGER_BYTES = 64 << 10
NEVER = 1 << 62
"""In place of the offset at which a rule matched: it cannot match in this direction."""

SCAN_BYTES = 1024
"""What one run of YARA costs besides its data: bounds the number of eager runs to 64."""


class StreamFollower:
    """Feeds the window of a direction, admits rules to it, and evaluates those that wait."""

    def __init__(
        self, index: RuleIndex, evaluator: Evaluator, yara: YaraScanner, counters: Counters, window_bytes: int
    ) -> None:
        self._index = index
        self._evaluator = evaluator
        self._yara = yara
        self._counters = counters
        self._window_bytes = window_bytes
        self.half = window_bytes // 2
        """The longest row that is fed at once."""
        self._unfiltered = frozenset(index.stream_unfiltered)
        self._again = frozenset(
            number for number in self._unfiltered if isinstance(rule := index.rules[number], Rule) and rule.repeats
        )
        """Of these, the rules that repeat: no needle is seen when they may match anew."""
        self._judge = StreamJudge(evaluator)
        self._beginnings = Beginnings(index.rules.__getitem__)

    def store(self, trail: Trail, rows: StreamRows, direction: int) -> None:
        """Feed the rows of a direction in which no rule waits."""
        for _place, _row, offset, gap, _closed, _final, content in rows.of(direction):
            if gap or offset != trail.end:
                self._restart(trail, offset)
            if len(trail.data) + len(content) > self._window_bytes:
                self._shorten(trail)
            trail.data += content

    def follow(
        self,
        trail: Trail,
        rows: StreamRows,
        direction: int,
        candidates: Mapping[int, Iterable[int]],
        messages: Sequence[int],
    ) -> list[tuple[int, Match]]:
        """Feed the rows of a direction; return the rules that now hold, each with the row that completed it.

        ``candidates`` has the rules that were noticed, by the place of the row in which they were; ``messages`` the
        stream offsets behind the messages that the batch completed of the direction, ascending.
        """
        streams = rows.streams
        slot, side = int(rows.slot[direction]), Direction(int(rows.direction[direction]))
        flow = streams.flows.view(slot)
        found: list[tuple[int, Match]] = []
        for place, row, offset, gap, closed, final, content in rows.of(direction):
            lost, over = gap or offset != trail.end, len(trail.data) + len(content) > self._window_bytes
            due = closed or trail.is_due(len(content), final)
            if not (lost or over or due or place in candidates or (self._again and trail.done)):
                if messages and (ended := bisect_right(messages, trail.end)):
                    trail.message_end = messages[ended - 1]
                trail.data += content
                continue
            moment = Moment(
                flow, side, int(streams.ts_ns[row]), int(streams.number[row]), packet_at=_packet_at(streams, row)
            )
            matches: list[Match] = []
            marks = Marks(rows, place, messages, trail.message_end)
            if lost:
                self._judge_all(trail, moment, marks, matches)
                self._restart(trail, offset)
            if len(trail.data) + len(content) > self._window_bytes:
                self._judge_all(trail, moment, marks, matches)
                self._shorten(trail)
            if messages and (ended := bisect_right(messages, trail.end)):
                marks.before = trail.message_end = messages[ended - 1]
            trail.data += content
            self.admit(trail, candidates.get(place, ()), marks)
            if self._again and trail.done:
                self.admit(trail, self._again & trail.done.keys(), marks)
            if closed:
                self._judge_all(trail, moment, marks, matches)
            else:
                if final:
                    self._evaluate(trail, moment, marks, matches, everything=False)
                self._run_yara(trail, moment, matches, len(content))
            found += [(row, match) for match in matches]
        return found

    def admit(self, trail: Trail, candidates: Iterable[int], marks: Marks | None = None) -> None:
        """Have rules wait in a direction, which look at its traffic and whose needles were seen in it.

        Without ``marks``, those that have matched there do not wait anew.
        """
        for number in candidates:
            rule = self._index.rules[number]
            since = 0
            if (done := trail.done.get(number)) is not None:
                if number in trail.waiting or marks is None or not isinstance(rule, Rule) or not rule.repeats:
                    continue
                if (start := marks.next_start(done, trail.end)) is None:
                    continue
                since = start
            if isinstance(rule, YaraRule):
                if trail.yara is None:
                    trail.yara = YaraWaiting()
                trail.yara.rules.add(number)
            elif number not in trail.waiting:
                if self._begins_otherwise(number, trail):
                    trail.done[number] = NEVER
                    continue
                trail.waiting[number] = Waiting(since=since, anew=done is not None)
                trail.next_due = 0

    def _begins_otherwise(self, number: int, trail: Trail) -> bool:
        """Return whether a rule asks for something at the start of the stream that does not stand there."""
        for asked in self._beginnings.of(number):
            if trail.base:
                return True  # the beginning was let go, or not seen
            if len(trail.data) >= asked.end and not asked.stands_in(trail.data):
                return True
        return False

    def _restart(self, trail: Trail, offset: int) -> None:
        """Begin a window behind a gap; needles that were seen are gone with the old one."""
        if trail.data:
            self._counters.add("rules.window.gap")
        for number in trail.waiting.keys() - self._unfiltered:
            del trail.waiting[number]
        if trail.yara is not None:
            trail.yara.rules &= self._unfiltered
        trail.restart(offset)

    def _shorten(self, trail: Trail) -> None:
        self._counters.add("rules.window.dropped_bytes", trail.shorten(self.half))

    def _judge_all(self, trail: Trail, moment: Moment, marks: Marks, matches: list[Match]) -> None:
        self._evaluate(trail, moment, marks, matches, everything=True)
        self._run_yara(trail, moment, matches, None)

    def _evaluate(self, trail: Trail, moment: Moment, marks: Marks, matches: list[Match], everything: bool) -> None:
        """Evaluate the rules that wait and are due; or all of them."""
        length = trail.end
        if not trail.waiting or not (everything or length >= trail.next_due):
            return
        seen = Seen(trail, moment, marks, matches)
        whole: View | None = None
        for number, waiting in list(trail.waiting.items()):
            if not everything and length < waiting.due:
                continue
            rule = self._index.rules[number]
            size = length - waiting.since if waiting.anew else len(trail.data)
            if isinstance(rule, Rule) and self._index.selectors.of(number).is_open(moment.flow):
                self._counters.add("rules.evaluated_bytes", size)
                if waiting.anew:
                    waits = self._judge.spans(rule, number, seen, waiting.since, anew=True)
                else:
                    whole = whole or payload_view(moment, bytes(trail.data), trail.base)
                    waits = self._judge.whole(rule, number, seen, whole)
                if not waits:
                    trail.waiting.pop(number, None)
                    continue
            waiting.spent += size + EVALUATION_BYTES
            eager = waiting.spent < EAGER_BYTES
            waiting.due = length + (1 if eager else max(1, min(length // 2, self.half)))
        trail.next_due = min((waiting.due for waiting in trail.waiting.values()), default=1 << 62)

    def _run_yara(self, trail: Trail, moment: Moment, matches: list[Match], new: int | None) -> None:
        """Run YARA for the rules that wait and whose flow is what they ask for.

        ``new`` is the number of new bytes at the end of the window; None asks for all of the window.
        """
        waiting = trail.yara
        if waiting is None or not waiting.rules or not trail.data:
            return
        selectors = self._index.selectors
        rules = frozenset(number for number in waiting.rules if selectors.of(number).is_open(moment.flow))
        if not rules:
            return
        if new is None or waiting.spent < YARA_EAGER_BYTES or trail.end >= waiting.due:
            judged = (trail.base, trail.end, rules)
            if waiting.judged == judged:
                return
            waiting.judged = judged
            waiting.spent += len(trail.data) + SCAN_BYTES
            waiting.due = trail.end + max(1, min(trail.end // 2, self.half))
            data, partial = bytes(trail.data), trail.base != 0
        elif new:
            data, partial = trail.tail(new + OVERLAP_BYTES), True
        else:
            return
        base = trail.end - len(data)
        for number, what in self._yara.scan(STREAM, data, moment.ts_ns).items():
            rule = self._index.rules[number]
            if number not in rules or not isinstance(rule, YaraRule) or (partial and rule.positional):
                continue
            shown = (
                self._evaluator.guarded(rule, moment.flow, moment.ts_ns, yara_evidence, what, PAYLOAD, data, base) or ()
            )
            waiting.rules.discard(number)
            trail.done[number] = trail.end
            end = None if rule.positional else yara_end(what)
            matches.append(self._evaluator.match(rule, moment if end is None else moment.completed(base + end), shown))


def _packet_at(streams: Streams, row: int) -> Callable[[int], tuple[int, int]] | None:
    if streams.arrivals is None:
        return None
    end = int(streams.offset[row] + streams.end[row] - streams.start[row])
    return lambda offset: streams.packet_at(row, end - offset)
