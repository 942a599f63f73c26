"""Matches tests on Scapy fields, with the dissected packets of a flow that a rule flagged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Protocol

from ids.counters import Counters
from ids.rules.match.conditions import EXCERPT_BYTES
from ids.rules.match.evaluation import Evaluator, Moment
from ids.rules.match.index import RuleIndex
from ids.rules.match.memory import FlowMemory, Pending
from ids.rules.model.rule import Rule, ScapyField, leaves
from ids.types import Direction, Evidence, Flow, Match

MAX_LOOKED = 512
"""Packets dissected for a rule that waits in a flow, at half a millisecond each; beyond them it waits no more."""


class Frame(Protocol):
    """What is asked of a captured frame."""

    @property
    def ts_ns(self) -> int:
        """Time of arrival."""

    @property
    def number(self) -> int:
        """`PacketBatch.number`."""

    @property
    def direction(self) -> Direction:
        """Which side sent it."""


class Session(Protocol):
    """A flagged flow with its packets; `ids.plugin.session.FlowSession` is one."""

    flow: Flow

    @property
    def frames(self) -> Iterable[Frame]:
        """The frames, oldest first."""

    @property
    def packets(self) -> Sequence[Any]:
        """The same as Scapy packets."""


class FlaggedMatcher:
    """The rules that wait for Scapy fields."""

    def __init__(self, index: RuleIndex, evaluator: Evaluator, memory: FlowMemory, counters: Counters) -> None:
        self._index = index
        self._evaluator = evaluator
        self._memory = memory
        self._counters = counters

    def flagged(self, session: Session) -> list[Match]:
        """Take the packets of a flow; a rule matches when each of its fields has its value in a packet of the direction
        in which the rest of it held.
        """
        pending = self._memory.pending.get(session.flow) or {}
        matches: list[Match] = []
        for (identity, direction), waiting in list(pending.items()):
            number = self._index.numbers.get(identity)
            rule = None if number is None else self._index.rules[number]
            if (identity, direction) not in pending or not isinstance(rule, Rule):
                continue
            flow = session.flow
            match = self._evaluator.guarded(rule, flow, flow.last_ns, self._judge, rule, direction, waiting, session)
            if match is not None:
                matches.append(match)
            elif waiting.looked < MAX_LOOKED:
                continue
            else:
                self._counters.add("rules.scapy.given_up")
            del pending[identity, direction]
            if not rule.buffers:  # it is done with the flow, as rules on headers are
                self._memory.headers.of(flow).add(identity)
                pending.pop((identity, Direction(1 - direction)), None)
        return matches

    def _judge(self, rule: Rule, direction: Direction, waiting: Pending, session: Session) -> Match | None:
        """Match with the time and number of the packet that brought the last of the fields and of the rest."""
        waiting.looked += len(session.packets)
        sent = [pair for pair in zip(session.frames, session.packets, strict=True) if pair[0].direction == direction]
        evidence = list(waiting.evidence)
        latest = 0
        for test in leaves(rule.condition):
            if not isinstance(test, ScapyField):
                continue
            texts = ((place, field_text(packet, test)) for place, (_, packet) in enumerate(sent))
            place, text = next(((place, text) for place, text in texts if text is not None), (-1, b""))
            if place < 0:
                return None
            latest = max(latest, place)
            evidence.append(Evidence(f"scapy.{test.layer}.{test.name}", 0, text[:EXCERPT_BYTES]))
        frame = sent[latest][0]
        ts_ns, number = max((frame.ts_ns, frame.number), (waiting.ts_ns, waiting.number), key=itemgetter(1))
        moment = Moment(session.flow, direction, ts_ns, number, waiting.transaction)
        return self._evaluator.match(rule, moment, tuple(evidence))


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
