"""`ids rules test`: runs the tests that rules carry."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ids.authoring.companion import companion_tests
from ids.authoring.junit import write_junit
from ids.authoring.provers import every, prove_shared
from ids.authoring.proving import OnProgress, Verdict, Ways, asked_in_vain, families_of, proofs_of
from ids.cli.options import (
    build_config,
    config_options,
    count_of,
    output_console,
    output_option,
    print_message,
    show_rows,
    workers_option,
)
from ids.cli.rules.matrix import show_matrix
from ids.cli.rules.rows import read_rules
from ids.errors import RuleError, RulesRefused, UsageError
from ids.rules.model.ruleset import RuleSet
from ids.workers import worker_count

MAX_EVASIONS_SHOWN = 20
"""Evasions of one test that a table names; JSON and JUnit have all."""

PROGRESS_S = 10.0
"""How often progress is printed where stderr is no terminal."""


@click.command("test")
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--evade", metavar="all|FAMILY", help="Say each firing test in other ways, too: see docs/evasion.md.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    metavar="N",
    help="Only N evasions of each test: the same each time, others for each.",
)
@click.option("--junit", "junit_path", type=click.Path(), metavar="FILE", help="Write the results as JUnit's XML.")
@click.option("--failed", "only_failed", is_flag=True, help="Show what does not hold, and nothing else.")
@workers_option
@config_options
@output_option
def command(
    paths: tuple[str, ...],
    evade: str | None,
    sample: int | None,
    junit_path: str | None,
    only_failed: bool,
    workers: int | str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
    output: str,
) -> None:
    """Run the tests that rules carry, each through the whole engine. Exit code 1 where one does not hold.

    Rules in Suricata's language and YARA rules have theirs in a file beside them: x.tests.yaml for x.rules.
    """
    config = build_config(config_path, overrides, (*paths, *only_rules))
    try:
        families_of(evade)
    except ValueError as error:
        raise UsageError(f"--evade: {error}") from None
    _, errors, loaded = read_rules(config)
    beside = companion_tests(loaded.files, _sids(loaded), errors)
    proofs = proofs_of((*loaded.rules, *loaded.yara.rules), beside)
    _check_families(proofs, errors)
    if errors:
        raise RulesRefused(errors)
    if not proofs:
        raise UsageError("no rule here carries a test: add `tests:` to it, or a file x.tests.yaml beside x.rules")
    with _progress(len(proofs)) as note:
        count = worker_count(workers or "auto")
        verdicts = list(prove_shared(proofs, config, Ways(evade, sample), count, note))
    if junit_path is not None:
        try:
            write_junit(junit_path, verdicts)
        except OSError as error:
            raise UsageError(f"--junit {junit_path}: {error.strerror or error}") from error
    if output == "json":
        show_rows(map(_row, verdicts))
    else:
        _show(verdicts, only_failed)
        show_matrix(verdicts, only_failed)
        _summary(verdicts, loaded, sum(asked_in_vain(proof, evade) for proof in proofs))
    if not all(verdict.held for verdict in verdicts):
        sys.exit(1)


@contextmanager
def _progress(tests: int) -> Iterator[OnProgress]:
    """Show how many tests are through: as a bar, or in a log as a line now and then."""
    if not sys.stderr.isatty():
        yield every(PROGRESS_S, lambda through: print_message(f"{through:,} of {count_of(tests, 'test')} through"))
        return
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with progress:
        task = progress.add_task("testing", total=tests)
        yield lambda through: progress.update(task, completed=through)


def _sids(loaded: RuleSet) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for rule in (*loaded.rules, *loaded.yara.rules):
        found.setdefault(rule.source.path, set()).add(rule.signature.sid)
    return {path: frozenset(sids) for path, sids in found.items()}


def _check_families(proofs: Iterable[Any], errors: list[RuleError]) -> None:
    for proof in proofs:
        try:
            families_of(proof.test.evade)
        except ValueError as error:
            errors.append(RuleError(f"sid {proof.sid}: test {proof.test.name!r}: {error}", proof.rule.source))


def _row(verdict: Verdict) -> dict[str, Any]:
    rule = verdict.proof.rule
    return {
        "sid": rule.signature.sid, "title": rule.signature.title, "source": str(rule.source),
        "test": verdict.proof.test.name, "evasion": verdict.evasion or None, "expected": verdict.expected,
        "got": verdict.got, "held": verdict.held, "ms": round(verdict.seconds * 1000, 2), "note": verdict.note,
        "skipped": verdict.skipped or None,
    }  # fmt: skip


def _show(verdicts: Sequence[Verdict], only_failed: bool) -> None:
    """Print a row a test; of its evasions those that were missed, and how many were found."""
    table = Table("", "sid", "test", "expected", "got", box=None)
    table.add_column("ms", justify="right")
    missed: Counter[int] = Counter()
    for verdict in verdicts:
        if verdict.evasion:
            missed[id(verdict.proof)] += not verdict.held
            if verdict.held or missed[id(verdict.proof)] > MAX_EVASIONS_SHOWN:
                continue
        elif verdict.held and only_failed:
            continue
        mark = "ok" if verdict.held else "FAIL"
        name = f"  by {verdict.evasion}" if verdict.evasion else verdict.proof.test.name
        got = verdict.got + (f" ({verdict.note})" if verdict.note else "")
        ms = f"{verdict.seconds * 1000:.1f}" if verdict.seconds else ""
        table.add_row(
            mark, str(verdict.proof.sid), name, verdict.expected, got, ms, style=None if verdict.held else "red"
        )
    if table.row_count:
        output_console().print(table)


def _summary(verdicts: Sequence[Verdict], loaded: RuleSet, in_vain: int) -> None:
    """Print what came of all tests; of ``in_vain`` of them, evasions are asked that there are not."""
    tests = [verdict for verdict in verdicts if not verdict.evasion]
    ways = [verdict for verdict in verdicts if verdict.evasion and not verdict.skipped]
    skipped = Counter(verdict.skipped for verdict in verdicts if verdict.skipped)
    tested = {verdict.proof.rule.identity for verdict in tests}
    line = f"{count_of(len(tests), 'test')} of {count_of(len(tested), 'rule')}, {_failures(tests)}"
    if ways:
        line += f"; {count_of(len(ways), 'evasion')}, {sum(not way.held for way in ways):,} missed"
    click.echo(line)
    for why, number in skipped.items():
        click.echo(f"{count_of(number, 'evasion')} skipped: {why}")
    if in_vain:
        click.echo(f"{count_of(in_vain, 'test')} not said in other ways: evasions are of one TCP connection")
    without = len(loaded) - len(tested)
    if without:
        print_message(f"{count_of(without, 'rule')} without a test")


def _failures(verdicts: Iterable[Verdict]) -> str:
    failed = sum(not verdict.held for verdict in verdicts)
    return f"{failed:,} failed" if failed else "all hold"
