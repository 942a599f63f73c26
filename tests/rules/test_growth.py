"""Which chains can be judged while their buffer still grows: those that more bytes cannot undo."""

from __future__ import annotations

import pytest

from ids.rules.model.chain import Chain, Compare, Content, DataAt, Expression, Jump, Length, Listed, Number, Step
from ids.rules.model.growth import lasting
from ids.rules.model.patterns import Pattern
from ids.rules.model.rule import NotAny

BODY = "http.request_body"


@pytest.mark.parametrize(
    ("step", "lasts"),
    [
        (Content(b"x"), True),
        (Content(b"x", offset=3, depth=9), True),
        (Content(b"x", negated=True), False),
        (Content(b"x", at_end=True), False),
        (Expression(Pattern.lazy("a+b")), True),
        (Expression(Pattern.lazy("ab$")), False),
        (Expression(Pattern.lazy("ab"), negated=True), False),
        (DataAt(5), True),
        (DataAt(5, negated=True), False),
        (Length(least=4), True),
        (Length(least=4, most=9), False),
        (Compare(Number(2), ">", 5), True),
        (Compare(Number(5, base=10), ">", 5), False),
        (Jump(Number(1)), True),
        (Jump(Number(1), origin="end"), False),
        (Listed("bodies"), False),
    ],
)
def test_a_step_of_a_chain(step: Step, lasts: bool) -> None:
    chain = Chain(BODY, (Content(b"begin"), step))
    assert lasting(chain, {BODY}) == (chain if lasts else None)
    assert lasting(chain, {"file.data"}) is chain, "on a buffer that does not grow, everything lasts"


def test_a_transform_of_what_grows_does_not_last() -> None:
    assert lasting(Chain(f"{BODY}|sha256", (Content(b"x"),)), {BODY}) is None


def test_what_must_not_be_waits_for_the_end() -> None:
    assert lasting(NotAny((Chain(BODY, (Content(b"x"),)),)), {BODY}) is None
