"""The option ``modbus``: what a request asks of which unit (Suricata's documentation, "Modbus Keyword")."""

from __future__ import annotations

import re

from ids.later import late_pattern
from ids.protocols.rare.modbus import CATEGORIES
from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.buffers import require
from ids.rules.language.suricata.draft import Draft, Part, Piece
from ids.rules.language.suricata.faults import Malformed
from ids.rules.language.suricata.words import number, required, unquoted
from ids.rules.model.chain import Compare, Length, Number

_RANGE = r"([<>]?\d+)(?:<>(\d+))?"
_UNIT = late_pattern(rf"unit\s+{_RANGE}(?:\s*,\s*(.+))?")
_FUNCTION = late_pattern(r"function\s+(!?)(\w+)(?:\s*,\s*subfunction\s+(\d+))?")
_ACCESS = late_pattern(
    rf"access\s+(read|write)(?:\s+(discretes|coils|input|holding))?(?:\s*,\s*address\s+{_RANGE}(?:\s*,\s*value\s+{_RANGE})?)?"
)
_SETS = {name: {name} for name in CATEGORIES} | {"public": {"assigned", "unassigned"}, "all": set(CATEGORIES)}
_HOW = "write function 8, subfunction 4; access write coils, address 10, value 1; or unit 10, function 3"
_MOST = 0xFFFF


def modbus(draft: Draft, value: str | None) -> None:
    """``modbus: function 8, subfunction 4``; ``access ...``; either behind ``unit 10``."""
    text = unquoted(required(value)).strip()
    found = _UNIT.fullmatch(text)
    if found is not None:
        _compare(draft, "modbus.unit", Number(0, base=10), found[1], found[2])
        text = (found[3] or "").strip()
        if not text:
            return
    found = _FUNCTION.fullmatch(text)
    if found is not None:
        _function(draft, bool(found[1]), found[2], found[3])
        return
    found = _ACCESS.fullmatch(text)
    if found is None:
        raise Malformed(f"{text[:60]!r} is nothing that Modbus has", _HOW)
    _access(draft, found)


def _function(draft: Draft, negated: bool, what: str, subfunction: str | None) -> None:
    if what.isdigit():
        if negated:
            raise Malformed("a number of a function cannot be negated", _HOW)
        _equals(draft, "modbus.function", number(what, 1, 255))
        if subfunction is not None:
            _equals(draft, "modbus.subfunction", number(subfunction, 0, _MOST))
        return
    if what not in _SETS or subfunction is not None:
        raise Malformed(f"{what!r} is no kind of function", nearest(what, list(_SETS)))
    part = Part(require("modbus.category"))
    part.steps.append(Length(1, None))
    for name in CATEGORIES:
        if (name in _SETS[what]) == negated:
            part.steps.append(Piece(f" {name} ".encode(), True, part))
    draft.parts.append(part)


def _access(draft: Draft, found: re.Match[str]) -> None:
    kind, of, first, last, least, most = found.groups()
    if kind == "write" and of in ("discretes", "input"):
        raise Malformed(f"{of} can be read only", "write coils or holding")
    part = Part(require("modbus.access"))
    part.steps += [Piece(f" {word} ".encode(), False, part) for word in (kind, of) if word]
    draft.parts.append(part)
    if first is None:
        return
    _overlap(draft, first, last)
    if least is not None:
        if not first.isdigit() or last is not None or kind == "read":
            raise Malformed("a value is that of one address, and written", _HOW)
        part = Part(require("modbus.value"))
        part.steps.append(Compare(Number(2), "=", number(first, 0, _MOST)))
        part.steps += _bounds(Number(2, 2), least, most)
        draft.parts.append(part)


def _overlap(draft: Draft, first: str, last: str | None) -> None:
    """Add that the addresses of a request and those of the rule have some in common, as Suricata counts them."""
    begins, ends = Number(2), Number(2, 2)
    part = Part(require("modbus.address"))
    if last is not None:
        part.steps += [Compare(ends, ">", number(first, 0, _MOST)), Compare(begins, "<", number(last, 0, _MOST))]
    elif first[0] == "<":
        part.steps.append(Compare(begins, "<", number(first[1:], 0, _MOST)))
    elif first[0] == ">":
        part.steps.append(Compare(ends, ">", number(first[1:], 0, _MOST)))
    else:
        wanted = number(first, 0, _MOST)
        part.steps += [Compare(begins, "<=", wanted), Compare(ends, ">=", wanted)]
    draft.parts.append(part)


def _equals(draft: Draft, buffer: str, value: int) -> None:
    part = Part(require(buffer))
    part.steps.append(Compare(Number(0, base=10), "=", value))
    draft.parts.append(part)


def _compare(draft: Draft, buffer: str, where: Number, least: str, most: str | None) -> None:
    part = Part(require(buffer))
    part.steps += _bounds(where, least, most)
    draft.parts.append(part)


def _bounds(where: Number, least: str, most: str | None) -> list[Compare]:
    """Return what ``5``, ``<5``, ``>5`` and ``5<>9`` (neither end included) ask of a number."""
    if most is not None:
        return [Compare(where, ">", number(least, 0, _MOST)), Compare(where, "<", number(most, 0, _MOST))]
    sign = least[0] if least[0] in "<>" else "="
    return [Compare(where, sign, number(least.lstrip("<>"), 0, _MOST))]
