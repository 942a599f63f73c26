"""Files cached by content: what was kept comes back, and nothing that somebody else could have put there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids import cache as module
from ids.cache import Cache, cache_home, digest_of

KEY = digest_of(["a program"])
BODY = b"instructions"
FOREIGN_UID = 12_345


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory in which one file was kept."""
    Cache(tmp_path / "cache", "bin").put(KEY, BODY)
    return tmp_path / "cache"


def kept(folder: Path) -> bytes | None:
    """Look into a directory as the next start does."""
    return Cache(folder, "bin").get(KEY)


def test_what_was_kept_is_found_by_the_next_start(folder: Path) -> None:
    assert kept(folder) == BODY
    assert Cache(folder, "other").get(KEY) is None
    assert Cache(folder, "bin").get(digest_of(["another program"])) is None


def test_only_the_owner_can_read_what_is_kept(folder: Path) -> None:
    (file,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def _turned(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [_turned, lambda raw: raw[:-3], lambda raw: raw[:16], lambda raw: b"", lambda raw: raw + b"x"],
    ids=["a bit turned", "end torn off", "digest torn", "empty", "longer"],
)
def test_a_damaged_file_is_as_good_as_none_and_is_replaced(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert kept(folder) is None
    Cache(folder, "bin").put(KEY, BODY)
    assert kept(folder) == BODY


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_directory_that_others_can_write_is_not_used(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    assert kept(folder) is None
    other = digest_of(["new"])
    Cache(folder, "bin").put(other, BODY)
    assert not (folder / f"{other}.bin").exists()


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_not_used(folder: Path, mode: int) -> None:
    (file,) = folder.iterdir()
    file.chmod(mode)
    assert kept(folder) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file away")
@pytest.mark.parametrize("whose", ["directory", "file"])
def test_what_belongs_to_somebody_else_is_not_used(folder: Path, whose: str) -> None:
    os.chown(folder if whose == "directory" else next(folder.iterdir()), FOREIGN_UID, -1)
    assert kept(folder) is None


def test_neither_a_link_nor_a_pipe_nor_a_folder_is_read(folder: Path, tmp_path: Path) -> None:
    (file,) = folder.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert kept(folder) is None
    file.unlink()
    os.mkfifo(file, 0o600)
    assert kept(folder) is None
    file.unlink()
    file.mkdir()
    assert kept(folder) is None


def test_where_nothing_can_be_kept_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for directory in (None, tmp_path / "file", tmp_path / "file/below"):
        cache = Cache(directory, "bin")
        cache.put(KEY, BODY)
        assert cache.get(KEY) is None


def test_the_files_used_longest_ago_go_first_and_others_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 8 * (module._BLOCK_BYTES + 1000))
    cache = Cache(tmp_path, "bin")
    (tmp_path / "notes.txt").write_bytes(bytes(100_000))
    (tmp_path / ".new-0123456789abcdef").write_bytes(b"left by a process that was killed")
    os.utime(tmp_path / ".new-0123456789abcdef", (0, 0))
    keys = [digest_of([str(number)]) for number in range(9)]
    for age, key in enumerate(keys):
        cache.put(key, bytes(960))
        os.utime(tmp_path / f"{key}.bin", (age, age))
    held = [key for key in keys if cache.get(key) is not None]
    assert held == keys[-len(held) :]
    assert len(held) == 7  # the eighth was one too many and left six, three quarters of the limit; then came the ninth
    assert (tmp_path / "notes.txt").exists()
    assert not (tmp_path / ".new-0123456789abcdef").exists()


def test_each_start_looks_through_a_directory_once_and_keeps_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine has a cache for each kind of file: to look through thousands of files costs more than what is kept."""
    looked: list[int] = []
    scandir = os.scandir

    def counted(directory: int) -> Iterator[os.DirEntry[str]]:
        looked.append(directory)
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", counted)
    for number in range(9):
        Cache(tmp_path, "bin").put(digest_of([str(number)]), BODY)
    assert len(looked) == 1
    monkeypatch.setattr(module, "MAX_BYTES", 12 * (module._BLOCK_BYTES + 100))
    for number in range(9, 100):
        Cache(tmp_path, "bin").put(digest_of([str(number)]), BODY)
        assert len(list(tmp_path.iterdir())) <= 12


def test_a_file_that_is_used_counts_as_new(folder: Path) -> None:
    (file,) = folder.iterdir()
    os.utime(file, (0, 0))
    assert kept(folder) == BODY
    assert file.stat().st_mtime > 0


def test_too_large_a_body_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    cache = Cache(tmp_path, "bin")
    cache.put(KEY, bytes(100))
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_only_the_same_parts_have_the_same_key(one: list[bytes], other: list[bytes]) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)


def test_caches_are_where_the_specification_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    assert cache_home({"XDG_CACHE_HOME": "/srv/cache"}) == Path("/srv/cache/ids")
    for ignored in ("", "relative"):
        assert cache_home({"XDG_CACHE_HOME": ignored}) == Path("/home/alice/.cache/ids")
    assert cache_home({}) == Path("/home/alice/.cache/ids")


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert cache_home({}) is None
