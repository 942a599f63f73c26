"""Limits of the SSH parser: each with its unit in the name, and the reason for its default."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB


class SshSettings(BaseModel):
    """Bounds of the SSH parser. What is beyond them is counted, and still seen by rules on the raw stream."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    banner_lines: int = Field(
        default=1024,
        ge=1,
        le=65536,
        description="Lines before the banner of a side that are passed over. OpenSSH reads as many.",
    )
    banner_bytes: int = Field(
        default=8 * KIB,
        ge=256,
        le=MIB,
        description="Bytes of a line that are read for a banner. OpenSSH reads as many; RFC 4253 allows 255.",
    )
    packet_bytes: int = Field(
        default=64 * KIB,
        ge=2 * KIB,
        le=MIB,
        description="Bytes of a key exchange message that are read. RFC 4253 asks servers to take 35,000.",
    )
    memcap_bytes: int = Field(
        default=32 * MIB,
        ge=64 * KIB,
        description="Unfinished lines and packets, and what the two sides offered, over all flows, until both have"
        " begun to encrypt. Beyond it they are not read.",
    )
    hassh_in_events: bool = Field(
        default=True,
        description="Write `hassh` in `ssh` events. Suricata 7 does so where it is asked to, or a rule is about it.",
    )
