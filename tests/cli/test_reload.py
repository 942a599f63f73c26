"""`ids reload`: what came of it is said, also where it is not all good."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from ids.cli.reload import reload
from ids.config import Config
from ids.counters import Counters
from ids.errors import PluginError
from ids.live.loop import Live

FAILED = "plugin mine failed to put in force what it has loaded: KeyError('oops')"


def test_plugins_that_failed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(path: Path, command: str, *_: object) -> dict[str, Any]:
        return {"reloaded": True, "failed": [FAILED]} if command == "reload" else {}

    monkeypatch.setattr(sys.modules["ids.cli.reload"], "request", answer)
    result = CliRunner().invoke(reload, ["--set", f"engine.state_dir={tmp_path}"])
    assert result.exit_code == 0
    assert result.stdout == "reloaded\n"
    assert FAILED in result.stderr


def test_rules_that_were_left_out_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(path: Path, command: str, *_: object) -> dict[str, Any]:
        return {"reloaded": True, "rules_left_out": 2} if command == "reload" else {}

    monkeypatch.setattr(sys.modules["ids.cli.reload"], "request", answer)
    result = CliRunner().invoke(reload, ["--set", f"engine.state_dir={tmp_path}"])
    assert (result.exit_code, result.stdout) == (0, "reloaded\n")
    assert "2 rules left out: `ids rules check`" in result.stderr


def test_a_running_engine_names_them_in_its_answer_and_in_its_record() -> None:
    """Only what the answer needs is there."""
    notes: list[Any] = []

    def nothing(*_: object) -> None: ...

    engine = SimpleNamespace(unfinished=[PluginError(FAILED)], note=notes.extend)
    live = SimpleNamespace(
        config=Config(), _reread=Config, _crew=SimpleNamespace(reload=lambda *_: []), _go_on=None, _engine=engine,
        _watch=SimpleNamespace(), _bites=SimpleNamespace(), _protected=SimpleNamespace(refresh=nothing),
        _protect=nothing, _apply=nothing, _note_rules=nothing, _note_shadow=nothing, _note_inside=nothing,
        _counters=Counters(),
    )  # fmt: skip
    live._counters.set("rules.refused", 2)
    answer = Live._reload_all(cast(Live, live))
    assert answer == {"reloaded": True, "failed": [FAILED], "rules_left_out": 2}
    assert notes[0].detail["failed"] == [FAILED]
