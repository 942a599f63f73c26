"""The values that stages hand on: how addresses are spelt."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from ids.types import FlowColumns, unmapped


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:192.0.2.69", "192.0.2.69/32"),
        ("::ffff:c000:245/128", "192.0.2.69/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::192.0.2.69", "::192.0.2.69/128"),
        ("64:ff9b::192.0.2.69", "64:ff9b::192.0.2.69/128"),
        ("2001:db8::/96", "2001:db8::/96"),
        ("192.0.2.69", "192.0.2.69/32"),
    ],
)
def test_an_ipv4_mapped_network_is_the_ipv4_one(written: str, meant: str) -> None:
    assert unmapped(ipaddress.ip_network(written)) == ipaddress.ip_network(meant)


def test_views_of_flows_that_ended_keep_what_they_showed() -> None:
    """Also where more end at once than share a copy, and their slots are others' by then."""
    flows = FlowColumns(300)
    flows.id[:] = np.arange(1, 301)
    flows.packets[:, 1] = np.arange(300)
    flows.app_proto[:] = flows.app_code("http")
    views = {slot: flows.view(slot) for slot in range(0, 300, 2)}
    flows.clear(np.arange(250))
    flows.id[:] = 999
    flows.packets[:] = 7
    for slot, view in views.items():
        kept = slot < 250
        assert view.id == (slot + 1 if kept else 999)
        assert view.packets == ((0, slot) if kept else (7, 7))
        assert view.app_proto == "http"
        assert (flows.view(slot) is view) is not kept
