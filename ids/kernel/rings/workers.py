"""Which worker inspects a flow: `worker_of` is ``bpf/ids_worker.h`` for columns of packets, to the same bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ids.types import I64, U8, U16, U64, Bool

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_TCP, _UDP = 6, 17


def worker_of(src: U64, dst: U64, sport: U16, dport: U16, proto: U8, workers: int, seed: int) -> I64:
    """Return the worker, below ``workers``, that each packet's flow belongs to; shape (n,).

    Columns as in `ids.types.Packets`: ``src`` and ``dst`` of shape (n, 2), in halves, the others of shape (n,). Both
    directions have the same worker. Ports count for TCP and UDP alone: the rest between two hosts stays together.
    ``seed`` is that of the kernel's configuration (`FastPath.worker_seed`). What is asked is whose a whole packet, or
    a datagram that was put together, is: fragments are shown to all.
    """
    ports: Bool = (proto == _TCP) | (proto == _UDP)
    first = np.full(len(proto), seed, dtype=np.uint64)
    total = _end(first, src, sport * ports) + _end(first, dst, dport * ports)
    chosen: NDArray[np.uint64] = (_mix(first, total) >> _HALF) * np.uint64(workers) >> _HALF
    return chosen.astype(np.int64)


def _end(value: U64, address: U64, port: U16) -> U64:
    return _mix(_mix(_mix(value, address[:, 0]), address[:, 1]), port.astype(np.uint64))


def _mix(value: U64, word: U64) -> U64:
    mixed: U64 = (value ^ word) * _MULTIPLIER
    return mixed ^ mixed >> _HALF
