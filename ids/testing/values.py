"""Ready-made values for single hooks; what a test does not care about is filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ids.types import (
    Datagram,
    Datagrams,
    Direction,
    Flow,
    FlowColumns,
    FlowState,
    Mark,
    Match,
    Signature,
    StreamChunk,
    Streams,
    address_halves,
)

T0 = 1_700_000_000_000_000_000
"""A fixed moment, in nanoseconds since the UNIX epoch."""


def make_flow(
    src: str = "192.0.2.1", dst: str = "203.0.113.1", columns: FlowColumns | None = None, **changes: Any
) -> Flow:
    """Return an established TCP flow from ``src`` to ``dst``, in ``columns`` or in columns of its own."""
    flows = columns if columns is not None else FlowColumns(4)
    slot = int(np.count_nonzero(flows.id))
    if slot >= flows.capacity:
        flows.grow(2 * flows.capacity)
    values: dict[str, Any] = {
        "id": slot + 1, "ip_version": 6 if ":" in src else 4, "proto": 6,
        "src": address_halves(src), "dst": address_halves(dst),
        "sport": 40000, "dport": 80, "start_ns": T0, "last_ns": T0, "echo_id": -1,
        "state": FlowState.ESTABLISHED, "source": "test.pcap",
    }  # fmt: skip
    values |= changes
    if "marks" not in changes and values["proto"] == 6 and values["state"] != FlowState.NEW:
        values["marks"] = Mark.PROVEN
    values["source"] = flows.source_code(values["source"])
    if "app_proto" in values:
        values["app_proto"] = flows.app_code(values["app_proto"])
    for name, value in values.items():
        getattr(flows, name)[slot] = value
    return flows.view(slot)


def make_streams(chunks: Sequence[StreamChunk]) -> Streams:
    """Return chunks, of flows in the same columns, as the flow stage would hand them on."""
    sizes = np.array([len(chunk.data) for chunk in chunks], np.int64)
    ends = np.cumsum(sizes)
    return Streams(
        flows=chunks[0].flow.columns if chunks else FlowColumns(1),
        data=b"".join(chunk.data for chunk in chunks),
        slot=np.array([chunk.flow.slot for chunk in chunks], np.int64),
        direction=np.array([chunk.direction for chunk in chunks], np.uint8),
        offset=np.array([chunk.offset for chunk in chunks], np.int64),
        start=ends - sizes,
        end=ends,
        gap=np.array([chunk.gap for chunk in chunks], np.int64),
        conflict=np.array([chunk.conflict for chunk in chunks], np.bool_),
        closed=np.array([chunk.closed for chunk in chunks], np.bool_),
        ts_ns=np.array([chunk.ts_ns for chunk in chunks], np.int64),
        number=np.array([chunk.number for chunk in chunks], np.int64),
    )


def make_datagrams(datagrams: Sequence[Datagram]) -> Datagrams:
    """Return datagrams, of flows in the same columns, as the flow stage would hand them on."""
    sizes = np.array([len(datagram.data) for datagram in datagrams], np.int64)
    ends = np.cumsum(sizes)
    return Datagrams(
        flows=datagrams[0].flow.columns if datagrams else FlowColumns(1),
        data=b"".join(datagram.data for datagram in datagrams),
        slot=np.array([datagram.flow.slot for datagram in datagrams], np.int64),
        direction=np.array([datagram.direction for datagram in datagrams], np.uint8),
        start=ends - sizes,
        end=ends,
        ts_ns=np.array([datagram.ts_ns for datagram in datagrams], np.int64),
        number=np.array([datagram.number for datagram in datagrams], np.int64),
        packet=np.arange(len(datagrams), dtype=np.int64),
    )


NO_DATAGRAMS = make_datagrams([])
"""For who feeds streams alone."""


def make_signature(**changes: Any) -> Signature:
    """Return a signature that alerts and nothing else."""
    values: dict[str, Any] = {"sid": 1000001, "title": "a test rule"}
    return Signature(**(values | changes))


def make_match(flow: Flow | None = None, signature: Signature | None = None, **changes: Any) -> Match:
    """Return a match of a rule in the client's bytes."""
    values: dict[str, Any] = {
        "signature": signature or make_signature(), "flow": flow or make_flow(), "direction": Direction.TO_SERVER,
        "ts_ns": T0, "number": 7,
    }  # fmt: skip
    return Match(**(values | changes))
