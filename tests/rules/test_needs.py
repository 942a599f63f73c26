"""Which flows rules look into beside what parsers make of them: what is not, nobody needs to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.rules.match.needs import MAX_SELECTORS, Needs
from ids.rules.model.reach import reads_raw
from ids.rules.model.rule import FlowOptions, Rule, Scoped, Traffic
from ids.types import Direction, FlowColumns
from tests.factory import make_flow
from tests.rules.builders import load, load_yara_text, rule_text
from tests.rules.test_selectors import fits, flows, is_open, options, traffic

CLIENT, SERVER = Direction


def rule(match: str = "[payload: x]", of: str = "tcp any any -> any any", more: str = "") -> Rule:
    """Return a rule from its parts in YAML."""
    loaded = load("rules:\n" + rule_text(match, 1, of, more))
    assert not loaded.errors, loaded.errors
    return loaded.rules[0]


def needed(rules: Sequence[Scoped], direction: Direction = CLIENT, **flow: Any) -> bool:
    """Return whether some rule looks into a flow."""
    columns = FlowColumns(4)
    slot = make_flow(columns=columns, **flow).slot
    return bool(Needs(rules).of(columns, np.array([slot]), direction)[0])


@pytest.mark.parametrize(
    ("match", "raw"),
    [
        ("[payload: x]", True),
        ("[http.uri: /x]", False),
        ("[http.response_body: {regex: 'x+y'}, http.stat_code: '200']", False),
        ("[tcp.flags: syn]", True),
        ("[http.uri: /x, ip.ttl: 3]", True),
        ("[scapy.TCP.window: 7]", True),
        ("[tcp.hdr: {size: 20}]", True),
        ("[src_ip: 192.0.2.1]", True),
    ],
)
def test_a_rule_reads_raw_unless_all_that_it_looks_at_is_what_a_parser_fills(match: str, raw: bool) -> None:
    assert reads_raw(rule(match, "http" if "http" in match else "tcp")) is raw


@pytest.mark.parametrize(("scope", "raw"), [("stream", True), ("file.data", False), ("http.response_body", False)])
def test_a_yara_rule_reads_raw_where_its_scope_is_the_stream(scope: str, raw: bool) -> None:
    text = f'rule r {{ meta: sid = 3 scope = "{scope}" strings: $a = "needle" condition: $a }}'
    assert reads_raw(load_yara_text(text).rules[0]) is raw


def test_without_rules_on_payload_nothing_is_needed_and_with_one_on_all_of_it_everything() -> None:
    heads = rule("[http.uri: /x]", "http")
    assert not needed([])
    assert not needed([heads])
    assert needed([heads, rule()])


def test_too_many_kinds_of_traffic_are_not_asked_one_by_one() -> None:
    rules = [rule(of=f"tcp any any -> any {port}") for port in range(1, MAX_SELECTORS + 2)]
    assert not needed(rules[:-1], dport=9999)
    assert needed(rules, dport=9999)
    assert not needed([rules[0]] * len(rules), dport=9999), "of one kind they are one"


@given(
    st.lists(st.tuples(traffic, options), max_size=4),
    flows.map(lambda flow: {**flow, "proto": 6}),
    st.sampled_from(Direction),
)
def test_a_flow_is_needed_where_one_rule_looks_at_it(
    wanted: list[tuple[Traffic, FlowOptions]], wording: dict[str, Any], direction: Direction
) -> None:
    """Whatever its state is by now: that may change."""
    plain = rule()
    rules = [
        Rule(plain.signature, traffic, asked, plain.source, condition=plain.condition) for traffic, asked in wanted
    ]
    flow = make_flow(columns=FlowColumns(4), **wording)
    expected = any(
        asked.direction in (None, direction)
        and fits(traffic, flow, direction)
        and is_open(traffic, FlowOptions(), flow, None)
        for traffic, asked in wanted
    )
    assert needed(rules, direction, **wording) == expected
