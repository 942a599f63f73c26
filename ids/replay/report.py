"""What a replay found, capture by capture; `dataclasses.asdict` of it is what ``-o json`` prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ids.events import Event

MAX_ALERTS_KEPT = 1000
"""Alerts that a report holds in full; all are counted, and all go to the outputs."""


@dataclass(slots=True)
class BlockReport:
    """One block that the engine ordered during a replay."""

    network: str
    sid: int
    mode: str
    ttl_s: int
    ordered_at: int
    """Number of the packet whose inspection ordered the block."""
    cut_off_from: int | None = None
    """Number of the first packet that the fast path dropped (shadow: counted) because of it."""
    packets: int = 0
    """Packets that it dropped or counted in all."""


@dataclass(slots=True)
class DroppedFlowReport:
    """One flow that a rule with the action ``drop`` condemned during a replay."""

    src_ip: str
    src_port: int
    dest_ip: str
    dest_port: int
    proto: int
    ordered_at: int
    """Number of the packet whose inspection condemned the flow."""
    cut_off_from: int | None = None
    """Number of the first packet that the fast path dropped because of it."""
    packets: int = 0


@dataclass(slots=True)
class Tally:
    """Packets and their bytes on the wire."""

    packets: int = 0
    bytes: int = 0


@dataclass(slots=True)
class CaptureReport:
    """What one capture held."""

    path: str
    packets: int = 0
    bytes: int = 0
    flows: int = 0
    alerts: dict[int, int] = field(default_factory=dict)
    """Alerts by signature id."""
    blocks: list[BlockReport] = field(default_factory=list)
    dropped_flows: list[DroppedFlowReport] = field(default_factory=list)
    verdicts: dict[str, Tally] = field(default_factory=dict)
    """What the fast path made of the packets, by reason (``pass.shown``, ``drop.blocked``, ...); empty without one."""
    problem: str | None = None
    """Why the capture was not read to its end."""
    refused: bool = False
    """It is missing or no capture: nothing of it was read."""


@dataclass(slots=True)
class ReplayReport:
    """What a replay found."""

    captures: list[CaptureReport] = field(default_factory=list)
    alerts: list[Event] = field(default_factory=list)
    """The first `MAX_ALERTS_KEPT` alert events."""
    counters: dict[str, Any] = field(default_factory=dict)
    uninspected: list[dict[str, Any]] = field(default_factory=list)
    """What of the captures went uninspected, why, and what to set (`ids.respond.uninspected`)."""
    seconds: float = 0.0
    fast_path: str = "off"
    """What judged the packets: ``kernel``, ``model`` or ``off``."""
    fast_path_note: str = ""
    """Why it was not the kernel, or not for all packets."""

    @property
    def packets(self) -> int:
        """Packets of all captures."""
        return sum(capture.packets for capture in self.captures)
