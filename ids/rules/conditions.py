"""Decides whether a rule's condition holds on the buffers at hand, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ids.rules.model import Address, All, Anchor, Any_, Literal, Node, NotAny, Regex, Size
from ids.types import Evidence

EXCERPT_BYTES = 256
CONTEXT_BYTES = 32
"""Bytes shown before and after what matched."""

MAX_EVIDENCE = 16
"""Places reported for one match; a rule with more tests shows its first ones."""


@dataclass(slots=True)
class View:
    """Buffers as a condition sees them, with the addresses of the sender and the receiver."""

    buffers: Mapping[str, bytes]
    src: tuple[int, int] = (0, 0)
    dst: tuple[int, int] = (0, 0)
    complete: bool = True
    """The buffers start where they start on the wire; False once the head of a stream was let go."""
    base: int = 0
    """Stream offset of the first byte of ``payload``."""
    _lower: dict[str, bytes] = field(default_factory=dict)

    def lower(self, name: str) -> bytes:
        """Return a buffer in ASCII lower case; computed once."""
        data = self._lower.get(name)
        if data is None:
            data = self._lower[name] = self.buffers[name].lower()
        return data


Found = tuple[str, int, int]
"""Buffer, start and end of what a test found."""


def holds(node: Node, view: View, found: list[Found]) -> bool:
    """Judge a condition; append to ``found`` where the tests that hold found what they look for."""
    if isinstance(node, Literal):
        return _literal(node, view, found)
    if isinstance(node, Regex):
        data = view.buffers.get(node.buffer)
        span = node.pattern.search(data) if data is not None else None
        if span is not None:
            found.append((node.buffer, *span))
        return span is not None
    if isinstance(node, Size):
        data = view.buffers.get(node.buffer)
        return data is not None and node.least <= len(data) and (node.most is None or len(data) <= node.most)
    if isinstance(node, All):
        return all(holds(part, view, found) for part in node.parts)
    if isinstance(node, Any_):
        return any(holds(part, view, found) for part in node.parts)
    if isinstance(node, NotAny):
        return not any(holds(part, view, []) for part in node.parts)
    if isinstance(node, Address):
        return (view.src if node.end == "src_ip" else view.dst) in node.members
    return True  # a Scapy field: only dissection can tell, which `Matcher.flagged` does


def _literal(test: Literal, view: View, found: list[Found]) -> bool:
    if test.buffer not in view.buffers:
        return False
    data = view.lower(test.buffer) if test.nocase else view.buffers[test.buffer]
    value, anchor = test.value, test.anchor
    if anchor is Anchor.ANYWHERE:
        at = data.find(value)
        held = at >= 0
    elif anchor is Anchor.END:
        at = len(data) - len(value)
        held = data.endswith(value)
    else:
        at = 0
        held = view.complete and (data.startswith(value) if anchor is Anchor.START else data == value)
    if held:
        found.append((test.buffer, at, at + len(value)))
    return held


def evidence(found: list[Found], view: View) -> tuple[Evidence, ...]:
    """Show what was found, with a little of its surroundings."""
    return tuple(_shown(name, start, end, view) for name, start, end in found[:MAX_EVIDENCE])


def _shown(name: str, start: int, end: int, view: View) -> Evidence:
    first = max(0, start - CONTEXT_BYTES)
    excerpt = view.buffers[name][first : min(end + CONTEXT_BYTES, first + EXCERPT_BYTES)]
    return Evidence(name, start + (view.base if name == "payload" else 0), excerpt)
