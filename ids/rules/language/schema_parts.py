"""What the schemas of all parts of a YAML rule are made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StringConstraints, WithJsonSchema

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,9})([smhdw])")

MAX_SECONDS = 31_536_000
"""A year: nothing is remembered for longer."""


class Schema(BaseModel):
    """A mapping that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def _seconds(value: object) -> object:
    """Read ``1h30m`` or a number of seconds."""
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("expected a duration such as 30s, 10m, 1h, 7d")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


Seconds = Annotated[
    int,
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

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
"""The name of a number of the traffic."""

Value = StrictInt | Variable
"""A number, or the name of one."""
