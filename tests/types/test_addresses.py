"""Addresses and prefixes as people type them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ids.config import load_config
from ids.errors import IdsError
from ids.feeds import parse_feed
from ids.types import typed_network


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("192.0.2.1", "192.0.2.1/32"), (" 192.0.2.0/24 ", "192.0.2.0/24"), ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"), ("::ffff:192.0.2.0/120", "192.0.2.0/24"), ("fe80::1", "fe80::1/128"),
    ],
)  # fmt: skip
def test_a_network_is_what_it_means_on_the_wire(text: str, meant: str) -> None:
    assert typed_network(text) == ip_network(meant)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("example.org", "does not appear"), ("192.0.2.1/24", "host bits"), ("", "does not appear"),
        ("fe80::1%eth0", "has a zone"), ("fe80::%eth0/64", "has a zone"), ("1" * 65, "too long"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_with_what_is_expected(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"{why}.*write an address"):
        typed_network(text)


def test_a_zone_is_refused_wherever_networks_are_read() -> None:
    """The kernel's lists have none: what was added by such a name would be found by no other."""
    with pytest.raises(IdsError, match=r"respond\.allow.*zone"):
        load_config(None, ["respond.allow=['fe80::1%eth0']"])
    feed = parse_feed(b"fe80::1%eth0\nfe80::1%eth0-fe80::9\nfe80::2\n", "list", "auto", None)
    assert (feed.read, feed.refused, len(feed)) == (3, 2, 1)
