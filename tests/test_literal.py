"""What others chose is shown as it was, and gives no orders to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.literal import MAX_EXCERPT, excerpt, literal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("root:x:0:0 [red] :smile: é →", "root:x:0:0 [red] :smile: é →"),
        ("\x1b[2J\r\n\x00", r"\x1b[2J\r\n\x00"),
        ("\u202eexe.txt\x9b", r"\u202eexe.txt\x9b"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
    ],
)
def test_only_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert literal(text) == shown


@given(st.text())
def test_nothing_but_printable_text_comes_out(text: str) -> None:
    assert literal(text).isprintable()
    assert literal(text, keep="\n").replace("\n", "").isprintable()


def test_evidence_shows_each_byte_and_has_an_end() -> None:
    assert excerpt("a[b]:x:\x00\xe9\n") == r"a[b]:x:\x00\xe9\x0a"
    assert len(excerpt("\x00" * 4096)) == MAX_EXCERPT
