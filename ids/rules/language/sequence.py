"""What rules have to do with each other: which are remembered, because others come after them; who sets whose bits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from ids.errors import RuleError
from ids.rules.model.rule import Scoped
from ids.types import BitChange, BitTest, CounterChange, CounterTest, Remembered
from ids.types.state import StateTest, TextChange

_Rule = TypeVar("_Rule", bound=Scoped)


def unfounded(rules: Iterable[Scoped], known: Collection[int], disabled: Collection[int]) -> Iterator[RuleError]:
    """Yield an error for each rule that comes after one that there is not, or after itself.

    ``disabled`` are sids that the settings leave out: a rule that comes after one of them is no mistake.
    """
    for rule in rules:
        after = rule.signature.after
        for sid in after.sids if after is not None else ():
            if sid == rule.signature.sid:
                yield RuleError(f"sid {sid} comes after itself", rule.source, "count its matches with threshold:")
            elif sid not in known and sid not in disabled:
                why = f"sid {rule.signature.sid} comes after sid {sid}, which no rule has"
                yield RuleError(why, rule.source, "load that rule too, or correct after.rules")


def with_memory(rules: Sequence[_Rule], all_rules: Iterable[Scoped]) -> tuple[_Rule, ...]:
    """Return the rules, each with how its matches are remembered for those of all rules that come after it."""
    wanted: dict[int, dict[str, int]] = {}
    for rule in all_rules:
        after = rule.signature.after
        for sid in after.sids if after is not None else ():
            assert after is not None
            ways = wanted.setdefault(sid, {})
            ways[after.by] = max(after.times, ways.get(after.by, 0))
    return tuple(
        replace(rule, signature=replace(rule.signature, remembered=_remembered(wanted[rule.signature.sid])))
        if rule.signature.sid in wanted
        else rule
        for rule in rules
    )


def _remembered(ways: dict[str, int]) -> tuple[Remembered, ...]:
    return tuple(Remembered(by, times) for by, times in sorted(ways.items()))


def never_set(rules: Iterable[Scoped], all_rules: Iterable[Scoped]) -> Iterator[RuleError]:
    """Yield a warning for each of the rules that waits for what none of all rules sets."""
    bits: set[tuple[bool, str]] = set()
    counters: set[str] = set()
    texts: set[tuple[str, str]] = set()
    for rule in all_rules:
        for change in rule.signature.state.changes:
            if isinstance(change, BitChange) and change.change != "unset":
                bits.add((change.scope == "flow", change.name))
            elif isinstance(change, CounterChange):
                counters.add(change.name)
            elif isinstance(change, TextChange):
                texts.add((change.scope, change.name))
    for rule in rules:
        for test in rule.signature.state.tests:
            if name := _missing(test, bits, counters, texts):
                why = f"sid {rule.signature.sid}: it waits for {name}, which no rule sets"
                yield RuleError(why, rule.source, "set it in another rule, or correct the name")


def _missing(
    test: StateTest, bits: Collection[tuple[bool, str]], counters: Collection[str], texts: Collection[tuple[str, str]]
) -> str:
    """Return what a test waits for and nothing sets, or nothing."""
    if isinstance(test, BitTest):
        waits = not test.negated and not any((test.scope == "flow", one) in bits for one in test.names)
        return ", ".join(test.names) if waits else ""
    if isinstance(test, CounterTest):
        return test.name if test.operator != "notset" and test.name not in counters else ""
    return test.name if (test.scope, test.name) not in texts else ""
