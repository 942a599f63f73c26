"""Compiles a part of the rules of YARA files, so that one that takes too long can be told from its neighbours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yara

from ids.later import late_pattern

_RULE = late_pattern(r"^[ \t]*((?:(?:private|global)[ \t]+)*)rule[ \t]+(\w+)", re.MULTILINE)
_WORD = late_pattern(r"\w+")


def compile_part(sources: Mapping[str, str], wanted: Iterable[tuple[str, str]]) -> Any | None:
    """Return the compiled rules that ``wanted`` names by file and name, and those that they need; None where the files
    cannot be taken apart.
    """
    names: dict[str, set[str]] = {}
    for path, name in wanted:
        names.setdefault(path, set()).add(name)
    try:
        return yara.compile(
            sources={path: _only(sources[path], chosen) for path, chosen in names.items()}, includes=False
        )
    except (yara.Error, KeyError):
        return None


def text_of(text: str, name: str) -> str:
    """Return a rule of a file with what it needs; it stands last."""
    whole = _only(text, {name})
    found = [match for match in _RULE.finditer(whole) if match[2] == name]
    if not found:
        return whole
    others = list(_RULE.finditer(whole))
    place = next(i for i, match in enumerate(others) if match[2] == name)
    end = others[place + 1].start() if place + 1 < len(others) else len(whole)
    return whole[:end]


def _only(text: str, names: set[str]) -> str:
    """Return a file with these rules, those that they name, the global ones, and what stands before the first."""
    found = list(_RULE.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    kept: list[str] = []
    needed = set(names)
    for match, end in zip(reversed(found), reversed(ends), strict=True):  # a rule may name those before it
        if match[2] in needed or "global" in match[1]:
            body = text[match.start() : end]
            needed.update(_WORD.findall(body))
            kept.append(body)
    return "".join([text[: found[0].start()] if found else text, *reversed(kept)])
