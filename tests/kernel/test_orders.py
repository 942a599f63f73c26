"""A verdict changes nothing else about its flow, and no packet that comes at that moment goes uncounted."""

from __future__ import annotations

import threading

import pytest

from ids.kernel.contract import FlowVerdict, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.kernel.system import syscall
from ids.types import address_halves
from tests.kernel import packets as p
from tests.kernel.gate import PATIENCE_S, Gate
from tests.kernel.packets import HANDSHAKE, HANDSHAKE6

pytestmark = [pytest.mark.root, pytest.mark.xdp]
FLOW = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
FLOW6 = FlowAddress(address_halves(p.CLIENT6), address_halves(p.SERVER6), 40000, 80, 6)


@pytest.mark.parametrize(("version", "flow", "packets"), [(4, FLOW, HANDSHAKE), (6, FLOW6, HANDSHAKE6)])
def test_only_verdict_and_depth_are_written(gate: Gate, version: int, flow: FlowAddress, packets: list[bytes]) -> None:
    gate.send_all([*packets, p.DATA if version == 4 else p.DATA6])
    before = gate.flow(version).copy()
    assert gate.fastpath.set_flow(flow, FlowVerdict.DROP, depth_bytes=0x01020304)
    before["verdict"], before["depth"] = FlowVerdict.DROP, 0x01020304
    assert gate.flow(version) == before
    assert gate.fastpath.set_flow(flow, FlowVerdict.INSPECT)
    before["verdict"], before["depth"] = FlowVerdict.INSPECT, 0
    assert gate.flow(version) == before


def test_no_flow_is_made_by_a_verdict_other_than_to_drop(gate: Gate) -> None:
    for verdict in (FlowVerdict.BYPASS, FlowVerdict.INSPECT):
        assert not gate.fastpath.set_flow(FLOW, verdict)
        assert not gate.fastpath.set_flow(FLOW6, verdict)
    assert gate.flow_count() == 0


@pytest.mark.parametrize(("flow", "packet"), [(FLOW, p.DATA), (FLOW6, p.DATA6)])
def test_a_flow_that_is_not_known_can_be_condemned(gate: Gate, flow: FlowAddress, packet: bytes) -> None:
    """Of one that is all fragments, no whole packet has been seen."""
    gate.fastpath.config["now_ns"] = gate.now_ns
    assert gate.fastpath.set_flow(flow, FlowVerdict.DROP)
    assert gate.send(packet).reason == Reason.DROP_FLOW


def test_packets_that_come_meanwhile_are_counted(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    repeat, rounds, begun, enough = 10_000, 0, threading.Event(), threading.Event()

    def send() -> None:
        nonlocal rounds
        while rounds < 20 or not enough.is_set():
            syscall.prog_test_run(gate.fastpath.program, p.DATA, repeat=repeat)
            rounds += 1
            begun.set()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        assert begun.wait(PATIENCE_S)
        for orders in range(1000):
            assert gate.fastpath.set_flow(FLOW, FlowVerdict.BYPASS, depth_bytes=orders)
    finally:
        enough.set()
        sender.join()
    assert gate.flow()["packets"].sum() == len(HANDSHAKE) + rounds * repeat
