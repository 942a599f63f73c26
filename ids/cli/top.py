"""`ids top`: a live screen of one instance; without an engine, of the kernel's counters alone."""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ids.cli.consoles import LiteralConsole
from ids.cli.options import instance_options, output_option, styled, usable_config
from ids.config import Config
from ids.errors import KernelError
from ids.kernel.flows.busiest import Flows, pinned_flows
from ids.kernel.instance import instance_dir
from ids.respond.uninspected import uninspected
from ids.snapshot import Snapshot, take_snapshot

MOST = 12
"""Lines of each table."""
BAR = 14

NUMBER = 7
"""Least width of a column of numbers: the column of names is the one that gives way."""

WIDE = 130
"""Columns of a terminal that has room for three tables beside each other."""

SOURCES = 80
"""Columns of the table of sources: the longest address and four numbers."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen at one moment."""

    seen: Snapshot
    flows: Flows | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast counters moved between two looks, a second; what fell, or was not there, has none."""

    seconds: float = 0.0
    of: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def between(cls, before: Snapshot | None, now: Snapshot) -> Rates:
        """Return the rates between two snapshots; none at the first."""
        if before is None or now.taken_ns <= before.taken_ns:
            return cls()
        seconds = (now.taken_ns - before.taken_ns) / 1e9
        moved = {
            name: (count - before.counters.get(name, 0)) / seconds
            for name, count in now.counters.items()
            # a counter that appears has moved from zero, unless all of the engine's appear with it
            if (name in before.counters or before.up or name.startswith("kernel."))
            and count >= before.counters.get(name, 0)
        }
        return cls(seconds, moved)


@click.command()
@click.option("--every", "every_s", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds.")
@click.option("--count", type=click.IntRange(1), help="End after so many looks.")
@instance_options
@output_option
def top(every_s: float, count: int | None, config_path: str | None, overrides: tuple[str, ...], output: str) -> None:
    """Watch an instance: who sends most, verdicts, rules, rings, lag. Ends with q.

    Rates are those of the interval. With `-o json`, or where stdout is no terminal, each look is one line of JSON.
    """
    config = usable_config(config_path, overrides)
    if output == "json" or not sys.stdout.isatty():
        before: Look | None = None
        for look in looks(config, every_s, count, _wait):
            click.echo(json.dumps(data_of(before, look)))
            before = look
        return
    console = LiteralConsole()
    before = None
    with _keys() as wait, Live(console=console, screen=True, auto_refresh=False) as live:
        for look in looks(config, every_s, count, wait):
            live.update(screen(before, look, console.size, config.instance), refresh=True)
            before = look


def looks(config: Config, every_s: float, count: int | None, wait: Any) -> Iterator[Look]:
    """Yield a look each interval; ``wait`` sleeps so long and returns whether somebody wants to end."""
    pins = instance_dir(config.fastpath, config.instance)
    number = 0
    while count is None or number < count:
        started = time.monotonic()
        seen = take_snapshot(config)
        try:
            flows = pinned_flows(pins, MOST) if seen.kernel is not None else None
        except (KernelError, OSError):
            flows = None
        yield Look(seen, flows)
        number += 1
        if number != count and wait(max(0.0, every_s - (time.monotonic() - started))):
            return


def data_of(before: Look | None, now: Look) -> dict[str, Any]:
    """Return a look as plain data."""
    seen, rates = now.seen, Rates.between(None if before is None else before.seen, now.seen)
    return {
        "ts_ns": seen.taken_ns,
        "answers": seen.up,
        "problem": seen.problem,
        "attached": list(seen.interfaces),
        "shadow": seen.shadow,
        "lag_ms": seen.counters.get("engine.lag_ms") if seen.up else None,
        "interval_s": round(rates.seconds, 3),
        "kernel": {
            name: {"packets": packets, "bytes": size, "packets_per_s": _rounded(rates, f"kernel.{name}.packets")}
            for name, (packets, size) in (seen.kernel or {}).items()
            if packets
        },
        "uninspected": [row.to_json() for row in uninspected(seen.counters, live=True)],
        "rules": [
            {"sid": int(sid) if sid.isdecimal() else sid, "alerts": alerts, "time_us": us}
            for sid, alerts, us in _rules(seen)
        ],
        "rings": [{"worker": ring.worker, "name": ring.name, "fill": round(ring.ratio, 4)} for ring in seen.rings],
        "flows": None if now.flows is None else {"count": now.flows.count, "states": now.flows.by_state},
        "sources": [
            {"address": str(one.address), "flows": one.flows, "packets": one.packets, "bytes": one.bytes}
            for one in (now.flows.busiest if now.flows else ())
        ],
    }


def screen(before: Look | None, now: Look, size: tuple[int, int], instance: str) -> RenderableType:
    """Return the whole screen of ``size``, columns and lines; a narrow one has the tables below each other."""
    width, height = size
    levels = 2 if width >= WIDE else 3
    lines = max(3 if levels == 2 else 2, (height - 4) // levels - 3)
    rates = Rates.between(None if before is None else before.seen, now.seen)
    sources = _pane("sources", _sources(before, now, lines))
    sources.size = SOURCES if levels == 2 else None
    verdicts = _pane("verdicts", _verdicts(now, rates, lines))
    rules = _pane("rules", _rules_table(now, rates, lines))
    rings = _pane("rings, flows", Group(_rings(now, lines), _flows(now)))
    missed = _pane("uninspected", _missed(now, rates, lines))
    rows = (
        [[sources, verdicts], [rules, rings, missed]]
        if levels == 2
        else [[sources], [verdicts, missed], [rules, rings]]
    )
    layout = Layout()
    parts = [Layout(name=f"row {number}") for number in range(levels)]
    layout.split_column(Layout(_head(now, rates, instance), name="head", size=4), *parts)
    for part, panes in zip(parts, rows, strict=True):
        part.split_row(*panes)
    return layout


def _pane(title: str, content: RenderableType) -> Layout:
    return Layout(Panel(content, title=title, title_align="left", border_style="dim"))


def _head(now: Look, rates: Rates, instance: str) -> RenderableType:
    seen = now.seen
    state = ("engine up", "bold green") if seen.up else ("no engine", "bold red")
    first: list[str | tuple[str, str]] = [(f"ids {instance}  ", "bold"), state]
    first.append(f"  {', '.join(seen.interfaces) or 'nothing is guarded'}")
    if seen.shadow:
        first.append(("  shadow mode", "bold yellow"))
    if seen.problem:
        first.append((f"  {seen.problem}", "yellow"))
    counters = seen.counters
    passed, dropped = (_verdict_rate(rates, verdict) for verdict in ("pass", "drop"))
    second = f"passed {_amount(passed)}/s  dropped {_amount(dropped)}/s"
    if seen.up:
        inspected, alerts = (_moved(rates, name) for name in ("decode.packets", "detect.alerts"))
        second += (
            f"  inspected {_amount(inspected)}/s  alerts {_amount(alerts)}/s"
            f"  lag {counters.get('engine.lag_ms', 0):,} ms  blocks {counters.get('respond.blocks', 0):,}"
        )
    return Group(styled(*first), Text(second), Text("q ends", style="dim"))


def _sources(before: Look | None, now: Look, lines: int) -> Table:
    table = _table("source", "flows", "packets", "bytes", "bytes/s")
    seconds = 0.0 if before is None else (now.seen.taken_ns - before.seen.taken_ns) / 1e9
    then = {one.address: one.bytes for one in (before.flows.busiest if before and before.flows else ())}
    for one in (now.flows.busiest if now.flows else ())[:lines]:
        earlier = then.get(one.address)
        moved = None if earlier is None or one.bytes < earlier or not seconds else (one.bytes - earlier) / seconds
        table.add_row(str(one.address), f"{one.flows:,}", _amount(one.packets), _amount(one.bytes), _amount(moved))
    return table


def _verdicts(now: Look, rates: Rates, lines: int) -> Table:
    table = _table("verdict", "packets", "packets/s")
    rows = [(name, count) for name, (count, _) in (now.seen.kernel or {}).items() if count]
    rows.sort(key=lambda row: (-rates.of.get(f"kernel.{row[0]}.packets", 0.0), -row[1]))
    for name, count in rows[:lines]:
        table.add_row(name, f"{count:,}", _amount(rates.of.get(f"kernel.{name}.packets")))
    return table


def _rules_table(now: Look, rates: Rates, lines: int) -> Table:
    table = _table("rule", "alerts", "time", "of a core")
    for sid, alerts, us in _rules(now.seen)[:lines]:
        spent = rates.of.get(f"rule_time_us.{sid}")
        table.add_row(sid, f"{alerts:,}", f"{us / 1e6:,.2f} s", "–" if spent is None else f"{spent / 1e4:.1f} %")
    return table


def _rings(now: Look, lines: int) -> Table:
    table = _table("ring", "taken", "")
    for ring in now.seen.rings[:lines]:
        full = round(ring.ratio * BAR)
        style = "red" if ring.ratio > 0.75 else "green"
        bar = Text("█" * full, style=style) + Text("░" * (BAR - full), style="dim")
        table.add_row(f"{ring.worker} {ring.name}", f"{100 * ring.ratio:.1f} %", bar)
    return table


def _flows(now: Look) -> Text:
    if now.flows is None:
        return Text("")
    states = ", ".join(f"{name} {count:,}" for name, count in sorted(now.flows.by_state.items()))
    return Text(f"\n{now.flows.count:,} flows: {states}" if states else "\nno flows")


def _missed(now: Look, rates: Rates, lines: int) -> Table:
    table = _table("reason", "packets", "bytes")
    for row in uninspected(now.seen.counters, live=True)[:lines]:
        style = "" if row.intended else "bold yellow"
        packets, size = ("" if n is None else _amount(n) for n in (row.packets, row.bytes))
        table.add_row(Text(row.reason, style=style), packets, size)
    return table


def _rules(seen: Snapshot) -> list[tuple[str, int, int]]:
    """Return sid, alerts and microseconds of the rules that are counted by themselves, the most frequent first."""
    alerts = {name[12:]: count for name, count in seen.counters.items() if name.startswith("rule_alerts.")}
    spent = {name[13:]: count for name, count in seen.counters.items() if name.startswith("rule_time_us.")}
    rows = [(sid, alerts.get(sid, 0), spent.get(sid, 0)) for sid in alerts.keys() | spent.keys()]
    return sorted(rows, key=lambda row: (-row[1], -row[2], row[0]))


def _table(*headings: str) -> Table:
    table = Table(box=None, expand=True, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(
            heading, justify="right" if number else "left", no_wrap=True, header_style="dim",
            min_width=NUMBER if number and heading else None,
        )  # fmt: skip
    return table


def _verdict_rate(rates: Rates, verdict: str) -> float | None:
    found = [
        value for name, value in rates.of.items() if name.startswith(f"kernel.{verdict}.") and name.endswith(".packets")
    ]
    return sum(found) if rates.seconds else None


def _moved(rates: Rates, name: str) -> float | None:
    """Return the rate of a counter of an engine that answers: what it has not counted yet does not move."""
    return rates.of.get(name, 0.0) if rates.seconds else None


def _rounded(rates: Rates, name: str) -> float | None:
    value = rates.of.get(name)
    return None if value is None else round(value, 1)


def _amount(number: float | None) -> str:
    """Spell a number in a few characters: ``950``, ``12.3k``, ``4.5M``."""
    if number is None:
        return "–"
    for unit in ("", "k", "M", "G", "T"):
        if abs(number) < 1000 or unit == "T":
            return f"{number:,.0f}{unit}" if not unit else f"{number:,.1f}{unit}"
        number /= 1000
    return ""


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@contextmanager
def _keys() -> Iterator[Any]:
    """Read keys as they are pressed; yield what sleeps until the time is over or q is pressed, and says which."""
    if not sys.stdin.isatty():
        yield _wait
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)

        def wait(seconds: float) -> bool:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if select.select([fd], [], [], left)[0]:
                    pressed = os.read(fd, 64)
                    if not pressed or b"q" in pressed.lower():
                        return True
            return False

        yield wait
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
