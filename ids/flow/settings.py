"""Limits of the flow stage: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork

from ids.flow.policies import Policy

KIB = 1024
MIB = 1024 * KIB


class StreamSettings(BaseModel):
    """Bounds of TCP reassembly."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    midstream: bool | Literal["auto"] = Field(
        default="auto",
        description="Follow TCP flows whose handshake was not seen. Without one neither the client nor the start of "
        "the stream is known for certain, and anybody can make flows up. `auto`: in a replay, where half a flow is "
        "better than none, and not live.",
    )
    midstream_policy: Literal["auto", "ignore", "drop-flow", "reject", "bypass", "pass-flow"] | None = Field(
        default=None,
        description="What becomes of a TCP connection whose beginning was not seen; nothing: what "
        "`respond.exception_policy` says. With `drop-flow` a restart of the engine, or a lost SYN, ends the "
        "connections of honest hosts, too.",
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
        description="Stream bytes inspected of what one side says before the other one speaks again. Attacks show "
        "early, and a long download would cost most of the time there is. What a client says in a protocol with a "
        "parser is inspected at any depth.",
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
        "hold back, where the window that the receiver offers was not seen. At least an unscaled TCP window; what a "
        "real host would not accept either is ignored and counted.",
    )
    max_segments: int = Field(
        default=8192,
        ge=1,
        le=65536,
        description="Pieces that one direction may hold back, as many as a host with 6 MB of buffer. Beyond it those "
        "furthest ahead are let go, as hosts do, who then ask for them again; the hole stays open. Only where the "
        "receiver is not seen, so that nobody says what it got, the first hole is given up.",
    )
    verify_bytes: int = Field(
        default=64 * KIB,
        ge=0,
        description="Delivered but unacknowledged bytes kept per direction, to distinguish a retransmission with other "
        "content (an evasion) from a true one, and to inspect both. An initial window of common hosts.",
    )
    versions: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Versions of one connection that are inspected at once, where copies of the same bytes differ, "
        "bytes were marked urgent, or a hole was filled after it had been given up: each is parsed and matched like a "
        "connection of its own. 8 are all that three conflicts can make, and of more those that are likeliest go on: "
        "the other choices that hosts may make are read as far as bytes have come, and end there. 1: only the first "
        "version.",
    )
    policy: Policy = Field(
        default="linux",
        description="Whose choice between copies that wait behind a hole comes first: the version that is delivered at "
        "once, and logged. What other systems would make of them is inspected too, within `versions`.",
    )
    policies: dict[IPvAnyNetwork, Policy] = Field(
        default={},
        max_length=256,
        description="The same by network of the receiving host; the longest prefix counts: `{192.0.2.0/24: windows}`.",
    )
    on_conflict: Literal["inspect", "drop"] = Field(
        default="inspect",
        description="Whether copies of the same bytes that differ are reason enough to drop the flow (`drop`): honest "
        "hosts do not send such, but broken ones exist. In either case versions are inspected, and an `anomaly` event "
        "is written. `drop` is the strict answer: no number of versions is all that may be made of many conflicts.",
    )

    def resolved(self, *, live: bool) -> StreamSettings:
        """Return the settings with what `auto` means here."""
        return self if self.midstream != "auto" else self.model_copy(update={"midstream": not live})


LONGEST_S = 366 * 86_400
"""Of a timeout: a year is for ever. Beyond 292 years nanoseconds wrapped around, and each flow ended at once."""


class FlowSettings(BaseModel):
    """Bounds of the flow table. Timeouts are at least as long as those of hosts: what they still accept is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    max_flows: int = Field(
        default=131_072,
        ge=1,
        description="Flows kept at once, about 1.5 kB each. When full, closed flows go first, then the oldest of those "
        "without an answer, so that a flood of SYNs evicts itself.",
    )
    tcp_new_timeout_s: float = Field(
        default=130,
        gt=0,
        le=LONGEST_S,
        description="Idle TCP flow before its handshake is complete. Hosts repeat a SYN for 127 s.",
    )
    tcp_established_timeout_s: float = Field(
        default=5 * 24 * 3600,
        gt=0,
        le=LONGEST_S,
        description="Idle established TCP flow. Hosts know no limit; as Linux's connection tracking. An idle flow is "
        "cheap, and evicted when there is need.",
    )
    tcp_closed_timeout_s: float = Field(
        default=60,
        gt=0,
        le=LONGEST_S,
        description="TCP flow after both FINs, or whose SYN was refused: late retransmissions still belong to it.",
    )
    tcp_reset_timeout_s: float = Field(
        default=7200,
        gt=0,
        le=LONGEST_S,
        description="TCP flow after a RST: a host that ignored it (it was forged, or never arrived) goes on. As long "
        "as until a keep-alive probe; among the first to be evicted.",
    )
    udp_new_timeout_s: float = Field(default=30, gt=0, le=LONGEST_S, description="Idle UDP flow without an answer.")
    udp_established_timeout_s: float = Field(
        default=300, gt=0, le=LONGEST_S, description="Idle UDP flow with packets both ways."
    )
    icmp_new_timeout_s: float = Field(default=30, gt=0, le=LONGEST_S, description="Idle ICMP flow without an answer.")
    icmp_established_timeout_s: float = Field(
        default=300, gt=0, le=LONGEST_S, description="Idle ICMP flow with packets both ways."
    )
    other_new_timeout_s: float = Field(
        default=30, gt=0, le=LONGEST_S, description="Idle flow of another protocol, without an answer."
    )
    other_established_timeout_s: float = Field(
        default=300, gt=0, le=LONGEST_S, description="Idle flow of another protocol with packets both ways."
    )
