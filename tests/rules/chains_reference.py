"""The documented semantics of chains, spelt out directly and slowly, and random chains to hold `chains` against it.

``python -m tests.rules.chains_reference --cases 100000 --seed 1`` runs as many cases as you have time for; the suite
runs a few thousand. The alphabet is small and the data short, so that things collide.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ids.rules.match.chains import judge
from ids.rules.match.reading import Variables
from ids.rules.model.chain import (
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Expression,
    Extract,
    Jump,
    Length,
    Number,
    Step,
    Value,
)
from ids.rules.model.patterns import Pattern, compile_pattern

WRAP = 1 << 64

EXPRESSIONS = (
    "ab", "a.b", "a+b", "^ab", "^[ab]+", "b[^a]*a", "(?:ab|a)b?", "a.*?b", "[0-3]+", "a{2}", "(?i)ba", "^.b", "b$",
    "a?b",
)  # fmt: skip
"""They mean the same to Python's ``re`` and to PCRE, on data without a line feed."""


@cache
def pattern(text: str) -> Pattern:
    """Compile an expression once."""
    return compile_pattern(text)


@dataclass(frozen=True)
class Place:
    """Where a naive evaluation stands."""

    cursor: int
    values: dict[str, int] = field(default_factory=dict)

    def value(self, value: Value | None) -> int:
        """Return what a value comes to."""
        return self.values[value] if isinstance(value, str) else value or 0


def naive(steps: tuple[Step, ...], data: bytes, place: Place | None = None) -> Place | None:
    """Return where the first way to satisfy all steps ends; None when there is none. Every way is tried."""
    place = place or Place(0)
    if not steps:
        return place
    for following in ways(steps[0], data, place):
        found = naive(steps[1:], data, following)
        if found is not None:
            return found
    return None


def ways(step: Step, data: bytes, place: Place) -> Iterator[Place]:
    """Yield every way in which one step can hold."""
    if isinstance(step, Content):
        ends = list(content_ends(step, data, place))
        yield from ([] if ends else [place]) if step.negated else [Place(end, place.values) for end in ends]
    elif isinstance(step, Expression):
        ends = list(expression_ends(step, data, place))
        yield from ([] if ends else [place]) if step.negated else [Place(end, place.values) for end in ends]
    elif isinstance(step, DataAt):
        count = place.value(step.count)
        there = place.cursor + count <= len(data) if step.relative else count < len(data)
        yield from [place] if there is not step.negated else []
    elif isinstance(step, Length):
        fits = step.least <= len(data) and (step.most is None or len(data) <= step.most)
        yield from [place] if fits is not step.negated else []
    else:
        assert isinstance(step, Compare | Jump | Extract | Compute)
        read = number_at(step.number, data, place)
        if read is not None:
            yield from numeric_ways(step, data, place, *read)


def content_ends(step: Content, data: bytes, place: Place) -> Iterator[int]:
    """Yield the ends of a literal's places, in order: each place of the buffer is looked at."""
    for start in range(len(data) - len(step.value) + 1):
        end = start + len(step.value)
        there = data[start:end]
        if (there.lower() if step.nocase else there) != step.value:
            continue
        first = place.value(step.offset)
        distance = place.value(step.distance)
        if start < first or (step.depth is not None and end > first + place.value(step.depth)):
            continue
        if step.relative and start < place.cursor + distance:
            continue
        last = place.cursor + distance + place.value(step.within)
        if step.within is not None and 0 <= last < end:
            continue
        if step.at_end and end != len(data):
            continue
        yield end


def expression_ends(step: Expression, data: bytes, place: Place) -> Iterator[int]:
    """Yield the ends of an expression's matches: at each place where one starts, the one that PCRE prefers."""
    base = place.cursor if step.relative else 0
    subject = data[base:]
    compiled = re.compile(step.pattern.text.encode())
    for start in range(len(subject) + 1):
        found = compiled.match(subject, start)
        if found is not None:
            yield base + found.end()


def number_at(number: Number, data: bytes, place: Place) -> tuple[int, int] | None:
    """Return a number and where it ends."""
    start = place.value(number.offset) + (place.cursor if number.relative else 0)
    size = place.value(number.size)
    if start < 0 or start + size > len(data) or not data or (number.relative and start == len(data)):
        return None
    raw = data[start : start + size]
    if number.base is None:
        if size > 8:
            return None
        value = 0
        for byte in raw if number.order == "big" else reversed(raw):
            value = value * 256 + byte
        return value, start + size
    if size > 23:
        return None
    digits = {8: "01234567", 10: "0123456789", 16: "0123456789abcdef"}[number.base or 10]
    text = raw.decode("latin-1").lower()
    at = len(text) - len(text.lstrip(" \t\n\v\f\r"))
    negative = text[at : at + 1] == "-"
    at += text[at : at + 1] in ("+", "-") and len(text) > at
    if number.base == 16 and text[at : at + 2] == "0x" and text[at + 2 : at + 3] in set(digits):
        at += 2
    first = at
    while at < len(text) and text[at] in digits:
        at += 1
    if at == first:
        return None
    value = int(text[first:at], number.base or 10)
    return None if value >= WRAP else (-value % WRAP if negative else value, start + at)


def masked(value: int, bits: int | None) -> int:
    """Mask a value and shift it to the mask's lowest bit."""
    if bits is None:
        return value
    value &= bits
    while bits and not bits & 1:
        bits >>= 1
        value >>= 1
    return value


def numeric_ways(
    step: Compare | Jump | Extract | Compute, data: bytes, place: Place, value: int, end: int
) -> Iterator[Place]:
    """Yield the one way in which a step on a number can hold, if it does."""
    if isinstance(step, Compute):
        by = place.value(step.value)
        if step.operator == "/" and by == 0:
            return
        result = {
            "+": lambda: value + by,
            "-": lambda: value - by,
            "*": lambda: value * by,
            "/": lambda: value // by,
            "<<": lambda: value << by if by < 64 else 0,
            ">>": lambda: value >> by if by < 64 else 0,
        }[step.operator]()
        yield Place(end, {**place.values, step.name: masked(result % WRAP, step.number.bits)})
        return
    value = masked(value, step.number.bits)
    if isinstance(step, Compare):
        by = place.value(step.value)
        holds = {
            "=": value == by, "<": value < by, ">": value > by, "<=": value <= by, ">=": value >= by,
            "&": value & by != 0, "^": value ^ by != 0,
        }[step.operator]  # fmt: skip
        if holds is not step.negated:
            yield place
    elif isinstance(step, Extract):
        value *= step.multiplier
        while step.align and value % step.align:
            value += 1
        yield Place(end, {**place.values, step.name: value % WRAP})
    else:
        value *= step.multiplier
        while step.align and value % 4:
            value += 1
        value = (value + place.value(step.post_offset)) % WRAP
        value -= WRAP if value >= WRAP // 2 else 0
        target = value + {"begin": 0, "end": len(data), "cursor": end}[step.origin]
        if target <= len(data):
            yield Place(max(0, target), place.values)


class Maker:
    """Makes random chains and data. With ``loadable``, such chains only as Suricata's language can spell."""

    def __init__(self, seed: int, loadable: bool = False) -> None:
        self.random = random.Random(seed)
        self.loadable = loadable

    def data(self) -> bytes:
        """Return a buffer."""
        chance = self.random
        alphabet = chance.choice([b"ab", b"abA", b"ab01", b"a\x01b\x02\x00", b"abAB 0123\x01\xff"])
        return bytes(chance.choices(alphabet, k=chance.choice([1, 4, 8, 12, 20, 30]) if chance.random() < 0.97 else 0))

    def near(self) -> tuple[tuple[Step, ...], bytes]:
        """Return a chain in which each test is close behind the one before, and data in which it nearly holds."""
        chance = self.random
        steps: list[Step] = []
        for _ in range(chance.choice([2, 2, 3, 4])):
            size = chance.choice([1, 2, 2, 3])
            value = bytes(chance.choices(b"ab", k=size))
            if not steps:
                steps.append(Content(value) if chance.random() < 0.7 else self.expression([], first=True))
            elif chance.random() < 0.2:
                steps.append(Expression(pattern(chance.choice(EXPRESSIONS)), relative=True))
            else:
                distance = chance.choice([None, 0, 0, 1, -1, -2])
                within = None if distance is not None and chance.random() < 0.2 else size + chance.randrange(3)
                steps.append(Content(value, False, chance.random() < 0.1, distance=distance, within=within))
        return tuple(steps), bytes(chance.choices(b"ab", k=chance.randrange(4, 14)))

    def case(self) -> tuple[tuple[Step, ...], bytes]:
        """Return a chain and data."""
        return self.near() if self.random.random() < 0.4 else (self.steps(), self.data())

    def steps(self) -> tuple[Step, ...]:
        """Return the steps of a chain."""
        names: list[str] = []
        steps: list[Step] = []
        for _ in range(self.random.choice([1, 2, 2, 3, 3, 4, 5])):
            step = self.step(names, first=not steps)
            if isinstance(step, Extract | Compute):
                names.append(step.name)
            steps.append(step)
        return tuple(steps)

    def step(self, names: list[str], first: bool) -> Step:
        """Return one step, which may use the variables."""
        chance = self.random
        kinds: list[Any] = [self.content] * 6 + [self.expression] * 2
        kinds += [self.data_at, self.compare, self.jump, self.extract, self.compute, self.length]
        made: Step = chance.choice(kinds)(names, first)
        return made

    def content(self, names: list[str], first: bool) -> Content:
        """Return a literal with some bounds."""
        chance = self.random
        nocase = chance.random() < 0.2
        value = bytes(
            chance.choices(b"ab" if chance.random() < 0.8 else b"abA01\x01", k=chance.choice([1, 1, 2, 2, 3]))
        )
        bounds: dict[str, Value | None] = {}
        kind = chance.choice(["none", "absolute", "relative", "relative", "both"])
        if kind == "both" and self.loadable:
            kind = "relative"
        if first and self.loadable and kind == "relative":
            kind = "absolute"
        if kind in ("absolute", "both"):
            bounds["offset"] = self.maybe(chance.randrange(6), names)
            bounds["depth"] = self.maybe(len(value) + chance.randrange(6), names)
        if kind in ("relative", "both"):
            bounds["distance"] = self.maybe(chance.randrange(-3, 5), names)
            bounds["within"] = self.maybe(len(value) + chance.randrange(5), names)
        negated = chance.random() < 0.2
        at_end = chance.random() < 0.1 and kind == "none" and not (self.loadable and negated)
        return Content(value.lower() if nocase else value, nocase, negated, **bounds, at_end=at_end)  # type: ignore[arg-type]

    def maybe(self, number: int, names: list[str]) -> Value | None:
        """Return nothing, a number, or now and then a variable."""
        chance = self.random.random()
        if chance < 0.3:
            return None
        return self.random.choice(names) if names and chance > 0.85 else number

    def expression(self, _names: list[str], first: bool) -> Expression:
        """Return an expression."""
        chance = self.random
        relative = chance.random() < 0.5 and not (first and self.loadable)
        return Expression(pattern(chance.choice(EXPRESSIONS)), chance.random() < 0.2, relative)

    def data_at(self, names: list[str], first: bool) -> DataAt:
        """Return a test on how much data there is."""
        chance = self.random
        count = chance.choice(names) if names and chance.random() < 0.3 else chance.randrange(10)
        return DataAt(count, chance.random() < 0.4, chance.random() < 0.6 and not (first and self.loadable))

    def length(self, _names: list[str], _first: bool) -> Step:
        """Return a test on the length; Suricata has none of the payload, so there another one."""
        chance = self.random
        if self.loadable:
            return self.content(_names, _first)
        least = chance.randrange(12)
        return Length(least, chance.choice([None, least + chance.randrange(10)]), chance.random() < 0.3)

    def number(self, names: list[str], first: bool) -> Number:
        """Return a number's place and form."""
        chance = self.random
        relative = chance.random() < 0.6 and not (first and self.loadable)
        offset: Value = chance.randrange(-3 if relative else 0, 6)
        if chance.random() < 0.3:
            return Number(chance.randrange(1, 5), offset, relative, base=chance.choice([8, 10, 16]))
        order = chance.choice(["big", "little"])
        return Number(chance.choice([1, 1, 2, 4]), offset, relative, order)

    def compare(self, names: list[str], first: bool) -> Compare:
        """Return a ``byte_test``."""
        chance = self.random
        value = chance.choice(names) if names and chance.random() < 0.3 else chance.choice([0, 1, 2, 10, 97, 98, 24929])
        operators = ["<", ">", "=", "&", "^"] + ([] if self.loadable else ["<=", ">="])
        return Compare(self.number(names, first), chance.choice(operators), value, chance.random() < 0.2)

    def jump(self, names: list[str], first: bool) -> Jump:
        """Return a ``byte_jump``, mostly by little."""
        chance = self.random
        number = self.number(names, first)
        post = chance.choice([0, 0, -95, -96, -97, -2, 1])
        origin = chance.choice(["cursor", "cursor", "begin", "end"])
        return Jump(number, chance.choice([1, 1, 2]), chance.random() < 0.2, origin, post)

    def extract(self, names: list[str], first: bool) -> Extract:
        """Return a ``byte_extract``."""
        chance = self.random
        return Extract(
            self.number(names, first), f"e{len(names)}", chance.choice([1, 1, 2]), 0 if chance.random() < 0.8 else 4
        )

    def compute(self, names: list[str], first: bool) -> Compute:
        """Return a ``byte_math``."""
        chance = self.random
        operator = chance.choice(["+", "-", "*", "/", "<<", ">>"])
        value: Value = chance.choice([1, 2, 94, 95, 96])
        if operator in ("<<", ">>"):
            value = chance.choice([1, 2, 5] if self.loadable else [1, 2, 63, 64, 95])  # C says nothing of 64 and more
        elif names and chance.random() < 0.3:
            value = chance.choice(names)
        return Compute(self.number(names, first), operator, value, f"m{len(names)}")


def disagreement(steps: tuple[Step, ...], data: bytes) -> str:
    """Return how the engine and the reference disagree on a case; empty when they agree."""
    values = Variables()
    at = judge(Chain("payload", steps), data, data.lower, values)
    if at.exhausted:
        return ""
    expected = naive(steps, data)
    if (at.held is not None) is not (expected is not None):
        return f"{steps} on {data!r}: {at.held} instead of {expected}"
    if expected is not None and dict(values) != expected.values:
        return f"{steps} on {data!r}: variables {dict(values)} instead of {expected.values}"
    return ""


def main() -> int:
    """Run many cases; print those on which the two disagree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    maker = Maker(options.seed)
    failures = held = 0
    for _ in range(options.cases):
        steps, data = maker.case()
        reason = disagreement(steps, data)
        held += naive(steps, data) is not None
        if reason:
            failures += 1
            print(reason)
            if failures >= 10:
                break
    print(f"{options.cases:,} cases, {held:,} of them hold, {failures} disagreements")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
