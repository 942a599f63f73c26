"""`ids stats`: what the gate and the engine have counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ids.cli.options import (
    NOTHING_ATTACHED,
    count_of,
    instance_options,
    output_console,
    output_option,
    print_message,
    show_json,
    styled,
    usable_config,
)
from ids.control import request, socket_path
from ids.errors import NoAnswer, NotRunning, UsageError
from ids.kernel.instance import guarded_interfaces, instance_dir
from ids.kernel.maps.counts import pinned_counts, pinned_heartbeat_age_s, pinned_shadow
from ids.respond.uninspected import Uninspected, flat, uninspected

APART = ("kernel.", "rule_alerts.", "rule_time_us.")
"""Beginnings of counters that the table of the engine's leaves out: shown above, or of many rules (`ids top`)."""


@click.command()
@instance_options
@output_option
def stats(config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Show the kernel's counters for each verdict, and the engine's when one is running."""
    config = usable_config(config_path, overrides)
    pins = instance_dir(config.fastpath, config.instance)
    kernel = {name: counts for name, counts in pinned_counts(pins).items() if counts[0]}
    attached, shadow = guarded_interfaces(pins), pinned_shadow(pins)
    engine: dict[str, Any] | None = None
    silent = ""
    try:
        engine = request(socket_path(config.engine.runtime_dir, config.instance), "stats")
    except NotRunning:
        pass
    except NoAnswer as error:
        silent = f"{error}{_last_beat(pins)}"
    if output == "json":
        verdicts = {name: {"packets": packets, "bytes": size} for name, (packets, size) in kernel.items()}
        missed = {} if engine is None else {"uninspected": [row.to_json() for row in _uninspected(engine)]}
        problem = {"problem": silent} if silent else {}
        show_json({"attached": attached, "shadow": shadow, "kernel": verdicts, "engine": engine, **missed, **problem})
        sys.exit(UsageError.exit_code if silent else 0)
    console = output_console()
    table = Table(title="kernel", title_justify="left", box=None)
    for heading in ("verdict", "packets", "bytes"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right")
    for name, (packets, size) in kernel.items():
        table.add_row(name, f"{packets:,}", f"{size:,}")
    console.print(table)
    if shadow:
        console.print()
        console.print("shadow mode: nothing is dropped; would_drop.* counts what would have been")
    if silent:
        print_message(f"ids: {silent}. Above is what the kernel has counted")
        sys.exit(UsageError.exit_code)
    if engine is None:
        console.print()
        console.print(_without_engine(attached))
        return
    console.print()
    table = Table(title="engine", title_justify="left", box=None, show_header=False)
    for name, value in flat(engine.get("ids", {})).items():
        if value and not name.startswith(APART):
            table.add_row(name, f"{value:,}")
    console.print(table)
    console.print()
    console.print(f"inspection is {engine.get('ids', {}).get('engine', {}).get('lag_ms', 0):,} ms behind the wire")
    if unheeded := engine.get("ids", {}).get("respond", {}).get("not_biting", {}).get("blocks"):
        line = (
            f"  {count_of(unheeded, 'block')} of sources that went on: an interface by which they come is not guarded"
        )
        console.print(styled(("not biting", "bold yellow"), line), soft_wrap=True)
    for row in _uninspected(engine):
        console.print(styled(("uninspected", "bold" if row.intended else "bold yellow"), f"  {row}"), soft_wrap=True)


def _last_beat(pins: Path) -> str:
    """Say how long ago the engine last showed the kernel that it lives."""
    age_s = pinned_heartbeat_age_s(pins)
    return "" if age_s is None else f". Its last sign of life was {age_s:.0f} s ago"


def _uninspected(engine: dict[str, Any]) -> list[Uninspected]:
    return uninspected(flat(engine.get("ids", {})), live=True)


def _without_engine(attached: list[str]) -> str:
    if attached:
        return f"no engine is running: the gate works alone on {', '.join(attached)}, nothing new is detected"
    return f"no engine is running and {NOTHING_ATTACHED}"
