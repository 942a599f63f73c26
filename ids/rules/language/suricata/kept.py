"""Keeps what a load came to for the next start, which then takes a tenth of the time.

The key is made of all that the result depends on: the files, the variables, and this engine's own code. What is read
back can only be of the model's classes, so that even a cache that somebody else could write runs no code of theirs.

Rules are kept as columns: all objects of a class, and the values of each field of theirs. To read them back runs a few
statements for each field of a class, not for each object of 160,000.
"""

from __future__ import annotations

import io
import pickle
import sys
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from types import MemberDescriptorType
from typing import Any

from ids.cache import Cache, digest_of
from ids.errors import RuleError, RuleLeftOut
from ids.garbage import collected_later
from ids.rules.model.chain import Chain
from ids.rules.model.literals import cover_of
from ids.rules.model.rule import Rule

CACHE_SUFFIX = "rules"

_AT_ONCE = 3000
"""Rules pickled together: what they share is kept once, and to know what it is takes memory."""

_TRUSTED = ("ids.rules.model.", "ids.types.", "ids.errors.")
_PLAIN = {("builtins", "frozenset"), ("builtins", "set")}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What files in one language come to."""

    rules: tuple[Rule, ...] = ()
    left_out: tuple[RuleLeftOut, ...] = ()
    skipped: int = 0
    whole: bool = True
    """Nothing of it is of other files than the rules': such a load is not kept."""
    warnings: tuple[RuleError, ...] = ()
    """What is said of rules that were loaded."""
    with_lists: frozenset[str] = frozenset()
    """Files that define lists."""


class _Pickler(pickle.Pickler):
    """Writes numbers in place of objects that are kept as columns."""

    def __init__(self, file: io.BytesIO, numbers: dict[int, int]) -> None:
        super().__init__(file, 5)
        self._numbers = numbers

    def persistent_id(self, obj: Any) -> int | None:
        """Return the number of an object; it outlives the pickler, so its address names it."""
        return self._numbers.get(id(obj))


@lru_cache(256)
def _is_columnar(of: Any) -> bool:
    """Return whether objects of a class are nothing but slots with values."""
    if not is_dataclass(of) or (of is not Chain and of.__reduce__ is not object.__reduce__):
        return False
    return all(isinstance(getattr(of, name, None), MemberDescriptorType) for name in _names(of))


@lru_cache(256)
def _names(of: Any) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, those included that its constructor does not take; raises TypeError."""
    return tuple(field.name for field in fields(of))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member
        of_ours = (module + ".").startswith(_TRUSTED) and "." not in name
        if not of_ours and (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"{module}.{name} is nothing of a rule")
        return super().find_class(module, name)


def _member(of: object, name: str) -> Enum:
    """Return a member of an enumeration: the one use of ``getattr`` in a pickle."""
    if not (isinstance(of, type) and issubclass(of, Enum)):
        raise pickle.UnpicklingError(f"{of!r} is no enumeration")
    return of[name]


def key_of(texts: Sequence[tuple[str, str]], variables: Mapping[str, str | list[str]], beside: object) -> str:
    """Return the key of what comes of files, given as path and text; ``beside`` is what else counts."""
    named = sorted((name, str(value)) for name, value in variables.items())
    parts = [str(sys.version_info), *_code(), repr(named), repr(beside)]
    for path, text in texts:
        parts += [path, text]
    return digest_of(parts)


@lru_cache(1)
def _code() -> tuple[str, ...]:
    """Return what tells this engine's code from another version's, once: an upgrade does not change what runs."""
    home = Path(__file__).parents[3]  # that of `ids`
    found = ((path.relative_to(home), path.stat()) for path in sorted(home.rglob("*.py")))
    return tuple(f"{path} {status.st_size} {status.st_mtime_ns}" for path, status in found)


def load(cache: Cache, key: str) -> Loaded | None:
    """Return what is kept; None where there is nothing that can be used."""
    raw = cache.get(key)
    if raw is None:
        return None
    try:
        with collected_later():
            file = io.BytesIO(raw)
            left_out, skipped, warnings, with_lists, many = _Unpickler(file).load()
            rules = tuple(rule for _ in range(many) for rule in _read(file))
    except Exception:  # of another version, or torn: any bytes may raise anything
        return None
    return Loaded(rules, left_out, skipped, True, warnings, with_lists)


def keep(cache: Cache, key: str, loaded: Loaded) -> None:
    """Keep what a load came to, with what the prefilter looks for."""
    for rule in loaded.rules:
        cover_of(rule)
    firsts = range(0, len(loaded.rules), _AT_ONCE)
    file = io.BytesIO()
    about = (loaded.left_out, loaded.skipped, loaded.warnings, loaded.with_lists)
    pickle.dump((*about, len(firsts)), file, 5)
    for first in firsts:
        _write(file, loaded.rules[first : first + _AT_ONCE])
    cache.put(key, file.getvalue())


def _write(file: io.BytesIO, rules: Sequence[Rule]) -> None:
    """Append some rules: which objects there are, then their fields, those first that have no others in them."""
    heights: dict[int, int] = {}
    objects: list[Any] = []
    _climb(rules, heights, objects)
    numbers = {id(each): number for number, each in enumerate(objects)}
    groups: dict[tuple[int, type], list[int]] = {}
    for number, each in enumerate(objects):
        groups.setdefault((heights[id(each)], type(each)), []).append(number)
    classes = [*dict.fromkeys(map(type, objects))]
    places = {of: place for place, of in enumerate(classes)}
    codes = array("H", (places[type(each)] for each in objects)).tobytes()
    pickle.dump((classes, codes, len(groups)), file, 5)
    for (_, of), some in sorted(groups.items(), key=lambda group: group[0][0]):
        columns = [_column([_kept(objects[number], name) for number in some]) for name in _names(of)]
        _Pickler(file, numbers).dump((of, array("I", some).tobytes(), columns))
    _Pickler(file, numbers).dump(rules)


def _climb(value: Any, heights: dict[int, int], objects: list[Any]) -> int:
    """Return how many objects are in each other at most in a value; note each with its height, and in ``objects``.

    What is in a set is hashed when that is read, and has to have its fields by then.
    """
    of: Any = type(value)
    if of in _SIMPLE:
        return 0
    if of in _MANY:
        return max((_climb(each, heights, objects) for each in value), default=0)
    if of is dict:
        return max((_climb(each, heights, objects) for item in value.items() for each in item), default=0)
    if not _is_columnar(of):
        return 0
    height = heights.get(id(value))
    if height is None:
        height = 1 + max((_climb(_kept(value, name), heights, objects) for name in _names(of)), default=0)
        heights[id(value)] = height
        objects.append(value)
    return height


def _kept(of: Any, name: str) -> Any:
    """Return what is kept of a field: nothing of what a chain was compiled to."""
    return None if name == "program" and type(of) is Chain else getattr(of, name)


_SIMPLE = frozenset({int, str, bool, bytes, float, type(None)})
_MANY = frozenset({tuple, list, set, frozenset})


def _column(values: list[Any]) -> tuple[bool, Any]:
    """Return whether all values of a field are one object, and that; or all of them."""
    first = values[0]
    return (True, first) if all(value is first for value in values) else (False, values)


def _read(file: io.BytesIO) -> tuple[Rule, ...]:
    """Read the next rules: all objects first, then what they hold, a field of a class at a time."""
    classes, codes, groups = _Unpickler(file).load()
    pool = list(map(object.__new__, map(classes.__getitem__, memoryview(codes).cast("H"))))

    def loaded() -> Any:
        unpickler = _Unpickler(file)
        unpickler.persistent_load = pool.__getitem__  # type: ignore[method-assign]
        return unpickler.load()

    for _ in range(groups):
        of, numbers, columns = loaded()
        objects = list(map(pool.__getitem__, memoryview(numbers).cast("I")))
        for name, (same, values) in zip(_names(of), columns, strict=True):
            put = getattr(of, name).__set__  # no frozen class stands in the way of its own slots
            deque(map(put, objects, repeat(values) if same else values), 0)
    rules: tuple[Rule, ...] = loaded()
    return rules
