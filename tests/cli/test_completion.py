"""`ids completion`, and what a shell is offered by it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from click.shell_completion import get_completion_class
from click.testing import CliRunner

from ids.cli import cli
from ids.cli.completion import completion


def offered(*words: str, incomplete: str) -> list[str]:
    kind = get_completion_class("bash")
    assert kind is not None
    return [item.value for item in kind(cli, {}, "ids", "_IDS_COMPLETE").get_completions(list(words), incomplete)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_what_is_printed(shell: str) -> None:
    result = CliRunner().invoke(completion, [shell])
    assert result.exit_code == 0, result.output
    assert f"_IDS_COMPLETE={shell}_complete" in result.output
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=result.output, text=True, check=True, capture_output=True, timeout=60)


def test_verbs_and_options_are_offered() -> None:
    assert offered(incomplete="conf") == ["config"]
    assert offered("config", incomplete="s") == ["schema", "show"]
    assert "--wait-interfaces" in offered("run", incomplete="--wait")
    assert offered("completion", incomplete="") == ["bash", "zsh", "fish"]
