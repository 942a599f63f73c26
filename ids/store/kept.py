"""What rows keep as JSON, read with care: a disk may have damaged it, and plugins put into events what they like."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import orjson

from ids.events import Event
from ids.types import IPNetwork

_PIECE = ("buffer", "offset", "excerpt")


def object_of(text: str | bytes) -> dict[str, Any]:
    """Return an object; an empty one where it is damaged: none that was written is empty but a change's detail."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def part_of(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object within one; an empty one where something else is there."""
    found = holder.get(key)
    return found if isinstance(found, dict) else {}


def evidence_of(holder: Mapping[str, Any]) -> list[Event]:
    """Return the pieces of evidence, each with its buffer, offset and excerpt; without what is no such piece."""
    found = holder.get("evidence")
    pieces = found if isinstance(found, list) else []
    return [piece for piece in pieces if isinstance(piece, dict) and all(key in piece for key in _PIECE)]


def network_of(text: object) -> IPNetwork | None:
    """Return a network, None where the text is none."""
    try:
        return ipaddress.ip_network(text) if isinstance(text, str) else None
    except ValueError:
        return None
