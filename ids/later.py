"""What few starts need, imported or compiled when it is first used: a start pays for what it does alone."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, AnyStr, cast

_METHODS = ("match", "fullmatch", "search", "finditer", "findall", "split", "sub", "subn")


class Later:
    """Stands for a module until something of it is asked for. Threads may ask at once, as they may import at once."""

    def __init__(self, name: str) -> None:
        """``name`` is the module's, in full; that there is one shows at the first use."""
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


def exported(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` (PEP 562) of a package that exports names of its modules, each imported when asked for.

    ``homes`` has the module of each name, as seen from the package.
    """

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return found


class _Pattern:
    """Stands for a regular expression until it is used; then its methods are the expression's own."""

    def __init__(self, source: str | bytes, flags: int) -> None:
        self._source, self._flags = source, flags

    def __getattr__(self, name: str) -> Any:
        compiled: Any = re.compile(self._source, self._flags)
        self.__dict__.update((method, getattr(compiled, method)) for method in _METHODS)
        return getattr(compiled, name)


def late_pattern(source: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a regular expression that is compiled when it is first used: all of them together take 50 ms.

    To be used by its own methods, as `re`'s functions do not know it. One that is none raises `re.error` at its use.
    """
    return cast("re.Pattern[AnyStr]", _Pattern(source, flags))
