"""What a test on a packet's headers may say of a number, and of bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictInt, WithJsonSchema, model_validator

from ids.rules.language.schema_parts import Part, one_or_more
from ids.rules.model.sets import Interval


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Numbers = Annotated[
    list[Annotated[StrictInt, Field(ge=0)]],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=64),
    WithJsonSchema(one_or_more({"type": "integer", "minimum": 0})),
]
Bits = Annotated[list[str], BeforeValidator(_listed), Field(max_length=8)]


class RangeSchema(Part):
    """A number, one of several, or bounds; ``not``: any other."""

    equals: Numbers | None = None
    not_: Numbers | None = Field(None, alias="not")
    min: StrictInt | None = Field(None, ge=0)
    max: StrictInt | None = Field(None, ge=0)
    gt: StrictInt | None = Field(None, ge=0)
    lt: StrictInt | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> RangeSchema:
        bounded = any(value is not None for value in (self.min, self.max, self.gt, self.lt))
        if (self.equals is not None) + (self.not_ is not None) + bounded != 1:
            raise ValueError("give a number, bounds (min, max, gt, lt), or not:")
        return self

    def intervals(self, most: int) -> tuple[tuple[Interval, ...], bool]:
        """Return what the number lies in, and whether that is negated."""
        values = self.equals or self.not_
        if values is not None:
            return tuple((value, value) for value in values), self.not_ is not None
        least = max(self.min or 0, -1 if self.gt is None else self.gt + 1)
        limits = [most if self.max is None else self.max, most if self.lt is None else self.lt - 1]
        return ((least, min(limits)),), False


class BitsSchema(Part):
    """Bits that are set, and bits that are not; several of them must all hold."""

    exactly: Bits | None = None
    all: Bits | None = None
    any: Bits | None = None
    none: Bits | None = None
    not_all: Bits | None = None
    ignoring: Bits | None = None

    @model_validator(mode="after")
    def _asks(self) -> BitsSchema:
        if not self.model_fields_set - {"ignoring"}:
            raise ValueError("say which bits: exactly, all, any, none or not_all")
        for mode in ("all", "any", "none", "not_all", "ignoring"):
            if getattr(self, mode) == []:
                raise ValueError(f"{mode} has no bits")
        return self

    def given(self) -> Iterator[tuple[str, list[str]]]:
        """Yield what is said, with its bits."""
        for mode in ("ignoring", "exactly", "all", "any", "none", "not_all"):
            if (words := getattr(self, mode)) is not None:
                yield mode, words
