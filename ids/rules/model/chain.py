"""Chains of positioned tests on one buffer: each may look from a cursor that the one before it left, and move it.

The semantics are those of Suricata's content inspection. The cursor starts at 0 and, after a test that found something,
stands behind it. A test is relative when it looks from the cursor, else it looks from the buffer's start. A relative
test that fails sends evaluation back to the next place of the literals before it, up to a bound of steps. A negated
test holds where nothing is found within its bounds, and leaves the cursor where it is.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from typing import TypeAlias

from ids.rules.model.ber import Faults
from ids.rules.model.patterns import Pattern

DECODED = "base64_data"
"""The buffer that `Decode` steps of a rule fill: an instance for each place that could be decoded."""

Value: TypeAlias = int | str
"""A number, or the name of a variable that an `Extract` or a `Compute` before it in the rule has set."""


@dataclass(frozen=True, slots=True)
class Content:
    """A literal. With ``nocase``, ASCII letters of either case (``value`` is lower case then).

    ``offset`` and ``depth`` bound it from the buffer's start: it begins at ``offset`` or later, and ends at ``offset +
    depth`` or earlier. ``distance`` and ``within`` bound it from the cursor in the same way; either makes it relative.
    ``at_end``: it is the last of the buffer.
    """

    value: bytes
    nocase: bool = False
    negated: bool = False
    offset: Value | None = None
    depth: Value | None = None
    distance: Value | None = None
    within: Value | None = None
    at_end: bool = False
    preferred: bool = False
    """Its author says that it is the rarest (``fast_pattern``)."""

    @property
    def relative(self) -> bool:
        """It is looked for from the cursor."""
        return self.distance is not None or self.within is not None


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression; ``relative``: from the cursor on, which ``^`` and ``\\A`` then mean."""

    pattern: Pattern
    negated: bool = False
    relative: bool = False
    captures: tuple[tuple[str, str], ...] = ()
    """Of its first groups: whose their texts are kept as, and the name (`ids.types.Captured`)."""


@dataclass(frozen=True, slots=True)
class DataAt:
    """There are at least ``count`` bytes behind the cursor; not relative: the buffer has a byte with the index
    ``count``, which is one more (``isdataat``)."""

    count: Value
    negated: bool = False
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Length:
    """The buffer has at least ``least`` and, unless None, at most ``most`` bytes (``bsize``, ``urilen``)."""

    least: int = 0
    most: int | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """Where and how a number stands in the buffer.

    ``size`` bytes from ``offset`` on (from the cursor, when ``relative``); binary in the byte order ``big`` or
    ``little``, or, with ``base`` (8, 10, 16, or 0: as C's strtol finds out), as digits, with size 0 as many as there
    are. ``bits`` masks it, and shifts it right by the mask's trailing zeros.
    """

    size: Value
    offset: Value = 0
    relative: bool = False
    order: str = "big"
    base: int | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """A number compared with a value (``byte_test``). ``operator``: ``< > = <= >= & ^`` (the last two bitwise)."""

    number: Number
    operator: str
    value: Value
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Jump:
    """Move the cursor by a number that stands in the buffer (``byte_jump``).

    From where the number ends, or from the buffer's start (``origin`` ``begin``) or end (``end``). With ``size`` 0 of
    the number, nothing is read and the number is 0. ``align``: up to the next multiple of 4. A jump to before the
    buffer leads to its start; one behind its end does not hold.
    """

    number: Number
    multiplier: int = 1
    align: bool = False
    origin: str = "cursor"
    post_offset: Value = 0


@dataclass(frozen=True, slots=True)
class Extract:
    """Set a variable from a number in the buffer (``byte_extract``)."""

    number: Number
    name: str
    multiplier: int = 1
    align: int = 0
    """2 or 4: rounded up to a multiple of that."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Set a variable from a number in the buffer and a value (``byte_math``). ``operator``: ``+ - * / << >>``.

    The number's ``bits`` mask the result, not what is read.
    """

    number: Number
    operator: str
    value: Value
    name: str


@dataclass(frozen=True, slots=True)
class Decode:
    """Decode base64 from a place in the buffer; what comes of it is the buffer ``base64_data`` of the rule."""

    size: int | None = None
    offset: int = 0
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The whole buffer is (``isset``) or is not (``isnotset``) in a list, such as one of a million domains.

    With ``change`` ``add`` (``set``) or ``remove`` (``unset``) it is put in or taken out; that holds where it changes
    something.

    ``name`` is what the rule calls the list; ``kind`` one of `ids.rules.model.lists.KINDS`.
    """

    name: str
    kind: str = "string"
    negated: bool = False
    members: Container[bytes] | None = field(default=None, compare=False, repr=False)
    """The list itself (`ids.rules.model.lists`); without it nothing is listed."""
    change: str = ""


@dataclass(frozen=True, slots=True)
class Entropy:
    """The buffer's bytes are worth ``least`` to ``most`` bits each (`ids.rules.model.entropy`)."""

    least: float = 0.0
    most: float = 8.0
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """From a place in the buffer on, structures of ASN.1 with a fault (``asn1``)."""

    faults: Faults
    offset: int = 0
    relative: bool = False


Step: TypeAlias = (
    Content | Expression | DataAt | Length | Compare | Jump | Extract | Compute | Decode | Listed | Entropy | Structure
)


@dataclass(frozen=True, slots=True)
class Chain:
    """One instance of a buffer satisfies all steps, one after the other.

    ``buffer`` may name transforms behind the buffer's own name, as `ids.rules.model.transforms` spells them.
    """

    buffer: str
    steps: tuple[Step, ...]
    program: object = field(default=None, init=False, compare=False, repr=False)
    """A place for what `ids.rules.match.chains` compiles the chain to, when it is first judged."""

    def __reduce__(self) -> tuple[type[Chain], tuple[str, tuple[Step, ...]]]:
        """Let it be kept without what it was compiled to."""
        return Chain, (self.buffer, self.steps)
