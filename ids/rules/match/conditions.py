"""Decides whether a rule's condition holds on the buffers at hand, and where.

A buffer may have several instances (the names of a DNS answer). A test holds where one instance satisfies it, and an
`Instance` where one satisfies all that is asked of it; the evidence is from that one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ids.rules.model.rarity import MAX_LITERAL, score
from ids.rules.model.rule import ENDS, Address, All, Anchor, Any_, Instance, Literal, Node, NotAny, Regex, Size
from ids.types import Evidence

EXCERPT_BYTES = 256
CONTEXT_BYTES = 32
"""Bytes shown before and after what matched."""

MAX_EVIDENCE = 16
"""Places reported for one match; a rule with more tests shows those that say most."""


@dataclass(slots=True)
class View:
    """Buffers as a condition sees them, with the addresses of the sender and the receiver."""

    instances: Callable[[str], Sequence[bytes]]
    """Returns all instances of a buffer; none where the traffic lacks it."""
    src: tuple[int, int] = (0, 0)
    dst: tuple[int, int] = (0, 0)
    complete: bool = True
    """The buffers start where they start on the wire; False once the head of a stream was let go."""
    base: int = 0
    """Stream offset of the first byte of ``payload``."""
    outer: Callable[[], tuple[tuple[int, int], tuple[int, int]]] | None = None
    """Returns the addresses of the outermost tunnel; None: the traffic is in none."""
    _lower: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def ends(self) -> dict[str, tuple[int, int]]:
        """Return the addresses by the names that rules have for them."""
        outer = (self.src, self.dst) if self.outer is None else self.outer()
        return dict(zip(ENDS, (self.src, self.dst, *outer), strict=True))

    def lower(self, name: str, number: int) -> bytes:
        """Return an instance in ASCII lower case; computed once."""
        data = self._lower.get((name, number))
        if data is None:
            data = self._lower[name, number] = self.instances(name)[number].lower()
        return data


Found = tuple[str, int, int, int]
"""Buffer, number of its instance, start and end of what a test found; the start is -1 where that is a mere size."""


def holds(node: Node, view: View, found: list[Found], only: int | None = None) -> bool:
    """Judge a condition; append to ``found`` where the tests that hold found what they look for.

    With ``only``, tests look at the instance of this number.
    """
    if isinstance(node, Literal | Regex | Size):
        instances = view.instances(node.buffer)
        numbers = range(len(instances)) if only is None else (only,)
        return any(_holds_in(node, view, instances[number], number, found) for number in numbers)
    if isinstance(node, All):
        return all(holds(part, view, found, only) for part in node.parts)
    if isinstance(node, Any_):
        return any(holds(part, view, found, only) for part in node.parts)
    if isinstance(node, NotAny):
        return not any(holds(part, view, [], only) for part in node.parts)
    if isinstance(node, Instance):
        return any(_one_instance(node, view, found, number) for number in range(len(view.instances(node.buffer))))
    if isinstance(node, Address):
        return view.ends()[node.end] in node.members
    return True  # a Scapy field: only dissection can decide, which is `FlaggedMatcher`'s


def _one_instance(node: Instance, view: View, found: list[Found], number: int) -> bool:
    own: list[Found] = []
    if not all(holds(part, view, own, number) for part in node.parts):
        return False
    found += own
    return True


def _holds_in(test: Literal | Regex | Size, view: View, data: bytes, number: int, found: list[Found]) -> bool:
    """Judge one test on one instance."""
    if isinstance(test, Size):
        held = test.least <= len(data) and (test.most is None or len(data) <= test.most)
        if held and test.least:
            found.append((test.buffer, number, -1, test.least))
        return held
    span = test.pattern.search(data) if isinstance(test, Regex) else _literal(test, view, data, number)
    if span is not None:
        found.append((test.buffer, number, *span))
    return span is not None


def _literal(test: Literal, view: View, data: bytes, number: int) -> tuple[int, int] | None:
    if test.nocase:
        data = view.lower(test.buffer, number)
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
    return (at, at + len(value)) if held else None


def evidence(found: list[Found], view: View) -> tuple[Evidence, ...]:
    """Show what was found, with a little of its surroundings; what says most first, in the order of the tests else."""

    def telling(place: Found) -> float:
        name, number, start, end = place
        return score(view.instances(name)[number][max(start, end - MAX_LITERAL) : end], False)

    places = sorted((place for place in found if place[2] >= 0), key=telling, reverse=True)
    return tuple(
        shown(name, view.instances(name)[number], start, end, view.base if name == "payload" else 0)
        for name, number, start, end in places[:MAX_EVIDENCE]
    )


def shown(name: str, data: bytes, start: int, end: int, base: int = 0) -> Evidence:
    """Show ``data[start:end]`` of a buffer; ``base`` is the stream offset of ``data``."""
    first = max(0, start - CONTEXT_BYTES)
    return Evidence(name, start + base, data[first : min(end + CONTEXT_BYTES, first + EXCERPT_BYTES)])
