"""`ids rules profile`: what each rule costs on a capture."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from ids.authoring.profile import Profile, RuleCost, profile
from ids.cli.options import build_config, config_options, count_of, output_console, output_option, show_json
from ids.cli.rules.captures import reading
from ids.replay import find_captures


@click.command("profile")
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option("--top", default=25, show_default=True, type=click.IntRange(min=1), help="Rules that are shown.")
@click.option(
    "--sort", "key", type=click.Choice(["total", "average", "checks", "matches"]), default="total", show_default=True,
    help="What the dearest have most of.",
)  # fmt: skip
@config_options
@output_option
def command(
    paths: tuple[str, ...],
    top: int,
    key: str,
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Run captures and show what each rule cost: how often it was checked and matched, and the time that took.

    A rule is checked where one of its literals was seen in traffic that it looks at.
    """
    config = build_config(config_path, overrides, only_rules)
    captures = find_captures(list(paths))
    with reading(captures) as note:
        found = profile(captures, config, note)
    if output == "json":
        show_json(_tree(found, key))
    else:
        _show(found, key, top)


def _share(ns: int, found: Profile) -> float:
    return 100 * ns / found.total.ns if found.total.ns else 0.0


def _row(cost: RuleCost, found: Profile) -> dict[str, Any]:
    signature = cost.rule.signature
    return {
        "sid": signature.sid, "title": signature.title, "source": signature.origin, "checks": cost.checks,
        "matches": cost.matches, "us_per_check": round(cost.us_per_check, 2), "ms": round(cost.ns / 1e6, 3),
        "share": round(_share(cost.ns, found), 2),
    }  # fmt: skip


def _tree(found: Profile, key: str) -> dict[str, Any]:
    return {
        "packets": found.packets, "loaded": found.loaded, "ms": round(found.total.ns / 1e6, 3),
        "prefilter_ms": round(found.prefilter_ns / 1e6, 3), "rules_ms": round(found.rules_ns / 1e6, 3),
        "other_ms": round(found.other_ns / 1e6, 3),
        "prefilters": {
            name: {"calls": spent.calls, "bytes": spent.bytes, "ms": round(spent.ns / 1e6, 3)}
            for name, spent in found.prefilters.items() if spent.calls
        },
        "yara_estimated": found.estimated,
        "rules": [_row(cost, found) for cost in found.ordered(key)],
    }  # fmt: skip


def _show(found: Profile, key: str, top: int) -> None:
    console = output_console()
    ordered = found.ordered(key)
    table = Table("sid", box=None)
    for name in ("checks", "matches", "µs/check", "ms", "share"):
        table.add_column(name, justify="right")
    table.add_column("title", overflow="fold")
    for cost in ordered[:top]:
        table.add_row(
            str(cost.rule.signature.sid), f"{cost.checks:,}", f"{cost.matches:,}", f"{cost.us_per_check:.1f}",
            f"{cost.ns / 1e6:.2f}", f"{_share(cost.ns, found):.1f}%", cost.rule.signature.title,
        )  # fmt: skip
    if ordered:
        console.print(table)
    if len(ordered) > top:
        console.print(f"… and {len(ordered) - top:,} more (--top, or -o json)")
    where = Table("", box=None)
    for name in ("ms", "share", "MB"):
        where.add_column(name, justify="right")
    where.add_row("all matching", f"{found.total.ns / 1e6:.1f}", "100%", "")
    where.add_row("rules checked", f"{found.rules_ns / 1e6:.1f}", f"{_share(found.rules_ns, found):.1f}%", "")
    for name, spent in sorted(found.prefilters.items(), key=lambda item: -item[1].ns):
        if spent.bytes:
            ms, share = f"{spent.ns / 1e6:.1f}", f"{_share(spent.ns, found):.1f}%"
            where.add_row(f"prefilter: {name}", ms, share, f"{spent.bytes / 1e6:.2f}")
    where.add_row("else", f"{found.other_ns / 1e6:.1f}", f"{_share(found.other_ns, found):.1f}%", "")
    console.print(where)
    checked = f"{len(ordered):,} of {count_of(found.loaded, 'rule')} checked"
    per = f", {found.total.ns / found.packets / 1000:.2f} µs a packet" if found.packets else ""
    console.print(f"{checked} on {count_of(found.packets, 'packet')}{per}")
    if found.estimated:
        console.print("the times of single YARA rules are even shares of libyara's time")
