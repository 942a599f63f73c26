"""Frames of a few flows, and the events of a replay of some under rules of one's own."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

from ids.config import Config
from ids.events import Events
from ids.replay import replay
from tests.factory import T0

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
THERE = ETHER / IP(src="192.0.2.1", dst="203.0.113.1", id=7, ttl=63)
BACK = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / IP(src="203.0.113.1", dst="192.0.2.1")
DATAGRAMS = [
    THERE / UDP(sport=5000, dport=9) / b"hello",
    THERE / UDP(sport=5000, dport=9) / b"evil",
    BACK / UDP(sport=9, dport=5000) / b"answer",
    THERE / UDP(sport=5000, dport=9) / b"more",
    BACK / UDP(sport=9, dport=5000) / b"answer",
    THERE / UDP(sport=5001, dport=9) / b"another flow",
]
INLINE = {"inspect_dropped": False, "drop_packets": True}


def events_of(
    folder: Path,
    frames: Sequence[Packet | bytes],
    rules: str,
    *,
    eve: dict[str, Any] | None = None,
    respond: dict[str, Any] | None = None,
    workers: int = 1,
    linktype: int | None = None,
    checksums: str = "auto",
) -> list[dict[str, Any]]:
    """Replay frames, a second apart, and return the events."""
    packets = []
    for number, frame in enumerate(frames):
        packet = Ether(frame) if isinstance(frame, bytes) else frame
        packet.time = T0 / 1e9 + number
        packets.append(packet)
    wrpcap(str(folder / "x.pcap"), packets, **({} if linktype is None else {"linktype": linktype}))
    (folder / "x.rules").write_text(rules + "\n")
    config = Config.model_validate(
        {
            "rules": {"paths": [str(folder / "x.rules")], "strict": True},
            "fastpath": {"replay": "off"},
            "eve": eve or {},
            "respond": respond or {},
            "decode": {"checksums": checksums},
            "engine": {"workers": workers},
        }
    )
    events: list[dict[str, Any]] = []

    def note(batch: Events) -> None:
        events.extend(batch)

    replay([folder / "x.pcap"], config, on_events=note)
    return events


def of_type(events: Sequence[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event_type"] in kinds]


def decoded(event: dict[str, Any], key: str) -> bytes:
    return base64.b64decode(event[key])
