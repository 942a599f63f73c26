"""Rules on messages that come in parts: what the head or the body so far shows matches at once, and once; what the rest
may refute waits for the end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import Protocols, ProtocolSettings
from ids.rules.match.matcher import Matcher
from ids.types import Direction, StreamChunk
from tests.factory import NO_DATAGRAMS, T0, make_streams
from tests.protocols.wire import chunked, request
from tests.rules.builders import end, exchange, flow_of, matcher, rule_text

CLIENT, SERVER = Direction
Row = tuple[Direction, bytes]


def played(rows: Sequence[Row], *rules: str, yara: str = "") -> list[list[tuple[int, int]]]:
    """Feed rows, each in a batch of its own; return sid and transaction of the matches of each."""
    return [[(sid, tx_id) for sid, tx_id, _ in batch] for batch in matched(rows, matcher(*rules, yara=yara))]


def matched(rows: Sequence[Row], m: Matcher) -> list[list[tuple[int, int, int]]]:
    """Return with them also the direction."""
    flow = flow_of(m)
    stage = Protocols(ProtocolSettings(), Counters(), flow.columns)
    found: list[list[tuple[int, int, int]]] = []
    offsets = [0, 0]
    for number, (side, data) in enumerate([*rows, (CLIENT, b""), (SERVER, b"")], 1):
        chunk = StreamChunk(flow, side, offsets[side], data, T0, number, closed=number > len(rows))
        offsets[side] += len(data)
        matches = exchange(m, *stage.feed(make_streams([chunk]), NO_DATAGRAMS))
        found.append([(one.signature.sid, one.transaction.tx_id, one.direction) for one in matches if one.transaction])
    end(m, flow)
    return found


HEAD = request(b"POST /evil HTTP/1.1", b"Content-Length: 100000")


def test_a_rule_on_the_head_matches_with_the_head_and_not_again() -> None:
    rule = rule_text("[http.uri: {contains: evil}]", 1, "http")
    assert played([(CLIENT, HEAD), (CLIENT, b"a" * 50), (CLIENT, b"a" * 50)], rule) == [[(1, 0)], [], [], [], []]


def test_a_rule_on_the_body_matches_as_it_grows() -> None:
    rule = rule_text("[http.request_body: {contains: boom}]", 1, "http")
    assert played([(CLIENT, HEAD), (CLIENT, b"abc bo"), (CLIENT, b"om de")], rule)[2] == [(1, 0)]


HELD = [
    "none: [http.request_body: {contains: fine}]",
    "http.request_body: {size: {max: 5}}",
    "http.request_body: {size: 3}",
    "http.request_body: {endswith: abc}",
    "http.request_body: {equals: abc}",
    "http.request_body: {regex: 'abc$'}",
    "http.request_body: {regex: '^abc(?!d)'}",
    r"http.request_body: {regex: 'abc\b'}",
    "any: [http.request_body: {contains: nothing}, none: [file.data: {contains: d}]]",
]


@pytest.mark.parametrize("condition", HELD)
def test_what_the_rest_of_the_body_may_refute_waits_for_the_end(condition: str) -> None:
    rule = rule_text(f"[http.uri: {{contains: evil}}, {condition}]", 1, "http")
    rows = [(CLIENT, HEAD), (CLIENT, b"abc")]
    assert played([*rows, (CLIENT, b"d is fine")], rule) == [[]] * 5, "refuted"
    assert played(rows, rule) == [[], [], [(1, 0)], []], "not refuted until the connection ended"


def test_what_holds_of_the_head_alone_does_not_wait_for_what_might_hold_of_the_body() -> None:
    rule = rule_text(r"[any: [http.uri: {contains: evil}, http.request_body: {regex: 'evil$'}]]", 1, "http")
    assert played([(CLIENT, HEAD), (CLIENT, b"evil")], rule) == [[(1, 0)], [], [], []]
    fine = HEAD.replace(b"/evil", b"/fine")
    assert played([(CLIENT, fine), (CLIENT, b"evil")], rule) == [[], [], [(1, 0)], []]


def test_a_word_that_ends_within_what_is_there_does_not_wait() -> None:
    rule = rule_text(r"[http.request_body: {regex: '\bevil\b'}]", 1, "http")
    assert played([(CLIENT, HEAD), (CLIENT, b"an evil"), (CLIENT, b" word")], rule)[1:3] == [[], [(1, 0)]]
    assert played([(CLIENT, HEAD), (CLIENT, b"an evil"), (CLIENT, b"er word")], rule) == [[]] * 5


@pytest.mark.parametrize(
    "condition",
    [
        "http.request_body: {regex: 'a[$]b|abc'}",
        r"http.request_body: {regex: '(?i)ABC|\$\{'}",
        "http.request_body: {startswith: ab}",
        "http.request_body: {size: {min: 2}}",
        "none: [http.uri: {contains: fine}], http.request_body: {contains: bc}",
    ],
)
def test_what_the_rest_cannot_refute_does_not_wait(condition: str) -> None:
    rule = rule_text(f"[http.uri: {{contains: evil}}, {condition}]", 1, "http")
    assert played([(CLIENT, HEAD), (CLIENT, b"abc")], rule)[1] == [(1, 0)]


def test_yara_looks_at_heads_at_once_and_at_bodies_at_their_end() -> None:
    yara = """
    rule a { meta: sid = 1 scope = "http.uri" strings: $a = "evil" condition: $a }
    rule b { meta: sid = 2 scope = "http.request_body" strings: $a = "abc" condition: $a and filesize < 5 }
    """
    assert played([(CLIENT, HEAD), (CLIENT, b"abc"), (CLIENT, b"def")], yara=yara) == [[(1, 0)], [], [], [], []]
    assert played([(CLIENT, HEAD), (CLIENT, b"abc")], yara=yara) == [[(1, 0)], [], [(2, 0)], []]


def test_a_rule_on_both_sides_matches_with_the_head_of_the_response() -> None:
    rule = rule_text("[http.uri: {contains: evil}, http.stat_code: {equals: '200'}]", 1, "http")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    assert played([(CLIENT, HEAD), (SERVER, answer), (SERVER, b"123456789")], rule) == [[], [(1, 0)], [], [], []]


RULES = [
    rule_text("[http.uri: {contains: evil}]", 1, "http"),
    rule_text("[http.request_body: {contains: ab}]", 2, "http"),
    rule_text("[http.uri: {contains: evil}, none: [http.request_body: {contains: ba}]]", 3, "http"),
    rule_text("[http.request_body: {regex: 'a$'}]", 4, "http"),
    rule_text("[http.request_body: {size: {min: 2, max: 9}}]", 5, "http"),
    rule_text(r"[any: [http.uri: {regex: '.vil'}, http.request_body: {regex: 'ab\b|^b'}]]", 11, "http"),
    rule_text("[http.response_body: {contains: bb}, http.uri: {contains: evil}]", 6, "http"),
    rule_text("[http.response_body: {endswith: b}]", 7, "http"),
    rule_text("[http.header: {contains: 'a: '}]", 8, "http"),
    rule_text("[file.data: {startswith: aa}]", 9, "http"),
    rule_text("[http.stat_code: {equals: '200'}, none: [http.response_body: {contains: a}]]", 10, "http"),
]
YARA = 'rule a { meta: sid = 20 scope = "file.data" strings: $a = "aba" condition: $a and filesize < 9 }'
_BODIES = st.text("ab", max_size=24).map(str.encode)
_PIECES = st.tuples(_BODIES, st.booleans())


def message(first: bytes, body: bytes, in_chunks: bool) -> bytes:
    """Return a message with a body."""
    if in_chunks:
        pieces = [body[at : at + 5] for at in range(0, len(body), 5)]
        return request(first, b"Transfer-Encoding: chunked", body=chunked(pieces))
    return request(first, b"Content-Length: %d" % len(body), body=body)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at places."""
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(bounds)]


PLAYED = matcher(*RULES, yara=YARA)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_PIECES, _PIECES, st.sampled_from([b"/evil", b"/fine"])), min_size=1, max_size=3),
    st.lists(st.integers(0, 400), max_size=8),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_however_the_bytes_are_cut_the_same_rules_match_the_same_transactions_once(
    exchanges: list[tuple[tuple[bytes, bool], tuple[bytes, bool], bytes]], up: list[int], down: list[int]
) -> None:
    whole: list[Row] = []
    pieces: list[Row] = []
    for asked, answered, uri in exchanges:
        for side, first, (body, in_chunks), places in (
            (CLIENT, b"POST %b HTTP/1.1" % uri, asked, up),
            (SERVER, b"HTTP/1.1 200 OK", answered, down),
        ):
            data = message(first, body, in_chunks)
            whole.append((side, data))
            pieces += [(side, piece) for piece in cut(data, places)]
    at_once = sorted(chain.from_iterable(matched(whole, PLAYED)))
    assert sorted(chain.from_iterable(matched(pieces, PLAYED))) == at_once
    assert len(set(at_once)) == len(at_once)
