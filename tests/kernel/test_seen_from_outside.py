"""What the console does with the pins of a gate, whether its engine answers or not: rings, flows, lists."""

from __future__ import annotations

import ipaddress
import time
from contextlib import closing
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from ids.config import load_config
from ids.console import changes, why
from ids.console.lists import ORDERS, foremost
from ids.kernel import Block, Reason, contract
from ids.kernel.flows.busiest import pinned_flows
from ids.kernel.rings.fill import pinned_fill
from ids.store import queries
from ids.store.asked import asked_of
from ids.store.database import open_reading, store_path
from ids.store.why import verdict
from tests.kernel import packets as p
from tests.kernel.gate import Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def question(src: str, sport: int = 9) -> bytes:
    return p.wire(IP(src=src, dst=p.SERVER), UDP(sport=sport, dport=53), b"question")


def test_what_waits_in_the_rings_is_seen_without_their_reader(gate: Gate) -> None:
    pins = gate.fastpath.pin_dir
    assert {(ring.worker, ring.name, ring.waiting_bytes) for ring in pinned_fill(pins)} == {
        (0, "small", 0),
        (0, "large", 0),
    }
    gate.send_all(question(p.CLIENT, sport) for sport in (1, 2, 3))
    after = {ring.name: ring for ring in pinned_fill(pins)}
    assert after["small"].waiting_bytes == 3 * contract.SMALL_STRIDE
    assert after["small"].ratio == 3 * contract.SMALL_STRIDE / after["small"].size_bytes
    assert after["large"].waiting_bytes == 0


def test_who_opened_the_busiest_flows_is_seen_without_an_engine(gate: Gate) -> None:
    answer = p.wire(IP(src=p.SERVER, dst="192.0.2.7"), UDP(sport=53, dport=9), b"answer" * 20)
    gate.send_all([question("192.0.2.7"), question("192.0.2.7"), answer, question("192.0.2.8")])
    gate.send_all([p.wire(p.IP6, UDP(sport=9, dport=53), b"question")])
    seen = pinned_flows(gate.fastpath.pin_dir, 2)
    assert [(str(one.address), one.flows, one.packets) for one in seen.busiest] == [
        ("192.0.2.7", 1, 3),
        (p.CLIENT6, 1, 1),
    ]
    assert seen.count == 3
    assert sum(seen.by_state.values()) == 3


def test_the_foremost_of_the_blocklist_are_found_without_listing_it(gate: Gate) -> None:
    blocks = gate.fastpath.blocks
    now_ns = time.time_ns()
    blocks.add(Block(ipaddress.ip_network(address), label="feed") for address in ipaddress.ip_network("203.0.113.0/25"))
    blocks.add([
        Block(ipaddress.ip_network("192.0.2.0/24"), sid=7, label="rule"),
        Block(ipaddress.ip_network("2001:db8::/32"), label="operator"),
        Block(ipaddress.ip_network("198.51.100.99"), now_ns - 10**9, label="over"),
    ])  # fmt: skip
    gate.send_all([question("192.0.2.7"), question("192.0.2.8"), question("203.0.113.5")])
    pins = gate.fastpath.pin_dir
    listed = foremost(pins, "hits", 2)
    assert [(str(block.network), block.packets) for block in listed.blocks] == [
        ("192.0.2.0/24", 2),
        ("203.0.113.5/32", 1),
    ]
    assert listed.total == 131
    for order in ORDERS:
        assert len(foremost(pins, order, 10).blocks) in (9, 10), "an entry whose time is over is not shown"


def test_what_the_console_changes_holds_and_is_written_down(gate: Gate, tmp_path: Path) -> None:
    pins = gate.fastpath.pin_dir
    config = load_config(
        None, [f"fastpath.pin_dir={pins.parent}", f"instance={pins.name}", f"engine.state_dir={tmp_path}"]
    )
    network = ipaddress.ip_network("192.0.2.7")
    gate.fastpath.blocks.add([Block(network, sid=7, label="rule")])
    packet = question("192.0.2.7")
    assert gate.send(packet).reason is Reason.DROP_BLOCKED
    found = why.answer(config, asked_of("192.0.2.7", None), None)
    assert [(block.sid, block.packets) for block in found.blocks] == [(7, 1)]
    assert found.undo[0][0] == "ids block delete 192.0.2.7/32"
    assert changes.lift(config, network) == "192.0.2.7/32 is unblocked"
    assert gate.send(packet).reason is Reason.PASS_SHOWN
    assert "was not on the blocklist" in changes.lift(config, network)
    assert "is allowed" in changes.allow(config, network)
    gate.fastpath.blocks.add([Block(network, label="feed")])
    assert "is allowed, which wins" in verdict(why.answer(config, asked_of("192.0.2.7", None), None))
    assert gate.send(packet).reason is Reason.PASS_SHOWN
    with closing(open_reading(store_path(str(tmp_path), pins.name))) as database:
        rows = queries.history(database, network)
    assert [(row.kind, row.network, row.sid, row.packets) for row in rows] == [
        ("allow", "192.0.2.7/32", 0, 0),
        ("unblock", "192.0.2.7/32", 7, 1),
    ]
    assert all(row.user for row in rows)
    gate.fastpath.allowed.delete(network)
