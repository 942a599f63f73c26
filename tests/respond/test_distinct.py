"""How many different things a party was seen with: scans of ports and of hosts, fast and slow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.respond import distinct as module
from ids.respond.distinct import DistinctCounts
from ids.types import Direction, Distinct, Match
from tests.factory import T0, make_flow, make_match, make_signature
from tests.respond.test_responder import BLOCK, Bench

SECOND = 10**9


def match_of(
    wanted: Distinct, port: int = 1, at_s: float = 0, direction: Direction = Direction.TO_SERVER, **flow: Any
) -> Match:
    signature = make_signature(distinct=wanted)
    return make_match(make_flow(dport=port, **flow), signature, ts_ns=T0 + int(at_s * SECOND), direction=direction)


def answers(wanted: Distinct, *seen: tuple[int, float]) -> list[int]:
    """Return for each port and time whether the rule is heard."""
    counts = DistinctCounts(Counters())
    return [int(counts.reached(match_of(wanted, port, at_s), wanted)) for port, at_s in seen]


PORTS = Distinct("dst_port", "src", 3, 10)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(1, 0), (2, 1), (3, 2)], [0, 0, 1]),
        ([(1, 0), (1, 1), (1, 2), (2, 3)], [0, 0, 0, 0]),
        ([(1, 0), (2, 5), (3, 10)], [0, 0, 0]),
        ([(1, 0), (2, 5), (3, 10), (4, 11)], [0, 0, 0, 1]),
        ([(1, 0), (2, 5), (1, 9), (3, 11)], [0, 0, 0, 1]),
        ([(1, 0), (2, 0), (3, 0), (4, 1), (5, 1), (6, 1), (7, 9)], [0, 0, 1, 0, 0, 0, 0]),
        ([(1, 0), (2, 0), (3, 0), (4, 10), (5, 10), (6, 10)], [0, 0, 1, 0, 0, 1]),
    ],
    ids=["reached", "the same again", "too slow", "the window slides", "seen again is young", "then silent", "anew"],
)
def test_three_ports_in_ten_seconds(seen: list[tuple[int, float]], expected: list[int]) -> None:
    assert answers(PORTS, *seen) == expected


def test_a_slow_scan_is_a_long_window() -> None:
    wanted = Distinct("dst_port", "src", 100, 3600)
    assert sum(answers(wanted, *[(port, 30 * port) for port in range(110)])) == 1


@pytest.mark.parametrize(
    ("thing", "changes"),
    [("dst_ip", {"dst": "198.51.100."}), ("src_ip", {"src": "192.0.2."}), ("src_port", {})],
)
def test_what_is_counted(thing: str, changes: dict[str, str]) -> None:
    wanted = Distinct(thing, "server" if thing == "src_ip" else "client", 3, 10)
    counts = DistinctCounts(Counters())
    flows: list[dict[str, Any]] = [
        {**{end: f"{text}{n}" for end, text in changes.items()}, **({} if changes else {"sport": n})}
        for n in (1, 2, 2, 3)
    ]
    assert [counts.reached(match_of(wanted, **flow), wanted) for flow in flows] == [False, False, False, True]


@pytest.mark.parametrize(
    ("by", "together"),
    [("src", True), ("client", True), ("dst", False), ("server", False), ("pair", False)],
)
def test_by_whom_it_is_counted(by: str, together: bool) -> None:
    wanted = Distinct("dst_port", by, 2, 10)
    counts = DistinctCounts(Counters())
    assert not counts.reached(match_of(wanted, 1, dst="198.51.100.1"), wanted)
    assert counts.reached(match_of(wanted, 2, dst="198.51.100.2"), wanted) is together


def test_sender_and_receiver_are_those_of_the_direction() -> None:
    """Of an answer the client is the receiver; its port is the destination's."""
    wanted = Distinct("dst_port", "dst", 2, 10)
    counts = DistinctCounts(Counters())
    heard = [
        counts.reached(match_of(wanted, direction=Direction.TO_CLIENT, sport=port), wanted) for port in (40001, 40002)
    ]
    assert heard == [False, True]


def test_rules_do_not_count_each_others_matches() -> None:
    counts = DistinctCounts(Counters())
    for sid, port in ((1, 1), (2, 2), (1, 3), (2, 4)):
        match = make_match(make_flow(dport=port), make_signature(sid=sid, distinct=PORTS))
        assert not counts.reached(match, PORTS)


def test_time_that_goes_back_silences_nobody() -> None:
    """As from one capture to the next."""
    assert answers(PORTS, (1, 100), (2, 100), (3, 100), (1, 0), (2, 0), (3, 0)) == [0, 0, 1, 0, 0, 1]


def test_memory_is_bounded_and_forgetting_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COUNTED", 10)
    counters = Counters()
    counts = DistinctCounts(counters)
    for number in range(25):
        counts.reached(match_of(PORTS, src=f"192.0.2.{number + 1}"), PORTS)
    assert counters["respond.distinct.evicted"] == 15
    monkeypatch.setattr(module, "MAX_THINGS", 50)
    wanted = Distinct("dst_port", "src", 1000, 3600)
    for number in range(500):
        counts.reached(match_of(wanted, 1 + number % 40, src=f"192.0.2.{number // 40 + 1}"), wanted)
        assert counts._things <= 50
        assert counts._things == sum(len(seen.things) for seen in counts._parties.values())


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), max_size=60), st.integers(2, 4), st.integers(1, 6))
def test_it_agrees_with_a_plain_recount(steps: list[tuple[int, int]], at_least: int, window: int) -> None:
    """Of all that was seen since the rule was heard last and its silence ended."""
    now, heard, expected, seen, log = 0, None, [], [], []
    for port, waited in steps:
        now += waited
        log.append((port, now))
        if heard is not None and now - heard < window:
            expected.append(0)
            continue
        seen.append((port, now))
        reached = len({one for one, when in seen if now - when < window}) >= at_least
        expected.append(int(reached))
        if reached:
            heard, seen = now, []
    assert answers(Distinct("dst_port", "src", at_least, window), *log) == expected


def test_nothing_is_blocked_before_the_number_is_reached() -> None:
    bench = Bench()
    signature = make_signature(distinct=PORTS, block=BLOCK)
    for port in (1, 2):
        bench.responder.handle(make_match(make_flow(id=port, dport=port), signature))
    assert (bench.gate.orders, bench.kinds()) == ([], [])
    bench.responder.handle(make_match(make_flow(id=3, dport=3), signature))
    assert bench.kinds() == ["alert", "drop"]
