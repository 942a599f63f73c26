"""The prefilter finds every needle, in one buffer or in the rows of a joined one, and survives a bad cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.literals import Needle
from ids.rules.prefilter import HITS_PER_ROW, Prefilter

needles = st.lists(
    st.builds(Needle, st.just("payload"), st.binary(min_size=1, max_size=4), st.booleans()), max_size=6
).map(lambda found: [Needle(n.buffer, n.value.lower() if n.nocase else n.value, n.nocase) for n in found])
small = st.text("aAb\0", max_size=8).map(str.encode)


def expected(wanted: list[Needle], data: bytes) -> set[int]:
    """What a naive search finds."""
    return {i for i, n in enumerate(wanted) if n.value in (data.lower() if n.nocase else data)}


@given(needles, st.lists(small, max_size=6))
def test_rows_are_searched_as_if_one_by_one(wanted: list[Needle], rows: list[bytes]) -> None:
    """No needle is missed, and none is found over the boundary of two rows, empty rows included."""
    prefilter = Prefilter((needle, i) for i, needle in enumerate(wanted))
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)]).astype(np.int64)
    found = prefilter.scan_rows(b"".join(rows), starts)
    assert found == {(i, rule) for i, row in enumerate(rows) for rule in expected(wanted, row)}
    for row in rows:
        assert prefilter.scan(row) == expected(wanted, row)


def test_a_flood_of_hits_is_reported_once_a_row() -> None:
    """Above the limit rows are scanned one by one, and the answer is the same."""
    prefilter = Prefilter([(Needle("payload", b"aa", False), 7)])
    rows = [b"a" * 100 * HITS_PER_ROW, b"a", b"a" * 50]
    starts = np.array([0, len(rows[0]), len(rows[0]) + 1, len(rows[0]) + 51], np.int64)
    assert prefilter.scan_rows(b"".join(rows), starts) == {(0, 7), (2, 7)}


def test_the_same_needle_of_several_rules_is_compiled_once() -> None:
    """Rules share needles."""
    shared = Prefilter([(Needle("payload", b"ab", False), 0), (Needle("payload", b"ab", False), 1)])
    assert len(shared) == 1
    assert shared.scan(b"xab") == {0, 1}


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
        assert Prefilter(entries, cache).scan(b"a needle") == {3}
        assert files[0].read_bytes() == good
    assert sorted(cache.iterdir()) == files


def test_unwritable_cache_is_no_error(tmp_path: Path) -> None:
    """Where nothing can be kept, nothing is kept."""
    (tmp_path / "file").write_text("in the way")
    assert Prefilter([(Needle("payload", b"ab", True), 0)], tmp_path / "file").scan(b"AB") == {0}
