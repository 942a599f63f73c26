"""However streams are cut into rows, and rows into batches, the same rules match, in all languages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ids.rules.match.matcher import Matcher
from ids.rules.settings import RulesSettings
from ids.types import Direction, Flow, Match, StreamChunk
from tests.factory import T0
from tests.rules.builders import end, feed, flow_of, matcher, rule_text

TESTS = (
    "payload: {contains: abc}",
    "payload: {contains: BCA, nocase: true}",
    "payload: {contains: ab}, payload: {regex: 'c[ab]c'}",
    "payload: {startswith: ab}, payload: {size: {min: 4}}",
    "any: [payload: {contains: aab}, payload: {contains: ccb}]",
    "payload: {regex: '[ab]{3}'}",
    "payload: {size: {min: 9}}",
)
RULES = [
    *(rule_text(f"[{tests}]", sid) for sid, tests in enumerate(TESTS, 1)),
    rule_text("[payload: {contains: b}]", 20, "tcp any any -> any 81"),
    rule_text("[payload: {contains: b}]", 21, "tcp", more="flow: to_client"),
    rule_text("[]", 22, "ssh"),
]
YARA = """
rule a { meta: sid = 30 strings: $a = "bcb" condition: $a }
rule b { meta: sid = 31 strings: $a = "ab" $b = "ca" condition: $a and $b }
rule c { meta: sid = 32 strings: $a = "ab" condition: $a at 0 }
rule d { meta: sid = 33 traffic = "tcp any 80 <> any any" strings: $a = /c[ab]+c/ condition: #a > 1 }
rule e { meta: sid = 34 condition: filesize > 7 }
"""
WHOLE = RulesSettings()
"""A window that holds all of these streams: what it lets go is a matter of other tests."""

texts = st.text("abc", max_size=16).map(str.encode)
sides = st.lists(st.tuples(texts, st.lists(st.integers(0, 16), max_size=5)), min_size=4, max_size=4)
"""For each direction of two flows: its bytes, and where they are cut."""

Row = tuple[int, int, int, bytes, bool]
"""Flow, direction, stream offset, bytes, and whether it closes the direction."""


@cache
def the_matcher() -> Matcher:
    """Compile the rules once."""
    return matcher(*RULES, yara=YARA, settings=WHOLE)


def rows_of(cut: list[tuple[bytes, list[int]]]) -> list[list[Row]]:
    """Return the rows of each direction."""
    directions = []
    for number, (data, places) in enumerate(cut):
        bounds = sorted({0, len(data), *(place for place in places if place < len(data))})
        rows = [(number // 2, number % 2, a, data[a:b], False) for a, b in pairwise(bounds)]
        directions.append([*rows, (number // 2, number % 2, len(data), b"", True)])
    return directions


def mixed(directions: list[list[Row]], order: list[int]) -> list[Row]:
    """Return the rows of all directions in some order that keeps each direction's own."""
    left = [list(rows) for rows in directions]
    result: list[Row] = []
    while any(left):
        waiting = [rows for rows in left if rows]
        place = order[len(result) % len(order)] if order else 0
        result.append(waiting[place % len(waiting)].pop(0))
    return result


def matches(rows: list[Row], sizes: list[int]) -> list[tuple[Flow, Match]]:
    """Feed two flows in batches of these sizes, repeated; return each match with its flow."""
    m = the_matcher()
    flows = [flow_of(m, app_proto="ssh"), flow_of(m, dport=81)]
    chunks = [
        StreamChunk(flows[flow], Direction(side), offset, data, T0 + number, number, closed=closed)
        for number, (flow, side, offset, data, closed) in enumerate(rows, 1)
    ]
    found: list[tuple[Flow, Match]] = []
    batch = 0
    while chunks:
        size = sizes[batch % len(sizes)] if sizes else len(chunks)
        found += [(match.flow, match) for match in feed(m, *chunks[:size])]
        chunks, batch = chunks[size:], batch + 1
    assert (m.retained.total, len(m.retained)) == (0, 0)
    end(m, *flows)
    return found


def what(found: list[tuple[Flow, Match]]) -> list[tuple[int, int, int]]:
    """Return flow, direction and sid of matches; none comes twice."""
    return sorted((flow.id, int(match.direction), match.signature.sid) for flow, match in found)


@settings(deadline=None)
@given(sides, sides, st.lists(st.integers(0, 3)), st.lists(st.integers(1, 6), max_size=4))
def test_cuts_and_batches_change_nothing(
    cut: list[tuple[bytes, list[int]]],
    otherwise: list[tuple[bytes, list[int]]],
    order: list[int],
    sizes: list[int],
) -> None:
    """The same bytes, cut otherwise, in another order of the directions, in batches of any size, match the same."""
    whole = matches(mixed(rows_of([(data, []) for data, _ in cut]), []), [])
    assert what(matches(mixed(rows_of(cut), order), sizes)) == what(whole)
    other = [(data, places) for (data, _), (_, places) in zip(cut, otherwise, strict=True)]
    assert what(matches(mixed(rows_of(other), order), [1])) == what(whole)


@settings(deadline=None)
@given(sides, st.lists(st.integers(0, 3)), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_batches_change_no_number_and_no_evidence(
    cut: list[tuple[bytes, list[int]]], order: list[int], sizes: list[int]
) -> None:
    """The same rows in batches of any size give the same alerts, each with the packet that completed it."""

    def told(found: list[tuple[Flow, Match]]) -> Sequence[object]:
        return sorted(
            (
                match.number,
                flow.id,
                match.direction,
                match.signature.sid,
                [(e.offset, e.excerpt) for e in match.evidence],
            )
            for flow, match in found
        )

    rows = mixed(rows_of(cut), order)
    assert told(matches(rows, sizes)) == told(matches(rows, [1]))
