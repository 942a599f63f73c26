"""`ids rules list`: the rules that would be loaded."""

from __future__ import annotations

import sys

import click
from rich.table import Table

from ids.cli.options import build_config, config_options, count_of, output_console, output_option, show_rows
from ids.cli.rules.rows import read_rules


@click.command("list")
@config_options
@output_option
def command(config_path: str | None, overrides: tuple[str, ...], only_rules: tuple[str, ...], output: str) -> None:
    """List the rules that would be loaded."""
    rows, errors, loaded = read_rules(build_config(config_path, overrides, only_rules))
    rows.sort(key=lambda row: row["sid"])
    if output == "json":
        show_rows(rows)
    else:
        table = Table("sid", "title", "severity", "buffers", "source", box=None)
        for row in rows:
            table.add_row(
                str(row["sid"]),
                row["title"],
                str(row["severity"]),
                ", ".join(row["buffers"]),
                row["source"],
            )
        output_console().print(table)
    if loaded.refused:
        click.echo(f"ids: {loaded.left_out()}: see `ids rules check`", err=True)
    if errors:
        click.echo(
            f"ids: {count_of(len(errors), 'fault')} kept rules from being listed: see `ids rules check`", err=True
        )
        sys.exit(2)
