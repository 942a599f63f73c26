"""`ids rules check`: every fault of rule files."""

from __future__ import annotations

import sys
from typing import Any

import click

from ids.cli.options import build_config, config_options, count_of, output_option, print_message, show_json
from ids.cli.rules.rows import LANGUAGES, read_rules
from ids.errors import RuleError


def _problem(error: RuleError) -> dict[str, Any]:
    place = error.location
    return {
        "path": place.path, "line": place.line, "column": place.column, "message": error.message, "remedy": error.remedy
    }  # fmt: skip


@click.command("check")
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
    """Load rule files and report every fault with its place. Exit code 2 when a rule would be refused."""
    config = build_config(config_path, overrides, (*paths, *only_rules))
    rows, errors, loaded = read_rules(config)
    warnings = [*loaded.warnings]
    if not config.rules.strict:
        errors += loaded.refused
    if output == "json":
        show_json(
            {"rules": len(rows), "errors": [_problem(e) for e in errors], "warnings": [_problem(w) for w in warnings]}
        )
    else:
        for warning in warnings:
            print_message(f"warning: {warning}")
        for error in errors:
            print_message(f"error: {error}")
        by = ", ".join(f"{sum(r['language'] == name for r in rows)} {name.upper()}" for name in LANGUAGES)
        found = f"{count_of(len(errors), 'error')}, {count_of(len(warnings), 'warning')}"
        click.echo(f"{count_of(len(rows), 'rule')} loaded ({by}), {found}")
        if loaded.refused:
            click.echo(loaded.left_out())
    if errors:
        sys.exit(2)
