"""What the program decides of flows: handshakes, verdicts, depth, turns, ends."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, UDP

from ids.kernel.contract import Cut, FlowVerdict, KernelFlowState, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.types import address_halves, address_object
from tests.kernel import packets as p
from tests.kernel.gate import BYPASS, DEPTH, SHOWN, START_NS, XDP_PASS, Gate, Verdict
from tests.kernel.packets import HANDSHAKE, HANDSHAKE6

pytestmark = [pytest.mark.root, pytest.mark.xdp]

SECOND_NS = 10**9


def sent(offset: int, size: int = 1000) -> bytes:
    """Return a segment of the client, after `HANDSHAKE`, by its offset in the stream."""
    return p.wire(p.IP4, p.tcp("A", seq=1001 + offset & 0xFFFFFFFF, ack=5001), bytes(size))


def answered(offset: int, size: int = 1000, acks: int = 0) -> bytes:
    """Return a segment of the server likewise, which acknowledges the client's stream up to an offset."""
    ack = 1001 + acks & 0xFFFFFFFF
    return p.wire(p.IP4_BACK, p.reply("A", seq=5001 + offset & 0xFFFFFFFF, ack=ack), bytes(size))


@pytest.mark.parametrize(("version", "packets"), [(4, HANDSHAKE), (6, HANDSHAKE6)])
def test_a_handshake_is_one_flow_and_proves_its_client(gate: Gate, version: int, packets: list[bytes]) -> None:
    client = address_halves(p.CLIENT if version == 4 else p.CLIENT6)
    server = address_halves(p.SERVER if version == 4 else p.SERVER6)
    notes = [gate.send(packet, after_ns=1).notes for packet in packets]
    assert notes == [{Reason.NOTE_FLOW_NEW}, set(), {Reason.NOTE_PROVEN}]
    flow = gate.flow(version)
    assert flow["state"] == KernelFlowState.ESTABLISHED
    side = int(flow["client"])
    assert (flow["packets"][side], flow["packets"][1 - side]) == (2, 1)
    assert flow["bytes"].sum() == sum(map(len, packets))
    assert (flow["first_ns"], flow["last_ns"]) == (START_NS + 1, START_NS + 3)
    proven = {address for address in (client, server) if _proven(gate, address)}
    assert proven == {client}


def _proven(gate: Gate, address: tuple[int, int]) -> bool:
    return gate.fastpath.proven(address_object(address))


def test_a_forged_client_proves_nothing(gate: Gate) -> None:
    forged = p.wire(p.IP4, p.tcp("A", seq=1001, ack=4711))
    assert [gate.send(packet).notes for packet in [*HANDSHAKE[:2], forged]] == [{Reason.NOTE_FLOW_NEW}, set(), set()]
    assert not _proven(gate, address_halves(p.CLIENT))


def test_a_server_side_acknowledgement_proves_nothing(gate: Gate) -> None:
    gate.send_all(HANDSHAKE[:2])
    assert gate.send(p.wire(p.IP4_BACK, p.reply("A", ack=5001))).notes == set()


def test_a_flow_with_a_drop_verdict_dies_and_the_allow_list_saves_it(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    address = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
    assert gate.fastpath.set_flow(address, FlowVerdict.DROP)
    assert gate.send(p.DATA).reason == Reason.DROP_FLOW
    assert gate.send(p.wire(p.IP4_BACK, p.reply("A"))).reason == Reason.DROP_FLOW
    assert gate.send(HANDSHAKE[0]).reason == Reason.DROP_FLOW, "a new SYN is no way out"
    gate.allow("192.0.2.7")
    assert gate.send(p.DATA).reason == SHOWN


@pytest.mark.parametrize(
    ("verdict", "reason"), [(FlowVerdict.BYPASS, BYPASS), (FlowVerdict.UNNEEDED, Reason.PASS_UNNEEDED)]
)
def test_a_bypassed_flow_is_not_shown_until_it_starts_anew(gate: Gate, verdict: FlowVerdict, reason: Reason) -> None:
    gate.send_all(HANDSHAKE)
    address = FlowAddress(address_halves(p.SERVER), address_halves(p.CLIENT), 80, 40000, 6)
    assert gate.fastpath.set_flow(address, verdict)
    assert gate.send(p.DATA).reason == reason
    assert gate.send(HANDSHAKE[0]).reason == SHOWN
    assert gate.send(p.DATA).reason == SHOWN


def test_an_unknown_flow_takes_no_verdict_but_to_drop(gate: Gate) -> None:
    address = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 1, 2, 6, vlan=3)
    assert not gate.fastpath.set_flow(address, FlowVerdict.BYPASS)


def test_depth_counts_payload_and_each_side_by_itself(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    assert gate.send_all([sent(0), sent(1000), sent(2000)]) == [SHOWN, SHOWN, DEPTH]
    assert gate.send(answered(0)).reason == SHOWN
    assert gate.send(p.wire(p.IP4, p.tcp("FA", seq=4001))).reason == SHOWN, "the end of a flow is shown"


def test_what_takes_the_stream_no_further_uses_its_depth_up_neither(gate: Gate) -> None:
    """The server ignores a wrong checksum and what it has already; who sends enough of it could hide the rest."""
    gate.send_all([*HANDSHAKE, *[sent(0)] * 20])
    assert gate.send_all([sent(1000), sent(1999), sent(2000)]) == [SHOWN, SHOWN, DEPTH]
    assert gate.send_all([sent(1999), sent(0), sent(-900)]) == [SHOWN] * 3, "not at any time, and nor what reaches it"
    assert gate.send(sent(-66000)).reason == DEPTH, "too far from it"


def test_each_turn_has_a_depth_of_its_own(gate: Gate) -> None:
    """What a client asks behind a long conversation is shown like what it asked first."""
    gate.send_all(HANDSHAKE)
    for turn in range(20):
        asked, told = 1000 * turn, 100 * turn
        assert gate.send_all([sent(asked), answered(told, 100, acks=asked + 1000)]) == [SHOWN, SHOWN]
    assert gate.send_all([sent(20_000), sent(21_000), sent(22_000)]) == [SHOWN, SHOWN, DEPTH]


def test_a_long_answer_is_one_turn(gate: Gate) -> None:
    """Bare acknowledgements of a download begin nothing."""
    gate.send_all([*HANDSHAKE, sent(0, 100)])
    for offset in range(0, 2000, 1000):
        acknowledged = p.wire(p.IP4, p.tcp("A", seq=1101, ack=5001 + offset))
        assert gate.send_all([answered(offset, acks=100), acknowledged]) == [SHOWN, SHOWN]
    assert gate.send_all([answered(offset, acks=100) for offset in range(2000, 9000, 1000)]) == [DEPTH] * 7


def test_a_turn_counts_from_what_its_receiver_has(gate: Gate) -> None:
    """Not from what its sender claims: junk that the server ignores takes nothing away from what is said then."""
    gate.send_all([*HANDSHAKE, sent(0), answered(0, 100, acks=1000)])
    gate.send_all([sent(500_000_000)] * 5)
    assert gate.send_all([sent(1000), sent(2000), sent(3000)]) == [SHOWN, SHOWN, DEPTH]


@pytest.mark.parametrize("acks", [0, -5000, 100_000, 1 << 30])
def test_a_made_up_answer_hides_nothing(gate: Gate, acks: int) -> None:
    """Who plays the server's part too may acknowledge anything; what follows in the client's stream is shown."""
    gate.send_all([*HANDSHAKE, *[part for turn in range(5) for part in (sent(1000 * turn), answered(0, 9))]])
    gate.send_all([sent(5000), answered(9, 9, acks=6000), sent(6000, 10), answered(18, 9, acks=acks)])
    gate.send_all([sent(6000)] * 20)
    assert gate.send(sent(6010)).reason == SHOWN


@pytest.mark.parametrize("before", ["junk", "another connection"])
def test_a_connection_has_its_whole_depth_whatever_used_its_ports_before(gate: Gate, before: str) -> None:
    if before == "junk":
        gate.send_all([sent(5000 * number) for number in range(20)])
        assert gate.send(sent(99_000)).reason == DEPTH
    else:
        gate.send_all([*HANDSHAKE, sent(0), sent(1000), p.wire(p.IP4, p.tcp("R"))])
    assert gate.send_all([*HANDSHAKE, sent(0), sent(1000), sent(2000)]) == [SHOWN] * 5 + [DEPTH]


def test_of_several_opening_numbers_the_one_that_the_server_took_counts(gate: Gate) -> None:
    others = [p.wire(p.IP4, p.tcp("S", seq=number)) for number in (900_000_000, 4_000_000_000)]
    gate.send_all([others[0], HANDSHAKE[0], others[1], *HANDSHAKE[1:], *[sent(0)] * 3])
    assert gate.send_all([sent(1000), sent(2000)]) == [SHOWN, DEPTH]


def test_a_flow_that_is_cut_at_its_depth_is_noted_once(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    packets = [*[sent(1000 * number) for number in range(4)], *[answered(1000 * number) for number in range(3)]]
    notes = [gate.send(packet).notes for packet in packets]
    assert notes == [set(), set(), {Reason.NOTE_CUT_DEPTH}, set(), set(), set(), set()]
    assert gate.flow()["cut"] == Cut.DEPTH
    gate.send_all([p.wire(p.IP4, p.tcp("R")), HANDSHAKE[0], sent(0), sent(1000)])
    assert gate.send(sent(2000)).notes == {Reason.NOTE_CUT_DEPTH}, "the next conversation is another flow"


def test_what_user_space_has_waved_through_is_not_cut(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    address = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
    gate.fastpath.set_flow(address, FlowVerdict.BYPASS)
    assert gate.send(p.DATA) == Verdict(XDP_PASS, BYPASS)
    assert not gate.flow()["cut"]


def test_a_flow_may_have_a_depth_of_its_own(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    address = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
    gate.fastpath.set_flow(address, FlowVerdict.INSPECT, depth_bytes=500)
    assert gate.send_all([sent(0, 300), sent(300, 300), sent(600, 300)]) == [SHOWN, SHOWN, DEPTH]


def test_udp_depth_counts_frames(gate: Gate) -> None:
    packet = p.wire(p.IP4, UDP(sport=1, dport=2), bytes(458))
    assert gate.send_all([packet] * 3) == [SHOWN, SHOWN, DEPTH]


def test_a_closed_flow_starts_over_with_a_new_syn(gate: Gate) -> None:
    gate.send_all([*HANDSHAKE, p.wire(p.IP4, p.tcp("R"))])
    assert gate.flow()["state"] == KernelFlowState.CLOSED
    gate.send(HANDSHAKE[0])
    flow = gate.flow()
    assert (flow["state"], flow["packets"].sum()) == (KernelFlowState.SYN, 1)


def test_two_fins_close_a_flow(gate: Gate) -> None:
    gate.send_all([*HANDSHAKE, p.wire(p.IP4, p.tcp("FA"))])
    assert gate.flow()["state"] == KernelFlowState.CLOSING
    gate.send(p.wire(p.IP4_BACK, p.reply("FA")))
    assert gate.flow()["state"] == KernelFlowState.CLOSED


def test_a_syn_after_a_minute_of_silence_is_a_new_flow(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    gate.send(HANDSHAKE[0], after_ns=61 * SECOND_NS)
    assert gate.flow()["packets"].sum() == 1


def test_vlans_keep_flows_apart(gate: Gate) -> None:
    assert [gate.send(packet).notes for packet in (p.SYN, p.VLAN, p.QINQ)] == [{Reason.NOTE_FLOW_NEW}] * 3
    assert gate.flow_count() == 3


def test_fragments_of_two_hosts_share_a_flow(gate: Gate) -> None:
    gate.send_all([p.IP4_FIRST_FRAGMENT, p.IP4_LATER_FRAGMENT])
    assert gate.flow()["packets"].sum() == 2


def test_forged_fragments_hide_no_others(gate: Gate) -> None:
    assert gate.send_all([p.IP4_FIRST_FRAGMENT, p.IP4_LATER_FRAGMENT] * 40) == [SHOWN] * 80


def test_an_echo_and_its_answer_are_one_flow(gate: Gate) -> None:
    gate.send_all([p.PING, p.wire(p.IP4_BACK, ICMP(type=0, id=77), b"ping")])
    flow = gate.flow()
    assert list(flow["packets"]) == [1, 1]


def test_a_condemned_flow_is_over_when_its_ports_come_back_after_long_silence(gate: Gate) -> None:
    """They may be somebody else's by then; within the silence they are not."""
    gate.send_all(HANDSHAKE)
    flow = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
    assert gate.fastpath.set_flow(flow, FlowVerdict.DROP)
    assert gate.send(p.SYN).reason == Reason.DROP_FLOW
    assert gate.send(p.DATA, after_ns=61 * SECOND_NS).reason == Reason.DROP_FLOW, "the connection may still be open"
    assert gate.send(p.SYN, after_ns=59 * SECOND_NS).reason == Reason.DROP_FLOW
    assert gate.send(p.SYN, after_ns=61 * SECOND_NS).reason == SHOWN
    assert gate.send(p.DATA).reason == SHOWN


def test_acknowledgements_of_what_is_not_shown_are_not_shown_either(gate: Gate) -> None:
    """They are half of a long download's packets, and say nothing."""
    gate.send_all(HANDSHAKE)

    def acknowledged(offset: int) -> bytes:
        return p.wire(p.IP4_BACK, p.reply("A", seq=5001, ack=1001 + offset))

    assert gate.send_all([sent(0), acknowledged(1000)]) == [SHOWN, SHOWN]
    assert gate.send_all([sent(1000), sent(2000), acknowledged(3000)]) == [SHOWN, DEPTH, DEPTH]
    assert gate.send(acknowledged(1999)).reason == SHOWN, "that one is of what was shown"
    assert gate.send(p.wire(p.IP4_BACK, p.reply("A"), b"an answer")).reason == SHOWN
    assert gate.send(p.wire(p.IP4_BACK, p.reply("FA"))).reason == SHOWN


def test_a_flow_is_not_shown_without_end_for_nothing(gate: Gate) -> None:
    gate.send_all(HANDSHAKE)
    reasons = gate.send_all([p.wire(p.IP4, p.tcp("A"))] * 40)
    assert reasons[:20] == [SHOWN] * 20
    assert reasons[-1] == DEPTH


def test_the_acknowledgements_that_close_a_connection_are_shown(gate: Gate) -> None:
    """User space keeps a flow until both FINs are acknowledged, or for ten minutes."""
    gate.send_all([*HANDSHAKE, *[sent(1000 * number) for number in range(4)]])
    closing = [
        p.wire(p.IP4, p.tcp("FA", seq=5001, ack=5001)),
        p.wire(p.IP4_BACK, p.reply("A", seq=5001, ack=5002)),
        p.wire(p.IP4_BACK, p.reply("FA", seq=5001, ack=5002)),
        p.wire(p.IP4, p.tcp("A", seq=5002, ack=5002)),
    ]
    assert gate.send_all(closing) == [SHOWN] * 4
    assert gate.send_all(closing[1::2] * 2) == [SHOWN] + [DEPTH] * 3, "once for each side and FIN"


@pytest.mark.parametrize("flags", ["S", "SA", "FA", "R"])
def test_neither_for_beginnings_and_ends_that_are_none(gate: Gate, flags: str) -> None:
    """The first may change the connection; a flood of them in one flow would leave no room for others."""
    gate.send_all([*HANDSHAKE, *[p.wire(p.IP4, p.tcp("A"))] * 40])
    again = p.wire(p.IP4, p.tcp(flags))
    reasons = gate.send_all([again] * 3)
    unseen = Reason.PASS_STRAY_RESET if flags == "R" else DEPTH  # nothing of it is left to reset
    assert reasons == ([SHOWN] if flags in ("FA", "R") else [DEPTH]) + [unseen] * 2


def test_of_what_no_rule_is_interested_in_only_the_beginning_is_shown(gate: Gate) -> None:
    settings = gate.fastpath.settings
    packet = p.wire(p.IP4, UDP(sport=1, dport=2), bytes(1400))
    try:
        gate.fastpath.config["depth_udp"] = 1 << 20
        gate.fastpath.settings = settings.model_copy(update={"depth_udp_bytes": 1 << 20})
        gate.fastpath.narrow({"tcp"})
        assert gate.send_all([packet] * 5) == [SHOWN] * 3 + [DEPTH] * 2
        gate.fastpath.narrow({"udp"})
        assert gate.send(packet).reason == SHOWN, "from the next packet on"
    finally:
        gate.fastpath.configure(settings)
