"""Buffers under transforms: what they come to, what is refused, and which literals stand in the base as well."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.match.conditions import View, holds
from ids.rules.model.chain import Chain, Content, Length
from ids.rules.model.literals import Needle, cover
from ids.rules.model.patterns import compile_pattern
from ids.rules.model.rule import All, Anchor, Literal, Regex
from ids.rules.model.transforms import (
    KEYWORDS,
    NAMES,
    TransformError,
    in_base,
    spelt,
    transform_of,
    transforms_of,
)


def made(data: bytes, *transforms: tuple[str, str] | str) -> bytes | None:
    """Return what transforms make of a buffer."""
    given = [(one, "") if isinstance(one, str) else one for one in transforms]
    return transform_of(spelt("http.uri", given))(data)


@pytest.mark.parametrize(
    ("data", "transform", "expected"),
    [
        (b"AbC", "lower", b"abc"),
        (b"AbC", "upper", b"ABC"),
        (b" a \t\r\nb\x0b\x0c", "strip_whitespace", b"ab"),
        (b"a  b\t\n c ", "compress_whitespace", b"a b\tc "),  # of each run the first
        (b"evil.example", "dotprefix", b".evil.example"),
        (b"", "dotprefix", b""),
        (b"a+b%41%4.c%2e", "url_decode", b"a bA%4.c."),
        (b"%2541", "url_decode", b"%41"),  # once
        (b"Host: A\r\nX-Y: B:C\r\n", "header_lowercase", b"host: A\r\nx-y: B:C\r\n"),
        (b":method: GET\r\nhost: a\r\n:path: /\r\n", "strip_pseudo_headers", b"host: a\r\n"),
        (b"abc", ("xor", "01"), b"`cb"),
        (b"abc", ("xor", "0102"), b"``b"),
        (b"", ("xor", "01"), b""),
        (b"YWJj", "base64", b"abc"),
        (b"YWJjZA", "base64", b"abcd"),  # without padding
        (b"YWJj!YWJj", "base64", b"abc"),  # up to what is no base64
        (b"!!", "base64", None),
        (b"YWJjZ", "base64", b"abcd"),  # six bits, and two of zero
        (b"YW Jj", ("base64", "mode rfc2045"), b"abc"),
        (b"YWJ", ("base64", "mode strict"), None),
        (b"x=YWJjZGVm", ("base64", "bytes 4, offset 2"), b"abc"),
        (b"www.evil.example", ("capture", r"www\.([a-z]+)"), b"evil"),
        (b"evil.example", ("capture", r"www\.([a-z]+)"), b"evil.example"),  # no match: as it was
        (b"a|b%", ("capture", r"(a\|b)"), b"a|b"),
    ],
)
def test_a_transform_makes_another_buffer(
    data: bytes, transform: tuple[str, str] | str, expected: bytes | None
) -> None:
    assert made(data, transform) == expected


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256"])
def test_a_digest_is_raw(name: str) -> None:
    assert made(b"x", name) == hashlib.new(name, b"x").digest()


def test_transforms_are_done_one_after_the_other() -> None:
    assert made(b"%41%42", "url_decode", "lower", "sha256") == hashlib.sha256(b"ab").digest()
    assert made(b"!!", "base64", "sha256") is None


def test_a_name_has_its_transforms_and_their_parameters() -> None:
    name = spelt("http.uri", [("url_decode", ""), ("capture", r"(a|b)%7c")])
    assert name.partition("|")[0] == "http.uri"
    assert transforms_of(name) == (("url_decode", ""), ("capture", r"(a|b)%7c"))


def test_suricatas_keyword_stands_for_a_name() -> None:
    assert transforms_of("http.uri|to_lowercase|pcrexform:(a)") == (("lower", ""), ("capture", "(a)"))
    assert transform_of("http.uri|to_lowercase")(b"A") == b"a"


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=20))
def test_any_parameter_comes_back_as_it_was(parameter: str) -> None:
    name = "http.uri|capture:" + parameter.replace("%", "%25").replace("|", "%7c")
    assert transforms_of(name) == (("capture", parameter),)


@pytest.mark.parametrize(
    "transforms",
    [
        [("rot13", "")],
        [("lower", "x")],
        [("xor", "")],
        [("xor", "0")],
        [("xor", "00" * 256)],
        [("base64", "mode x")],
        [("base64", "bytes -1")],
        [("base64", "size 3")],
        [("capture", "abc")],
        [("capture", "(a)(b)")],
        [("capture", "(a")],
        [("lower", "")] * 9,
    ],
)
def test_what_is_no_transform_is_refused(transforms: list[tuple[str, str]]) -> None:
    with pytest.raises(TransformError):
        spelt("http.uri", transforms)


@given(st.binary(max_size=60), st.sampled_from(sorted(NAMES - {"capture", "xor"})))
def test_whatever_the_data_a_transform_gives_bytes_or_nothing(data: bytes, name: str) -> None:
    assert isinstance(made(data, name), bytes | None)


def test_every_keyword_of_suricata_is_one_of_the_transforms() -> None:
    assert set(KEYWORDS.values()) == NAMES


def test_conditions_look_at_buffers_under_transforms() -> None:
    on = View(lambda name: (b"WWW.EXAMPLE", b"EVIL.EXAMPLE") if name == "dns.query" else ())
    found: list[tuple[str, int, int, int]] = []
    assert holds(Chain("dns.query|lower|dotprefix", (Content(b".evil"), Length(13))), on, found)
    assert found[0] == ("dns.query|lower|dotprefix", 1, 0, 5)
    assert holds(Literal("dns.query|lower", b"evil.example", anchor=Anchor.WHOLE), on, [])
    assert not holds(Literal("dns.query", b"evil"), on, [])
    assert not holds(Chain("dns.query|base64:mode strict", (Length(0),)), on, [])  # nothing comes of it


def needles(*nodes: Chain | Literal | Regex) -> set[tuple[str, bytes, bool, Anchor]] | None:
    """Return the needles of a condition."""
    found = cover(All(nodes))
    return None if found is None else {(one.buffer, one.value, one.nocase, one.anchor) for one in found}


def test_a_chain_is_noticed_by_its_rarest_literal() -> None:
    chain = Chain("http.uri", (Content(b"ab"), Content(b"rare_thing", distance=0), Content(b"never", negated=True)))
    assert needles(chain) == {("http.uri", b"rare_thing", False, Anchor.ANYWHERE)}


def test_its_author_may_prefer_another_but_not_a_common_one() -> None:
    preferred = Content(b"/cgi-x", preferred=True)
    assert needles(Chain("http.uri", (Content(b"rare_thing"), preferred))) == {
        ("http.uri", b"/cgi-x", False, Anchor.ANYWHERE)
    }
    common = Content(b"GET", preferred=True)
    assert needles(Chain("http.uri", (Content(b"rare_thing"), common))) == {
        ("http.uri", b"rare_thing", False, Anchor.ANYWHERE)
    }


@pytest.mark.parametrize(
    ("buffer", "step", "anchor"),
    [
        ("http.method", Content(b"BREW", depth=4), Anchor.START),
        ("http.method", Content(b"BREW", offset=0, depth=4, at_end=True), Anchor.WHOLE),
        ("http.method", Content(b"BREW", at_end=True), Anchor.END),
        ("http.method", Content(b"BREW", depth=5), Anchor.ANYWHERE),
        ("http.method", Content(b"BREW", offset=1, depth=4), Anchor.ANYWHERE),
        ("http.method", Content(b"BREW", within=4), Anchor.ANYWHERE),
        ("payload", Content(b"BREW", depth=4), Anchor.ANYWHERE),  # a stream comes in pieces
    ],
)
def test_a_literal_with_one_place_is_looked_for_there(buffer: str, step: Content, anchor: Anchor) -> None:
    assert needles(Chain(buffer, (step,))) == {(buffer, b"BREW", False, anchor)}


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        ("dns.query|lower", Needle("dns.query", b".evil.x", True, Anchor.END)),
        ("dns.query|dotprefix", Needle("dns.query", b"evil.x", False, Anchor.END)),
        ("dns.query|lower|dotprefix", Needle("dns.query", b"evil.x", True, Anchor.END)),
        ("dns.query|url_decode", None),
        ("dns.query|sha256", None),
        ("base64_data", None),
    ],
)
def test_a_literal_under_transforms_is_looked_for_where_it_stands_in_the_base(
    buffer: str, expected: Needle | None
) -> None:
    found = cover(Chain(buffer, (Content(b".evil.x", at_end=True),)))
    assert found == (frozenset({expected}) if expected else None)


@given(
    st.binary(max_size=30),
    st.binary(min_size=1, max_size=4),
    st.sampled_from(list(Anchor)),
    st.booleans(),
    st.lists(st.sampled_from(sorted(NAMES - {"xor", "capture", "base64"})), max_size=3),
)
def test_what_stands_under_transforms_stands_in_the_base(
    data: bytes, value: bytes, anchor: Anchor, nocase: bool, names: list[str]
) -> None:
    buffer = "|".join(["dns.query", *names])
    on = View(lambda name: (data,) if name == "dns.query" else ())
    value = value.lower() if nocase else value
    known = in_base(buffer, value, nocase, anchor)
    if known is not None and holds(Literal(buffer, value, nocase, anchor), on, []):
        assert holds(Literal("dns.query", *known), on, [])


def test_an_expression_under_transforms_has_needles_too() -> None:
    pattern = compile_pattern("evil[0-9]+thing")
    assert needles(Regex("dns.query|lower", pattern)) == {("dns.query", b"thing", True, Anchor.ANYWHERE)}
    assert needles(Regex("dns.query|md5", pattern)) is None
