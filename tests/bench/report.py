"""Rows of figures: printed as a table, and kept in ``build/bench.json``."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


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
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("what", "median", "min–max", "unit", "ratio", "note"):
        table.add_column(heading, justify="right" if heading in ("median", "min–max", "ratio") else "left")
    for row in rows:
        spread = f"{row.low:,.4g}–{row.high:,.4g}" if row.low is not None and row.high is not None else ""
        ratio = f"{row.ratio:.2f}× {row.peer}" if row.ratio is not None else ""
        table.add_row(row.name, f"{row.value:,.4g}", spread, row.unit, ratio, row.note)
    Console().print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    kept = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else {}
    kept[title] = {"command": command, "kernel": platform.release(), "rows": [asdict(row) for row in rows]}
    OUTPUT.write_text(json.dumps(kept, indent=1) + "\n")
