"""Where the keys of ``meta`` stand in a YARA file, and which of them say nothing that their writer may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from ids.rules.language.schema import RuleSchema
from ids.rules.language.yara_tokens import Unknown, placed_tokens

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1 on."""
Keys: TypeAlias = Mapping[str, Sequence[Place]]
"""The keys of one rule, each with all places at which it stands."""

DESCRIBING = frozenset((
    "id", "status", "author", "date", "modified", "references", "tags", "falsepositives", "metadata", "tests",
))  # fmt: skip
"""Keys of YAML rules that change nothing of what a rule does: in YARA, they are metadata."""

_OF_YAML = frozenset(RuleSchema.model_fields) - DESCRIBING

_OF_OTHERS = frozenset(("score", "id"))
"""Keys of public YARA rules that only look like one of ours."""

_REPEATED = frozenset(("reference", "description"))
"""Those of ours that public rules repeat."""


def meta_places(text: str) -> dict[str, dict[str, list[Place]]]:
    """Return for each rule of a file where the keys of its meta stand; what is not understood is left out."""
    found: dict[str, dict[str, list[Place]]] = {}
    try:
        for name, key, start in _keys(text):
            line = text.count("\n", 0, start) + 1
            found.setdefault(name, {}).setdefault(key, []).append((line, start - text.rfind("\n", 0, start)))
    except Unknown:
        pass
    return found


def _keys(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield each key of a meta with the name of its rule, and where it begins."""
    rule = part = ""
    before, at = "", 0
    for token, start in placed_tokens(text):
        if before == "rule" and token.kind == "word":
            rule, part = token.text, ""
        elif token.kind == "word" and token.text in ("meta", "strings", "condition"):  # reserved: no key of the meta
            part = token.text
        elif part == "meta" and token.text == "=":
            yield rule, before, at
        before, at = token.text, start


def odd_keys(given: Iterable[str], places: Keys, known: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of a rule that do not do what they seem to: the key, what is odd, and what to do."""
    ours = sorted(known)
    keys = list(given)
    for key in keys:
        if key in ours:
            if len(places.get(key, ())) > 1 and key not in _REPEATED:
                yield key, f"meta {key} stands in it {len(places[key])} times, and the last one counts", "keep one"
        elif key in _OF_YAML:
            yield key, f"meta {key} is metadata and no more: rules in YARA have no such key", "write the rule in YAML"
        elif key not in _OF_OTHERS and key not in DESCRIBING:
            near = difflib.get_close_matches(key.lower(), [each for each in ours if each not in keys], n=1, cutoff=0.8)
            if near:
                yield key, f"meta {key} is metadata and no more: there is no such key", f"did you mean {near[0]!r}?"
