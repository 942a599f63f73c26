"""Whom a match may block: every way to say no, then the order itself."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import pytest

from ids.counters import Counters
from ids.respond.gate import BlockOrder, Held
from ids.respond.policy import BlockPolicy, Refusal
from ids.rules.language.variables import home_net
from ids.settings.respond import RespondSettings
from ids.types import (
    FLOW_COUNT,
    I64,
    BlockMode,
    BlockRequest,
    Direction,
    Flow,
    FlowColumns,
    FlowCounts,
    FlowState,
    IPAddress,
    IPNetwork,
    Mark,
    Match,
    address_halves,
)
from tests.factory import T0, make_flow, make_match
from tests.flow.traffic import RST, SYN, Run, Talk

SECOND = 1_000_000_000


class FakeGate:
    """A gate that carries orders out in memory; the real one is tested with the kernel."""

    def __init__(self) -> None:
        self.held: dict[IPNetwork, Held] = {}
        self.allowed: set[str] = set()

    @property
    def counting(self) -> bool:
        return False

    def block(self, order: BlockOrder) -> int | None:
        self.held[order.network] = Held(order.mode, order.ts_ns + order.ttl_s * SECOND)
        return None

    def condemn(self, flow: Flow, number: int) -> bool:
        return True

    def holds(self, network: IPNetwork) -> Held | None:
        return self.held.get(network)

    def allows(self, address: IPAddress) -> bool:
        return str(address) in self.allowed

    def bypass(self, flow: Flow, *, unneeded: bool = False) -> bool:
        return True

    def counts(self, flows: FlowColumns, slots: I64) -> FlowCounts:
        return np.zeros(len(slots), FLOW_COUNT)

    def forget(self, flows: FlowColumns, slots: I64) -> None: ...


class Policy(BlockPolicy):
    """A policy, and the gate that it asks."""

    def __init__(self, gate: FakeGate, veto: Any, own: set[str], settings: RespondSettings) -> None:
        self.gate = gate
        home = home_net({"HOME_NET": ["198.51.100.0/24", "2001:db8:2::/48"]})
        super().__init__(settings, gate, Counters(), veto, frozenset(map(ipaddress.ip_address, own)), home)


def make_policy(gate: FakeGate | None = None, veto: Any = None, own: set[str] | None = None, **settings: Any) -> Policy:
    return Policy(gate or FakeGate(), veto or (lambda address, match: []), own or set(), RespondSettings(**settings))


def request(**changes: Any) -> BlockRequest:
    values: dict[str, Any] = {"target": "src_ip", "ttl_s": 60, "mode": BlockMode.ENFORCE, "require_proven": True}
    return BlockRequest(**(values | changes))


def refused(policy: BlockPolicy, match: Match, **changes: Any) -> str:
    decision = policy.decide(match, request(**changes))
    assert isinstance(decision, Refusal)
    return decision.reason


def ordered(policy: Policy, match: Match, **changes: Any) -> BlockOrder:
    decision = policy.decide(match, request(**changes))
    assert isinstance(decision, BlockOrder), decision
    policy.gate.block(decision)  # as the responder does
    return decision


def test_a_proven_source_is_blocked_for_the_time_that_the_rule_says() -> None:
    order = ordered(make_policy(), make_match())
    assert (str(order.network), order.ttl_s, order.mode) == ("192.0.2.1/32", 60, BlockMode.ENFORCE)


def test_the_target_follows_the_direction_of_the_match() -> None:
    policy = make_policy()
    assert str(ordered(policy, make_match(direction=Direction.TO_CLIENT)).network) == "203.0.113.1/32"
    to_server = make_match(make_flow(dst="203.0.113.2"))
    assert str(ordered(policy, to_server, target="dst_ip").network) == "203.0.113.2/32"


def test_the_target_may_be_the_outer_end_of_a_tunnel() -> None:
    policy = make_policy()
    tunnelled = make_flow(
        depth=1, outer_src=address_halves("198.51.100.1"), outer_dst=address_halves("198.51.100.2"), outer_proto=47
    )
    for target, direction, expected in (
        ("outer_src_ip", Direction.TO_SERVER, "198.51.100.1/32"),
        ("outer_src_ip", Direction.TO_CLIENT, "198.51.100.2/32"),
        ("outer_dst_ip", Direction.TO_CLIENT, "198.51.100.1/32"),
    ):
        match = make_match(tunnelled, direction=direction)
        assert str(ordered(make_policy(), match, target=target, require_proven=False).network) == expected
    assert str(ordered(policy, make_match(), target="outer_src_ip").network) == "192.0.2.1/32"


@pytest.mark.parametrize(
    ("flow", "why"),
    [
        (make_flow(depth=1), "one datagram holds both sides of a conversation"),
        (make_flow(state=FlowState.NEW), "no handshake yet"),
        (make_flow(marks=0), "established on the word of one side"),
        (make_flow(marks=Mark.MIDSTREAM), "picked up in the middle"),
        (make_flow(state=FlowState.CLOSED, marks=Mark.MIDSTREAM), "reset before its handshake was complete"),
        (make_flow(proto=17), "UDP has no handshake"),
    ],
)
def test_an_unproven_source_is_not_blocked(flow: Flow, why: str) -> None:
    assert refused(make_policy(), make_match(flow)) == "unproven", why


def test_a_rule_may_waive_the_proof() -> None:
    assert ordered(make_policy(), make_match(make_flow(proto=17)), require_proven=False)


@pytest.mark.parametrize(
    ("settings", "source", "reason"),
    [
        ({"mode": "off"}, "192.0.2.1", "off"),
        ({"allow": ["192.0.2.0/24"]}, "192.0.2.1", "allowed"),
        ({"allow": ["2001:db8::/32"]}, "2001:db8::5", "allowed"),
        ({}, "224.0.0.1", "special"),
        ({}, "255.255.255.255", "special"),
        ({}, "127.0.0.1", "special"),
        ({}, "::", "special"),
    ],
)
def test_who_is_never_blocked(settings: dict[str, Any], source: str, reason: str) -> None:
    server = "2001:db8:ffff::1" if ":" in source else "203.0.113.1"
    assert refused(make_policy(**settings), make_match(make_flow(source, server))) == reason


def test_who_is_on_the_kernels_allow_list_is_never_blocked() -> None:
    gate = FakeGate()
    gate.allowed = {"192.0.2.1"}
    assert refused(make_policy(gate), make_match()) == "allowed"


def test_own_addresses_are_never_blocked() -> None:
    assert refused(make_policy(own={"192.0.2.1"}), make_match()) == "own"


INSIDE, INSIDE6 = "198.51.100.7", "2001:db8:2::7"
OUTSIDE, OUTSIDE6 = "192.0.2.1", "2001:db8:1::1"


@pytest.mark.parametrize(
    ("client", "server", "direction", "target"),
    [
        (INSIDE, OUTSIDE, Direction.TO_SERVER, "src_ip"),  # made to follow a link with an exploit in it
        (INSIDE6, OUTSIDE6, Direction.TO_SERVER, "src_ip"),  # and with it everybody in its /64
        (INSIDE, OUTSIDE, Direction.TO_CLIENT, "dst_ip"),
        (OUTSIDE, INSIDE, Direction.TO_CLIENT, "src_ip"),  # a server of ours, made to answer badly
    ],
)
def test_who_is_inside_is_spared_for_what_it_has_to_do_with_the_outside(
    client: str, server: str, direction: Direction, target: str
) -> None:
    match = make_match(make_flow(client, server), direction=direction)
    decision = make_policy().decide(match, request(target=target))
    assert isinstance(decision, Refusal)
    assert decision.reason == "home"
    for part in ("vars.HOME_NET", "respond.block_home", "home: true"):
        assert part in decision.detail
    assert ordered(make_policy(block_home=True), match, target=target)
    assert ordered(make_policy(), match, target=target, home=True)


@pytest.mark.parametrize(
    ("client", "server"), [(OUTSIDE, INSIDE), (OUTSIDE6, INSIDE6), (INSIDE, "198.51.100.9"), (OUTSIDE, "203.0.113.1")]
)
def test_attackers_outside_and_between_hosts_inside_are_blocked(client: str, server: str) -> None:
    assert (
        str(ordered(make_policy(ipv6_prefix=128), make_match(make_flow(client, server))).network.network_address)
        == client
    )


def test_who_attacks_this_very_host_from_inside_is_blocked() -> None:
    """A server with a public address, in a network with private ones, of which the settings say nothing."""
    match = make_match(make_flow(INSIDE, OUTSIDE))
    assert ordered(make_policy(own={OUTSIDE}), match)


def test_where_everybody_is_inside_everybody_may_be_blocked() -> None:
    policy = make_policy()
    policy.configure(RespondSettings(), home_net({"HOME_NET": "any"}))
    assert ordered(policy, make_match(make_flow(INSIDE, OUTSIDE)))


@pytest.mark.parametrize("address", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "fd00::1"])
def test_private_networks_are_inside_unless_the_settings_say_otherwise(address: str) -> None:
    assert address_halves(address) in home_net({})
    assert address_halves(address) not in home_net({"HOME_NET": "198.51.100.0/24"})


def test_own_addresses_and_the_allow_list_are_named_before_home() -> None:
    match = make_match(make_flow(INSIDE, OUTSIDE))
    assert refused(make_policy(own={INSIDE}), match) == "own"
    assert refused(make_policy(allow=[INSIDE]), match) == "allowed"


def test_one_veto_is_enough_and_a_broken_veto_forbids() -> None:
    def broken(address: str, match: Match) -> list[str]:
        raise RuntimeError("gone")

    assert refused(make_policy(veto=lambda address, match: [f"{address} is a partner"]), make_match()) == "veto"
    assert refused(make_policy(veto=broken), make_match()) == "veto"


def test_a_blocked_source_is_not_ordered_again_until_its_time_is_over_and_then_for_longer() -> None:
    policy = make_policy(repeat_factor=3)
    assert ordered(policy, make_match()).ttl_s == 60
    assert refused(policy, make_match(ts_ns=T0 + 59 * SECOND)) == "already_blocked"
    assert ordered(policy, make_match(ts_ns=T0 + 61 * SECOND)).ttl_s == 180


def test_a_block_that_an_operator_lifted_may_be_ordered_again() -> None:
    gate = FakeGate()
    policy = make_policy(gate)
    assert ordered(policy, make_match())
    gate.held.clear()
    assert ordered(policy, make_match(ts_ns=T0 + SECOND))


def test_a_penalty_does_not_grow_with_blocks_that_an_operator_lifted() -> None:
    gate = FakeGate()
    policy = make_policy(gate, repeat_factor=2)
    for second in range(5):
        assert ordered(policy, make_match(ts_ns=T0 + second * SECOND)).ttl_s == 60
        gate.held.clear()
    assert ordered(policy, make_match(ts_ns=T0 + 5 * SECOND)).ttl_s == 60
    assert ordered(policy, make_match(ts_ns=T0 + 100 * SECOND)).ttl_s == 120, "it came back after its time"
    gate.held.clear()
    assert ordered(policy, make_match(ts_ns=T0 + 101 * SECOND)).ttl_s == 120


def test_a_penalty_does_not_grow_with_blocks_that_were_only_counted() -> None:
    gate = FakeGate()
    policy = make_policy(gate, repeat_factor=2, mode="shadow")
    for _ in range(2):
        decision = policy.decide(make_match(), request())
        assert isinstance(decision, BlockOrder)
        policy.forget(decision.network)
    assert ordered(policy, make_match()).mode is BlockMode.SHADOW
    policy.configure(RespondSettings(repeat_factor=2))
    assert ordered(policy, make_match(ts_ns=T0 + SECOND)).ttl_s == 60


def test_a_shadow_that_an_operator_lifted_takes_nothing_off_a_penalty() -> None:
    gate = FakeGate()
    policy = make_policy(gate, repeat_factor=2, mode="shadow")
    assert ordered(policy, make_match()).ttl_s == 60
    gate.held.clear()
    assert ordered(policy, make_match(ts_ns=T0 + SECOND)).ttl_s == 60, "not less than a first one"
    gate.held.clear()
    policy.configure(RespondSettings(repeat_factor=2))
    assert ordered(policy, make_match(ts_ns=T0 + 2 * SECOND)).ttl_s == 60


def test_a_penalty_does_not_grow_with_orders_that_were_not_carried_out() -> None:
    policy = make_policy(repeat_factor=2)
    for _ in range(3):
        decision = policy.decide(make_match(), request())
        assert isinstance(decision, BlockOrder)
        assert decision.ttl_s == 60
        policy.forget(decision.network)


@pytest.mark.parametrize(
    ("held", "mode", "covered"),
    [
        (Held(BlockMode.ENFORCE, None), BlockMode.ENFORCE, True),
        (Held(BlockMode.ENFORCE, T0 + 3600 * SECOND), BlockMode.ENFORCE, True),
        (Held(BlockMode.ENFORCE, T0 + 10 * SECOND), BlockMode.ENFORCE, False),
        (Held(BlockMode.ENFORCE, T0 + 10 * SECOND), BlockMode.SHADOW, True),
        (Held(BlockMode.ENFORCE, T0), BlockMode.SHADOW, False),
        (Held(BlockMode.SHADOW, None), BlockMode.ENFORCE, False),
        (Held(BlockMode.SHADOW, None), BlockMode.SHADOW, True),
    ],
)
def test_a_rule_neither_shortens_nor_weakens_a_block_that_somebody_else_ordered(
    held: Held, mode: BlockMode, covered: bool
) -> None:
    gate = FakeGate()
    gate.held[ipaddress.ip_network("192.0.2.1/32")] = held
    decision = make_policy(gate).decide(make_match(), request(mode=mode))
    assert isinstance(decision, Refusal) == covered
    if isinstance(decision, Refusal):
        assert (decision.reason, decision.mode) == ("already_blocked", held.mode)


def test_a_shadow_does_not_shield_from_a_rule_that_enforces() -> None:
    policy = make_policy()
    assert ordered(policy, make_match(), mode=BlockMode.SHADOW).mode is BlockMode.SHADOW
    assert refused(policy, make_match(ts_ns=T0 + SECOND), mode=BlockMode.SHADOW) == "already_blocked"
    assert ordered(policy, make_match(ts_ns=T0 + SECOND)).mode is BlockMode.ENFORCE
    assert refused(policy, make_match(ts_ns=T0 + 2 * SECOND), mode=BlockMode.SHADOW) == "already_blocked"


def test_a_refused_repetition_says_how_the_block_is_in_force() -> None:
    gate = FakeGate()
    policy = make_policy(gate)
    assert ordered(policy, make_match())
    for mode in BlockMode:
        gate.held[ipaddress.ip_network("192.0.2.1/32")] = Held(mode, None)
        refusal = policy.decide(make_match(ts_ns=T0 + SECOND), request(mode=mode))
        assert isinstance(refusal, Refusal)
        assert (refusal.reason, refusal.mode) == ("already_blocked", mode)


def test_no_block_lasts_longer_than_the_limit() -> None:
    assert ordered(make_policy(max_ttl_s=30), make_match()).ttl_s == 30


def test_shadow_mode_turns_every_order_into_a_shadow() -> None:
    assert ordered(make_policy(mode="shadow"), make_match()).mode is BlockMode.SHADOW
    assert ordered(make_policy(), make_match(), mode=BlockMode.SHADOW).mode is BlockMode.SHADOW


def test_ipv6_is_blocked_by_the_prefix_that_was_set() -> None:
    match = make_match(make_flow("2001:db8::5", "2001:db8:1::1"))
    assert str(ordered(make_policy(ipv6_prefix=64), match).network) == "2001:db8::/64"


def test_a_rule_that_matches_everybody_is_bounded() -> None:
    policy = make_policy(max_blocks_per_minute=3)
    sources = [f"192.0.2.{n}" for n in range(1, 6)]
    decisions = [policy.decide(make_match(make_flow(source)), request()) for source in sources]
    assert [isinstance(decision, BlockOrder) for decision in decisions] == [True, True, True, False, False]
    later = make_match(make_flow("192.0.2.9"), ts_ns=T0 + 61 * SECOND)
    assert ordered(policy, later)


def test_an_order_that_was_not_carried_out_may_be_given_again() -> None:
    policy = make_policy()
    decision = policy.decide(make_match(), request())
    assert isinstance(decision, BlockOrder)
    policy.forget(decision.network)
    assert ordered(policy, make_match())


def test_an_ipv4_mapped_network_is_allowed_as_the_ipv4_one() -> None:
    settings = RespondSettings.model_validate({"allow": ["::ffff:192.0.2.0/120", "2001:db8::/32"]})
    assert [str(network) for network in settings.allow] == ["192.0.2.0/24", "2001:db8::/32"]


def test_a_forged_syn_and_a_forged_rst_prove_no_source() -> None:
    (flow,) = Run(Talk().add(False, SYN).add(False, RST).pkts).started
    assert refused(make_policy(), make_match(flow)) == "unproven"
    (flow,) = Run(Talk().open().add(False, RST).pkts).started
    assert ordered(make_policy(), make_match(flow))
