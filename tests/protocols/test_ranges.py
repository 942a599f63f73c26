"""Files that are fetched in ranges: joined as they come, however they are cut, and bounded."""

from __future__ import annotations

import gzip
import hashlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.config import load_config
from ids.counters import Counters
from ids.events import Event, Events
from ids.protocols.files import FileSettings
from ids.protocols.files.ranges import FILE_BYTES, MAX_SPANS, MAX_VERSIONS, Key, Ranges
from ids.protocols.http.ranges import place_of
from ids.protocols.http2.frames import PREFACE
from ids.replay import replay
from ids.testing import Session, to_client
from plugins.rules import Rules
from tests.protocols.frames2 import Speaker
from tests.protocols.frames2 import data as body_frame
from tests.shared import shared

SECOND = 1_000_000_000
LIMIT = 1 << 20


def key(size: int, client: int = 1, path: bytes = b"/f") -> Key:
    return Key((0, client), b"host", path, size)


class Fetched:
    """Files put together."""

    def __init__(self, **settings: float) -> None:
        self.counters = Counters()
        self.ranges = Ranges(FileSettings.model_validate(settings), self.counters)

    def take(self, of: Key, start: int, data: bytes, limit: int = LIMIT, ts_ns: int = 0) -> list[tuple[bytes, bool]]:
        found = self.ranges.take(of, start, data, len(data), limit, ts_ns)
        return [(one.data, one.whole) for one in found]


def test_which_values_say_where_a_part_is() -> None:
    assert place_of(b"bytes 10-19/100") == (10, 20, 100)
    assert place_of(b" Bytes  010-19/100 ") == (10, 20, 100)
    for value in (b"bytes 0-99/100", b"bytes 10-19/*", b"bytes */100", b"bytes 19-10/100", b"bytes 90-100/100", b"x"):
        assert place_of(value) is None


@given(st.binary(min_size=2, max_size=200), st.lists(st.tuples(st.integers(0, 199), st.integers(1, 80)), max_size=20))
def test_any_ranges_in_any_order_make_the_file(content: bytes, parts: list[tuple[int, int]]) -> None:
    """Each run that is looked at is a piece of the file; once, when all has come, the whole of it is."""
    fetched, size = Fetched(), len(content)
    covered, wholes = set[int](), 0
    cut = [(start % size, length) for start, length in parts]
    for start, length in (*cut, (0, size // 2), (size // 2, size)):
        piece = content[start : start + length]
        for data, whole in fetched.take(key(size), start, piece):
            assert data in content
            assert len(data) == size if whole else len(data) > len(piece)
            wholes += whole
        covered |= set(range(start, start + len(piece)))
        assert (wholes == 1) is (len(covered) == size)
    assert set(fetched.counters.values) <= {"files.ranges_joined"}


@given(
    st.lists(st.tuples(st.integers(0, 30), st.binary(min_size=1, max_size=12)), min_size=1, max_size=8),
)
def test_what_came_first_and_what_came_last_is_looked_at(parts: list[tuple[int, bytes]]) -> None:
    """Whichever of two ranges that differ a client keeps; where several places are contested, the latest of all."""
    size, fetched = 40, Fetched()
    first, last = [-1] * size, [-1] * size
    seen: list[bytes] = []
    for start, data in (*parts, (0, bytes(20)), (20, bytes(20))):
        seen += [found for found, whole in fetched.take(key(size), start, data) if whole]
        for at, byte in enumerate(data[: size - start], start):
            first[at] = byte if first[at] < 0 else first[at]
            last[at] = byte
    assert bytes(first) in seen
    if len(fetched.ranges._files[key(size)].later) <= 1:
        assert bytes(last) in seen
    assert len(seen) <= 2 * MAX_VERSIONS + 4


def test_a_range_that_differs_is_looked_at_behind_the_end_too() -> None:
    fetched = Fetched()
    assert fetched.take(key(8), 0, b"junk") == []
    assert fetched.take(key(8), 4, b"-two") == [(b"junk-two", True)]
    assert fetched.take(key(8), 0, b"real") == [(b"real-two", True)]
    assert fetched.take(key(8), 0, b"real") == [], "the same again says nothing new"
    for number in range(20):
        fetched.take(key(8), 0, b"%4d" % number)
    assert fetched.counters["files.ranges_versions"] == 20 - MAX_VERSIONS + 1


def test_of_a_large_file_its_beginning_is_looked_at() -> None:
    fetched = Fetched()
    assert fetched.take(key(100), 0, b"a" * 50, limit=60) == []
    assert fetched.take(key(100), 50, b"b" * 50, limit=60) == [(b"a" * 50 + b"b" * 10, True)]


def test_ranges_that_never_end_are_looked_at_as_they_grow_and_cost_no_square() -> None:
    """Whoever lies about the size does not get by, and does not get more than his share of work."""
    fetched = Fetched()
    assert fetched.take(key(1 << 40), 0, b"EV") == []
    assert fetched.take(key(1 << 40), 2, b"IL") == [(b"EVIL", False)]
    looked = 0
    for at in range(4, 20_004, 4):
        looked += sum(len(data) for data, _ in fetched.take(key(1 << 40), at, b"abcd"))
    assert looked < 256 * 1024 + 4 * 21_100


def test_parts_with_holes_between_them_are_bounded() -> None:
    fetched = Fetched()
    for at in range(0, 10 * MAX_SPANS, 2):
        fetched.take(key(1 << 20), at, b"x")
    assert fetched.counters["files.ranges_left_out"] == 4 * MAX_SPANS
    assert fetched.take(key(1 << 20), 1, b"y") == [(b"xyx", False)], "what closes a hole is taken"


def test_files_have_a_memcap_and_a_timeout() -> None:
    fetched = Fetched(range_memcap_bytes=4 * FILE_BYTES, range_timeout_s=60)
    for client in range(10):
        fetched.take(key(8, client), 0, b"abcd")
    assert fetched.ranges.held <= 4 * FILE_BYTES
    assert fetched.counters["files.ranges_evicted"] == 7
    assert fetched.take(key(8, 9), 4, b"efgh", ts_ns=59 * SECOND) == [(b"abcdefgh", True)]
    fetched.take(key(8, 99), 0, b"abcd", ts_ns=200 * SECOND)
    assert len(fetched.ranges) == 1
    assert fetched.take(key(8, 9), 4, b"efgh", ts_ns=200 * SECOND) == []
    fetched.ranges.clear()
    assert (fetched.ranges.held, len(fetched.ranges)) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.binary(max_size=60))), st.integers(0, 8000))
def test_what_is_held_is_what_is_there(steps: list[tuple[int, int, bytes]], memcap: int) -> None:
    fetched = Fetched(range_memcap_bytes=memcap)
    for client, start, data in steps:
        fetched.take(key(100, client), start, data)
        assert 0 <= fetched.ranges.held <= memcap
        assert fetched.ranges.held == sum(one.cost for one in fetched.ranges._files.values())
    fetched.ranges.clear()


# ---- responses -------------------------------------------------------------------------------------------------------

CONTENT = b"an innocent beginning, and then EVIL-CONTENT, which nobody may see in one piece"
HALF = CONTENT.index(b"EVIL") + 4
RULE = 'alert http any any -> any any (msg:"seam"; file.data; content:"EVIL-CONTENT"; sid:1;)\n'


def asked(path: bytes = b"/f.bin", host: bytes = b"www.example.com") -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, host)


def answered(start: int, stop: int, content: bytes = CONTENT, size: int = 0, head: bytes = b"") -> bytes:
    body = content[start:stop]
    return b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n%s\r\n%s" % (
        start, stop - 1, size or len(content), len(body), head, body,
    )  # fmt: skip


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "r.rules").write_text(RULE)
    types = "eve.types=[alert,fileinfo]"
    return Session(f"rules.paths=[{tmp_path / 'r.rules'}]", types, "files.hashes=[sha256]", rules=Rules())


def files(session: Session) -> list[tuple[int, str, int | None]]:
    """Return size, state and start of each file that an event was written of."""
    found = [event["fileinfo"] for event in session.events if event["event_type"] == "fileinfo"]
    return [(one["size"], one["state"], one.get("start")) for one in found]


PARTS = ((0, HALF), (HALF, len(CONTENT)))


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)))
@pytest.mark.parametrize("connections", [1, 2])
def test_a_file_in_two_ranges_is_inspected(
    session: Session, order: tuple[tuple[int, int], ...], connections: int
) -> None:
    turns = [(asked(), to_client(answered(*part))) for part in order]
    if connections == 1:
        session.tcp(*[said for turn in turns for said in turn])
    else:
        for turn in turns:
            session.tcp(*turn)
    session.end()
    assert session.sids == [1]
    assert sorted(files(session), key=str) == sorted(
        [(HALF, "CLOSED", 0), (len(CONTENT) - HALF, "CLOSED", HALF), (len(CONTENT), "CLOSED", None)], key=str
    )
    whole = [event for event in session.events if event.get("fileinfo", {}).get("size") == len(CONTENT)]
    assert whole[0]["fileinfo"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("second", "src"),
    [
        (asked(host=b"other.example.com"), "192.0.2.1"),
        (asked(b"/g.bin"), "192.0.2.1"),
        (asked(), "192.0.2.99"),
    ],
    ids=["another host", "another path", "another client"],
)
def test_what_is_another_file_is_not_joined(session: Session, second: bytes, src: str) -> None:
    session.tcp(asked(), to_client(answered(*PARTS[0])))
    session.tcp(second, to_client(answered(*PARTS[1])), src=src)
    session.end()
    assert session.sids == []


@pytest.mark.parametrize("second", [asked(b"/f.bin?again"), asked(host=b"WWW.example.com")])
def test_neither_query_nor_case_makes_another_file(session: Session, second: bytes) -> None:
    session.tcp(asked(), to_client(answered(*PARTS[0])), second, to_client(answered(*PARTS[1])))
    session.end()
    assert session.sids == [1]


def test_a_file_whose_size_is_a_lie_is_inspected_as_it_grows(session: Session) -> None:
    for part in PARTS:
        session.tcp(asked(), to_client(answered(*part, size=1 << 30)))
    assert session.sids == [1]
    session.end()


def test_a_range_that_never_ends_is_inspected_as_it_grows(session: Session) -> None:
    """Its response is longer than what comes of it."""
    session.tcp(asked(), to_client(answered(*PARTS[0])))
    cut = answered(*PARTS[1]).replace(b"Content-Length: ", b"Content-Length: 9")
    session.tcp(asked(), to_client(cut), close=False)
    assert session.sids == [1]
    session.end()


def test_the_coding_of_a_file_is_undone_once_it_is_joined(session: Session) -> None:
    coded = gzip.compress(CONTENT, mtime=0)
    for start, stop in ((0, 30), (30, len(coded))):
        session.tcp(asked(), to_client(answered(start, stop, coded, head=b"Content-Encoding: gzip\r\n")))
    session.end()
    assert session.sids == [1]


def test_junk_that_comes_before_or_behind_hides_nothing(session: Session) -> None:
    junk = b"-" * len(CONTENT)
    for part, content in ((PARTS[0], junk), (PARTS[1], CONTENT), (PARTS[0], CONTENT), (PARTS[1], junk)):
        session.tcp(asked(), to_client(answered(*part, content)))
    session.end()
    assert session.sids == [1]


def test_ranges_of_http2_are_joined_and_with_those_of_http1(tmp_path: Path, session: Session) -> None:
    client, server = Speaker(), Speaker()
    get = ((":method", "GET"), (":scheme", "http"), (":path", "/f.bin"), (":authority", "www.example.com"))
    head = ((":status", "206"), ("content-range", f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}"))
    said = to_client(server.headers(head, 1, last=False) + body_frame(CONTENT[HALF:], 1))
    session.tcp(PREFACE + client.headers(get, 1), said)
    session.tcp(asked(), to_client(answered(*PARTS[0])))
    session.end()
    assert session.sids == [1]


def test_the_public_capture() -> None:
    """Its file of 69 bytes is fetched in ranges over HTTP/1 and HTTP/2, out of order."""
    path = shared("suricata-verify") / "tests/http2-range/http2-range.pcap"
    seen: list[Event] = []

    def note(events: Events) -> None:
        seen.extend(event for event in events if event["event_type"] == "fileinfo")

    replay([path], load_config(None, ["fastpath.replay=off", "rules.paths=[]"]), on_events=note)
    assert [event["fileinfo"]["size"] for event in seen].count(69) == 1
