"""A rule that asks for something at a fixed place of a payload is not judged where something else stands there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.counters import Counters
from ids.errors import Location
from ids.rules.language.loader import load_rules
from ids.rules.match.beginnings import FEW, Beginning, Beginnings, beginnings
from ids.rules.match.chains import judge
from ids.rules.match.matcher import Matcher
from ids.rules.match.reading import Variables
from ids.rules.model.chain import Chain, Compare, Content, DataAt, Expression, Jump, Number, Step
from ids.rules.model.patterns import Pattern
from ids.rules.model.rule import All, FlowOptions, Rule, Traffic
from ids.types import FlowColumns
from tests.factory import make_signature
from tests.rules.builders import flow_of, sids, stream

RULE = 'alert tcp any any -> any any (content:"SMB"; offset:4; depth:4; content:"needle"; distance:0; sid:1;)\n'


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def matcher(tmp_path: Path, counters: Counters) -> Matcher:
    path = tmp_path / "r.rules"
    path.write_text(RULE)
    loaded = load_rules([path])
    assert len(loaded.rules) == 1
    return Matcher(loaded, FlowColumns(4), counters)


def rule_with(chain: Chain) -> Rule:
    """Return a rule with the one condition."""
    return Rule(make_signature(), Traffic("tcp"), FlowOptions(), Location("r.rules", 1), All((chain,)), repeats=True)


def _asked(*steps: Step) -> tuple[Beginning, ...]:
    return beginnings(All((Chain("payload", steps),)))


def test_only_literals_with_a_place_are_asked_for() -> None:
    placed = Content(b"smb", nocase=True, offset=4, depth=4)
    others = (Content(b"x"), Content(b"x", offset=2), Content(b"x", negated=True, depth=5),
              Content(b"x", distance=1, within=3), Content(b"x", offset="n", depth=5))  # fmt: skip
    assert _asked(*others, placed) == (Beginning(b"smb", True, 4, 8),)
    assert beginnings(All((Chain("http.uri", (placed,)),))) == ()


def test_what_follows_a_literal_in_its_one_place_has_a_place_too() -> None:
    magic, kind = Content(b"\xfeSMB", offset=4, depth=4), Content(b"\3\0", distance=8, within=2)
    somewhere = Content(b"\xfeSMB", offset=4, depth=5)
    assert _asked(magic, kind) == (Beginning(b"\xfeSMB", False, 4, 8), Beginning(b"\3\0", False, 16, 18))
    assert _asked(somewhere, kind) == (Beginning(b"\xfeSMB", False, 4, 9),)
    moving: tuple[Step, ...] = (Jump(Number(2)), Expression(Pattern.lazy("x")), Content(b"x"))
    for step in moving:
        assert _asked(magic, step, kind) == (Beginning(b"\xfeSMB", False, 4, 8),)
    resting: tuple[Step, ...] = (Content(b"x", negated=True), DataAt(4, relative=True), Compare(Number(2), ">", 1))
    for step in resting:
        assert _asked(magic, step, kind)[1:] == (Beginning(b"\3\0", False, 16, 18),)


_VALUES, _NEGATED = st.sampled_from([b"a", b"ab", b"ba", b"bb"]), st.sampled_from([False, False, False, True])
_PLACED = st.builds(
    Content,
    _VALUES,
    nocase=st.booleans(),
    negated=_NEGATED,
    offset=st.sampled_from([None, 0, 1, 3]),
    depth=st.sampled_from([None, 1, 2, 3]),
)
_RELATIVE = st.builds(
    Content,
    _VALUES,
    nocase=st.booleans(),
    negated=_NEGATED,
    distance=st.sampled_from([None, -3, -1, 0, 1, 2]),
    within=st.sampled_from([1, 2, 4]),
)
_OTHERS = st.sampled_from([DataAt(2, relative=True), Jump(Number(1)), Expression(Pattern.lazy("b"), relative=True)])
_PAYLOADS = st.lists(st.text("aAb", max_size=9).map(str.encode), min_size=FEW + 1, max_size=12)


@settings(max_examples=400)
@given(st.lists(_PLACED | _RELATIVE | _OTHERS, min_size=1, max_size=4), _PAYLOADS)
def test_what_is_left_out_would_not_hold(steps: list[Step], payloads: list[bytes]) -> None:
    chain = Chain("payload", tuple(steps))
    known = Beginnings(lambda _number: rule_with(chain))
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    data = np.frombuffer(b"".join(payloads), np.uint8)
    kept = known.keep(np.zeros(len(payloads), np.int64), data, np.cumsum(sizes) - sizes, sizes)
    for payload, keep in zip(payloads, kept.tolist(), strict=True):
        holds = judge(chain, payload, payload.lower, Variables()).held is not None
        assert not holds or (keep and all(one.stands_in(payload) for one in known.of(0)))


def test_many_payloads_are_compared_at_once() -> None:
    known = Beginnings({7: rule_with(Chain("payload", (Content(b"smb", nocase=True, offset=1, depth=3),)))}.__getitem__)
    payloads = [b".SMB", b".smB.", b"SMB", b".SM", b"..SMB", b""]
    sizes = np.array([len(payload) for payload in payloads], np.int64)
    data = np.frombuffer(b"".join(payloads), np.uint8)
    kept = known.keep(np.full(len(payloads), 7), data, np.cumsum(sizes) - sizes, sizes)
    assert kept.tolist() == [True, True, False, False, False, False]


def test_it_matches_where_it_stands_however_the_stream_is_cut(matcher: Matcher) -> None:
    data = b"\0\0\0\0\xffSMB......needle"
    for cut in range(1, len(data)):
        assert sids(stream(matcher, [data[:cut], data[cut:]])) == [1]


def test_it_does_not_wait_where_something_else_stands(matcher: Matcher, counters: Counters) -> None:
    assert stream(matcher, [b"GET / HTTP/1.0\r\n", *[b"needle"] * 50], flow_of(matcher)) == []
    assert counters["rules.evaluations"] == 0
