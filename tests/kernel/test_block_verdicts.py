"""Whom the program blocks, whom it allows, and what it counts of them."""

from __future__ import annotations

import pytest

from ids.kernel import contract
from ids.kernel.contract import BlockFlag, Reason
from tests.kernel import packets as p
from tests.kernel.gate import SHOWN, START_NS, XDP_PASS, Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]

SECOND_NS = 10**9


@pytest.mark.parametrize(
    ("network", "packet", "reason"),
    [
        ("192.0.2.7/32", p.DATA, Reason.DROP_BLOCKED),
        ("192.0.2.7/32", p.QINQ, Reason.DROP_BLOCKED),
        ("192.0.2.7/32", p.THREE_TAGS, Reason.DROP_BLOCKED),
        ("192.0.2.7/32", p.EIGHT_TAGS, Reason.DROP_BLOCKED),
        ("192.0.2.0/24", p.EIGHT_TAGS, Reason.DROP_BLOCKED_PREFIX),
        ("2001:db8::7/128", p.EIGHT_TAGS6, Reason.DROP_BLOCKED),
        ("192.0.2.7/32", p.IP4_LATER_FRAGMENT, Reason.DROP_BLOCKED),
        ("192.0.2.7/32", p.TCP_SHORT, Reason.DROP_BLOCKED),
        ("192.0.2.0/24", p.DATA, Reason.DROP_BLOCKED_PREFIX),
        ("0.0.0.0/0", p.DATA, Reason.DROP_BLOCKED_PREFIX),
        ("2001:db8::7/128", p.DATA6, Reason.DROP_BLOCKED),
        ("2001:db8::/64", p.DATA6, Reason.DROP_BLOCKED_PREFIX),
        ("198.51.100.1/32", p.DATA, SHOWN),
        ("192.0.2.6/32", p.DATA, SHOWN),
        ("2001:db8:1::/48", p.DATA6, SHOWN),
    ],
)
def test_blocks(gate: Gate, network: str, packet: bytes, reason: Reason) -> None:
    gate.block(network)
    assert gate.send(packet).reason == reason


def test_a_block_counts_its_packets_bytes_and_last_hit(gate: Gate) -> None:
    gate.block("192.0.2.7")
    gate.send(p.DATA)
    gate.send(p.SYN, after_ns=5)
    entry = gate.block_entry("192.0.2.7")
    assert (entry["packets"], entry["bytes"]) == (2, len(p.DATA) + len(p.SYN))
    assert entry["last_hit_ns"] == START_NS + 5


def test_a_block_ends_when_it_expires_not_when_it_is_swept(gate: Gate) -> None:
    gate.block("192.0.2.7", expires_ns=START_NS + 10)
    assert gate.send(p.DATA, after_ns=9).reason == Reason.DROP_BLOCKED
    assert gate.send(p.DATA, after_ns=1).reason == SHOWN
    assert gate.block_entry("192.0.2.7")["packets"] == 1


def test_a_shadow_block_counts_and_lets_pass(gate: Gate) -> None:
    gate.block("192.0.2.7", mode=BlockFlag.SHADOW)
    verdict = gate.send(p.DATA)
    assert (verdict.action, verdict.reason) == (XDP_PASS, SHOWN)
    assert Reason.NOTE_SHADOW in verdict.notes
    assert gate.block_entry("192.0.2.7")["packets"] == 1


def test_a_shadow_prefix_counts_every_packet_of_a_flow(gate: Gate) -> None:
    gate.block("192.0.2.0/24", mode=BlockFlag.SHADOW)
    assert [Reason.NOTE_SHADOW in gate.send(packet).notes for packet in (p.SYN, p.DATA, p.DATA)] == [True] * 3


def test_a_blocked_prefix_is_dropped_although_the_other_side_spoke_first(gate: Gate) -> None:
    gate.block("198.51.100.0/24")
    assert gate.send_all([p.SYN, p.SYN]) == [SHOWN] * 2
    assert gate.send(p.wire(p.IP4_BACK, p.reply("SA"))).reason == Reason.DROP_BLOCKED_PREFIX


def test_an_enforced_prefix_holds_behind_a_shadow_address(gate: Gate) -> None:
    gate.block("192.0.2.7", mode=BlockFlag.SHADOW)
    gate.block("192.0.2.0/24")
    verdict = gate.send(p.DATA)
    assert verdict.reason == Reason.DROP_BLOCKED_PREFIX
    assert Reason.NOTE_SHADOW in verdict.notes


@pytest.mark.parametrize(
    ("networks", "packet"),
    [
        (["0.0.0.0/0", "192.0.0.0/16", "192.0.2.0/24"], p.DATA),
        (["192.0.0.0/8", "192.0.2.6/31"], p.DATA),
        (["::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::6/127"], p.DATA6),
    ],
)
@pytest.mark.parametrize("why", ["it expired", "it only counts"])
def test_a_prefix_that_does_not_hold_hides_no_shorter_one(
    gate: Gate, networks: list[str], packet: bytes, why: str
) -> None:
    widest, *others = networks
    gate.block(widest)
    for network in others:
        gate.block(network, **({"expires_ns": START_NS} if why == "it expired" else {"mode": BlockFlag.SHADOW}))
    verdicts = [gate.send(packet) for _ in range(2)]
    assert {verdict.reason for verdict in verdicts} == {Reason.DROP_BLOCKED_PREFIX}
    assert Reason.NOTE_SHADOW not in verdicts[0].notes or why == "it only counts"


def test_what_holds_among_nested_prefixes_counts_and_nothing_behind_it(gate: Gate) -> None:
    for network in ("192.0.0.0/8", "192.0.0.0/16"):
        gate.block(network)
    gate.send(p.DATA)
    _, values = gate.fastpath.blocks.entries((4, False))
    counted = dict(zip(values["prefixlen"].tolist(), values["packets"].tolist(), strict=True))
    assert counted == {8: 0, 16: 1}


def test_an_allowed_source_is_looked_for_among_no_more_prefixes(gate: Gate) -> None:
    for network in ("192.0.0.0/8", "192.0.0.0/16"):
        gate.block(network)
    gate.allow("192.0.2.7/32")
    assert gate.send(p.DATA).reason == SHOWN
    (entry,) = gate.fastpath.allowed.list()
    assert entry.packets == 1


@pytest.mark.parametrize(
    ("blocked", "allowed", "packet"),
    [
        ("192.0.2.7/32", "192.0.2.7/32", p.DATA),
        ("192.0.2.7/32", "192.0.2.0/24", p.DATA),
        ("192.0.2.0/24", "192.0.2.7/32", p.DATA),
        ("2001:db8::7/128", "2001:db8::/32", p.DATA6),
        ("2001:db8::/64", "2001:db8::7/128", p.DATA6),
    ],
)
def test_the_allow_list_wins_over_blocks(gate: Gate, blocked: str, allowed: str, packet: bytes) -> None:
    gate.block(blocked)
    gate.allow(allowed)
    verdict = gate.send(packet)
    assert (verdict.action, verdict.reason) == (XDP_PASS, SHOWN)
    assert verdict.notes == {Reason.NOTE_ALLOWED, Reason.NOTE_FLOW_NEW}
    assert gate.block_entry(blocked)["packets"] == 0
    (entry,) = gate.fastpath.allowed.list()
    assert (str(entry.network), entry.packets, entry.bytes, entry.label) == (allowed, 1, len(packet), "test")


@pytest.mark.parametrize(("blocked", "packet"), [("192.0.2.7", p.DATA), ("2001:db8::7", p.DATA6)])
def test_a_blocked_address_is_let_in_once_it_is_allowed_and_only_so_long(
    gate: Gate, blocked: str, packet: bytes
) -> None:
    gate.block(blocked)
    assert gate.send_all([packet, packet]) == [Reason.DROP_BLOCKED] * 2
    generation = int(gate.fastpath.config["allow_generation"][0])
    assert gate.block_entry(blocked)["not_allowed"] == generation, "it is not asked for again"
    gate.allow("192.0.2.0/24" if packet == p.DATA else "2001:db8::/64")
    assert gate.send_all([packet, packet]) == [SHOWN] * 2
    (entry,) = gate.fastpath.allowed.list()
    assert gate.fastpath.allowed.delete(entry.network)
    assert gate.send_all([packet, packet]) == [Reason.DROP_BLOCKED] * 2


def test_without_a_generation_the_allow_list_is_asked_for_every_packet(gate: Gate) -> None:
    gate.fastpath.config["allow_generation"] = 0
    gate.block("192.0.2.7")
    assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED
    assert gate.block_entry("192.0.2.7")["not_allowed"] == 0
    table, key = gate.place("192.0.2.0/24")
    gate.fastpath.maps[table.replace("prefix", "allow")].set(key, bytes(contract.ALLOW.itemsize))
    assert gate.send(p.DATA).reason == SHOWN


def test_who_is_not_blocked_does_not_pay_for_the_allow_list(gate: Gate) -> None:
    gate.allow("192.0.2.7")
    assert gate.send(p.DATA).notes == {Reason.NOTE_FLOW_NEW}


def test_an_allowed_source_may_send_malformed_packets(gate: Gate) -> None:
    gate.allow("192.0.2.7")
    verdict = gate.send(p.SYN_FIN)
    assert (verdict.action, verdict.reason) == (XDP_PASS, Reason.PASS_ALLOWED_MALFORMED)
