"""The peer's own tests, run against this engine with their rules.

The tests are others' data and stay where they are (`tests.shared`), and so does the program that judges them, which
``tools/sv_run.py`` there is. A test is run by ``ids replay``, in this process, with the test's own arguments and its
own ``suricata.yaml``.

All of them, with what each that fails complains of: ``python -m tests.content.peer_suite``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner

from ids.cli import cli
from tests.shared import SHARED

FLOOR = Path(__file__).with_name("peer_suite.txt")
FAILURES = Path(__file__).with_name("peer_suite_failures.txt")
LISTS = ("public.txt", "public_log.txt")
COMMAND = (
    "ids replay {pcap} -S {rules} --eve {eve} --config={config} --fast-path off --set stream.midstream=false {extra}"
)


class CannotJudge(Exception):
    """A test is not one for this engine, or needs the peer itself."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a test ended."""

    name: str
    complaints: list[str]
    idle: bool
    """An engine that does nothing passes it as well."""

    @property
    def passed(self) -> bool:
        return not self.complaints


@lru_cache(1)
def judge() -> Any:
    """Return the program that judges, as a module."""
    spec = importlib.util.spec_from_file_location("sv_run", SHARED / "tools" / "sv_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(*lists: str) -> list[str]:
    """Return the names of all public tests, or of those of some lists."""
    paths = (SHARED / "suricata-verify" / "lists" / name for name in lists or LISTS)
    lines = (line.split("#")[0].strip() for path in paths for line in path.read_text().splitlines())
    return [line for line in lines if line]


def floor() -> list[str]:
    """Return the names of the tests that have to pass."""
    return [line for line in FLOOR.read_text().splitlines() if line and not line.startswith("#")]


def failures() -> dict[str, str]:
    """Return why tests fail, by name."""
    lines = (line for line in FAILURES.read_text().splitlines() if line and not line.startswith("#"))
    return {name: cause for name, _, cause in (line.partition("  ") for line in lines)}


def run(name: str) -> Outcome:
    """Run one test; raises `CannotJudge` where that says nothing."""
    tool, suite = judge(), SHARED / "suricata-verify" / "tests"
    options = SimpleNamespace(
        suite=suite, reference_version=tool.REFERENCE_VERSION, engine_cmd=COMMAND,
        event_types=frozenset(tool.EVENT_TYPES.split(",")),
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        try:
            test, (_, *words), env, filters = tool.prepare(name, options, Path(folder))
        except tool.Unsatisfied as error:
            raise CannotJudge(str(error)) from error
        with chdir(suite / name):
            result = CliRunner().invoke(cli, words, env=env)
        idle = all(each["count"] == 0 for each in filters)
        exit_code = getattr(result.exception, "exit_code", result.exit_code)
        if exit_code != test.get("exit-code", 0):
            return Outcome(name, [f"exit code {exit_code}: {result.output[-160:]}"], idle)
        eve = Path(folder) / "eve.json"
        events = [json.loads(line) for line in eve.read_bytes().splitlines()] if eve.exists() else []
    return Outcome(name, tool.judge(filters, events), idle)


def outcomes(wanted: Iterable[str]) -> Iterator[Outcome]:
    """Run every test that can be judged."""
    for name in wanted:
        try:
            yield run(name)
        except CannotJudge:
            continue


def main() -> int:
    """Print how every test ends, what the lists here do not say yet, and the figure."""
    parser = argparse.ArgumentParser(description="Run the peer's tests.")
    parser.add_argument("lists", nargs="*", help="such as public_t1.txt; none: all")
    ended = []
    for outcome in outcomes(names(*parser.parse_args().lists)):
        ended.append(outcome)
        verdict = "idle" if outcome.idle and outcome.passed else "pass" if outcome.passed else "fail"
        print(f"{verdict}  {outcome.name}  {'; '.join(outcome.complaints)[:160]}", flush=True)
    passed = {outcome.name for outcome in ended if outcome.passed and not outcome.idle}
    failed = {outcome.name for outcome in ended if not outcome.passed}
    print("".join(f"add to {FLOOR.name}: {name}\n" for name in sorted(passed - set(floor()))), end="")
    print("".join(f"say why in {FAILURES.name}: {name}\n" for name in sorted(failed - failures().keys())), end="")
    print(f"{len(ended) - len(failed)} of {len(ended)} pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
