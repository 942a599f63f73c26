"""Finds what makes a regular expression costly to compile, and a spelling of it that is not.

Hyperscan has no counters: of ``x{2000}`` it makes two thousand states, and of several such within each other's reach
their product. So a large count is what to do without.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ids.later import late_pattern

LARGE = 64
"""Repeats that cost nothing to speak of."""

_ESCAPE = late_pattern(r"\\(?:x\{[^}]*\}|x[0-9A-Fa-f]{0,2}|[pP]\{[^}]*\}|.)", re.DOTALL)
_CLASS = late_pattern(r"\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_COUNT = late_pattern(r"\{(\d{1,9})(,?)(\d{0,9})\}")


def cheaper(text: str) -> tuple[str, tuple[str, str]] | None:
    """Return the expression without large counts, and of the largest how it is spelt now and then; None without any.

    What is returned matches whatever the expression matches, and more.
    """
    parts: list[str] = []
    shown: tuple[int, str, str] = (0, "", "")
    done = 0
    for start, found in _counts(text):
        least, most = int(found[1]), int(found[3] or 0) if found[2] else int(found[1])
        size = max(least, most)
        if size <= LARGE:
            continue
        count = "*" if not least else "+" if least == 1 else f"{{{min(least, LARGE)},}}"
        parts += text[done : found.start()], count
        done = found.end()
        if size > shown[0]:
            shown = size, text[start : found.end()], text[start : found.start()] + count
    return ("".join([*parts, text[done:]]), shown[1:]) if shown[0] else None


def _counts(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield each count with the place where what it repeats begins."""
    at, atom, groups = 0, 0, [0]
    while at < len(text):
        one = text[at]
        if one == "{" and (found := _COUNT.match(text, at)) is not None:
            yield atom, found
            at = found.end()
        elif one == "(":
            groups.append(at)
            at += 1
        elif one == ")":
            atom = groups.pop() if len(groups) > 1 else at
            at += 1
        elif one in "*+?":
            at += 1
        else:
            atom = at
            whole = _ESCAPE.match(text, at) if one == "\\" else _CLASS.match(text, at) if one == "[" else None
            at = whole.end() if whole is not None else at + 1
