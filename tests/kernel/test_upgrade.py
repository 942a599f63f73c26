"""A program of a newer contract version takes over the lists of the one before, which drops until it is exchanged."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from ids.errors import KernelError
from ids.kernel import AllowList, Block, Blocklist, FastPath, contract
from ids.kernel.contract import FlowVerdict, Reason
from ids.kernel.flows.entries import FlowAddress
from ids.kernel.lists import formats, upgrade
from ids.kernel.lists.formats import FORMATS, Format
from ids.kernel.maps.table import Map, MapSpec
from ids.kernel.system import syscall
from ids.kernel.system.netlink import query_xdp
from ids.types import BlockMode, address_halves
from tests.kernel import packets as p
from tests.kernel.conftest import settings
from tests.kernel.gate import Gate
from tests.kernel.test_lifecycle import PORT, Veth, cut_off, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp]

HOST, PREFIX, PREFIX6 = (ipaddress.ip_network(text) for text in ("192.0.2.7/32", "198.51.100.0/24", "2001:db8:9::/48"))
PARTNER = ipaddress.ip_network("198.51.100.9/32")
OURS, NEXT = contract.VERSION, contract.VERSION + 1
NAME = "aged"


@pytest.fixture
def pins(bpffs: Path) -> Iterator[Path]:
    """The folder of an instance, gone afterwards."""
    yield bpffs / NAME
    for path in (bpffs / NAME).glob("*"):
        path.unlink()


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what runs be of the next version, which knows what this one keeps."""
    monkeypatch.setitem(FORMATS, OURS, formats.current())
    monkeypatch.setattr(contract, "VERSION", NEXT)


def fill(fastpath: FastPath) -> None:
    """Have entries of every kind."""
    fastpath.blocks.add([Block(HOST, sid=9, label="rule"), Block(HOST, mode=BlockMode.SHADOW, label="feed")])
    fastpath.blocks.add([Block(PREFIX, label="feed"), Block(PREFIX6)])
    fastpath.allowed.add([PARTNER], label="operator")


def said(fastpath: FastPath) -> tuple[object, object]:
    """Return all that the lists say, claims that wait included."""
    blocks = [(b.network, b.expires_ns, b.mode, b.sid, b.label, len(b.others)) for b in fastpath.blocks.list()]
    return blocks, [(allow.network, allow.label) for allow in fastpath.allowed.list()]


def test_every_version_since_the_fourth_can_be_taken_over() -> None:
    """Who raises the version adds to `FORMATS` what it was before."""
    assert FORMATS.keys() >= set(range(4, OURS))
    for names in FORMATS.values():
        assert names.keys() >= set(formats.LISTS)


def test_the_lists_survive_a_new_version(bpffs: Path, pins: Path, newer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(contract, "VERSION", OURS)
        old = FastPath.open(settings(bpffs), NAME)
        fill(old)
        Gate(old).send(p.DATA)
        kept = said(old)
        old.close("keep")
    with pytest.raises(KernelError, match="takes over the lists"):
        Blocklist.open(pins)
    new = FastPath.open(settings(bpffs), NAME)
    try:
        assert f"from contract version {OURS}; this is {NEXT}" in " ".join(new.notes)
        assert said(new) == kept
        gate = Gate(new)
        assert gate.send(p.DATA).reason == Reason.DROP_BLOCKED
        partner, other = (p.wire(IP(src=str(source), dst=p.SERVER), UDP(), b"x") for source in (PARTNER[0], PREFIX[1]))
        assert gate.send(partner).reason == Reason.PASS_SHOWN
        assert gate.send(other).reason == Reason.DROP_BLOCKED_PREFIX
        assert new.blocks.delete(HOST)
        assert gate.send(p.DATA).reason == Reason.PASS_SHOWN
        with Blocklist.open(pins) as blocks, AllowList.open(pins) as allowed:
            assert len(blocks.list()) == 2
            assert len(allowed.list()) == 1
    finally:
        new.close("remove")


def test_the_gate_is_shut_all_the_while(bpffs: Path, veth: Veth, newer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace, interface, peer = veth
    with inside(namespace):
        server = socket.create_server(("192.0.2.1", PORT))
        with monkeypatch.context() as before:
            before.setattr(contract, "VERSION", OURS)
            old = FastPath.open(settings(bpffs), NAME)
            old.attach(interface)
            old.blocks.add([Block(ipaddress.ip_network("192.0.2.2/32"), label="doomed")])
            old.close("keep")
    with server:
        assert cut_off(peer)
        with inside(namespace):
            attached = query_xdp(interface).program_id
            new = FastPath.open(settings(bpffs), NAME)
        try:
            assert cut_off(peer), "the old program is still there"
            with inside(namespace):
                assert new.attach(interface) == "native"
                assert query_xdp(interface).program_id not in (0, attached)
            assert cut_off(peer)
        finally:
            with inside(namespace):
                new.close("remove")


@pytest.mark.parametrize("other_format", [False, True])
def test_a_condemned_flow_stays_condemned(
    bpffs: Path, newer: None, monkeypatch: pytest.MonkeyPatch, other_format: bool
) -> None:
    was = formats.current()
    if other_format:
        shown = [(name if name != "cut" else "cut_before", contract.FLOW[name]) for name in contract.FLOW.names or ()]
        was["ids_flows4"] = Format(contract.FLOW4, np.dtype(shown))
    monkeypatch.setitem(FORMATS, OURS, was)
    flow = FlowAddress(address_halves(p.CLIENT), address_halves(p.SERVER), 40000, 80, 6)
    with monkeypatch.context() as before:
        before.setattr(contract, "VERSION", OURS)
        old = FastPath.open(settings(bpffs), NAME)
        gate = Gate(old)
        gate.send(p.SYN)
        assert old.set_flow(flow, FlowVerdict.DROP)
        old.close("keep")
    new = FastPath.open(settings(bpffs), NAME)
    try:
        assert Gate(new).send(p.DATA).reason == Reason.DROP_FLOW
    finally:
        new.close("remove")


SHORT = np.dtype([("sid", "<u4"), ("mode", "u1"), ("gone", "u1"), ("label", "<u2"), ("expires_ns", "<u8")])
"""A block as an older version may have had it."""


def make_older(pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pin what a version before ours could have left: a host that is blocked, in another format."""
    monkeypatch.setitem(FORMATS, OURS, {**formats.current(), "ids_block4": Format(np.dtype("<u4"), SHORT)})
    monkeypatch.setattr(contract, "VERSION", NEXT)
    pins.mkdir()
    value = np.zeros(1, SHORT)
    value["sid"], value["gone"] = 77, 9
    for name, spec, key, content in (
        ("ids_block4", (1, 4, SHORT.itemsize, 16, 1), HOST.network_address.packed, value.tobytes()),
        ("ids_config", (2, 4, contract.CONFIG.itemsize, 1, 1 << 10), bytes(4), OURS.to_bytes(4, "little")),
        ("ids_of_old", (1, 4, 4, 16, 1), bytes(4), bytes(4)),
    ):
        with Map.create(MapSpec(name, *spec)) as table:
            table.set(key, content.ljust(spec[2], b"\0"))
            syscall.obj_pin(table.fd, str(pins / name))


def test_entries_of_another_format_are_converted(bpffs: Path, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_older(pins, monkeypatch)
    new = FastPath.open(settings(bpffs), NAME)
    try:
        (block,) = new.blocks.list()
        assert (block.network, block.sid, block.expires_ns, block.mode) == (HOST, 77, None, BlockMode.ENFORCE)
        assert Gate(new).send(p.DATA).reason == Reason.DROP_BLOCKED
        assert not (pins / "ids_of_old").exists()
    finally:
        new.close("remove")


@pytest.mark.parametrize("after", range(12))
def test_who_is_interrupted_goes_on(bpffs: Path, pins: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Whatever the last change to the pins was, the next start has the lists."""
    make_older(pins, monkeypatch)
    left = after

    class Interrupted(BaseException):
        pass

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def act(path: Path, *arguments: object) -> object:
            nonlocal left
            if path.parent == pins:
                left -= 1
                if left < 0:
                    raise Interrupted
            return real(path, *arguments)

        patch.setattr(Path, name, act)

    with monkeypatch.context() as patch:
        counted("unlink")
        counted("replace")
        try:
            FastPath.open(settings(bpffs), NAME).close("keep")
        except Interrupted:
            assert left < 0
    new = FastPath.open(settings(bpffs), NAME)
    try:
        assert [(block.network, block.sid) for block in new.blocks.list()] == [(HOST, 77)]
        assert Gate(new).send(p.DATA).reason == Reason.DROP_BLOCKED
        assert not list(pins.glob("new_*"))
    finally:
        new.close("remove")


def test_what_does_not_fit_changes_nothing(bpffs: Path, pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_older(pins, monkeypatch)
    there = {path.name for path in pins.iterdir()}

    def full(*_: object) -> None:
        raise KernelError("2 entries do not all fit")

    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "set_all", full)
        with pytest.raises(KernelError, match="do not all fit"):
            FastPath.open(settings(bpffs), NAME)
    assert {path.name for path in pins.iterdir()} == there
