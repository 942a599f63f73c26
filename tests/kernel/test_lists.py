"""Blocklist and allow-list as tables: what goes in comes out, for both families, singly and in bulk."""

from __future__ import annotations

import ipaddress
import time

import numpy as np
import pytest

from ids.errors import KernelError
from ids.kernel import AllowList, Block, Blocklist, NetworkSet
from ids.kernel.contract import Reason
from ids.kernel.lists.networks import key_of, network_of, not_in
from ids.types import BlockMode, IPNetwork
from tests.kernel import packets as p
from tests.kernel.gate import Gate

SECOND_NS = 10**9
ADDRESSES = ["192.0.2.7/32", "192.0.2.0/24", "2001:db8::7/128", "2001:db8::/48"]


def net(text: str) -> IPNetwork:
    """Return a network."""
    return ipaddress.ip_network(text)


@pytest.mark.parametrize("text", [*ADDRESSES, "0.0.0.0/0", "::/0", "255.255.255.255/32", "198.51.100.0/25"])
def test_keys_round_trip(text: str) -> None:
    network = net(text)
    assert network_of(key_of(network), network.prefixlen == network.max_prefixlen) == network


def test_a_set_of_numbers_is_the_set_of_networks() -> None:
    by_number = NetworkSet.of_numbers(
        np.array([int(ipaddress.ip_address("192.0.2.7"))], dtype=np.uint32),
        [(int(ipaddress.ip_address("192.0.2.0")), 24)],
        [int(ipaddress.ip_address("2001:db8::7"))],
        [(int(ipaddress.ip_address("2001:db8::")), 48)],
    )
    by_network = NetworkSet.of(map(net, ADDRESSES))
    assert len(by_number) == len(by_network) == 4
    for kind, keys in by_number.keys.items():
        assert keys.tobytes() == by_network.keys[kind].tobytes()


@pytest.mark.parametrize("width", [4, 8, 16, 20])
def test_set_difference_of_keys(width: int) -> None:
    keys = np.frombuffer(bytes(width) + b"\1" + bytes(width - 1) + bytes(width - 1) + b"\1", dtype=f"V{width}")
    assert not_in(keys, keys[1:]).tolist() == [True, False, False]
    assert not_in(keys, keys[:0]).tolist() == [True, True, True]


@pytest.mark.root
@pytest.mark.xdp
class TestBlocklist:
    @pytest.mark.parametrize("text", ADDRESSES)
    def test_what_goes_in_comes_out(self, gate: Gate, text: str) -> None:
        expires_ns = time.time_ns() + 3600 * SECOND_NS
        block = Block(net(text), expires_ns, BlockMode.SHADOW, sid=42, label="tests")
        assert gate.fastpath.blocks.add([block]) == 1
        (found,) = gate.fastpath.blocks.list()
        same = gate.fastpath.blocks.get(net(text))
        assert same is not None
        assert (same.network, same.label) == (found.network, found.label)
        assert (found.network, found.mode, found.sid, found.label) == (net(text), BlockMode.SHADOW, 42, "tests")
        assert found.expires_ns is not None
        assert abs(found.expires_ns - expires_ns) < SECOND_NS
        assert abs(found.added_ns - time.time_ns()) < 60 * SECOND_NS
        assert (found.packets, found.bytes, found.last_hit_ns) == (0, 0, None)
        assert gate.fastpath.blocks.delete(net(text))
        assert not gate.fastpath.blocks.delete(net(text))
        assert gate.fastpath.blocks.get(net(text)) is None

    def test_a_shadow_on_trial_takes_nothing_back_that_holds(self, gate: Gate) -> None:
        """Each prefix has its length with it for the program, whoever put it there."""
        gate.fastpath.blocks.replace("feed", NetworkSet.of([net("192.0.0.0/16")]))
        gate.fastpath.blocks.add([Block(net("192.0.2.0/24"), mode=BlockMode.SHADOW)])
        verdict = gate.send(p.DATA)
        assert verdict.reason == Reason.DROP_BLOCKED_PREFIX
        assert Reason.NOTE_SHADOW in verdict.notes

    def test_a_prefix_answers_only_for_itself(self, gate: Gate) -> None:
        gate.fastpath.blocks.add([Block(net("192.0.2.0/24"))])
        assert gate.fastpath.blocks.get(net("192.0.2.0/25")) is None

    def test_a_block_takes_effect_with_the_next_packet(self, gate: Gate) -> None:
        gate.send(p.DATA)
        gate.fastpath.blocks.add([Block(net("192.0.2.0/24"), sid=7)])
        assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED_PREFIX
        gate.fastpath.blocks.delete(net("192.0.2.0/24"))
        assert gate.send(p.DATA).reason == Reason.PASS_SHOWN

    def test_what_expired_is_not_listed_and_is_swept(self, gate: Gate) -> None:
        past = time.time_ns() - SECOND_NS
        gate.fastpath.blocks.add(
            [Block(net(text), past) for text in ADDRESSES]
            + [Block(net("198.51.100.7/32")), Block(net("203.0.113.0/24"))]
        )
        assert len(gate.fastpath.blocks.list()) == 2
        assert gate.fastpath.blocks.sweep() == 4
        assert gate.fastpath.blocks.sweep() == 0
        assert len(gate.fastpath.blocks) == 2

    def test_many_at_once(self, gate: Gate) -> None:
        base = int(ipaddress.ip_address("198.18.0.0"))
        blocks = [Block(ipaddress.IPv4Network((base + i, 32))) for i in range(3000)]
        assert gate.fastpath.blocks.add([*blocks, *blocks[:10]]) == 3000
        assert {block.network for block in gate.fastpath.blocks.list()} == {block.network for block in blocks}
        assert gate.fastpath.blocks.clear() == 3000

    def test_a_full_table_says_so(self, gate: Gate) -> None:
        base = int(ipaddress.ip_address("198.18.0.0"))
        with pytest.raises(KernelError, match=r"do not all fit into ids_block4.*room for 4096.*blocks_entries"):
            gate.fastpath.blocks.add([Block(ipaddress.IPv4Network((base + i, 32))) for i in range(5000)])

    def test_replacing_a_set_keeps_what_stays_and_leaves_others_alone(self, gate: Gate) -> None:
        blocks = gate.fastpath.blocks
        blocks.add([Block(net("203.0.113.9/32"), sid=5, label="rules")])
        old = ["192.0.2.7/32", "192.0.2.8/32", "198.51.100.0/24", "2001:db8::8/128"]
        assert blocks.replace("feed", NetworkSet.of(map(net, old))) == (4, 0)
        gate.send(p.DATA)
        new = ["192.0.2.7/32", "192.0.2.9/32", "203.0.113.9/32", "2001:db8::/64"]
        assert blocks.replace("feed", NetworkSet.of(map(net, new))) == (3, 3)
        found = {str(block.network): block for block in blocks.list()}
        assert set(found) == set(new)
        assert found["192.0.2.7/32"].packets == 1
        assert (found["203.0.113.9/32"].label, found["203.0.113.9/32"].sid) == ("rules", 5)
        assert {found[name].label for name in new if name != "203.0.113.9/32"} == {"feed"}

    def test_it_opens_from_its_pins_alone(self, gate: Gate) -> None:
        with Blocklist.open(gate.fastpath.pin_dir) as blocks, AllowList.open(gate.fastpath.pin_dir) as allowed:
            blocks.add([Block(net("192.0.2.7/32"), label="operator"), Block(net("2001:db8::/32"), label="operator")])
            allowed.add([net("2001:db8::7/128")], label="config")
        assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED
        assert gate.send(p.DATA6).reason == Reason.PASS_SHOWN
        assert [block.label for block in gate.fastpath.blocks.list()] == ["operator", "operator"]

    def test_without_an_engine_ever_it_says_what_to_do(self, gate: Gate) -> None:
        with pytest.raises(KernelError, match="ids run"):
            Blocklist.open(gate.fastpath.pin_dir.parent / "nobody")


@pytest.mark.root
@pytest.mark.xdp
class TestAllowList:
    def test_what_goes_in_comes_out(self, gate: Gate) -> None:
        allowed = gate.fastpath.allowed
        allowed.add(map(net, ADDRESSES), label="config")
        allowed.add([net("192.0.2.0/24")], label="again")
        assert {(str(entry.network), entry.label) for entry in allowed.list()} == {(a, "config") for a in ADDRESSES}
        assert allowed.delete(net("192.0.2.0/24"))
        assert not allowed.delete(net("192.0.2.0/24"))
        assert len(allowed.list()) == 3

    def test_adding_again_keeps_the_counters(self, gate: Gate) -> None:
        gate.block("192.0.2.7")
        gate.allow("192.0.2.7")
        gate.send(p.DATA)
        gate.allow("192.0.2.7")
        assert gate.fastpath.allowed.list()[0].packets == 1
