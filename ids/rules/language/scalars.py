"""Values without quotes that YAML made numbers or words of its own of: ``010`` is 8 to it, ``12:30`` is 750."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ids.errors import Location
from ids.later import late_pattern

_LINE_END = late_pattern(r"\r\n|[\r\n\x85\u2028\u2029]")
"""What ends a line in YAML 1.1, by which places are counted."""
_SCALAR = late_pattern(r"(?:[&!]\S*\s+)*([^\s,\[\]{}]+)")
_HEXADECIMAL = late_pattern(r"0x[0-9A-Fa-f]{1,16}")

_NULLS = ("null", "Null", "NULL", "~")


class Scalars:
    """The values of one file, as they are written in it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def refusal(self, value: Any, place: Location) -> tuple[str, str] | None:
        """Return why a value cannot be text as it is, and what to do; None for text, and for numbers as written."""
        if isinstance(value, str):
            return None
        written = self._written(place)
        if isinstance(value, int) and not isinstance(value, bool) and written in ("", str(value)):
            return None
        if value is None and written not in _NULLS:
            return "there is no value", "give the text to look for, in quotes"
        spelled = written or str(value)
        return f"{spelled} without quotes is {_meaning(value)} to YAML", f"quote it if it is text: '{spelled}'"

    def is_hexadecimal(self, value: int, place: Location) -> bool:
        """Return whether a number is written as ``0x1f``, which says what it is."""
        written = self._written(place)
        return _HEXADECIMAL.fullmatch(written) is not None and int(written, 16) == value

    def _written(self, place: Location) -> str:
        """Return a value as it is written, empty where the file does not say any more."""
        if not 0 < place.line <= len(self._lines):
            return ""
        found = _SCALAR.match(self._lines[place.line - 1], max(place.column - 1, 0))
        return found[1] if found else ""

    @cached_property
    def _lines(self) -> list[str]:
        """The file, read again: what was parsed has only the values. Few files come to this."""
        try:
            with open(self._path, encoding="utf-8-sig", newline="") as file:
                return _LINE_END.split(file.read())
        except (OSError, UnicodeDecodeError):
            return []


def _meaning(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return repr(value)
    return "no value" if value is None else "a date"
