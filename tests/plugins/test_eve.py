"""The EVE output over reloads."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from ids_plugins.eve import EveOutput

from ids.config import Config
from ids.counters import Counters
from ids.errors import IdsError
from ids.events import Events
from ids.plugin import writer
from ids.plugin.context import EngineContext
from ids.plugin.writer import LineWriter
from ids.types import FlowColumns


def context(path: Path | None, *types: str) -> EngineContext:
    config = Config.model_validate({"eve": {"path": None if path is None else str(path), "types": list(types)}})
    return EngineContext(config, Counters(), {}, FlowColumns(1))


def test_a_reload_that_was_refused_leaves_no_file_open(tmp_path: Path) -> None:
    before = threading.active_count()
    output = EveOutput()
    output.ids_start(context(tmp_path / "a", "alert"))
    for _ in range(5):
        output.ids_reload(context(tmp_path / "b", "flow"))  # nobody puts it in force
    assert threading.active_count() <= before + 2
    assert output.ids_event_types() == {"alert"}
    output.ids_stop()
    assert threading.active_count() == before


def test_a_reload_does_not_wait_for_a_file_that_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hangs")
    reader = os.open(tmp_path / "hangs", os.O_RDONLY | os.O_NONBLOCK)
    output = EveOutput()
    output.ids_start(context(tmp_path / "hangs", "alert"))
    first = output._sink
    assert isinstance(first, LineWriter)
    output.ids_events(Events([{"event_type": "alert", "payload": "x" * (1 << 20)}]))
    output.ids_reload(context(tmp_path / "b", "alert"))()  # returns, though the disk has not taken it
    assert output._retired == [first]
    output.ids_events(Events([{"event_type": "alert"}]))
    os.close(reader)
    first._thread.join(60)
    output.ids_events(Events([{"event_type": "alert"}]))
    assert output._retired == []
    output.ids_stop()
    assert (tmp_path / "b").read_text().count("\n") == 2


def hang(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have files opened no sooner than the event that is returned."""
    mounted, opened = threading.Event(), writer._open

    def slow(path: str, name: str) -> tuple[int, bool]:
        assert mounted.wait(60)
        return opened(path, name)

    monkeypatch.setattr(writer, "_open", slow)
    return mounted


def test_packets_do_not_wait_for_a_file_that_is_opened_in_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = EveOutput()
    output.ids_start(context(tmp_path / "a", "alert"))
    mounted, beats = hang(monkeypatch), 0

    def go_on() -> bool:
        nonlocal beats
        beats += 1
        output.ids_events(Events([{"event_type": "alert"}]))
        if beats == 3:
            mounted.set()
        return True

    output.ids_reload(replace(context(tmp_path / "b", "flow"), go_on=go_on))()
    output.ids_stop()
    assert beats >= 3
    assert (tmp_path / "a").read_text().count("\n") == beats, "the old settings hold meanwhile"
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize("stops", [True, False])
def test_a_file_that_is_opened_too_late_is_closed_and_the_reload_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    monkeypatch.setattr("ids.plugin.output.PREPARE_S", 0.0)
    before = threading.active_count()
    output = EveOutput()
    output.ids_start(context(tmp_path / "a", "alert"))
    mounted = hang(monkeypatch)
    with pytest.raises(IdsError, match="stops" if stops else "output eve is not ready within 0 s"):
        output.ids_reload(replace(context(tmp_path / "b", "flow"), go_on=lambda: not stops))
    mounted.set()
    assert output.ids_event_types() == {"alert"}
    output.ids_stop()
    for thread in threading.enumerate():
        if thread.name in ("ids-output eve", "ids-eve"):
            thread.join(60)
    assert threading.active_count() == before
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(link)]


def test_a_reload_takes_another_file_and_other_types(tmp_path: Path) -> None:
    output = EveOutput()
    output.ids_start(context(None))
    assert output.ids_event_types() == set()
    output.ids_reload(context(tmp_path / "b", "flow"))()
    assert output.ids_event_types() == {"flow"}
    output.ids_stop()
    assert (tmp_path / "b").exists()
