"""docs/authors.md: every command in it works, in its order, and its tables are those of the code."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.authoring.lints import LINTS
from ids.cli import cli
from ids.cli.rules import VERBS
from ids.rules.language.schema import STIMULI
from tests.shared import ROOT

TEXT = (ROOT / "docs/authors.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
EXPECTED = {
    "ids rules new": "wrote ours.yaml", "ids rules explain": "sid ", "ids rules profile": "all matching",
    "ids rules coverage": "hidden from", "ids rules import": "title: ", "ids rules check": " 0 errors",
    "ids rules test": "all hold", "ids rules keyword": "Fires on",
}  # fmt: skip
"""What each verb must show."""


def test_every_command_works_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "pcaps", tmp_path / "pcaps", ignore=shutil.ignore_patterns("*.py", "captures"))
    monkeypatch.chdir(tmp_path)
    ran = set()
    for kind, code in BLOCKS:
        named = re.match(r"# (\S+\.\w+)\n", code)
        if named:
            Path(named[1]).write_text(code)
        if kind != "sh":
            continue
        for line in code.splitlines():
            line, _, file = line.partition(" > ")
            words = shlex.split(line)
            result = CliRunner().invoke(cli, words[1:])
            assert result.exit_code == 0, f"{line}: {result.output}"
            verb = " ".join(words[:3])
            assert EXPECTED[verb] in result.output, line
            ran.add(verb)
            if file:
                Path(file).write_text(result.stdout)
    assert ran == set(EXPECTED)
    assert Path("results.xml").read_text().count("<testcase") > 5, "tests, and the evasions that one of them asks for"


def test_every_verb_every_warning_and_every_stimulus_is_documented() -> None:
    assert [verb for verb in VERBS if verb not in ("list", "schema") and f"ids rules {verb}" not in TEXT] == []
    assert [name for name in (*LINTS, *STIMULI) if f"| `{name}` |" not in TEXT] == []
