"""What the program decides, packet by packet: a row is a description, a packet, and the verdict."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from ids.kernel.contract import LimitKind, Reason
from tests.kernel import packets as p
from tests.kernel.gate import SHOWN, XDP_DROP, XDP_PASS, Gate, Verdict
from tests.kernel.parsed import PARSED

pytestmark = [pytest.mark.root, pytest.mark.xdp]

SECOND_NS = 10**9


@pytest.mark.parametrize(("packet", "reason"), [row[1:] for row in PARSED], ids=[row[0] for row in PARSED])
def test_parsing(gate: Gate, packet: bytes, reason: Reason) -> None:
    verdict = gate.send(packet)
    assert verdict.reason == reason
    assert verdict.action == (XDP_DROP if "DROP" in reason.name else XDP_PASS)
    assert (verdict.notes == {Reason.NOTE_FLOW_NEW}) == (reason == SHOWN)


def test_syn_budget_of_a_source(gate: Gate) -> None:
    gate.fastpath.config["flags"] = 0  # no challenges: what the budget does by itself
    gate.limit(LimitKind.SRC_SYN, per_s=10, burst=3)
    assert [gate.send(p.SYN).reason for _ in range(5)] == [SHOWN] * 3 + [Reason.DROP_SYN_SOURCE] * 2
    assert gate.send(p.DATA).reason == SHOWN, "only opening SYNs are charged"
    other = p.wire(IP(src="192.0.2.8", dst=p.SERVER), TCP(flags="S"))
    assert gate.send(other).reason == SHOWN, "each source has its own budget"
    assert gate.send(p.SYN, after_ns=SECOND_NS // 10).reason == SHOWN, "it fills again at its rate"
    assert gate.send(p.SYN).reason == Reason.DROP_SYN_SOURCE
    assert gate.send_all([p.SYN] * 4) == [Reason.DROP_SYN_SOURCE] * 4


def test_an_ipv6_source_is_its_64(gate: Gate) -> None:
    gate.limit(LimitKind.SRC_SYN, per_s=1, burst=1)
    assert gate.send(p.SYN6).reason == SHOWN
    neighbour = p.wire(IPv6(src="2001:db8::8", dst=p.SERVER6), TCP(flags="S"))
    assert gate.send(neighbour).reason == Reason.DROP_SYN_SOURCE
    stranger = p.wire(IPv6(src="2001:db8:0:1::7", dst=p.SERVER6), TCP(flags="S"))
    assert gate.send(stranger).reason == SHOWN


def test_the_allow_list_wins_over_the_syn_budget(gate: Gate) -> None:
    gate.limit(LimitKind.SRC_SYN, per_s=1, burst=1)
    gate.allow("192.0.2.7")
    gate.send(p.SYN)
    verdict = gate.send(p.SYN)
    assert verdict == Verdict(XDP_PASS, SHOWN, frozenset({Reason.NOTE_ALLOWED}))
