"""Character sets are looked up by names that senders choose."""

from __future__ import annotations

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.charsets import in_utf8
from ids.protocols.files.names import file_name
from ids.protocols.mime.headers import decode_words, parameter


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        (b"ISO-8859-1", b"\xe9", "é"),
        (b"latin1", b"\xe9", "é"),
        (b"windows-1252", b"\x80", "€"),
        (b"utf-8", "é".encode(), "é"),
        (b"UTF-16", b"\xff\xfea\0", "a"),
        (b"koi8-r", b"\xc1", "а"),
        (b"koi8-u", b"\xa4", "є"),
        (b"gb2312", b"\xc4\xe3", "你"),
        (b"shift_jis", b"\x82\xa0", "あ"),
        (b"iso-2022-jp", b"\x1b$B$\"\x1b(B", "あ"),
        (b"big5", b"\xa7\x41", "你"),
        (b"us-ascii", b"a", "a"),
    ],
)  # fmt: skip
def test_those_in_use_are_known(charset: bytes, raw: bytes, text: str) -> None:
    assert in_utf8(raw, charset) == text.encode()


@pytest.mark.parametrize(
    "charset", [b"punycode", b"idna", b"unicode_escape", b"rot13", b"zlib", b"hex", b"undefined", b""]
)
def test_codecs_that_are_no_character_sets_leave_the_bytes(charset: bytes) -> None:
    """Python decodes some of them in time that grows with the square of the text."""
    assert in_utf8(b"b-cher-kva", charset) == b"b-cher-kva"


def test_names_that_a_sender_makes_up_are_not_kept() -> None:
    before = len(encodings._cache)
    for number in range(100):
        name = b"made-up-%d" % number
        file_name(b"attachment; filename*=" + name + b"''a")
        parameter(b"attachment; filename*=" + name + b"''a", b"filename")
        decode_words(b"=?" + name + b"?Q?a?=")
    assert len(encodings._cache) == before


@given(st.binary(max_size=60), st.binary(max_size=20) | st.sampled_from([b"utf-7", b"hz", b"utf-16", b"mbcs"]))
def test_nothing_raises(raw: bytes, charset: bytes) -> None:
    in_utf8(raw, charset)
    in_utf8(raw, charset, "replace")
