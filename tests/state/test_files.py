"""Files of the state: for their owner alone, and a damaged one costs only itself."""

from __future__ import annotations

import ipaddress
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ids.respond.policy import Penalty
from ids.state import comments, files, penalties
from ids.state.files import write_state

NETWORK = ipaddress.ip_network("192.0.2.0/24")


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "d" / "file"
    write_state(path, b"")
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1]", b'[{"network": "x"}]', b'{"a": 1}', b"\xff\xfe", b"[[1,2,3]]", b'[["a","b","c","d"]]']
)
def test_a_damaged_file_is_moved_aside_and_nothing_is_remembered(tmp_path: Path, data: bytes) -> None:
    for name, load in ((comments.FILE_NAME, comments.load), (penalties.FILE_NAME, penalties.load)):
        (tmp_path / name).write_bytes(data)
        assert not load(tmp_path)
        assert not (tmp_path / name).exists()
        assert (tmp_path / f"{name}.bad").read_bytes() == data


def test_penalties_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [Penalty(NETWORK, 2, 5, True), Penalty(ipaddress.ip_network("2001:db8::/64"), 1, 7, False)]
    penalties.save(tmp_path / "d", rows)
    assert penalties.load(tmp_path / "d") == rows


def test_a_comment_ends_with_its_claim_and_is_not_shown_on_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns()
    ending, lasting = ("192.0.2.1/32", "feed"), ("192.0.2.2/32", "feed")
    comments.change(tmp_path, {ending: "ticket 12", lasting: "ticket 13"}, ends={ending: now_ns + 10**12})
    assert comments.load(tmp_path) == {ending: "ticket 12", lasting: "ticket 13"}
    monkeypatch.setattr(time, "time_ns", lambda: now_ns + 2 * 10**12)
    assert comments.load(tmp_path) == {lasting: "ticket 13"}
    comments.change(tmp_path, {("192.0.2.3/32", "feed"): "ticket 14"})
    assert b"ticket 12" not in (tmp_path / comments.FILE_NAME).read_bytes()


def test_comments_of_an_older_version_are_read(tmp_path: Path) -> None:
    (tmp_path / comments.FILE_NAME).write_text('[["192.0.2.1/32", "feed", "ticket 12"]]')
    assert comments.load(tmp_path) == {("192.0.2.1/32", "feed"): "ticket 12"}


def test_comments_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comments, "MAX_COMMENTS", 3)
    for number in range(5):
        comments.change(tmp_path / "d", {(f"192.0.2.{number}/32", "operator"): "x" * 1000})
    kept = comments.load(tmp_path / "d")
    assert [network for network, _ in kept] == [f"192.0.2.{number}/32" for number in (2, 3, 4)]
    assert {len(text) for text in kept.values()} == {comments.MAX_CHARACTERS}
    assert files.state_folder("/x", "y") == Path("/x/y")


@pytest.mark.parametrize(
    ("mode", "owner", "warning"),
    [
        (0o40700, 0, ""),
        (0o40755, 0, ""),
        (0o40770, 0, "may be written by others"),
        (0o40702, 0, "may be written by others"),
        (0o40700, 4711, "belongs to another user (uid 4711)"),
    ],
)
def test_a_folder_in_which_others_may_write_is_warned_of(
    mode: int, owner: int, warning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert files.exposed(tmp_path / "none") == ""
    monkeypatch.setattr(Path, "stat", lambda _: SimpleNamespace(st_mode=mode, st_uid=owner))
    said = files.exposed(tmp_path)
    assert warning in said
    assert bool(said) == bool(warning)
