"""The starter rules find ten exploits however they are said, but for a list that only shrinks, and nothing else.

On paper: the server does what is waited for. `test_linux` asks a real one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.evade.detection import find, on_paper, trials_of, write_capture
from tests.testing.evade.exploits import BENIGN, EXPLOITS
from tests.testing.evade.known import ALERTED_BY, LIST, MISSED, read, without
from tests.testing.evade.live import Trial

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    """Every evasion of every exploit and of every benign session."""
    made = trials_of([*EXPLOITS, *BENIGN])
    on_paper(made)
    return made


@pytest.fixture(scope="module")
def found(trials: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """The sids of the alerts by source, but for those on the treatment itself."""
    path: Path = tmp_path_factory.mktemp("evade") / "paper.pcap"
    write_capture(path, trials)
    told = find(path)
    return {trial.source: told.get(trial.source, set()) - ALERTED_BY.get(trial.evasion.name, set()) for trial in trials}


def test_ten_exploits_are_found_as_they_stand(tmp_path: Path) -> None:
    plain = [trial for trial in trials_of(EXPLOITS) if trial.evasion.name == "segments of 64 bytes"]
    on_paper(plain)
    write_capture(tmp_path / "plain.pcap", plain)
    found = find(tmp_path / "plain.pcap")
    assert len(plain) == 10
    assert [trial.exploit.name for trial in plain if trial.exploit.sid not in found.get(trial.source, set())] == []


def test_what_is_not_listed_is_found(trials: list[Trial], found: dict[str, set[int]]) -> None:
    missed = [trial.name for trial in trials if not trial.exploit.benign and not found.get(trial.source)]
    assert [name for name in missed if name.partition(": ")[2] not in MISSED] == []


def test_what_is_listed_is_missed(trials: list[Trial], found: dict[str, set[int]]) -> None:
    missed = {trial.evasion.name for trial in trials if not trial.exploit.benign and not found.get(trial.source)}
    assert sorted(MISSED - missed) == [], "found now: take them off: python -m tests.testing.evade.known"


def test_benign_sessions_raise_no_alert_however_they_are_said(trials: list[Trial], found: dict[str, set[int]]) -> None:
    assert {
        trial.name: found[trial.source] for trial in trials if trial.exploit.benign and found.get(trial.source)
    } == {}


def test_the_list_has_a_reason_for_each_name() -> None:
    reasons = read(LIST.read_text())
    assert all(reasons.values())
    assert sum(map(len, reasons.values())) == len(MISSED), "a name stands there twice"


def test_a_list_shrinks() -> None:
    text = "# What\n\n[why]\none\ntwo\n\n[because]\nthree\n"
    assert read(text) == {"why": ["one", "two"], "because": ["three"]}
    assert read(without(text, {"two"})) == {"why": ["one"], "because": ["three"]}
    assert without(text, {"two", "three"}) == "# What\n\n[why]\none\n"
