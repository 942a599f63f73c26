"""Runs YARA rules over streams and over the buffers of transactions, in time linear in the data.

A stream is judged as a whole, from the first byte of its window, while it is short (`EAGER_BYTES` of judging in all),
then whenever it has grown by half, and when it closes. In between only what is new is judged, with `OVERLAP_BYTES`
before it, which finds what stands together; rules whose condition speaks of positions or sizes are left out there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yara

from ids.counters import Counters
from ids.rules.conditions import CONTEXT_BYTES, EXCERPT_BYTES, MAX_EVIDENCE
from ids.rules.retained import Retained
from ids.rules.settings import RulesSettings
from ids.rules.window import Window
from ids.rules.yara_loader import YaraSet
from ids.rules.yara_scope import STREAM, YaraRule
from ids.types import Direction, Evidence, Flow, FlowState, Match, StreamChunk, Transaction

STORAGE = "rules.yara"
OVERLAP_BYTES = 4096
"""Bytes before new ones that are judged again with them: longer than any sensible string of a rule."""

EAGER_BYTES = 64 << 10
JUDGE_BYTES = 1024
"""What one judgement costs besides its data: bounds the number of eager judgements to 64."""


@dataclass(slots=True, eq=False)
class YaraSide:
    """What is kept of one direction of a flow."""

    owner: object
    window: Window = field(default_factory=Window)
    done: set[int] = field(default_factory=set)
    """sids that matched."""
    spent: int = 0
    due: int = 0
    judged: tuple[int, int] = (0, 0)
    """Where the window began and ended when all of it was judged last: a short stream is judged once, not twice."""

    def forget(self) -> None:
        """Let the window go; what comes next is judged by itself."""
        self.window.restart(self.window.end)


class YaraMatcher:
    """All YARA rules of one load. After a reload, ``previous`` hands on what it knows of live flows."""

    def __init__(
        self,
        loaded: YaraSet,
        counters: Counters,
        settings: RulesSettings | None = None,
        detector: str = "",
        previous: YaraMatcher | None = None,
    ) -> None:
        settings = settings or RulesSettings()
        off = set(settings.disabled_sids)
        self._compiled = dict(loaded.compiled)
        self._rules = {
            scope: {key: rule for key, rule in loaded.by_name(scope).items() if rule.signature.sid not in off}
            for scope in self._compiled
        }
        self._counters = counters
        self._detector = detector
        self._timeout_s = settings.yara_timeout_s
        self._window_bytes = settings.window_bytes
        self.retained: Retained = previous.retained if previous else Retained(settings.memcap_bytes, counters)

    def stream(self, chunk: StreamChunk) -> list[Match]:
        """Take the next bytes of a direction of a TCP flow."""
        if STREAM not in self._compiled or chunk.flow.proto != 6:
            return []
        side = self._side(chunk.flow, chunk.direction)
        window = side.window
        matches: list[Match] = []
        if chunk.gap or chunk.offset != window.end:
            if window:
                matches += self._whole(side, chunk)
            window.restart(chunk.offset)
        half = self._window_bytes // 2
        for start in range(0, len(chunk.data), half):
            data = chunk.data[start : start + half]
            if len(window) + len(data) > self._window_bytes:
                matches += self._whole(side, chunk)
                self._counters.add("rules.window.dropped_bytes", window.shorten(half))
            fresh = window.append(data, OVERLAP_BYTES)
            if side.spent < EAGER_BYTES or window.end >= side.due:
                matches += self._whole(side, chunk)
            else:
                matches += self._judge(side, chunk, fresh, window.end - len(fresh), partial=True)
        if chunk.closed:
            matches += self._whole(side, chunk)
            side.forget()
            self.retained.release(side)
        elif chunk.data:
            self.retained.hold(side, len(window))
        return matches

    def transaction(self, tx: Transaction) -> list[Match]:
        """Take one side of a protocol's exchange."""
        matches: list[Match] = []
        for name, data in tx.buffers.items():
            rules = self._compiled.get(name)
            if rules is None or not data:
                continue
            for found, rule in self._found(rules, name, data):
                if _open(rule, tx.flow, tx.direction, tx.protocol):
                    shown = _evidence(found, name, data, 0)
                    matches.append(
                        Match(
                            rule.signature, tx.flow, tx.direction, tx.ts_ns, tx.number, shown,
                            detector=self._detector, transaction=tx,
                        )
                    )  # fmt: skip
        return matches

    def flow_end(self, flow: Flow) -> None:
        """Release what is kept of a flow that ended."""
        for side in flow.storage.pop(STORAGE, {}).values():
            self.retained.release(side)

    def _side(self, flow: Flow, direction: Direction) -> YaraSide:
        sides: dict[int, YaraSide] = flow.storage.setdefault(STORAGE, {})
        side = sides.get(direction)
        if side is None:
            side = sides[direction] = YaraSide(self)
        elif side.owner is not self:  # after a reload the window is judged anew, by the new rules
            side.owner, side.spent, side.due, side.judged = self, 0, 0, (0, 0)
        return side

    def _whole(self, side: YaraSide, chunk: StreamChunk) -> list[Match]:
        """Judge the whole window, and say when to do so again."""
        window = side.window
        if side.judged == (window.base, window.end):
            return []
        side.judged = (window.base, window.end)
        side.spent += len(window) + JUDGE_BYTES
        side.due = window.end + max(1, min(window.end // 2, self._window_bytes // 2))
        return self._judge(side, chunk, bytes(window.data), window.base, partial=window.base != 0)

    def _judge(self, side: YaraSide, chunk: StreamChunk, data: bytes, base: int, partial: bool) -> list[Match]:
        matches: list[Match] = []
        if not data or len(side.done) == len(self._rules[STREAM]):
            return matches
        for found, rule in self._found(self._compiled[STREAM], STREAM, data):
            sid = rule.signature.sid
            if sid in side.done or (partial and rule.positional):
                continue
            if not _open(rule, chunk.flow, chunk.direction, None):
                continue
            side.done.add(sid)
            matches.append(
                Match(
                    rule.signature, chunk.flow, chunk.direction, chunk.ts_ns, chunk.number,
                    _evidence(found, "payload", data, base), detector=self._detector,
                )
            )  # fmt: skip
        return matches

    def _found(self, rules: Any, scope: str, data: bytes) -> list[tuple[Any, YaraRule]]:
        """Run YARA; return what matched of the rules of this scope."""
        self._counters.add("yara.scans")
        self._counters.add("yara.bytes", len(data))
        try:
            found = rules.match(
                data=data, fast=True, timeout=self._timeout_s, warnings_callback=self._warned,
            )  # fmt: skip
        except yara.TimeoutError:
            self._counters.add("yara.timeout")
            return []
        except yara.Error:
            self._counters.add("yara.error")
            return []
        known = self._rules[scope]
        return [(match, known[key]) for match in found if (key := (match.namespace, match.rule)) in known]

    def _warned(self, *_what: object) -> int:
        self._counters.add("yara.too_many_matches")
        return int(yara.CALLBACK_CONTINUE)


def _open(rule: YaraRule, flow: Flow, direction: Direction, protocol: str | None) -> bool:
    """Judge a rule's traffic and flow options."""
    if rule.flow.direction not in (None, direction):
        return False
    if rule.flow.established is not None and rule.flow.established == (flow.state is FlowState.NEW):
        return False
    app_proto = rule.traffic.app_proto
    if app_proto is not None and app_proto not in (flow.app_proto, protocol):
        return False
    return rule.traffic.fits(flow, direction)


def _evidence(found: Any, buffer: str, data: bytes, base: int) -> tuple[Evidence, ...]:
    shown = []
    for string in found.strings[:MAX_EVIDENCE]:
        instance = string.instances[0]
        first = max(0, instance.offset - CONTEXT_BYTES)
        last = min(instance.offset + len(instance.matched_data) + CONTEXT_BYTES, first + EXCERPT_BYTES)
        shown.append(Evidence(buffer, base + instance.offset, data[first:last]))
    return tuple(shown)
