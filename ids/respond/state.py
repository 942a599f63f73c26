"""What rules remember from one match to the next: bits and counters of flows, bits of hosts and of pairs of hosts.

Judged where everything is decided, in the order of the packets, so that it is the same with any number of workers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, field
from typing import TypeAlias

from ids.counters import Counters
from ids.events import Event
from ids.respond.parties import ends_of
from ids.types import Action, BitChange, BitTest, CounterChange, CounterTest, Match, State
from ids.types.state import StateTest, TextTest

_SECOND = 1_000_000_000

MAX_FLOWS = 65_536
"""Flows with bits or counters. The one that was changed longest ago loses its: a rule that waits for them is then late,
or never comes; counted."""

MAX_HOST_BITS = 262_144
"""Bits of hosts and of pairs of hosts; likewise."""

MAX_NAMES = 256
"""Bits of one flow, and counters; rule sets have some hundreds in all. One more is not set, and counted."""

COUNTER_MASK = 0xFFFFFFFF
"""Counters have 32 bits, as Suricata's."""

TRAFFIC = {"id": "traffic/id/", "label": "traffic/label/"}
"""How names of bits begin that say what kind of traffic a flow is; by their keys in events."""

_Key: TypeAlias = tuple[str, object, str]
ORDER = ("pass", "drop", "reject", "alert")
"""In which order matches in the same packet are decided, by the actions of their rules, where no setting says so."""


@dataclass(slots=True)
class FlowMemory:
    """Of one flow."""

    bits: dict[str, None] = field(default_factory=dict)
    """In the order in which they were set."""
    counters: dict[str, int] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    """What regexes captured in it,"""
    number: int = 0
    """`PacketBatch.number` of the latest packet in which they did,"""
    in_packet: dict[str, bytes] = field(default_factory=dict)
    """and what is that packet's alone."""


class RuleState:
    """Bits and counters of all flows and hosts, within bounds."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._flows: OrderedDict[int, FlowMemory] = OrderedDict()
        self._hosts: OrderedDict[_Key, int] = OrderedDict()
        """When each bit of a host expires, nanoseconds."""

    def holds(self, match: Match) -> bool:
        """Return whether what a match asks of state is so."""
        return all(self._test(test, match) for test in match.signature.state.tests)

    def change(self, match: Match) -> None:
        """Change what a match says is to be changed."""
        for change in match.signature.state.changes:
            if isinstance(change, BitChange):
                self._change_bit(change, match)
            elif isinstance(change, CounterChange):
                self._change_counter(change, match)
        if match.captured:
            self._keep(match)

    @property
    def noted(self) -> bool:
        """Whether anything is noted of any flow."""
        return bool(self._flows)

    def shown(self, flow_id: int, number: int = 0) -> Event:
        """Return what events of a flow, or of a packet of it, say of its bits, counters and texts; bits that name
        traffic stand by themselves."""
        memory = self._flows.get(flow_id)
        if memory is None:
            return {}
        bits = list(memory.bits)
        plain = [name for name in bits if not name.startswith(tuple(TRAFFIC.values()))]
        traffic = {
            key: [name.removeprefix(before) for name in bits if name.startswith(before)]
            for key, before in TRAFFIC.items()
        }
        metadata = {
            "flowbits": plain,
            "flowints": dict(sorted(memory.counters.items())),
            "flowvars": [{name: readable(value)} for name, value in memory.texts.items()],
            "pktvars": [{name: readable(value)} for name, value in memory.in_packet.items() if number == memory.number],
        }
        shown = {"metadata": _filled(metadata), "traffic": _filled(traffic)}
        return _filled(shown)

    def forget(self, ended: Iterable[int]) -> None:
        """Forget flows that ended, by their ids."""
        for flow_id in self._flows.keys() & ended:
            del self._flows[flow_id]

    def _test(self, test: StateTest, match: Match) -> bool:
        if isinstance(test, CounterTest):
            return self._compare(test, self._flows.get(match.flow.id) or FlowMemory())
        if isinstance(test, TextTest):
            return self._holds_text(test, match)
        assert isinstance(test, BitTest)
        return any(self._is_set(test.scope, name, match) for name in test.names) is not test.negated

    def _is_set(self, scope: str, name: str, match: Match) -> bool:
        if scope == "flow":
            memory = self._flows.get(match.flow.id)
            return memory is not None and name in memory.bits
        expires_ns = self._hosts.get((scope_kind(scope), _whose(scope, match), name))
        return expires_ns is not None and match.ts_ns < expires_ns

    def _change_bit(self, change: BitChange, match: Match) -> None:
        on = change.change == "set" or (
            change.change == "toggle" and not self._is_set(change.scope, change.name, match)
        )
        if change.scope == "flow":
            memory = self._of(match)
            if not on:
                memory.bits.pop(change.name, None)
            elif change.name in memory.bits or self._has_room(memory.bits):
                memory.bits[change.name] = None
            return
        key = (scope_kind(change.scope), _whose(change.scope, match), change.name)
        self._hosts.pop(key, None)
        if on:
            # As Suricata has it, to the end of the second in which the time is over.
            self._hosts[key] = (match.ts_ns // _SECOND + change.expires_s + 1) * _SECOND
            if len(self._hosts) > MAX_HOST_BITS:
                self._hosts.popitem(last=False)
                self._counters.add("respond.state.hosts_evicted")

    def _change_counter(self, change: CounterChange, match: Match) -> None:
        values = self._of(match).counters
        by = _value(change.value, values)
        if by is None or (change.name not in values and not self._has_room(values)):
            return
        now = values.get(change.name, 0)
        result = by if change.operator == "=" else now + by if change.operator == "+" else now - by
        values[change.name] = result & COUNTER_MASK

    def _keep(self, match: Match) -> None:
        """Keep what regexes captured; a pair of ``key`` and ``value`` in a packet is a text under that name."""
        memory = self._of(match)
        if memory.number != match.number:
            memory.number, memory.in_packet = match.number, {}
        of_packet = {one.name: one.value for one in match.captured if one.scope == "pkt"}
        if of_packet.keys() >= {"key", "value"}:
            of_packet[readable(of_packet.pop("key"))] = of_packet.pop("value")
        of_flow = {one.name: one.value for one in match.captured if one.scope == "flow"}
        for kept, texts in ((memory.texts, of_flow), (memory.in_packet, of_packet)):
            for name, value in texts.items():
                if name in kept or self._has_room(kept):
                    kept[name] = value

    def _holds_text(self, test: TextTest, match: Match) -> bool:
        memory = self._flows.get(match.flow.id)
        if memory is None:
            return False
        in_packet = memory.in_packet if memory.number == match.number else {}
        return test.value in (memory.texts if test.scope == "flow" else in_packet).get(test.name, b"")

    def _has_room(self, names: Sized) -> bool:
        """Return whether a flow may have one more; count where it may not."""
        if len(names) < MAX_NAMES:
            return True
        self._counters.add("respond.state.names_refused")
        return False

    def _compare(self, test: CounterTest, memory: FlowMemory) -> bool:
        value = memory.counters.get(test.name)
        if test.operator in ("isset", "notset"):
            return (value is not None) is (test.operator == "isset")
        other = _value(test.value, memory.counters)
        if value is None or other is None:
            return False
        results = {
            "<": value < other, "<=": value <= other, "==": value == other,
            "!=": value != other, ">=": value >= other, ">": value > other,
        }  # fmt: skip
        return results[test.operator]

    def _of(self, match: Match) -> FlowMemory:
        memory = self._flows.get(match.flow.id)
        if memory is None:
            memory = self._flows[match.flow.id] = FlowMemory()
            if len(self._flows) > MAX_FLOWS:
                self._flows.popitem(last=False)
                self._counters.add("respond.state.flows_evicted")
        else:
            self._flows.move_to_end(match.flow.id)
        return memory


def readable(value: bytes) -> str:
    """Spell what was captured as events have it."""
    return value.decode("utf-8", "backslashreplace")


def _filled(event: Event) -> Event:
    return {key: value for key, value in event.items() if value}


def order(match: Match, actions: Sequence[str] = ORDER) -> tuple[int, bool, int, int, int, int, int]:
    """Return where a match comes among those of a batch: by packet, then as Suricata orders rules.

    By default what passes comes before what drops, and that before alerts; what sets a bit before what only asks for
    one; what is severe before what is not; and then by their numbers. Exception policies come before all
    rules.
    """
    signature = match.signature
    asked = actions.index(signature.action.value), _place(signature.state), signature.severity
    return match.number, not signature.exception, *asked, signature.gid, signature.sid


def scope_kind(scope: str) -> str:
    """Return under what a scope's bits are kept: a host's are one, whether it is sender or receiver."""
    return "pair" if scope == "pair" else "host"


def _place(state: State) -> int:
    asks, sets = bool(state.tests), bool(state.changes)
    return 3 if not asks and not sets else 2 if not sets else 1 if asks else 0


def _whose(scope: str, match: Match) -> object:
    src, dst = ends_of(match)
    return (min(src, dst), max(src, dst)) if scope == "pair" else src if scope == "src" else dst


def _value(value: int | str, values: dict[str, int]) -> int | None:
    return values.get(value) if isinstance(value, str) else value


def ordered(matches: list[Match], actions: Sequence[str] = ORDER, *, inline: bool = True) -> list[Match]:
    """Return the matches of a batch in the order in which they are decided.

    What a rule finds in one packet is one match, though it may be seen in the packet and in its stream; but for one in
    each of several files, and of several messages. Unless packets are dropped (``inline``), Suricata alerts of both: it
    judges the stream when the packet is acknowledged. That is of rules in its language alone, and not of those on a
    protocol (`Signature.packet_wise`).
    """
    if len(matches) < 2:
        return matches
    once: dict[tuple[object, ...], Match] = {}
    for match in sorted(matches, key=lambda match: order(match, actions)):
        signature, transaction = match.signature, match.transaction
        tx_id = -1 if transaction is None else transaction.tx_id
        of_stream = match.exhibit is not None and match.exhibit.stream
        apart = of_stream and not inline and signature.packet_wise and signature.action is Action.ALERT
        files = match.exhibit.files if match.exhibit is not None else ()
        file = files[0].get("filename") if len(files) == 1 else None
        of_packet = match.number, match.flow.id, match.direction, signature.gid, signature.sid
        identity = *of_packet, tx_id, file, apart, match.message
        if identity not in once or of_stream:
            once[identity] = match
    return list(once.values())
