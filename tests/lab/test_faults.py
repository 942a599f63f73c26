"""Whoever listens to the engine, or asks it, costs no packet: neither receivers that stall nor a console hammered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ids.lab import latency
from ids.lab.guard import rules_directory
from ids.lab.removal import wait_until
from tests.bench import faults
from tests.bench.faults import console_hammered, receivers_stalled
from tests.bench.under_fault import Seen, Site, opened
from tests.lab.clients import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]


@contextmanager
def both(site: Site, seen: Seen) -> Iterator[None]:
    """The receivers of syslog and the webhook read nothing, and many clients ask for all pages of the console."""
    with receivers_stalled(site, seen), console_hammered(site, seen):
        assert wait_until(lambda: site.counters().get("webhook.lost", 0) > 0, PATIENCE_S), (
            "the queue of a receiver that stalls is bounded, and what it loses is counted"
        )
        yield


def test_stalled_receivers_and_a_hammered_console_cost_no_packet_and_no_block(
    can_build_labs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "LIMIT_S", PATIENCE_S)
    monkeypatch.setattr(faults, "LASTS_S", 0.1)
    monkeypatch.setattr(faults, "HAMMERED_S", 1.0)
    with opened({"paths": [str(rules_directory() / "log4shell.yaml")]}) as site:
        seen = site.watch(both)
    assert (seen.lost, seen.passed, seen.pages_failed) == (0, 0, 0), seen
    assert seen.sent > 0
    assert seen.pages > 0
    assert seen.block_ms is not None, "the exploit's sender was not blocked"
