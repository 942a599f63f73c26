"""What response asks the kernel, and what it orders there, through the engine's gate."""

from __future__ import annotations

import ipaddress
import time

import numpy as np
import pytest
from scapy.layers.inet import ICMP

from ids.kernel.contract import Reason
from ids.live.gate import KernelGate
from ids.respond.gate import BlockOrder
from ids.types import BlockMode
from tests.factory import make_flow
from tests.kernel import packets as p
from tests.kernel.gate import Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]

NETWORK = ipaddress.ip_network(f"{p.CLIENT}/32")


@pytest.fixture
def orders(gate: Gate) -> KernelGate:
    """The engine's gate on the loaded program."""
    live = KernelGate()
    live.fastpath = gate.fastpath
    return live


@pytest.mark.parametrize("mode", BlockMode)
def test_a_block_is_held_in_the_mode_it_has_until_it_is_lifted(orders: KernelGate, mode: BlockMode) -> None:
    assert orders.holds(NETWORK) is None
    orders.block(BlockOrder(NETWORK, 60, mode, 1, "rule", time.time_ns(), 1))
    held = orders.holds(NETWORK)
    assert held is not None
    assert held.mode is mode
    assert held.until_ns is not None
    assert 0 < held.until_ns - time.time_ns() <= 60 * 10**9
    assert orders.fastpath is not None
    orders.fastpath.blocks.delete(NETWORK)
    assert orders.holds(NETWORK) is None


def test_an_expired_block_is_not_held_even_if_nobody_has_swept_it(orders: KernelGate) -> None:
    orders.block(BlockOrder(NETWORK, 0, BlockMode.ENFORCE, 1, "rule", time.time_ns(), 1))
    assert orders.holds(NETWORK) is None


def test_an_address_is_allowed_by_itself_or_with_its_network(orders: KernelGate, gate: Gate) -> None:
    for network in ("192.0.2.0/29", "2001:db8::7/128"):
        gate.allow(network)
    addresses = ("192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8::8")
    allowed = [address for address in addresses if orders.allows(ipaddress.ip_address(address))]
    assert allowed == ["192.0.2.7", "2001:db8::7"]


def test_a_flow_can_be_condemned_whether_the_kernel_knows_it_or_not(orders: KernelGate, gate: Gate) -> None:
    """One that is all fragments it knows only by its hosts."""
    flow = make_flow(p.CLIENT, p.SERVER, proto=17, sport=5353, dport=53)
    assert not orders.bypass(flow)
    assert orders.condemn(flow, 1)
    assert gate.send(p.DNS).reason == Reason.DROP_FLOW


@pytest.mark.parametrize(("unneeded", "reason"), [(False, Reason.PASS_BYPASS), (True, Reason.PASS_UNNEEDED)])
def test_a_bypassed_flow_is_counted_by_why_it_is(
    orders: KernelGate, gate: Gate, unneeded: bool, reason: Reason
) -> None:
    gate.send(p.DNS)
    assert orders.bypass(make_flow(p.CLIENT, p.SERVER, proto=17, sport=5353, dport=53), unneeded=unneeded)
    assert gate.send(p.DNS).reason == reason


def test_a_ping_is_a_flow_that_the_kernel_knows_and_the_next_ping_another(orders: KernelGate, gate: Gate) -> None:
    for version, ping in ((4, p.PING), (6, p.PING6)):
        ends = (p.CLIENT, p.SERVER) if version == 4 else (p.CLIENT6, p.SERVER6)
        kind = 8 if version == 4 else 128
        flow = make_flow(*ends, proto=1 if version == 4 else 58, sport=kind, dport=0, echo_id=77)
        gate.send(ping)
        (count,) = orders.counts(flow.columns, np.array([flow.slot]))
        assert (bool(count["known"]), count["packets"].tolist()) == (True, [1, 0])
        other = make_flow(*ends, proto=flow.proto, sport=kind, dport=0, echo_id=78)
        assert not orders.bypass(other)
        assert orders.condemn(flow, 1)
        assert gate.send(ping).reason == Reason.DROP_FLOW


@pytest.mark.parametrize("kind", [0, 3, 13])
def test_icmp_other_than_echoes_has_no_entry_of_its_own(orders: KernelGate, gate: Gate, kind: int) -> None:
    gate.send(p.wire(p.IP4, ICMP(type=3), bytes(28)))
    flow = make_flow(p.CLIENT, p.SERVER, proto=1, sport=kind, dport=0)
    assert not orders.condemn(flow, 1)
    assert not orders.bypass(flow)
    orders.forget(flow.columns, np.array([flow.slot]))
    assert not orders.counts(flow.columns, np.array([flow.slot]))["known"].any()
    assert gate.flow_count() == 1
