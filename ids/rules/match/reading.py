"""One evaluation of a chain: the instance that is read, the variables of the rule, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from ids.rules.model.chain import Value

Span: TypeAlias = tuple[int, int]
"""Start and end of what a step found; the start is -1 where that is a mere size."""

FAR = 1 << 62
"""Behind the end of whatever is read."""


class Unset(Exception):
    """A step uses a variable that nothing has set: it does not hold."""


class Variables(dict[str, int]):
    """The variables of one rule in one evaluation."""

    def __missing__(self, name: str) -> int:
        raise Unset(name)


@dataclass(slots=True)
class Reading:
    """One evaluation. Places are indices into ``data``."""

    data: bytes
    lowered: Callable[[], bytes]
    """Returns the data in ASCII lower case."""
    values: Variables
    left: int
    """Moves until the evaluation is given up."""
    origin: int = 0
    """Where the buffer begins on the wire: below 0, where its head was let go."""
    spans: dict[int, Span] = field(default_factory=dict)
    """By step: what it found."""
    missing: dict[int, int] = field(default_factory=dict)
    """By step: from where on it is known that its literal does not occur."""
    next: int = 0
    """Where what was found last may be looked for again."""
    decoded: list[bytes] = field(default_factory=list)
    """What was decoded from base64, of each place where that could be done."""
    held: tuple[Span, ...] | None = None
    """What was found where the chain holds."""
    exhausted: bool = False
    """The evaluation was given up."""

    def settle(self) -> None:
        """Note that the chain holds, with what was found; of several ways, the first counts."""
        if self.held is None:
            self.held = tuple(self.spans.values())


Move: TypeAlias = Callable[[Reading, int, int], int | None]


def value_of(value: Value) -> Callable[[Reading], int]:
    """Return what gives a value in an evaluation; it raises `Unset`."""
    if isinstance(value, str):
        name = value
        return lambda at: at.values[name]
    number = value
    return lambda at: number
