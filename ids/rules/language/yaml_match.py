"""Reads the ``match`` and ``exceptions`` of a YAML rule into a tree of tests, with the place of everything wrong."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ids.errors import RuleError
from ids.rules.language.impossible import impossible
from ids.rules.language.remedies import nearest, refusal, remedy_for
from ids.rules.language.scalars import Scalars
from ids.rules.language.schema import SizeSchema
from ids.rules.language.variables import GroupError, Variables
from ids.rules.model.patterns import PatternError, Patterns
from ids.rules.model.rule import (
    ENDS,
    Address,
    All,
    Anchor,
    Any_,
    Instance,
    Literal,
    Node,
    NotAny,
    Regex,
    ScapyField,
    Size,
)
from ids.source import Document, InvalidDocument, validate

Path: TypeAlias = tuple[str | int, ...]

MAX_TESTS = 256
"""Tests of one rule; each may cost a pass over the buffer."""

GROUPS: dict[str, Callable[[tuple[Node, ...]], Node]] = {"all": All, "any": Any_, "none": NotAny}
ANCHORS = {anchor.value: anchor for anchor in Anchor}
OPERATORS = [*ANCHORS, "regex", "size"]


class MatchReader:
    """Reads one rule's conditions.

    Errors are collected in ``errors``, and the part concerned is left out; ``warnings`` has what can never hold.
    """

    def __init__(
        self,
        document: Document,
        lists: Mapping[str, list[str]],
        variables: Variables,
        patterns: Patterns | None = None,
        scalars: Scalars | None = None,
    ) -> None:
        self.errors: list[RuleError] = []
        self.warnings: list[RuleError] = []
        self._document = document
        self._lists = lists
        self._variables = variables
        self._patterns = patterns or Patterns()
        self._scalars = scalars or Scalars(document.path)
        self._tests = 0

    def match(self, value: Any, at: Path) -> list[Node]:
        """Read a list of conditions, such as ``match`` itself."""
        if not isinstance(value, list):
            self._refuse("expected a list of conditions", at, "start each condition with `- `")
            return []
        return [node for i, entry in enumerate(value) if (node := self._entry(entry, (*at, i))) is not None]

    def exceptions(self, value: Any, at: Path) -> list[Node]:
        """Read exceptions; each one holds when all that it names is in the lists it gives."""
        if not isinstance(value, list):
            self._refuse("expected a list of exceptions", at, "such as `- {name: scanners, src_ip: approved_scanners}`")
            return []
        found = [self._exception(entry, (*at, i)) for i, entry in enumerate(value)]
        nodes = tuple(node for node in found if node is not None)
        return [NotAny(nodes)] if nodes else []

    def _entry(self, entry: Any, at: Path) -> Node | None:
        if not isinstance(entry, dict) or not entry:
            self._refuse("expected `buffer: {operator: value}`, or any:, all:, none:", at, f"not {entry!r}")
            return None
        nodes = [node for key, value in entry.items() if (node := self._named(str(key), value, (*at, key))) is not None]
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes)) if nodes else None

    def _named(self, name: str, value: Any, at: Path) -> Node | None:
        if name in GROUPS:
            parts = tuple(self.match(value, at))
            if isinstance(value, list) and not value:
                self._refuse(f"{name}: has no conditions", at, "remove it, or list conditions")
            return GROUPS[name](parts) if parts else None
        if name.startswith("scapy."):
            return self._scapy(name, value, at)
        if name in ENDS:
            members = self._addresses(value, at)
            return Address(name, members) if members is not None else None
        if (refused := refusal(name, list(GROUPS))) is not None:
            self._refuse(refused[0], at, refused[1])
            return None
        return self._tests_of(name, value, at)

    def _tests_of(self, buffer: str, value: Any, at: Path) -> Node | None:
        if not isinstance(value, dict):
            value = {"equals": value}
            operator_at = {"equals": at}
        else:
            operator_at = {operator: (*at, operator) for operator in value}
        nocase = value.get("nocase", False)
        if not isinstance(nocase, bool):
            self._refuse("nocase is true or false", operator_at["nocase"], f"not {nocase!r}")
            return None
        if not value.keys() - {"nocase"}:
            self._refuse(f"{buffer} has no operator", at, f"use {', '.join(OPERATORS)}")
        nodes = [
            node
            for operator, operand in value.items()
            if operator != "nocase"
            and (node := self._operator(buffer, str(operator), operand, nocase, operator_at[operator])) is not None
        ]
        return nodes[0] if len(nodes) == 1 else Instance(buffer, tuple(nodes)) if nodes else None

    def _operator(self, buffer: str, operator: str, operand: Any, nocase: bool, at: Path) -> Node | None:
        if operator == "size":
            return self._size(buffer, operand, at)
        if operator not in OPERATORS:
            self._refuse(f"unknown operator {operator!r}", at, remedy_for(operator, [*OPERATORS, "nocase"]))
            return None
        operands = operand if isinstance(operand, list) else [operand]
        if not operands:
            self._refuse(f"{operator} has no values", at, "give at least one")
        nodes = []
        for i, item in enumerate(operands):
            item_at = (*at, i) if isinstance(operand, list) else at
            if operator == "regex":
                node: Node | None = self._regex(buffer, item, nocase, item_at)
            else:
                node = self._literal(buffer, ANCHORS[operator], item, nocase, item_at)
            if node is not None:
                nodes.append(node)
        return nodes[0] if len(nodes) == 1 else Any_(tuple(nodes)) if nodes else None

    def _literal(self, buffer: str, anchor: Anchor, item: Any, nocase: bool, at: Path) -> Literal | None:
        value = self._bytes(item, at)
        if value is None:
            return None
        if not value and anchor is not Anchor.WHOLE:
            self._refuse("an empty text is in every buffer", at, "give at least one byte")
            return None
        self._count(at)
        self._check_value(buffer, value, nocase, anchor, at)
        return Literal(buffer, value.lower() if nocase else value, nocase, anchor)

    def _check_value(self, buffer: str, value: bytes, nocase: bool, anchor: Anchor, at: Path) -> None:
        """Warn of what the buffer never has."""
        if (why := impossible(buffer, value, nocase, anchor)) is not None:
            self._warn(why[0], at, why[1])

    def _bytes(self, item: Any, at: Path) -> bytes | None:
        if isinstance(item, dict) and item.keys() == {"hex"}:
            if not self._as_written(item["hex"], (*at, "hex")):
                return None
            try:
                return bytes.fromhex(str(item["hex"]))
            except ValueError:
                self._refuse(f"{item['hex']!r} is not hexadecimal", (*at, "hex"), 'write pairs of digits: "41 0d 0a"')
                return None
        if isinstance(item, dict | list):
            self._refuse(f'expected text or {{hex: "41 42"}}, not {item!r}', at, "quote it if it is text")
            return None
        return str(item).encode() if self._as_written(item, at) else None

    def _as_written(self, item: Any, at: Path) -> bool:
        """Return whether a scalar is the text that is written there; refuse it where it is not."""
        refused = self._scalars.refusal(item, self._document.locate(at))
        if refused is not None:
            self._refuse(refused[0], at, refused[1])
        return refused is None

    def _number_as_written(self, value: Any, at: Path) -> bool:
        """Return whether a number is the one that is written there; refuse ``010``, which is 8 to YAML."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            return True
        refused = self._scalars.refusal(value, self._document.locate(at))
        if refused is not None:
            self._refuse(refused[0], at, "write the number plainly, in decimal digits and without zeros before them")
        return refused is None

    def _regex(self, buffer: str, item: Any, nocase: bool, at: Path) -> Regex | None:
        if not isinstance(item, str):
            self._refuse(f"expected a regular expression, not {item!r}", at, "quote it")
            return None
        self._count(at)
        try:
            return Regex(buffer, self._patterns.compile(item, nocase))
        except PatternError as error:
            self._refuse(f"regex {item!r}: {error}", at, error.remedy)
            return None

    def _size(self, buffer: str, operand: Any, at: Path) -> Size | None:
        self._count(at)
        for bound, bound_at in (
            [(value, (*at, key)) for key, value in operand.items()] if isinstance(operand, dict) else [(operand, at)]
        ):
            if not self._number_as_written(bound, bound_at):
                return None
        if isinstance(operand, int) and not isinstance(operand, bool) and operand >= 0:
            return Size(buffer, operand, operand)
        if not isinstance(operand, dict) or not operand:
            self._refuse(f"size is a number of bytes or bounds, not {operand!r}", at, "such as {min: 10, max: 20}")
            return None
        try:
            least, most = validate(SizeSchema, self._document, at, operand).bounds
        except InvalidDocument as invalid:
            self.errors += [RuleError(error.message, error.location, error.remedy) for error in invalid.errors]
            return None
        if most is not None and least > most:
            self._refuse("no size is within these bounds", at, f"they ask for at least {least} and at most {most}")
        return Size(buffer, least, most)

    def _scapy(self, name: str, value: Any, at: Path) -> ScapyField | None:
        if not GROUPS.keys().isdisjoint(at[2:]):
            self._refuse("Scapy fields stand at the top of match:, not within any:, all: or none:", at)
            return None
        parts = name.split(".")
        if len(parts) != 3 or not all(part.isidentifier() for part in parts[1:]):
            self._refuse(f"{name!r} names no field", at, "write scapy.<Layer>.<field>, such as scapy.TCP.window")
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self._refuse(f"expected a number or text, not {value!r}", at)
            return None
        if not self._number_as_written(value, at):
            return None
        self._count(at)
        return ScapyField(parts[1], parts[2], value, self._document.locate(at))

    def _exception(self, entry: Any, at: Path) -> Node | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            self._refuse("an exception has a name and what it excepts", at, "such as {name: scanners, src_ip: a_list}")
            return None
        parts = [self._excepted(str(k), v, (*at, k)) for k, v in entry.items() if k != "name"]
        if not parts:
            self._refuse(f"exception {entry['name']!r} excepts nothing", at, "add src_ip, dst_ip or a buffer")
        known = tuple(part for part in parts if part is not None)
        return All(known) if known and len(known) == len(parts) else None

    def _excepted(self, name: str, value: Any, at: Path) -> Node | None:
        if name in ENDS:
            members = self._addresses(value, at)
            return Address(name, members) if members is not None else None
        if (refused := refusal(name, list(ENDS))) is not None:
            self._refuse(refused[0], at, refused[1])
            return None
        items = self._items(value, at)
        for i, item in enumerate(items or ()):
            self._check_value(name, item.encode(), False, Anchor.WHOLE, (*at, i))
        return Any_(tuple(Literal(name, item.encode(), False, Anchor.WHOLE) for item in items)) if items else None

    def _addresses(self, value: Any, at: Path) -> Any:
        if isinstance(value, str) and (value.startswith(("$", "[", "!")) or _is_address(value)):
            items = [value]
        else:
            items = self._items(value, at) or []
        if not items:
            return None
        try:
            return self._variables.addresses(items[0] if len(items) == 1 else "[" + ",".join(items) + "]")
        except GroupError as error:
            self._refuse(str(error), at, error.remedy)
            return None

    def _items(self, value: Any, at: Path) -> list[str] | None:
        """Return the items of a named list, or of one written in place."""
        if isinstance(value, list) and value and not any(isinstance(item, dict | list) for item in value):
            written = [self._as_written(item, (*at, i)) for i, item in enumerate(value)]
            return [str(item) for item in value] if all(written) else None
        if not isinstance(value, str):
            self._refuse(f"expected the name of a list, or a list, not {value!r}", at)
            return None
        if value not in self._lists:
            known = list(self._lists)
            self._refuse(f"unknown list {value!r}", at, nearest(value, known) or "define it under lists:")
            return None
        return self._lists[value]

    def _count(self, at: Path) -> None:
        self._tests += 1
        if self._tests == MAX_TESTS + 1:
            self._refuse(f"a rule has at most {MAX_TESTS} tests", at, "split it, or use one regex")

    def _warn(self, message: str, at: Path, remedy: str) -> None:
        self.warnings.append(RuleError(message, self._document.locate(at), remedy))

    def _refuse(self, message: str, at: Path, remedy: str = "") -> None:
        self.errors.append(RuleError(message, self._document.locate(at), remedy))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
