"""No way past a verdict: condemned flows in fragments, blocked sources behind tags, frames that no list can judge."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1AD, Dot1Q

from ids.kernel.contract import FlowVerdict, LimitKind, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.types import address_halves
from tests.kernel import packets as p
from tests.kernel.gate import SHOWN, XDP_DROP, XDP_PASS, Gate
from tests.kernel.packets import HANDSHAKE
from tests.kernel.test_egress import GO_ON, SHOT, Exit, _program, exit_  # noqa: F401

pytestmark = [pytest.mark.root, pytest.mark.xdp]
SECOND_NS = 10**9
FRAGMENT = Reason.DROP_FLOW_FRAGMENT


def first(identifier: int, dport: int = 53, version: int = 4, back: bool = False) -> bytes:
    """Return the first fragment of a datagram of which 32 bytes are in it."""
    udp = UDP(sport=dport, dport=5353, len=900) if back else UDP(sport=5353, dport=dport, len=900)
    ends = {"src": p.SERVER, "dst": p.CLIENT} if back else {"src": p.CLIENT, "dst": p.SERVER}
    if version == 4:
        return p.wire(IP(**ends, id=identifier, flags="MF", proto=17), udp, bytes(24))
    return p.wire(p.IP6, IPv6ExtHdrFragment(id=identifier, m=1, nh=17), udp, bytes(24))


def later(identifier: int, version: int = 4, size: int = 32, back: bool = False) -> bytes:
    """Return a later fragment."""
    ends = {"src": p.SERVER, "dst": p.CLIENT} if back else {"src": p.CLIENT, "dst": p.SERVER}
    if version == 4:
        return p.wire(IP(**ends, id=identifier, frag=4, proto=17), bytes(size))
    return p.wire(p.IP6, IPv6ExtHdrFragment(id=identifier, offset=4, nh=17), bytes(size))


def condemn(gate: Gate, version: int = 4, proto: int = 17, sport: int = 5353, dport: int = 53) -> None:
    ends = (p.CLIENT, p.SERVER) if version == 4 else (p.CLIENT6, p.SERVER6)
    flow = FlowAddress(address_halves(ends[0]), address_halves(ends[1]), sport, dport, proto)
    gate.fastpath.config["now_ns"] = gate.now_ns
    assert gate.fastpath.set_flow(flow, FlowVerdict.DROP)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("seen_whole", [True, False])
def test_the_fragments_of_a_condemned_flow_are_dropped(gate: Gate, version: int, seen_whole: bool) -> None:
    if seen_whole:
        gate.send(p.DNS if version == 4 else p.wire(p.IP6, UDP(sport=5353, dport=53), b"question"))
    condemn(gate, version)
    verdicts = [gate.send(packet) for packet in (first(1, version=version), later(1, version), later(1, version))]
    assert [(verdict.action, verdict.reason) for verdict in verdicts] == [(XDP_DROP, FRAGMENT)] * 3


def test_those_of_other_flows_of_the_same_hosts_are_not(gate: Gate) -> None:
    condemn(gate)
    assert gate.send_all([first(1), first(2, dport=54), later(2), later(3)]) == [FRAGMENT, SHOWN, SHOWN, SHOWN]


def test_an_identification_that_comes_round_is_another_datagram(gate: Gate) -> None:
    condemn(gate)
    assert gate.send_all([first(1), later(1), first(1, dport=54), later(1)]) == [FRAGMENT, FRAGMENT, SHOWN, SHOWN]
    gate.send(first(1))
    assert gate.send(later(1), after_ns=61 * SECOND_NS).reason == SHOWN, "no host waits so long"


def test_what_comes_before_the_first_fragment_is_no_datagram_without_it(gate: Gate) -> None:
    condemn(gate)
    assert gate.send_all([later(1), first(1), later(1)]) == [SHOWN, FRAGMENT, FRAGMENT]


def test_segments_and_pings_in_fragments_too(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    condemn(gate, proto=6, sport=40000, dport=80)
    segment = p.wire(IP(src=p.CLIENT, dst=p.SERVER, flags="MF", id=7), p.tcp("A"), bytes(24))
    assert gate.send(segment).reason == FRAGMENT
    condemn(gate, proto=1, sport=77, dport=77)
    echo = p.wire(IP(src=p.CLIENT, dst=p.SERVER, flags="MF", id=8), ICMP(id=77), bytes(24))
    assert gate.send(echo).reason == FRAGMENT


def test_fragments_keep_a_condemned_flow_from_falling_silent(gate: Gate) -> None:
    condemn(gate)
    for number in range(3):
        assert gate.send(first(number), after_ns=50 * SECOND_NS).reason == FRAGMENT
    assert gate.send(p.DNS, after_ns=50 * SECOND_NS).reason == Reason.DROP_FLOW
    assert gate.send(first(9), after_ns=61 * SECOND_NS).reason == SHOWN, "as for whole datagrams"


def test_the_allow_list_and_shadow_mode_spare_them(gate: Gate) -> None:
    condemn(gate)
    gate.fastpath.shadow(True)
    verdict = gate.send(first(1))
    gate.fastpath.shadow(False)
    assert (verdict.action, verdict.reason, set(verdict.would)) == (XDP_PASS, SHOWN, {FRAGMENT})
    gate.allow("192.0.2.7")
    assert gate.send_all([first(1), later(1)]) == [SHOWN, SHOWN]


def test_they_are_dropped_on_the_way_out_too(gate: Gate, exit_: Exit) -> None:  # noqa: F811
    condemn(gate)
    assert exit_.send(first(1, back=True)) == (SHOT, FRAGMENT)
    assert exit_.send(later(1, back=True)) == (SHOT, FRAGMENT)
    assert exit_.send(first(2, dport=54, back=True))[0] == GO_ON


def test_nothing_is_remembered_of_other_fragments(gate: Gate) -> None:
    """Forged ones push nothing out of the table."""
    condemn(gate)
    gate.send_all([first(number, dport=1000 + number) for number in range(20)])
    assert list(gate.fastpath.maps["ids_fragments"]) == []


@pytest.mark.parametrize(
    ("plain", "tagged"),
    [
        ([], [Dot1Q(vlan=0)] * 3),
        ([Dot1Q(vlan=7)], [Dot1Q(vlan=0), Dot1AD(vlan=0), Dot1Q(vlan=7)]),
        ([Dot1AD(vlan=9), Dot1Q(vlan=7)], [Dot1Q(vlan=0), Dot1AD(vlan=9), Dot1Q(vlan=0), Dot1Q(vlan=7)]),
    ],
)
def test_tags_of_vlan_0_make_no_other_flow(gate: Gate, plain: list[Dot1Q], tagged: list[Dot1Q]) -> None:
    """Hosts take them off: a condemned flow does not go on behind them."""
    vlans = [tag.vlan for tag in plain]
    gate.send(p.wire(*plain, p.IP4, p.tcp("S")))
    vlan = sum(number << 16 * place for place, number in enumerate(vlans))
    assert gate.fastpath.set_flow(
        FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6, vlan=vlan), FlowVerdict.DROP
    )
    assert gate.send(p.wire(*tagged, p.IP4, p.tcp("A"))).reason == Reason.DROP_FLOW
    assert gate.flow_count() == 1


def test_a_flow_is_found_however_its_vlan_was_written(gate: Gate) -> None:
    """As the engine's decoder notes it: a tag of VLAN 0 may stand before the one that counts."""
    client, server = address_halves(p.CLIENT), address_halves(p.SERVER)
    plain, behind = (FlowAddress(client, server, 1, 2, 6, vlan=vlan).key() for vlan in (7, 7 << 16))
    assert plain == behind


@pytest.mark.parametrize(
    ("packet", "passes", "drops"),
    [
        (p.NINE_TAGS, Reason.PASS_VLAN_TAGS, Reason.DROP_VLAN_TAGS),
        (p.LLDP, Reason.PASS_NOT_IP, Reason.DROP_NOT_IP),
        (bytes(p.ETHER)[:12] + b"\x88\x47" + bytes(46), Reason.PASS_NOT_IP, Reason.DROP_NOT_IP),
        (p.ARP_REQUEST, Reason.PASS_NOT_IP, Reason.PASS_NOT_IP),
        (p.wire(Dot1Q(vlan=5), p.ETHER.payload, bytes(46)), Reason.PASS_NOT_IP, Reason.DROP_NOT_IP),
    ],
    ids=["nine tags", "LLDP", "MPLS", "ARP", "nothing behind a tag"],
)
def test_what_no_list_can_be_asked_about_is_counted_and_by_setting_dropped(
    gate: Gate, packet: bytes, passes: Reason, drops: Reason
) -> None:
    assert gate.send(packet).reason == passes
    settings = gate.fastpath.settings
    try:
        gate.fastpath.configure(settings.model_copy(update={"unparsed": "drop"}))
        assert gate.send(packet).reason == drops
        gate.fastpath.shadow(True)
        verdict = gate.send(packet)
        assert (verdict.reason, set(verdict.would)) == (passes, {drops} - {passes})
    finally:
        gate.fastpath.shadow(False)
        gate.fastpath.configure(settings)


def test_a_resolvers_large_answers_are_no_reflection_in_fragments_either(gate: Gate) -> None:
    gate.limit(LimitKind.DST_REFLECTION, per_s=0.001, burst=1)
    for number in range(20):
        asked = p.wire(p.IP4, UDP(sport=5353, dport=53), bytes(30 + number))
        assert gate.send(asked).action == XDP_PASS
        answer = [first(number, back=True), later(number, back=True, size=400)]
        assert gate.send_all(answer) == [SHOWN, SHOWN]
    unasked = [later(1000 + number, back=True, size=400) for number in range(3)]
    assert gate.send_all(unasked) == [SHOWN, Reason.DROP_REFLECTION, Reason.DROP_REFLECTION]


@pytest.mark.parametrize("many", ["datagrams", "fragments"])
def test_one_question_does_not_let_any_number_of_answers_in(gate: Gate, many: str) -> None:
    gate.send(p.DNS)
    gate.limit(LimitKind.DST_REFLECTION, per_s=0.001, burst=1)
    if many == "fragments":
        packets = [first(1, back=True), *[later(1, back=True, size=400)] * 100]
    else:
        packets = [packet for n in range(40) for packet in (first(n, back=True), later(n, back=True, size=400))]
    reasons = gate.send_all(packets)
    assert reasons[:30] == [SHOWN] * 30
    assert reasons[-1] == Reason.DROP_REFLECTION
