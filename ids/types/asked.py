"""What is asked of the stages by those who look at what they give."""

from __future__ import annotations

from collections.abc import Iterable


class Asked:
    """Which buffers somebody asks for, and whether files are to be stored: so that others need not be made."""

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[frozenset[str], bool]] = {}
        self.changes = 0
        """Grows with every change."""

    def say(self, name: str, buffers: Iterable[str], *, storing: bool = False) -> None:
        """Say what a plugin asks for, by its name; it replaces what that said before."""
        self._by_name[name] = frozenset(buffers), storing
        self.changes += 1

    @property
    def buffers(self) -> frozenset[str]:
        """The names of all buffers that are asked for."""
        return frozenset().union(*(buffers for buffers, _ in self._by_name.values()))

    @property
    def storing(self) -> bool:
        """A rule may ask for files to be stored."""
        return any(storing for _, storing in self._by_name.values())
