"""Finds for each rule of a YARA file the needles by which it is noticed, so that libyara runs only where it can match.

A cover is conservative: whatever is not understood has none, and its rule must be run on everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ids.later import late_pattern
from ids.rules.language.yara_condition import Condition, Work
from ids.rules.language.yara_strings import Needles, YaraCover, better, string_cover
from ids.rules.language.yara_tokens import Token, Unknown, YaraSource, rules_of

_NAME = late_pattern(r"\brule\s+([A-Za-z_][A-Za-z0-9_]*)")


def covers(source: str) -> dict[str, Needles | None]:
    """Return the cover of each rule of a file by its name; None: there is none. Never raises.

    A cover is a set of ``(literal, nocase)`` of which at least one stands in the data (if ``nocase``: in the data in
    lower case) whenever the rule matches. An empty set: the rule never does. The file is one that libyara accepts,
    alone in its namespace; of any other the answer says nothing.
    """
    known: dict[str, YaraCover | None] = {}
    of_all: list[YaraCover | None] = []
    work = Work()
    try:
        source.encode()
        for rule in rules_of(source):
            if rule.is_import:
                if rule.name in known:  # from here on the name is the module's
                    known[rule.name] = None
                continue
            known[rule.name] = found = _cover(rule, known, work)
            if rule.is_global:
                of_all.append(found)
    except (Unknown, UnicodeEncodeError):
        return dict.fromkeys(_NAME.findall(source))
    everywhere = better(of_all)
    final = {name: better((found, everywhere)) for name, found in known.items()}
    return {name: found.needles if found else None for name, found in final.items()}


def _cover(rule: YaraSource, known: dict[str, YaraCover | None], work: Work) -> YaraCover | None:
    if rule.name in known:
        return None
    try:
        return Condition(rule.condition, list(_strings(rule.strings)), known, work).cover()
    except (Unknown, RecursionError):
        return None


def _strings(tokens: Sequence[Token]) -> Iterator[tuple[str, YaraCover | None]]:
    """Yield each string's name, empty if it is anonymous, and cover."""
    starts = [i for i, token in enumerate(tokens) if token.kind == "string"]
    for start, end in pairwise([*starts, len(tokens)]):
        name, declared = tokens[start].text[1:], tokens[start + 1 : end]
        if len(declared) < 2 or declared[0].text != "=":
            raise Unknown(f"string ${name[:40]}")
        yield name, string_cover(declared[1], [token.text for token in declared[2:]])
