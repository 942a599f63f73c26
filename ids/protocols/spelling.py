"""How EVE spells bytes of the wire."""

from __future__ import annotations


def text(raw: bytes) -> str:
    """Return bytes as EVE spells them: as UTF-8, or else with escapes for what is not ASCII."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join([chr(byte) if byte < 0x80 else f"\\x{byte:02x}" for byte in raw])
