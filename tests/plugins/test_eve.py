"""The EVE output over reloads."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ids_plugins.eve import EveOutput

from ids.config import Config
from ids.counters import Counters
from ids.events import Events
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
    writer = output._sink
    assert isinstance(writer, LineWriter)
    output.ids_events(Events([{"event_type": "alert", "payload": "x" * (1 << 20)}]))
    output.ids_reload(context(tmp_path / "b", "alert"))()  # returns, though the disk has not taken it
    assert output._retired == [writer]
    output.ids_events(Events([{"event_type": "alert"}]))
    os.close(reader)
    writer._thread.join(60)
    output.ids_events(Events([{"event_type": "alert"}]))
    assert output._retired == []
    output.ids_stop()
    assert (tmp_path / "b").read_text().count("\n") == 2


def test_a_reload_takes_another_file_and_other_types(tmp_path: Path) -> None:
    output = EveOutput()
    output.ids_start(context(None))
    assert output.ids_event_types() == set()
    output.ids_reload(context(tmp_path / "b", "flow"))()
    assert output.ids_event_types() == {"flow"}
    output.ids_stop()
    assert (tmp_path / "b").exists()
