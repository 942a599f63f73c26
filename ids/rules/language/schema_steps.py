"""What a step of a chain may say: a test on a buffer, where it looks, and numbers in the bytes."""

from __future__ import annotations

from math import nextafter
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, WithJsonSchema, model_validator

from ids.rules.language.schema_parts import Form, Kind, Name, Part, Value, Variable

MAX_OFFSET = (1 << 31) - 1
"""Of a place in a buffer: none is as long."""

TEXT_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": ["string", "integer"]},
        {
            "type": "object",
            "properties": {"hex": {"type": ["string", "integer"]}},
            "required": ["hex"],
            "additionalProperties": False,
        },
    ]
}
Operand = Annotated[Any, WithJsonSchema(TEXT_SCHEMA)]
"""Text, or ``{hex: "41 42"}``."""


class SizeSchema(Part):
    """Bounds of a buffer's size in bytes: ``min``/``max`` inclusive, ``gt``/``lt`` exclusive."""

    min: StrictInt | None = Field(None, ge=0)
    max: StrictInt | None = Field(None, ge=0)
    gt: StrictInt | None = Field(None, ge=0)
    lt: StrictInt | None = Field(None, ge=1)

    @property
    def bounds(self) -> tuple[int, int | None]:
        """Return the least and the greatest size allowed, None where there is no greatest."""
        least = max(self.min or 0, -1 if self.gt is None else self.gt + 1)
        most = [limit for limit in (self.max, None if self.lt is None else self.lt - 1) if limit is not None]
        return least, min(most) if most else None


SIZE_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "integer", "minimum": 0}, SizeSchema.model_json_schema()]}
Size = Annotated[Any, WithJsonSchema(SIZE_SCHEMA)]


class InListSchema(Part):
    """A list from a file beside the rules."""

    file: str = Field(min_length=1, max_length=4096)
    kind: Kind = "string"
    format: Form = "plain"


Listed = Annotated[Any, WithJsonSchema({"anyOf": [{"type": "string"}, InListSchema.model_json_schema()]})]
"""The name of a list, or a file."""


class NumberSchema(Part):
    """Where a number stands, and how it is written there."""

    size: Value | None = None
    at: Value | None = None
    after: Value | None = None
    order: Literal["big", "little"] = "big"
    base: Literal[8, 10, 16, "any"] | None = None
    mask: StrictInt | None = Field(None, ge=1, le=(1 << 64) - 1)

    @model_validator(mode="after")
    def _placed(self) -> NumberSchema:
        if self._reads() and (self.at is None) == (self.after is None):
            raise ValueError(
                "say where the number stands: at: (from the buffer's start) or after: (from where the last test ended)"
            )
        if self._reads() and self.size is None and self.base is None:
            raise ValueError("say how many bytes the number has: size:")
        if isinstance(self.size, int):
            most = 8 if self.base is None else 23
            if not 1 <= self.size <= most:
                raise ValueError(f"a number has 1 to {most} bytes")
        if isinstance(self.at, int) and self.at < 0:
            raise ValueError("at: counts from the buffer's start, so it is not below 0")
        for place in (self.at, self.after):
            if isinstance(place, int) and abs(place) > MAX_OFFSET:
                raise ValueError("no buffer is as long")
        return self

    def _reads(self) -> bool:
        return True


class BytesSchema(NumberSchema):
    """A number in the bytes, compared."""

    equals: Value | None = None
    min: Value | None = None
    max: Value | None = None
    gt: Value | None = None
    lt: Value | None = None
    any_bits: Value | None = None

    @model_validator(mode="after")
    def _compares(self) -> BytesSchema:
        if all(value is None for value in (self.equals, self.min, self.max, self.gt, self.lt, self.any_bits)):
            raise ValueError("compare the number: equals, min, max, gt, lt or any_bits")
        return self


class JumpSchema(NumberSchema):
    """How far to go: a number in the bytes, and a fixed number of them."""

    times: StrictInt = Field(1, ge=1, le=65_535)
    align: Literal[4] | None = None
    from_: Literal["here", "start", "end"] = Field("here", alias="from")
    plus: Value = 0

    def _reads(self) -> bool:
        return self.size is not None or self.base is not None or self.at is not None or self.after is not None


class ExtractSchema(NumberSchema):
    """A number in the bytes that gets a name."""

    as_: Variable = Field(alias="as")
    times: StrictInt = Field(1, ge=1, le=65_535)
    align: Literal[2, 4] | None = None


class ComputeSchema(NumberSchema):
    """What comes of a number in the bytes gets a name; the mask is of the result."""

    as_: Variable = Field(alias="as")
    plus: Value | None = None
    minus: Value | None = None
    times: Value | None = None
    divided_by: Value | None = None
    shifted_left: Value | None = None
    shifted_right: Value | None = None

    @model_validator(mode="after")
    def _computes(self) -> ComputeSchema:
        given = [name for name in OPERATORS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"compute one thing: {', '.join(OPERATORS)}")
        if self.divided_by == 0:
            raise ValueError("nothing can be divided by 0")
        return self


OPERATORS = {
    "plus": "+", "minus": "-", "times": "*", "divided_by": "/", "shifted_left": "<<", "shifted_right": ">>",
}  # fmt: skip
"""Of `ComputeSchema`, with those of the model."""


class DecodeSchema(Part):
    """Where base64 begins, and how many bytes of it there are."""

    size: StrictInt | None = Field(None, ge=1, le=65_535)
    at: StrictInt | None = Field(None, ge=0, le=65_535)
    after: StrictInt | None = Field(None, ge=0, le=65_535)

    @model_validator(mode="after")
    def _placed(self) -> DecodeSchema:
        if (self.at is None) == (self.after is None):
            raise ValueError("say where it begins: at: (from the buffer's start) or after: (where the last test ended)")
        return self


class EntropySchema(Part):
    """Bounds of the entropy of a buffer, in bits a byte."""

    min: float | None = Field(None, ge=0, le=8)
    max: float | None = Field(None, ge=0, le=8)
    gt: float | None = Field(None, ge=0, lt=8)
    lt: float | None = Field(None, gt=0, le=8)

    @model_validator(mode="after")
    def _bounded(self) -> EntropySchema:
        least, most = self.bounds
        if (least, most) == (0, 8):
            raise ValueError("give bounds: min, max, gt or lt, such as {gt: 4.5}")
        if least > most:
            raise ValueError("no entropy is within these bounds")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest entropy allowed."""
        least = max(self.min or 0, 0 if self.gt is None else nextafter(self.gt, 9))
        return least, min(8 if self.max is None else self.max, 8 if self.lt is None else nextafter(self.lt, -1))


class StepSchema(Part):
    """One step: a test, and where it looks."""

    contains: Operand = None
    startswith: Operand = None
    endswith: Operand = None
    equals: Operand = None
    regex: str | None = None
    size: Size = None
    bytes: BytesSchema | None = None
    jump: JumpSchema | None = None
    extract: ExtractSchema | None = None
    compute: ComputeSchema | None = None
    decode_base64: DecodeSchema | None = None
    data_at_least: Value | None = None
    has_byte: Value | None = None
    in_list: Listed = None
    learn: Name | None = None
    forget: Name | None = None
    entropy: EntropySchema | None = None
    nocase: StrictBool = False
    not_: StrictBool = Field(False, alias="not")
    at: Value | None = None
    from_: Value | None = Field(None, alias="from")
    within_first: Value | None = None
    after: Value | None = None
    within: Value | None = None
    here: StrictBool = False
    rarest: StrictBool = False


MODIFIERS: dict[str, frozenset[str]] = {
    "contains": frozenset(("nocase", "not", "at", "from", "within_first", "after", "within", "rarest")),
    "startswith": frozenset(("nocase", "not", "rarest")),
    "endswith": frozenset(("nocase", "not", "from", "within_first", "after", "within", "rarest")),
    "equals": frozenset(("nocase", "not", "rarest")),
    "regex": frozenset(("nocase", "not", "here")),
    "size": frozenset(("not",)),
    "bytes": frozenset(("not",)),
    "jump": frozenset(),
    "extract": frozenset(),
    "compute": frozenset(),
    "decode_base64": frozenset(),
    "data_at_least": frozenset(("not",)),
    "has_byte": frozenset(("not",)),
    "in_list": frozenset(("not",)),
    "learn": frozenset(),
    "forget": frozenset(),
    "entropy": frozenset(("not",)),
}
"""What each test of a chain may be joined by."""

ALONE = frozenset(("contains", "startswith", "endswith", "equals", "regex", "size", "nocase"))
"""Words of a condition that is no chain: several of them may stand together."""
