"""Of the peer's own tests those go on to pass that pass today: `peer_suite.txt` is a floor, and only rises.

All tests with their complaints, and the names to be added: ``python -m tests.content.peer_suite``.
"""

from __future__ import annotations

import pytest

from tests.content.peer_suite import failures, floor, names, outcomes
from tests.shared import shared

pytestmark = pytest.mark.long

PARTS = 8


@pytest.fixture(scope="module", autouse=True)
def _data() -> None:
    shared("suricata-verify")
    shared("tools")


def test_the_lists_are_of_public_tests_and_in_order() -> None:
    for listed in (floor(), list(failures())):
        assert listed == sorted(set(listed))
        assert set(listed) <= set(names())
    assert not set(floor()) & failures().keys()
    assert all(failures().values()), "each has its cause"


@pytest.mark.parametrize("part", range(PARTS))
def test_what_passed_passes(part: int) -> None:
    wanted = floor()[part::PARTS]
    ended = list(outcomes(wanted))
    assert [(outcome.name, outcome.complaints) for outcome in ended if not outcome.passed] == []
    assert [outcome.name for outcome in ended] == wanted
    assert not any(outcome.idle for outcome in ended), "an engine that does nothing passes that one too"


def test_what_has_a_cause_to_fail_fails() -> None:
    """Of a few: a line that is out of date says that nobody reads it."""
    assert [outcome.name for outcome in outcomes(list(failures())[::40]) if outcome.passed] == []
