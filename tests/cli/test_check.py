"""`ids check` tells what would be loaded, in a form that can be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ids.cli import main
from ids.config import load_config


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_the_settings_it_shows_are_a_file_of_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, err = run(capsys, "check", "--show", "--set", "respond.mode=shadow", "--set", "eve.path=events.json")
    assert "settings are good" in err
    shown = tmp_path / "shown.yaml"
    shown.write_text(out)
    assert load_config(shown) == load_config(None, ["respond.mode=shadow", "eve.path=events.json"])


def test_it_counts_the_rules_that_the_rules_check_counts(capsys: pytest.CaptureFixture[str]) -> None:
    checked = json.loads(run(capsys, "check", "-o", "json")[0])["rules"]
    assert checked == json.loads(run(capsys, "rules", "check", "-o", "json")[0])["rules"]
    assert f"{checked} rules loaded" in run(capsys, "check")[0]
