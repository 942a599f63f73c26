"""The prefilter finds every needle, in one buffer or in the rows of a joined one, and survives a bad cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.rules.match.prefilter import LEAST_HITS, Prefilter
from ids.rules.model.literals import Needle
from tests.cost import LINEAR, growth

needles = st.lists(
    st.builds(Needle, st.just("payload"), st.binary(min_size=1, max_size=4), st.booleans()), max_size=6
).map(lambda found: [Needle(n.buffer, n.value.lower() if n.nocase else n.value, n.nocase) for n in found])
small = st.text("aAb\0", max_size=8).map(str.encode)


def expected(wanted: list[Needle], data: bytes) -> set[int]:
    """What a naive search finds."""
    return {i for i, n in enumerate(wanted) if n.value in (data.lower() if n.nocase else data)}


def starts_of(rows: list[bytes]) -> np.ndarray:
    """Where each row begins in the joined buffer, and where the last one ends."""
    return np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)


def found(prefilter: Prefilter, rows: list[bytes], **options: np.ndarray) -> set[tuple[int, int]]:
    """Return pairs of row and rule; each is reported once."""
    places, rules = prefilter.find(b"".join(rows), starts_of(rows), **options)
    pairs = list(zip(places.tolist(), rules.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    return set(pairs)


@given(needles, st.lists(small, max_size=6))
def test_rows_are_searched_as_if_one_by_one(wanted: list[Needle], rows: list[bytes]) -> None:
    """No needle is missed, and none is found over the boundary of two rows, empty rows included."""
    prefilter = Prefilter((needle, i) for i, needle in enumerate(wanted))
    assert found(prefilter, rows) == {(i, rule) for i, row in enumerate(rows) for rule in expected(wanted, row)}


@given(needles, st.lists(st.lists(small, min_size=1, max_size=4), max_size=4))
def test_a_needle_may_begin_in_an_earlier_row_of_its_run(wanted: list[Needle], runs: list[list[bytes]]) -> None:
    """It is found in the row in which it ends; none reaches over the boundary of two runs."""
    prefilter = Prefilter((needle, i) for i, needle in enumerate(wanted))
    rows = [row for run in runs for row in run]
    starts = starts_of(rows)
    heads = np.cumsum([0, *(len(run) for run in runs)])[:-1]
    floor = np.repeat(starts[heads], [len(run) for run in runs]) if runs else starts[:0]
    answers = set()
    place = 0
    for run in runs:
        for i, row in enumerate(run):
            data = b"".join(run[: i + 1])
            for rule, needle in enumerate(wanted):
                whole = data.lower() if needle.nocase else data
                end = whole.find(needle.value, max(0, len(data) - len(row) - len(needle.value) + 1)) >= 0
                answers |= {(place, rule)} if row and end else set()
            place += 1
    assert found(prefilter, rows, floor=floor) == answers


def test_what_was_searched_before_is_not_reported_again() -> None:
    """A row may begin with bytes that were already searched; a needle has to end behind them."""
    prefilter = Prefilter([(Needle("payload", b"ab", False), 7)])
    for row, old, answer in ((b"abab", 2, {(0, 7)}), (b"abaa", 2, set()), (b"aab", 2, {(0, 7)})):
        assert found(prefilter, [row], fresh=np.array([old])) == answer


def test_a_flood_of_hits_is_reported_once_a_row() -> None:
    """Above the limit rows are scanned one by one, and the answer is the same."""
    counters = Counters()
    prefilter = Prefilter([(Needle("payload", b"aa", False), 7)], counters=counters)
    rows = [b"a" * LEAST_HITS * 2, b"a", b"", b"a" * 50]
    assert found(prefilter, rows) == {(0, 7), (3, 7)}
    assert counters["rules.prefilter.floods"] == 1
    together = found(prefilter, rows, floor=np.zeros(4, np.int64))
    assert together == {(0, 7), (1, 7), (3, 7)}


def test_a_flood_costs_a_scan_a_row_and_not_a_call_a_byte() -> None:
    prefilter = Prefilter([(Needle("payload", b"aa", False), 7)])
    calls: list[int] = []

    def scans(size: int) -> None:
        calls.append(len(found(prefilter, [b"a" * size] * 100)))

    assert growth(scans, 8192) < LINEAR
    assert set(calls) == {100}


def test_the_same_needle_of_several_rules_is_compiled_once() -> None:
    """Rules share needles."""
    shared = Prefilter([(Needle("payload", b"ab", False), 0), (Needle("payload", b"ab", False), 1)])
    assert len(shared) == 1
    assert found(shared, [b"xab"]) == {(0, 0), (0, 1)}


def test_cache_is_used_and_rebuilt_when_corrupt(tmp_path: Path) -> None:
    """A second load finds the databases; torn, forged or foreign files are compiled anew and replaced."""
    entries = [(Needle("payload", b"needle", False), 3)]
    cache = tmp_path / "made" / "on demand"
    Prefilter(entries, cache)
    files = sorted(cache.iterdir())
    assert [file.suffix for file in files] == [".hs", ".hs"]
    good = files[0].read_bytes()
    for bad in (b"", b"short", good[:-1], good[:40] + b"\xff" + good[41:], bytes(32) + b"HS"):
        for file in files:
            file.write_bytes(bad)
        assert found(Prefilter(entries, cache), [b"a needle"]) == {(0, 3)}
        assert files[0].read_bytes() == good
    assert sorted(cache.iterdir()) == files


def test_unwritable_cache_is_no_error(tmp_path: Path) -> None:
    """Where nothing can be kept, nothing is kept."""
    (tmp_path / "file").write_text("in the way")
    assert found(Prefilter([(Needle("payload", b"ab", True), 0)], tmp_path / "file"), [b"AB"]) == {(0, 0)}
