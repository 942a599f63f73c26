"""Turns matches into alerts, drops and blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ids.counters import Counters, Foremost
from ids.errors import KernelError
from ids.events import Event, Events
from ids.respond import events
from ids.respond.changes import block_change
from ids.respond.distinct import DistinctCounts
from ids.respond.exceptions import Exceptions
from ids.respond.gate import BlockOrder, Gate
from ids.respond.policy import BlockPolicy
from ids.respond.sequences import Sequences
from ids.respond.state import RuleState
from ids.respond.threshold import Hearing, Thresholds
from ids.respond.trailing import Trailing
from ids.rules.model.sets import AddressSet
from ids.settings.respond import EveSettings, RespondSettings
from ids.types import STATELESS, Action, BlockMode, Change, FlowState, Mark, Match, Packets

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Case:
    """What was decided about a flow."""

    passed: bool = False
    """A rule with the action ``pass`` matched: no other rule is heard."""
    passed_packet: int = 0
    """`PacketBatch.number` of the latest packet that one let pass, without the rest of the flow."""
    alerts: int = 0
    condemned: bool = False
    """Its packets are being dropped."""
    established: bool = False
    """They were those of an established flow by then."""
    condemned_at: int = 0
    """`PacketBatch.number` of the packet for which they are."""
    shadowed: bool = False
    """They would be, were it not for shadow mode."""
    excepted: bool = False
    """An exception policy ended what rules have to say of it."""
    bypassed_at: int = 0
    """`PacketBatch.number` of the packet behind which nothing more is heard; 0: all is."""
    queue: tuple[int, bool] = 0, False
    """`PacketBatch.number` of the packet of the latest alert, and whether it is of what Suricata judges when the packet
    is acknowledged,"""
    queued: int = 0
    """and how many alerts there are of these."""
    latest: int = 0
    """`PacketBatch.number` of the packet of the latest alert that says what became of it,"""
    told: list[Event] = field(default_factory=list)
    """and what those of that packet say became of it: what comes of its next match is theirs too."""

    def settle(self, number: int, verdict: str) -> None:
        """Let the alerts of a packet so far say what became of it."""
        if number == self.latest:
            for told in self.told:
                told["action"] = verdict


class Responder:
    """Decides each match: pass, alert, drop the flow, block the source."""

    def __init__(
        self,
        settings: RespondSettings,
        policy: BlockPolicy,
        gate: Gate,
        counters: Counters,
        emit: Callable[[Event], None],
        eve: EveSettings = events.PLAIN,
        changed: Callable[[Change], None] = lambda change: None,
    ) -> None:
        """``changed`` is called with each block that the gate has, before its match is emitted."""
        self._settings = settings
        self._changed = changed
        self._eve = eve
        self._trailing = Trailing(eve, counters)
        self._policy = policy
        self._gate = gate
        self._counters = counters
        self._by_rule = Foremost(counters, "rule_alerts")
        self._emit = emit
        self._thresholds = Thresholds(counters)
        self._state = RuleState(counters)
        self._distinct = DistinctCounts(counters)
        self._sequences = Sequences(counters)
        self._exceptions = Exceptions(settings.exceptions)
        self._cases: dict[int, Case] = {}
        """By flow id; a case goes when its flow's `flow` event comes."""

    def configure(self, settings: RespondSettings, home: AddressSet, eve: EveSettings = events.PLAIN) -> None:
        """Respond by these settings from now on, and have the policy do so; open cases stay open."""
        self._settings = settings
        self._exceptions = Exceptions(settings.exceptions)
        self._eve = eve
        self._trailing.configure(eve)
        self._policy.configure(settings, home)

    def handle(self, match: Match) -> None:
        """Carry out what a match asks for, as far as policy allows, and emit the events that say so."""
        case = self._cases.setdefault(match.flow.id, Case()) if match.flow.id else Case()
        if case.excepted:
            self._counters.add("respond.excepted")
            return
        if match.signature.exception:
            self._except(match, case)
            return
        if self._exceptions.cover(match):
            self._counters.add("respond.exceptions")
            return
        if case.passed or match.number == case.passed_packet:
            self._counters.add("respond.passed")
            return
        if case.bypassed_at and match.number > case.bypassed_at:
            self._counters.add("respond.bypassed")
            return
        if case.condemned and match.number > case.condemned_at and not self._settings.inspect_dropped:
            self._counters.add("respond.after_drop")
            return
        if not self._heard(match):
            return
        match = self._rated(match)
        hearing = self._thresholds.heard(match)
        if hearing is Hearing.NOT:
            self._counters.add("detect.alerts_suppressed")
            return
        silent = hearing is Hearing.SILENT
        if match.signature.bypass:
            self._hear_no_more(match, case)
        if match.signature.action is Action.PASS:
            if _of_the_packet(match):
                case.passed_packet = match.number
            else:
                case.passed = True
            case.settle(match.number, "pass")
            if match.signature.announced:
                self._counters.add("detect.matches")
                self._alert(match, case, None, silent=silent, blocked=False)
            return
        self._counters.add("detect.matches")
        block = self._block(match)
        alone = self._drops_alone(match)
        before = case.condemned and not alone
        instead = block is not None and "instead" in block
        condemned = alone or self._condemn(match, case, instead=instead)
        blocked = (
            block is not None and block.get("mode") == BlockMode.ENFORCE.value and self._settings.mode == "enforce"
        )
        alerted = self._alert(match, case, block, silent=silent, blocked=condemned or blocked)
        dropped = condemned or (block is not None and blocked and "refused" not in block)
        if dropped:
            case.settle(match.number, "drop")
        if dropped and (alerted or condemned is not before):
            reason = "threshold detection_filter" if match.signature.rated else "rules"
            self._emit(events.drop_event(match, reason, block, self._eve))

    def _except(self, match: Match, case: Case) -> None:
        """Carry out an exception policy."""
        signature = match.signature
        case.excepted = True
        if signature.action is Action.PASS:
            case.passed = True
        elif signature.bypass:
            self._hear_no_more(match, case)
        elif self._condemn(match, case):
            self._emit(events.drop_event(match, signature.exception, None, self._eve))

    def _hear_no_more(self, match: Match, case: Case) -> None:
        """Hear nothing of the flow behind the packet of a match."""
        if match.flow.id and not case.bypassed_at:
            case.bypassed_at = match.number
            if not match.flow.depth and self._gate.bypass(match.flow):
                match.flow.mark(Mark.BYPASSED)

    def _rated(self, match: Match) -> Match:
        """Return a match of a rule that asks for another action where it matches too often, with that action then."""
        rate = match.signature.rate
        if rate is None or not self._thresholds.exceeds(match, rate):
            return match
        signature = replace(match.signature, action=rate.action, rated=True, announced=False)
        return replace(match, signature=signature)

    def _alert(self, match: Match, case: Case, block: Event | None, *, silent: bool, blocked: bool) -> bool:
        """Emit the alert of a match, where there is to be one; return whether there was."""
        if match.signature.state.silent:
            return False
        if silent:
            self._counters.add("detect.alerts_suppressed")
            return False
        room = self._has_room(match, case) and case.alerts < self._settings.alerts_per_flow
        ordered = block is not None and "network" in block  # nobody is cut off without an event that says why
        if not room and not ordered:
            self._counters.add("detect.alert_queue_overflow")
            return False
        case.alerts += 1
        passed = match.signature.action is Action.PASS
        event = events.alert_event(match, blocked, self._eve, "drop" if blocked else "pass" if passed else "alert")
        if "verdict" in event:
            if match.number != case.latest:
                case.latest, case.told = match.number, []
            case.told.append(event["verdict"])
        if block is not None:
            event["ids"]["block"] = block
        event |= self._state.shown(match.flow.id, match.number)
        self._counters.add("detect.alerts")
        self._by_rule.add(str(match.signature.sid))
        self._emit(event)
        if match.signature.state.changes:
            self._trailing.tag(match)
        return True

    def _has_room(self, match: Match, case: Case) -> bool:
        """Return whether the packet of a match may have one more alert; if so, count it.

        Unless packets are dropped, Suricata judges streams when they are acknowledged, which is in another packet.
        """
        exhibit = match.exhibit
        later = match.transaction is not None or (exhibit is not None and exhibit.stream)
        queue = match.number, later and not self._settings.drop_packets
        if queue != case.queue:
            case.queue, case.queued = queue, 0
        case.queued += 1
        return case.queued <= self._settings.alerts_per_packet

    @property
    def follows(self) -> bool:
        """Whether packets that follow on matches are looked out for."""
        return self._trailing.watching

    def follow(self, packets: Packets | None) -> None:
        """Emit the events of packets that follow on matches; None: the packets are not at hand."""
        for event in self._trailing.events(packets):
            self._emit(event)

    def with_state(self, found: Events) -> Events:
        """Return events of flows with what rules have noted of these: their bits and counters."""
        if not len(found) or not self._state.noted:
            return found
        return Events([event | self._state.shown(event.get("flow_id", 0)) for event in found.rows])

    def close(self, flow_events: Iterable[Event]) -> None:
        """Add to the `flow` events of flows that ended what was decided about them, and close their cases."""
        if not self._cases:
            return
        for event in flow_events:
            case = self._cases.pop(event["flow_id"], None)
            if case is None:
                continue
            event["flow"]["alerted"] = case.alerts > 0
            event |= self._state.shown(event["flow_id"])
            if case.bypassed_at:
                event["flow"]["state"] = "bypassed"
                event["flow"].setdefault("bypass", "local")
            if case.condemned:
                event["flow"]["action"] = "drop"
                if not (case.established or self._settings.inspect_dropped):
                    event["flow"]["state"] = FlowState.NEW.eve
                    if "state" in event.get("tcp", {}):
                        event["tcp"]["state"] = "syn_sent"
                event["flow"].pop("bypassed", None)
            elif case.passed:
                event["flow"]["action"] = "pass"

    def forget(self, ended: Iterable[int]) -> None:
        """Close the cases of flows that ended, by flow id, where nobody reads `flow` events."""
        for flow_id in self._cases.keys() & ended:
            del self._cases[flow_id]
        self._state.forget(ended)
        self._trailing.forget(ended)

    def _heard(self, match: Match) -> bool:
        """Return whether all holds that a match asks of what came before it; if so, remember what it leaves."""
        signature = match.signature
        stateful = signature.state != STATELESS
        if stateful and not self._state.holds(match):
            return False
        if signature.after is not None and not self._sequences.holds(match, signature.after):
            return False
        if signature.distinct is not None and not self._distinct.reached(match, signature.distinct):
            return False
        if stateful:
            self._state.change(match)
        if signature.remembered:
            self._sequences.remember(match)
        return True

    def _block(self, match: Match) -> Event | None:
        request = match.signature.block
        if request is None:
            return None
        decision = self._policy.decide(match, request)
        if not isinstance(decision, BlockOrder):
            refused = {"refused": decision.reason, "detail": decision.detail}
            if decision.drop_flow:
                refused["instead"] = "drop"
            return refused if decision.mode is None else {**refused, "mode": decision.mode.value}
        try:
            written_ns = self._gate.block(decision)
        except KernelError as error:
            self._policy.forget(decision.network)
            self._counters.add("respond.refused.kernel")
            log.error("block of %s was not written: %s", decision.network, error)
            return {"refused": "kernel", "detail": str(error)}
        self._counters.add(f"respond.blocked.{decision.mode.value}")
        self._changed(block_change(match, decision))
        block: Event = {
            "network": str(decision.network),
            "ttl_s": decision.ttl_s,
            "mode": decision.mode.value,
            "sid": decision.sid,
        }
        if written_ns is not None:
            block["blocked_ts_ns"] = written_ns
        return block

    def _drops_alone(self, match: Match) -> bool:
        """Return whether a match drops its packet and no more."""
        if match.signature.action not in (Action.DROP, Action.REJECT) or not _of_the_packet(match):
            return False
        if not self._settings.drop_packets or self._settings.mode != "enforce":
            return False
        if self._policy.spares(match):
            self._counters.add("respond.refused.allowed")
            return False
        self._counters.add("respond.packets_dropped")
        return True

    def _condemn(self, match: Match, case: Case, *, instead: bool = False) -> bool:
        """Drop the rest of a flow where the rule asks for it, or ``instead`` of a block; return whether it is."""
        shadow = self._settings.mode == "shadow" and self._gate.counting  # then the gate itself drops nothing
        asked = instead or match.signature.action in (Action.DROP, Action.REJECT)
        if not asked or (self._settings.mode != "enforce" and not shadow):
            return False
        if case.condemned or case.shadowed:
            return case.condemned
        if self._policy.spares(match):
            self._counters.add("respond.refused.allowed")
            return False
        if not match.flow.id:  # one packet that is no flow's
            self._counters.add("respond.refused.unknown_flow")
            return False
        try:
            known = self._gate.condemn(match.flow, match.number)
        except KernelError as error:
            self._counters.add("respond.refused.kernel")
            log.error("flow %d was not dropped: %s", match.flow.id, error)
            return False
        if not known:
            self._counters.add("respond.refused.unknown_flow")
            return False
        case.condemned, case.shadowed, case.condemned_at = not shadow, shadow, match.number
        flow = match.flow
        slot, number = np.array([flow.slot]), np.array([match.number])
        case.established = bool(flow.columns.established(slot, number)[0])
        if case.condemned:
            self._trailing.drop(match)
        self._counters.add("respond.flows_shadowed" if shadow else "respond.flows_dropped")
        return case.condemned


def _of_the_packet(match: Match) -> bool:
    """Return whether what a match asks for is about its packet, and not about the flow."""
    return match.signature.packet_wise and (match.exhibit is None or not match.exhibit.stream)
