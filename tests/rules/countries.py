"""Writes files of countries in MaxMind's format, as small as they can be."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, NamedTuple

MARKER = b"\xab\xcd\xefMaxMind.com"


class Short(NamedTuple):
    """A number of 16 bits."""

    number: int


class Long(NamedTuple):
    """A number of 64 bits."""

    number: int


def value(item: Any) -> bytes:
    """Spell a value of the data section."""
    if isinstance(item, dict):
        return bytes([7 << 5 | len(item)]) + b"".join(value(key) + value(one) for key, one in item.items())
    if isinstance(item, list):
        return bytes([len(item), 11 - 7]) + b"".join(map(value, item))
    if isinstance(item, int):
        raw = item.to_bytes(4, "big").lstrip(b"\0")
        return bytes([6 << 5 | len(raw)]) + raw
    if isinstance(item, Short):
        raw = item.number.to_bytes(2, "big").lstrip(b"\0")
        return bytes([5 << 5 | len(raw)]) + raw
    if isinstance(item, Long):
        raw = item.number.to_bytes(8, "big").lstrip(b"\0")
        return bytes([len(raw), 9 - 7]) + raw
    text: bytes = item.encode()
    if len(text) < 29:
        return bytes([2 << 5 | len(text)]) + text
    return bytes([2 << 5 | 29, len(text) - 29]) + text


def database(countries: Mapping[str, str], bits: int = 24, version: int = 6) -> bytes:
    """Return a file with the country of each network."""
    nodes: list[list[Any]] = [[None, None]]
    records: list[bytes] = []
    for network, code in countries.items():
        net = ip_network(network)
        width = 128 if version == 6 else 32
        # addresses of IPv4 are below ::/96 in a tree of IPv6
        prefix = net.prefixlen + (96 if version == 6 and net.version == 4 else 0)
        number = int(net.network_address)
        node = 0
        for depth in range(prefix):
            way = number >> (width - 1 - depth) & 1
            if depth == prefix - 1:
                nodes[node][way] = ("record", len(records))
                break
            if nodes[node][way] is None:
                nodes.append([None, None])
                nodes[node][way] = len(nodes) - 1
            node = nodes[node][way]
        names = {"names": {"en": "a name that is longer than twenty-nine bytes"}, "geoname_id": 1}
        records.append(value({"country": {"iso_code": code, **names}, "registered_country": {"iso_code": "ZZ"}}))
    offsets = [sum(map(len, records[:n])) for n in range(len(records))]

    def child(one: Any) -> int:
        if one is None:
            return len(nodes)
        return one if isinstance(one, int) else len(nodes) + 16 + offsets[one[1]]

    tree = b"".join(_node(child(left), child(right), bits) for left, right in nodes)
    metadata = {
        "binary_format_major_version": Short(2), "binary_format_minor_version": Short(0), "build_epoch": Long(1),
        "database_type": "Test", "description": {"en": "x"}, "ip_version": Short(version), "languages": ["en"],
        "node_count": len(nodes), "record_size": Short(bits),
    }  # fmt: skip
    return tree + bytes(16) + b"".join(records) + MARKER + value(metadata)


def _node(left: int, right: int, bits: int) -> bytes:
    if bits == 28:
        middle = (left >> 24) << 4 | right >> 24
        return (left & 0xFFFFFF).to_bytes(3, "big") + bytes([middle]) + (right & 0xFFFFFF).to_bytes(3, "big")
    return left.to_bytes(bits // 8, "big") + right.to_bytes(bits // 8, "big")
