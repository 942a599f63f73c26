"""Saved penalties: what is forgotten by hand takes nothing else with it."""

from __future__ import annotations

import fcntl
import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from ids.errors import NotRunning
from ids.respond.policy import Penalty
from ids.state import penalties

ONE, OTHER = (Penalty(ip_network(f"192.0.2.{number}"), 2, 1_700_000_000_000_000_000, True) for number in (1, 2))


def test_penalties_of_networks_are_forgotten_and_others_stay(tmp_path: Path) -> None:
    penalties.save(tmp_path, [ONE, OTHER])
    assert penalties.reset(tmp_path, [ip_network("192.0.2.2/31")]) == [OTHER.network]
    assert penalties.load(tmp_path) == [ONE]
    assert penalties.reset(tmp_path, None) == [ONE.network]
    assert penalties.load(tmp_path) == []


def test_where_nothing_is_saved_nothing_is_made(tmp_path: Path) -> None:
    assert penalties.reset(tmp_path / "default", None) == []
    assert not (tmp_path / "default").exists()


def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    def ask() -> dict[str, object]:
        raise NotRunning("no engine")

    troubles: list[str] = []
    assert penalties.known(tmp_path, ask, troubles) == []
    assert not troubles, "there is none"
    (tmp_path / penalties.FILE_NAME).mkdir()  # which root cannot read either
    assert penalties.known(tmp_path, ask, troubles) == []
    assert troubles == [f"{tmp_path}/penalties.json cannot be read: Is a directory"]


def test_what_is_read_is_changed_and_written_under_one_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what another saves meanwhile is lost."""
    penalties.save(tmp_path, [ONE, OTHER])
    load = penalties.load

    def watched(folder: Path) -> list[Penalty]:
        fd = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
        return load(folder)

    monkeypatch.setattr(penalties, "load", watched)
    assert penalties.reset(tmp_path, [ONE.network]) == [ONE.network]
