"""A flagged flow as Scapy packets: the one place where the engine pays for full dissection."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import Any, NamedTuple

from ids.types import Direction, Flow

MAX_PACKETS = 64
"""Frames kept of one flagged flow: at about 0.5 ms of dissection a packet, some 30 ms at the most."""


class Frame(NamedTuple):
    """One captured frame of a flow."""

    data: bytes
    linktype: int
    """LINKTYPE_ value."""
    ts_ns: int
    number: int
    """`PacketBatch.number`."""
    direction: Direction = Direction.TO_SERVER
    """Which side of the flow sent it."""


class FlowSession:
    """The most recent frames of a flagged flow, dissected when first looked at."""

    def __init__(self, flow: Flow, frames: list[Frame]) -> None:
        """Take the frames, oldest first; all but the last `MAX_PACKETS` are dropped."""
        self.flow = flow
        self.frames = deque(frames, maxlen=MAX_PACKETS)

    @cached_property
    def packets(self) -> list[Any]:
        """The frames as Scapy packets with ``time`` set, in the same order; bytes that no layer takes are ``Raw``."""
        from scapy.config import conf
        from scapy.layers import all as _layers  # noqa: F401  registers the link types
        from scapy.packet import Raw

        packets = []
        for data, linktype, ts_ns, *_rest in self.frames:
            layer = conf.l2types.num2layer.get(linktype, Raw)
            packet = layer(data)
            packet.time = ts_ns / 1e9
            packets.append(packet)
        return packets
