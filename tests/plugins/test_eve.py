"""The EVE output over reloads."""

from __future__ import annotations

import threading
from pathlib import Path

from ids_plugins.eve import EveOutput

from ids.config import Config
from ids.counters import Counters
from ids.plugin.context import EngineContext
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


def test_a_reload_takes_another_file_and_other_types(tmp_path: Path) -> None:
    output = EveOutput()
    output.ids_start(context(None))
    assert output.ids_event_types() == set()
    output.ids_reload(context(tmp_path / "b", "flow"))()
    assert output.ids_event_types() == {"flow"}
    output.ids_stop()
    assert (tmp_path / "b").exists()
