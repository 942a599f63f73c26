"""What a rule may say of what came before it: bits and counters, distinct things, other rules' matches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, WithJsonSchema, model_validator

from ids.rules.language.schema_parts import NAME, Name, Part, Seconds, one_or_more

By = Literal["src", "dst", "client", "server", "pair"]

MAX_TIMES = 10_000
"""Matches, or different things, that one rule counts of one party."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


Names = Annotated[
    list[Name],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=64),
    WithJsonSchema(one_or_more({"type": "string", "pattern": NAME})),
]
Sids = Annotated[
    list[StrictInt],
    BeforeValidator(_listed),
    Field(min_length=1, max_length=64),
    WithJsonSchema(one_or_more({"type": "integer", "minimum": 1})),
]


class BoundsSchema(Part):
    """What a counter is compared with: a number, or the name of another counter."""

    equals: StrictInt | Name | None = None
    differs: StrictInt | Name | None = None
    min: StrictInt | Name | None = None
    max: StrictInt | Name | None = None
    gt: StrictInt | Name | None = None
    lt: StrictInt | Name | None = None
    is_set: StrictBool | None = None

    @model_validator(mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return {"equals": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _compares(self) -> BoundsSchema:
        if not self.model_fields_set:
            raise ValueError("compare the counter: equals, differs, min, max, gt, lt or is_set")
        return self


class WhenSchema(Part):
    """What has to be so before the rule is heard; each key given has to hold."""

    flow: Names | None = None
    not_flow: Names | None = None
    src: Names | None = None
    not_src: Names | None = None
    dst: Names | None = None
    not_dst: Names | None = None
    pair: Names | None = None
    not_pair: Names | None = None
    counter: dict[Name, BoundsSchema] | None = None

    @model_validator(mode="after")
    def _asks(self) -> WhenSchema:
        if not self.model_fields_set:
            raise ValueError("ask for something: flow, src, dst, pair, each with not_ before it, or counter")
        return self


class SetSchema(Part):
    """A bit: of the flow, or, for some time, of a host or a pair of hosts."""

    flow: Name | None = None
    src: Name | None = None
    dst: Name | None = None
    pair: Name | None = None
    for_: Seconds | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _one_scope(self) -> SetSchema:
        if sum(value is not None for value in (self.flow, self.src, self.dst, self.pair)) != 1:
            raise ValueError("name one bit: flow, src, dst or pair")
        if self.flow is not None and self.for_ is not None:
            raise ValueError("a bit of a flow lasts as long as the flow: leave out for:")
        return self


class CounterChangeSchema(Part):
    """What is done to a counter of the flow."""

    add: StrictInt | Name | None = None
    subtract: StrictInt | Name | None = None
    set: StrictInt | Name | None = None

    @model_validator(mode="after")
    def _one_change(self) -> CounterChangeSchema:
        if len(self.model_fields_set) != 1:
            raise ValueError("do one thing to the counter: add, subtract or set")
        return self


class CountSchema(Part):
    """How many different things have to be seen of one party."""

    distinct: Literal["src_ip", "dst_ip", "src_port", "dst_port"]
    by: By = "src"
    at_least: StrictInt = Field(ge=2, le=MAX_TIMES)
    within: Seconds


class AfterSchema(Part):
    """Which rules have to match before, how often, for the same party."""

    rules: Sids
    by: By = "client"
    times: StrictInt = Field(1, ge=1, le=MAX_TIMES)
    within: Seconds


class LogPacketsSchema(Part):
    """Whose packets have events of their own after a match, and for how long."""

    of: Literal["flow", "src", "dst"] = "flow"
    packets: StrictInt | None = Field(None, ge=1, le=4096)
    bytes: StrictInt | None = Field(None, ge=1, le=1 << 30)
    time: Seconds | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> LogPacketsSchema:
        if sum(value is not None for value in (self.packets, self.bytes, self.time)) != 1:
            raise ValueError("say how many, in one way: packets, bytes or time")
        return self
