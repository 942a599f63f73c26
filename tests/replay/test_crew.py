"""A replay by several processes says what one process says, and says so when it cannot."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from ids.capture import open_capture
from ids.capture.writer import PcapWriter
from ids.config import Config, load_config
from ids.events import Event, Events
from ids.replay import CaptureReport, crew, replay, runner
from ids.replay.crew import WorkerDied
from tests.factory import T0
from tests.replay.batches import conversation
from tests.shared import ROOT, shared

PCAPS = ROOT / "pcaps"
EXPLOIT = PCAPS / "log4shell.pcap"
WORKERS = (2, 3)
END_S = 60.0
"""Where a worker that does not notice its end would be killed; far more than a slow machine takes."""


def config(workers: int, *more: str) -> Config:
    return load_config(None, [f"engine.workers={workers}", "fastpath.replay=model", *more])


def spelt(event: Event) -> bytes:
    """Return what must not depend on who inspected: all of it, the flow's id too."""
    return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


def run(paths: list[Path], workers: int, *settings: str) -> tuple[list[CaptureReport], Counter[bytes], dict[str, Any]]:
    """Replay; return the report, all events but `stats`, and the counters."""
    seen: Counter[bytes] = Counter()

    def note(events: Events) -> None:
        seen.update(spelt(event) for event in events if event["event_type"] != "stats")

    report = replay(paths, config(workers, *settings), on_events=note)
    return report.captures, seen, report.counters


def ours() -> list[Path]:
    return sorted(PCAPS.glob("*.pcap*"))


def fragments() -> list[Path]:
    suite = shared("suricata-verify") / "tests"
    return sorted([*suite.glob("defrag/**/*.pcap"), *suite.glob("ipv6-evasion/*fragments*/*.pcap")])


@pytest.fixture(scope="module")
def alone() -> dict[str, tuple[list[CaptureReport], Counter[bytes], dict[str, Any]]]:
    """What one process says, by which captures; filled as it is asked for."""
    return {}


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("captures", [ours, fragments], ids=["ours", "fragments"])
def test_workers_say_what_one_process_says(captures: Any, workers: int, alone: dict[str, Any]) -> None:
    paths = captures()
    assert len(paths) > 10
    if captures.__name__ not in alone:
        alone[captures.__name__] = run(paths, 1)
    one, events, counters = alone[captures.__name__]
    several, same_events, same_counters = run(paths, workers)
    for theirs, mine in zip(several, one, strict=True):
        assert asdict(theirs) == asdict(mine)
    assert same_events == events
    for stage in ("decode", "flow", "detect", "respond", "kernel"):
        assert same_counters.get(stage) == counters.get(stage), stage


DROPS = """
rules:
  - title: an ordinary request, whose flow is to be dropped
    sid: 9000001
    traffic: tcp any any -> any 80
    match:
      - payload: {contains: "GET /"}
    then: drop
"""


@pytest.mark.parametrize("workers", WORKERS)
def test_batches_of_few_packets_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Flows live through many of them, and are dropped in the middle."""
    for module in (runner, crew):
        monkeypatch.setattr(module, "open_capture", partial(open_capture, max_packets=7))
    (tmp_path / "drops.yaml").write_text(DROPS)
    paths = [PCAPS / f"{name}.pcap" for name in ("benign", "fragments", "out_of_order", "log4shell", "ipv6")]
    rules = f"rules.paths=['{tmp_path}', '{ROOT / 'rules/base'}']"
    several, events, _ = run(paths, workers, rules)
    one, same_events, _ = run(paths, 1, rules)
    assert [asdict(capture) for capture in several] == [asdict(capture) for capture in one]
    assert events == same_events
    assert any(flow.packets for capture in one for flow in capture.dropped_flows)
    assert any(block.packets for capture in one for block in capture.blocks)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_bad_capture_among_several_costs_no_other(tmp_path: Path, workers: int) -> None:
    (tmp_path / "note.pcap").write_text("not a capture at all")
    (tmp_path / "torn.pcap").write_bytes(EXPLOIT.read_bytes()[:-7])
    paths = [tmp_path / "note.pcap", EXPLOIT, tmp_path / "missing.pcap", tmp_path / "torn.pcap", EXPLOIT]
    several, _, _ = run(paths, workers)
    assert [asdict(capture) for capture in several] == [asdict(capture) for capture in run(paths, 1)[0]]
    assert [capture.refused for capture in several] == [True, False, True, False, False]
    assert several[3].problem is not None
    assert all(capture.alerts for capture in several if not capture.refused)


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_is_killed_is_named_and_none_is_left(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "END_S", END_S)
    killed: list[int] = []

    def kill(path: Path, position: int) -> None:
        if not killed:
            worker = sorted(multiprocessing.active_children(), key=lambda process: process.pid or 0)[number]
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            killed.append(worker.pid)

    started = time.monotonic()
    captures = [EXPLOIT] * 300  # more than fits into a pipe: the worker is not through
    with pytest.raises(WorkerDied, match=f"worker {number} of the replay died; was it killed, or out of memory"):
        replay(captures, config(2), on_progress=kill)
    assert time.monotonic() - started < END_S, "the other one noticed at once that nobody listens"
    assert killed
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("before", "after"), [(7000, 24), (7000, None), (None, 7000)], ids=["cut", "grown", "shorter"])
def test_a_capture_that_changes_meanwhile_is_noticed(tmp_path: Path, before: int | None, after: int | None) -> None:
    """Its readers would be out of step, and a batch's findings another's."""
    changing = tmp_path / "changing.pcap"
    changing.write_bytes(EXPLOIT.read_bytes()[:before])

    def change(path: Path, position: int) -> None:
        for worker in multiprocessing.active_children():
            worker.join(END_S)  # it has read all
        changing.write_bytes(EXPLOIT.read_bytes()[:after])

    with pytest.raises(WorkerDied, match="changed while it was read"):
        replay([EXPLOIT, changing], config(2), on_progress=change)


def test_a_pipe_is_read_by_one_process(tmp_path: Path) -> None:
    """It can be read only once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=(EXPLOIT.read_bytes(),))
    feeder.start()
    (capture,) = replay([pipe], config(2)).captures
    feeder.join()
    assert (capture.packets, capture.problem) == (106, None)
    assert capture.alerts


def test_what_all_workers_notice_is_said_once(tmp_path: Path) -> None:
    """Each decodes the whole capture."""
    capture = tmp_path / "offloaded.pcap"
    with capture.open("wb") as file:
        writer = PcapWriter(file)
        for number, frame in enumerate(conversation(b"GET / HTTP/1.1\r\n\r\n", bytes(40_000))):
            writer.write(frame[:50] + bytes([frame[50] ^ 1]) + frame[51:], T0 + number)
    command = [sys.executable, "-c", "from ids.cli import main; main()", "replay", "--workers", "3", str(capture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.count("have a bad checksum") == 1
