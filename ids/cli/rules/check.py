"""`ids rules check`: every fault of rule files, and what is odd about the rules that load."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import click

from ids.authoring.fixes import fix_files
from ids.authoring.lints import LINTS, Lint, lints, named
from ids.authoring.never import nevers
from ids.cache import Cache
from ids.cli.options import build_config, config_options, count_of, output_option, print_message, show_json
from ids.cli.rules.rows import LANGUAGES, language_of, read_rules
from ids.errors import RuleError, UsageError
from ids.rules.language.loader import find_files
from ids.rules.language.suricata.regexes import uncompilable
from ids.rules.model.patterns import CACHE_SUFFIX, Patterns
from ids.rules.paths import cache_directory

MOST_SHOWN = 20
"""Warnings of one name that are shown; JSON has all."""


@click.command("check")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--fix", is_flag=True, help="First mend what can be mended without a change of meaning, in place.")
@click.option("--without", "unwanted", multiple=True, metavar="LINT", help="Leave out warnings of this name.")
@config_options
@output_option
def command(
    paths: tuple[str, ...],
    fix: bool,
    unwanted: tuple[str, ...],
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Load rule files and report every fault with its place, and what is odd about the rules that load.

    Exit code 2 when a rule would be refused. With --strict, exit code 1 when there is a warning.
    """
    if unknown := set(unwanted) - LINTS.keys():
        raise UsageError(f"--without: no warning is called {', '.join(sorted(unknown))}: {', '.join(LINTS)}")
    config = build_config(config_path, overrides, (*paths, *only_rules))
    if fix:
        if not (paths or only_rules):
            raise UsageError("--fix changes files: name them")
        for done in fix_files(find_files((*paths, *only_rules), config.rules.exclude, [])):
            print_message(f"fixed: {done.path}: {', '.join(done.changes)}")
    rows, errors, loaded = read_rules(config)
    warnings = [*map(named, (*loaded.warnings, *nevers(loaded))), *lints(loaded)]
    warnings = [lint for lint in warnings if lint.name not in unwanted]
    if not config.rules.strict:
        errors += loaded.refused
    of_suricata = (rule for rule in loaded.rules if language_of(rule) == "suricata")
    errors += uncompilable(of_suricata, Patterns(Cache(cache_directory(config.rules), CACHE_SUFFIX)))
    if output == "json":
        shown = [{**_problem(lint.place, lint.message, lint.remedy), "name": lint.name} for lint in warnings]
        show_json({"rules": len(rows), "errors": [_fault(error) for error in errors], "warnings": shown})
    else:
        _show(warnings, errors)
        by = ", ".join(f"{sum(r['language'] == name for r in rows)} {name.upper()}" for name in LANGUAGES)
        found = f"{count_of(len(errors), 'error')}, {count_of(len(warnings), 'warning')}"
        click.echo(f"{count_of(len(rows), 'rule')} loaded ({by}), {found}")
        if loaded.refused:
            click.echo(loaded.left_out())
    if errors:
        sys.exit(2)
    if warnings and config.rules.strict:
        sys.exit(1)


def _show(warnings: Sequence[Lint], errors: Iterable[RuleError]) -> None:
    seen: Counter[str] = Counter()
    for lint in warnings:
        seen[lint.name] += 1
        if seen[lint.name] <= MOST_SHOWN:
            print_message(f"warning: {lint}")
    for name, number in seen.items():
        if number > MOST_SHOWN:
            print_message(f"… and {number - MOST_SHOWN:,} more of {name}: {LINTS[name]} (all: -o json)")
    for error in errors:
        print_message(f"error: {error}")


def _fault(error: RuleError) -> dict[str, Any]:
    return _problem(error.location, error.message, error.remedy)


def _problem(place: Any, message: str, remedy: str) -> dict[str, Any]:
    return {"path": place.path, "line": place.line, "column": place.column, "message": message, "remedy": remedy}
