"""What passes uninspected is said in the log: at once, again while it lasts, and whose it is."""

from __future__ import annotations

import logging
from collections import Counter
from ipaddress import ip_address
from typing import cast

import pytest

from ids.kernel import FastPath
from ids.live.unseen import AGAIN_S, REASONS, Unseen
from ids.types import IPAddress


class Kernel:
    """Counters of a fast path."""

    def __init__(self) -> None:
        self.counted = dict.fromkeys((*REASONS, "pass.depth"), 5)
        self.opened: Counter[IPAddress] = Counter({ip_address("192.0.2.1"): 7})

    def stats(self) -> dict[str, tuple[int, int]]:
        """Return packets and bytes by reason."""
        return {name: (count, 100 * count) for name, count in self.counted.items()}

    def missed(self) -> Counter[IPAddress]:
        """Return packets by who opened their flows."""
        return self.opened.copy()


def test_it_is_said_at_once_and_again_and_no_more_often(caplog: pytest.LogCaptureFixture) -> None:
    kernel, now = Kernel(), 100.0
    unseen = Unseen(cast(FastPath, kernel), lambda: now)
    unseen.check()
    kernel.counted["pass.depth"] += 50
    unseen.check()
    assert not caplog.records, "what was before is no news, and what has been seen enough of is no loss"
    lines = []
    for _ in range(100):
        now += 1
        kernel.counted["pass.unfair"] += 9
        kernel.counted["pass.thinned"] += 1
        kernel.opened[ip_address("192.0.2.99")] += 9
        kernel.opened[ip_address("2001:db8::")] += 1
        caplog.clear()
        unseen.check()
        lines += [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1 + int(99 // AGAIN_S)
    whose = "; of connections opened by 192.0.2.99 90 %, 2001:db8:: 10 %"
    why = "passed uninspected in the last {} s, for the engine is too slow for all that comes: "
    assert lines[0] == "10 packets " + why.format(1) + "pass.thinned 1, pass.unfair 9" + whose
    assert lines[1] == "300 packets " + why.format(30) + "pass.thinned 30, pass.unfair 270" + whose


def test_silence_is_kept_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    kernel, now = Kernel(), 0.0
    unseen = Unseen(cast(FastPath, kernel), lambda: now)
    kernel.counted["pass.ring_full"] += 1
    for _ in range(100):
        unseen.check()
        now += 1
    assert [record.getMessage() for record in caplog.records] == [
        "1 packets passed uninspected in the last 1 s, for the engine is too slow for all that comes: pass.ring_full 1"
    ]
