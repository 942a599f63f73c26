"""Rules that come after others: so many matches before, for the same party, within a time."""

from __future__ import annotations

from typing import Any

import pytest

from ids.counters import Counters
from ids.respond import sequences as module
from ids.respond.sequences import Sequences
from ids.types import After, Direction, Distinct, Match, Remembered
from tests.factory import T0, make_flow, make_match, make_signature
from tests.respond.test_responder import Bench

FAILED, SUCCEEDED = 1, 2
AFTER = After((FAILED,), "client", 3, 60)


def failed(at_s: float = 0, by: str = "client", sid: int = FAILED, times: int = 3, **flow: Any) -> Match:
    signature = make_signature(sid=sid, remembered=(Remembered(by, times),))
    return make_match(make_flow(**flow), signature, ts_ns=T0 + int(at_s * 1e9), direction=Direction.TO_CLIENT)


def succeeded(at_s: float, wanted: After = AFTER, **flow: Any) -> Match:
    signature = make_signature(sid=SUCCEEDED, after=wanted)
    return make_match(make_flow(**flow), signature, ts_ns=T0 + int(at_s * 1e9))


@pytest.mark.parametrize(
    ("failures", "success", "expected"),
    [
        ([0, 1, 2], 3, True),
        ([0, 1], 3, False),
        ([0, 1, 2], 60, True),
        ([0, 1, 2], 61, False),
        ([0, 50, 51, 52], 100, True),
        ([], 0, False),
    ],
)
def test_three_failures_then_a_success_within_a_minute(failures: list[int], success: int, expected: bool) -> None:
    sequences = Sequences(Counters())
    for at_s in failures:
        sequences.remember(failed(at_s))
    assert sequences.holds(succeeded(success), AFTER) is expected


def test_failures_of_others_do_not_count() -> None:
    sequences = Sequences(Counters())
    for at_s in range(3):
        sequences.remember(failed(at_s, src=f"192.0.2.{at_s + 1}"))
    assert not sequences.holds(succeeded(4), AFTER)


def test_the_client_is_the_same_in_requests_and_in_answers() -> None:
    """The failures are seen in the server's answers, the success in what the client sends."""
    sequences = Sequences(Counters())
    for at_s in range(3):
        sequences.remember(failed(at_s))
    assert sequences.holds(succeeded(4), AFTER)
    by_sender = After((FAILED,), "src", 1, 60)
    sequences.remember(failed(4, by="src"))
    assert not sequences.holds(succeeded(5, by_sender), by_sender), "which was the server"


def test_matches_of_several_rules_count_together() -> None:
    wanted = After((FAILED, 7), "client", 3, 60)
    sequences = Sequences(Counters())
    for at_s, sid in enumerate((FAILED, 7, FAILED)):
        assert not sequences.holds(succeeded(at_s, wanted), wanted)
        sequences.remember(failed(at_s, sid=sid))
    assert sequences.holds(succeeded(4, wanted), wanted)


def test_memory_is_bounded_and_forgetting_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    counters = Counters()
    sequences = Sequences(counters)
    for number in range(25):
        sequences.remember(failed(src=f"192.0.2.{number + 1}"))
    assert counters["respond.sequences.evicted"] == 15
    for _ in range(100):
        sequences.remember(failed(src="192.0.2.1"))
    assert max(map(len, sequences._times.values())) == 3


def test_a_rule_that_is_loaded_anew_with_another_number_keeps_what_was_seen() -> None:
    sequences = Sequences(Counters())
    for at_s in range(3):
        sequences.remember(failed(at_s))
    sequences.remember(failed(4, times=4))
    wanted = After((FAILED,), "client", 4, 60)
    assert sequences.holds(succeeded(5, wanted), wanted)


def test_a_match_that_is_not_heard_is_not_remembered() -> None:
    """Three steps in order: the second counts only after the first."""
    bench = Bench()
    first = make_signature(sid=1, remembered=(Remembered("client", 1),))
    second = make_signature(sid=2, after=After((1,), "client", 1, 60), remembered=(Remembered("client", 1),))
    third = make_signature(sid=3, after=After((2,), "client", 1, 60))
    for signature in (second, third, first, third, second, third):
        bench.responder.handle(make_match(make_flow(), signature))
    assert [event["alert"]["signature_id"] for event in bench.events] == [1, 2, 3]


def test_a_scan_may_be_the_first_step() -> None:
    """It is remembered when the number is reached, not before."""
    bench = Bench()
    scan = make_signature(sid=1, distinct=Distinct("dst_port", "client", 2, 60), remembered=(Remembered("client", 1),))
    login = make_signature(sid=2, after=After((1,), "client", 1, 60))
    for port, signature in ((1, scan), (22, login), (2, scan), (22, login)):
        bench.responder.handle(make_match(make_flow(dport=port), signature))
    assert [event["alert"]["signature_id"] for event in bench.events] == [1, 2]
