"""What the lists have in common: pinned maps, which are opened with or without a running engine."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

from ids.kernel import contract
from ids.kernel.lists.labels import Labels
from ids.kernel.maps.pins import open_required
from ids.kernel.maps.table import Map

PinnedListT = TypeVar("PinnedListT", bound="PinnedList")


class PinnedList:
    """A list of networks that the program reads."""

    map_names: ClassVar[tuple[str, ...]] = ("ids_labels", "ids_config")
    """Names of the maps that it needs."""

    def __init__(self, pin_dir: Path, maps: dict[str, Map], owned: bool = False) -> None:
        """Take open maps; ``owned``: they are closed with the list."""
        self._pin_dir = pin_dir
        self._maps = maps
        self._owned = owned
        self._labels = Labels(pin_dir, maps["ids_labels"])
        self._config = maps["ids_config"].view(contract.CONFIG)

    @classmethod
    def open(cls: type[PinnedListT], pin_dir: Path) -> PinnedListT:
        """Open the list of the instance that pins under ``pin_dir``; raises `KernelError`."""
        return cls(pin_dir, open_required(pin_dir, cls.map_names), owned=True)

    def close(self) -> None:
        """Close the maps that `open` opened."""
        del self._config
        if self._owned:
            for opened in self._maps.values():
                opened.close()

    def __enter__(self: PinnedListT) -> PinnedListT:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
