"""Feeds are updated beside the engine: a process is started, what it says is logged, and it ends with the engine."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from pathlib import Path

import pytest

from ids.config import Config, load_config
from ids.live import feeder
from ids.live.feeder import EVERY_S, LONGEST_S, Feeder

PATIENCE_S = 200.0


def config(tmp_path: Path, *more: str) -> Config:
    """Settings with a feed that is not there, so that nothing is asked of the kernel."""
    feeds = f"feeds=[{{label: x, file: {tmp_path / 'none'}, for: 2d}}]"
    return load_config(None, [feeds, f"engine.state_dir={tmp_path}", "store.enabled=false", *more])


def test_an_update_is_started_and_what_it_says_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings, feeds = config(tmp_path), Feeder()
    with caplog.at_level(logging.INFO):
        feeds.poll(settings, 0.0)
        until = time.monotonic() + PATIENCE_S
        while not caplog.records and time.monotonic() < until:
            feeds.poll(settings, 1.0)
            time.sleep(0.02)
        feeds.poll(settings, 1.0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "feed x: " in caplog.text
    assert "what is in force stays, next in 5m" in caplog.text
    assert (tmp_path / "default/feeds/x/state.json").exists()
    feeds.close()


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a process that does nothing in the place of an update."""
    monkeypatch.setattr(feeder, "COMMAND", "import time; time.sleep(300)")


@pytest.mark.usefixtures("sleeper")
def test_it_ends_with_the_engine_and_when_it_hangs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings, feeds = config(tmp_path), Feeder()
    feeds.poll(settings, 0.0)
    process = feeds._process
    assert process is not None
    feeds.poll(settings, EVERY_S + 1)
    assert feeds._process is process, "one at a time"
    feeds.close()
    assert process.returncode is not None
    feeds.poll(settings, 2 * EVERY_S)
    hung = feeds._process
    assert hung is not None
    with caplog.at_level(logging.ERROR):
        feeds.poll(settings, 3 * EVERY_S + LONGEST_S)
    assert hung.wait(PATIENCE_S) != 0
    assert "did not end" in caplog.text
    feeds.close()


@pytest.mark.usefixtures("sleeper")
@pytest.mark.parametrize("off", ["engine.update_feeds=false", "feeds=[]"])
def test_nothing_is_started_where_nothing_is_asked_for(tmp_path: Path, off: str) -> None:
    feeds = Feeder()
    feeds.poll(config(tmp_path, off), 0.0)
    assert feeds._process is None


def test_an_update_runs_where_it_may_not_give_way_to_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*wanted: int) -> None:
        asked.append(wanted[-1])
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    begun: list[bool] = []
    asked: list[int] = []
    monkeypatch.setattr("os.getpriority", lambda *_: 0)
    monkeypatch.setattr("os.setpriority", refuse)
    monkeypatch.setattr("ids.cli.main", lambda: begun.append(True))
    exec(feeder.COMMAND, {})
    assert (asked, begun) == ([10], [True])
    assert "does not give way" in caplog.text


def test_an_interpreter_that_cannot_be_started_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    feeds = Feeder()
    feeds.poll(config(tmp_path), 0.0)
    assert "no update could be started" in caplog.text
