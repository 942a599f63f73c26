"""What reads any part of a YAML rule: its document with the places, the lists it may name, and the faults found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

from ids.errors import RuleError
from ids.literal import cut
from ids.rules.language.impossible import impossible
from ids.rules.language.remedies import nearest
from ids.rules.language.scalars import Scalars
from ids.rules.language.schema_steps import InListSchema, SizeSchema
from ids.rules.language.variables import Variables
from ids.rules.model.lists import Learned, Members, encoded, learned_list, shared_list
from ids.rules.model.patterns import Pattern, PatternError, Patterns
from ids.rules.model.rule import Anchor
from ids.source import Document, InvalidDocument, validate

At: TypeAlias = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

MAX_TESTS = 256
"""Tests of one rule; each may cost a pass over the buffer."""


@dataclass(frozen=True, slots=True)
class NamedList:
    """A list that rules name: its items, or the file that has them."""

    items: tuple[str, ...] = ()
    file: Path | None = None
    kind: str = "string"
    form: str = "plain"
    learned: bool = False
    """Rules put buffers in and take them out."""


class Reading:
    """One rule as it is read.

    Errors are collected in ``errors``, and the part concerned is left out; ``warnings`` has what can never hold.
    """

    def __init__(
        self,
        document: Document,
        lists: Mapping[str, NamedList],
        variables: Variables,
        patterns: Patterns | None = None,
        scalars: Scalars | None = None,
    ) -> None:
        self.errors: list[RuleError] = []
        self.warnings: list[RuleError] = []
        self.document = document
        self.lists = lists
        self.variables = variables
        self.listed = False
        """A list was asked for, which another file may fill, or traffic."""
        self.numbers: set[str] = set()
        """Names that a number of the traffic was given."""
        self.decodes = False
        """Base64 was decoded."""
        self._patterns = patterns or Patterns()
        self._scalars = scalars or Scalars(document.path)
        self._tests = 0

    def refuse(self, message: str, at: At, remedy: str = "") -> None:
        """Collect an error."""
        self.errors.append(RuleError(message, self.document.locate(at), remedy))

    def warn(self, message: str, at: At, remedy: str) -> None:
        """Collect a warning."""
        self.warnings.append(RuleError(message, self.document.locate(at), remedy))

    def count(self, at: At) -> None:
        """Count a test; refuse the first too many."""
        self._tests += 1
        if self._tests == MAX_TESTS + 1:
            self.refuse(f"a rule has at most {MAX_TESTS} tests", at, "split it, or use one regex")

    def shaped(self, model: type[Model], data: Any, at: At) -> Model | None:
        """Return a part as an instance of its model; its faults are collected."""
        try:
            return validate(model, self.document, at, data)
        except InvalidDocument as invalid:
            self.errors += [
                RuleError(error.message.removeprefix("the document: "), error.location, error.remedy)
                for error in invalid.errors
            ]
            return None

    def written(self, item: Any, at: At) -> bool:
        """Return whether a scalar is the text that is written there; refuse it where it is not."""
        refused = self._scalars.refusal(item, self.document.locate(at))
        if refused is not None:
            self.refuse(refused[0], at, refused[1])
        return refused is None

    def number_written(self, value: Any, at: At) -> bool:
        """Return whether a number is the one that is written there; refuse ``010``, which is 8 to YAML."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return True
        place = self.document.locate(at)
        if isinstance(value, int) and self._scalars.is_hexadecimal(value, place):
            return True
        refused = self._scalars.refusal(value, place)
        if refused is not None:
            self.refuse(refused[0], at, "write the number plainly, in decimal digits and without zeros before them")
        return refused is None

    def numbers_written(self, value: Any, at: At) -> bool:
        """Return whether all numbers within a part are those that are written there."""
        if isinstance(value, dict):
            return all(self.numbers_written(one, (*at, key)) for key, one in value.items())
        if value is None:
            self.refuse("there is no value", at, "give one, or leave the word out")
            return False
        if isinstance(value, list):
            return all(self.numbers_written(one, (*at, i)) for i, one in enumerate(value))
        return self.number_written(value, at)

    def text(self, item: Any, at: At) -> bytes | None:
        """Read text, or ``{hex: "41 42"}``."""
        if isinstance(item, dict) and item.keys() == {"hex"}:
            if not self.written(item["hex"], (*at, "hex")):
                return None
            try:
                return bytes.fromhex(str(item["hex"]))
            except ValueError:
                self.refuse(f"{item['hex']!r} is not hexadecimal", (*at, "hex"), 'write pairs of digits: "41 0d 0a"')
                return None
        if isinstance(item, dict | list):
            self.refuse(f'expected text or {{hex: "41 42"}}, not {item!r}', at, "quote it if it is text")
            return None
        return str(item).encode() if self.written(item, at) else None

    def literal(self, buffer: str, item: Any, nocase: bool, anchor: Anchor, at: At) -> bytes | None:
        """Read the value of a literal, in lower case where case does not count; warn of what the buffer never has."""
        value = self.text(item, at)
        if value is None:
            return None
        if not value and anchor is not Anchor.WHOLE:
            self.refuse("an empty text is in every buffer", at, "give at least one byte")
            return None
        self.count(at)
        self.check_value(buffer, value, nocase, anchor, at)
        return value.lower() if nocase else value

    def check_value(self, buffer: str, value: bytes, nocase: bool, anchor: Anchor, at: At) -> None:
        """Warn of what the buffer never has."""
        if (why := impossible(buffer, value, nocase, anchor)) is not None:
            self.warn(why[0], at, why[1])

    def pattern(self, item: Any, nocase: bool, at: At) -> Pattern | None:
        """Read a regular expression."""
        if not isinstance(item, str):
            self.refuse(f"expected a regular expression, not {item!r}", at, "quote it")
            return None
        self.count(at)
        try:
            return self._patterns.compile(item, nocase)
        except PatternError as error:
            self.refuse(f"regex {cut(item)}: {error}", at, error.remedy)
            return None

    def bounds(self, operand: Any, at: At) -> tuple[int, int | None] | None:
        """Read a size: a number of bytes, or bounds."""
        self.count(at)
        if not self.numbers_written(operand, at):
            return None
        if isinstance(operand, int) and not isinstance(operand, bool) and operand >= 0:
            return operand, operand
        if not isinstance(operand, dict) or not operand:
            self.refuse(f"size is a number of bytes or bounds, not {operand!r}", at, "such as {min: 10, max: 20}")
            return None
        read = self.shaped(SizeSchema, operand, at)
        if read is None:
            return None
        least, most = read.bounds
        if most is not None and least > most:
            self.refuse("no size is within these bounds", at, f"they ask for at least {least} and at most {most}")
        return least, most

    def named(self, name: str, at: At) -> NamedList | None:
        """Return a list by its name."""
        self.listed = True
        if name not in self.lists:
            self.refuse(f"unknown list {name!r}", at, nearest(name, list(self.lists)) or "define it under lists:")
            return None
        return self.lists[name]

    def learned(self, name: str, at: At) -> Learned | None:
        """Return a list that rules learn, by its name."""
        named = self.named(name, at)
        if named is None:
            return None
        if not named.learned:
            self.refuse(f"rules cannot change the list {name!r}", at, "define it with learned: true")
            return None
        try:
            return learned_list(name, named.kind)
        except ValueError as error:
            self.refuse(str(error), at)
            return None

    def members(self, operand: Any, at: At) -> tuple[str, str, Members | Learned] | None:
        """Read ``in_list``: the name of a list, or a file; return its name, its kind and what is in it."""
        self.listed = True
        if isinstance(operand, str):
            named, name = self.named(operand, at), operand
            if named is not None and named.learned:
                learned = self.learned(name, at)
                return None if learned is None else (name, learned.kind, learned)
        else:
            read = self.shaped(InListSchema, operand, at)
            if read is None:
                return None
            named, name = NamedList((), self.beside(read.file), read.kind, read.format), read.file
        found = self.loaded(named, at) if named is not None else None
        return (name, found.kind, found) if found is not None else None

    def beside(self, file: str) -> Path:
        """Return a path that is relative to the rule file."""
        return Path(self.document.path).parent / file

    def loaded(self, named: NamedList, at: At) -> Members | None:
        """Return what is in a list."""
        self.count(at)
        try:
            if named.file is not None:
                return shared_list(str(named.file), named.kind, named.form)
            return Members(named.kind, b"".join(encoded(item.encode(), named.kind) for item in named.items))
        except RuleError as error:
            self.errors.append(error)
        except ValueError as error:
            self.refuse(f"the list has no entries of kind {named.kind}: {error}", at)
        return None
