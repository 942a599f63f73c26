"""Answers that nobody gets are noticed: clients come again, and none by the challenge."""

from __future__ import annotations

from ids.live.answers import REPEATED, AnswerWatch


def counts(repeated: int, admitted: int = 0) -> dict[str, tuple[int, int]]:
    return {"note.syn_repeated": (repeated, 0), "note.syn_admitted": (admitted, 0), "pass.shown": (9, 9)}


def test_clients_that_come_again_where_none_answers_are_a_warning_once() -> None:
    watch = AnswerWatch()
    assert watch.check(counts(0)) == ""
    assert watch.check(counts(REPEATED - 1)) == ""
    assert "fastpath.mode" in watch.check(counts(REPEATED))
    assert watch.check(counts(10 * REPEATED)) == ""


def test_where_somebody_answers_all_is_well() -> None:
    watch = AnswerWatch()
    watch.check(counts(0))
    assert [watch.check(counts(number * REPEATED, number)) for number in range(1, 5)] == [""] * 4
    assert watch.check(counts(5 * REPEATED, 4)), "until nobody does any more"


def test_what_was_counted_before_the_start_does_not_matter() -> None:
    watch = AnswerWatch()
    assert watch.check(counts(100)) == ""
    assert watch.check(counts(100 + REPEATED))
