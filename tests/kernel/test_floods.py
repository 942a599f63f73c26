"""Floods: whose budget is charged, who is notified, who gets through all the same, and who must prove where it is."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from ids.kernel import Block
from ids.kernel.contract import Flags, LimitKind, Reason
from ids.kernel.system import syscall
from tests.kernel import packets as p
from tests.kernel.gate import XDP_DROP, XDP_PASS, XDP_TX, Gate
from tests.kernel.packets import HANDSHAKE, HANDSHAKE6

pytestmark = [pytest.mark.root, pytest.mark.xdp]
SECOND_NS = 10**9
SHOWN = Reason.PASS_SHOWN


def from_source(number: int, layer: TCP | UDP | ICMP, payload: bytes = b"") -> bytes:
    """Return a packet to the server from one of many sources."""
    return p.wire(IP(src=str(ipaddress.ip_address("198.18.0.0") + number), dst=p.SERVER), layer, payload)


BUDGETS = [
    (LimitKind.SRC_SYN, [p.SYN] * 4, Reason.DROP_SYN_SOURCE),
    (LimitKind.SRC_UDP, [p.DNS] * 4, Reason.DROP_UDP_SOURCE),
    (LimitKind.SRC_UDP, [p.IP4_LATER_FRAGMENT] * 4, Reason.DROP_UDP_SOURCE),
    (LimitKind.SRC_ICMP, [p.PING] * 4, Reason.DROP_ICMP_SOURCE),
    (LimitKind.SRC_ICMP, [p.PING6] * 4, Reason.DROP_ICMP_SOURCE),
    (LimitKind.DST_SYN, [from_source(i, TCP(flags="S")) for i in range(4)], Reason.DROP_SYN_DESTINATION),
    (LimitKind.DST_UDP, [from_source(i, UDP(sport=9, dport=9)) for i in range(4)], Reason.DROP_UDP_DESTINATION),
    (LimitKind.DST_ICMP, [from_source(i, ICMP()) for i in range(4)], Reason.DROP_ICMP_DESTINATION),
    (
        LimitKind.DST_REFLECTION,
        [from_source(i, UDP(sport=123, dport=40000), bytes(440)) for i in range(4)],
        Reason.DROP_REFLECTION,
    ),
]


@pytest.mark.parametrize(("kind", "packets", "reason"), BUDGETS)
def test_a_budget_lets_its_burst_pass_and_refuses_the_rest(
    gate: Gate, kind: LimitKind, packets: list[bytes], reason: Reason
) -> None:
    gate.fastpath.config["flags"] = 0
    gate.limit(kind, per_s=1, burst=2)
    assert [gate.send(packet).reason for packet in packets] == [SHOWN, SHOWN, reason, reason]
    assert gate.send(packets[0], after_ns=SECOND_NS).reason == SHOWN, "one more a second"


@pytest.mark.parametrize(("kind", "packets", "reason"), BUDGETS)
def test_the_allow_list_wins_over_every_budget(
    gate: Gate, kind: LimitKind, packets: list[bytes], reason: Reason
) -> None:
    gate.limit(kind, per_s=1, burst=1)
    for network in ("0.0.0.0/0", "::/0"):
        gate.allow(network)
    assert [gate.send(packet).reason for packet in packets] == [SHOWN] * 4


@pytest.mark.parametrize(
    "packet",
    [
        from_source(1, UDP(sport=123, dport=40000), bytes(80)),
        from_source(1, UDP(sport=40000, dport=123), bytes(440)),
        from_source(1, TCP(sport=53, dport=40000, flags="A"), bytes(440)),
    ],
    ids=["a short answer", "a question", "TCP"],
)
def test_what_does_not_count_as_reflected(gate: Gate, packet: bytes) -> None:
    gate.limit(LimitKind.DST_REFLECTION, per_s=1, burst=1)
    assert {gate.send(packet).reason for _ in range(2)} == {SHOWN}


def test_a_limit_is_reported_once_until_it_has_recovered(gate: Gate) -> None:
    gate.fastpath.limits()
    gate.limit(LimitKind.SRC_ICMP, per_s=10, burst=2)
    for _ in range(6):
        gate.send(p.PING)
    gate.send(p.PING, after_ns=SECOND_NS // 10)
    gate.send(p.PING)
    (limit,) = gate.fastpath.limits()
    assert (limit.kind, str(limit.address)) == (LimitKind.SRC_ICMP, p.CLIENT)
    gate.send(p.PING, after_ns=SECOND_NS)
    for _ in range(3):
        gate.send(p.PING)
    assert len(gate.fastpath.limits()) == 1, "a new episode is reported again"


def test_the_destinations_budget_holds_when_the_sources_table_overflows(gate: Gate) -> None:
    gate.fastpath.config["flags"] = 0
    gate.limit(LimitKind.SRC_SYN, per_s=1, burst=1)
    gate.limit(LimitKind.DST_SYN, per_s=1, burst=100)
    sources = gate.fastpath.settings.budgets_entries + 500
    reasons = [gate.send(from_source(i, TCP(flags="S"))) for i in range(sources)]
    assert sum(verdict.reason == SHOWN for verdict in reasons) == 100
    assert reasons[-1].reason == Reason.DROP_SYN_DESTINATION
    assert Reason.NOTE_BUDGET_NEW in reasons[-1].notes, "the metric that shows the pressure"


@pytest.mark.parametrize("packets", [HANDSHAKE, HANDSHAKE6], ids=["IPv4", "IPv6"])
def test_a_proven_source_gets_through_a_flood(gate: Gate, packets: list[bytes]) -> None:
    gate.send_all(packets)
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    assert gate.send_all([packets[0]] * 3) == [SHOWN] * 3
    gate.now_ns += int(gate.fastpath.config["proven_ns"][0])
    gate.send_all([packets[0]] * 4)
    assert gate.send(packets[0]).reason == Reason.DROP_CHALLENGED, "a proof grows old"


def challenge(gate: Gate, syn: bytes) -> Ether:
    """Send a SYN that is beyond the destination's budget; return the answer."""
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    assert gate.send(syn).reason == SHOWN
    gate.fastpath.config["now_ns"] = gate.now_ns
    run = syscall.prog_test_run(gate.fastpath.program, syn)
    assert run.action == XDP_TX
    return Ether(run.data)


SYNS = [
    p.wire(p.IP4, p.tcp("S", seq=77)),
    p.wire(p.IP6, p.tcp("S", seq=77)),
    p.wire(Dot1Q(vlan=5), p.IP4, p.tcp("S", seq=77)),
    p.wire(
        p.IP4, TCP(sport=40000, dport=80, seq=77, flags="S", options=[("MSS", 1460), ("WScale", 7), ("SAckOK", b"")])
    ),
    p.wire(p.IP4, p.tcp("S", seq=77), b"data with the SYN"),
]


@pytest.mark.parametrize("syn", SYNS, ids=["IPv4", "IPv6", "VLAN", "TCP options", "data"])
def test_a_challenge_is_a_well_formed_answer_with_an_impossible_acknowledgement(gate: Gate, syn: bytes) -> None:
    answer, asked = challenge(gate, syn), Ether(syn)
    assert (answer.src, answer.dst) == (asked.dst, asked.src)
    network = IPv6 if IPv6 in asked else IP
    assert (answer[network].src, answer[network].dst) == (asked[network].dst, asked[network].src)
    assert (answer[TCP].sport, answer[TCP].dport, str(answer[TCP].flags)) == (80, 40000, "SA")
    assert answer[TCP].ack != 78
    assert p.filled_in(answer) == bytes(answer), "lengths and checksums are right"


@pytest.mark.parametrize("syn", SYNS[:3], ids=["IPv4", "IPv6", "VLAN"])
def test_the_answer_to_a_challenge_lets_the_next_syn_of_its_connection_pass(gate: Gate, syn: bytes) -> None:
    cookie = challenge(gate, syn)[TCP].ack
    reset = Ether(syn)
    reset[TCP].flags, reset[TCP].seq = "R", cookie
    del reset[TCP].chksum
    verdict = gate.send(bytes(reset), after_ns=10_000_000)
    assert (verdict.action, verdict.reason) == (XDP_DROP, Reason.DROP_CHALLENGE_ANSWER)
    assert verdict.notes == {Reason.NOTE_ADMITTED}
    assert gate.send(syn).reason == SHOWN, "the client's next SYN passes"
    assert gate.send(syn).reason == Reason.DROP_CHALLENGED, "and no other"
    other = Ether(syn)
    other[TCP].sport = 40001
    del other[TCP].chksum
    assert gate.send(bytes(other)).reason == Reason.DROP_CHALLENGED
    assert not gate.fastpath.proven(ipaddress.ip_address(p.CLIENT)), "16 bits can be guessed: they make no block"


def test_who_answered_a_challenge_takes_his_time_but_not_for_ever(gate: Gate) -> None:
    cookie = challenge(gate, SYNS[0])[TCP].ack
    reset = p.wire(p.IP4, TCP(sport=40000, dport=80, flags="R", seq=cookie))
    gate.send(reset)
    assert gate.send(SYNS[0], after_ns=9 * SECOND_NS).reason == SHOWN
    cookie = challenged_again(gate)
    gate.send(p.wire(p.IP4, TCP(sport=40000, dport=80, flags="R", seq=cookie)))
    assert gate.send(SYNS[0], after_ns=10 * SECOND_NS).reason == Reason.DROP_CHALLENGED


def challenged_again(gate: Gate) -> int:
    """Return what the next challenge acknowledges."""
    gate.fastpath.config["now_ns"] = gate.now_ns
    acknowledged: int = Ether(syscall.prog_test_run(gate.fastpath.program, SYNS[0]).data)[TCP].ack
    return acknowledged


def test_on_ports_that_were_used_before_a_challenge_can_be_answered_too(gate: Gate) -> None:
    gate.send_all([*HANDSHAKE, p.wire(p.IP4, p.tcp("R"))])
    gate.fastpath.config["proven_ns"] = 1
    cookie = challenge(gate, p.wire(p.IP4, p.tcp("S", sport=50000, seq=77)))[TCP].ack
    assert gate.send(p.wire(p.IP4, TCP(sport=50000, dport=80, flags="R", seq=cookie))).reason == (
        Reason.DROP_CHALLENGE_ANSWER
    )
    cookie = challenged_again(gate)
    assert gate.send(p.wire(p.IP4, TCP(sport=40000, dport=80, flags="R", seq=cookie))).reason == (
        Reason.DROP_CHALLENGE_ANSWER
    )


def test_what_a_challenge_acknowledges_is_in_the_window_of_a_firewall_between(gate: Gate) -> None:
    """Conntrack takes an acknowledgement for possible that is at most 66,000 before what it has seen."""
    for isn in (77, 0, 0xFFFFFFFF, 0x80000000):
        gate.reset()
        answer = challenge(gate, p.wire(p.IP4, p.tcp("S", seq=isn)))
        assert (isn - answer[TCP].ack) % 2**32 < 65536
        assert answer[TCP].window == 65535


REPEAT_S = (1, 2, 4, 8)


@pytest.mark.parametrize("after_s", REPEAT_S)
@pytest.mark.parametrize("syn", [SYNS[0], SYNS[1], p.IP4_OPTIONS], ids=["IPv4", "IPv6", "cannot be answered"])
def test_a_syn_that_comes_again_as_senders_do_passes(gate: Gate, syn: bytes, after_s: int) -> None:
    """Its client never got the challenge, or his answer gets lost."""
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    gate.limit(LimitKind.DST_REPEATED, per_s=0.001, burst=2)
    gate.send(p.wire(p.IP4 if syn != SYNS[1] else p.IP6, p.tcp("S", sport=9)))
    assert gate.send(syn).reason == Reason.DROP_CHALLENGED
    verdict = gate.send(syn, after_ns=after_s * SECOND_NS)
    assert (verdict.reason, Reason.NOTE_REPEATED in verdict.notes) == (SHOWN, True)
    assert gate.send(syn).reason == Reason.DROP_CHALLENGED, "once"


@pytest.mark.parametrize(
    ("steps_ms", "changed"),
    [((0,), {}), ((800,), {}), ((10_000,), {}), ((100,) * 20, {}), ((1000,), {"seq": 78}), ((1000,), {"sport": 40001})],
    ids=["at once", "too early", "too late", "round and round", "another number", "another port"],
)
def test_others_that_come_again_do_not(gate: Gate, steps_ms: tuple[int, ...], changed: dict[str, int]) -> None:
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    gate.limit(LimitKind.DST_REPEATED, per_s=0.001, burst=2)
    gate.send(p.SYN)
    gate.send(SYNS[0])
    again = p.wire(p.IP4, p.tcp("S", **{"seq": 77, **changed}))
    for step_ms in steps_ms:
        assert gate.send(again, after_ns=step_ms * 10**6).reason == Reason.DROP_CHALLENGED


def test_repeated_syns_that_nobody_answers_run_dry_and_others_do_not(gate: Gate) -> None:
    """Somebody may repeat forged ones: 100 half-open connections in a server's queue, and no more."""
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    gate.limit(LimitKind.DST_REPEATED, per_s=0.001, burst=100)
    gate.send(p.SYN)
    syns = [from_source(number, TCP(sport=40000, dport=80, flags="S", seq=9)) for number in range(150)]
    for syn in syns:
        gate.send(syn)
    gate.now_ns += SECOND_NS
    assert sum(gate.send(syn).reason == SHOWN for syn in syns) == 100
    gate.reset()
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    gate.limit(LimitKind.DST_REPEATED, per_s=0.001, burst=2)
    gate.send(p.SYN)
    for number in range(20):
        source = f"198.18.0.{number}"
        there, back = IP(src=source, dst=p.SERVER), IP(src=p.SERVER, dst=source)
        syn = p.wire(there, p.tcp("S", seq=9))
        assert gate.send(syn).reason == Reason.DROP_CHALLENGED
        assert gate.send(syn, after_ns=SECOND_NS).reason == SHOWN
        gate.send_all([p.wire(back, p.reply("SA", seq=5, ack=10)), p.wire(there, p.tcp("A", seq=10, ack=6))])


@pytest.mark.parametrize("wrong", ["number", "port", "too late"])
def test_a_wrong_answer_proves_nothing(gate: Gate, wrong: str) -> None:
    cookie = challenge(gate, SYNS[0])[TCP].ack
    fields = {"seq": cookie ^ (wrong == "number"), "sport": 40000 + (wrong == "port")}
    reset = p.wire(p.IP4, TCP(dport=80, flags="R", **fields))
    verdict = gate.send(reset, after_ns=30 * SECOND_NS if wrong == "too late" else 0)
    assert (verdict.action, verdict.reason, verdict.notes) == (XDP_PASS, Reason.PASS_STRAY_RESET, frozenset())
    assert gate.send(SYNS[0]).reason == Reason.DROP_CHALLENGED


def test_a_cookie_is_good_in_the_next_slot_of_time_too(gate: Gate) -> None:
    cookie = challenge(gate, SYNS[0])[TCP].ack
    reset = p.wire(p.IP4, TCP(sport=40000, dport=80, flags="R", seq=cookie))
    assert gate.send(reset, after_ns=1 << 33).reason == Reason.DROP_CHALLENGE_ANSWER


def test_what_cannot_be_challenged_is_dropped(gate: Gate) -> None:
    gate.limit(LimitKind.DST_SYN, per_s=0.001, burst=1)
    gate.send(p.SYN)
    verdict = gate.send(p.IP4_OPTIONS)
    assert (verdict.action, verdict.reason) == (XDP_DROP, Reason.DROP_CHALLENGED)


def test_when_the_engine_has_gone_the_policy_holds(gate: Gate) -> None:
    gate.block("192.0.2.7")
    config = gate.fastpath.config
    config["heartbeat_ns"] = gate.now_ns
    assert gate.send(p.DATA, after_ns=40 * SECOND_NS).reason == Reason.DROP_BLOCKED, "keep is the default"
    config["flags"] = config["flags"] | np.uint32(Flags.GONE_PASS)
    assert gate.send(p.DATA).reason == Reason.PASS_ENGINE_GONE
    config["heartbeat_ns"] = gate.now_ns
    assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED


def test_a_flow_asks_the_prefixes_again_when_they_change(gate: Gate) -> None:
    gate.block("203.0.113.0/24")
    assert gate.send(p.DATA).reason == SHOWN
    assert gate.send(p.DATA).reason == SHOWN
    gate.fastpath.blocks.add([Block(ipaddress.ip_network("192.0.2.0/28"))])
    assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED_PREFIX


def test_once_flooded_even_what_is_within_the_budget_has_to_prove_itself(gate: Gate) -> None:
    """At the permitted rate alone, forged SYNs would fill the queue of a server without SYN cookies."""
    gate.limit(LimitKind.DST_SYN, per_s=100, burst=2)
    reasons = [gate.send(from_source(i, TCP(flags="S"))).reason for i in range(4)]
    assert reasons == [SHOWN, SHOWN, Reason.DROP_CHALLENGED, Reason.DROP_CHALLENGED]
    later = gate.send(from_source(9, TCP(flags="S")), after_ns=SECOND_NS // 99)
    assert later.reason == Reason.DROP_CHALLENGED, "a token is there, but the flood is not over"
    calm = gate.send(from_source(10, TCP(flags="S")), after_ns=SECOND_NS)
    assert calm.reason == SHOWN, "the bucket has been full again"


def test_a_source_that_floods_has_to_prove_itself_too(gate: Gate) -> None:
    gate.limit(LimitKind.SRC_SYN, per_s=100, burst=2)
    reasons = [gate.send(p.SYN).reason for _ in range(4)]
    assert reasons == [SHOWN, SHOWN, Reason.DROP_SYN_SOURCE, Reason.DROP_SYN_SOURCE]
    assert gate.send(p.SYN, after_ns=SECOND_NS // 99).reason == Reason.DROP_CHALLENGED


def test_fragments_of_amplified_answers_count_as_reflected(gate: Gate) -> None:
    """They have no port, and are what large DNS and NTP answers arrive as."""
    gate.limit(LimitKind.DST_REFLECTION, per_s=1, burst=2)
    heads = [IP(src=f"198.18.0.{number}", dst=p.SERVER, proto=17, frag=100) for number in range(1, 5)]
    fragments = [p.wire(head, bytes(800)) for head in heads]
    assert [gate.send(fragment).reason for fragment in fragments][2:] == [Reason.DROP_REFLECTION] * 2
