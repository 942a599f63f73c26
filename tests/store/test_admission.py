"""A flood of one rule's alerts takes the memory's rate; what other rules find meanwhile is remembered all the same."""

from __future__ import annotations

from ids.store.admission import OF_RULE, RATE_S, Admission
from tests.store.samples import line, lines


def kept(admission: Admission, *given: bytes) -> list[bytes]:
    rows, data = admission.admitted(lines(*given)[0])
    return data.splitlines(keepends=True)[:rows]


def flood(number: int) -> list[bytes]:
    return [line(n, signature_id=1) for n in range(number)]


def test_a_rare_alert_within_a_flood_is_kept() -> None:
    admission = Admission(10, clock=lambda: 0.0)
    rare = line(7, signature_id=2, action="blocked")
    assert kept(admission, *flood(100)) == flood(100)
    assert rare in kept(admission, *flood(500), rare, *flood(500))


def test_the_flood_itself_takes_few_of_the_reserve() -> None:
    admission = Admission(10, clock=lambda: 0.0)
    assert len(kept(admission, *flood(1000))) == 10 * RATE_S + OF_RULE
    assert kept(admission, *flood(1000)) == []


def test_many_rules_at_once_take_no_more_than_the_reserve() -> None:
    admission = Admission(10, clock=lambda: 0.0)
    assert len(kept(admission, *[line(signature_id=n) for n in range(5000)])) == 110


def test_a_title_cannot_pose_as_another_rule() -> None:
    admission = Admission(1, clock=lambda: 0.0)
    kept(admission, *flood(10))
    posing = [line(signature_id=1, signature=f'"signature_id":{n},') for n in range(50)]
    assert len(kept(admission, *posing)) <= OF_RULE


def test_time_brings_both_back() -> None:
    now = [0.0]
    admission = Admission(10, clock=lambda: now[0])
    kept(admission, *flood(1000))
    now[0] = RATE_S
    assert len(kept(admission, *flood(1000))) == 10 * RATE_S + OF_RULE
