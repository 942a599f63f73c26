"""What rules remember from one match to the next, and what they ask of it: bits and counters of flows and of hosts.

Judged once all bytes of a rule hold, in the order of the packets, by `ids.respond.state`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

SCOPES = ("flow", "src", "dst", "pair")
"""Whose state it is: the flow's, the sender's or the receiver's of the direction that matched, or of both together."""


@dataclass(frozen=True, slots=True)
class BitTest:
    """Any of these bits is set; with ``negated``, none is."""

    scope: str
    names: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class CounterTest:
    """A counter of the flow compared with a value: ``operator`` ``< <= == != >= > isset notset``."""

    name: str
    operator: str
    value: int | str = 0
    """A number, or the name of another counter."""


@dataclass(frozen=True, slots=True)
class BitChange:
    """``set``, ``unset`` or ``toggle`` a bit, when the rule matches. ``expires_s``: of a host's, after so long."""

    scope: str
    change: str
    name: str
    expires_s: int = 3600


@dataclass(frozen=True, slots=True)
class CounterChange:
    """Change a counter of the flow when the rule matches: ``operator`` ``+ - =``."""

    name: str
    operator: str
    value: int | str = 0


@dataclass(frozen=True, slots=True)
class Tagged:
    """Log packets that follow a match: of the ``session``, or the ``host`` (``side`` ``src`` or ``dst``), so many
    ``packets``, ``bytes`` or ``seconds`` (``metric``)."""

    kind: str
    count: int
    metric: str
    side: str = "src"


@dataclass(frozen=True, slots=True)
class TextTest:
    """A text that was captured holds this one: of the flow (``scope`` ``flow``), or in the same packet (``pkt``)."""

    scope: str
    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class TextChange:
    """Keep the text that a group of a regex captured when the rule matches (`ids.types.Captured`)."""

    scope: str
    name: str


StateTest: TypeAlias = BitTest | CounterTest | TextTest
StateChange: TypeAlias = BitChange | CounterChange | Tagged | TextChange


@dataclass(frozen=True, slots=True)
class State:
    """What a rule asks of state, and what it does to it when it matches."""

    tests: tuple[StateTest, ...] = ()
    changes: tuple[StateChange, ...] = ()
    silent: bool = False
    """It changes state and alerts not (``noalert``)."""


STATELESS = State()
