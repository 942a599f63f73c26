"""The gate outlives the engine, is taken over whole, replaces nobody, and leaves nothing where that is asked."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel import AllowList, Block, Blocklist, FastPath, contract
from ids.kernel.contract import Reason
from ids.kernel.instance import remove_pins, require_same_namespace
from ids.kernel.lists import formats
from ids.kernel.maps.counts import pinned_counts
from ids.kernel.system import syscall
from ids.kernel.system.netlink import query_xdp
from tests.kernel import packets as p
from tests.kernel.conftest import settings
from tests.kernel.gate import PATIENCE_S, SILENCE_S, Gate

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.usefixtures("without_challenges")]
SOURCE = ipaddress.ip_network("192.0.2.7/32")
PORT = 8080
ROOT = Path(__file__).resolve().parents[2]
Veth = tuple[str, str, str]


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run a block of this process inside a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    assert libc.setns(there, 0) == 0
    try:
        yield
    finally:
        assert libc.setns(home, 0) == 0
        os.close(home)
        os.close(there)


def connects(namespace: str, patience_s: float = PATIENCE_S) -> bool:
    """Whether the other side of the veth accepts a connection; to show that it does not, ask `cut_off`."""
    with inside(namespace):
        connection = socket.socket()
    with connection:
        connection.settimeout(patience_s)
        return connection.connect_ex(("192.0.2.1", PORT)) == 0


def cut_off(namespace: str) -> bool:
    """Whether the other side of the veth accepts no connection for a while."""
    return not connects(namespace, SILENCE_S)


def test_a_second_open_adopts_every_map(bpffs: Path) -> None:
    first = FastPath.open(settings(bpffs), "adopted")
    first.blocks.add([Block(SOURCE, sid=9, label="rules")])
    Gate(first).send(p.DATA)
    counted = first.stats()
    first.close("keep")
    second = FastPath.open(settings(bpffs, blocks_entries=8192), "adopted")
    try:
        assert second.stats() == counted
        (block,) = second.blocks.list()
        assert (block.network, block.sid, block.label, block.packets) == (SOURCE, 9, "rules", 1)
        assert Gate(second).send(p.DATA).reason == Reason.DROP_BLOCKED
        assert any("ids_block4" in note and "8192" in note for note in second.notes)
    finally:
        second.close("remove")
    assert not (bpffs / "adopted").exists()


def test_instances_do_not_share(bpffs: Path) -> None:
    one = FastPath.open(settings(bpffs), "one")
    other = FastPath.open(settings(bpffs), "other")
    try:
        one.blocks.add([Block(SOURCE)])
        assert Gate(other).send(p.DATA).reason == Reason.PASS_SHOWN
    finally:
        one.close("remove")
        other.close("remove")


OPENERS: list[tuple[str, Callable[[Path], object]]] = [
    ("an engine", lambda pins: FastPath.open(settings(pins), "aged")),
    ("`ids block`", lambda pins: Blocklist.open(pins / "aged")),
    ("`ids allow`", lambda pins: AllowList.open(pins / "aged")),
    ("`ids stats`", lambda pins: pinned_counts(pins / "aged")),
]


@pytest.mark.parametrize("open_", [row[1] for row in OPENERS], ids=[row[0] for row in OPENERS])
@pytest.mark.parametrize("ours", [contract.VERSION + 1, contract.VERSION - 1], ids=["older pins", "newer pins"])
def test_pins_of_another_version_are_refused_not_misread(
    bpffs: Path, monkeypatch: pytest.MonkeyPatch, open_: Callable[[Path], object], ours: int
) -> None:
    fastpath = FastPath.open(settings(bpffs), "aged")
    fastpath.blocks.add([Block(SOURCE, sid=9)])
    fastpath.close("keep")
    there = {path.name for path in (bpffs / "aged").iterdir()}
    monkeypatch.delitem(formats.FORMATS, contract.VERSION, raising=False)
    refused = rf"contract version {contract.VERSION}, .* speaks {ours}\..*ids detach"
    with monkeypatch.context() as patch:
        patch.setattr(contract, "VERSION", ours)
        with pytest.raises(KernelError, match=refused) as caught:
            open_(bpffs)
    assert caught.value.exit_code == 3
    assert str(bpffs / "aged") in str(caught.value)
    assert {path.name for path in (bpffs / "aged").iterdir()} == there, "nothing was added or taken"
    again = FastPath.open(settings(bpffs), "aged")
    try:
        assert Gate(again).send(p.DATA).reason == Reason.DROP_BLOCKED, "who made them finds them as they were"
    finally:
        again.close("remove")


def test_detach_is_the_way_out_of_another_version(bpffs: Path) -> None:
    fastpath = FastPath.open(settings(bpffs), "aged")
    fastpath.config["version"][0] = 99
    fastpath.close("keep")
    with pytest.raises(KernelError, match="contract version 99"):
        FastPath.open(settings(bpffs), "aged")
    assert "ids_config" in remove_pins(bpffs / "aged")
    FastPath.open(settings(bpffs), "aged").close("remove")


def test_pins_of_another_layout_are_refused(bpffs: Path) -> None:
    (bpffs / "strange").mkdir()
    fd = syscall.map_create(1, 4, 8, 16, 0, "ids_block4")
    syscall.obj_pin(fd, str(bpffs / "strange" / "ids_block4"))
    os.close(fd)
    with pytest.raises(KernelError, match="another layout"):
        FastPath.open(settings(bpffs), "strange")
    remove_pins(bpffs / "strange")


def test_pins_outside_of_a_bpffs_are_refused(bpffs: Path, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"not on a bpffs.*mount"):
        FastPath.open(settings(tmp_path))


def test_attach_and_detach_leave_nothing(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    fastpath = FastPath.open(settings(bpffs), "attached")
    with inside(namespace):
        assert fastpath.attach(interface, "auto") == "native"
        assert query_xdp(interface).mode == "native"
        assert fastpath.attached() == [interface]
        fastpath.detach(interface)
        assert query_xdp(interface).program_id == 0
        assert fastpath.attach(interface, "generic") == "generic"
        fastpath.close("remove")
        assert query_xdp(interface).program_id == 0
    assert not (bpffs / "attached").exists()


def test_an_interface_that_goes_is_reported(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    fastpath = FastPath.open(settings(bpffs), "gone")
    with inside(namespace):
        fastpath.attach(interface)
        assert fastpath.lost() == []
        subprocess.run(["ip", "link", "delete", interface], check=True, capture_output=True, timeout=20)
        assert fastpath.lost() == [interface]
        fastpath.close("remove")


def test_an_interface_that_was_renamed_stays_guarded_and_is_followed_by_the_next_start(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth

    def rename(before: str, after: str) -> None:
        subprocess.run(["ip", "link", "set", before, "name", after], check=True, capture_output=True, timeout=20)

    fastpath = FastPath.open(settings(bpffs), "renamed")
    with inside(namespace):
        fastpath.attach(interface)
        assert fastpath.renamed() == {}
        rename(interface, "lan0")
        assert fastpath.renamed() == {interface: "lan0"}
        assert fastpath.lost() == [], "the program is on the interface, whatever it is called"
        before = query_xdp("lan0").program_id
        assert before
        fastpath.close("keep")
        require_same_namespace(settings(bpffs), "renamed")  # it is no other namespace
        again = FastPath.open(settings(bpffs), "renamed")
        assert again.follow("nowhere0") == ""
        assert again.follow(interface) == "lan0"
        assert query_xdp("lan0").program_id not in (0, before), "by the program of this start"
        rename("lan0", interface)
        assert again.renamed() == {}
        again.view_egress([interface])
        rename(interface, "lan0")
        subprocess.run(
            ["ip", "link", "add", interface, "type", "veth", "peer", "name", "other0"], check=True, capture_output=True
        )
        assert again.attach(interface) == "native", "another interface of the old name"
        assert again.view_egress([interface]) == [interface]
        assert query_xdp(interface).program_id
        assert again.renamed() == {}
        assert again.attached() == again.egress.attached() == [interface]
        again.close("remove")
        assert not query_xdp(interface).program_id
        assert not query_xdp("lan0").program_id, "nothing is left behind"


def test_stopping_with_detach_keeps_the_lists(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    fastpath = FastPath.open(settings(bpffs), "kept")
    fastpath.blocks.add([Block(SOURCE)])
    with inside(namespace):
        fastpath.attach(interface)
        assert "lists stay" in fastpath.close("detach")
        assert query_xdp(interface).program_id == 0
    again = FastPath.open(settings(bpffs), "kept")
    assert [block.network for block in again.blocks.list()] == [SOURCE]
    again.close("remove")


def test_a_foreign_program_is_never_replaced(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    pass_all = bytes.fromhex("b7000000020000009500000000000000")
    foreign = syscall.prog_load("somebody_else", pass_all)
    fastpath = FastPath.open(settings(bpffs), "polite")
    with inside(namespace):
        link = syscall.link_create(foreign, socket.if_nametoindex(interface), syscall.XDP_FLAGS_DRV_MODE)
        before = query_xdp(interface).program_id
        with pytest.raises(KernelError, match=r"already has an XDP program.*somebody_else.*xdp off"):
            fastpath.attach(interface)
        assert query_xdp(interface).program_id == before
    fastpath.close("remove")
    os.close(link)
    os.close(foreign)


def test_the_program_of_another_instance_is_named_with_the_way_to_take_it_off(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    first = FastPath.open(settings(bpffs), "first")
    second = FastPath.open(settings(bpffs), "second")
    elsewhere = FastPath.open(settings(bpffs / "elsewhere"), "third")
    with inside(namespace):
        first.attach(interface)
        before = query_xdp(interface).program_id
        with pytest.raises(KernelError, match=r"that of instance first:.*`ids detach --set instance=first`"):
            second.attach(interface)
        with pytest.raises(KernelError, match=r"another fastpath\.pin_dir"):
            elsewhere.attach(interface)
        assert query_xdp(interface).program_id == before
    for fastpath in (first, second, elsewhere):
        fastpath.close("remove")


def test_a_missing_interface_is_named(bpffs: Path) -> None:
    fastpath = FastPath.open(settings(bpffs), "lost")
    with pytest.raises(KernelError, match="no interface nowhere0"):
        fastpath.attach("nowhere0")
    fastpath.close("remove")


def test_a_killed_engine_keeps_dropping_and_is_taken_over(bpffs: Path, veth: Veth) -> None:
    namespace, interface, peer = veth
    code = textwrap.dedent(
        f"""
        import ipaddress, sys, time
        from pathlib import Path
        from ids.kernel import Block, FastPath
        from tests.kernel.conftest import settings
        fastpath = FastPath.open(settings(Path({str(bpffs)!r})), "killed")
        print(fastpath.attach({interface!r}, "auto"), flush=True)
        sys.stdin.readline()
        fastpath.blocks.add([Block(ipaddress.ip_network("192.0.2.2/32"), label="doomed")])
        print("blocked", flush=True)
        time.sleep(240)
        """
    )
    engine = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdin is not None
    assert engine.stdout is not None
    with inside(namespace):
        server = socket.create_server(("192.0.2.1", PORT))
    with engine, server:
        try:
            assert engine.stdout.readline().strip() == "native"
            assert connects(peer), "before the block, the peer gets through"
            engine.stdin.write("\n")
            engine.stdin.flush()
            assert engine.stdout.readline().strip() == "blocked"
        finally:
            os.kill(engine.pid, signal.SIGKILL)
        assert cut_off(peer), "nobody is there, and the block holds"
        with inside(namespace):
            attached = query_xdp(interface).program_id
            heir = FastPath.open(settings(bpffs), "killed")
            assert heir.attach(interface) == "native"
            assert query_xdp(interface).program_id not in (0, attached), "the link has the heir's program"
        (block,) = heir.blocks.list()
        assert (str(block.network), block.label) == ("192.0.2.2/32", "doomed")
        assert block.packets > 0
        assert cut_off(peer)
        heir.blocks.delete(block.network)
        assert connects(peer)
        heir.close("remove")
        with inside(namespace):
            assert query_xdp(interface).program_id == 0
