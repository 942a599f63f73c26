"""The loop of a live engine: what it does at once, and what with its tick."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ids.config import Config
from ids.live.loop import Live


def test_interfaces_are_looked_after_as_soon_as_there_is_news_of_them() -> None:
    """Else one that comes back lets everybody in until the next tick."""
    done: list[str] = []

    def look() -> None:
        done.append("look")
        live._stop = True

    live: Any = SimpleNamespace(
        config=Config(), _stop=False, _reload=False, _crew=SimpleNamespace(work=lambda _: done.append("work")),
        _links=SimpleNamespace(heard=lambda: True), _look_after_interfaces=look, _tick=lambda: done.append("tick"),
    )  # fmt: skip
    Live._loop(cast(Live, live), cast(Any, SimpleNamespace(serve=lambda: None)))
    assert done == ["work", "look", "tick"]
