"""Lists from files that a buffer is looked up in: ``dataset`` and ``datarep``, as far as traffic changes none."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path

from ids.errors import RuleError
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, number, required
from ids.rules.model.chain import Listed
from ids.rules.model.lists import Members, load_list

KINDS = {"string": "string", "md5": "md5", "sha256": "sha256", "ip": "ip", "ipv4": "ip"}
"""Types of Suricata's lists, and what they are called here."""

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {">": operator.gt, "<": operator.lt, "==": operator.eq}
_LATER = ("memcap", "hashsize")
"""Words that say how Suricata keeps a list."""


class Datasets:
    """The lists of one load; each file is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Members] = {}

    def __len__(self) -> int:
        return len(self._known)

    def load(self, path: Path, kind: str, form: str, bound: tuple[str, int] | None = None) -> Members:
        """Return a list; ``bound`` says which reputations count. Raises `Malformed`."""
        key = (path, kind, form, bound)
        if key not in self._known:
            counts = None if bound is None else _above(*bound)
            try:
                self._known[key] = load_list(path, kind, form, counts)
            except RuleError as error:
                raise Malformed(str(error)) from None
        return self._known[key]


def _above(sign: str, value: int) -> Callable[[int], bool]:
    compare = _COMPARISONS[sign]
    return lambda reputation: compare(reputation, value)


def dataset(draft: Draft, value: str | None) -> None:
    """``dataset:isset,bad,type string,load bad.lst``: the whole buffer is in a list."""
    action, *words = commas(required(value))
    if action in ("set", "unset"):
        raise Unsupported("dataset set", "lists that traffic changes are not supported")
    if action not in ("isset", "isnotset") or not words:
        raise Malformed("it is no action and name", "such as dataset:isset,name,type string,load file")
    name, *words = words
    given = _given(words)
    if "load" not in given:
        raise Unsupported("dataset without file", f"nothing fills the list {name}", "name its file: load FILE")
    members = draft.lists.load(draft.home / given["load"], _kind(given), "dataset")
    draft.add(Listed(name, _kind(given), action == "isnotset", members))


def datarep(draft: Draft, value: str | None) -> None:
    """``datarep:bad, >, 200, load bad.rep, type md5``: the whole buffer is in a list, with such a reputation."""
    words = commas(required(value))
    if len(words) < 4 or words[1] not in _COMPARISONS:
        raise Malformed("it is no name, comparison and number", "such as datarep:name,>,100,load file,type string")
    given = _given(words[3:])
    if "load" not in given:
        raise Unsupported("datarep without file", f"nothing fills the list {words[0]}", "name its file: load FILE")
    bound = words[1], number(words[2], 0, 65_535)
    members = draft.lists.load(draft.home / given["load"], _kind(given), "reputation", bound)
    draft.add(Listed(words[0], _kind(given), members=members))


def _given(words: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, _, text = word.partition(" ")
        if key in ("save", "state"):
            raise Unsupported(f"dataset {key}", "lists that traffic changes are not supported")
        if key not in ("type", "load", *_LATER) or key in given:
            raise Malformed(f"{word[:40]!r} is not expected", "known are type, load, memcap and hashsize, each once")
        given[key] = text.strip()
    return given


def _kind(given: dict[str, str]) -> str:
    kind = KINDS.get(given.get("type", ""))
    if kind is None:
        raise Malformed("it has no type", f"known are {', '.join(KINDS)}")
    return kind
