"""What rules remember: bits and counters of flows, bits of hosts; and the order in which matches are decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ids.counters import Counters
from ids.respond import state as module
from ids.respond.state import RuleState, ordered
from ids.types import Action, BitChange, BitTest, CounterChange, CounterTest, Direction, Exhibit, Match, State
from tests.factory import T0, make_flow, make_match, make_signature
from tests.respond.test_responder import Bench


def asking(*tests: BitTest | CounterTest, **changes: Any) -> Match:
    return make_match(signature=make_signature(state=State(tests=tests)), **changes)


def changing(*steps: BitChange | CounterChange, **changes: Any) -> Match:
    return make_match(signature=make_signature(state=State(changes=steps)), **changes)


def a_bit(name: str = "login", scope: str = "flow", negated: bool = False) -> BitTest:
    return BitTest(scope, (name,), negated)


def test_a_bit_of_a_flow_is_set_tested_and_unset() -> None:
    state = RuleState(Counters())
    assert not state.holds(asking(a_bit()))
    assert state.holds(asking(a_bit(negated=True)))
    state.change(changing(BitChange("flow", "set", "login")))
    assert state.holds(asking(a_bit()))
    assert not state.holds(asking(a_bit(), flow=make_flow(id=2))), "another flow has bits of its own"
    state.change(changing(BitChange("flow", "toggle", "login")))
    assert not state.holds(asking(a_bit()))


def test_any_of_several_bits_is_enough() -> None:
    state = RuleState(Counters())
    state.change(changing(BitChange("flow", "set", "b")))
    assert state.holds(asking(BitTest("flow", ("a", "b"))))
    assert not state.holds(asking(BitTest("flow", ("a", "b"), negated=True)))


def test_a_flow_that_ended_is_forgotten() -> None:
    state = RuleState(Counters())
    match = changing(BitChange("flow", "set", "login"))
    state.change(match)
    state.forget([match.flow.id])
    assert not state.holds(asking(a_bit()))


def test_a_bit_of_a_host_holds_in_its_other_flows_until_it_expires() -> None:
    state = RuleState(Counters())
    state.change(changing(BitChange("src", "set", "bad", expires_s=10), ts_ns=T0))
    other = make_flow(id=2)
    second = 10**9
    end = (T0 // second + 11) * second
    assert state.holds(asking(a_bit("bad", "src"), flow=other, ts_ns=end - 1)), "to the end of that second"
    assert not state.holds(asking(a_bit("bad", "src"), flow=other, ts_ns=end))
    assert not state.holds(asking(a_bit("bad", "dst"), flow=other, ts_ns=T0)), "the receiver is another host"
    back = asking(a_bit("bad", "dst"), flow=other, ts_ns=T0, direction=Direction.TO_CLIENT)
    assert state.holds(back), "towards the client, it is the receiver"


def test_a_pair_of_hosts_is_the_same_in_both_directions() -> None:
    state = RuleState(Counters())
    state.change(changing(BitChange("pair", "set", "met")))
    assert state.holds(asking(a_bit("met", "pair"), direction=Direction.TO_CLIENT))


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("==", 3, True), ("==", 4, False), ("!=", 4, True), (">", 2, True), (">", 3, False), (">=", 3, True),
        ("<", 4, True), ("<=", 2, False), ("isset", 0, True), ("notset", 0, False), ("==", "n", True),
        ("==", "unknown", False),
    ],
)  # fmt: skip
def test_a_counter_is_compared(operator: str, value: int | str, expected: bool) -> None:
    state = RuleState(Counters())
    state.change(changing(CounterChange("n", "=", 5), CounterChange("n", "-", 3), CounterChange("n", "+", 1)))
    assert state.holds(asking(CounterTest("n", operator, value))) is expected


def test_a_counter_that_nobody_set_compares_with_nothing() -> None:
    state = RuleState(Counters())
    assert not state.holds(asking(CounterTest("n", "<", 5)))
    assert state.holds(asking(CounterTest("n", "notset")))


def test_memory_is_bounded_and_what_is_forgotten_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FLOWS", 4)
    monkeypatch.setattr(module, "MAX_HOST_BITS", 4)
    monkeypatch.setattr(module, "MAX_NAMES", 4)
    counters = Counters()
    state = RuleState(counters)
    for number in range(10):
        state.change(changing(BitChange("flow", "set", "x"), flow=make_flow(id=number)))
        state.change(changing(BitChange("src", "set", f"bit{number}"), flow=make_flow(id=99)))
        state.change(changing(BitChange("flow", "set", f"bit{number}"), flow=make_flow(id=99)))
    assert counters["respond.state.flows_evicted"] >= 6
    assert counters["respond.state.hosts_evicted"] == 6
    assert not state.holds(asking(a_bit("bit9"), flow=make_flow(id=99))), "a flow has so many names"


def test_of_one_packet_what_passes_comes_first_and_what_sets_before_what_asks() -> None:
    def match(sid: int, number: int = 1, **values: Any) -> Match:
        return make_match(signature=make_signature(sid=sid, **values), number=number)

    setting, asked = State(changes=(BitChange("flow", "set", "x"),)), State(tests=(a_bit("x"),))
    matches = [
        match(5, number=2, action=Action.PASS),
        match(4),
        match(3, state=asked),
        match(2, state=setting),
        match(1, action=Action.PASS),
        match(6, action=Action.DROP),
    ]
    assert [one.signature.sid for one in ordered(matches)] == [1, 6, 2, 3, 4, 5]


def test_what_a_rule_finds_in_one_packet_is_one_match() -> None:
    signature, flow = make_signature(), make_flow()
    twice = [make_match(flow, signature, number=number) for number in (3, 3, 4)]
    assert [match.number for match in ordered(twice)] == [3, 4]
    ways = [make_match(flow, signature, number=3, direction=direction) for direction in Direction]
    assert len(ordered(ways)) == 2


def test_a_packet_and_its_stream_are_two_alerts_where_no_packet_is_dropped() -> None:
    """Of a rule in Suricata's language, which judges the stream when it is acknowledged; and of no other."""

    def twice(**values: Any) -> list[Match]:
        match = make_match(make_flow(), make_signature(**values))
        return [match, replace(match, exhibit=Exhibit(stream=True))]

    assert len(ordered(twice(packet_wise=True), inline=False)) == 2
    assert len(ordered(twice(packet_wise=True), inline=True)) == 1
    assert len(ordered(twice(packet_wise=True, action=Action.DROP), inline=False)) == 1
    assert len(ordered(twice(), inline=False)) == 1


def test_a_silent_rule_sets_a_bit_and_alerts_not() -> None:
    bench = Bench()
    quiet = State(changes=(BitChange("flow", "set", "login"),), silent=True)
    asks = make_match(signature=make_signature(sid=2, state=State(tests=(a_bit(),))))
    bench.responder.handle(asks)
    assert bench.kinds() == []
    bench.responder.handle(make_match(signature=make_signature(sid=1, state=quiet)))
    assert bench.kinds() == []
    bench.responder.handle(asks)
    assert [event["alert"]["signature_id"] for event in bench.events] == [2]


def test_a_flow_has_so_many_bits_and_counters_and_what_is_more_is_counted() -> None:
    """Those that are there can still be set and changed."""
    counters = Counters()
    state = RuleState(counters)
    for number in range(module.MAX_NAMES + 3):
        state.change(changing(BitChange("flow", "set", f"b{number}"), CounterChange(f"c{number}", "+", 1)))
    assert counters["respond.state.names_refused"] == 3 + 3
    assert state.holds(asking(a_bit(f"b{module.MAX_NAMES - 1}")))
    assert not state.holds(asking(a_bit(f"b{module.MAX_NAMES}")))
    state.change(changing(BitChange("flow", "set", "b0"), CounterChange("c0", "+", 1)))
    assert state.holds(asking(a_bit("b0"), CounterTest("c0", "==", 2)))
    assert counters["respond.state.names_refused"] == 6
