"""Our events beside the peer's where rules find something: the public tests' own captures, rules, settings, options.

Both engines run each test as its author meant it, and all their events of the types that the tests are judged by are
compared, not only what the test asks. What a test does not ask, another one may: what differs here is what others of
that kind would fail by. There is no list of known differences; `peer_events` has those that are known without rules.

    python -m tests.content.peer_runs public_log.txt         # figures of all types, and what differs in how many tests
    python -m tests.content.peer_runs bug-130 --each         # each difference of a test

``--keep FOLDER`` keeps what the peer wrote there, and takes it from there the next time.
"""

from __future__ import annotations

import argparse
import os
import string
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner

from ids.cli import cli
from tests.content import peer_events, peer_suite
from tests.content.peer_events import Difference, Event, Tally
from tests.shared import SHARED

SUITE = SHARED / "suricata-verify"
DEFAULT_CONFIG = Path("/etc/suricata/suricata.yaml")
MOST_PAIRS = 4_000_000
"""Of events of one test that are compared with each other: more take minutes."""
OF_CLOCKS = ("flow.start", "flow.end", "flow.age")


def options_of(name: str, test: Mapping[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the peer's options of a test, and the environment that it is run in."""
    names = {"TEST_DIR": str(SUITE / "tests" / name), "OUTPUT_DIR": str(folder)}
    words = [word for argument in test.get("args") or [] for word in argument.split()]
    if "ips" in Path(name).name:
        words.append("--simulate-ips")
    options = [string.Template(word).safe_substitute(names) for word in words]
    if not any(option.startswith("--runmode") for option in options):
        options += ["--runmode", "single"]
    return options, {**os.environ, "TZ": "UTC", **names}


def of_peer(name: str, folder: Path) -> list[Event]:
    """Return the peer's events of a test; raises what `peer_suite.judge` says where it is none for us."""
    tool, place, eve = peer_suite.judge(), SUITE / "tests" / name, folder / "eve.json"
    if not eve.exists():
        folder.mkdir(parents=True, exist_ok=True)
        test = tool.yaml.load((place / "test.yaml").read_bytes(), tool.YAML_LOADER) or {}
        rules = tool.find_rules(test, place, tool.version(tool.REFERENCE_VERSION))
        if rules is None:
            rules = folder / "none.rules"
            rules.touch()
        config = place / "suricata.yaml"
        options, environment = options_of(name, test, folder)
        files = [f"{kind}-file={SUITE / 'etc' / kind.removesuffix('-config')}.config" for kind in
                 ("classification", "reference-config")]  # fmt: skip
        words = ["-c", config if config.exists() else DEFAULT_CONFIG, "-r", tool.find_pcap(test, place), "-S", rules]
        words += ["-l", folder, *(word for each in files for word in ("--set", each)), *options]
        subprocess.run(
            ["suricata", *map(str, words)], cwd=place, env=environment, capture_output=True, timeout=120, check=False
        )
    return peer_events.read(eve, tool.EVENT_TYPES.split(","))


def of_ours(name: str, folder: Path) -> list[Event]:
    """Return our events of a test; raises as `of_peer`."""
    tool = peer_suite.judge()
    given = SimpleNamespace(
        suite=SUITE / "tests", reference_version=tool.REFERENCE_VERSION, engine_cmd=peer_suite.COMMAND,
        event_types=frozenset(tool.EVENT_TYPES.split(",")),
    )  # fmt: skip
    _, (_, *words), environment, _ = tool.prepare(name, given, folder)
    with chdir(SUITE / "tests" / name):
        CliRunner().invoke(cli, words, env=environment)
    return peer_events.read(folder / "eve.json", tool.EVENT_TYPES.split(","))


def of_test(name: str, kept: Path | None = None) -> dict[str, Tally]:
    """Compare what both engines write of a test; `peer_events.ASIDE` has what is not compared."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        theirs = of_peer(name, (kept or place / "peer") / name)
        ours = of_ours(name, place)
    if not any("community_id" in event for event in theirs):  # it is not asked for
        for event in ours:
            event.pop("community_id", None)
    if len(theirs) * len(ours) > MOST_PAIRS:
        raise ValueError(f"{len(theirs)} events of theirs are too many to pair with {len(ours)}")
    tallies = peer_events.compared(theirs, ours, name)
    if not (SUITE / "tests" / name / "suricata.yaml").exists():  # what we write unasked is no difference then
        for tally in tallies.values():
            tally.forgive([one for one in tally.differences if one[2] is None and one[1] not in ("missing", "extra")])
    for tally in tallies.values():
        tally.forgive([one for one in tally.differences if one[1] in OF_CLOCKS])
    return tallies


def line_of(name: str, difference: Difference, times: int) -> str:
    """Return a difference as a line."""
    kind, field, peer, mine = difference
    return f"{name}  {kind}  {field}  {str(peer)[:100]!r} -> {str(mine)[:100]!r}" + (f"  x{times}" if times > 1 else "")


def main() -> int:
    """Print the figures of some tests, or lists of tests."""
    parser = argparse.ArgumentParser(description="Compare our events with the peer's where rules find something.")
    parser.add_argument("tests", nargs="*", help="tests, or lists such as public_t1.txt; none: all")
    parser.add_argument("--each", action="store_true", help="print each difference, with its test")
    parser.add_argument("--keep", type=Path, help="folder for what the peer writes")
    given = parser.parse_args()
    if not peer_events.can_compare():
        print("suricata is not installed")
        return 1
    lists = [name for name in given.tests if name.endswith(".txt")]
    wanted = [name for name in given.tests if not name.endswith(".txt")]
    totals: dict[str, Tally] = defaultdict(Tally)
    tests_by_field: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for name in wanted + (peer_suite.names(*lists) if lists or not wanted else []):
        try:
            tallies = of_test(name, given.keep)
        except (peer_suite.judge().Unsatisfied, ValueError) as why:
            print(f"{name}  is left out: {why}", flush=True)
            continue
        for kind, tally in tallies.items():
            totals[kind].add(tally)
            for difference, times in Counter(tally.differences).items():
                tests_by_field[difference[:2]][name] += times
                if given.each:
                    print(line_of(name, difference, times), flush=True)
    for kind, tally in sorted(totals.items()):
        print(
            f"{kind}: {tally.theirs} of theirs, {tally.ours} of ours, {tally.equal} equal;"
            f" fields {tally.fields_equal} of {tally.fields}: {tally.share:.4f}"
        )
    most = sorted(tests_by_field.items(), key=lambda item: -len(item[1]))[:60]
    for (kind, field), found in most:
        print(f"    {len(found):4} tests {found.total():6} times  {kind} {field}, such as {next(iter(found))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
