"""Writes the page. Captures are hostile: the template escapes all values, and what is not printable is spelt out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ids.errors import UsageError
from ids.literal import literal
from ids.replay.page.collect import MAX_ALERTS_OF_RULE, Collector, client_of, time_of
from ids.replay.page.figures import HEIGHT, WIDTH, bars, hex_rows, plot_of, size, span
from ids.replay.report import ReplayReport
from ids.version import __version__
from ids.whole import whole_file

MAX_ROWS = 500
"""Blocks, dropped flows and captures that are listed; the rest are counted."""
TOP = 12
"""Bars of a chart."""
MODE = 0o640
"""The page holds what people sent."""


def write_page(path: str | Path, report: ReplayReport, collected: Collector) -> None:
    """Write the page, whole or not at all; raises `UsageError` where that cannot be done."""
    target = Path(path)
    try:
        with whole_file(target, MODE) as file:
            _template().stream(_values(report, collected)).dump(file, "utf-8", "backslashreplace")
    except OSError as error:
        raise UsageError(f"--report {path}: {error.strerror or error}") from error


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals |= {
        "client_of": client_of, "hex_rows": hex_rows, "size": size, "span": span, "WIDTH": WIDTH, "HEIGHT": HEIGHT,
        "MAX_ROWS": MAX_ROWS, "MAX_ALERTS_OF_RULE": MAX_ALERTS_OF_RULE,
    }  # fmt: skip
    return environment.get_template("page.html")


def _shown(value: Any) -> Any:
    """Spell out what a browser would take for an order: control characters, marks of writing direction."""
    return literal(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value


def _values(report: ReplayReport, collected: Collector) -> dict[str, Any]:
    verdicts: Counter[str] = Counter()
    for capture in report.captures:
        verdicts.update({reason: tally.packets for reason, tally in capture.verdicts.items()})
    dropped = sum(packets for reason, packets in verdicts.items() if reason.startswith("drop."))
    first = [line.first_ns for line in collected.timelines.values()]
    last = [line.last_ns for line in collected.timelines.values()]
    rules = sorted(collected.rules.values(), key=lambda rule: (rule.severity, -rule.hits, rule.sid))
    return {
        "version": __version__,
        "report": report,
        "title": report.captures[0].path if len(report.captures) == 1 else f"{len(report.captures)} captures",
        "collected": collected,
        "alerts": sorted(collected.alerts, key=lambda event: event["alert"]["severity"]),
        "alerts_in_all": sum(sum(capture.alerts.values()) for capture in report.captures),
        "blocks": [(capture, block) for capture in report.captures for block in capture.blocks],
        "dropped_flows": [(capture, flow) for capture in report.captures for flow in capture.dropped_flows],
        "titles": {rule.sid: rule.title for rule in rules},
        "rules": rules,
        "dropped": dropped,
        "bytes": sum(capture.bytes for capture in report.captures),
        "flows": sum(capture.flows for capture in report.captures),
        "begin": time_of(min(first)) if first else "",
        "lasting": span((max(last) - min(first)) / 1e9) if first else "",
        "plots": [(source, plot_of(timeline)) for source, timeline in collected.timelines.items()],
        "verdict_bars": bars(verdicts.most_common(TOP)),
        "source_bars": bars(collected.bytes_by_source.top(TOP), "bytes"),
        "alert_bars": bars(collected.alerts_by_source.top(TOP)),
        "protocol_bars": bars(collected.protocols.top(TOP), "bytes"),
    }
