"""`ids config`: the settings in force and where each comes from, what is wrong with them, and their schema."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import click
import yaml
from rich.table import Table

from ids.cli.options import (
    count_of,
    instance_options,
    output_console,
    output_option,
    print_message,
    show_json,
    show_rows,
    styled,
)
from ids.config import Config, dump_config, load_document
from ids.errors import UsageError
from ids.live.inside import inside_gap
from ids.origins import Setting, settings_in_force, settings_schema
from ids.respond.exceptions import unknown_rules
from ids.respond.protected import interface_addresses
from ids.respond.proxies import UNHEARD
from ids.rules.paths import cache_directory


@click.group()
def config() -> None:
    """Show the settings in force and where each comes from; check them."""


@config.command()
@click.argument("names", nargs=-1, metavar="[SETTING]...")
@click.option("--given", is_flag=True, help="Only what a file or --set says, not the defaults.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print a file of settings that can be loaded with `-c`.")
@instance_options
@output_option
def show(
    names: tuple[str, ...],
    given: bool,
    as_yaml: bool,
    config_path: str | None,
    overrides: tuple[str, ...],
    output: str,
) -> None:
    """Print each setting in force, and where its value comes from: a place in a file, --set, or the default.

    SETTING is the name of a setting or of a group of them: `ids config show respond eve.path`.
    """
    loaded, document = load_document(config_path, overrides)
    settings = settings_in_force(loaded, document)
    for name in names:
        if not any(_belongs(setting, name) for setting in settings):
            raise UsageError(f"there is no setting {name}; `ids config show` prints all of them")
    shown = [
        setting
        for setting in settings
        if (setting.given or not given) and (not names or any(_belongs(setting, name) for name in names))
    ]
    if as_yaml:
        click.echo(dump_config(loaded), nl=False)
    elif output == "json":
        show_rows(setting.to_json() for setting in shown)
    else:
        table = Table("setting", "from", "value", box=None, pad_edge=False)
        for setting in shown:
            weight = "bold" if setting.given else ""
            table.add_row(styled((setting.name, weight)), str(setting.origin), _spelled(setting.value))
        output_console().print(table)


@config.command()
@instance_options
@output_option
def check(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Check a file of settings by itself: every fault with its place, and what looks odd on this host.

    Exits 2 where it is refused; what is odd is printed, and no fault. `ids check` loads rules and plugins too.
    """
    loaded, document = load_document(config_path, overrides)
    odd = _odd(loaded)
    given = sum(setting.given for setting in settings_in_force(loaded, document))
    if output == "json":
        show_json({"ok": True, "given": given, "odd": odd})
        return
    for remark in odd:
        print_message(f"ids: odd: {remark}")
    click.echo(f"settings are good: {count_of(given, 'setting')} given, the others have their defaults")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the settings, by which editors complete and check."""
    show_json(settings_schema())


def _belongs(setting: Setting, name: str) -> bool:
    return setting.name == name or setting.name.startswith(f"{name}.")


def _spelled(value: Any) -> str:
    """Spell a value as YAML, in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _odd(loaded: Config) -> list[str]:
    """Return what would be taken, and is hardly meant on this host."""
    there = {name for _, name in socket.if_nameindex()}
    odd = [f"interfaces: {name} is not there now" for name in loaded.interfaces if name not in there]
    if not loaded.interfaces:
        odd.append("interfaces: none is named; `ids run` wants them with -i then")
    folder = Path(loaded.eve.path).parent if loaded.eve.path not in (None, "-") else None
    if folder is not None and not folder.is_dir():
        odd.append(f"eve.path: {folder} does not exist; it is made at the start")
    if gap := inside_gap(loaded, interface_addresses()):
        odd.append(gap)
    if loaded.respond.trusted_proxies and not loaded.respond.forwarded_headers:
        odd.append(UNHEARD)
    return odd + _odd_exceptions(loaded)


def _odd_exceptions(loaded: Config) -> list[str]:
    """Return which exceptions name no rule; rules are loaded where there are exceptions, and not checked here."""
    if not loaded.respond.exceptions:
        return []
    from ids.rules.language.loader import load_configured

    rules = load_configured(loaded.rules, loaded.vars, cache_directory(loaded.rules))
    return list(unknown_rules(loaded.respond.exceptions, rules.signatures(), loaded.rules.disabled_sids))
