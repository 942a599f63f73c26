"""The kernel's flow entries: how they are addressed, and what passed of each, shown or not."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.contract import FlowVerdict
from ids.kernel.maps.table import Map
from ids.kernel.system import syscall
from ids.kernel.system.syscall import BpfError, Command
from ids.types import IPV4_MAPPED_PREFIX, Flow, FlowCount

Place: TypeAlias = tuple[int, bytes, int]
"""Version of IP; the key, as in ``ids_flow4`` and ``ids_flow6``; which side of it is the client."""


_ENDS4, _ENDS6 = struct.Struct(">IIHH"), struct.Struct(">QQQQHH")
"""Both ends of a flow as in ``ids_flow4`` and ``ids_flow6``."""
_ICMP = ((1, 4), (58, 6))
"""ICMP's protocol number and version of IP, of both kinds."""


@dataclass(frozen=True, slots=True)
class FlowAddress:
    """Which flow a verdict is for; the order of the two sides does not matter."""

    src: tuple[int, int]
    """As `ids.types.Flow.src`."""
    dst: tuple[int, int]
    sport: int
    dport: int
    proto: int
    vlan: int = 0
    """As `ids.types.Packets.vlan`: outer id in bits 0-11, inner in bits 16-27."""

    @classmethod
    def of(cls, flow: Flow) -> FlowAddress | None:
        """Return the address of an engine's flow; None where it shares an entry with others.

        ICMP other than echoes does, with all of it between two hosts: path MTU discovery is not to die for a timestamp.
        """
        if (flow.proto, flow.ip_version) not in _ICMP:
            return cls(flow.src, flow.dst, flow.sport, flow.dport, flow.proto, flow.vlan)
        if flow.echo_id is None:
            return None
        return cls(flow.src, flow.dst, flow.echo_id, flow.echo_id, flow.proto, flow.vlan)

    def key(self) -> tuple[int, bytes]:
        """Return the IP version and the flow's key in the map (``ids_flow4``, ``ids_flow6``)."""
        (low, low_port), (high, high_port) = sorted(((self.src, self.sport), (self.dst, self.dport)))
        vlan_proto = (self.vlan & 0xFFF) << 20 | (self.vlan >> 16 & 0xFFF) << 8 | self.proto
        if low[0] == 0 and low[1] & ~0xFFFFFFFF == IPV4_MAPPED_PREFIX:
            ends = _ENDS4.pack(low[1] & 0xFFFFFFFF, high[1] & 0xFFFFFFFF, low_port, high_port)
            return 4, ends + vlan_proto.to_bytes(4, "little")
        return 6, _ENDS6.pack(*low, *high, low_port, high_port) + vlan_proto.to_bytes(4, "little")

    @property
    def src_side(self) -> int:
        """Which side of the key ``src`` is: 0 the lower end, 1 the upper one."""
        return int((self.src, self.sport) > (self.dst, self.dport))


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
