"""`ids lab`: the whole engine at work in three network namespaces, shown step by step."""

from __future__ import annotations

import sys
from functools import partial

import click
from rich.console import Console

from ids.cli.options import output_console, output_option, show_json, styled
from ids.lab.interruption import Interrupted, interruptible
from ids.lab.removal import labs, remove
from ids.lab.story import MAX_ATTACKS, Report, Step, Story
from ids.lab.topology import Lab

ATTACKS = 50
QUICK_ATTACKS = 5


@click.command()
@click.option("--attacks", type=click.IntRange(0, MAX_ATTACKS), help=f"Attacks to time.  [default: {ATTACKS}]")
@click.option("--quick", is_flag=True, help=f"Time only {QUICK_ATTACKS} attacks.")
@click.option("--keep", is_flag=True, help="Leave the lab running afterwards, to look around in.")
@click.option("--remove", "removed", metavar="NAME", help="Remove a lab that was kept, and do nothing else.")
@output_option
def lab(attacks: int | None, quick: bool, keep: bool, removed: str | None, output: str) -> None:
    """Attack a web server behind a gateway that runs this engine, and show what happens.

    Attacker, gateway and server are network namespaces of their own, with documentation addresses: nothing outside them
    is touched, and nothing is left behind, also when interrupted. Needs root and XDP; where they are missing the exit
    code is 3. It is 1 if a step did not hold.
    """
    if removed is not None:
        _remove(removed)
        return
    if attacks is None:
        attacks = QUICK_ATTACKS if quick else ATTACKS
    try:
        with interruptible():  # around the report, too
            report = _run(attacks, keep, output)
    except Interrupted as interrupted:
        click.echo(f"ids: {interrupted}: the lab is removed", err=True)
        sys.exit(interrupted.exit_code)
    if output == "json":
        show_json(report.to_json())
    sys.exit(0 if report.ok else 1)


def _run(attacks: int, keep: bool, output: str) -> Report:
    # No spinner: its thread would take turns with the sender of the probes and falsify what they measure.
    console = output_console(quiet=output == "json")
    with Lab(keep=keep) as built:
        report = Story(built, partial(_print_title, console), partial(_print_outcome, console)).run(attacks)
        if report.log is not None:
            for line in ("", "The end of the engine's log:", *report.log.splitlines()):
                console.print(line, soft_wrap=True)
        if keep:
            _print_kept(built)
    if not keep:
        left = built.leftovers()
        removed = Step(
            "removed", "Nothing is left", not left, left or ["namespaces, processes, pins and files are gone"]
        )
        report.steps.append(removed)
        _print_title(console, removed.title)
        _print_outcome(console, removed)
    return report


def _print_title(console: Console, title: str) -> None:
    console.print(styled((title, "bold")))


def _print_outcome(console: Console, step: Step) -> None:
    mark = ("✓", "green") if step.ok else ("✗", "red")
    for line in step.detail:
        console.print(styled("  ", mark, f" {line}"), soft_wrap=True)
        mark = (" ", "")


def _print_kept(built: Lab) -> None:
    click.echo(f"\nThe lab stays. Files: {built.directory}", err=True)
    for namespace in (built.attacker, built.gateway, built.server):
        click.echo(f"  enter    ip netns exec {namespace.name} bash", err=True)
    click.echo(f"  remove   ids lab --remove {built.name}", err=True)


def _remove(name: str) -> None:
    if name not in labs():
        there = ", ".join(labs()) or "none"
        raise click.BadParameter(f"there is no lab {name}; there are: {there}", param_hint="--remove")
    remove(name)
