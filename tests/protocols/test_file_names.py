"""Names of files, however a message spells them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols.files.names import MAX_PIECES, encoded_words, file_name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"attachment", b""),
        (b"attachment; filename=plain.pdf; x=1", b"plain.pdf"),
        (b'attachment; filename="a b.pdf"', b"a b.pdf"),
        (b'attachment;filename="a;b.pdf";size=3', b"a;b.pdf"),
        (b'attachment; FileName = "a.pdf"', b"a.pdf"),
        (b'attachment; filename="never ends', b"never ends"),
        (b'attachment; filename=""', b""),
        (b"attachment; filename*=UTF-8''na%C3%AFve.pdf", b"na\xc3\xafve.pdf"),
        (b"attachment; filename*=iso-8859-1'en'na%EFve.pdf", b"na\xc3\xafve.pdf"),
        (b"attachment; filename*=no-such''na%EFve.pdf", b"na\xefve.pdf"),
        (b"attachment; filename*=plain.pdf", b"plain.pdf"),
        (b'attachment; filename*0="long "; filename*1="name.pdf"', b"long name.pdf"),
        (b'attachment; filename*1="name.pdf"; filename*0="long "', b"long name.pdf"),
        (b"attachment; filename*0*=iso-8859-1''na%EF; filename*1*=ve; filename*2=.pdf", b"na\xc3\xafve.pdf"),
        (b"attachment; filename=one.pdf; filename*=UTF-8''two.pdf", b"one.pdf"),
        (b'attachment; filename="=?UTF-8?B?bmHDr3ZlLnBkZg==?="', b"na\xc3\xafve.pdf"),
        (b'attachment; filename="=?iso-8859-1?Q?na=EFve_1.pdf?="', b"na\xc3\xafve 1.pdf"),
        (b'attachment; filename="=?UTF-8?B?bmE=?= =?UTF-8?B?dmUucGRm?="', b"nave.pdf"),
        (b'attachment; filename="=?UTF-8?B?!?="', b"=?UTF-8?B?!?="),
        (b"attachment; xfilename=no.pdf", b""),
        (b"filename=first.pdf", b"first.pdf"),
    ],
)
def test_names(disposition: bytes, name: bytes) -> None:
    assert file_name(disposition) == name


def test_a_content_type_has_a_name_as_well() -> None:
    assert file_name(b'image/png; name="a.png"') == b""
    assert file_name(b'image/png; name="a.png"', also_name=True) == b"a.png"


def test_pieces_are_bounded() -> None:
    many = b"; ".join(b"filename*%d=x" % number for number in range(1000))
    assert file_name(many) == b"x" * MAX_PIECES


@given(st.binary(max_size=300) | st.lists(st.sampled_from([
    b"filename", b"*", b"0", b"=", b'"', b"\\", b"''", b"%EF", b"=?", b"?B?", b"?=", b";", b" ", b"utf-8",
    b"utf-16", b"zlib",
]), max_size=40).map(b"".join))  # fmt: skip
def test_nothing_raises(value: bytes) -> None:
    file_name(value)
    file_name(value, also_name=True)
    encoded_words(value)
