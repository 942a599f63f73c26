"""`ids check` shows what would be loaded, in a form that can be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ids.cli import main
from ids.config import InvalidDocument, load_config


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.mark.parametrize("path", ["events.json", "-"])
def test_the_settings_it_shows_are_a_file_of_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, path: str
) -> None:
    out, err = run(capsys, "check", "--show", "--set", "respond.mode=shadow", "--set", f"eve.path={path}")
    assert "settings are good" in err
    shown = tmp_path / "shown.yaml"
    shown.write_text(out)
    assert load_config(shown) == load_config(None, ["respond.mode=shadow", f"eve.path={path}"])
    assert load_config(shown).eve.path == path


@pytest.mark.parametrize("value", ["[]", "- a", "-1"])
def test_a_list_or_a_number_is_no_path(value: str) -> None:
    """Only a dash alone is taken as it stands."""
    with pytest.raises(InvalidDocument):
        load_config(None, [f"eve.path={value}"])


def test_it_counts_the_rules_that_the_rules_check_counts(capsys: pytest.CaptureFixture[str]) -> None:
    checked = json.loads(run(capsys, "check", "-o", "json")[0])["rules"]
    assert checked == json.loads(run(capsys, "rules", "check", "-o", "json")[0])["rules"]
    assert f"{checked} rules loaded" in run(capsys, "check")[0]
