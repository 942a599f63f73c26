"""Beside others in libxdp's dispatcher: both judge, each comes and goes by itself, ours is never there twice."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ids.errors import KernelError
from ids.kernel import Block, FastPath
from ids.kernel.attach import dispatcher, libxdp
from ids.kernel.attach.dispatcher import Pin, is_dispatcher, members
from ids.kernel.contract import LimitKind
from ids.kernel.instance import attached_interfaces, remove_pins, require_same_namespace
from ids.kernel.maps.configuration import limit_value
from ids.kernel.system.netlink import query_xdp
from tests.kernel.conftest import settings
from tests.kernel.gate import PATIENCE_S, SILENCE_S, wait_until
from tests.kernel.test_lifecycle import ROOT, Veth, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.lab]
INSTANCE = "beside"
MAIN = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ids.cli import main; main()"
PEER = ipaddress.ip_network("192.0.2.2/32")
LOCK = Path(tempfile.gettempdir(), "ids-tests-xdp-filter.lock")
SILENT = {"challenge_syns": False, "syn_cookies": False}
OPEN_PORT, DENIED_PORT = 8080, 8081
"""The second is denied by xdp-filter."""


@dataclass(frozen=True)
class Shared:
    """An interface whose dispatcher has xdp-filter for a member."""

    bpffs: Path
    namespace: str
    interface: str
    peer: str

    def run(self, *command: str) -> str:
        """Run a command in the interface's namespace, with the tests' bpffs in the usual place; return what it printed.

        xdp-filter pins its maps there, whatever LIBXDP_BPFFS says; and where two of it run at once, one gives up.
        """
        script = f'mount --bind {self.bpffs} /sys/fs/bpf && exec flock {LOCK} "$0" "$@"'
        mount = ["unshare", "--mount", "sh", "-c", script]
        with inside(self.namespace):
            done = subprocess.run([*mount, *command], check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def open(self, instance: str = INSTANCE, **changes: bool) -> FastPath:
        """Open a fast path that libxdp before 1.5.5 takes on every kernel: one that answers no packets."""
        return FastPath.open(settings(self.bpffs, **{**SILENT, **changes}), instance)

    def attach(self, fastpath: FastPath) -> str:
        """Attach in the interface's namespace."""
        with inside(self.namespace):
            return fastpath.attach(self.interface)

    def close(self, fastpath: FastPath, on_stop: str = "remove") -> None:
        """Close a fast path in the interface's namespace."""
        with inside(self.namespace):
            fastpath.close(on_stop)

    def names(self) -> list[str]:
        """Return the names of the dispatcher's members in the order in which they are called."""
        with inside(self.namespace):
            return [one.name for one in members(self.interface)]

    def reaches(self, port: int, patience_s: float = PATIENCE_S) -> bool:
        """Whether the peer may open a connection; to show that it may not, ask `keeps_from`."""
        with inside(self.peer):
            connection = socket.socket()
        with connection:
            connection.settimeout(patience_s)
            return connection.connect_ex(("192.0.2.1", port)) == 0

    def keeps_from(self, port: int) -> bool:
        """Whether the peer gets no connection for a while."""
        return not self.reaches(port, SILENCE_S)


@pytest.fixture
def shared(bpffs: Path, veth: Veth, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    """xdp-filter in a dispatcher on ``wire0``, denying one port, and servers behind it."""
    if not shutil.which("xdp-filter") or not shutil.which("xdp-loader"):
        pytest.skip("needs xdp-filter and xdp-loader (apt-get install xdp-tools)")
    try:
        libxdp.library()
    except KernelError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("LIBXDP_BPFFS", str(bpffs))
    namespace, interface, peer = veth
    there = Shared(bpffs, namespace, interface, peer)
    there.run("xdp-filter", "load", "-f", "tcp,udp", interface)
    try:
        with inside(namespace):
            if not is_dispatcher(query_xdp(interface).program_id):
                pytest.skip("this kernel lets no program replace a function (freplace), so libxdp uses no dispatcher")
            servers = [socket.create_server(("192.0.2.1", port)) for port in (OPEN_PORT, DENIED_PORT)]
        there.run("xdp-filter", "port", str(DENIED_PORT), "-m", "dst", "-p", "tcp")
        yield there
        for server in servers:
            server.close()
    finally:
        with inside(namespace):
            if query_xdp(interface).program_id:
                there.run("xdp-loader", "unload", "--all", interface)
        if (bpffs / "xdp-filter").exists():
            shutil.rmtree(bpffs / "xdp-filter")
        if (bpffs / INSTANCE).exists():
            remove_pins(bpffs / INSTANCE)


def test_both_programs_judge(shared: Shared) -> None:
    fastpath = shared.open()
    assert shared.attach(fastpath) == "native"
    assert shared.names() == ["xdp_ids", "xdpfilt_alw_all"], "ours is called first: a packet it drops costs least"
    status = shared.run("xdp-loader", "status", shared.interface)
    assert "xdp_ids" in status
    assert "xdpfilt_alw" in status
    assert attached_interfaces(shared.bpffs / INSTANCE) == [shared.interface]
    assert shared.reaches(OPEN_PORT), "what both pass arrives"
    assert shared.keeps_from(DENIED_PORT), "what ours passes, xdp-filter still denies"
    assert fastpath.stats()["pass.shown"][0] > 0
    fastpath.blocks.add([Block(PEER)])
    assert shared.keeps_from(OPEN_PORT)
    assert fastpath.stats()["drop.blocked"][0] > 0
    fastpath.blocks.delete(PEER)
    assert shared.reaches(OPEN_PORT)
    shared.close(fastpath)


WAYS_OUT: list[tuple[str, Callable[[FastPath], object]]] = [
    ("on_stop: detach", lambda fastpath: fastpath.close("detach")),
    ("on_stop: remove", lambda fastpath: fastpath.close("remove")),
    ("another interface", lambda fastpath: (fastpath.keep_only([]), fastpath.close("keep"))),
    ("`ids detach`", lambda fastpath: (fastpath.close("keep"), remove_pins(fastpath.pin_dir))),
]


@pytest.mark.parametrize("leave", [row[1] for row in WAYS_OUT], ids=[row[0] for row in WAYS_OUT])
def test_ours_leaves_and_the_other_stays(shared: Shared, leave: Callable[[FastPath], object]) -> None:
    fastpath = shared.open()
    shared.attach(fastpath)
    with inside(shared.namespace):
        leave(fastpath)
    assert shared.names() == ["xdpfilt_alw_all"]
    assert not attached_interfaces(shared.bpffs / INSTANCE)
    assert shared.reaches(OPEN_PORT)
    assert shared.keeps_from(DENIED_PORT)


def test_the_other_leaves_and_ours_stays(shared: Shared) -> None:
    fastpath = shared.open()
    shared.attach(fastpath)
    shared.run("xdp-filter", "unload", shared.interface)
    assert shared.names() == ["xdp_ids"]
    assert shared.reaches(DENIED_PORT)
    fastpath.blocks.add([Block(PEER)])
    assert shared.keeps_from(OPEN_PORT)
    with inside(shared.namespace):
        assert not fastpath.lost()
        fastpath.close("remove")
        assert query_xdp(shared.interface).program_id == 0, "the last one takes the dispatcher along"


def test_one_that_comes_later_joins_ours(shared: Shared) -> None:
    fastpath = shared.open()
    shared.attach(fastpath)
    shared.run("xdp-filter", "unload", shared.interface)
    shared.run("xdp-filter", "load", "-p", "deny", "-f", "tcp,udp", shared.interface)
    assert shared.names() == ["xdp_ids", "xdpfilt_dny_all"]
    shared.close(fastpath)
    assert shared.names() == ["xdpfilt_dny_all"]


def test_a_killed_engine_keeps_dropping_and_its_place_is_taken(shared: Shared) -> None:
    code = textwrap.dedent(
        f"""
        import ipaddress, time
        from pathlib import Path
        from ids.kernel import Block, FastPath
        from tests.kernel.conftest import settings
        fastpath = FastPath.open(settings(Path({str(shared.bpffs)!r}), **{SILENT!r}), {INSTANCE!r})
        fastpath.blocks.add([Block(ipaddress.ip_network({str(PEER)!r}))])
        print(fastpath.attach({shared.interface!r}), flush=True)
        time.sleep(240)
        """
    )
    command = ["nsenter", f"--net=/run/netns/{shared.namespace}", sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        try:
            assert engine.stdout.readline().strip() == "native"
        finally:
            os.kill(engine.pid, signal.SIGKILL)
    assert shared.keeps_from(OPEN_PORT), "nobody is there, and the block holds"
    with inside(shared.namespace):
        before = members(shared.interface)
    heir = shared.open()
    with Sender(shared) as sender:
        shared.attach(heir)
    assert sender.arrived == 0, "no packet passed unjudged meanwhile"
    judged = 0.9 * sender.sent  # but for what a veth's queue of 256 lost on a busy machine
    assert wait_until(lambda: heir.stats()["drop.blocked"][0] >= judged)
    with inside(shared.namespace):
        after = members(shared.interface)
    assert [one.name for one in after] == ["xdp_ids", "xdpfilt_alw_all"], "ours is there once"
    assert after[0].id != before[0].id
    assert after[1].id == before[1].id, "the other is the same as ever"
    shared.close(heir)


class Sender:
    """Datagrams of the peer, without a pause, and what arrives of them."""

    def __init__(self, shared: Shared) -> None:
        self.sent = self.arrived = 0
        self._done = threading.Event()
        with inside(shared.namespace):
            self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.bind(("192.0.2.1", OPEN_PORT))
        self._receiver.setblocking(False)
        with inside(shared.peer):
            self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._done.wait(0.001):
            self.sent += self._sender.sendto(b"x", ("192.0.2.1", OPEN_PORT))
            try:
                self.arrived += len(self._receiver.recv(16))
            except BlockingIOError:
                continue

    def __enter__(self) -> Sender:
        self._thread.start()
        assert wait_until(lambda: self.sent > 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sender.close()
        self._receiver.close()


def test_a_start_that_died_between_coming_and_going_is_put_right_by_the_next(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shared.open()
    shared.attach(first)
    first.close("keep")
    second = shared.open()
    with monkeypatch.context() as patch:
        patch.setattr(libxdp.LibXdp, "detach", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shared.attach(second)
    assert shared.names().count("xdp_ids") == 2
    second.close("keep")
    third = shared.open()
    shared.attach(third)
    assert shared.names().count("xdp_ids") == 1
    shared.close(third)
    assert shared.names() == ["xdpfilt_alw_all"]


def test_two_instances_share_an_interface(shared: Shared) -> None:
    one = shared.open()
    other = shared.open("other")
    try:
        shared.attach(one)
        shared.attach(other)
        assert shared.names().count("xdp_ids") == 2
        shared.close(one)
        assert shared.names().count("xdp_ids") == 1
        other.blocks.add([Block(PEER)])
        assert shared.keeps_from(OPEN_PORT)
    finally:
        shared.close(other)


def test_a_dispatcher_that_was_taken_away_is_reported_and_replaced_by_a_link(shared: Shared) -> None:
    fastpath = shared.open()
    shared.attach(fastpath)
    with inside(shared.namespace):
        assert fastpath.lost() == []
    shared.run("xdp-loader", "unload", "--all", shared.interface)
    with inside(shared.namespace):
        assert fastpath.lost() == [shared.interface]
        assert fastpath.attach(shared.interface) == "native"
        assert fastpath.lost() == []
        assert not Pin.all(fastpath.pin_dir)
        fastpath.close("remove")


def test_an_engine_reports_that_it_was_taken_away_and_ends_in_order(shared: Shared, tmp_path: Path) -> None:
    config, log, ready = (tmp_path / name for name in ("ids.yaml", "log", "ready"))
    document = {
        "instance": INSTANCE,
        "interfaces": [shared.interface],
        "engine": {"runtime_dir": str(tmp_path / "run"), "state_dir": str(tmp_path / "state")},
        "fastpath": {"pin_dir": str(shared.bpffs), "egress": "off", **SILENT},
        "rules": {"paths": []},
        "eve": {"path": str(tmp_path / "eve.json")},
    }
    config.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-c", MAIN, "run", "-c", str(config), "--ready-file", str(ready)]
    with inside(shared.namespace), log.open("wb") as out:
        engine = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        assert wait_until(lambda: ready.exists() or engine.poll() is not None, 180)
        assert shared.names() == ["xdp_ids", "xdpfilt_alw_all"], log.read_text()
        shared.run("xdp-loader", "unload", "--all", shared.interface)
        assert wait_until(lambda: f"{shared.interface} is no longer guarded" in log.read_text())
    finally:
        engine.send_signal(signal.SIGTERM)
        engine.wait(60)
    assert engine.returncode == 0, log.read_text()
    assert log.read_text().count("no longer guarded") == 1, "once, not every second"
    assert not attached_interfaces(shared.bpffs / INSTANCE)


def test_without_the_library_the_refusal_names_its_package(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    fastpath = shared.open()
    with monkeypatch.context() as patch:
        patch.setattr(libxdp, "SONAME", "libxdp-nowhere.so.1")
        libxdp.library.cache_clear()
        with pytest.raises(KernelError, match="apt-get install libxdp1"):
            shared.attach(fastpath)
        libxdp.library.cache_clear()
    assert not fastpath.attached()
    assert shared.names() == ["xdpfilt_alw_all"]
    fastpath.close("remove")


def test_in_generic_mode_too(shared: Shared) -> None:
    shared.run("xdp-filter", "unload", shared.interface)
    shared.run("xdp-filter", "load", "-m", "skb", "-f", "tcp,udp", shared.interface)
    fastpath = shared.open()
    assert shared.attach(fastpath) == "generic", "the dispatcher's mode, whatever ours would be"
    assert shared.names() == ["xdp_ids", "xdpfilt_alw_all"]
    shared.close(fastpath)
    assert shared.names() == ["xdpfilt_alw_all"]


@pytest.mark.parametrize(
    ("setting", "counted"), [("challenge_syns", "drop.syn_challenged"), ("syn_cookies", "pass.shown")]
)
def test_a_client_survives_being_answered_or_the_setting_is_named(shared: Shared, setting: str, counted: str) -> None:
    """Libxdp before 1.5.5 takes, on Linux 6.13 and later ones, no program that may change packets."""
    shared.run("xdp-filter", "unload", shared.interface)
    shared.run("xdp-filter", "load", "-m", "skb", "-f", "tcp,udp", shared.interface)  # as for a challenge on any veth
    fastpath = shared.open(INSTANCE, **{setting: True})
    fastpath.config["limits"][0][LimitKind.DST_SYN] = limit_value(0.001, 1)
    refused = ""
    try:
        shared.attach(fastpath)
    except KernelError as error:
        refused = str(error)
    assert shared.reaches(OPEN_PORT), "within the budget, or not guarded"
    for key in list(fastpath.maps["ids_proven4"]):
        fastpath.maps["ids_proven4"].delete(key)
    assert shared.reaches(OPEN_PORT), "answered, proven, through; or not guarded"
    if refused:
        assert setting in refused
        assert (shared.names(), fastpath.attached()) == (["xdpfilt_alw_all"], [])
    else:
        assert shared.names() == ["xdp_ids", "xdpfilt_alw_all"]
        assert fastpath.stats()[counted][0] >= 1
    shared.close(fastpath)


def test_jumbo_frames_are_refused_by_the_name_of_their_setting(shared: Shared) -> None:
    fastpath = shared.open(jumbo_frames=True)
    with pytest.raises(KernelError, match="Unset `jumbo_frames`"):
        shared.attach(fastpath)
    assert shared.names() == ["xdpfilt_alw_all"]
    fastpath.close("remove")


def test_members_that_are_pinned_elsewhere_are_not_taken_for_none(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fastpath = shared.open()
    with monkeypatch.context() as patch:
        patch.setenv("LIBXDP_BPFFS", str(tmp_path))
        with pytest.raises(KernelError, match="LIBXDP_BPFFS"):
            shared.attach(fastpath)
    assert shared.names() == ["xdpfilt_alw_all"]
    shared.attach(fastpath)
    with monkeypatch.context() as patch:
        patch.setenv("LIBXDP_BPFFS", str(tmp_path))
        with inside(shared.namespace), pytest.raises(KernelError, match="LIBXDP_BPFFS"):
            fastpath.detach(shared.interface)
    assert fastpath.attached() == [shared.interface], "it is not said to have left where it has not"
    shared.close(fastpath)
    assert shared.names() == ["xdpfilt_alw_all"]


def test_a_membership_in_another_namespace_is_left_alone(shared: Shared) -> None:
    fastpath = shared.open()
    shared.attach(fastpath)
    fastpath.close("keep")
    with inside(shared.peer):
        with pytest.raises(KernelError, match="another network namespace"):
            require_same_namespace(settings(shared.bpffs), INSTANCE)
        with pytest.raises(KernelError, match="another network namespace"):
            remove_pins(shared.bpffs / INSTANCE)
    assert shared.names() == ["xdp_ids", "xdpfilt_alw_all"]
    with inside(shared.namespace):
        require_same_namespace(settings(shared.bpffs), INSTANCE)
        remove_pins(shared.bpffs / INSTANCE)
    assert shared.names() == ["xdpfilt_alw_all"]


def test_a_pin_names_its_interface(tmp_path: Path) -> None:
    pin = Pin.of(tmp_path, "eth0_a.7")
    pin.path.touch()
    assert pin.path.name.startswith("member_eth0_a%7_"), "bpffs allows no dots"
    assert Pin.all(tmp_path) == [pin]


def test_an_interface_without_dispatcher_has_no_members() -> None:
    assert members("lo") == []
    assert members("nowhere0") == []
    assert dispatcher.pinned_members("dispatch-0-0") == []
