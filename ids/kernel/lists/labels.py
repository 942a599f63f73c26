"""Names of who put entries into the lists: the kernel holds a number in each entry, a pinned map holds the names."""

from __future__ import annotations

from pathlib import Path

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.maps.table import Map
from ids.kernel.system.bpffs import locked

MAX_NAME_BYTES = contract.LABEL.itemsize - 1
NONE = 0
"""The number of entries without a name."""


class Labels:
    """The table of names. Names are never taken back: a gateway has a handful of sources, and room for 4,096."""

    def __init__(self, pin_dir: Path, table: Map) -> None:
        self._pin_dir = pin_dir
        self._table = table
        self._names: dict[int, str] = {}

    def number(self, name: str) -> int:
        """Return the number of a name, giving it one where it has none; raises `KernelError` for an unusable name."""
        if not name:
            return NONE
        encoded = name.encode()
        if len(encoded) > MAX_NAME_BYTES or "\0" in name:
            raise KernelError(f"the label {name!r} is longer than {MAX_NAME_BYTES} bytes", "Choose a shorter one")
        for number, known in self._names.items():
            if known == name:
                return number
        with locked(self._pin_dir):
            self._refresh()
            for number, known in self._names.items():
                if known == name:
                    return number
            number = next(n for n in range(1, self._table.spec.max_entries + 2) if n not in self._names)
            self._table.set(number.to_bytes(4, "little"), encoded.ljust(contract.LABEL.itemsize, b"\0"))
            self._names[number] = name
        return number

    def numbers(self) -> list[int]:
        """Return all numbers that an entry may have, `NONE` included."""
        self._refresh()
        return [NONE, *self._names]

    def name(self, number: int) -> str:
        """Return the name of a number; empty for entries without."""
        if number == NONE:
            return ""
        if number not in self._names:
            self._refresh()
        return self._names.get(number, f"label {number}")

    def _refresh(self) -> None:
        for key in self._table:
            value = self._table.get(key)
            if value is not None:
                self._names[int.from_bytes(key, "little")] = value.rstrip(b"\0").decode(errors="replace")
