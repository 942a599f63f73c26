"""The workers' rings: a pair for each, pinned as ``ids_small_<worker>`` and ``ids_large_<worker>``.

The program finds them through the maps of maps ``ids_small`` and ``ids_large``. A restart with as many workers takes
over the rings with what waits in them; with more or fewer, other flows come to each worker, and so the rings, and only
these, are exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.maps.table import RINGBUF, Map, ring_spec
from ids.kernel.rings.reader import Ring
from ids.kernel.system import syscall

STRIDES = {"ids_small": contract.SMALL_STRIDE, "ids_large": contract.LARGE_STRIDE}
_PIN = re.compile(r"ids_(?:small|large)_\d+")


class Pair(NamedTuple):
    """The rings of one worker."""

    small: Map
    large: Map

    def close(self) -> None:
        """Close both; what is pinned stays."""
        self.small.close()
        self.large.close()


def new_pair(sizes: Mapping[str, int]) -> Pair:
    """Create the rings of a worker, of so many bytes by ``ids_small`` and ``ids_large``; raises `BpfError`."""
    small = Map.create(ring_spec("ids_small", sizes["ids_small"]))
    try:
        return Pair(small, Map.create(ring_spec("ids_large", sizes["ids_large"])))
    except BaseException:
        small.close()
        raise


def fill(outer: Mapping[str, Map], pairs: list[Pair]) -> None:
    """Have the program find the pairs: ``outer`` has the maps of maps by name."""
    for worker, pair in enumerate(pairs):
        for name, ring in zip(STRIDES, pair, strict=True):
            outer[name].set(_key(worker), ring.fd.to_bytes(4, "little"))


def open_pairs(
    outer: Mapping[str, Map], config: NDArray[Any], pin_dir: Path, workers: int, sizes: Mapping[str, int]
) -> tuple[list[Pair], list[str]]:
    """Adopt the pinned pairs, or make and pin others where there are not as many; return them and what is worth noting.

    ``config`` is the program's configuration, whose number of workers is set. A program that runs already finds no
    rings while they are exchanged (`pass.ring_full`), rather than those of other workers. Raises `KernelError`.
    """
    require_count(workers)
    wanted = {f"{name}_{worker}" for name in STRIDES for worker in range(workers)}
    pinned = {path.name for path in pin_dir.glob("ids_*") if _PIN.fullmatch(path.name)}
    if pinned == wanted and int(config["workers"][0]) == workers:
        pairs = [Pair(*(_adopt(pin_dir / f"{name}_{worker}") for name in STRIDES)) for worker in range(workers)]
        fill(outer, pairs)
        return pairs, _kept_sizes(pin_dir, pairs, sizes)
    for table in (outer[name] for name in STRIDES):
        for worker in range(contract.MAX_WORKERS):
            table.delete(_key(worker))
    lost = sum(_remove(pin_dir / name) for name in sorted(pinned))
    config["workers"][0] = workers
    pairs = []
    try:
        for worker in range(workers):
            pairs.append(new_pair(sizes))
            for name, ring in zip(STRIDES, pairs[-1], strict=True):
                syscall.obj_pin(ring.fd, str(pin_dir / f"{name}_{worker}"))
    except BaseException:
        for pair in pairs:
            pair.close()
        raise
    fill(outer, pairs)
    return pairs, [f"{lost} packets that waited for other workers go uninspected"] if lost else []


def require_count(workers: int) -> None:
    """Raise `KernelError` where there cannot be so many workers."""
    if not 1 <= workers <= contract.MAX_WORKERS:
        raise KernelError(f"there cannot be {workers} workers", f"Use 1 to {contract.MAX_WORKERS}")


def _key(worker: int) -> bytes:
    return worker.to_bytes(4, "little")


def _adopt(path: Path) -> Map:
    ring = Map.open_pin(str(path), path.name)
    if ring is None or ring.spec.type != RINGBUF:
        raise KernelError(f"{path} is no ring", "Stop the engine, and remove the pins with `ids detach`")
    return ring


def _remove(path: Path) -> int:
    """Unpin a ring; return how many records waited in it."""
    with _adopt(path) as table:
        ring = Ring(table, STRIDES[path.name.rpartition("_")[0]])
        waiting = ring.backlog_bytes // ring.stride
        ring.close()
    path.unlink()
    return waiting


def _kept_sizes(pin_dir: Path, pairs: list[Pair], sizes: Mapping[str, int]) -> list[str]:
    return [
        f"{pin_dir / name} keeps rings of {ring.spec.max_entries} bytes; by the setting they would have {sizes[name]}"
        for name, ring in zip(STRIDES, pairs[0], strict=True)
        if ring.spec.max_entries != sizes[name]
    ]
