"""What the verbs share: which options they take, and how they print."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from rich.table import Table

from ids.cli import cli, main
from ids.cli.options import count_of, output_console, print_message, styled
from ids.literal import literal

LOADS_RULES = {
    "run", "replay", "check", "rules check", "rules list", "rules test", "rules explain", "rules profile",
    "rules coverage",
}  # fmt: skip
"""Verbs for which `-S` means something: the others speak to an instance that has its rules."""


def options(group: click.Group, words: str = "") -> Iterator[tuple[str, set[str]]]:
    """Return each verb with its options."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from options(command, f"{name} ")
        else:
            yield words + name, {option for parameter in command.params for option in parameter.opts}


def test_only_verbs_that_load_rules_take_rules() -> None:
    assert {verb for verb, known in options(cli) if "-S" in known} == LOADS_RULES


NAMES_A_FILE = {"init", "service install", "service status", "service uninstall"}
"""Verbs to which ``-c`` is a file to write or to name in a unit, which has no overrides."""


def test_every_verb_that_needs_a_configuration_takes_its_file_and_overrides() -> None:
    with_config = {verb for verb, known in options(cli) if "-c" in known} - NAMES_A_FILE
    assert with_config == {verb for verb, known in options(cli) if "--set" in known}
    assert {"stats", "reload", "detach", "block import", "allow list"} | LOADS_RULES <= with_config


@pytest.mark.parametrize(("number", "text"), [(0, "0 rules"), (1, "1 rule"), (2, "2 rules"), (1200, "1,200 rules")])
def test_one_is_no_plural(number: int, text: str) -> None:
    assert count_of(number, "rule") == text


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "/a/rather/long/path" * 10
    table = Table("path", "size", box=None)
    table.add_row(long, "1")
    output_console().print(table)
    output_console().print("words " * 50 + "end")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert long in lines[1]


def test_rules_are_listed_with_their_whole_path(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rules", "list"])
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines
    assert all(".ya" in line and "…" not in line for line in lines)


HOSTILE = ("root:x:0:0", ":smile:", "[red]x[/red]", "[/]", "\x1b[2J", "a\nb", "\udcff", "[link=http://a]b[/link]")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is_wherever_it_stands(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = output_console()
    table = Table(text, box=None)
    table.add_row(text)
    for shown in (text, table, styled((text, "bold")), styled(text)):
        console.print(shown)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [literal(text)] * 5


def test_a_message_keeps_its_lines_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("a\n\x1b[31mb")
    assert capsys.readouterr().err == "a\n\\x1b[31mb\n"
