"""Files: one ends once, digests and content are as the bytes say, and memory has a bound."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.files import File, Files, FileSettings, State, magic
from ids.types import Direction, FlowColumns, Transaction

ALL = ("file.data", "file.md5", "file.sha1", "file.sha256", "file.magic", "file.size", "file.name")


def tracker(buffers: tuple[str, ...] = ALL, *, logged: bool = True, **settings: int) -> Files:
    files = Files(FileSettings.model_validate(settings), Counters(), FlowColumns(1))
    files.want(buffers, logged=logged)
    return files


def opened(files: Files, name: bytes = b"a.txt") -> File:
    return files.open(0, "smtp", 3, Direction.TO_SERVER, name=name, fields={"helo": "h"})


def test_a_file_that_is_closed_says_what_it_is() -> None:
    file = opened(tracker())
    file.append(b"hello ")
    file.append(b"world\n")
    assert file.digest("md5") is None, "it goes on"
    file.close(1, 2)
    assert (file.state, file.size, file.content, file.gaps) == (State.CLOSED, 12, b"hello world\n", False)
    assert file.digest("sha256") == hashlib.sha256(b"hello world\n").hexdigest()
    buffers = file.buffers
    assert buffers["file.name"] == b"a.txt"
    assert buffers["file.size"] == b"12"
    assert buffers["file.md5"] == hashlib.md5(b"hello world\n").hexdigest().encode()
    assert buffers["file.magic"] == b"ASCII text"


def test_a_file_ends_once() -> None:
    files, out = tracker(), list[Transaction]()
    file = opened(files)
    file.append(b"x")
    file.close(1, 2, out)
    file.truncate(3, 4, out)
    file.append(b"y")
    file.gap(9)
    assert (file.state, file.size, len(out), files.take(), files.take()) == (
        State.CLOSED, 1, 1, ([file], [file]), ([], [])
    )  # fmt: skip


def test_lost_bytes_count_and_are_in_no_digest() -> None:
    file = opened(tracker())
    file.append(b"one")
    file.gap(5)
    file.append(b"two")
    file.close(0, 0)
    assert (file.state, file.gaps, file.size) == (State.TRUNCATED, True, 11)
    assert file.digest("sha256") == hashlib.sha256(b"onetwo").hexdigest()
    assert file.buffers.get("file.md5") is None, "rules ask for the digest of a complete file"


@given(st.lists(st.binary(max_size=3000), max_size=8))
def test_digests_do_not_depend_on_pieces_nor_on_what_is_kept(pieces: list[bytes]) -> None:
    file, whole = opened(tracker(inspect_bytes=1024)), b"".join(pieces)
    for piece in pieces:
        file.append(piece)
    file.close(0, 0)
    assert file.content == whole[:1024]
    assert file.whole is (len(whole) <= 1024)
    for name in ("md5", "sha1", "sha256"):
        assert file.digest(name) == hashlib.new(name, whole).hexdigest()


def test_only_digests_that_are_wanted_go_on_behind_what_is_kept() -> None:
    file = opened(tracker(("file.sha1",), inspect_bytes=1024))
    file.append(bytes(5000))
    file.close(0, 0)
    assert file.digest("sha1") == hashlib.sha1(bytes(5000)).hexdigest()
    assert file.digest("md5") is None


def test_content_has_a_memcap_over_all_flows() -> None:
    files = tracker(memcap_bytes=4096)
    many = [opened(files) for _ in range(6)]
    for file in many:
        file.append(bytes(1000))
    assert files.held <= 6 * 512 + 4096
    assert files._counters["files.memcap"] > 0
    for file in many:
        file.close(0, 0)
    assert files.held == 0
    assert {file.digest("md5") for file in many} == {hashlib.md5(bytes(1000)).hexdigest()}


def test_a_parser_that_is_let_go_leaves_nothing_behind() -> None:
    files = tracker()
    file = opened(files)
    file.append(bytes(1000))
    file.release()
    file.release()
    assert (files.held, files.take()) == (0, ([], []))


def test_rules_see_a_file_as_it_grows_ever_more_seldom() -> None:
    files, out = tracker(), list[Transaction]()
    file = opened(files)
    for number in range(1000):
        file.append(b"x", number, number, out)
    file.close(1000, 1000, out)
    assert len(out) <= 12
    assert [row.partial for row in out] == [True] * (len(out) - 1) + [False]
    assert out[-1].buffers["file.data"] == b"x" * 1000
    assert out[-1].files == (file,)
    assert out[-1].tx_id == 3


@pytest.mark.parametrize(("buffers", "logged", "seen"), [((), True, 0), (("http.uri",), False, 0), (ALL, False, 1)])
def test_nothing_is_handed_to_rules_that_do_not_ask(buffers: tuple[str, ...], logged: bool, seen: int) -> None:
    files, out = tracker(buffers, logged=logged), list[Transaction]()
    file = opened(files)
    file.close(0, 0, out)
    assert (len(out), len(files.take()[0])) == (seen, int(logged))
    assert files.active is bool(seen or logged)


def test_what_nobody_wants_is_not_kept() -> None:
    files = tracker((), logged=False)
    file = opened(files)
    file.append(bytes(1000))
    assert (file.content, file.size) == (b"", 1000)


def test_an_event_can_wait_for_the_rest_of_the_exchange() -> None:
    files = tracker()
    file = opened(files)
    file.reported = False
    file.append(b"hello")
    file.close(1, 2)
    assert files.take() == ([file], [])
    file.settle(("sha1",), magic=True)
    assert file.content == b""
    file.report({"status": 200})
    file.report({"status": 500})
    assert files.take() == ([], [file])
    assert (file.fields, file.digest("sha1")) == ({"status": 200}, hashlib.sha1(b"hello").hexdigest())
    assert file.magic() == "ASCII text, with no line terminators"
    assert file.digest("md5") is None, "nobody asked for it in time"


@pytest.mark.parametrize("white", [b"\n", b" ", b"\r\n"])
def test_white_space_is_shown_to_libmagic_in_short_runs_only(white: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is the square of such a run."""
    shown: list[bytes] = []

    class Library:
        def from_buffer(self, content: bytes) -> str:
            shown.append(content)
            return "data"

    monkeypatch.setattr(magic, "libmagic", Library)
    assert magic.describe(b"a" + white * 100_000) == "data"
    assert magic.describe(white * 10 + b"b" + white * 10) == "data"
    assert shown == [b"a" + (white * 512)[: magic.WHITE_BYTES], white * 10 + b"b" + white * 10]
