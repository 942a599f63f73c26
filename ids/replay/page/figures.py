"""Numbers as plots, and bytes as rows of a hex dump: data for the template, which draws it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ids.replay.page.collect import SEVERITIES, time_of
from ids.replay.page.timeline import BINS, Timeline
from ids.types import I64

WIDTH, HEIGHT = 3 * BINS, 120
"""Of the plot of packets, in units of the drawing."""
ROW_BYTES = 16
MAX_EVIDENCE_BYTES = 256


class Tick(NamedTuple):
    """Alerts of one severity in one bin."""

    x: int
    severity: int
    alerts: int


@dataclass(frozen=True, slots=True)
class Plot:
    """Packets over time."""

    packets: str
    """The outline of all packets, as an SVG path,"""
    dropped: str
    """and that of the dropped ones."""
    ticks: list[Tick]
    peak: int
    """Packets in the highest bin."""
    bin_text: str
    labels: list[tuple[int, str, str]]
    """Where along the axis, what, and how it is anchored."""


def plot_of(timeline: Timeline) -> Plot:
    """Draw a timeline."""
    packets, dropped = timeline.series("packets"), timeline.series("dropped")
    peak = max(int(packets.max()), 1)
    used = timeline.used
    step = WIDTH / used
    ticks = [
        Tick(round(step * (at + 0.5)), severity, count)
        for severity in reversed(SEVERITIES)
        for at, count in enumerate(timeline.series(f"alerts {severity}").tolist())
        if count
    ]
    start, width = timeline.start_ns, timeline.width_ns
    ends = [
        (0, time_of(start), "start"),
        (WIDTH // 2, f"+{span(used * width / 2e9)}", "middle"),
        (WIDTH, f"+{span(used * width / 1e9)}", "end"),
    ]
    return Plot(_outline(packets[:used], peak), _outline(dropped[:used], peak), ticks, peak, span(width / 1e9), ends)


def _outline(counts: I64, peak: int) -> str:
    """Return an area as a path; a bin with anything in it is at least one unit high."""
    step = f"{WIDTH / len(counts):.6g}"
    heights = np.where(counts > 0, np.maximum(counts * HEIGHT // peak, 1), 0)
    steps = [f"V{HEIGHT - height}h{step}" for height in heights.tolist()]
    return f"M0 {HEIGHT}{''.join(steps)}V{HEIGHT}Z"


class Bar(NamedTuple):
    """One line of a bar chart."""

    label: str
    text: str
    share: float
    """Of the longest, in percent."""
    kind: str = ""


def bars(rows: Iterable[tuple[str, int]], unit: str = "") -> list[Bar]:
    """Return bars for labels and numbers."""
    known = list(rows)
    longest = max((number for _, number in known), default=1) or 1
    spell = size if unit == "bytes" else lambda number: f"{number:,}"
    return [
        Bar(label, spell(number), round(100 * number / longest, 1), "drop" if label.startswith("drop.") else "")
        for label, number in known
    ]


class Run(NamedTuple):
    """Neighbouring bytes of a row, all of them marked or none."""

    marked: bool
    hexadecimal: str
    text: str


class HexRow(NamedTuple):
    """Sixteen bytes."""

    offset: str
    runs: list[Run]
    blank: str
    """What a short row lacks, for the text to stand below that of the others."""


def hex_rows(evidence: dict[str, Any]) -> list[HexRow]:
    """Return the bytes of a piece of evidence, with those marked that matched."""
    data = str(evidence.get("excerpt", "")).encode("latin-1", "replace")[:MAX_EVIDENCE_BYTES]
    first, last = _marks(evidence.get("matched"), len(data))
    begin = max(int(evidence.get("offset", 0)) - first, 0)
    rows = []
    for at in range(0, len(data), ROW_BYTES):
        row = data[at : at + ROW_BYTES]
        places = range(at, at + len(row))
        runs = [
            Run(marked, " ".join(f"{data[i]:02x}" for i in of), "".join(map(_printable, (data[i] for i in of))))
            for marked, found in groupby(places, lambda i: first <= i < last)
            if (of := list(found))
        ]
        rows.append(HexRow(f"{begin + at:08x}", runs, "   " * (ROW_BYTES - len(row))))
    return rows


def _marks(matched: Sequence[int] | None, length: int) -> tuple[int, int]:
    if not matched or len(matched) != 2:
        return 0, length
    return max(0, min(matched[0], length)), max(0, min(matched[1], length))


def _printable(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else "·"


def size(number: int) -> str:
    """Spell a number of bytes."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def span(seconds: float) -> str:
    """Spell a time span."""
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 172_800 else f"{seconds / 86_400:,.3g} days"
