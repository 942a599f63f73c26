"""What docs/rules.md says of buffers and regexes holds."""

from __future__ import annotations

import pytest

from ids.counters import Counters
from ids.protocols.http.head import parse_request
from ids.protocols.http.uri import MAX_DECODINGS
from ids.rules.match.evaluation import MAX_FAULTS, SET_ASIDE_S
from ids.rules.match.flagged import MAX_LOOKED
from ids.rules.model.patterns import SEARCH_CPU_S
from ids.rules.model.scanning import COMPILE_BYTES, COMPILE_CPU_S
from ids.types import Direction
from tests.protocols.wire import Wire, request
from tests.rules.builders import exchange, flow_of, load_yara_text, matcher, rule_text, transaction
from tests.shared import ROOT

HEAD = (
    b"GET / HTTP/1.1\r\nHost:  Evil.Example. \r\nUser-Agent: a\r\nuser-AGENT:\tb\r\nCookie: c=1\r\nX-Folded: 1\r\n  2"
)


def test_headers_are_in_one_spelling() -> None:
    """Of names and values; case and order stay."""
    buffers = parse_request(HEAD, 64, Counters()).buffers
    assert buffers["http.header"] == b"Host: Evil.Example.\r\nUser-Agent: a\r\nuser-AGENT: b\r\nX-Folded: 1 2\r\n"
    assert buffers["http.header_names"] == b"\r\nHost\r\nUser-Agent\r\nuser-AGENT\r\nCookie\r\nX-Folded\r\n\r\n"
    assert buffers["http.user_agent"] == b"a, b"
    assert buffers["http.host"] == b"evil.example"


@pytest.mark.parametrize(
    ("condition", "body", "held"),
    [
        ("{regex: 'abc.def'}", b"abc\ndef", False),
        ("{regex: '(?s)abc.def'}", b"abc\ndef", True),
        ("{regex: '(?s)^.{4}abc'}", b"\n\n\n\nabc", True),
        ("{regex: '(?s)^.{4}abc'}", b"\n\n\n\n\nabc", False),
        ("{regex: '(?s)^.{0,9}abc'}", b"123456789abc", True),
        ("{regex: '(?s)^.{0,9}abc'}", b"1234567890abc", False),
        ("{regex: '(?s)abc.{0,9}def'}", b"..abc\n23456789def", True),
        ("{regex: '(?s)abc.{0,9}def'}", b"..abc\n234567890def", False),
        (r'{contains: "\r\nHost\r\n"}', b"\r\nHost\r\n\r\n", True),
    ],
)
def test_what_stands_for_offsets_and_distances(condition: str, body: bytes, held: bool) -> None:
    m = matcher(rule_text(f"[http.request_body: {condition}]", traffic="http"))
    assert bool(exchange(m, transaction(flow_of(m), request_body=body))) is held


@pytest.mark.parametrize(("uri", "held"), [(b"/abc", False), (b"/", True), (None, True)])
def test_negation(uri: bytes | None, held: bool) -> None:
    """It holds too where there is no such buffer."""
    m = matcher(rule_text("[http.method: POST, none: [http.uri: {contains: abc}]]", traffic="http"))
    flow = flow_of(m)
    sent = transaction(flow, method=b"POST") if uri is None else transaction(flow, method=b"POST", uri=uri)
    assert bool(exchange(m, sent)) is held


def test_trailers_are_in_no_buffer() -> None:
    """Neither of the headers nor of the body."""
    sent = (
        b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
        b"4\r\nbody\r\n0\r\nX-Late: in-the-trailer\r\n\r\n"
    )
    (found,) = [each for each in Wire().client(sent).close().seen if each.direction == Direction.TO_SERVER]
    assert found.buffers["http.request_body"] == b"body"
    assert not [name for name, data in found.buffers.items() if b"in-the-trailer" in data]


def test_a_file_that_does_not_compile_is_refused_whole() -> None:
    """The good rule of the file as well."""
    good = 'rule good { strings: $a = "needle" condition: $a }\n'
    assert len(load_yara_text(good).rules) == 1
    with pytest.raises(AssertionError, match="undefined identifier"):
        load_yara_text(good + "rule bad { condition: nothing }\n")


def test_one_literal_finds_what_is_encoded_and_padded() -> None:
    target = b"/x?f=..%252f.//%2e%2e\\etc/p%61sswd"
    (asked,) = Wire().client(request(b"GET %s HTTP/1.1" % target, b"Host: a")).seen
    assert any(b"../../etc/passwd" in form for form in asked.instances("http.uri"))


def test_the_costs_are_those_of_the_code() -> None:
    text = (ROOT / "docs/rules.md").read_text()
    for words in (
        f"more than {COMPILE_CPU_S:g} s or {COMPILE_BYTES >> 20} MiB is refused",
        f"for {SEARCH_CPU_S:g} s at most",
        f"at most {MAX_LOOKED} dissected packets",
    ):
        assert words in " ".join(text.split())
    assert (MAX_FAULTS, SET_ASIDE_S, MAX_DECODINGS) == (10, 60, 3), "a tenth, a minute, three times"
