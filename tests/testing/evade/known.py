"""What evades us today, with the reason. This list only shrinks: a name on it that is found makes a test fail."""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "connections of which a part is not seen are not followed by default": (
        "only the client's packets are seen",
        "the handshake is not seen",
    ),
    "rules look at one form of the target and their patterns begin at its parameters": (
        "a fragment behind the target",
        "an empty parameter before",
        "dot segments in the query",
        "double slashes in the query",
    ),
    "only servers that forgive more than nginx take it": (
        "Content-Length twice, another first",
        "a NUL in the target",
        "carriage returns only",
        "no method",
        "overlong UTF-8",
        "percent u",
        "percent-encoded twice",
    ),
}
"""Reasons, each with the names of evasions that get at least one of the exploits past the shipped rules."""

MISSED = frozenset(name for names in KNOWN.values() for name in names)
