"""Whoever scans with nmap, as it comes, raises an alert on a gateway; whoever reads a page does not."""

from __future__ import annotations

import shutil

import pytest

from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import BENIGN, SERVER, Lab
from tests.lab.clients import PATIENCE_S, is_served

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

PORT_SCAN = 1000261


@pytest.fixture(autouse=True)
def _nmap() -> None:
    if shutil.which("nmap") is None:
        pytest.skip("nmap is not installed")


def test_a_plain_nmap_raises_an_alert(site: Lab) -> None:
    guard = Guard(site)
    guard.start()
    assert is_served(site, BENIGN)
    site.attacker.run("nmap", "-n", SERVER, timeout_s=5 * PATIENCE_S)

    def seen() -> list[tuple[int, str]]:
        events = [event for event in guard.events() if event["event_type"] == "alert"]
        return [(event["alert"]["signature_id"], event["dest_ip"]) for event in events]

    assert wait_until(lambda: (PORT_SCAN, SERVER) in seen(), PATIENCE_S), seen()
    assert is_served(site, BENIGN), "a scan is no break-in: nobody is cut off"
