"""What the program decides, packet by packet: a row is a description, a packet, and the verdict."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from ids.kernel import contract
from ids.kernel.contract import BlockFlag, Cut, FlowVerdict, KernelFlowState, LimitKind, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.types import address_halves, address_object
from tests.kernel import packets as p
from tests.kernel.gate import START_NS, XDP_DROP, XDP_PASS, Gate, Verdict

pytestmark = [pytest.mark.root, pytest.mark.xdp]

SECOND_NS = 10**9
SHOWN, DEPTH, BYPASS = Reason.PASS_SHOWN, Reason.PASS_DEPTH, Reason.PASS_BYPASS

PARSED = [
    ("ARP is none of our business", p.ARP_REQUEST, Reason.PASS_NOT_IP),
    ("LLDP is none of our business", p.LLDP, Reason.PASS_NOT_IP),
    ("nine VLAN tags are more than is peeled", p.NINE_TAGS, Reason.PASS_VLAN_TAGS),
    ("TCP over IPv4", p.SYN, SHOWN),
    ("TCP over IPv6", p.SYN6, SHOWN),
    ("UDP", p.DNS, SHOWN),
    ("ICMP", p.PING, SHOWN),
    ("ICMPv6", p.PING6, SHOWN),
    ("one VLAN tag", p.VLAN, SHOWN),
    ("two VLAN tags", p.QINQ, SHOWN),
    ("three VLAN tags", p.THREE_TAGS, SHOWN),
    ("eight VLAN tags", p.EIGHT_TAGS, SHOWN),
    ("eight VLAN tags before IPv6", p.EIGHT_TAGS6, SHOWN),
    ("IPv4 options", p.IP4_OPTIONS, SHOWN),
    ("IPv4 first fragment", p.IP4_FIRST_FRAGMENT, SHOWN),
    ("IPv4 later fragment", p.IP4_LATER_FRAGMENT, SHOWN),
    ("IPv6 hop-by-hop options", p.IP6_HOP_BY_HOP, SHOWN),
    ("IPv6 chain of five extension headers", p.IP6_MANY_EXTENSIONS, SHOWN),
    ("IPv6 first fragment", p.IP6_FIRST_FRAGMENT, SHOWN),
    ("IPv6 later fragment", p.IP6_LATER_FRAGMENT, SHOWN),
    ("a VLAN tag cut in two", p.ETHERNET_SHORT, Reason.DROP_ETH_SHORT),
    ("the fourth VLAN tag cut in two", p.EIGHT_TAGS[:28], Reason.DROP_ETH_SHORT),
    ("an IPv4 header behind eight tags cut in two", p.EIGHT_TAGS[:60], Reason.DROP_IP4_SHORT),
    ("an IPv4 header cut in two", p.IP4_SHORT, Reason.DROP_IP4_SHORT),
    ("version 5 where IPv4 was announced", p.IP4_VERSION, Reason.DROP_IP4_VERSION),
    ("an IPv4 header of 16 bytes", p.IP4_HEADER_LENGTH, Reason.DROP_IP4_HEADER_LEN),
    ("more IPv4 than frame", p.IP4_TOTAL_LENGTH, Reason.DROP_IP4_TOTAL_LEN),
    ("less IPv4 than its header", p.IP4_TOTAL_BELOW_HEADER, Reason.DROP_IP4_TOTAL_LEN),
    ("an IPv6 header cut in two", p.IP6_SHORT, Reason.DROP_IP6_SHORT),
    ("version 4 where IPv6 was announced", p.IP6_VERSION, Reason.DROP_IP6_VERSION),
    ("more IPv6 than frame", p.IP6_PAYLOAD_LENGTH, Reason.DROP_IP6_PAYLOAD_LEN),
    ("an extension header longer than the packet", p.IP6_EXTENSION_SHORT, Reason.DROP_IP6_EXT_SHORT),
    ("nine extension headers", p.IP6_EXTENSION_CHAIN, Reason.DROP_IP6_EXT_CHAIN),
    ("from a multicast address", p.MULTICAST_SOURCE, Reason.DROP_IP_SOURCE),
    ("from the loopback network", p.LOOPBACK_SOURCE, Reason.DROP_IP_SOURCE),
    ("from an IPv6 multicast address", p.MULTICAST_SOURCE6, Reason.DROP_IP_SOURCE),
    ("the ping of death", p.PING_OF_DEATH, Reason.DROP_FRAGMENT_OVERSIZE),
    ("a first fragment without its TCP header", p.TINY_FIRST_FRAGMENT, Reason.DROP_FRAGMENT_TINY),
    ("a fragment that starts inside the TCP header", p.TINY_OFFSET, Reason.DROP_FRAGMENT_TINY),
    ("a TCP header cut in two", p.TCP_SHORT, Reason.DROP_TCP_SHORT),
    ("a TCP header of 16 bytes", p.TCP_OFFSET_SMALL, Reason.DROP_TCP_OFFSET),
    ("TCP options beyond the packet", p.TCP_OFFSET_BEYOND, Reason.DROP_TCP_OFFSET),
    ("SYN and FIN", p.SYN_FIN, Reason.DROP_TCP_FLAGS),
    ("SYN and RST", p.SYN_RST, Reason.DROP_TCP_FLAGS),
    ("a UDP header cut in two", p.UDP_SHORT, Reason.DROP_UDP_SHORT),
    ("more UDP than packet", p.UDP_LENGTH_BEYOND, Reason.DROP_UDP_LEN),
    ("less UDP than its header", p.UDP_LENGTH_SMALL, Reason.DROP_UDP_LEN),
    ("an ICMP header cut in two", p.ICMP_SHORT, Reason.DROP_ICMP_SHORT),
]


@pytest.mark.parametrize(("packet", "reason"), [row[1:] for row in PARSED], ids=[row[0] for row in PARSED])
def test_parsing(gate: Gate, packet: bytes, reason: Reason) -> None:
    verdict = gate.send(packet)
    assert verdict.reason == reason
    assert verdict.action == (XDP_DROP if "DROP" in reason.name else XDP_PASS)
    assert (verdict.notes == {Reason.NOTE_FLOW_NEW}) == (reason == SHOWN)


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


HANDSHAKE = [
    p.wire(p.IP4, p.tcp("S", seq=1000)),
    p.wire(p.IP4_BACK, p.reply("SA", seq=5000, ack=1001)),
    p.wire(p.IP4, p.tcp("A", seq=1001, ack=5001)),
]
HANDSHAKE6 = [
    p.wire(p.IP6, p.tcp("S", seq=1000)),
    p.wire(p.IP6_BACK, p.reply("SA", seq=5000, ack=1001)),
    p.wire(p.IP6, p.tcp("A", seq=1001, ack=5001)),
]


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
