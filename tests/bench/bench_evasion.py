"""Who finds what, however it is said: `ids.testing.evade` against a real server, our rules beside Suricata's.

Ten exploits are played to nginx on Linux in every way that the generator knows, and what went over the wire is replayed
by both engines, with rules of the same meaning. A way counts where the server got the exploit; tunnels and long idle
times, for which no server is at hand, are made on paper and count as well.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ids.errors import KernelError
from ids.lab.topology import Lab
from ids.testing.evade import FAMILIES
from tests.bench import peer
from tests.bench.report import CannotRun
from tests.testing.evade.detection import find, on_paper, play_live, trials_of, write_capture
from tests.testing.evade.exploits import BENIGN, EXPLOITS
from tests.testing.evade.known import ALERTED_BY
from tests.testing.evade.live import Trial

PATIENCE_S = 120
ABSENT = "-"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "evasion.md"

Cells: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the matrix: how many sessions there were, and in how many each engine found something."""

    name: str
    sessions: int
    ours: int
    peers: int | None

    @property
    def found_by_both(self) -> bool:
        """Whether nobody missed one."""
        return self.sessions == self.ours == (self.ours if self.peers is None else self.peers)

    @property
    def cells(self) -> Cells:
        """What stands in the columns."""
        return self.name, str(self.sessions), str(self.ours), ABSENT if self.peers is None else str(self.peers)


def main(arguments: Sequence[str] = ()) -> int:
    """Print the matrix; return 1 where a benign session raised an alert of ours."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench evasion")
    parser.add_argument("--paper", action="store_true", help="no server: play everything on paper")
    parser.add_argument("--all", action="store_true", help="print each evasion, not only those that one of both misses")
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name} as well")
    options = parser.parse_args(list(arguments))
    trials = _trials(options.paper)
    with tempfile.TemporaryDirectory() as name:
        capture = Path(name, "evasion.pcap")
        write_capture(capture, trials)
        found = find(capture)
        ours = {
            trial.source
            for trial in trials
            if found.get(trial.source, set()) - ALERTED_BY.get(trial.evasion.name, set())
        }
        peers, why = _peers(capture, Path(name))
    tables = [
        [("family", "sessions", "ids", f"Suricata {why}"), *_families(trials, ours, peers)],
        [("evasion", "sessions", "ids", f"Suricata {why}"), *_ways(trials, ours, peers, options.all)],
    ]
    for table in tables:
        _show(table)
    if options.write:
        PAGE.write_text(written(PAGE.read_text(), tables))
    return int(any(trial.source in ours for trial in trials if trial.exploit.benign))


def _arrived(trials: Iterable[Trial]) -> list[Trial]:
    return [trial for trial in trials if not trial.exploit.benign and trial.accepted is not False]


def _families(trials: Sequence[Trial], ours: set[str], peers: set[str] | None) -> list[Cells]:
    arrived, benign = _arrived(trials), [trial for trial in trials if trial.exploit.benign]
    lines = [_line(name, [each for each in arrived if each.evasion.family == name], ours, peers) for name in FAMILIES]
    lines += [_line("all", arrived, ours, peers), _line("benign, where nothing may be found", benign, ours, peers)]
    return [line.cells for line in lines]


def _ways(trials: Sequence[Trial], ours: set[str], peers: set[str] | None, everything: bool) -> list[Cells]:
    of: dict[str, list[Trial]] = {}
    for trial in _arrived(trials):
        of.setdefault(f"{trial.evasion.family}: {trial.evasion.name}", []).append(trial)
    lines = [_line(name, each, ours, peers) for name, each in of.items()]
    return [line.cells for line in lines if everything or not line.found_by_both]


def _trials(paper: bool) -> list[Trial]:
    trials = trials_of([*EXPLOITS, *BENIGN])
    if paper:
        trials = [trial for trial in trials if trial.claimed or trial.evasion.unchecked]
        on_paper(trials)
        return trials
    try:
        with Lab() as lab:
            live = play_live(lab, trials)
    except KernelError as error:
        raise CannotRun(f"{error}; see --paper") from error
    rest = [trial for trial in trials if trial.evasion.unchecked]
    on_paper(rest)
    return [*live, *rest]


def _peers(capture: Path, folder: Path) -> tuple[set[str] | None, str]:
    """Return the addresses for which Suricata alerts, and its version; None and the reason where it cannot run."""
    if shutil.which("suricata") is None:
        return None, "(not installed)"
    command = peer.configure(folder, peer.starter_rules())
    subprocess.run(
        [*command, "-r", str(capture), "-k", "all", "--runmode", "single"],
        capture_output=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    found: set[str] = set()
    with (folder / "eve.json").open() as lines:
        for line in lines:
            event = json.loads(line)
            if event["event_type"] == "alert":
                found |= {str(ipaddress.ip_address(event[side])) for side in ("src_ip", "dest_ip")}
    return found, peer.version()


def _line(name: str, trials: Sequence[Trial], ours: set[str], peers: set[str] | None) -> Line:
    there = None if peers is None else sum(trial.source in peers for trial in trials)
    return Line(name, len(trials), sum(trial.source in ours for trial in trials), there)


def _show(table: Sequence[Cells]) -> None:
    wide = max(len(row[0]) for row in table)
    for name, sessions, ours, peers in table:
        print(f"{name:<{wide}}  {sessions:>8}  {ours:>5}  {peers:>16}")
    print()


def written(page: str, tables: Sequence[Sequence[Cells]]) -> str:
    """Return a page with new tables in the place of those with the same heads, up to the peer's version."""
    for head, *rows in tables:
        lines = [head, ("---", "--:", "--:", "--:"), *rows]
        text = "".join(f"| {' | '.join(row)} |\n" for row in lines)
        start = re.escape(f"| {' | '.join(head[:3])} |")
        page = re.sub(rf"^{start}.*\n(?:\|.*\n)*", text.replace("\\", "\\\\"), page, flags=re.MULTILINE)
    return page


if __name__ == "__main__":
    raise SystemExit(main())
