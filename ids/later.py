"""Modules that few starts need, imported when one is first used: a start pays for what it does alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


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
