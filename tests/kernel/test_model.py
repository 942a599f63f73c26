"""The model of the program, without a kernel: the same rows as the program's, and what it alone has to promise."""

from __future__ import annotations

import ipaddress

import pytest

from ids.kernel.contract import BlockFlag, Flags, KernelFlowState, LimitKind, Reason
from ids.kernel.model.cookie import SLOT_SHIFT, cookie
from ids.kernel.model.parse import Packet, judge_headers, parse_addresses
from ids.kernel.model.program import XDP_DROP, XDP_PASS, XDP_TX, Model
from ids.kernel.model.state import BlockEntry, Bounded, ModelConfig, Trie
from tests.kernel import packets as p
from tests.kernel.packets import HANDSHAKE, HANDSHAKE6
from tests.kernel.parsed import PARSED

NOW_NS = 10**15
SECOND_NS = 10**9


@pytest.fixture
def model() -> Model:
    return Model(ModelConfig(depth_tcp=2000, depth_udp=1000, depth_other=500, proven_ns=60 * SECOND_NS))


@pytest.mark.parametrize(("packet", "reason"), [row[1:] for row in PARSED], ids=[row[0] for row in PARSED])
def test_parsing(model: Model, packet: bytes, reason: Reason) -> None:
    assert model.run(packet, NOW_NS) == (XDP_DROP if "DROP" in reason.name else XDP_PASS, reason)
    assert model.counts[reason] == [1, len(packet)]


def test_no_cut_makes_a_packet_more_than_malformed(model: Model) -> None:
    for packet in (p.QINQ, p.IP6_MANY_EXTENSIONS, p.IP6_FIRST_FRAGMENT, p.PING6, p.IP4_OPTIONS):
        for length in range(len(packet)):
            assert model.run(packet[:length], NOW_NS).reason >= Reason.DROP_ETH_SHORT


@pytest.mark.parametrize(
    ("network", "packet", "reason"),
    [
        ("192.0.2.7", p.DATA, Reason.DROP_BLOCKED),
        ("192.0.2.0/24", p.DATA, Reason.DROP_BLOCKED_PREFIX),
        ("192.0.2.0/24", p.SYN_FIN, Reason.DROP_BLOCKED_PREFIX),
        ("2001:db8::/64", p.DATA6, Reason.DROP_BLOCKED_PREFIX),
        ("198.51.100.1", p.DATA, Reason.PASS_SHOWN),
    ],
)
def test_a_block_drops_counts_and_expires(model: Model, network: str, packet: bytes, reason: Reason) -> None:
    entry = BlockEntry(expires_ns=NOW_NS + 1)
    model.block(ipaddress.ip_network(network), entry)
    assert model.run(packet, NOW_NS).reason == reason
    hits = 1 if reason != Reason.PASS_SHOWN else 0
    assert (entry.packets, entry.bytes, entry.last_hit_ns) == (hits, hits * len(packet), hits * NOW_NS)
    assert model.run(packet, NOW_NS + 1).reason not in (Reason.DROP_BLOCKED, Reason.DROP_BLOCKED_PREFIX)


def test_shadow_counts_and_the_allow_list_wins(model: Model) -> None:
    shadow = BlockEntry(mode=BlockFlag.SHADOW)
    model.block(ipaddress.ip_network("192.0.2.7"), shadow)
    model.block(ipaddress.ip_network("192.0.2.0/24"), BlockEntry())
    assert model.run(p.DATA, NOW_NS).reason == Reason.DROP_BLOCKED_PREFIX
    model.allow(ipaddress.ip_network("192.0.0.0/8"))
    assert model.run(p.DATA, NOW_NS).reason == Reason.PASS_SHOWN
    assert shadow.packets == model.counts[Reason.NOTE_SHADOW][0] == 2
    assert model.counts[Reason.NOTE_ALLOWED][0] == 1


def test_a_flow_that_is_cut_at_its_depth_is_noted_once(model: Model) -> None:
    data = p.wire(p.IP4, p.tcp("A"), bytes(1000))
    assert [model.run(data, NOW_NS).reason for _ in range(4)] == [Reason.PASS_SHOWN] * 2 + [Reason.PASS_DEPTH] * 2
    assert model.counts[Reason.NOTE_CUT_DEPTH] == [1, len(data)]


def test_a_budget_is_spent_and_fills_again(model: Model) -> None:
    model.config.limits[LimitKind.SRC_SYN] = (SECOND_NS // 10, 2 * SECOND_NS // 10)
    reasons = [model.run(p.SYN, NOW_NS).reason for _ in range(4)]
    assert reasons == [Reason.PASS_SHOWN] * 3 + [Reason.DROP_SYN_SOURCE]
    assert model.run(p.SYN, NOW_NS + SECOND_NS // 10).reason == Reason.PASS_SHOWN


@pytest.mark.parametrize("packets", [HANDSHAKE, HANDSHAKE6])
def test_a_handshake_proves_its_client(model: Model, packets: list[bytes]) -> None:
    for packet in packets:
        model.run(packet, NOW_NS)
    (flow,) = model.flows.values()
    assert flow.state == KernelFlowState.ESTABLISHED
    assert {ipaddress.ip_address(address).compressed for address in model.proven} <= {p.CLIENT, p.CLIENT6}
    assert len(model.proven) == 1


def test_a_challenged_client_is_proven_by_its_answer(model: Model) -> None:
    model.config.flags, model.config.secret = Flags.CHALLENGE, (1, 2)
    model.config.limits[LimitKind.DST_SYN] = (SECOND_NS, 0)
    assert model.run(p.SYN, NOW_NS).reason == Reason.PASS_SHOWN
    other = p.wire(p.IP4, p.tcp("S", sport=40001))
    assert model.run(other, NOW_NS) == (XDP_TX, Reason.DROP_CHALLENGED)
    packet = Packet(other)
    assert not parse_addresses(packet)
    assert not judge_headers(packet)
    number = cookie(packet, model.config.secret, NOW_NS >> SLOT_SHIFT)
    wrong, right = (p.wire(p.IP4, p.tcp("R", sport=40001, seq=seq)) for seq in (number ^ 1, number))
    assert model.run(wrong, NOW_NS) == (XDP_PASS, Reason.PASS_STRAY_RESET)
    assert model.run(right, NOW_NS) == (XDP_DROP, Reason.DROP_CHALLENGE_ANSWER)
    assert model.run(other, NOW_NS).reason == Reason.PASS_SHOWN


def test_tables_stay_within_their_limit() -> None:
    table: Bounded[int] = Bounded(3)
    for number in range(10):
        table[bytes((number,))] = number
    assert list(table.values()) == [7, 8, 9]
    assert table.evicted == 7


def test_the_longest_prefix_wins() -> None:
    trie: Trie[str] = Trie()
    for text in ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.7/32"):
        network = ipaddress.ip_network(text)
        trie.add(network.network_address.packed, network.prefixlen, text)
    found = [trie.lookup(ipaddress.ip_address(text).packed) for text in ("192.0.2.7", "192.0.2.8", "198.51.100.1")]
    assert found == ["192.0.2.7/32", "192.0.2.0/24", "0.0.0.0/0"]
