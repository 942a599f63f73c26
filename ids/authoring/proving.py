"""Runs the tests that rules carry: each as a capture of its own, through the whole engine, as `ids replay` would.

A capture says nothing of the next, so neither thresholds nor state nor flows of one test reach another.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ids.authoring.parties import NoParties, Parties, seen_from_server
from ids.authoring.stimuli import Frames, frames_of, meeting, said, transport
from ids.capture.writer import PcapWriter
from ids.config import Config
from ids.replay import CaptureReport, replay
from ids.rules.model.rule import RuleTest, Scoped
from ids.testing.evade import FAMILIES, Evasion, Segment, evasions, frames
from ids.testing.values import T0
from ids.types import Direction

OTHER_BYTES = "requests"
"""The family that says the same in other bytes: to a rule on the method, or on the form of a path, that is another
thing. It is played where it is asked for by name."""

SAME_BYTES = tuple(family for family in FAMILIES if family != OTHER_BYTES)

CAPTURES_AT_ONCE = 2000
"""Captures that lie in the temporary directory together; some ten kilobytes each."""

SERVER_UNSEEN = "the rule is about what the server says, which cannot be seen here"
"""Why an evasion that hides the server's packets says nothing of some rules."""

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """One test of one rule."""

    rule: Scoped
    test: RuleTest
    folder: Path = field(default_factory=Path)
    """Where the paths of captures begin: beside the rule."""

    @property
    def sid(self) -> int:
        """The rule's sid."""
        return self.rule.signature.sid


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one test, or of one evasion of it."""

    proof: Proof
    expected: str
    got: str
    held: bool
    seconds: float
    evasion: str = ""
    """Family and name of the evasion; empty of the test itself."""
    note: str = ""
    """Why it could not be run."""
    skipped: str = ""
    """Why this evasion cannot be had of what the rule looks for: it was not played."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Which evasions of each test are played."""

    families: str | None = None
    """``all``, ``none``, or a family; None: what each test asks for."""
    sample: int | None = None
    """Of each test's only so many, others for each; None: all."""


@dataclass(frozen=True, slots=True)
class _Trial:
    place: int
    """Of its proof among all."""
    proof: Proof
    capture: Path | None = None
    packets: Frames | None = None
    evasion: str = ""
    skipped: str = ""


def families_of(chosen: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the families of evasions that ``all``, ``none``, a name or names stand for; raises `ValueError`."""
    names = (chosen,) if isinstance(chosen, str) else tuple(chosen or ())
    found: dict[str, None] = {}
    for name in names:
        if name == "all":
            found |= dict.fromkeys(SAME_BYTES)
        elif name in FAMILIES:
            found[name] = None
        elif name != "none":
            raise ValueError(f"no family of evasions is called {name!r}: all, {', '.join(FAMILIES)}")
    return tuple(found)


def proofs_of(rules: Iterable[Scoped], beside: Mapping[tuple[str, int], tuple[RuleTest, ...]]) -> list[Proof]:
    """Return the tests of rules: those that they carry, and those in companions (`companion_tests`)."""
    return [
        Proof(rule, test, Path(rule.source.path).parent)
        for rule in rules
        for test in (*getattr(rule, "tests", ()), *beside.get((rule.source.path, rule.signature.sid), ()))
    ]


def prove(
    proofs: Sequence[Proof], config: Config, ways: Ways | None = None, on_progress: OnProgress | None = None
) -> Iterator[Verdict]:
    """Run tests in their order, each with its evasions.

    ``config`` has the rules. ``on_progress`` gets the number of tests that are through. Raises what `replay` does.
    """
    config = _settled(config, any(proof.test.blocked_from_packet is not None for proof in proofs))
    trials: list[_Trial] = []
    for trial in _trials(proofs, ways or Ways()):
        trials.append(trial)
        if len(trials) >= CAPTURES_AT_ONCE:
            yield from _run(trials, config, on_progress)
            trials = []
    yield from _run(trials, config, on_progress)
    if on_progress is not None:
        on_progress(len(proofs))


def _settled(config: Config, judged: bool) -> Config:
    """Return settings for tests: one process, no output, a fast path only where a test asks for one."""
    changed: dict[str, Any] = {
        "engine": config.engine.model_copy(update={"workers": 1}),
        "eve": config.eve.model_copy(update={"path": None}),
    }
    if not judged:
        changed["fastpath"] = config.fastpath.model_copy(update={"replay": "off"})
    return config.model_copy(update=changed)


def _trials(proofs: Iterable[Proof], ways: Ways) -> Iterator[_Trial]:
    for place, proof in enumerate(proofs):
        if proof.test.kind == "pcap":
            yield _Trial(place, proof, proof.folder / proof.test.stimulus["path"])
            continue
        try:
            yield _Trial(place, proof, packets=frames_of(proof.rule, proof.test))
        except NoParties:
            yield _Trial(place, proof)
            continue
        ends: dict[bool, Parties | None] = {}
        server_speaks = any(part.direction == Direction.TO_CLIENT for part in said(proof.test))
        for way in _chosen(proof, ways):
            name = f"{way.family}: {way.name}"
            if _hides_server(way) and seen_from_server(proof.rule, server_speaks):
                yield _Trial(place, proof, evasion=name, skipped=SERVER_UNSEEN)
                continue
            if way.ipv6 not in ends:
                ends[way.ipv6] = _met(proof, way.ipv6)
            who = ends[way.ipv6]
            if who is not None:
                made = list(frames(way, *who.hosts, sport=who.ports[0], dport=who.ports[1]))
                yield _Trial(place, proof, packets=made, evasion=name)


def _hides_server(way: Evasion) -> bool:
    return way.unseen is not None and way.unseen(Segment(0, b"x", side=1))


def _chosen(proof: Proof, ways: Ways) -> Iterable[Evasion]:
    """Return the evasions of a test, or a sample of them that is the same each time."""
    found = _ways(proof, ways.families)
    if ways.sample is None:
        return found
    who = f"{proof.sid} {proof.test.name}"
    return sorted(found, key=lambda way: zlib.crc32(f"{who} {way.family} {way.name}".encode()))[: ways.sample]


def _met(proof: Proof, ipv6: bool) -> Parties | None:
    try:
        return meeting(proof.rule, proof.test, ipv6)
    except NoParties:
        return None


def says_it_otherwise(proof: Proof, families: str | None = None) -> bool:
    """Return whether a test has evasions: it raises alerts, and is one TCP connection in which the client speaks."""
    if not families_of(families if families is not None else proof.test.evade) or not proof.test.alerts:
        return False
    if proof.test.kind == "pcap" or proof.test.stimulus.get("times", 1) > 1 or transport(proof.test) != "tcp":
        return False
    return any(part.direction == Direction.TO_SERVER for part in said(proof.test))


def asked_in_vain(proof: Proof, families: str | None = None) -> bool:
    """Return whether evasions are asked of a test that raises alerts and has none: datagrams, single packets, several
    connections and captures are said in one way only.
    """
    asked = families_of(families if families is not None else proof.test.evade)
    return bool(asked and proof.test.alerts) and not says_it_otherwise(proof, families)


def _ways(proof: Proof, families: str | None) -> Iterator[Evasion]:
    """Yield the evasions of a test by which what is sent arrives at a real host."""
    if says_it_otherwise(proof, families):
        chosen = families_of(families if families is not None else proof.test.evade)
        for way in evasions(*said(proof.test), families=chosen):
            if way.works_on_linux or (way.unchecked and not way.http):
                yield way


def _run(trials: Sequence[_Trial], config: Config, on_progress: OnProgress | None) -> Iterator[Verdict]:
    """Run trials in one engine."""
    strict = config.model_copy(update={"decode": config.decode.model_copy(update={"checksums": "all"})})
    with tempfile.TemporaryDirectory(prefix="ids-tests-") as folder:
        recorded: dict[int, Path] = {}
        made: dict[int, Path] = {}
        first: dict[tuple[tuple[int, bytes], ...], int] = {}  # the same packets come to the same: one run for all
        same: dict[int, int] = {}
        for number, trial in enumerate(trials):
            if trial.capture is not None and trial.capture.is_file():
                recorded[number] = _linked(trial.capture, Path(folder, f"{number}{''.join(trial.capture.suffixes)}"))
            elif trial.packets is not None:
                same[number] = first.setdefault(tuple(trial.packets), number)
                if same[number] == number:
                    made[number] = Path(folder, f"{number}.pcap")
                    _write(made[number], trial.packets)
        places = [trial.place for trial in trials]
        reports, seconds = _replayed(made, strict, places, on_progress)
        more = _replayed(recorded, config, places, on_progress)  # whose checksums a card may have filled in later
        reports, seconds = reports | more[0], seconds | more[1]
    for number, trial in enumerate(trials):
        yield _judged(trial, reports.get(same.get(number, number)), seconds.get(number, 0.0))


def _linked(capture: Path, link: Path) -> Path:
    """Give a capture a name of its own: two tests may name the same."""
    link.symlink_to(capture.resolve())
    return link


def _replayed(
    captures: Mapping[int, Path], config: Config, places: Sequence[int], on_progress: OnProgress | None
) -> tuple[dict[int, CaptureReport], dict[int, float]]:
    if not captures:
        return {}, {}
    numbers = {path: number for number, path in captures.items()}
    seconds = dict.fromkeys(captures, 0.0)
    last = 0.0

    def note(path: Path, _bytes: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if last:  # that of the first has the engine's start in it
            seconds[numbers[path]] += now - last
        last = now
        if on_progress is not None:
            on_progress(places[numbers[path]])

    report = replay(captures.values(), config, on_progress=note)
    return dict(zip(captures, report.captures, strict=True)), seconds


def _write(path: Path, packets: Frames) -> None:
    with path.open("wb") as stream:
        writer = PcapWriter(stream)
        for at, frame in packets:
            writer.write(frame, T0 + at)


def _judged(trial: _Trial, report: CaptureReport | None, seconds: float) -> Verdict:
    proof, test = trial.proof, trial.proof.test
    expected = "an alert" if trial.evasion else _alerts(test.alerts)
    if trial.skipped:
        return Verdict(proof, expected, "skipped", True, 0.0, trial.evasion, skipped=trial.skipped)
    if test.blocked_from_packet is not None and not trial.evasion:
        expected += f", cut off from packet {test.blocked_from_packet}"
    if report is None or report.refused:
        why = "no two addresses fit its traffic" if trial.capture is None else f"{trial.capture}: no such capture"
        return Verdict(proof, expected, "nothing", False, seconds, trial.evasion, (report and report.problem) or why)
    alerts = report.alerts.get(proof.sid, 0)
    if trial.evasion:
        return Verdict(proof, expected, _alerts(alerts), alerts > 0, seconds, trial.evasion)
    got, held = _alerts(alerts), alerts == test.alerts
    if test.blocked_from_packet is not None:
        cut = [b.cut_off_from for b in report.blocks if b.sid == proof.sid and b.cut_off_from is not None]
        got += f", cut off from packet {min(cut)}" if cut else ", not cut off"
        held = held and bool(cut) and min(cut) == test.blocked_from_packet
    others = {sid: count for sid, count in report.alerts.items() if sid != proof.sid}
    note = "" if held or not others else "alerts of others: " + ", ".join(map(str, sorted(others)))
    return Verdict(proof, expected, got, held, seconds, note=note)


def _alerts(count: int) -> str:
    return {0: "no alert", 1: "1 alert"}.get(count, f"{count} alerts")
