"""The command: ``python -m tests.fuzz [TARGET...] [--executions N] [--seed N] [--input FILE]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.fuzz.cases import of_file
from tests.fuzz.catalogue import PARSERS, SUBJECTS, Catalogue
from tests.fuzz.loop import LONG_EVERY, Run
from tests.fuzz.outcome import COLUMNS, Outcome
from tests.fuzz.seeds import seeds
from tests.fuzz.stages import run_stage
from tests.fuzz.subjects import KINDS
from tests.fuzz.targets import TARGETS

EXECUTIONS = 50_000
NAMES = (*SUBJECTS, *TARGETS)
GROUPS = {"parsers": tuple(PARSERS), "stages": tuple(TARGETS), "readers": SUBJECTS[len(PARSERS) :]}
LINE_EVERY_S = 60.0
"""Where there is no terminal, a line says so often how far it is."""


def main(arguments: list[str]) -> int:
    """Fuzz; return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed mutated input to each parser.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="a target or a group, else all; see --list")
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="of each target (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other inputs (default %(default)s)")
    parser.add_argument("--long-every", type=int, default=LONG_EVERY, help="executions before a long input of 128 KiB")
    parser.add_argument("--input", type=Path, metavar="FILE", help="execute the one input of this file, of one target")
    parser.add_argument("--missing", action="store_true", help="print the lines that no input reached")
    parser.add_argument("--list", action="store_true", help="print the targets and groups")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join((*NAMES, *(f"{group}: {', '.join(names)}" for group, names in GROUPS.items()))))
        return 0
    chosen = [name for said in options.targets or NAMES for name in GROUPS.get(said, (said,))]
    if unknown := sorted(set(chosen) - set(NAMES)):
        parser.error(f"no such target: {', '.join(unknown)}")
    known = seeds()
    catalogue = Catalogue(known)
    if options.input is not None:
        if len(chosen) != 1 or chosen[0] not in SUBJECTS:
            parser.error("--input is of one parser or reader")
        subject = catalogue.make(chosen[0])
        for kind in KINDS:
            subject.again(kind)
            Run(chosen[0], subject, options.seed).repeat(of_file(options.input))
        return 0
    outcomes: list[Outcome] = []
    for name in chosen:
        with _reported(name, options.executions) as report:
            if name in TARGETS:
                outcome = run_stage(name, known, options.executions, options.seed, report)
            else:
                run = Run(name, catalogue.make(name), options.seed, long_every=options.long_every)
                outcome = run.go(options.executions, report)
                if options.missing:
                    print("\n".join(run.missing))
        outcomes.append(outcome)
        print("; ".join(f"{column} {said}" for column, said in zip(COLUMNS, outcome.row, strict=True)), flush=True)
    Console(width=None if sys.stdout.isatty() else 160).print(table(outcomes))
    return 1 if any(outcome.failures for outcome in outcomes) else 0


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return what came of all runs."""
    made = Table()
    for number, column in enumerate(COLUMNS):
        made.add_column(column, justify="right" if number else "left")
    for outcome in outcomes:
        made.add_row(*outcome.row)
    return made


class _reported:  # noqa: N801 - a context manager
    """Say how far a target is: a bar on a terminal, else a line now and then."""

    def __init__(self, name: str, executions: int) -> None:
        self._name = name
        self._executions = executions
        self._began = self._said = time.monotonic()
        self._progress = Progress(transient=True) if sys.stdout.isatty() else None

    def __enter__(self) -> Callable[[int], None]:
        if self._progress is None:
            return self._line
        self._progress.start()
        task = self._progress.add_task(self._name, total=self._executions)
        progress = self._progress
        return lambda done: progress.update(task, completed=done)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _line(self, done: int) -> None:
        now = time.monotonic()
        if now - self._said >= LINE_EVERY_S:
            self._said = now
            print(f"{self._name}: {done:,} of {self._executions:,} in {now - self._began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
