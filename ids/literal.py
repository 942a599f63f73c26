"""Text that others chose, spelt so that a terminal takes no orders from it and a reader sees what was there."""

from __future__ import annotations

MAX_EXCERPT = 100
"""Characters of evidence on one line of the screen; events hold all of it."""


def literal(text: str, keep: str = "") -> str:
    r"""Escape what is not printable, as Python does (``\n``, ``\x1b``, ``\u202e``); characters of ``keep`` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def cut(value: object, limit: int = MAX_EXCERPT) -> str:
    """Return a value as Python spells it, for an error message; a long text is cut."""
    return f"{value[:limit]!r}…" if isinstance(value, str) and len(value) > limit else repr(value)


def excerpt(text: str, limit: int = MAX_EXCERPT) -> str:
    """Spell evidence: one character a byte, as events hold it; all but printable ASCII is escaped."""
    shown = "".join(c if c.isprintable() and c.isascii() else f"\\x{ord(c):02x}" for c in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
