"""What the engine finds in trials: all of them in one capture, each with a source of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ids.capture.writer import PcapWriter
from ids.config import load_config
from ids.events import Events
from ids.replay import replay
from ids.testing.evade import evasions, frames
from ids.testing.values import T0
from tests.shared import ROOT
from tests.testing.evade.exploits import Exploit
from tests.testing.evade.live import Trial, source

BETWEEN_NS = 1_000_000_000


def trials_of(exploits: Iterable[Exploit]) -> list[Trial]:
    """Return a trial of every evasion of every exploit."""
    return [Trial(exploit, evasion) for exploit in exploits for evasion in evasions(*exploit.said)]


def on_paper(trials: Iterable[Trial], first: int = 40_000) -> None:
    """Give trials frames and sources without a server."""
    for number, trial in enumerate(trials, first):
        trial.source = source(number, trial.evasion.ipv6)
        server = "2001:db8:2::80" if trial.evasion.ipv6 else "203.0.113.80"
        trial.frames = list(frames(trial.evasion, trial.source, server, 20000 + number % 20000, trial.exploit.port))


def write_capture(path: Path, trials: Iterable[Trial]) -> None:
    """Write the frames of trials, one trial after the other."""
    now = T0
    with path.open("wb") as stream:
        writer = PcapWriter(stream)
        for trial in trials:
            begin = trial.frames[0][0]
            for at, frame in trial.frames:
                writer.write(frame, now + at - begin)
            now += trial.frames[-1][0] - begin + BETWEEN_NS


def find(path: Path, *settings: str) -> dict[str, set[int]]:
    """Return the sids of the alerts by the address of either side, as the starter rules raise them."""
    found: dict[str, set[int]] = defaultdict(set)

    def note(events: Events) -> None:
        for event in events:
            if event["event_type"] == "alert":
                for side in ("src_ip", "dest_ip"):
                    found[event[side]].add(event["alert"]["signature_id"])

    replay([path], load_config(None, [f"rules.paths=[{ROOT / 'rules' / 'base'}]", *settings]), on_events=note)
    return found


def found_in(trials: Sequence[Trial], found: dict[str, set[int]]) -> dict[str, set[int]]:
    """Return the sids by the name of the trial."""
    return {trial.name: found.get(trial.source, set()) for trial in trials}
