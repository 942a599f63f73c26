"""What becomes of a match: alert, drop, block, or silence."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ids.counters import Counters
from ids.errors import KernelError
from ids.respond.gate import BlockOrder, Held
from ids.respond.policy import BlockPolicy
from ids.respond.responder import Responder
from ids.settings.respond import RespondSettings
from ids.types import (
    FLOW_COUNT,
    I64,
    Action,
    BlockMode,
    BlockRequest,
    Direction,
    Flow,
    FlowColumns,
    FlowCounts,
    IPAddress,
    IPNetwork,
    Match,
    Threshold,
)
from tests.factory import make_flow, make_match, make_signature

BLOCK = BlockRequest("src_ip", 60, BlockMode.ENFORCE, require_proven=True)


class RecordingGate:
    """Notes the orders; refuses them like a kernel where a test says so. The kernel itself has tests/kernel."""

    def __init__(self) -> None:
        self.orders: list[BlockOrder] = []
        self.condemned: list[Flow] = []
        self.error: KernelError | None = None
        self.knows_flows = True

    @property
    def counting(self) -> bool:
        return True

    def block(self, order: BlockOrder) -> int | None:
        if self.error:
            raise self.error
        self.orders.append(order)
        return 123

    def condemn(self, flow: Flow, number: int) -> bool:
        if self.error:
            raise self.error
        if self.knows_flows:
            self.condemned.append(flow)
        return self.knows_flows

    def holds(self, network: IPNetwork) -> Held | None:
        orders = (order for order in reversed(self.orders) if order.network == network)
        return next((Held(order.mode, order.ts_ns + order.ttl_s * 10**9) for order in orders), None)

    def allows(self, address: IPAddress) -> bool:
        return False

    def bypass(self, flow: Flow, *, unneeded: bool = False) -> bool:
        return True

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        return np.zeros(len(slots), FLOW_COUNT)

    def forget(self, flows: FlowColumns, slots: I64) -> None: ...


def _veto(address: str, match: Match) -> list[str]:
    return ["a partner"] if address == "192.0.2.66" else []


class Bench:
    """A responder with everything around it in reach."""

    def __init__(self, **settings: Any) -> None:
        self.gate, self.counters, self.events = RecordingGate(), Counters(), list[dict[str, Any]]()
        config = RespondSettings(**settings)
        own = frozenset({ipaddress.ip_address("203.0.113.1")})
        policy = BlockPolicy(config, self.gate, self.counters, _veto, own)
        self.responder = Responder(config, policy, self.gate, self.counters, self.events.append)

    def kinds(self) -> list[str]:
        return [event["event_type"] for event in self.events]


def test_a_match_alerts() -> None:
    bench = Bench()
    flow = make_flow()
    bench.responder.handle(make_match(flow))
    assert bench.kinds() == ["alert"]
    assert bench.events[0]["alert"]["action"] == "allowed"
    ended = {"flow_id": flow.id, "flow": {"alerted": False}}
    bench.responder.close([ended])
    assert ended["flow"] == {"alerted": True}


def test_a_block_is_ordered_and_reported() -> None:
    bench = Bench()
    bench.responder.handle(make_match(signature=make_signature(block=BLOCK)))
    assert [str(order.network) for order in bench.gate.orders] == ["192.0.2.1/32"]
    assert bench.kinds() == ["alert", "drop"]
    assert bench.events[0]["alert"]["action"] == "blocked"
    assert bench.events[0]["ids"]["block"]["blocked_ts_ns"] == 123


def test_a_shadow_block_is_ordered_but_the_alert_says_allowed() -> None:
    bench = Bench(mode="shadow")
    bench.responder.handle(make_match(signature=make_signature(block=BLOCK)))
    assert bench.gate.orders[0].mode is BlockMode.SHADOW
    assert bench.kinds() == ["alert"]
    assert bench.events[0]["alert"]["action"] == "allowed"


def test_a_refused_block_says_why_in_the_alert() -> None:
    bench = Bench(allow=["192.0.2.0/24"])
    bench.responder.handle(make_match(signature=make_signature(block=BLOCK)))
    assert bench.gate.orders == []
    assert bench.events[0]["ids"]["block"]["refused"] == "allowed"


def test_a_kernel_that_refuses_does_not_stop_the_alert_and_the_order_is_tried_again() -> None:
    bench = Bench()
    bench.gate.error = KernelError("map is full")
    match = make_match(signature=make_signature(block=BLOCK))
    bench.responder.handle(match)
    assert bench.events[0]["ids"]["block"]["refused"] == "kernel"
    bench.gate.error = None
    bench.responder.handle(match)
    assert len(bench.gate.orders) == 1


@pytest.mark.parametrize(("mode", "condemned"), [("enforce", 1), ("shadow", 1), ("off", 0)])
def test_a_drop_rule_condemns_the_flow_and_a_gate_in_shadow_only_counts_it(mode: str, condemned: int) -> None:
    bench = Bench(mode=mode)
    match = make_match(signature=make_signature(action=Action.DROP))
    bench.responder.handle(match)
    bench.responder.handle(match)
    assert len(bench.gate.condemned) == condemned
    assert bench.events[0]["alert"]["action"] == ("blocked" if mode == "enforce" else "allowed")
    assert bench.kinds() == (["alert", "drop"] * 2 if mode == "enforce" else ["alert"] * 2)


def test_a_pass_rule_silences_the_rest_of_its_flow() -> None:
    bench = Bench()
    match = make_match(signature=make_signature(action=Action.PASS))
    bench.responder.handle(match)
    bench.responder.handle(replace(match, signature=make_signature(sid=2)))
    assert bench.kinds() == []


def test_a_suppressed_alert_still_blocks() -> None:
    """A threshold spares the reader, not the attacker."""
    bench = Bench()
    once = Threshold("limit", "by_rule", 1, 60)
    signature = make_signature(block=BLOCK, threshold=once)
    for source in ("192.0.2.1", "192.0.2.2"):
        bench.responder.handle(make_match(make_flow(source), signature))
    assert bench.kinds() == ["alert", "drop"]
    assert len(bench.gate.orders) == 2


def test_one_flow_cannot_fill_the_disk() -> None:
    bench = Bench(alerts_per_flow=3)
    flow = make_flow()
    for _ in range(10):
        bench.responder.handle(make_match(flow))
    assert len(bench.events) == 3
    assert bench.counters["detect.alert_queue_overflow"] == 7


SHADOW = replace(BLOCK, mode=BlockMode.SHADOW)
ANY = replace(BLOCK, require_proven=False)
UDP = {"proto": 17}


def earlier(request: BlockRequest) -> Match:
    return make_match(signature=make_signature(block=request))


@pytest.mark.parametrize(
    ("refused", "settings", "flow", "request_", "before", "action"),
    [
        ("already_blocked", {}, {}, BLOCK, [earlier(BLOCK)], "blocked"),
        ("already_blocked", {}, {}, SHADOW, [earlier(BLOCK)], "blocked"),
        ("already_blocked", {}, {}, SHADOW, [earlier(SHADOW)], "allowed"),
        ("already_blocked", {"mode": "shadow"}, {}, BLOCK, [earlier(BLOCK)], "allowed"),
        ("off", {"mode": "off"}, {}, BLOCK, [], "allowed"),
        ("allowed", {"allow": ["192.0.2.0/24"]}, {}, BLOCK, [], "allowed"),
        ("own", {}, {}, replace(ANY, target="dst_ip"), [], "allowed"),
        ("special", {}, {"src": "224.0.0.1"}, BLOCK, [], "allowed"),
        ("unproven", {}, UDP, BLOCK, [], "allowed"),
        ("veto", {}, {"src": "192.0.2.66"}, BLOCK, [], "allowed"),
        ("rate", {"max_blocks_per_minute": 1}, {"src": "192.0.2.2"}, BLOCK, [earlier(BLOCK)], "allowed"),
        ("kernel", {}, {}, BLOCK, [], "allowed"),
    ],
)
def test_an_alert_says_blocked_when_and_only_when_packets_die(
    refused: str,
    settings: dict[str, Any],
    flow: dict[str, Any],
    request_: BlockRequest,
    before: list[Match],
    action: str,
) -> None:
    bench = Bench(**settings)
    for match in before:
        bench.responder.handle(match)
    bench.events.clear()
    bench.gate.error = KernelError("full") if refused == "kernel" else None
    bench.responder.handle(make_match(make_flow(**flow), make_signature(sid=2, block=request_)))
    assert bench.events[0]["ids"]["block"]["refused"] == refused
    assert bench.events[0]["alert"]["action"] == action
    assert bench.kinds() == ["alert"], "a `drop` event reports an order, and there was none"


@pytest.mark.parametrize("refused", ["allowed", "unknown_flow", "kernel"])
def test_an_alert_of_a_drop_rule_says_allowed_when_its_flow_lives_on(refused: str) -> None:
    bench = Bench(allow=["192.0.2.0/24"] if refused == "allowed" else [])
    bench.gate.error = KernelError("no") if refused == "kernel" else None
    bench.gate.knows_flows = refused != "unknown_flow"
    bench.responder.handle(make_match(signature=make_signature(action=Action.DROP)))
    assert bench.events[0]["alert"]["action"] == "allowed"
    assert bench.kinds() == ["alert"]
    assert bench.counters[f"respond.refused.{refused}"] == 1
    assert bench.gate.condemned == []


def test_an_allowed_client_does_not_save_the_server_that_attacks_it() -> None:
    bench = Bench(allow=["192.0.2.0/24"])
    match = make_match(signature=make_signature(action=Action.DROP), direction=Direction.TO_CLIENT)
    bench.responder.handle(match)
    assert bench.gate.condemned == [match.flow]
    assert bench.kinds() == ["alert", "drop"]


def test_packets_without_a_flow_have_nothing_to_do_with_each_other() -> None:
    """What passes one of them silences no other, none of them is a flow that the gate could drop, nothing is kept."""
    bench = Bench()
    match = make_match(make_flow(id=0), signature=make_signature(action=Action.PASS))
    bench.responder.handle(match)
    bench.responder.handle(replace(match, signature=make_signature(sid=2, action=Action.DROP)))
    assert [event["alert"]["signature_id"] for event in bench.events if event["event_type"] == "alert"] == [2]
    assert bench.gate.condemned == []
    assert bench.counters["respond.refused.unknown_flow"] == 1
    assert not bench.responder._cases


def test_one_packet_has_no_more_alerts_than_the_setting_says() -> None:
    bench = Bench(alerts_per_packet=2)
    flow = make_flow()
    for number in (1, 1, 1, 2):
        bench.responder.handle(replace(make_match(flow), number=number))
    assert [event["pcap_cnt"] for event in bench.events] == [1, 1, 2]
    assert bench.counters["detect.alert_queue_overflow"] == 1


@pytest.mark.parametrize("bound", ["alerts_per_packet", "alerts_per_flow"])
def test_what_has_no_room_for_its_alert_still_blocks_and_a_block_has_an_alert_that_says_so(bound: str) -> None:
    bench = Bench(**{bound: 1})
    flow = make_flow()
    for signature in (make_signature(), make_signature(sid=2, block=ANY), make_signature(sid=3, block=ANY)):
        bench.responder.handle(make_match(flow, signature))
    assert bench.kinds() == ["alert", "alert", "drop"]
    assert bench.events[1]["ids"]["block"]["sid"] == 2
    assert len(bench.gate.orders) == 1
    assert bench.counters["detect.alert_queue_overflow"] == 1, "who is blocked already has had that alert"
