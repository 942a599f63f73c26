"""Judges a rule on what one direction of a flow has shown: once on all of it; then, where it repeats, on each span."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ids.rules.match.conditions import View
from ids.rules.match.evaluation import Evaluator, Moment, Outcome, payload_view
from ids.rules.match.spans import Marks
from ids.rules.match.trail import Trail, Waiting
from ids.rules.model.chain import Chain
from ids.rules.model.rule import Rule, leaves
from ids.types import Match


class Seen(NamedTuple):
    """What is judged: the window of a direction as a row left it."""

    trail: Trail
    moment: Moment
    marks: Marks
    matches: list[Match]
    """Takes what holds."""


class StreamJudge:
    """Evaluates rules, and notes in the trail what each has come to."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._excepting: dict[int, bool] = {}
        """By rule, of those that were asked: see `_excepts`."""

    def whole(self, rule: Rule, number: int, seen: Seen, view: View) -> bool:
        """Evaluate a rule that has not matched yet; return whether it goes on to wait."""
        answer = self._evaluator.evaluate(rule, view, seen.moment)
        end = seen.trail.end
        if answer is Outcome.NO:
            if rule.repeats and seen.marks.messages and self._excepts(rule, number):
                waits = self.spans(rule, number, seen, seen.marks.before, anew=True)
                return waits or number not in seen.trail.done
            return True
        seen.trail.done[number] = end
        if not isinstance(answer, Match):
            return False
        seen.matches.append(answer)
        reached = self._evaluator.reached
        if not rule.repeats or reached is None:
            return False
        start, anew = seen.marks.behind(reached, end)
        return self.spans(rule, number, seen, start, anew=anew)

    def spans(self, rule: Rule, number: int, seen: Seen, start: int, *, anew: bool) -> bool:
        """Evaluate a rule that repeats on each span from ``start`` on; return whether it waits for more of the last
        one.
        """
        trail, first = seen.trail, number not in seen.trail.done
        done = start
        for span in seen.marks.spans(max(start, trail.base), trail.end, anew):
            data = bytes(trail.data[span.start - trail.base : span.end - trail.base])
            answer = self._evaluator.evaluate(rule, payload_view(seen.moment, data, span.start), seen.moment)
            if isinstance(answer, Match):
                seen.matches.append(replace(answer, message=span.start) if span.message else answer)
                first = False
            elif not span.whole and not first:
                if span.start > start or number not in trail.waiting:
                    trail.waiting[number] = Waiting(since=span.start, anew=True)
                trail.done[number] = span.start
                return True
            done = span.end
        if not first:
            trail.done[number] = done
        return False

    def _excepts(self, rule: Rule, number: int) -> bool:
        """Return whether a rule asks for something not to be there, so that more of a stream may hide what holds."""
        known = self._excepting.get(number)
        if known is None:
            known = self._excepting[number] = any(
                isinstance(leaf, Chain) and any(getattr(step, "negated", False) for step in leaf.steps)
                for leaf in leaves(rule.condition)
            )
        return known
