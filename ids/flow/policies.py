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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from ids.pieces import Copy, Favours
from ids.types import IPNetwork, address_halves

Policy: TypeAlias = Literal[
    "first", "last", "bsd", "bsd-right", "linux", "old-linux", "windows", "vista", "solaris", "hpux", "irix", "macos"
]
"""A family of systems."""

MAX_COPIES = 256
"""Copies that are weighed at once; some 20 ms of work."""
MAX_VIEW_BYTES = 128 * 1024
"""Bytes over which they are."""
NOBODY = -1
"""No copy has come for a byte."""


# The rules take numbers, or columns of them.


def _first(first: Any, last: Any, start: int, end: int) -> Any:
    return first != first


def _last(first: Any, last: Any, start: int, end: int) -> Any:
    return first == first


def _bsd(first: Any, last: Any, start: int, end: int) -> Any:
    return start < first


def _bsd_right(first: Any, last: Any, start: int, end: int) -> Any:
    return start >= first


def _linux(first: Any, last: Any, start: int, end: int) -> Any:
    return (start < first) | ((start == first) & (end > last))


def _old_linux(first: Any, last: Any, start: int, end: int) -> Any:
    return (start < first) | ((start == first) & (end >= last))


def _solaris(first: Any, last: Any, start: int, end: int) -> Any:
    return ((start > first) & (end > last)) | ((start <= first) & (end >= last))


FAVOURS: Mapping[Policy, Favours] = {
    "first": _first, "last": _last, "bsd": _bsd, "bsd-right": _bsd_right, "linux": _linux, "old-linux": _old_linux,
    "windows": _bsd, "vista": _first, "solaris": _solaris, "hpux": _solaris, "irix": _bsd, "macos": _bsd,
}  # fmt: skip

RULES: tuple[Callable[..., Any], ...] = (_linux, _last, _first, _bsd, _old_linux, _bsd_right, _solaris)
"""All different rules, the most telling ones first."""


def views(copies: Sequence[Copy], start: int, delivered: bytes) -> list[bytes]:
    """Return what hosts of all families make of the bytes at ``start``, where that is not what was delivered.

    ``copies`` are in the order of their arrival; each view once, those of the most common hosts first.
    """
    end = start + min(len(delivered), MAX_VIEW_BYTES)
    delivered = delivered[:MAX_VIEW_BYTES]
    near = [copy for copy in copies if copy.start < end and copy.start + len(copy.data) > start][:MAX_COPIES]
    found = dict.fromkeys(_fold(near, start, delivered, rule) for rule in RULES)
    found.pop(delivered, None)
    return list(found)


def _fold(copies: Sequence[Copy], start: int, base: bytes, rule: Callable[..., Any]) -> bytes:
    """Take the copies one after the other, as a host with this rule does; bytes with one copy only are as delivered."""
    text = np.frombuffer(base, np.uint8).copy()
    first, last = np.full((2, len(base)), NOBODY, np.int64)
    for copy in copies:
        low, high = max(copy.start - start, 0), min(copy.start - start + len(copy.data), len(base))
        here = slice(low, high)
        taken = np.flatnonzero((first[here] == NOBODY) | rule(first[here], last[here], copy.first, copy.last)) + low
        content = np.frombuffer(copy.data, np.uint8)
        text[taken] = content[taken + start - copy.start]
        first[taken], last[taken] = copy.first, copy.last
    return text.tobytes()


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
