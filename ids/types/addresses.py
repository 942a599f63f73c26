"""IP addresses as two 64-bit halves, and as text and objects."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from ids.memory import passing
from ids.types.arrays import U64

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_SHIFT, _MAPPED, _IPV4 = np.uint64(32), np.uint64(0xFFFF), np.uint64(0xFFFFFFFF)

IPV4_MAPPED_PREFIX = 0xFFFF << 32
"""Low half of an IPv4-mapped address without its 32 address bits; the high half is zero."""


@passing
@lru_cache(maxsize=65536)
def address_text(address: tuple[int, int], full: bool = False) -> str:
    """Spell an address given as two halves, IPv4-mapped ones as IPv4; ``full``: IPv6 with all its zeros."""
    found = address_object(address)
    return found.exploded if full else str(found)


@passing
@lru_cache(maxsize=65536)
def _ipv4_text(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def address_texts(addresses: U64, full: bool = False) -> list[str]:
    """Spell a column of addresses, shape (n, 2); ``full``: IPv6 with all its zeros."""
    high, low = addresses[:, 0], addresses[:, 1]
    if not high.any() and bool((low >> _SHIFT == _MAPPED).all()):
        return list(map(_ipv4_text, (low & _IPV4).tolist()))
    return [address_text((first, second), full) for first, second in addresses.tolist()]


def address_object(address: tuple[int, int]) -> IPAddress:
    """Return the `ipaddress` object of an address given as two halves."""
    high, low = address
    if high == 0 and low >> 32 == 0xFFFF:
        return ipaddress.IPv4Address(low & 0xFFFFFFFF)
    return ipaddress.IPv6Address(high << 64 | low)


def address_halves(address: IPAddress | str) -> tuple[int, int]:
    """Return the two 64-bit halves of an address; raises ValueError where it is none."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return 0, IPV4_MAPPED_PREFIX | int(parsed)
    return int(parsed) >> 64, int(parsed) & 0xFFFFFFFFFFFFFFFF


MAX_TYPED = 64
"""Characters of a network that somebody types; an IPv6 prefix has 43 at most."""


def typed_network(text: str) -> IPNetwork:
    """Return the address or prefix that somebody typed; raises ValueError, with what is expected."""
    try:
        if len(text) > MAX_TYPED:
            raise ValueError("that is too long for an address")
        return unmapped(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise ValueError(f"{error}; write an address (192.0.2.1) or a prefix (2001:db8::/32)") from None


def unmapped(network: IPNetwork) -> IPNetwork:
    """Return the IPv4 network that an IPv4-mapped one means (RFC 4291, 2.5.5.2), any other as it is.

    The logs of dual-stack sockets spell IPv4 clients so; on the wire they are IPv4. Raises ValueError for one with a
    zone (RFC 4007), which is known on one host's interface alone, and never stands in a packet.
    """
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.scope_id is not None:
        raise ValueError(f"{str(network)!r} has a zone, which no packet has: leave out what begins with %")
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
