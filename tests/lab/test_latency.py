"""The stopwatch shows when an attacker's packets stopped arriving, and says so when they did not."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.lab import latency
from ids.lab.actors import LOG4SHELL
from ids.lab.latency import NotBlocked, Quantiles, attack
from ids.lab.topology import ATTACKERS, BENIGN, Lab
from tests.lab.clients import PATIENCE_S

LATE_S = 1.0
"""What has not arrived by then was dropped, on a machine that does other work too."""
BEGUN = 20
"""Probes that are sent before the gateway begins to drop: one comes before the exploit."""


def drop_later(lab: Lab, source: str, window: list[int], monkeypatch: pytest.MonkeyPatch) -> threading.Thread:
    """Make the gateway drop what comes from ``source`` in a moment; note when that was begun and done."""
    begun, send = threading.Event(), latency.Probes.send

    def sending(probes: latency.Probes) -> None:
        send(probes)
        if len(probes.sent_ns) == BEGUN:
            begun.set()

    def act() -> None:
        begun.wait(PATIENCE_S)
        window.append(time.time_ns())
        lab.gateway.run("ip", "rule", "add", "from", source, "blackhole")
        window.append(time.time_ns())

    monkeypatch.setattr(latency.Probes, "send", sending)
    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.root
@pytest.mark.lab
def test_the_first_drop_falls_where_the_gateway_began_to_drop(site: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    window: list[int] = []
    monkeypatch.setattr(latency, "LIMIT_S", PATIENCE_S)
    thread = drop_later(site, ATTACKERS[0], window, monkeypatch)
    seen = attack(site, ATTACKERS[0], LOG4SHELL, LATE_S)
    thread.join()
    begun, done = window
    assert seen.exploit_ns < seen.last_passed_ns < done
    assert begun < seen.first_dropped_ns
    assert seen.last_passed_ns < seen.first_dropped_ns
    assert seen.first_drop_ms == (seen.first_dropped_ns - seen.exploit_ns) / 1e6
    assert seen.probes >= latency.LOST_IN_A_ROW


@pytest.mark.root
@pytest.mark.lab
def test_an_attacker_that_nobody_stops_is_reported(site: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "LIMIT_S", 0.1)
    with pytest.raises(NotBlocked, match=ATTACKERS[1]):
        attack(site, ATTACKERS[1], LOG4SHELL, LATE_S)


@pytest.mark.root
@pytest.mark.lab
def test_probes_that_are_only_late_were_not_dropped(site: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As through an inline queue that is full: nothing has arrived while the attacker looks, all of it later."""
    collect = latency.Probes.collect
    monkeypatch.setattr(latency, "LIMIT_S", 0.2)
    monkeypatch.setattr(latency.Probes, "collect", lambda self, wait_s: collect(self, wait_s) if wait_s else None)
    with pytest.raises(NotBlocked, match="was not blocked"):
        attack(site, ATTACKERS[2], LOG4SHELL, LATE_S)


@pytest.mark.root
@pytest.mark.lab
def test_the_first_probe_may_be_late(site: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that does other work too: an attacker who has not been seen yet is not taken for cut off."""
    collect, looks = latency.Probes.collect, count()
    monkeypatch.setattr(latency, "LIMIT_S", 0.5)
    monkeypatch.setattr(latency.Probes, "collect", lambda self, wait_s: collect(self, wait_s) if next(looks) else None)
    with pytest.raises(NotBlocked, match="was not blocked"):
        attack(site, ATTACKERS[3], LOG4SHELL, LATE_S)


@pytest.mark.root
@pytest.mark.lab
def test_a_way_that_was_closed_before_is_no_block(site: Lab) -> None:
    """Only UDP is stopped, so the exploit would go through: no probe arrives, and none may count as dropped."""
    site.gateway.run("ip", "rule", "add", "from", BENIGN, "ipproto", "17", "blackhole")
    with pytest.raises(NotBlocked, match="before it attacks"):
        attack(site, BENIGN, LOG4SHELL)


def test_quantiles_are_nearest_ranks() -> None:
    assert Quantiles.of([float(value) for value in range(100, 0, -1)]) == Quantiles(100, 50.0, 99.0, 100.0)
    assert Quantiles.of([7.0]) == Quantiles(1, 7.0, 7.0, 7.0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_quantiles_are_ordered_and_occur_among_the_values(values: list[float]) -> None:
    summary = Quantiles.of(values)
    assert summary.n == len(values)
    assert summary.median <= summary.p99 <= summary.max
    assert {summary.median, summary.p99, summary.max} <= {round(value, 3) for value in values}
