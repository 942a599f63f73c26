"""Of the peer's own tests those go on to pass that pass today: `peer_suite.txt` is a floor, and only rises.

All tests with their reasons, and the names to be added: ``python -m tests.content.peer_suite``.
"""

from __future__ import annotations

import pytest

from tests.content.peer_suite import CannotJudge, floor, names, run
from tests.shared import shared


@pytest.fixture(scope="module", autouse=True)
def _data() -> None:
    shared("suricata-verify")
    shared("tools")


def test_the_floor_is_of_public_tests_and_in_order() -> None:
    assert floor() == sorted(set(floor()))
    assert set(floor()) <= set(names())


def test_what_passed_passes() -> None:
    outcomes = [run(name) for name in floor()]
    assert [(outcome.name, outcome.complaints) for outcome in outcomes if not outcome.passed] == []
    assert not any(outcome.idle for outcome in outcomes), "an engine that does nothing passes that one too"


def test_a_rule_that_asks_for_more_than_a_decoder_event_is_not_judged() -> None:
    with pytest.raises(CannotJudge, match="rule language"):
        run("alert-testmyids-not-established")
