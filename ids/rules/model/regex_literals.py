"""Finds literals that every match of a regular expression must contain, so that the prefilter can notice its rule.

Python's own parser of expressions is used. Where it disagrees with PCRE, or merely warns, nothing is claimed: the rule
is then evaluated more often, which is slower but never wrong.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ids.later import late_pattern
from ids.rules.model.rarity import score

MAX_ALTERNATIVES = 64
"""Literals taken from one expression; with more alternatives than this it is no longer selective."""

MAX_DEPTH = 32

MAX_REMEMBERED = 4096
"""Expressions whose literals are remembered: a load asks for each twice, once to warn of a costly rule."""

_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

_UNSURE = late_pattern(r"\[([:.=])[^\]]*\1\]|\\[QK]|\(\?\||\(\*", re.DOTALL)
"""What PCRE understands, and Python's parser reads as something else or not at all: classes such as ``[:alpha:]``,
``\\Q``, ``\\K``, ``(?|`` and verbs."""

_LOOKS_BACK = late_pattern(r"(?<!\[)\^|\\[AbBG]|\(\?<[=!]")


@lru_cache(maxsize=MAX_REMEMBERED)
def required_literals(text: str, nocase: bool) -> tuple[list[bytes], bool] | None:
    """Return literals of which each match contains at least one, and whether they are caseless; None: unknown."""
    if _UNSURE.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = _parser.parse(text.encode(), re.IGNORECASE if nocase else 0)
    except (re.error, RecursionError, OverflowError, Warning):
        return None
    caseless = bool(parsed.state.flags & re.IGNORECASE) or bool(re.search(r"\(\?[a-zA-Z^]*i", text))
    found = _required(parsed, caseless, 0)
    return (found, caseless) if found else None


UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of the matches of an expression; what is said where nothing is known."""

    least: int = 0
    most: int = UNKNOWN
    """Bytes of a match."""
    groups: int = UNKNOWN
    anchored: bool = False
    """A match starts where the data starts, or nowhere."""
    looks_back: bool = True
    """Whether there is a match may depend on what is before it."""
    prefers: str = ""
    """``longest`` or ``shortest``: of the matches from one place, PCRE finds that one. Empty: that is not known."""


@lru_cache(maxsize=MAX_REMEMBERED)
def shape_of(text: str, nocase: bool = False) -> Shape:
    """Return what is known of the matches of an expression."""
    if _UNSURE.search(text):
        return Shape()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = _parser.parse(text.encode(), re.IGNORECASE if nocase else 0)
            least, most = parsed.getwidth()
    except (re.error, RecursionError, OverflowError, Warning):
        return Shape()
    start = bool(parsed) and parsed[0][0] is _parser.AT
    start = start and str(parsed[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    anchored = start and not (parsed.state.flags & re.MULTILINE and str(parsed[0][1]) == "AT_BEGINNING")
    repeats = _repeats(parsed, 0)
    prefers = repeats[0] if repeats is not None and len(repeats) == 1 else ""
    return Shape(int(least), int(most), parsed.state.groups - 1, anchored, bool(_LOOKS_BACK.search(text)), prefers)


def _repeats(sequence: Any, depth: int) -> list[str] | None:
    """Return what each repetition that makes matches longer or shorter prefers; None where other things do.

    With a single one, of something whose size is fixed, a match is the longer the more often that is repeated.
    """
    found: list[str] = []
    for operation, argument in sequence:
        name = str(operation)
        if name == "SUBPATTERN" and depth < MAX_DEPTH:
            inner = _repeats(argument[3], depth + 1)
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, repeated = argument
            width = repeated.getwidth()
            varies = ["longest" if name == "MAX_REPEAT" else "shortest"] if least != most else []
            inner = varies if width[0] == width[1] else None
        elif name in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "CATEGORY"):
            inner = []
        elif name == "BRANCH":
            inner = [] if len({size for branch in argument[1] for size in branch.getwidth()}) == 1 else None
        else:
            inner = None
        if inner is None:
            return None
        found += inner
    return found


def _required(sequence: Iterable[tuple[Any, Any]], nocase: bool, depth: int) -> list[bytes] | None:
    """Return the best alternatives of one sequence of the parser's nodes; runs of literals end at anything else."""
    if depth > MAX_DEPTH:
        return None
    choices: list[list[bytes]] = []
    run = bytearray()
    for operation, argument in sequence:
        if operation is _parser.LITERAL:
            run.append(argument)
            continue
        choices.append([bytes(run)])
        run = bytearray()
        inner = _inner(operation, argument, nocase, depth + 1)
        if inner:
            choices.append(inner)
    choices.append([bytes(run)])
    usable = [choice for choice in choices if all(choice) and len(choice) <= MAX_ALTERNATIVES]
    return max(usable, key=lambda choice: min(score(value, nocase) for value in choice), default=None)


def _inner(operation: Any, argument: Any, nocase: bool, depth: int) -> list[bytes] | None:
    """Return what a group, a repetition that happens at least once, or every branch of an alternation requires."""
    name = str(operation)
    if name == "SUBPATTERN":
        return _required(argument[3], nocase, depth)
    if name == "ATOMIC_GROUP":
        return _required(argument, nocase, depth)
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, _, repeated = argument
        return _required(repeated, nocase, depth) if least >= 1 else None
    if name == "BRANCH":
        branches = [_required(branch, nocase, depth) for branch in argument[1]]
        if any(branch is None for branch in branches):
            return None
        return [value for branch in branches if branch for value in branch]
    return None
