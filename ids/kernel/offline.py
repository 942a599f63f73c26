"""The XDP program without an interface: frames of a capture go through it by ``BPF_PROG_RUN``, on the capture's clock.

The maps are private and unpinned, so nothing that runs on this host is touched, and all is gone when the program is
closed. The program is that of the live gate but for two build flags: IDS_REPLAY has it return each packet's reason
beside its action, IDS_FRAGS lets it take frames larger than a page.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.contract import FlowVerdict, Reason, Tunnel
from ids.kernel.fastpath import CALLED_PROGRAMS
from ids.kernel.flows.entries import FlowAddress
from ids.kernel.lists.networks import is_exact, key_of, prefix_key
from ids.kernel.maps.configuration import map_sizes, write_settings, write_shadow
from ids.kernel.maps.table import Map
from ids.kernel.maps.tunnels import TunnelPorts, port_kinds, write_tunnels
from ids.kernel.model.program import XDP_DROP, Model
from ids.kernel.model.state import BlockEntry, ModelConfig
from ids.kernel.program import loader
from ids.kernel.rings.pairs import STRIDES, Pair, fill, new_pair
from ids.kernel.rings.reader import Ring
from ids.kernel.settings import FastPathSettings
from ids.kernel.system import syscall
from ids.paths import bpf_dir
from ids.types import I64, U8, IPNetwork

DEFINES = ("-DIDS_REPLAY", "-DIDS_FRAGS")

ROUND = 1024
"""Packets between two emptyings of the rings, which nobody reads here; they have room for twice as many."""

MIN_FRAME = 14
"""Bytes below which ``BPF_PROG_RUN`` takes no frame; the program would call them too short anyway."""

_FILLED = (
    "ids_flows4",
    "ids_flows6",
    "ids_proven4",
    "ids_proven6",
    "ids_src_budgets",
    "ids_dst_budgets",
    "ids_fragments",
)
_LISTS = ("ids_block4", "ids_block6", "ids_prefix4", "ids_prefix6", "ids_allow4", "ids_allow6")


@dataclass(frozen=True, slots=True)
class Frames:
    """Ethernet frames in one buffer."""

    data: U8
    offset: I64
    """Index in ``data`` of the first byte of each frame."""
    length: I64

    @classmethod
    def of(cls, frames: Sequence[bytes]) -> Frames:
        """Put frames behind each other."""
        length = np.array([len(frame) for frame in frames], dtype=np.int64)
        return cls(np.frombuffer(b"".join(frames) or b"\0", dtype=np.uint8), np.cumsum(length) - length, length)


class Judge(Protocol):
    """What judges captured frames: the program or its model, with lists and flows of its own."""

    def run(self, frames: Frames, times_ns: I64) -> list[int]:
        """Judge frames in order; return for each ``reason << 8 | action``. The clock never goes back."""

    def block(self, network: IPNetwork, *, expires_ns: int = 0, mode: int = 0, sid: int = 0) -> None:
        """Put a network on the blocklist, by the frames' clock."""

    def allow(self, networks: Iterable[IPNetwork]) -> None:
        """Put networks on the allow-list."""

    def condemn(self, flow: FlowAddress) -> None:
        """Drop the rest of a flow, whether anything of it was seen or not."""

    def shadow(self, on: bool) -> None:
        """Drop nothing, only count what would have been dropped; or drop."""

    def look_into(self, ports: TunnelPorts | None) -> None:
        """As `ids.kernel.fastpath.FastPath.look_into`."""

    def reset(self) -> None:
        """Forget all traffic and all lists."""

    def close(self) -> None:
        """Be done."""


class _TestRun(ctypes.Structure):
    """The ``test`` part of ``union bpf_attr``."""

    _fields_ = [
        ("prog_fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_uint64),
        ("ctx_out", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
        ("spare", ctypes.c_uint32),
    ]


class OfflineProgram:
    """The loaded program with maps of its own."""

    def __init__(self, settings: FastPathSettings, workers: int = 1) -> None:
        """Compile and load; raises `KernelError` where the kernel or its privileges do not allow it.

        ``workers``: as many pairs of rings, among which flows are spread.
        """
        compiled = _compile()
        sizes = {**map_sizes(settings), "ids_events": _ring_bytes(contract.EVENT_STRIDE)}
        self.maps: dict[str, Map] = {}
        self._pairs: list[Pair] = []
        self._programs: list[int] = []
        try:
            for name, declared in compiled.specs.items():
                spec = loader.sized(declared, sizes)
                if name == "ids_repeats":  # to be forgotten at once: to read it takes the kernel 70 ms
                    spec = replace(spec, flags=spec.flags | syscall.F_MMAPABLE)
                self.maps[name] = Map.create(spec)
            functions = (*CALLED_PROGRAMS, "xdp_ids")
            self._programs = loader.load_together(compiled, functions, self.maps, syscall.F_XDP_HAS_FRAGS)
            for index, called in enumerate(self._programs[:-1]):
                self.maps["ids_programs"].set(_u32(index), _u32(called))
            for _ in range(workers):
                self._pairs.append(new_pair({name: _ring_bytes(stride) for name, stride in STRIDES.items()}))
            fill(self.maps, self._pairs)
            self._rings = [Ring(self.maps["ids_events"], contract.EVENT_STRIDE)]
            self._rings += [
                Ring(ring, stride) for pair in self._pairs for ring, stride in zip(pair, STRIDES.values(), strict=True)
            ]
        except BaseException:
            self._close_descriptors()
            raise
        self.config: NDArray[Any] = self.maps["ids_config"].view(contract.CONFIG)
        """As `ids.kernel.fastpath.FastPath.config`."""
        self._repeats: NDArray[Any] = self.maps["ids_repeats"].view(contract.REPEAT)
        self.config["version"][0] = contract.VERSION
        write_settings(self.config[0], settings)
        self.config["workers"][0] = workers
        self.config["repeats"][0] = self.maps["ids_repeats"].spec.max_entries
        self.config["gone_after_ns"][0] = 0  # no engine beats here, and none is missing
        self.config["thin_small_bytes"][0] = self.config["thin_large_bytes"][0] = 0  # nor does one fall behind
        self._clock = ctypes.c_uint64.from_address(_field_address(self.config, "now_ns"))
        self._attr = _TestRun(prog_fd=self._programs[-1], repeat=1)

    def close(self) -> None:
        """Unload the program; its maps go with it."""
        for ring in self._rings:
            ring.close()
        del self.config, self._clock, self._repeats
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        for program in self._programs:
            os.close(program)
        for pair in self._pairs:
            pair.close()
        for table in self.maps.values():
            table.close()

    def __enter__(self) -> OfflineProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, frames: Frames, times_ns: I64) -> list[int]:
        """Run frames; return for each ``reason << 8 | action``. Times are those of the program's clock, at least 1."""
        data = np.ascontiguousarray(frames.data)
        addresses = (frames.offset + data.ctypes.data).tolist()
        lengths, times = frames.length.tolist(), times_ns.tolist()
        answers: list[int] = []
        for start in range(0, len(addresses), ROUND):
            part = slice(start, start + ROUND)
            answers += self._run(addresses[part], lengths[part], times[part])
            for ring in self._rings:
                ring.release(ring.backlog_bytes // ring.stride)
        return answers

    def _run(self, addresses: list[int], lengths: list[int], times_ns: list[int]) -> list[int]:
        attr, clock = self._attr, self._clock
        bpf = syscall.prepared(syscall.Command.PROG_TEST_RUN, attr)
        answers: list[int] = []
        answer = answers.append
        for address, length, now_ns in zip(addresses, lengths, times_ns, strict=True):
            clock.value = now_ns
            attr.data_in = address
            attr.data_size_in, attr.data_size_out = length, 0  # what the kernel left there would be taken for a bound
            if bpf() >= 0:
                answer(attr.retval)
            elif length < MIN_FRAME:
                answer(Reason.DROP_ETH_SHORT << 8 | XDP_DROP)
            else:
                raise KernelError(f"the kernel would not run the program on a frame of {length} bytes")
        return answers

    def block(self, network: IPNetwork, *, expires_ns: int = 0, mode: int = 0, sid: int = 0) -> None:
        """Put a network on the blocklist, by the program's clock."""
        value = np.zeros(1, dtype=contract.BLOCK)
        value["expires_ns"], value["mode"], value["sid"] = expires_ns, mode, sid
        kind = "block" if is_exact(network) else "prefix"
        value["prefixlen"] = network.prefixlen
        self.maps[f"ids_{kind}{network.version}"].set(key_of(network), value.tobytes())
        if kind == "prefix":
            self.config["lists"][0] |= 1 if network.version == 4 else 2
            self.config["generation"][0] += 1

    def allow(self, networks: Iterable[IPNetwork]) -> None:
        """Put networks on the allow-list."""
        value = np.zeros(1, dtype=contract.ALLOW).tobytes()
        for network in networks:
            self.maps[f"ids_allow{network.version}"].set(prefix_key(network), value)

    def condemn(self, flow: FlowAddress) -> None:
        """Drop the rest of a flow."""
        version, key = flow.key()
        table = self.maps[f"ids_flows{version}"]
        value = np.zeros(1, dtype=contract.FLOW)
        raw = table.get(key)
        if raw is not None:
            value = np.frombuffer(bytearray(raw), dtype=contract.FLOW)
        else:
            value["first_ns"] = value["last_ns"] = self._clock.value
        value["verdict"] = FlowVerdict.DROP
        table.set(key, value.tobytes())

    def shadow(self, on: bool) -> None:
        """Drop nothing, only count what would have been dropped; or drop."""
        write_shadow(self.config[0], on)

    def look_into(self, ports: TunnelPorts | None) -> None:
        """Look into tunnels, by these UDP ports and others; None: into none."""
        write_tunnels(self.config[0], self.maps["ids_tunnels"].view(contract.TUNNEL_PORTS)["kinds"][0], ports)

    def reset(self) -> None:
        """Forget all traffic and all lists, as if freshly loaded."""
        for name in _FILLED + _LISTS:
            table = self.maps[name]
            keys, _ = table.entries(np.dtype(f"V{table.spec.key_bytes}"), np.dtype(f"V{table.spec.value_bytes}"))
            if len(keys):
                table.delete_many(keys)
        self._repeats[:] = np.zeros(1, contract.REPEAT)
        self.config["lists"][0] = 0


@functools.cache
def _compile() -> loader.Compiled:
    """Compile once in a process: it takes a second, and the source stays what it is."""
    return loader.compile_program(bpf_dir() / "xdp_ids.c", DEFINES)


def _ring_bytes(stride: int) -> int:
    return 2 * ROUND * stride


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _field_address(row: NDArray[Any], name: str) -> int:
    assert row.dtype.fields is not None
    return int(row.ctypes.data) + int(row.dtype.fields[name][1])


class OfflineModel:
    """The model in the program's place, for who may not load one."""

    def __init__(self, settings: FastPathSettings) -> None:
        row = np.zeros(1, dtype=contract.CONFIG)
        write_settings(row[0], settings)
        row["gone_after_ns"][0] = 0
        row["repeats"][0] = settings.repeats_entries
        self._config = row[0]
        self._tunnels = np.zeros(contract.TUNNEL_BYTES, dtype=np.uint8)
        self._kinds: dict[int, Tunnel] = {}
        self.reset()

    def run(self, frames: Frames, times_ns: I64) -> list[int]:
        """As `OfflineProgram.run`, at twice the cost."""
        run, answers = self.model.run, []
        first = int(frames.offset.min()) if len(frames.offset) else 0
        data = frames.data[first : int((frames.offset + frames.length).max()) if len(frames.offset) else 0].tobytes()
        starts = (frames.offset - first).tolist()
        for offset, length, now_ns in zip(starts, frames.length.tolist(), times_ns.tolist(), strict=True):
            action, reason = run(data[offset : offset + length], now_ns)
            answers.append(reason << 8 | action)
        return answers

    def block(self, network: IPNetwork, *, expires_ns: int = 0, mode: int = 0, sid: int = 0) -> None:
        """Put a network on the blocklist, by the frames' clock."""
        self.model.block(network, BlockEntry(expires_ns, mode))

    def allow(self, networks: Iterable[IPNetwork]) -> None:
        """Put networks on the allow-list."""
        for network in networks:
            self.model.allow(network)

    def condemn(self, flow: FlowAddress) -> None:
        """Drop the rest of a flow."""
        self.model.condemn(flow.key()[1])

    def shadow(self, on: bool) -> None:
        """Drop nothing, only count what would have been dropped; or drop."""
        write_shadow(self._config, on)
        self.model.config.flags = int(self._config["flags"])

    def look_into(self, ports: TunnelPorts | None) -> None:
        """Look into tunnels, by these UDP ports and others; None: into none."""
        write_tunnels(self._config, self._tunnels, ports)
        self.model.config.flags = int(self._config["flags"])
        self.model.tunnels = self._kinds = port_kinds(ports)

    def reset(self) -> None:
        """Forget all traffic and all lists."""
        self.model = Model(ModelConfig.of(self._config))
        self.model.tunnels = self._kinds

    def close(self) -> None:
        """Nothing is held."""
