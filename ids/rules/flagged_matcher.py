"""Matches tests on Scapy fields, with the dissected packets of a flow that a rule flagged."""

from __future__ import annotations

from typing import Any, Protocol

from ids.rules.conditions import EXCERPT_BYTES
from ids.rules.evaluation import Evaluator, Moment, Pending
from ids.rules.index import RuleIndex
from ids.rules.memory import FlowMemory
from ids.rules.model import Rule, ScapyField, leaves
from ids.types import Evidence, Flow, Match


class Session(Protocol):
    """A flagged flow with its packets; `ids.plugin.session.FlowSession` is one."""

    flow: Flow

    @property
    def packets(self) -> list[Any]:
        """Scapy packets, oldest first."""

    @property
    def moments(self) -> list[tuple[int, int]]:
        """``ts_ns`` and number of each packet."""


class FlaggedMatcher:
    """The rules that wait for Scapy fields."""

    def __init__(self, index: RuleIndex, evaluator: Evaluator, memory: FlowMemory) -> None:
        self._index = index
        self._evaluator = evaluator
        self._memory = memory

    def flagged(self, session: Session) -> list[Match]:
        """Take the packets of a flow; a rule matches when each of its fields has its value in one of them."""
        pending = self._memory.pending.get(session.flow)
        matches: list[Match] = []
        for identity, waiting in list((pending or {}).items()):
            number = self._index.numbers.get(identity)
            rule = None if number is None else self._index.rules[number]
            if not isinstance(rule, Rule):
                continue
            match = self._evaluator.guarded(rule, lambda rule=rule, waiting=waiting: self._judge(rule, waiting, session), None)
            if match is not None and pending is not None:
                del pending[identity]
                matches.append(match)
        return matches

    def _judge(self, rule: Rule, waiting: Pending, session: Session) -> Match | None:
        shown = list(waiting.evidence)
        latest = -1
        for test in leaves(rule.condition):
            if not isinstance(test, ScapyField):
                continue
            found = next(
                (place for place, packet in enumerate(session.packets) if (text := field_text(packet, test)) is not None),
                None,
            )
            if found is None:
                return None
            text = field_text(session.packets[found], test)
            shown.append(Evidence(f"scapy.{test.layer}.{test.name}", 0, (text or b"")[:EXCERPT_BYTES]))
            latest = max(latest, found)
        moment = Moment(session.flow, waiting.direction, *session.moments[latest], waiting.transaction)
        return self._evaluator.match(rule, moment, tuple(shown))


def field_text(packet: Any, test: ScapyField) -> bytes | None:
    """Return the value of the field where a Scapy packet has the layer and the value in it, else None.

    Text compares with how Scapy spells the value.
    """
    layer = packet.getlayer(test.layer)
    if layer is None or not any(description.name == test.name for description in layer.fields_desc):
        return None
    value = layer.getfieldval(test.name)
    if isinstance(value, bytes):
        return value if value == str(test.value).encode() else None
    return str(value).encode() if value == test.value or str(value) == test.value else None
