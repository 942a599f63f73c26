"""The kernel's flow entries as user space reads them: what passed, shown or not."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract, syscall
from ids.kernel.contract import FlowVerdict
from ids.kernel.maps import Map
from ids.kernel.syscall import BpfError, Command
from ids.types import FlowCount

Place: TypeAlias = tuple[int, bytes, int]
"""Version of IP; the key, as in ``ids_flow4`` and ``ids_flow6``; which side of it is the client."""


class _Lookup(ctypes.Structure):
    """The part of ``union bpf_attr`` for single elements."""

    _fields_ = [
        ("map_fd", ctypes.c_uint32),
        ("spare", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class FlowEntries:
    """The maps ``ids_flows4`` and ``ids_flows6``. To read an entry does not make it look recently used."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = {version: maps[f"ids_flows{version}"] for version in (4, 6)}

    def counts(self, places: Sequence[Place | None], offset_ns: int) -> list[FlowCount | None]:
        """Return what was counted of each flow; None for no place, and where the kernel does not know it (any more).

        ``offset_ns`` is what to add to the kernel's clock to get UNIX time. Raises `BpfError`.
        """
        found, entries = self._read(places)
        columns = (entries[name].tolist() for name in ("first_ns", "last_ns", "packets", "bytes", "verdict"))
        return [
            FlowCount(
                first_ns + offset_ns,
                last_ns + offset_ns,
                (packets[place[2]], packets[1 - place[2]]),
                (size[place[2]], size[1 - place[2]]),
                verdict == FlowVerdict.DROP,
            )
            if known and place is not None
            else None
            for place, known, first_ns, last_ns, packets, size, verdict in zip(places, found, *columns, strict=True)
        ]

    def _read(self, places: Sequence[Place | None]) -> tuple[list[bool], NDArray[Any]]:
        """Return whether there is each of these flows, and its entry: shape (n,), dtype `contract.FLOW`."""
        found, entries = [False] * len(places), np.zeros(len(places), dtype=contract.FLOW)
        room = ctypes.create_string_buffer(contract.FLOW6.itemsize)
        attr = _Lookup(key=ctypes.addressof(room))
        look_up = syscall.prepared(Command.MAP_LOOKUP_ELEM, attr)
        value = entries.ctypes.data
        for at, place in enumerate(places):
            if place is None:
                continue
            version, key, _ = place
            ctypes.memmove(room, key, len(key))
            attr.map_fd, attr.value = self._maps[version].fd, value + at * contract.FLOW.itemsize
            found[at] = look_up() == 0
            if not found[at] and ctypes.get_errno() != errno.ENOENT:
                raise BpfError("cannot read the flows", ctypes.get_errno())
        return found, entries

    def forget(self, version: int, key: bytes) -> bool:
        """Delete a flow's entry, so that what comes next begins a new one; return whether there was one."""
        return self._maps[version].delete(key)
