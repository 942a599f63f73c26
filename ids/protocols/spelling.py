"""How EVE spells bytes of the wire."""

from __future__ import annotations


def text(raw: bytes) -> str:
    """Return bytes as EVE spells them: as UTF-8, or else with escapes for what is not ASCII."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("ascii", "backslashreplace")
