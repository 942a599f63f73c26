"""Cutting a stream into frames and lines: the same however it comes, bounded, and on its feet again behind a hole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.framing import Frames, Lines, Message, Pool

BEGINS = re.compile(rb"\x01")


def length_of(data: bytes | bytearray, at: int) -> int:
    """Frames of a mark, the length of what follows, and that."""
    if data[at] != 1:
        return -1
    return 2 + data[at + 1] if len(data) > at + 1 else 0


def framed(*contents: bytes) -> bytes:
    return b"".join(b"\x01%c%b" % (len(content), content) for content in contents)


def pool(memcap_bytes: int = 1 << 20) -> Pool:
    return Pool("toy", memcap_bytes, Counters())


def frames(limit: int = 300, begins: re.Pattern[bytes] | None = BEGINS, of: Pool | None = None) -> Frames:
    return Frames(of or pool(), length_of, limit, begins)


def in_pieces(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for cut in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        yield data[start:cut]
        start = cut


def contents(messages: Iterable[Message]) -> list[tuple[bytes, bool]]:
    return [(message.data, message.whole) for message in messages]


CUTS = st.lists(st.integers(0, 400), max_size=12)
BYTES = st.lists(st.sampled_from([0, 1, 2, 3, 10, 13, 65, 255]), max_size=80).map(bytes)


class TestFrames:
    @given(BYTES, CUTS)
    def test_any_cut_gives_the_same(self, data: bytes, cuts: list[int]) -> None:
        shared = pool()
        cut = frames(limit=6, of=shared)
        assert contents(message for piece in in_pieces(data, cuts) for message in cut.feed(piece)) == contents(
            frames(limit=6).feed(data)
        )
        assert shared.held < 6
        cut.release()
        assert shared.held == 0

    def test_each_says_what_was_fed_behind_it(self) -> None:
        assert [message.behind for message in frames().feed(framed(b"one", b"two") + b"\x01")] == [6, 1]

    def test_of_a_long_one_the_first_bytes_come(self) -> None:
        assert contents(frames(limit=4).feed(framed(b"0123456789", b"a"))) == [
            (b"\x01\x0a01", False),
            (b"\x01\x01a", True),
        ]

    def test_what_is_no_frame_is_skipped(self) -> None:
        assert contents(frames().feed(b"junk" + framed(b"x"))) == [(framed(b"x"), True)]
        assert contents(frames(begins=None).feed(b"junk" + framed(b"x"))) == []

    def test_a_hole_within_a_frame_costs_that_frame(self) -> None:
        cut = frames()
        assert contents(cut.feed(b"\x01\x0a01")) == []
        (message,) = cut.feed(b"89" + framed(b"next"), gap=6)
        assert (message.data, message.lost) == (framed(b"next"), 6)

    def test_a_hole_of_unknown_extent_costs_what_comes_before_the_next_beginning(self) -> None:
        cut = frames()
        assert contents(cut.feed(framed(b"x"), gap=5)) == [(framed(b"x"), True)]
        assert contents(cut.feed(b"AB" + framed(b"y"), gap=5)) == [(framed(b"y"), True)]

    def test_a_pattern_may_ask_for_the_first_byte_of_a_piece(self) -> None:
        cut = frames(begins=re.compile(rb"\A\x01"))
        assert contents(cut.feed(b"AB" + framed(b"x"), gap=5)) == []
        assert contents(cut.feed(framed(b"y"))) == [(framed(b"y"), True)]

    @pytest.mark.parametrize("step", [1, 3, 100])
    def test_pieces_may_come_raw_behind_a_frame(self, step: int) -> None:
        cut, found = frames(), []
        stream = framed(b"5") + b"raw:)" + framed(b"next")
        for at in range(0, len(stream), step):
            for message in cut.feed(stream[at : at + step]):
                found.append((message.data, message.whole))
                if message.data == framed(b"5"):
                    cut.raw(5)
        raw = found[1:-1]
        assert b"".join(data for data, _ in raw) == b"raw:)"
        assert [whole for _, whole in raw] == [False] * (len(raw) - 1) + [True]
        assert found[-1] == (framed(b"next"), True)

    def test_where_it_is_asked_what_came_of_a_frame_with_a_hole_comes(self) -> None:
        shared = pool()
        cut = Frames(shared, length_of, 300, BEGINS, cut=True)
        assert contents(cut.feed(b"\x01\x0a01")) == []
        head, *rest = cut.feed(b"56", gap=3)
        assert (head.data, head.whole, head.lost, head.behind) == (b"\x01\x0a01", False, 0, 2)
        assert [(piece.data, piece.whole, piece.lost) for piece in rest] == [(b"56", False, 3)]
        end, after = cut.feed(b"9" + framed(b"x"), gap=2)
        assert [(piece.data, piece.whole, piece.lost) for piece in (end, after)] == [
            (b"9", True, 2),
            (framed(b"x"), True, 0),
        ]
        assert shared.held == 0

    def test_a_hole_beyond_such_a_frame_ends_it(self) -> None:
        cut = Frames(pool(), length_of, 300, BEGINS, cut=True)
        assert contents(cut.feed(b"\x01\x0a01")) == []
        assert contents(cut.feed(b"89" + framed(b"x"), gap=99)) == [(b"\x01\x0a01", False), (framed(b"x"), True)]

    @pytest.mark.parametrize(("gap", "left"), [(2, b"cd"), (4, b"")])
    def test_a_hole_in_a_raw_piece_shortens_it(self, gap: int, left: bytes) -> None:
        cut = frames()
        for _ in cut.feed(framed(b"x")):
            cut.raw(4)
        raw, message = cut.feed(left + framed(b"y"), gap=gap)
        assert (raw.data, raw.whole, raw.lost) == (left, True, gap)
        assert (message.data, message.lost) == (framed(b"y"), 0)

    def test_memory_is_one_for_all(self) -> None:
        counters = Counters()
        shared = Pool("toy", 10, counters)
        first, second = frames(of=shared), frames(of=shared)
        list(first.feed(b"\x01\xff123456"))
        list(second.feed(b"\x01\xff123456"))
        assert (shared.held, counters["toy.memcap"], counters["toy.skipped_bytes"]) == (8, 1, 8)
        first.release()
        assert contents(second.feed(framed(b"again"))) == [(framed(b"again"), True)]
        assert shared.held == 0

    def test_the_end_of_the_stream_frees_what_is_held(self) -> None:
        shared = pool()
        assert contents(frames(of=shared).feed(b"\x01\xffabc", closed=True)) == []
        assert shared.held == 0

    def test_one_whose_length_does_not_show_within_the_limit_is_none(self) -> None:
        cut = Frames(pool(), lambda data, at: 0, 4)
        assert contents(cut.feed(b"12345678")) == []
        assert not cut._held


class TestLines:
    @given(BYTES, CUTS)
    def test_any_cut_gives_the_same(self, data: bytes, cuts: list[int]) -> None:
        shared = pool()
        cut, whole = Lines(shared, 5), Lines(pool(), 5)
        pieces = list(in_pieces(data, cuts))
        found = [message for piece in pieces for message in cut.feed(piece)]
        assert shared.held <= 6
        found += cut.feed(b"", closed=True)
        assert contents(found) == contents([*whole.feed(data), *whole.feed(b"", closed=True)])
        assert shared.held == 0

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"one\r\ntwo\n\n", [(b"one", True), (b"two", True), (b"", True)]),
            (b"12345\r\n123456\r\nx\n", [(b"12345", True), (b"12345", False), (b"x", True)]),
            (b"a\rb\r\r\n", [(b"a\rb\r", True)]),
        ],
    )
    def test_they_end_at_a_line_feed(self, data: bytes, expected: list[tuple[bytes, bool]]) -> None:
        assert contents(Lines(pool(), 5).feed(data)) == expected

    def test_bytes_of_a_known_number_come_raw(self) -> None:
        lines = Lines(pool(), 100)
        found = []
        for piece in (b"size 6\r\nabc", b"", b"d\ne", b"next\r\n"):
            for message in lines.feed(piece):
                found.append((message.data, message.whole, message.behind))
                if message.data.startswith(b"size"):
                    lines.raw(6)
        assert found == [(b"size 6", True, 3), (b"abc", False, 0), (b"d\ne", True, 0), (b"next", True, 0)]

    @given(st.lists(st.integers(0, 40), max_size=8))
    def test_bytes_come_raw_up_to_an_end(self, cuts: list[int]) -> None:
        lines, found = Lines(pool(), 100), []
        body = b""
        for piece in in_pieces(b"DATA\r\nmail\n.\r\n..\r\n.\r\nQUIT\r\n", cuts):
            for message in lines.feed(piece):
                if message.data == b"DATA":
                    lines.until(re.compile(rb"\r\n\.\r\n"), 5)
                elif message.data == b"QUIT":
                    found.append(message.data)
                else:
                    body += message.data
                    found += [b"end"] * message.whole
        assert (body, found) == (b"mail\n.\r\n..", [b"end", b"QUIT"])

    def test_a_hole_ends_what_was_held(self) -> None:
        lines = Lines(pool(), 100)
        assert contents(lines.feed(b"RCPT TO:<a")) == []
        before, behind = lines.feed(b"b>\r\n", gap=3)
        assert (before.data, before.whole, before.lost) == (b"RCPT TO:<a", False, 0)
        assert (behind.data, behind.whole, behind.lost) == (b"b>", True, 3)

    def test_a_hole_in_raw_bytes_counts_among_them(self) -> None:
        lines = Lines(pool(), 100)
        lines.raw(10)
        assert contents(lines.feed(b"0123")) == [(b"0123", False)]
        assert contents(lines.feed(b"9line\n", gap=5)) == [(b"9", True), (b"line", True)]
        lines.raw(4)
        assert contents(lines.feed(b"line\n", gap=4)) == [(b"", True), (b"line", True)]

    def test_memory_is_one_for_all(self) -> None:
        counters = Counters()
        shared = Pool("toy", 10, counters)
        first, second = Lines(shared, 100), Lines(shared, 100)
        list(first.feed(b"12345678"))
        assert contents(second.feed(b"12345678")) == []
        assert (shared.held, counters["toy.memcap"], counters["toy.skipped_bytes"]) == (8, 1, 8)
        assert contents(second.feed(b"9\nnext\n")) == [(b"next", True)]
