"""Rows of figures: printed, each with its note below, and kept in ``build/bench.json``."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


WIDTH = 160
"""Of lines that go to no terminal."""


class CannotRun(Exception):
    """What a benchmark needs is not here; the message names it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: a median of interleaved rounds, with its spread and its ratio to the peer in the same run."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    peer: str = ""
    """What the ratio is against."""
    note: str = ""


def show(title: str, rows: list[Row], command: str) -> None:
    """Print one benchmark's rows, and merge them into `OUTPUT` under its title."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(f"\n[italic]{title}[/]")
    wide = max(len(row.name) for row in rows)
    for row in rows:
        spread = f"({row.low:,.4g}–{row.high:,.4g})" if row.low is not None and row.high is not None else ""
        ratio = f"{row.ratio:.2f}× {row.peer}" if row.ratio is not None else ""
        console.print(f"  {row.name:<{wide}}  {row.value:>9,.4g} {row.unit} {spread}  [bold]{ratio}[/]", soft_wrap=True)
        if row.note:
            console.print(f"      {row.note}", style="dim", soft_wrap=True)
    keep(title, rows, command)


def keep(title: str, rows: list[Row], command: str) -> None:
    """Merge one benchmark's rows into `OUTPUT` under its title."""
    OUTPUT.parent.mkdir(exist_ok=True)
    kept = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    kept[title] = {"command": command, "kernel": platform.release(), "rows": [asdict(row) for row in rows]}
    OUTPUT.write_text(json.dumps(kept, indent=1) + "\n")
