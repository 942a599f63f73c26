"""Compiles the regexes of rules that a load leaves for their first search, and reports those that cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ids.errors import RuleLeftOut
from ids.rules.model.chain import Chain, Expression
from ids.rules.model.patterns import Pattern, PatternError, Patterns
from ids.rules.model.rule import Rule, leaves


def uncompilable(rules: Iterable[Rule], patterns: Patterns) -> list[RuleLeftOut]:
    """Compile all regexes in chains; return an error for each rule with one that does not compile."""
    known: dict[tuple[str, bool], PatternError | None] = {}
    errors = []
    for rule in rules:
        for pattern in _patterns(rule):
            key = pattern.text, pattern.nocase
            if key not in known:
                known[key] = _fault(pattern, patterns)
            fault = known[key]
            if fault is not None:
                why = f"sid {rule.signature.sid}: regex {pattern.text[:80]!r}: {fault}"
                errors.append(RuleLeftOut(why, rule.source, fault.remedy, cause="regex"))
                break
    return errors


def _patterns(rule: Rule) -> Iterator[Pattern]:
    for leaf in leaves(rule.condition):
        if isinstance(leaf, Chain):
            yield from (step.pattern for step in leaf.steps if isinstance(step, Expression))


def _fault(pattern: Pattern, patterns: Patterns) -> PatternError | None:
    try:
        pattern.compiled(patterns)
    except PatternError as error:
        return error
    return None
