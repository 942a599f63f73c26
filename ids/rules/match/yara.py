"""The one caller of libyara at work: runs the compiled rules of a scope over one piece of data, and shows what matched.

libyara stops at a time limit, a second at the least, and does not say which rule took the time. So the rules of a scope
that ran into it are halved, until the slow one is alone; it is then set aside for a while, and its neighbours go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yara

from ids.counters import Counters
from ids.rules.match.conditions import MAX_EVIDENCE, shown
from ids.rules.model.yara import YaraRule, YaraSet
from ids.rules.model.yara_parts import compile_part
from ids.types import Evidence

log = logging.getLogger(__name__)

SET_ASIDE_S = 60
"""How long rules that ran into the time limit, and cannot be halved, are set aside, by the time of the traffic."""

Key = tuple[str, str]
"""File and name of a rule."""


class _Part:
    """Rules of a scope that libyara runs together."""

    __slots__ = ("aside_ns", "compiled", "epoch", "keys")

    def __init__(self, compiled: Any, keys: Sequence[Key]) -> None:
        self.compiled = compiled
        self.keys = keys
        self.aside_ns: int | None = None
        self.epoch = 0

    def is_aside(self, ts_ns: int, epoch: int) -> bool:
        """Return whether the rules are set aside then."""
        if self.aside_ns is None or self.epoch != epoch:
            return False
        return ts_ns - self.aside_ns < SET_ASIDE_S * 1_000_000_000


class YaraScanner:
    """Compiled rules by scope, and the numbers of the rules in them."""

    def __init__(
        self,
        loaded: YaraSet,
        numbers: Mapping[str, Mapping[Key, int]],
        counters: Counters,
        timeout_s: int,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        """Take the numbers of the rules by scope, namespace and name. ``epoch`` returns `FlowColumns.epoch`."""
        self._parts = {scope: [_Part(loaded.compiled[scope], sorted(keys))] for scope, keys in numbers.items()}
        self.sources = loaded.sources
        self._rules: dict[Key, YaraRule] = {(rule.namespace, rule.name): rule for rule in loaded.rules}
        self._numbers = numbers
        self._counters = counters
        self._timeout_s = timeout_s
        self._epoch = epoch

    def scan(self, scope: str, data: bytes, ts_ns: int = 0) -> dict[int, Any]:
        """Return the rules of this scope that match, by number, each with libyara's match."""
        self._counters.add("yara.scans")
        self._counters.add("yara.bytes", len(data))
        known, epoch = self._numbers[scope], self._epoch()
        found: dict[int, Any] = {}
        for part in list(self._parts[scope]):
            if part.is_aside(ts_ns, epoch):
                self._counters.add("rules.skipped", len(part.keys))
                continue
            try:
                matches = part.compiled.match(
                    data=data, fast=True, timeout=self._timeout_s, warnings_callback=self._warned
                )
            except yara.TimeoutError:
                self._counters.add("yara.timeout")
                self._blame(scope, part, ts_ns, epoch)
                continue
            except yara.Error:
                self._counters.add("yara.error")
                continue
            found.update({known[key]: match for match in matches if (key := (match.namespace, match.rule)) in known})
        return found

    def _blame(self, scope: str, part: _Part, ts_ns: int, epoch: int) -> None:
        """Halve rules that took too long, or set them aside where there is nothing to halve."""
        half = len(part.keys) // 2
        halves = [part.keys[:half], part.keys[half:]] if half else []
        made = [_Part(compiled, keys) for keys in halves if (compiled := compile_part(self.sources, keys)) is not None]
        if len(made) == 2:
            parts = self._parts[scope]
            place = parts.index(part)
            parts[place : place + 1] = made
            return
        rules = [self._rules[key] for key in part.keys]
        self._counters.add("rules.set_aside", len(rules))
        for rule in rules:
            self._counters.add(f"rules.faulty.{rule.signature.sid}")
        if part.aside_ns is None:
            log.error(
                "YARA took more than %d s for %s: set aside for %d s, and then tried again; anchor its strings and"
                " bound their repeats, or leave it out by rules.disabled_sids",
                self._timeout_s,
                ", ".join(f"rule {rule.signature.sid} ({rule.signature.origin})" for rule in rules[:8]),
                SET_ASIDE_S,
            )  # fmt: skip
        part.aside_ns, part.epoch = ts_ns, epoch

    def _warned(self, *_what: object) -> int:
        self._counters.add("yara.too_many_matches")
        return int(yara.CALLBACK_CONTINUE)


def yara_evidence(found: Any, buffer: str, data: bytes, base: int = 0) -> tuple[Evidence, ...]:
    """Show the first instance of each string that libyara found; ``base`` is the stream offset of ``data``."""
    places = [string.instances[0] for string in found.strings[:MAX_EVIDENCE]]
    return tuple(shown(buffer, data, place.offset, place.offset + len(place.matched_data), base) for place in places)


def yara_end(found: Any) -> int | None:
    """Return up to where the data has the first instance of each string that libyara found; None without any."""
    ends = [string.instances[0].offset + len(string.instances[0].matched_data) for string in found.strings]
    return max(ends, default=None)
