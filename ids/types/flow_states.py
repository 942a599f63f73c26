"""What is said of a flow as a whole: its state, why it ended, what is true of it, and what the gate has counted."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


class FlowState(IntEnum):
    """Life of a flow."""

    NEW = 0
    ESTABLISHED = 1
    CLOSED = 2

    @property
    def eve(self) -> str:
        """EVE's word for it."""
        return self.name.lower()


class TcpState(IntEnum):
    """How far a TCP connection had come when it ended; the names in lower case are EVE's ``tcp.state``."""

    SYN_SENT = 0
    SYN_RECV = 1
    ESTABLISHED = 2
    FIN_WAIT1 = 3
    FIN_WAIT2 = 4
    CLOSE_WAIT = 5
    TIME_WAIT = 6
    LAST_ACK = 7
    CLOSED = 8

    @property
    def over(self) -> bool:
        """Whether Suricata takes the flow for closed."""
        return self >= TcpState.TIME_WAIT


class EndReason(IntEnum):
    """Why a flow ended; the names in lower case are EVE's ``flow.reason``."""

    UNKNOWN = 0
    TIMEOUT = 1
    FORCED = 2
    """Evicted, to make room."""
    SHUTDOWN = 3
    TCP_REUSE = 4
    """A new connection on the same addresses and ports took its place."""


NEVER = np.iinfo(np.int64).max
"""`FlowColumns.established_from` of a flow that ended before it was established."""


class Mark(IntFlag):
    """What is true of a flow; bits of `FlowColumns.marks`."""

    MIDSTREAM = 1
    """No handshake was seen."""
    FLAGGED = 4
    """A rule or plugin asked for this flow's packets as Scapy packets."""
    CONDEMNED = 8
    """The gate drops its packets."""
    BYPASSED = 16
    """The gate does not show its packets any more, because nothing in them could be inspected."""
    COUNTED = 32
    """It closed, and the gate was asked for its counts."""
    MATCHED = 64
    """A rule or detector found something in it: there is a decision to be kept in mind."""
    PROVEN = 128
    """Both ends are where their addresses say: the client acknowledged exactly the SYN/ACK, and that came another way
    than the SYN which it acknowledged, where this can be known."""
    PARSED = 256
    """A parser follows it: what its client says is delivered at any depth."""


FLOW_COUNT = np.dtype(
    [
        ("known", np.bool_),  # the gate knows the flow (still); else the rest says nothing
        (
            "first_ns",
            np.int64,
        ),  # first packet counted (``ts_ns``), by a clock that lags some milliseconds behind
        ("last_ns", np.int64),  # latest packet, as exact
        ("packets", np.int64, 2),  # by `Direction`
        ("bytes", np.int64, 2),  # wire bytes by `Direction`, as `FlowColumns.bytes`
        ("condemned", np.bool_),  # its packets are being dropped
    ]
)
"""What the gate itself has counted of a flow, whether it showed it or not."""

FlowCounts: TypeAlias = NDArray[np.void]
"""A `FLOW_COUNT` for each of some flows, shape (n,)."""
