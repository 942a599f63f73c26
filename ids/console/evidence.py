"""What an alert holds, in a form that a person reads: bytes as a dump, an event as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_DUMP = 1024
"""Bytes of one piece of evidence on a page."""
WIDTH = 16
MOST_ROWS = 300
MAX_VALUE = 1000
"""Characters of one value."""
MAX_DEPTH = 8


def dump(excerpt: str) -> list[tuple[str, str, str]]:
    """Return lines of offset, hexadecimal bytes and printable text, of evidence with one character a byte."""
    data = excerpt[:MAX_DUMP].encode("latin-1", "replace")
    lines = []
    for at in range(0, len(data), WIDTH):
        row = data[at : at + WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append((f"{at:04x}", row.hex(" "), text))
    return lines


def dumps(evidence: Iterable[Any]) -> list[dict[str, Any]]:
    """Return pieces of evidence for a page: where they were, and their bytes, none where these are kept back."""
    return [
        {"buffer": row.get("buffer"), "offset": row.get("offset"), "dump": dump(str(row.get("excerpt", "")))}
        for row in evidence
        if isinstance(row, dict)
    ]


def rows_of(event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return an event as dotted keys and values, but for the evidence, which is shown as bytes."""
    rows: list[tuple[str, str]] = []
    for key, value in _walk(event, "", 0):
        if not key.startswith("ids.evidence"):
            rows.append((key, value if len(value) <= MAX_VALUE else f"{value[:MAX_VALUE]}…"))
        if len(rows) >= MOST_ROWS:
            rows.append(("…", "more is in the event itself: `ids alerts show`"))
            break
    return rows


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, list) and any(isinstance(inner, (Mapping, list)) for inner in value):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{path}.{number}", depth + 1)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    else:
        yield path, "" if value is None else str(value)
