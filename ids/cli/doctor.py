"""`ids doctor`: what this machine lacks, and what to do about it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from ids.cli.options import count_of, instance_options, output_console, output_option, show_json, styled, usable_config
from ids.control import socket_path
from ids.doctor import Check, Status
from ids.doctor.engine import check_engine
from ids.doctor.host import check_host, effective_capabilities
from ids.doctor.interface import check_interfaces, check_legs
from ids.doctor.lab import check_lab
from ids.doctor.machine import Machine

COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


@click.command()
@click.option(
    "-i",
    "--interface",
    "interfaces",
    multiple=True,
    metavar="NAME",
    help="Only this interface (default: those of the settings, else all).",
)
@instance_options
@click.option("--lab", is_flag=True, help="Only check whether `ids lab` can run here: prints what stands in its way.")
@output_option
def doctor(
    interfaces: tuple[str, ...], lab: bool, config_path: str | None, overrides: tuple[str, ...], output: str
) -> None:
    """Name what is missing or odd on this machine, each with its remedy.

    Changes nothing. Exits 1 where a check fails; warnings are no failures.
    """
    config = usable_config(config_path, overrides)
    machine = Machine()
    if lab:
        checks = check_lab(machine)
    else:
        named = list(interfaces) or config.interfaces
        checks = check_host(machine) + check_legs(machine, named) + check_interfaces(machine, named)
        checks += check_engine(socket_path(config.engine.runtime_dir, config.instance))
    failed = any(check.status is Status.FAIL for check in checks)
    if output == "json":
        show_json({"ok": not failed, "checks": [as_data(check) for check in checks]})
    elif lab:
        for check in checks:
            if check.status is Status.FAIL:
                click.echo(f"{check.name}: {check.found}. {check.remedy}")
    else:
        _show(checks, rootless=not effective_capabilities(machine))
    sys.exit(1 if failed else 0)


def as_data(check: Check) -> dict[str, Any]:
    """Return a check as the object of ``-o json``."""
    return asdict(check) | {"status": check.status.value}


def _show(checks: list[Check], rootless: bool) -> None:
    console = output_console()
    table = Table("check", "", "found, and what to do", box=None, pad_edge=False)
    for check in checks:
        found = styled(check.found)
        if check.remedy:
            found.append("\n").append_text(styled((f"→ {check.remedy}", "bold")))
        table.add_row(check.name, styled((check.status.value, COLOURS[check.status])), found)
    console.print(table)
    fails = sum(check.status is Status.FAIL for check in checks)
    warnings = sum(check.status is Status.WARN for check in checks)
    console.print()
    console.print(f"{count_of(len(checks), 'check')}: {fails} failed, {warnings} with a warning")
    if fails:
        what = "Without root, and whatever failed above" if rootless else "Whatever failed above"
        console.print(f"{what}, `ids replay` and `ids rules check` work.")
