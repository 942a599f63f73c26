"""The kernel's flow entries: how they are addressed, and what passed of each, shown or not."""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from socket import IPPROTO_TCP
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.kernel import contract
from ids.kernel.contract import FlowVerdict
from ids.kernel.maps.table import Map
from ids.kernel.system import syscall
from ids.kernel.system.syscall import BpfError, Command
from ids.types import FLOW_COUNT, I64, IPV4_MAPPED_PREFIX, Bool, Flow, FlowColumns, FlowCounts, IPAddress, IPNetwork

_MAPPED = np.uint64(IPV4_MAPPED_PREFIX >> 32)
_ENDS4, _ENDS6 = struct.Struct(">IIHH"), struct.Struct(">QQQQHH")
"""Both ends of a flow as in ``ids_flow4`` and ``ids_flow6``."""
_ICMP = ((1, 4), (58, 6))
"""ICMP's protocol number and version of IP, of both kinds."""
_SCTP = 132


LOOKED_AT = 1 << 17
"""Entries of a family among which sources are looked for: as many as there are by default, some 30 ms."""


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
        What is in a tunnel does, with the whole tunnel; and its addresses may be those of a flow that is in none.
        """
        if flow.depth:
            return None
        if flow.proto == _SCTP:  # the gate reads no ports of it
            return cls(flow.src, flow.dst, 0, 0, flow.proto, flow.vlan)
        if (flow.proto, flow.ip_version) not in _ICMP:
            return cls(flow.src, flow.dst, flow.sport, flow.dport, flow.proto, flow.vlan)
        if flow.echo_id is None:
            return None
        return cls(flow.src, flow.dst, flow.echo_id, flow.echo_id, flow.proto, flow.vlan)

    def key(self) -> tuple[int, bytes]:
        """Return the IP version and the flow's key in the map (``ids_flow4``, ``ids_flow6``)."""
        (low, low_port), (high, high_port) = sorted(((self.src, self.sport), (self.dst, self.dport)))
        vlan_proto = _vlan_bits(self.vlan & 0xFFF, self.vlan >> 16 & 0xFFF) | self.proto
        if low[0] == 0 and low[1] & ~0xFFFFFFFF == IPV4_MAPPED_PREFIX:
            ends = _ENDS4.pack(low[1] & 0xFFFFFFFF, high[1] & 0xFFFFFFFF, low_port, high_port)
            return 4, ends + vlan_proto.to_bytes(4, "little")
        return 6, _ENDS6.pack(*low, *high, low_port, high_port) + vlan_proto.to_bytes(4, "little")


def _vlan_bits(outer: int, inner: int) -> int:
    """Return the VLANs as the key has them: a tag of VLAN 0 is none."""
    return outer << 20 | inner << 8 if outer else inner << 20


def _by_mask(networks: Iterable[IPNetwork]) -> Iterator[tuple[bytes, dict[bytes, IPNetwork]]]:
    """Yield each netmask with the networks that have it, by their first address."""
    found: dict[bytes, dict[bytes, IPNetwork]] = {}
    for network in networks:
        found.setdefault(network.netmask.packed, {})[network.network_address.packed] = network
    yield from found.items()


class _Lookup(ctypes.Structure):
    """The part of ``union bpf_attr`` for single elements."""

    _fields_ = [
        ("map_fd", ctypes.c_uint32),
        ("spare", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


_KEYS = {
    4: np.dtype([("low", ">u4"), ("high", ">u4"), ("low_port", ">u2"), ("high_port", ">u2"), ("vlan_proto", "<u4")]),
    6: np.dtype(
        [("low", ">u8", 2), ("high", ">u8", 2), ("low_port", ">u2"), ("high_port", ">u2"), ("vlan_proto", "<u4")]
    ),
}
"""The keys of both maps for many flows at once; to the same bits as `FlowAddress.key`."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the entries of some flows are: those whose key is of one version of IP."""

    version: int
    at: I64
    """Which of the flows."""
    keys: NDArray[np.void]
    turned: Bool
    """The client is the upper end of the key."""


class FlowEntries:
    """The maps ``ids_flows4`` and ``ids_flows6``. To read an entry does not make it look recently used."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = {version: maps[f"ids_flows{version}"] for version in (4, 6)}

    def counts(self, flows: FlowColumns, slots: I64, offset_ns: int) -> FlowCounts:
        """Return what was counted of each flow, by one system call a flow; raises `BpfError`.

        Not known are flows that share an entry with others (`FlowAddress.of`). ``offset_ns`` is what to add to the
        kernel's clock to get UNIX time.
        """
        counts = np.zeros(len(slots), FLOW_COUNT)
        for places in _places(flows, slots):
            found, entries = self._read(places)
            at, entries, turned = places.at[found], entries[found], places.turned[found]
            counts["known"][at] = True
            counts["first_ns"][at] = entries["first_ns"].astype(np.int64) + offset_ns
            counts["last_ns"][at] = entries["last_ns"].astype(np.int64) + offset_ns
            for name in ("packets", "bytes"):
                counts[name][at] = np.where(turned[:, None], entries[name][:, ::-1], entries[name])
            counts["condemned"][at] = entries["verdict"] == FlowVerdict.DROP
        return counts

    def forget(self, flows: FlowColumns, slots: I64) -> None:
        """Delete flows' entries, so that what comes next between their ends begins new ones; raises `BpfError`."""
        for places in _places(flows, slots):
            size, keys = places.keys.dtype.itemsize, places.keys.tobytes()
            for at in range(0, len(keys), size):
                self._maps[places.version].delete(keys[at : at + size])

    def unbegun(self, since_ns: int) -> Counter[IPAddress]:
        """Count TCP flows without a beginning by who sent their first packet that came.

        Those with a packet since a moment (monotonic), among the first `LOOKED_AT` entries of each family.
        """
        found: Counter[IPAddress] = Counter()
        for version, table in self._maps.items():
            keys, flows = table.entries(contract.FLOW4 if version == 4 else contract.FLOW6, contract.FLOW, LOOKED_AT)
            wanted = (keys["vlan_proto"] & 0xFF == IPPROTO_TCP) & (flows["opened"] == 0)
            wanted &= flows["last_ns"].astype(np.int64) >= since_ns
            ends = keys["addr_be"] if version == 4 else keys["addr"]["half_be"]
            of = np.flatnonzero(wanted)
            addresses, counts = np.unique(ends[of, flows["client"][of] & 1], axis=0, return_counts=True)
            for address, count in zip(addresses, counts.tolist(), strict=True):
                found[ipaddress.ip_address(address.tobytes())] += count
        return found

    def sent_by(self, networks: Collection[IPNetwork]) -> Counter[IPNetwork]:
        """Count the packets that each network sent in the flows that are there, tunnels by their outer addresses.

        Among the first `LOOKED_AT` entries of each family; flows that end take their packets with them.
        """
        found: Counter[IPNetwork] = Counter()
        for version in sorted({network.version for network in networks}):
            table, key = self._maps[version], contract.FLOW4 if version == 4 else contract.FLOW6
            keys, flows = table.entries(key, contract.FLOW, LOOKED_AT)
            ends = np.ascontiguousarray(keys["addr_be"] if version == 4 else keys["addr"])
            size = 4 if version == 4 else 16
            octets = ends.view(np.uint8).reshape(-1, 2, size)
            for mask, wanted in _by_mask(network for network in networks if network.version == version):
                prefixes = np.ascontiguousarray(octets & np.frombuffer(mask, np.uint8)).view(f"S{size}")[..., 0]
                numbers = np.array(sorted(wanted), f"S{size}")
                near = np.minimum(np.searchsorted(numbers, prefixes), len(numbers) - 1)
                hit = numbers[near] == prefixes
                sums = np.zeros(len(numbers), np.int64)
                np.add.at(sums, near[hit], flows["packets"][hit].astype(np.int64))
                for number, packets in zip(sorted(wanted), sums.tolist(), strict=True):
                    found[wanted[number]] = packets
        return found

    def _read(self, places: _Places) -> tuple[Bool, NDArray[Any]]:
        """Return whether there is each of these flows, and its entry: shape (n,), dtype `contract.FLOW`."""
        found = np.zeros(len(places.keys), np.bool_)
        entries = np.zeros(len(places.keys), dtype=contract.FLOW)
        attr = _Lookup(map_fd=self._maps[places.version].fd)
        look_up = syscall.prepared(Command.MAP_LOOKUP_ELEM, attr)
        key, value = places.keys.ctypes.data, entries.ctypes.data
        for at in range(len(places.keys)):
            attr.key, attr.value = key + at * places.keys.itemsize, value + at * contract.FLOW.itemsize
            if look_up() == 0:
                found[at] = True
            elif ctypes.get_errno() != errno.ENOENT:
                raise BpfError("cannot read the flows", ctypes.get_errno())
        return found, entries


def _places(flows: FlowColumns, slots: I64) -> Iterator[_Places]:
    """Yield where the entries of flows are, in both maps; of flows that share an entry with others, nowhere."""
    proto, version, echo = flows.proto[slots], flows.ip_version[slots], flows.echo_id[slots]
    icmp = ((proto == 1) & (version == 4)) | ((proto == 58) & (version == 6))
    src, dst = flows.src[slots], flows.dst[slots]
    sport = np.where(icmp, echo, np.where(proto == _SCTP, 0, flows.sport[slots])).astype(np.uint16)
    dport = np.where(icmp, echo, np.where(proto == _SCTP, 0, flows.dport[slots])).astype(np.uint16)
    turned = (src[:, 0] > dst[:, 0]) | (
        (src[:, 0] == dst[:, 0]) & ((src[:, 1] > dst[:, 1]) | ((src[:, 1] == dst[:, 1]) & (sport > dport)))
    )
    low, high = np.where(turned[:, None], dst, src), np.where(turned[:, None], src, dst)
    vlan = flows.vlan[slots]
    mapped = (low[:, 0] == 0) & (low[:, 1] >> np.uint64(32) == _MAPPED)
    for number, chosen in ((4, mapped), (6, ~mapped)):
        at = np.flatnonzero(chosen & ~(icmp & (echo < 0)) & (flows.depth[slots] == 0))
        if not len(at):
            continue
        keys = np.zeros(len(at), _KEYS[number])
        keys["low"], keys["high"] = (low[at, 1], high[at, 1]) if number == 4 else (low[at], high[at])
        keys["low_port"] = np.where(turned[at], dport[at], sport[at])
        keys["high_port"] = np.where(turned[at], sport[at], dport[at])
        outer, inner = vlan[at] & 0xFFF, vlan[at] >> 16 & 0xFFF
        keys["vlan_proto"] = np.where(outer > 0, outer << 20 | inner << 8, inner << 20) | proto[at]
        yield _Places(number, at, keys, turned[at])
