"""Who counts as inside, said at the start: policy spares those hosts, so a network that is missing matters."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from ids.config import Config
from ids.rules.language.variables import home_net
from ids.rules.model.sets import AddressSet
from ids.rules.settings import DEFAULT_VARIABLES
from ids.types import IPAddress

_GLOBAL6 = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is routed on the Internet (RFC 4291, 2.4)."""
_GLOBAL6_SET = AddressSet(((int(_GLOBAL6[0]), int(_GLOBAL6[-1])),))


def inside_note(config: Config) -> str:
    """Return whom policy spares by these settings; empty where it spares nobody."""
    home = home_net(config.vars)
    if config.respond.block_home or home.everything:
        return ""
    named = config.vars.get("HOME_NET", DEFAULT_VARIABLES["HOME_NET"])
    return (
        "hosts inside vars.HOME_NET ("
        + (named if isinstance(named, str) else ", ".join(named))
        + ") are not blocked for what they have to do with hosts outside of it, unless respond.block_home is true"
    )


def inside_gap(config: Config, own: Collection[IPAddress]) -> str:
    """Return a warning where this host has a public IPv6 address and no network like it counts as inside; else nothing.

    The default has the private networks alone; IPv6 has no NAT, so the hosts behind have public addresses.
    """
    public = sorted(str(address) for address in own if address.version == 6 and address in _GLOBAL6)
    if not public or config.respond.block_home or home_net(config.vars).meets(_GLOBAL6_SET):
        return ""
    return (
        f"this host is at {public[0]}, but vars.HOME_NET has no public IPv6 network: over IPv6, hosts inside count as"
        " outside, and one that is made to send an exploit is blocked with its whole prefix; name your networks there"
    )
