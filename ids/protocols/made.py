"""Buffers that are made when something asks for them: most are never asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Makers = Mapping[str, Callable[[T], tuple[bytes, ...]]]
"""By name of a buffer: what makes its instances of a message; none where the message does not have it."""

_NONE: tuple[bytes, ...] = ()


class Made(Mapping[str, bytes], Generic[T]):
    """The first instance of each buffer of a message; `further` has the others."""

    __slots__ = ("_made", "makers", "message")

    def __init__(self, makers: Makers[T], message: T) -> None:
        self.message = message
        self.makers = makers
        self._made: dict[str, tuple[bytes, ...]] = {}

    @property
    def further(self) -> Mapping[str, tuple[bytes, ...]]:
        """The further instances of each buffer. Not kept, for two that know each other wait for the collector."""
        return Further(self)

    def instances(self, name: str) -> tuple[bytes, ...]:
        """Return all instances of a buffer."""
        found = self._made.get(name)
        if found is None:
            make = self.makers.get(name)
            found = self._made[name] = make(self.message) if make is not None else _NONE
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """Return the first instance of a buffer, or ``default``."""
        found = self.instances(name)
        return found[0] if found else default

    def __getitem__(self, name: str) -> bytes:
        found = self.instances(name)
        if not found:
            raise KeyError(name)
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.makers if self.instances(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Further(Mapping[str, tuple[bytes, ...]]):
    """Of buffers with several instances: all but the first one."""

    __slots__ = ("_made",)

    def __init__(self, made: Made[Any]) -> None:
        self._made = made

    def get(self, name: str, default: Any = None) -> Any:
        """Return the further instances of a buffer, or ``default``."""
        return self._made.instances(name)[1:] or default

    def __getitem__(self, name: str) -> tuple[bytes, ...]:
        found = self._made.instances(name)[1:]
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._made if self._made.instances(name)[1:])

    def __len__(self) -> int:
        return sum(1 for _ in self)
