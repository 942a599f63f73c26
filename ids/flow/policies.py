"""How hosts choose between two copies of the same bytes that wait behind a hole: a rule for each family of systems.

Sources: J. Novak and S. Sturges, "Target-Based TCP Stream Reassembly", 2007, for the families; Suricata 7.0,
``stream-tcp-list.c``, for what each of them does; Linux 6.1, ``tcp_data_queue_ofo``. Bytes that were in order when they
came are not chosen again by any host: it has read them.

THEORY. The earlier copy was sent as ``first`` .. ``last``, the later one as ``start`` .. ``end``. The later one stays:

    first     never (also vista)
    last      always
    bsd       if it starts before the other (also windows, irix, macos)
    bsd-right if the other does not start behind it
    linux     if it starts before the other, or with it and ends behind it
    old-linux if it starts before the other, or with it and does not end before it
    solaris   if it starts after the other and ends behind it, or starts no later and does not end before it; also hpux
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from ids.pieces import Favours
from ids.types import IPNetwork, address_halves

Policy: TypeAlias = Literal[
    "first", "last", "bsd", "bsd-right", "linux", "old-linux", "windows", "vista", "solaris", "hpux", "irix", "macos"
]
"""A family of systems."""


def _first(first: int, last: int, start: int, end: int) -> bool:
    return False


def _last(first: int, last: int, start: int, end: int) -> bool:
    return True


def _bsd(first: int, last: int, start: int, end: int) -> bool:
    return start < first


def _bsd_right(first: int, last: int, start: int, end: int) -> bool:
    return start >= first


def _linux(first: int, last: int, start: int, end: int) -> bool:
    return start < first or (start == first and end > last)


def _old_linux(first: int, last: int, start: int, end: int) -> bool:
    return start < first or (start == first and end >= last)


def _solaris(first: int, last: int, start: int, end: int) -> bool:
    return (start > first and end > last) or (start <= first and end >= last)


FAVOURS: Mapping[Policy, Favours] = {
    "first": _first, "last": _last, "bsd": _bsd, "bsd-right": _bsd_right, "linux": _linux, "old-linux": _old_linux,
    "windows": _bsd, "vista": _first, "solaris": _solaris, "hpux": _solaris, "irix": _bsd, "macos": _bsd,
}  # fmt: skip

RULES: tuple[Favours, ...] = (_linux, _last, _first, _bsd, _old_linux, _bsd_right, _solaris)
"""All different rules, the most telling ones first."""


class Targets:
    """Which policy the host of an address has: that of the longest prefix that covers it."""

    def __init__(self, default: Policy, networks: Mapping[IPNetwork, Policy]) -> None:
        self._default = FAVOURS[default]
        ordered = sorted(networks.items(), key=lambda item: -item[0].prefixlen)
        self._rules = [(network.version, *_mask(network), FAVOURS[policy]) for network, policy in ordered]

    def of(self, version: int, high: int, low: int) -> Favours:
        """Return the rule of the host with this address, as halves."""
        for of_version, mask, value, rule in self._rules:
            if of_version == version and (high << 64 | low) & mask == value:
                return rule
        return self._default


def _mask(network: IPNetwork) -> tuple[int, int]:
    high, low = address_halves(str(network.network_address))
    host_bits = network.max_prefixlen - network.prefixlen
    mask = ((1 << 128) - 1) >> host_bits << host_bits
    return mask, (high << 64 | low) & mask
