"""Keeps what a load came to for the next start, which then takes a tenth of the time.

The key is made of all that the result depends on: the files, the variables, and this engine's own code. What is read
back can only be of the model's classes, so that even a cache that somebody else could write runs no code of theirs.
"""

from __future__ import annotations

import gc
import io
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from ids.cache import Cache, digest_of
from ids.errors import RuleLeftOut
from ids.rules.model.literals import cover_of
from ids.rules.model.rule import Rule

CACHE_SUFFIX = "rules"

_AT_ONCE = 3000
"""Rules pickled together: what they share is kept once, and to know what it is takes memory."""

_TRUSTED = ("ids.rules.model.", "ids.types.", "ids.errors.")
_PLAIN = {("builtins", "frozenset"), ("builtins", "set")}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What files in Suricata's language come to."""

    rules: tuple[Rule, ...] = ()
    left_out: tuple[RuleLeftOut, ...] = ()
    skipped: int = 0
    whole: bool = True
    """Nothing of it is of other files than the rules': such a load is not kept."""


class _Pickler(pickle.Pickler):
    """Writes a dataclass as its class and the values of its fields: its own way takes three times as long to read."""

    def reducer_override(self, obj: Any) -> Any:
        of = type(obj)
        if not is_dataclass(of) or of.__reduce__ is not object.__reduce__:
            return NotImplemented
        return _restored, (of, *(getattr(obj, name) for name in _names(of)))


def _restored(of: type, *values: Any) -> Any:
    """Return the object of a dataclass whose fields have these values."""
    names = _names(of)
    made: object = object.__new__(of)
    for name, value in zip(names, values, strict=True):
        _set(made, name, value)
    return made


@lru_cache(256)
def _names(of: Any) -> tuple[str, ...]:
    """Return the names of a dataclass's fields, those included that its constructor does not take; raises TypeError."""
    return tuple(field.name for field in fields(of))


_set = object.__setattr__


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, _restored.__name__):
            return _restored
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


def _code() -> Iterator[str]:
    """Yield what tells this engine's code from another version's."""
    home = Path(__file__).parents[3]  # that of `ids`
    for path in sorted(home.rglob("*.py")):
        status = path.stat()
        yield f"{path.relative_to(home)} {status.st_size} {status.st_mtime_ns}"


def load(cache: Cache, key: str) -> Loaded | None:
    """Return what is kept; None where there is nothing that can be used."""
    raw = cache.get(key)
    if raw is None:
        return None
    try:
        with collected_later():
            file = io.BytesIO(raw)
            left_out, skipped, many = _Unpickler(file).load()
            rules = tuple(rule for _ in range(many) for rule in _Unpickler(file).load())
    except Exception:  # of another version, or torn: any bytes may raise anything
        return None
    return Loaded(rules, left_out, skipped)


def keep(cache: Cache, key: str, loaded: Loaded) -> None:
    """Keep what a load came to, with what the prefilter looks for."""
    for rule in loaded.rules:
        cover_of(rule)
    firsts = range(0, len(loaded.rules), _AT_ONCE)
    parts = [_pickled((loaded.left_out, loaded.skipped, len(firsts)))]
    parts += [_pickled(loaded.rules[first : first + _AT_ONCE]) for first in firsts]
    cache.put(key, b"".join(parts))


def _pickled(what: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, 5).dump(what)
    return file.getvalue()


@contextmanager
def collected_later() -> Iterator[None]:
    """Look for no garbage meanwhile: a million objects are made, and none of them is."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
