"""The last step of every way to a match: the whole condition of one candidate on the buffers at hand."""

from __future__ import annotations

from enum import Enum

from ids.counters import Counters
from ids.rules.conditions import Found, View, evidence, holds
from ids.rules.model import Rule
from ids.types import Direction, Flow, Match, Transaction

SCAPY_PENDING = "rules.scapy"
"""Key in `Flow.storage` of the rules that wait for the flow's packets as Scapy packets, each with its direction."""


class Verdict(Enum):
    """What a judgement without a match means."""

    NO = "no"
    DEFERRED = "deferred"
    """All but the Scapy fields holds; the flow is flagged and the rule waits for `ids_flagged`."""


class Judge:
    """Judges candidates and counts what that costs."""

    def __init__(self, counters: Counters, detector: str) -> None:
        self._counters = counters
        self.detector = detector

    def view(self, flow: Flow, direction: Direction, buffers: dict[str, bytes], base: int = 0) -> View:
        """Return the buffers with the sender and the receiver of ``direction``."""
        to_server = direction == Direction.TO_SERVER
        src, dst = (flow.src, flow.dst) if to_server else (flow.dst, flow.src)
        return View(buffers, src, dst, complete=base == 0, base=base)

    def judge(
        self,
        rule: Rule,
        view: View,
        flow: Flow,
        direction: Direction,
        when: tuple[int, int],
        transaction: Transaction | None = None,
    ) -> Match | Verdict:
        """Evaluate a rule; ``when`` is the time (ns) and the number of the packet that brought the last bytes."""
        found: list[Found] = []
        self._counters.add("rules.evaluations")
        if not holds(rule.condition, view, found):
            return Verdict.NO
        if rule.needs_scapy:
            flow.flagged = True
            flow.storage.setdefault(SCAPY_PENDING, {})[rule] = direction
            return Verdict.DEFERRED
        self._counters.add("rules.matches")
        return Match(
            rule.signature, flow, direction, *when, evidence(found, view), detector=self.detector,
            transaction=transaction,
        )  # fmt: skip
