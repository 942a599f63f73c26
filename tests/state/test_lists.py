"""Lists over a reboot: everything comes back, ends pass as time does, and no clock frees or keeps anybody absurdly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

import pytest

from ids.counters import Counters
from ids.errors import KernelError
from ids.kernel import AllowList, Block, Blocklist, FastPath, FastPathSettings
from ids.respond.policy import BlockPolicy, Penalty
from ids.settings.respond import RespondSettings
from ids.state import keeper as keeper_module
from ids.state import lists, penalties
from ids.state.keeper import Keeper, forget
from ids.state.lists import ABSURD_NS, load, restore, restore_file, save
from ids.types import BlockMode
from tests.bench.report import CannotRun
from tests.bench.scratch import scratch_bpffs

pytestmark = [pytest.mark.root, pytest.mark.xdp]

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS


class Instance:
    """One instance's lists, as they are on a machine that may be started again."""

    def __init__(self, folder: Path) -> None:
        settings = FastPathSettings(pin_dir=folder, blocks_entries=4096, prefixes_entries=4096)
        self._fastpath = FastPath.open(settings, "default")
        self.pins = folder / "default"

    @property
    def blocks(self) -> Blocklist:
        return self._fastpath.blocks

    @property
    def allowed(self) -> AllowList:
        return self._fastpath.allowed

    def forget(self) -> None:
        """Lose all that is in the kernel, as a reboot does."""
        self.blocks.clear()
        for entry in self.allowed.list():
            self.allowed.delete(entry.network)
        self._fastpath.config["changes"][0] = 0

    def beat(self, at_ns: int) -> None:
        """Have an engine shown itself then; 0: none ever."""
        self._fastpath.config["heartbeat_ns"][0] = at_ns

    def close(self) -> None:
        self._fastpath.close("remove")

    def state(self) -> list[tuple[object, ...]]:
        """Return all claims, with what is left of them in hours."""
        now_ns = time.time_ns()
        return sorted(
            (str(entry.network), claim.label, claim.sid, claim.mode.value,
             None if claim.expires_ns is None else round((claim.expires_ns - now_ns) / HOUR_NS))
            for entry in self.blocks.list()
            for claim in (entry, *entry.others)
        )  # fmt: skip


@pytest.fixture(scope="module")
def machine() -> Iterator[Instance]:
    with ExitStack() as stack:
        try:
            made = Instance(stack.enter_context(scratch_bpffs()))
        except CannotRun as reason:
            pytest.skip(str(reason))
        stack.callback(made.close)
        yield made


@pytest.fixture
def instance(machine: Instance) -> Instance:
    machine.forget()
    return machine


def fill(instance: Instance) -> None:
    now_ns = time.time_ns()
    instance.blocks.add(
        [
            Block(ip_network("192.0.2.1"), now_ns + 48 * HOUR_NS, sid=7, label="rule"),
            Block(ip_network("192.0.2.1"), None, BlockMode.SHADOW, label="feed"),
            Block(ip_network("192.0.2.0/28"), None, label="feed"),
            Block(ip_network("2001:db8::/32"), now_ns + 5 * HOUR_NS, BlockMode.SHADOW, label="pärtner"),
            Block(ip_network("2001:db8::1"), None, label="operator"),
        ]
    )
    instance.allowed.add([ip_network("198.51.100.0/24"), ip_network("2001:db8:1::/48")], "operator")
    instance.allowed.add([ip_network("203.0.113.0/24")], lists.SETTINGS)


def test_everything_comes_back_but_what_the_settings_bring(instance: Instance, tmp_path: Path) -> None:
    fill(instance)
    before = instance.state()
    assert save(instance.blocks, instance.allowed, tmp_path / "lists") == 5
    instance.forget()
    restore_file(instance.blocks, instance.allowed, tmp_path / "lists")
    assert instance.state() == before
    assert {str(entry.network) for entry in instance.allowed.list()} == {"198.51.100.0/24", "2001:db8:1::/48"}
    assert {entry.label for entry in instance.allowed.list()} == {"operator"}


def test_a_change_by_hand_is_kept_where_no_engine_would_do_it(instance: Instance, tmp_path: Path) -> None:
    fill(instance)
    path = tmp_path / "default" / "lists"
    instance.beat(time.monotonic_ns())
    assert (lists.keep(instance.pins, path.parent), path.exists()) == ("", False), "the engine saves it"
    for beat in (0, max(1, time.monotonic_ns() - int(2e9 * lists.ALIVE_S))):
        instance.beat(beat)
        assert lists.keep(instance.pins, path.parent) == ""
        saved = load(path)
        assert saved is not None
        assert len(saved.claims) == 5
        path.unlink()
    path.parent.rmdir()
    path.parent.touch()
    assert "File exists" in lists.keep(instance.pins, path.parent)
    assert "no fast path" in lists.keep(tmp_path, path.parent)


def test_lists_that_are_there_are_not_touched(instance: Instance, tmp_path: Path) -> None:
    fill(instance)
    save(instance.blocks, instance.allowed, tmp_path / "lists")
    instance.blocks.clear()
    restore_file(instance.blocks, instance.allowed, tmp_path / "lists")
    assert instance.state() == [], "an operator has emptied the list since"


@pytest.mark.parametrize(
    ("passed_ns", "left"),
    [
        (0, {48, 5}),
        (DAY_NS, {24}),
        (10 * DAY_NS, set()),
        (-400 * DAY_NS, {48, 5}),
        (-HOUR_NS, {48, 5}),
        (ABSURD_NS + DAY_NS, {48, 5}),
    ],
)
def test_ends_pass_as_time_does_and_no_clock_is_believed_that_is_years_away(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed_ns: int, left: set[int]
) -> None:
    """A reboot, the machine being off for a while, or its clock being wrong by as much."""
    fill(instance)
    save(instance.blocks, instance.allowed, tmp_path / "lists")
    instance.forget()
    monkeypatch.setattr(lists, "boot_id", lambda: "another")
    saved = load(tmp_path / "lists")
    assert saved is not None
    wall = time.time_ns
    with monkeypatch.context() as clock:
        clock.setattr(time, "time_ns", lambda: wall() + passed_ns)
        restore(instance.blocks, instance.allowed, saved)
    hours = {row[4] for row in instance.state()}
    assert hours == {None, *left}


def test_within_one_boot_the_wall_clock_says_nothing(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(instance)
    save(instance.blocks, instance.allowed, tmp_path / "lists")
    instance.forget()
    saved = load(tmp_path / "lists")
    assert saved is not None
    wall, boot = time.time_ns, lists.boot_time_ns
    monkeypatch.setattr(lists, "boot_time_ns", lambda: boot() + DAY_NS)
    with monkeypatch.context() as clock:
        clock.setattr(time, "time_ns", lambda: wall() + 100 * DAY_NS)
        assert restore(instance.blocks, instance.allowed, saved) == (4, 1)
    assert {row[4] for row in instance.state()} == {None, 24}


@pytest.mark.parametrize("at", [0, 12, 60, 200, -40, -1])
def test_a_damaged_file_is_moved_aside_and_the_rest_goes_on(
    instance: Instance, tmp_path: Path, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    fill(instance)
    save(instance.blocks, instance.allowed, tmp_path / "lists")
    data = bytearray((tmp_path / "lists").read_bytes())
    data[at] ^= 0x41
    (tmp_path / "lists").write_bytes(data)
    instance.forget()
    restore_file(instance.blocks, instance.allowed, tmp_path / "lists")
    assert instance.state() == []
    assert (tmp_path / "lists.bad").exists()
    assert "damaged" in caplog.text


@pytest.mark.parametrize("data", [b"", b"x", b"ids-lists\n", b"ids-lists\n{}\n" + bytes(32)])
def test_what_is_no_saved_list_is_moved_aside(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "lists").write_bytes(data)
    assert load(tmp_path / "lists") is None
    assert (tmp_path / "lists.bad").exists()


def test_lists_that_do_not_fit_are_reported_and_do_not_stop_the_start(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(instance)
    save(instance.blocks, instance.allowed, tmp_path / "lists")
    instance.forget()

    def full(*_: object, **__: object) -> None:
        raise KernelError("ids_block4 is full", "Raise the fast path's `blocks_entries`")

    monkeypatch.setattr(Blocklist, "put", full)
    restore_file(instance.blocks, instance.allowed, tmp_path / "lists")
    assert "blocks_entries" in caplog.text


class Recorder:
    """Waits for what a thread does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def appears(self) -> bool:
        deadline = time.monotonic() + 60
        while not self.path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.path.exists()


def policy() -> BlockPolicy:
    return BlockPolicy(RespondSettings(), None, Counters(), lambda address, match: [])  # type: ignore[arg-type]


def test_an_engine_saves_what_changes_by_whomever(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "EVERY_S", 0.01)
    counters, known = Counters(), policy()
    kept = Keeper(instance.pins, tmp_path / "d", counters)
    known.remember([Penalty(ip_network("192.0.2.1"), 2, time.time_ns(), True)])
    known.reset([ip_network("198.51.100.1")])
    kept.tick(known)
    with Blocklist.open(instance.pins) as another:
        another.add([Block(ip_network("192.0.2.9"), label="operator")])
    assert Recorder(tmp_path / "d" / "lists").appears()
    instance.blocks.add([Block(ip_network("192.0.2.10"), label="rule", sid=3)])
    kept.close(known)
    kept.tick(known)
    assert counters["state.saves"] >= 2
    assert [one.times for one in penalties.load(tmp_path / "d")] == [2]
    before = instance.state()
    instance.forget()
    restore_file(instance.blocks, instance.allowed, tmp_path / "d" / "lists")
    assert instance.state() == before
    assert len(before) == 2
    forget(tmp_path / "d")
    assert list((tmp_path / "d").iterdir()) == []


def test_a_disk_that_refuses_is_reported_once_and_tried_again(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "EVERY_S", 0.01)
    (tmp_path / "d").write_text("no folder")
    counters, known = Counters(), policy()
    instance.blocks.add([Block(ip_network("192.0.2.9"), label="operator")])
    known.remember([Penalty(ip_network(f"192.0.2.{last}"), 2, time.time_ns(), True) for last in (1, 2)])
    known.reset([ip_network("192.0.2.1")])
    kept = Keeper(instance.pins, tmp_path / "d", counters)
    deadline = time.monotonic() + 60
    while counters["state.failures"] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
        kept.tick(known)
    known.reset([ip_network("192.0.2.2")])
    kept.tick(known)
    (tmp_path / "d").unlink()
    assert Recorder(tmp_path / "d" / "lists").appears()
    kept.close(known)
    assert caplog.text.count("cannot be saved") == 1
    assert "saved again" in caplog.text
    assert penalties.load(tmp_path / "d") == [], "what changed while others waited is saved in the end"
