"""What the engine finds in trials: all of them in one capture, each with a source of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ids.capture.writer import PcapWriter
from ids.config import load_config
from ids.events import Events
from ids.lab.topology import Lab
from ids.replay import replay
from ids.testing.evade import evasions, frames
from ids.testing.values import T0
from tests.shared import ROOT
from tests.testing.evade.exploits import Exploit
from tests.testing.evade.live import Run, Target, Trial, source

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


def play_live(lab: Lab, trials: Iterable[Trial]) -> list[Trial]:
    """Play to a real server the trials that it can take, and return them; raises `KernelError` without a server.

    Those that come out otherwise than claimed are played once more: a loaded machine loses packets.
    """
    live = [trial for trial in trials if not trial.evasion.unchecked]
    target = Target(lab)
    try:
        run = Run(lab, target)
        run.play(live)
        odd = [trial for trial in live if trial.accepted != trial.claimed]
        for trial in odd:
            trial.frames = []
        run.play(odd)
    finally:
        target.close()
    return live


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
