"""Reads the small parts that values of options are made of. All raise `Malformed`."""

from __future__ import annotations

import re

from ids.later import late_pattern
from ids.rules.language.suricata.faults import Malformed
from ids.rules.model.sets import Interval

_NUMBER = late_pattern(r"[+-]?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20})")
_NAME = late_pattern(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")
_BOUND = late_pattern(r"(<=|>=|<|>|!=|=|!)?\s*([0-9]{1,20}|0[xX][0-9a-fA-F]{1,16})")
_UNIT = late_pattern(r"=?\s*([0-9]{1,12})(kb|mb|gb)", re.IGNORECASE)
_UNITS = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_RANGE = late_pattern(r"([0-9]{1,20})\s*(?:<>|-)\s*([0-9]{1,20})")


def required(value: str | None) -> str:
    """Return the value of an option that must have one, without blanks around it."""
    value = "" if value is None else value.strip()
    if not value:
        raise Malformed("it has no value", "write it as `name:value;`")
    return value


def refuse_value(value: str | None) -> None:
    """Raise where an option has a value that takes none."""
    if value is not None and value.strip():
        raise Malformed(f"it takes no value, and has {value.strip()[:40]!r}", "write it as `name;`")


def unquoted(text: str) -> str:
    """Return a text without the quotes around it, where it has any."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text


def quoted(value: str | None) -> tuple[bool, str]:
    """Return whether a ``!`` stands before a quoted text, and what stands in its quotes."""
    text = required(value)
    negated = text[0] == "!"
    if negated:
        text = text[1:].lstrip()
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        raise unquoted_fault(text)
    return negated, text[1:-1]


def unquoted_fault(text: str) -> Malformed:
    """Return what is wrong with a text that should stand in quotes: often, what was behind it is part of it now."""
    if text.startswith('"') and text.count('"') > 1:
        return Malformed(f"behind the quotes of {text[:40]!r} stands more", "a ; is missing there")
    if text.startswith('"'):
        return Malformed(f"{text[:40]!r} has no closing quote", 'write it as "...", and a ; within as |3b|')
    return Malformed(f"{text[:40]!r} does not stand in quotes", 'write it as "..."')


def number(text: str, least: int = 0, most: int = 0xFFFFFFFF) -> int:
    """Read one number, decimal or as 0x1f."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        raise Malformed(f"{text[:40]!r} is no number")
    value = int(text, 16) if "x" in text or "X" in text else int(text)
    if not least <= value <= most:
        raise Malformed(f"{value} is not from {least} to {most}")
    return value


def name(text: str) -> str:
    """Read a name of a variable."""
    text = text.strip()
    if _NAME.fullmatch(text) is None:
        raise Malformed(f"{text[:40]!r} is no name", "names are of letters, digits, _ . and -")
    return text


def commas(text: str) -> list[str]:
    """Split at commas, without blanks around the parts."""
    return [part.strip() for part in text.split(",")]


def intervals(text: str, most: int, *, closed: bool = False) -> tuple[tuple[Interval, ...], bool]:
    """Read ``5``, ``<5``, ``>=5``, ``!5``, ``5<>9`` or ``5kb``; return intervals, and if negated.

    Both ends of a range are included where it is ``closed``.
    """
    text = unquoted(text)
    sized = _UNIT.fullmatch(text)
    if sized is not None:
        text = str(int(sized[1]) * _UNITS[sized[2].lower()])
    found = _RANGE.fullmatch(text)
    if found is not None:
        first, last = int(found[1]), int(found[2])
        inner = 0 if closed else 1
        if not first + inner < last <= most:
            raise Malformed(f"nothing lies between {first} and {last}" if last <= most else f"{last} is above {most}")
        return ((first + inner, last - inner),), False
    found = _BOUND.fullmatch(text)
    if found is None:
        raise Malformed(f"{text[:40]!r} is no number and no range", "write 5, <5, >5, !5 or 5<>9")
    value = int(found[2], 16) if found[2][:2] in ("0x", "0X") else int(found[2])
    sign = found[1] or "="
    if value > most:
        raise Malformed(f"{value} is above {most}")
    if sign in ("!", "!="):
        return ((value, value),), True
    low, high = {
        "=": (value, value),
        "<": (0, value - 1),
        "<=": (0, value),
        ">": (value + 1, most),
        ">=": (value, most),
    }[sign]
    if low > high:
        raise Malformed(f"no number is {sign}{value} here")
    return ((low, high),), False
