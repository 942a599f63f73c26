"""What went uninspected, why, and what to set: read off the counters, for every summary alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ids.protocols import PROTOCOLS


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something goes uninspected, and which counters know how much."""

    name: str
    why: str
    remedy: str
    flows: tuple[str, ...] = ()
    packets: tuple[str, ...] = ()
    bytes: tuple[str, ...] = ()
    intended: bool = False
    """By the settings: what was left out is not lost."""


def _passed(name: str, why: str, remedy: str, flows: tuple[str, ...] = (), *, intended: bool = False) -> Reason:
    """Return a reason of the kernel's, which counts it under that name."""
    packets, size = (f"kernel.pass.{name}.packets",), (f"kernel.pass.{name}.bytes",)
    return Reason(name, why, remedy, flows, packets, size, intended)


def _anomalies(*names: str) -> tuple[str, ...]:
    return tuple(f"decode.anomaly.{name}" for name in names)


REASONS = (
    _passed(
        "ring_full", "the ring was full", "engine.workers, fastpath.ring_small_bytes and ring_large_bytes",
        ("kernel.note.flow_cut.ring_full.packets",),
    ),
    _passed(
        "thinned", "they gave way in a ring that was nearly full",
        "engine.workers, fastpath.ring_small_bytes and ring_large_bytes",
        ("kernel.note.flow_cut.thinned.packets",),
    ),
    _passed(
        "unfair", "whoever opened their connections took up more than a share of the ring", "engine.workers",
        ("kernel.note.flow_cut.unfair.packets",),
    ),
    Reason(
        "share", "whoever opened their connections had a share of the time already", "engine.workers",
        packets=("engine.uninspected.share",),
    ),
    _passed("engine_gone", "no engine was there", "fastpath.when_gone: keep"),
    Reason(
        "vlan_tags", "they had more VLAN tags than are looked behind", "nothing yet: block them at a switch",
        packets=("kernel.pass.vlan_tags.packets", *_anomalies("too_many_vlan_tags")),
        bytes=("kernel.pass.vlan_tags.bytes",),
    ),
    Reason("fault", "a fault of the engine's own", "report what the log says", packets=("engine.uninspected.fault",)),
    Reason(
        "midstream", "the beginning of their connections was not seen", "stream.midstream: true",
        ("flow.tcp.midstream_ignored",), bytes=("flow.tcp.reassembly.midstream_bytes",),
    ),
    Reason(
        "unestablished", "no complete handshake was seen, only one side of it perhaps",
        "capture, or guard (-i), what carries the other direction",
        ("flow.tcp.reassembly.unestablished_flows",), bytes=("flow.tcp.reassembly.unestablished_bytes",),
    ),
    Reason(
        "multipath", "they are further paths of other connections (MPTCP), inspected by themselves and not together",
        "switch it off at the servers (sysctl net.mptcp.enabled=0, GODEBUG=multipathtcp=0)",
        ("flow.tcp.multipath.joined",),
    ),
    Reason(
        "missing", "they were missing within connections", "look for what loses packets before they come here",
        bytes=("flow.tcp.reassembly.gap_bytes",),
    ),
    Reason(
        "checksum", "their checksum was wrong", "decode.checksums: none (-k none), if it is filled in later",
        packets=_anomalies("bad_ip_checksum", "bad_l4_checksum", "partial_l4_checksum"),
    ),
    Reason(
        "unparsed", "they were requests too far ahead of their answers; rules on the raw stream saw them",
        "protocols.http.open_requests", bytes=("http.unparsed_bytes",),
    ),
    Reason(
        "memory", "no memory was left for the unfinished messages of their protocol; rules on the raw stream saw them",
        "memcap_bytes of the protocol",
        bytes=("telnet.skipped_bytes", *(f"{protocol.name}.memcap_bytes" for protocol in PROTOCOLS)),
    ),
    Reason(
        "link_type", "their link type is not known", "capture Ethernet, or raw IP",
        packets=_anomalies("unknown_linktype"),
    ),
    Reason(
        "fragments", "they are datagrams of which fragments were missing",
        "decode.defrag.timeout_s and memcap_bytes, if they are late rather than lost",
        packets=("decode.defrag.timeouts", "decode.defrag.evicted"),
    ),
    Reason(
        "versions", "fragments contradicted each other faster than their versions are looked at",
        "block who sends them: anomaly events name them", packets=("decode.defrag.versions_not_made",),
    ),
    Reason(
        "evicted", "their flows had to make room", "flow.max_flows",
        tuple(f"flow.evicted.{family}.established" for family in ("tcp", "udp", "icmp", "other")),
    ),
    Reason(
        "depth", "they lay beyond the depth of their flow", "stream.depth_bytes, fastpath.depth_tcp_bytes and the like",
        ("kernel.note.flow_cut.depth.packets",), ("kernel.pass.depth.packets",),
        ("kernel.pass.depth.bytes", "flow.tcp.reassembly.depth_bytes"), intended=True,
    ),
    _passed(
        "bypass", "they are encrypted", "engine.bypass",
        tuple(f"flow.bypassed.{protocol.name}" for protocol in PROTOCOLS), intended=True,
    ),
    _passed(
        "unneeded", "no parser reads them and no loaded rule or plugin looks into them", "engine.bypass_unneeded",
        ("flow.unneeded",), intended=True,
    ),
)  # fmt: skip
"""Losses first, then what the settings leave out."""


@dataclass(frozen=True, slots=True)
class Uninspected:
    """How much went uninspected for one reason; None where that is not counted."""

    reason: str
    flows: int | None
    packets: int | None
    bytes: int | None
    why: str
    remedy: str
    intended: bool

    @property
    def amount(self) -> str:
        """How much, in words."""
        parts = [(self.flows, "flow"), (self.packets, "packet"), (self.bytes, "byte")]
        return ", ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in parts if count)

    def __str__(self) -> str:
        return f"{self.amount}: {self.why} ({self.remedy})"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def uninspected(counters: Mapping[str, int], *, live: bool) -> list[Uninspected]:
    """Return what went uninspected by these counters, dotted names to counts.

    A replay inspects every packet, whatever the gate would have shown: what the kernel counts matters only ``live``.
    """
    found = []
    for reason in REASONS:
        names = [tuple(name for name in of if live or not name.startswith("kernel.")) for of in _counted(reason)]
        flows, packets, size = (sum(counters.get(name, 0) for name in of) if of else None for of in names)
        if size or packets or (flows and not any(names[1:])):
            found.append(Uninspected(reason.name, flows, packets, size, reason.why, reason.remedy, reason.intended))
    return found


def _counted(reason: Reason) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    return reason.flows, reason.packets, reason.bytes


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    """Return a tree of counters, as `stats` events have it, by dotted names."""
    rows: dict[str, int] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            rows |= flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = value
    return rows
