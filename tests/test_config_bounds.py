"""Every setting that is a time or a rate has an end: a number beyond all others was an integer that wrapped around."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from ids.config import Config, load_config
from ids.errors import IdsError


def of_floats(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of settings that are numbers with a fraction."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from of_floats(field.annotation, f"{prefix}{name}.")
        elif field.annotation in (float, float | None):
            yield prefix + name


@pytest.mark.parametrize("name", list(of_floats(Config)))
def test_no_time_and_no_rate_is_without_end(name: str) -> None:
    for value in (".inf", "-.inf", ".nan", "1e300"):
        with pytest.raises(IdsError, match=name.rpartition(".")[2]):
            load_config(None, [f"{name}={value}"])


def test_there_are_such() -> None:
    assert len(list(of_floats(Config))) > 20
    assert math.isfinite(load_config(None, ["flow.tcp_established_timeout_s=31622400"]).flow.tcp_established_timeout_s)
