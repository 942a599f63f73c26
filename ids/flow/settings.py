"""Limits of the flow stage: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


class StreamSettings(BaseModel):
    """Bounds of TCP reassembly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    midstream: bool = Field(
        default=False,
        description="Follow TCP flows whose handshake was not seen. Off, as in Suricata: without a handshake neither "
        "the client nor the start of the stream is known, and anybody can make flows up.",
    )
    one_armed: bool = Field(
        default=False,
        description="Clients and servers are behind the same interface (a router on a stick). Off, a connection whose "
        "SYN/ACK comes by the interface of its SYN is inspected, but proves no source: one host may have forged both.",
    )
    depth_bytes: int = Field(
        default=MIB,
        ge=1,
        le=1 << 40,
        description="Stream bytes inspected per direction; Suricata's stream.reassembly.depth. Attacks show early, and "
        "a long download would cost most of the time there is.",
    )
    memcap_bytes: int = Field(
        default=64 * MIB,
        ge=0,
        description="Memory for all bytes held back or kept for comparison, over all flows. Suricata's stream.memcap.",
    )
    window_bytes: int = Field(
        default=MIB,
        ge=64 * KIB,
        le=1 << 30,
        description="How far ahead of the next expected byte a segment may start, and so how much one direction can "
        "hold back. At least an unscaled TCP window; what a real host would not accept either is ignored and counted.",
    )
    max_segments: int = Field(
        default=1024,
        ge=1,
        le=65536,
        description="Pieces that one direction may hold back; a window of full-sized segments fits. Beyond it the "
        "first hole is given up.",
    )
    verify_bytes: int = Field(
        default=64 * KIB,
        ge=0,
        description="Delivered but unacknowledged bytes kept per direction, to distinguish a retransmission with other "
        "content (an evasion) from a true one. An initial window of common hosts.",
    )


class FlowSettings(BaseModel):
    """Bounds of the flow table. Timeouts are those of Suricata's default configuration (flow-timeouts)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_flows: int = Field(
        default=131_072,
        ge=1,
        description="Flows kept at once, about 1.5 kB each. When full, closed flows go first, then the oldest of those "
        "without an answer, so that a flood of SYNs evicts itself.",
    )
    tcp_new_timeout_s: float = Field(default=60, gt=0, description="Idle TCP flow before its handshake is complete.")
    tcp_established_timeout_s: float = Field(default=600, gt=0, description="Idle established TCP flow.")
    tcp_closed_timeout_s: float = Field(
        default=60,
        gt=0,
        description="TCP flow after both FINs or a RST: late retransmissions still belong to it, and a RST that the "
        "hosts ignored is found out.",
    )
    udp_new_timeout_s: float = Field(default=30, gt=0, description="Idle UDP flow without an answer.")
    udp_established_timeout_s: float = Field(default=300, gt=0, description="Idle UDP flow with packets both ways.")
    icmp_new_timeout_s: float = Field(default=30, gt=0, description="Idle ICMP flow without an answer.")
    icmp_established_timeout_s: float = Field(default=300, gt=0, description="Idle ICMP flow with packets both ways.")
    other_new_timeout_s: float = Field(
        default=30, gt=0, description="Idle flow of another protocol, without an answer."
    )
    other_established_timeout_s: float = Field(
        default=300, gt=0, description="Idle flow of another protocol with packets both ways."
    )
