"""Values that a buffer never has are warned of; what the parser does write is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.http.head import parse_request
from ids.rules.language.impossible import HEADER_VALUES, LOWER_CASE, impossible
from ids.rules.model.buffers import CATALOGUE
from ids.rules.model.rule import Anchor
from tests.rules.builders import load, rule_text

ANYWHERE, START = Anchor.ANYWHERE, Anchor.START


@pytest.mark.parametrize(
    ("buffer", "value", "anchor", "why"),
    [
        ("http.method", b"get", Anchor.WHOLE, "upper case"),
        ("http.method", b"GET ", START, "one word"),
        ("http.method", b"GET /", START, "one word"),
        ("http.method", b"POST\n", ANYWHERE, "one word"),
        ("http.header", b"a\nb", ANYWHERE, "end in CRLF"),
        ("http.header", b"\r\nHost:evil", ANYWHERE, "a space behind"),
        ("http.header", b"Host:evil", START, "a space behind"),
        ("http.user_agent", b"curl\r\n", ANYWHERE, "no line ends"),
        ("http.cookie", b"\n", ANYWHERE, "no line ends"),
        ("http.host", b"Example.org", ANYWHERE, "lower case"),
        ("ja3.hash", b"6734F374", ANYWHERE, "lower case"),
        ("tls.cert_serial", b"5c:3d", ANYWHERE, "upper case"),
        ("http.uri|upper", b"select", ANYWHERE, "upper case"),
        ("http.uri|url_decode|lower|strip_whitespace", b"UnionSelect", ANYWHERE, "lower case"),
    ],
)
def test_what_never_comes_is_named(buffer: str, value: bytes, anchor: Anchor, why: str) -> None:
    found = impossible(buffer, value, False, anchor)
    assert found is not None
    assert why in found[0]
    assert found[1]


@pytest.mark.parametrize(
    ("buffer", "value", "nocase", "anchor"),
    [
        ("http.method", b"GET", False, Anchor.WHOLE),
        ("http.method", b"get", True, Anchor.WHOLE),
        ("http.method", b"M-SEARCH", False, Anchor.WHOLE),
        ("http.header", b"\r\nHost: evil", False, ANYWHERE),
        ("http.header", b"\nHost: evil\r", False, ANYWHERE),
        ("http.header", b"evil:8080\r\n", False, ANYWHERE),
        ("http.header", b"Host: evil", False, START),
        ("http.header.raw", b"a\nHost:evil", False, ANYWHERE),
        ("http.request_body", b"a\nb", False, ANYWHERE),
        ("http.host", b"Example.org", True, ANYWHERE),
        ("http.host|upper", b"EXAMPLE.ORG", False, ANYWHERE),
        ("http.host|sha256", b"Ab", False, ANYWHERE),
        ("http.uri|lower|url_decode", b"UnionSelect", False, ANYWHERE),
        ("tls.cert_serial", b"5C:3D", False, ANYWHERE),
    ],
)
def test_what_may_come_is_not(buffer: str, value: bytes, nocase: bool, anchor: Anchor) -> None:
    assert impossible(buffer, value, nocase, anchor) is None


def test_the_rule_is_loaded_with_a_warning_at_the_value() -> None:
    loaded = load("rules:\n" + rule_text("[http.method: {equals: get}, http.uri: {contains: abcdef}]", traffic="http"))
    assert len(loaded.rules) == 1
    (warning,) = loaded.warnings
    assert "sid 1: methods count in upper case" in warning.message
    assert (warning.location.line, warning.remedy) == (5, "write 'GET', or add nocase: true")


def test_every_buffer_that_is_judged_is_in_the_catalogue() -> None:
    assert CATALOGUE.keys() >= HEADER_VALUES | LOWER_CASE


WORDS = st.text("gE :\r\n\tx.0-", max_size=12).map(str.encode)


@given(st.lists(WORDS, min_size=1, max_size=6), WORDS, st.sampled_from(["Host", "User-Agent", "Cookie", "X"]))
def test_what_the_parser_writes_is_never_called_impossible(lines: list[bytes], method: bytes, name: str) -> None:
    """Whole buffers and every part of them; but for methods in lower case, which clients may write."""
    block = method + b" /x HTTP/1.1\r\n" + b"".join(b"%s:%s\r\n" % (name.encode(), line) for line in lines) + b"\r\n"
    buffers = parse_request(block, 100, Counters()).buffers
    for buffer in ("http.header", "http.method", "http.host", *sorted(HEADER_VALUES)):
        values = buffers.get(buffer) or b""
        for value in [values] if isinstance(values, bytes) else values:
            assert not value or impossible(buffer, value, buffer == "http.method", Anchor.WHOLE) is None
            for at in range(len(value)):
                part = value[at : at + 8]
                assert impossible(buffer, part, buffer == "http.method", ANYWHERE) is None, (buffer, part)
