"""The clock may be set at any moment: no block ends early for that."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from ids.config import Config
from ids.live import loop
from ids.live.loop import Live


def test_blocks_are_swept_by_the_clock_of_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set back by two hours in the middle of a tick, it does not end the blocks of the next two hours."""
    now_ns = [1_800_000_000_000_000_000]
    monkeypatch.setattr(loop, "time", MagicMock(time_ns=lambda: now_ns[0], monotonic=lambda: 0.0))
    live = Live(Config(interfaces=["eth0"]), Config)
    for part in (
        "crew",
        "fastpath",
        "feeder",
        "engine",
        "guard",
        "notifier",
        "answers",
        "watch",
        "lasting",
        "reconciler",
    ):
        setattr(live, f"_{part}", MagicMock())

    def set_back(_: int) -> None:
        now_ns[0] -= 7200 * 10**9

    live._crew.tick = set_back  # type: ignore[method-assign,assignment]
    live._fastpath.limits.return_value = []  # type: ignore[attr-defined]
    live._fastpath.blocks.sweep.return_value = 0  # type: ignore[attr-defined]
    for later in ("_reconcile", "_await_drops", "_check_bites", "_count_kernel"):
        monkeypatch.setattr(live, later, lambda *_: None)
    live._tick()
    assert live._fastpath.blocks.sweep.call_args.args[0] == now_ns[0]  # type: ignore[attr-defined]
