"""Reconciliation: what our own tools changed stays, whatever else differs is drift and is undone."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from ids.kernel import Block, Blocklist, FastPath
from ids.kernel.lists.networks import NetworkSet, set_all
from ids.kernel.lists.reconcile import Drift, Reconciler
from ids.kernel.maps.table import Map
from tests.kernel.conftest import settings

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.usefixtures("without_challenges")]

BLOCKED = [ipaddress.ip_network(n) for n in ("203.0.113.7", "203.0.113.64/26", "2001:db8::7", "2001:db8:7::/48")]
STRANGE = bytes([198, 51, 100, 1])


@pytest.fixture
def fastpath(bpffs: Path) -> Iterator[FastPath]:
    opened = FastPath.open(settings(bpffs), "reconcile")
    opened.blocks.add(Block(network) for network in BLOCKED)
    yield opened
    opened.close("remove")


@pytest.fixture
def reconciler(fastpath: FastPath, monkeypatch: pytest.MonkeyPatch) -> Reconciler:
    monkeypatch.setattr("ids.kernel.lists.reconcile.SHARE", 0)
    made = Reconciler(fastpath.blocks)
    assert not made.check(), "the first look only learns"
    return made


def listed(fastpath: FastPath) -> set[str]:
    return {str(block.network) for block in fastpath.blocks.list()}


def test_a_list_that_nobody_touched_has_no_drift(reconciler: Reconciler) -> None:
    assert reconciler.check() == Drift()


def test_an_entry_that_was_deleted_behind_our_back_comes_back(fastpath: FastPath, reconciler: Reconciler) -> None:
    assert fastpath.maps["ids_block4"].delete(BLOCKED[0].network_address.packed)
    assert reconciler.check() == Drift(missing=1)
    assert listed(fastpath) == set(map(str, BLOCKED))
    assert reconciler.check() == Drift()


def test_an_entry_that_nobody_ordered_goes(fastpath: FastPath, reconciler: Reconciler) -> None:
    fastpath.maps["ids_block4"].set(STRANGE, bytes(48))
    assert reconciler.check() == Drift(extra=1)
    assert listed(fastpath) == set(map(str, BLOCKED))


def test_an_entry_that_was_made_a_shadow_is_enforced_again(fastpath: FastPath, reconciler: Reconciler) -> None:
    table, key = fastpath.maps["ids_block6"], BLOCKED[2].network_address.packed
    value = bytearray(table.get(key) or b"")
    value[46] = 1
    table.set(key, bytes(value))
    assert reconciler.check() == Drift(altered=1)
    assert all(block.mode.value == "enforce" for block in fastpath.blocks.list())


def test_counters_are_no_drift(fastpath: FastPath, reconciler: Reconciler) -> None:
    table, key = fastpath.maps["ids_block4"], BLOCKED[0].network_address.packed
    value = bytearray(table.get(key) or b"")
    value[16] = 99
    table.set(key, bytes(value))
    assert reconciler.check() == Drift()
    block = fastpath.blocks.get(BLOCKED[0])
    assert block is not None
    assert block.packets == 99


def test_what_the_command_line_changes_beside_the_engine_is_no_drift(
    fastpath: FastPath, reconciler: Reconciler
) -> None:
    with Blocklist.open(fastpath.pin_dir) as other:
        other.add([Block(ipaddress.ip_network("198.51.100.9"))])
        other.delete(BLOCKED[1])
    assert reconciler.check() == Drift()
    assert listed(fastpath) == {str(n) for n in BLOCKED if n != BLOCKED[1]} | {"198.51.100.9/32"}
    assert reconciler.check() == Drift()


def test_an_import_that_lasts_longer_than_many_looks_is_no_drift(
    fastpath: FastPath, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Drift] = []

    def set_slowly(table: Map, keys: NDArray[Any], values: NDArray[Any]) -> None:
        for row in range(len(keys)):
            looks.extend(reconciler.check() for _ in range(2))
            set_all(table, keys[row : row + 1], values[row : row + 1])

    monkeypatch.setattr("ids.kernel.lists.tables.set_all", set_slowly)
    feed = {f"198.51.100.{host}/32" for host in range(1, 4)}
    with Blocklist.open(fastpath.pin_dir) as other:
        other.replace("feed", NetworkSet.of(map(ipaddress.ip_network, feed)))
    looks.extend(reconciler.check() for _ in range(3))
    assert len(looks) >= 9
    assert not any(looks)
    assert listed(fastpath) == set(map(str, BLOCKED)) | feed
    assert fastpath.maps["ids_block4"].delete(BLOCKED[0].network_address.packed)
    assert reconciler.check() == Drift(missing=1), "and what others do behind it still is"


def test_an_expired_entry_is_not_brought_back(fastpath: FastPath, reconciler: Reconciler) -> None:
    short = ipaddress.ip_network("198.51.100.10")
    expires_ns = time.time_ns() + 2_000_000_000
    fastpath.blocks.add([Block(short, expires_ns=expires_ns)])
    assert not reconciler.check()
    while time.time_ns() < expires_ns + 50_000_000:
        time.sleep(0.05)
    fastpath.blocks.sweep()
    assert reconciler.check() == Drift()
    assert str(short) not in listed(fastpath)
