"""The plugin that keeps the memory: of a live engine alone, and over reloads."""

from __future__ import annotations

import ipaddress
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from ids_plugins.store import StoreOutput

from ids.config import Config
from ids.counters import Counters
from ids.events import Events
from ids.plugin.context import EngineContext
from ids.store import writer as module
from ids.store.database import open_reading, open_writing
from ids.store.queries import alerts, changes
from ids.types import Change, FlowColumns
from tests.store.samples import T0, event


def context(folder: Path, *, live: bool = True, **store: object) -> EngineContext:
    config = Config.model_validate({"engine": {"state_dir": str(folder)}, "store": store})
    return EngineContext(config, Counters(), {}, FlowColumns(1), live=live)


def play(output: StoreOutput, number: int) -> None:
    output.ids_events(Events([event(number), {"event_type": "stats"}]))
    output.ids_changes([Change("block", T0 + number, ipaddress.ip_network("192.0.2.0/24"))])


def test_a_live_engine_remembers_alerts_and_changes(tmp_path: Path) -> None:
    output = StoreOutput()
    output.ids_start(context(tmp_path))
    assert output.ids_event_types() == {"alert"}
    play(output, 1)
    output.ids_stop()
    with closing(open_reading(tmp_path / "default" / "events.db")) as database:
        assert [row.sid for row in alerts(database)] == [1000]
        assert [row.kind for row in changes(database)] == ["block"]


@pytest.mark.parametrize(("live", "store"), [(False, {}), (True, {"enabled": False})])
def test_a_replay_or_an_engine_without_it_does_not(tmp_path: Path, live: bool, store: dict[str, object]) -> None:
    output = StoreOutput()
    output.ids_start(context(tmp_path, live=live, **store))
    assert output.ids_event_types() == set()
    play(output, 1)
    output.ids_stop()
    assert list(tmp_path.iterdir()) == []


def test_a_reload_switches_it_on_and_off(tmp_path: Path) -> None:
    output = StoreOutput()
    output.ids_start(context(tmp_path, enabled=False))
    play(output, 1)
    output.ids_reload(context(tmp_path))()
    play(output, 2)
    output.ids_reload(context(tmp_path, max_bytes=1 << 20))()
    play(output, 3)
    output.ids_reload(context(tmp_path, enabled=False))()
    play(output, 4)
    output.ids_stop()
    with closing(open_reading(tmp_path / "default" / "events.db")) as database:
        assert len(alerts(database)) == 2


def test_a_reload_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works, asked = threading.Event(), threading.Event()

    def hang(where: Path) -> sqlite3.Connection:
        asked.set()
        assert works.wait(60)
        return open_writing(where)

    monkeypatch.setattr(module, "open_writing", hang)
    output, on = StoreOutput(), context(tmp_path)
    output.ids_start(on)
    play(output, 1)
    assert asked.wait(60)
    output.ids_reload(context(tmp_path, enabled=False))()  # returns
    (writer,) = output._retired
    play(output, 2)
    assert output._retired == [writer]
    works.set()
    writer._thread.join(60)
    play(output, 3)
    assert output._retired == []
    output.ids_stop()
    assert (on.counters["store.written"], on.counters["store.lost"]) == (2, 0)
