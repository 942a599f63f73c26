"""What no time-out of libyara ends in time: strings that are refused before they are looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ids.errors import Location, RuleError
from ids.later import late_pattern
from ids.rules.language.yara_tokens import Unknown, placed_tokens

MAX_JUMPS = 16
"""Wide jumps of one string. libyara looks for the parts between them by themselves, and tries each place of one with
each of the next; it looks at its clock every 4 KiB. Sixteen take 1.5 s beyond the time-out in the worst data, a hundred
15 s."""

WIDE_JUMP = 200
"""Bytes beyond which libyara takes a jump for wide (YR_STRING_CHAINING_THRESHOLD)."""

_JUMP = late_pattern(r"\[ *(\d{0,9}) *-? *(\d{0,9}) *\]")


def endless_strings(path: str, source: str) -> Iterator[RuleError]:
    """Yield an error for each hex string with too many wide jumps; none for a text that is not understood."""
    name = ""
    try:
        for token, at in placed_tokens(source):
            if token.kind == "string":
                name = token.text
            if token.kind != "hex":
                continue
            wide = sum(_is_wide(found) for found in _JUMP.finditer(token.text))
            if wide > MAX_JUMPS:
                line = source.count("\n", 0, at) + 1
                place = Location(path, line, at - source.rfind("\n", 0, at))
                why = f"{name} has {wide} jumps of {WIDE_JUMP} bytes or more, and a string has at most {MAX_JUMPS}"
                yield RuleError(why, place, "make several strings of it, and ask for all of them")
    except Unknown:
        return


def _is_wide(jump: re.Match[str]) -> bool:
    """Return whether a jump is wide: ``[300]``, ``[0-300]`` or ``[4-]``."""
    last = jump[2] if "-" in jump[0] else jump[1]
    return not last or int(last) >= WIDE_JUMP
