"""Options and output shared by the verbs."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ids.config import Config, load_config
from ids.literal import literal
from ids.salvage import salvage, warnings_of

if TYPE_CHECKING:
    from rich.text import Text

    from ids.cli.consoles import LiteralConsole

Command = TypeVar("Command", bound=Callable[..., Any])

UNWRAPPED_COLUMNS = 10_000
"""Width of what is no terminal: wider than any line of ours, so that each row stays one line for grep and cut."""

NOTHING_ATTACHED = "nothing is attached: nothing is dropped; the lists wait for the next `ids run`"


def output_option(command: Command) -> Command:
    """Add ``-o human|json``, and ``--json``; what that prints: docs/json.md."""
    command = click.option("--json", "output", flag_value="json", help="Short for -o json.")(command)
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["human", "json"]),
        default="human",
        show_default=True,
        help="Form of the output.",
    )(command)


def instance_options(command: Command) -> Command:
    """Add ``-c`` and ``--set``: what says which instance is meant, and where it pins and listens."""
    command = click.option("-c", "--config", "config_path", type=click.Path(), help="Settings, a YAML file.")(command)
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting: --set respond.mode=shadow.",
    )(command)


def config_options(command: Command) -> Command:
    """Add ``-c``, ``--set``, ``-S`` and ``--strict``, for verbs that load rules themselves."""

    @functools.wraps(command)
    def with_rules(*arguments: Any, strict: bool, overrides: tuple[str, ...], **options: Any) -> Any:
        if strict:
            overrides = (*overrides, "rules.strict=true")
        return command(*arguments, overrides=overrides, **options)

    only = click.option(
        "-S",
        "only_rules",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="Only these rules: YAML, YARA or Suricata's.",
    )
    strictly = click.option("--strict", is_flag=True, help="Refuse to start where a .rules file has a rule left out.")
    return only(strictly(instance_options(cast(Command, with_rules))))


def workers_option(command: Command) -> Command:
    """Add ``--workers``."""
    return click.option(
        "--workers",
        callback=_workers,
        metavar="N|auto",
        help="Processes that inspect, each its share of the flows; auto: one for each processor.",
    )(command)


def _workers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter("expected a number from 1 on, or auto")
    return int(value)


def build_config(
    config_path: str | None, overrides: tuple[str, ...], only_rules: tuple[str, ...] = (), **extra: Any
) -> Config:
    """Read the configuration that a command's options describe; ``extra`` maps dotted settings to values that win."""
    assigned = [*overrides]
    if only_rules:
        assigned.append(f"rules.paths={json.dumps(list(only_rules))}")
    assigned += [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in extra.items() if value is not None]
    return load_config(config_path, assigned)


def usable_config(config_path: str | None, overrides: tuple[str, ...]) -> Config:
    """Read the configuration of a command that an operator needs, however broken the file is; warn of its faults."""
    config, faults = salvage(config_path, overrides)
    for warning in warnings_of(faults, config_path):
        print_message(f"ids: warning: {warning}")
    return config


def output_console(quiet: bool = False) -> LiteralConsole:
    """Return the console of stdout; where that is no terminal nothing is wrapped or cut off."""
    from ids.cli.consoles import LiteralConsole  # brings rich, which JSON need not wait for

    return LiteralConsole(quiet=quiet, width=None if sys.stdout.isatty() else UNWRAPPED_COLUMNS)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return one line of parts, each plain or with its style; like all text, they are taken literally."""
    from rich.text import Text

    return Text.assemble(*(literal(part) if isinstance(part, str) else (literal(part[0]), part[1]) for part in parts))


def print_message(message: str) -> None:
    """Write a message to stderr; what it quotes gives a terminal no orders, but it may have several lines."""
    click.echo(literal(message, keep="\n"), err=True)


def count_of(number: int, noun: str) -> str:
    """Spell a number of things: ``1 rule``, ``1,200 rules``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def show_json(value: Any) -> None:
    """Print one thing as an object of JSON, indented when a person looks at it: a mapping or a dataclass, with whatever
    else in it as its text.
    """
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, default=_as_json))


def _as_json(value: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        return str(value)
    return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}


def show_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a list as JSON, an object a line; nothing where it is empty."""
    for row in rows:
        click.echo(json.dumps(row, default=str))
