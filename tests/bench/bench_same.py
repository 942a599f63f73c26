"""Do two trees see the same? ``ids replay`` of both over many captures, every event compared field by field.

Each tree replays all captures in one process, once with its default rules and once with `generous.yaml`, which alerts
on nearly everything. The order of the events does not matter, and flows may be numbered otherwise, as long as each
number stands for one and the same flow. What differs is printed by kind: the type of the event and the path of the key,
with how often, and one example. Also compared: what the report says of each capture, and the counters at the end.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tests.bench.captures import ROOT, SHARED
from tests.bench.process import run_measured
from tests.bench.report import CannotRun

RULES = {"default rules": [], "generous rules": ["-S", str(Path(__file__).with_name("generous.yaml"))]}
EXAMPLE_CHARS = 160
ABSENT = "(absent)"

Event: TypeAlias = dict[str, Any]
FIVE = ("src_ip", "src_port", "dest_ip", "dest_port", "proto")
LEVELS: tuple[tuple[str, ...], ...] = (
    (*FIVE, "tx_id", "alert.signature_id", "alert.gid", "timestamp", "pcap_cnt"),
    (*FIVE, "tx_id", "alert.signature_id", "alert.gid", "timestamp"),
    (*FIVE, "tx_id", "alert.signature_id", "alert.gid"),
    (*FIVE, "alert.signature_id"),
)
"""By what two events that are not the same are taken for each other, the closest first."""


@dataclass(slots=True)
class Differences:
    """What differs, by kind, and of each kind the first example."""

    ignored: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, tuple[str, Any, Any]] = field(default_factory=dict)

    def add(self, kind: str, capture: str, before: Any, after: Any) -> None:
        """Count one difference."""
        if kind.startswith(self.ignored):
            return
        self.counts[kind] += 1
        self.examples.setdefault(kind, (capture, before, after))

    def add_fields(self, kind: str, capture: str, before: Any, after: Any) -> None:
        """Count each key at which two trees of values differ."""
        if isinstance(before, dict) and isinstance(after, dict):
            for key in sorted(before.keys() | after.keys()):
                self.add_fields(f"{kind}.{key}", capture, before.get(key, ABSENT), after.get(key, ABSENT))
        elif before != after or type(before) is not type(after):
            self.add(kind, capture, before, after)

    def print(self) -> None:
        """Print each kind, the most frequent first."""
        for kind, count in self.counts.most_common():
            capture, before, after = self.examples[kind]
            print(f"{count:7,}  {kind}\n         in      {capture}")
            for label, value in (("base", before), ("here", after)):
                text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
                print(f"         {label}    {text[:EXAMPLE_CHARS]}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tree made of all captures."""

    events: Mapping[str, list[Event]]
    """By capture; without `stats`, of which `report` has the last."""
    report: dict[str, Any]
    seconds: float


def main(arguments: Sequence[str] = ()) -> int:
    """Compare two trees, or two ways of calling one; return 1 when they differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench same", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="a checkout with its own .venv; may be this one")
    parser.add_argument("--here", type=Path, default=ROOT, help="what is compared with it (default: this tree)")
    parser.add_argument("--base-args", default="", help="further words for `ids replay` there: --base-args='-k none'")
    parser.add_argument("--here-args", default="", help="the same for this tree: --here-args='--workers 2'")
    parser.add_argument("--ignore", action="append", default=[], metavar="KIND", help="beginning of a kind, as printed")
    parser.add_argument("--rules", choices=("default", "generous"), help="only with these")
    parser.add_argument("captures", nargs="*", type=Path, help="captures or folders (default: ours and the peer's)")
    options = parser.parse_args(list(arguments))
    captures = _captures(options.captures or [ROOT / "pcaps", SHARED / "suricata-verify" / "tests"])
    differences = Differences(tuple(options.ignore))
    for name, words in RULES.items():
        if options.rules and not name.startswith(options.rules):
            continue
        base = replayed(options.base.resolve(), captures, [*words, *shlex.split(options.base_args)])
        here = replayed(options.here.resolve(), captures, [*words, *shlex.split(options.here_args)])
        count = sum(map(len, base.events.values()))
        print(f"{name}: {len(captures)} captures, {count:,} events; {base.seconds:.1f} s and {here.seconds:.1f} s")
        compare(base, here, differences)
    differences.print()
    print(f"{sum(differences.counts.values()):,} differences of {len(differences.counts)} kinds")
    return 1 if differences.counts else 0


def replayed(tree: Path, captures: Sequence[Path], words: Sequence[str]) -> Outcome:
    """Replay all captures by a tree's own command line; its own path is taken out of what it wrote."""
    command = tree / ".venv" / "bin" / "ids"
    if not command.exists():
        raise CannotRun(f"{command} is not there: `make setup` in {tree}")
    with tempfile.TemporaryDirectory() as name:
        eve = Path(name) / "eve.json"
        run = run_measured(
            [str(command), "replay", "-o", "json", "--eve", str(eve), *words, *map(str, captures)], Path(name)
        )
        events: dict[str, list[Event]] = defaultdict(list)
        with eve.open() as lines:
            for line in lines:
                event = json.loads(line.replace(f"{tree}/rules/", "rules/"))
                if event["event_type"] != "stats":
                    events[event.get("pcap_filename", "")].append(event)
        return Outcome(events, json.loads(run.stdout), run.seconds)


def compare(base: Outcome, here: Outcome, differences: Differences) -> None:
    """Add what differs between two outcomes."""
    for capture in sorted(base.events.keys() | here.events.keys()):
        compare_events(capture, base.events.get(capture, []), here.events.get(capture, []), differences)
    reports = [{each["path"]: each for each in outcome.report["captures"]} for outcome in (base, here)]
    for path in sorted(reports[0].keys() | reports[1].keys()):
        before, after = (_as_sets(report.get(path, {})) for report in reports)
        differences.add_fields("report", path, before, after)
    for key in sorted((base.report.keys() | here.report.keys()) - {"captures", "alerts", "seconds"}):
        differences.add_fields(f"report.{key}", "(all)", base.report.get(key, ABSENT), here.report.get(key, ABSENT))


def compare_events(capture: str, before: Sequence[Event], after: Sequence[Event], differences: Differences) -> None:
    """Add what differs between the events of one capture."""
    flows: list[tuple[Any, Any]] = []
    remaining = _pair(before, after, _whole, lambda old, new: flows.append((old.get("flow_id"), new.get("flow_id"))))
    for level in LEVELS:

        def differ(old: Event, new: Event) -> None:
            differences.add_fields(old["event_type"], capture, _numberless(old), _numberless(new))

        remaining = _pair(*remaining, lambda event, level=level: _key(event, level), differ)  # type: ignore[misc]
    for old in remaining[0]:
        differences.add(f"{old['event_type']}: only in base", capture, old, ABSENT)
    for new in remaining[1]:
        differences.add(f"{new['event_type']}: only here", capture, ABSENT, new)
    for old_number, new_number in _not_one_to_one(flows):
        differences.add("flow_id: not one flow for another", capture, old_number, new_number)


def _pair(
    before: Iterable[Event],
    after: Iterable[Event],
    key: Callable[[Event], str],
    paired: Callable[[Event, Event], None],
) -> tuple[list[Event], list[Event]]:
    """Hand over pairs of equal keys, in their order; return what has no counterpart."""
    waiting: dict[str, list[Event]] = defaultdict(list)
    for event in after:
        waiting[key(event)].append(event)
    for queue in waiting.values():
        queue.reverse()
    alone = []
    for event in before:
        queue = waiting.get(key(event), [])
        if queue:
            paired(event, queue.pop())
        else:
            alone.append(event)
    return alone, [event for queue in waiting.values() for event in reversed(queue)]


def _whole(event: Event) -> str:
    return json.dumps(_numberless(event), sort_keys=True)


def _numberless(event: Event) -> Event:
    return {key: value for key, value in event.items() if key != "flow_id"}


def _key(event: Event, level: Sequence[str]) -> str:
    values = [event["event_type"]]
    for path in level:
        value: Any = event
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values.append(value)
    return json.dumps(values)


def _not_one_to_one(pairs: Sequence[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Give the pairs of flow numbers that contradict a former one."""
    there: dict[Any, Any] = {}
    back: dict[Any, Any] = {}
    for old, new in pairs:
        if there.setdefault(old, new) != new or back.setdefault(new, old) != old:
            yield old, new


def _as_sets(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a capture's report with its lists in one order."""
    return {
        key: sorted(value, key=lambda each: json.dumps(each, sort_keys=True)) if isinstance(value, list) else value
        for key, value in report.items()
    }


def _captures(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        if not path.exists():
            raise CannotRun(f"{path} is not here")
        found += sorted(path.rglob("*.pcap*")) if path.is_dir() else [path]
    return [path.resolve() for path in found]


if __name__ == "__main__":
    raise SystemExit(main())
