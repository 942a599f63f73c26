"""`ids rules explain`: why a rule matched in a capture, or what kept it from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from ids.authoring.explain import Explanation, Look, explain
from ids.authoring.trace import Finding, Mark
from ids.cli.options import (
    build_config,
    config_options,
    count_of,
    output_console,
    output_option,
    show_json,
    styled,
)
from ids.cli.rules.captures import reading
from ids.errors import UsageError
from ids.replay import find_captures

ROW = 16
MAX_ROWS = 8
"""Rows of bytes that are shown of a test that holds,"""
FAILED_ROWS = 3
"""and of one that does not: where the buffer begins."""


@click.command("explain")
@click.argument("rule", metavar="SID|FILE:SID")
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PCAP...")
@config_options
@output_option
def command(
    rule: str,
    paths: tuple[str, ...],
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Say which conditions of a rule held or failed in a capture, on which bytes; where it did not match, at its
    nearest miss.

    With FILE:SID only the rules of that file are loaded, but for those of -S. Exit code 0 in either case.
    """
    file, _, number = rule.rpartition(":")
    if not number.isdecimal():
        raise UsageError(f"{rule!r} names no rule: write its sid, such as 1000081, or its file and sid, x.yaml:1000081")
    config = build_config(config_path, overrides, (*([file] if file else []), *only_rules))
    captures = find_captures(list(paths))
    with reading(captures) as note:
        story = explain(int(number), captures, config, note)
    if output == "json":
        show_json(_tree(story))
    else:
        _show(story)


def _show(story: Explanation) -> None:
    console = output_console()
    signature = story.rule.signature
    console.print(
        styled((f"sid {signature.sid}", "bold"), f"  {signature.title}  ({signature.origin})"), soft_wrap=True
    )
    looks = f"{count_of(story.looks, 'place')} to look at in {count_of(story.packets, 'packet')}"
    console.print(
        f"{looks}, {story.admitted:,} of its traffic, {story.noticed:,} with one of its literals", soft_wrap=True
    )
    outcome = f"{len(story.matches)} matched, {count_of(story.alerts, 'alert')}"
    console.print(styled((outcome, "bold green" if story.alerts else "bold red")))
    for row in story.uninspected:
        console.print(styled(("uninspected", "bold" if row.intended else "bold yellow"), f"  {row}"), soft_wrap=True)
    if story.cut_short:
        console.print(story.cut_short)
    if story.best is None:
        console.print("the capture has nothing of the kind that this rule looks at")
        return
    _show_look(console, story.best, bool(story.matches))
    for line in _outcome(story):
        console.print(line, soft_wrap=True)


def _show_look(console: Console, look: Look, matched: bool) -> None:
    word = "holds in" if look.held else "nearest miss:"
    console.print()
    console.print(styled((f"{word} ", "bold"), f"{look.place}, {look.ends}, packet {look.number}"), soft_wrap=True)
    console.print("traffic")
    for finding in look.traffic:
        _finding(console, finding, 1)
    if look.needle is not None:
        console.print("prefilter")
        _finding(console, look.needle, 1)
    if look.condition is not None:
        console.print("condition")
        _finding(console, look.condition, 1)
    elif not matched:
        console.print("its bytes were not looked at: no flow is of its traffic")


def _outcome(story: Explanation) -> Iterator[Text]:
    signature = story.rule.signature
    for finding in story.state:
        yield _line(finding, 0, "state: ")
    if story.threshold:
        yield styled(f"threshold: {story.threshold}")
    if story.matches and not story.alerts:
        why = "state" if story.state else "its threshold" if story.threshold else "another rule or setting"
        if signature.state.silent:
            why = "the rule itself, which alerts not (silent, noalert)"
        yield styled((f"it matched, and {why} kept it from an alert", "bold"))
    if story.best is not None and story.best.held and not story.matches:
        yield styled("all conditions hold on the whole of it, but not at the moment when the engine looked")


def _line(finding: Finding, depth: int, before: str = "") -> Text:
    mark, style = ("ok", "green") if finding.held else ("NO", "bold red")
    return styled("  " * depth, (mark, style), f" {before}{finding.text}")


def _finding(console: Console, finding: Finding, depth: int) -> None:
    console.print(_line(finding, depth), soft_wrap=True)
    if finding.mark is not None:
        for row in _dump(finding.mark, MAX_ROWS if finding.held else FAILED_ROWS):
            console.print(Text("  " * depth + "     ") + row, soft_wrap=True, no_wrap=True)
    for part in finding.parts:
        _finding(console, part, depth + 1)


def _dump(mark: Mark, most: int) -> Iterator[Text]:
    """Yield rows of offset, hexadecimal and text; what was found is in brackets, and highlighted."""
    rows = range(0, len(mark.data), ROW)
    for at in rows[:most]:
        row = mark.data[at : at + ROW]
        line = Text(f"{mark.offset + at:08x} ")
        text = Text()
        for place in range(ROW):
            here = at + place
            inside = mark.start <= here < mark.end
            opens, closes = inside and here == mark.start, here == mark.end and mark.end > mark.start
            style = "bold reverse" if inside else ""
            line.append("[" if opens else "]" if closes else " ")
            if place < len(row):
                line.append(f"{row[place]:02x}", style)
                text.append(chr(row[place]) if 32 <= row[place] < 127 else ".", style)
            else:
                line.append("  ")
        line.append("]" if mark.end == at + ROW and mark.end > mark.start else " ")
        yield line + Text(" ") + text
    if len(rows) > most or mark.offset + len(mark.data) < mark.size:
        yield Text(f"… of {mark.size:,} bytes of {mark.buffer}")


def _tree(story: Explanation) -> dict[str, Any]:
    signature, best = story.rule.signature, story.best
    return {
        "sid": signature.sid, "title": signature.title, "source": signature.origin, "packets": story.packets,
        "looks": story.looks, "admitted": story.admitted, "noticed": story.noticed,
        "matches": [match.number for match in story.matches], "alerts": story.alerts, "note": story.cut_short,
        "uninspected": [row.to_json() for row in story.uninspected],
        "state": [_node(finding) for finding in story.state], "threshold": story.threshold or None,
        "best": None if best is None else {
            "held": best.held, "place": best.place, "ends": best.ends, "packet": best.number,
            "traffic": [_node(finding) for finding in best.traffic],
            "prefilter": None if best.needle is None else _node(best.needle),
            "condition": None if best.condition is None else _node(best.condition),
        },
    }  # fmt: skip


def _node(finding: Finding) -> dict[str, Any]:
    node: dict[str, Any] = {"held": finding.held, "text": finding.text}
    if finding.mark is not None:
        mark = finding.mark
        node["bytes"] = {
            "buffer": mark.buffer, "offset": mark.offset, "hex": mark.data[: ROW * MAX_ROWS].hex(),
            "start": mark.offset + mark.start, "end": mark.offset + mark.end,
        }  # fmt: skip
    if finding.parts:
        node["parts"] = [_node(part) for part in finding.parts]
    return node
