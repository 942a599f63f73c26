"""`ids rules`: check and list rules without running anything."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.table import Table

from ids.cache import Cache
from ids.cli.options import (
    build_config,
    config_options,
    count_of,
    output_console,
    output_option,
    print_message,
    show_json,
)
from ids.config import Config
from ids.errors import RuleError
from ids.plugin.dissection import impossible_fields
from ids.rules.language.json_schema import rule_file_schema
from ids.rules.language.loader import SURICATA_SUFFIXES, load_configured
from ids.rules.language.suricata.regexes import uncompilable
from ids.rules.model.patterns import CACHE_SUFFIX, Patterns
from ids.rules.model.rule import Rule
from ids.rules.model.ruleset import RuleSet
from ids.rules.paths import cache_directory
from ids.types import Signature

LANGUAGES = ("yaml", "yara", "suricata")


@click.group()
def rules() -> None:
    """Work on rules: YAML, YARA and Suricata's."""


def _read(config: Config) -> tuple[list[dict[str, Any]], list[RuleError], RuleSet]:
    """Return the rules that would be loaded as plain rows, the errors, and the load."""
    loaded = load_configured(config.rules, config.vars, cache_directory(config.rules))
    refused = impossible_fields(loaded.rules)
    without = {rule.identity for rule, _ in refused}
    kept = [rule for rule in loaded.rules if rule.identity not in without]
    rows = [_row(rule.signature, sorted(rule.buffers), _language(rule)) for rule in kept]
    rows += [_row(rule.signature, [rule.scope], "yara") for rule in loaded.yara.rules]
    return rows, [*loaded.errors, *(error for _, error in refused)], loaded


def _language(rule: Rule) -> str:
    return "suricata" if rule.source.path.endswith(SURICATA_SUFFIXES) else "yaml"


def _row(signature: Signature, buffers: list[str], language: str) -> dict[str, Any]:
    return {
        "sid": signature.sid, "title": signature.title, "severity": signature.severity, "buffers": buffers,
        "source": signature.origin, "language": language,
    }  # fmt: skip


def _problem(error: RuleError) -> dict[str, Any]:
    place = error.location
    return {
        "path": place.path, "line": place.line, "column": place.column, "message": error.message, "remedy": error.remedy
    }  # fmt: skip


@rules.command("check")
@click.argument("paths", nargs=-1, type=click.Path())
@config_options
@output_option
def rules_check(
    paths: tuple[str, ...],
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Load rule files and report every fault with its place. Exit code 2 when a rule would be refused."""
    config = build_config(config_path, overrides, (*paths, *only_rules))
    rows, errors, loaded = _read(config)
    warnings = [*loaded.warnings]
    if not config.rules.strict:
        errors += loaded.refused
    errors += uncompilable(
        (rule for rule in loaded.rules if _language(rule) == "suricata"),
        Patterns(Cache(cache_directory(config.rules), CACHE_SUFFIX)),
    )
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


@rules.command("schema")
def rules_schema() -> None:
    """Print the JSON Schema of YAML rule files, by which editors complete and check."""
    show_json(rule_file_schema())


@rules.command("list")
@config_options
@output_option
def rules_list(config_path: str | None, overrides: tuple[str, ...], only_rules: tuple[str, ...], output: str) -> None:
    """List the rules that would be loaded."""
    rows, errors, loaded = _read(build_config(config_path, overrides, only_rules))
    rows.sort(key=lambda row: row["sid"])
    if output == "json":
        show_json(rows)
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
