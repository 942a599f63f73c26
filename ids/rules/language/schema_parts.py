"""What the schemas of all parts of a YAML rule are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from ids.later import late_pattern

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = late_pattern(r"(\d{1,9})([smhdw])")

MAX_SECONDS = 31_536_000
"""A year: nothing is remembered for longer."""


class Schema(BaseModel):
    """A mapping that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, strict=False)


class Part(Schema):
    """A mapping in which nothing may be left empty: what is not read would make a rule match more than it says."""

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, value: Any) -> Any:
        refuse_empty(value, value if isinstance(value, dict) else ())
        return value


def refuse_empty(value: Any, keys: Iterable[Any]) -> None:
    """Raise ValueError where one of these keys of a mapping is given without a value."""
    for key in keys:
        if isinstance(value, dict) and key in value and value[key] is None:
            raise ValueError(f"{key} has no value")


def _seconds(value: object) -> object:
    """Read ``1h30m`` or a number of seconds."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("expected a duration such as 30s, 10m, 1h, 7d")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[
    StrictInt,
    BeforeValidator(_seconds),
    Field(ge=1, le=MAX_SECONDS),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_SECONDS},
                {"type": "string", "pattern": r"^(\d{1,9}[smhdw])+$"},
            ],
            "description": "A time: 30s, 10m, 1h, 7d, or a number of seconds.",
        }
    ),
]

Kind = Literal["string", "domain", "md5", "sha1", "sha256", "ip"]
"""What the entries of a list are."""

Form = Literal["plain", "dataset", "sums"]
"""How a file of a list is written."""

NAME = r"^[A-Za-z0-9_.-]{1,64}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


def one_or_more(one: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a value, or of a list of such."""
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
"""The name of a number of the traffic."""

Value = StrictInt | Variable
"""A number, or the name of one."""
