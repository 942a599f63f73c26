"""Files that are there whole or not at all, whoever else writes them meanwhile."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ids import whole
from ids.whole import whole_file, write_whole


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_whole(tmp_path / "file", b"old")
    return tmp_path / "file"


def test_what_was_there_stays_where_the_new_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["file"]


def test_what_was_there_stays_where_the_new_cannot_be_made(path: Path) -> None:
    with pytest.raises(KeyError), whole_file(path) as file:  # noqa: PT012
        file.write(b"half of")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["file"]


def test_two_at_once_do_not_meet_and_the_last_one_wins(path: Path) -> None:
    """Threads of one process have the same number."""
    with whole_file(path) as first, whole_file(path) as second:
        first.write(b"first, ")
        second.write(b"second")
        first.write(b"whole")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"first, whole", "the outer one ends last"
    assert names(path.parent) == ["file"]


def test_no_link_that_somebody_has_laid_is_followed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    path.unlink()
    path.symlink_to(victim)
    monkeypatch.setattr(whole, "_numbers", iter([7]))
    path.with_name(f".file.{os.getpid()}.7").symlink_to(victim)
    write_whole(path, b"new")
    assert victim.read_bytes() == b"precious"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_its_rights_are_those_that_were_asked_for_whatever_the_umask(path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        write_whole(path, b"new", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_where_there_is_no_folder_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "file", b"")
