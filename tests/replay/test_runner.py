"""Replay: engine and fast path on captures of our own, and on every hostile one that the peer has."""

from __future__ import annotations

import errno
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ids.config import Config, load_config
from ids.errors import KernelError, UsageError
from ids.kernel.system import syscall
from ids.kernel.system.syscall import BpfError
from ids.replay import ReplayReport, VerdictWriter, find_captures, judges, replay
from tests.shared import ROOT, shared

PCAPS = ROOT / "pcaps"


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None)


def test_an_exploit_is_found_blocked_and_the_cut_off_packet_named(config: Config) -> None:
    report = replay([PCAPS / "log4shell.pcap"], config)
    capture = report.captures[0]
    assert capture.alerts
    assert capture.blocks
    block = capture.blocks[0]
    assert block.cut_off_from is None or block.cut_off_from > block.ordered_at


def test_benign_traffic_raises_nothing(config: Config) -> None:
    report = replay([PCAPS / "benign.pcap"], config)
    assert report.captures[0].packets > 0
    assert report.captures[0].alerts == {}
    assert report.captures[0].blocks == []


def test_one_capture_says_nothing_of_the_next(config: Config) -> None:
    twice = replay([PCAPS / "log4shell.pcap", PCAPS / "log4shell.pcap"], config)
    first, second = twice.captures
    assert (first.alerts, first.flows) == (second.alerts, second.flows)
    assert [block.ordered_at for block in first.blocks] == [block.ordered_at for block in second.blocks]


def test_a_compressed_capture_is_the_same_capture(config: Config) -> None:
    plain, packed = replay([PCAPS / "traversal.pcap", PCAPS / "traversal.pcap.gz"], config).captures
    assert (plain.packets, plain.alerts) == (packed.packets, packed.alerts)


def test_pcapng_is_read_like_pcap(config: Config) -> None:
    pcap, pcapng = replay([PCAPS / "log4shell.pcap", PCAPS / "log4shell.pcapng"], config).captures
    assert (pcap.packets, pcap.alerts) == (pcapng.packets, pcapng.alerts)


def by(choice: str) -> Config:
    """The default settings with one choice of who judges the packets."""
    return load_config(None, [f"fastpath.replay={choice}"])


def with_verdicts(paths: Sequence[Path], config: Config) -> tuple[ReplayReport, list[dict[str, Any]]]:
    """Replay, and return the verdicts too."""
    file = io.BytesIO()
    report = replay(paths, config, on_verdicts=VerdictWriter(file))
    return report, [json.loads(line) for line in file.getvalue().splitlines()]


def test_the_cut_off_packet_is_the_first_that_was_dropped() -> None:
    report, lines = with_verdicts([PCAPS / "log4shell.pcap"], by("model"))
    (capture,) = report.captures
    (block,) = capture.blocks
    dropped = [line["number"] for line in lines if line["reason"] == "drop.blocked"]
    assert (block.cut_off_from, block.packets) == (dropped[0], len(dropped))
    assert block.ordered_at < dropped[0]
    assert capture.verdicts["drop.blocked"].packets == len(dropped)
    assert sum(tally.packets for tally in capture.verdicts.values()) == capture.packets == len(lines)
    assert sum(tally.bytes for tally in capture.verdicts.values()) == capture.bytes
    assert report.counters["kernel"]["drop"]["blocked"]["packets"] == len(dropped)


@pytest.mark.parametrize(
    ("burst", "reason"), [("4096", "drop.syn_challenged"), ("400", "drop.syn_source")], ids=["destination", "source"]
)
def test_a_flood_meets_its_budget(burst: str, reason: str) -> None:
    config = load_config(None, ["fastpath.replay=model", f"fastpath.syn_burst_per_source={burst}"])
    verdicts = replay([PCAPS / "syn_flood.pcap"], config).captures[0].verdicts
    assert verdicts[reason].packets > 1000


def test_the_allow_list_of_the_settings_holds_at_the_gate() -> None:
    config = load_config(None, ["fastpath.replay=model", "respond.allow=['0.0.0.0/0']"])
    verdicts = replay([PCAPS / "syn_flood.pcap"], config).captures[0].verdicts
    assert not any(reason.startswith("drop.") for reason in verdicts)


@pytest.mark.root
@pytest.mark.xdp
def test_kernel_and_model_agree_on_every_packet() -> None:
    paths = sorted(PCAPS.glob("*.pcap*"))
    (kernel, theirs), (model, ours) = (with_verdicts(paths, by(choice)) for choice in ("kernel", "model"))
    assert (kernel.fast_path, model.fast_path) == ("kernel", "model")
    assert theirs == ours
    assert len(ours) == model.packets > 4000
    assert {line["verdict"] for line in ours} == {"pass", "drop", "answer"}
    for their, our in zip(kernel.captures, model.captures, strict=True):
        assert (their.blocks, their.verdicts) == (our.blocks, our.verdicts), our.path


def refuse(*_: object) -> int:
    """Be a kernel that lets us load nothing."""
    raise BpfError("cannot create the map", errno.EPERM)


def test_a_small_capture_is_judged_by_the_model_without_waiting_for_the_program() -> None:
    report = replay([PCAPS / "log4shell.pcap"], by("auto"))
    assert report.fast_path == "model"
    assert "so small a capture" in report.fast_path_note
    assert report.captures[0].verdicts["drop.blocked"].packets


@pytest.mark.root
@pytest.mark.xdp
def test_a_capture_whose_size_is_not_known_is_judged_by_the_program(tmp_path: Path) -> None:
    packed = tmp_path / "log4shell.pcap.gz"
    packed.write_bytes(gzip.compress((PCAPS / "log4shell.pcap").read_bytes()))
    assert replay([packed], by("auto")).fast_path == "kernel"


def test_who_may_load_no_program_gets_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "map_create", refuse)
    monkeypatch.setattr(judges, "FEW_BYTES", 0)
    report = replay([PCAPS / "log4shell.pcap"], by("auto"))
    assert (report.fast_path, report.fast_path_note) == ("model", "no privilege to load programs into the kernel")
    assert report.captures[0].verdicts["drop.blocked"].packets
    with pytest.raises(KernelError, match="no privilege"):
        replay([PCAPS / "log4shell.pcap"], by("kernel"))


def test_the_model_does_not_hold_up_a_large_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "map_create", refuse)
    monkeypatch.setattr(judges, "FEW_BYTES", 0)
    monkeypatch.setattr(judges, "MODEL_PACKETS", 50)
    first, second = replay([PCAPS / "log4shell.pcap"] * 2, by("auto")).captures
    assert sum(tally.packets for tally in first.verdicts.values()) == first.packets, "as far as its last batch"
    assert second.verdicts == {}
    assert second.blocks[0].cut_off_from is not None, "counted by address instead"
    _, lines = with_verdicts([PCAPS / "log4shell.pcap"] * 2, by("auto"))
    assert len(lines) == 2 * first.packets, "unless every verdict is asked for"


def test_off_is_off() -> None:
    report = replay([PCAPS / "log4shell.pcap"], by("off"))
    assert (report.fast_path, report.captures[0].verdicts) == ("off", {})
    assert report.captures[0].blocks[0].cut_off_from is not None


def test_a_folder_without_captures_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no capture in this folder"):
        find_captures([tmp_path])


def peer_captures() -> list[Path]:
    suite = shared("suricata-verify")
    return sorted(path for path in suite.rglob("*") if ".pcap" in path.name and path.is_file())


def status_kib(name: str) -> int:
    """Return what the kernel says of this process's memory, in KiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])


def test_every_capture_of_the_peers_suite_ends_without_a_traceback(config: Config) -> None:
    """Some 550 captures, many hostile or broken, in one process: nothing raises, memory stays within bounds."""
    captures = peer_captures()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is this test's, not one's that came before (proc(5))
    before = status_kib("VmRSS")
    report = replay(captures, config)
    assert len(report.captures) == len(captures) > 500
    assert report.packets > 50_000
    failures = [of.get("failures") for of in report.counters.get("plugin", {}).values()]
    assert not any(failures), "no plugin may stumble over hostile bytes"
    assert "error" not in report.counters["app_layer"], "nor a parser"
    assert status_kib("VmHWM") - before < 1 << 20, "a GiB more than what the tests before it hold"


def test_one_file_that_is_no_capture_does_not_spoil_the_others(tmp_path: Path) -> None:
    (tmp_path / "note.pcap").write_text("not a capture at all")
    report = replay([tmp_path / "note.pcap", PCAPS / "log4shell.pcap"], load_config(None))
    bad, good = report.captures
    assert (bad.refused, bad.packets) == (True, 0)
    assert "note.pcap" in str(bad.problem)
    assert good.alerts
