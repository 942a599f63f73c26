"""Cuts the text of a YARA file into tokens, and these into rules, as libyara's own lexer does.

Only files that libyara accepts matter here; on any other text the answer may be anything but a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ids.later import late_pattern


class Unknown(ValueError):
    """Raised where the text is not understood: whatever it belongs to has no cover."""


class Token(NamedTuple):
    """One token: its class, a group of `_TOKEN`, and its text."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class YaraSource:
    """One rule, or one ``import``, in the order of the file."""

    name: str
    strings: tuple[Token, ...] = ()
    """What stands between ``strings:`` and ``condition:``."""
    condition: tuple[Token, ...] = ()
    is_global: bool = False
    is_import: bool = False


# Each alternative is unambiguous, so that a text that does not fit fails in linear time. A brace opens a hex string
# exactly if only hex digits, signs of hex strings and comments stand before the closing one.
_COMMENT = r"/\*[^*]*\*+(?:[^/*][^*]*\*+)*/"
_TOKEN = late_pattern(
    rf"""
    (?P<skip>[ \t\r\n]+ | //[^\n]* | {_COMMENT})
  | (?P<text>"[^"\\\n]*(?:\\.[^"\\\n]*)*")
  | (?P<regex>/(?![*/])[^/\n\\]*(?:\\.[^/\n\\]*)*/i?s?)
  | (?P<hex>\{{[0-9A-Fa-f\ \-|~?\[\]()\n\r\t]*(?:(?://[^\n]*\n|{_COMMENT})[0-9A-Fa-f\ \-|~?\[\]()\n\r\t]*)*\}})
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<wildcard>\$[A-Za-z0-9_]*\*)
  | (?P<string>\$[A-Za-z0-9_]*)
  | (?P<sign>\.\.|<<|>>|[<>=!]=)
  | (?P<count>\#[A-Za-z0-9_]*)
  | (?P<place>[@!][A-Za-z0-9_]*)
  | (?P<float>[0-9]+\.[0-9]+)
  | (?P<number>0x[0-9A-Fa-f]+|0o[0-7]+|[0-9]+(?:MB|KB)?)
  | (?P<single>[!\#-.0-~])
    """,
    re.VERBOSE,
)


def rules_of(source: str) -> Iterator[YaraSource]:
    """Yield the rules and imports of a file; raise `Unknown` where it is not one."""
    tokens = _tokens(source)
    modifiers: set[str] = set()
    for token in tokens:
        if token == ("word", "import"):
            yield YaraSource(next(tokens, Token("", "")).text.strip('"'), is_import=True)
        elif token.text in ("private", "global"):
            modifiers.add(token.text)
        elif token == ("word", "rule"):
            yield _rule(tokens, "global" in modifiers)
            modifiers.clear()
        else:
            raise Unknown(f"{token.text[:40]!r} between two rules")


def _rule(tokens: Iterator[Token], is_global: bool) -> YaraSource:
    """Take the tokens of one rule: up to the brace that closes it, for no other stands in a rule."""
    name = next(tokens, Token("", "")).text
    parts: dict[str, list[Token]] = {"": [], "strings": [], "condition": []}
    part = ""
    for token in tokens:
        if token.text == "}":
            return YaraSource(name, tuple(parts["strings"][1:]), tuple(parts["condition"][1:]), is_global)
        if token.kind == "word" and token.text in ("strings", "condition"):  # reserved words: no key of the meta
            part = token.text
        else:
            parts[part].append(token)
    raise Unknown(f"rule {name[:40]} does not end")


def _tokens(source: str) -> Iterator[Token]:
    return (token for token, _ in placed_tokens(source))


def placed_tokens(source: str) -> Iterator[tuple[Token, int]]:
    """Yield each token and where it begins in the text; raise `Unknown` where there is none."""
    position = 0
    while position < len(source):
        found = _TOKEN.match(source, position)
        if found is None:
            raise Unknown(f"character {source[position]!r} outside strings and comments")
        position = found.end()
        if (kind := str(found.lastgroup)) != "skip":
            yield Token(kind, found[0]), found.start()
