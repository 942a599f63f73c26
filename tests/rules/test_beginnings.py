"""A rule that asks for something at the start of a stream does not wait where something else stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.counters import Counters
from ids.rules.language.loader import load_rules
from ids.rules.match.follower import beginnings
from ids.rules.match.matcher import Matcher
from ids.rules.model.chain import Chain, Content
from ids.rules.model.rule import All
from ids.types import FlowColumns
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


def test_only_literals_with_a_place_are_asked_for() -> None:
    placed = Content(b"smb", nocase=True, offset=4, depth=4)
    others = (Content(b"x"), Content(b"x", offset=2), Content(b"x", negated=True, depth=5),
              Content(b"x", distance=1, within=3), Content(b"x", offset="n", depth=5))  # fmt: skip
    assert beginnings(All((Chain("payload", (*others, placed)),))) == ((placed, 4, 8),)
    assert beginnings(All((Chain("http.uri", (placed,)),))) == ()


def test_it_matches_where_it_stands_however_the_stream_is_cut(matcher: Matcher) -> None:
    data = b"\0\0\0\0\xffSMB......needle"
    for cut in range(1, len(data)):
        assert sids(stream(matcher, [data[:cut], data[cut:]])) == [1]


def test_it_does_not_wait_where_something_else_stands(matcher: Matcher, counters: Counters) -> None:
    assert stream(matcher, [b"GET / HTTP/1.0\r\n", *[b"needle"] * 50], flow_of(matcher)) == []
    assert counters["rules.evaluations"] == 0
