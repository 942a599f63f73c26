"""Reads the head of an ordinary message, without the blank line that ends it: lines, headers, and what EVE logs."""

from __future__ import annotations

from typing import Any

from ids.protocols.http.head import EVE_FIELDS
from ids.protocols.http.ranges import range_fields
from ids.protocols.http.uri import host_name, split_target

_EVE_FIELDS = [(b"\n" + name + b":", eve_name) for name, eve_name in EVE_FIELDS.items()]


def request_fields(block: bytes) -> dict[str, Any]:
    """Return what EVE logs of a request."""
    low = block.lower()
    fields = _header_fields(block, low)
    method, target, protocol = first_line(block).split(b" ")
    raw_host = authority(target) or header(block, low, b"\nhost:")
    if raw_host:
        host, port = host_name(raw_host)
        fields["hostname"] = host.decode()
        if port.isdigit() and len(port) < 6:
            fields["http_port"] = int(port)
    fields["url"], fields["http_method"], fields["protocol"] = target.decode(), method.decode(), protocol.decode()
    return fields


def response_fields(block: bytes) -> dict[str, Any]:
    """Return what EVE logs of the head of a response."""
    low = block.lower()
    fields = _header_fields(block, low)
    content_type = header(block, low, b"\ncontent-type:")
    if content_type is not None:
        fields["http_content_type"] = content_type.partition(b";")[0].strip().decode()
    if b"\ncontent-range:" in low:
        fields["content_range"] = range_fields(header(block, low, b"\ncontent-range:") or b"")
    fields["status"] = int(block[9:12])
    return fields


def first_line(block: bytes) -> bytes:
    """Return the first line."""
    return block[: block.index(b"\r")]


def authority(target: bytes) -> bytes:
    """Return host and port of a target that is not a path; empty where it has none."""
    return b"" if target.startswith(b"/") else split_target(target)[0]


def header(block: bytes, low: bytes, key: bytes) -> bytes | None:
    """Return the value of a header, several joined by a comma; the arguments are as in `header_values`."""
    values = header_values(block, low, key)
    return b", ".join(values) if values else None


def header_values(block: bytes, low: bytes, key: bytes) -> list[bytes]:
    """Return the values of all headers of a name: ``low`` is the head in lower case, ``key`` ``\\nname:`` likewise."""
    values: list[bytes] = []
    at, size = low.find(key), len(key)
    while at >= 0:
        end = block.index(b"\r", at)
        values.append(block[at + size : end].strip())
        at = low.find(key, end)
    return values


def _header_fields(block: bytes, low: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, eve_name in _EVE_FIELDS:
        if low.find(key) >= 0:
            fields[eve_name] = b", ".join(header_values(block, low, key)).decode()
    return fields
