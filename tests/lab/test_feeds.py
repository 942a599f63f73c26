"""A running engine has its feeds updated by a process of its own: what they name is blocked without further ado."""

from __future__ import annotations

import pytest

from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import Lab
from tests.lab.clients import PATIENCE_S
from tests.lab.test_guard import RULES

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]


def test_a_feed_of_the_settings_is_in_force_soon_after_the_start(lab: Lab) -> None:
    feed = lab.directory / "feed.txt"
    feed.write_text("198.51.100.66\n")
    guard = Guard(lab, rules=RULES)
    guard.config.write_text(guard.config.read_text() + f"feeds: [{{label: theirs, file: {feed}, every: 1h}}]\n")
    guard.start()
    found: list[str] = []

    def listed() -> bool:
        found[:] = [entry["network"] for entry in guard.rows("block", "list") if entry["label"] == "theirs"]
        return bool(found)

    assert wait_until(listed, 3 * PATIENCE_S)
    assert found == ["198.51.100.66/32"]
    assert wait_until(lambda: "feeds: theirs: updated" in guard.log.read_text(), PATIENCE_S)
