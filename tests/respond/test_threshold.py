"""How often a rule may alert."""

from __future__ import annotations

import pytest

from ids.counters import Counters
from ids.respond import threshold as module
from ids.respond.threshold import Hearing, Thresholds
from ids.types import Action, Direction, Match, Rate, Suppression, Threshold
from tests.factory import T0, make_flow, make_match, make_signature


def _passes(thresholds: Thresholds, match: Match) -> bool:
    return thresholds.heard(match) is Hearing.ALERTS


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("limit", [1, 1, 0, 0, 0, 0]),
        ("threshold", [0, 1, 0, 1, 0, 1]),
        ("both", [0, 1, 0, 0, 0, 0]),
        ("filter", [0, 0, 1, 1, 1, 1]),
    ],
)
def test_six_matches_within_the_window(kind: str, expected: list[int]) -> None:
    thresholds = Thresholds(Counters())
    signature = make_signature(threshold=Threshold(kind, "by_src", 2, 60))
    assert [int(_passes(thresholds, make_match(signature=signature))) for _ in range(6)] == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("limit", "ALERTS ALERTS SILENT SILENT"),
        ("threshold", "NOT ALERTS NOT ALERTS"),
        ("both", "NOT ALERTS SILENT SILENT"),
        ("filter", "NOT NOT ALERTS ALERTS"),
    ],
)
def test_a_rule_does_nothing_until_it_has_matched_often_enough(kind: str, expected: str) -> None:
    thresholds = Thresholds(Counters())
    signature = make_signature(threshold=Threshold(kind, "by_src", 2, 60))
    assert [thresholds.heard(make_match(signature=signature)).name for _ in range(4)] == expected.split()


def test_both_ends_are_one_pair_whoever_sends() -> None:
    thresholds = Thresholds(Counters())
    signature = make_signature(threshold=Threshold("limit", "by_both", 1, 60))
    ways = [Direction.TO_SERVER, Direction.TO_CLIENT]
    answers = [_passes(thresholds, make_match(make_flow(), signature, direction=way)) for way in ways]
    assert answers == [True, False]


def test_a_rate_is_exceeded_for_as_long_as_its_timeout_and_then_counted_anew() -> None:
    thresholds, rate = Thresholds(Counters()), Rate("by_src", 2, 10, Action.DROP, 100)
    signature = make_signature(rate=rate)
    times = [0, 1, 20, 25, 30, 131, 132, 133, 134]
    answers = [thresholds.exceeds(make_match(signature=signature, ts_ns=T0 + t * 10**9), rate) for t in times]
    assert answers == [False, False, False, False, True, False, False, False, True]


def test_a_new_window_starts_with_the_first_match_after_the_old_one() -> None:
    thresholds = Thresholds(Counters())
    signature = make_signature(threshold=Threshold("limit", "by_src", 1, 60))
    times = [0, 59, 60, 61]
    answers = [_passes(thresholds, make_match(signature=signature, ts_ns=T0 + t * 10**9)) for t in times]
    assert answers == [True, False, True, False]


@pytest.mark.parametrize(
    ("track", "expected"),
    [("by_src", True), ("by_dst", False), ("by_rule", False), ("by_flow", True), ("by_both", True)],
)
def test_what_is_counted_together(track: str, expected: bool) -> None:
    thresholds = Thresholds(Counters())
    signature = make_signature(threshold=Threshold("limit", track, 1, 60))
    assert _passes(thresholds, make_match(make_flow("192.0.2.1"), signature))
    assert _passes(thresholds, make_match(make_flow("192.0.2.2", id=2), signature)) is expected


@pytest.mark.parametrize(
    ("ends", "expected"),
    [(("src_ip",), [False, True]), (("dst_ip",), [True, False]), (("src_ip", "dst_ip"), [False, False])],
)
def test_alerts_of_some_addresses_are_not_reported(ends: tuple[str, ...], expected: list[bool]) -> None:
    run = (0xFFFF_C000_0201, 0xFFFF_C000_0201)  # 192.0.2.1
    signature = make_signature(suppressed=(Suppression(ends, (run,)),))
    flow = make_flow("192.0.2.1")
    ways = (Direction.TO_SERVER, Direction.TO_CLIENT)
    answers = [_passes(Thresholds(Counters()), make_match(flow, signature, direction=way)) for way in ways]
    assert answers == expected


def test_memory_is_bounded_and_forgetting_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRACKED", 10)
    counters = Counters()
    thresholds = Thresholds(counters)
    signature = make_signature(threshold=Threshold("limit", "by_flow", 1, 60))
    for number in range(25):
        _passes(thresholds, make_match(make_flow(id=number), signature))
    assert counters["respond.threshold.evicted"] == 15
