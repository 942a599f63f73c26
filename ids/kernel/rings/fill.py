"""How full the workers' rings are, as anybody may read who can open their pins: the reader need not answer."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ids.kernel.maps.pins import check_version
from ids.kernel.maps.table import RINGBUF, Map

_PIN = re.compile(r"ids_(small|large)_(\d+)")
_POSITION = ctypes.c_uint64


@dataclass(frozen=True, slots=True)
class RingFill:
    """What waits in a ring."""

    worker: int
    name: str
    """``small`` or ``large``."""
    waiting_bytes: int
    size_bytes: int

    @property
    def ratio(self) -> float:
        """The part of the ring that is taken, from 0 to 1."""
        return self.waiting_bytes / self.size_bytes if self.size_bytes else 0.0


def pinned_fill(pin_dir: Path) -> Iterator[RingFill]:
    """Yield what waits in each ring that is pinned under ``pin_dir``; raises `KernelError` for another contract."""
    check_version(pin_dir)
    for path in sorted(pin_dir.glob("ids_*")):
        match = _PIN.fullmatch(path.name)
        ring = None if match is None else Map.open_pin(str(path), path.name)
        if match is None or ring is None:
            continue
        with ring:
            if ring.spec.type == RINGBUF:
                yield RingFill(int(match[2]), match[1], _waiting(ring), ring.spec.max_entries)


def _waiting(ring: Map) -> int:
    """Return the bytes between both positions: the kernel has each at the start of a page (kernel/bpf/ringbuf.c)."""
    positions = []
    for page in (0, 1):  # the consumer's first: what is read meanwhile makes the ring look fuller, never emptier
        with mmap.mmap(ring.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ, offset=page * mmap.PAGESIZE) as memory:
            positions.append(_POSITION.from_buffer_copy(memory[: ctypes.sizeof(_POSITION)]).value)
    return min(max(0, positions[1] - positions[0]), ring.spec.max_entries)
