"""The engine's log has blocks and first alerts, and cannot be flooded."""

from __future__ import annotations

import ipaddress

import pytest

from ids import journal as journal_module
from ids.events import Event, Events
from ids.journal import MAX_LINES, WINDOW_S, Journal
from ids.respond.events import alert_event
from ids.respond.gate import BlockOrder
from ids.types import BlockMode
from tests.factory import make_match


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def alert(sid: int, title: str = "a title") -> Event:
    event = alert_event(make_match(), blocked=False)
    event["alert"] |= {"signature_id": sid, "signature": title}
    return event


def order(number: int, mode: BlockMode = BlockMode.ENFORCE) -> BlockOrder:
    network = ipaddress.ip_network((0xC6120000 + number, 32))
    return BlockOrder(network, 60, mode, 7, "rule", ts_ns=0, number=1)


def test_the_first_alert_of_each_rule_is_logged(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = Journal(clock)
    for event in (alert(1), alert(1), alert(2, "a\x1b[2Jb"), {"event_type": "stats"}):
        journal.events(Events([event]))
    assert [line.partition(";")[0] for line in caplog.messages] == [
        "first alert of sid 1: a title",
        r"first alert of sid 2: a\x1b[2Jb",
    ]


def test_blocks_are_logged_for_what_they_are(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = Journal(clock)
    journal.block(order(1))
    journal.block(order(2, BlockMode.SHADOW))
    assert caplog.messages == [
        "198.18.0.1/32 blocked for 60 s by sid 7",
        "198.18.0.2/32 counted only (shadow) for 60 s by sid 7",
    ]


def test_a_flood_of_blocks_is_a_number(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = Journal(clock)
    for number in range(MAX_LINES + 5):
        journal.block(order(number))
    assert len(caplog.messages) == MAX_LINES
    clock.now = WINDOW_S
    journal.tick()
    journal.tick()
    assert caplog.messages[MAX_LINES:] == ["... and 5 more blocks or first alerts in the last minute"]
    journal.block(order(99))
    assert len(caplog.messages) == MAX_LINES + 2


def test_the_rules_that_are_remembered_are_bounded(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_RULES", 2)
    caplog.set_level("INFO")
    journal = Journal(clock)
    for sid in (1, 2, 3, 1):
        journal.events(Events([alert(sid)]))
    assert len(caplog.messages) == 2
