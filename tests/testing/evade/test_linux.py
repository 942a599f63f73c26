"""Every evasion is tried on a real Linux host with nginx: it does what is claimed, and what arrives is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.lab.topology import Lab
from tests.testing.evade.detection import find, play_live, trials_of, write_capture
from tests.testing.evade.exploits import BENIGN, EXPLOITS
from tests.testing.evade.known import ALERTED_BY, MISSED
from tests.testing.evade.live import Trial

pytestmark = [pytest.mark.root, pytest.mark.lab]


@pytest.fixture(scope="module")
def played() -> Iterator[list[Trial]]:
    """All trials that a real server can take, with what it took."""
    try:
        with Lab() as lab:
            if not lab.ipv6:
                pytest.skip("this kernel has no IPv6")
            yield play_live(lab, trials_of([*EXPLOITS, *BENIGN]))
    except KernelError as error:
        pytest.skip(f"no lab here: {error}")


@pytest.fixture(scope="module")
def found(played: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """The sids of the alerts by source, in a replay of what went over the wire."""
    path: Path = tmp_path_factory.mktemp("evade") / "live.pcap"
    write_capture(path, played)
    return find(path)


def test_linux_and_nginx_do_what_each_evasion_says(played: list[Trial]) -> None:
    assert [f"{trial.name}: {trial.accepted}" for trial in played if trial.accepted != trial.claimed] == []


def test_at_least_eighty_evasions_arrive(played: list[Trial]) -> None:
    assert len({trial.evasion.name for trial in played if trial.accepted}) >= 80


def test_what_the_server_took_is_found(played: list[Trial], found: dict[str, set[int]]) -> None:
    missed = [
        trial.name for trial in played if trial.accepted and not trial.exploit.benign and not found.get(trial.source)
    ]
    assert [name for name in missed if name.partition(": ")[2] not in MISSED] == []


def test_nothing_is_alerted_on_benign_sessions(played: list[Trial], found: dict[str, set[int]]) -> None:
    assert {
        trial.name: told
        for trial in played
        if trial.exploit.benign and (told := found.get(trial.source, set()) - ALERTED_BY.get(trial.evasion.name, set()))
    } == {}
