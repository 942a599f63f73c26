"""Pieces of a byte range: the first copy of each byte wins, another one is compared, and the holes are known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ids.pieces import PIECE_COST, Inserted, Pieces


def test_pieces_in_order_follow_each_other() -> None:
    pieces = Pieces()
    assert pieces.insert(0, b"ab") == Inserted(2, 0, False)
    assert pieces.insert(2, b"cd") == Inserted(2, 0, False)
    assert (pieces.start, pieces.end, pieces.size, len(pieces)) == (0, 4, 4, 2)
    assert pieces.pop(0) == (b"abcd", False)
    assert (pieces.size, len(pieces)) == (0, 0)


def test_what_covers_a_hole_and_both_its_sides_fills_the_hole_alone() -> None:
    pieces = Pieces()
    pieces.insert(0, b"abcd")
    pieces.insert(8, b"ijkl")
    assert pieces.insert(2, b"cdEFGHij") == Inserted(4, 4, False)
    assert pieces.pop(0) == (b"abcdEFGHijkl", False)


def test_a_copy_with_other_content_changes_nothing_and_marks_the_piece_that_it_differs_from() -> None:
    pieces = Pieces()
    pieces.insert(0, b"ab")
    pieces.insert(2, b"cd")
    assert pieces.insert(1, b"bX") == Inserted(0, 2, True)
    pieces.insert(6, b"gh")
    assert pieces.pop(0) == (b"abcd", True)
    assert pieces.pop(6) == (b"gh", False)


def test_pieces_behind_a_hole_are_not_popped() -> None:
    pieces = Pieces()
    pieces.insert(4, b"ef")
    assert pieces.pop(0) == (b"", False)
    assert pieces.pop(4) == (b"ef", False)


def test_nothing_is_kept_of_nothing() -> None:
    pieces = Pieces()
    pieces.insert(4, b"efgh")
    for at in (0, 4, 6, 8, 9):
        assert pieces.insert(at, b"") == Inserted(0, 0, False)
    assert (len(pieces), pieces.cost) == (1, 4 + PIECE_COST)


@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=40))
def test_any_insertions_keep_the_first_byte_of_each_place(insertions: list[tuple[int, bytes]]) -> None:
    pieces, model, marked = Pieces(), dict[int, int](), set[int]()
    for count, (start, data) in enumerate(insertions, 1):
        covered = {start + k for k in range(len(data)) if start + k in model}
        different = {at for at in covered if model[at] != data[at - start]}
        assert pieces.insert(start, data) == (len(data) - len(covered), len(covered), bool(different))
        marked |= different
        for k, byte in enumerate(data):
            model.setdefault(start + k, byte)
        assert pieces.size == len(model)
        assert len(pieces) <= 2 * count - 1
        if model:
            assert (pieces.start, pieces.end) == (min(model), max(model) + 1)
    while model:
        begin = min(model)
        reach = next(at for at in range(begin, begin + len(model) + 1) if at not in model)
        data, conflict = pieces.pop(begin)
        assert data == bytes(model.pop(at) for at in range(begin, reach))
        assert conflict == any(begin <= at < reach for at in marked)
    assert pieces.size == len(pieces) == 0
