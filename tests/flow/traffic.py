"""Packets columns made by hand: a list of segments or datagrams becomes the batch that the decoder would have made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np

from ids.counters import Counters
from ids.flow import FlowSettings, FlowTable, StreamSettings
from ids.types import Direction, Flow, FlowBatch, Notes, PacketBatch, Packets, StreamChunk, address_halves
from tests.factory import T0

CLIENT, SERVER = "192.0.2.1", "203.0.113.1"
CLIENT_PORT, SERVER_PORT = 40000, 80
SECOND = 1_000_000_000

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
TCP, UDP, ICMP = 6, 17, 1


@dataclass(frozen=True)
class Pkt:
    """One packet, from the client unless ``back``."""

    back: bool = False
    flags: int = ACK
    seq: int = 0
    ack: int = 0
    data: bytes = b""
    proto: int = TCP
    src: str = CLIENT
    dst: str = SERVER
    sport: int = CLIENT_PORT
    dport: int = SERVER_PORT
    vlan: int = 0
    ts_ns: int | None = None
    missing: int = 0
    usable: bool = True
    number: int = 0
    options: bytes = b""
    window: int = 65535
    urgent: int = 0
    doubtful: bool = False
    ttl: int = 64

    @property
    def header(self) -> bytes:
        """Return what lies before the payload: nothing of it is looked at but the urgent pointer and the options."""
        return b"\xee" * 52 + self.urgent.to_bytes(2, "big") + self.options

    @property
    def ends(self) -> tuple[str, str, int, int]:
        """Source, destination, source port, destination port, as on the wire."""
        if self.back:
            return self.dst, self.src, self.dport, self.sport
        return self.src, self.dst, self.sport, self.dport


halves = cache(address_halves)


def columns(pkts: Sequence[Pkt]) -> Packets:
    """Return the batch of these packets; a millisecond apart where no time is given."""
    n = len(pkts)
    payload = b"".join(pkt.header + pkt.data for pkt in pkts)
    sizes = np.array([len(pkt.data) for pkt in pkts], dtype=np.int64)
    headers = np.array([54 + len(pkt.options) for pkt in pkts], dtype=np.int64)
    offset = np.concatenate([[0], np.cumsum(sizes + headers)[:-1]]).astype(np.int64) if n else np.zeros(0, np.int64)
    number = [pkt.number or at for at, pkt in enumerate(pkts, 1)]
    ends = [pkt.ends for pkt in pkts]

    def column(values: Iterable[int], dtype: type) -> np.ndarray:
        return np.array(list(values), dtype=dtype)

    batch = PacketBatch(
        data=np.frombuffer(payload, dtype=np.uint8),
        offset=offset,
        caplen=sizes + headers,
        wirelen=sizes + headers,
        ts_ns=column(
            (T0 + i * 1_000_000 if p.ts_ns is None else p.ts_ns for i, p in zip(number, pkts, strict=True)), np.int64
        ),
        number=column(number, np.int64),
        linktype=np.ones(n, dtype=np.uint16),
        interface=np.zeros(n, dtype=np.uint32),
        source="made.pcap",
    )
    zeros = np.zeros(n, dtype=np.int64)
    return Packets(
        batch=batch,
        anomaly=zeros.astype(np.uint8),
        usable=column((p.usable for p in pkts), np.bool_),
        ip_version=column((6 if ":" in p.src else 4 for p in pkts), np.uint8),
        src=np.array([halves(e[0]) for e in ends], dtype=np.uint64).reshape(n, 2),
        dst=np.array([halves(e[1]) for e in ends], dtype=np.uint64).reshape(n, 2),
        proto=column((p.proto for p in pkts), np.uint8),
        sport=column((e[2] for e in ends), np.uint16),
        dport=column((e[3] for e in ends), np.uint16),
        vlan=column((p.vlan for p in pkts), np.uint64),
        ttl=column((p.ttl for p in pkts), np.uint8),
        fragment=zeros.astype(np.bool_),
        l3=offset + 14,
        l4=offset + 34,
        payload=offset + headers,
        payload_len=sizes,
        payload_missing=column((p.missing for p in pkts), np.int64),
        tcp_flags=column((p.flags if p.proto == TCP else 0 for p in pkts), np.uint8),
        seq=column((p.seq & 0xFFFFFFFF for p in pkts), np.uint32),
        ack=column((p.ack & 0xFFFFFFFF for p in pkts), np.uint32),
        window=column((p.window for p in pkts), np.uint16),
        doubtful=column((p.doubtful for p in pkts), np.bool_),
        depth=zeros.astype(np.uint8),
        carrier=zeros - 1,
        notes=Notes(zeros[:0], zeros[:0].astype(np.uint8)),
    )


@dataclass
class Talk:
    """A TCP conversation, written down packet by packet. Each method appends packets and returns the talk."""

    client_isn: int = 1000
    server_isn: int = 5000
    base: Pkt = field(default_factory=Pkt)
    pkts: list[Pkt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sent = [self.client_isn, self.server_isn]

    def add(self, back: bool, flags: int, data: bytes = b"", **changes: Any) -> Talk:
        """Append a packet that continues its side; ``seq`` and ``ack`` may be given instead, and other fields too."""
        fields = {"seq": self.sent[back], "ack": self.sent[not back] if flags & ACK else 0, **changes}
        self.pkts.append(replace(self.base, back=back, flags=flags, data=data, **fields))
        if "seq" not in changes:
            self.sent[back] += len(data) + bool(flags & SYN) + bool(flags & FIN)
        return self

    def open(self) -> Talk:
        """Append a handshake."""
        return self.add(False, SYN).add(True, SYN | ACK).add(False, ACK)

    def client(self, data: bytes, **changes: Any) -> Talk:
        """Append a segment of the client."""
        return self.add(False, PSH | ACK, data, **changes)

    def server(self, data: bytes, **changes: Any) -> Talk:
        """Append a segment of the server."""
        return self.add(True, PSH | ACK, data, **changes)

    def close(self) -> Talk:
        """Append FIN, FIN, ACK."""
        return self.add(False, FIN | ACK).add(True, FIN | ACK).add(False, ACK)


def interleave(talks: Sequence[Talk]) -> list[Pkt]:
    """Return the packets of several talks in turn."""
    longest = max(len(talk.pkts) for talk in talks)
    return [talk.pkts[at] for at in range(longest) for talk in talks if at < len(talk.pkts)]


class Run:
    """A flow table fed with packets, and everything that came out of it."""

    def __init__(
        self, pkts: Sequence[Pkt], batch: int = 1 << 20, drain: bool = True, orderly_lane: bool = True, **limits: object
    ) -> None:
        flow = {key: value for key, value in limits.items() if key in FlowSettings.model_fields}
        stream = {key: value for key, value in limits.items() if key in StreamSettings.model_fields}
        assert len(flow) + len(stream) == len(limits), limits
        self.counters = Counters()
        self.table = FlowTable(
            FlowSettings.model_validate(flow), self.counters, StreamSettings.model_validate(stream),
            orderly_lane=orderly_lane,
        )  # fmt: skip
        self.chunks: list[StreamChunk] = []
        self.variant_chunks: list[StreamChunk] = []
        self.started: list[Flow] = []
        self.variants: list[Flow] = []
        self.ended: list[Flow] = []
        self.notes: list[tuple[IntEnum, int, int]] = []
        self.batches: list[FlowBatch] = []
        numbered = [replace(pkt, number=number) for number, pkt in enumerate(pkts, 1)]
        for at in range(0, len(numbered), batch):
            self.take(self.table.process(columns(numbered[at : at + batch])))
        if drain:
            self.take(self.table.drain())

    def take(self, result: FlowBatch) -> None:
        """Note what a batch brought."""
        self.batches.append(result)
        for chunk in result.streams:
            (self.variant_chunks if chunk.flow.variant else self.chunks).append(chunk)
        for flow in map(result.flows.view, result.started.tolist()):
            (self.variants if flow.variant else self.started).append(flow)
        self.ended += [flow for flow in map(result.flows.view, result.ended.tolist()) if not flow.variant]
        self.notes += [(note.note, note.direction, note.number) for note in result.notes]

    def stream(self, direction: Direction = Direction.TO_SERVER, flow: Flow | None = None) -> bytes:
        """Return the delivered bytes of a direction, a gap as one ``~`` a byte."""
        return b"".join(
            b"~" * chunk.gap + chunk.data
            for chunk in self.chunks
            if chunk.direction == direction and chunk.flow is (flow or self.started[0])
        )

    def versions(self, direction: Direction = Direction.TO_SERVER) -> set[bytes]:
        """Return what the variants have of a direction, a gap as one ``~`` a byte."""
        found: dict[int, bytes] = {flow.id: b"" for flow in self.variants}
        for chunk in self.variant_chunks:
            if chunk.direction == direction:
                found[chunk.flow.id] += b"~" * chunk.gap + chunk.data
        return set(found.values())

    def summary(self) -> list[tuple[object, ...]]:
        """Return what must not depend on how the packets were cut into batches."""
        result: list[tuple[object, ...]] = []
        for flow in sorted(self.started, key=lambda flow: flow.first_number):
            chunks = [chunk for chunk in self.chunks if chunk.flow is flow]
            closed = tuple(sum(chunk.closed for chunk in chunks if chunk.direction == side) for side in (0, 1))
            streams = tuple(self.stream(side, flow) for side in Direction)
            ends = (flow.src_ip, flow.dst_ip, flow.sport, flow.dport, flow.proto, flow.vlan, flow.first_number)
            counts = (tuple(flow.packets), tuple(flow.bytes), tuple(flow.tcp_flags), flow.start_ns, flow.last_ns)
            state = (flow.state, flow.reason, flow.midstream, flow.proven, tuple(flow.gaps), tuple(flow.conflicts))
            result.append((ends, counts, state, streams, closed))
        return result
