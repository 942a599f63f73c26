"""`ids rules coverage`: what the loaded rules need to be shown, and what hides some of it from them."""

from __future__ import annotations

import click
from rich.table import Table

from ids.authoring.coverage import Coverage, coverage
from ids.cli.options import build_config, config_options, count_of, output_console, output_option, show_json
from ids.cli.rules.rows import read_rules


@click.command("coverage")
@click.argument("paths", nargs=-1, type=click.Path())
@config_options
@output_option
def command(
    paths: tuple[str, ...],
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Show which buffers and protocols the loaded rules need, and what fast path and settings hide from them."""
    config = build_config(config_path, overrides, (*paths, *only_rules))
    _, _, loaded = read_rules(config)
    found = coverage(loaded, config)
    if output == "json":
        show_json(found)
    else:
        _show(found)


def _show(found: Coverage) -> None:
    console = output_console()
    table = Table("buffer", "protocol", box=None)
    table.add_column("rules", justify="right")
    table.add_column("")
    for need in found.buffers:
        note = "" if need.parsed else "nothing parses it"
        table.add_row(need.name, need.protocol or "any", f"{need.rules:,}", note)
    console.print(table)
    protocols = Table("traffic", box=None)
    protocols.add_column("rules", justify="right")
    protocols.add_column("")
    for name, count in found.protocols.items():
        note = "recognised, not parsed: its payload alone" if name in found.unparsed else ""
        protocols.add_row(name, f"{count:,}", note)
    console.print(protocols)
    shown = Table("transport", box=None)
    shown.add_column("rules", justify="right")
    shown.add_column("bytes shown of each side", justify="right")
    for name, count in found.transports.items():
        shown.add_row(name, f"{count:,}", f"{found.depths[name]:,}")
    console.print(shown)
    hidden = Table("hidden from", "what", "setting", box=None)
    for each in found.hidden:
        hidden.add_row(count_of(each.rules, "rule"), each.what, each.setting)
    if found.hidden:
        console.print(hidden)
    if found.left_out:
        causes = ", ".join(f"{cause} {count:,}" for cause, count in list(found.left_out.items())[:12])
        console.print(f"not loaded: {causes}")
    console.print(f"{count_of(found.rules, 'rule')}, {count_of(len(found.buffers), 'buffer')}")
