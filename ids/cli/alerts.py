"""`ids alerts`: what the engine has found, from its memory; with or without a running engine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from ids.cli.memory import memory
from ids.cli.options import count_of, instance_options, output_option, print_message, usable_config
from ids.cli.values import Moment, Network, moment
from ids.literal import excerpt, literal
from ids.store.queries import Alert, Filters, alert, every_alert
from ids.types import IPNetwork

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_VALUE = 200
"""Characters of a value on the screen; `-o json` has all of it."""


def filter_options(command: Command) -> Command:
    """Add the options that say which alerts are meant."""
    for option in (
        click.option("--action", type=click.Choice(["blocked", "allowed"]), help="Only what became of the packets."),
        click.option("--severity", type=click.IntRange(0, 255), help="As severe or more so; 1 is the most severe."),
        click.option("--address", type=Network(), help="An address or prefix at either end."),
        click.option("--dest", type=Network(), help="An address or prefix that was sent to."),
        click.option("--src", type=Network(), help="An address or prefix that sent it."),
        click.option("--sid", type=int, help="The rule's number."),
        click.option("--since", "since_ns", type=Moment(), help="From then on: 1h or 7d before now, or a date (UTC)."),
    ):
        command = option(command)
    return command


@click.group()
def alerts() -> None:
    """Show what was found, from the memory of alerts."""


@alerts.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="So many at most.")
@instance_options
@output_option
def alerts_list(
    since_ns: int | None, sid: int | None, src: IPNetwork | None, dest: IPNetwork | None, address: IPNetwork | None,
    severity: int | None, action: str | None, limit: int,
    config_path: str | None, overrides: tuple[str, ...], output: str,
) -> None:  # fmt: skip
    """List alerts, the latest first. The number in front is what `ids alerts show` and `ids why` take."""
    filters = Filters(since_ns, None, sid, src, dest, address, severity, action)
    with memory(usable_config(config_path, overrides)) as database:
        shown = 0
        for found in every_alert(database, filters, limit, lines=output == "json", oldest_first=False):
            click.echo(_json_line(found) if output == "json" else line_of(found))
            shown += 1
    if output != "json":
        if not shown:
            print_message("ids: no alert that fits is remembered")
        elif shown == limit:
            print_message(f"ids: these are the latest {limit}; --limit shows more")


@alerts.command("show")
@click.argument("number", type=click.IntRange(min=1), metavar="ID")
@instance_options
@output_option
def alerts_show(number: int, config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Show one alert: what matched, where, and all that its event says. Exit code 1 where it is not remembered."""
    with memory(usable_config(config_path, overrides)) as database:
        found = alert(database, number)
    if found is None:
        print_message(f"ids: no alert {number} is remembered; `ids alerts list` shows those that are")
        sys.exit(1)
    if output == "json":
        click.echo(_json_line(found))
        return
    click.echo(line_of(found))
    for name, value in leaves(found):
        click.echo(f"  {literal(name)}: {value}")
    if not found.event:
        print_message("ids: its event is damaged in the memory; this is what is left of it")


@alerts.command("export")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), help="So many at most; without it all.")
@instance_options
def alerts_export(
    since_ns: int | None, sid: int | None, src: IPNetwork | None, dest: IPNetwork | None, address: IPNetwork | None,
    severity: int | None, action: str | None, limit: int | None,
    config_path: str | None, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Write alerts as EVE JSON to stdout, an event a line, the oldest first: what an EVE file would have had."""
    filters = Filters(since_ns, None, sid, src, dest, address, severity, action)
    spell = _ascii if sys.stdout.isatty() else str
    damaged = 0
    with memory(usable_config(config_path, overrides)) as database:
        for found in every_alert(database, filters, limit, lines=True, oldest_first=True):
            if found.event:
                click.echo(spell(found.line))
            else:
                damaged += 1
    if damaged:
        print_message(f"ids: {count_of(damaged, 'alert')} are left out, whose events are damaged in the memory")


def leaves(found: Alert) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the value of all that an event says, evidence a piece a line; safe for a terminal."""
    for piece in found.evidence:
        yield "evidence", f"{literal(str(piece['buffer']))} at {piece['offset']}: {excerpt(str(piece['excerpt']))}"
    stack: list[tuple[str, Any]] = [("", found.event)]
    while stack:
        name, value = stack.pop()
        if name == "ids.evidence":
            continue
        if isinstance(value, dict):
            stack += [(f"{name}.{key}" if name else str(key), inner) for key, inner in reversed(value.items())]
        elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
            stack += [(f"{name}[{at}]", inner) for at, inner in reversed(list(enumerate(value)))]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield name, literal(text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…")


def line_of(found: Alert) -> str:
    """Spell an alert in one line."""
    ends = f"{_end(found.src, found.src_port)} > {_end(found.dest, found.dest_port)}" if found.src else "no IP header"
    ends += f" for {found.client}" if found.client else ""
    rule = f"sid {found.sid} {found.signature}"
    return literal(
        f"{found.id:>7}  {moment(found.ts_ns)}  {found.action:<7}  {found.severity}  {found.proto} {ends}  {rule}"
    )


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _json_line(found: Alert) -> str:
    """Spell an alert as JSON: its number in the memory, and the event."""
    return json.dumps(found.to_json())


def _ascii(line: str) -> str:
    return json.dumps(json.loads(line))
