"""What anybody with the pins can see of a gate, whether its engine answers or not: rings and flows."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP

from ids.kernel import contract
from ids.kernel.flows.busiest import pinned_flows
from ids.kernel.rings.fill import pinned_fill
from tests.kernel import packets as p
from tests.kernel.gate import Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def question(src: str, sport: int = 9) -> bytes:
    return p.wire(IP(src=src, dst=p.SERVER), UDP(sport=sport, dport=53), b"question")


def test_what_waits_in_the_rings_is_seen_without_their_reader(gate: Gate) -> None:
    pins = gate.fastpath.pin_dir
    assert {(ring.worker, ring.name, ring.waiting_bytes) for ring in pinned_fill(pins)} == {
        (0, "small", 0),
        (0, "large", 0),
    }
    gate.send_all(question(p.CLIENT, sport) for sport in (1, 2, 3))
    after = {ring.name: ring for ring in pinned_fill(pins)}
    assert after["small"].waiting_bytes == 3 * contract.SMALL_STRIDE
    assert after["small"].ratio == 3 * contract.SMALL_STRIDE / after["small"].size_bytes
    assert after["large"].waiting_bytes == 0


def test_who_opened_the_busiest_flows_is_seen_without_an_engine(gate: Gate) -> None:
    answer = p.wire(IP(src=p.SERVER, dst="192.0.2.7"), UDP(sport=53, dport=9), b"answer" * 20)
    gate.send_all([question("192.0.2.7"), question("192.0.2.7"), answer, question("192.0.2.8")])
    gate.send_all([p.wire(p.IP6, UDP(sport=9, dport=53), b"question")])
    seen = pinned_flows(gate.fastpath.pin_dir, 2)
    assert [(str(one.address), one.flows, one.packets) for one in seen.busiest] == [
        ("192.0.2.7", 1, 3),
        (p.CLIENT6, 1, 1),
    ]
    assert seen.count == 3
    assert sum(seen.by_state.values()) == 3
