"""Which exchange an alert on raw bytes shows, and that many exchanges make it no work that grows with their square."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ids.respond.guesses import MAX_LOOKED, Guesses
from ids.settings.respond import EveSettings, RespondSettings
from ids.types import Direction, Exhibit, Match

MANY = 3000
FLOW: Any = SimpleNamespace(slot=3, id=7, proto=6)
CLIENT, SERVER = Direction


class Row(SimpleNamespace):
    """An exchange that counts how often it is asked for its side, or whether it is over."""

    looks = 0

    @property
    def direction(self) -> Direction:
        """The side that it is of."""
        Row.looks += 1
        return CLIENT

    @property
    def key(self) -> int:
        """What tells it from the others."""
        Row.looks += 1
        return int(self.tx_id)


@pytest.fixture
def rows() -> list[Any]:
    """Return requests that are over, each in a packet of its own."""
    Row.looks = 0
    return [Row(slot=3, tx_id=at, number=at + 1, complete=True, fields={"url": "/"}) for at in range(MANY)]


def shown(side: Direction, numbers: list[int], rows: list[Any]) -> list[int | None]:
    """Return the numbers of the exchanges that matches at some packets show."""
    matches = [Match(None, FLOW, side, 0, number, exhibit=Exhibit(of_stream=True)) for number in numbers]  # type: ignore[arg-type]
    found = Guesses(EveSettings(), RespondSettings()).attach(matches, rows)  # type: ignore[arg-type]
    return [one.exhibit.exchange.tx_id if one.exhibit and one.exhibit.exchange else None for one in found]


def test_a_match_shows_the_exchange_whose_side_goes_on_there(rows: list[Any]) -> None:
    assert shown(CLIENT, [1, 7, MANY], rows) == [0, 6, MANY - 1]


def test_what_is_under_way_is_shown_behind_the_last_message(rows: list[Any]) -> None:
    rows[-2].complete = False
    assert shown(CLIENT, [MANY + 5], rows) == [MANY - 2]
    rows[-2].complete = True
    rows[-MAX_LOOKED - 1].complete = False
    assert shown(CLIENT, [MANY + 5], rows) == [None], "that far it is not looked"


@pytest.mark.parametrize("side", list(Direction))
def test_each_match_looks_at_some_exchanges_and_not_at_all(side: Direction, rows: list[Any]) -> None:
    """Of the server none goes on here: nothing is found soon."""
    shown(side, list(range(1, MANY + 1)), rows)
    assert Row.looks < 4 * MAX_LOOKED * MANY
