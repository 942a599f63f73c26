"""What the kernel counted of a flow, from the engine's point of view: by direction, in the world's time."""

from __future__ import annotations

import ipaddress
import time
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet

from ids.kernel.contract import Reason
from ids.kernel.system.clock import sample_offset_ns
from ids.types import Flow
from tests.factory import make_flow
from tests.kernel import packets as p
from tests.kernel.gate import Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def count_of(gate: Gate, flow: Flow) -> Any:
    """Return what the kernel counted of a flow."""
    (count,) = gate.fastpath.flow_counts(flow.columns, np.array([flow.slot]))
    return count


QUESTION, ANSWER = bytes(10), bytes(700)
"""The answers are more than the depth of UDP allows to be shown: 1,000 bytes of each side."""


@pytest.mark.parametrize(
    ("ends", "layers"),
    [
        ((p.CLIENT, p.SERVER), (p.IP4, p.IP4_BACK)),
        ((p.SERVER, p.CLIENT), (p.IP4_BACK, p.IP4)),  # the client is the upper end
        ((p.CLIENT6, p.SERVER6), (p.IP6, p.IP6_BACK)),
        ((p.SERVER6, p.CLIENT6), (p.IP6_BACK, p.IP6)),
    ],
)
@pytest.mark.parametrize("ports", [(40000, 53), (53, 40000), (53, 53)])
def test_packets_are_counted_by_direction_shown_or_not(
    gate: Gate, ends: tuple[str, str], layers: tuple[Packet, Packet], ports: tuple[int, int]
) -> None:
    there, back = (
        p.wire(layers[0], UDP(sport=ports[0], dport=ports[1]), QUESTION),
        p.wire(layers[1], UDP(sport=ports[1], dport=ports[0]), ANSWER),
    )
    reasons = gate.send_all([there, back, back, back])
    assert reasons[-1] == Reason.PASS_DEPTH

    flow = make_flow(*ends, proto=17, sport=ports[0], dport=ports[1])
    count = count_of(gate, flow)
    assert (count["packets"].tolist(), count["bytes"].tolist()) == ([1, 3], [len(there), 3 * len(back)])
    assert not count["condemned"]


def test_two_ends_that_differ_in_the_port_alone_have_sides_too(gate: Gate) -> None:
    own = IP(src=p.CLIENT, dst=p.CLIENT)
    gate.send_all([p.wire(own, UDP(sport=9, dport=8)), p.wire(own, UDP(sport=8, dport=9)), p.DNS])
    count = count_of(gate, make_flow(p.CLIENT, p.CLIENT, proto=17, sport=9, dport=8))
    assert count["packets"].tolist() == [1, 1]


def test_times_are_those_of_the_world(gate: Gate) -> None:
    before = time.time_ns()
    gate.now_ns = time.monotonic_ns()
    gate.send_all([p.DNS, p.DNS])
    count = count_of(gate, dns())
    assert abs(count["first_ns"] - before) < 5 * 10**9
    assert count["last_ns"] - count["first_ns"] == 1_000_000
    assert abs(count["last_ns"] - gate.now_ns - sample_offset_ns()) < 10**9


def test_a_flow_that_was_never_met_has_no_count(gate: Gate) -> None:
    gate.send(p.DNS)
    for flow in (make_flow(p.CLIENT, p.SERVER), make_flow(p.CLIENT6, p.SERVER6)):
        assert not count_of(gate, flow)["known"]


def test_a_condemned_flow_says_so_and_its_dead_packets_count(gate: Gate) -> None:
    gate.send(p.DNS)
    assert gate.fastpath.drop_flow(dns())
    assert gate.send(p.DNS).reason == Reason.DROP_FLOW
    count = count_of(gate, dns())
    assert (bool(count["condemned"]), count["packets"].tolist()) == (True, [2, 0])


@pytest.mark.parametrize(
    ("there", "back", "client", "server"),
    [
        (p.IP4, p.IP4_BACK, f"{p.CLIENT}/32", f"{p.SERVER}/32"),
        (p.IP6, p.IP6_BACK, f"{p.CLIENT6}/64", f"{p.SERVER6}/128"),
    ],
)
def test_what_networks_sent_is_summed_over_their_flows_without_what_was_dropped(
    gate: Gate, there: Packet, back: Packet, client: str, server: str
) -> None:
    networks = [ipaddress.ip_network(text, strict=False) for text in (client, server, "203.0.113.0/24")]
    asked = [p.wire(there, UDP(sport=sport, dport=9), QUESTION) for sport in (8, 10, 8)]
    gate.send_all([*asked, p.wire(back, UDP(sport=9, dport=8), ANSWER)])
    assert [gate.fastpath.sent_by(networks)[network] for network in networks] == [3, 1, 0]
    gate.block(str(networks[0]))
    dropped = Reason.DROP_BLOCKED if networks[0].prefixlen == 32 else Reason.DROP_BLOCKED_PREFIX
    assert gate.send(asked[0]).reason == dropped
    assert gate.fastpath.sent_by(networks)[networks[0]] == 3


def test_a_forgotten_flow_begins_anew_and_is_shown_anew(gate: Gate) -> None:
    long = p.wire(p.IP4, UDP(sport=5353, dport=53), ANSWER)
    assert gate.send_all([long] * 3)[-1] == Reason.PASS_DEPTH
    gate.fastpath.forget_flows(dns().columns, np.array([0]))
    assert not count_of(gate, dns())["known"]
    assert gate.send(long).notes == {Reason.NOTE_FLOW_NEW}
    count = count_of(gate, dns())
    assert count["packets"].tolist() == [1, 0]


def dns() -> Flow:
    """The flow of `packets.DNS`."""
    return make_flow(p.CLIENT, p.SERVER, proto=17, sport=5353, dport=53)
