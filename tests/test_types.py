"""The values that stages hand on: how addresses are spelt."""

from __future__ import annotations

import ipaddress

import pytest

from ids.types import unmapped


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
