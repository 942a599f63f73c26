"""Reads Content-Range (RFC 9110 section 14.4): which part of a resource a response has."""

from __future__ import annotations

from typing import Any

from ids.later import late_pattern
from ids.protocols.spelling import text

_ANY_UNIT = late_pattern(rb"[^ ]* +(?:\*/\d{1,18}|0*(\d{1,18})-0*(\d{1,18})/(?:0*(\d{1,18})|\*))")
"""As Suricata reads one: whatever its unit is called, and whatever stands behind it."""
RANGE = late_pattern(rb"(?i)[ \t]*bytes[ \t]+(?:0*(\d{1,18})-0*(\d{1,18})|\*)/(?:0*(\d{1,18})|\*)[ \t]*")


def is_range(value: bytes) -> bool:
    """Return whether Suricata takes a value for a part of something, or for the size of it."""
    found = _ANY_UNIT.match(value.lstrip(b" "))
    if found is None or found[1] is None:
        return found is not None
    start, end = int(found[1]), int(found[2])
    return start <= end and (found[3] is None or end < int(found[3]))


def part_of(value: bytes) -> tuple[int | None, int | None]:
    """Return the first and the last byte of what is a part of something larger; else nothing."""
    found = RANGE.fullmatch(value)
    if found is None or None in found.groups():
        return None, None
    start, end, size = map(int, found.groups())
    if end <= 0 or size <= 0 or (start == 0 and end == size - 1):
        return None, None
    return start, end


def place_of(value: bytes) -> tuple[int, int, int] | None:
    """Return where a part begins, the place behind it, and the size of the whole; None where one is not said, or the
    part is all of it."""
    found = RANGE.fullmatch(value)
    if found is None or None in found.groups():
        return None
    start, end, size = map(int, found.groups())
    return (start, end + 1, size) if start <= end < size and end + 1 - start < size else None


def range_fields(value: bytes) -> dict[str, Any]:
    """Return what EVE logs of it."""
    found = RANGE.fullmatch(value)
    said = zip(("start", "end", "size"), found.groups() if found is not None else (), strict=False)
    return {"raw": text(value), **{name: int(digits) for name, digits in said if digits is not None}}
