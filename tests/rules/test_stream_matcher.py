"""Rules on the payload of TCP: the way a stream is cut changes nothing, and no sender can make matching quadratic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.rules.match.spans import REPEAT_BYTES
from ids.rules.model.rule import Rule
from ids.rules.settings import RulesSettings
from ids.types import Direction, FlowState, StreamChunk
from tests.rules.builders import chunks, end, feed, flow_of, matcher, rule_text, sids, stream


def test_a_literal_split_at_every_position() -> None:
    """In two pieces at each place, and byte by byte: found once, at once, with the packet that completed it."""
    data = b"GET /needle HTTP/1.1"
    m = matcher(rule_text("[payload: {contains: needle}]"))
    for cut in range(1, len(data)):
        (match,) = stream(m, [data[:cut], data[cut:]], closed=False)
        assert match.number == (1 if cut >= 11 else 2)
        assert match.evidence[0].offset == 5
    (match,) = stream(m, [data[i : i + 1] for i in range(len(data))], closed=False)
    assert match.number == 11


def test_tests_far_apart_meet_in_the_window() -> None:
    """All literals and expressions of a rule may lie in different chunks, in any order."""
    m = matcher(rule_text("[payload: {contains: abcdef}, payload: {regex: 'x[0-9]+y'}, payload: {contains: gh}]"))
    assert sids(stream(m, [b"gh", b"-" * 5000, b"abcdef", b"-" * 5000 + b"x1", b"2y"])) == [1]
    assert sids(stream(m, [b"x12y gh", b"-" * 5000, b"abcdef"])) == [1]


def test_directions_and_flows_are_apart() -> None:
    """A rule alerts once for each direction; halves on two sides do not meet."""
    m = matcher(rule_text("[payload: {contains: abcd}]"))
    flow = flow_of(m)
    up, down = (chunks(flow, [b"abcd", b"abcd"], side) for side in Direction)
    assert [(x.signature.sid, x.direction) for chunk in up + down for x in feed(m, chunk)] == [(1, 0), (1, 1)]
    other = flow_of(m)
    halves = [
        chunks(other, [piece], side)[0] for piece, side in ((b"ab", Direction.TO_SERVER), (b"cd", Direction.TO_CLIENT))
    ]
    assert [x for chunk in halves for x in feed(m, chunk)] == []


def test_a_rule_that_repeats_matches_once_in_so_many_bytes_and_only_what_is_new() -> None:
    m = matcher(rule_text("[payload: {contains: abcd}]"), repeats=True)
    pieces = [b"abcd", b"abcd", b"-" * REPEAT_BYTES, b"-", b"abcd", b"ab", b"-" * REPEAT_BYTES, b"ab", b"cd"]
    assert [match.number for match in stream(m, pieces)] == [1, 5, 9]
    pair = rule_text("[payload: {contains: abcd}, payload: {contains: efgh}]")
    for repeats, expected in ((True, [2, 6]), (False, [2])):
        m = matcher(pair, repeats=repeats)
        pieces = [b"abcd", b"efgh", b"-" * REPEAT_BYTES, b"abcd", b"--", b"efgh"]
        assert [match.number for match in stream(m, pieces)] == expected


def test_nothing_meets_over_a_gap() -> None:
    """Bytes that were not seen are not guessed; what follows a gap is matched by itself, at its stream offset."""
    counters = Counters()
    m = matcher(rule_text("[payload: {contains: abcd}]"), counters=counters)
    flow = flow_of(m)
    found = [
        feed(m, StreamChunk(flow, Direction.TO_SERVER, offset, data, 0, 1, gap=gap))
        for offset, data, gap in ((0, b"..ab", 0), (10, b"cd..", 6), (20, b"-abcd", 6))
    ]
    assert [len(matches) for matches in found] == [0, 0, 1]
    assert found[2][0].evidence[0].offset == 21
    assert counters["rules.window.gap"] == 2


@pytest.mark.parametrize(("operator", "late"), [("startswith", False), ("contains", True)])
def test_the_start_of_the_stream_is_no_start_of_a_window(operator: str, late: bool) -> None:
    """After a gap, and after the window let go its head, nothing starts there."""
    text = rule_text(f"[payload: {{{operator}: abcd}}]")
    assert sids(stream(matcher(text), [b"abcd"])) == [1]
    m = matcher(text)
    chunk = StreamChunk(flow_of(m), Direction.TO_SERVER, 9, b"abcd", 0, 1, gap=9, closed=True)
    assert bool(feed(m, chunk)) is late
    m = matcher(text, settings=RulesSettings(window_bytes=4096))
    assert bool(stream(m, [b"-" * 4096, b"-" * 4096, b"abcd"])) is late


def test_the_window_is_bounded_and_judged_before_it_lets_go() -> None:
    """Needle and expression within half a window meet wherever they stand; what goes is counted."""
    counters = Counters()
    settings = RulesSettings(window_bytes=4096)
    m = matcher(
        rule_text("[payload: {contains: needle}, payload: {regex: 'x[0-9]y'}]"), settings=settings, counters=counters
    )
    for before in range(0, 9000, 450):
        data = b"-" * before + b"needle" + b"-" * 1900 + b"x1y" + b"-" * 9000
        assert sids(stream(m, [data[i : i + 700] for i in range(0, len(data), 700)])) == [1]
        assert sids(stream(m, [data])) == [1]
    assert counters["rules.window.dropped_bytes"] > 0
    assert m.retained.total == 0


def test_memory_of_all_flows_is_bounded() -> None:
    """Above the cap the flow that was silent longest loses its window, and that is counted."""
    counters = Counters()
    m = matcher(
        rule_text("[payload: {contains: abcd}]"), settings=RulesSettings(memcap_bytes=1 << 20), counters=counters
    )
    flows = [flow_of(m) for _ in range(40)]
    for flow in flows:
        stream(m, [b"ab" + b"-" * 60000 + b"ab"], flow, closed=False)
        assert m.retained.total <= 1 << 20
    assert counters["rules.memcap.evicted"] > 20
    last = StreamChunk(flows[-1], Direction.TO_SERVER, 60004, b"cd", 0, 2)
    first = StreamChunk(flows[0], Direction.TO_SERVER, 60004, b"cd", 0, 2)
    assert (len(feed(m, last)), len(feed(m, first))) == (1, 0)
    end(m, *flows)
    assert (m.retained.total, len(m.retained)) == (0, 0)


def test_a_flow_that_becomes_what_the_rule_wants() -> None:
    """State and protocol may be known only after the bytes."""
    m = matcher(rule_text("[payload: {contains: abcd}]", traffic="ssh", more="flow: established"))
    flow = flow_of(m, state=FlowState.NEW)
    first, second, third, _ = chunks(flow, [b"abcd", b"-", b"-"])
    assert feed(m, first) == []
    flow.state = FlowState.ESTABLISHED
    assert feed(m, second) == []
    flow.app_proto = "ssh"
    assert sids(feed(m, third)) == [1]


def test_negation_speaks_of_what_was_seen_so_far() -> None:
    """Judged when the needle comes, and again at the close at the latest."""
    m = matcher(rule_text("[payload: {contains: abcd}, none: [payload: {contains: xyz}]]"))
    assert sids(stream(m, [b"abcd", b"xyz"])) == [1]
    assert sids(stream(m, [b"xyz", b"abcd"])) == []
    only = matcher(rule_text("[payload: {size: {min: 3}}, none: [payload: {contains: xyz}]]"))
    assert sids(stream(only, [b"ab", b"c"])) == [1]


def test_reload_goes_on_with_live_flows() -> None:
    """New rules see what the window still holds; what was reported is not reported again."""
    rules = [rule_text("[payload: {contains: abcd}]", 1)]
    old = matcher(*rules)
    flow = flow_of(old)
    first, second = chunks(flow, [b"abcd efgh ij", b"kl"], closed=False)
    assert sids(feed(old, first)) == [1]
    rules = [rule_text(f"[payload: {{contains: {text}}}]", sid) for sid, text in ((2, "efgh"), (3, "ijkl"))] + rules
    new = matcher(*rules, previous=old)
    assert sorted(sids(feed(new, second))) == [2, 3]
    end(new, flow)
    assert new.retained.total == 0


@pytest.mark.parametrize("gap", [0, 5])
def test_new_rules_judge_what_the_window_still_holds(gap: int) -> None:
    """However far back their needle stands, and although a gap or the end is what comes next."""
    old = matcher(rule_text("[payload: {contains: something}]", 1))
    flow = flow_of(old)
    (first,) = chunks(flow, [b"needle" + b"-" * 5000], closed=False)
    assert feed(old, first) == []
    new = matcher(rule_text("[payload: {contains: needle}]", 2), previous=old)
    last = StreamChunk(flow, Direction.TO_SERVER, 5006 + gap, b"", 0, 2, gap=gap, closed=True)
    assert sids(feed(new, last)) == [2]


def work(pieces: list[bytes], match: str) -> tuple[int, int]:
    """Return evaluations and bytes evaluated for a stream that never completes the rule, fed in batches of 50 rows."""
    counters = Counters()
    m = matcher(rule_text(match), counters=counters)
    rows = chunks(flow_of(m), pieces)
    for first in range(0, len(rows), 50):
        assert feed(m, *rows[first : first + 50]) == []
    return counters["rules.evaluations"], counters["rules.evaluated_bytes"]


@pytest.mark.parametrize("match", [
    "[payload: {contains: abcd}, payload: {contains: never there}]",
    "[payload: {contains: abcd}, payload: {regex: 'abcd.*never'}]",
    "[payload: {regex: '[a-z]{3}[0-9]never'}]",
    "[payload: {size: {max: 1}}, payload: {contains: abcd}]",
])  # fmt: skip
@pytest.mark.parametrize("size", [1, 100, 1460])
def test_evaluating_costs_time_linear_in_the_stream(match: str, size: int) -> None:
    """A sender who repeats the needle in every segment causes some eager evaluations, then a logarithm of them."""
    piece = (b"abcd" * (size // 4 + 1))[:size]
    for segments in (1000, 2000, 4000):
        evaluations, evaluated = work([piece] * segments, match)
        assert evaluations <= 64 + 64
        assert evaluated <= 20_000 + 8 * size * segments


def test_gaps_do_not_make_waiting_rules_cost() -> None:
    """A rule whose needle went with a gap is not evaluated at every gap that follows."""
    counters = Counters()
    m = matcher(
        *(rule_text("[payload: {contains: needle}, payload: {regex: '[0-9]x'}]", sid) for sid in range(1, 51)),
        counters=counters,
    )
    flow = flow_of(m)
    feed(m, StreamChunk(flow, Direction.TO_SERVER, 0, b"needle", 0, 1))
    for i in range(1, 500):
        feed(m, StreamChunk(flow, Direction.TO_SERVER, 10 * i, b"-", 0, 1, gap=9))
    assert counters["rules.evaluations"] <= 3 * 50


literal = st.sampled_from(["a", "ab", "ba", "abc", "cab", "bbb"])
positive = st.recursive(
    st.one_of(
        st.builds("payload: {{contains: {}}}".format, literal),
        st.builds("payload: {{contains: {}, nocase: true}}".format, literal),
        st.builds("payload: {{startswith: {}}}".format, literal),
        st.builds("payload: {{regex: '{}[ab]?{}'}}".format, literal, literal),
        st.builds("payload: {{size: {{min: {}}}}}".format, st.integers(0, 12)),
    ),
    lambda inner: st.builds(
        lambda group, parts: f"{group}: [{', '.join('{' + p + '}' for p in parts)}]",
        st.sampled_from(["any", "all"]), st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=5,
)  # fmt: skip


@given(
    st.lists(positive, min_size=1, max_size=4),
    st.lists(st.text("abcAB", max_size=9).map(str.encode), max_size=6),
)
def test_the_way_a_stream_is_cut_changes_nothing(matches: list[str], pieces: list[bytes]) -> None:
    """Rules without negation fire exactly when a plain search of the whole stream says so, however it comes."""
    m = matcher(*(rule_text(f"[{{{match}}}]", sid) for sid, match in enumerate(matches, 1)))
    data = b"".join(pieces)
    expected = [rule.signature.sid for rule in m.rules if isinstance(rule, Rule) and oracle(rule.condition, data)]
    assert sorted(sids(stream(m, pieces))) == expected
    if data:  # in one piece, no close is needed
        (whole,) = chunks(flow_of(m), [data], closed=False)
        assert sorted(sids(feed(m, whole))) == expected


def oracle(node: object, data: bytes) -> bool:
    """Say with Python's own means whether a condition holds."""
    import re

    from ids.rules.model import rule as model

    if isinstance(node, model.All):
        return all(oracle(part, data) for part in node.parts)
    if isinstance(node, model.Any_):
        return any(oracle(part, data) for part in node.parts)
    if isinstance(node, model.Size):
        return len(data) >= node.least
    if isinstance(node, model.Regex):
        return re.search(node.pattern.text.encode(), data) is not None
    assert isinstance(node, model.Literal)
    data = data.lower() if node.nocase else data
    return data.startswith(node.value) if node.anchor is model.Anchor.START else node.value in data


def test_a_connection_within_a_batch_leaves_nothing() -> None:
    """Only directions that stay open are kept, those in which nothing was noticed too."""
    m = matcher(rule_text("[payload: {contains: needle}, payload: {contains: never}]"))
    short, long = flow_of(m), flow_of(m)
    batch = chunks(short, [b"a needle", b"-"]) + chunks(short, [b"-" * 9], Direction.TO_CLIENT)
    assert feed(m, *batch, *chunks(long, [b"-" * 9], closed=False)) == []
    assert [m.memory.trails.get(flow) is not None for flow in (short, long)] == [False, True]
    assert len(m.retained) == 1
    assert feed(m, StreamChunk(long, Direction.TO_SERVER, 9, b"", 0, 2, closed=True)) == []
    assert (m.retained.total, len(m.retained)) == (0, 0)


def test_a_flood_of_one_flow_hides_nothing_in_the_others() -> None:
    """Where a needle is repeated all over, rows are searched one by one, with the same answer."""
    counters = Counters()
    m = matcher(rule_text("[payload: {contains: abcd}, payload: {regex: '[0-9]x'}]"), counters=counters)
    flood, split, other = flow_of(m), flow_of(m), flow_of(m)
    first, second = chunks(split, [b"1x ab", b"cd"], closed=False)
    rows = [*chunks(flood, [b"abcd" * 300] * 20, closed=False), first, *chunks(other, [b"abc", b"-"], closed=False)]
    assert feed(m, *rows) == []
    rows = chunks(flood, [b"abcd" * 300] * 40, closed=False)[20:]
    assert [match.flow.id for match in feed(m, *rows, second)] == [split.id]
    assert counters["rules.prefilter.floods"] == 2
