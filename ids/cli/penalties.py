"""`ids penalties`: who was blocked before, and is blocked for longer the next time."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from ids.cli.lists import pins_of
from ids.cli.memory import note_deeds
from ids.cli.options import (
    count_of,
    instance_options,
    output_option,
    print_message,
    show_json,
    show_rows,
    usable_config,
)
from ids.cli.values import Network, moment, span
from ids.config import Config
from ids.control import request, socket_path
from ids.errors import IdsError, NotRunning, UsageError
from ids.kernel import Blocklist
from ids.respond.policy import Penalty
from ids.state import penalties as saved
from ids.state.files import state_folder
from ids.store.byhand import Deed
from ids.types import IPNetwork

ASK_S = 2.0
"""How long an engine is waited for that may hang; what was saved last does as well."""

AT_ONCE = 50
"""Networks in one request to the engine, which takes no long ones."""


@click.group()
def penalties() -> None:
    """Show and reset who was blocked before, and is for longer next time.

    By how much is `respond.repeat_factor`.
    """


@penalties.command("list")
@instance_options
@output_option
def penalties_list(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """List who was blocked before, the latest last: how often that counts, and when the latest block ends or ended.

    A block that somebody lifted before its end does not count.
    """
    config = usable_config(config_path, overrides)
    troubles: list[str] = []
    rows = _standing(config, known(config, troubles))
    for trouble in troubles:
        print_message(f"ids: note: {trouble}")
    if output == "json":
        show_rows({"network": str(one.network), "times": one.times, "expires_ns": one.until_ns} for one in rows)
        return
    now_ns = time.time_ns()
    for one in rows:
        ends = f"ends in {span(one.until_ns - now_ns)}" if one.until_ns > now_ns else f"ended {moment(one.until_ns)}"
        factor = config.respond.repeat_factor ** min(one.times, 32)
        times = count_of(one.times, "block")
        click.echo(f"{one.network!s:<43}  {times}, the latest {ends}; the next lasts {factor:,.4g} times as long")
    if not rows and not troubles:
        click.echo("nobody was blocked before")


@penalties.command("reset")
@click.argument("networks", nargs=-1, type=Network(), metavar="[ADDRESS...]")
@click.option("--all", "everybody", is_flag=True, help="Of everybody.")
@instance_options
@output_option
def penalties_reset(
    networks: tuple[IPNetwork, ...], everybody: bool,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """Forget that addresses were blocked before; a block that is in force stays. Exit code 1 where nobody was."""
    if everybody == bool(networks):
        raise UsageError("whose? Name addresses or prefixes, or say --all")
    config = usable_config(config_path, overrides)
    gone = _reset(config, None if everybody else networks)
    note_deeds(config, [Deed("reset", network, label="") for network in networks] or [Deed("reset", label="")])
    if output == "json":
        show_json({"done": gone})
    else:
        for network in gone:
            click.echo(f"{network} counts as never blocked")
    if not gone:
        print_message("ids: nobody of them was blocked before")
        sys.exit(1)


def known(config: Config, troubles: list[str]) -> list[Penalty]:
    """Return who was blocked before: as the engine has it, or as it was saved.

    Where an engine is there and does not answer, ``troubles`` gets why.
    """
    path = socket_path(config.engine.runtime_dir, config.instance)
    folder = state_folder(config.engine.state_dir, config.instance)
    return saved.known(folder, lambda: request(path, "penalties", ASK_S), troubles)


def _standing(config: Config, rows: list[Penalty]) -> list[Penalty]:
    """Leave out what was lifted, as the next block does."""
    try:
        with Blocklist.open(pins_of(config)) as blocks:
            return saved.standing(rows, blocks, time.time_ns())
    except IdsError:
        return saved.standing(rows, None, 0)


def _reset(config: Config, networks: tuple[IPNetwork, ...] | None) -> list[str]:
    """Have the engine forget, which has them in memory; without one, forget what was saved."""
    path = socket_path(config.engine.runtime_dir, config.instance)
    parts: list[dict[str, Any]] = [{}]
    if networks is not None:
        texts = [str(network) for network in networks]
        parts = [{"networks": texts[at : at + AT_ONCE]} for at in range(0, len(texts), AT_ONCE)]
    try:
        answers = [request(path, "reset_penalties", **part) for part in parts]
    except NotRunning:
        folder = state_folder(config.engine.state_dir, config.instance)
        try:
            return [str(network) for network in saved.reset(folder, networks)]
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}; run as root") from error
    for answer in answers:
        if "error" in answer:
            raise UsageError(str(answer["error"]))
    return [network for answer in answers for network in answer["reset"]]
