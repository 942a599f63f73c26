"""A flagged flow as Scapy packets: the one place where the engine pays for full dissection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from ids.types import Flow

MAX_PACKETS = 64
"""Frames kept of one flagged flow: at about 0.5 ms of dissection a packet, some 30 ms at the most."""


class Frame(NamedTuple):
    """One frame of a flagged flow."""

    data: bytes
    linktype: int
    """LINKTYPE_ value (pcap-linktype(7))."""
    ts_ns: int
    number: int
    """`PacketBatch.number`."""


class FlowSession:
    """The most recent frames of a flagged flow, dissected when first looked at."""

    def __init__(self, flow: Flow, frames: Iterable[Frame]) -> None:
        """Take the frames, oldest first; all but the last `MAX_PACKETS` are dropped."""
        self.flow = flow
        self.frames = tuple(deque(frames, maxlen=MAX_PACKETS))
        """The frames as captured."""

    @property
    def moments(self) -> list[tuple[int, int]]:
        """Time (``ts_ns``) and number of each packet of ``packets``."""
        return [(frame.ts_ns, frame.number) for frame in self.frames]

    @cached_property
    def packets(self) -> list[Any]:
        """The frames as Scapy packets with ``time`` set; bytes that no layer takes end up as ``Raw``."""
        from scapy.config import conf
        from scapy.layers import all as _layers  # noqa: F401  registers the link types
        from scapy.packet import Raw

        packets = []
        for frame in self.frames:
            layer = conf.l2types.num2layer.get(frame.linktype, Raw)
            packet = layer(frame.data)
            packet.time = frame.ts_ns / 1e9
            packets.append(packet)
        return packets
