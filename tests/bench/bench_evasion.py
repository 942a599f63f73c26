"""Who finds what, however it is said: `ids.testing.evade` against a real server, our rules beside Suricata's.

Ten exploits are played to nginx on Linux in every way that the generator knows, and what went over the wire is replayed
by both engines, with rules of the same meaning. A way counts where the server got the exploit; tunnels and long idle
times, for which no server is at hand, are made on paper and count as well.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ids.errors import KernelError
from ids.lab.topology import Lab
from ids.testing.evade import FAMILIES
from tests.bench import peer
from tests.bench.report import CannotRun
from tests.testing.evade.detection import find, on_paper, play_live, trials_of, write_capture
from tests.testing.evade.exploits import BENIGN, EXPLOITS
from tests.testing.evade.live import Trial

PATIENCE_S = 120
ABSENT = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the matrix: how many sessions there were, and in how many each engine found something."""

    name: str
    sessions: int
    ours: int
    peers: int | None

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in the columns."""
        return self.name, str(self.sessions), str(self.ours), ABSENT if self.peers is None else str(self.peers)


def main(arguments: Sequence[str] = ()) -> int:
    """Print the matrix; return 1 where a benign session raised an alert of ours."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench evasion")
    parser.add_argument("--paper", action="store_true", help="no server: play everything on paper")
    parser.add_argument("--all", action="store_true", help="print each evasion, not only those that one of both misses")
    parser.add_argument("--markdown", action="store_true", help="print tables as they stand in docs/evasion.md")
    options = parser.parse_args(list(arguments))
    trials = _trials(options.paper)
    with tempfile.TemporaryDirectory() as name:
        capture = Path(name, "evasion.pcap")
        write_capture(capture, trials)
        ours = {source for source, sids in find(capture).items() if sids}
        peers, why = _peers(capture, Path(name))
    arrived = [trial for trial in trials if not trial.exploit.benign and trial.accepted is not False]
    benign = [trial for trial in trials if trial.exploit.benign]
    families = [
        _line(family, [each for each in arrived if each.evasion.family == family], ours, peers) for family in FAMILIES
    ]
    families += [_line("all", arrived, ours, peers), _line("benign, where nothing may be found", benign, ours, peers)]
    _show(("family", "sessions", "ids", f"Suricata {why}"), families, options.markdown)
    ways = {trial.evasion.name: trial.evasion.family for trial in arrived}
    lines = [
        _line(f"{family}: {way}", [each for each in arrived if each.evasion.name == way], ours, peers)
        for way, family in ways.items()
    ]
    shown = [line for line in lines if options.all or not line.sessions == line.ours == (line.peers or line.ours)]
    _show(("evasion", "sessions", "ids", f"Suricata {why}"), shown, options.markdown)
    return int(any(trial.source in ours for trial in benign))


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


def _show(head: tuple[str, ...], lines: Iterable[Line], markdown: bool) -> None:
    rows = [head, *(line.cells for line in lines)]
    if markdown:
        rows.insert(1, ("---", "--:", "--:", "--:"))
        print("\n".join(f"| {' | '.join(row)} |" for row in rows), end="\n\n")
        return
    wide = max(len(row[0]) for row in rows)
    for name, *figures in rows:
        print(f"{name:<{wide}}  {figures[0]:>8}  {figures[1]:>5}  {figures[2]:>16}")
    print()


if __name__ == "__main__":
    raise SystemExit(main())
