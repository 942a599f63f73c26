"""Rules in Suricata's language at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ids.cli import cli

GOOD = 'alert tcp any any -> any any (msg:"good"; content:"abc"; priority:1; sid:1;)\n'
UNSUPPORTED = "alert tcp any any -> any any (replace:a; sid:2;)\n"
REGEX = 'alert tcp any any -> any any (pcre:"/a{3,1}/"; sid:3;)\n'


def ids(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "a.rules"
    path.write_text(GOOD + UNSUPPORTED + REGEX)
    return path


def test_check_reports_what_is_left_out_and_regexes_that_do_not_compile(rules: Path, tmp_path: Path) -> None:
    result = ids("rules", "check", str(rules), "--set", f"rules.cache_dir={tmp_path}/cache", "-o", "json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert [(error["line"], error["column"]) for error in found["errors"]] == [(2, 31), (3, 1)]
    assert found["errors"][0]["message"] == "replace: it is not supported"
    assert found["errors"][1]["message"].startswith("sid 3: regex 'a{3,1}': ")


def test_check_totals_what_is_left_out(rules: Path, tmp_path: Path) -> None:
    result = ids("rules", "check", str(rules), "--set", f"rules.cache_dir={tmp_path}/cache")
    assert "2 rules loaded (0 YAML, 0 YARA, 2 SURICATA), 2 errors" in result.stdout
    assert "1 left out: keyword replace 1" in result.stdout


def test_good_rules_pass(tmp_path: Path) -> None:
    (tmp_path / "a.rules").write_text(GOOD)
    assert ids("rules", "check", str(tmp_path / "a.rules")).exit_code == 0


def test_list_shows_what_loads(rules: Path) -> None:
    result = ids("rules", "list", "-S", str(rules), "-o", "json")
    assert result.exit_code == 0
    assert [(row["sid"], row["title"], row["severity"]) for row in map(json.loads, result.stdout.splitlines())] == [
        (1, "good", 1), (3, "", 3),
    ]  # fmt: skip
    assert "1 left out" in result.stderr


def test_strict_refuses(rules: Path) -> None:
    assert ids("rules", "list", "-S", str(rules), "--strict").exit_code == 2
