"""Finds the literals of a YARA string: a set of which each of its matches contains at least one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ids.later import late_pattern
from ids.rules.language.yara_tokens import Token
from ids.rules.model.rarity import MAX_LITERAL, score
from ids.rules.model.regex_literals import required_literals

Needles = frozenset[tuple[bytes, bool]]
"""Literals, each with whether it is caseless; a caseless one is in lower case."""

MAX_NEEDLES = 512
"""Needles of one cover: a rule that asks for one of more is run always, and chains of rules stay linear to follow."""


@dataclass(frozen=True, slots=True)
class YaraCover:
    """Needles of which one stands in the data whenever something holds. None at all: it never holds."""

    needles: Needles
    rarity: float
    """The score of the commonest needle."""

    @property
    def worth(self) -> float:
        """Estimate how selective the cover is: as its commonest needle, a little less for each more."""
        return self.rarity - 0.1 * len(self.needles)


NEVER = YaraCover(frozenset(), float("inf"))


def better(covers: Iterable[YaraCover | None]) -> YaraCover | None:
    """Return the most selective cover: that of a conjunction."""
    return max((found for found in covers if found is not None), key=lambda found: found.worth, default=None)


def union(covers: Iterable[YaraCover | None]) -> YaraCover | None:
    """Return all needles together: the cover of a disjunction, None if a part has none or they are too many."""
    needles: set[tuple[bytes, bool]] = set()
    rarity = NEVER.rarity
    for found in covers:
        if found is None:
            return None
        needles |= found.needles
        rarity = min(rarity, found.rarity)
        if len(needles) > MAX_NEEDLES:
            return None
    return YaraCover(frozenset(needles), rarity)


_PLAIN = {"ascii", "wide", "nocase", "fullword", "private"}

_ESCAPE = late_pattern(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b'"': b'"', b"\\": b"\\"}

_HEX_PART = late_pattern(
    r"(?P<byte>[0-9A-Fa-f]{2})|(?P<any>~?(?:[0-9A-Fa-f?]{2}))|(?P<jump>\[[0-9 \-]*\])|(?P<sign>[(|)])"
    r"|(?P<skip>[ \t\r\n]+|//[^\n]*\n|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)"
)
_JUMP = late_pattern(r"\[ *(?P<exact>[0-9]{1,9}) *\]|\[ *(?P<least>[0-9]{0,9}) *- *[0-9]{0,9} *\]")
_ANY = r"[\x00-\xff]"

# What means the same in YARA and in Python: YARA reads \v as a v and has no groups with (?. No text fits in two ways.
_HEXDIGITS = r"\\x[0-9A-Fa-f]{2}"
_PUNCTUATION = r"\\[!-/:-@\[-^`{-~]"
_CLASS = rf"\[(?:\^|(?!\^))(?!\])(?:{_HEXDIGITS}|\\[nrtfadDwWsS]|{_PUNCTUATION}|[ -Z^-~\t])*\]"
_SHARED = late_pattern(rf"(?:{_HEXDIGITS}|\\[nrtfadDwWsSbB]|{_PUNCTUATION}|\((?!\?)|{_CLASS}|[ -'\)-Z\]-~\t])+")


def string_cover(value: Token, modifiers: Sequence[str]) -> YaraCover | None:
    """Return the cover of a string of a rule: ``value`` is the token behind its ``=``."""
    if not _PLAIN.issuperset(modifiers):  # xor, base64: no byte of the value need stand in the data
        return None
    nocase = "nocase" in modifiers
    literals: list[bytes] | None
    if value.kind == "text":
        literals = _text(value.text)
    elif value.kind == "hex":
        literals = _hex(value.text)
    elif value.kind == "regex":
        body, _, flags = value.text[1:].rpartition("/")
        nocase = nocase or "i" in flags
        required = required_literals(body, nocase) if _SHARED.fullmatch(body) else None
        literals, nocase = required or (None, nocase)
    else:
        literals = None
    if not literals:
        return None
    wide = "wide" in modifiers
    forms = ([_wide(v) for v in literals] if wide else []) + (literals if not wide or "ascii" in modifiers else [])
    return _cover(forms, nocase)


def _cover(values: Iterable[bytes], nocase: bool) -> YaraCover | None:
    """Cut each literal to what the prefilter takes; libyara folds the case of bytes above 127 as the locale says."""
    needles = set()
    for value in values:
        if nocase:
            value = max(re.split(rb"[\x80-\xff]+", value), key=lambda run: score(run, True)).lower()
        needles.add((value[:MAX_LITERAL], nocase))
    if any(not value for value, _ in needles):
        return None
    return YaraCover(frozenset(needles), min(score(value, nocase) for value, nocase in needles))


def _wide(value: bytes) -> bytes:
    """Put a zero byte between each two bytes: UTF-16LE without the last one."""
    return b"\0".join(value[i : i + 1] for i in range(len(value)))


def _text(text: str) -> list[bytes] | None:
    """Return the bytes of a text string; None for an escape that YARA does not have."""
    try:
        return [_ESCAPE.sub(_unescape, text[1:-1].encode())]
    except KeyError:
        return None


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else _ESCAPED[found[2]]


def _hex(text: str) -> list[bytes] | None:
    """Return literals of a hex string: spelt as a regular expression it is one of the easy kind."""
    spelt: list[str] = []
    position, end = 1, len(text) - 1
    while position < end:
        found = _HEX_PART.match(text, position)
        if found is None:
            return None
        position = found.end()
        part = _spelt(str(found.lastgroup), found[0])
        if part is None:
            return None
        spelt.append(part)
    required = required_literals("".join(spelt), nocase=False)
    return required[0] if required else None


def _spelt(kind: str, part: str) -> str | None:
    """Spell a part of a hex string as a regular expression."""
    if kind == "byte":
        return rf"\x{part}"
    if kind == "any":
        return _ANY
    if kind == "jump":
        found = _JUMP.fullmatch(part)
        return f"{_ANY}{{{int(found['exact'] or found['least'] or 0)},}}" if found else None
    if kind == "sign":
        return "(?:" if part == "(" else part
    return ""
