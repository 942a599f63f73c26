"""Whoever blocks a network keeps that block when another source lets go of it, or its time is up."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from ids.errors import KernelError
from ids.kernel import Block, Blocklist, FastPath, NetworkSet, contract
from ids.kernel.contract import Reason
from ids.kernel.lists import blocklist, tables
from ids.kernel.lists.claims import strongest
from ids.kernel.lists.networks import places, set_all
from ids.kernel.lists.reconcile import Drift, Reconciler
from ids.kernel.maps.table import Map
from ids.kernel.system import bpffs as bpffs_module
from ids.kernel.system.bpffs import at_work, in_turn
from ids.types import BlockMode, IPNetwork
from tests.kernel import conftest
from tests.kernel import packets as p
from tests.kernel.gate import START_NS, XDP_DROP, Gate

SECOND_NS = 10**9
ENFORCE, SHADOW = BlockMode.ENFORCE, BlockMode.SHADOW
NETWORKS = [ipaddress.ip_network(n) for n in ("203.0.113.7", "198.51.100.0/24", "2001:db8:7::7", "2001:db8:8::/48")]
PACKETS = {
    NETWORKS[0]: p.wire(IP(src="203.0.113.7", dst=p.SERVER), p.tcp("S")),
    NETWORKS[1]: p.wire(IP(src="198.51.100.99", dst="192.0.2.1"), p.tcp("S")),
    NETWORKS[2]: p.wire(IPv6(src="2001:db8:7::7", dst=p.SERVER6), p.tcp("S")),
    NETWORKS[3]: p.wire(IPv6(src="2001:db8:8::99", dst=p.SERVER6), p.tcp("S")),
}
LABELS = ("fa", "fb", "operator")
ALL, FIRST, NONE = NetworkSet.of(NETWORKS), NetworkSet.of(NETWORKS[:1]), NetworkSet.of([])


def key4(*lasts: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Return keys of addresses by their last bytes."""
    return np.frombuffer(b"".join(bytes([192, 0, 2, last]) for last in lasts), dtype="V4")


def test_who_enforces_comes_first_then_who_ends_last_then_who_was_first() -> None:
    claims = [(7, 0, 500, False), (7, 1, 0, False), (7, 0, 600, True), (8, 1, 0, True), (8, 0, 90, False)]
    claims += [(9, 0, 0, True), (9, 0, 0, False), (9, 0, 1 << 63, False)]
    values = np.zeros(len(claims), dtype=contract.BLOCK)
    values["mode"], values["expires_ns"] = [claim[1] for claim in claims], [claim[2] for claim in claims]
    assert strongest((key4(*(claim[0] for claim in claims)), values), 100).tolist() == [claim[3] for claim in claims]


def test_places_of_keys() -> None:
    assert places(key4(3, 1, 9), key4(1, 2, 3)).tolist() == [2, 0, -1]
    assert places(key4(3), key4()).tolist() == [-1]


class Lists:
    """A blocklist and its program, both by the tests' clock."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.blocks = gate.fastpath.blocks

    def later(self, seconds: float) -> None:
        """Let time go by, for both."""
        self.gate.now_ns += round(seconds * SECOND_NS)

    def dropped(self, network: IPNetwork = NETWORKS[0]) -> bool:
        """Whether a packet of this network is dropped."""
        return self.gate.send(PACKETS[network]).action == XDP_DROP

    def counted(self, network: IPNetwork = NETWORKS[0]) -> bool:
        """Whether a packet of this network passes, and is counted as one that a shadow would have dropped."""
        verdict = self.gate.send(PACKETS[network])
        return verdict.action != XDP_DROP and Reason.NOTE_SHADOW in verdict.notes

    def end(self, seconds: float | None) -> int | None:
        """Return when a claim of so many seconds ends."""
        return None if seconds is None else self.gate.now_ns + round(seconds * SECOND_NS)

    def add(self, label: str, mode: BlockMode, seconds: float | None, network: IPNetwork = NETWORKS[0]) -> None:
        """Claim one network."""
        self.blocks.add([Block(network, self.end(seconds), mode, label=label)])

    def replace(
        self, label: str, networks: NetworkSet, mode: BlockMode = ENFORCE, seconds: float | None = None
    ) -> tuple[int, int]:
        """Claim a set, and no other."""
        return self.blocks.replace(label, networks, expires_ns=self.end(seconds), mode=mode)


@pytest.fixture
def lists(gate: Gate) -> Iterator[Lists]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocklist, "time", SimpleNamespace(monotonic_ns=lambda: gate.now_ns))
        patch.setattr(blocklist, "sample_offset_ns", lambda: 0)
        yield Lists(gate)


@pytest.mark.root
@pytest.mark.xdp
class TestClaims:
    @pytest.mark.parametrize("network", NETWORKS, ids=str)
    def test_what_one_feed_drops_the_other_still_blocks(self, lists: Lists, network: IPNetwork) -> None:
        both = NetworkSet.of([network])
        assert lists.replace("fa", both) == (1, 0)
        assert lists.replace("fb", both) == (1, 0)
        assert lists.replace("fb", both) == (0, 0)
        assert lists.replace("fa", NONE) == (0, 1)
        assert lists.dropped(network)
        assert [block.label for block in lists.blocks.list()] == ["fb"]
        assert lists.replace("fb", NONE) == (0, 1)
        assert not lists.dropped(network)

    @pytest.mark.parametrize("seconds", [None, 5], ids=["as it was", "with another end"])
    def test_what_a_feed_no_longer_claims_does_not_step_in(self, lists: Lists, seconds: float | None) -> None:
        lists.replace("fa", ALL)
        lists.replace("fb", ALL)
        assert lists.replace("fb", FIRST, ENFORCE, seconds) == (0, len(NETWORKS) - 1)
        lists.replace("fa", NONE)
        assert [lists.dropped(network) for network in NETWORKS] == [True, False, False, False]

    @pytest.mark.parametrize("network", NETWORKS, ids=str)
    def test_a_feeds_entry_outlives_an_operators_block(self, lists: Lists, network: IPNetwork) -> None:
        lists.replace("feed", NetworkSet.of([network]))
        lists.add("operator", ENFORCE, 2, network)
        lists.later(3)
        assert lists.dropped(network)
        assert lists.blocks.sweep() == 1
        assert lists.dropped(network)
        assert [(block.label, block.others) for block in lists.blocks.list()] == [("feed", ())]

    @pytest.mark.parametrize("network", NETWORKS, ids=str)
    def test_a_shadow_does_not_keep_another_source_from_enforcing(self, lists: Lists, network: IPNetwork) -> None:
        networks = NetworkSet.of([network])
        lists.replace("fs", networks, SHADOW)
        assert lists.counted(network)
        lists.replace("fe", networks)
        assert lists.dropped(network)
        lists.replace("fe", NONE)
        assert lists.counted(network)

    def test_the_longest_that_enforces_holds_without_a_sweep_in_between(self, lists: Lists) -> None:
        lists.add("fa", ENFORCE, 2)
        lists.add("fb", ENFORCE, 4)
        lists.add("fc", ENFORCE, 3)
        for _ in range(3):
            assert lists.dropped()
            lists.later(1)
        assert lists.dropped()
        lists.later(1)
        assert not lists.dropped()

    def test_a_shadow_steps_in_with_the_sweep_after_the_last_that_enforced(self, lists: Lists) -> None:
        lists.add("fs", SHADOW, None)
        lists.add("fe", ENFORCE, 2)
        assert lists.dropped()
        lists.later(2)
        assert not lists.dropped()
        assert not lists.counted()
        lists.blocks.sweep()
        assert lists.counted()
        assert len(lists.blocks) == 1

    def test_who_takes_its_own_block_back_in_part_leaves_the_stronger_of_another(self, lists: Lists) -> None:
        lists.add("fa", ENFORCE, None)
        lists.add("fb", ENFORCE, 5)
        lists.add("fa", SHADOW, None)
        assert lists.dropped()
        lists.later(5)
        lists.blocks.sweep()
        assert lists.counted()

    def test_counts_survive_a_change_of_owner(self, lists: Lists) -> None:
        lists.replace("fa", ALL)
        assert lists.dropped()
        lists.add("operator", ENFORCE, None)
        lists.replace("fa", NONE)
        lists.replace("fb", FIRST)
        lists.add("operator", ENFORCE, 1)
        assert lists.dropped()
        lists.later(2)
        lists.blocks.sweep()
        (block,) = lists.blocks.list()
        assert (block.label, block.packets) == ("fb", 2)

    def test_the_list_shows_every_owner(self, lists: Lists) -> None:
        lists.replace("fa", ALL)
        lists.replace("fb", FIRST, SHADOW)
        lists.add("operator", ENFORCE, 1)
        first = {block.network: block for block in lists.blocks.list()}[NETWORKS[0]]
        assert first.label == "fa"
        assert {(other.label, other.mode) for other in first.others} == {("fb", SHADOW), ("operator", ENFORCE)}
        lists.later(1)
        assert [other.label for other in lists.blocks.list()[0].others] == ["fb"]

    def test_an_operator_unblocks_a_network_whoever_claims_it(self, lists: Lists) -> None:
        lists.replace("fa", ALL)
        lists.replace("fb", ALL, SHADOW)
        for network in NETWORKS:
            assert lists.blocks.delete(network)
            assert not lists.blocks.delete(network)
            assert not lists.dropped(network)
        lists.add("fc", ENFORCE, 1)
        lists.later(1)
        assert lists.blocks.sweep() == 1
        assert lists.blocks.list() == []

    def test_a_sweep_says_which_claims_ended(self, lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
        lists.replace("fa", ALL, ENFORCE, 5)
        lists.replace("fb", ALL, SHADOW)
        lists.later(6)
        ends: list[Block] = []
        assert lists.blocks.sweep(None, ends) == 4
        assert {(end.network, end.label) for end in ends} == {(network, "fa") for network in NETWORKS}
        monkeypatch.setattr(blocklist, "MAX_ENDS", 1)
        lists.replace("fc", ALL, ENFORCE, 5)
        lists.later(6)
        ends.clear()
        assert lists.blocks.sweep(None, ends) == 4
        assert len(ends) == 1, "no more are named, but all are counted"

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(NETWORKS),
                st.sampled_from(LABELS),
                st.sampled_from([ENFORCE, SHADOW]),
                st.sampled_from([None, 50, 100]),
            ),
            max_size=8,
        ),
        st.lists(st.tuples(st.sampled_from(NETWORKS), st.sampled_from(LABELS)), max_size=4),
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
    def test_claims_put_in_bulk_are_those_that_were_added_one_at_a_time(
        self, lists: Lists, given: list[Any], before: list[Any]
    ) -> None:
        now_ns = time.time_ns()
        blocks = [
            Block(network, None if end_s is None else now_ns + end_s * SECOND_NS, mode, label=label)
            for network, label, mode, end_s in given
        ]
        others = [Block(network, None, SHADOW, label=label) for network, label in before]

        def held() -> tuple[set[Any], set[Any]]:
            """Return all claims, and those in force: who enforces, and until when."""
            entries = lists.blocks.list()
            claims = {
                (entry.network, claim.label, claim.mode, round((claim.expires_ns or 0) / 1e10))
                for entry in entries
                for claim in (entry, *entry.others)
            }
            return claims, {(entry.network, entry.mode, round((entry.expires_ns or 0) / 1e10)) for entry in entries}

        lists.blocks.clear()
        lists.blocks.add(blocks)
        in_force, waiting = lists.blocks.columns()
        lists.blocks.clear()
        lists.blocks.add([*others, *blocks])
        expected = held()
        lists.blocks.clear()
        lists.blocks.add(others)
        lists.blocks.put(waiting)
        lists.blocks.put(in_force)
        assert held() == expected

    def test_what_holds_an_address_is_found_the_narrowest_first(self, lists: Lists) -> None:
        lists.replace("fa", NetworkSet.of([ipaddress.ip_network(n) for n in ("198.51.100.0/24", "198.51.100.9")]))
        lists.replace("fb", NetworkSet.of([ipaddress.ip_network("198.51.100.0/24")]), SHADOW)
        found = lists.blocks.covering(ipaddress.ip_network("198.51.100.9"))
        assert [(str(entry.network), entry.label) for entry in found] == [
            ("198.51.100.9/32", "fa"),
            ("198.51.100.0/24", "fa"),
        ]
        assert [other.label for other in found[1].others] == ["fb"]
        assert lists.blocks.covering(ipaddress.ip_network("198.51.101.9")) == []

    def test_clearing_forgets_the_claims_too(self, lists: Lists) -> None:
        lists.replace("fa", ALL)
        lists.replace("fb", ALL)
        assert lists.blocks.clear() == len(NETWORKS)
        assert list(lists.gate.fastpath.maps["ids_claims"]) == []

    def test_a_feed_that_others_claim_too_is_imported_in_bulk(self, lists: Lists) -> None:
        base = int(ipaddress.ip_address("198.18.0.0"))
        many = NetworkSet.of_numbers(np.arange(base, base + 3000, dtype=np.uint32))
        rest = NetworkSet.of_numbers(np.arange(base + 1000, base + 3000, dtype=np.uint32))
        assert lists.replace("fa", many, SHADOW) == (3000, 0)
        assert lists.replace("fb", many, ENFORCE, 10) == (3000, 0)
        assert lists.replace("fb", many, ENFORCE, 20) == (0, 0)
        assert lists.replace("fb", rest, ENFORCE, 20) == (0, 1000)
        owners = [(block.label, block.mode) for block in lists.blocks.list()]
        assert (owners.count(("fa", SHADOW)), owners.count(("fb", ENFORCE))) == (1000, 2000)
        lists.later(20)
        assert lists.blocks.sweep() == 2000
        assert {(block.label, block.others) for block in lists.blocks.list()} == {("fa", ())}

    def test_a_claim_for_which_there_is_no_room_is_refused_and_changes_nothing(self, bpffs: Path) -> None:
        fastpath = FastPath.open(conftest.settings(bpffs, blocks_entries=1), "narrow")
        try:
            fastpath.blocks.replace("fa", NetworkSet.of(NETWORKS[:2]), mode=SHADOW)
            fastpath.blocks.add([Block(NETWORKS[1], label="fb")])
            with pytest.raises(KernelError, match=r"do not all fit into ids_claims.*room for 1.*blocks_entries"):
                fastpath.blocks.add([Block(NETWORKS[0], label="fb")])
            assert {block.network: block.mode for block in fastpath.blocks.list()}[NETWORKS[0]] is SHADOW
        finally:
            fastpath.close("remove")

    def test_an_import_that_does_not_fit_changes_nothing_and_leaves_room_for_rules(self, bpffs: Path) -> None:
        fastpath = FastPath.open(conftest.settings(bpffs, blocks_entries=64, prefixes_entries=64), "narrow")
        hosts = [ipaddress.ip_network(f"203.0.113.{host}") for host in range(70)]
        try:
            blocks = fastpath.blocks
            blocks.replace("fa", NetworkSet.of([*hosts[:60], NETWORKS[1]]))
            before = [(block.network, block.label) for block in blocks.list()]
            with pytest.raises(
                KernelError, match=r"nothing was changed: 4 new .* 60 of 64 already and keeps room for 1 "
            ):
                blocks.replace("fa", NetworkSet.of([*hosts[:64], NETWORKS[3]]))
            assert [(block.network, block.label) for block in blocks.list()] == before
            blocks.replace("fa", NetworkSet.of(hosts[:63]))
            blocks.add([Block(hosts[65], sid=7, label="rule")])
            assert blocks.get(hosts[65]) is not None, "a rule's"
            held, _ = blocks.columns()
            blocks.clear()
            blocks.add([Block(hosts[69], label="operator")])
            with pytest.raises(KernelError, match="nothing was changed: 64 new"):
                blocks.put(held)
            assert [block.network for block in blocks.list()] == [hosts[69]]
            with pytest.raises(KernelError, match="do not all fit"):
                blocks.put(held, partly=True)
            assert len(blocks.list()) == 64
        finally:
            fastpath.close("remove")

    def test_a_claim_that_steps_in_is_no_drift(self, lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ids.kernel.lists.reconcile.SHARE", 0)
        reconciler = Reconciler(lists.blocks)
        lists.replace("fs", ALL, SHADOW)
        lists.replace("fe", ALL, ENFORCE, 2)
        assert not reconciler.check()
        lists.later(2)
        assert not reconciler.check()
        lists.blocks.sweep()
        assert reconciler.check() == Drift()
        lists.gate.fastpath.maps["ids_block4"].delete(NETWORKS[0].network_address.packed)
        assert reconciler.check() == Drift(missing=1)
        assert lists.counted()

    def test_two_feeds_that_are_imported_at_once_both_have_what_both_claim(
        self, lists: Lists, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began, write, done = threading.Event(), set_all, threading.Event()

        def slow(table: Map, keys: Any, values: Any) -> None:
            if threading.current_thread() is not second and not began.is_set():
                began.set()
                second.start()
                assert not done.wait(0.1), "it waits, however long this takes"
            write(table, keys, values)

        def other() -> None:
            lists.replace("fb", ALL)
            done.set()

        second = threading.Thread(target=other)
        monkeypatch.setattr(tables, "set_all", slow)
        lists.replace("fa", ALL)
        second.join()
        lists.replace("fa", NONE)
        assert {block.network: block.label for block in lists.blocks.list()} == dict.fromkeys(NETWORKS, "fb")

    @pytest.mark.parametrize("wait", [False, True], ids=["an engine", "a command"])
    def test_what_is_blocked_while_a_feed_is_imported_is_no_shadow_of_that_feed(
        self, lists: Lists, monkeypatch: pytest.MonkeyPatch, wait: bool
    ) -> None:
        rule = Block(NETWORKS[0], sid=7, label="rule")

        def beside(table: Map, keys: Any, values: Any) -> None:
            monkeypatch.setattr(tables, "set_all", set_all)  # the import has read the list, and not written yet
            lists.blocks.add([rule])
            assert lists.blocks.list() != []
            set_all(table, keys, values)

        with Blocklist.open(lists.gate.fastpath.pin_dir) as other:
            monkeypatch.setattr(tables, "set_all", beside)
            other.replace("fs", ALL, mode=SHADOW)
        lists.blocks.repeat(wait=wait)
        entry = lists.blocks.get(NETWORKS[0])
        assert entry is not None
        assert (entry.mode, entry.label) == (ENFORCE, "rule")
        assert [claim.label for claim in lists.blocks.claims_on(NETWORKS[0])] == ["rule", "fs"]

    def test_what_was_unblocked_since_is_not_blocked_once_more(self, lists: Lists) -> None:
        with at_work(lists.gate.fastpath.pin_dir):
            lists.blocks.add([Block(network, sid=7, label="rule") for network in NETWORKS])
            lists.blocks.repeat()
            assert lists.blocks.delete(NETWORKS[0])
        lists.blocks.repeat()
        assert {block.network for block in lists.blocks.list()} == set(NETWORKS[1:])

    def test_who_was_stopped_in_the_middle_of_an_import_holds_nobody_up_for_good(
        self, lists: Lists, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(bpffs_module, "TURN_S", 0.0)
        with in_turn(lists.gate.fastpath.pin_dir):
            lists.replace("fa", FIRST)
        assert [block.label for block in lists.blocks.list()] == ["fa"]
        assert "has not ended within 0 s" in caplog.text

    def test_a_sweep_leaves_alone_what_an_import_renews_meanwhile(
        self, lists: Lists, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lists.replace("fa", ALL, ENFORCE, 2)
        lists.later(3)
        ended = tables.ended

        def renewed(*arguments: Any) -> Any:
            monkeypatch.setattr(blocklist, "ended", ended)
            answer = ended(*arguments)
            lists.replace("fa", ALL, ENFORCE, 60)
            return answer

        monkeypatch.setattr(blocklist, "ended", renewed)
        assert lists.blocks.sweep() == 0
        assert len(lists.blocks.list()) == len(NETWORKS)
        assert lists.blocks.sweep() == 0, "none has ended any more"

    def test_a_sweep_waits_for_the_next_tick_while_the_list_is_being_changed(self, lists: Lists) -> None:
        lists.replace("fa", ALL, ENFORCE, 2)
        lists.later(3)
        with at_work(lists.gate.fastpath.pin_dir):
            assert lists.blocks.sweep() == 0
        assert lists.blocks.sweep() == len(NETWORKS)

    def test_claims_are_kept_from_other_processes(self, lists: Lists) -> None:
        with Blocklist.open(lists.gate.fastpath.pin_dir) as other:
            other.replace("fa", ALL)
            other.replace("fb", FIRST)
        lists.replace("fa", NONE)
        assert [block.label for block in lists.blocks.list()] == ["fb"]


TIMES = st.sampled_from([None, 1, 2, 3])
MODES = st.sampled_from([ENFORCE, SHADOW])
STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(LABELS), st.sampled_from(NETWORKS), MODES, TIMES),
    st.tuples(st.just("replace"), st.sampled_from(LABELS), st.sets(st.sampled_from(NETWORKS)), MODES, TIMES),
    st.tuples(st.just("delete"), st.sampled_from(NETWORKS)),
    st.tuples(st.just("later")),
    st.tuples(st.just("sweep")),
)


class Model:
    """Claims as they are meant: nobody's claim has to do with anybody else's."""

    def __init__(self) -> None:
        self.claims: dict[tuple[IPNetwork, str], tuple[BlockMode, int | None]] = {}

    def live(self, network: IPNetwork, now_ns: int) -> set[BlockMode]:
        """Return the modes of the claims that hold."""
        return {
            mode
            for (claimed, _), (mode, end) in self.claims.items()
            if claimed == network and (end is None or end > now_ns)
        }

    def set(self, label: str, networks: set[IPNetwork], mode: BlockMode, end: int | None) -> None:
        """Replace a label's claims."""
        self.claims = {key: claim for key, claim in self.claims.items() if key[1] != label}
        self.claims |= {(network, label): (mode, end) for network in networks}

    def delete(self, network: IPNetwork) -> None:
        """Forget all claims on a network."""
        self.claims = {key: claim for key, claim in self.claims.items() if key[0] != network}


@pytest.mark.root
@pytest.mark.xdp
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
def test_a_network_is_enforced_as_long_as_some_claim_enforces(lists: Lists, steps: list[tuple[Any, ...]]) -> None:
    lists.gate.reset()
    assert lists.gate.now_ns == START_NS
    model = Model()
    for step in steps:
        match step:
            case ("add", label, network, mode, seconds):
                lists.add(label, mode, seconds, network)
                model.claims[network, label] = mode, lists.end(seconds)
            case ("replace", label, networks, mode, seconds):
                lists.replace(label, NetworkSet.of(networks), mode, seconds)
                model.set(label, networks, mode, lists.end(seconds))
            case ("delete", network):
                lists.blocks.delete(network)
                model.delete(network)
            case ("later",):
                lists.later(1)
            case ("sweep",):
                lists.blocks.sweep()
        for network in NETWORKS:
            assert lists.dropped(network) == (ENFORCE in model.live(network, lists.gate.now_ns)), step
    lists.blocks.sweep()
    for network in NETWORKS:
        assert lists.counted(network) == (model.live(network, lists.gate.now_ns) == {SHADOW})
