"""Read rings as arrays: whole batches, no callback and no Python statement per record.

A BPF ring buffer (kernel/bpf/ringbuf.c) is a consumer page, a producer page and the data, which the kernel maps twice
in a row so that no record wraps. Each record is an 8-byte header (length with two flag bits, page offset) and its
body, rounded up to 8. As our records all have one size, ring and array are the same thing.
"""

from __future__ import annotations

import ctypes
import mmap
import select
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ids.errors import KernelError
from ids.kernel import contract
from ids.kernel.maps.table import Map
from ids.kernel.system.clock import WallClock
from ids.types import LIVE, PacketBatch

_BUSY = 1 << 31
_DISCARD = 1 << 30
LINKTYPE_ETHERNET = 1

MAX_BATCH = 16384
"""Records taken from a ring at once: enough to make NumPy worth its while, and little enough to stay responsive."""

NEVER = (1 << 64) - 1
"""Later than any record."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class Ring:
    """One ring, mapped once. Not thread-safe: a ring has one reader."""

    def __init__(self, ring: Map, stride: int) -> None:
        self.size = ring.spec.max_entries
        self.stride = stride
        if self.size % stride:
            raise KernelError(f"the ring {ring.spec.name} is not made of {stride}-byte records", "Remove its pin")
        self._consumer_memory = mmap.mmap(ring.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._consumer = np.frombuffer(self._consumer_memory, dtype=np.uint64, count=1)
        # The mmap module cannot map what is larger than it believes the file to be, so libc does it.
        length = mmap.PAGESIZE + 2 * self.size
        address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, ring.fd, mmap.PAGESIZE)
        if address in (None, ctypes.c_void_p(-1).value):
            raise KernelError(f"the ring {ring.spec.name} cannot be mapped", "Run as root")
        self._address, self._length = address, length
        memory = memoryview((ctypes.c_char * length).from_address(address)).cast("B")
        self._producer = np.frombuffer(memory, dtype=np.uint64, count=1)
        self.data: NDArray[np.uint8] = np.frombuffer(memory, dtype=np.uint8, offset=mmap.PAGESIZE)
        self._touch()

    def _touch(self) -> None:
        """Take the page faults now: the first pass through a fresh mapping is several times slower."""
        int(self.data[:: mmap.PAGESIZE].sum(dtype=np.uint64))

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait to be read."""
        return int(self._producer[0]) - int(self._consumer[0])

    def take(self, limit: int = MAX_BATCH, behind: int = 0) -> NDArray[np.uint8] | None:
        """Return a view of complete records, shape (n, stride) kernel header included, or None.

        The view is valid until `release`. Records that the kernel discarded are among them; see `kept`. ``behind`` so
        many that were not released.
        """
        start = int(self._consumer[0]) + behind * self.stride
        count = min((int(self._producer[0]) - start) // self.stride, limit)
        if count <= 0:
            return None
        begin = start & (self.size - 1)
        rows = self.data[begin : begin + count * self.stride].reshape(count, self.stride)
        busy = np.flatnonzero(self._lengths(rows) & _BUSY)
        if len(busy):
            count = int(busy[0])
            if not count:
                return None
            rows = rows[:count]
        return rows

    @staticmethod
    def _lengths(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
        return rows[:, :4].copy().view(np.uint32)[:, 0]

    def times(self, rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
        """Return when each record was made, by the kernel's clock; 0 for one that it discarded."""
        times = rows[:, contract.RING_HEADER : contract.RING_HEADER + 8].copy().view(np.uint64)[:, 0]
        times[~self.kept(rows)] = 0
        return times

    def time_behind(self, count: int) -> int:
        """Return when the record behind ``count`` unreleased ones was made; `NEVER` where there is none."""
        rows = self.take(1, behind=count)
        return NEVER if rows is None else int(self.times(rows)[0]) or NEVER

    def kept(self, rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return which rows the kernel submitted rather than discarded."""
        discarded: NDArray[np.bool_] = (self._lengths(rows) & _DISCARD).astype(np.bool_)
        return ~discarded

    def release(self, count: int) -> None:
        """Give ``count`` records' room back to the kernel."""
        self._consumer[0] += np.uint64(count * self.stride)

    def close(self) -> None:
        """Unmap the ring; views of it must be gone."""
        if self._address:
            del self._producer, self.data
            _libc.munmap(ctypes.c_void_p(self._address), ctypes.c_size_t(self._length))
            self._address = 0
            del self._consumer
            self._consumer_memory.close()


class EventReader:
    """The ring of what is no packet: limits that began to refuse. It has one reader, however many workers there are."""

    def __init__(self, ring: Map) -> None:
        self._ring = Ring(ring, contract.EVENT_STRIDE)

    def take(self) -> NDArray[Any]:
        """Return the records that came since the last call, dtype `contract.RECORD`, monotonic times."""
        events = [np.empty(0, dtype=contract.RECORD)]
        while (rows := self._ring.take()) is not None:
            body = rows[self._ring.kept(rows), contract.RING_HEADER :]  # a copy: the kernel may write again
            self._ring.release(len(rows))
            events.append(np.ascontiguousarray(body[:, : contract.RECORD_HEADER]).view(contract.RECORD)[:, 0])
        return np.concatenate(events)

    def close(self) -> None:
        """Unmap the ring."""
        self._ring.close()


class RingReader:
    """Both rings of a worker as one source of `PacketBatch`, in the order of time.

    To be opened in the process that reads, for mappings and epoll are its own.
    """

    def __init__(self, small: Map, large: Map, clock: WallClock | None = None) -> None:
        self.rings = (Ring(small, contract.SMALL_STRIDE), Ring(large, contract.LARGE_STRIDE))
        self.clock = clock or WallClock()
        self.packets = 0
        """Packets handed out so far: the number of the last one."""
        self._epoll = select.epoll()
        for ring in (small, large):
            self._epoll.register(ring.fd, select.EPOLLIN)

    def poll(self, timeout_s: float) -> PacketBatch | None:
        """Wait up to ``timeout_s`` for packets; return a batch of at most `MAX_BATCH` from each ring, or None."""
        batch = self._read()
        if batch is None and timeout_s > 0:
            self._epoll.poll(timeout_s)
            batch = self._read()
        return batch

    def _read(self) -> PacketBatch | None:
        headers: list[NDArray[Any]] = []
        bodies: list[NDArray[np.uint8]] = []
        for ring, rows in self._take():
            count = len(rows)
            kept = ring.kept(rows)
            body = rows[:, contract.RING_HEADER :]
            body = body.copy() if kept.all() else body[kept]  # the one copy: from here on the kernel may write again
            ring.release(count)
            headers.append(np.ascontiguousarray(body[:, : contract.RECORD_HEADER]).view(contract.RECORD)[:, 0])
            bodies.append(body)
        if not sum(len(header) for header in headers):
            return None
        return self._batch(headers, bodies)

    def _take(self) -> list[tuple[Ring, NDArray[np.uint8]]]:
        """Take records of both rings up to one moment, so that none overtakes one of the other ring.

        A SYN is small, the request behind it may be large. The large ring is read first: what came before its records
        is in the small one by then. And where either holds more, nothing later than that is taken.
        """
        taken = [(ring, rows) for ring in reversed(self.rings) if (rows := ring.take()) is not None]
        counts = {ring: len(rows) for ring, rows in taken}
        horizon_ns = min(ring.time_behind(counts.get(ring, 0)) for ring in self.rings)
        taken.reverse()
        if horizon_ns == NEVER:
            return taken
        ready = []
        for ring, rows in taken:
            late = np.flatnonzero(ring.times(rows) > horizon_ns)
            count = int(late[0]) if len(late) else len(rows)
            if count:
                ready.append((ring, rows[:count]))
        return ready

    def _batch(self, headers: list[NDArray[Any]], bodies: list[NDArray[np.uint8]]) -> PacketBatch:
        bases, offsets = 0, []
        for body in bodies:
            offsets.append(bases + contract.RECORD_HEADER + np.arange(len(body), dtype=np.int64) * body.shape[1])
            bases += body.size
        header = np.concatenate(headers)
        offset = np.concatenate(offsets)
        data = np.concatenate([body.reshape(-1) for body in bodies])
        if len(headers) > 1:
            order = np.argsort(header["ts_ns"], kind="stable")
            header, offset = header[order], offset[order]
        sent = header["detail"] == contract.Detail.UNSUMMED
        count = len(header)
        number = np.arange(self.packets + 1, self.packets + count + 1, dtype=np.int64)
        self.packets += count
        return PacketBatch(
            data=data,
            offset=offset,
            caplen=header["caplen"].astype(np.int64),
            wirelen=header["wirelen"].astype(np.int64),
            ts_ns=header["ts_ns"].astype(np.int64) + self.clock.offset_ns(),
            number=number,
            linktype=np.full(count, LINKTYPE_ETHERNET, dtype=np.uint16),
            interface=header["ifindex"].astype(np.uint32),
            source=LIVE,
            unsummed=sent if sent.any() else None,
            holder=np.ascontiguousarray(header["addr_be"]).view(np.uint64),
            tag=header["detail2"].astype(np.uint32),
        )

    def close(self) -> None:
        """Unmap both rings."""
        self._epoll.close()
        for ring in self.rings:
            ring.close()
