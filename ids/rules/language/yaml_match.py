"""Reads the ``match`` and ``exceptions`` of a YAML rule into a tree of tests, with the place of everything wrong."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from ids.rules.language import yaml_headers
from ids.rules.language.remedies import refusal, remedy_for, transform_remedy
from ids.rules.language.variables import GroupError
from ids.rules.language.yaml_chain import is_chain, read_chain
from ids.rules.language.yaml_reading import At, Reading
from ids.rules.model.chain import DECODED
from ids.rules.model.lists import ListedAddresses, Members
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
    base_of,
)
from ids.rules.model.sets import AddressSet
from ids.rules.model.transforms import NAMES, TransformError, transform_of, transforms_of

GROUPS: dict[str, Callable[[tuple[Node, ...]], Node]] = {"all": All, "any": Any_, "none": NotAny}
ANCHORS = {anchor.value: anchor for anchor in Anchor}
OPERATORS = [*ANCHORS, "regex", "size"]
OTHERS = [*GROUPS, *ENDS, *sorted(yaml_headers.WORDS)]
"""What conditions may name that is no buffer."""


class MatchReader:
    """Reads one rule's conditions."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def match(self, value: Any, at: At) -> list[Node]:
        """Read a list of conditions, such as ``match`` itself."""
        if not isinstance(value, list):
            self._reading.refuse("expected a list of conditions", at, "start each condition with `- `")
            return []
        return [node for i, entry in enumerate(value) if (node := self._entry(entry, (*at, i))) is not None]

    def exceptions(self, value: Any, at: At) -> list[Node]:
        """Read exceptions; each one holds when all that it names is in the lists it gives."""
        if not isinstance(value, list):
            self._reading.refuse(
                "expected a list of exceptions", at, "such as `- {name: scanners, src_ip: approved_scanners}`"
            )
            return []
        found = [self._exception(entry, (*at, i)) for i, entry in enumerate(value)]
        nodes = tuple(node for node in found if node is not None)
        return [NotAny(nodes)] if nodes else []

    def _entry(self, entry: Any, at: At) -> Node | None:
        if not isinstance(entry, dict) or not entry:
            self._reading.refuse("expected `buffer: {operator: value}`, or any:, all:, none:", at, f"not {entry!r}")
            return None
        nodes = [node for key, value in entry.items() if (node := self._named(str(key), value, (*at, key))) is not None]
        return nodes[0] if len(nodes) == 1 else All(tuple(nodes)) if nodes else None

    def _named(self, name: str, value: Any, at: At) -> Node | None:
        if name in GROUPS:
            parts = tuple(self.match(value, at))
            if isinstance(value, list) and not value:
                self._reading.refuse(f"{name}: has no conditions", at, "remove it, or list conditions")
            return GROUPS[name](parts) if parts else None
        if name.startswith("scapy."):
            return self._scapy(name, value, at)
        if name in yaml_headers.WORDS:
            return yaml_headers.read_header(self._reading, name, value, at)
        if name in ENDS:
            members = self._addresses(value, at)
            return Address(name, members) if members is not None else None
        if not self._is_buffer(name, OTHERS, at):
            return None
        if is_chain(value):
            return read_chain(self._reading, name, value, at)
        return self._tests_of(name, value, at)

    def _is_buffer(self, name: str, others: list[str], at: At) -> bool:
        """Return whether a name is that of a buffer, with transforms behind it; refuse it where it is not."""
        base = base_of(name)
        if base == DECODED:
            if not self._reading.decodes:
                self._reading.refuse(f"nothing before this fills {DECODED}", at, "decode_base64: in a chain before it")
                return False
        elif (refused := refusal(base, others)) is not None:
            self._reading.refuse(refused[0], at, refused[1])
            return False
        try:
            transform_of(name)
        except TransformError as error:
            unknown = [word for word, _ in transforms_of(name) if word not in NAMES]
            remedy = transform_remedy(unknown[0], base, OPERATORS, NAMES) if unknown else ""
            self._reading.refuse(f"unknown transform {unknown[0]!r}" if unknown else str(error), at, remedy)
            return False
        return True

    def _tests_of(self, buffer: str, value: Any, at: At) -> Node | None:
        refuse = self._reading.refuse
        if value == []:
            refuse(f"{buffer} has no tests", at, "list some, or remove it")
            return None
        if not isinstance(value, dict):
            value = {"equals": value}
            operator_at = {"equals": at}
        else:
            operator_at = {operator: (*at, operator) for operator in value}
        nocase = value.get("nocase", False)
        if not isinstance(nocase, bool):
            refuse("nocase is true or false", operator_at["nocase"], f"not {nocase!r}")
            return None
        if not value.keys() - {"nocase"}:
            refuse(f"{buffer} has no operator", at, f"use {', '.join(OPERATORS)}")
        nodes = [
            node
            for operator, operand in value.items()
            if operator != "nocase"
            and (node := self._operator(buffer, str(operator), operand, nocase, operator_at[operator])) is not None
        ]
        return nodes[0] if len(nodes) == 1 else Instance(buffer, tuple(nodes)) if nodes else None

    def _operator(self, buffer: str, operator: str, operand: Any, nocase: bool, at: At) -> Node | None:
        if operator == "size":
            bounds = self._reading.bounds(operand, at)
            return None if bounds is None else Size(buffer, *bounds)
        if operator not in OPERATORS:
            remedy = remedy_for(operator, [*OPERATORS, "nocase", "in_list", "bytes"])
            self._reading.refuse(f"unknown operator {operator!r}", at, remedy)
            return None
        operands = operand if isinstance(operand, list) else [operand]
        if not operands:
            self._reading.refuse(f"{operator} has no values", at, "give at least one")
        nodes = []
        for i, item in enumerate(operands):
            item_at = (*at, i) if isinstance(operand, list) else at
            node = self._test(buffer, operator, item, nocase, item_at)
            if node is not None:
                nodes.append(node)
        return nodes[0] if len(nodes) == 1 else Any_(tuple(nodes)) if nodes else None

    def _test(self, buffer: str, operator: str, item: Any, nocase: bool, at: At) -> Literal | Regex | None:
        if operator == "regex":
            pattern = self._reading.pattern(item, nocase, at)
            return None if pattern is None else Regex(buffer, pattern)
        anchor = ANCHORS[operator]
        value = self._reading.literal(buffer, item, nocase, anchor, at)
        return None if value is None else Literal(buffer, value, nocase, anchor)

    def _scapy(self, name: str, value: Any, at: At) -> ScapyField | None:
        if not GROUPS.keys().isdisjoint(at[2:]):
            self._reading.refuse("Scapy fields stand at the top of match:, not within any:, all: or none:", at)
            return None
        parts = name.split(".")
        if len(parts) != 3 or not all(part.isidentifier() for part in parts[1:]):
            self._reading.refuse(
                f"{name!r} names no field", at, "write scapy.<Layer>.<field>, such as scapy.TCP.window"
            )
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            self._reading.refuse(f"expected a number or text, not {value!r}", at)
            return None
        if not self._reading.number_written(value, at):
            return None
        self._reading.count(at)
        return ScapyField(parts[1], parts[2], value, self._reading.document.locate(at))

    def _exception(self, entry: Any, at: At) -> Node | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            self._reading.refuse(
                "an exception has a name and what it excepts", at, "such as {name: scanners, src_ip: a_list}"
            )
            return None
        parts = [self._excepted(str(k), v, (*at, k)) for k, v in entry.items() if k != "name"]
        if not parts:
            self._reading.refuse(f"exception {entry['name']!r} excepts nothing", at, "add src_ip, dst_ip or a buffer")
        known = tuple(part for part in parts if part is not None)
        return All(known) if known and len(known) == len(parts) else None

    def _excepted(self, name: str, value: Any, at: At) -> Node | None:
        if name in ENDS:
            members = self._addresses(value, at)
            return Address(name, members) if members is not None else None
        if not self._is_buffer(name, list(ENDS), at):
            return None
        if isinstance(value, dict) or (isinstance(value, str) and self._is_file(value)):
            return read_chain(self._reading, name, {"in_list": value}, at)
        items = self._items(value, at)
        for i, item in enumerate(items or ()):
            self._reading.check_value(name, item.encode(), False, Anchor.WHOLE, (*at, i))
        return Any_(tuple(Literal(name, item.encode(), False, Anchor.WHOLE) for item in items)) if items else None

    def _is_file(self, name: str) -> bool:
        """Return whether a name is that of a list that a file has."""
        named = self._reading.lists.get(name)
        return named is not None and (named.file is not None or named.learned)

    def _addresses(self, value: Any, at: At) -> AddressSet | ListedAddresses | None:
        if isinstance(value, dict) or (isinstance(value, str) and self._is_file(value)):
            return self._listed_addresses(value, at)
        if isinstance(value, str) and (value.startswith(("$", "[", "!")) or _is_address(value)):
            items = [value]
        else:
            items = self._items(value, at) or []
        if not items:
            return None
        try:
            return self._reading.variables.addresses(items[0] if len(items) == 1 else "[" + ",".join(items) + "]")
        except GroupError as error:
            self._reading.refuse(str(error), at, error.remedy)
            return None

    def _listed_addresses(self, value: Any, at: At) -> ListedAddresses | None:
        """Read addresses from a file: ``{in_list: name}``, or the name alone."""
        if isinstance(value, dict):
            if value.keys() != {"in_list"}:
                self._reading.refuse("addresses are a list, or in_list", at, "such as {in_list: a_list}")
                return None
            value = value["in_list"]
        found = self._reading.members(value, at)
        if found is None:
            return None
        if not isinstance(found[2], Members) or found[1] != "ip":
            self._reading.refuse(f"the list {found[0]!r} has no addresses", at, "give it kind: ip")
            return None
        return ListedAddresses(found[0], found[2])

    def _items(self, value: Any, at: At) -> list[str] | None:
        """Return the items of a named list, or of one written in place."""
        if isinstance(value, list) and value and not any(isinstance(item, dict | list) for item in value):
            written = [self._reading.written(item, (*at, i)) for i, item in enumerate(value)]
            return [str(item) for item in value] if all(written) else None
        if not isinstance(value, str):
            self._reading.refuse(f"expected the name of a list, or a list, not {value!r}", at)
            return None
        named = self._reading.named(value, at)
        if named is not None and not named.items:
            self._reading.refuse(f"the list {value!r} has no items written in it", at, "use in_list")
            return None
        return None if named is None else list(named.items)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
