"""Which reverse proxies are trusted, and whom they speak for: X-Forwarded-For, Forwarded (RFC 7239), PROXY protocol.

What a proxy hands on, it appends: everything to the left of its own word may come from whoever asked it. So the words
are read from the right, beginning with the address of the connection itself, for as long as the one who speaks is
trusted. The first address that is not is the client; nobody behind it is believed. A word that is no address ends the
search: then the client is not known.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from ids.memory import passing
from ids.rules.model.sets import AddressSet, Interval
from ids.settings.respond import RespondSettings
from ids.types import ForwardedFor, IPAddress, IPNetwork, address_halves, unmapped

MAX_VALUE_BYTES = 1024
"""Of all lines of one header, the last so many are read: proxies append, and who sends more than that hides nothing."""

MAX_HOPS = 16
"""Proxies one behind the other that are followed; chains in use have two or three."""

X_FORWARDED_FOR, FORWARDED, PROXY_PROTOCOL = "x-forwarded-for", "forwarded", "proxy-protocol"

_V1 = re.compile(rb"PROXY TCP[46] ([0-9A-Fa-f.:]{2,45}) [0-9A-Fa-f.:]{2,45} \d{1,5} \d{1,5}\r?\n")
"""To its end: a request whose method is PROXY is none."""
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = len(_V2_SIGNATURE) + 4
_V2_PROXIED = 0x21
"""Version 2 and the command PROXY; LOCAL (0x20) is the proxy's own connection, such as a health check."""
_V2_ADDRESS_BYTES = {0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16}
"""By address family and transport: bytes of the source address, which comes first."""
MAX_PROXY_HEADER_BYTES = 256
"""Of the PROXY protocol's header that are kept until its address is there: version 1 has at most 107 in all."""


UNHEARD = (
    "respond.trusted_proxies is set and respond.forwarded_headers is not: what these proxies say of their clients is"
    " not believed, and flows are dropped without a client's name. Name the header that they append to:"
    " docs/proxies.md"
)


class Proxies:
    """The trusted proxies of the settings."""

    def __init__(self, settings: RespondSettings) -> None:
        networks = [unmapped(ipaddress.ip_network(network)) for network in settings.trusted_proxies]
        self._networks: tuple[IPNetwork, ...] = tuple(networks)
        self._set = AddressSet(_merged(map(_interval, networks)))
        self.headers: Sequence[str] = [name for name in settings.forwarded_headers if name != PROXY_PROTOCOL]
        self._announced = PROXY_PROTOCOL in settings.forwarded_headers

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: tuple[int, int]) -> bool:
        """Whether an address, as two halves, is a trusted proxy's."""
        return address in self._set

    def overlaps(self, network: IPNetwork) -> bool:
        """Return whether a network has a trusted proxy in it."""
        return any(network.overlaps(proxy) for proxy in self._networks if proxy.version == network.version)

    def client(
        self, peer: tuple[int, int], announced: str | None, header: Callable[[str], bytes]
    ) -> ForwardedFor | None:
        """Return whom a connection's peer speaks for; None: it is not trusted, or that is not known.

        ``announced`` is the source that a header of the PROXY protocol named (None: there was none, empty: it named
        nobody). ``header`` returns the value of a header of the request, its lines joined by commas, in their order.
        None is read that the settings do not name: it comes from the client. Where two that they name lead to two
        clients, one is not the proxies' own after all, and neither is believed.
        """
        if peer not in self._set:
            return None
        if announced is not None and self._announced:
            source = _halves(announced)
            if source is None or source not in self._set:
                return None if source is None else ForwardedFor(source, PROXY_PROTOCOL)
        found = None
        for name in self.headers:
            value = header(name)
            if not value:
                continue
            client = self._rightmost(forwarded_nodes(value) if name == FORWARDED else plain_nodes(value))
            if client is None or (found is not None and found.address != client):
                return None
            found = ForwardedFor(client, name)
        return found

    def _rightmost(self, nodes: Sequence[str]) -> tuple[int, int] | None:
        for node in reversed(nodes):
            address = _halves(node)
            if address is None or address not in self._set:
                return address
        return None


def plain_nodes(value: bytes) -> list[str]:
    """Return the last entries of X-Forwarded-For, as addresses or empty: those that may be followed (`MAX_HOPS`)."""
    return [node_address(entry) for entry in _tail(value).split(",")[-MAX_HOPS:]]


def forwarded_nodes(value: bytes) -> list[str]:
    """Return who the last elements of Forwarded are for (`MAX_HOPS`), as addresses or empty: obfuscated, none.

    Elements are cut at every comma, also within quotes: no proxy writes one there, and a quote that a client leaves
    open must not swallow what the proxy appends.
    """
    found = []
    for element in _tail(value).split(",")[-MAX_HOPS:]:
        pairs = (pair.strip().partition("=") for pair in element.split(";"))
        nodes = [node for name, _, node in pairs if name.strip().lower() == "for"]
        found.append(node_address(nodes[-1]) if nodes else "")
    return found


def node_address(word: str) -> str:
    """Return the address that a word names, without quotes, brackets and port; empty where it is none."""
    word = word.strip().strip('"')
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    if "%" in word or len(word) > 45:
        return ""
    try:
        return str(_plain(ipaddress.ip_address(word)))
    except ValueError:
        return ""


def announced_source(data: bytes) -> str | None:
    """Return the source that a connection's first bytes name by the PROXY protocol.

    Empty where the header names nobody (UNKNOWN, LOCAL, another family), None where there is no such header, or not all
    of what is needed of it.
    """
    if data.startswith(_V2_SIGNATURE):
        if len(data) < _V2_HEAD:
            return None
        size = _V2_ADDRESS_BYTES.get(data[13], 0)
        if data[12] != _V2_PROXIED or not size or int.from_bytes(data[14:16], "big") < 2 * size + 4:
            return ""
        if len(data) < _V2_HEAD + size:
            return None
        return str(_plain(ipaddress.ip_address(data[_V2_HEAD : _V2_HEAD + size])))
    if not data.startswith(b"PROXY ") or b"\n" not in data[:MAX_PROXY_HEADER_BYTES]:
        return None
    found = _V1.match(data)
    return "" if found is None else node_address(found[1].decode())


def may_be_proxy_header(data: bytes) -> bool:
    """Return whether these first bytes of a connection begin a header of the PROXY protocol, or may yet."""
    return any(data[: len(start)] == start[: len(data)] for start in (b"PROXY ", _V2_SIGNATURE))


def _tail(value: bytes) -> str:
    """Return the end of a header's value, from a comma on where it was cut."""
    if len(value) > MAX_VALUE_BYTES:
        value = value[-MAX_VALUE_BYTES:].partition(b",")[2]
    return value.decode("latin-1")


@passing
@lru_cache(maxsize=4096)
def _halves(address: str) -> tuple[int, int] | None:
    return address_halves(address) if address else None


def _plain(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv4-mapped one means, any other as it is."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _interval(network: IPNetwork) -> Interval:
    ends = (address_halves(network.network_address), address_halves(network.broadcast_address))
    first, last = (high << 64 | low for high, low in ends)
    return first, last


def _merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)
