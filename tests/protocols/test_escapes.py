"""Escapes are undone one by one or many at once, to the same end."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.http import escapes
from ids.protocols.http.escapes import json_spelt, spelt, unquote

PIECES = st.lists(
    st.sampled_from([
        b"%", b"\\", b"u", b"U", b"0041", b"41", b"%41", b"%u0041", b"%Uff41", b"\\u0041", b"\\u00e9", b"\\uFF21", b"a",
        b"%zz", b"%4", b"\\u004", b"%u00", b"+", b"\xff", b"%%", b"\\\\u0061", b"7f", b"80",
    ]),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(PIECES | st.binary(max_size=20))
def test_both_ways_give_the_same(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for undo in (unquote, spelt, json_spelt):
            patch.setattr(escapes, "FEW", 1 << 30)
            one_by_one = undo(data)
            patch.setattr(escapes, "FEW", -1)
            assert undo(data) == one_by_one


@given(PIECES)
def test_percent_encoding_is_undone_as_elsewhere(data: bytes) -> None:
    assert unquote(data * 80) == unquote_to_bytes(data * 80)


@given(st.text(st.characters(max_codepoint=0x7F, exclude_characters="\\"), min_size=1, max_size=20))
def test_json_that_spells_out_ascii_is_what_it_means(text: str) -> None:
    written = "".join(f"\\u{ord(letter):04x}" for letter in text)
    assert json_spelt(written.encode() * 80).decode() == text * 80 == json.loads(f'"{written}"') * 80


def test_full_width_forms_stand_for_ascii() -> None:
    assert spelt(b"%uff0fetc%uFF0f%u4e2d") == b"/etc/%u4e2d"
