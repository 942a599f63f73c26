"""MIME: a mail is read alike however it is cut, as tolerantly as mailers do, and within its bounds."""

from __future__ import annotations

from base64 import b64encode
from binascii import b2a_uu
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.files import Files, FileSettings
from ids.protocols.framing import Pool
from ids.protocols.mime import Mail, MailSettings
from ids.protocols.mime.decoding import decoder
from ids.protocols.mime.headers import decode_words, parameter, read_headers
from ids.protocols.mime.lines import Lines
from ids.protocols.mime.reader import Began, Content, Ended, Reader
from ids.types import Direction, FlowColumns
from tests.protocols.mails import CONTENT, MAIL

Part = tuple[bytes, tuple[bytes, ...], bytes]


def parts(mail: bytes, cuts: list[int] | None = None, **limits: int) -> list[Part]:
    """Return type, names and content of each part of a mail."""
    reader = Reader(**{"header_bytes": 4096, "headers": 100, "parts": 100, **limits})
    found: list[Part] = []
    pieces = [mail[a:b] for a, b in pairwise(sorted({0, len(mail), *(cuts or [])}))]
    for what in [*(what for piece in pieces for what in reader.feed(piece)), *reader.close()]:
        match what:
            case Began(leaf):
                found.append((leaf.kind, leaf.names, b""))
            case Content(data):
                kind, names, before = found[-1]
                found[-1] = kind, names, before + data
            case Ended():
                pass
    return found


def test_a_mail_is_its_parts() -> None:
    assert parts(MAIL) == [
        (b"text/plain", (), b"see http://One.example/A and https://two.example\r\n..dot"),
        (b"text/html", (), b'<a href="http://three.example/x">'),
        (b"application/x", (b"a.bin",), CONTENT),
        (b"", (b"utf-8''b%2E" + b"txt", b"b.txt"), b"hello"),
    ]


@given(st.lists(st.integers(0, len(MAIL)), max_size=30))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    assert parts(MAIL, cuts) == parts(MAIL)


def test_a_byte_at_a_time_gives_the_same() -> None:
    assert parts(MAIL, list(range(len(MAIL)))) == parts(MAIL)


PIECES = [b"--B", b"--", b"\r\n", b"\n", b"\r", b"B", b"--A", b"Content-Type: multipart/x; boundary=A", b"x: y",
          b"=", b"Content-Type: message/rfc822", b"Content-Transfer-Encoding: base64", b"YQ==", b" ", b"-",
          b"--B--"]  # fmt: skip
HEAD = b"Content-Type: multipart/mixed; boundary=B\r\n\r\n"


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.lists(st.integers(0, 300), max_size=12))
def test_any_cut_of_a_soup_gives_the_same(soup: list[bytes], cuts: list[int]) -> None:
    mail = HEAD + b"".join(soup)
    assert parts(mail, [cut for cut in cuts if cut < len(mail)]) == parts(mail)


@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    for mail in (data, HEAD + data):
        assert sum(len(content) for _, _, content in parts(mail)) <= len(mail), "there is no more in a mail than it has"


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        (b"hello", [b"hello"]),
        (b"\r\nhello", [b"hello"]),
        (b"A: b\n\nhello\n", [b"hello\n"]),
        (b"A: b\r\nno header\r\nB: c\r\n\r\nhello", [b"hello"]),
        (HEAD + b"--B\r\n\r\none\r\n--B\r\n\r\ntwo", [b"one", b"two"]),
        (HEAD + b"--B  \t\n\none\n--B--\nx\n--B\n\ntwo\n", [b"one", b"two\n"]),
        (HEAD + b"--B\r\nContent-Type: x/y\r\n--B\r\n\r\ntwo\r\n--B--", [b"", b"two"]),
        (HEAD + b"--Bad\r\n\r\none\r\n--B\r\n\r\ntwo", [b"two"]),
        (b"Content-Type: multipart/a; boundary=A\r\n" + HEAD + b"--A\r\n\r\none\r\n--B\r\n\r\ntwo", [b"one", b"two"]),
        (b"Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\nhello", [b"hello"]),
    ],
)
def test_mails_are_read_as_tolerantly_as_mailers_do(mail: bytes, expected: list[bytes]) -> None:
    assert [content for _, _, content in parts(mail)] == expected


def test_a_head_beyond_its_limit_is_cut_and_the_rest_is_content() -> None:
    reader = Reader(header_bytes=100, headers=10, parts=10)
    assert [type(what) for what in reader.feed(b"A: " + b"b" * 300)] == [Began, Content]
    assert reader.odd == {b"mime_long_header_value"}


def test_parts_beyond_their_limit_are_none() -> None:
    assert len(parts(HEAD + b"--B\r\n\r\nx\r\n" * 20, parts=5)) == 5


def test_what_is_held_is_bounded() -> None:
    reader = Reader(header_bytes=100, headers=10, parts=10)
    for _ in range(1000):
        list(reader.feed(b"\r\n-"))
        assert reader.held < 512


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'attachment; filename="a b.txt"', [b"a b.txt"]),
        (b"attachment;filename=a.txt ; x=y", [b"a.txt"]),
        (b'attachment; FileName="a\\"b"', [b'a"b']),
        (b'attachment; filename="a.txt', [b"a.txt"]),
        (b"attachment; filename*=utf-8''a%20b", [b"utf-8''a%20b", b"a b"]),
        (b"attachment; filename*=iso-8859-1'en'%FC", [b"iso-8859-1'en'%FC", "ü".encode()]),
        (b"a; filename*1=b; filename*0=a", [b"ab"]),
        (b"a; filename*0*=utf-8''a%2e; filename*1=b", [b"utf-8''a%2eb", b"a.b"]),
        (b"a; filename==?utf-8?Q?b=2Etxt?=", [b"=?utf-8?Q?b=2Etxt?=", b"b.txt"]),
        (b"a; filename*=nonsense''%ff", [b"nonsense''%ff", b"\xff"]),
        (b"attachment", []),
    ],
)
def test_names_are_read_in_every_spelling(value: bytes, expected: list[bytes]) -> None:
    assert parameter(value, b"filename") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"=?utf-8?B?w6Q=?= =?utf-8?q?_b?= c", "ä b c".encode()),
        (b"=?utf-16-be?B?AGE=?=", b"a"),
        (b"=?x?B?YQ==?=", b"a"),
        (b"=?utf-8?B?YQ?=", b"a"),
        (b"=?utf-8?B?", b"=?utf-8?B?"),
        (b"plain", b"plain"),
    ],
)
def test_words(value: bytes, expected: bytes) -> None:
    assert decode_words(value) == expected


def test_headers_are_unfolded_and_trimmed() -> None:
    assert read_headers(b"A: b\r\n c\n\td\r\n e: f\r\nB :  g \r\n", 10) == [(b"a", b"b c\td e: f"), (b"b", b"g")]
    assert len(read_headers(b"a: b\n" * 100, 10)) == 10


def decoded(encoding: bytes, data: bytes, step: int) -> tuple[bytes, bool]:
    undo = decoder(encoding)
    out = b"".join([undo.decode(data[at : at + step]) for at in range(0, len(data), step)]) + undo.end()
    return out, undo.odd


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("encoding", "data", "expected", "odd"),
    [
        (b"base64", b"aGVs\r\nbG8=", b"hello", False),
        (b" BASE64 ", b"aGVsbG8", b"hello", False),
        (b"base64", b"aG!Vs*bG8=", b"hello", True),
        (b"base64", b"aGVsbG8=aGVsbG8=", b"hellohello", False),
        (b"base64", b"aGVsb", b"hel", True),
        (b"quoted-printable", b"a=3Db=\r\nc=3dd", b"a=bc=d", False),
        (b"quoted-printable", b"a=b =\nc", b"a=b c", True),
        (b"quoted-printable", b"===3D", b"===", True),
        (b"quoted-printable", b"a= \t\r\nb", b"ab", False),
        (b"quoted-printable", b"a=\rb\nc", b"a=\rb\nc", True),
        (b"quoted-printable", b"a=3", b"a=3", False),
        (b"quoted-printable", b"a=", b"a", False),
        (b"7bit", b"a=3D", b"a=3D", False),
        (b"nonsense", b"a=3D", b"a=3D", False),
        (b"x-uuencode", b"text\nbegin 644 a.txt\r\n%:&5L;&\\\r\n`\r\nend\r\n%:&5L;&\\\n", b"hello", False),
    ],
)
def test_transfer_encodings(encoding: bytes, data: bytes, expected: bytes, odd: bool, step: int) -> None:
    assert decoded(encoding, data, step) == (expected, odd)


ENCODINGS = st.sampled_from([b"base64", b"quoted-printable", b"x-uuencode"])
ENCODED = st.lists(st.sampled_from([
    b"=", b"\r", b"\n", b"\r\n", b" ", b"\t", b"3D", b"a", b"YQ", b"begin 644 a\n", b"end\n", b"`\n", b"%:&5L;&\\\n",
    b"!", b"*" * 70, b" " * 61,
]), max_size=40).map(b"".join)  # fmt: skip


@given(
    st.binary(max_size=500) | ENCODED,
    st.integers(1, 80),
    st.sampled_from([b"base64", b"quoted-printable", b"x-uuencode"]),
)
def test_any_bytes_are_decoded_the_same_however_they_are_cut(data: bytes, step: int, encoding: bytes) -> None:
    assert decoded(encoding, data, step) == decoded(encoding, data, 1000)


@given(st.binary(max_size=500), st.integers(1, 80))
def test_base64_is_undone_in_pieces(data: bytes, step: int) -> None:
    assert decoded(b"base64", b64encode(data), step) == (data, False)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"bc" * 9]), max_size=40), st.integers(1, 7))
def test_lines_are_measured_however_they_are_cut(soup: list[bytes], step: int) -> None:
    text, lines = b"".join(soup), Lines()
    for at in range(0, len(text), step):
        lines.feed(text[at : at + step])
    ends = text.endswith(b"\r")  # which may be half of an end
    assert lines.longest == max(map(len, text[: len(text) - ends].replace(b"\r\n", b"\n").split(b"\n")))


def test_a_text_that_speaks_of_a_beginning_has_no_file_in_it() -> None:
    said = emailed(b"Subject: a\r\n\r\nlet us begin here\r\nbegin 9 no mode\r\n")
    assert "attachment" not in said
    assert said["subject"] == "a"


def test_files_stand_in_a_text_one_behind_the_other() -> None:
    text = b"".join(b"begin 644 %b\n%bend\n" % (name, b2a_uu(b"content")) for name in (b"a.bin", b"b.bin"))
    assert emailed(b"Subject: a\r\n\r\nwe begin\n" + text)["attachment"] == ["a.bin", "b.bin"]


def emailed(mail: bytes) -> dict[str, object]:
    """Return what EVE logs of a mail."""
    counters, flows = Counters(), FlowColumns(1)
    files, pool = Files(FileSettings(), counters, flows), Pool("smtp", 1 << 20, counters)
    read = Mail(files, (0, "smtp", 0, Direction.TO_SERVER), MailSettings(), pool, counters, {}, dict)
    read.feed(mail, 1, 1, [])
    read.close(1, 1, [])
    return read.email(True)
