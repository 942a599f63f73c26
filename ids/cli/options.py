"""Options and output shared by the verbs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.console import Console

from ids.config import Config, load_config

Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(command: Command) -> Command:
    """Add ``-o human|json``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["human", "json"]),
        default="human",
        show_default=True,
        help="Form of the output.",
    )(command)


def config_options(command: Command) -> Command:
    """Add ``-c``, ``--set`` and ``-S``: everything that makes a configuration."""
    command = click.option("-c", "--config", "config_path", type=click.Path(), help="Settings, a YAML file.")(command)
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one setting: --set respond.mode=shadow.",
    )(command)
    return click.option(
        "-S", "only_rules", multiple=True, type=click.Path(), metavar="FILE", help="Only these rules, YAML or YARA."
    )(command)


def build_config(
    config_path: str | None, overrides: tuple[str, ...], only_rules: tuple[str, ...] = (), **extra: Any
) -> Config:
    """Read the configuration that a command's options describe; ``extra`` maps dotted settings to values that win."""
    assigned = [*overrides]
    if only_rules:
        assigned.append(f"rules.paths={json.dumps(list(only_rules))}")
    assigned += [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in extra.items() if value is not None]
    return load_config(config_path, assigned)


def show_json(value: Any) -> None:
    """Print a value as JSON, indented when a person looks at it."""
    console = Console()
    click.echo(json.dumps(value, indent=2 if console.is_terminal else None, default=str))
