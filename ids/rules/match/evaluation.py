"""The last step of every way to a match: the whole condition of one candidate on the buffers at hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from random import getrandbits
from time import perf_counter_ns
from typing import Any, TypeVar

from ids.counters import Counters, Foremost
from ids.rules.match.conditions import Found, View, evidence, holds
from ids.rules.match.facts import Scene
from ids.rules.match.memory import FlowMemory, Pending
from ids.rules.model.buffers import PAYLOAD
from ids.rules.model.lua import ScriptError, ScriptTimeout
from ids.rules.model.patterns import SearchTimeout
from ids.rules.model.rule import Identity, Node, Rule, Scoped
from ids.types import Captured, Direction, Evidence, Flow, Match, Transaction

log = logging.getLogger(__name__)

MAX_FAULTS = 10
"""Faults of one rule until it is set aside. Traffic can provoke a fault at will, but only in a rule that has one; its
neighbours go on."""

TIMEOUT_FAULTS = 4
"""Faults that a search counts for that took too long: a tenth of a second is what a thousand other evaluations take."""

SET_ASIDE_S = 60
"""How long a rule is set aside, by the time of the traffic; it is then tried again, so that nobody who provokes its
fault can switch it off for good."""

GAP_BITS = 7
"""Of what rules do, one in `SAMPLED` on average is measured, after gaps of random length: a clock costs as much as a
short test, and a fixed gap would meet the same rule each time."""
SAMPLED = 2 ** (GAP_BITS - 1) + 0.5

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class Faults:
    """What went wrong with one rule."""

    count: int = 0
    """Since it was last set aside."""
    aside_ns: int | None = None
    """When it was set aside last."""

    def covers(self, ts_ns: int) -> bool:
        """Return whether the rule is set aside then."""
        return self.aside_ns is not None and ts_ns - self.aside_ns < SET_ASIDE_S * 1_000_000_000


class Outcome(Enum):
    """What an evaluation without a match means."""

    NO = "no"
    DEFERRED = "deferred"
    """All but the Scapy fields holds; the flow is flagged and the rule waits for `ids_flagged`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where and when a rule is evaluated: the flow, the direction, and the packet that brought the last bytes."""

    flow: Flow
    direction: Direction
    ts_ns: int
    number: int
    transaction: Transaction | None = None
    packet_at: Callable[[int], tuple[int, int]] | None = None
    """Returns ``ts_ns`` and ``number`` of the packet that brought the byte before a stream offset; None where what is
    new is of one packet."""

    def completed(self, end: int) -> Moment:
        """Return the moment at which the stream had come to the offset ``end``."""
        if self.packet_at is None:
            return self
        ts_ns, number = self.packet_at(end)
        return replace(self, ts_ns=ts_ns, number=number)


def view_of(moment: Moment, instances: Callable[[str], Sequence[bytes]], base: int = 0) -> View:
    """Return the buffers with the sender and the receiver of the moment's direction."""
    scene = partial(scene_of, moment)
    return View(instances, partial(_addresses, moment), complete=base == 0, base=base, scene=scene)


def scene_of(moment: Moment, request: Mapping[str, Sequence[bytes]] | None = None) -> Scene:
    """Return what scripts may ask for; ``request`` has buffers of the request of a response."""
    return Scene(moment.flow, moment.direction, moment.ts_ns, moment.transaction, request)


def _addresses(moment: Moment) -> tuple[tuple[int, int], ...]:
    """Return the sender and the receiver, of the packet and of the outermost one that carried it."""
    flow, direction = moment.flow, moment.direction
    ends = (flow.src, flow.dst) if direction == Direction.TO_SERVER else (flow.dst, flow.src)
    return *ends, *(flow.outer_ends(direction) if flow.depth else ends)


def payload_view(moment: Moment, data: bytes, base: int = 0) -> View:
    """Return the view of a payload alone; ``base`` is its stream offset."""
    instances = (data,)
    return view_of(moment, lambda name: instances if name == PAYLOAD else (), base)


class Evaluator:
    """Evaluates candidates, counts what that costs, and sets rules aside that fail."""

    def __init__(self, counters: Counters, memory: FlowMemory, detector: str) -> None:
        self._counters = counters
        self._memory = memory
        self._detector = detector
        self._times = Foremost(counters, "rule_time_us")
        self._gap = 0
        self._faults: dict[Identity, Faults] = {}
        self.reached: int | None = None
        """Stream offset behind what the last match found in the payload; None where it found nothing there."""
        self._epoch = 0
        """`FlowColumns.epoch` in which they were: what one capture provoked says nothing of the next."""

    def evaluate(self, rule: Rule, view: View, moment: Moment) -> Match | Outcome:
        """Evaluate a rule; a fault in it is no match."""
        self._counters.add("rules.evaluations")
        proof = self.guarded(rule, moment.flow, moment.ts_ns, _proof, rule.condition, view)
        if view.exhausted:
            self._counters.add("rules.exhausted", view.exhausted)
            view.exhausted = 0
        if proof is None:
            return Outcome.NO
        shown, end = proof
        if rule.needs_scapy:
            moment.flow.flagged = True
            waiting = self._memory.pending.of(moment.flow)
            held = moment.completed(end) if end is not None else moment
            waiting.setdefault(
                (rule.identity, moment.direction), Pending(shown, moment.transaction, held.ts_ns, held.number)
            )
            return Outcome.DEFERRED
        held = moment.completed(end) if end is not None else moment
        self.reached = end
        return self.match(rule, held, shown, tuple(view.captured))

    def evaluate_once(self, rule: Rule, view: View, moment: Moment) -> Match | Outcome:
        """Evaluate a rule without a test on bytes: it matches once a flow, or once for each side."""
        reported = self._memory.headers.of(moment.flow)
        key = (*rule.identity, int(moment.direction)) if rule.apart else rule.identity
        if key in reported:
            return Outcome.NO
        answer = self.evaluate(rule, view, moment)
        if isinstance(answer, Match):
            reported.add(key)
        return answer

    def match(
        self, rule: Scoped, moment: Moment, shown: tuple[Evidence, ...], captured: tuple[Captured, ...] = ()
    ) -> Match:
        """Return the match of a rule that holds."""
        self._counters.add("rules.matches")
        return Match(
            rule.signature, moment.flow, moment.direction, moment.ts_ns, moment.number, shown,
            detector=self._detector, transaction=moment.transaction, captured=captured,
            of_protocol=bool(rule.traffic.app_proto),
        )  # fmt: skip

    def guarded(
        self, rule: Scoped, flow: Flow, ts_ns: int, action: Callable[..., _Answer], *arguments: Any
    ) -> _Answer | None:
        """Do what one rule asks for. Where that fails, or the rule is set aside, return None."""
        faults = self._known_faults(rule, flow) if self._faults else None
        if faults is not None and faults.covers(ts_ns):
            self._counters.add("rules.skipped")
            return None
        self._gap -= 1
        if self._gap < 0:
            action = self._timed(rule, action)
        try:
            return action(*arguments)
        except Exception as error:
            self._note_fault(rule, flow, ts_ns, error)
            return None

    def _timed(self, rule: Scoped, action: Callable[..., _Answer]) -> Callable[..., _Answer]:
        """Return an action that counts its time, for as many as there are on average to each sample."""
        self._gap = getrandbits(GAP_BITS)

        def timed(*arguments: Any) -> _Answer:
            started = perf_counter_ns()
            try:
                return action(*arguments)
            finally:
                took_ns = perf_counter_ns() - started
                self._times.add(str(rule.signature.sid), round(took_ns * SAMPLED / 1000))

        return timed

    def _known_faults(self, rule: Scoped, flow: Flow) -> Faults | None:
        if flow.columns.epoch != self._epoch:
            self._faults.clear()
        return self._faults.get(rule.identity)

    def _note_fault(self, rule: Scoped, flow: Flow, ts_ns: int, error: Exception) -> None:
        """Count a fault with the name of its rule; log the first, and that the rule is set aside."""
        self._epoch = flow.columns.epoch
        origin, sid = rule.signature.origin, rule.signature.sid
        self._counters.add("rules.faults")
        self._counters.add(f"rules.faulty.{sid}")
        faults = self._faults.get(rule.identity)
        if faults is None:
            faults = self._faults[rule.identity] = Faults()
            of_script = isinstance(error, ScriptError)  # whose traceback would be the engine's
            said, cause = (str(error), None) if of_script else (repr(error), error)
            log.warning("rule %d (%s) failed: %s; it does not match here", sid, origin, said, exc_info=cause)
        if isinstance(error, SearchTimeout | ScriptTimeout):
            faults.count += TIMEOUT_FAULTS
        elif not isinstance(error, ScriptError):  # which costs no more than an answer: nobody shall switch it off so
            faults.count += 1
        if faults.count < MAX_FAULTS:
            return
        self._counters.add("rules.set_aside")
        if faults.aside_ns is None:
            log.error(
                "rule %d (%s) failed too often: it is set aside for %d s, and then tried again; mend it, or leave it"
                " out by rules.disabled_sids", sid, origin, SET_ASIDE_S,
            )  # fmt: skip
        faults.count, faults.aside_ns = 0, ts_ns


def _proof(condition: Node, view: View) -> tuple[tuple[Evidence, ...], int | None] | None:
    """Return the evidence that a condition holds, and up to which offset of the payload it reaches, where it speaks of
    that; None where it does not hold.
    """
    found: list[Found] = []
    if not holds(condition, view, found):
        return None
    ends = [end for name, _, _, end in found if name == PAYLOAD]
    return evidence(found, view), view.base + max(ends) if ends else None
