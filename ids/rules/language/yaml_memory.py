"""Makes of ``when``, ``set``, ``count`` and the like what the model has for them."""

from __future__ import annotations

from ids.rules.language.schema import RuleSchema
from ids.rules.language.schema_memory import BoundsSchema, LogPacketsSchema, SetSchema, WhenSchema
from ids.types import STATELESS, After, BitChange, BitTest, CounterChange, CounterTest, Distinct, State, Tagged
from ids.types.state import SCOPES, StateChange, StateTest

_COMPARE = {"equals": "==", "differs": "!=", "min": ">=", "max": "<=", "gt": ">", "lt": "<"}
_CHANGE = {"add": "+", "subtract": "-", "set": "="}

EXPIRES_S = 3600
"""How long a bit of a host lasts where the rule does not say."""


def state_of(schema: RuleSchema) -> State:
    """Return what a rule asks of state, and does to it."""
    tests: list[StateTest] = [test for when in schema.when for test in _tests(when)]
    changes: list[StateChange] = [
        _change(change, bit) for change in ("set", "unset", "toggle") for bit in getattr(schema, change)
    ]
    for name, counter in schema.counters.items():
        (word,) = counter.model_fields_set
        changes.append(CounterChange(name, _CHANGE[word], getattr(counter, word)))
    if schema.log_packets is not None:
        changes.append(_tagged(schema.log_packets))
    if not (tests or changes or schema.silent):
        return STATELESS
    return State(tuple(tests), tuple(changes), schema.silent)


def distinct_of(schema: RuleSchema) -> Distinct | None:
    """Return how many different things a rule asks for."""
    count = schema.count
    return None if count is None else Distinct(count.distinct, count.by, count.at_least, count.within)


def after_of(schema: RuleSchema) -> After | None:
    """Return which rules a rule comes after."""
    after = schema.after
    return None if after is None else After(tuple(after.rules), after.by, after.times, after.within)


def _tests(when: WhenSchema) -> list[StateTest]:
    tests: list[StateTest] = []
    for scope in SCOPES:
        for key, negated in ((scope, False), (f"not_{scope}", True)):
            names = getattr(when, key)
            if names is not None:
                tests.append(BitTest(scope, tuple(names), negated))
    for name, bounds in (when.counter or {}).items():
        tests += _comparisons(name, bounds)
    return tests


def _comparisons(name: str, bounds: BoundsSchema) -> list[StateTest]:
    tests: list[StateTest] = [
        CounterTest(name, operator, value)
        for word, operator in _COMPARE.items()
        if (value := getattr(bounds, word)) is not None
    ]
    if bounds.is_set is not None:
        tests.append(CounterTest(name, "isset" if bounds.is_set else "notset"))
    return tests


def _tagged(wanted: LogPacketsSchema) -> Tagged:
    """Return whose packets are logged; ``time`` is in seconds."""
    metric, count = next(
        (metric, count)
        for metric, count in (("packets", wanted.packets), ("bytes", wanted.bytes), ("seconds", wanted.time))
        if count is not None
    )
    if wanted.of == "flow":
        return Tagged("session", count, metric)
    return Tagged("host", count, metric, wanted.of)


def _change(change: str, bit: SetSchema) -> BitChange:
    scope = next(scope for scope in SCOPES if getattr(bit, scope) is not None)
    return BitChange(scope, change, getattr(bit, scope), bit.for_ or EXPIRES_S)
