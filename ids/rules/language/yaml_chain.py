"""Reads a chain: a list of tests under one buffer, each of which may look from where the one before it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ids.rules.language.remedies import nearest, remedy_for
from ids.rules.language.schema_steps import (
    ALONE,
    MODIFIERS,
    OPERATORS,
    BytesSchema,
    ComputeSchema,
    ExtractSchema,
    JumpSchema,
    NumberSchema,
    StepSchema,
)
from ids.rules.language.yaml_reading import At, Reading
from ids.rules.model.chain import (
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Entropy,
    Expression,
    Extract,
    Jump,
    Length,
    Listed,
    Number,
    Step,
    Value,
)
from ids.rules.model.rule import Anchor

WORDS = frozenset(field.alias or name for name, field in StepSchema.model_fields.items())
"""All words of a step."""

_FIELDS = {field.alias or name: name for name, field in StepSchema.model_fields.items()}
_ANCHORS = {"contains": Anchor.ANYWHERE, "startswith": Anchor.START, "endswith": Anchor.END, "equals": Anchor.WHOLE}
_FROM_START = frozenset(("at", "from", "within_first"))
_FROM_CURSOR = frozenset(("after", "within"))
_COMPARE = {"equals": "=", "min": ">=", "max": "<=", "gt": ">", "lt": "<", "any_bits": "&"}


def is_chain(value: Any) -> bool:
    """Return whether what stands under a buffer is a chain: a list, or one test with words that only chains have."""
    if isinstance(value, list):
        return any(isinstance(step, dict) and step.keys() != {"hex"} for step in value)
    return isinstance(value, dict) and any(word in WORDS - ALONE - {"not"} for word in value)


def read_chain(reading: Reading, buffer: str, value: Any, at: At) -> Chain | None:
    """Read a chain; None where something is wrong with it."""
    entries = [(step, (*at, i)) for i, step in enumerate(value)] if isinstance(value, list) else [(value, at)]
    before = len(reading.errors)
    if entries:
        _refuse_before_first(reading, *entries[0])
    steps = [step for entry, entry_at in entries for step in _Steps(reading, buffer).read(entry, entry_at)]
    return Chain(buffer, tuple(steps)) if len(reading.errors) == before else None


def _refuse_before_first(reading: Reading, entry: Any, at: At) -> None:
    """Refuse a first test that looks from the one before it."""
    if not isinstance(entry, dict):
        return
    operands = [(one, (*at, word)) for word, one in entry.items() if isinstance(one, dict)]
    for words, words_at in ((entry, at), *operands):
        for word in ("after", "within", "here"):
            if word in words:
                why = f"{word} counts from where the test before ended, and this is the first"
                reading.refuse(why, (*words_at, word), INSTEAD[word])


INSTEAD = {"after": "write from, or at", "within": "write within_first", "here": "leave it out"}
"""What the first test of a chain says, for a word that is about the test before it."""


class _Steps:
    """Reads one step of a chain, which may come to several of the model."""

    def __init__(self, reading: Reading, buffer: str) -> None:
        self._reading = reading
        self._buffer = buffer

    def read(self, entry: Any, at: At) -> list[Step]:
        """Read a step; none where something is wrong with it."""
        reading = self._reading
        if not isinstance(entry, dict) or not entry:
            reading.refuse(f"a step of a chain is a mapping, not {entry!r}", at, "such as `- contains: abc`")
            return []
        unknown = [word for word in entry if word not in WORDS]
        if unknown:
            word = str(unknown[0])
            reading.refuse(f"unknown word {word!r} in a step", (*at, word), remedy_for(word, sorted(WORDS)))
            return []
        tests = [word for word in MODIFIERS if word in entry]
        if len(tests) != 1:
            found = f"it has {' and '.join(tests)}" if tests else "it has none"
            reading.refuse(f"a step has one test; {found}", at, _one_test(list(entry), tests))
            return []
        (test,) = tests
        wrong = [word for word in entry if word != test and word not in MODIFIERS[test]]
        if wrong:
            joins = ", ".join(sorted(MODIFIERS[test])) or "nothing"
            reading.refuse(f"{wrong[0]} does not go with {test}", (*at, wrong[0]), f"{test} goes with {joins}")
            return []
        written = {word: value for word, value in entry.items() if word not in _ANCHORS and word != "entropy"}
        if not reading.numbers_written(written, at):
            return []
        step = reading.shaped(StepSchema, entry, at)
        return self._made(test, step, entry, at) if step is not None else []

    def _made(self, test: str, step: StepSchema, entry: dict[str, Any], at: At) -> list[Step]:
        if test in _ANCHORS:
            return self._literal(test, step, entry, at)
        if test in ("regex", "size", "in_list"):
            return self._of_buffer(test, step, entry, (*at, test))
        self._reading.count((*at, test))
        if test in ("learn", "forget"):
            learned = self._reading.learned(getattr(step, test), (*at, test))
            change = "add" if test == "learn" else "remove"
            return [] if learned is None else [Listed(learned.name, learned.kind, False, learned, change)]
        if step.entropy is not None:
            return [Entropy(*step.entropy.bounds, step.not_)]
        if test in ("data_at_least", "has_byte"):
            count = self._known(getattr(step, test), (*at, test), least=0)
            return [] if count is None else [DataAt(count, step.not_, relative=test == "data_at_least")]
        makers: dict[str, Callable[[StepSchema, At], list[Step]]] = {
            "bytes": self._compare, "jump": self._jump, "extract": self._extract, "compute": self._compute,
            "decode_base64": self._decode,
        }  # fmt: skip
        return makers[test](step, (*at, test))

    def _literal(self, test: str, step: StepSchema, entry: dict[str, Any], at: At) -> list[Step]:
        """Read a literal with its bounds."""
        reading = self._reading
        anchor = _ANCHORS[test]
        value = reading.literal(self._buffer, entry[test], step.nocase, anchor, (*at, test))
        if value is None:
            return []
        if "at" in entry and entry.keys() & {"from", "within_first"}:
            reading.refuse("at says where it is; from and within_first would say it again", (*at, "at"), "keep at")
            return []
        bounds: dict[str, Value | None] = {}
        for word in sorted((_FROM_START | _FROM_CURSOR) & entry.keys()):
            least = -MAX_BACK if word == "after" else 0
            bounds[word] = self._known(getattr(step, _FIELDS[word]), (*at, word), least)
        if None in bounds.values():
            return []
        offset, depth = bounds.get("from"), bounds.get("within_first")
        if "at" in entry:
            offset, depth = bounds["at"], len(value)
        if anchor in (Anchor.START, Anchor.WHOLE):
            offset, depth = 0, len(value)
        for word, limit in (("within_first", depth), ("within", bounds.get("within"))):
            if isinstance(limit, int) and limit < len(value):
                reading.refuse(f"{len(value)} bytes do not fit within {limit}", (*at, word), f"at least {len(value)}")
        at_end = anchor in (Anchor.END, Anchor.WHOLE)
        return [
            Content(value, step.nocase, step.not_, offset, depth, bounds.get("after"), bounds.get("within"), at_end,
                    step.rarest)
        ]  # fmt: skip

    def _of_buffer(self, test: str, step: StepSchema, entry: dict[str, Any], at: At) -> list[Step]:
        """Read a test that is no literal and no number."""
        reading = self._reading
        if test == "regex":
            pattern = reading.pattern(entry[test], step.nocase, at)
            return [] if pattern is None else [Expression(pattern, step.not_, step.here)]
        if test == "size":
            bounds = reading.bounds(entry[test], at)
            return [] if bounds is None else [Length(*bounds, step.not_)]
        found = reading.members(entry[test], at)
        return [] if found is None else [Listed(found[0], found[1], step.not_, found[2])]

    def _compare(self, step: StepSchema, at: At) -> list[Step]:
        operand = step.bytes
        assert isinstance(operand, BytesSchema)
        number = self._number(operand, at)
        given = [(word, getattr(operand, word)) for word in _COMPARE if getattr(operand, word) is not None]
        if step.not_ and len(given) > 1:
            self._reading.refuse("not: true goes with one comparison", at, "make two steps of it")
            return []
        values = [(word, self._known(value, (*at, word), least=0)) for word, value in given]
        if number is None or any(value is None for _, value in values):
            return []
        return [Compare(number, _COMPARE[word], value, step.not_) for word, value in values if value is not None]

    def _jump(self, step: StepSchema, at: At) -> list[Step]:
        operand = step.jump
        assert isinstance(operand, JumpSchema)
        reads = operand.at is not None or operand.after is not None
        number = self._number(operand, at) if reads else Number(0, relative=True)
        plus = self._known(operand.plus, (*at, "plus"), least=-MAX_BACK)
        if number is None or plus is None:
            return []
        if not reads and operand.from_ == "here" and operand.plus == 0:
            self._reading.refuse("a jump by nothing", at, "say by which number, or plus: how many bytes")
            return []
        origin = {"here": "cursor", "start": "begin", "end": "end"}[operand.from_]
        return [Jump(number, operand.times, operand.align is not None, origin, plus)]

    def _extract(self, step: StepSchema, at: At) -> list[Step]:
        operand = step.extract
        assert isinstance(operand, ExtractSchema)
        number = self._number(operand, at)
        self._reading.numbers.add(operand.as_)
        return [] if number is None else [Extract(number, operand.as_, operand.times, operand.align or 0)]

    def _compute(self, step: StepSchema, at: At) -> list[Step]:
        operand = step.compute
        assert isinstance(operand, ComputeSchema)
        word = next(word for word in OPERATORS if getattr(operand, word) is not None)
        number, value = self._number(operand, at), self._known(getattr(operand, word), (*at, word), least=0)
        self._reading.numbers.add(operand.as_)
        if number is None or value is None:
            return []
        return [Compute(number, OPERATORS[word], value, operand.as_)]

    def _decode(self, step: StepSchema, at: At) -> list[Step]:
        operand = step.decode_base64
        assert operand is not None
        self._reading.decodes = True
        relative = operand.after is not None
        return [Decode(operand.size, (operand.after if relative else operand.at) or 0, relative)]

    def _number(self, operand: NumberSchema, at: At) -> Number | None:
        relative = operand.after is not None
        place = operand.after if relative else operand.at
        size = self._known(operand.size or 0, (*at, "size"), least=0)
        offset = self._known(place or 0, (*at, "after" if relative else "at"), least=-MAX_BACK)
        if size is None or offset is None:
            return None
        base = 0 if operand.base == "any" else operand.base
        return Number(size, offset, relative, operand.order, base, operand.mask)

    def _known(self, value: Value | None, at: At, least: int) -> Value | None:
        """Return a value; a name has to be that of a number that was taken before."""
        reading = self._reading
        if isinstance(value, str) and value not in reading.numbers:
            remedy = nearest(value, reading.numbers) if reading.numbers else "take it before, by extract: or compute:"
            reading.refuse(f"nothing before this sets {value!r}", at, remedy)
            return None
        if isinstance(value, int) and value < least:
            reading.refuse(f"{value} is below {least}", at)
            return None
        return value


MAX_BACK = 65_535
"""Bytes that a test may look back."""


def _one_test(words: list[str], tests: list[str]) -> str:
    if tests:
        return "make a step of each: `- contains: a`, then `- regex: b`"
    return f"{', '.join(words)} says where to look: add {', '.join(MODIFIERS)}"
