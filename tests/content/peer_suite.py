"""The peer's own tests, run against this engine: those that need no rule language.

The tests are others' data and stay where they are (`tests.shared`), and so does the program that judges them, which
``tools/sv_run.py`` there is. Here a capture is replayed in this process, with the test's arguments as settings of ours,
as far as there are some. Rules are not read; but those that ask for nothing but a decoder event (``decode-event``) say
which `anomaly` event they want, and that is looked for.

All of them, with the reason of each that fails: ``python -m tests.content.peer_suite``.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from ids.config import load_config
from ids.events import Event, Events
from ids.replay import replay
from tests.shared import SHARED

FLOOR = Path(__file__).with_name("peer_suite.txt")
LISTS = ("public.txt", "public_log.txt")
EVENT_TYPES = frozenset(("alert", "drop", "http", "dns", "tls", "flow", "fileinfo", "anomaly"))
REFERENCE = (7, 0, 10)
"""Version of the peer that the expectations are read for."""

_DECODE_EVENT = re.compile(r"^alert pkthdr any any -> any any \((?:[^;]*;)*?\s*decode-event:([\w.]+);.*?sid:\s*(\d+)")
_OURS = {"stream.midstream": "stream.midstream"}
"""Settings of the peer that have a counterpart."""


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


def names() -> list[str]:
    """Return the names of all tests that are lists' of public ones."""
    lists = (SHARED / "suricata-verify" / "lists" / name for name in LISTS)
    lines = (line.split("#")[0].strip() for path in lists for line in path.read_text().splitlines())
    return [line for line in lines if line]


def floor() -> list[str]:
    """Return the names of the tests that have to pass."""
    return [line for line in FLOOR.read_text().splitlines() if line and not line.startswith("#")]


def run(name: str) -> Outcome:
    """Run one test; raises `CannotJudge` where that says nothing."""
    tool, folder = judge(), SHARED / "suricata-verify" / "tests" / name
    test = yaml.load((folder / "test.yaml").read_bytes(), tool.YAML_LOADER) or {}
    try:
        tool.check_requires(test.get("requires"), REFERENCE)
        capture, rules = tool.find_pcap(test, folder), tool.find_rules(test, folder, REFERENCE)
        filters = list(tool.applicable_filters(test, EVENT_TYPES, REFERENCE))
    except tool.Unsatisfied as error:
        raise CannotJudge(str(error)) from error
    if not filters or any(key in test for key in tool.SURICATA_ONLY):
        raise CannotJudge("it drives the peer itself")
    wanted = _wanted(rules) if any(tool.event_type_of(each) in ("alert", "drop") for each in filters) else {}
    events = _replayed(capture, test.get("args") or [])
    events += [
        {"event_type": "alert", "alert": {"signature_id": sid}}
        for event in events
        for sid in wanted.get(event.get("anomaly", {}).get("event", ""), ())
    ]
    return Outcome(name, tool.judge(filters, events), all(each["count"] == 0 for each in filters))


def _wanted(rules: Path | None) -> dict[str, list[int]]:
    """Return the rules that ask for decoder events, by event; raises `CannotJudge` where one asks for more."""
    found: dict[str, list[int]] = {}
    for line in rules.read_text().splitlines() if rules is not None else ():
        if not line.strip() or line.startswith("#"):
            continue
        asked = _DECODE_EVENT.match(line)
        if asked is None:
            raise CannotJudge("it needs the rule language")
        found.setdefault(f"decoder.{asked[1]}", []).append(int(asked[2]))
    if not found:
        raise CannotJudge("it needs the rule language")
    return found


def _replayed(capture: Path, arguments: list[str]) -> list[Event]:
    words = [word for argument in arguments for word in argument.split()]
    settings = ["rules.paths=[]", "fastpath.replay=off"]
    for word, value in pairwise([*words, ""]):
        name, _, choice = value.partition("=")
        if word == "-k":
            settings.append(f"decode.checksums={value}")
        elif word == "--set" and name in _OURS:
            settings.append(f"{_OURS[name]}={choice}")
    events: list[Event] = []

    def note(batch: Events) -> None:
        events.extend(batch)

    replay([capture], load_config(None, settings), on_events=note)
    return events


def outcomes() -> Iterator[Outcome]:
    """Run every test that can be judged."""
    for name in names():
        try:
            yield run(name)
        except CannotJudge:
            continue


def main() -> int:
    """Print how every test ends, and the figure."""
    ended = list(outcomes())
    for outcome in ended:
        verdict = "idle" if outcome.idle and outcome.passed else "pass" if outcome.passed else "fail"
        print(f"{verdict}  {outcome.name}  {'; '.join(outcome.complaints)[:160]}")
    active = [outcome for outcome in ended if not outcome.idle]
    passed = sum(outcome.passed for outcome in active)
    new = sorted({outcome.name for outcome in active if outcome.passed} - set(floor()))
    print("".join(f"add to {FLOOR.name}: {name}\n" for name in new), end="")
    print(f"{passed} of {len(active)} pass, beside {len(ended) - len(active)} that nothing has to be done for")
    return 0


if __name__ == "__main__":
    sys.exit(main())
